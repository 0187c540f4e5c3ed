//! Entries that are not present: transition, pagefile, demand-zero, prototype, subsection; bits as the kernel's types say.

use crate::layout::Layouts;

/// What a software entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soft {
    /// The page is still in that frame, on the standby or modified list.
    Transition(u64),
    /// In page file `.0` at page `.1`.
    PageFile(u64, u64),
    /// To be zero on first touch.
    DemandZero,
    /// Ask the prototype entry at this address.
    Prototype(u64),
    /// (In a prototype entry.) The page is in the file of the subsection at this address.
    Subsection(u64),
}

/// The entry's 64 bits. `protection` is the five-bit code; `mask` is `MiState.Hardware.InvalidPteMask`, which kernels that
/// defend against speculation past invalid entries set in all of them; where one of its bits is set already, they set the swizzle bit instead.
pub fn software(table: &Layouts, soft: Soft, protection: u64, mask: u64) -> u64 {
    let ty = match soft {
        Soft::Transition(_) => "_MMPTE_TRANSITION",
        Soft::PageFile(..) | Soft::DemandZero => "_MMPTE_SOFTWARE",
        Soft::Prototype(_) => "_MMPTE_PROTOTYPE",
        Soft::Subsection(_) => "_MMPTE_SUBSECTION",
    };
    let field = |name: &str, value: u64| {
        let (pos, len) = table.place(ty, name).bits.unwrap_or_else(|| panic!("{ty}.{name} is no bit field"));
        (value & (u64::MAX >> (64 - len))) << pos
    };
    // Without PAE an address is squeezed into what the entry has left, relative to bases that the forge does not model.
    if matches!(soft, Soft::Prototype(_) | Soft::Subsection(_))
        && table.find("_MMPTE_PROTOTYPE", "ProtoAddress").is_none()
    {
        return 0;
    }
    let pte = field("Protection", protection);
    let plain = match soft {
        Soft::Transition(frame) => pte | field("Transition", 1) | field("PageFrameNumber", frame),
        Soft::PageFile(file, page) => pte | field("PageFileLow", file) | field("PageFileHigh", page),
        Soft::DemandZero => pte,
        Soft::Prototype(va) => pte | field("Prototype", 1) | field("ProtoAddress", va),
        Soft::Subsection(va) => pte | field("Prototype", 1) | field("SubsectionAddress", va),
    };
    if plain & mask == 0 { plain | mask } else { plain | field("SwizzleBit", 1) }
}
