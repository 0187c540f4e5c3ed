//! ARM64 stack unwinding by the unwind information of an image (`.pdata`, `.xdata`).
//!
//! From Microsoft's [ARM64 exception handling](https://learn.microsoft.com/cpp/build/arm64-exception-handling): packed records,
//! full records, unwind codes, the canonical prologues and epilogues that packed records stand for. Every code stands for one
//! instruction, so that a function stopped inside its prologue or epilogue is left by what was executed, or is still to be. A
//! register that could not be restored is unknown, not zero; what depends on it fails.

use super::memory::Memory;
use super::unwind::{Functions, Left, Registers};
use crate::addr::Va;
use crate::bytes::{u32_at, u64_at};
use crate::value::{Absent, Value};
use rustc_hash::FxHashMap;

/// Slots of [`Registers`]: the link register (x30), stack pointer, frame pointer (x29), and x19, behind which x20 to x28 follow.
pub(super) const LR: usize = 0;
const SP: usize = 4;
const FP: usize = 5;
const X19: usize = 6;

/// Bytes of an instruction.
const INSTRUCTION: u64 = 4;
/// Bytes that one `sub sp, sp, #n` of a canonical prologue takes off at most.
const MOST_AT_ONCE: u64 = 4080;

/// What one unwind code undoes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    /// The stack pointer went down by so many bytes.
    Alloc(u64),
    /// `count` registers from slot `first` on were stored at the stack pointer plus `offset`, which went down by `down` before.
    Save { first: Option<usize>, second: Option<usize>, offset: u64, down: u64 },
    /// The next pair of registers, behind that of the code that follows.
    SaveNext,
    /// The frame pointer was set to the stack pointer plus so many bytes.
    SetFp(u64),
    /// An instruction that changes nothing that is restored.
    Nop,
    /// The return address was signed.
    SignLr,
    /// The stack pointer and the address that were interrupted lie at the stack pointer.
    MachineFrame,
    /// The end of the codes.
    End,
    /// The end of this part's own codes; those of the function that it is a part of follow.
    EndChained,
}

/// The slot of an integer register, where its value is kept.
const fn slot(x: usize) -> Option<usize> {
    match x {
        19..=28 => Some(X19 + (x - 19)),
        29 => Some(FP),
        30 => Some(LR),
        _ => None,
    }
}

fn pair(x: usize, offset: u64, down: u64) -> Op {
    Op::Save { first: slot(x), second: slot(x.saturating_add(1)), offset, down }
}

fn single(x: usize, offset: u64, down: u64) -> Op {
    Op::Save { first: slot(x), second: None, offset, down }
}

/// Floating-point registers are not kept: only the stack pointer matters.
const fn floating(down: u64) -> Op {
    Op::Save { first: None, second: None, offset: 0, down }
}

/// The code at the start of these bytes, and its length.
fn decode(codes: &[u8]) -> Value<(Op, usize)> {
    let byte = |at: usize| codes.get(at).copied().map(u64::from).ok_or(Absent::Implausible);
    let first = byte(0)?;
    let wide = || Ok::<u64, Absent>(first << 8 | byte(1)?);
    // Bits of a code of two bytes: register and distance.
    let six = |n: u64| (n & 0x3f) * 8;
    let x4 = |n: u64| 19 + usize::try_from(n >> 6 & 15).unwrap_or(0);
    Ok(match first {
        0x00..=0x1f => (Op::Alloc((first & 0x1f) * 16), 1),
        0x20..=0x3f => (pair(19, 0, (first & 0x1f) * 8), 1),
        0x40..=0x7f => (pair(29, six(first), 0), 1),
        0x80..=0xbf => (pair(29, 0, six(first) + 8), 1),
        0xc0..=0xc7 => (Op::Alloc((wide()? & 0x7ff) * 16), 2),
        0xc8..=0xcb => (pair(x4(wide()?), six(wide()?), 0), 2),
        0xcc..=0xcf => (pair(x4(wide()?), 0, six(wide()?) + 8), 2),
        0xd0..=0xd3 => (single(x4(wide()?), six(wide()?), 0), 2),
        0xd4..=0xd5 => {
            let n = wide()?;
            (single(19 + usize::try_from(n >> 5 & 15).unwrap_or(0), 0, (n & 0x1f) * 8 + 8), 2)
        }
        0xd6..=0xd7 => {
            let n = wide()?;
            let x = 19 + 2 * usize::try_from(n >> 6 & 7).unwrap_or(0);
            (Op::Save { first: slot(x), second: Some(LR), offset: six(n), down: 0 }, 2)
        }
        0xd8..=0xd9 | 0xdc..=0xdd => (floating(0), 2),
        0xda..=0xdb => (floating(six(wide()?) + 8), 2),
        0xde => (floating((wide()? & 0x1f) * 8 + 8), 2),
        0xe0 => (Op::Alloc((byte(1)? << 16 | byte(2)? << 8 | byte(3)?) * 16), 4),
        0xe1 => (Op::SetFp(0), 1),
        0xe2 => (Op::SetFp(byte(1)? * 8), 2),
        0xe3 => (Op::Nop, 1),
        0xe4 => (Op::End, 1),
        0xe5 => (Op::EndChained, 1),
        0xe6 => (Op::SaveNext, 1),
        0xe7 => (any(byte(1)?, byte(2)?)?, 3),
        0xe9 => (Op::MachineFrame, 1),
        0xfc => (Op::SignLr, 1),
        // 0xdf allocates by the length of scalable vectors, which is not recorded; 0xe8, 0xea to 0xec are frames of the system
        // whose form is not published; the others are reserved.
        _ => return Err(Absent::NotApplicable),
    })
}

/// `save_any_reg`: `0pxrrrrr ffoooooo`: a pair, the stack pointer goes down first, the register, its kind (x, d, q), the distance.
fn any(one: u64, two: u64) -> Value<Op> {
    let (is_pair, goes_down, kind) = (one & 0x40 != 0, one & 0x20 != 0, two >> 6);
    if one & 0x80 != 0 || kind == 3 {
        return Err(Absent::NotApplicable);
    }
    let unit = if is_pair || goes_down || kind == 2 { 16 } else { 8 };
    let distance = (two & 0x3f) * unit;
    // The first distance is one unit where the stack pointer goes down.
    let (offset, down) = if goes_down { (0, distance + unit) } else { (distance, 0) };
    let x = usize::try_from(one & 0x1f).map_err(|_| Absent::Implausible)?;
    Ok(match (kind, is_pair) {
        (0, true) => pair(x, offset, down),
        (0, false) => single(x, offset, down),
        _ => floating(down),
    })
}

/// How one function is left: the codes of its body, first to undo first, and where it stopped.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    /// RVA of its first byte.
    begin: u64,
    /// Instructions.
    length: u64,
    body: Vec<Op>,
    /// Where epilogues begin, in instructions, with what each still undoes. Of a full record's list only the one it was stopped in: the
    /// list has up to 65,535, each of which may name all codes.
    epilogues: Vec<(u64, Vec<Op>)>,
    /// Whether it begins with a prologue: a fragment does not.
    prologue: bool,
}

impl Record {
    /// `stopped` is how many of its instructions were executed, of code that was stopped there.
    fn read(memory: &impl Memory, base: Va, begin: u32, word: u32, stopped: Option<u64>) -> Value<Self> {
        match word & 3 {
            0 => Self::full(memory, base, begin, word, stopped),
            flag @ (1 | 2) => Self::packed(begin, word, flag == 1),
            _ => Err(Absent::Implausible),
        }
    }
    /// A packed record: all of it in the second word of the `.pdata` entry.
    fn packed(begin: u32, word: u32, prologue: bool) -> Value<Self> {
        let bits = |at: u32, count: u32| u64::from(word >> at & ((1 << count) - 1));
        let length = bits(2, 11);
        let (floats, integers, homes, chain) = (bits(13, 3), bits(16, 4), bits(20, 1), bits(21, 2));
        if integers > 10 {
            return Err(Absent::Implausible);
        }
        let integer_bytes = integers * 8 + if chain == 1 { 8 } else { 0 };
        let float_bytes = if floats == 0 { 0 } else { floats * 8 + 8 };
        let saved = (integer_bytes + float_bytes + 64 * homes).next_multiple_of(16);
        let locals = (bits(23, 9) * 16).checked_sub(saved).ok_or(Absent::Implausible)?;
        let mut ops = Vec::new();
        if chain == 2 {
            ops.push(Op::SignLr);
        }
        let saves = saves(integers, chain == 1, if floats == 0 { 0 } else { floats + 1 });
        let none = saves.is_empty();
        // The first of them takes the stack pointer down by all that is saved.
        ops.extend(saves.into_iter().enumerate().map(|(i, op)| match op {
            Op::Save { first, second, offset, .. } => {
                Op::Save { first, second, offset, down: if i == 0 { saved } else { 0 } }
            }
            other => other,
        }));
        if homes == 1 {
            ops.push(if none { Op::Alloc(saved) } else { Op::Nop });
            ops.extend([Op::Nop; 3]);
        }
        match (chain >= 2, locals) {
            (true, 0..=512) => ops.extend([pair(29, 0, locals), Op::SetFp(0)]),
            (true, _) => {
                ops.extend(allocations(locals));
                ops.extend([pair(29, 0, 0), Op::SetFp(0)]);
            }
            (false, _) => ops.extend(allocations(locals)),
        }
        let mut body = ops;
        body.reverse();
        // An epilogue has no instruction to set the frame pointer, and none for the homes.
        let epilogue: Vec<Op> = body.iter().copied().filter(|op| !matches!(op, Op::SetFp(_) | Op::Nop)).collect();
        let from = length.saturating_sub(epilogue.len() as u64 + 1);
        let epilogues = if prologue { vec![(from, epilogue)] } else { Vec::new() };
        Ok(Self { begin: begin.into(), length, body, epilogues, prologue })
    }
    /// A full record in `.xdata`.
    fn full(memory: &impl Memory, base: Va, begin: u32, rva: u32, stopped: Option<u64>) -> Value<Self> {
        let word = |at: u64| u32_at(memory.fetch(base.add(at), 4).all()?, 0).ok_or(Absent::Implausible);
        let at = u64::from(rva);
        let head = word(at)?;
        let bits = |word: u32, at: u32, count: u32| u64::from(word >> at & ((1 << count) - 1));
        if bits(head, 18, 2) != 0 {
            return Err(Absent::Implausible);
        }
        let (mut scopes, mut words, mut next) = (bits(head, 22, 5), bits(head, 27, 5), at + 4);
        let one_in_head = bits(head, 21, 1) == 1;
        if scopes == 0 && words == 0 {
            let more = word(next)?;
            (scopes, words, next) = (bits(more, 0, 16), bits(more, 16, 8), next + 4);
        }
        let listed = if one_in_head { 0 } else { scopes };
        let scopes_at = next;
        let codes_at = next + listed * 4;
        let codes = memory.fetch(base.add(codes_at), u32::try_from(words * 4).map_err(|_| Absent::Implausible)?);
        let codes = codes.all()?;
        let length = bits(head, 0, 18);
        let body = sequence(codes, 0)?;
        let mut epilogues = Vec::new();
        if one_in_head {
            let ops = sequence(codes, usize::try_from(scopes).map_err(|_| Absent::Implausible)?)?;
            // The last instruction returns.
            epilogues.push((length.saturating_sub(own(&ops) as u64 + 1), ops));
        }
        if let Some(done) = stopped {
            let scope = |i: u64| word(scopes_at + i * 4).map(|scope| (bits(scope, 0, 18), bits(scope, 22, 10)));
            epilogues.extend(stopped_in((0..listed).map(scope), codes, done)?);
        }
        Ok(Self { begin: begin.into(), length, body, epilogues, prologue: true })
    }
    /// What is to be undone when so many of its instructions were executed. Only stopped code can be in an epilogue.
    fn to_undo(&self, done: u64, interrupted: bool) -> &[Op] {
        let in_epilogue = self.epilogues.iter().filter(|_| interrupted).find_map(|(from, ops)| {
            let gone = usize::try_from(done.checked_sub(*from)?).ok()?;
            // Up to the instruction that returns, and that one.
            (gone <= own(ops)).then(|| ops.get(gone..).unwrap_or(&[]))
        });
        if let Some(rest) = in_epilogue {
            return rest;
        }
        // The first code stands for the last instruction of the prologue.
        let ahead = if self.prologue { (own(&self.body) as u64).saturating_sub(done) } else { 0 };
        usize::try_from(ahead).ok().and_then(|ahead| self.body.get(ahead..)).unwrap_or(&[])
    }
}

/// Of a list of epilogues (where each begins, in instructions, and its first code) the first that code stopped there is in. Each code is
/// looked at once for each place that an epilogue begins at, however many name it.
fn stopped_in(
    scopes: impl Iterator<Item = Value<(u64, u64)>>,
    codes: &[u8],
    done: u64,
) -> Value<Option<(u64, Vec<Op>)>> {
    let mut lengths: FxHashMap<usize, usize> = FxHashMap::default();
    for scope in scopes {
        let (from, index) = scope?;
        let index = usize::try_from(index).map_err(|_| Absent::Implausible)?;
        let Some(gone) = done.checked_sub(from) else { continue };
        let length = match lengths.get(&index) {
            Some(length) => *length,
            None => {
                let length = own(&sequence(codes, index)?);
                lengths.insert(index, length);
                length
            }
        };
        // Up to the instruction that returns, and that one.
        if usize::try_from(gone).is_ok_and(|gone| gone <= length) {
            return Ok(Some((from, sequence(codes, index)?)));
        }
    }
    Ok(None)
}

/// Codes that stand for instructions of this very part.
fn own(ops: &[Op]) -> usize {
    ops.iter().take_while(|op| !matches!(op, Op::End | Op::EndChained)).count()
}

/// The codes from a byte on, to the end of all.
fn sequence(codes: &[u8], from: usize) -> Value<Vec<Op>> {
    let mut out = Vec::new();
    let mut rest = codes.get(from..).ok_or(Absent::Implausible)?;
    // Codes may fill their words to the last byte without a code that ends them.
    while !rest.is_empty() {
        let (op, length) = decode(rest)?;
        if op == Op::End {
            break;
        }
        out.push(op);
        rest = rest.get(length..).ok_or(Absent::Implausible)?;
    }
    Ok(out)
}

/// The stores of a canonical prologue, in its order.
fn saves(integers: u64, link: bool, floats: u64) -> Vec<Op> {
    let mut out = Vec::new();
    for i in (0..integers).step_by(2) {
        let x = 19 + usize::try_from(i).unwrap_or(0);
        out.push(match (i + 1 < integers, link) {
            (true, _) => pair(x, i * 8, 0),
            // The last one, alone, shares its instruction with the link register.
            (false, true) => Op::Save { first: slot(x), second: Some(LR), offset: i * 8, down: 0 },
            (false, false) => single(x, i * 8, 0),
        });
    }
    if link && integers.is_multiple_of(2) {
        out.push(single(30, integers * 8, 0));
    }
    out.extend((0..floats.div_ceil(2)).map(|_| floating(0)));
    out
}

/// The instructions that make room for locals.
fn allocations(locals: u64) -> Vec<Op> {
    match locals {
        0 => Vec::new(),
        1..=MOST_AT_ONCE => vec![Op::Alloc(locals)],
        _ => vec![Op::Alloc(MOST_AT_ONCE), Op::Alloc(locals - MOST_AT_ONCE)],
    }
}

impl Functions {
    /// The function of an ARM64 image that an address lies in: the entry with the highest start that is not above it.
    fn find_arm64(&self, memory: &impl Memory, rva: u64) -> Value<Option<(u32, u32)>> {
        let entry = |i: u32| {
            let raw = memory.fetch(self.base.add(u64::from(self.rva) + u64::from(i) * 8), 8);
            let raw = raw.all()?;
            Ok((u32_at(raw, 0).ok_or(Absent::Implausible)?, u32_at(raw, 4).ok_or(Absent::Implausible)?))
        };
        let (mut low, mut high) = (0u32, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if u64::from(entry(middle)?.0) <= rva {
                low = middle.saturating_add(1);
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).map(entry).transpose()
    }
}

/// Leaves a function of ARM64 code: afterwards the registers are those of its caller. `interrupted` says that the code was stopped at
/// this address and did not call from it.
///
/// # Errors
/// Why the caller could not be found; the registers are worthless then.
pub fn unwind(memory: &impl Memory, table: &Functions, registers: &mut Registers, interrupted: bool) -> Value<Left> {
    let rva = registers.ip.checked_sub(table.base.0).ok_or(Absent::Implausible)?;
    if std::mem::take(&mut registers.sp_is_floor) {
        registers.set(SP, None);
    }
    // A return address may be one past its function's end, when the call was the last instruction.
    let probe = if interrupted { rva } else { rva.saturating_sub(INSTRUCTION) };
    let record = match table.find_arm64(memory, probe)? {
        Some((begin, word)) => {
            let stopped = interrupted.then(|| rva.saturating_sub(begin.into()) / INSTRUCTION);
            Some(Record::read(memory, table.base, begin, word, stopped)?)
        }
        None => None,
    };
    let inside = |r: &Record| probe < r.begin.saturating_add(r.length.saturating_mul(INSTRUCTION));
    match record.filter(inside) {
        Some(record) => {
            let done = rva.saturating_sub(record.begin) / INSTRUCTION;
            if apply(memory, record.to_undo(done, interrupted), registers)? {
                return Ok(Left::MachineFrame);
            }
        }
        // Only code that was stopped can be in a function without unwind information: such a one makes no calls.
        None if interrupted => {}
        None => return Err(Absent::NotApplicable),
    }
    let to = registers.get(LR).ok_or(Absent::NotRecorded)?;
    if registers.sp().is_none() {
        return Err(Absent::NotRecorded);
    }
    registers.ip = to;
    // The caller's own is on the stack, if it has one.
    registers.set(LR, None);
    Ok(Left::Return)
}

/// Undoes these codes. Whether a machine frame was left.
fn apply(memory: &impl Memory, ops: &[Op], registers: &mut Registers) -> Value<bool> {
    let mut further = 0usize;
    for op in ops {
        match *op {
            Op::Alloc(bytes) => raise(registers, bytes)?,
            Op::SetFp(above) => {
                let fp = registers.get(FP).ok_or(Absent::NotRecorded)?;
                registers.set(SP, Some(fp.checked_sub(above).ok_or(Absent::Implausible)?));
            }
            Op::SaveNext => further = further.saturating_add(1),
            Op::Save { first, second, offset, down } => {
                restore(memory, registers, first, offset);
                restore(memory, registers, second, offset.saturating_add(8));
                // The pairs behind this one, each right above it.
                for i in 1..=std::mem::take(&mut further) {
                    let above = offset.saturating_add(16 * i as u64);
                    let behind = |at: Option<usize>| at.map(|at| at + 2 * i).filter(|at| *at < X19 + 10);
                    restore(memory, registers, behind(first.filter(|at| *at >= X19)), above);
                    restore(memory, registers, behind(second.filter(|at| *at >= X19)), above.saturating_add(8));
                }
                raise(registers, down)?;
            }
            Op::SignLr => {
                let plain = registers.get(LR).map(unsigned);
                registers.set(LR, plain);
            }
            Op::MachineFrame => {
                let at = registers.sp().ok_or(Absent::NotRecorded)?;
                let frame = memory.fetch(Va(at), 16);
                let frame = frame.all()?;
                let word = |at| u64_at(frame, at).ok_or(Absent::Implausible);
                registers.set(SP, Some(word(0)?));
                registers.ip = word(8)?;
                return Ok(true);
            }
            Op::Nop | Op::End | Op::EndChained => {}
        }
    }
    Ok(false)
}

/// A register that a code restores. Where the stack pointer, or the place, is not known, neither is the register.
fn restore(memory: &impl Memory, registers: &mut Registers, slot: Option<usize>, offset: u64) {
    let Some(slot) = slot else { return };
    let value = registers.sp().and_then(|sp| memory.number(Va(sp.wrapping_add(offset)), 8).ok());
    registers.set(slot, value);
}

/// Takes the stack pointer up. One that is not known stays so: a frame pointer may give it yet.
fn raise(registers: &mut Registers, bytes: u64) -> Value<()> {
    if let Some(sp) = registers.sp() {
        registers.set(SP, Some(sp.checked_add(bytes).ok_or(Absent::Implausible)?));
    }
    Ok(())
}

/// A return address without its signature (Arm ARM, D8.10 "Pointer authentication"): with addresses of 48 bits it takes bits 48 to 54 and
/// 56 to 63; bit 55 says which half the address is of.
const fn unsigned(lr: u64) -> u64 {
    if lr >> 55 & 1 == 1 { lr | 0xffff_0000_0000_0000 } else { lr & 0x0000_ffff_ffff_ffff }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Flat;
    use super::*;

    const IMAGE: u64 = 0xffff_f800_1000_0000;
    const STACK: u64 = 0xffff_9000_0000_1000;
    const PDATA: u32 = 0x400;
    const XDATA: u32 = 0x800;
    const TO: u64 = 0xffff_f800_2000_1234;

    /// An image with one function at 0x1000, and a stack of these words.
    fn memory(pdata: u32, xdata: &[u32], stack: &[u64]) -> Flat {
        let mut image = vec![0u8; 0x1000];
        let mut put = |at: u32, word: u32| image[at as usize..at as usize + 4].copy_from_slice(&word.to_le_bytes());
        put(PDATA, 0x1000);
        put(PDATA + 4, pdata);
        xdata.iter().enumerate().for_each(|(i, word)| put(XDATA + 4 * i as u32, *word));
        Flat(vec![(IMAGE, image), (STACK, stack.iter().flat_map(|w| w.to_le_bytes()).collect())])
    }
    const fn table() -> Functions {
        Functions { base: Va(IMAGE), rva: PDATA, count: 1 }
    }
    fn left(memory: &Flat, instruction: u64, interrupted: bool, set: &[(usize, u64)]) -> Value<(u64, u64, Registers)> {
        let mut r = Registers::at(IMAGE + 0x1000 + 4 * instruction, STACK);
        set.iter().for_each(|(slot, value)| r.set(*slot, Some(*value)));
        assert_eq!(unwind(memory, &table(), &mut r, interrupted)?, Left::Return);
        Ok((r.ip, r.sp().unwrap(), r))
    }
    /// A packed record: flag, length, RegF, RegI, H, CR, frame size in bytes.
    const fn packed(length: u32, f: u32, i: u32, h: u32, cr: u32, frame: u32) -> u32 {
        1 | length << 2 | f << 13 | i << 16 | h << 20 | cr << 21 | (frame / 16) << 23
    }

    /// A list as long as a record can have, each entry naming all codes: found by fuzzing, where each kept codes of its own.
    #[test]
    fn a_long_list_of_epilogues_keeps_one() {
        let codes = [0x01; 1020];
        let many = |from: u64| (0..65_535u64).map(move |i| Ok((from + 2_000 * i, i % 1020)));
        let (from, ops) = stopped_in(many(10), &codes, 10 + 2_000 * 65_000).unwrap().unwrap();
        assert_eq!((from, ops.len()), (10 + 2_000 * 65_000, 1020 - 65_000 % 1020));
        // Stopped before the first, and behind all that the first has.
        assert_eq!(stopped_in(many(10), &codes, 9), Ok(None));
        assert_eq!(stopped_in(many(10).take(1), &codes, 10 + 1021), Ok(None));
        assert!(stopped_in(std::iter::once(Ok((0, 1023))), &codes, 5).is_err(), "no such code");
    }
    #[test]
    fn codes_of_the_specification() {
        let op = |bytes: &[u8]| decode(bytes).unwrap();
        assert_eq!(op(&[0x1f]), (Op::Alloc(496), 1));
        assert_eq!(op(&[0x22]), (pair(19, 0, 16), 1));
        assert_eq!(op(&[0x43]), (pair(29, 24, 0), 1));
        assert_eq!(op(&[0x81]), (pair(29, 0, 16), 1));
        assert_eq!(op(&[0xc2, 0x01]), (Op::Alloc(0x201 * 16), 2));
        assert_eq!(op(&[0xc8, 0x82]), (pair(21, 16, 0), 2));
        assert_eq!(op(&[0xcc, 0x03]), (pair(19, 0, 32), 2));
        assert_eq!(op(&[0xd0, 0xc4]), (single(22, 32, 0), 2));
        assert_eq!(op(&[0xd4, 0x23]), (single(20, 0, 32), 2));
        assert_eq!(op(&[0xd6, 0x42]), (Op::Save { first: slot(21), second: Some(LR), offset: 16, down: 0 }, 2));
        assert_eq!(op(&[0xda, 0x01]), (floating(16), 2));
        assert_eq!(op(&[0xe0, 0, 1, 2]), (Op::Alloc(0x102 * 16), 4));
        assert_eq!(op(&[0xe2, 2]), (Op::SetFp(16), 2));
        assert_eq!(op(&[0xe7, 0x53, 0x02]), (pair(19, 32, 0), 3));
        assert_eq!(decode(&[0xe8]), Err(Absent::NotApplicable));
        assert_eq!(decode(&[0xc1]), Err(Absent::Implausible));
    }
    #[test]
    fn a_packed_record_with_a_frame_chain() {
        // stp x19,x20,[sp,#-0x20]!; str x21,[sp,#0x10]; stp fp,lr,[sp,#-0x30]!; mov fp,sp; …; ldp, ldr, ldp, ret
        let word = packed(20, 0, 3, 0, 3, 0x50);
        let stack = [0xaaaa, TO, 1, 2, 3, 4, 19, 20, 21, 0];
        let m = memory(word, &[], &stack);
        let (ip, sp, r) = left(&m, 9, false, &[(FP, STACK)]).unwrap();
        assert_eq!((ip, sp), (TO, STACK + 0x50));
        assert_eq!([FP, X19, X19 + 1, X19 + 2].map(|s| r.get(s)), [0xaaaa, 19, 20, 21].map(Some));
        // Before its first instruction everything is still the caller's.
        let (ip, sp, _) = left(&m, 0, true, &[(LR, TO + 8)]).unwrap();
        assert_eq!((ip, sp), (TO + 8, STACK));
        // At the return instruction, too.
        let (ip, sp, _) = left(&m, 19, true, &[(LR, TO + 8)]).unwrap();
        assert_eq!((ip, sp), (TO + 8, STACK));
        // After the first two instructions: x19 to x21 are on the stack.
        let m = memory(word, &[], &[19, 20, 21, 0]);
        let (ip, sp, r) = left(&m, 2, true, &[(LR, TO)]).unwrap();
        assert_eq!((ip, sp, r.get(X19 + 2)), (TO, STACK + 0x20, Some(21)));
    }
    #[test]
    fn a_packed_record_that_saves_the_link_register() {
        // stp x19,x20,[sp,#-0x20]!; stp x21,lr,[sp,#0x10]; sub sp,sp,#0x40
        let mut stack = vec![7u64; 8];
        stack.extend([19, 20, 21, TO]);
        let m = memory(packed(20, 0, 3, 0, 1, 0x60), &[], &stack);
        let (ip, sp, r) = left(&m, 9, false, &[]).unwrap();
        assert_eq!((ip, sp, r.get(X19 + 2)), (TO, STACK + 0x60, Some(21)));
    }
    #[test]
    fn a_full_record() {
        // stp x19,x20,[sp,#-0x20]! (save_r19r20_x 0x20); stp x21,x22,[sp,#0x10] (save_next); stp fp,lr,[sp,#-0x20]! (save_fplr_x);
        // mov fp,sp (set_fp); sub sp,sp,#0x30 (alloc_s)
        let codes = [0x03, 0xe1, 0x83, 0xe6, 0x24, 0xe4, 0xe4, 0xe4];
        let words =
            [u32::from_le_bytes(codes[..4].try_into().unwrap()), u32::from_le_bytes(codes[4..].try_into().unwrap())];
        // 20 instructions, one epilogue in the head that begins with code 0.
        let head = 20 | 1 << 21 | 2 << 27;
        let mut stack = vec![7u64; 6];
        stack.extend([0xbbbb, TO, 8, 8, 19, 20, 21, 22]);
        let m = memory(XDATA, &[head, words[0], words[1]], &stack);
        let (ip, sp, r) = left(&m, 9, false, &[(FP, STACK + 0x30)]).unwrap();
        assert_eq!((ip, sp), (TO, STACK + 0x70));
        assert_eq!([X19, X19 + 1, X19 + 2, X19 + 3].map(|s| r.get(s)), [19, 20, 21, 22].map(Some));
        assert_eq!(r.get(FP), Some(0xbbbb));
        // The stack pointer is not needed where the frame pointer leads to it.
        let mut r = Registers { ip: IMAGE + 0x1024, ..Registers::default() };
        r.set(FP, Some(STACK + 0x30));
        assert_eq!(unwind(&m, &table(), &mut r, false), Ok(Left::Return));
        assert_eq!((r.ip, r.sp()), (TO, Some(STACK + 0x70)));
    }
    #[test]
    fn a_signed_return_address() {
        let signed = TO & !(0x7f << 48) | 0x35 << 48;
        let m = memory(packed(20, 0, 0, 0, 2, 0x10), &[], &[0xcccc, signed]);
        assert_eq!(left(&m, 9, false, &[(FP, STACK)]).map(|(ip, sp, _)| (ip, sp)), Ok((TO, STACK + 0x10)));
        assert_eq!(unsigned(0x0035_7ff6_0000_1000), 0x7ff6_0000_1000);
    }
    #[test]
    fn damage_ends_the_walk_and_nothing_else() {
        // Version 1, reserved flag, codes out of range, more locals than there is frame.
        for (word, xdata) in
            [(XDATA, [20 | 1 << 18, 0]), (3, [0; 2]), (XDATA, [20 | 31 << 27, 0]), (XDATA, [20, 0xff_ffff])]
        {
            let m = memory(word, &xdata, &[0; 4]);
            assert!(left(&m, 9, false, &[]).is_err(), "{word:#x} {xdata:x?}");
        }
        assert!(left(&memory(packed(20, 7, 10, 1, 1, 0x10), &[], &[0; 4]), 9, false, &[]).is_err());
        // Code without a record makes no calls.
        let m = memory(packed(4, 0, 0, 0, 3, 0x10), &[], &[0; 4]);
        assert_eq!(left(&m, 50, false, &[]).map(|_| ()), Err(Absent::NotApplicable));
        assert_eq!(left(&m, 50, true, &[(LR, TO)]).map(|(ip, sp, _)| (ip, sp)), Ok((TO, STACK)));
    }
}
