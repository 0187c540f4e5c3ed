//! Kernel objects with their pool header, optional headers and object header.
//!
//! Before the object header stand the optional ones that its `InfoMask` names, the lowest bit nearest to it; how far each is
//! away the kernel keeps in `ObpInfoMaskToOffset`. The order of bits is that of the `_OBJECT_HEADER_*_INFO` types.

use super::{Machine, PoolKind};

/// Object types of Windows XP; they have no indexes in objects there.
pub const TYPES_5: &str = "Type Directory SymbolicLink Token Process Thread Job DebugObject Event EventPair Mutant Callback Semaphore Timer \
    Profile KeyedEvent WindowStation Desktop Section Key Port WaitablePort Adapter Controller Device Driver IoCompletion File WmiGuid";

/// Object types of Windows 7 in the order of their indexes, from 2.
pub const TYPES_7: &str = "Type Directory SymbolicLink Token Job Process Thread UserApcReserve IoCompletionReserve DebugObject Event EventPair Mutant \
    Callback Semaphore Timer Profile KeyedEvent WindowStation Desktop TpWorkerFactory Adapter Controller Device Driver IoCompletion File TmTm \
    TmTx TmRm TmEn Section Session Key ALPC_Port PowerRequest WmiGuid EtwRegistration EtwConsumer FilterConnectionPort FilterCommunicationPort PcwObject";

/// Of Windows 8.1.
pub const TYPES_8: &str = "Type Directory SymbolicLink Token Job Process Thread UserApcReserve IoCompletionReserve DebugObject Event Mutant Callback \
    Semaphore Timer IRTimer Profile KeyedEvent WindowStation Desktop CompositionSurface TpWorkerFactory Adapter Controller Device Driver \
    IoCompletion WaitCompletionPacket File TmTm TmTx TmRm TmEn Section Session Key ALPC_Port PowerRequest WmiGuid EtwRegistration EtwConsumer \
    FilterConnectionPort FilterCommunicationPort PcwObject";

/// Of Windows 10 and 11 (the order of 2004; other releases differ by a few).
pub const TYPES_10: &str = "Type Directory SymbolicLink Token Job Process Thread Partition UserApcReserve IoCompletionReserve ActivityReference \
    PsSiloContextPaged PsSiloContextNonPaged DebugObject Event Mutant Callback Semaphore Timer IRTimer Profile KeyedEvent WindowStation \
    Desktop Composition RawInputManager CoreMessaging ActivationObject TpWorkerFactory Adapter Controller Device Driver IoCompletion \
    WaitCompletionPacket File TmTm TmTx TmRm TmEn Section Session Key RegistryTransaction ALPC_Port EnergyTracker PowerRequest WmiGuid \
    EtwRegistration EtwSessionDemuxEntry EtwConsumer CoverageSampler DmaAdapter PcwObject FilterConnectionPort FilterCommunicationPort";

/// What stands around an object's body.
#[derive(Debug, Clone, Default)]
pub struct Header {
    /// Path in the object namespace.
    pub name: Option<String>,
    /// Open handles.
    pub handles: u64,
    /// References beyond those of the handles.
    pub pointers: u64,
    /// Has a quota header (processes, threads, files ...).
    pub quota: bool,
    /// Has a handle-count header.
    pub handle_info: bool,
    /// Has a creator header.
    pub creator: bool,
}

/// Optional headers in order of their bits.
const OPTIONAL: [&str; 5] = [
    "_OBJECT_HEADER_CREATOR_INFO",
    "_OBJECT_HEADER_NAME_INFO",
    "_OBJECT_HEADER_HANDLE_INFO",
    "_OBJECT_HEADER_QUOTA_INFO",
    "_OBJECT_HEADER_PROCESS_INFO",
];

/// Pool and tag of each type's objects (the tags are those that `!pool` of a debugger shows).
fn pool(ty: &str) -> (PoolKind, &'static [u8; 4]) {
    use PoolKind::{Large, NonPaged, Paged};
    match ty {
        "Type" => (Large, b"ObjT"),
        "Directory" => (Paged, b"Dire"),
        "SymbolicLink" => (Paged, b"Symb"),
        "Token" => (Paged, b"Toke"),
        "Job" => (NonPaged, b"Job "),
        "Process" => (NonPaged, b"Proc"),
        "Thread" => (NonPaged, b"Thre"),
        "Event" => (NonPaged, b"Even"),
        "Mutant" => (NonPaged, b"Muta"),
        "Semaphore" => (NonPaged, b"Sema"),
        "Timer" => (NonPaged, b"Time"),
        "File" => (NonPaged, b"File"),
        "Section" => (Paged, b"Sect"),
        "Key" => (Paged, b"Key "),
        "ALPC Port" => (NonPaged, b"ALPC"),
        "Device" => (NonPaged, b"Devi"),
        "Driver" => (NonPaged, b"Driv"),
        "EtwRegistration" => (NonPaged, b"EtwR"),
        "IoCompletion" => (NonPaged, b"IoCo"),
        "WindowStation" => (NonPaged, b"Wind"),
        "Desktop" => (NonPaged, b"Desk"),
        _ => (NonPaged, b"ObNm"),
    }
}

impl Machine {
    /// Offset of `_OBJECT_HEADER.Body`.
    pub fn body_offset(&self) -> u64 {
        self.layouts.offset("_OBJECT_HEADER", "Body")
    }

    /// Sum of the sizes of the optional headers in `mask`: an entry of `ObpInfoMaskToOffset`.
    pub fn info_offset(&self, mask: u64) -> u64 {
        OPTIONAL
            .iter()
            .enumerate()
            .filter(|(i, t)| mask >> i & 1 != 0 && self.layouts.has(t))
            .map(|(_, t)| self.layouts.size(t))
            .sum()
    }

    /// Makes room for an object with a body of `size` bytes, writes its headers, gives the body's address.
    pub fn object(&mut self, ty: &str, size: u64, header: &Header) -> u64 {
        let mask = u64::from(header.creator)
            | u64::from(header.name.is_some()) << 1
            | u64::from(header.handle_info) << 2
            | u64::from(header.quota) << 3;
        let before = self.info_offset(mask);
        let (kind, tag) = pool(ty);
        let block = self.alloc(kind, tag, before + self.body_offset() + size);
        let at = block + before;
        let (index, type_at) = *self.types.get(ty).unwrap_or_else(|| panic!("no object type {ty}"));
        let mut h = self.obj("_OBJECT_HEADER");
        h.set("PointerCount", header.handles + header.pointers + 1).set("HandleCount", header.handles);
        if self.layouts.vista() {
            h.set("InfoMask", mask).set("Flags", 0x02);
            // From Windows 10 on the stored index is mixed with a byte of the header's address and the cookie.
            let mixed = if self.cookie == 0 { index } else { index ^ self.cookie ^ (at >> 8) as u8 };
            h.set("TypeIndex", u64::from(mixed));
        } else {
            // XP: offsets of the optional headers instead of a mask, a pointer instead of an index.
            let offset = |bit: u64| if mask & bit == 0 { 0 } else { self.info_offset(mask & (2 * bit - 1)) };
            h.set("NameInfoOffset", offset(2)).set("HandleInfoOffset", offset(4)).set("Type", type_at);
            h.set("Flags", 0x02 | (mask & 1) << 2);
        }
        self.write(at, &h.bytes);
        if header.quota && self.layouts.has("_OBJECT_HEADER_QUOTA_INFO") {
            let mut q = self.obj("_OBJECT_HEADER_QUOTA_INFO");
            q.set("NonPagedPoolCharge", size.next_multiple_of(16));
            let at = at - self.info_offset(mask & 0xF);
            self.write(at, &q.bytes);
        }
        if let Some(path) = &header.name {
            self.name_header(at - self.info_offset(mask & 3), path);
        }
        if header.creator {
            let list = at - self.info_offset(1);
            self.link(list, &[]);
        }
        let body = at + self.body_offset();
        if let Some(path) = &header.name {
            let (directory, name) = path.rsplit_once('\\').unwrap_or(("", path));
            self.names.entry(directory.to_string()).or_default().push((name.to_string(), body));
        }
        *self.counts.entry(ty.to_string()).or_default() += 1;
        body
    }

    fn name_header(&mut self, at: u64, path: &str) {
        let name = path.rsplit_once('\\').map_or(path, |(_, name)| name).to_string();
        let buffer = self.text(b"ObNm", &name);
        let mut n = self.obj("_OBJECT_HEADER_NAME_INFO");
        n.set_text("Name", &name, buffer).set_first(&["ReferenceCount", "QueryReferences"], 1);
        self.write(at, &n.bytes);
    }

    /// Sets the directory that a named object's name header points to.
    pub fn set_directory(&mut self, body: u64, directory: u64) {
        let header = body - self.body_offset();
        let field = if self.layouts.vista() { "InfoMask" } else { "NameInfoOffset" };
        let at = header + self.layouts.offset("_OBJECT_HEADER", field);
        let value = u64::from(self.kernel.read(&self.mem, at, 1)[0]);
        let at = header - if self.layouts.vista() { self.info_offset(value & 3) } else { value };
        self.poke(at, "_OBJECT_HEADER_NAME_INFO", "Directory", directory);
    }
}
