//! Where the stacks of a thread begin: in the kernel, in user mode, on the 32-bit side.

use super::call::Isa;
use super::crash;
use super::images::CodeMap;
use super::registers::{Context, TrapFrame, wow64_context};
use super::unwind::Registers;
use super::walk::{Bounds, End, Frame, How, MOST_FRAMES, MOST_KERNEL_FRAMES, Walker};
use crate::addr::Va;
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::kernel::thread::Thread;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Here, Layout, View};
use crate::value::{Absent, Note, Value};

layout! {
    /// `_KPRCB`: one processor.
    pub struct Prcb: "_KPRCB" {
        /// `CurrentThread`.
        thread: Va = "CurrentThread",
        /// `Number`.
        number: u32 = "Number",
        /// `ProcessorState.ContextFrame`: its registers, saved when the processor was frozen.
        context: Here = "ProcessorState.ContextFrame",
    }
}

/// The code that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The kernel.
    Kernel,
    /// User mode, of the machine's own width.
    User,
    /// 32-bit user mode on a 64-bit Windows.
    Wow64,
}

impl Side {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::User => "user",
            Self::Wow64 => "wow64",
        }
    }
}

/// A processor at the moment of the dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Its number.
    pub number: u32,
    /// The thread it was running.
    pub thread: Va,
    /// Its registers, where they were saved.
    pub registers: Value<Registers>,
}

/// What the stacks of all threads share.
#[derive(Debug)]
pub struct Moment {
    /// Processors with their threads.
    pub processors: Vec<Processor>,
    /// The registers in the dump's header: those of the crash.
    pub crash: Value<Registers>,
}

/// Processors a machine may have (`MAXIMUM_PROC_PER_GROUP` × 32 groups).
const MOST_PROCESSORS: u32 = 2048;

impl Moment {
    /// Reads the processors and the header's context.
    #[must_use]
    pub fn of(kernel: &Kernel, space: &Space<'_>) -> Self {
        Self { processors: processors(kernel, space), crash: crash::registers(kernel) }
    }
}

fn processors(kernel: &Kernel, space: &Space<'_>) -> Vec<Processor> {
    let (Some(block), Ok(layout)) = (kernel.global("KiProcessorBlock"), kernel.layout::<Prcb>()) else {
        return Vec::new();
    };
    let header = kernel.dump.header.as_ref().map(|h| h.processors).filter(|n| *n > 0);
    let global = || u32::try_from(space.number(kernel.global("KeNumberProcessors")?, 4).ok()?).ok();
    let count = header.or_else(global).unwrap_or(1).min(MOST_PROCESSORS);
    let width = u64::from(space.pointer_size());
    (0..u64::from(count))
        .filter_map(|i| {
            let at = space.pointer(block.add(i.saturating_mul(width))).ok().filter(|p| !p.is_null())?;
            let prcb = space.view(layout, at);
            let registers = prcb.context().and_then(|context| {
                let layout = kernel.layout::<Context>().map_err(|_| Absent::NoSymbol)?;
                space.view(layout, context).registers()
            });
            Some(Processor { number: prcb.number().ok()?, thread: prcb.thread().ok()?, registers })
        })
        .collect()
}

/// A thread's stack, top first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    /// The frames, with the code they belong to.
    pub frames: Vec<(Side, Frame)>,
    /// How each walk ended: the index one past its last frame.
    pub ends: Vec<(usize, &'static str)>,
    /// What the reader of the stack has to know.
    pub notes: Vec<Note>,
}

impl Stack {
    /// Adds the frames of one walk.
    pub fn add(&mut self, side: Side, frames: Vec<Frame>, end: End) {
        if end == End::Limit {
            let text = format!("a call stack was ended after {} frames on its {} side", frames.len(), side.word());
            self.notes.push(Note::loss(text));
        }
        self.frames.extend(frames.into_iter().map(|f| (side, f)));
        self.ends.push((self.frames.len(), end.word()));
    }
    /// How the walk ended whose last frame this is.
    #[must_use]
    pub fn end_at(&self, index: usize) -> Option<&'static str> {
        let behind = index.checked_add(1)?;
        self.ends.iter().find(|(at, _)| *at == behind).map(|(_, end)| *end)
    }
}

/// `KSWITCH_FRAME` of x64 (the kernel's own `ksamd64.inc`, Server 2003 to 11): 40h bytes, `Rbp` at 30h, `Return` at 38h. No PDB has it.
const SWITCH64: (u64, u64, u64) = (0x40, 0x30, 0x38);
/// `KSWITCHFRAME` of x86: `ExceptionList`, flags, `RetAddr` at 8; above it what `KiSwapContext` saved: ebp, edi, esi, ebx, its return address.
const SWITCH32: (u64, u64, u64) = (0xc, 0xc, 8);
const KI_SWAP_CONTEXT_RETURN32: u64 = 0x1c;

/// What a thread's stacks are walked with.
#[derive(Debug)]
pub struct Stacks<'a> {
    /// Processors and the crash.
    pub moment: &'a Moment,
    /// Kernel modules.
    pub kernel_code: &'a CodeMap,
    /// Images and executable memory of the process.
    pub user_code: &'a CodeMap,
}

impl Stacks<'_> {
    /// The whole stack of a thread. `user` is its process' address space, where there is one.
    #[must_use]
    pub fn walk<'k>(&self, thread: &Thread<'k>, space: &Space<'k>, user: Option<&Space<'k>>) -> Stack {
        let mut out = Stack::default();
        let trapped = self.kernel_side(thread, space, &mut out);
        if let Some(user) = user {
            self.user_side(thread, space, user, trapped, &mut out);
        }
        out
    }

    /// Walks the kernel stack; gives the registers with which it was entered from user mode.
    fn kernel_side(&self, thread: &Thread<'_>, space: &Space<'_>, out: &mut Stack) -> Option<Registers> {
        let kernel = thread.kernel;
        let own = kernel_bounds(thread);
        // The one thread that a triage dump keeps is the one that crashed, on whatever stack the processor was at that time.
        if kernel.dump.triage().is_some() && crash::walk(kernel, space, self.kernel_code, out).is_ok() {
            return None;
        }
        let lowest = crash::lowest_kernel_address(kernel.arch);
        let isa = Isa::of(kernel.arch);
        let stopped = self.stopped(thread, own, space);
        let bounds = stopped.map(|(_, on)| on).or(own)?;
        let mut walker = Walker {
            memory: space,
            code: self.kernel_code,
            bounds,
            isa,
            most: MOST_KERNEL_FRAMES,
            kernel: Some(lowest),
        };
        let mut frames = Vec::new();
        let mut end = match stopped {
            Some((registers, _)) => walker.walk(registers, How::Context, true, &mut frames),
            None => {
                let wide = kernel.arch != Arch::X86;
                switched(thread, space, self.kernel_code, bounds, wide, &walker, &mut frames)?
            }
        };
        // A trap inside the kernel: on with what it interrupted, on this stack or on the one it was left for.
        while let End::Trap(registers) = end
            && registers.ip >= lowest.0
            && let Some(on) = interrupted(kernel, space, &registers, walker.bounds, own)
            && frames.len() < MOST_KERNEL_FRAMES
        {
            walker.bounds = on;
            end = walker.walk(registers, How::Trap, true, &mut frames);
        }
        out.add(Side::Kernel, frames, end);
        match end {
            End::Trap(registers) if registers.ip < lowest.0 => Some(registers),
            _ => None,
        }
    }

    /// The registers of a thread that was on a processor: of the crash, or of a frozen processor; and the stack they are on. That
    /// of a processor in a DPC or an interrupt is not the thread's own.
    fn stopped(&self, thread: &Thread<'_>, own: Option<Bounds>, space: &Space<'_>) -> Option<(Registers, Bounds)> {
        let on_own = |r: &Registers| own.filter(|own| r.sp().is_some_and(|sp| own.holds(sp)));
        if let Ok(crash) = &self.moment.crash
            && let Some(own) = on_own(crash)
        {
            return Some((*crash, own));
        }
        let at = thread.offset()?;
        let processor = self.moment.processors.iter().find(|p| p.thread == at)?;
        let registers = processor.registers.ok().filter(|r| r.ip != 0)?;
        if let Some(own) = on_own(&registers) {
            return Some((registers, own));
        }
        let lowest = crash::lowest_kernel_address(thread.kernel.arch);
        let on = crash::bounds_at(thread.kernel, space, registers.sp()).filter(|_| registers.ip >= lowest.0)?;
        Some((registers, on))
    }

    fn user_side<'k>(
        &self,
        thread: &Thread<'k>,
        space: &Space<'k>,
        user: &Space<'k>,
        trapped: Option<Registers>,
        out: &mut Stack,
    ) {
        let kernel = thread.kernel;
        let Ok(teb) = thread.teb().and_then(|va| kernel.teb(user, va, false)) else { return };
        let isa = Isa::of(kernel.arch);
        let (Ok(base), Ok(limit)) = (teb.view.stack_base(), teb.view.stack_limit()) else { return };
        let from_frame = trap_frame(thread, space).and_then(|frame| {
            if entered_from_user(kernel.arch, &frame)? { frame.registers() } else { Err(Absent::NotApplicable) }
        });
        let start = match (from_frame, trapped) {
            (Ok(mut registers), Some(unwound)) => {
                if registers.ip == unwound.ip && registers.sp() == unwound.sp() {
                    for number in [3, 5, 6, 7, 12, 13, 14, 15] {
                        if registers.get(number).is_none() {
                            registers.set(number, unwound.get(number));
                        }
                    }
                }
                Some(registers)
            }
            (Ok(registers), None) => Some(registers),
            (Err(_), unwound) => unwound.or_else(|| self.in_user_mode(thread)),
        };
        if let Some(registers) = start {
            let bounds = stack_around(registers.sp(), limit, base);
            let walker = Walker { memory: user, code: self.user_code, bounds, isa, most: MOST_FRAMES, kernel: None };
            let mut frames = Vec::new();
            let end = walker.walk(registers, How::Trap, true, &mut frames);
            out.add(Side::User, frames, end);
        }
        if kernel.arch != Arch::X64 {
            return;
        }
        let other = teb.other_half().and_then(|va| kernel.teb(user, va, true));
        let registers = teb.tail.tls_slots().and_then(|slots| wow64_context(user, slots));
        if let (Ok(other), Ok(registers)) = (other, registers)
            && let (Ok(base), Ok(limit)) = (other.view.stack_base(), other.view.stack_limit())
        {
            let bounds = stack_around(registers.sp(), limit, base);
            let walker =
                Walker { memory: user, code: self.user_code, bounds, isa: Isa::X86, most: MOST_FRAMES, kernel: None };
            let mut frames = Vec::new();
            let end = walker.walk(registers, How::Context, true, &mut frames);
            out.add(Side::Wow64, frames, end);
        }
    }

    /// The registers of a thread that a processor was running in user mode.
    fn in_user_mode(&self, thread: &Thread<'_>) -> Option<Registers> {
        let at = thread.offset()?;
        let processor = self.moment.processors.iter().find(|p| p.thread == at)?;
        processor.registers.ok().filter(|r| r.ip != 0 && r.ip < 0x8000_0000_0000)
    }
}

/// The stack that a trap interrupted.
fn interrupted(
    kernel: &Kernel,
    space: &Space<'_>,
    registers: &Registers,
    here: Bounds,
    own: Option<Bounds>,
) -> Option<Bounds> {
    let on = |bounds: &Bounds| registers.sp().is_some_and(|sp| bounds.holds(sp));
    let known = Some(here).filter(on).or(own.filter(on));
    known.or_else(|| crash::bounds_at(kernel, space, registers.sp()))
}

/// The user stack the TEB names, or, when the stack pointer lies elsewhere (fibers, stacks of a run time), what lies around it.
fn stack_around(sp: Option<u64>, limit: Va, base: Va) -> Bounds {
    match sp {
        Some(sp) if !(limit.0..=base.0).contains(&sp) => {
            Bounds { limit: Va(sp), base: Va(sp.saturating_add(0x1_0000) & !0xfff) }
        }
        _ => Bounds { limit, base },
    }
}

/// The kernel stack of a thread, if what the thread says of it can be one.
#[must_use]
pub fn kernel_bounds(thread: &Thread<'_>) -> Option<Bounds> {
    let (limit, base) = (thread.view.stack_limit().ok()?, thread.view.stack_base().ok()?);
    let size = base.0.checked_sub(limit.0)?;
    (size > 0 && size <= crash::LARGEST_STACK && base.0.is_multiple_of(8)).then_some(Bounds { limit, base })
}

/// The trap frame of a thread, if it lies on its kernel stack.
///
/// # Errors
/// Why there is none.
pub fn trap_frame<'k>(thread: &Thread<'k>, space: &Space<'k>) -> Value<View<'k, TrapFrame>> {
    let at = thread.view.trap_frame()?;
    if at.is_null() {
        return Err(Absent::NotApplicable);
    }
    let layout = thread.kernel.layout::<TrapFrame>().map_err(|_| Absent::NoSymbol)?;
    let bounds = kernel_bounds(thread).ok_or(Absent::Implausible)?;
    let aligned = at.0.is_multiple_of(space.pointer_size().into());
    if !aligned || at < bounds.limit || at.0.saturating_add(layout.span().into()) > bounds.base.0 {
        return Err(Absent::Implausible);
    }
    Ok(space.view(layout, at))
}

/// Whether a frame was made on entry from user mode: privilege 3. That of ARM64 keeps no selector to tell it by.
fn entered_from_user(arch: Arch, frame: &View<'_, TrapFrame>) -> Value<bool> {
    Ok(arch == Arch::Arm64 || frame.cs()? & 3 == 3)
}

/// The trap frame with which a thread entered the kernel from user mode, on its kernel stack or elsewhere: a thread that runs on another
/// stack for a while (a call of win32k's back to user mode, `KeExpandKernelStackAndCallout`) names that one as its own. There, the frame
/// must bear marks of one: privilege 3, and an instruction and a stack in user memory.
///
/// # Errors
/// Why it cannot be read; [`Absent::NotApplicable`] if the thread has no frame, or entered from the kernel.
pub fn entry_frame<'k>(thread: &Thread<'k>, space: &Space<'k>) -> Value<View<'k, TrapFrame>> {
    let kernel = thread.kernel;
    let (on_stack, read) = match trap_frame(thread, space) {
        Err(Absent::Implausible) => {
            let at = thread.view.trap_frame()?;
            if !kernel.in_kernel_half(at) || !at.0.is_multiple_of(space.pointer_size().into()) {
                return Err(Absent::Implausible);
            }
            let layout = kernel.layout::<TrapFrame>().map_err(|_| Absent::NoSymbol)?;
            (false, Ok(space.view(layout, at)))
        }
        other => (true, other),
    };
    let frame = read?;
    if kernel.arch == Arch::Arm64 {
        return if on_stack { Ok(frame) } else { Err(Absent::Implausible) };
    }
    let registers = frame.registers()?;
    let user = |va: u64| va >= 0x1_0000 && !kernel.in_kernel_half(Va(va));
    match (on_stack, entered_from_user(kernel.arch, &frame)?) {
        (true, true) => Ok(frame),
        (true, false) => Err(Absent::NotApplicable),
        (false, true) if user(registers.ip) && registers.sp().is_some_and(user) => Ok(frame),
        (false, _) => Err(Absent::Implausible),
    }
}

/// Starts where the thread was switched away from.
fn switched(
    thread: &Thread<'_>,
    space: &Space<'_>,
    code: &CodeMap,
    bounds: Bounds,
    wide: bool,
    walker: &Walker<'_, Space<'_>>,
    frames: &mut Vec<Frame>,
) -> Option<End> {
    let sp = thread.view.kernel_stack().ok()?;
    if !bounds.holds(sp.0) || sp == bounds.base {
        return None;
    }
    if thread.kernel.arch == Arch::Arm64 {
        // KSWITCH_FRAME of ARM64: no table at hand has it, so whatever return address comes first.
        return Some(walker.walk(walker.first_return(sp)?, How::Scan, false, frames));
    }
    let (length, pointer_at, return_at) = if wide { SWITCH64 } else { SWITCH32 };
    let width = if wide { 8 } else { 4 };
    let ip = space.number(sp.add(return_at), width).ok().filter(|ip| code.find(Va(*ip)).is_some());
    let mut registers = match ip {
        Some(ip) => Registers::at(ip, sp.0.saturating_add(length)),
        // Not where it should be: whatever return address comes first.
        None => walker.first_return(sp)?,
    };
    if ip.is_none() {
        return Some(walker.walk(registers, How::Scan, false, frames));
    }
    let pointer = space.number(sp.add(pointer_at), width).ok();
    registers.set(5, pointer);
    if !wide
        && let Some(caller) =
            space.number(sp.add(KI_SWAP_CONTEXT_RETURN32), 4).ok().filter(|ip| code.find(Va(*ip)).is_some())
    {
        // KiSwapContext keeps no frame pointer: its caller is told by its own frame, the chain begins there.
        frames.push(Frame { ip: Va(registers.ip), sp: Ok(sp.add(length)), how: How::Switch });
        registers = Registers::at(caller, sp.0.saturating_add(KI_SWAP_CONTEXT_RETURN32 + 4));
        registers.set(5, pointer);
    }
    Some(walker.walk(registers, How::Switch, false, frames))
}
