//! `process` and `report`: everything there is to say of one process, or of all, in sections.
//!
//! A section is an analysis told one process at a time. [`SECTIONS`] is their register, in the order of a page: adding one is one entry.

use super::identities::Identities;
use super::parallel::{asked_for, in_order};
use super::threads::{Common, Worker};
use super::vadinfo::VadRows;
use super::{
    Analysis, Ask, Case, Switch, callstacks, cmdline, crashinfo, dlllist, envars, getsids, handles, heaps, info,
    lifecycle, modules, privileges, pslist, stacks, standing, threads, tokens, unloaded, unloadeddlls, vadinfo,
    workingset,
};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::Process;
use crate::kernel::sides::Sides;
use crate::report::{Column, Row, Sink};
use crate::value::Note;

/// The register's entry.
pub static PROCESS: Analysis = Analysis {
    name: "process",
    about: "One process whole: image, token, address space, modules, heaps, handles, threads, stacks",
    help: "Everything the kernel holds of one process, in sections, each with the columns of the subcommand of its name. Give the process by \
           --pid or --name; every process that matches gets a page. --sections names the ones wanted.\n\n\
           Examples:\n  dumpwalk process memory.dmp --pid 4242\n  \
           dumpwalk process memory.dmp --name explorer --sections pslist,tokens,callstacks",
    columns: &[],
    switches: &[CHOICE],
    run: process,
};

/// The register's entry.
pub static REPORT: Analysis = Analysis {
    name: "report",
    about: "The whole dump: machine, modules, and a page for every process",
    help: "What the dump is, the crash, the kernel's modules, then a page for every process of the active list, as `process` gives it. As JSON \
           one array, as JSONL one row a line; each row names its section. Rows stream: memory does not grow with the dump.\n\n\
           Example: dumpwalk report memory.dmp --format jsonl -o report.jsonl",
    columns: &[],
    switches: &[CHOICE],
    run: report,
};

/// The switch that both have.
const CHOICE: Switch =
    Switch { name: "sections", value: Some("NAMES"), about: "Only these sections, by the names of their subcommands" };

/// What all processes share, read once.
struct Shared<'k> {
    kernel: &'k Kernel,
    common: Common<'k>,
    identities: Option<Identities>,
    types: ObjectTypes,
    standing: standing::Shared<'k>,
    lifecycle: lifecycle::Shared<'k>,
    sides: Option<Sides<'k>>,
    modules: Option<dlllist::ModuleRows<'k>>,
    vads: Option<VadRows<'k>>,
    rings: Option<unloadeddlls::Shared<'k>>,
}

impl<'k> Shared<'k> {
    fn of(kernel: &'k Kernel, wanted: &[Process<'k>], sink: &mut dyn Sink) -> Result<Self> {
        // What the symbols lack costs its sections, and says so.
        let mut told = |what: &str, error: &dyn std::fmt::Display| sink.note(Note::loss(format!("no {what}: {error}")));
        let identities = Identities::gather(kernel).map_err(|e| told("tokens", &e)).ok();
        let sides = Sides::of(kernel).map_err(|e| told("user-mode structures", &e)).ok();
        let modules = dlllist::ModuleRows::of(kernel).map_err(|e| told("modules", &e)).ok();
        let all = kernel.processes()?.list;
        let rings = unloadeddlls::Shared::of(kernel, &all).map_err(|e| told("unloaded DLLs", &e)).ok();
        let vads = VadRows::of(kernel, sink).map_err(|e| sink.note(Note::loss(format!("no address ranges: {e}")))).ok();
        let types = kernel.object_types();
        types.notes.iter().for_each(|n| sink.note(n.clone()));
        let standing = standing::Shared::of(kernel, &all);
        let lifecycle = lifecycle::Shared::of(kernel, wanted)?;
        let common = Common::of(kernel, false);
        Ok(Self { kernel, common, identities, types, standing, lifecycle, sides, modules, vads, rings })
    }
}

/// Where a section's rows are wanted.
struct At<'a, 'k> {
    shared: &'a Shared<'k>,
    process: &'a Process<'k>,
    ask: &'a Ask,
}

/// One section.
struct Section {
    /// Its name, columns and help.
    analysis: &'static Analysis,
    /// Its rows of one process.
    rows: for<'a, 'k> fn(At<'a, 'k>, &mut Worker<'k>, &mut dyn Sink) -> Result<()>,
}

/// The sections of a page, in its order: as the kernel holds a process.
static SECTIONS: [Section; 17] = [
    Section {
        analysis: &pslist::PSLIST,
        rows: |at, worker, sink| sink.row(pslist::row(at.process, &worker.space, at.ask)),
    },
    Section {
        analysis: &standing::STANDING,
        rows: |at, worker, sink| {
            sink.row(standing::row(&at.shared.standing, &at.shared.types, at.process, &worker.space))
        },
    },
    Section {
        analysis: &lifecycle::LIFECYCLE,
        rows: |at, worker, sink| lifecycle::rows(&at.shared.lifecycle, at.process, &worker.space, sink),
    },
    Section {
        analysis: &cmdline::CMDLINE,
        rows: |at, worker, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            let row = cmdline::row(sides, at.process, &worker.space, at.ask, sink);
            sink.row(row)
        },
    },
    Section {
        analysis: &tokens::TOKENS,
        rows: |at, worker, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            tokens::rows(identities, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &getsids::GETSIDS,
        rows: |at, worker, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            getsids::rows(identities, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &privileges::PRIVILEGES,
        rows: |at, worker, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            privileges::rows(&identities.tokens, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &vadinfo::VADINFO,
        rows: |at, worker, sink| {
            let Some(vads) = &at.shared.vads else { return Ok(()) };
            vadinfo::rows(vads, at.process, &worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &dlllist::DLLLIST,
        rows: |at, worker, sink| {
            let Some(modules) = &at.shared.modules else { return Ok(()) };
            dlllist::rows(modules, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &unloadeddlls::UNLOADEDDLLS,
        rows: |at, worker, sink| {
            let Some(rings) = &at.shared.rings else { return Ok(()) };
            unloadeddlls::rows(rings, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &heaps::HEAPS,
        rows: |at, worker, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            heaps::rows(sides, at.process, &worker.space, sink)
        },
    },
    Section {
        analysis: &workingset::WORKINGSET,
        rows: |at, worker, sink| {
            let pfns = crate::kernel::page_state::PfnDatabase::of(at.shared.kernel);
            workingset::rows(at.shared.kernel, pfns, at.process, &worker.space, at.ask, sink)
        },
    },
    Section { analysis: &stacks::STACKS, rows: |at, worker, sink| stacks::rows(worker, at.process, sink) },
    Section { analysis: &handles::HANDLES, rows: |at, _, sink| handles::rows(&at.shared.types, at.process, sink) },
    Section {
        analysis: &threads::THREADS,
        rows: |at, worker, sink| threads::rows(&at.shared.common, worker, at.process, at.ask, sink),
    },
    Section {
        analysis: &callstacks::CALLSTACKS,
        rows: |at, worker, sink| callstacks::rows(&at.shared.common, worker, at.process, None, sink),
    },
    Section {
        analysis: &envars::ENVARS,
        rows: |at, worker, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            envars::rows(sides, at.process, &worker.space, sink)
        },
    },
];

/// The sections before the processes, of the whole dump.
static WHOLE: [&Analysis; 4] = [&info::INFO, &crashinfo::CRASHINFO, &modules::MODULES, &unloaded::UNLOADED];

/// Which sections the user wants.
fn chosen(ask: &Ask, whole: &[&'static Analysis]) -> Result<impl Fn(&str) -> bool> {
    let names: Option<Vec<String>> =
        ask.value("sections").map(|v| v.split(',').map(|name| name.trim().to_owned()).collect());
    for name in names.iter().flatten() {
        let known = || whole.iter().map(|a| a.name).chain(SECTIONS.iter().map(|s| s.analysis.name));
        if !known().any(|k| k == name) {
            let all: Vec<&str> = known().collect();
            return Err(Error::Usage(format!(
                "--sections {name}: there is no such section; there are {}",
                all.join(", ")
            )));
        }
    }
    Ok(move |name: &str| names.as_ref().is_none_or(|wanted| wanted.iter().any(|w| w == name)))
}

fn process(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if ask.pids.is_empty() && ask.names.is_empty() {
        return Err(Error::Usage("process: say which one by --pid or --name (report tells of all)".into()));
    }
    pages(case, ask, &chosen(ask, &[])?, sink)
}

fn report(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let wanted = chosen(ask, &WHOLE)?;
    for analysis in WHOLE {
        if wanted(analysis.name) {
            match (analysis.run)(case, ask, &mut Lazy { section: analysis, begun: false, sink }) {
                Ok(()) => {}
                Err(Error::Output(why)) => return Err(Error::Output(why)),
                // What one part of the report cannot tell is no reason to tell nothing.
                Err(why) => sink.note(Note::loss(format!("{}: {why}", analysis.name))),
            }
        }
    }
    pages(case, ask, &wanted, sink)
}

/// The pages of the processes asked for. Each section of each process is a unit of work of its own.
fn pages(case: &Case, ask: &Ask, wanted: &impl Fn(&str) -> bool, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let processes = asked_for(case, ask, sink)?;
    let shared = Shared::of(kernel, &processes, sink)?;
    let sections: Vec<&Section> = SECTIONS.iter().filter(|s| wanted(s.analysis.name)).collect();
    let units = processes.iter().flat_map(|process| sections.iter().map(move |section| (process, *section)));
    in_order(
        units,
        || Worker::of(kernel),
        |worker, (process, section), sink| {
            let at = At { shared: &shared, process, ask };
            (section.rows)(at, worker, &mut Lazy { section: section.analysis, begun: false, sink })
        },
        sink,
    )
}

/// Begins a section with its first row: sections without rows are not shown.
struct Lazy<'a> {
    section: &'static Analysis,
    begun: bool,
    sink: &'a mut dyn Sink,
}

impl Sink for Lazy<'_> {
    fn row(&mut self, row: Row) -> Result<()> {
        if !self.begun {
            self.sink.section(self.section.name, self.section.columns)?;
            self.begun = true;
        }
        self.sink.row(row)
    }
    fn note(&mut self, note: Note) {
        self.sink.note(note);
    }
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        self.begun = true;
        self.sink.section(title, columns)
    }
}
