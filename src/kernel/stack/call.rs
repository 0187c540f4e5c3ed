//! Whether a return address can be one: does a call instruction end right before it?
//!
//! Encodings from the Intel SDM, volume 2, `CALL`: `E8 rel32`, `FF /2` with every addressing form, `9A` far in 32-bit code.

use crate::dump::Arch;

/// The instructions of a stack's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// 32-bit x86.
    X86,
    /// x64.
    X64,
    /// ARM64.
    Arm64,
}

impl Isa {
    /// Of a kernel.
    #[must_use]
    pub const fn of(arch: Arch) -> Self {
        match arch {
            Arch::X86 => Self::X86,
            Arch::X64 => Self::X64,
            Arch::Arm64 => Self::Arm64,
        }
    }
    /// Bytes of a word on the stack.
    #[must_use]
    pub const fn width(self) -> u64 {
        if matches!(self, Self::X86) { 4 } else { 8 }
    }
}

/// The longest call: `REX FF /2 SIB disp32`.
pub const LONGEST: usize = 8;

/// A call found before an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To this offset from the return address.
    Relative(i32),
    /// Through a register or memory.
    Indirect,
}

/// The call that ends where `before` ends.
#[must_use]
pub fn ends_in_call(before: &[u8], isa: Isa) -> Option<Call> {
    if isa == Isa::Arm64 {
        return arm64(u32::from_le_bytes(*before.last_chunk()?));
    }
    let wide = isa == Isa::X64;
    if let Some(&[0xe8, a, b, c, d]) = before.last_chunk::<5>() {
        return Some(Call::Relative(i32::from_le_bytes([a, b, c, d])));
    }
    if !wide && let Some(&[0x9a, ..]) = before.last_chunk::<7>() {
        return Some(Call::Indirect);
    }
    // FF, ModRM (reg = 2), and what ModRM asks for: 2 to 7 bytes. A REX prefix before them changes no length.
    (2..=7).find_map(|length| {
        let at = before.len().checked_sub(length)?;
        let code = before.get(at..)?;
        let [0xff, modrm, rest @ ..] = code else { return None };
        (modrm >> 3 & 7 == 2 && operand_length(*modrm, rest)? == rest.len()).then_some(Call::Indirect)
    })
}

/// ARM64 (Arm ARM, C6.2): `BL` has 100101 on top, then 26 bits of distance in words from itself; `BLR` is 1101011000111111000000 and
/// five bits of register, with pointer authentication bits 24 (`BLRAA`, `BLRAAZ`) and 10 and 11 may differ.
fn arm64(instruction: u32) -> Option<Call> {
    if instruction >> 26 == 0b10_0101 {
        let words = (instruction << 6).cast_signed() >> 6;
        return Some(Call::Relative(words.wrapping_mul(4).wrapping_sub(4)));
    }
    (instruction & 0xfeff_f000 == 0xd63f_0000).then_some(Call::Indirect)
}

/// Bytes after ModRM: SIB and displacement.
fn operand_length(modrm: u8, rest: &[u8]) -> Option<usize> {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let sib = usize::from(mode != 3 && rm == 4);
    let displacement = match mode {
        0 if rm == 5 => 4,
        0 if sib == 1 && rest.first()? & 7 == 5 => 4,
        0 | 3 => 0,
        1 => 1,
        _ => 4,
    };
    Some(sib + displacement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_call() {
        let indirect: &[&[u8]] = &[
            &[0xff, 0xd0],                         // call rax
            &[0x41, 0xff, 0xd2],                   // call r10
            &[0xff, 0x15, 1, 2, 3, 4],             // call [rip+disp32]
            &[0xff, 0x50, 0x18],                   // call [rax+18h]
            &[0xff, 0x90, 1, 2, 3, 4],             // call [rax+disp32]
            &[0xff, 0x54, 0xc8, 0x20],             // call [rax+rcx*8+20h]
            &[0xff, 0x94, 0xc8, 1, 2, 3, 4],       // call [rax+rcx*8+disp32]
            &[0xff, 0x14, 0xc5, 1, 2, 3, 4],       // call [rax*8+disp32]
            &[0xff, 0x14, 0x24],                   // call [rsp]
            &[0x90, 0x90, 0x41, 0xff, 0x55, 0x08], // call [r13+8]
        ];
        for code in indirect {
            assert_eq!(ends_in_call(code, Isa::X64), Some(Call::Indirect), "{code:x?}");
        }
        assert_eq!(ends_in_call(&[0x90, 0xe8, 0xfe, 0xff, 0xff, 0xff], Isa::X64), Some(Call::Relative(-2)));
        assert_eq!(ends_in_call(&[0x9a, 1, 2, 3, 4, 0x23, 0], Isa::X86), Some(Call::Indirect));
    }
    #[test]
    fn what_is_no_call() {
        for code in [&[0xff, 0xe0][..], &[0xff, 0x25, 1, 2, 3, 4], &[0xc3], &[], &[0xff, 0x50], &[0xe9, 1, 2, 3, 4]] {
            assert_eq!(ends_in_call(code, Isa::X64), None, "{code:x?}");
        }
        assert_eq!(ends_in_call(&[0x9a, 1, 2, 3, 4, 0x23, 0], Isa::X64), None);
    }
    #[test]
    fn arm64_branches_with_link() {
        let call = |n: u32| ends_in_call(&n.to_le_bytes(), Isa::Arm64);
        assert_eq!(call(0x9400_0002), Some(Call::Relative(4))); // bl .+8, seen from behind it
        assert_eq!(call(0x97ff_ffff), Some(Call::Relative(-8))); // bl .-4
        assert_eq!(call(0xd63f_0100), Some(Call::Indirect)); // blr x8
        assert_eq!(call(0xd73f_0911), Some(Call::Indirect)); // blraa x8, x17
        assert_eq!((call(0xd61f_0100), call(0xd65f_03c0), call(0x1400_0001)), (None, None, None)); // br, ret, b
    }
}
