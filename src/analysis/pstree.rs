//! `pstree`: processes under the parents that can have made them.

use super::family::{Member, Parent, parents};
use super::parallel::{in_order, wanted};
use super::{Analysis, Answers, Ask, Case, Subject, copied, pslist};
use crate::error::Result;
use crate::kernel::process::Process;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, joined};
use crate::value::Note;

/// The register's entry.
pub static PSTREE: Analysis = Analysis {
    name: "pstree",
    about: "Processes as a tree of parents and children",
    help: "A process id is used again once its process is gone, so a parent id alone proves nothing. A process stands under \
           its parent only if that one was created before it and had not ended by then; the parent column says why not \
           otherwise. A process that was asked for by --pid or --name is shown with all its descendants.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, ask, sink| copied::process(kernel, &COLUMNS, ask, sink)),
};

/// A process's place in the tree.
struct Nodes;
struct Node {
    parent: &'static str,
    depth: u16,
}
impl crate::report::Subject for Nodes {
    type Of<'a> = Node;
}

const OWN: &[Field<Nodes>] = &[
    derived(
        col(
            "parent",
            Kind::Text,
            "found; gone (no process has the id); younger (the id was used again); ended (before); unknown",
        ),
        "ids and times of all processes",
        |c| c.parent.into(),
    ),
    derived(col("depth", Kind::Number, "Depth in the tree, from 0"), "the parents of all processes", |c| {
        c.depth.into()
    }),
];
/// `pslist`'s columns, and the tree's own.
const COLUMNS: [Column; pslist::COLUMNS.len() + OWN.len()] = joined(pslist::COLUMNS, headers::<_, 2>(OWN));

/// The members in tree order with their depths: roots and children by creation time, then by list order. Members of a
/// cycle (possible only between equal creation times) hang from the first of them in the list.
#[must_use]
pub fn order(members: &[Member], parents: &[Parent]) -> (Vec<(usize, u16)>, Vec<usize>) {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut roots = Vec::new();
    for (i, p) in parents.iter().enumerate() {
        match p {
            Parent::Found(up) => {
                if let Some(list) = children.get_mut(*up) {
                    list.push(i);
                }
            }
            _ => roots.push(i),
        }
    }
    let age = |i: &usize| (members.get(*i).and_then(|m| m.created), *i);
    for list in &mut children {
        list.sort_by_key(age);
    }
    roots.sort_by_key(age);
    let mut out = Vec::with_capacity(members.len());
    let mut seen = vec![false; members.len()];
    let mut descend = |root: usize, out: &mut Vec<(usize, u16)>| {
        let mut stack = vec![(root, 0u16)];
        while let Some((i, depth)) = stack.pop() {
            let Some(s) = seen.get_mut(i) else { continue };
            if std::mem::replace(s, true) {
                continue;
            }
            out.push((i, depth));
            for c in children.get(i).into_iter().flatten().rev() {
                stack.push((*c, depth.saturating_add(1)));
            }
        }
    };
    for root in roots {
        descend(root, &mut out);
    }
    let mut cycles = Vec::new();
    for i in 0..members.len() {
        let before = out.len();
        descend(i, &mut out);
        if out.len() > before {
            cycles.push(i);
        }
    }
    (out, cycles)
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let found = kernel.processes()?;
    found.notes.into_iter().for_each(|n| sink.note(n));
    let list = &found.list;
    let members: Vec<Member> = list.iter().map(Member::of).collect();
    let parents = parents(&members);
    let (order, cycles) = order(&members, &parents);
    for i in cycles {
        let pid = members.get(i).and_then(|m| m.pid).unwrap_or_default();
        sink.note(Note::info(format!("process {pid} is among its own ancestors by parent ids; shown as a root")));
    }
    let units = shown(&order, list, ask, &kernel.space());
    in_order(
        units.into_iter(),
        || kernel.space(),
        |space, (i, depth), sink| {
            let Some(process) = list.get(i) else { return Ok(()) };
            let node = Node { parent: parents.get(i).map_or("unknown", |p| p.word()), depth };
            let row = pslist::row(process, space, ask).and(OWN, &node, &ask.rows);
            sink.row(Row { depth, ..row })
        },
        sink,
    )
}

/// Those asked for and everything below them.
fn shown(
    order: &[(usize, u16)],
    list: &[Process<'_>],
    ask: &Ask,
    space: &crate::paging::Space<'_>,
) -> Vec<(usize, u16)> {
    let mut below: Option<u16> = None;
    let mut out = Vec::new();
    for &(i, depth) in order {
        if below.is_some_and(|d| depth <= d) {
            below = None;
        }
        if below.is_none() && list.get(i).is_some_and(|p| wanted(ask, p, space)) {
            below = Some(depth);
        }
        if below.is_some() {
            out.push((i, depth));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::FileTime;

    fn m(pid: u64, ppid: u64, created: u64, ended: u64) -> Member {
        let time = |t| (t > 0).then_some(FileTime(t));
        Member { pid: Some(pid), ppid: Some(ppid), created: time(created), ended: time(ended) }
    }

    #[test]
    fn a_parent_must_have_been_there() {
        let all = [
            m(4, 0, 10, 0),
            m(8, 4, 20, 0),
            m(12, 8, 15, 0), // 8 is younger: the id was used again
            m(16, 99, 30, 0),
            m(20, 24, 50, 0), // two processes had the id 24: the one there at 50 counts
            m(24, 4, 30, 40),
            m(24, 4, 45, 0),
            m(28, 32, 50, 0),
            m(32, 4, 20, 30), // ended before 28 was made
            m(36, 36, 50, 0),
        ];
        let found = parents(&all);
        assert_eq!(
            found,
            [
                Parent::Gone,
                Parent::Found(0),
                Parent::Younger,
                Parent::Gone,
                Parent::Found(6),
                Parent::Found(0),
                Parent::Found(0),
                Parent::Ended,
                Parent::Found(0),
                Parent::Unknown,
            ]
        );
        let (order, cycles) = order(&all, &found);
        assert!(cycles.is_empty());
        assert_eq!(order.len(), all.len());
        assert_eq!(order.iter().find(|(i, _)| *i == 4), Some(&(4, 2)));
        // Under System: 8 and 32 (both at 20, list order), 24 at 30, 24 at 45 with its child.
        assert_eq!(order.get(..6).unwrap(), [(0, 0), (1, 1), (8, 1), (5, 1), (6, 1), (4, 2)]);
    }

    #[test]
    fn a_cycle_of_equal_times_is_cut_and_told() {
        let all = [m(4, 8, 10, 0), m(8, 4, 10, 0), m(12, 8, 11, 0)];
        let found = parents(&all);
        let (order, cycles) = order(&all, &found);
        assert_eq!(cycles, [0]);
        assert_eq!(order, [(0, 0), (1, 1), (2, 2)]);
    }
}
