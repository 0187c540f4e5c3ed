//! `threads`: the threads of each process.

use super::code::Location;
use super::parallel::{asked_for, in_order};
use super::thread_walk::{Common, Threaded, Worker, each_thread, location, stack};
use super::{Analysis, Answers, Ask, Case, Subject, Switch, copied, user, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::process::Process;
use crate::kernel::stack::call::Isa;
use crate::kernel::stack::thread::trap_frame;
use crate::kernel::thread::Thread;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns of a thread.
pub const COLUMNS: [Column; 49] = [
    who::PID,
    who::NAME,
    col("tid", Kind::Number, "Thread id"),
    col("offset", Kind::Hex, "Address of the _ETHREAD"),
    wide("process", Kind::Hex, "Address of the _EPROCESS"),
    col("teb", Kind::Hex, "Thread environment block; none for system threads"),
    col("start_address", Kind::Hex, "Where the kernel began it (StartAddress)"),
    col("win32_start_address", Kind::Hex, "What its creator asked to run (Win32StartAddress)"),
    col("start_module", Kind::Text, "Module of win32_start_address; none outside of all images"),
    wide("start_location", Kind::Text, "start_address as module and offset, or function"),
    wide("win32_start_location", Kind::Text, "win32_start_address as module and offset, or function"),
    col("state", Kind::Text, "Scheduler state (_KTHREAD_STATE)"),
    col("wait_reason", Kind::Text, "What it waits for (_KWAIT_REASON); none while it does not wait"),
    wide("wait_mode", Kind::Text, "kernel or user: for whom it waits"),
    wide("wait_ms", Kind::Number, "Milliseconds since it began to wait or became ready"),
    wide("alertable", Kind::Bool, "Whether the wait may be broken by an APC"),
    col("priority", Kind::Number, "Current priority"),
    wide("base_priority", Kind::Number, "Base priority"),
    wide("suspend_count", Kind::Number, "How often it is suspended"),
    col("create_time", Kind::Time, "When it was created"),
    col("exit_time", Kind::Time, "When it ended; none while it lives"),
    wide("exit_status", Kind::Hex, "What it ended with; none while it lives"),
    wide("thread_name", Kind::Text, "Description (SetThreadDescription)"),
    wide("kernel_ms", Kind::Number, "Milliseconds spent in the kernel"),
    wide("user_ms", Kind::Number, "Milliseconds spent in user mode"),
    wide("context_switches", Kind::Number, "How often it was switched to"),
    wide("processor", Kind::Number, "Processor it runs on, or ran on last"),
    wide("ideal_processor", Kind::Number, "Processor it would rather run on"),
    wide("affinity", Kind::Texts, "Processors it may run on: group and mask"),
    wide("user_stack_base", Kind::Hex, "Upper end of the user stack (TEB)"),
    wide("user_stack_limit", Kind::Hex, "Lower end of its committed part (TEB)"),
    wide("kernel_stack_base", Kind::Hex, "Upper end of the kernel stack"),
    wide("kernel_stack_limit", Kind::Hex, "Lower end of the kernel stack"),
    wide("kernel_stack_pointer", Kind::Hex, "Stack pointer when it was last switched away from"),
    wide("trap_frame", Kind::Hex, "Address of the trap frame of its last entry into the kernel"),
    wide("registers", Kind::Nested, "Registers in the trap frame"),
    wide("previous_mode", Kind::Text, "kernel or user: where it entered the kernel from"),
    wide("apc", Kind::Nested, "State of its asynchronous procedure calls"),
    wide("attached_process", Kind::Hex, "Process whose address space it runs in, where it is another"),
    wide("impersonation_token", Kind::Hex, "Token it impersonates with"),
    wide("impersonation_level", Kind::Text, "Anonymous, Identification, Impersonation or Delegation"),
    wide("last_error", Kind::Number, "What GetLastError would give"),
    wide("service_tag", Kind::Hex, "Service it works for, in a service host"),
    wide("wow64_teb", Kind::Hex, "TEB of its 32-bit side"),
    wide("wow64_stack_base", Kind::Hex, "Upper end of its 32-bit stack"),
    wide("wow64_stack_limit", Kind::Hex, "Lower end of its 32-bit stack"),
    wide(
        "flags",
        Kind::Texts,
        "system, gui, terminated, hidden_from_debugger, critical, impersonating, start_address_invalid",
    ),
    wide("unlinked", Kind::Bool, "Whether it is missing from the process' own thread list"),
    wide("stack", Kind::Nested, "Call stack, top first (with --stacks)"),
];

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
    let view = &thread.view;
    let space = with.space;
    let (start, win32_start) = (view.start(), thread.win32_start());
    let locate = |va: Value<Va>| va.map(|va| location(common, with, va));
    let (start_at, win32_at) = (locate(start), locate(win32_start));
    let user = with.user();
    let teb = thread.teb().and_then(|va| common.kernel.teb(user.ok_or(Absent::NotApplicable)?, va, false));
    let other = match &teb {
        Ok(teb) => teb.other_half().and_then(|va| common.kernel.teb(user.ok_or(Absent::NotApplicable)?, va, true)),
        Err(why) => Err(*why),
    };
    let teb = teb.as_ref().map_err(|why| *why);
    let other = other.as_ref().map_err(|why| *why);
    let frame = trap_frame(thread, space);
    let milliseconds = |ticks: Value<u32>| ticks.and_then(|t| common.clock.duration(t.into())).map(|t| t / 10_000);
    let client = thread.impersonation(space);
    let attached = match (view.attached(), with.process.offset()) {
        (Ok(va), Some(own)) if va == own || va.is_null() => Err(Absent::NotApplicable),
        (va, _) => va,
    };
    let [pid, name] = who::cells(with.process);
    let number = |value: Value<i32>| value.map(i64::from);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        thread.tid().into(),
        thread.offset().map_or(Cell::Absent(Absent::NotRecorded), Cell::from),
        who::offset(with.process),
        thread.teb().into(),
        start.into(),
        win32_start.into(),
        win32_at.as_ref().map_err(|why| *why).and_then(Location::module_name).into(),
        start_at.and_then(|l| l.text()).into(),
        win32_at.and_then(|l| l.text()).into(),
        thread.state().map(Cow::into_owned).into(),
        thread.wait_reason().map(Cow::into_owned).into(),
        waiting(thread, view.wait_mode().map(mode)).into(),
        view.wait_tick().and_then(|t| common.clock.since(t)).map(|t| t / 10_000).into(),
        view.alertable().map(|a| a != 0).into(),
        number(view.priority()).into(),
        number(view.base_priority()).into(),
        number(view.suspend_count()).into(),
        thread.created().into(),
        thread.exited().into(),
        thread.exit_status().map_or_else(Cell::Absent, |s| Cell::Hex(s.into())),
        thread.name(space).into(),
        milliseconds(view.kernel_ticks()).into(),
        milliseconds(view.user_ticks()).into(),
        view.context_switches().into(),
        view.processor().into(),
        view.ideal_processor().into(),
        thread.affinity(space).map(affinity).into(),
        teb.and_then(|t| t.view.stack_base()).into(),
        teb.and_then(|t| t.view.stack_limit()).into(),
        view.stack_base().into(),
        view.stack_limit().into(),
        view.kernel_stack().into(),
        view.trap_frame().and_then(|va| if va.is_null() { Err(Absent::NotApplicable) } else { Ok(va) }).into(),
        registers(common, frame.and_then(|f| f.registers())),
        view.previous_mode().map(mode).into(),
        apc(thread),
        attached.into(),
        client.map(|c| c.token).into(),
        client.and_then(|c| crate::kernel::token::level_name(c.level).ok_or(Absent::Implausible)).into(),
        teb.and_then(|t| t.view.last_error()).into(),
        teb.and_then(|t| t.tail.service_tag())
            .and_then(|t| if t == 0 { Err(Absent::NotApplicable) } else { Ok(t) })
            .map_or_else(Cell::Absent, Cell::Hex),
        other.and_then(|t| t.view.va().ok_or(Absent::NotRecorded)).into(),
        other.and_then(|t| t.view.stack_base()).into(),
        other.and_then(|t| t.view.stack_limit()).into(),
        flags(thread).into(),
        unlinked.into(),
        if common.stacks { stack(common, with, thread) } else { Cell::Absent(Absent::NotApplicable) },
    ];
    let mut row = Row::new(cells.into()).at(thread.place());
    if ask.provenance {
        row.fields =
            FIELDS.iter().filter_map(|(key, accessor)| Some((*key, thread.view.place_of(accessor)?))).collect();
    }
    row
}

/// Where single cells of a thread stand: column and the layout's accessor.
const FIELDS: [(&str, &str); 18] = [
    ("tid", "tid"),
    ("teb", "teb_raw"),
    ("start_address", "start"),
    ("win32_start_address", "win32_start_raw"),
    ("state", "state_raw"),
    ("wait_reason", "wait_reason_raw"),
    ("priority", "priority"),
    ("base_priority", "base_priority"),
    ("suspend_count", "suspend_count"),
    ("create_time", "create_time_raw"),
    ("exit_time", "exit_time_raw"),
    ("exit_status", "exit_status_raw"),
    ("thread_name", "name_raw"),
    ("kernel_stack_base", "stack_base"),
    ("kernel_stack_limit", "stack_limit"),
    ("kernel_stack_pointer", "kernel_stack"),
    ("trap_frame", "trap_frame"),
    ("impersonation_token", "client"),
];

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
