//! Whether a return address can be one: does a call instruction end right before it?
//!
//! Encodings from the Intel SDM, volume 2, `CALL`: `E8 rel32`, `FF /2` with every addressing form, `9A` far in 32-bit code.

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

/// The call that ends where `before` ends. `wide` for 64-bit code.
#[must_use]
pub fn ends_in_call(before: &[u8], wide: bool) -> Option<Call> {
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
            assert_eq!(ends_in_call(code, true), Some(Call::Indirect), "{code:x?}");
        }
        assert_eq!(ends_in_call(&[0x90, 0xe8, 0xfe, 0xff, 0xff, 0xff], true), Some(Call::Relative(-2)));
        assert_eq!(ends_in_call(&[0x9a, 1, 2, 3, 4, 0x23, 0], false), Some(Call::Indirect));
    }
    #[test]
    fn what_is_no_call() {
        for code in [&[0xff, 0xe0][..], &[0xff, 0x25, 1, 2, 3, 4], &[0xc3], &[], &[0xff, 0x50], &[0xe9, 1, 2, 3, 4]] {
            assert_eq!(ends_in_call(code, true), None, "{code:x?}");
        }
        assert_eq!(ends_in_call(&[0x9a, 1, 2, 3, 4, 0x23, 0], true), None);
    }
}
