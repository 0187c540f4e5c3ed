//! Access rights by name: what a handle lets its owner do.
//!
//! Specific rights (bits 0 to 15) mean something else for each type. Names and values are those of Microsoft's public
//! headers: `winnt.h` (processes, threads, tokens, files, keys, sections, jobs, timers, transactions, standard and generic
//! rights), `winuser.h` (desktops, window stations), `evntcons.h` and `wmistr.h` (ETW), `dcomptypes.h` (composition),
//! `d3dkmthk.h` and `d3dukmdt.h` (shared graphics objects), `ntifs.h` and `wdm.h` of the driver kit (directories, symbolic
//! links, object types), `fltKernel.h` (filter ports), and `ntexapi.h`, `ntpsapi.h`, `ntlpcapi.h`, `ntdbg.h`, `ntioapi.h` as
//! published by the phnt project (event and mutant queries, thread alerts, worker factories, debug objects, ports, wait
//! completion packets). Callback objects: `ex/callback.c` of the Windows Research Kernel.
//!
//! No such header names specific rights of event pairs (`EVENT_PAIR_ALL_ACCESS` is standard rights alone), reserve objects,
//! power requests, counter sets (`PcwObject`), activity references, silo contexts, `RawInputManager`, `CoreMessaging`,
//! `ActivationObject`, `EnergyTracker`, `EtwSessionDemuxEntry`, `CoverageSampler`, `DmaAdapter`, `Adapter`, `Controller` and
//! `Driver`: their bits stay numbers.

/// A right's bit and name.
type Right = (u32, &'static str);

/// Rights that every type has.
const STANDARD: &[Right] = &[
    (0x0001_0000, "DELETE"),
    (0x0002_0000, "READ_CONTROL"),
    (0x0004_0000, "WRITE_DAC"),
    (0x0008_0000, "WRITE_OWNER"),
    (0x0010_0000, "SYNCHRONIZE"),
    (0x0100_0000, "ACCESS_SYSTEM_SECURITY"),
    (0x0200_0000, "MAXIMUM_ALLOWED"),
    (0x1000_0000, "GENERIC_ALL"),
    (0x2000_0000, "GENERIC_EXECUTE"),
    (0x4000_0000, "GENERIC_WRITE"),
    (0x8000_0000, "GENERIC_READ"),
];

const PROCESS: &[Right] = &[
    (0x0001, "PROCESS_TERMINATE"),
    (0x0002, "PROCESS_CREATE_THREAD"),
    (0x0004, "PROCESS_SET_SESSIONID"),
    (0x0008, "PROCESS_VM_OPERATION"),
    (0x0010, "PROCESS_VM_READ"),
    (0x0020, "PROCESS_VM_WRITE"),
    (0x0040, "PROCESS_DUP_HANDLE"),
    (0x0080, "PROCESS_CREATE_PROCESS"),
    (0x0100, "PROCESS_SET_QUOTA"),
    (0x0200, "PROCESS_SET_INFORMATION"),
    (0x0400, "PROCESS_QUERY_INFORMATION"),
    (0x0800, "PROCESS_SUSPEND_RESUME"),
    (0x1000, "PROCESS_QUERY_LIMITED_INFORMATION"),
    (0x2000, "PROCESS_SET_LIMITED_INFORMATION"),
];
const THREAD: &[Right] = &[
    (0x0001, "THREAD_TERMINATE"),
    (0x0002, "THREAD_SUSPEND_RESUME"),
    (0x0004, "THREAD_ALERT"),
    (0x0008, "THREAD_GET_CONTEXT"),
    (0x0010, "THREAD_SET_CONTEXT"),
    (0x0020, "THREAD_SET_INFORMATION"),
    (0x0040, "THREAD_QUERY_INFORMATION"),
    (0x0080, "THREAD_SET_THREAD_TOKEN"),
    (0x0100, "THREAD_IMPERSONATE"),
    (0x0200, "THREAD_DIRECT_IMPERSONATION"),
    (0x0400, "THREAD_SET_LIMITED_INFORMATION"),
    (0x0800, "THREAD_QUERY_LIMITED_INFORMATION"),
    (0x1000, "THREAD_RESUME"),
];
const FILE: &[Right] = &[
    (0x0001, "FILE_READ_DATA"),
    (0x0002, "FILE_WRITE_DATA"),
    (0x0004, "FILE_APPEND_DATA"),
    (0x0008, "FILE_READ_EA"),
    (0x0010, "FILE_WRITE_EA"),
    (0x0020, "FILE_EXECUTE"),
    (0x0040, "FILE_DELETE_CHILD"),
    (0x0080, "FILE_READ_ATTRIBUTES"),
    (0x0100, "FILE_WRITE_ATTRIBUTES"),
];
const KEY: &[Right] = &[
    (0x0001, "KEY_QUERY_VALUE"),
    (0x0002, "KEY_SET_VALUE"),
    (0x0004, "KEY_CREATE_SUB_KEY"),
    (0x0008, "KEY_ENUMERATE_SUB_KEYS"),
    (0x0010, "KEY_NOTIFY"),
    (0x0020, "KEY_CREATE_LINK"),
    (0x0100, "KEY_WOW64_64KEY"),
    (0x0200, "KEY_WOW64_32KEY"),
];
const TOKEN: &[Right] = &[
    (0x0001, "TOKEN_ASSIGN_PRIMARY"),
    (0x0002, "TOKEN_DUPLICATE"),
    (0x0004, "TOKEN_IMPERSONATE"),
    (0x0008, "TOKEN_QUERY"),
    (0x0010, "TOKEN_QUERY_SOURCE"),
    (0x0020, "TOKEN_ADJUST_PRIVILEGES"),
    (0x0040, "TOKEN_ADJUST_GROUPS"),
    (0x0080, "TOKEN_ADJUST_DEFAULT"),
    (0x0100, "TOKEN_ADJUST_SESSIONID"),
];
const EVENT: &[Right] = &[(1, "EVENT_QUERY_STATE"), (2, "EVENT_MODIFY_STATE")];
const MUTANT: &[Right] = &[(1, "MUTANT_QUERY_STATE")];
const SEMAPHORE: &[Right] = &[(1, "SEMAPHORE_QUERY_STATE"), (2, "SEMAPHORE_MODIFY_STATE")];
const TIMER: &[Right] = &[(1, "TIMER_QUERY_STATE"), (2, "TIMER_MODIFY_STATE")];
const SECTION: &[Right] = &[
    (0x0001, "SECTION_QUERY"),
    (0x0002, "SECTION_MAP_WRITE"),
    (0x0004, "SECTION_MAP_READ"),
    (0x0008, "SECTION_MAP_EXECUTE"),
    (0x0010, "SECTION_EXTEND_SIZE"),
    (0x0020, "SECTION_MAP_EXECUTE_EXPLICIT"),
];
const DIRECTORY: &[Right] = &[
    (1, "DIRECTORY_QUERY"),
    (2, "DIRECTORY_TRAVERSE"),
    (4, "DIRECTORY_CREATE_OBJECT"),
    (8, "DIRECTORY_CREATE_SUBDIRECTORY"),
];
const SYMBOLIC_LINK: &[Right] = &[(1, "SYMBOLIC_LINK_QUERY"), (2, "SYMBOLIC_LINK_SET")];
const JOB: &[Right] = &[
    (0x0001, "JOB_OBJECT_ASSIGN_PROCESS"),
    (0x0002, "JOB_OBJECT_SET_ATTRIBUTES"),
    (0x0004, "JOB_OBJECT_QUERY"),
    (0x0008, "JOB_OBJECT_TERMINATE"),
    (0x0010, "JOB_OBJECT_SET_SECURITY_ATTRIBUTES"),
    (0x0020, "JOB_OBJECT_IMPERSONATE"),
];
const IO_COMPLETION: &[Right] = &[(1, "IO_COMPLETION_QUERY_STATE"), (2, "IO_COMPLETION_MODIFY_STATE")];
const PORT: &[Right] = &[(1, "PORT_CONNECT")];
const DESKTOP: &[Right] = &[
    (0x0001, "DESKTOP_READOBJECTS"),
    (0x0002, "DESKTOP_CREATEWINDOW"),
    (0x0004, "DESKTOP_CREATEMENU"),
    (0x0008, "DESKTOP_HOOKCONTROL"),
    (0x0010, "DESKTOP_JOURNALRECORD"),
    (0x0020, "DESKTOP_JOURNALPLAYBACK"),
    (0x0040, "DESKTOP_ENUMERATE"),
    (0x0080, "DESKTOP_WRITEOBJECTS"),
    (0x0100, "DESKTOP_SWITCHDESKTOP"),
];
const WINDOW_STATION: &[Right] = &[
    (0x0001, "WINSTA_ENUMDESKTOPS"),
    (0x0002, "WINSTA_READATTRIBUTES"),
    (0x0004, "WINSTA_ACCESSCLIPBOARD"),
    (0x0008, "WINSTA_CREATEDESKTOP"),
    (0x0010, "WINSTA_WRITEATTRIBUTES"),
    (0x0020, "WINSTA_ACCESSGLOBALATOMS"),
    (0x0040, "WINSTA_EXITWINDOWS"),
    (0x0100, "WINSTA_ENUMERATE"),
    (0x0200, "WINSTA_READSCREEN"),
];
const ETW: &[Right] = &[
    (0x0001, "WMIGUID_QUERY"),
    (0x0002, "WMIGUID_SET"),
    (0x0004, "WMIGUID_NOTIFICATION"),
    (0x0008, "WMIGUID_READ_DESCRIPTION"),
    (0x0010, "WMIGUID_EXECUTE"),
    (0x0020, "TRACELOG_CREATE_REALTIME"),
    (0x0040, "TRACELOG_CREATE_ONDISK"),
    (0x0080, "TRACELOG_GUID_ENABLE"),
    (0x0100, "TRACELOG_ACCESS_KERNEL_LOGGER"),
    (0x0200, "TRACELOG_LOG_EVENT"),
    (0x0400, "TRACELOG_ACCESS_REALTIME"),
    (0x0800, "TRACELOG_REGISTER_GUIDS"),
    (0x1000, "TRACELOG_JOIN_GROUP"),
];
const WORKER_FACTORY: &[Right] = &[
    (0x0001, "WORKER_FACTORY_RELEASE_WORKER"),
    (0x0002, "WORKER_FACTORY_WAIT"),
    (0x0004, "WORKER_FACTORY_SET_INFORMATION"),
    (0x0008, "WORKER_FACTORY_QUERY_INFORMATION"),
    (0x0010, "WORKER_FACTORY_READY_WORKER"),
    (0x0020, "WORKER_FACTORY_SHUTDOWN"),
];
const KEYED_EVENT: &[Right] = &[(1, "KEYEDEVENT_WAIT"), (2, "KEYEDEVENT_WAKE")];
const DEBUG_OBJECT: &[Right] = &[
    (1, "DEBUG_READ_EVENT"),
    (2, "DEBUG_PROCESS_ASSIGN"),
    (4, "DEBUG_SET_INFORMATION"),
    (8, "DEBUG_QUERY_INFORMATION"),
];
const SESSION: &[Right] = &[(1, "SESSION_QUERY_ACCESS"), (2, "SESSION_MODIFY_ACCESS")];
const TRANSACTION: &[Right] = &[
    (0x0001, "TRANSACTION_QUERY_INFORMATION"),
    (0x0002, "TRANSACTION_SET_INFORMATION"),
    (0x0004, "TRANSACTION_ENLIST"),
    (0x0008, "TRANSACTION_COMMIT"),
    (0x0010, "TRANSACTION_ROLLBACK"),
    (0x0020, "TRANSACTION_PROPAGATE"),
    (0x0040, "TRANSACTION_RIGHT_RESERVED1"),
];
const TRANSACTION_MANAGER: &[Right] = &[
    (0x0001, "TRANSACTIONMANAGER_QUERY_INFORMATION"),
    (0x0002, "TRANSACTIONMANAGER_SET_INFORMATION"),
    (0x0004, "TRANSACTIONMANAGER_RECOVER"),
    (0x0008, "TRANSACTIONMANAGER_RENAME"),
    (0x0010, "TRANSACTIONMANAGER_CREATE_RM"),
    (0x0020, "TRANSACTIONMANAGER_BIND_TRANSACTION"),
];
const RESOURCE_MANAGER: &[Right] = &[
    (0x0001, "RESOURCEMANAGER_QUERY_INFORMATION"),
    (0x0002, "RESOURCEMANAGER_SET_INFORMATION"),
    (0x0004, "RESOURCEMANAGER_RECOVER"),
    (0x0008, "RESOURCEMANAGER_ENLIST"),
    (0x0010, "RESOURCEMANAGER_GET_NOTIFICATION"),
    (0x0020, "RESOURCEMANAGER_REGISTER_PROTOCOL"),
    (0x0040, "RESOURCEMANAGER_COMPLETE_PROPAGATION"),
];
const ENLISTMENT: &[Right] = &[
    (0x0001, "ENLISTMENT_QUERY_INFORMATION"),
    (0x0002, "ENLISTMENT_SET_INFORMATION"),
    (0x0004, "ENLISTMENT_RECOVER"),
    (0x0008, "ENLISTMENT_SUBORDINATE_RIGHTS"),
    (0x0010, "ENLISTMENT_SUPERIOR_RIGHTS"),
];
const TYPE: &[Right] = &[(1, "OBJECT_TYPE_CREATE")];
const PROFILE: &[Right] = &[(1, "PROFILE_CONTROL")];
/// Both ends: "minifilter driver communication port objects" (`FltBuildDefaultSecurityDescriptor`).
const FILTER_PORT: &[Right] = &[(1, "FLT_PORT_CONNECT")];
const CALLBACK: &[Right] = &[(1, "CALLBACK_MODIFY_STATE")];
const WAIT_COMPLETION_PACKET: &[Right] = &[(1, "WAIT_COMPLETION_PACKET_SET_STATE")];
/// `COMPOSITIONSURFACE_READ` and `_WRITE` before Windows 10, with the same values (`DCompositionCreateSurfaceHandle`).
const COMPOSITION: &[Right] = &[(1, "COMPOSITIONOBJECT_READ"), (2, "COMPOSITIONOBJECT_WRITE")];
/// `D3DKMTShareObjects`: for shared resources …
const SHARED_RESOURCE: &[Right] = &[(1, "SHARED_ALLOCATION_WRITE")];
/// … and for synchronization objects.
const SHARED_SYNC: &[Right] = &[(1, "D3DDDI_SYNC_OBJECT_WAIT"), (2, "D3DDDI_SYNC_OBJECT_SIGNAL")];
const PARTITION: &[Right] = &[(1, "MEMORY_PARTITION_QUERY_ACCESS"), (2, "MEMORY_PARTITION_MODIFY_ACCESS")];

/// Windows 11's objects that freeze a process or a thread (public headers of the native interface).
const PROCESS_STATE_CHANGE: &[Right] = &[(1, "PROCESS_STATE_CHANGE_STATE")];
const THREAD_STATE_CHANGE: &[Right] = &[(1, "THREAD_STATE_CHANGE_STATE")];

/// The specific rights of a type by its name.
fn specific(kind: &str) -> &'static [Right] {
    match kind {
        "Process" => PROCESS,
        "Thread" => THREAD,
        "File" | "Device" => FILE,
        "Key" => KEY,
        "Token" => TOKEN,
        "Event" => EVENT,
        "Mutant" => MUTANT,
        "Semaphore" => SEMAPHORE,
        "Timer" | "IRTimer" => TIMER,
        "Section" => SECTION,
        "Directory" => DIRECTORY,
        "SymbolicLink" => SYMBOLIC_LINK,
        "Job" => JOB,
        "IoCompletion" => IO_COMPLETION,
        "ALPC Port" | "Port" | "WaitablePort" => PORT,
        "Desktop" => DESKTOP,
        "WindowStation" => WINDOW_STATION,
        "EtwRegistration" | "EtwConsumer" | "WmiGuid" => ETW,
        "TpWorkerFactory" => WORKER_FACTORY,
        "KeyedEvent" => KEYED_EVENT,
        "DebugObject" => DEBUG_OBJECT,
        "Session" => SESSION,
        "TmTx" | "RegistryTransaction" => TRANSACTION,
        "TmTm" => TRANSACTION_MANAGER,
        "TmRm" => RESOURCE_MANAGER,
        "TmEn" => ENLISTMENT,
        "Type" => TYPE,
        "Profile" => PROFILE,
        "FilterConnectionPort" | "FilterCommunicationPort" => FILTER_PORT,
        "Callback" => CALLBACK,
        "WaitCompletionPacket" => WAIT_COMPLETION_PACKET,
        "Composition" | "CompositionSurface" => COMPOSITION,
        "DxgkSharedResource" => SHARED_RESOURCE,
        "DxgkSharedSyncObject" => SHARED_SYNC,
        "Partition" => PARTITION,
        "ProcessStateChange" => PROCESS_STATE_CHANGE,
        "ThreadStateChange" => THREAD_STATE_CHANGE,
        _ => &[],
    }
}

/// The names of the rights in a mask, and the bits that have none for this type.
#[must_use]
pub fn names(kind: &str, access: u32) -> (Vec<&'static str>, u32) {
    let mut out = Vec::with_capacity(access.count_ones() as usize);
    let mut left = access;
    for (bit, name) in specific(kind).iter().chain(STANDARD) {
        if access & bit != 0 {
            out.push(*name);
            left &= !bit;
        }
    }
    (out, left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_a_type() {
        // PROCESS_ALL_ACCESS from Vista on is 0x1FFFFF: all standard rights and sixteen specific ones, two of them unnamed.
        let (all, left) = names("Process", 0x001f_ffff);
        assert_eq!(all.len(), 14 + 5);
        assert_eq!(left, 0xc000);
        assert_eq!(
            names("File", 0x0012_019f).0.join("|"),
            "FILE_READ_DATA|FILE_WRITE_DATA|FILE_APPEND_DATA|FILE_READ_EA|FILE_WRITE_EA|FILE_READ_ATTRIBUTES|FILE_WRITE_ATTRIBUTES|READ_CONTROL|SYNCHRONIZE"
        );
        assert_eq!(
            names("Key", 0x0002_0019).0,
            ["KEY_QUERY_VALUE", "KEY_ENUMERATE_SUB_KEYS", "KEY_NOTIFY", "READ_CONTROL"]
        );
        assert_eq!(names("Nonesuch", 0x3), (vec![], 3));
    }

    #[test]
    fn rights_of_rarely_used_types() {
        // WAIT_COMPLETION_PACKET_ALL_ACCESS, COMPOSITIONOBJECT_ALL_ACCESS, FLT_PORT_ALL_ACCESS, CALLBACK_ALL_ACCESS,
        // SHARED_ALLOCATION_ALL_ACCESS and D3DDDI_SYNC_OBJECT_ALL_ACCESS leave no bit without a name.
        for (kind, all, specific) in [
            ("WaitCompletionPacket", 0x000f_0001, "WAIT_COMPLETION_PACKET_SET_STATE"),
            ("Composition", 0x3, "COMPOSITIONOBJECT_READ|COMPOSITIONOBJECT_WRITE"),
            ("FilterCommunicationPort", 0x001f_0001, "FLT_PORT_CONNECT"),
            ("Callback", 0x001f_0001, "CALLBACK_MODIFY_STATE"),
            ("DxgkSharedResource", 0x000f_0001, "SHARED_ALLOCATION_WRITE"),
            ("DxgkSharedSyncObject", 0x001f_0003, "D3DDDI_SYNC_OBJECT_WAIT|D3DDDI_SYNC_OBJECT_SIGNAL"),
        ] {
            let (found, left) = names(kind, all);
            assert_eq!(left, 0, "{kind}");
            assert!(found.join("|").starts_with(specific), "{kind}: {found:?}");
        }
        // An event pair has standard rights alone.
        assert_eq!(names("EventPair", 0x001f_0001), (names("EventPair", 0x001f_0000).0, 1));
    }

    #[test]
    fn no_right_has_two_names() {
        let kinds = [
            "Process",
            "Thread",
            "File",
            "Key",
            "Token",
            "Event",
            "Mutant",
            "Semaphore",
            "Timer",
            "Section",
            "Directory",
            "SymbolicLink",
            "Job",
            "IoCompletion",
            "ALPC Port",
            "Desktop",
            "WindowStation",
            "EtwRegistration",
            "TpWorkerFactory",
            "KeyedEvent",
            "DebugObject",
            "Session",
            "TmTx",
            "TmTm",
            "TmRm",
            "TmEn",
            "Type",
            "Profile",
            "FilterConnectionPort",
            "FilterCommunicationPort",
            "Callback",
            "WaitCompletionPacket",
            "Composition",
            "CompositionSurface",
            "DxgkSharedResource",
            "DxgkSharedSyncObject",
            "Partition",
        ];
        for kind in kinds {
            let rights = specific(kind);
            assert!(!rights.is_empty(), "{kind}");
            assert!(rights.is_sorted_by(|a, b| a.0 < b.0), "{kind}");
            assert!(rights.iter().all(|(bit, _)| bit.is_power_of_two() && *bit <= 0xffff), "{kind}");
        }
    }
}
