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
    let mut decoder = Decoder::with_ip(bits, bytes.prefix(), va.0, DecoderOptions::NONE);
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
                    _ => pointer_of(&i, space),
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
fn pointer_of(i: &Instruction, space: &Space<'_>) -> Option<u64> {
    let fixed = i.is_ip_rel_memory_operand()
        || i.op0_kind() == OpKind::Memory && i.memory_base() == Register::None && i.memory_index() == Register::None;
    if !fixed {
        return None;
    }
    space.number(Va(i.memory_displacement64()), space.pointer_size()).ok()
}
