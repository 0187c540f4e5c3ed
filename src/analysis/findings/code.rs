//! Where changed code leads: the first instructions of a patch.

use crate::addr::Va;
use crate::dump::Arch;
use crate::paging::Space;
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// What code does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Goes to a fixed place.
    Jump(Va),
    /// Returns, having done no more than set the result.
    Return,
    /// Something else.
    Other,
}

/// Instructions looked at: what sets a result and returns, or loads an address and jumps, is shorter.
const MOST: usize = 4;

/// What the code at `va` does first.
#[must_use]
pub fn first(arch: Arch, narrow: bool, space: &Space<'_>, va: Va) -> First {
    let bits = match arch {
        Arch::X86 => 32,
        Arch::X64 if narrow => 32,
        Arch::X64 => 64,
        Arch::Arm64 => return First::Other,
    };
    let bytes = space.fetch(va, 32);
    first_of(bits, va, bytes.prefix(), |at| space.number(at, space.pointer_size()).ok())
}

/// What code does first; `read` gives the pointer at an address.
fn first_of(bits: u32, va: Va, code: &[u8], read: impl Fn(Va) -> Option<u64>) -> First {
    let mut decoder = Decoder::with_ip(bits, code, va.0, DecoderOptions::NONE);
    let mut loaded: Option<(Register, u64)> = None;
    let mut pushed: Option<u64> = None;
    for _ in 0..MOST {
        if !decoder.can_decode() {
            break;
        }
        let i = decoder.decode();
        match i.mnemonic() {
            Mnemonic::Jmp if is_branch(&i) => return First::Jump(Va(i.near_branch_target())),
            Mnemonic::Jmp => {
                let target = match loaded {
                    Some((register, target)) if i.op0_register() == register => Some(target),
                    _ => pointer_of(&i, &read),
                };
                return target.map_or(First::Other, |t| First::Jump(Va(t)));
            }
            Mnemonic::Ret => return pushed.map_or(First::Return, |t| First::Jump(Va(t))),
            Mnemonic::Mov if is_immediate(&i, 1) && i.op0_kind() == OpKind::Register => {
                loaded = Some((i.op0_register(), i.immediate(1)));
            }
            Mnemonic::Push if is_immediate(&i, 0) => pushed = Some(i.immediate(0)),
            // Sets the result to zero.
            Mnemonic::Xor | Mnemonic::Sub if i.op0_register() == i.op1_register() => {}
            Mnemonic::Nop | Mnemonic::Endbr64 => {}
            _ => return First::Other,
        }
    }
    First::Other
}

fn is_branch(i: &Instruction) -> bool {
    matches!(i.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

fn is_immediate(i: &Instruction, operand: u32) -> bool {
    matches!(
        i.op_kind(operand),
        OpKind::Immediate8
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}

/// The target of `jmp [address]`.
fn pointer_of(i: &Instruction, read: impl Fn(Va) -> Option<u64>) -> Option<u64> {
    let fixed = i.is_ip_rel_memory_operand()
        || i.op0_kind() == OpKind::Memory && i.memory_base() == Register::None && i.memory_index() == Register::None;
    if !fixed {
        return None;
    }
    read(Va(i.memory_displacement64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wide(code: &[u8]) -> First {
        first_of(64, Va(0x7ff0_0000_1000), code, |at| (at == Va(0x7ff0_0000_1006)).then_some(0x1234_5678))
    }

    #[test]
    fn switched_off() {
        assert_eq!(wide(&[0x33, 0xc0, 0xc3]), First::Return); // xor eax,eax; ret
        assert_eq!(wide(&[0xb8, 0x57, 0, 7, 0x80, 0xc3]), First::Return); // mov eax,80070057h; ret
        assert_eq!(wide(&[0xc3]), First::Return);
    }
    #[test]
    fn every_kind_of_jump() {
        assert_eq!(wide(&[0xe9, 0xfb, 0x0f, 0, 0]), First::Jump(Va(0x7ff0_0000_2000)));
        assert_eq!(wide(&[0xff, 0x25, 0, 0, 0, 0]), First::Jump(Va(0x1234_5678))); // jmp [rip]
        let mov_jmp = [0x48, 0xb8, 1, 2, 3, 4, 5, 6, 0, 0, 0xff, 0xe0]; // mov rax,…; jmp rax
        assert_eq!(wide(&mov_jmp), First::Jump(Va(0x0605_0403_0201)));
        let push_ret = [0x68, 0, 0x10, 0x40, 0, 0xc3];
        assert_eq!(first_of(32, Va(0x1000), &push_ret, |_| None), First::Jump(Va(0x40_1000)));
    }
    #[test]
    fn ordinary_code_does_neither() {
        assert_eq!(wide(&[0x4c, 0x8b, 0xd1, 0xb8, 0x3a, 0, 0, 0, 0x0f, 0x05, 0xc3]), First::Other);
        assert_eq!(wide(&[0x48, 0x83, 0xec, 0x28]), First::Other);
        assert_eq!(wide(&[]), First::Other);
        assert_eq!(wide(&[0xff, 0xe0]), First::Other); // jmp rax, whatever is in it
    }
}
