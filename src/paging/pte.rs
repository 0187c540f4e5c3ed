//! Software page-table entries: what Windows writes where the processor does not look.
//!
//! The bits come from the kernel's own types (`_MMPTE_SOFTWARE`, `_MMPTE_TRANSITION`, `_MMPTE_PROTOTYPE`,
//! `_MMPTE_SUBSECTION`). Without them only what all known kernels share is read: bit 10 `Prototype`, bit 11 `Transition`.

use super::{Fault, Mode};
use crate::addr::{Pa, Va};
use crate::symbols::types::Types;

/// Some bits of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// The lowest bit.
    pub at: u8,
    /// How many.
    pub len: u8,
}

impl Field {
    const fn new(at: u8, len: u8) -> Self {
        Self { at, len }
    }
    fn get(self, entry: u64) -> u64 {
        let mask = 1u64.checked_shl(self.len.into()).map_or(u64::MAX, |b| b.wrapping_sub(1));
        entry.checked_shr(self.at.into()).unwrap_or(0) & mask
    }
    fn full(self, entry: u64) -> bool {
        self.get(entry) == 1u64.checked_shl(self.len.into()).map_or(u64::MAX, |b| b.wrapping_sub(1))
    }
    fn of(types: &Types, ty: &str, name: &str) -> Option<Self> {
        types.member(ty, name)?.bits.map(|(at, len)| Self { at, len })
    }
}

/// Where an entry keeps a kernel address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    /// In its upper bits: 48 of them on x64 (sign-extended), 32 on PAE.
    High(Field),
    /// Two-part, in 32-bit entries: low part, high part.
    Split(Field, Field),
}

impl Address {
    fn of(types: &Types, ty: &str, stem: &str) -> Option<Self> {
        if let Some(whole) = Field::of(types, ty, stem) {
            return Some(Self::High(whole));
        }
        let low = Field::of(types, ty, &format!("{stem}Low"))?;
        Some(Self::Split(low, Field::of(types, ty, &format!("{stem}High"))?))
    }
    fn get(self, entry: u64) -> Option<Va> {
        match self {
            Self::High(bits) if bits.len == 48 => Some(Va(entry.cast_signed().wrapping_shr(16).cast_unsigned())),
            Self::High(bits) => Some(Va(bits.get(entry))),
            // 32-bit entries hold a distance from a base that moved between versions; no type states it.
            Self::Split(..) => None,
        }
    }
}

/// The format of one kernel's software entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Whether not-valid entries can be told apart at all. Not on ARM64 without types.
    known: bool,
    transition_pfn: Field,
    /// `_MMPTE_SOFTWARE.PageFileLow`: bits 1–4 up to build 17134, 12–15 from 17763 (and on Windows 7).
    page_file_low: Option<Field>,
    page_file_high: Field,
    proto: Option<Address>,
    subsection: Option<Address>,
    /// `SwizzleBit`: set where [`invalid_mask`](Self::invalid_mask) was not applied.
    swizzle: Option<u8>,
    /// `MiState.Hardware.InvalidPteMask`: bits Windows sets in entries that are not valid, against L1TF. `None` where
    /// nothing tells it: then what it could have changed is not told either.
    pub invalid_mask: Option<u64>,
    /// Whether entries that name a prototype or a subsection are left without the mask. Windows marks them with the
    /// swizzle bit like all others; dumps are asked which it is (`settle_prototypes`).
    pub plain_addresses: bool,
    /// The page file that is the compressed store, where known.
    pub virtual_store: Option<u8>,
}

const PROTOTYPE: u64 = 1 << 10;
const TRANSITION: u64 = 1 << 11;

/// What an entry that the processor does not take says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Soft {
    /// The page is still there: on the standby or modified list.
    Transition(Pa),
    /// Another entry decides: the prototype, in kernel space.
    Prototype(Va),
    /// The page is not in memory.
    Fault(Fault),
}

impl Format {
    /// What is the same in every known kernel of this mode (all 22 tables the project knows).
    #[must_use]
    pub fn of_mode(mode: Mode) -> Self {
        let wide = Self {
            known: true,
            transition_pfn: Field::new(12, 40),
            page_file_low: None,
            page_file_high: Field::new(32, 32),
            proto: Some(Address::High(Field::new(16, 48))),
            subsection: Some(Address::High(Field::new(16, 48))),
            swizzle: None,
            invalid_mask: None,
            plain_addresses: false,
            virtual_store: None,
        };
        match mode {
            Mode::X64 | Mode::La57 => wide,
            Mode::Pae => Self {
                transition_pfn: Field::new(12, 25),
                proto: Some(Address::High(Field::new(32, 32))),
                subsection: Some(Address::High(Field::new(32, 32))),
                ..wide
            },
            Mode::X86 => Self {
                transition_pfn: Field::new(12, 20),
                page_file_high: Field::new(12, 20),
                proto: None,
                subsection: None,
                ..wide
            },
            Mode::Arm64 | Mode::Blocks => Self { known: false, ..wide },
        }
    }
    /// The format by the kernel's types. [`invalid_mask`](Self::invalid_mask) and
    /// [`virtual_store`](Self::virtual_store) are values of the running kernel and are left to the caller.
    #[must_use]
    pub fn resolve(mode: Mode, types: &Types) -> Self {
        let base = Self::of_mode(mode);
        let Some(entry) = types.size_of("_MMPTE_SOFTWARE") else { return base };
        // PAE kernels have 8-byte entries, others of x86 4-byte ones: types of the other kind would mislead.
        if mode == Mode::X86 && entry != 4 || mode != Mode::X86 && entry != 8 {
            return base;
        }
        let soft = |name| Field::of(types, "_MMPTE_SOFTWARE", name);
        let bit = |name| soft(name).map(|f| f.at);
        // The two bits everything hangs on must be where every kernel has them.
        let known = bit("Prototype") == Some(10) && bit("Transition") == Some(11);
        Self {
            known,
            transition_pfn: Field::of(types, "_MMPTE_TRANSITION", "PageFrameNumber").unwrap_or(base.transition_pfn),
            page_file_low: soft("PageFileLow"),
            page_file_high: soft("PageFileHigh").unwrap_or(base.page_file_high),
            proto: Address::of(types, "_MMPTE_PROTOTYPE", "ProtoAddress").or(base.proto),
            subsection: Address::of(types, "_MMPTE_SUBSECTION", "SubsectionAddress").or(base.subsection),
            swizzle: bit("SwizzleBit"),
            ..base
        }
    }
    /// Whether entries of this kernel can carry the L1TF mask, and nothing told it.
    #[must_use]
    pub fn lacks_mask(&self) -> bool {
        self.swizzle.is_some() && self.invalid_mask.is_none()
    }
    /// Undoes the L1TF mask: it was set where the swizzle bit is clear.
    fn unmasked(&self, entry: u64) -> u64 {
        match self.swizzle {
            Some(bit) if entry & 1u64.wrapping_shl(bit.into()) == 0 => entry & !self.invalid_mask.unwrap_or(0),
            _ => entry,
        }
    }
    /// The same for an entry that holds a kernel address.
    fn unmasked_address(&self, entry: u64) -> u64 {
        if self.plain_addresses { entry } else { self.unmasked(entry) }
    }
    /// What a not-valid entry of a process's page tables says.
    #[must_use]
    pub fn decode(&self, entry: u64) -> Soft {
        if let Some(early) = self.early(entry) {
            return early;
        }
        if entry & PROTOTYPE != 0 {
            // "Look it up in the VAD": all ones where the prototype's address (or the page-file offset) stands.
            if self.page_file_high.full(entry) {
                return Soft::Fault(Fault::AskVad);
            }
            let address = self.proto.and_then(|a| a.get(self.unmasked_address(entry)));
            return match address {
                Some(pte) => Soft::Prototype(pte),
                // Kernels of x86 without PAE split the address in a way their types do not tell whole (`ProtoAddressLow`,
                // `ProtoAddressHigh`, relative to where paged pool begins). The VAD has it outright.
                None => Soft::Fault(Fault::AskVad),
            };
        }
        self.software(entry)
    }
    /// What a not-valid prototype entry says. There, the prototype bit means: read it from the mapped file.
    #[must_use]
    pub fn decode_prototype(&self, entry: u64) -> Fault {
        match self.early(entry) {
            Some(Soft::Fault(fault)) => return fault,
            Some(_) => return Fault::Unknown { entry },
            None => {}
        }
        if entry & PROTOTYPE != 0 {
            return Fault::FileBacked { subsection: self.subsection.and_then(|a| a.get(self.unmasked_address(entry))) };
        }
        match self.software(entry) {
            Soft::Fault(fault) => fault,
            _ => Fault::Unknown { entry },
        }
    }
    /// The physical page of an entry in transition, prototype or not.
    #[must_use]
    pub fn transition(&self, entry: u64) -> Option<Pa> {
        (self.known && entry & (1 | PROTOTYPE | TRANSITION) == TRANSITION)
            .then(|| Pa(self.transition_pfn.get(self.unmasked(entry)).wrapping_shl(12)))
    }
    fn early(&self, entry: u64) -> Option<Soft> {
        if entry == 0 {
            return Some(Soft::Fault(Fault::Unmapped));
        }
        if !self.known {
            return Some(Soft::Fault(Fault::Unknown { entry }));
        }
        self.transition(entry).map(Soft::Transition)
    }
    fn software(&self, entry: u64) -> Soft {
        let number = self.page_file_low.map(|f| u8::try_from(f.get(entry)).unwrap_or(u8::MAX));
        if self.page_file_high.full(entry) {
            return Soft::Fault(Fault::AskVad);
        }
        let raw = self.page_file_high.get(entry);
        // Bits of the mask were set where the swizzle bit is clear. An entry with none set was never masked.
        let turned = self.swizzle.is_some_and(|bit| entry & 1u64.wrapping_shl(bit.into()) == 0) && raw != 0;
        let offset = match self.invalid_mask {
            _ if !turned => raw,
            Some(mask) => self.page_file_high.get(entry & !mask),
            None => return Soft::Fault(Fault::Unknown { entry }),
        };
        // Only a protection: demand-zero. A page file has no header: its page 0 is one like all others.
        if offset == 0 && number.unwrap_or(0) == 0 {
            return Soft::Fault(Fault::DemandZero);
        }
        Soft::Fault(match number {
            Some(n) if self.virtual_store == Some(n) => Fault::Compressed { number: n, offset },
            number => Fault::PageFile { number, offset },
        })
    }
}
