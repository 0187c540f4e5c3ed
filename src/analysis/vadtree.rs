//! `vadtree`: the VADs as the tree the kernel keeps them in.

use super::parallel::each_process;
use super::vadinfo::{COLUMNS, VadRows};
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::error::Result;
use crate::kernel::file_object::Files;
use crate::report::Sink;

/// The register's entry.
pub static VADTREE: Analysis = Analysis {
    name: "vadtree",
    about: "The tree of each process's address ranges, with parents",
    help: "The same rows as vadinfo, but each node before its children, indented by its depth: the shape in which the kernel keeps them. \
           A sound tree is balanced: depths differ by one at most between siblings' deepest nodes.\n\nExample: dumpwalk vadtree memory.dmp --pid 1234",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let show = VadRows::of(kernel)?;
    show.note.iter().for_each(|n| sink.note(n.clone()));
    each_process(case, ask, sink, |space, process, sink| {
        let mut files = Files::of(kernel).map_err(|e| kernel.unreadable(&e))?;
        let (tree, usage) = show.tree(process, space, sink);
        for vad in tree.top_down() {
            let mut row = show.row((process, space, &usage), &mut files, vad, ask, sink);
            row.depth = vad.depth;
            sink.row(row)?;
        }
        Ok(())
    })
}
