//! `_OBJECT_HEADER` and the optional headers before it.

use crate::addr::Va;
use crate::bytes::Place;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, FastRef, Here, Layout, View};
use crate::value::{Absent, Value};

layout! {
    /// `_OBJECT_HEADER`.
    pub struct ObjectHeader: "_OBJECT_HEADER" {
        /// `PointerCount`. From 8.1 on a handle counts many times over, so only zero and less mean anything by themselves.
        pointer_count: i64 = "PointerCount",
        /// `HandleCount`.
        handle_count: i64 = "HandleCount",
        /// `TypeIndex` (from 7), encoded from Windows 10 on.
        type_index: u8 = "TypeIndex",
        /// `Type` (up to Vista).
        type_object: Va = "Type",
        /// `InfoMask` (from 7): which optional headers there are.
        info_mask: u8 = "InfoMask",
        /// `NameInfoOffset` (up to Vista): bytes back to the name.
        name_offset: u8 = "NameInfoOffset",
        /// `Flags`.
        flags: u8 = "Flags",
        /// `SecurityDescriptor`.
        security: FastRef = "SecurityDescriptor",
        /// `Body`: the object itself.
        body: Here = "Body",
    }
}
layout! {
    /// `_OBJECT_HEADER_NAME_INFO`.
    pub struct NameInfo: "_OBJECT_HEADER_NAME_INFO" {
        /// `Directory`: the `_OBJECT_DIRECTORY` it is named in.
        directory: Va = "Directory",
        /// `Name`.
        name: Counted = "Name",
    }
}

/// The header of an object.
#[derive(Clone, Debug)]
pub struct Header<'k> {
    /// Its address.
    pub at: Va,
    /// Its fields.
    pub view: View<'k, ObjectHeader>,
}

impl Header<'_> {
    /// Where its type's number is; up to Vista, the type's address.
    #[must_use]
    pub fn type_at(&self) -> Option<Place> {
        self.view.at(ObjectHeader::type_index).or_else(|| self.view.at(ObjectHeader::type_object))
    }
}

/// Reads headers of one kernel.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'k> {
    header: &'k ObjectHeader,
    name: &'k NameInfo,
    body: u64,
    name_size: Value<u32>,
    creator_size: Value<u32>,
}

/// Bits of `InfoMask`, in the order of the headers before the object's own (nearest first).
const CREATOR: u8 = 1;
const NAME: u8 = 2;

impl<'k> Headers<'k> {
    /// Resolves the layouts.
    ///
    /// # Errors
    /// The symbols do not say how far an object lies from its header.
    pub fn of(kernel: &'k Kernel) -> Value<Self> {
        let types = &kernel.symbols.types;
        let size = |ty: &'static str| types.size_of(ty).ok_or(Absent::NoSymbol);
        let header = kernel.layout::<ObjectHeader>().map_err(|_| Absent::NoSymbol)?;
        Ok(Self {
            header,
            name: kernel.layout().map_err(|_| Absent::NoSymbol)?,
            body: header.field("body")?.offset.into(),
            name_size: size(NameInfo::TYPE),
            creator_size: size("_OBJECT_HEADER_CREATOR_INFO"),
        })
    }
    /// Bytes from a header to its object.
    #[must_use]
    pub fn body(&self) -> u64 {
        self.body
    }
    /// The header at an address.
    #[must_use]
    pub fn at(&self, space: &Space<'k>, at: Va) -> Header<'k> {
        Header { at, view: space.view(self.header, at) }
    }
    /// The optional header with the name.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: the object has no name.
    pub fn name_info(&self, space: &Space<'k>, header: &Header<'_>) -> Value<View<'k, NameInfo>> {
        let back = match header.view.info_mask() {
            Ok(mask) if mask & NAME == 0 => return Err(Absent::NotApplicable),
            Ok(mask) if mask & CREATOR == 0 => self.name_size?,
            Ok(_) => self.name_size?.saturating_add(self.creator_size?),
            Err(Absent::NotInBuild) => match header.view.name_offset()? {
                0 => return Err(Absent::NotApplicable),
                back => back.into(),
            },
            Err(why) => return Err(why),
        };
        Ok(space.view(self.name, header.at.sub(back.into())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let t = &symbols.types;
            let header = ObjectHeader::resolve(t).unwrap_or_else(|e| panic!("{name}: {e}"));
            NameInfo::resolve(t).unwrap_or_else(|e| panic!("{name}: {e}"));
            let old = name.contains("-5.1.");
            assert_eq!(header.field("type_object").is_ok(), old, "{name}");
            assert_eq!(header.field("name_offset").is_ok(), old, "{name}");
            assert_eq!(header.field("info_mask").is_err(), old, "{name}");
            assert_eq!(header.field("type_index").is_err(), old, "{name}");
            assert!(t.size_of("_OBJECT_HEADER_CREATOR_INFO").is_some(), "{name}");
        }
    }
}
