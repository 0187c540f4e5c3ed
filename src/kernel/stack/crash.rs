//! The call stack of the crash: from the header's registers over whatever stack the processor ran on.
//!
//! No kernel structure is needed for it: the registers are in the dump's header, a triage dump keeps its own copy of the
//! stack and a list of drivers, and the debugger block says where a `_KPRCB` has its saved context. So it is the same for a
//! kernel that no layout is known of, for a crash on the idle thread, and for one on a DPC, interrupt or double-fault stack,
//! none of which lie between the thread's `StackLimit` and `StackBase`.

use super::call::Isa;
use super::images::CodeMap;
use super::thread::{Side, Stack, trap_frame};
use super::unwind::Registers;
use super::walk::{Bounds, End, Frame, How, MOST_KERNEL_FRAMES, Walker};
use crate::addr::Va;
use crate::bytes::{Bytes, u32_at, u64_at};
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::kernel::context::{Context, Exception};
use crate::paging::{Mode, Space};
use crate::value::{Absent, Note, Value};
use std::sync::Arc;

/// Largest kernel stack: expanded stacks have segments of their own, each smaller than this.
pub(super) const LARGEST_STACK: u64 = 0x10_0000;
/// Stacks that one walk goes through: interrupt, DPC and the thread's own, with some to spare.
const MOST_STACKS: usize = 8;

/// The call stack of the crash, with the drivers its frames lie in.
#[derive(Debug)]
pub struct CrashStack {
    /// The frames and how the walk ended; the first frame is where the processor was.
    pub stack: Stack,
    /// Loaded and unloaded drivers.
    pub code: CodeMap,
}

/// One frame with its driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrashFrame {
    /// Where its code is.
    pub ip: Va,
    /// Its stack pointer, where what led to it says it.
    pub sp: Value<Va>,
    /// How it was found.
    pub how: How,
    /// File name of the driver the code lies in; `None` outside of all drivers.
    pub module: Option<Arc<str>>,
    /// Bytes from the driver's start.
    pub offset: Option<u64>,
    /// Whether the driver had been unloaded.
    pub unloaded: bool,
}

impl CrashStack {
    /// The frames, top first.
    pub fn frames(&self) -> impl Iterator<Item = CrashFrame> + '_ {
        self.stack.frames.iter().map(|(_, frame)| {
            let code = self.code.find(frame.ip);
            CrashFrame {
                ip: frame.ip,
                sp: frame.sp,
                how: frame.how,
                module: code.map(|c| Arc::clone(&c.name)),
                offset: code.map(|c| frame.ip.0.saturating_sub(c.base.0)),
                unloaded: code.is_some_and(|c| c.unloaded),
            }
        })
    }
}

/// The call stack of the crash, with or without layouts.
///
/// # Errors
/// [`Absent::NotRecorded`] where the dump's header has no registers of a crash in the kernel, [`Absent::NotInDump`] where the
/// stack is not in the dump.
pub fn of(kernel: &Kernel) -> Value<CrashStack> {
    let code = CodeMap::drivers(kernel);
    let mut stack = Stack::default();
    walk(kernel, &kernel.space(), &code, &mut stack)?;
    Ok(CrashStack { stack, code })
}

/// The registers of the crash, as the dump's header has them.
///
/// # Errors
/// [`Absent::NotRecorded`] where the header has none.
pub fn registers(kernel: &Kernel) -> Value<Registers> {
    let header = kernel.dump.header.as_ref().ok_or(Absent::NotRecorded)?;
    let (at, length) = header.context.ok_or(Absent::NotRecorded)?;
    let from = usize::try_from(at).map_err(|_| Absent::Implausible)?;
    let raw = kernel.dump.map().get(from..).and_then(|m| m.get(..length as usize)).ok_or(Absent::NotInDump)?;
    context(kernel.arch, raw)
}

/// Registers of a `CONTEXT`, whose offsets are those of winnt.h.
fn context(arch: Arch, raw: &[u8]) -> Value<Registers> {
    let context = Context::read(arch, raw)?;
    let (ip, sp) = (context.instruction().unwrap_or_default(), context.stack().unwrap_or_default());
    let registers = Registers::from_named(ip.0, sp.0, &context.registers, Isa::of(arch));
    if ip.0 == 0 && sp.0 == 0 { Err(Absent::NotRecorded) } else { Ok(registers) }
}

/// Adds the frames of the crash to `out`.
///
/// # Errors
/// As [`of`].
pub(super) fn walk(kernel: &Kernel, space: &Space<'_>, code: &CodeMap, out: &mut Stack) -> Value<()> {
    let start = Start::of(kernel, space, &mut out.notes)?;
    let lowest = lowest_kernel_address(kernel.arch);
    let isa = Isa::of(kernel.arch);
    let (mut registers, mut how, mut bounds) = (start.registers, start.how, start.bounds);
    if let Some(from) = start.scan_from {
        // Where the processor was is known, its stack pointer leads nowhere: on with the return addresses that are kept.
        let walker = Walker { memory: space, code, bounds, isa, most: MOST_KERNEL_FRAMES, kernel: Some(lowest) };
        let first = Frame { ip: Va(registers.ip), sp: Ok(Va(registers.sp().unwrap_or(from.0))), how };
        let mut frames = if registers.ip == 0 { Vec::new() } else { vec![first] };
        let Some((next, found)) = walker.next_return(from) else {
            out.add(Side::Kernel, frames, End::Lost);
            return Ok(());
        };
        let end = walker.walk(next, found, false, &mut frames);
        end_with(kernel, bounds, frames, end, out);
        return Ok(());
    }
    for _ in 0..MOST_STACKS {
        let walker = Walker { memory: space, code, bounds, isa, most: MOST_KERNEL_FRAMES, kernel: Some(lowest) };
        let mut frames = Vec::new();
        let end = walker.walk(registers, how, true, &mut frames);
        // Through a trap frame to what was interrupted: on the same stack, or on the one that was left for this one.
        let next = match end {
            End::Trap(next) if next.ip >= lowest.0 => bounds_at(kernel, space, next.sp()).map(|b| (next, b)),
            _ => None,
        };
        end_with(kernel, bounds, frames, end, out);
        let Some((next, on)) = next else { break };
        (registers, how, bounds) = (next, How::Trap, on);
    }
    Ok(())
}

/// Kernel addresses begin here.
pub(super) const fn lowest_kernel_address(arch: Arch) -> Va {
    if matches!(arch, Arch::X86) { Va(0x8000_0000) } else { Va(0xffff_0000_0000_0000) }
}

/// Where the walk begins.
struct Start {
    registers: Registers,
    how: How,
    bounds: Bounds,
    /// Set where the stack pointer leads to nothing that is kept: the lowest kept byte of the stack.
    scan_from: Option<Va>,
}

impl Start {
    fn of(kernel: &Kernel, space: &Space<'_>, notes: &mut Vec<Note>) -> Value<Self> {
        let header = registers(kernel);
        let begin = |registers: Registers, how| {
            let fits = registers.ip >= lowest_kernel_address(kernel.arch).0;
            let bounds = bounds_at(kernel, space, registers.sp()).filter(|_| fits)?;
            Some(Self { registers, how, bounds, scan_from: None })
        };
        if let Some(start) = header.ok().and_then(|r| begin(r, How::Context)) {
            return Ok(start);
        }
        let others = [
            ("the context saved in the copied _KPRCB", How::Context, saved(kernel)),
            ("the trap frame of the copied thread", How::Trap, trapped(kernel, space)),
        ];
        let of_header = match header {
            Ok(r) => format!("the header's stack pointer {:#x} is not in the kept memory", r.sp().unwrap_or_default()),
            Err(why) => format!("the registers in the header are {why}"),
        };
        for (what, how, found) in others {
            if let Some(start) = found.ok().and_then(|r| begin(r, how)) {
                notes.push(Note::info(format!("{of_header}: the call stack begins with {what}")));
                return Ok(start);
            }
        }
        let stack = kernel.dump.triage().and_then(|t| t.stack()).ok_or(header.err().unwrap_or(Absent::NotInDump))?;
        let from = stack.va.ok_or(Absent::NotRecorded)?;
        let raised = raised_at(kernel).filter(|at| at.0 >= lowest_kernel_address(kernel.arch).0);
        let ip = header.ok().map(|r| r.ip).filter(|ip| *ip != 0).or(raised.map(|at| at.0)).unwrap_or_default();
        let sp = header.ok().and_then(|r| r.sp()).filter(|sp| *sp != 0).unwrap_or(from.0);
        notes.push(Note::loss(format!(
            "{of_header}, and no other registers of the crash are in the dump: the call stack is made of the return addresses in \
             the kept stack from {from} on"
        )));
        let bounds = Bounds { limit: from, base: from.add(stack.bytes.len() as u64) };
        Ok(Self { registers: Registers::at(ip, sp), how: How::Context, bounds, scan_from: Some(from) })
    }
}

/// The registers that the crashing processor saved in its `_KPRCB` (`ProcessorState.ContextFrame`), of which a triage dump keeps a copy.
fn saved(kernel: &Kernel) -> Value<Registers> {
    let prcb = kernel.dump.triage().and_then(|t| t.prcb()).ok_or(Absent::NotInDump)?;
    let at = kernel.kdbg.as_ref().and_then(|b| b.field("OffsetPrcbProcStateContext")).ok_or(Absent::NotRecorded)?;
    let from = usize::try_from(at).ok().filter(|at| *at != 0).ok_or(Absent::NotRecorded)?;
    context(kernel.arch, prcb.bytes.get(from..).ok_or(Absent::NotInDump)?)
}

/// The registers in the trap frame that the copied thread names, where its layout is known.
fn trapped(kernel: &Kernel, space: &Space<'_>) -> Value<Registers> {
    let part = kernel.dump.triage().and_then(|t| t.thread()).ok_or(Absent::NotInDump)?;
    let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file.into()));
    let thread = kernel.thread_of(bytes).map_err(|_| Absent::NoSymbol)?;
    trap_frame(&thread, space)?.registers()
}

/// Where the exception of the header was raised.
fn raised_at(kernel: &Kernel) -> Option<Va> {
    let (at, length) = kernel.dump.header.as_ref()?.exception?;
    let raw = kernel.dump.map().get(usize::try_from(at).ok()?..)?.get(..length as usize)?;
    Some(Exception::read(kernel.arch, raw).ok()?.address)
}

/// The stack that a stack pointer points into: the dump's own copy, or the memory that is readable from there upwards.
pub(super) fn bounds_at(kernel: &Kernel, space: &Space<'_>, sp: Option<u64>) -> Option<Bounds> {
    let sp = sp.filter(|sp| *sp >= lowest_kernel_address(kernel.arch).0)?;
    let width = Isa::of(kernel.arch).width();
    if !sp.is_multiple_of(width) {
        return None;
    }
    if let Some(stack) = kernel.dump.triage().and_then(|t| t.stack())
        && let Some(limit) = stack.va
    {
        let base = limit.add(stack.bytes.len() as u64);
        if sp >= limit.0 && sp < base.0 {
            let begins = first_frame(kernel).filter(|at| *at > sp && *at <= base.0);
            return Some(Bounds { limit, base: begins.map_or(base, Va) });
        }
    }
    let end = if kernel.mode == Mode::Blocks { end_of_blocks(kernel, sp) } else { end_of_pages(space, sp) };
    (end > sp).then_some(Bounds { limit: Va(sp), base: Va(end) })
}

/// One past the last byte that is kept without a gap from an address on.
fn end_of_blocks(kernel: &Kernel, from: u64) -> u64 {
    let mut at = from;
    let most = from.saturating_add(LARGEST_STACK);
    while at < most {
        match kernel.dump.virtual_bytes(Va(at), 0x1000) {
            Ok((bytes, _)) if !bytes.is_empty() => at = at.saturating_add(bytes.len() as u64),
            _ => break,
        }
    }
    at
}

/// One past the last byte that is mapped without a gap from an address on: a guard page ends every kernel stack.
fn end_of_pages(space: &Space<'_>, from: u64) -> u64 {
    let mut at = from;
    let most = from.saturating_add(LARGEST_STACK);
    while at < most && space.number(Va(at), 1).is_ok() {
        at = (at | 0xfff).saturating_add(1);
    }
    at
}

/// Adds the frames of one stack. A walk that went through all that a triage dump keeps ended at the stack's bottom only if the stack
/// is known to begin there.
fn end_with(kernel: &Kernel, bounds: Bounds, frames: Vec<Frame>, end: End, out: &mut Stack) {
    let cut = end == End::Exhausted && kernel.mode == Mode::Blocks && first_frame(kernel) != Some(bounds.base.0);
    if cut {
        let text = format!(
            "the dump keeps the stack up to {}: whether the call stack goes on there is not known",
            bounds.base
        );
        out.notes.push(Note::info(text));
    }
    out.add(Side::Kernel, frames, if cut { End::Cut } else { end });
}

/// `KSTART_FRAME_LENGTH` of x64 (the kernel's own `ksamd64.inc`): at the bottom of a system thread's stack lie the parameters that it was
/// started with and a return address of zero. At the bottom of any other thread's stack these bytes are the user's `rip` to `ss`.
const START_FRAME64: u64 = 0x30;

/// Where the copied thread's stack begins: return addresses lie below. What lies above is no frame. From `_KTHREAD.InitialStack`, whose
/// offset the debugger block states.
fn first_frame(kernel: &Kernel) -> Option<u64> {
    let part = kernel.dump.triage()?.thread()?;
    let at = kernel.kdbg.as_ref()?.field("OffsetKThreadInitialStack").filter(|at| *at != 0)?;
    let at = usize::try_from(at).ok()?;
    match kernel.arch {
        Arch::X86 => u32_at(part.bytes, at).map(u64::from),
        Arch::X64 => u64_at(part.bytes, at)?.checked_sub(START_FRAME64),
        Arch::Arm64 => u64_at(part.bytes, at),
    }
}
