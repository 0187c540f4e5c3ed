//! Where a routine of the kernel lies, what it is called, and where it leads when it begins with a jump: what `ssdt`, `callbacks` and
//! `driverirp` say of each address.

use crate::addr::Va;
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::kernel::module::{Module, Modules};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Subject, col, derived, wide};
use crate::value::{Absent, Value};
use iced_x86::{Code, Decoder, DecoderOptions, OpKind, Register};

/// Jumps followed from one routine.
const MOST_JUMPS: usize = 8;
/// Bytes that a hook's jump takes at most: two moves of 64 bits, a push and a return.
const CODE: u32 = 32;

/// Bytes from a symbol within which a place is taken to belong to it.
const FURTHEST: u32 = 0x1000;

/// Where a routine leads that is not where it ought to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// It lies in no loaded module.
    Outside,
    /// It lies in a module, and its first instructions jump out of all modules.
    JumpsOutside,
}

impl Hook {
    /// For people and machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Outside => "outside",
            Self::JumpsOutside => "jumps_outside",
        }
    }
}

/// What is known of a routine.
#[derive(Clone, Debug)]
pub struct Lead<'m> {
    /// Its address.
    pub at: Va,
    /// The module it lies in; `None` in none.
    pub module: Option<&'m Module>,
    /// Its name in the kernel's symbols, with the distance from it.
    pub symbol: Value<String>,
    /// Where its first instructions jump to, followed to the end.
    pub jumps_to: Option<Va>,
    /// What is wrong with it.
    pub hook: Option<Hook>,
}

/// Looks at the routines of one kernel.
#[derive(Debug)]
pub struct Routines<'k> {
    kernel: &'k Kernel,
    /// The loaded modules.
    pub modules: Modules,
}

/// The column of a routine's address.
pub const ADDRESS: Column = col("address", Kind::Hex, "The routine");

/// Rows of a routine that something names.
pub trait Named: Subject {
    /// What is known of it, or why its address is absent.
    fn lead<'a, 'b>(of: &'b Self::Of<'a>) -> Value<&'b Lead<'a>>;
}

fn told(lead: Value<&Lead<'_>>, get: fn(&Lead<'_>) -> Cell) -> Cell {
    lead.map_or_else(Cell::Absent, get)
}
fn or_nothing(value: Option<Cell>) -> Cell {
    value.unwrap_or(Cell::Absent(Absent::NotApplicable))
}

/// The loaded module it lies in.
#[must_use]
pub const fn module<S: Named>() -> Field<S> {
    derived(
        col("module", Kind::Text, "Loaded module it lies in; none outside of all"),
        "address, and the loaded modules",
        |c| told(S::lead(c), |lead| or_nothing(lead.module.map(|m| m.name.clone().into()))),
    )
}
/// Its name.
#[must_use]
pub const fn symbol<S: Named>() -> Field<S> {
    derived(col("symbol", Kind::Text, "Its name in the kernel's symbols"), "address, and the kernel's symbols", |c| {
        told(S::lead(c), |lead| lead.symbol.clone().into())
    })
}
/// Where it jumps.
#[must_use]
pub const fn jumps_to<S: Named>() -> Field<S> {
    derived(
        wide("jumps_to", Kind::Hex, "Where its first instructions jump, followed to the end"),
        "the instructions at address",
        |c| told(S::lead(c), |lead| or_nothing(lead.jumps_to.map(Cell::from))),
    )
}
/// What is wrong with it.
#[must_use]
pub const fn hook<S: Named>() -> Field<S> {
    derived(
        col(
            "hook",
            Kind::Text,
            "outside: it lies in no module; jumps_outside: it begins with a jump out of all modules",
        ),
        "module and jumps_to",
        |c| told(S::lead(c), |lead| or_nothing(lead.hook.map(|hook| hook.word().into()))),
    )
}

impl<'k> Routines<'k> {
    /// Of this kernel, with these modules.
    #[must_use]
    pub fn new(kernel: &'k Kernel, modules: Modules) -> Self {
        Self { kernel, modules }
    }
    /// What is known of the routine at `at`.
    #[must_use]
    pub fn look(&self, space: &Space<'_>, at: Va) -> Lead<'_> {
        let module = self.modules.of(at);
        let end = self.follow(space, at);
        let hook = match module {
            None => Some(Hook::Outside),
            Some(_) => end.filter(|end| self.modules.of(*end).is_none()).map(|_| Hook::JumpsOutside),
        };
        Lead { at, module, symbol: self.symbol(at), jumps_to: end, hook }
    }
    fn symbol(&self, at: Va) -> Value<String> {
        let kernel = self.kernel;
        let inside = kernel.size.is_none_or(|size| at.0.wrapping_sub(kernel.base.0) < size.into());
        let rva = at.0.checked_sub(kernel.base.0).filter(|_| inside).and_then(|r| u32::try_from(r).ok());
        let rva = rva.ok_or(Absent::NotApplicable)?; // another module's, whose symbols nobody asked for
        match kernel.symbols.globals.nearest(rva).ok_or(Absent::NoSymbol)? {
            (name, 0) => Ok(name.to_owned()),
            (name, past) if past <= FURTHEST => Ok(format!("{name}+{past:#x}")),
            // Symbols that name some functions only: the last one before is another function.
            _ => Err(Absent::NoSymbol),
        }
    }
    /// The end of the jumps a routine begins with; `None` where it begins with none.
    fn follow(&self, space: &Space<'_>, at: Va) -> Option<Va> {
        let bits = match self.kernel.arch {
            Arch::X86 => 32,
            Arch::X64 => 64,
            Arch::Arm64 => return None,
        };
        let mut end = None;
        let mut here = at;
        for _ in 0..MOST_JUMPS {
            let bytes = space.fetch(here, CODE);
            let Some(next) = jump(bits, here, bytes.prefix(), |slot| space.pointer(slot).ok()) else { break };
            // A jump into the user's half, or onto itself, is no jump the kernel would make, yet it leads where it leads.
            end = Some(next);
            if next == here {
                break;
            }
            here = next;
        }
        end
    }
}

/// Where the code at `at` jumps with its first instructions: a jump, one through memory, or an address put into a register or onto the stack
/// and gone to.
fn jump(bits: u32, at: Va, code: &[u8], read: impl Fn(Va) -> Option<Va>) -> Option<Va> {
    let mask = if bits == 32 { 0xffff_ffff } else { u64::MAX };
    let mut decoder = Decoder::with_ip(bits, code, at.0, DecoderOptions::NONE);
    let mut loaded: Option<(Register, u64)> = None;
    let mut pushed: Option<u64> = None;
    for _ in 0..3 {
        if !decoder.can_decode() {
            return None;
        }
        let i = decoder.decode();
        match i.code() {
            Code::Jmp_rel8_64 | Code::Jmp_rel32_64 | Code::Jmp_rel8_32 | Code::Jmp_rel32_32 => {
                return Some(Va(i.near_branch_target() & mask));
            }
            Code::Jmp_rm64 | Code::Jmp_rm32 if i.op0_kind() == OpKind::Memory => {
                let fixed = i.is_ip_rel_memory_operand()
                    || (i.memory_base() == Register::None && i.memory_index() == Register::None);
                return if fixed { read(Va(i.memory_displacement64() & mask)) } else { None };
            }
            Code::Jmp_rm64 | Code::Jmp_rm32 => {
                let (register, value) = loaded?;
                return (i.op0_register() == register).then_some(Va(value & mask));
            }
            Code::Mov_r64_imm64 | Code::Mov_r32_imm32 | Code::Mov_rm64_imm32 => {
                loaded = Some((i.op0_register(), i.immediate(1)));
            }
            Code::Push_r64 | Code::Push_r32 => {
                pushed = loaded.filter(|(r, _)| *r == i.op0_register()).map(|(_, v)| v);
                pushed?;
            }
            Code::Pushq_imm32 | Code::Pushd_imm32 => pushed = Some(i.immediate(0)),
            Code::Retnq | Code::Retnd => return pushed.map(|v| Va(v & mask)),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lands(bits: u32, code: &[u8]) -> Option<u64> {
        jump(bits, Va(0x1_0000), code, |slot| (slot.0 == 0x1_0016).then_some(Va(0xdead_0000))).map(|va| va.0)
    }

    #[test]
    fn the_ways_of_hooking_a_routine() {
        assert_eq!(lands(64, &[0xe9, 0xfb, 0x0f, 0, 0]), Some(0x1_1000));
        assert_eq!(lands(32, &[0xe9, 0xfb, 0x0f, 0, 0]), Some(0x1_1000));
        assert_eq!(lands(64, &[0xeb, 0xfe]), Some(0x1_0000), "onto itself");
        assert_eq!(lands(64, &[0xff, 0x25, 0x10, 0, 0, 0]), Some(0xdead_0000), "through memory");
        let mov = [0x48, 0xb8, 0xef, 0xbe, 0xad, 0xde, 0x80, 0xf8, 0xff, 0xff];
        assert_eq!(lands(64, &[&mov[..], &[0xff, 0xe0]].concat()), Some(0xffff_f880_dead_beef));
        assert_eq!(lands(64, &[&mov[..], &[0x50, 0xc3]].concat()), Some(0xffff_f880_dead_beef));
        assert_eq!(lands(32, &[0x68, 0xef, 0xbe, 0xad, 0xde, 0xc3]), Some(0xdead_beef));
        assert_eq!(lands(32, &[0xb8, 0xef, 0xbe, 0xad, 0xde, 0xff, 0xe0]), Some(0xdead_beef));
    }
    #[test]
    fn ordinary_beginnings_lead_nowhere() {
        assert_eq!(lands(64, &[0x48, 0x83, 0xec, 0x28, 0x33, 0xc0, 0xe9, 0, 0, 0, 0]), None, "a prologue");
        assert_eq!(lands(64, &[0xb8, 1, 0, 0, 0, 0xff, 0xe1]), None, "another register");
        assert_eq!(lands(64, &[0xc3]), None);
        assert_eq!(lands(64, &[0xff, 0x20]), None, "through a register that is not known");
        assert_eq!(lands(64, &[]), None);
    }
}
