//! `procinfo`: a process's place in the system: parent, job, priority, protection, mitigations, time and memory used.

use super::family::Family;
use super::parallel::{asked_for, in_order};
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::PAGE_SIZE;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::object::Objects;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::process::{Process, applicable};
use crate::kernel::shared_data::Clock;
use crate::kernel::standing::{Sort, signing_level};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

const COLUMNS: [Column; 41] = [
    who::PID,
    who::NAME,
    col("kind", Kind::Text, "What sort of process it is: system, user, minimal, pico, secure …"),
    wide("purpose", Kind::Text, "What a process without an image of its own is for"),
    col("ppid", Kind::Number, "Id of the parent it inherited from"),
    col("parent", Kind::Text, "found; gone; younger (the id was used again); ended (before); unknown"),
    col("parent_name", Kind::Text, "The parent's name, where it can be its parent"),
    wide("create_time", Kind::Time, "When it was created"),
    wide("exit_time", Kind::Time, "When it ended; none while it runs"),
    wide("exit_status", Kind::Hex, "What it ended with; none while it runs"),
    wide("session", Kind::Number, "Session number"),
    wide("job", Kind::Hex, "Address of its job"),
    col("job_name", Kind::Text, "The job's path, of a named one"),
    col("priority_class", Kind::Text, "idle, below-normal, normal, above-normal, high, realtime"),
    wide("base_priority", Kind::Number, "Priority its threads start from"),
    col("protection", Kind::Text, "Protected-process type and signer"),
    wide("signature_level", Kind::Text, "Signing level its image was checked for"),
    wide("section_signature_level", Kind::Text, "Signing level that libraries it loads must have"),
    col("mitigations", Kind::Texts, "Mitigations that are on or audited, by the kernel's names"),
    wide("execute_options", Kind::Texts, "Data-execution options (_KEXECUTE_OPTIONS)"),
    wide("flags", Kind::Texts, "Every flag of its flag words that is set, by the kernel's names"),
    wide("critical", Kind::Bool, "Whether the machine stops when it ends (BreakOnTermination)"),
    wide("debugged", Kind::Bool, "Whether a debugger is attached (DebugPort)"),
    wide("wow64", Kind::Bool, "Whether it is a 32-bit process of a 64-bit Windows"),
    wide("kernel_time_ms", Kind::Number, "Milliseconds of processor time spent in the kernel"),
    wide("user_time_ms", Kind::Number, "Milliseconds of processor time spent in user mode"),
    wide("cycles", Kind::Number, "Processor cycles used"),
    wide("working_set", Kind::Number, "Bytes of its memory that were resident, by the kernel's counter"),
    wide("working_set_peak", Kind::Number, "The most there were"),
    wide("private", Kind::Number, "Bytes of private pages (NumberOfPrivatePages)"),
    wide("commit", Kind::Number, "Bytes committed (CommitCharge)"),
    wide("commit_peak", Kind::Number, "The most there were"),
    wide("virtual_size", Kind::Number, "Bytes of address space in use"),
    wide("virtual_peak", Kind::Number, "The most there were"),
    wide("threads", Kind::Number, "Threads that have not ended"),
    wide("handles", Kind::Number, "Open handles, by the handle table's count"),
    wide("dtb", Kind::Hex, "Physical address of its page tables"),
    wide("user_dtb", Kind::Hex, "Page tables used in user mode where kernel addresses are shadowed"),
    wide("silo", Kind::Hex, "Address of the server silo (container) it belongs to"),
    wide("sequence", Kind::Number, "Sequence number: unlike the process id never used twice"),
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
];

/// What all processes share.
#[derive(Debug)]
pub struct Shared<'k> {
    kernel: &'k Kernel,
    clock: Clock,
    processors: Value<u32>,
    /// Who made whom.
    pub family: Family,
}

impl<'k> Shared<'k> {
    /// Of a kernel and all its listed processes.
    #[must_use]
    pub fn of(kernel: &'k Kernel, all: &[Process<'_>]) -> Self {
        let space = kernel.space();
        let by_header = kernel.dump.header.as_ref().map(|h| h.processors).filter(|n| *n > 0);
        let processors = match kernel.system(&space).processors {
            Ok(n) if n > 0 => Ok(n),
            _ => by_header.ok_or(Absent::NotRecorded),
        };
        Self { kernel, clock: kernel.clock(&space), processors, family: Family::of(all) }
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
        |space, process, sink| sink.row(row(&shared, &types, &process, space)),
        sink,
    )
}

/// The row of a process.
#[must_use]
pub fn row(shared: &Shared<'_>, types: &ObjectTypes, process: &Process<'_>, space: &Space<'_>) -> Row {
    let v = &process.view;
    let parent = shared.family.parent(process);
    let job = v.job().and_then(applicable);
    let time = process.processor_time(&shared.clock, shared.processors);
    let ms = |pick: fn((u64, u64)) -> u64| Cell::from(time.map(|t| pick(t) / 10_000));
    let pages = |n: Value<u64>| Cell::from(n.and_then(|n| n.checked_mul(PAGE_SIZE).ok_or(Absent::Implausible)));
    let level = |level: Value<u8>| Cell::from(level.map(|l| format!("{} ({l:#x})", signing_level(l))));
    let [pid, name] = who::cells(process);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        process.sort().map(Sort::word).into(),
        process.purpose().ok_or(Absent::NotApplicable).into(),
        process.ppid().into(),
        parent.parent.word().into(),
        parent.name.ok_or(Absent::NotApplicable).into(),
        process.create_time().into(),
        process.exit_time().into(),
        process.exit_status().map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        process.session(space).into(),
        job.into(),
        job.and_then(|job| job_name(shared.kernel, types, job)).into(),
        process.priority_class().into(),
        v.base_priority().into(),
        process.protection().map(|p| p.to_string()).into(),
        level(v.signature_level()),
        level(v.section_signature_level()),
        process.mitigations().into(),
        process.execute_options().into(),
        process.all_flags().into(),
        v.critical().map(|c| c != 0).into(),
        v.debug_port().map(|d| !d.is_null()).into(),
        process.is_wow64().into(),
        ms(|t| t.0),
        ms(|t| t.1),
        v.cycles().into(),
        pages(v.working_set()),
        pages(v.working_set_peak()),
        pages(v.private_pages()),
        pages(v.commit()),
        pages(v.commit_peak()),
        v.virtual_size().into(),
        v.virtual_peak().into(),
        process.threads().into(),
        process.handle_count(space).into(),
        process.dtb().into(),
        process.user_dtb().into(),
        v.silo().and_then(applicable).into(),
        v.sequence().into(),
        who::address(process),
    ];
    Row::new(cells.into()).at(process.place())
}

fn job_name(kernel: &Kernel, types: &ObjectTypes, job: crate::addr::Va) -> Value<Text> {
    let mut objects = Objects::of(kernel, types).map_err(|_| Absent::NoSymbol)?;
    let object = objects.with_body(job);
    objects.path(&object)
}
