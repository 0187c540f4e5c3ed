//! `threads` and `callstacks` of a user-mode minidump: what its streams hold.

use super::{asked, cells, record, whose};
use crate::analysis::code::{Location, module_code};
use crate::analysis::thread_walk::nested;
use crate::analysis::threads::COLUMNS;
use crate::analysis::{Ask, callstacks};
use crate::dump::user::{Thread, UserDump};
use crate::error::Result;
use crate::kernel::stack::call::Isa;
use crate::kernel::stack::images::CodeMap;
use crate::kernel::stack::thread::{Side, Stack};
use crate::kernel::stack::unwind::Registers;
use crate::kernel::stack::walk::{Bounds, How, Walker};
use crate::report::{Cell, Row, Sink};
use crate::value::{Absent, Value};

/// The rows of `threads`.
pub(in crate::analysis) fn threads(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let code = module_code(user);
    user.threads().iter().try_for_each(|thread| sink.row(row(user, &code, thread, ask.has("stacks"))))
}

fn row(user: &UserDump<'_>, code: &CodeMap, thread: &Thread, stacks: bool) -> Row {
    let [pid, name] = whose(user);
    let start = thread.start_address.map(|va| Location::plain(code, va));
    let milliseconds = |time: Value<u64>| Cell::from(time.map(|t| t / 10_000));
    let registers = thread.context.ok_or(Absent::NotRecorded).and_then(|c| user.registers(c));
    let registers = registers.map(|r| {
        let all = r.all.iter().map(|(name, value)| ((*name).into(), Cell::Hex(*value)));
        Cell::Object(all.collect())
    });
    let base = thread.stack.and_then(|(start, length)| Some(crate::addr::Va(start.0.checked_add(length.into())?)));
    let known: Vec<(&str, Cell)> = vec![
        ("pid", pid),
        ("name", name),
        ("tid", thread.id.into()),
        ("offset", Cell::Absent(Absent::NotRecorded)),
        ("teb", thread.teb.into()),
        ("win32_start_address", thread.start_address.into()),
        ("start_module", start.as_ref().map_err(|why| *why).and_then(Location::module_name).into()),
        ("win32_start_location", start.and_then(|l| l.text()).into()),
        ("priority", thread.priority.into()),
        ("suspend_count", thread.suspend_count.into()),
        ("create_time", thread.create_time.into()),
        ("exit_time", thread.exit_time.into()),
        ("exit_status", thread.exit_status.map_or_else(Cell::Absent, |s| Cell::Hex(s.into()))),
        ("thread_name", thread.name.clone().into()),
        ("kernel_ms", milliseconds(thread.kernel_time)),
        ("user_ms", milliseconds(thread.user_time)),
        ("affinity", thread.affinity.map(|mask| vec![format!("0:{mask:#x}")]).into()),
        ("user_stack_base", base.map_or(Cell::Absent(Absent::NotRecorded), Cell::from)),
        ("user_stack_limit", thread.stack.map_or(Cell::Absent(Absent::NotRecorded), |(start, _)| start.into())),
        ("registers", registers.unwrap_or_else(Cell::Absent)),
        (
            "stack",
            if stacks {
                nested(&stack(user, code, thread), |_, ip| Location::plain(code, ip))
            } else {
                Cell::Absent(Absent::NotApplicable)
            },
        ),
    ];
    Row::new(cells(&COLUMNS, known)).at(record(thread.file))
}

/// The rows of `callstacks`.
pub(in crate::analysis) fn callstacks(
    user: &UserDump<'_>,
    ask: &Ask,
    tid: Option<u64>,
    sink: &mut dyn Sink,
) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let code = module_code(user);
    for thread in user.threads() {
        if tid.is_some_and(|t| t != u64::from(thread.id)) {
            continue;
        }
        let [pid, name] = whose(user);
        let stack = stack(user, &code, thread);
        callstacks::frames(
            &[pid, name, thread.id.into()],
            &stack,
            |_, ip| Location::plain(&code, ip),
            record(thread.file),
            sink,
        )?;
    }
    Ok(())
}

/// The call stack of a thread, from the exception's registers where it is the thread that raised it, else from its own.
fn stack(user: &UserDump<'_>, code: &CodeMap, thread: &Thread) -> Stack {
    let mut out = Stack::default();
    let raised = user.exception().filter(|e| e.thread_id == thread.id).and_then(|e| e.context);
    let saved = raised.or(thread.context).ok_or(Absent::NotRecorded).and_then(|c| user.registers(c));
    let (Ok(saved), Some((start, length))) = (saved, thread.stack) else { return out };
    // By the context, not by the machine: a dump of a 32-bit process says so here.
    let has = |register| saved.all.iter().any(|(name, _)| *name == register);
    let isa = if has("rip") {
        Isa::X64
    } else if has("eip") {
        Isa::X86
    } else {
        Isa::Arm64
    };
    let all: Vec<(&str, u64)> = saved.all.iter().map(|(name, value)| (*name, *value)).collect();
    let registers = Registers::from_named(saved.ip.0, saved.sp.0, &all, isa);
    // What is kept of the stack begins at the stack pointer of the time it was written; the exception's may lie above.
    let bounds = Bounds { limit: start, base: start.add(length.into()) };
    let walker = Walker { memory: user, code, bounds, isa, kernel: None };
    let mut frames = Vec::new();
    let end = walker.walk(registers, How::Context, true, &mut frames);
    out.add(Side::User, frames, end);
    out
}
