//! `threads` and `callstacks` of a user-mode minidump: what its streams hold.

use super::{asked, at, placed, row_of, whose, whose_at};
use crate::addr::Va;
use crate::analysis::code::{Location, module_code};
use crate::analysis::thread_walk::nested;
use crate::analysis::threads::COLUMNS;
use crate::analysis::{Ask, callstacks};
use crate::bytes::Place;
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
    user.threads().iter().try_for_each(|thread| sink.row(row(user, &code, thread, budget.as_mut(), ask)))
}

fn row(user: &UserDump<'_>, code: &CodeMap, thread: &Thread, budget: Option<&mut usize>, ask: &Ask) -> Row {
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
    let [pid, name] = whose_at(user);
    // MINIDUMP_THREAD, and MINIDUMP_THREAD_INFO where the dump has it.
    let info = |field| thread.info_file.and_then(|file| at(file, field));
    let places = [
        pid,
        name,
        ("tid", at(thread.file, 0)),
        ("teb", at(thread.file, 16)),
        ("win32_start_address", info(48)),
        ("priority", at(thread.file, 12)),
        ("suspend_count", at(thread.file, 4)),
        ("create_time", info(16)),
        ("exit_time", info(24)),
        ("exit_status", info(12)),
        ("thread_name", thread.name_at),
        ("affinity", info(56)),
        ("user_stack_base", at(thread.file, 24)),
        ("user_stack_limit", at(thread.file, 24)),
    ];
    placed(row_of(&COLUMNS, known, Place::in_dump(thread.file)), ask, &places)
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
        let of = callstacks::Whose {
            pid: pid.clone(),
            name: name.clone(),
            tid: id.into(),
            places: [whose_at(user)[0].1, whose_at(user)[1].1, at(file, 0)].map(|at| at.map(Place::in_dump)),
        };
        callstacks::frames(&of, &stack, |_, ip| Location::plain(&code, ip), Place::in_dump(file), ask, sink)?;
    }
    if without > 0 {
        sink.note(Note::info(format!(
            "{without} of the threads have no call stack: the dump has no registers of them"
        )));
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
        let frame = Frame { ip: saved.ip, sp: Ok(saved.sp), how: How::Context };
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bytes::{u32_at, u64_at};
    use crate::dump::Dump;
    use crate::report::Collected;
    use std::path::Path;

    /// Of the project's own minidump: the record of the thread that raised the exception, and the exception's stream.
    struct Changed {
        bytes: Vec<u8>,
        thread: usize,
        exception: usize,
    }

    impl Changed {
        fn new() -> Self {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/win10-minidump/minidump.dmp");
            let bytes = std::fs::read(file).unwrap();
            let dword = |at: usize| u32_at(&bytes, at).unwrap();
            let (count, directory) = (dword(8) as usize, dword(12) as usize);
            let entry = |kind| (0..count).map(|i| directory + 12 * i).find(|at| dword(*at) == kind).unwrap();
            // ThreadListStream 3, ExceptionStream 6; a MINIDUMP_THREAD has 48 bytes.
            let (list, exception) = (dword(entry(3) + 8) as usize, dword(entry(6) + 8) as usize);
            let raised = dword(exception);
            let threads = (0..dword(list) as usize).map(|i| list + 4 + 48 * i);
            let thread = threads.into_iter().find(|at| dword(*at) == raised).unwrap();
            Self { bytes, thread, exception }
        }
        fn clear(&mut self, at: usize, length: usize) {
            self.bytes[at..at + length].fill(0);
        }
        fn callstacks(&self) -> (Vec<[Cell; 4]>, Vec<Note>) {
            let dump = Dump::from_bytes(Path::new("changed.dmp"), &self.bytes).unwrap();
            let mut out = Collected::default();
            callstacks(&dump.minidump().unwrap(), &Ask::default(), None, &mut out).unwrap();
            // tid, frame, ip, how.
            let cells = |row: &Row| [2, 3, 5, 10].map(|i| row.cells[i].clone());
            (out.rows.iter().map(cells).collect(), out.notes)
        }
    }

    #[test]
    fn the_crashed_thread_without_a_stack_or_a_context() {
        let mut dump = Changed::new();
        let (whole, _) = dump.callstacks();
        // Teb, stack and context: what is left of the record is the id.
        let at = dump.thread + 16;
        dump.clear(at, 32);
        let (found, notes) = dump.callstacks();
        assert_eq!(found, whole);
        assert!(notes.is_empty(), "{notes:?}");
        // Nor is it in the list.
        let (tid, at) = (u32_at(&dump.bytes, dump.thread).unwrap(), dump.thread);
        dump.clear(at, 4);
        let (found, notes) = dump.callstacks();
        let frames = |rows: &[[Cell; 4]]| rows.iter().filter(|r| r[0] == Cell::from(tid)).cloned().collect::<Vec<_>>();
        assert!(!frames(&whole).is_empty());
        assert_eq!(frames(&found), frames(&whole));
        // The record that is left has nothing to walk from.
        assert!(notes.iter().any(|n| n.text.contains("1 of the threads have no call stack")), "{notes:?}");
    }
    #[test]
    fn a_stack_that_is_not_kept() {
        let mut dump = Changed::new();
        // ThreadContext of MINIDUMP_EXCEPTION_STREAM at 160, its place at 164; Rsp of an x64 CONTEXT at 98h.
        let context = u32_at(&dump.bytes, dump.exception + 164).unwrap() as usize;
        assert_ne!(u64_at(&dump.bytes, context + 0x98), Some(0));
        dump.bytes[context + 0x98..context + 0xa0].copy_from_slice(&0x7777_0000u64.to_le_bytes());
        let (found, notes) = dump.callstacks();
        let tid = Cell::from(u32_at(&dump.bytes, dump.thread).unwrap());
        assert_eq!(found.iter().filter(|r| r[0] == tid).count(), 1);
        assert!(notes.iter().any(|n| n.loss && n.text.contains("its stack is not in the dump")), "{notes:?}");
    }
}
