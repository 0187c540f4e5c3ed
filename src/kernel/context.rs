//! `CONTEXT` and `EXCEPTION_RECORD` of a crash: registers by name, and what was raised.

use crate::addr::Va;
use crate::bytes::le;
use crate::dump::Arch;
use crate::value::{Absent, Value};

/// Where a register stands in a `CONTEXT`: name, offset, bytes.
type Register = (&'static str, u16, u8);

/// x64 (winnt.h, `CONTEXT`; the same in the layout tables' `_CONTEXT`).
const X64: &[Register] = &[
    ("rax", 0x78, 8),
    ("rbx", 0x90, 8),
    ("rcx", 0x80, 8),
    ("rdx", 0x88, 8),
    ("rsi", 0xa8, 8),
    ("rdi", 0xb0, 8),
    ("rbp", 0xa0, 8),
    ("rsp", 0x98, 8),
    ("r8", 0xb8, 8),
    ("r9", 0xc0, 8),
    ("r10", 0xc8, 8),
    ("r11", 0xd0, 8),
    ("r12", 0xd8, 8),
    ("r13", 0xe0, 8),
    ("r14", 0xe8, 8),
    ("r15", 0xf0, 8),
    ("rip", 0xf8, 8),
    ("eflags", 0x44, 4),
    ("cs", 0x38, 2),
    ("ss", 0x42, 2),
    ("ds", 0x3a, 2),
    ("es", 0x3c, 2),
    ("fs", 0x3e, 2),
    ("gs", 0x40, 2),
    ("dr0", 0x48, 8),
    ("dr1", 0x50, 8),
    ("dr2", 0x58, 8),
    ("dr3", 0x60, 8),
    ("dr6", 0x68, 8),
    ("dr7", 0x70, 8),
    ("mxcsr", 0x34, 4),
];
/// x86 (winnt.h, `CONTEXT`; the same in the layout tables' `_CONTEXT`).
const X86: &[Register] = &[
    ("eax", 0xb0, 4),
    ("ebx", 0xa4, 4),
    ("ecx", 0xac, 4),
    ("edx", 0xa8, 4),
    ("esi", 0xa0, 4),
    ("edi", 0x9c, 4),
    ("ebp", 0xb4, 4),
    ("esp", 0xc4, 4),
    ("eip", 0xb8, 4),
    ("eflags", 0xc0, 4),
    ("cs", 0xbc, 4),
    ("ss", 0xc8, 4),
    ("ds", 0x98, 4),
    ("es", 0x94, 4),
    ("fs", 0x90, 4),
    ("gs", 0x8c, 4),
    ("dr0", 0x4, 4),
    ("dr1", 0x8, 4),
    ("dr2", 0xc, 4),
    ("dr3", 0x10, 4),
    ("dr6", 0x14, 4),
    ("dr7", 0x18, 4),
];
/// ARM64 (winnt.h, `ARM64_NT_CONTEXT`).
const ARM64: &[Register] = &[
    ("x0", 0x8, 8),
    ("x1", 0x10, 8),
    ("x2", 0x18, 8),
    ("x3", 0x20, 8),
    ("x4", 0x28, 8),
    ("x5", 0x30, 8),
    ("x6", 0x38, 8),
    ("x7", 0x40, 8),
    ("x8", 0x48, 8),
    ("x9", 0x50, 8),
    ("x10", 0x58, 8),
    ("x11", 0x60, 8),
    ("x12", 0x68, 8),
    ("x13", 0x70, 8),
    ("x14", 0x78, 8),
    ("x15", 0x80, 8),
    ("x16", 0x88, 8),
    ("x17", 0x90, 8),
    ("x18", 0x98, 8),
    ("x19", 0xa0, 8),
    ("x20", 0xa8, 8),
    ("x21", 0xb0, 8),
    ("x22", 0xb8, 8),
    ("x23", 0xc0, 8),
    ("x24", 0xc8, 8),
    ("x25", 0xd0, 8),
    ("x26", 0xd8, 8),
    ("x27", 0xe0, 8),
    ("x28", 0xe8, 8),
    ("fp", 0xf0, 8),
    ("lr", 0xf8, 8),
    ("sp", 0x100, 8),
    ("pc", 0x108, 8),
    ("cpsr", 0x4, 4),
];

const fn registers(arch: Arch) -> &'static [Register] {
    match arch {
        Arch::X86 => X86,
        Arch::X64 => X64,
        Arch::Arm64 => ARM64,
    }
}

/// A processor's registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// By name, in the order a debugger prints them.
    pub registers: Vec<(&'static str, u64)>,
}

impl Context {
    /// Of these bytes.
    ///
    /// # Errors
    /// [`Absent::NotRecorded`] where nothing was filled in (all zeros, or the header's `PAGE` filler),
    /// [`Absent::Implausible`] where the bytes are too few.
    pub fn read(arch: Arch, bytes: &[u8]) -> Value<Self> {
        if unused(bytes) {
            return Err(Absent::NotRecorded);
        }
        let read = |(name, at, size): &Register| {
            let at = usize::from(*at);
            let bytes = bytes.get(at..at.checked_add(usize::from(*size))?)?;
            Some((*name, le(bytes)?))
        };
        let registers = registers(arch).iter().map(read).collect::<Option<Vec<_>>>();
        Ok(Self { registers: registers.ok_or(Absent::Implausible)? })
    }
    /// A register by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<u64> {
        self.registers.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }
    /// The instruction pointer.
    #[must_use]
    pub fn instruction(&self) -> Option<Va> {
        ["rip", "eip", "pc"].iter().find_map(|n| self.get(n)).map(Va)
    }
    /// The stack pointer.
    #[must_use]
    pub fn stack(&self) -> Option<Va> {
        ["rsp", "esp", "sp"].iter().find_map(|n| self.get(n)).map(Va)
    }
}

/// What was raised: `EXCEPTION_RECORD32` and `EXCEPTION_RECORD64` of winnt.h.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// `ExceptionCode`, an NTSTATUS.
    pub code: u32,
    /// `ExceptionFlags`.
    pub flags: u32,
    /// `ExceptionAddress`.
    pub address: Va,
    /// `ExceptionInformation`, as many as there are.
    pub parameters: Vec<u64>,
}

impl Exception {
    /// Of these bytes.
    ///
    /// # Errors
    /// [`Absent::NotRecorded`] where nothing was filled in, [`Absent::Implausible`] where it cannot be one.
    pub fn read(arch: Arch, bytes: &[u8]) -> Value<Self> {
        if unused(bytes) {
            return Err(Absent::NotRecorded);
        }
        // Code, flags, link to the next, address, count; on 64-bit four bytes of padding; then up to fifteen parameters.
        let (address, count, first, width) =
            if arch == Arch::X86 { (0xc, 0x10, 0x14usize, 4) } else { (0x10, 0x18, 0x20, 8usize) };
        let number =
            |at: usize, len: usize| bytes.get(at..at.saturating_add(len)).and_then(le).ok_or(Absent::Implausible);
        let short = |at| number(at, 4).and_then(|n| u32::try_from(n).map_err(|_| Absent::Implausible));
        let count = number(count, 4)?;
        if count > 15 {
            return Err(Absent::Implausible); // EXCEPTION_MAXIMUM_PARAMETERS
        }
        let count = usize::try_from(count).map_err(|_| Absent::Implausible)?;
        let parameters = (0..count).map(|i| number(first.saturating_add(i.saturating_mul(width)), width));
        Ok(Self {
            code: short(0)?,
            flags: short(4)?,
            address: Va(number(address, width)?),
            parameters: parameters.collect::<Value<_>>()?,
        })
    }
}

/// Crash-dump headers are filled with `PAGE` before they are written.
fn unused(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0) || (bytes.len() >= 4 && bytes.chunks(4).all(|c| b"PAGE".starts_with(c)))
}

/// The name of an exception code or status that crashes are often made of (ntstatus.h).
#[must_use]
pub fn status_name(code: u32) -> Option<&'static str> {
    Some(match code {
        0x8000_0001 => "STATUS_GUARD_PAGE_VIOLATION",
        0x8000_0002 => "STATUS_DATATYPE_MISALIGNMENT",
        0x8000_0003 => "STATUS_BREAKPOINT",
        0x8000_0004 => "STATUS_SINGLE_STEP",
        0xc000_0005 => "STATUS_ACCESS_VIOLATION",
        0xc000_0006 => "STATUS_IN_PAGE_ERROR",
        0xc000_0008 => "STATUS_INVALID_HANDLE",
        0xc000_000d => "STATUS_INVALID_PARAMETER",
        0xc000_0017 => "STATUS_NO_MEMORY",
        0xc000_001d => "STATUS_ILLEGAL_INSTRUCTION",
        0xc000_0025 => "STATUS_NONCONTINUABLE_EXCEPTION",
        0xc000_0026 => "STATUS_INVALID_DISPOSITION",
        0xc000_008c => "STATUS_ARRAY_BOUNDS_EXCEEDED",
        0xc000_008d => "STATUS_FLOAT_DENORMAL_OPERAND",
        0xc000_008e => "STATUS_FLOAT_DIVIDE_BY_ZERO",
        0xc000_008f => "STATUS_FLOAT_INEXACT_RESULT",
        0xc000_0090 => "STATUS_FLOAT_INVALID_OPERATION",
        0xc000_0091 => "STATUS_FLOAT_OVERFLOW",
        0xc000_0092 => "STATUS_FLOAT_STACK_CHECK",
        0xc000_0093 => "STATUS_FLOAT_UNDERFLOW",
        0xc000_0094 => "STATUS_INTEGER_DIVIDE_BY_ZERO",
        0xc000_0095 => "STATUS_INTEGER_OVERFLOW",
        0xc000_0096 => "STATUS_PRIVILEGED_INSTRUCTION",
        0xc000_009a => "STATUS_INSUFFICIENT_RESOURCES",
        0xc000_009c => "STATUS_DEVICE_DATA_ERROR",
        0xc000_00fd => "STATUS_STACK_OVERFLOW",
        0xc000_0135 => "STATUS_DLL_NOT_FOUND",
        0xc000_0142 => "STATUS_DLL_INIT_FAILED",
        0xc000_013a => "STATUS_CONTROL_C_EXIT",
        0xc000_0185 => "STATUS_IO_DEVICE_ERROR",
        0xc000_0354 => "STATUS_DEBUGGER_INACTIVE",
        0xc000_0374 => "STATUS_HEAP_CORRUPTION",
        0xc000_0409 => "STATUS_STACK_BUFFER_OVERRUN",
        0xc000_0420 => "STATUS_ASSERTION_FAILURE",
        0xc000_0602 => "STATUS_FAIL_FAST_EXCEPTION",
        0xe06d_7363 => "C++ exception",
        0xe043_4352 => ".NET exception",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offsets_are_those_of_every_known_kernel() {
        for (kernel, symbols) in crate::kernel::testing::kernels() {
            let arch = if kernel.starts_with("x64") { Arch::X64 } else { Arch::X86 };
            for (name, at, size) in registers(arch) {
                let first = name.chars().next().unwrap().to_ascii_uppercase();
                let camel = format!("{first}{}", &name[1..]);
                let names = [camel.clone(), format!("Seg{camel}"), "EFlags".into(), "MxCsr".into()];
                let known: Vec<_> = names
                    .iter()
                    .filter(|n| n.eq_ignore_ascii_case(name) || n.eq_ignore_ascii_case(&format!("seg{name}")))
                    .filter_map(|n| symbols.types.member("_CONTEXT", n))
                    .collect();
                assert_eq!(known.len(), 1, "{kernel}: {name}");
                assert_eq!((known[0].offset, known[0].size), (u32::from(*at), u32::from(*size)), "{kernel}: {name}");
            }
            let record = if arch == Arch::X64 { 0x10 } else { 0xc };
            assert_eq!(symbols.types.member("_EXCEPTION_RECORD", "ExceptionAddress").unwrap().offset, record);
        }
    }

    #[test]
    fn a_header_that_was_never_filled_in_says_nothing() {
        assert_eq!(Context::read(Arch::X64, &[0; 0x4d0]), Err(Absent::NotRecorded));
        assert_eq!(Context::read(Arch::X64, &b"PAGE".repeat(0x200)), Err(Absent::NotRecorded));
        assert_eq!(Exception::read(Arch::X64, &b"PAGE".repeat(0x26)), Err(Absent::NotRecorded));
    }

    #[test]
    fn an_exception_record() {
        let mut bytes = vec![0u8; 0x98];
        bytes[..4].copy_from_slice(&0xc000_0005u32.to_le_bytes());
        bytes[0x10..0x18].copy_from_slice(&0xffff_f800_1234_5678u64.to_le_bytes());
        bytes[0x18] = 2;
        bytes[0x28..0x30].copy_from_slice(&0x20u64.to_le_bytes());
        let e = Exception::read(Arch::X64, &bytes).unwrap();
        assert_eq!((e.code, e.address, e.parameters), (0xc000_0005, Va(0xffff_f800_1234_5678), vec![0, 0x20]));
        bytes[0x18] = 16;
        assert_eq!(Exception::read(Arch::X64, &bytes), Err(Absent::Implausible));
    }
}
