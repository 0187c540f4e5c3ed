//! `threads` and `callstacks` of a user-mode minidump: what its streams hold.

use super::{asked, cells, record, whose};
use crate::addr::Va;
use crate::analysis::code::{Location, module_code};
use crate::analysis::thread_walk::nested;
use crate::analysis::threads::COLUMNS;
use crate::analysis::{Ask, callstacks};
use crate::dump::user::{Thread, UserDump};
use crate::error::Result;
use crate::kernel::stack::call::Isa;
use crate::kernel::stack::images::CodeMap;
use crate::kernel::stack::memory::Memory;
use crate::kernel::stack::thread::{Side, Stack};
use crate::kernel::stack::unwind::Registers;
use crate::kernel::stack::walk::{Bounds, End, Frame, How, MOST_FRAMES, Walker};
use crate::report::{Cell, Row, Sink};
use crate::value::{Absent, Note, Value};

/// The rows of `threads`.
pub(in crate::analysis) fn threads(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let code = module_code(user);
    let mut budget = ask.has("stacks").then(|| budget(user));
    user.threads().iter().try_for_each(|thread| sink.row(row(user, &code, thread, budget.as_mut())))
}

fn row(user: &UserDump<'_>, code: &CodeMap, thread: &Thread, budget: Option<&mut usize>) -> Row {
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
            budget.map_or(Cell::Absent(Absent::NotApplicable), |budget| {
                nested(&stack(user, code, thread.id, Some(thread), budget), |_, ip| Location::plain(code, ip))
            }),
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
    let [pid, name] = whose(user);
    let (mut without, mut budget) = (0u64, budget(user));
    let listed = user.threads().iter().map(|t| (t.id, Some(t), t.file));
    // The exception may be of a thread that the list lacks.
    let raised = user.exception().filter(|e| user.threads().iter().all(|t| t.id != e.thread_id));
    for (id, thread, file) in listed.chain(raised.map(|e| (e.thread_id, None, e.file))) {
        if tid.is_some_and(|t| t != u64::from(id)) {
            continue;
        }
        let stack = stack(user, &code, id, thread, &mut budget);
        without = without.saturating_add(u64::from(stack.frames.is_empty()));
        let of = [pid.clone(), name.clone(), id.into()];
        callstacks::frames(&of, &stack, |_, ip| Location::plain(&code, ip), record(file), sink)?;
    }
    if without > 0 {
        sink.note(Note::info(format!("{without} threads have no registers in the dump, and so no call stack")));
    }
    Ok(())
}

/// The call stack of a thread, from the exception's registers where it is the thread that raised it, else from its own.
fn stack(user: &UserDump<'_>, code: &CodeMap, id: u32, thread: Option<&Thread>, budget: &mut usize) -> Stack {
    let mut out = Stack::default();
    let raised = user.exception().filter(|e| e.thread_id == id).and_then(|e| e.context);
    let read =
        |context: Option<(u64, u32)>| user.registers(context?).ok().filter(|r| !r.ip.is_null() || !r.sp.is_null());
    let Some(saved) = read(raised).or_else(|| read(thread.and_then(|t| t.context))) else { return out };
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
    let Some(bounds) = bounds(user, thread, saved.sp) else {
        let frame = Frame { ip: saved.ip, sp: saved.sp, how: How::Context };
        out.notes.push(Note::loss(format!(
            "thread {id}: its stack is not in the dump (stack pointer {}): the call stack has one frame",
            saved.sp
        )));
        out.add(Side::User, vec![frame], End::Lost);
        return out;
    };
    let most = MOST_FRAMES.min((*budget).max(LEAST_FRAMES));
    let walker = Walker { memory: user, code, bounds, isa, most, kernel: None };
    let mut frames = Vec::new();
    let mut end = walker.walk(registers, How::Context, true, &mut frames);
    *budget = budget.saturating_sub(frames.len());
    if end == End::Exhausted && bottom(user, thread, isa).is_some_and(|bottom| bounds.base < bottom) {
        end = End::Cut;
    }
    out.add(Side::User, frames, end);
    out
}

/// Frames that all stacks may have together: their memory is in the dump, and no two threads share a stack. A file that says otherwise
/// gets [`LEAST_FRAMES`] for each thread.
fn budget(user: &UserDump<'_>) -> usize {
    let kept = user.blocks().iter().fold(0u64, |sum, block| sum.saturating_add(block.len));
    usize::try_from(kept / 8).unwrap_or(usize::MAX)
}
/// Frames that every thread may have.
const LEAST_FRAMES: usize = 128;

/// Where the TEB says that the thread's stack begins: `NT_TIB.StackBase` (winnt.h).
fn bottom(user: &UserDump<'_>, thread: Option<&Thread>, isa: Isa) -> Option<Va> {
    let teb = thread?.teb;
    let width = isa.width();
    let base = user.number(teb.add(width), u32::try_from(width).ok()?).ok()?;
    (!teb.is_null() && base != 0).then_some(Va(base))
}

/// The stack that the stack pointer points into. What is kept of a thread's stack begins at the stack pointer of the time the dump was
/// written; the exception's may lie above. Of a thread whose record names no stack, or another one, it is the kept memory around it.
fn bounds(user: &UserDump<'_>, thread: Option<&Thread>, sp: Va) -> Option<Bounds> {
    if let Some((start, length)) = thread.and_then(|t| t.stack) {
        let base = start.add(length.into());
        if sp >= start && sp < base && user.bytes(sp, 1).is_ok() {
            return Some(Bounds { limit: start, base });
        }
    }
    let mut end = sp;
    while let Ok((bytes, _)) = user.bytes(end, 1 << 20)
        && !bytes.is_empty()
        && end.0.saturating_sub(sp.0) < LARGEST_STACK
    {
        end = end.add(bytes.len() as u64);
    }
    (end > sp).then_some(Bounds { limit: sp, base: end })
}

/// No program asks for a larger stack: 64 times the megabyte that a thread has by default.
const LARGEST_STACK: u64 = 64 << 20;
