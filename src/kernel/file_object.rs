//! `_FILE_OBJECT`: the name a file was opened by, and the device it lies on.

use crate::addr::Va;
use crate::bytes::Place;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Here, Layout, LayoutError};
use crate::utf16::Text;
use crate::value::{Absent, Value};

layout! {
    /// `_FILE_OBJECT`.
    pub struct FileLayout: "_FILE_OBJECT" {
        /// `IO_TYPE_FILE` (5): what tells a file object from other memory.
        kind: u16 = "Type",
        /// The device.
        device: Va = "DeviceObject",
        /// The file it was opened relative to.
        related: Va = "RelatedFileObject",
        /// Will be deleted when closed.
        delete_pending: u8 = "DeletePending",
        /// `FO_…` flags.
        flags: u32 = "Flags",
        /// Path on the device.
        name: Counted = "FileName",
        /// Its sections: data, image, cache map.
        sections: Va = "SectionObjectPointer",
    }
}
layout! {
    /// The header before every object.
    pub struct ObjectHeader: "_OBJECT_HEADER" {
        /// Which optional headers lie before it, since 7.
        info_mask: u8 = "InfoMask",
        /// Bytes back to the name, before 7; 0 for none.
        name_offset: u8 = "NameInfoOffset",
        /// Where the object itself starts.
        body: Here = "Body",
    }
}
layout! {
    /// The optional header with the name.
    pub struct NameInfo: "_OBJECT_HEADER_NAME_INFO" {
        /// The directory it is named in.
        directory: Va = "Directory",
        /// Its name in there.
        name: Counted = "Name",
    }
}

/// The object type number of a file (`IO_TYPE_FILE` of the Windows driver kit's `wdm.h`).
pub const IO_TYPE_FILE: u16 = 5;

/// One file object, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The object's address.
    pub object: Va,
    /// The path as the object has it: `\Windows\System32\ntdll.dll`.
    pub name: Value<Text>,
    /// The device: `\Device\HarddiskVolume3`.
    pub device: Value<Text>,
    /// Whether it will be deleted when closed.
    pub delete_pending: Value<bool>,
    /// Where it stands.
    pub place: Place,
}

impl File {
    /// Device and name together, as the kernel writes image paths.
    ///
    /// # Errors
    /// Why either is missing.
    pub fn path(&self) -> Value<Text> {
        Ok(self.device.clone()?.then("", self.name.as_ref().map_err(|e| *e)?))
    }
}

/// Reads file objects. Keeps the names of the devices met, of which there are few.
#[derive(Debug)]
pub struct Files<'k> {
    space: Space<'k>,
    file: &'k FileLayout,
    header: &'k ObjectHeader,
    name: &'k NameInfo,
    /// Sizes of the creator's and the name's header, which lie in this order before the object's.
    creator_size: Option<u32>,
    name_size: Option<u32>,
    devices: rustc_hash::FxHashMap<Va, Value<Text>>,
}

/// Files opened relative to files: more than the kernel ever nests.
const MOST_RELATED: usize = 16;

impl<'k> Files<'k> {
    /// A reader with a view of kernel memory of its own.
    ///
    /// # Errors
    /// The symbols lack a type.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        let types = &kernel.symbols.types;
        Ok(Self {
            space: kernel.space(),
            file: kernel.layout()?,
            header: kernel.layout()?,
            name: kernel.layout()?,
            creator_size: types.size_of("_OBJECT_HEADER_CREATOR_INFO"),
            name_size: types.size_of(NameInfo::TYPE),
            devices: rustc_hash::FxHashMap::default(),
        })
    }
    /// A file object.
    ///
    /// # Errors
    /// Unreadable, or no file object.
    pub fn read(&mut self, object: Va) -> Value<File> {
        let v = self.space.view(self.file, object);
        if v.kind()? != IO_TYPE_FILE {
            return Err(Absent::Implausible);
        }
        let mut name = v.name().and_then(|n| self.space.text(n));
        // Opened relative to another file: that one's path comes first.
        let mut related = v.related();
        for _ in 0..MOST_RELATED {
            let (Ok(text), Ok(above)) = (&name, related) else { break };
            if above.is_null() || text.starts_with('\\') {
                break;
            }
            let up = self.space.view(self.file, above);
            if up.kind()? != IO_TYPE_FILE {
                name = Err(Absent::Implausible);
                break;
            }
            let prefix = up.name().and_then(|n| self.space.text(n));
            name = prefix.map(|p| {
                let between = if p.is_empty() || p.ends_with('\\') { "" } else { "\\" };
                p.then(between, text)
            });
            related = up.related();
        }
        let device = v.device().and_then(|d| self.device(d));
        Ok(File { object, name, device, delete_pending: v.delete_pending().map(|d| d != 0), place: v.place() })
    }
    /// The name of a device object, with its directory's: devices are named in `\Device`.
    fn device(&mut self, device: Va) -> Value<Text> {
        if device.is_null() {
            return Err(Absent::NotApplicable);
        }
        if let Some(known) = self.devices.get(&device) {
            return known.clone();
        }
        let name = self.object_name(device).map(|n| Text::from("\\Device").then("\\", &n));
        self.devices.insert(device, name.clone());
        name
    }
    /// The name in an object's header.
    ///
    /// # Errors
    /// Unnamed, or unreadable.
    pub fn object_name(&self, object: Va) -> Value<Text> {
        let body = self.header.field("body")?.offset;
        let header = object.sub(body.into());
        let v = self.space.view(self.header, header);
        // Since 7 a mask tells which headers there are: bit 0 the creator's, nearest to the object's, then bit 1 the name's.
        let back = match v.info_mask() {
            Ok(mask) if mask & 2 == 0 => return Err(Absent::NotApplicable),
            Ok(mask) => {
                let creator = if mask & 1 == 0 { 0 } else { self.creator_size.ok_or(Absent::NoSymbol)? };
                self.name_size.ok_or(Absent::NoSymbol)?.saturating_add(creator)
            }
            Err(Absent::NotInBuild) => match v.name_offset()? {
                0 => return Err(Absent::NotApplicable),
                back => back.into(),
            },
            Err(why) => return Err(why),
        };
        self.space.text(self.space.view(self.name, header.sub(back.into())).name()?)
    }
}
