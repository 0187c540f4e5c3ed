//! `_DRIVER_OBJECT`: a driver as the I/O manager sees it, with the routines that requests are dispatched to.

use super::Kernel;
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Here, Layout};
use crate::utf16::Text;
use crate::value::{Absent, Value};

layout! {
    /// `_DRIVER_OBJECT`.
    pub struct DriverObject: "_DRIVER_OBJECT" {
        /// `IO_TYPE_DRIVER` (4): what tells a driver object from other memory.
        kind: u16 = "Type",
        /// Bytes of the object, as the I/O manager wrote them.
        size: u16 = "Size",
        /// The first of its devices.
        device: Va = "DeviceObject",
        /// `DRVO_…` flags.
        flags: u32 = "Flags",
        /// Where its image lies.
        start: Va = "DriverStart",
        /// Bytes of its image.
        image_size: u32 = "DriverSize",
        /// Its loader entry.
        section: Va = "DriverSection",
        /// `\Driver\Name`.
        name: Counted = "DriverName",
        /// The driver's entry point.
        init: Va = "DriverInit",
        /// Called for each request of drivers that queue.
        start_io: Va = "DriverStartIo",
        /// Called before it is unloaded.
        unload: Va = "DriverUnload",
        /// The dispatch routines, by major function.
        major: Here = "MajorFunction",
    }
}

/// `IO_TYPE_DRIVER` of wdm.h.
pub const IO_TYPE_DRIVER: u16 = 4;

/// The major functions in order (`IRP_MJ_…` of wdm.h).
pub const MAJOR_FUNCTIONS: [&str; 28] = [
    "CREATE",
    "CREATE_NAMED_PIPE",
    "CLOSE",
    "READ",
    "WRITE",
    "QUERY_INFORMATION",
    "SET_INFORMATION",
    "QUERY_EA",
    "SET_EA",
    "FLUSH_BUFFERS",
    "QUERY_VOLUME_INFORMATION",
    "SET_VOLUME_INFORMATION",
    "DIRECTORY_CONTROL",
    "FILE_SYSTEM_CONTROL",
    "DEVICE_CONTROL",
    "INTERNAL_DEVICE_CONTROL",
    "SHUTDOWN",
    "LOCK_CONTROL",
    "CLEANUP",
    "CREATE_MAILSLOT",
    "QUERY_SECURITY",
    "SET_SECURITY",
    "POWER",
    "SYSTEM_CONTROL",
    "DEVICE_CHANGE",
    "QUERY_QUOTA",
    "SET_QUOTA",
    "PNP",
];

/// One driver object, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The object's address.
    pub object: Va,
    /// Where it stands.
    pub place: Place,
    /// `\Driver\Name`.
    pub name: Value<Text>,
    /// Where its image lies.
    pub start: Value<Va>,
    /// Bytes of its image.
    pub size: Value<u32>,
    /// Its entry point.
    pub init: Value<Va>,
    /// Its unload routine; [`Absent::NotApplicable`] where it has none.
    pub unload: Value<Va>,
    /// Its StartIo routine; [`Absent::NotApplicable`] where it has none.
    pub start_io: Value<Va>,
    /// Its loader entry.
    pub section: Value<Va>,
    /// The dispatch routines, by major function.
    pub major: Vec<Value<Va>>,
}

impl Kernel {
    /// The driver object at `va`; `None` where there is none.
    ///
    /// # Errors
    /// The symbols do not describe driver objects.
    pub fn driver_at(&self, space: &Space<'_>, va: Va) -> Result<Option<Driver>> {
        let layout = self.layout::<DriverObject>().map_err(|e| self.unreadable(&e))?;
        let view = space.view(layout, va);
        if view.kind() != Ok(IO_TYPE_DRIVER) {
            return Ok(None);
        }
        let width = space.pointer_size();
        let table = layout.field("major").map(|f| f.offset);
        let slot = |i: u32| view.bytes.at(table?.saturating_add(i.saturating_mul(width)), width);
        let pointer = |raw: Value<&[u8]>| crate::bytes::le(raw?).map(Va).ok_or(Absent::Implausible);
        let functions = u32::try_from(MAJOR_FUNCTIONS.len()).unwrap_or(0);
        Ok(Some(Driver {
            object: va,
            place: view.place(),
            name: view.name().and_then(|n| space.text(n)),
            start: view.start().and_then(Va::not_null),
            size: view.image_size(),
            init: view.init().and_then(Va::not_null),
            unload: view.unload().and_then(Va::not_null),
            start_io: view.start_io().and_then(Va::not_null),
            section: view.section().and_then(Va::not_null),
            major: (0..functions).map(|i| pointer(slot(i))).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kernel_has_28_dispatch_routines_at_the_end() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let layout = DriverObject::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let table = layout.field("major").unwrap();
            assert_eq!(table.size as usize, MAJOR_FUNCTIONS.len() * usize::from(symbols.types.pointer_size), "{name}");
        }
    }
}
