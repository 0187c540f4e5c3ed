//! `_SECTION`: memory that can be mapped; by its name, or by the file behind it.

use super::{Description, Fact, Facts, Object, Objects};
use crate::addr::Va;
use crate::kernel::section::Sections;
use crate::layout;
use crate::utf16::Text;
use crate::value::{Absent, Value};

layout! {
    /// `_SECTION` (from Windows 10).
    pub struct Section: "_SECTION" {
        /// `u1.ControlArea`: low bits say that it is a file object instead (of a file on another machine).
        control_area: Va = "u1.ControlArea",
        /// `SizeOfSection`, in bytes.
        size: u64 = "SizeOfSection",
    }
}
layout! {
    /// `_SECTION_OBJECT` (up to 8.1).
    pub struct OldSection: "_SECTION_OBJECT" {
        /// `Segment`. Declared as `_SEGMENT_OBJECT`, while it is a `_SEGMENT`, which begins with its control area; that the
        /// control area points back is checked.
        segment: Va = "Segment",
    }
}
layout! {
    /// The beginning of `_SEGMENT`.
    pub struct SegmentStart: "_SEGMENT" {
        /// `ControlArea`.
        control_area: Va = "ControlArea",
        /// `SizeOfSegment`, in bytes.
        size: u64 = "SizeOfSegment",
    }
}

/// By name, else by file.
pub(super) fn describe(objects: &mut Objects<'_>, object: &Object<'_>) -> Description {
    let own = objects.path(object);
    let (facts, file) = match read(objects, object.body) {
        Ok(read) => read,
        Err(why) => (vec![("unreadable", Fact::Absent(why))], Err(why)),
    };
    Description { name: own.or(file), facts }
}

fn read(objects: &mut Objects<'_>, body: Va) -> Value<(Facts, Value<Text>)> {
    let kernel = objects.kernel;
    let (address, size) = match kernel.described::<Section>() {
        Some(layout) => {
            let v = objects.space.view(layout, body);
            (v.control_area()?, v.size())
        }
        None => {
            let old = kernel.layout::<OldSection>().map_err(|_| Absent::NoSymbol)?;
            let segment = objects.space.view(old, body).segment()?;
            let start = kernel.layout::<SegmentStart>().map_err(|_| Absent::NoSymbol)?;
            let v = objects.space.view(start, segment);
            let address = v.control_area()?;
            let sections = Sections::of(kernel).map_err(|_| Absent::NoSymbol)?;
            if sections.control_area(&objects.space, address)?.segment != Ok(segment) {
                return Err(Absent::Implausible);
            }
            (address, v.size())
        }
    };
    let mut facts: Facts = vec![("size", size.map_or_else(Fact::Absent, Fact::Hex))];
    // `RemoteImageFileObject` and `RemoteDataFileObject` are bits 0 and 1 of the same word.
    if address.0 & 3 != 0 {
        let remote = Va(address.0 & !3);
        facts.push(("remote_file", remote.into()));
        let file = file_of(objects, Ok(remote));
        return Ok((facts, file));
    }
    if address.is_null() {
        return Ok((facts, Err(Absent::NotApplicable)));
    }
    let sections = Sections::of(kernel).map_err(|_| Absent::NoSymbol)?;
    let area = sections.control_area(&objects.space, address)?;
    let file = file_of(objects, area.file);
    facts.push(("control_area", address.into()));
    facts.push(("image", area.image.into()));
    facts.push(("physical", area.physical.into()));
    facts.push(("views", area.views.into()));
    facts.push(("file", file.clone().into()));
    Ok((facts, file))
}

fn file_of(objects: &mut Objects<'_>, file: Value<Va>) -> Value<Text> {
    let files = objects.files.as_mut().ok_or(Absent::NoSymbol)?;
    let file = files.read(file?)?;
    file.path().or(file.name)
}
