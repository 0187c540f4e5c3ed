//! `modscan`: loader entries of kernel modules found in physical memory, listed or not.

use super::modules;
use super::{Analysis, Answers, Ask, Case, Subject, scans};
use crate::error::Result;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Cell, Column, Kind, Sink, col, joined};
use rustc_hash::FxHashSet;

/// The register's entry.
pub static MODSCAN: Analysis = Analysis {
    name: "modscan",
    about: "Kernel modules' loader entries found in physical memory",
    help: "Finds loader entries by their pool tag (MmLd), also those taken off the list and those of modules that are gone. An entry \
           counts only where its base is page-aligned, in the kernel's half, and its name can be read.\n\n\
           Example: dumpwalk modscan memory.dmp --format json",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of_memory(run),
};

const OWN: [Column; 3] =
    [scans::PHYSICAL, scans::FOUND_BY, col("listed", Kind::Bool, "Whether the list of loaded modules has it")];
const COLUMNS: [Column; modules::COLUMNS.len() + OWN.len()] = joined(modules::COLUMNS, OWN);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (kernel, found) = scans::scan(case, ask, sink, Scanned::Module)?;
    let loaded = modules::loaded(case)?;
    let listed: FxHashSet<_> = loaded.list.iter().filter_map(|m| m.offset.ok()).collect();
    let space = kernel.space();
    let bounds = modules::bounds(case, &loaded);
    for f in &found {
        let Some(va) = f.va else { continue };
        let module = kernel.module_at(&space, va)?;
        if !kernel.can_be_module(&module) {
            continue;
        }
        let mut row = modules::row(&module, module.built(Some(&space), bounds).0);
        let [physical, by] = scans::cells(f);
        let own: [Cell; OWN.len()] = [physical, by, listed.contains(&va).into()];
        row.cells.extend(own);
        sink.row(row)?;
    }
    Ok(())
}
