//! `forge reduce`: from a full table of a kernel to the part the forge keeps.
//!
//! Kept: every type whose name matches [`ROOTS`], everything these hold by value, and all symbols. A pointer's target that
//! is not kept becomes opaque, as a type of another file is in a real PDB. Where a source has no symbols or no identity
//! (it was made from headers), they are made up from a donor kernel of the same family, and the table says so.

use std::collections::{BTreeMap, BTreeSet};

use super::{Layouts, Ref};

/// Name patterns of the kept types: `*` at the end matches any rest.
pub const ROOTS: &[&str] = &[
    "_EPROCESS*",
    "_ETHREAD*",
    "_KPROCESS*",
    "_KTHREAD*",
    "_KLDR_*",
    "_LDR_*",
    "_HANDLE_*",
    "_OBJECT_*",
    "_OBJECT",
    "_TOKEN*",
    "_MMVAD*",
    "_MMPTE*",
    "_MM_AVL*",
    "_MMADDRESS_NODE*",
    "_RTL_AVL*",
    "_RTL_BALANCED*",
    "_CONTROL_AREA*",
    "_SUBSECTION*",
    "_MSUBSECTION*",
    "_SEGMENT*",
    "_SECTION*",
    "_FILE_OBJECT*",
    "_DEVICE_OBJECT*",
    "_DRIVER_*",
    "_VPB",
    "_CM_KEY_*",
    "_CM_NAME_*",
    "_CMHIVE*",
    "_HHIVE*",
    "_HBASE*",
    "_HMAP*",
    "_HBIN*",
    "_HCELL*",
    "_DUAL",
    "_CM_INDEX*",
    "_CM_VIEW*",
    "_CM_CACHED*",
    "_CHILD_LIST",
    "_CM_INTENT*",
    "_PEB*",
    "_TEB*",
    "_CURDIR",
    "_RTL_USER*",
    "_RTL_DRIVE*",
    "_HEAP*",
    "_SEGMENT_HEAP*",
    "_RTL_HP*",
    "_RTLP_HP*",
    "_EJOB*",
    "_MM_SESSION_SPACE*",
    "_PSP_SESSION*",
    "_KUSER_SHARED_DATA*",
    "_ALPC_PORT*",
    "_ALPC_COMM*",
    "_ALPC_HANDLE*",
    "_KEVENT*",
    "_KMUTANT*",
    "_KSEMAPHORE*",
    "_KTIMER*",
    "_KGATE",
    "_KQUEUE",
    "_KAPC*",
    "_KDPC*",
    "_KPRCB*",
    "_KPCR*",
    "_KTRAP_FRAME*",
    "_KEXCEPTION_FRAME*",
    "_KSWITCH_FRAME*",
    "_KSTART_FRAME*",
    "_CONTEXT*",
    "_ETIMER*",
    "_IO_COMPLETION*",
    "_EWOW64PROCESS*",
    "_WOW64*",
    "_POOL_*",
    "_EX_POOL*",
    "_EX_HEAP*",
    "_DBGKD_GET*",
    "_DBGKD_DEBUG*",
    "_KDDEBUGGER*",
    "_ETW_REG*",
    "_ETW_GUID*",
    "_SE_AUDIT*",
    "_SEP_*",
    "_SID*",
    "_LUID*",
    "_ACL",
    "_ACE*",
    "_SECURITY_DESC*",
    "_SECURITY_CLIENT*",
    "_SECURITY_SUBJECT*",
    "_UNICODE_STRING",
    "_STRING",
    "_EX_FAST_REF",
    "_EX_PUSH_LOCK",
    "_CLIENT_ID*",
    "_LIST_ENTRY*",
    "_SINGLE_LIST*",
    "_SLIST*",
    "_NT_TIB*",
    "_EXCEPTION_RE*",
    "_EXCEPTION_POINTERS",
    "_SHARED_CACHE_MAP*",
    "_VACB*",
    "_MMPFN*",
    "_MMPAGING_FILE*",
    "_MMSUPPORT*",
    "_MI_HARDWARE_STATE",
    "_MI_SYSTEM_INFORMATION",
    "_MI_VAD_*",
    "_MI_SECTION_*",
    "_MI_CONTROL*",
    "_MI_ACTIVE*",
    "_MMWSL*",
    "_PS_*",
    "_PSP_*",
    "_MMSECTION*",
    "_MMSUBSECTION*",
    "_UNLOADED*",
    "_GENERIC_MAPPING",
    "_LARGE_INTEGER",
    "_ULARGE_INTEGER",
    "_PRIVATE_CACHE*",
    "_IMAGE_*",
    "_KSYSTEM_TIME",
    "_EXHANDLE",
    "_PROCESS_*",
    "_THREAD_*",
    "_TERMINATION*",
    "_KWAIT*",
    "_KSPIN*",
    "_ERESOURCE*",
    "_AUTHZ*",
    "_DEVICE_MAP",
    "_KSERVICE*",
    "_KSYSTEM_SERVICE*",
    "_CALLBACK*",
    "_EX_CALLBACK*",
    "_KPROCESSOR_STATE",
    "_KSPECIAL*",
    "_FAST_MUTEX",
    "_WNF_STATE*",
    "_RTL_BITMAP*",
    "_RTL_CRITICAL*",
    "_RTL_RB*",
    "_RTL_ATOM*",
    "_RTL_SRWLOCK",
    "_RTL_INVERTED*",
    "_INVERTED*",
    "_SYSTEM_DLL*",
    "_EPROCESS_QUOTA*",
    "_ACTIVATION*",
    "_KERNEL_STACK*",
    "_IRP",
    "_IO_STACK*",
    "_IO_TIMER",
    "_IO_STATUS*",
    "_MDL",
    "_DISPATCHER*",
    "_KLOCK*",
    "_KNODE",
    "_KSHARED*",
    "_INITIAL_PRIVILEGE*",
    "_PRIVILEGE*",
    "_EXT_*",
    "_HARDWARE_PTE*",
    "_LPCP*",
    "_PORT_MESSAGE*",
    "_KALPC*",
];

fn is_root(name: &str) -> bool {
    let owner = name.split('.').next().unwrap_or(name);
    ROOTS.iter().any(|r| r.strip_suffix('*').map_or(owner == *r, |prefix| owner.starts_with(prefix)))
}

/// Too big for what it tells: structures that only a pattern's width, or a member, lets in.
const NOT: &[&str] = &[
    "_LOADER_PARAMETER",
    "_HEAP_DEBUGGING",
    "_IRP",
    "_IO_STACK",
    "_FILE_INFORMATION",
    "_TEB64",
    "_PEB64",
    "_KALPC",
    "_PROCESSOR_POWER",
    "_SYNCH_COUNTERS",
    "_PROCESS_ENERGY",
    "_MI_SYSTEM_VA",
    "_MI_SYSTEM_PTE",
    "_MI_VISIBLE",
    "_MI_SECTION_STATE",
    "_CM_INTENT",
    "_HCELL",
];

/// Globals that XP does not have, whatever the donor says.
const AFTER_XP: &[&str] =
    &["ObTypeIndexTable", "ObpInfoMaskToOffset", "KdpDataBlockEncoded", "ObHeaderCookie", "MiState"];

fn named(ty: &Ref) -> Option<&str> {
    match ty {
        Ref::Named(name) => Some(name),
        Ref::Array(inner, _) => named(inner),
        _ => None,
    }
}

/// Names of the types and enumerations to keep.
fn kept(table: &Layouts) -> BTreeSet<String> {
    let mut todo: Vec<String> = table.types.keys().filter(|n| is_root(n)).cloned().collect();
    let mut kept = BTreeSet::new();
    while let Some(name) = todo.pop() {
        if NOT.iter().any(|n| name.starts_with(n)) || !kept.insert(name.clone()) {
            continue;
        }
        if let Some(ty) = table.types.get(&name) {
            todo.extend(ty.fields.iter().filter_map(|f| named(&f.ty)).map(str::to_string));
        }
    }
    kept
}

/// The reduced text of `full`. Where it has no symbols, those of `donor` are moved; where it has no enumerations, those it
/// names are taken from `enums`.
pub fn reduce(full: &str, donor: Option<&str>, enums: Option<&str>) -> String {
    let table = Layouts::parse(full);
    let kept = kept(&table);
    let mut out = String::new();
    let mut keep = false;
    let made_up = table.guid.is_empty();
    for line in full.lines() {
        let mut words = line.split(' ');
        match words.next() {
            Some("#") => {
                let header = line.starts_with("# kernel") && made_up;
                // Both architectures have kernels of one version; no two files have one identity.
                let of = if table.arch == "x64" { table.version.clone() } else { format!("{}/x86", table.version) };
                let line = if header { identity(line, &of) } else { line.to_string() };
                if ["# kernel", "# source", "# note"].iter().any(|p| line.starts_with(p)) {
                    out += &format!("{line}\n");
                }
                continue;
            }
            Some("") => {}
            Some("symbol") => keep = true,
            _ => keep = words.next().is_some_and(|name| kept.contains(name)),
        }
        if keep {
            out += &format!("{line}\n");
        }
    }
    if let Some(enums) = enums.filter(|_| table.enums.is_empty()) {
        let source = Layouts::parse(enums).version;
        let lines =
            enums.lines().filter(|l| l.starts_with("enum ") && l.split(' ').nth(1).is_some_and(|n| kept.contains(n)));
        out += &lines.map(|l| format!("{l}\n")).collect::<String>();
        let first = out.find('\n').map_or(0, |i| i + 1);
        out.insert_str(first, &format!("# made-up enumerations: those of {source}\n"));
    }
    if let Some(donor) = donor.map(Layouts::parse).filter(|_| table.symbols.is_empty()) {
        let note = format!("# made-up PDB identity, and symbol addresses: those of {}, moved\n", donor.version);
        let first = out.find('\n').map_or(0, |i| i + 1);
        out.insert_str(first, &note);
        for (name, rva) in moved(&table, &donor) {
            out += &format!("symbol {name} {rva:#x}\n");
        }
    }
    out
}

/// The donor's globals for a kernel that has none. Moved by whole pages, so that no address of the donor holds by chance;
/// alignment and order stay.
pub(super) fn moved(table: &Layouts, donor: &Layouts) -> BTreeMap<String, u64> {
    let shift = 0x3000 + u64::from(hash(&table.version) % 7) * 0x1000;
    let old = table.types.get("_OBJECT_HEADER").is_some_and(|t| !t.fields.iter().any(|f| f.name == "InfoMask"));
    let kept = donor.symbols.iter().filter(|(n, _)| !(old && AFTER_XP.contains(&n.as_str())));
    kept.map(|(name, rva)| (name.clone(), rva + shift)).collect()
}

/// FNV-1a, for numbers that must be the same on every run and stand for nothing.
fn hash(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193))
}

fn identity(line: &str, version: &str) -> String {
    let guid: String = (0..4).map(|i| format!("{:08X}", hash(&format!("{version}/{i}")))).collect();
    let words: Vec<&str> = line.split(' ').collect();
    // Kernels for one processor without PAE have the plain name.
    let name = if words[words.len() - 2] == "-" { "ntoskrnl.pdb" } else { words[words.len() - 2] };
    format!("{} {name} {guid}+1", words[..words.len() - 2].join(" "))
}
