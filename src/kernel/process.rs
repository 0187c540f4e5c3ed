//! `_EPROCESS`: one process, as the kernel holds it.

use super::active::Active;
use super::vad_tree::{self, Tree};
use super::{Kernel, session};
use crate::addr::{Pa, Va};
use crate::bytes::{Bytes, Place};
use crate::dump::Arch;
use crate::error::Result;
use crate::layout;
use crate::paging::{Mode, Space};
use crate::symbols::layout::{Bits, Counted, FastRef, FirstWord, Here, Link, View};
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

layout! {
    /// `_EPROCESS`. Spellings are those of the 22 kernels in the layout tables, XP to Windows 11 24H2.
    pub struct EProcess: "_EPROCESS" {
        /// `Pcb.Header.Type`: 3 for a process in every known kernel.
        kind: u8 = "Pcb.Header.Type",
        /// `Pcb.Header.SignalState`: non-zero once the process has ended.
        signal_state: i32 = "Pcb.Header.SignalState",
        /// `Pcb.DirectoryTableBase`, low bits (PCID) included. On XP an array whose first word counts.
        dtb_raw: [u8; 4] = "Pcb.DirectoryTableBase",
        /// The same in eight bytes, of 64-bit kernels. In Server 2003, too, an array whose first word counts.
        dtb_wide: FirstWord = "Pcb.DirectoryTableBase",
        /// `Pcb.UserDirectoryTableBase` (from 1803, and updates of older builds): 0 or 1 where shadowing is off.
        user_dtb_raw: u64 = "Pcb.UserDirectoryTableBase",
        /// `Pcb.BasePriority`.
        base_priority: u8 = "Pcb.BasePriority",
        /// `Pcb.Flags`, a `_KEXECUTE_OPTIONS`.
        execute_options: u8 = "Pcb.Flags",
        /// `Pcb.KernelTime`, in clock ticks; `Pcb.KernelTimeLow` where a high half lies elsewhere (Server 2022 from 20348.2227).
        kernel_ticks_whole: u64 = "Pcb.KernelTime",
        /// The low half of a time in two parts.
        kernel_ticks_low: u32 = "Pcb.KernelTimeLow",
        /// Its high half.
        kernel_ticks_high: u32 = "KernelTimeHigh",
        /// `Pcb.UserTime`, in clock ticks.
        user_ticks_whole: u64 = "Pcb.UserTime",
        /// The low half of a time in two parts.
        user_ticks_low: u32 = "Pcb.UserTimeLow",
        /// Its high half.
        user_ticks_high: u32 = "UserTimeHigh",
        /// `Pcb.CycleTime`, in processor cycles.
        cycles: u64 = "Pcb.CycleTime",
        /// `Pcb.SecureState.SecureHandle`: the trustlet's handle in the secure kernel.
        secure_handle: u64 = "Pcb.SecureState.SecureHandle" | "Pcb.SecurePid",
        /// `UniqueProcessId`.
        id: u64 = "UniqueProcessId",
        /// `InheritedFromUniqueProcessId`: who the parent is said to be (the creator may have named another).
        parent: u64 = "InheritedFromUniqueProcessId",
        /// `OwnerProcessId` (8.1), `ConsoleHostProcess` before: the console host, or the creator; low bits are flags.
        owner: u64 = "OwnerProcessId" | "ConsoleHostProcess",
        /// `ActiveProcessLinks`.
        links: Link = "ActiveProcessLinks",
        /// `CreateTime`.
        created: FileTime = "CreateTime",
        /// `ExitTime`.
        exited: FileTime = "ExitTime",
        /// `ExitStatus`: 0x103 while it runs.
        exit_code: u32 = "ExitStatus",
        /// `ImageFileName`: 15 bytes, no terminator when full.
        short_name: [u8; 15] = "ImageFileName",
        /// `SeAuditProcessCreationInfo.ImageFileName`: an `_OBJECT_NAME_INFORMATION`.
        audit_name: Va = "SeAuditProcessCreationInfo.ImageFileName",
        /// `ImageFilePointer`, a `_FILE_OBJECT` (from 1607).
        image_file: Va = "ImageFilePointer",
        /// `SectionObject`.
        section: Va = "SectionObject",
        /// `SectionBaseAddress`: where the image was mapped.
        image_base: Va = "SectionBaseAddress",
        /// `Peb`.
        peb_raw: Va = "Peb",
        /// `WoW64Process`, `Wow64Process` before 1607; x86 kernels have neither.
        wow64: Va = "WoW64Process" | "Wow64Process",
        /// `Machine` (from Server 2022): the image's machine type.
        machine: u16 = "Machine",
        /// `Session`: a session-space structure.
        session: Va = "Session",
        /// `SessionId`, should a kernel keep it here.
        session_id: u32 = "SessionId",
        /// `ObjectTable`.
        handle_table: Va = "ObjectTable",
        /// `Token`.
        token: FastRef = "Token",
        /// `Job`.
        job: Va = "Job",
        /// `JobLinks`.
        job_links: Link = "JobLinks",
        /// `DebugPort`.
        debug_port: Va = "DebugPort",
        /// `ThreadListHead`.
        thread_list: Here = "ThreadListHead",
        /// `ActiveThreads`.
        active_threads: u32 = "ActiveThreads",
        /// `LastThreadExitStatus`.
        last_thread_exit: u32 = "LastThreadExitStatus",
        /// `VadRoot`.
        vad_root: Here = "VadRoot",
        /// `PriorityClass`.
        priority_class: u8 = "PriorityClass",
        /// `CommitCharge`, in pages.
        commit: u64 = "CommitCharge",
        /// `CommitChargePeak`, in pages.
        commit_peak: u64 = "CommitChargePeak",
        /// `NumberOfPrivatePages`.
        private_pages: u64 = "NumberOfPrivatePages",
        /// `VirtualSize`, in bytes.
        virtual_size: u64 = "VirtualSize",
        /// `PeakVirtualSize`, in bytes.
        virtual_peak: u64 = "PeakVirtualSize",
        /// Working set, in pages: `Vm.Instance.WorkingSetSize` from 1607, `Vm.WorkingSetSize` before.
        working_set: u64 = "Vm.Instance.WorkingSetSize" | "Vm.WorkingSetSize",
        /// Its peak, in pages.
        working_set_peak: u64 = "Vm.Instance.PeakWorkingSetSize" | "Vm.PeakWorkingSetSize",
        /// `Protection`, a `_PS_PROTECTION` (from 8.1).
        protection_byte: u8 = "Protection",
        /// `ProtectedProcess`: Vista to 7.
        protected_flag: Bits = "ProtectedProcess",
        /// `SignatureLevel` (from 8).
        signature_level: u8 = "SignatureLevel",
        /// `SectionSignatureLevel` (from 8).
        section_signature_level: u8 = "SectionSignatureLevel",
        /// `Flags`.
        flags: u32 = "Flags",
        /// `Flags2`.
        flags2: u32 = "Flags2",
        /// `Flags3`.
        flags3: u32 = "Flags3",
        /// `Flags4`.
        flags4: u32 = "Flags4",
        /// `MitigationFlags`.
        mitigation_flags: u32 = "MitigationFlags",
        /// `MitigationFlags2`.
        mitigation_flags2: u32 = "MitigationFlags2",
        /// `MitigationFlags3`.
        mitigation_flags3: u32 = "MitigationFlags3",
        /// `ProcessExiting`.
        exiting: Bits = "ProcessExiting",
        /// `ProcessDelete`.
        deleted: Bits = "ProcessDelete",
        /// `Minimal` (from 8.1): no user-mode image of its own.
        minimal: Bits = "Minimal",
        /// `PicoCreated`: made by a pico provider (WSL 1).
        pico: Bits = "PicoCreated",
        /// `PicoContext`.
        pico_context: Va = "PicoContext",
        /// `MemoryCompressionProcess` (24H2).
        compression: Bits = "MemoryCompressionProcess",
        /// `VmProcessorHost`: hosts a virtual machine (`vmmem`).
        vm_host: Bits = "VmProcessorHost",
        /// `BreakOnTermination`: the machine stops when it ends.
        critical: Bits = "BreakOnTermination",
        /// `Crashed`.
        crashed: Bits = "Crashed",
        /// `ProcessSelfDelete`.
        self_deleted: Bits = "ProcessSelfDelete",
        /// `ServerSilo`.
        silo: Va = "ServerSilo",
        /// `SequenceNumber`: never used twice, unlike the process id.
        sequence: u64 = "SequenceNumber",
        /// `DeviceMap`: the drive letters it sees.
        device_map: FastRef = "DeviceMap",
        /// `Win32Process`.
        win32_process: Va = "Win32Process",
        /// `Win32WindowStation`, a handle.
        window_station: Va = "Win32WindowStation",
        /// `HighestUserAddress`.
        highest_user: Va = "HighestUserAddress",
    }
}
layout! {
    /// `_OBJECT_NAME_INFORMATION`.
    pub struct NameInformation: "_OBJECT_NAME_INFORMATION" {
        /// `Name`.
        name: Counted = "Name",
    }
}
layout! {
    /// `_EWOW64PROCESS` (from 1607).
    pub struct EWow64: "_EWOW64PROCESS" {
        /// `Peb`: the 32-bit PEB.
        peb: Va = "Peb",
        /// `Machine`, up to Windows 10 22H2; later in `_EPROCESS`.
        machine: u16 = "Machine",
    }
}

/// More processes than a list may have: process ids are multiples of 4 below 2³², yet no machine holds a million.
pub(super) const MOST_PROCESSES: usize = 1 << 20;
/// `STATUS_PENDING`: the exit status of what has not ended.
const STATUS_PENDING: u32 = 0x103;

/// The 32-bit side of a process on a 64-bit kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wow64 {
    /// The 32-bit PEB.
    pub peb: Value<Va>,
    /// The machine type of its code, as in a PE header.
    pub machine: Value<u16>,
}

/// One process. Where its bytes came from (the list, a physical scan, a triage dump's copy) makes no difference.
#[derive(Clone, Debug)]
pub struct Process<'k> {
    /// The kernel it belongs to.
    pub kernel: &'k Kernel,
    /// The `_EPROCESS`.
    pub view: View<'k, EProcess>,
    ranges: Option<Arc<OnceLock<Arc<Tree>>>>,
}

/// The processes of the active list.
#[derive(Debug)]
pub struct Processes<'k> {
    /// In list order; behind them those whose own links are a piece of a torn list.
    pub list: Vec<Process<'k>>,
    /// How the walk went.
    pub notes: Vec<Note>,
    /// The list as it was walked; `None` of a dump that keeps no list.
    pub active: Option<Active>,
}

impl Kernel {
    /// The processes of the active list ([`Kernel::active_list`]), in its order; of a triage dump the one it holds.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a process, or nothing says where the list is.
    pub fn processes(&self) -> Result<Processes<'_>> {
        if !self.has_structures() {
            return Ok(self.unreadable_process());
        }
        let layout = self.layout::<EProcess>().map_err(|e| self.unreadable(&e))?;
        if self.mode == Mode::Blocks {
            return Ok(self.embedded_process(layout));
        }
        let mut active = self.active_list()?;
        let all: Vec<Va> = active.listed.iter().chain(&active.torn).copied().collect();
        let list = all.par_iter().map_init(|| self.space(), |space, va| self.process_in(space, layout, *va)).collect();
        Ok(Processes { list, notes: std::mem::take(&mut active.notes), active: Some(active) })
    }

    /// The process at an address.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a process.
    pub fn process_at<'k>(&'k self, space: &Space<'k>, va: Va) -> Result<Process<'k>> {
        let layout = self.layout::<EProcess>().map_err(|e| self.unreadable(&e))?;
        Ok(self.process_in(space, layout, va))
    }

    /// The process in these bytes, wherever they were found.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a process.
    pub fn process_of<'k>(&'k self, bytes: Bytes<'k>) -> Result<Process<'k>> {
        let layout = self.layout::<EProcess>().map_err(|e| self.unreadable(&e))?;
        Ok(Process::new(self, View::new(layout, bytes)))
    }

    fn process_in<'k>(&'k self, space: &Space<'k>, layout: &'k EProcess, va: Va) -> Process<'k> {
        Process::new(self, space.view(layout, va))
    }
}

impl<'k> Process<'k> {
    pub(super) fn new(kernel: &'k Kernel, view: View<'k, EProcess>) -> Self {
        Self { kernel, view, ranges: None }
    }
    /// The same process, whose address ranges are walked once for all who ask: for many analyses of one process, on any thread.
    /// They are kept as long as it is.
    #[must_use]
    pub fn keeping_ranges(self) -> Self {
        Self { ranges: Some(Arc::default()), ..self }
    }
    /// Its address ranges.
    #[must_use]
    pub fn ranges(&self, kernel_space: &Space<'_>) -> Arc<Tree> {
        let walk = || match (vad_tree::Layouts::of(self.kernel), self.offset()) {
            (Ok(layouts), Some(at)) => Arc::new(self.kernel.vads(&layouts, kernel_space, at)),
            (Ok(_), None) => Arc::default(),
            (Err(e), _) => {
                let note = Note::loss(format!("VADs cannot be read: {e}"));
                Arc::new(Tree { notes: vec![note], ..Tree::default() })
            }
        };
        match &self.ranges {
            Some(kept) => Arc::clone(kept.get_or_init(walk)),
            None => walk(),
        }
    }
    /// Where the `_EPROCESS` is.
    #[must_use]
    pub fn offset(&self) -> Option<Va> {
        self.view.va()
    }
    /// Virtual address, physical address and file offset of the `_EPROCESS`.
    #[must_use]
    pub fn place(&self) -> Place {
        self.view.place()
    }
    /// The process id. 32 bits in every known kernel.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn pid(&self) -> Value<u64> {
        self.view.id()
    }
    /// The id of the process this one inherited from.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn ppid(&self) -> Value<u64> {
        self.view.parent()
    }
    /// The image's name as the kernel keeps it: at most 15 bytes, in the code page of the machine, which the dump does not
    /// name. Bytes outside ASCII that are no UTF-8 are written as `\xNN`, so that none is lost.
    ///
    /// # Errors
    /// Why it is not there; [`Absent::NotApplicable`] when it is empty.
    pub fn name(&self) -> Value<String> {
        let raw = self.view.short_name()?;
        let text = raw.split(|b| *b == 0).next().unwrap_or_default();
        if text.is_empty() {
            return Err(Absent::NotApplicable);
        }
        Ok(escaped(text))
    }
    /// The image's path as security auditing saw it when the process was made: `\Device\HarddiskVolume3\…`.
    /// User mode cannot change it. Minimal processes have a bare name, System has none.
    ///
    /// # Errors
    /// Why it is not there; [`Absent::NotApplicable`] when none was recorded.
    pub fn image_path(&self, space: &Space<'_>) -> Value<Text> {
        let at = self.view.audit_name()?;
        if at.is_null() {
            return Err(Absent::NotApplicable);
        }
        let layout = self.kernel.layout::<NameInformation>().map_err(|_| Absent::NoSymbol)?;
        let name = space.view(layout, at).name()?;
        match space.text(name)? {
            text if text.is_empty() => Err(Absent::NotApplicable),
            text => Ok(text),
        }
    }
    /// The whole image name: the path's last part where the 15 bytes are its beginning, in whatever code page they are;
    /// else those 15 bytes.
    ///
    /// # Errors
    /// Why there is no name at all.
    pub fn long_name(&self, space: &Space<'_>) -> Value<String> {
        let short = self.name()?;
        let raw = self.view.short_name()?;
        let raw = raw.split(|b| *b == 0).next().unwrap_or_default();
        // 14 characters and a terminator, or 15: both are seen when a name is cut.
        if raw.len() < 14 && raw.is_ascii() {
            return Ok(short);
        }
        match self.image_path(space).and_then(Text::into_whole) {
            Ok(path) if raw.is_ascii() => Ok(whole_name(short, &path)),
            Ok(path) if can_be_in_a_code_page(raw, base_name(&path)) => Ok(base_name(&path).to_owned()),
            _ => Ok(short),
        }
    }
    /// The page-table root, without the low bits that are no address (PCID on x64, the alignment of PAE).
    ///
    /// # Errors
    /// Why it is not there; zero is implausible.
    pub fn dtb(&self) -> Value<Pa> {
        let raw = match self.kernel.arch {
            Arch::X86 => u32::from_le_bytes(self.view.dtb_raw()?).into(),
            Arch::X64 | Arch::Arm64 => self.view.dtb_wide()?,
        };
        match self.root(raw) {
            0 => Err(Absent::Implausible),
            root => Ok(Pa(root)),
        }
    }
    /// Where its page-table root is.
    #[must_use]
    pub fn dtb_at(&self) -> Option<Place> {
        match self.kernel.arch {
            Arch::X86 => self.view.at(EProcess::dtb_raw),
            Arch::X64 | Arch::Arm64 => self.view.at(EProcess::dtb_wide),
        }
    }
    /// The page-table root that user mode runs on while kernel addresses are shadowed (KVAS).
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where shadowing is off for it.
    pub fn user_dtb(&self) -> Value<Pa> {
        match self.view.user_dtb_raw()? {
            0 | 1 => Err(Absent::NotApplicable),
            raw => Ok(Pa(self.root(raw))),
        }
    }
    fn root(&self, raw: u64) -> u64 {
        match self.kernel.mode {
            Mode::Pae => raw & 0xffff_ffe0,
            Mode::X86 => raw & 0xffff_f000,
            // Bits 52 to 63 and 0 to 11 of CR3 are no address (Intel SDM vol. 3, 2.5 and 4.5); ARM64's TTBR has the ASID on top.
            Mode::X64 | Mode::La57 | Mode::Blocks => raw & 0x000f_ffff_ffff_f000,
            Mode::Arm64 => raw & 0x0000_ffff_ffff_f000,
        }
    }
    /// Its address space, for user addresses: no pointer that user mode wrote is followed into the kernel half.
    ///
    /// # Errors
    /// Why there is none.
    pub fn space(&self) -> Value<Space<'k>> {
        Ok(self.whole_space()?.user_side(self.kernel.last_user_address()))
    }
    /// The same with the kernel half as this process sees it, which holds its session's part: for pointers that the kernel wrote.
    ///
    /// # Errors
    /// Why there is none.
    pub fn whole_space(&self) -> Value<Space<'k>> {
        if self.kernel.mode == Mode::Blocks {
            return Ok(self.kernel.space());
        }
        Ok(self.kernel.space_of(self.dtb()?))
    }
    /// The PEB.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: the process has none (System, minimal processes, ended ones); [`Absent::Implausible`] where no process
    /// can have one, in the kernel half.
    pub fn peb(&self) -> Value<Va> {
        self.user_address(self.view.peb_raw()?.not_null()?)
    }
    /// An address in the user half.
    fn user_address(&self, va: Va) -> Value<Va> {
        if va <= self.kernel.last_user_address() { Ok(va) } else { Err(Absent::Implausible) }
    }
    /// Threads not yet ended.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn threads(&self) -> Value<u32> {
        self.view.active_threads()
    }
    /// The session's number.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it belongs to none (System, smss.exe, Registry).
    pub fn session(&self, space: &Space<'_>) -> Value<u32> {
        match self.view.session_id() {
            Err(Absent::NotInBuild) => session::id(self, space),
            id => id,
        }
    }
    /// Where the session's number is.
    #[must_use]
    pub fn session_at(&self, space: &Space<'_>) -> Option<Place> {
        self.view.at(EProcess::session_id).or_else(|| session::id_at(self, space))
    }
    /// Its 32-bit side on a 64-bit kernel.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it has none.
    pub fn wow64(&self, space: &Space<'_>) -> Value<Wow64> {
        if self.kernel.arch == Arch::X86 {
            return Err(Absent::NotApplicable);
        }
        let at = self.view.wow64()?.not_null()?;
        match self.kernel.described::<EWow64>() {
            Some(layout) => {
                let view = space.view(layout, at);
                let machine = view.machine().or_else(|_| self.view.machine());
                Ok(Wow64 { peb: view.peb().and_then(narrow_address), machine })
            }
            // Before 1607 the field itself points at the 32-bit PEB, and x86 is the only other machine.
            None => Ok(Wow64 { peb: narrow_address(at), machine: self.view.machine() }),
        }
    }
    /// Where the machine type of its image is: in `_EPROCESS`, or before that in `_EWOW64PROCESS`.
    #[must_use]
    pub fn machine_at(&self, space: &Space<'_>) -> Option<Place> {
        let wow64 = || self.kernel.place_in(space, self.view.wow64().ok()?.not_null().ok()?, EWow64::machine);
        self.view.at(EProcess::machine).or_else(wow64)
    }
    /// Whether it runs 32-bit code on a 64-bit kernel.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn is_wow64(&self) -> Value<bool> {
        if self.kernel.arch == Arch::X86 {
            return Ok(false);
        }
        Ok(!self.view.wow64()?.is_null())
    }
    /// Clock ticks spent in the kernel, by threads that have ended.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn kernel_ticks(&self) -> Value<u64> {
        let v = &self.view;
        in_parts(v.kernel_ticks_whole(), v.kernel_ticks_low(), v.kernel_ticks_high())
    }
    /// Where they are.
    #[must_use]
    pub fn kernel_ticks_at(&self) -> Option<Place> {
        self.view.at(EProcess::kernel_ticks_whole).or_else(|| self.view.at(EProcess::kernel_ticks_low))
    }
    /// Where the ticks of user mode are.
    #[must_use]
    pub fn user_ticks_at(&self) -> Option<Place> {
        self.view.at(EProcess::user_ticks_whole).or_else(|| self.view.at(EProcess::user_ticks_low))
    }
    /// Clock ticks spent in user mode, by threads that have ended.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn user_ticks(&self) -> Value<u64> {
        let v = &self.view;
        in_parts(v.user_ticks_whole(), v.user_ticks_low(), v.user_ticks_high())
    }
    /// When it was made.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn create_time(&self) -> Value<FileTime> {
        self.view.created()
    }
    /// When it ended.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it runs.
    pub fn exit_time(&self) -> Value<FileTime> {
        self.view.exited()
    }
    /// What it ended with.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it runs.
    pub fn exit_status(&self) -> Value<u32> {
        let running = match (self.view.exit_code()?, self.exit_time(), self.view.signal_state()) {
            // Without the time nothing says whether the status of what still runs is the final one.
            (STATUS_PENDING, Err(why @ (Absent::NotApplicable | Absent::NotInBuild | Absent::NoSymbol)), _) => {
                Some(why)
            }
            // An exit time that cannot be read says nothing; a process that nobody was told has ended runs.
            (STATUS_PENDING, Err(_), Ok(0)) => Some(Absent::NotApplicable),
            (status, ..) => return Ok(status),
        };
        running.map_or(Ok(STATUS_PENDING), Err)
    }
}

impl EProcess {
    /// The offset of `ActiveProcessLinks`.
    #[must_use]
    pub fn links_offset(&self) -> u64 {
        use crate::symbols::layout::Layout;
        self.field("links").map_or(0, |f| f.offset.into())
    }
}

/// An address of 32-bit code.
fn narrow_address(va: Va) -> Value<Va> {
    if va.0 <= u64::from(u32::MAX) { Ok(va) } else { Err(Absent::Implausible) }
}

/// The last part of a Windows path.
#[must_use]
pub fn base_name(path: &str) -> &str {
    path.rsplit('\\').next().unwrap_or(path)
}

/// The last part of `path` where `short` is its beginning (both may be cut in the middle of a character).
fn whole_name(short: String, path: &str) -> String {
    let last = base_name(path);
    if last.len() > short.len() && last.starts_with(&short) { last.to_owned() } else { short }
}

/// One number, where this kernel keeps it whole, or in two halves, of which each needs the other.
fn in_parts(whole: Value<u64>, low: Value<u32>, high: Value<u32>) -> Value<u64> {
    match whole {
        Err(Absent::NotInBuild) => Ok(u64::from(high?) << 32 | u64::from(low?)),
        whole => whole,
    }
}

/// Text of an unknown code page: UTF-8 as it is, every other byte outside ASCII as `\xNN`.
fn escaped(text: &[u8]) -> String {
    let mut out = String::new();
    for chunk in text.utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Whether these bytes, at most 15 of a name, can be the beginning of `name` in a code page of Windows: ASCII is itself,
/// and a character outside it is one byte from 0x80 on, or such a byte and another.
fn can_be_in_a_code_page(raw: &[u8], name: &str) -> bool {
    let fits = |widest: usize| {
        let (mut at, mut chars) = (0usize, name.chars());
        while let Some(byte) = raw.get(at) {
            let Some(c) = chars.next() else { return false };
            match (byte.is_ascii(), c.is_ascii()) {
                (true, true) if char::from(*byte) == c => at = at.saturating_add(1),
                (false, false) => at = at.saturating_add(widest),
                _ => return false,
            }
        }
        // What is shorter than the field was not cut.
        raw.len() >= 14 || chars.next().is_none()
    };
    fits(1) || fits(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in testing::kernels() {
            let t = &symbols.types;
            let layout = EProcess::resolve(t).unwrap_or_else(|e| panic!("{name}: {e}"));
            let has = |accessor: &str| layout.field(accessor).is_ok();
            let x64 = name.starts_with("x64");
            assert_eq!(has("wow64"), x64, "{name}");
            assert_eq!(
                has("protection_byte"),
                !name.contains("-5.1.") && !name.contains("-6.1.") && !name.contains("-6.2."),
                "{name}"
            );
            assert!(has("session"), "{name}");
            assert_eq!(NameInformation::resolve(t).unwrap().span(), if x64 { 16 } else { 8 }, "{name}");
            assert_eq!(layout.links_offset(), u64::from(t.member("_EPROCESS", "ActiveProcessLinks").unwrap().offset));
            assert!(!has("session_id"), "{name}: no longer in the future");
        }
    }

    #[test]
    fn a_number_in_two_halves_is_one() {
        let lacking = Err(Absent::NotInBuild);
        assert_eq!(in_parts(Ok(7), Err(Absent::NotInBuild), Err(Absent::NotInBuild)), Ok(7));
        assert_eq!(in_parts(lacking, Ok(0x1000), Ok(2)), Ok(0x2_0000_1000));
        assert_eq!(in_parts(lacking, Ok(0x1000), Err(Absent::NotInBuild)), lacking);
        assert_eq!(in_parts(lacking, Err(Absent::NotInDump), Ok(0)), Err(Absent::NotInDump));
        assert_eq!(in_parts(Err(Absent::NotInDump), Ok(1), Ok(1)), Err(Absent::NotInDump));
    }
    #[test]
    fn a_name_in_a_code_page_is_shown_byte_by_byte_or_by_its_path() {
        assert_eq!(escaped(b"\xb2\xa1\xb6\xbe..exe"), "\\xb2\\xa1\\xb6\\xbe..exe");
        assert_eq!(escaped("\u{e9}t\u{e9}.exe".as_bytes()), "\u{e9}t\u{e9}.exe");
        // GBK, two bytes a character; windows-1251 and 1252, one byte a character, the first of them cut.
        assert!(can_be_in_a_code_page(b"\xb2\xa1\xb6\xbe..exe", "\u{75c5}\u{6bd2}..exe"));
        assert!(can_be_in_a_code_page(
            b"\xcf\xf0\xe8\xe2\xe5\xf2 \xec\xe8\xf0.txt.",
            "\u{41f}\u{440}\u{438}\u{432}\u{435}\u{442} \u{43c}\u{438}\u{440}.txt.exe"
        ));
        assert!(can_be_in_a_code_page(b"\xe9t\xe9.exe", "\u{e9}t\u{e9}.exe"));
        for other in ["ete.exe", "\u{e9}t\u{e9}.exe.exe", "\u{e9}t.exe", "\u{e9}ta.exe"] {
            assert!(!can_be_in_a_code_page(b"\xe9t\xe9.exe", other), "{other}");
        }
    }

    #[test]
    fn a_cut_name_is_made_whole_by_the_path_it_begins() {
        let path = r"\Device\HarddiskVolume3\Windows\ImmersiveControlPanel\SystemSettings.exe";
        assert_eq!(whole_name("SystemSettings".into(), path), "SystemSettings.exe");
        assert_eq!(whole_name("SystemSettingz".into(), path), "SystemSettingz");
        assert_eq!(whole_name("MemCompression".into(), "MemCompression"), "MemCompression");
    }
}
