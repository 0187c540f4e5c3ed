//! Section objects: what a handle to a section, or a process's `SectionObject`, names.

use super::section::{ControlArea, Sections};
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::LayoutError;
use crate::value::{Absent, Value};

layout! {
    /// `_SECTION`: since Windows 10. Names its control area, or (with one of two low bits set) the file of one on another machine.
    pub struct NewSection: "_SECTION" {
        /// The control area; low bits are flags.
        control_area: Va = "u1.ControlArea",
        /// Bytes.
        size: u64 = "SizeOfSection",
    }
}
layout! {
    /// `_SECTION_OBJECT`: up to 8.1. Names a segment.
    pub struct OldSection: "_SECTION_OBJECT" {
        /// The segment (its first field is the control area in every build, whatever the symbols call the type).
        segment: Va = "Segment",
    }
}

/// Reads section objects.
#[derive(Clone, Copy, Debug)]
pub struct SectionObjects<'k> {
    new: Option<&'k NewSection>,
    old: Option<&'k OldSection>,
    segment: &'k SegmentHead,
}

layout! {
    /// The head of a `_SEGMENT`.
    pub struct SegmentHead: "_SEGMENT" {
        /// Its control area.
        control_area: Va = "ControlArea",
    }
}

impl<'k> SectionObjects<'k> {
    /// Resolves the layout this kernel has.
    ///
    /// # Errors
    /// The symbols have neither.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        Ok(Self { new: kernel.described(), old: kernel.described(), segment: kernel.layout()? })
    }
    /// The control area of a section object.
    ///
    /// # Errors
    /// Why it cannot be reached; [`Absent::NotApplicable`] for a section whose file is on another machine.
    pub fn control_area(&self, space: &Space<'_>, sections: &Sections<'k>, object: Va) -> Value<ControlArea> {
        let address = match (self.new, self.old) {
            (Some(layout), _) => {
                let raw = space.view(layout, object).control_area()?;
                // Bits 0 and 1 tell that a file object stands there instead.
                if raw.0 & 3 != 0 {
                    return Err(Absent::NotApplicable);
                }
                raw
            }
            (None, Some(layout)) => space.view(self.segment, space.view(layout, object).segment()?).control_area()?,
            _ => return Err(Absent::NoSymbol),
        };
        if address.is_null() { Err(Absent::NotApplicable) } else { sections.control_area(space, address) }
    }
}
