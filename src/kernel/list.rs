//! Doubly linked lists (`_LIST_ENTRY`), walked from both ends when one end does not lead to the other.
//!
//! Lists in a dump may be torn: taken while the machine ran, unlinked by a rootkit, or lying partly in pages that the dump
//! lacks. A walk never trusts a list to end, never follows the same link twice, and tells what it could not follow.

use crate::addr::Va;
use crate::bytes::le;
use crate::paging::Space;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;

/// A list to be walked.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// What it lists, for notes: `active process list`.
    pub what: &'a str,
    /// The list head, which is no entry.
    pub head: Va,
    /// Bytes in a pointer: 4 or 8. (The 32-bit loader's lists of a 64-bit machine are 4.)
    pub width: u32,
    /// Entries after which the walk gives up.
    pub limit: usize,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Addresses of the entries' links, in list order. Those found from the end alone stand at the end.
    pub links: Vec<Va>,
    /// How many of them were found going forwards.
    pub forwards: usize,
    /// Whether every entry was met: the walk came to the head again, or from both ends to one and the same entry. (The head
    /// of an empty list names itself; whether the list can be empty, the caller knows.)
    pub whole: bool,
    /// Where it broke, and what that cost.
    pub notes: Vec<Note>,
}

/// What one direction of a walk met.
#[derive(Clone, Debug, Default)]
pub struct OneWay {
    /// Addresses of the entries' links, in the order they were met.
    pub links: Vec<Va>,
    /// Whether it came to the head.
    pub whole: bool,
}

/// Why a walk in one direction stopped.
enum Stop {
    /// It came to the head: the whole list was seen.
    Head,
    /// It came to an entry of its own a second time.
    Loop(Va),
    /// The link at this address could not be followed.
    Broken(Va, Why),
    /// The limit was reached.
    Limit,
}

enum Why {
    Unreadable(Absent),
    Null,
    Misaligned(Va),
    /// The entry does not point back, and the caller says it is no member.
    Foreign(Va),
}

impl Stop {
    /// The entry that ought to have come next and is lost: its own links lead nowhere, or nothing of it can be read.
    fn lost(&self) -> Option<Va> {
        match self {
            Self::Broken(at, Why::Unreadable(_)) => Some(*at),
            Self::Broken(_, Why::Foreign(to)) => Some(*to),
            _ => None,
        }
    }
}

/// One direction of a walk.
struct Way {
    links: Vec<Va>,
    stop: Stop,
    /// Entries (or the head) that do not point back to the one they were reached from.
    one_way: Vec<Va>,
    /// Whether it came to an entry that the other direction had seen.
    met: bool,
}

impl List<'_> {
    /// Walks the list. `member` is asked about an entry that does not point back to where the walk came from:
    /// it may be a torn link, or lead into something else altogether.
    pub fn walk(&self, space: &Space<'_>, member: impl Fn(Va) -> bool) -> Walked {
        self.walk_to(space, None, member)
    }

    /// The same, begun at a member instead of the head: `self.head` is the member's link, and `end` the list's own head,
    /// whose links are not followed.
    pub fn walk_to(&self, space: &Space<'_>, end: Option<Va>, member: impl Fn(Va) -> bool) -> Walked {
        let mut there = self.one_way(space, None, end, &member);
        let mut out =
            Walked { forwards: there.links.len(), links: std::mem::take(&mut there.links), ..Walked::default() };
        if matches!(there.stop, Stop::Limit) {
            out.notes
                .push(Note::loss(format!("{} at {}: given up after {} entries", self.what, self.head, self.limit)));
            return out;
        }
        let came_round = matches!(there.stop, Stop::Head);
        if came_round && there.one_way.is_empty() && end.is_none() {
            out.whole = true;
            return out;
        }
        let seen = out.links.iter().copied().collect();
        let mut back = self.one_way(space, Some(&seen), end, &member);
        let found = back.links.len();
        back.links.reverse();
        out.links.append(&mut back.links);
        let same_lost = there.stop.lost().is_some_and(|at| back.stop.lost() == Some(at));
        let came_back = matches!(back.stop, Stop::Head);
        // From a member, the two directions are the two parts of the list.
        let ends = if end.is_some() { came_round && came_back } else { came_round || came_back };
        out.whole = ends || back.met || same_lost;
        self.tell(&there, &back, found, &mut out);
        out
    }

    /// The objects whose links stand `offset` bytes into them, of which `belongs` (asked of the link) is true; and how the walk went.
    pub fn members(&self, space: &Space<'_>, offset: u32, belongs: impl Fn(Va) -> bool) -> (Vec<Va>, Vec<Note>) {
        let walked = self.walk(space, &belongs);
        let links = walked.links.into_iter().filter(|l| belongs(*l));
        (links.map(|l| l.sub(offset.into())).collect(), walked.notes)
    }

    /// Both directions apart, each followed to its own end: what a forward walk meets, and what a backward walk meets, in the order
    /// they are met. An entry unlinked in one direction only is in one of the two.
    pub fn each_way(&self, space: &Space<'_>, end: Option<Va>, member: impl Fn(Va) -> bool) -> [OneWay; 2] {
        let nothing = FxHashSet::default();
        [None, Some(&nothing)].map(|seen| {
            let way = self.one_way(space, seen, end, &member);
            OneWay { links: way.links, whole: matches!(way.stop, Stop::Head) }
        })
    }

    /// The link of an entry: next and previous.
    fn link(&self, space: &Space<'_>, at: Va) -> Value<(Va, Va)> {
        let bytes = space.fetch(at, self.width.saturating_mul(2));
        let (next, previous) = bytes.all()?.split_at_checked(self.width as usize).ok_or(Absent::Implausible)?;
        Ok((Va(le(next).ok_or(Absent::Implausible)?), Va(le(previous).ok_or(Absent::Implausible)?)))
    }

    /// Walks forwards, or backwards keeping only what was not seen forwards.
    fn one_way(
        &self,
        space: &Space<'_>,
        forwards: Option<&FxHashSet<Va>>,
        end: Option<Va>,
        member: &impl Fn(Va) -> bool,
    ) -> Way {
        let backwards = forwards.is_some();
        let mut way = Way { links: Vec::new(), stop: Stop::Head, one_way: Vec::new(), met: false };
        let mut seen = FxHashSet::default();
        let follow = |at: Va| self.link(space, at).map(|(f, b)| if backwards { (b, f) } else { (f, b) });
        let mut at = self.head;
        let (mut next, last) = match follow(at) {
            Ok(both) => both,
            Err(why) => {
                way.stop = Stop::Broken(at, Why::Unreadable(why));
                return way;
            }
        };
        way.stop = loop {
            if next == self.head {
                if last != at {
                    way.one_way.push(self.head);
                }
                break Stop::Head;
            }
            if Some(next) == end {
                break Stop::Head;
            }
            if next.is_null() {
                break Stop::Broken(at, Why::Null);
            }
            if !next.0.is_multiple_of(self.width.into()) {
                break Stop::Broken(at, Why::Misaligned(next));
            }
            if seen.contains(&next) {
                break Stop::Loop(next);
            }
            if seen.len() >= self.limit {
                break Stop::Limit;
            }
            let link = follow(next);
            match link {
                Ok((_, previous)) if previous == at => {}
                // Its page was there and the dump did not keep it: an entry all the same, of which nothing else is known.
                Err(Absent::NotInDump) => {}
                Err(why) => break Stop::Broken(next, Why::Unreadable(why)),
                Ok(_) if member(next) => way.one_way.push(next),
                Ok(_) => break Stop::Broken(at, Why::Foreign(next)),
            }
            seen.insert(next);
            if forwards.is_some_and(|f| f.contains(&next)) {
                way.met = true;
            } else {
                way.links.push(next);
            }
            at = next;
            next = match link {
                Ok((next, _)) => next,
                Err(why) => break Stop::Broken(at, Why::Unreadable(why)),
            };
        };
        way
    }

    /// Says what broke and what was gained from the other end.
    fn tell(&self, there: &Way, back: &Way, found: usize, out: &mut Walked) {
        let Self { what, head, .. } = self;
        if let Some(first) = there.one_way.first() {
            out.notes.push(Note::info(format!(
                "{what} at {head}: {} of its entries do not point back to the one before, first {first}",
                there.one_way.len()
            )));
        }
        if matches!(there.stop, Stop::Head) {
            if found > 0 {
                out.notes.push(Note::info(format!(
                    "{what} at {head}: going backwards finds {found} that going forwards does not"
                )));
            }
            return;
        }
        let text = format!(
            "{what} at {head}: broken after {} ({}); {found} more found backwards from its end, {}",
            out.forwards,
            describe(&there.stop),
            match &back.stop {
                _ if back.met => "up to the break".to_owned(),
                Stop::Head => "up to its head".to_owned(),
                Stop::Limit => format!("given up after {}", self.limit),
                other => format!("where it is broken too ({})", describe(other)),
            }
        );
        // A walk backwards that comes to what was seen forwards closes the gap.
        out.notes.push(if back.met { Note::info(text) } else { Note::loss(text) });
    }
}

fn describe(stop: &Stop) -> String {
    match stop {
        Stop::Head => "at its head".to_owned(),
        Stop::Loop(at) => format!("it loops to {at}"),
        Stop::Limit => "too long".to_owned(),
        Stop::Broken(at, why) => match why {
            Why::Unreadable(why) => format!("the link at {at} is {why}"),
            Why::Null => format!("the link at {at} is null"),
            Why::Misaligned(to) => format!("the link at {at} leads to the misaligned {to}"),
            Why::Foreign(to) => {
                format!("the link at {at} leads to {to}, which does not point back and is no such object")
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;
    use crate::dump::Dump;
    use crate::paging::Mode;
    use crate::paging::testing::Memory;

    const BASE: u64 = 0xffff_9c81_0000_0000;
    const WIDTH: u32 = 8;

    /// Entry `n` of the lists below (0 is the head), each on a page of its own.
    fn at(n: u64) -> Va {
        Va(BASE + n * 0x1000 + 0x40)
    }
    /// Memory in which each entry has these links: `(entry, next, previous)`.
    fn memory(links: &[(u64, u64, u64)]) -> Memory {
        let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
        for (n, next, previous) in links {
            m.map(at(*n).page(), Pa(0x1000 * (n + 1)), 12);
            for (offset, to) in [(0, next), (8, previous)] {
                let to = if *to == u64::MAX { 0 } else { at(*to).0 };
                m.write(Pa(0x1000 * (n + 1) + 0x40 + offset), &to.to_le_bytes());
            }
        }
        m
    }
    const NULL: u64 = u64::MAX;
    const WHOLE: [(u64, u64, u64); 6] = [(0, 1, 5), (1, 2, 0), (2, 3, 1), (3, 4, 2), (4, 5, 3), (5, 0, 4)];

    fn walk(dump: &Dump, root: Pa, limit: usize, member: impl Fn(Va) -> bool) -> (Vec<u64>, usize, Vec<Note>) {
        let space = Space::new(dump, Mode::X64, root);
        let walked = List { what: "test list", head: at(0), width: WIDTH, limit }.walk(&space, member);
        (walked.links.iter().map(|l| (l.0 - BASE) / 0x1000).collect(), walked.forwards, walked.notes)
    }
    fn of(links: &[(u64, u64, u64)]) -> (Vec<u64>, usize, Vec<Note>) {
        let m = memory(links);
        walk(&m.dump(), m.root, 100, |_| true)
    }
    /// The list with some entries changed.
    fn but(changes: &[(u64, u64, u64)]) -> Vec<(u64, u64, u64)> {
        WHOLE.iter().map(|e| *changes.iter().find(|c| c.0 == e.0).unwrap_or(e)).collect()
    }

    #[test]
    fn a_whole_list_needs_no_note() {
        assert_eq!(of(&WHOLE), (vec![1, 2, 3, 4, 5], 5, vec![]));
        assert_eq!(of(&[(0, 0, 0)]), (vec![], 0, vec![]));
    }
    #[test]
    fn a_broken_list_is_walked_from_its_end_too() {
        let (found, forwards, notes) = of(&but(&[(3, NULL, 2)]));
        assert_eq!((found, forwards), (vec![1, 2, 3, 4, 5], 3));
        let [note] = notes.as_slice() else { panic!("{notes:?}") };
        assert!(!note.loss, "the walk from the end came up to the break: {}", note.text);
        assert!(note.text.contains("broken after 3 (the link at 0xffff9c8100003040 is null); 2 more"), "{}", note.text);
    }
    #[test]
    fn what_lies_between_two_breaks_is_lost_and_told() {
        let (found, forwards, notes) = of(&but(&[(1, NULL, 0), (5, 0, NULL)]));
        assert_eq!((found, forwards), (vec![1, 5], 1));
        assert!(notes[0].loss);
        assert!(notes[0].text.contains("where it is broken too"), "{}", notes[0].text);
    }
    #[test]
    fn an_entry_unlinked_in_one_direction_is_found_in_the_other() {
        // 2 was taken out of the forward links only.
        let (found, forwards, notes) = of(&but(&[(1, 3, 0)]));
        assert_eq!((found, forwards), (vec![1, 3, 4, 5, 2], 4));
        assert!(notes.iter().any(|n| n.text.contains("going backwards finds 1")), "{notes:?}");
        // The last entry taken out of the forward links.
        let (found, ..) = of(&but(&[(4, 0, 3)]));
        assert_eq!(found, [1, 2, 3, 4, 5]);
        // Taken out of the backward links: found forwards.
        let (found, ..) = of(&but(&[(3, 4, 1)]));
        assert_eq!(found, [1, 2, 3, 4, 5]);
    }
    #[test]
    fn each_way_meets_what_its_own_links_have() {
        let m = memory(&but(&[(1, 3, 0)])); // 2 was taken out of the forward links only
        let dump = m.dump();
        let space = Space::new(&dump, Mode::X64, m.root);
        let list = List { what: "test list", head: at(0), width: WIDTH, limit: 100 };
        let met = list
            .each_way(&space, None, |_| true)
            .map(|w| w.links.iter().map(|l| (l.0 - BASE) / 0x1000).collect::<Vec<_>>());
        assert_eq!(met, [vec![1, 3, 4, 5], vec![5, 4, 3, 2, 1]]);
    }
    #[test]
    fn a_loop_ends() {
        let (found, forwards, notes) = of(&but(&[(4, 2, 3)]));
        assert_eq!((found, forwards), (vec![1, 2, 3, 4, 5], 4));
        assert!(notes.iter().any(|n| n.text.contains("it loops to")), "{notes:?}");
    }
    #[test]
    fn a_link_into_something_else_is_not_followed() {
        let mut links = but(&[(2, 7, 1)]);
        links.extend([(7, 8, 8), (8, 7, 7)]);
        let m = memory(&links);
        let (found, forwards, notes) = walk(&m.dump(), m.root, 100, |link| link != at(7));
        assert_eq!((found, forwards), (vec![1, 2, 3, 4, 5], 2));
        assert!(notes.iter().any(|n| n.text.contains("is no such object")), "{notes:?}");
    }
    #[test]
    fn a_walk_gives_up() {
        let m = memory(&WHOLE);
        let (found, _, notes) = walk(&m.dump(), m.root, 3, |_| true);
        assert_eq!(found, [1, 2, 3]);
        assert!(notes[0].loss && notes[0].text.contains("given up after 3"));
    }
    #[test]
    fn an_entry_the_dump_lacks_is_listed_and_one_never_mapped_is_not() {
        let mut m = memory(&WHOLE);
        m.pages.remove(&4); // entry 3's page
        let (found, forwards, notes) = walk(&m.dump(), m.root, 100, |_| true);
        assert_eq!((found, forwards), (vec![1, 2, 3, 4, 5], 3));
        assert!(notes[0].text.contains("not in the dump"), "{}", notes[0].text);
        let m = memory(&[(0, 1, 5), (1, 2, 0), (2, 9, 1), (4, 5, 3), (5, 0, 4)]);
        let (found, _, notes) = walk(&m.dump(), m.root, 100, |_| true);
        assert_eq!(found, [1, 2, 4, 5]);
        assert!(notes[0].loss);
    }
    #[test]
    fn a_head_that_cannot_be_read_is_a_loss() {
        let m = Memory::new(Mode::X64, Pa(0x10_0000));
        let (found, _, notes) = walk(&m.dump(), m.root, 100, |_| true);
        assert!(found.is_empty() && notes[0].loss, "{notes:?}");
    }
}
