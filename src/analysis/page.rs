//! `process` and `report`: everything there is to say of one process, or of all, in sections.
//!
//! A section is an analysis told one process at a time. [`SECTIONS`] is their register, in the order of a page: adding one is one entry.

use super::findings::needs::{Need, is_met};
use super::identities::Identities;
use super::parallel::{asked_for, in_order};
use super::thread_walk::{Common, Worker};
use super::vadinfo::VadRows;
use super::{
    Analysis, Answers, Ask, Case, Subject, Switch, Takes, callstacks, cmdline, crashinfo, dlllist, envars, getsids,
    handles, heaps, images, info, joblinks, lifecycle, mappedfiles, modules, privileges, procinfo, pslist, sessions,
    stacks, threads, tokens, unloaded, unloadeddlls, vadinfo, workingset,
};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::file_object::Files;
use crate::kernel::object::Objects;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::Process;
use crate::kernel::sides::Sides;
use crate::report::{Column, Row, Sink};
use crate::value::Note;
use std::sync::Arc;

/// The register's entry.
pub static PROCESS: Analysis = Analysis {
    name: "process",
    about: "One process whole: image, token, address space, modules, heaps, handles, threads, stacks",
    help: "Everything the kernel holds of one process, in sections, each with the columns of the subcommand of its name. Give the process by \
           --pid or --name; every process that matches gets a page. --sections names the ones wanted.\n\n\
           Examples:\n  dumpwalk process memory.dmp --pid 4242\n  \
           dumpwalk process memory.dmp --name explorer --sections pslist,tokens,callstacks",
    columns: &[],
    switches: &[choice(|name| section(name, &[]))],
    subject: Subject::Processes,
    answers: Answers::of(process)
        .triage(process_of_triage)
        .minidump(|case, _, ask, sink| process_of_minidump(case, ask, sink)),
};

/// The register's entry.
pub static REPORT: Analysis = Analysis {
    name: "report",
    about: "The whole dump: machine, modules, and a page for every process",
    help: "What the dump is, the crash, the kernel's modules, who is logged on, then a page for every process of the active list, as `process` \
           gives it (what is mapped stands once, at the end), in one pass. As JSON one array, as JSONL one row a line; each row names its \
           section. Rows stream: memory does not grow with the dump.\n\n\
           Example: dumpwalk report memory.dmp --format jsonl -o report.jsonl",
    columns: &[],
    switches: &[choice(|name| section(name, &BEFORE))],
    subject: Subject::Processes,
    answers: Answers::of(report)
        .triage(report_of_triage)
        .minidump(|case, _, ask, sink| whole(case, ask, &chosen(ask, &BEFORE)?, OF_STREAMS.into_iter(), sink)),
};

/// The switch that both have.
const fn choice(check: fn(&str) -> std::result::Result<(), String>) -> Switch {
    Switch {
        name: "sections",
        value: Some(Takes::list("NAMES", check)),
        about: "Only these sections, by the names of their subcommands",
    }
}

/// What all processes share, read once; of what no wanted section needs, nothing.
struct Shared<'k> {
    kernel: &'k Kernel,
    common: Common<'k>,
    types: ObjectTypes,
    identities: Option<Identities>,
    procinfo: Option<procinfo::Shared>,
    lifecycle: Option<lifecycle::Shared<'k>>,
    sides: Option<Sides<'k>>,
    images: Option<images::ImageRows<'k>>,
    modules: Option<dlllist::ModuleRows<'k>>,
    vads: Option<VadRows<'k>>,
    rings: Option<unloadeddlls::Shared<'k>>,
}

impl<'k> Shared<'k> {
    fn of(
        kernel: &'k Kernel,
        processes: &[Process<'k>],
        wanted: &(impl Fn(&str) -> bool + Sync),
        sink: &mut dyn Sink,
    ) -> Result<Self> {
        /// What the symbols lack costs its sections, and says so.
        fn told<T>(made: Option<Result<T>>, what: &str, sink: &mut dyn Sink) -> Option<T> {
            made?.map_err(|e| sink.note(Note::loss(format!("no {what}: {e}")))).ok()
        }
        let any = |names: &[&str]| names.iter().any(|n| wanted(n));
        let all = kernel.processes()?.list;
        let types = kernel.object_types();
        types.notes.iter().for_each(|n| sink.note(n.clone()));
        // These go through all processes before the first page is told: side by side, for none of them fills all threads.
        let ((identities, lifecycle), vads) = rayon::join(
            || {
                rayon::join(
                    || any(&["tokens", "getsids", "privileges"]).then(|| Identities::gather(kernel)),
                    || wanted("lifecycle").then(|| lifecycle::Shared::of(kernel, processes)),
                )
            },
            || wanted("vadinfo").then(|| VadRows::of(kernel)),
        );
        let identities = told(identities, "tokens", sink);
        identities.iter().flat_map(|i| &i.notes).for_each(|n| sink.note(n.clone()));
        let lifecycle = told(lifecycle, "beginnings and ends", sink);
        let sides = any(&["cmdline", "envars", "heaps"]).then(|| Sides::of(kernel).map_err(|e| kernel.unreadable(&e)));
        let sides = told(sides, "user-mode structures", sink);
        let images = told(wanted("images").then(|| images::ImageRows::of(kernel)), "images", sink);
        let modules = told(wanted("dlllist").then(|| dlllist::ModuleRows::of(kernel)), "modules", sink);
        let vads = told(vads, "address ranges", sink);
        vads.iter().filter_map(|v| v.note.as_ref()).for_each(|n| sink.note(n.clone()));
        let procinfo = wanted("procinfo").then(|| procinfo::Shared::of(kernel, &all));
        let rings = told(wanted("unloadeddlls").then(|| unloadeddlls::Shared::of(kernel, all)), "unloaded DLLs", sink);
        let common = Common::of(kernel, false);
        Ok(Self { kernel, common, types, identities, procinfo, lifecycle, sides, images, modules, vads, rings })
    }
}

/// Where a section's rows are wanted.
struct At<'a, 'k> {
    shared: &'k Shared<'k>,
    process: &'a Process<'k>,
    ask: &'a Ask,
}

/// One section.
struct Section {
    /// Its name, columns and help.
    analysis: &'static Analysis,
    /// Its rows of one process.
    rows: for<'a, 'k> fn(At<'a, 'k>, &mut Hands<'k>, &mut dyn Sink) -> Result<()>,
}

/// What the rows of a section are found by. A kernel that lacks one of these leaves rows out, not cells, and a note says so.
const ROWS: [(&str, &[Need]); 3] = [
    (
        "callstacks",
        &[
            &["_ETHREAD.Tcb.KernelStack"],
            &["_ETHREAD.Tcb.StackBase"],
            &["_ETHREAD.Tcb.StackLimit"],
            &["_ETHREAD.Tcb.TrapFrame"],
            &["_KTRAP_FRAME.Rip", "_KTRAP_FRAME.Eip", "_KTRAP_FRAME.Pc"],
            &["_KTRAP_FRAME.Rsp", "_KTRAP_FRAME.HardwareEsp", "_KTRAP_FRAME.Sp"],
            &["_KTRAP_FRAME.SegCs", "_KTRAP_FRAME.Spsr"],
            &["_TEB.NtTib.StackBase"],
            &["_TEB.NtTib.StackLimit"],
            &["_KLDR_DATA_TABLE_ENTRY.DllBase", "_LDR_DATA_TABLE_ENTRY.DllBase"],
            &["_KLDR_DATA_TABLE_ENTRY.SizeOfImage", "_LDR_DATA_TABLE_ENTRY.SizeOfImage"],
        ],
    ),
    (
        "mappedfiles",
        &[&["_MMVAD.Subsection", "_MMVAD.ControlArea"], &["_SUBSECTION.ControlArea"], &["_CONTROL_AREA.Segment"]],
    ),
    ("stacks", &[&["_ETHREAD.Tcb.Teb"], &["_TEB.NtTib.Self"], &["_TEB.NtTib.ExceptionList"]]),
];

/// A note for each wanted section that may lack rows.
fn lacking(kernel: &Kernel, wanted: &impl Fn(&str) -> bool, sink: &mut dyn Sink) {
    for (section, needs) in ROWS.iter().filter(|(section, _)| wanted(section)) {
        if let Some(field) = needs.iter().find(|n| !is_met(&kernel.symbols.types, n)).and_then(|n| n.first()) {
            sink.note(Note::loss(format!("{section}: rows may be missing: the symbols have no {field}")));
        }
    }
}

/// What one thread works with, page after page.
struct Hands<'k> {
    worker: Worker<'k>,
    /// Made when it is first needed: not every page has handles.
    objects: Option<Objects<'k>>,
}

impl<'k> Hands<'k> {
    fn of(kernel: &'k Kernel) -> Self {
        Self { worker: Worker::of(kernel), objects: None }
    }
    /// The reader of objects, which remembers names it met.
    fn objects(&mut self, shared: &'k Shared<'k>) -> Result<&mut Objects<'k>> {
        Ok(match &mut self.objects {
            Some(objects) => objects,
            none => none.insert(Objects::of(shared.kernel, &shared.types)?),
        })
    }
}

/// The sections of a page, in its order: as the kernel holds a process. The process, its token, its address space with what lives
/// there, its working set, its handles, its threads.
static SECTIONS: [Section; 20] = [
    Section {
        analysis: &pslist::PSLIST,
        rows: |at, hands, sink| sink.row(pslist::row(at.process, &hands.worker.space, at.ask)),
    },
    Section {
        analysis: &procinfo::PROCINFO,
        rows: |at, hands, sink| {
            let Some(procinfo) = &at.shared.procinfo else { return Ok(()) };
            sink.row(procinfo::row(procinfo, &at.shared.types, at.process, &hands.worker.space, at.ask))
        },
    },
    Section {
        analysis: &lifecycle::LIFECYCLE,
        rows: |at, hands, sink| {
            let Some(lifecycle) = &at.shared.lifecycle else { return Ok(()) };
            lifecycle::rows(lifecycle, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &joblinks::JOBLINKS,
        rows: |at, hands, sink| joblinks::rows(hands.objects(at.shared)?, at.process, at.ask, sink),
    },
    Section {
        analysis: &tokens::TOKENS,
        rows: |at, hands, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            tokens::rows(identities, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &getsids::GETSIDS,
        rows: |at, hands, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            getsids::rows(identities, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &privileges::PRIVILEGES,
        rows: |at, hands, sink| {
            let Some(identities) = &at.shared.identities else { return Ok(()) };
            privileges::rows(&identities.tokens, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &images::IMAGES,
        rows: |at, hands, sink| {
            let Some(images) = &at.shared.images else { return Ok(()) };
            let mut files = Files::of(at.shared.kernel).map_err(|e| at.shared.kernel.unreadable(&e))?;
            sink.row(images.row(at.process, &hands.worker.space, &mut files, at.ask))
        },
    },
    Section {
        analysis: &cmdline::CMDLINE,
        rows: |at, hands, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            let row = cmdline::row(sides, at.process, &hands.worker.space, at.ask, sink);
            sink.row(row)
        },
    },
    Section {
        analysis: &envars::ENVARS,
        rows: |at, hands, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            envars::rows(sides, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &vadinfo::VADINFO,
        rows: |at, hands, sink| {
            let Some(vads) = &at.shared.vads else { return Ok(()) };
            vadinfo::rows(vads, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &dlllist::DLLLIST,
        rows: |at, hands, sink| {
            let Some(modules) = &at.shared.modules else { return Ok(()) };
            dlllist::rows(modules, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &unloadeddlls::UNLOADEDDLLS,
        rows: |at, hands, sink| {
            let Some(rings) = &at.shared.rings else { return Ok(()) };
            unloadeddlls::rows(rings, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &heaps::HEAPS,
        rows: |at, hands, sink| {
            let Some(sides) = &at.shared.sides else { return Ok(()) };
            heaps::rows(sides, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &stacks::STACKS,
        rows: |at, hands, sink| stacks::rows(&mut hands.worker, at.process, at.ask, sink),
    },
    Section {
        analysis: &mappedfiles::MAPPEDFILES,
        rows: |at, hands, sink| mappedfiles::rows(at.process, &hands.worker.space, at.ask, sink),
    },
    Section {
        analysis: &workingset::WORKINGSET,
        rows: |at, hands, sink| {
            let pfns = crate::kernel::page_state::PfnDatabase::of(at.shared.kernel);
            workingset::rows(at.shared.kernel, pfns, at.process, &hands.worker.space, at.ask, sink)
        },
    },
    Section {
        analysis: &handles::HANDLES,
        rows: |at, hands, sink| handles::rows(hands.objects(at.shared)?, at.process, at.ask, sink),
    },
    Section {
        analysis: &threads::THREADS,
        rows: |at, hands, sink| threads::rows(&at.shared.common, &mut hands.worker, at.process, at.ask, sink),
    },
    Section {
        analysis: &callstacks::CALLSTACKS,
        rows: |at, hands, sink| callstacks::rows(&at.shared.common, &mut hands.worker, at.process, None, at.ask, sink),
    },
];

/// The sections before the processes, of the whole dump.
static BEFORE: [&Analysis; 5] =
    [&info::INFO, &crashinfo::CRASHINFO, &modules::MODULES, &unloaded::UNLOADED, &sessions::SESSIONS];
/// The section behind them: what processes share is told once, not in each page.
static BEHIND: &Analysis = &mappedfiles::MAPPEDFILES;
/// What a user-mode minidump answers with: its streams hold one process and no kernel.
static OF_STREAMS: [&Analysis; 11] = [
    &info::INFO,
    &crashinfo::CRASHINFO,
    &pslist::PSLIST,
    &cmdline::CMDLINE,
    &envars::ENVARS,
    &vadinfo::VADINFO,
    &dlllist::DLLLIST,
    &unloaded::UNLOADED,
    &handles::HANDLES,
    &threads::THREADS,
    &callstacks::CALLSTACKS,
];

/// What a triage dump of a kernel without a known layout says of the process that was running.
static OF_COPIES: [&Analysis; 3] = [&pslist::PSLIST, &threads::THREADS, &callstacks::CALLSTACKS];

/// Refuses what is no section.
fn section(name: &str, whole: &[&'static Analysis]) -> std::result::Result<(), String> {
    let known = || whole.iter().map(|a| a.name).chain(SECTIONS.iter().map(|s| s.analysis.name));
    if known().any(|k| k == name) {
        return Ok(());
    }
    Err(format!("there is no section '{name}'; there are {}", known().collect::<Vec<_>>().join(", ")))
}

/// Which sections the user wants.
fn chosen(ask: &Ask, whole: &[&'static Analysis]) -> Result<impl Fn(&str) -> bool> {
    let names: Vec<String> = ask.values("sections").map(str::to_owned).collect();
    names.iter().try_for_each(|name| section(name, whole)).map_err(Error::Usage)?;
    Ok(move |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name))
}

/// The sections wanted of the processes that were asked for.
fn of_some(ask: &Ask) -> Result<impl Fn(&str) -> bool> {
    if ask.names_none() {
        return Err(Error::Usage("process: say which one by --pid, --name or --offset (report tells of all)".into()));
    }
    chosen(ask, &[])
}

fn process(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    pages(case, ask, &of_some(ask)?, sink)
}

fn process_of_minidump(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let of_process = OF_STREAMS.into_iter().filter(|a| a.subject == Subject::Processes);
    whole(case, ask, &of_some(ask)?, of_process, sink)
}

fn process_of_triage(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    match case.without_structures() {
        Some(_) => whole(case, ask, &of_some(ask)?, OF_COPIES.into_iter(), sink),
        None => process(case, ask, sink),
    }
}

fn report_of_triage(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if case.without_structures().is_none() {
        return report(case, ask, sink);
    }
    let before = BEFORE.into_iter().filter(|a| a.name != sessions::SESSIONS.name);
    whole(case, ask, &chosen(ask, &BEFORE)?, before.chain(OF_COPIES), sink)
}

fn report(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let wanted = chosen(ask, &BEFORE)?;
    whole(case, ask, &wanted, BEFORE.into_iter(), sink)?;
    pages(case, ask, &|name: &str| name != BEHIND.name && wanted(name), sink)?;
    lacking(case.kernel()?, &|name: &str| name == BEHIND.name && wanted(name), sink);
    whole(case, ask, &wanted, std::iter::once(BEHIND), sink)
}

/// Sections that are told of the dump as a whole.
fn whole(
    case: &Case,
    ask: &Ask,
    wanted: &impl Fn(&str) -> bool,
    sections: impl Iterator<Item = &'static Analysis>,
    sink: &mut dyn Sink,
) -> Result<()> {
    for section in sections.filter(|a| wanted(a.name)) {
        let told = section.run(case, ask, &mut Lazy { section, begun: false, sink });
        or_note(told, section, None, sink)?;
    }
    Ok(())
}

/// What one section cannot tell is no reason to tell nothing: its error becomes a note, unless it is the output's.
fn or_note(told: Result<()>, section: &Analysis, of: Option<&Process<'_>>, sink: &mut dyn Sink) -> Result<()> {
    match told {
        Err(why @ (Error::Output(_) | Error::Usage(_))) => Err(why),
        Err(why) => {
            let pid = of.and_then(|p| p.pid().ok()).map(|pid| format!("process {pid}: ")).unwrap_or_default();
            sink.note(Note::loss(format!("{pid}{}: {why}", section.name)));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// The sections with which a new unit of work begins: one thread makes those between them one after the other. A unit costs a hand-over,
/// which most sections are not worth; a page of one unit would keep all of a huge process on one thread. Those that tell of threads
/// gather them once.
const BEGIN: [&str; 3] = ["getsids", "vadinfo", "stacks"];

/// The pages of the processes asked for, some sections of a process at a time.
fn pages(case: &Case, ask: &Ask, wanted: &(impl Fn(&str) -> bool + Sync), sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let processes = asked_for(case, ask, sink)?;
    lacking(kernel, wanted, sink);
    let shared = Shared::of(kernel, &processes, wanted, sink)?;
    let sections: Vec<&Section> = SECTIONS.iter().filter(|s| wanted(s.analysis.name)).collect();
    let units = processes.into_iter().flat_map(|process| {
        let process = Arc::new(process.keeping_ranges());
        let parts = sections.chunk_by(|_, next| !BEGIN.contains(&next.analysis.name));
        parts.map(move |part| (Arc::clone(&process), part))
    });
    in_order(
        units,
        || Hands::of(kernel),
        |hands, (process, part), sink| {
            part.iter().try_for_each(|section| {
                let at = At { shared: &shared, process: &process, ask };
                let told = (section.rows)(at, hands, &mut Lazy { section: section.analysis, begun: false, sink });
                or_note(told, section.analysis, Some(&process), sink)
            })
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
