//! The walk itself: one frame after another, each by the best means at hand, each saying by which.

use super::call::{Call, Isa, LONGEST, ends_in_call};
use super::images::{Code, CodeMap};
use super::memory::Memory;
use super::unwind::{self, Left, Registers};
use super::unwind_arm64;
use crate::addr::Va;
use crate::bytes::le;
use crate::value::{Absent, Value};

/// Frames of one walk in user mode. Recursion that used up a thread's whole megabyte of stack has fewer: its frames are 32 bytes and more.
pub const MOST_FRAMES: usize = 0x8000;
/// Frames of one walk in the kernel, whose stacks have 12 to 24 kilobytes.
pub const MOST_KERNEL_FRAMES: usize = 1024;
/// Bytes of stack that one scan looks through for a return address that can be checked, behind one that cannot.
const SCAN: u64 = 0x4000;
/// Bytes of stack that one scan looks through before it gives up.
const FARTHEST: u64 = 0x10_0000;
const RBP: usize = 5;

/// How a frame was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// A record of the processor's registers: of the crash, or saved for a frozen processor.
    Context,
    /// The trap frame of the last entry into the kernel.
    Trap,
    /// The frame a thread leaves on its stack when another one runs.
    Switch,
    /// Unwind information of the frame before.
    Unwind,
    /// The chain of frame pointers (x86, ARM64; x64 through code that was made at run time).
    FramePointer,
    /// The first word up the stack that is a return address: code of a module, right behind a call.
    Scan,
    /// The same, but the code before it is not in the dump: it may be a left-over.
    UncheckedScan,
}

impl End {
    /// In words.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Bottom | Self::Exhausted => "bottom of the stack",
            Self::Cut => "end of the kept stack",
            Self::Trap(_) => "trap",
            Self::Lost => "lost",
            Self::Limit => "too many frames",
        }
    }
}

impl How {
    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Trap => "trap",
            Self::Switch => "switch",
            Self::Unwind => "unwind",
            Self::FramePointer => "frame pointer",
            Self::Scan => "scan",
            Self::UncheckedScan => "unchecked scan",
        }
    }
}

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where its code is.
    pub ip: Va,
    /// Its stack pointer. [`Absent::NotRecorded`] where only a frame record of ARM64 or a word on the stack led to it: neither says how
    /// much of the stack the caller used besides.
    pub sp: Value<Va>,
    /// How it was found.
    pub how: How,
}

/// A stretch of memory used as a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Lowest byte.
    pub limit: Va,
    /// One past the highest.
    pub base: Va,
}

impl Bounds {
    /// Whether a stack pointer may point there.
    #[must_use]
    pub fn holds(&self, sp: u64) -> bool {
        sp >= self.limit.0 && sp <= self.base.0
    }
}

/// One walk: what it reads, which code it knows, where the stack lies.
#[derive(Debug)]
pub struct Walker<'a, M> {
    /// Memory.
    pub memory: &'a M,
    /// Images.
    pub code: &'a CodeMap,
    /// The stack.
    pub bounds: Bounds,
    /// The code's instructions.
    pub isa: Isa,
    /// Frames after which the walk is ended.
    pub most: usize,
    /// Kernel addresses begin here, on a walk of a kernel stack: what returns below it returned to user mode.
    pub kernel: Option<Va>,
}

/// Where a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "one value a walk, never stored")]
pub enum End {
    /// At the bottom of the stack: nothing called the last frame.
    Bottom,
    /// The stack was looked through to its last byte.
    Exhausted,
    /// The same, and the stack goes on behind what the dump keeps of it, or may do so.
    Cut,
    /// Through a trap into code that runs on another stack, with these registers.
    Trap(Registers),
    /// Nothing led further.
    Lost,
    /// Too many frames.
    Limit,
}

/// What a walk has looked at ahead of its frames, so that no word is looked at once for each of them.
#[derive(Debug, Default)]
struct Seen {
    /// The highest frame of a chain of frame pointers that was followed to its end.
    chained: u64,
    /// Up to here no return address can be checked.
    unchecked: u64,
}

impl<M: Memory> Walker<'_, M> {
    /// Walks from these registers on and adds every frame to `out`, the first one said to be found by `how`.
    /// `interrupted` says that the first frame's code was stopped and did not call.
    pub fn walk(&self, mut registers: Registers, how: How, mut interrupted: bool, out: &mut Vec<Frame>) -> End {
        let mut how = how;
        let mut seen = Seen::default();
        loop {
            let Some(sp) = registers.sp() else { return End::Lost };
            if out.len() >= self.most {
                return End::Limit;
            }
            let known = if registers.sp_is_floor { Err(Absent::NotRecorded) } else { Ok(Va(sp)) };
            out.push(Frame { ip: Va(registers.ip), sp: known, how });
            // The chain of frame records ends with an address of zero (AAPCS64, 6.4.6 "The Frame Pointer").
            if self.isa == Isa::Arm64 && how == How::FramePointer && registers.get(RBP) == Some(0) {
                return End::Bottom;
            }
            let stub = if interrupted && self.isa == Isa::X86 { self.stub(registers) } else { None };
            let (next, by) = match self.isa {
                Isa::X64 => (self.leave(registers, interrupted), How::Unwind),
                Isa::X86 => (self.leave_by_pointer(registers), How::FramePointer),
                Isa::Arm64 => self.leave_arm64(registers, interrupted),
            };
            let first = std::mem::replace(&mut interrupted, false);
            let (next, found) = match (stub, next) {
                (Some(caller), _) => caller,
                (None, Ok((next, Left::MachineFrame))) => return End::Trap(next),
                (None, Ok((next, Left::Return))) if self.plausible(&registers, &next) => (next, by),
                // A return address of zero is how the first function of a thread was called.
                (None, Ok((next, Left::Return))) if next.ip == 0 => return End::Bottom,
                // An x86 trap frame begins as if it were a frame of the user's code.
                (None, Ok((next, Left::Return))) if self.kernel.is_some_and(|k| next.ip < k.0) => return End::Bottom,
                _ => match self.without_unwinding(&registers, sp, first, &mut seen) {
                    Some(found) => found,
                    None if sp.saturating_add(FARTHEST) >= self.bounds.base.0 => return End::Exhausted,
                    None => return End::Lost,
                },
            };
            registers = next;
            how = found;
        }
    }
    /// Whether a caller can be one: it lies higher on the same stack, in code of a module.
    fn plausible(&self, here: &Registers, next: &Registers) -> bool {
        let (Some(before), Some(after)) = (here.sp(), next.sp()) else { return false };
        let aligned = after.is_multiple_of(self.isa.width());
        // Code outside of every module (injected, or made at run time) counts when there is a call right before it.
        let is_code = || self.code.find(Va(next.ip)).is_some() || self.follows_call(Va(next.ip)) == Some(true);
        // A function of ARM64 that makes no calls may not use the stack at all; its caller's link register is not known any more.
        let higher = after > before || self.isa == Isa::Arm64 && after == before;
        aligned && higher && self.bounds.holds(after) && is_code()
    }
    /// ARM64: by unwind information where the image has it and it leads to a caller, else by the chain of frame records.
    fn leave_arm64(&self, registers: Registers, interrupted: bool) -> (Value<(Registers, Left)>, How) {
        match self.leave_by_unwind_arm64(registers, interrupted) {
            Ok((next, left)) if left == Left::MachineFrame || next.ip == 0 || self.plausible(&registers, &next) => {
                (Ok((next, left)), How::Unwind)
            }
            _ => (self.leave_by_pointer(registers), How::FramePointer),
        }
    }
    fn leave_by_unwind_arm64(&self, mut registers: Registers, interrupted: bool) -> Value<(Registers, Left)> {
        let code = self.code.find(Va(registers.ip)).ok_or(Absent::NotApplicable)?;
        let table = code.functions_arm64(self.memory)?;
        let left = unwind_arm64::unwind(self.memory, &table, &mut registers, interrupted)?;
        Ok((registers, left))
    }
    fn leave(&self, mut registers: Registers, interrupted: bool) -> Value<(Registers, Left)> {
        let code = self.code.find(Va(registers.ip)).ok_or(Absent::NotApplicable)?;
        let table = code.functions(self.memory)?;
        // A return address may be one past its function's end, when the call was the last instruction.
        let probe = if interrupted { registers.ip } else { registers.ip.wrapping_sub(1) };
        let left = match table.find(self.memory, probe)? {
            Some(function) => unwind::unwind(self.memory, &table, function, &mut registers, interrupted)?,
            // Only code that was stopped can be in a function without unwind information: such a one makes no calls.
            None if interrupted => unwind::leaf(self.memory, &mut registers)?,
            None => return Err(Absent::NotApplicable),
        };
        Ok((registers, left))
    }
    /// The caller where no unwind information leads to it: by what lies right at the stack pointer of stopped code, by the chain
    /// of frame pointers, else by the next return address up the stack.
    fn without_unwinding(
        &self,
        registers: &Registers,
        sp: u64,
        first: bool,
        seen: &mut Seen,
    ) -> Option<(Registers, How)> {
        // Code that was stopped at its first instruction, as a context taken by `KeBugCheckEx` says, or in a system call's stub.
        let top = if first && self.isa == Isa::X64 { self.top(registers, sp) } else { None };
        match top {
            Some((caller, How::Scan)) => Some((caller, How::Scan)),
            unchecked => {
                let chained = self.chain(registers, &mut seen.chained).or(unchecked);
                chained.or_else(|| self.scan(sp, registers.get(RBP), &mut seen.unchecked))
            }
        }
    }
    /// The return address right at the stack pointer. A function that has not pushed anything yet has not changed the frame pointer.
    fn top(&self, registers: &Registers, sp: u64) -> Option<(Registers, How)> {
        let width = self.isa.width();
        let ip = self.memory.number(Va(sp), u32::try_from(width).ok()?).ok()?;
        let how = match self.is_return(ip) {
            Some(true) => How::Scan,
            None => How::UncheckedScan,
            Some(false) => return None,
        };
        let mut next = Registers::at(ip, sp.saturating_add(width));
        next.set(RBP, registers.get(RBP));
        Some((next, how))
    }
    /// One step along the chain of frame pointers of user code. Code made at run time lies in no module and has no unwind
    /// information; it keeps frame pointers. A chain counts when each link lies higher than the one before, inside the stack, and
    /// when it leads into a module: a single number that happens to point into the stack is none.
    fn chain(&self, registers: &Registers, chained: &mut u64) -> Option<(Registers, How)> {
        let (sp, frame) = (registers.sp()?, registers.get(RBP)?);
        if self.kernel.is_some() || !self.is_link(sp.saturating_sub(1), frame) {
            return None;
        }
        if frame > *chained {
            *chained = self.last_link(registers.ip, frame)?;
        }
        let (pointer, ip) = self.link(frame)?;
        let mut next = Registers::at(ip, frame.saturating_add(self.isa.width().saturating_mul(2)));
        next.set(RBP, Some(pointer));
        Some((next, How::FramePointer))
    }
    /// Whether a frame pointer can follow another.
    fn is_link(&self, before: u64, frame: u64) -> bool {
        frame > before && self.bounds.holds(frame) && frame.is_multiple_of(self.isa.width())
    }
    /// The frame pointer and the return address that a frame pointer points at.
    fn link(&self, frame: u64) -> Option<(u64, u64)> {
        let width = self.isa.width();
        let word = |va| self.memory.number(va, u32::try_from(width).unwrap_or(8)).ok();
        Some((word(Va(frame))?, word(Va(frame).add(width))?))
    }
    /// Follows a chain to its end: the last frame that returns into a module. One link alone counts only from code that lies in no
    /// module: a register that happens to point below a module's address is no rare thing.
    fn last_link(&self, ip: u64, mut frame: u64) -> Option<u64> {
        let in_module = |ip| self.code.find(Va(ip)).is_some_and(|c| !c.name.is_empty());
        let (mut last, mut returns) = (None, 0usize);
        while let Some((pointer, to)) = self.link(frame) {
            if !self.may_return_to(to) {
                break;
            }
            returns = returns.saturating_add(1);
            if in_module(to) {
                last = Some((frame, returns));
            }
            if !self.is_link(frame, pointer) {
                break;
            }
            frame = pointer;
        }
        last.filter(|(_, returns)| *returns > 1 || !in_module(ip)).map(|(frame, _)| frame)
    }
    /// Whether a chain may return there: behind a call as far as the code is kept, in an image or in memory that may be executed.
    fn may_return_to(&self, ip: u64) -> bool {
        if self.code.find(Va(ip)).is_some() {
            return self.is_return(ip) != Some(false);
        }
        let user = (0x1_0000..0x8000_0000_0000).contains(&ip) && !self.bounds.holds(ip);
        user && self.code.may_hold_code(Va(ip)) && self.follows_call(Va(ip)) != Some(false)
    }
    /// x86 code that was stopped right above its return address, as system call stubs are: they set up no frame, and the frame pointer is
    /// still their caller's.
    fn stub(&self, mut registers: Registers) -> Option<(Registers, How)> {
        let sp = registers.sp()?;
        let ip = self.memory.number(Va(sp), 4).ok()?;
        if self.is_return(ip) != Some(true) {
            return None;
        }
        registers.ip = ip;
        registers.set(4, Some(sp.saturating_add(4)));
        Some((registers, How::Scan))
    }
    /// x86 and ARM64: the caller's frame pointer is where the frame pointer points, the return address above it.
    fn leave_by_pointer(&self, mut registers: Registers) -> Value<(Registers, Left)> {
        let sp = registers.sp().ok_or(Absent::NotRecorded)?;
        let frame = registers.get(RBP).ok_or(Absent::NotRecorded)?;
        let width = self.isa.width();
        if frame < sp || !self.bounds.holds(frame) || !frame.is_multiple_of(width) {
            return Err(Absent::Implausible);
        }
        let word = |va| self.memory.number(va, u32::try_from(width).unwrap_or(8));
        let (pointer, ip) = (word(Va(frame))?, word(Va(frame).add(width))?);
        // The chain is only as good as the code that kept it: the return address must follow a call, as far as the code is there.
        let sound = match self.follows_call(Va(ip)) {
            Some(sound) => sound,
            None => self.code.find(Va(ip)).is_some(),
        };
        if ip != 0 && !sound {
            return Err(Absent::Implausible);
        }
        registers = if self.isa == Isa::Arm64 { Registers::default() } else { registers };
        registers.ip = ip;
        registers.set(4, Some(frame.saturating_add(width.saturating_mul(2))));
        registers.set(RBP, Some(pointer));
        registers.sp_is_floor = self.isa == Isa::Arm64;
        Ok((registers, Left::Return))
    }
    /// Whether an address lies in a module right behind a call; `None` when it lies in a module whose code is not in the dump.
    fn is_return(&self, ip: u64) -> Option<bool> {
        // An image's headers are no code.
        let begins = |c: &Code| if c.name.is_empty() { c.base.0 } else { c.base.0.saturating_add(0x200) };
        let in_code = self.code.find(Va(ip)).is_some_and(|c| ip >= begins(c));
        if in_code { self.follows_call(Va(ip)) } else { Some(false) }
    }
    /// Whether a call ends right before an address; `None` when the code there is not in the dump.
    fn follows_call(&self, ip: Va) -> Option<bool> {
        let before = self.memory.fetch(ip.sub(LONGEST as u64), LONGEST as u32);
        match ends_in_call(before.all().ok()?, self.isa) {
            // A call leads to code: of a module, or near by where there is none.
            Some(Call::Relative(distance)) => {
                let target = ip.0.wrapping_add_signed(distance.into());
                let target = if self.isa == Isa::X86 { target & 0xffff_ffff } else { target };
                let near = self.code.find(ip).is_none() && distance.unsigned_abs() < 0x10_0000;
                Some(near || self.code.find(Va(target)).is_some())
            }
            Some(Call::Indirect) => Some(true),
            None => Some(false),
        }
    }
    /// The first return address from here up the stack.
    #[must_use]
    pub fn first_return(&self, from: Va) -> Option<Registers> {
        self.scan(from.0, None, &mut 0).filter(|(_, how)| *how == How::Scan).map(|(registers, _)| registers)
    }
    /// The next return address from here up the stack, whether or not the code before it is kept.
    #[must_use]
    pub fn next_return(&self, from: Va) -> Option<(Registers, How)> {
        self.scan(from.0, None, &mut 0)
    }
    /// Looks up the stack for the next return address: one whose code is kept and has a call before it, as far as there is one not far
    /// behind the first whose code is not kept. `unchecked` says up to where none can be checked.
    fn scan(&self, from: u64, pointer: Option<u64>, unchecked: &mut u64) -> Option<(Registers, How)> {
        let width = self.isa.width();
        let from = from.checked_next_multiple_of(width)?.max(self.bounds.limit.0);
        let end = self.bounds.base.0.min(from.saturating_add(FARTHEST));
        let (word, place, sound) = self.first(from, end, |_| true)?;
        if sound {
            return Some((self.found(word, place, width, pointer), How::Scan));
        }
        let behind = place.saturating_add(width).max(*unchecked);
        let end = self.bounds.base.0.min(place.saturating_add(SCAN));
        if let Some((word, place, _)) = self.first(behind, end, |sound| sound) {
            return Some((self.found(word, place, width, pointer), How::Scan));
        }
        *unchecked = end.max(*unchecked);
        Some((self.found(word, place, width, pointer), How::UncheckedScan))
    }
    /// The first word of a stretch that may be a return address, where it lies, and whether a call was seen before it.
    fn first(&self, from: u64, end: u64, wanted: impl Fn(bool) -> bool) -> Option<(u64, u64, bool)> {
        let width = self.isa.width();
        let mut at = from;
        while at < end {
            let page_end = (at | 0xfff).saturating_add(1).min(end);
            let length = u32::try_from(page_end.saturating_sub(at)).ok()?;
            let bytes = self.memory.fetch(Va(at), length);
            for (offset, piece) in bytes.present() {
                for (i, word) in piece.chunks_exact(width as usize).enumerate() {
                    let word = le(word).filter(|word| *word >= 0x1_0000);
                    let Some(word) = word else { continue };
                    let sound = match self.is_return(word) {
                        Some(true) => true,
                        None => false,
                        Some(false) => continue,
                    };
                    if wanted(sound) {
                        let place = at.saturating_add(offset.into()).saturating_add(i as u64 * width);
                        return Some((word, place, sound));
                    }
                }
            }
            at = page_end;
        }
        None
    }
    fn found(&self, ip: u64, place: u64, width: u64, pointer: Option<u64>) -> Registers {
        let mut registers = Registers::at(ip, place.saturating_add(width));
        registers.sp_is_floor = self.isa == Isa::Arm64;
        // What was skipped kept the frame pointer, or changed it: that of a frame that still lies ahead may serve.
        registers.set(RBP, pointer.filter(|pointer| *pointer > place));
        if self.isa == Isa::X86
            && let Ok(pointer) = self.memory.number(Va(place.saturating_sub(width)), 4)
            && (pointer > place || registers.get(RBP).is_none())
        {
            // `push ebp` stands right below a return address that a frame was set up for.
            registers.set(RBP, Some(pointer));
        }
        registers
    }
}

#[cfg(test)]
mod tests {
    use super::super::images::Code;
    use super::super::memory::Flat;
    use super::*;

    const IMAGE: u64 = 0x40_0000;
    const STACK: u64 = 0x20_0000;

    /// Code that is nothing but calls: every fifth byte is behind one.
    fn code() -> Vec<u8> {
        let mut code = vec![0; 0x1000];
        for chunk in code.chunks_exact_mut(5) {
            chunk.copy_from_slice(&[0xe8, 0, 0, 0, 0]);
        }
        code
    }
    fn returns(n: u64) -> u64 {
        // The first multiple of 5 at or behind 0x200: the calls are five bytes long.
        IMAGE + 0x200 + (5 - 0x200 % 5) + 5 * n
    }
    fn walk(stack: &[u32], sp: u64, ebp: u64, code: Vec<u8>) -> (Vec<Frame>, End) {
        let bytes: Vec<u8> = stack.iter().flat_map(|w| w.to_le_bytes()).collect();
        let end = STACK + bytes.len() as u64;
        let memory = Flat(vec![(IMAGE, code), (STACK, bytes)]);
        let map = CodeMap::new(vec![Code::new(Va(IMAGE), 0x1000, "a.exe".into())]);
        let bounds = Bounds { limit: Va(STACK), base: Va(end) };
        let walker = Walker { memory: &memory, code: &map, bounds, isa: Isa::X86, most: MOST_FRAMES, kernel: None };
        let mut registers = Registers::at(returns(0), sp);
        registers.set(RBP, Some(ebp));
        let mut out = Vec::new();
        let end = walker.walk(registers, How::Trap, true, &mut out);
        (out, end)
    }

    #[test]
    fn frame_pointers_lead_to_the_end() {
        let (a, b) = (returns(7) as u32, returns(9) as u32);
        let at = |i: u64| (STACK + 4 * i) as u32;
        // 2: frame of the first, 5: frame of the second, 7: the last, whose caller is nobody.
        let stack = [9, 9, at(5), a, 9, at(7), b, 0, 0, 9];
        let (frames, end) = walk(&stack, STACK, at(2).into(), code());
        let got: Vec<_> = frames.iter().map(|f| (f.ip.0, f.sp.unwrap().0, f.how)).collect();
        assert_eq!(
            got,
            [
                (returns(0), STACK, How::Trap),
                (returns(7), STACK + 16, How::FramePointer),
                (returns(9), STACK + 28, How::FramePointer)
            ]
        );
        assert_eq!(end, End::Bottom);
    }
    #[test]
    fn a_broken_chain_is_scanned_over_and_taken_up_again() {
        let (a, b) = (returns(7) as u32, returns(9) as u32);
        let at = |i: u64| (STACK + 4 * i) as u32;
        // ebp is garbage; the word at 1 points into code but behind no call; a has its frame pointer below it.
        let stack = [9, (returns(3) + 1) as u32, at(5), a, 9, at(7), b, 0, 0, 9];
        let (frames, end) = walk(&stack, STACK, 0x1234, code());
        let hows: Vec<_> = frames.iter().map(|f| (f.ip.0, f.how)).collect();
        assert_eq!(hows, [(returns(0), How::Trap), (returns(7), How::Scan), (returns(9), How::FramePointer)]);
        assert_eq!(end, End::Bottom);
    }
    #[test]
    fn a_stub_without_a_frame_of_its_own() {
        let (a, b) = (returns(7) as u32, returns(9) as u32);
        let at = |i: u64| (STACK + 4 * i) as u32;
        // Stopped at its return address to `a`; the frame pointer is that of `a`, whose caller is `b`.
        let (frames, end) = walk(&[a, 9, at(4), b, 0, 0, 9], STACK, at(2).into(), code());
        let hows: Vec<_> = frames.iter().map(|f| (f.ip.0, f.how)).collect();
        assert_eq!(hows, [(returns(0), How::Trap), (returns(7), How::Scan), (returns(9), How::FramePointer)]);
        assert_eq!(end, End::Bottom);
    }
    #[test]
    fn a_chain_that_runs_in_circles_ends() {
        let a = returns(7) as u32;
        let at = |i: u64| (STACK + 4 * i) as u32;
        let (frames, end) = walk(&[9, at(1), a, 9, 9], STACK, at(1).into(), code());
        assert_eq!(frames.len(), 2);
        assert_eq!(end, End::Exhausted);
    }
    #[test]
    fn a_stack_of_nothing_but_return_addresses_is_cut() {
        let stack: Vec<u32> = (0..MOST_FRAMES as u64 + 99).map(|i| returns(i % 50) as u32).collect();
        let (frames, end) = walk(&stack, STACK, 0, code());
        assert_eq!((frames.len(), end), (MOST_FRAMES, End::Limit));
    }
    #[test]
    fn without_code_a_scan_says_so() {
        let (frames, _) = walk(&[9, returns(7) as u32, 9], STACK, 0, Vec::new());
        assert_eq!(frames.iter().map(|f| f.how).collect::<Vec<_>>(), [How::Trap, How::UncheckedScan]);
    }

    /// An x64 walk of user code: a module at `IMAGE`, made without code bytes, and code that was made at run time at `JIT`.
    fn walk64(stack: &[u64], ip: u64, rbp: u64, map: &CodeMap) -> (Vec<(u64, How)>, End) {
        let bytes: Vec<u8> = stack.iter().flat_map(|w| w.to_le_bytes()).collect();
        let end = STACK + bytes.len() as u64;
        let memory = Flat(vec![(STACK, bytes)]);
        let bounds = Bounds { limit: Va(STACK), base: Va(end) };
        let walker = Walker { memory: &memory, code: map, bounds, isa: Isa::X64, most: MOST_FRAMES, kernel: None };
        let mut registers = Registers::at(ip, STACK);
        registers.set(RBP, Some(rbp));
        let mut out = Vec::new();
        let end = walker.walk(registers, How::Context, true, &mut out);
        (out.iter().map(|f| (f.ip.0, f.how)).collect(), end)
    }
    fn image() -> CodeMap {
        CodeMap::new(vec![Code::new(Va(IMAGE), 0x1_0000, "a.exe".into())])
    }
    const JIT: u64 = 0x1e0_5c51_d93b;
    const fn link(word: u64) -> u64 {
        STACK + 8 * word
    }

    #[test]
    fn frame_pointers_lead_through_code_made_at_run_time() {
        // Stale addresses of the module lie between the links; the last link returns into the module and has no next.
        let (a, b, stale) = (IMAGE + 0x5000, IMAGE + 0x6000, IMAGE + 0x7777);
        let stack = [7, stale, link(4), JIT, link(7), JIT + 64, stale, link(9), a, 0, b, 7];
        let (frames, _) = walk64(&stack, a, link(2), &image());
        let chain = [(a, How::Context), (JIT, How::FramePointer), (JIT + 64, How::FramePointer)];
        assert_eq!(frames[..3], chain);
        assert_eq!(frames[3..], [(a, How::FramePointer), (b, How::FramePointer)]);
    }
    #[test]
    fn a_number_that_points_into_the_stack_is_no_chain() {
        let (a, b, c) = (IMAGE + 0x5000, IMAGE + 0x6000, IMAGE + 0x7000);
        let hows = |frames: Vec<(u64, How)>| frames.iter().map(|f| f.1).collect::<Vec<_>>();
        // From code of a module, one link that leads on to nothing: what lies at the stack pointer comes first.
        let (frames, end) = walk64(&[b, 7, 99, c, 7], a, link(2), &image());
        assert_eq!(frames[1].0, b);
        assert_eq!(hows(frames), [How::Context, How::UncheckedScan, How::UncheckedScan]);
        assert_eq!(end, End::Exhausted);
        // A chain that leads into no module is none either.
        let (frames, _) = walk64(&[7, b, link(4), JIT, link(6), JIT + 9, 0, JIT + 20], a, link(2), &image());
        assert_eq!(hows(frames), [How::Context, How::UncheckedScan]);
        // From code of no module one link is enough: such code has nothing else.
        let (frames, _) = walk64(&[7, 7, 99, c, 7], JIT, link(2), &image());
        assert_eq!(frames, [(JIT, How::Context), (c, How::FramePointer)]);
        // Links that go down, or in circles.
        let (frames, _) = walk64(&[7, 7, link(2), c, link(2), b], a, link(4), &image());
        assert!(frames.iter().all(|f| f.1 != How::FramePointer), "{frames:?}");
    }
    #[test]
    fn a_chain_does_not_lead_to_memory_that_cannot_be_executed() {
        let (a, b) = (IMAGE + 0x5000, IMAGE + 0x6000);
        let stack = [7, 7, link(4), JIT, link(6), b, 0, b];
        let (frames, _) = walk64(&stack, a, link(2), &image());
        assert_eq!(frames[1], (JIT, How::FramePointer));
        let (frames, _) = walk64(&stack, a, link(2), &image().all_executable());
        assert!(frames.iter().all(|f| f.0 != JIT), "{frames:?}");
        let mut map = image();
        map.add_where_free(vec![Code::new(Va(JIT & !0xfff), 0x1000, "".into())]);
        let (frames, _) = walk64(&stack, a, link(2), &map.all_executable());
        assert_eq!(frames[1], (JIT, How::FramePointer));
    }
    #[test]
    fn a_deep_recursion_is_walked_to_its_bottom() {
        let a = IMAGE + 0x5000;
        let stack: Vec<u64> = (0..4_000u64).map(|i| if i % 4 == 0 { a } else { 7 }).collect();
        let (frames, end) = walk64(&stack, a, 0, &image());
        assert_eq!((frames.len(), end), (1001, End::Exhausted));
    }
    #[test]
    fn a_large_local_array_does_not_end_a_walk() {
        let a = IMAGE + 0x5000;
        let mut stack = vec![a];
        stack.extend(vec![7; 0x1_8000]);
        stack.push(a + 1);
        let (frames, _) = walk64(&stack, a, 0, &image());
        assert_eq!(frames.len(), 3);
    }
    #[test]
    fn arm64_chains_end_with_zero() {
        let (a, b) = (IMAGE + 0x5000, IMAGE + 0x6000);
        // The last record's frame pointer is zero: its return address is the last frame, whatever lies behind.
        let stack = [link(3), a, 7, 0, b, 7, link(8), a, 0];
        let bytes: Vec<u8> = stack.iter().flat_map(|w: &u64| w.to_le_bytes()).collect();
        let end = STACK + bytes.len() as u64;
        let memory = Flat(vec![(STACK, bytes)]);
        let (map, bounds) = (image(), Bounds { limit: Va(STACK), base: Va(end) });
        let walker = Walker { memory: &memory, code: &map, bounds, isa: Isa::Arm64, most: 9, kernel: Some(Va(0)) };
        let mut registers = Registers::at(a, STACK);
        registers.set(RBP, Some(STACK));
        let mut out = Vec::new();
        assert_eq!(walker.walk(registers, How::Context, true, &mut out), End::Bottom);
        assert_eq!(out.iter().map(|f| f.ip.0).collect::<Vec<_>>(), [a, a, b]);
        // A frame record does not say where its function's stack pointer was.
        assert_eq!(
            out.iter().map(|f| f.sp).collect::<Vec<_>>(),
            [Ok(Va(STACK)), Err(Absent::NotRecorded), Err(Absent::NotRecorded)]
        );
    }
}
