//! x64 stack unwinding by the unwind information of an image (`.pdata`, `UNWIND_INFO`).
//!
//! From Microsoft's [x64 exception handling](https://learn.microsoft.com/cpp/build/exception-handling-x64): runtime functions,
//! prologue codes, chained information, epilogues, machine frames. A register that could not be restored is unknown,
//! not zero; what depends on it fails.

use super::memory::Memory;
use crate::addr::Va;
use crate::bytes::{u16_at, u32_at};
use crate::value::{Absent, Value};

/// Chains longer than this are no compiler's.
const MOST_CHAINED: usize = 32;
const RSP: usize = 4;

/// The integer registers, by their numbers in machine code (0 rax, 4 rsp, 5 rbp), and the instruction pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Registers {
    /// Where the code is.
    pub ip: u64,
    /// `None` where the value is not known.
    pub gpr: [Option<u64>; 16],
    /// The stack pointer is a lower bound only: ARM64's frame records lead from one to the next, and say nothing of what lies between.
    pub sp_is_floor: bool,
}

impl Registers {
    /// Known instruction and stack pointer, nothing else.
    #[must_use]
    pub fn at(ip: u64, sp: u64) -> Self {
        let mut this = Self { ip, ..Self::default() };
        this.set(RSP, Some(sp));
        this
    }
    /// The stack pointer.
    #[must_use]
    pub fn sp(&self) -> Option<u64> {
        self.gpr.get(RSP).copied().flatten()
    }
    /// A register.
    #[must_use]
    pub fn get(&self, number: usize) -> Option<u64> {
        self.gpr.get(number).copied().flatten()
    }
    /// Sets a register.
    pub fn set(&mut self, number: usize, value: Option<u64>) {
        if let Some(slot) = self.gpr.get_mut(number) {
            *slot = value;
        }
    }
    fn pop(&mut self, memory: &impl Memory) -> Value<u64> {
        let sp = self.sp().ok_or(Absent::NotRecorded)?;
        let value = memory.number(Va(sp), 8)?;
        self.set(RSP, Some(sp.wrapping_add(8)));
        Ok(value)
    }
    fn skip(&mut self, bytes: u64) -> Value<()> {
        let sp = self.sp().ok_or(Absent::NotRecorded)?;
        self.set(RSP, Some(sp.checked_add(bytes).ok_or(Absent::Implausible)?));
        Ok(())
    }
}

/// A `RUNTIME_FUNCTION`: offsets from the image's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// First byte.
    pub begin: u32,
    /// One past the last.
    pub end: u32,
    /// Its `UNWIND_INFO`.
    pub unwind: u32,
}

impl Function {
    fn decode(raw: &[u8]) -> Option<Self> {
        Some(Self { begin: u32_at(raw, 0)?, end: u32_at(raw, 4)?, unwind: u32_at(raw, 8)? })
    }
}

/// The table of runtime functions of one image (its exception directory).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions {
    /// The image's base.
    pub base: Va,
    /// Offset of the table.
    pub rva: u32,
    /// Entries.
    pub count: u32,
}

impl Functions {
    /// The function that an address lies in; `None` for none: the address is in a leaf function, or in no code at all.
    ///
    /// # Errors
    /// Why a part of the table that is needed is not there.
    pub fn find(&self, memory: &impl Memory, ip: u64) -> Value<Option<Function>> {
        let Some(rva) = ip.checked_sub(self.base.0).and_then(|d| u32::try_from(d).ok()) else { return Ok(None) };
        let table = self.base.add(self.rva.into());
        let (mut low, mut high) = (0u32, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let raw = memory.fetch(table.add(u64::from(middle).saturating_mul(12)), 12);
            let function = Function::decode(raw.all()?).ok_or(Absent::Implausible)?;
            if rva < function.begin {
                high = middle;
            } else if rva >= function.end {
                low = middle.saturating_add(1);
            } else {
                return self.direct(memory, function).map(Some);
            }
        }
        Ok(None)
    }
    /// An entry whose unwind offset is odd stands for another entry.
    fn direct(&self, memory: &impl Memory, function: Function) -> Value<Function> {
        if function.unwind & 1 == 0 {
            return Ok(function);
        }
        let other = memory.fetch(self.base.add(u64::from(function.unwind & !1)), 12);
        let other = Function::decode(other.all()?).ok_or(Absent::Implausible)?;
        if other.unwind & 1 == 0 { Ok(other) } else { Err(Absent::Implausible) }
    }
    /// The first byte of the whole function that this is a part of (following the chain).
    ///
    /// # Errors
    /// Why the chain could not be followed.
    pub fn primary(&self, memory: &impl Memory, mut function: Function) -> Value<Function> {
        for _ in 0..MOST_CHAINED {
            match Info::read(memory, self.base, function)?.parent {
                Some(parent) => function = self.direct(memory, parent)?,
                None => return Ok(function),
            }
        }
        Err(Absent::Implausible)
    }
}

/// An `UNWIND_INFO`.
struct Info {
    prologue: u8,
    frame_register: usize,
    frame_offset: u64,
    codes: Vec<u8>,
    parent: Option<Function>,
    version: u8,
}

impl Info {
    fn read(memory: &impl Memory, base: Va, function: Function) -> Value<Self> {
        let at = base.add(function.unwind.into());
        let head = memory.fetch(at, 4);
        let [first, prologue, count, frame] = *head.all()?.first_chunk::<4>().ok_or(Absent::Implausible)?;
        let (version, flags) = (first & 7, first >> 3);
        if !matches!(version, 1 | 2) {
            return Err(Absent::Implausible);
        }
        let codes_length = u32::from(count).saturating_mul(2);
        let codes = memory.fetch(at.add(4), codes_length).all()?.to_vec();
        // UNW_FLAG_CHAININFO: after the codes, padded to an even number, the entry of the function this is a part of.
        let parent = if flags & 4 != 0 {
            let padded = (u64::from(count) + 1) & !1;
            let raw = memory.fetch(at.add(4 + padded * 2), 12);
            Some(Function::decode(raw.all()?).ok_or(Absent::Implausible)?)
        } else {
            None
        };
        Ok(Self {
            prologue,
            frame_register: (frame & 15).into(),
            frame_offset: u64::from(frame >> 4) * 16,
            codes,
            parent,
            version,
        })
    }
    /// Every code: offset in the prologue, operation, its information, and the index of its slot.
    fn each(&self) -> impl Iterator<Item = Value<(u8, u8, u8, usize)>> + '_ {
        let mut at = 0usize;
        std::iter::from_fn(move || {
            let (offset, code) = (*self.codes.get(at)?, *self.codes.get(at.checked_add(1)?)?);
            let (operation, info) = (code & 15, code >> 4);
            let Some(slots) = slots(operation, info) else { return Some(Err(Absent::Implausible)) };
            let this = at;
            at = at.checked_add(slots.checked_mul(2)?)?;
            Some(Ok((offset, operation, info, this)))
        })
        .take(256)
    }
    fn u16_after(&self, at: usize) -> Value<u64> {
        u16_at(&self.codes, at.saturating_add(2)).map(u64::from).ok_or(Absent::Implausible)
    }
    fn u32_after(&self, at: usize) -> Value<u64> {
        u32_at(&self.codes, at.saturating_add(2)).map(u64::from).ok_or(Absent::Implausible)
    }
}

/// `UWOP_…`.
mod op {
    pub const PUSH_NONVOL: u8 = 0;
    pub const ALLOC_LARGE: u8 = 1;
    pub const ALLOC_SMALL: u8 = 2;
    pub const SET_FPREG: u8 = 3;
    pub const SAVE_NONVOL: u8 = 4;
    pub const SAVE_NONVOL_FAR: u8 = 5;
    /// Version 1: an old way to save an xmm register; version 2: where the epilogues are.
    pub const EPILOG: u8 = 6;
    pub const SPARE: u8 = 7;
    pub const SAVE_XMM128: u8 = 8;
    pub const SAVE_XMM128_FAR: u8 = 9;
    pub const PUSH_MACHFRAME: u8 = 10;
}

/// How many 16-bit slots a code takes.
fn slots(operation: u8, info: u8) -> Option<usize> {
    Some(match operation {
        op::PUSH_NONVOL | op::ALLOC_SMALL | op::SET_FPREG | op::PUSH_MACHFRAME => 1,
        op::ALLOC_LARGE if info == 0 => 2,
        op::ALLOC_LARGE if info == 1 => 3,
        op::SAVE_NONVOL | op::EPILOG | op::SAVE_XMM128 => 2,
        op::SAVE_NONVOL_FAR | op::SPARE | op::SAVE_XMM128_FAR => 3,
        _ => return None,
    })
}

/// How a frame was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// To its caller.
    Return,
    /// Through a frame that the processor pushed: an interrupt, an exception, a system call.
    MachineFrame,
}

/// A leaf function: nothing on the stack but the return address.
///
/// # Errors
/// Why the return address is not there.
pub fn leaf(memory: &impl Memory, registers: &mut Registers) -> Value<Left> {
    registers.ip = registers.pop(memory)?;
    Ok(Left::Return)
}

/// Leaves a function: afterwards the registers are those of its caller. `interrupted` says that the code was stopped at this address
/// and did not call from it, so that it may stand in an epilogue.
///
/// # Errors
/// Why the caller could not be found; the registers are worthless then.
pub fn unwind(
    memory: &impl Memory,
    table: &Functions,
    function: Function,
    registers: &mut Registers,
    interrupted: bool,
) -> Value<Left> {
    if interrupted && epilogue(memory, table.base, function, registers)? {
        return Ok(Left::Return);
    }
    let entry = table.base.add(function.begin.into());
    let mut done = registers.ip.checked_sub(entry.0).ok_or(Absent::Implausible)?;
    let mut part = function;
    let mut frame = None;
    for _ in 0..MOST_CHAINED {
        let info = Info::read(memory, table.base, part)?;
        // What the saved registers are found from: fixed for the whole chain, before anything is popped.
        let frame = match frame {
            Some(frame) => frame,
            None => *frame.insert(frame_base(&info, registers, done)?),
        };
        if apply(memory, &info, registers, done, frame)? {
            return Ok(Left::MachineFrame);
        }
        let Some(parent) = info.parent else {
            registers.ip = registers.pop(memory)?;
            return Ok(Left::Return);
        };
        part = table.direct(memory, parent)?;
        done = u64::MAX; // A chained part begins after the whole prologue of what it is a part of.
    }
    Err(Absent::Implausible)
}

fn frame_base(info: &Info, registers: &Registers, done: u64) -> Value<u64> {
    let sp = registers.sp().ok_or(Absent::NotRecorded)?;
    if info.frame_register == 0 {
        return Ok(sp);
    }
    let mut is_set = done >= u64::from(info.prologue) || info.parent.is_some();
    if !is_set {
        for code in info.each() {
            let (offset, operation, _, _) = code?;
            is_set |= operation == op::SET_FPREG && done >= u64::from(offset);
        }
    }
    if !is_set {
        return Ok(sp);
    }
    let pointer = registers.get(info.frame_register).ok_or(Absent::NotRecorded)?;
    Ok(pointer.wrapping_sub(info.frame_offset))
}

/// Undoes the codes whose instructions were executed. Whether a machine frame was left.
fn apply(memory: &impl Memory, info: &Info, registers: &mut Registers, done: u64, frame: u64) -> Value<bool> {
    for code in info.each() {
        let (offset, operation, detail, at) = code?;
        if u64::from(offset) > done || (info.version == 2 && operation == op::EPILOG) {
            continue;
        }
        match operation {
            op::PUSH_NONVOL => {
                // A register whose place is not in the dump is unknown; the walk may go on without it.
                let at = registers.sp().ok_or(Absent::NotRecorded)?;
                registers.skip(8)?;
                registers.set(detail.into(), memory.number(Va(at), 8).ok());
            }
            op::ALLOC_LARGE if detail == 0 => registers.skip(info.u16_after(at)? * 8)?,
            op::ALLOC_LARGE => registers.skip(info.u32_after(at)?)?,
            op::ALLOC_SMALL => registers.skip(u64::from(detail) * 8 + 8)?,
            op::SET_FPREG => {
                let pointer = registers.get(info.frame_register).ok_or(Absent::NotRecorded)?;
                registers.set(RSP, Some(pointer.wrapping_sub(info.frame_offset)));
            }
            op::SAVE_NONVOL | op::SAVE_NONVOL_FAR => {
                let distance = if operation == op::SAVE_NONVOL { info.u16_after(at)? * 8 } else { info.u32_after(at)? };
                let value = memory.number(Va(frame.wrapping_add(distance)), 8).ok();
                registers.set(detail.into(), value);
            }
            op::PUSH_MACHFRAME => {
                // _MACHINE_FRAME: Rip, SegCs, EFlags, Rsp, SegSs; below it an error code if the detail says so.
                registers.skip(u64::from(detail & 1) * 8)?;
                let at = registers.sp().ok_or(Absent::NotRecorded)?;
                registers.ip = memory.number(Va(at), 8)?;
                registers.set(RSP, Some(memory.number(Va(at.wrapping_add(24)), 8)?));
                return Ok(true);
            }
            // The xmm registers are not followed.
            _ => {}
        }
    }
    Ok(false)
}

/// If the code stands in an epilogue, executes the rest of it. Epilogues are: `add rsp, n` or `lea rsp, [frame + n]`, pops, and a return or a
/// jump out of the function; nothing else is allowed in them. Code that is not in the dump is taken for none.
fn epilogue(memory: &impl Memory, base: Va, function: Function, registers: &mut Registers) -> Value<bool> {
    let code = memory.fetch(Va(registers.ip), 48);
    let code = code.prefix();
    let mut after = *registers;
    let mut at = 0usize;
    let byte = |i: usize| code.get(i).copied();
    let i8_at = |i: usize| byte(i).map(|b| i64::from(b.cast_signed()));
    let i32_at = |i: usize| u32_at(code, i).map(|n| i64::from(n.cast_signed()));
    match (byte(0), byte(1), byte(2)) {
        (Some(0x48), Some(0x83), Some(0xc4)) => {
            let Some(n) = i8_at(3) else { return Ok(false) };
            after.skip(n.cast_unsigned())?;
            at = 4;
        }
        (Some(0x48), Some(0x81), Some(0xc4)) => {
            let Some(n) = i32_at(3) else { return Ok(false) };
            after.skip(n.cast_unsigned())?;
            at = 7;
        }
        // lea rsp, [register + n]: REX.W, ModRM with reg = rsp, mod 1 or 2, any base but one that needs a SIB.
        (Some(rex @ (0x48 | 0x49)), Some(0x8d), Some(modrm))
            if modrm & 0x38 == 0x20 && matches!(modrm >> 6, 1 | 2) && modrm & 7 != 4 =>
        {
            let register = usize::from(modrm & 7) + if rex & 1 == 1 { 8 } else { 0 };
            let (n, length) = if modrm >> 6 == 1 { (i8_at(3), 4) } else { (i32_at(3), 7) };
            let (Some(n), Some(pointer)) = (n, after.get(register)) else { return Ok(false) };
            after.set(RSP, Some(pointer.wrapping_add_signed(n)));
            at = length;
        }
        _ => {}
    }
    let begin = base.0.wrapping_add(function.begin.into());
    let end = base.0.wrapping_add(function.end.into());
    let leaves = |target: u64| target < begin || target >= end || target == begin;
    for _ in 0..16 {
        let here = registers.ip.wrapping_add(at as u64);
        match (byte(at), byte(at + 1)) {
            (Some(op @ 0x58..=0x5f), _) => {
                let value = after.pop(memory)?;
                after.set((op - 0x58).into(), Some(value));
                at += 1;
            }
            (Some(0x41), Some(op @ 0x58..=0x5f)) => {
                let value = after.pop(memory)?;
                after.set(usize::from(op - 0x58) + 8, Some(value));
                at += 2;
            }
            (Some(0xc3 | 0xc2), _) | (Some(0xf3), Some(0xc3)) => break,
            (Some(0xeb), Some(_)) => {
                let Some(n) = i8_at(at + 1) else { return Ok(false) };
                if leaves(here.wrapping_add(2).wrapping_add_signed(n)) {
                    break;
                }
                return Ok(false);
            }
            (Some(0xe9), Some(_)) => {
                let Some(n) = i32_at(at + 1) else { return Ok(false) };
                if leaves(here.wrapping_add(5).wrapping_add_signed(n)) {
                    break;
                }
                return Ok(false);
            }
            // jmp [rip + n], jmp register with a REX.W prefix: tail calls.
            (Some(0xff), Some(0x25)) => break,
            (Some(0x48), Some(0xff)) if byte(at + 2).is_some_and(|m| m & 0x38 == 0x20) => break,
            _ => return Ok(false),
        }
    }
    after.ip = after.pop(memory)?;
    *registers = after;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::super::memory::Flat;
    use super::*;

    const BASE: u64 = 0x1_4000_0000;
    const STACK: u64 = 0x20_0000;

    /// An image with one function and its unwind information, and a stack.
    struct Made {
        image: Vec<u8>,
        stack: Vec<u8>,
    }
    impl Made {
        fn new(info: &[u8], code: &[u8]) -> Self {
            let mut image = vec![0xcc; 0x4000];
            image[0x1000..0x1000 + code.len()].copy_from_slice(code);
            image[0x2000..0x2000 + info.len()].copy_from_slice(info);
            let function = [0x1000u32, 0x1100, 0x2000];
            for (i, n) in function.iter().enumerate() {
                image[0x3000 + i * 4..0x3004 + i * 4].copy_from_slice(&n.to_le_bytes());
            }
            Self { image, stack: vec![0; 0x1000] }
        }
        fn push(mut self, at: usize, value: u64) -> Self {
            self.stack[at..at + 8].copy_from_slice(&value.to_le_bytes());
            self
        }
        fn memory(&self) -> Flat {
            Flat(vec![(BASE, self.image.clone()), (STACK, self.stack.clone())])
        }
        fn run(&self, offset: u64, sp: u64, rbp: Option<u64>, interrupted: bool) -> Value<(Registers, Left)> {
            let memory = self.memory();
            let table = Functions { base: Va(BASE), rva: 0x3000, count: 1 };
            let mut registers = Registers::at(BASE + 0x1000 + offset, STACK + sp);
            registers.set(5, rbp);
            let function = table.find(&memory, registers.ip)?.unwrap();
            let left = unwind(&memory, &table, function, &mut registers, interrupted)?;
            Ok((registers, left))
        }
    }

    /// `push rbx; sub rsp, 20h`, as every compiler writes it.
    const SIMPLE: [u8; 8] = [1, 5, 2, 0, 5, 0x32, 1, 0x30];

    #[test]
    fn the_body_of_a_function() {
        let made = Made::new(&SIMPLE, &[]).push(0x20, 0xbb).push(0x28, 0xaaaa);
        let (r, left) = made.run(0x40, 0, None, false).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(3), left), (0xaaaa, Some(STACK + 0x30), Some(0xbb), Left::Return));
    }
    #[test]
    fn in_the_prologue_only_what_was_done_is_undone() {
        // After `push rbx` (1 byte), before `sub rsp` has run.
        let made = Made::new(&SIMPLE, &[]).push(0, 0xbb).push(8, 0xaaaa);
        let (r, _) = made.run(1, 0, None, true).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(3)), (0xaaaa, Some(STACK + 0x10), Some(0xbb)));
        // At the first byte nothing has run.
        let (r, _) = made.run(0, 8, None, true).unwrap();
        assert_eq!((r.ip, r.sp()), (0xaaaa, Some(STACK + 0x10)));
    }
    #[test]
    fn in_the_epilogue_the_rest_of_it_runs() {
        // ... add rsp, 20h; pop rbx; ret
        let mut code = vec![0x90; 0x50];
        code[0x40..0x46].copy_from_slice(&[0x48, 0x83, 0xc4, 0x20, 0x5b, 0xc3]);
        let made = Made::new(&SIMPLE, &code).push(0x20, 0xbb).push(0x28, 0xaaaa);
        let (whole, _) = made.run(0x40, 0, None, true).unwrap();
        assert_eq!((whole.ip, whole.sp(), whole.get(3)), (0xaaaa, Some(STACK + 0x30), Some(0xbb)));
        // After the add: only pop and ret are left.
        let (after_add, _) = made.run(0x44, 0x20, None, true).unwrap();
        assert_eq!((after_add.ip, after_add.sp(), after_add.get(3)), (0xaaaa, Some(STACK + 0x30), Some(0xbb)));
        let (at_return, _) = made.run(0x45, 0x28, None, true).unwrap();
        assert_eq!((at_return.ip, at_return.sp()), (0xaaaa, Some(STACK + 0x30)));
    }
    #[test]
    fn a_frame_register_counts_for_a_stack_that_moves() {
        // push rbp; sub rsp, 30h; lea rbp, [rsp+20h]: frame register 5, offset 2*16.
        let info = [1, 10, 3, 0x25, 10, 0x03, 5, 0x52, 1, 0x50, 0, 0];
        let made = Made::new(&info, &[]).push(0x130, 0xb9).push(0x138, 0xcccc);
        // rsp moved far down by alloca; rbp tells.
        let (r, _) = made.run(0x40, 0x10, Some(STACK + 0x120), false).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(5)), (0xcccc, Some(STACK + 0x140), Some(0xb9)));
        // Without rbp there is nothing to go by.
        assert_eq!(made.run(0x40, 0x10, None, false), Err(Absent::NotRecorded));
    }
    #[test]
    fn large_frames_and_saved_registers() {
        // sub rsp, 1000h-8 by u16*8; mov [rsp+30h], rsi
        let info = [1, 20, 4, 0, 16, 0x64, 6, 0, 7, 0x01, 0x40, 0];
        let made = Made::new(&info, &[]).push(0x30, 0x51).push(0x200, 0xdddd);
        let (r, _) = made.run(0x40, 0, None, false).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(6)), (0xdddd, Some(STACK + 0x208), Some(0x51)));
    }
    #[test]
    fn chained_information() {
        // The part saved nothing itself; its parent pushed rbx and took 20h.
        let mut info = vec![1 | 4 << 3, 0, 0, 0];
        for n in [0x1000u32, 0x1100, 0x2100] {
            info.extend(n.to_le_bytes());
        }
        let mut made = Made::new(&info, &[]).push(0x20, 0xbb).push(0x28, 0xaaaa);
        made.image[0x2100..0x2108].copy_from_slice(&SIMPLE);
        let (r, _) = made.run(0x40, 0, None, false).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(3)), (0xaaaa, Some(STACK + 0x30), Some(0xbb)));
        let memory = made.memory();
        let table = Functions { base: Va(BASE), rva: 0x3000, count: 1 };
        let part = table.find(&memory, BASE + 0x1040).unwrap().unwrap();
        assert_eq!(table.primary(&memory, part).unwrap().unwind, 0x2100);
    }
    #[test]
    fn a_chain_that_bites_its_tail_ends() {
        let mut info = vec![1 | 4 << 3, 0, 0, 0];
        for n in [0x1000u32, 0x1100, 0x2000] {
            info.extend(n.to_le_bytes());
        }
        assert_eq!(Made::new(&info, &[]).run(0x40, 0, None, false), Err(Absent::Implausible));
    }
    #[test]
    fn a_machine_frame_leads_into_another_world() {
        // sub rsp, 8; machine frame with an error code.
        let info = [1, 4, 2, 0, 4, 0x02, 0, 0x1a];
        let made = Made::new(&info, &[]).push(0x08, 0xe).push(0x10, 0x7ff0_1234).push(0x28, 0x5000_0000);
        let (r, left) = made.run(0x40, 0, None, false).unwrap();
        assert_eq!((r.ip, r.sp(), left), (0x7ff0_1234, Some(0x5000_0000), Left::MachineFrame));
    }
    #[test]
    fn version_two_lists_its_epilogues() {
        // UWOP_EPILOG takes two slots and undoes nothing.
        let info = [2, 5, 4, 0, 6, 0x16, 0x20, 0x06, 5, 0x32, 1, 0x30];
        let made = Made::new(&info, &[]).push(0x20, 0xbb).push(0x28, 0xaaaa);
        let (r, _) = made.run(0x40, 0, None, false).unwrap();
        assert_eq!((r.ip, r.sp(), r.get(3)), (0xaaaa, Some(STACK + 0x30), Some(0xbb)));
    }
    #[test]
    fn nonsense_ends() {
        assert_eq!(Made::new(&[3, 0, 0, 0], &[]).run(0x40, 0, None, false), Err(Absent::Implausible));
        assert_eq!(Made::new(&[1, 0, 1, 0, 0, 0x0f], &[]).run(0x40, 0, None, false), Err(Absent::Implausible));
        assert_eq!(Made::new(&SIMPLE, &[]).run(0x40, 0xff0, None, false), Err(Absent::NotMapped));
    }
    #[test]
    fn functions_are_found_by_halving() {
        let mut table = Vec::new();
        for i in 0..1000u32 {
            for n in [0x1000 + i * 0x20, 0x1010 + i * 0x20, 0x9000] {
                table.extend(n.to_le_bytes());
            }
        }
        let memory = Flat(vec![(BASE + 0x10_0000, table)]);
        let functions = Functions { base: Va(BASE), rva: 0x10_0000, count: 1000 };
        for i in [0u32, 1, 500, 999] {
            let begin = 0x1000 + i * 0x20;
            let found = functions.find(&memory, BASE + u64::from(begin) + 0xf).unwrap();
            assert_eq!(found.map(|f| f.begin), Some(begin));
            assert_eq!(functions.find(&memory, BASE + u64::from(begin) + 0x10), Ok(None));
        }
        assert_eq!(functions.find(&memory, BASE), Ok(None));
        assert_eq!(functions.find(&memory, 0), Ok(None));
    }
}
