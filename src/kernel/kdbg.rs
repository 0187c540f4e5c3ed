//! `KDDEBUGGER_DATA64`, the block a debugger asks first: addresses of kernel globals, and offsets inside some structures.
//!
//! It is in no public PDB; its fields are those of the Windows SDK's `wdbgexts.h`. From Windows 8 on, x64 and ARM64 kernels
//! keep it encoded unless a debugger is attached. Three 64-bit numbers of the running kernel make the code; with
//! symbols they are read. Without symbols they are not needed: every word goes through the same steps, so two words
//! whose plain values are known give the rotation, and then any one of them gives all others (see [`by_known_text`]).

use super::Kernel;
use crate::addr::Va;
use crate::bytes::{Place, le, u64_at};
use crate::paging::Space;
use crate::value::{Absent, Value};

/// Field, offset, bytes.
const FIELDS: &[(&str, u32, u32)] = &[
    ("KernBase", 0x18, 8),
    ("BreakpointWithStatus", 0x20, 8),
    ("SavedContext", 0x28, 8),
    ("ThCallbackStack", 0x30, 2),
    ("NextCallback", 0x32, 2),
    ("FramePointer", 0x34, 4),
    ("KiCallUserMode", 0x38, 8),
    ("KeUserCallbackDispatcher", 0x40, 8),
    ("PsLoadedModuleList", 0x48, 8),
    ("PsActiveProcessHead", 0x50, 8),
    ("PspCidTable", 0x58, 8),
    ("ExpSystemResourcesList", 0x60, 8),
    ("ExpPagedPoolDescriptor", 0x68, 8),
    ("ExpNumberOfPagedPools", 0x70, 8),
    ("KeTimeIncrement", 0x78, 8),
    ("KeBugCheckCallbackListHead", 0x80, 8),
    ("KiBugcheckData", 0x88, 8),
    ("IopErrorLogListHead", 0x90, 8),
    ("ObpRootDirectoryObject", 0x98, 8),
    ("ObpTypeObjectType", 0xa0, 8),
    ("MmSystemCacheStart", 0xa8, 8),
    ("MmSystemCacheEnd", 0xb0, 8),
    ("MmSystemCacheWs", 0xb8, 8),
    ("MmPfnDatabase", 0xc0, 8),
    ("MmSystemPtesStart", 0xc8, 8),
    ("MmSystemPtesEnd", 0xd0, 8),
    ("MmSubsectionBase", 0xd8, 8),
    ("MmNumberOfPagingFiles", 0xe0, 8),
    ("MmLowestPhysicalPage", 0xe8, 8),
    ("MmHighestPhysicalPage", 0xf0, 8),
    ("MmNumberOfPhysicalPages", 0xf8, 8),
    ("MmMaximumNonPagedPoolInBytes", 0x100, 8),
    ("MmNonPagedSystemStart", 0x108, 8),
    ("MmNonPagedPoolStart", 0x110, 8),
    ("MmNonPagedPoolEnd", 0x118, 8),
    ("MmPagedPoolStart", 0x120, 8),
    ("MmPagedPoolEnd", 0x128, 8),
    ("MmPagedPoolInformation", 0x130, 8),
    ("MmPageSize", 0x138, 8),
    ("MmSizeOfPagedPoolInBytes", 0x140, 8),
    ("MmTotalCommitLimit", 0x148, 8),
    ("MmTotalCommittedPages", 0x150, 8),
    ("MmSharedCommit", 0x158, 8),
    ("MmDriverCommit", 0x160, 8),
    ("MmProcessCommit", 0x168, 8),
    ("MmPagedPoolCommit", 0x170, 8),
    ("MmExtendedCommit", 0x178, 8),
    ("MmZeroedPageListHead", 0x180, 8),
    ("MmFreePageListHead", 0x188, 8),
    ("MmStandbyPageListHead", 0x190, 8),
    ("MmModifiedPageListHead", 0x198, 8),
    ("MmModifiedNoWritePageListHead", 0x1a0, 8),
    ("MmAvailablePages", 0x1a8, 8),
    ("MmResidentAvailablePages", 0x1b0, 8),
    ("PoolTrackTable", 0x1b8, 8),
    ("NonPagedPoolDescriptor", 0x1c0, 8),
    ("MmHighestUserAddress", 0x1c8, 8),
    ("MmSystemRangeStart", 0x1d0, 8),
    ("MmUserProbeAddress", 0x1d8, 8),
    ("KdPrintCircularBuffer", 0x1e0, 8),
    ("KdPrintCircularBufferEnd", 0x1e8, 8),
    ("KdPrintWritePointer", 0x1f0, 8),
    ("KdPrintRolloverCount", 0x1f8, 8),
    ("MmLoadedUserImageList", 0x200, 8),
    ("NtBuildLab", 0x208, 8),
    ("KiNormalSystemCall", 0x210, 8),
    ("KiProcessorBlock", 0x218, 8),
    ("MmUnloadedDrivers", 0x220, 8),
    ("MmLastUnloadedDriver", 0x228, 8),
    ("MmTriageActionTaken", 0x230, 8),
    ("MmSpecialPoolTag", 0x238, 8),
    ("KernelVerifier", 0x240, 8),
    ("MmVerifierData", 0x248, 8),
    ("MmAllocatedNonPagedPool", 0x250, 8),
    ("MmPeakCommitment", 0x258, 8),
    ("MmTotalCommitLimitMaximum", 0x260, 8),
    ("CmNtCSDVersion", 0x268, 8),
    ("MmPhysicalMemoryBlock", 0x270, 8),
    ("MmSessionBase", 0x278, 8),
    ("MmSessionSize", 0x280, 8),
    ("MmSystemParentTablePage", 0x288, 8),
    ("MmVirtualTranslationBase", 0x290, 8),
    ("OffsetKThreadNextProcessor", 0x298, 2),
    ("OffsetKThreadTeb", 0x29a, 2),
    ("OffsetKThreadKernelStack", 0x29c, 2),
    ("OffsetKThreadInitialStack", 0x29e, 2),
    ("OffsetKThreadApcProcess", 0x2a0, 2),
    ("OffsetKThreadState", 0x2a2, 2),
    ("OffsetKThreadBStore", 0x2a4, 2),
    ("OffsetKThreadBStoreLimit", 0x2a6, 2),
    ("SizeEProcess", 0x2a8, 2),
    ("OffsetEprocessPeb", 0x2aa, 2),
    ("OffsetEprocessParentCID", 0x2ac, 2),
    ("OffsetEprocessDirectoryTableBase", 0x2ae, 2),
    ("SizePrcb", 0x2b0, 2),
    ("OffsetPrcbDpcRoutine", 0x2b2, 2),
    ("OffsetPrcbCurrentThread", 0x2b4, 2),
    ("OffsetPrcbMhz", 0x2b6, 2),
    ("OffsetPrcbCpuType", 0x2b8, 2),
    ("OffsetPrcbVendorString", 0x2ba, 2),
    ("OffsetPrcbProcStateContext", 0x2bc, 2),
    ("OffsetPrcbNumber", 0x2be, 2),
    ("SizeEThread", 0x2c0, 8),
    ("KdPrintCircularBufferPtr", 0x2c8, 8),
    ("KdPrintBufferSize", 0x2d0, 8),
    ("KeLoaderBlock", 0x2d8, 8),
    ("SizePcr", 0x2e0, 2),
    ("OffsetPcrSelfPcr", 0x2e2, 2),
    ("OffsetPcrCurrentPrcb", 0x2e4, 2),
    ("OffsetPcrContainedPrcb", 0x2e6, 2),
    ("OffsetPcrInitialBStore", 0x2e8, 2),
    ("OffsetPcrBStoreLimit", 0x2ea, 2),
    ("OffsetPcrInitialStack", 0x2ec, 2),
    ("OffsetPcrStackLimit", 0x2ee, 2),
    ("OffsetPrcbPcrPage", 0x2f0, 2),
    ("OffsetPrcbProcStateSpecialReg", 0x2f2, 2),
    ("GdtR0Code", 0x2f4, 2),
    ("GdtR0Data", 0x2f6, 2),
    ("GdtR0Pcr", 0x2f8, 2),
    ("GdtR3Code", 0x2fa, 2),
    ("GdtR3Data", 0x2fc, 2),
    ("GdtR3Teb", 0x2fe, 2),
    ("GdtLdt", 0x300, 2),
    ("GdtTss", 0x302, 2),
    ("Gdt64R3CmCode", 0x304, 2),
    ("Gdt64R3CmTeb", 0x306, 2),
    ("IopNumTriageDumpDataBlocks", 0x308, 8),
    ("IopTriageDumpDataBlocks", 0x310, 8),
    ("VfCrashDataBlock", 0x318, 8),
    ("MmBadPagesDetected", 0x320, 8),
    ("MmZeroedPageSingleBitErrorsDetected", 0x328, 8),
    ("EtwpDebuggerData", 0x330, 8),
    ("OffsetPrcbContext", 0x338, 8),
];
/// The first and the last field that holds the address of a global of its own name, and fields between that do not.
const GLOBALS: (u32, u32) = (0x48, 0x290);
/// Where the header's tag, size and the kernel's base stand (`DBGKD_DEBUG_DATA_HEADER64` is 0x18 bytes).
const TAG: u32 = 0x10;
/// `KernBase`.
const BASE: u32 = 0x18;
/// Sizes a block can have, in steps of 8: 0x208 is the shortest in `wdbgexts.h` (NT 5), 0x380 the longest seen.
const SIZES: std::ops::RangeInclusive<u32> = 0x208..=0x800;
const KDBG: u32 = u32::from_le_bytes(*b"KDBG");

/// How a block was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// It stands there in plain.
    Plain,
    /// Decoded with `KiWaitNever`, `KiWaitAlways` and the address of `KdpDataBlockEncoded`.
    Keys,
    /// Decoded from what must stand in it.
    KnownText,
}

/// The block, in plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kdbg {
    /// Where it lies.
    pub va: Va,
    /// Where its first byte stands.
    pub place: Place,
    /// How it was read.
    pub coding: Coding,
    /// Its bytes, decoded.
    pub bytes: Vec<u8>,
    pointer_size: u32,
}

/// What encodes the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keys {
    /// `KiWaitNever`.
    pub never: u64,
    /// `KiWaitAlways`.
    pub always: u64,
    /// The address of `KdpDataBlockEncoded` (of another variable for other encoded data).
    pub address: u64,
}

impl Keys {
    /// One word, decoded: xor, rotate by the low byte, xor, swap bytes, xor.
    #[must_use]
    pub const fn decode(self, word: u64) -> u64 {
        let turned = (word ^ self.never).rotate_left((self.never & 0xff) as u32);
        (turned ^ self.address).swap_bytes() ^ self.always
    }
}

impl Kdbg {
    /// The block of a kernel: where the dump's header or the symbols say, else wherever the image holds one.
    #[must_use]
    pub fn find(kernel: &Kernel) -> Option<Self> {
        let space = kernel.space();
        let header = kernel.dump.header.as_ref().and_then(|h| h.kdbg);
        let symbol = kernel.symbol("KdDebuggerDataBlock");
        let keys = kernel.kdbg_keys(&space);
        let at = |va: Va| Self::read(&space, va, kernel.base, keys);
        header.into_iter().chain(symbol).find_map(|va| at(va).ok()).or_else(|| {
            let size = kernel.size?;
            search(&space, kernel.base, size).and_then(|va| at(va).ok())
        })
    }
    /// Reads and decodes the block at an address.
    ///
    /// # Errors
    /// Why it cannot be read; [`Absent::Implausible`] where there is none of this kernel.
    pub fn read(space: &Space<'_>, va: Va, base: Va, keys: Option<Keys>) -> Value<Self> {
        let head = space.fetch(va, BASE + 8);
        let head = head.all()?;
        let (size, decoder) = decoder(head, base.0, space.pointer_size(), keys).ok_or(Absent::Implausible)?;
        let bytes = space.fetch(va, size);
        let plain = bytes.all()?.chunks_exact(8).flat_map(|w| decoder.word(le(w).unwrap_or(0)).to_le_bytes()).collect();
        let coding = match decoder {
            Decoder::Plain => Coding::Plain,
            Decoder::Keys(_) => Coding::Keys,
            Decoder::Known { .. } => Coding::KnownText,
        };
        Ok(Self { va, place: bytes.place(0), coding, bytes: plain, pointer_size: space.pointer_size() })
    }
    /// Reads a block that stands there in plain, whatever kernel it is of.
    ///
    /// # Errors
    /// Why it cannot be read; [`Absent::Implausible`] where there is none.
    pub fn plain(space: &Space<'_>, va: Va) -> Value<Self> {
        let base = space.number(va.add(BASE.into()), 8)?;
        match Self::read(space, va, Va(base), None)? {
            block if block.coding == Coding::Plain => Ok(block),
            _ => Err(Absent::Implausible),
        }
    }
    /// A field by its name in `wdbgexts.h`. Addresses of 32-bit kernels are sign-extended there.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<u64> {
        let (_, offset, size) = FIELDS.iter().find(|(n, ..)| *n == name)?;
        let from = *offset as usize;
        le(self.bytes.get(from..from.checked_add(*size as usize)?)?)
    }
    /// An address field; `None` where it is zero.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<Va> {
        let raw = self.field(name)?;
        let va = if self.pointer_size == 4 { raw & 0xffff_ffff } else { raw };
        (va != 0).then_some(Va(va))
    }
    /// The address of the global of this name, where the block has it.
    #[must_use]
    pub fn global(&self, name: &str) -> Option<Va> {
        let (_, offset, size) = FIELDS.iter().find(|(n, ..)| *n == name)?;
        (*size == 8 && (GLOBALS.0..=GLOBALS.1).contains(offset)).then(|| self.address(name)).flatten()
    }
    /// Every field with its value.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        FIELDS.iter().filter_map(|(name, ..)| Some((*name, self.field(name)?)))
    }
}

impl Kernel {
    /// What encodes the debugger block, where the symbols tell.
    #[must_use]
    pub fn kdbg_keys(&self, space: &Space<'_>) -> Option<Keys> {
        let read = |name| space.number(self.symbol(name)?, 8).ok();
        let address = self.symbol("KdpDataBlockEncoded")?.0;
        Some(Keys { never: read("KiWaitNever")?, always: read("KiWaitAlways")?, address })
    }
}

/// How the words of one block become plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decoder {
    Plain,
    Keys(Keys),
    /// One word as it stands, the same in plain, and the rotation.
    Known {
        coded: u64,
        plain: u64,
        turn: u32,
    },
}

impl Decoder {
    const fn word(self, word: u64) -> u64 {
        match self {
            Self::Plain => word,
            Self::Keys(keys) => keys.decode(word),
            // The xors before and after the rotation cancel out between two words.
            Self::Known { coded, plain, turn } => (word ^ coded).rotate_left(turn).swap_bytes() ^ plain,
        }
    }
}

/// Tells the coding by the block's first words, and its size.
fn decoder(head: &[u8], base: u64, pointer_size: u32, keys: Option<Keys>) -> Option<(u32, Decoder)> {
    let tag_word = u64_at(head, TAG as usize)?;
    let base_word = u64_at(head, BASE as usize)?;
    let fits = |d: Decoder| {
        let tag = d.word(tag_word);
        let size = (tag >> 32) as u32;
        // 32-bit kernels sign-extend their base.
        let mask = if pointer_size == 4 { 0xffff_ffff } else { u64::MAX };
        let same_base = d.word(base_word) & mask == base & mask;
        let block = tag as u32 == KDBG && SIZES.contains(&size) && size.is_multiple_of(8);
        (block && same_base).then_some((size, d))
    };
    fits(Decoder::Plain)
        .or_else(|| fits(Decoder::Keys(keys?)))
        .or_else(|| by_known_text(tag_word, base_word, base).and_then(fits))
}

/// The rotation under which the words of tag and size and of the kernel's base become what they must be. 64 rotations
/// times 200 sizes are tried against 64 bits: another block fits by chance once in 10¹⁵.
fn by_known_text(tag_word: u64, base_word: u64, base: u64) -> Option<Decoder> {
    let coded = tag_word ^ base_word;
    for size in SIZES.step_by(8) {
        let plain = u64::from(size) << 32 | u64::from(KDBG);
        let wanted = (plain ^ base).swap_bytes();
        if wanted.count_ones() != coded.count_ones() {
            continue;
        }
        if let Some(turn) = (0..64).find(|turn| coded.rotate_left(*turn) == wanted) {
            return Some(Decoder::Known { coded: tag_word, plain, turn });
        }
    }
    None
}

/// Looks for the block in the image, plain or encoded: tag and base are neighbours.
fn search(space: &Space<'_>, base: Va, size: u32) -> Option<Va> {
    let image = space.fetch(base, size);
    for (start, bytes) in image.present() {
        // The block is aligned to 8 in every kernel seen; pages are, so pieces are.
        let mut before = None;
        for (i, raw) in bytes.chunks_exact(8).enumerate() {
            let word = le(raw)?;
            let tag_word = before.replace(word);
            let Some(tag_word) = tag_word else { continue };
            let near = tag_word as u32 == KDBG && word & 0xffff_ffff == base.0 & 0xffff_ffff;
            if near || (space.pointer_size() == 8 && by_known_text(tag_word, word, base.0).is_some()) {
                let at = u64::try_from(i).ok()?.checked_mul(8)?.checked_add(start.into())?;
                return Some(base.add(at.checked_sub(u64::from(BASE))?));
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;
    use crate::dump::testing::Dice;
    use crate::paging::Mode;
    use crate::paging::testing::Memory;

    const AT: u64 = 0xffff_f803_1234_0ab0;
    const KERNEL: u64 = 0xffff_f803_1200_0000;

    fn encode(keys: Keys, plain: u64) -> u64 {
        let turned = (plain ^ keys.always).swap_bytes() ^ keys.address;
        turned.rotate_right((keys.never & 0xff) as u32) ^ keys.never
    }
    fn block(size: u32) -> Vec<u64> {
        let mut words = vec![0u64; size as usize / 8];
        words[2] = u64::from(size) << 32 | u64::from(KDBG);
        words[3] = KERNEL;
        words[9] = KERNEL + 0x1000;
        words[11] = KERNEL + 0x2000;
        words
    }
    fn memory(words: &[u64]) -> Memory {
        let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
        for i in 0..2 {
            m.map(Va((AT & !0xfff) + i * 4096), Pa(0x20_0000 + i * 4096), 12);
        }
        for (i, w) in words.iter().enumerate() {
            m.write(Pa(0x20_0ab0 + 8 * i as u64), &w.to_le_bytes());
        }
        m
    }

    #[test]
    fn plain_and_encoded_with_and_without_keys() {
        let mut dice = Dice::new(7);
        for size in [0x290, 0x340, 0x360, 0x380] {
            let plain = block(size);
            let check = |words: &[u64], keys, coding| {
                let m = memory(words);
                let dump = m.dump();
                let found = Kdbg::read(&m.space(&dump), Va(AT), Va(KERNEL), keys).unwrap();
                assert_eq!(found.coding, coding);
                assert_eq!(found.bytes.len(), size as usize);
                assert_eq!(found.address("PsLoadedModuleList"), Some(Va(KERNEL + 0x1000)));
                assert_eq!(found.global("PspCidTable"), Some(Va(KERNEL + 0x2000)));
                assert_eq!(found.global("KernBase"), None);
                assert_eq!(found.global("PsActiveProcessHead"), None, "zero");
            };
            check(&plain, None, Coding::Plain);
            for _ in 0..20 {
                let keys = Keys { never: dice.roll(), always: dice.roll(), address: KERNEL | dice.below(1 << 24) };
                let coded: Vec<u64> = plain.iter().map(|w| encode(keys, *w)).collect();
                check(&coded, Some(keys), Coding::Keys);
                check(&coded, None, Coding::KnownText);
            }
        }
    }
    #[test]
    fn random_words_are_no_block() {
        let mut dice = Dice::new(11);
        for _ in 0..200 {
            let words: Vec<u64> = (0..0x70).map(|_| dice.roll()).collect();
            let m = memory(&words);
            let dump = m.dump();
            assert_eq!(Kdbg::read(&m.space(&dump), Va(AT), Va(KERNEL), None), Err(Absent::Implausible));
        }
    }
    #[test]
    fn a_block_of_another_kernel_is_refused() {
        let mut words = block(0x380);
        words[3] = KERNEL + 0x20_0000;
        let m = memory(&words);
        let dump = m.dump();
        assert_eq!(Kdbg::read(&m.space(&dump), Va(AT), Va(KERNEL), None), Err(Absent::Implausible));
    }
    #[test]
    fn the_search_finds_it() {
        let keys = Keys { never: 0x1122_3344_5566_7713, always: 0x99aa_bbcc_ddee_ff00, address: KERNEL + 0x333 };
        let coded: Vec<u64> = block(0x360).iter().map(|w| encode(keys, *w)).collect();
        for words in [&coded, &block(0x360)] {
            let m = memory(words);
            let dump = m.dump();
            let found = search(&m.space(&dump), Va(KERNEL), 0x40_0000);
            // The image's other pages are holes.
            assert_eq!(found, Some(Va(AT)));
        }
    }
}
