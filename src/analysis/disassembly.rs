//! Bytes as people read them: hexadecimal with characters beside, and instructions.

use crate::addr::Va;
use crate::dump::Arch;
use crate::value::{Absent, Value};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter, Mnemonic, OpKind, Register};
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

/// What code without a module looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Functions that begin as compilers begin them, each after padding or at a multiple of 16.
    pub functions: u32,
    /// The first read of the PEB's address from the TEB: code that no loader has linked must find its functions that way.
    pub reads_peb: Option<u64>,
    /// The first system call made outright.
    pub system_call: Option<u64>,
    /// The first call of the next instruction: how code learns where it lies.
    pub finds_itself: Option<u64>,
}

impl Look {
    /// Whether it does what code a compiler makes at run time has no need of.
    #[must_use]
    pub const fn odd(&self) -> bool {
        self.reads_peb.is_some() || self.system_call.is_some() || self.finds_itself.is_some()
    }
    /// Adds what another stretch of the same range looks like.
    pub fn add(&mut self, other: Self) {
        self.functions = self.functions.saturating_add(other.functions);
        self.reads_peb = self.reads_peb.or(other.reads_peb);
        self.system_call = self.system_call.or(other.system_call);
        self.finds_itself = self.finds_itself.or(other.finds_itself);
    }
}

/// How compilers begin functions: a frame pointer, or room on the stack, or registers saved.
const BEGINNINGS: [&[u8]; 9] = [
    &[0x55, 0x48, 0x8b, 0xec],
    &[0x55, 0x48, 0x89, 0xe5],
    &[0x55, 0x8b, 0xec],
    &[0x48, 0x83, 0xec],
    &[0x48, 0x81, 0xec],
    &[0x48, 0x89, 0x5c, 0x24],
    &[0x48, 0x89, 0x4c, 0x24],
    &[0x40, 0x53, 0x48, 0x83, 0xec],
    &[0x55, 0x57, 0x56],
];

/// Where the TEB keeps the PEB's address (`_TEB.ProcessEnvironmentBlock`: 0x60 on x64, 0x30 on x86, in every table of both), by the
/// segment register that leads to the TEB.
const PEB_IN_TEB: [(Register, u64); 2] = [(Register::GS, 0x60), (Register::FS, 0x30)];

/// Looks through code that begins at `va`, from its first byte on. Offsets count from `base`.
#[must_use]
pub fn look(arch: Arch, narrow: bool, base: Va, va: Va, bytes: &[u8]) -> Look {
    let mut out = Look::default();
    let bits = match arch {
        Arch::X86 => 32,
        Arch::X64 if narrow => 32,
        Arch::X64 => 64,
        Arch::Arm64 => return out,
    };
    for at in (0..bytes.len()).step_by(16) {
        let begins = bytes.get(at..).is_some_and(|b| BEGINNINGS.iter().any(|begin| b.starts_with(begin)));
        let before = at.checked_sub(1).and_then(|i| bytes.get(i));
        if begins && before.is_none_or(|b| matches!(b, 0xcc | 0x90 | 0x00 | 0xc3)) {
            out.functions = out.functions.saturating_add(1);
        }
    }
    let mut decoder = Decoder::with_ip(bits, bytes, va.0, DecoderOptions::NONE);
    // A system call's number is loaded shortly before: the bytes of one alone occur in any data.
    let mut since_number = u32::MAX;
    while decoder.can_decode() {
        let i = decoder.decode();
        let offset = i.ip().wrapping_sub(base.0);
        since_number = since_number.saturating_add(1);
        if i.is_invalid() {
            continue;
        }
        let register = (i.segment_prefix(), i.memory_displacement64());
        let absolute = i.memory_base() == Register::None && i.memory_index() == Register::None;
        let indirect = i.memory_base() != Register::None && i.memory_index() == Register::None;
        if PEB_IN_TEB.contains(&register) && i.mnemonic() == Mnemonic::Mov && (absolute || indirect) {
            out.reads_peb.get_or_insert(offset);
        }
        match i.mnemonic() {
            Mnemonic::Mov
                if i.op0_register() == Register::EAX
                    && i.op1_kind() == OpKind::Immediate32
                    && i.immediate32() < 0x2000 =>
            {
                since_number = 0
            }
            Mnemonic::Syscall | Mnemonic::Sysenter if since_number <= 4 => _ = out.system_call.get_or_insert(offset),
            Mnemonic::Int if i.immediate8() == 0x2e && since_number <= 4 => _ = out.system_call.get_or_insert(offset),
            _ => {}
        }
        if i.mnemonic() == Mnemonic::Call && i.near_branch_target() == i.next_ip() {
            out.finds_itself.get_or_insert(offset);
        }
    }
    out
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
    #[test]
    fn code_that_finds_its_own_way() {
        // The beginning of a widely copied shellcode: cld, align the stack, call over the hash routine, which reads gs:[60h].
        let shell = [
            0xfc, 0x48, 0x83, 0xe4, 0xf0, 0xe8, 0xc0, 0, 0, 0, 0x41, 0x51, 0x41, 0x50, 0x52, 0x51, 0x56, 0x48, 0x31,
            0xd2, 0x65, 0x48, 0x8b, 0x52, 0x60,
        ];
        let seen = look(Arch::X64, false, Va(0x1000), Va(0x1000), &shell);
        assert_eq!((seen.reads_peb, seen.functions), (Some(0x14), 0));
        let narrow = [0xe8, 0, 0, 0, 0, 0x58, 0x64, 0xa1, 0x30, 0, 0, 0];
        let seen = look(Arch::X86, false, Va(0x1000), Va(0x2000), &narrow);
        assert_eq!((seen.reads_peb, seen.finds_itself), (Some(0x1006), Some(0x1000)));
        let call = [0x4c, 0x8b, 0xd1, 0xb8, 0x3a, 0, 0, 0, 0x0f, 0x05, 0xc3];
        assert_eq!(look(Arch::X64, false, Va(0), Va(0), &call).system_call, Some(8));
    }
    #[test]
    fn code_a_compiler_made() {
        let mut code = Vec::new();
        for _ in 0..6 {
            code.extend([
                0x55, 0x48, 0x8b, 0xec, 0x48, 0x83, 0xec, 0x20, 0x5d, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc, 0xcc,
            ]);
        }
        let seen = look(Arch::X64, false, Va(0), Va(0), &code);
        assert_eq!(seen, Look { functions: 6, ..Look::default() });
        assert!(!seen.odd());
    }
}
