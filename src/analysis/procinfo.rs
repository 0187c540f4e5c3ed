//! `procinfo`: a process's place in the system: parent, job, priority, protection, mitigations, time and memory used.

use super::family::{Family, Known};
use super::parallel::{asked_for, in_order};
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::PAGE_SIZE;
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::object::Objects;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::shared_data::Clock;
use crate::kernel::standing::{Sort, signing_level};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The register's entry.
pub static PROCINFO: Analysis = Analysis {
    name: "procinfo",
    about: "Process details: parent, job, priority, protection, mitigations, CPU time, memory",
    help: "Names for flags and mitigations are the kernel's own. The parent column says whether the process with the parent's id \
           can have made this one (see pstree). Memory figures are the kernel's counters, in bytes.\n\n\
           Example: dumpwalk procinfo memory.dmp --name lsass --format json",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, ask, sink| copied::process(kernel, &COLUMNS, ask, sink)),
};

/// A process's place in the system.
struct Details;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    types: &'a ObjectTypes,
    parent: Known,
    /// Kernel and user, in 100 ns.
    time: Value<(u64, u64)>,
}
who::of_process!(Details, Of);

impl Of<'_> {
    fn job(&self) -> Value<Va> {
        self.process.view.job().and_then(Va::not_null)
    }
}

fn pages(count: Value<u64>) -> Cell {
    count.and_then(|n| n.checked_mul(PAGE_SIZE).ok_or(Absent::Implausible)).into()
}
fn level(level: Value<u8>) -> Cell {
    level.map(|l| format!("{} ({l:#x})", signing_level(l))).into()
}

const FIELDS: &[Field<Details>] = &[
    who::pid(),
    who::name(),
    derived(
        col("kind", Kind::Text, "What sort of process it is: system, user, minimal, pico, secure …"),
        "flags of the _EPROCESS, and whether it has what an image has (PEB, section, path)",
        |c| c.process.sort().map(Sort::word).into(),
    ),
    derived(wide("purpose", Kind::Text, "What a process without an image of its own is for"), "kind, and name", |c| {
        c.process.purpose().ok_or(Absent::NotApplicable).into()
    }),
    who::ppid(col("ppid", Kind::Number, "Id of the parent it inherited from")),
    derived(
        col("parent", Kind::Text, "found; gone; younger (the id was used again); ended (before); unknown"),
        "ids and times of all processes",
        |c| c.parent.parent.word().into(),
    ),
    derived(
        col("parent_name", Kind::Text, "The parent's name, where it can be its parent"),
        "parent, and the name of the process it means",
        |c| c.parent.name.clone().ok_or(Absent::NotApplicable).into(),
    ),
    who::create_time(wide("create_time", Kind::Time, "When it was created")),
    who::exit_time(wide("exit_time", Kind::Time, "When it ended; none while it runs")),
    who::exit_status(wide("exit_status", Kind::Hex, "What it ended with; none while it runs")),
    placed(
        wide("session", Kind::Number, "Session number"),
        |c| c.process.session(c.space).into(),
        |c| c.process.session_at(c.space),
    ),
    placed(wide("job", Kind::Hex, "Address of its job"), |c| c.job().into(), |c| c.process.view.at(EProcess::job)),
    derived(
        col("job_name", Kind::Text, "The job's path, of a named one"),
        "the job's own name behind those of its directories",
        |c| c.job().and_then(|job| job_name(c.process.kernel, c.types, job)).into(),
    ),
    placed(
        col("priority_class", Kind::Text, "idle, below-normal, normal, above-normal, high, realtime"),
        |c| c.process.priority_class().into(),
        |c| c.process.view.at(EProcess::priority_class),
    ),
    placed(
        wide("base_priority", Kind::Number, "Priority its threads start from"),
        |c| c.process.view.base_priority().into(),
        |c| c.process.view.at(EProcess::base_priority),
    ),
    who::protection(col("protection", Kind::Text, "Protected-process type and signer")),
    placed(
        wide("signature_level", Kind::Text, "Signing level its image was checked for"),
        |c| level(c.process.view.signature_level()),
        |c| c.process.view.at(EProcess::signature_level),
    ),
    placed(
        wide("section_signature_level", Kind::Text, "Signing level that libraries it loads must have"),
        |c| level(c.process.view.section_signature_level()),
        |c| c.process.view.at(EProcess::section_signature_level),
    ),
    derived(
        col("mitigations", Kind::Texts, "Mitigations that are on or audited, by the kernel's names"),
        "MitigationFlags to MitigationFlags3; before Windows 10 other flag words",
        |c| c.process.mitigations().into(),
    ),
    placed(
        wide("execute_options", Kind::Texts, "Data-execution options (_KEXECUTE_OPTIONS)"),
        |c| c.process.execute_options().into(),
        |c| c.process.view.at(EProcess::execute_options),
    ),
    derived(
        wide("flags", Kind::Texts, "Every flag of its flag words that is set, by the kernel's names"),
        "Flags, Flags2, Flags3 and Flags4",
        |c| c.process.all_flags().into(),
    ),
    placed(
        wide("critical", Kind::Bool, "Whether the machine stops when it ends (BreakOnTermination)"),
        |c| c.process.view.critical().map(|bit| bit != 0).into(),
        |c| c.process.view.at(EProcess::critical),
    ),
    placed(
        wide("debugged", Kind::Bool, "Whether a debugger is attached (DebugPort)"),
        |c| c.process.view.debug_port().map(|port| !port.is_null()).into(),
        |c| c.process.view.at(EProcess::debug_port),
    ),
    who::wow64(wide("wow64", Kind::Bool, "Whether it is a 32-bit process of a 64-bit Windows")),
    derived(
        wide("kernel_time_ms", Kind::Number, "Milliseconds of processor time spent in the kernel"),
        "KernelTime of process and threads, in ticks or cycles of the machine's clock",
        |c| c.time.map(|t| t.0 / 10_000).into(),
    ),
    derived(
        wide("user_time_ms", Kind::Number, "Milliseconds of processor time spent in user mode"),
        "UserTime of process and threads, in ticks or cycles of the machine's clock",
        |c| c.time.map(|t| t.1 / 10_000).into(),
    ),
    placed(
        wide("cycles", Kind::Number, "Processor cycles used"),
        |c| c.process.view.cycles().into(),
        |c| c.process.view.at(EProcess::cycles),
    ),
    derived(
        wide("working_set", Kind::Number, "Bytes of its memory that were resident, by the kernel's counter"),
        "WorkingSetSize, in pages",
        |c| pages(c.process.view.working_set()),
    ),
    derived(wide("working_set_peak", Kind::Number, "The most there were"), "PeakWorkingSetSize, in pages", |c| {
        pages(c.process.view.working_set_peak())
    }),
    derived(
        wide("private", Kind::Number, "Bytes of private pages (NumberOfPrivatePages)"),
        "NumberOfPrivatePages, in pages",
        |c| pages(c.process.view.private_pages()),
    ),
    derived(wide("commit", Kind::Number, "Bytes committed (CommitCharge)"), "CommitCharge, in pages", |c| {
        pages(c.process.view.commit())
    }),
    derived(wide("commit_peak", Kind::Number, "The most there were"), "CommitChargePeak, in pages", |c| {
        pages(c.process.view.commit_peak())
    }),
    placed(
        wide("virtual_size", Kind::Number, "Bytes of address space in use"),
        |c| c.process.view.virtual_size().into(),
        |c| c.process.view.at(EProcess::virtual_size),
    ),
    placed(
        wide("virtual_peak", Kind::Number, "The most there were"),
        |c| c.process.view.virtual_peak().into(),
        |c| c.process.view.at(EProcess::virtual_peak),
    ),
    who::threads(wide("threads", Kind::Number, "Threads that have not ended")),
    placed(
        wide("handles", Kind::Number, "Open handles, by the handle table's count"),
        |c| c.process.handle_count(c.space).into(),
        |c| c.process.handle_count_at(c.space),
    ),
    who::dtb(wide("dtb", Kind::Hex, "Physical address of its page tables")),
    who::user_dtb(wide("user_dtb", Kind::Hex, "Page tables used in user mode where kernel addresses are shadowed")),
    placed(
        wide("silo", Kind::Hex, "Address of the server silo (container) it belongs to"),
        |c| c.process.view.silo().and_then(Va::not_null).into(),
        |c| c.process.view.at(EProcess::silo),
    ),
    placed(
        wide("sequence", Kind::Number, "Sequence number: unlike the process id never used twice"),
        |c| c.process.view.sequence().into(),
        |c| c.process.view.at(EProcess::sequence),
    ),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// What all processes share.
#[derive(Debug)]
pub struct Shared {
    clock: Clock,
    processors: Value<u32>,
    /// Who made whom.
    pub family: Family,
}

impl Shared {
    /// Of a kernel and all its listed processes.
    #[must_use]
    pub fn of(kernel: &Kernel, all: &[Process<'_>]) -> Self {
        let space = kernel.space();
        let by_header = kernel.dump.header.as_ref().map(|h| h.processors).filter(|n| *n > 0);
        let processors = match kernel.system(&space).processors {
            Ok(n) if n > 0 => Ok(n),
            _ => by_header.ok_or(Absent::NotRecorded),
        };
        Self { clock: kernel.clock(&space), processors, family: Family::of(all) }
    }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let all = kernel.processes()?.list;
    let shared = Shared::of(kernel, &all);
    let processes = asked_for(case, ask, sink)?;
    let types = kernel.object_types();
    in_order(
        processes.into_iter(),
        || kernel.space(),
        |space, process, sink| sink.row(row(&shared, &types, &process, space, ask)),
        sink,
    )
}

/// The row of a process.
#[must_use]
pub fn row(shared: &Shared, types: &ObjectTypes, process: &Process<'_>, space: &Space<'_>, ask: &Ask) -> Row {
    let parent = shared.family.parent(process);
    let time = process.processor_time(&shared.clock, shared.processors);
    Row::of(FIELDS, &Of { process, space, types, parent, time }, &ask.rows).at(process.place())
}

fn job_name(kernel: &Kernel, types: &ObjectTypes, job: crate::addr::Va) -> Value<Text> {
    let mut objects = Objects::of(kernel, types).map_err(|_| Absent::NoSymbol)?;
    let object = objects.with_body(job);
    objects.path(&object)
}
