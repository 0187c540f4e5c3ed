//! Registers as Windows saves them: trap frames, contexts, the 32-bit side's context of a 64-bit Windows.

use super::call::Isa;
use super::memory::Memory;
use super::unwind::Registers;
use crate::addr::Va;
use crate::bytes::u32_at;
use crate::layout;
use crate::symbols::layout::View;
use crate::value::{Absent, Value};

/// The registers both saved forms have, with their x64 and x86 names.
macro_rules! saved {
    ($(#[$m:meta])* $Name:ident: $ty:literal, $sp:literal | $sp32:literal) => {
        layout! {
            $(#[$m])*
            pub struct $Name: $ty {
                /// Instruction pointer.
                ip: u64 = "Rip" | "Eip" | "Pc",
                /// Stack pointer of the code that was left.
                sp: u64 = $sp | $sp32 | "Sp",
                /// Frame pointer.
                bp: u64 = "Rbp" | "Ebp" | "Fp",
                /// Accumulator.
                ax: u64 = "Rax" | "Eax",
                /// Base.
                bx: u64 = "Rbx" | "Ebx",
                /// Counter.
                cx: u64 = "Rcx" | "Ecx",
                /// Data.
                dx: u64 = "Rdx" | "Edx",
                /// Source.
                si: u64 = "Rsi" | "Esi",
                /// Destination.
                di: u64 = "Rdi" | "Edi",
                /// r8.
                r8: u64 = "R8",
                /// r9.
                r9: u64 = "R9",
                /// r10.
                r10: u64 = "R10",
                /// r11.
                r11: u64 = "R11",
                /// r12; contexts only.
                r12: u64 = "R12",
                /// r13; contexts only.
                r13: u64 = "R13",
                /// r14; contexts only.
                r14: u64 = "R14",
                /// r15; contexts only.
                r15: u64 = "R15",
                /// Code segment: its low two bits are the privilege, 3 for user mode.
                cs: u32 = "SegCs",
                /// Flags.
                flags: u32 = "EFlags" | "Cpsr" | "Spsr",
            }
        }
        impl View<'_, $Name> {
            /// All of them, for a stack walk.
            ///
            /// # Errors
            /// Why instruction or stack pointer are not there.
            pub fn registers(&self) -> Value<Registers> {
                let mut out = Registers::at(self.ip()?, self.sp()?);
                let each = [
                    (0, self.ax()), (1, self.cx()), (2, self.dx()), (3, self.bx()), (5, self.bp()), (6, self.si()), (7, self.di()),
                    (8, self.r8()), (9, self.r9()), (10, self.r10()), (11, self.r11()),
                    (12, self.r12()), (13, self.r13()), (14, self.r14()), (15, self.r15()),
                ];
                for (number, value) in each {
                    out.set(number, value.ok());
                }
                Ok(out)
            }
        }
    };
}
saved! {
    /// `_KTRAP_FRAME`: what the kernel saves when it is entered.
    TrapFrame: "_KTRAP_FRAME", "Rsp" | "HardwareEsp"
}
saved! {
    /// `_CONTEXT`.
    Context: "_CONTEXT", "Rsp" | "Esp"
}

/// Names of the integer registers by number.
const WIDE: [&str; 16] =
    ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];
const NARROW: [&str; 8] = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"];
/// Of ARM64 what a caller gets back, stack and frame pointer in the same places. The link register is only sure where code was stopped.
const ARM64: [&str; 16] =
    ["lr", "", "", "", "sp", "fp", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28"];

fn names(isa: Isa) -> &'static [&'static str] {
    match isa {
        Isa::X86 => &NARROW,
        Isa::X64 => &WIDE,
        Isa::Arm64 => &ARM64,
    }
}

impl Registers {
    /// From values by name, as a user-mode dump gives them.
    #[must_use]
    pub fn from_named(ip: u64, sp: u64, all: &[(&str, u64)], isa: Isa) -> Self {
        let names = names(isa);
        let mut out = Self::at(ip, sp);
        for (name, value) in all {
            if let Some(number) = names.iter().position(|n| n == name) {
                out.set(number, Some(*value));
            }
        }
        out
    }
    /// The known ones by name, the instruction pointer first.
    pub fn named(&self, isa: Isa) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let ip = match isa {
            Isa::X86 => "eip",
            Isa::X64 => "rip",
            Isa::Arm64 => "pc",
        };
        std::iter::once((ip, self.ip))
            .chain(names(isa).iter().zip(self.gpr).filter_map(|(name, value)| Some((*name, value?))))
    }
}

/// `CONTEXT_i386` of `winnt.h`, which every x86 context has in its flags.
const CONTEXT_I386: u32 = 0x1_0000;

/// The 32-bit registers of a thread that is in 64-bit code of a 32-bit process. wow64cpu.dll saves them in an area whose address the 64-bit
/// TEB keeps in the second TLS slot: two 16-bit words, then an x86 `CONTEXT` (`WOW64_CONTEXT` of `winnt.h`).
///
/// # Errors
/// Why it is not there; [`Absent::Implausible`] when it is no x86 context.
pub fn wow64_context(memory: &impl Memory, tls_slots: Va) -> Value<Registers> {
    let area = memory.number(tls_slots.add(8), 8)?;
    if area == 0 {
        return Err(Absent::NotApplicable);
    }
    let bytes = memory.fetch(Va(area).add(4), 0xcc);
    let context = bytes.all()?;
    // Offsets of the x86 _CONTEXT, the same in all five x86 layout tables.
    let field = |at: usize| u32_at(context, at).ok_or(Absent::Implausible);
    if field(0)? & CONTEXT_I386 == 0 || field(0xb8)? == 0 {
        return Err(Absent::Implausible);
    }
    let mut out = Registers::at(field(0xb8)?.into(), field(0xc4)?.into());
    for (number, at) in [(0, 0xb0), (1, 0xac), (2, 0xa8), (3, 0xa4), (5, 0xb4), (6, 0xa0), (7, 0x9c)] {
        out.set(number, Some(field(at)?.into()));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let trap = TrapFrame::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let context = Context::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let wide = name.starts_with("x64");
            for field in ["ax", "bx", "cx", "dx", "si", "di", "cs", "flags"] {
                assert!(trap.field(field).is_ok() && context.field(field).is_ok(), "{name}: {field}");
            }
            assert_eq!(trap.field("r8").is_ok(), wide, "{name}");
            assert_eq!(context.field("r15").is_ok(), wide, "{name}");
            if !wide {
                // What wow64_context reads without a type to ask.
                let offset = |field| context.field(field).map(|f| f.offset);
                assert_eq!(offset("ip"), Ok(0xb8), "{name}");
                assert_eq!(offset("sp"), Ok(0xc4), "{name}");
                assert_eq!(offset("bp"), Ok(0xb4), "{name}");
                assert_eq!(offset("di"), Ok(0x9c), "{name}");
                assert_eq!(offset("ax"), Ok(0xb0), "{name}");
            }
        }
    }
    #[test]
    fn the_32_bit_side() {
        use super::super::memory::Flat;
        let mut slots = vec![0; 16];
        slots[8..].copy_from_slice(&0x5000u64.to_le_bytes());
        let mut area = vec![0u8; 0xd0];
        let mut put = |at: usize, n: u32| area[4 + at..8 + at].copy_from_slice(&n.to_le_bytes());
        put(0, 0x1_003f);
        put(0xb8, 0x7712_3456);
        put(0xc4, 0x12_f000);
        put(0xb4, 0x12_f010);
        let memory = Flat(vec![(0x1000, slots), (0x5000, area)]);
        let registers = wow64_context(&memory, Va(0x1000)).unwrap();
        assert_eq!((registers.ip, registers.sp(), registers.get(5)), (0x7712_3456, Some(0x12_f000), Some(0x12_f010)));
        let named: Vec<_> = registers.named(Isa::X86).take(2).collect();
        assert_eq!(named, [("eip", 0x7712_3456), ("eax", 0)]);
        let nothing = Flat(vec![(0x1000, vec![0; 16])]);
        assert_eq!(wow64_context(&nothing, Va(0x1000)), Err(Absent::NotApplicable));
    }
}
