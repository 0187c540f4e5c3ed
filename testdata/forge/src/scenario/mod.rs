//! What a forged machine holds, said in words: the model, and the text form it is read from.
//!
//! The text (`scenarios/*.scn`) is one statement a line, `keyword argument... key=value...`; statements that belong to a
//! process (`thread`, `handle`, `dll`, `vad`, `page`) follow its `process` line. `include FILE` reads another file in place.
//! A new object kind is a new statement: a field here, a line in `text.rs`, a file in `plant/`.

mod text;
pub mod time;

use crate::memory::Mode;

/// One machine.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Folder name of the sample.
    pub name: String,
    /// Layout table.
    pub layout: String,
    /// The table keeps a process's processor times in two halves: see `Layouts::halved`.
    pub halved: bool,
    /// Major and minor version of Windows.
    pub nt: (u32, u32),
    /// Build as user mode sees it (22H2 is 19045 though its kernel file says 19041).
    pub build: u32,
    /// `NtBuildLab`.
    pub lab: String,
    /// Service pack number.
    pub service_pack: u32,
    /// Boot and dump time (FILETIME).
    pub boot: u64,
    /// Time of the dump.
    pub now: u64,
    /// Kernel base.
    pub kernel_base: u64,
    /// Whether regions and the self-map slot are random (1607 and later).
    pub random_regions: bool,
    /// Frame of the System process's PML4.
    pub root: u64,
    /// Frame of the boot processor's low stub.
    pub low_stub: Option<u64>,
    /// Frame of a nearly empty table that references itself and is none of the machine's.
    pub decoy: Option<u64>,
    /// How addresses are translated.
    pub mode: Mode,
    /// User space in few tables: small dumps.
    pub tight: bool,
    /// All memory below a few MB, for raw images.
    pub compact: bool,
    /// Bugcheck code and parameters.
    pub bugcheck: (u32, [u64; 4]),
    /// Process in whose context the machine crashed: its page table (with a PCID in the low bits) is in the header.
    pub context: Option<String>,
    /// What the processor was running on when the machine crashed.
    pub crash_on: CrashOn,
    /// Containers to write.
    pub containers: Vec<String>,
    /// Kernel drivers behind the kernel itself.
    pub drivers: Vec<Driver>,
    /// Drivers unloaded before the dump.
    pub unloaded: Vec<Unloaded>,
    /// Whether driver objects are planted.
    pub driver_objects: bool,
    /// Hooks.
    pub hooks: Vec<Hook>,
    /// Executable files that processes map.
    pub images: Vec<ImageFile>,
    /// Where pages of processes go, by turns: `stays`, `pagefile`, `swapfile`, `compressed`. None: all stay.
    pub evict: Vec<String>,
    /// Whether page tables go, too.
    pub evict_tables: bool,
    /// Whether the kernel's database of page frames is planted.
    pub pfn_database: bool,
    /// Whether object types state what an object of theirs is charged, and fields that nothing else asks for are filled.
    pub tails: bool,
    /// Users that the registry has profiles of.
    pub profiles: Vec<Profile>,
    /// What bug-check callbacks add behind crash dumps.
    pub secondary: Option<Secondary>,
    /// Processes in the order they were created.
    pub processes: Vec<Process>,
}

/// What the processor was running on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CrashOn {
    /// The first thread of the process named by `context`.
    #[default]
    Thread,
    /// The stack that DPCs have.
    Dpc,
    /// Its idle thread.
    Idle,
}

/// What the secondary data says of the machine.
#[derive(Debug, Clone, Default)]
pub struct Secondary {
    /// Who made machine and BIOS.
    pub manufacturer: String,
    /// The machine.
    pub product: String,
    /// Version of its BIOS.
    pub bios_version: String,
    /// Its date.
    pub bios_date: String,
    /// Name of the processor.
    pub cpu: String,
    /// Path of the program that ran.
    pub program: String,
}

/// A loaded driver.
#[derive(Debug, Clone, Default)]
pub struct Driver {
    /// Full path as the loader keeps it.
    pub path: String,
    /// Size in memory.
    pub size: u64,
    /// Link time.
    pub timestamp: u32,
    /// In memory, but not on the list of modules.
    pub hidden: bool,
}

/// An unloaded driver.
#[derive(Debug, Clone, Default)]
pub struct Unloaded {
    /// Base name.
    pub name: String,
    /// Size in memory.
    pub size: u64,
    /// When.
    pub time: u64,
}

/// A user's profile.
#[derive(Debug, Clone, Default)]
pub struct Profile {
    /// The user's SID.
    pub sid: String,
    /// The profile's folder.
    pub folder: String,
}

/// An executable file.
#[derive(Debug, Clone, Default)]
pub struct ImageFile {
    /// Path on the volume.
    pub path: String,
    /// Where it is mapped in every process.
    pub base: u64,
    /// Size in memory.
    pub size: u64,
    /// 64-bit.
    pub wide: bool,
    /// Link time.
    pub timestamp: u32,
    /// An ntdll with the ring of unloaded DLLs and the function that tells where it is.
    pub ring: bool,
    /// Marked for deletion before it was mapped.
    pub deleted: bool,
}

/// A DLL that was unloaded.
#[derive(Debug, Clone, Default)]
pub struct Gone {
    /// File name.
    pub name: String,
    /// Where it lay.
    pub base: u64,
    /// Size in memory.
    pub size: u64,
    /// Link time.
    pub timestamp: u32,
}

/// A process.
#[derive(Debug, Clone, Default)]
pub struct Process {
    /// `ImageFileName` (cut to fifteen bytes).
    pub name: String,
    /// Process id.
    pub pid: u64,
    /// Parent's id.
    pub ppid: u64,
    /// Session, if any.
    pub session: Option<u32>,
    /// Account name.
    pub user: String,
    /// Integrity level's relative id, if not the account's usual.
    pub integrity: Option<u32>,
    /// Path on the volume; none for System and minimal processes.
    pub path: Option<String>,
    /// Command line.
    pub cmdline: String,
    /// Current directory.
    pub cwd: String,
    /// Created.
    pub create: u64,
    /// Exit time and status.
    pub exit: Option<(u64, u32)>,
    /// Unlinked from the active list.
    pub hidden: bool,
    /// 32-bit process on the 64-bit kernel.
    pub wow64: bool,
    /// No PEB, no image (Registry, MemCompression).
    pub minimal: bool,
    /// `_PS_PROTECTION.Level`.
    pub protection: u64,
    /// Modules besides the program and ntdll.
    pub dlls: Vec<String>,
    /// Its threads' user stacks have guard pages below their committed parts.
    pub guards: bool,
    /// DLLs it unloaded, oldest first. Needs an ntdll with a ring.
    pub unloaded: Vec<Gone>,
    /// Threads.
    pub threads: Vec<Thread>,
    /// Handles in order.
    pub handles: Vec<Handle>,
    /// Further private memory.
    pub vads: Vec<Private>,
    /// Sections mapped that are no images.
    pub maps: Vec<Map>,
    /// Heaps: `nt` or `segment`.
    pub heaps: Vec<String>,
    /// Heaps of its 32-bit side.
    pub heaps32: Vec<String>,
    /// Code put there by somebody else.
    pub injections: Vec<Injection>,
    /// An image that is mapped and on no loader list.
    pub hidden_dll: Option<String>,
    /// An image that is on the loader's lists and not mapped.
    pub phantom_dll: Option<String>,
    /// A debugger is attached: `open`, or `hidden` from the process's own PEB.
    pub debugged: Option<String>,
    /// `SignatureLevel`.
    pub signature: u64,
    /// Clock ticks in the kernel and in user mode.
    pub ticks: (u64, u64),
    /// Privileges switched on in the token that it does not hold.
    pub enable: u64,
    /// Its id is not in the table of ids.
    pub unnumbered: bool,
    /// On its way out: its exiting flag is set, its exit time is not.
    pub leaving: bool,
    /// Bytes changed in an image: module and offset, bytes.
    pub patches: Vec<(String, u64, Vec<u8>)>,
    /// The image was replaced by private memory.
    pub hollowed: bool,
    /// The object's pool tag was wiped.
    pub wiped: bool,
    /// The VADs form a chain instead of a balanced tree.
    pub deep: bool,
    /// Process whose token it has.
    pub token_of: Option<String>,
    /// Path that the PEB shows instead of its own.
    pub shown: Option<String>,
    /// Name of its job.
    pub job: Option<String>,
    /// AppContainer's SID.
    pub package: Option<String>,
    /// Capability SIDs.
    pub capabilities: Vec<String>,
    /// Restricting SIDs.
    pub restricted: Vec<String>,
    /// What is odd about it, if the forge cannot tell by itself.
    pub why: Option<String>,
    /// Pages in states other than present.
    pub pages: Vec<String>,
}

/// A thread.
#[derive(Debug, Clone, Default)]
pub struct Thread {
    /// Module name and offset, or an absolute address when the name is empty.
    pub start: (String, u64),
    /// `KTHREAD_STATE`; 5 waits.
    pub state: u64,
    /// `KWAIT_REASON`.
    pub reason: u64,
    /// Its description.
    pub name: Option<String>,
    /// Process whose token (a copy of it) it impersonates with.
    pub impersonate: Option<String>,
    /// Exit time and status.
    pub exit: Option<(u64, u32)>,
    /// Times it was suspended.
    pub suspended: u64,
    /// Where it was in user mode when it entered the kernel: module and offset; else in ntdll.
    pub at: Option<(String, u64)>,
}

/// A handle.
#[derive(Debug, Clone, Default)]
pub struct Handle {
    /// Object type.
    pub ty: String,
    /// Name in the namespace, file path, key path, or the process's name.
    pub name: String,
    /// Granted access.
    pub access: u32,
    /// Handle attributes (1 protect from close, 2 inherit, 4 audit) as the type's bits.
    pub attributes: u64,
    /// File of a section, or flags of a file (`delete`).
    pub extra: Option<String>,
    /// How many such handles.
    pub count: u64,
}

/// A mapped section.
#[derive(Debug, Clone, Default)]
pub struct Map {
    /// File on the volume; none for the page file.
    pub path: Option<String>,
    /// Path of its section object in the namespace, of a named one.
    pub name: Option<String>,
    /// Pages.
    pub pages: u64,
    /// Protection code.
    pub protection: u64,
}

/// Injected code.
#[derive(Debug, Clone, Default)]
pub struct Injection {
    /// `shellcode`, `reflective` (a PE with its header), `wiped` (without).
    pub kind: String,
    /// Pages.
    pub pages: u64,
    /// Protection code.
    pub protection: u64,
    /// Not harmful: left out of the truth's list of injections, and told apart.
    pub benign: Option<String>,
}

/// A place in the kernel that leads out of every module.
#[derive(Debug, Clone, Default)]
pub struct Hook {
    /// `ssdt`, `process`, `thread`, `image` (notification), `dispatch`, `unload`.
    pub kind: String,
    /// Index of the service, slot or major function.
    pub index: u64,
    /// Driver, for `dispatch`.
    pub driver: String,
    /// Leads to where an unloaded driver was.
    pub unloaded: bool,
}

/// A private region.
#[derive(Debug, Clone, Default)]
pub struct Private {
    /// First address, or 0 for any.
    pub at: u64,
    /// Pages reserved.
    pub pages: u64,
    /// Pages committed and in memory.
    pub commit: u64,
    /// Protection code (index into `MmProtectToValue`).
    pub protection: u64,
    /// `VadType`.
    pub kind: u64,
    /// First bytes.
    pub content: Vec<u8>,
}
