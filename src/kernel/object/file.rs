//! `_FILE_OBJECT`: how it is open and shared.

use super::{Description, Fact, Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::value::{Absent, Value};

layout! {
    /// `_FILE_OBJECT`: access and sharing.
    pub struct FileState: "_FILE_OBJECT" {
        /// `Flags`: `FO_…`.
        flags: u32 = "Flags",
        /// `ReadAccess`.
        read: u8 = "ReadAccess",
        /// `WriteAccess`.
        write: u8 = "WriteAccess",
        /// `DeleteAccess`.
        delete: u8 = "DeleteAccess",
        /// `SharedRead`.
        shared_read: u8 = "SharedRead",
        /// `SharedWrite`.
        shared_write: u8 = "SharedWrite",
        /// `SharedDelete`.
        shared_delete: u8 = "SharedDelete",
        /// `CurrentByteOffset`.
        position: u64 = "CurrentByteOffset",
    }
}

/// `FO_…` of the driver kit's `wdm.h`. Bit 2 was reused over time for nothing else.
const FLAGS: [(u32, &str); 28] = [
    (0x0000_0001, "FO_FILE_OPEN"),
    (0x0000_0002, "FO_SYNCHRONOUS_IO"),
    (0x0000_0004, "FO_ALERTABLE_IO"),
    (0x0000_0008, "FO_NO_INTERMEDIATE_BUFFERING"),
    (0x0000_0010, "FO_WRITE_THROUGH"),
    (0x0000_0020, "FO_SEQUENTIAL_ONLY"),
    (0x0000_0040, "FO_CACHE_SUPPORTED"),
    (0x0000_0080, "FO_NAMED_PIPE"),
    (0x0000_0100, "FO_STREAM_FILE"),
    (0x0000_0200, "FO_MAILSLOT"),
    (0x0000_0400, "FO_GENERATE_AUDIT_ON_CLOSE"),
    (0x0000_0800, "FO_DIRECT_DEVICE_OPEN"),
    (0x0000_1000, "FO_FILE_MODIFIED"),
    (0x0000_2000, "FO_FILE_SIZE_CHANGED"),
    (0x0000_4000, "FO_CLEANUP_COMPLETE"),
    (0x0000_8000, "FO_TEMPORARY_FILE"),
    (0x0001_0000, "FO_DELETE_ON_CLOSE"),
    (0x0002_0000, "FO_OPENED_CASE_SENSITIVE"),
    (0x0004_0000, "FO_HANDLE_CREATED"),
    (0x0008_0000, "FO_FILE_FAST_IO_READ"),
    (0x0010_0000, "FO_RANDOM_ACCESS"),
    (0x0020_0000, "FO_FILE_OPEN_CANCELLED"),
    (0x0040_0000, "FO_VOLUME_OPEN"),
    (0x0100_0000, "FO_REMOTE_ORIGIN"),
    (0x0200_0000, "FO_SKIP_COMPLETION_PORT"),
    (0x0400_0000, "FO_SKIP_SET_EVENT"),
    (0x0800_0000, "FO_SKIP_SET_FAST_IO"),
    (0x1000_0000, "FO_INDIRECT_WAIT_OBJECT"),
];

/// Device and path; how it is open.
pub(super) fn describe(objects: &mut Objects<'_>, body: Va) -> Description {
    let file = match &mut objects.files {
        Some(files) => files.read(body),
        None => Err(Absent::NoSymbol),
    };
    let file = match file {
        Ok(file) => file,
        Err(why) => return Description { name: Err(why), facts: Vec::new() },
    };
    // A device opened as a whole has no file name: the device is what it stands for.
    let name = match (&file.device, &file.name) {
        (Ok(device), Ok(name)) => Ok(device.clone().then("", name)),
        (Ok(device), Err(Absent::NotApplicable)) => Ok(device.clone()),
        (Err(_), Ok(name)) if !name.is_empty() => Ok(name.clone()),
        (Err(why), _) | (_, Err(why)) => Err(*why),
    };
    let mut facts: Facts = vec![
        ("device", file.device.clone().into()),
        ("file", file.name.clone().into()),
        ("delete_pending", file.delete_pending.into()),
    ];
    facts.extend(state(objects, body).unwrap_or_default());
    Description { name, facts }
}

fn state(objects: &Objects<'_>, body: Va) -> Value<Facts> {
    let layout = objects.kernel.layout::<FileState>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let flags = v.flags()?;
    let named = FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let open = [(v.read()?, "read"), (v.write()?, "write"), (v.delete()?, "delete")];
    let shared = [(v.shared_read()?, "read"), (v.shared_write()?, "write"), (v.shared_delete()?, "delete")];
    let names = |list: [(u8, &'static str); 3]| {
        Fact::Names(list.into_iter().filter(|(set, _)| *set != 0).map(|(_, name)| name).collect())
    };
    Ok(vec![
        ("flags", Fact::Names(named)),
        ("opened_for", names(open)),
        ("shared_for", names(shared)),
        ("position", v.position().into()),
    ])
}
