//! `modscan`: loader entries of kernel modules found in physical memory, listed or not.

use super::modules;
use super::scans::{self, Scans};
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::error::Result;
use crate::kernel::scan::find::Found;
use crate::kernel::scan::tags::Kind as Scanned;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, joined};
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

/// A loader entry that the scan met.
struct Hits;
struct Hit<'a> {
    found: &'a Found,
    listed: bool,
}
impl crate::report::Subject for Hits {
    type Of<'a> = Hit<'a>;
}
impl Scans for Hits {
    fn found<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Found {
        of.found
    }
}

const OWN: &[Field<Hits>] = &[
    scans::physical(),
    scans::found_by(),
    derived(
        col("listed", Kind::Bool, "Whether the list of loaded modules has it"),
        "PsLoadedModuleList and the links of its members",
        |c| c.listed.into(),
    ),
];
const COLUMNS: [Column; modules::COLUMNS.len() + OWN.len()] = joined(modules::COLUMNS, headers::<_, 3>(OWN));

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
        let built = module.built(Some(&space), bounds).0;
        let of = modules::Of { kernel: Some((kernel, &space)), module: &module, built, entry: None };
        let hit = Hit { found: f, listed: listed.contains(&va) };
        sink.row(Row::of(modules::FIELDS, &of, &ask.rows).and(OWN, &hit, &ask.rows).at(module.place))?;
    }
    Ok(())
}
