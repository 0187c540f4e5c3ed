//! `threads`: the threads of each process.

use super::code::Location;
use super::parallel::{asked_for, in_order};
use super::thread_walk::{Common, Threaded, Worker, each_thread, location, stack};
use super::{Analysis, Answers, Ask, Case, Subject, Switch, copied, user, which_thread, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::process::Process;
use crate::kernel::stack::call::Isa;
use crate::kernel::stack::thread::trap_frame;
use crate::kernel::teb::{Teb, TebLayout, TebTail};
use crate::kernel::thread::{EThread, Thread};
use crate::kernel::token::level_name;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// The register's entry.
pub static THREADS: Analysis = Analysis {
    name: "threads",
    about: "Threads of each process, and their call stacks",
    help: "Walks the thread list of each process. A thread that the scheduler's list has and the process' own list lacks is told in a \
           note. With --stacks each row carries the thread's call stack: kernel, user, and the 32-bit side of a WoW64 process; each \
           frame says how it was found (context, trap, switch, unwind, frame pointer, scan, unchecked scan). `callstacks` \
           gives the same one frame a row.\n\nExample: dumpwalk threads memory.dmp --pid 1234 --stacks --format json",
    columns: &COLUMNS,
    switches: &[
        Switch { name: "stacks", value: None, about: "Walk each thread's call stack" },
        Switch { name: "unlinked", value: None, about: "Also threads that only the scheduler's list has" },
    ],
    subject: Subject::Processes,
    answers: Answers::of(run)
        .copies(|kernel, ask, sink| copied::thread(kernel, &COLUMNS, ask, sink))
        .minidump(|_, dump, ask, sink| user::threads(dump, ask, sink)),
};

/// A thread of a process.
#[derive(Debug)]
pub struct ThreadsOf;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    common: &'a Common<'a>,
    with: &'a Threaded<'a, 'a>,
    thread: &'a Thread<'a>,
    win32_start: Value<Location>,
    teb: Value<Teb<'a>>,
    other: Value<Teb<'a>>,
    unlinked: bool,
}
who::of_process!(ThreadsOf, Of);
which_thread::of_thread!(ThreadsOf, Of);

impl<'a> Of<'a> {
    fn locate(&self, va: Value<Va>) -> Value<Location> {
        va.map(|va| location(self.common, self.with, va))
    }
    fn teb(&self) -> Value<&Teb<'a>> {
        self.teb.as_ref().map_err(|why| *why)
    }
    /// The 32-bit one.
    fn other(&self) -> Value<&Teb<'a>> {
        self.other.as_ref().map_err(|why| *why)
    }
    fn milliseconds(&self, ticks: Value<u32>) -> Value<u64> {
        ticks.and_then(|t| self.common.clock.duration(t.into())).map(|t| t / 10_000)
    }
    fn attached(&self) -> Value<Va> {
        match (self.thread.view.attached(), self.process.offset()) {
            (Ok(va), Some(own)) if va == own || va.is_null() => Err(Absent::NotApplicable),
            (va, _) => va,
        }
    }
    fn client_at(&self) -> Option<Place> {
        self.thread.view.at(EThread::client).or_else(|| self.thread.view.at(EThread::impersonation_info))
    }
}

/// The columns of a thread.
pub const FIELDS: &[Field<ThreadsOf>] = &[
    who::pid(),
    who::name(),
    which_thread::tid(),
    derived(
        col("offset", Kind::Hex, "Address of the _ETHREAD"),
        "the address at which the object is: it is the row's own place",
        |c| c.thread.offset().map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
    ),
    who::offset(wide("process", Kind::Hex, "Address of the _EPROCESS")),
    which_thread::teb(col("teb", Kind::Hex, "Thread environment block; none for system threads")),
    which_thread::start_address(col("start_address", Kind::Hex, "Where the kernel began it (StartAddress)")),
    which_thread::win32_start_address(col(
        "win32_start_address",
        Kind::Hex,
        "What its creator asked to run (Win32StartAddress)",
    )),
    derived(
        col("start_module", Kind::Text, "Module of win32_start_address; none outside of all images"),
        "win32_start_address, and the images of kernel and process",
        |c| c.win32_start.as_ref().map_err(|why| *why).and_then(Location::module_name).into(),
    ),
    derived(
        wide("start_location", Kind::Text, "start_address as module and offset, or function"),
        "start_address, the images of kernel and process, and their exports",
        |c| c.locate(c.thread.view.start()).and_then(|l| l.text()).into(),
    ),
    derived(
        wide("win32_start_location", Kind::Text, "win32_start_address as module and offset, or function"),
        "win32_start_address, the images of kernel and process, and their exports",
        |c| c.win32_start.as_ref().map_err(|why| *why).and_then(Location::text).into(),
    ),
    which_thread::state(col("state", Kind::Text, "Scheduler state (_KTHREAD_STATE)")),
    placed(
        col("wait_reason", Kind::Text, "What it waits for (_KWAIT_REASON); none while it does not wait"),
        |c| c.thread.wait_reason().map(Cow::into_owned).into(),
        |c| c.thread.view.at(EThread::wait_reason_raw),
    ),
    placed(
        wide("wait_mode", Kind::Text, "kernel or user: for whom it waits"),
        |c| waiting(c.thread, c.thread.view.wait_mode().map(mode)).into(),
        |c| c.thread.view.at(EThread::wait_mode),
    ),
    derived(
        wide("wait_ms", Kind::Number, "Milliseconds since it began to wait or became ready"),
        "WaitTime, the tick count of KUSER_SHARED_DATA and the length of a tick",
        |c| c.thread.view.wait_tick().and_then(|t| c.common.clock.since(t)).map(|t| t / 10_000).into(),
    ),
    placed(
        wide("alertable", Kind::Bool, "Whether the wait may be broken by an APC"),
        |c| c.thread.view.alertable().map(|a| a != 0).into(),
        |c| c.thread.view.at(EThread::alertable),
    ),
    placed(
        col("priority", Kind::Number, "Current priority"),
        |c| c.thread.view.priority().map(i64::from).into(),
        |c| c.thread.view.at(EThread::priority),
    ),
    placed(
        wide("base_priority", Kind::Number, "Base priority"),
        |c| c.thread.view.base_priority().map(i64::from).into(),
        |c| c.thread.view.at(EThread::base_priority),
    ),
    placed(
        wide("suspend_count", Kind::Number, "How often it is suspended"),
        |c| c.thread.view.suspend_count().map(i64::from).into(),
        |c| c.thread.view.at(EThread::suspend_count),
    ),
    which_thread::create_time(col("create_time", Kind::Time, "When it was created")),
    which_thread::exit_time(col("exit_time", Kind::Time, "When it ended; none while it lives")),
    placed(
        wide("exit_status", Kind::Hex, "What it ended with; none while it lives"),
        |c| Cell::hex(c.thread.exit_status()),
        |c| c.thread.view.at(EThread::exit_status_raw),
    ),
    placed(
        wide("thread_name", Kind::Text, "Description (SetThreadDescription)"),
        |c| c.thread.name(c.space).into(),
        |c| c.space.place_of(&c.thread.name(c.space)),
    ),
    derived(
        wide("kernel_ms", Kind::Number, "Milliseconds spent in the kernel"),
        "KernelTime, in ticks of the machine's clock",
        |c| c.milliseconds(c.thread.view.kernel_ticks()).into(),
    ),
    derived(
        wide("user_ms", Kind::Number, "Milliseconds spent in user mode"),
        "UserTime, in ticks of the machine's clock",
        |c| c.milliseconds(c.thread.view.user_ticks()).into(),
    ),
    placed(
        wide("context_switches", Kind::Number, "How often it was switched to"),
        |c| c.thread.view.context_switches().into(),
        |c| c.thread.view.at(EThread::context_switches),
    ),
    placed(
        wide("processor", Kind::Number, "Processor it runs on, or ran on last"),
        |c| c.thread.view.processor().into(),
        |c| c.thread.view.at(EThread::processor),
    ),
    placed(
        wide("ideal_processor", Kind::Number, "Processor it would rather run on"),
        |c| c.thread.view.ideal_processor().into(),
        |c| c.thread.view.at(EThread::ideal_processor),
    ),
    placed(
        wide("affinity", Kind::Texts, "Processors it may run on: group and mask"),
        |c| c.thread.affinity(c.space).map(affinity).into(),
        |c| c.thread.view.at(EThread::affinity_mask).or_else(|| c.thread.view.at(EThread::affinity)),
    ),
    placed(
        wide("user_stack_base", Kind::Hex, "Upper end of the user stack (TEB)"),
        |c| c.teb().and_then(|t| t.view.stack_base()).into(),
        |c| c.teb().ok()?.view.at(TebLayout::stack_base),
    ),
    placed(
        wide("user_stack_limit", Kind::Hex, "Lower end of its committed part (TEB)"),
        |c| c.teb().and_then(|t| t.view.stack_limit()).into(),
        |c| c.teb().ok()?.view.at(TebLayout::stack_limit),
    ),
    placed(
        wide("kernel_stack_base", Kind::Hex, "Upper end of the kernel stack"),
        |c| c.thread.view.stack_base().into(),
        |c| c.thread.view.at(EThread::stack_base),
    ),
    placed(
        wide("kernel_stack_limit", Kind::Hex, "Lower end of the kernel stack"),
        |c| c.thread.view.stack_limit().into(),
        |c| c.thread.view.at(EThread::stack_limit),
    ),
    placed(
        wide("kernel_stack_pointer", Kind::Hex, "Stack pointer when it was last switched away from"),
        |c| c.thread.view.kernel_stack().into(),
        |c| c.thread.view.at(EThread::kernel_stack),
    ),
    placed(
        wide("trap_frame", Kind::Hex, "Address of the trap frame of its last entry into the kernel"),
        |c| c.thread.view.trap_frame().and_then(Va::not_null).into(),
        |c| c.thread.view.at(EThread::trap_frame),
    ),
    derived(wide("registers", Kind::Nested, "Registers in the trap frame"), "the fields of the trap frame", |c| {
        registers(c.common, trap_frame(c.thread, c.space).and_then(|f| f.registers()))
    }),
    placed(
        wide("previous_mode", Kind::Text, "kernel or user: where it entered the kernel from"),
        |c| c.thread.view.previous_mode().map(mode).into(),
        |c| c.thread.view.at(EThread::previous_mode),
    ),
    derived(
        wide("apc", Kind::Nested, "State of its asynchronous procedure calls"),
        "fields of Tcb.ApcState, and ApcStateIndex",
        |c| apc(c.thread),
    ),
    placed(
        wide("attached_process", Kind::Hex, "Process whose address space it runs in, where it is another"),
        |c| c.attached().into(),
        |c| c.thread.view.at(EThread::attached),
    ),
    placed(
        wide("impersonation_token", Kind::Hex, "Token it impersonates with"),
        |c| c.thread.impersonation(c.space).map(|client| client.token).into(),
        |c| c.client_at(),
    ),
    placed(
        wide("impersonation_level", Kind::Text, "Anonymous, Identification, Impersonation or Delegation"),
        |c| {
            c.thread
                .impersonation(c.space)
                .and_then(|client| level_name(client.level).ok_or(Absent::Implausible))
                .into()
        },
        |c| c.client_at(),
    ),
    placed(
        wide("last_error", Kind::Number, "What GetLastError would give"),
        |c| c.teb().and_then(|t| t.view.last_error()).into(),
        |c| c.teb().ok()?.view.at(TebLayout::last_error),
    ),
    placed(
        wide("service_tag", Kind::Hex, "Service it works for, in a service host"),
        |c| {
            Cell::hex(
                c.teb()
                    .and_then(|t| t.tail.service_tag())
                    .and_then(|t| if t == 0 { Err(Absent::NotApplicable) } else { Ok(t) }),
            )
        },
        |c| c.teb().ok()?.tail.at(TebTail::service_tag),
    ),
    derived(
        wide("wow64_teb", Kind::Hex, "TEB of its 32-bit side"),
        "the TEB's address, and the distance in it (before Windows 10 its exception list)",
        |c| c.other().and_then(|t| t.view.va().ok_or(Absent::NotRecorded)).into(),
    ),
    placed(
        wide("wow64_stack_base", Kind::Hex, "Upper end of its 32-bit stack"),
        |c| c.other().and_then(|t| t.view.stack_base()).into(),
        |c| c.other().ok()?.view.at(TebLayout::stack_base),
    ),
    placed(
        wide("wow64_stack_limit", Kind::Hex, "Lower end of its 32-bit stack"),
        |c| c.other().and_then(|t| t.view.stack_limit()).into(),
        |c| c.other().ok()?.view.at(TebLayout::stack_limit),
    ),
    placed(
        wide(
            "flags",
            Kind::Texts,
            "system, gui, terminated, hidden_from_debugger, critical, impersonating, start_address_invalid",
        ),
        |c| flags(c.thread).into(),
        |c| c.thread.view.at(EThread::flags),
    ),
    derived(
        wide("unlinked", Kind::Bool, "Whether it is missing from the process' own thread list"),
        "the lists of threads of process and scheduler",
        |c| c.unlinked.into(),
    ),
    derived(
        wide("stack", Kind::Nested, "Call stack, top first (with --stacks)"),
        "the thread's stacks, unwound frame by frame",
        |c| if c.common.stacks { stack(c.common, c.with, c.thread) } else { Cell::Absent(Absent::NotApplicable) },
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let common = Common::of(kernel, ask.has("stacks"));
    let wanted = asked_for(case, ask, sink)?;
    let start = || Worker::of(kernel);
    in_order(wanted.into_iter(), start, |worker, process, sink| rows(&common, worker, &process, ask, sink), sink)
}

/// The rows of a process.
///
/// # Errors
/// The symbols do not describe threads, or the sink's error.
pub fn rows<'k>(
    common: &Common<'k>,
    worker: &mut Worker<'k>,
    process: &Process<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    each_thread(worker, process, ask.has("unlinked"), sink, |with, thread, unlinked, sink| {
        sink.row(row(common, with, thread, unlinked, ask))
    })
}

fn row<'k>(common: &Common<'k>, with: &Threaded<'_, 'k>, thread: &Thread<'k>, unlinked: bool, ask: &Ask) -> Row {
    let user = with.user().ok_or(Absent::NotApplicable);
    let teb = thread.teb().and_then(|va| common.kernel.teb(user?, va, false));
    let other = match &teb {
        Ok(teb) => teb.other_half().and_then(|va| common.kernel.teb(user?, va, true)),
        Err(why) => Err(*why),
    };
    let win32_start = thread.win32_start().map(|va| location(common, with, va));
    let (process, space) = (with.process, with.space);
    let of = Of { process, space, common, with, thread, win32_start, teb, other, unlinked };
    Row::of(FIELDS, &of, &ask.rows).at(thread.place())
}

fn mode(mode: u8) -> &'static str {
    // MODE of wdm.h: KernelMode 0, UserMode 1.
    if mode == 0 { "kernel" } else { "user" }
}

/// A value that means something only while the thread waits.
fn waiting<T>(thread: &Thread<'_>, value: Value<T>) -> Value<T> {
    thread.wait_reason().and(value)
}

fn affinity(masks: Vec<(u16, u64)>) -> Vec<String> {
    masks.into_iter().map(|(group, mask)| format!("{group}:{mask:#x}")).collect()
}

fn registers(common: &Common<'_>, registers: Value<crate::kernel::stack::unwind::Registers>) -> Cell {
    match registers {
        Ok(r) => Cell::Object(
            r.named(Isa::of(common.kernel.arch)).map(|(name, value)| (name.into(), Cell::Hex(value))).collect(),
        ),
        Err(why) => Cell::Absent(why),
    }
}

fn apc(thread: &Thread<'_>) -> Cell {
    let view = &thread.view;
    let flag = |value: Value<u64>| Cell::from(value.map(|v| v != 0));
    Cell::Object(vec![
        ("kernel_pending".into(), flag(view.kernel_apc_pending())),
        ("user_pending".into(), flag(view.user_apc_pending())),
        ("kernel_in_progress".into(), flag(view.kernel_apc_in_progress())),
        ("state_index".into(), view.apc_index().into()),
    ])
}

/// Those that are set; nothing where one of them cannot be told, since a flag that is not named counts as not set.
fn flags(thread: &Thread<'_>) -> Value<Vec<&'static str>> {
    let view = &thread.view;
    let each = [
        ("system", view.system()),
        ("gui", view.win32().map(|va| u64::from(!va.is_null()))),
        ("terminated", view.terminated()),
        ("hidden_from_debugger", view.hidden_from_debugger()),
        ("critical", view.critical()),
        ("impersonating", view.impersonating()),
        ("start_address_invalid", view.start_invalid()),
    ];
    if each.iter().any(|(_, value)| *value == Err(Absent::NoSymbol)) {
        return Err(Absent::NoSymbol);
    }
    Ok(each.into_iter().filter(|(_, value)| value.is_ok_and(|v| v != 0)).map(|(name, _)| name).collect())
}
