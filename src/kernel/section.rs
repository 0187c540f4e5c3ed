//! What a mapped VAD maps: control area, segment and subsections, down to the prototype entries of its pages.

use super::vad::{Mapping, Vad};
use crate::addr::{PAGE_SIZE, Va};
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::{Prototyped, Space};
use crate::symbols::layout::{Bits, FastRef, LayoutError};
use crate::value::{Absent, Note, Value};
use std::rc::Rc;

layout! {
    /// `_SUBSECTION`.
    pub struct SubsectionLayout: "_SUBSECTION" {
        /// Its control area.
        control_area: Va = "ControlArea",
        /// The first prototype entry.
        base: Va = "SubsectionBase",
        /// The next one of the same section.
        next: Va = "NextSubsection",
        /// How many prototype entries.
        entries: u32 = "PtesInSubsection",
        /// First sector (512 bytes) in the file, of an image; first 4 KiB unit, of a data file.
        starting_sector: u32 = "StartingSector",
        /// Sectors or units.
        sectors: u32 = "NumberOfFullSectors",
        /// Index into `MmProtectToValue`.
        protection: Bits = "u.SubsectionFlags.Protection" | "SubsectionFlags.Protection",
        /// Bytes behind the full sectors or units.
        end: Bits = "u.SubsectionFlags.SectorEndOffset" | "SubsectionFlags.SectorEndOffset",
    }
}
layout! {
    /// `_CONTROL_AREA`.
    pub struct ControlAreaLayout: "_CONTROL_AREA" {
        /// The segment.
        segment: Va = "Segment",
        /// The file, null for a section of the page file.
        file: FastRef = "FilePointer",
        /// An image.
        image: Bits = "u.Flags.Image",
        /// A file.
        is_file: Bits = "u.Flags.File",
        /// Device memory.
        physical: Bits = "u.Flags.PhysicalMemory",
        /// Reserved.
        reserve: Bits = "u.Flags.Reserve",
        /// Committed.
        commit: Bits = "u.Flags.Commit",
        /// The file is deleted when the section goes.
        delete_on_close: Bits = "u.Flags.DeleteOnClose",
        /// Views of it in all processes.
        views: u64 = "NumberOfMappedViews",
        /// Section objects for it.
        sections: u64 = "NumberOfSectionReferences",
    }
}
layout! {
    /// `_SEGMENT`.
    pub struct SegmentLayout: "_SEGMENT" {
        /// Bytes.
        size: u64 = "SizeOfSegment",
        /// Where an image wanted to be, of an image.
        based: Va = "BasedAddress",
        /// The first prototype entry.
        prototypes: Va = "PrototypePte",
        /// Of an image: what `NtQuerySection` tells of it.
        image_information: Va = "u2.ImageInformation",
    }
}
layout! {
    /// `_SECTION_IMAGE_INFORMATION`: what the kernel noted of an image's header when it made the section.
    pub struct ImageInformation: "_SECTION_IMAGE_INFORMATION" {
        /// The entry point, by the base the image wanted.
        entry: Va = "TransferAddress",
        /// `IMAGE_FILE_MACHINE_…`.
        machine: u16 = "Machine",
        /// `IMAGE_SUBSYSTEM_…`.
        subsystem: u32 = "SubSystemType",
        /// The header's check sum.
        checksum: u32 = "CheckSum",
        /// Bytes of the file.
        file_size: u32 = "ImageFileSize",
    }
}

/// Subsections followed at most: images have one for each PE section, files one for each growth.
const MOST_SUBSECTIONS: usize = 4096;

/// One subsection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subsection {
    /// Its address.
    pub address: Va,
    /// The first prototype entry; null while none are made.
    pub base: Va,
    /// How many.
    pub entries: u32,
    /// First sector or unit in the file.
    pub starting_sector: Value<u32>,
    /// Sectors or units.
    pub sectors: Value<u32>,
    /// Bytes behind the full sectors or units.
    pub end: Value<u64>,
    /// Index into `MmProtectToValue`.
    pub protection: Value<u8>,
}

/// A page of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePage {
    /// Its offset in the file.
    pub offset: u64,
    /// Bytes that the file has of it; the rest of the page is zeros. 0 behind the file's end.
    pub bytes: Value<u64>,
}

impl Subsection {
    /// The page of the mapped file that a prototype entry of this subsection stands for. Images count in sectors of 512 bytes, other files in
    /// units of 4,096.
    ///
    /// # Errors
    /// The entry is not of this subsection ([`Absent::NotApplicable`]), or where it begins in the file is not there.
    pub fn page(&self, pte: Va, pte_size: u64, image: bool) -> Value<FilePage> {
        let into = pte.0.checked_sub(self.base.0).ok_or(Absent::NotApplicable)?;
        let index = into.checked_div(pte_size).filter(|i| *i < self.entries.into()).ok_or(Absent::NotApplicable)?;
        let unit = if image { 512 } else { PAGE_SIZE };
        let within = index.wrapping_mul(PAGE_SIZE);
        let offset = u64::from(self.starting_sector?).wrapping_mul(unit).wrapping_add(within);
        let full = self.sectors.map(|full| u64::from(full).wrapping_mul(unit).saturating_sub(within).min(PAGE_SIZE));
        let bytes = match full {
            Ok(PAGE_SIZE) => full,
            part => part.and_then(|part| Ok(part.wrapping_add(self.end?).min(PAGE_SIZE))),
        };
        Ok(FilePage { offset, bytes })
    }
}

/// A control area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlArea {
    /// Its address.
    pub address: Va,
    /// The segment.
    pub segment: Value<Va>,
    /// The file object; absent for a section of the page file.
    pub file: Value<Va>,
    /// An image.
    pub image: Value<bool>,
    /// Device memory.
    pub physical: Value<bool>,
    /// The file goes with the section.
    pub delete_on_close: Value<bool>,
    /// Views in all processes.
    pub views: Value<u64>,
    /// Section objects.
    pub sections: Value<u64>,
}

/// Reads what VADs map.
#[derive(Clone, Copy, Debug)]
pub struct Sections<'k> {
    subsection: &'k SubsectionLayout,
    control_area: &'k ControlAreaLayout,
    segment: &'k SegmentLayout,
    /// Bytes in a page-table entry: 8, or 4 without PAE.
    pte_size: u64,
}

impl<'k> Sections<'k> {
    /// Resolves the layouts.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        let pte_size = if kernel.mode == crate::paging::Mode::X86 { 4 } else { 8 };
        Ok(Self { subsection: kernel.layout()?, control_area: kernel.layout()?, segment: kernel.layout()?, pte_size })
    }
    /// The control area behind a VAD.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for private memory; else why it cannot be reached.
    pub fn control_area_of(&self, space: &Space<'_>, vad: &Vad) -> Value<ControlArea> {
        let mapping = vad.mapping.as_ref().ok_or(Absent::NotApplicable)?;
        let address = match mapping.control_area {
            Ok(direct) => direct,
            Err(_) => space.view(self.subsection, mapping.subsection.and_then(Va::not_null)?).control_area()?,
        };
        self.control_area(space, address.not_null()?)
    }
    /// A control area by its address.
    ///
    /// # Errors
    /// Nothing of it can be read.
    pub fn control_area(&self, space: &Space<'_>, address: Va) -> Value<ControlArea> {
        let v = space.view(self.control_area, address);
        v.segment()?;
        let yes = |bit: Value<u64>| bit.map(|b| b != 0);
        Ok(ControlArea {
            address,
            segment: v.segment(),
            file: v.file().and_then(Va::not_null),
            image: yes(v.image()),
            physical: yes(v.physical()),
            delete_on_close: yes(v.delete_on_close()),
            views: v.views(),
            sections: v.sections(),
        })
    }
    /// The segment of a control area, as (bytes, base wanted, image information).
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn segment<'a>(&self, space: &Space<'a>, address: Va) -> crate::symbols::layout::View<'a, SegmentLayout>
    where
        'k: 'a,
    {
        space.view(self.segment, address)
    }
    /// The file object a VAD maps: its control area's, else the node's own.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where no file is mapped.
    pub fn file_of(&self, space: &Space<'_>, vad: &Vad) -> Value<Va> {
        let mapping = vad.mapping.as_ref().ok_or(Absent::NotApplicable)?;
        let through = self.control_area_of(space, vad).and_then(|c| c.file);
        match (through, mapping.file_object) {
            (Ok(file), _) => Ok(file),
            (Err(_), Ok(own)) if !own.is_null() => Ok(Va(own.0 & !0xf)),
            (Err(why), _) => Err(why),
        }
    }
    /// Whether subsections can be followed, and their pages counted.
    ///
    /// # Errors
    /// Why not: a field that the symbols lack.
    pub fn counts_pages(&self) -> Value<()> {
        use crate::symbols::layout::Layout;
        ["base", "entries", "next"].into_iter().try_for_each(|name| self.subsection.field(name).map(|_| ()))
    }
    /// Bytes in a prototype entry.
    #[must_use]
    pub fn entry_size(&self) -> u64 {
        self.pte_size
    }
    /// All subsections from the first one a VAD maps.
    #[must_use]
    pub fn subsections(&self, space: &Space<'_>, mapping: &Mapping) -> (Vec<Subsection>, Option<Note>) {
        self.subsections_from(space, mapping.subsection.unwrap_or(Va(0)))
    }
    /// The subsection at `next` and all that follow it.
    #[must_use]
    pub fn subsections_from(&self, space: &Space<'_>, mut next: Va) -> (Vec<Subsection>, Option<Note>) {
        let mut list: Vec<Subsection> = Vec::new();
        while !next.is_null() {
            if list.len() >= MOST_SUBSECTIONS || list.iter().any(|s| s.address == next) {
                return (
                    list,
                    Some(Note::loss(format!(
                        "subsections from {next} on are not followed: a loop, or more than {MOST_SUBSECTIONS}"
                    ))),
                );
            }
            let v = space.view(self.subsection, next);
            let (Ok(base), Ok(entries)) = (v.base(), v.entries()) else {
                return (list, Some(Note::loss(format!("subsection {next} is unreadable"))));
            };
            list.push(Subsection {
                address: next,
                base,
                entries,
                starting_sector: v.starting_sector(),
                sectors: v.sectors(),
                end: v.end(),
                protection: v.protection().map(|p| u8::try_from(p & 31).unwrap_or(0)),
            });
            next = v.next().unwrap_or(Va(0));
        }
        (list, None)
    }
    /// The prototype entries of a VAD from one address on. `subsections` gives the VAD's list, where it is needed.
    ///
    /// # Errors
    /// There is none for this many bytes from the address on.
    pub fn prototypes_of(
        &self,
        vad: &Vad,
        va: Va,
        subsections: impl FnOnce(&Mapping) -> Rc<[Subsection]>,
    ) -> Result<Prototyped, u64> {
        let rest = vad.end.0.saturating_sub(va.page().0).saturating_add(1);
        let run = |first: Va, most: u64| Ok(Prototyped { first, pages: most.min(rest / PAGE_SIZE).max(1) });
        let first = vad.mapping.as_ref().map(|m| (m, m.first_prototype.and_then(Va::not_null)));
        let Some((mapping, Ok(first))) = first else { return Err(rest) };
        let page = va.0.saturating_sub(vad.start.0) / PAGE_SIZE;
        let straight = first.0.saturating_add(page.saturating_mul(self.pte_size));
        if let Some(further) = mapping.last_prototype.ok().and_then(|last| last.0.checked_sub(straight)) {
            return run(Va(straight), (further / self.pte_size).saturating_add(1));
        }
        // Beyond the entries in a row: count on through the subsections, beginning with the first page's place in its own.
        let list = subsections(mapping);
        let Some(head) = list.first() else { return Err(rest) };
        let Some(into) = first.0.checked_sub(head.base.0) else { return Err(rest) };
        let mut left = (into / self.pte_size).saturating_add(page);
        for s in &*list {
            if let Some(further) = u64::from(s.entries).checked_sub(left).filter(|n| *n > 0) {
                return if s.base.is_null() {
                    Err(further.saturating_mul(PAGE_SIZE))
                } else {
                    run(s.base.add(left.saturating_mul(self.pte_size)), further)
                };
            }
            left = left.saturating_sub(s.entries.into());
        }
        Err(rest)
    }
}
