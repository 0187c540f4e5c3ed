//! Bytes as people read them: hexadecimal with characters beside, and instructions.

use crate::addr::Va;
use crate::dump::Arch;
use crate::value::{Absent, Value};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use std::fmt::Write as _;

/// Lines of 16 bytes: address, hexadecimal, printable characters.
#[must_use]
pub fn hex_lines(va: Va, bytes: &[u8]) -> Vec<String> {
    let line = |(i, row): (usize, &[u8])| {
        let at = va.add((i as u64).saturating_mul(16));
        let mut text = format!("{at}  ");
        for i in 0..16 {
            match row.get(i) {
                Some(b) => _ = write!(text, "{b:02x} "),
                None => text.push_str("   "),
            }
        }
        text.push(' ');
        text.extend(row.iter().map(|b| if (0x20..0x7f).contains(b) { char::from(*b) } else { '.' }));
        text
    };
    bytes.chunks(16).enumerate().map(line).collect()
}

/// At most `most` instructions: address, bytes, text. `narrow` for 32-bit code.
///
/// # Errors
/// [`Absent::NotApplicable`] for processors that are not of the x86 family.
pub fn instructions(arch: Arch, narrow: bool, va: Va, bytes: &[u8], most: usize) -> Value<Vec<String>> {
    let bits = match arch {
        Arch::X86 => 32,
        Arch::X64 if narrow => 32,
        Arch::X64 => 64,
        Arch::Arm64 => return Err(Absent::NotApplicable),
    };
    let mut decoder = Decoder::with_ip(bits, bytes, va.0, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let mut lines = Vec::new();
    while decoder.can_decode() && lines.len() < most {
        let at = decoder.position();
        let instruction = decoder.decode();
        let raw = bytes.get(at..decoder.position()).unwrap_or_default();
        let hex: String = raw.iter().map(|b| format!("{b:02x} ")).collect();
        let mut text = String::new();
        if instruction.is_invalid() {
            text.push_str("(bad)");
        } else {
            formatter.format(&instruction, &mut text);
        }
        lines.push(format!("{}  {hex:<24}{text}", Va(instruction.ip())));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_sixteen() {
        let lines = hex_lines(Va(0x1000), b"MZ\x90\0This program cannot");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], "0x1000  4d 5a 90 00 54 68 69 73 20 70 72 6f 67 72 61 6d  MZ..This program");
        assert!(lines[1].starts_with("0x1010  20 63") && lines[1].ends_with(" cannot"));
    }
    #[test]
    fn both_widths() {
        let code = [0x48, 0x31, 0xc0, 0xc3];
        let wide = instructions(Arch::X64, false, Va(0x7ff0_0000_1000), &code, 9).unwrap();
        assert_eq!(wide.len(), 2);
        assert!(wide[0].starts_with("0x7ff000001000  48 31 c0 ") && wide[0].ends_with("xor rax,rax"), "{wide:?}");
        assert!(wide[1].ends_with("ret"));
        let narrow = instructions(Arch::X64, true, Va(0x1000), &code, 9).unwrap();
        assert!(narrow[0].ends_with("dec eax"), "{narrow:?}");
        assert_eq!(instructions(Arch::Arm64, false, Va(0), &code, 9), Err(Absent::NotApplicable));
    }
    #[test]
    fn bytes_that_are_no_code_end_all_the_same() {
        let lines = instructions(Arch::X64, false, Va(u64::MAX - 3), &[0xff; 64], 100).unwrap();
        assert!(!lines.is_empty());
    }
}
