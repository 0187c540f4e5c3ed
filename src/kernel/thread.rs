//! `_ETHREAD` with its `_KTHREAD`: one thread, as the kernel holds it; and the threads of a process.

use super::Kernel;
use super::list::List;
use super::process::Process;
use crate::addr::Va;
use crate::bytes::{Bytes, Place};
use crate::error::{Error, Result};
use crate::layout;
use crate::paging::{Mode, Space};
use crate::symbols::layout::{Bits, Counted, Field, Here, Layout, Link, View};
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use std::borrow::Cow;

layout! {
    /// `_ETHREAD`. Spellings are those of the 22 kernels in the layout tables, XP to Windows 11 24H2.
    pub struct EThread: "_ETHREAD" {
        /// `Tcb.Header.Type`: 6 for a thread in every known kernel.
        kind: u8 = "Tcb.Header.Type",
        /// `Tcb.Process` (Vista and later), XP's `ThreadsProcess`: the process it belongs to.
        owner: Va = "Tcb.Process" | "ThreadsProcess",
        /// `Tcb.ApcState.Process`: the process whose address space it runs in.
        attached: Va = "Tcb.ApcState.Process",
        /// `Tcb.State`.
        state_raw: u8 = "Tcb.State",
        /// `Tcb.WaitReason`.
        wait_reason_raw: u8 = "Tcb.WaitReason",
        /// `Tcb.WaitMode`: 0 kernel, 1 user.
        wait_mode: u8 = "Tcb.WaitMode",
        /// `Tcb.WaitTime`: the tick count at which it last began to wait or became ready.
        wait_tick: u32 = "Tcb.WaitTime",
        /// `Tcb.WaitIrql`.
        wait_irql: u8 = "Tcb.WaitIrql",
        /// `Tcb.Alertable`.
        alertable: Bits = "Tcb.Alertable",
        /// `Tcb.Priority`.
        priority: i32 = "Tcb.Priority",
        /// `Tcb.BasePriority`.
        base_priority: i32 = "Tcb.BasePriority",
        /// `Tcb.SuspendCount`.
        suspend_count: i32 = "Tcb.SuspendCount",
        /// `Tcb.FreezeCount`.
        freeze_count: Bits = "Tcb.FreezeCount",
        /// `Tcb.PreviousMode`: 0 called from the kernel, 1 from user mode.
        previous_mode: u8 = "Tcb.PreviousMode",
        /// `Tcb.Running`: on a processor (Vista and later).
        running: u8 = "Tcb.Running",
        /// `Tcb.ContextSwitches`.
        context_switches: u32 = "Tcb.ContextSwitches",
        /// `Tcb.KernelTime`, in ticks.
        kernel_ticks: u32 = "Tcb.KernelTime",
        /// `Tcb.UserTime`, in ticks.
        user_ticks: u32 = "Tcb.UserTime",
        /// `Tcb.Teb`.
        teb_raw: Va = "Tcb.Teb",
        /// `Tcb.InitialStack`: where the stack begins, below the floating point save area.
        initial_stack: Va = "Tcb.InitialStack",
        /// `Tcb.StackBase`: the kernel stack's upper end.
        stack_base: Va = "Tcb.StackBase",
        /// `Tcb.StackLimit`: its lower end.
        stack_limit: Va = "Tcb.StackLimit",
        /// `Tcb.KernelStack`: the stack pointer when it was last switched away from.
        kernel_stack: Va = "Tcb.KernelStack",
        /// `Tcb.TrapFrame`: the registers with which it last entered the kernel.
        trap_frame: Va = "Tcb.TrapFrame",
        /// `Tcb.ApcState.ApcListHead`: two lists, kernel and user mode.
        apc_lists: Here = "Tcb.ApcState.ApcListHead",
        /// `Tcb.ApcState.KernelApcInProgress`.
        kernel_apc_in_progress: Bits = "Tcb.ApcState.KernelApcInProgress",
        /// `Tcb.ApcState.KernelApcPending`.
        kernel_apc_pending: Bits = "Tcb.ApcState.KernelApcPending",
        /// `Tcb.ApcState.UserApcPending`.
        user_apc_pending: Bits = "Tcb.ApcState.UserApcPending",
        /// `Tcb.ApcStateIndex`: 1 while attached to another process.
        apc_index: u8 = "Tcb.ApcStateIndex",
        /// `Tcb.Affinity.Mask` (7 to Windows 10 22H2).
        affinity_mask: u64 = "Tcb.Affinity.Mask",
        /// `Tcb.Affinity.Group`.
        affinity_group: u16 = "Tcb.Affinity.Group",
        /// `Tcb.Affinity` itself: a mask on XP, a pointer to `_KAFFINITY_EX` from Server 2022.
        affinity: Here = "Tcb.Affinity",
        /// `Tcb.IdealProcessor`.
        ideal_processor: u32 = "Tcb.IdealProcessor",
        /// `Tcb.NextProcessor`: the processor it runs on, or ran on last.
        processor: u32 = "Tcb.NextProcessor",
        /// `Tcb.Win32Thread`: its GUI half; null for threads without windows.
        win32: Va = "Tcb.Win32Thread",
        /// `Tcb.SystemThread` (Vista and later), XP's `SystemThread`.
        system: Bits = "Tcb.SystemThread" | "SystemThread",
        /// `Cid.UniqueProcess`.
        pid: u64 = "Cid.UniqueProcess",
        /// `Cid.UniqueThread`.
        tid: u64 = "Cid.UniqueThread",
        /// `CreateTime`; on XP the time times eight, with flags below.
        create_time_raw: u64 = "CreateTime",
        /// `NestedFaultCount`: shares its place with `CreateTime` where that is shifted (XP).
        nested_faults: Bits = "NestedFaultCount",
        /// `ExitTime`; while the thread lives a list link (`KeyedWaitChain`).
        exit_time_raw: u64 = "ExitTime",
        /// `ExitStatus`.
        exit_status_raw: u32 = "ExitStatus",
        /// `StartAddress`: where the kernel began it (`RtlUserThreadStart` for nearly all in user mode).
        start: Va = "StartAddress",
        /// `Win32StartAddress`: what its creator asked to run.
        win32_start_raw: Va = "Win32StartAddress",
        /// `LpcReceivedMsgIdValid`: on XP `Win32StartAddress` may hold a message id instead.
        message_id_valid: Bits = "LpcReceivedMsgIdValid",
        /// `StartAddressInvalid` (Vista and later): `StartAddress` holds something else.
        start_invalid: Bits = "StartAddressInvalid",
        /// `ThreadListEntry`.
        links: Link = "ThreadListEntry",
        /// `CrossThreadFlags`.
        flags: u32 = "CrossThreadFlags",
        /// `Terminated`.
        terminated: Bits = "Terminated",
        /// `HideFromDebugger`.
        hidden_from_debugger: Bits = "HideFromDebugger",
        /// `BreakOnTermination`: the machine stops when it ends.
        critical: Bits = "BreakOnTermination",
        /// `ActiveImpersonationInfo`: it impersonates.
        impersonating: Bits = "ActiveImpersonationInfo",
        /// `ClientSecurity`: the impersonation token, with level and flag in the low bits (Vista and later).
        client: u64 = "ClientSecurity",
        /// `ImpersonationInfo` (XP): a `_PS_IMPERSONATION_INFORMATION`.
        impersonation_info: Va = "ImpersonationInfo",
        /// `ThreadName` (from 1607): a `_UNICODE_STRING`, what `SetThreadDescription` set.
        name_raw: Va = "ThreadName",
    }
}
layout! {
    /// `_PS_IMPERSONATION_INFORMATION` (XP).
    pub struct OldImpersonation: "_PS_IMPERSONATION_INFORMATION" {
        /// `Token`.
        token: Va = "Token",
        /// `ImpersonationLevel`.
        level: u32 = "ImpersonationLevel",
        /// `EffectiveOnly`.
        effective_only: u8 = "EffectiveOnly",
    }
}
layout! {
    /// `_KAFFINITY_EX`.
    pub struct AffinityEx: "_KAFFINITY_EX" {
        /// `Count`: words in use.
        count: u16 = "Count",
        /// `Bitmap`: one word a processor group.
        bitmap: Here = "StaticBitmap" | "Bitmap",
    }
}

/// Threads after which a list is given up: Windows itself stops far below.
const MOST_THREADS: usize = 1 << 18;
/// `_KTHREAD_STATE`: `Terminated` and `Waiting`, the same in every known kernel.
pub(super) const TERMINATED: u8 = 4;
/// `KTHREAD_STATE`: waiting.
pub const WAITING: u8 = 5;
/// A time of which no thread ends: the year 2057. A list link is above it on every machine, since kernel addresses are.
const LINK_NOT_TIME: u64 = 0x0200_0000_0000_0000;

/// What a thread impersonates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Impersonation {
    /// The token.
    pub token: Va,
    /// The level, 0 (anonymous) to 3 (delegation).
    pub level: u32,
    /// Whether only privileges and groups that are switched on now may be used.
    pub effective_only: bool,
}

/// One thread.
#[derive(Clone, Debug)]
pub struct Thread<'k> {
    /// The kernel it belongs to.
    pub kernel: &'k Kernel,
    /// The `_ETHREAD`.
    pub view: View<'k, EThread>,
}

/// The threads of a process.
#[derive(Debug, Default)]
pub struct Threads<'k> {
    /// In list order.
    pub list: Vec<Thread<'k>>,
    /// How the walk went.
    pub notes: Vec<Note>,
}

impl Kernel {
    /// The thread at an address.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a thread.
    pub fn thread_at<'k>(&'k self, space: &Space<'k>, va: Va) -> Result<Thread<'k>> {
        Ok(Thread { kernel: self, view: space.view(self.thread_layout()?, va) })
    }
    /// The thread in these bytes, wherever they were found.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a thread.
    pub fn thread_of<'k>(&'k self, bytes: Bytes<'k>) -> Result<Thread<'k>> {
        Ok(Thread { kernel: self, view: View::new(self.thread_layout()?, bytes) })
    }
    fn thread_layout(&self) -> Result<&EThread> {
        self.layout::<EThread>()
            .map_err(|e| Error::NoSymbols(format!("{} cannot read threads: {e}", self.symbols.origin)))
    }
}

impl<'k> Process<'k> {
    /// The threads on the process' own list (`_EPROCESS.ThreadListHead`), in its order. Entries that belong to another process are left out,
    /// with a note.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a thread.
    pub fn thread_list(&self, space: &Space<'k>) -> Result<Threads<'k>> {
        let layout = self.kernel.thread_layout()?;
        if self.kernel.mode == Mode::Blocks {
            return Ok(self.kernel.embedded_thread(layout));
        }
        let link = layout.field("links").map_or(0, |f| f.offset);
        Ok(self.walk(space, layout, "thread list", self.view.thread_list(), link))
    }
    /// The threads on the scheduler's list (`_KPROCESS.ThreadListHead`): the same ones, unless somebody hid one.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a thread.
    pub fn scheduler_thread_list(&self, space: &Space<'k>) -> Result<Threads<'k>> {
        let layout = self.kernel.thread_layout()?;
        let types = &self.kernel.symbols.types;
        let member = |ty, path| types.member(ty, path).ok_or(Absent::NoSymbol);
        if self.kernel.mode == Mode::Blocks {
            return Ok(Threads::default());
        }
        let Ok(link) = member("_ETHREAD", "Tcb.ThreadListEntry") else { return Ok(Threads::default()) };
        let head = member("_EPROCESS", "Pcb.ThreadListHead")
            .and_then(|m| Ok(self.offset().ok_or(Absent::NotRecorded)?.add(m.offset.into())));
        Ok(self.walk(space, layout, "scheduler's thread list", head, link.offset))
    }
    fn walk(&self, space: &Space<'k>, layout: &'k EThread, what: &str, head: Value<Va>, link: u32) -> Threads<'k> {
        let Ok(head) = head else { return Threads::default() };
        let owner = self.offset();
        let at = |va| Thread { kernel: self.kernel, view: space.view(layout, va) };
        let list = List { what, head, width: space.pointer_size(), limit: MOST_THREADS };
        let walked = list.walk(space, |entry| at(entry.sub(link.into())).belongs_to(owner) != Ok(false));
        let mut out = Threads { list: Vec::with_capacity(walked.links.len()), notes: walked.notes };
        let mut foreign = 0u64;
        for entry in walked.links {
            let thread = at(entry.sub(link.into()));
            if thread.belongs_to(owner) == Ok(false) {
                foreign = foreign.saturating_add(1);
                if foreign == 1 {
                    let owner = thread.view.owner().map_or_else(|why| why.to_string(), |va| va.to_string());
                    out.notes.push(Note::loss(format!(
                        "{what} at {head}: the entry at {entry} belongs to process {owner} and is left out"
                    )));
                }
            } else {
                out.list.push(thread);
            }
        }
        if foreign > 1 {
            out.notes.push(Note::loss(format!(
                "{what} at {head}: {foreign} entries belong to other processes and are left out"
            )));
        }
        out
    }
}

impl<'k> Thread<'k> {
    /// Where the `_ETHREAD` is.
    #[must_use]
    pub fn offset(&self) -> Option<Va> {
        self.view.va()
    }
    /// Virtual address, physical address and file offset of the `_ETHREAD`.
    #[must_use]
    pub fn place(&self) -> Place {
        self.view.place()
    }
    /// Whether it says it belongs to the process at this address. A thread whose bytes are not there is believed.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn belongs_to(&self, process: Option<Va>) -> Value<bool> {
        Ok(self.view.owner()? == process.ok_or(Absent::NotRecorded)?)
    }
    /// The thread id.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn tid(&self) -> Value<u64> {
        self.view.tid()
    }
    /// The TEB.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: system threads have none.
    pub fn teb(&self) -> Value<Va> {
        self.view.teb_raw()?.not_null()
    }
    /// The scheduler's state by name (`_KTHREAD_STATE`).
    ///
    /// # Errors
    /// Why it is not there; [`Absent::Implausible`] for a number that no kernel names.
    pub fn state(&self) -> Value<Cow<'k, str>> {
        named(self.kernel, "_KTHREAD_STATE", &STATES, self.view.state_raw()?)
    }
    /// What it waits for, by name (`_KWAIT_REASON`).
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it does not wait.
    pub fn wait_reason(&self) -> Value<Cow<'k, str>> {
        if self.view.state_raw()? != WAITING {
            return Err(Absent::NotApplicable);
        }
        named(self.kernel, "_KWAIT_REASON", &WAIT_REASONS, self.view.wait_reason_raw()?)
    }
    /// When it was created.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn created(&self) -> Value<FileTime> {
        let raw = self.view.create_time_raw()?;
        let layout = self.view.layout;
        let shifted = layout
            .field("nested_faults")
            .is_ok_and(|f| Ok(f.offset) == layout.field("create_time_raw").map(|c| c.offset));
        match if shifted { raw >> 3 } else { raw } {
            0 => Err(Absent::NotApplicable),
            ticks if ticks >= LINK_NOT_TIME => Err(Absent::Implausible),
            ticks => Ok(FileTime(ticks)),
        }
    }
    /// Whether it has ended, or is about to.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn ended(&self) -> Value<bool> {
        Ok(self.view.state_raw()? == TERMINATED || self.view.terminated()? == 1)
    }
    /// When it ended.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it lives.
    pub fn exited(&self) -> Value<FileTime> {
        match self.view.exit_time_raw()? {
            0 => Err(Absent::NotApplicable),
            // The place belongs to a list link as long as the thread lives.
            link if link >= LINK_NOT_TIME => Err(Absent::NotApplicable),
            ticks if self.created().is_ok_and(|c| ticks < c.0) => Err(Absent::Implausible),
            ticks => Ok(FileTime(ticks)),
        }
    }
    /// What it ended with.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it lives.
    pub fn exit_status(&self) -> Value<u32> {
        if self.ended()? { self.view.exit_status_raw() } else { Err(Absent::NotApplicable) }
    }
    /// What its creator asked to run.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where XP keeps a message id in the same place.
    pub fn win32_start(&self) -> Value<Va> {
        match self.view.message_id_valid() {
            Ok(0) | Err(Absent::NotInBuild) => self.view.win32_start_raw(),
            Ok(_) => Err(Absent::NotApplicable),
            Err(why) => Err(why),
        }
    }
    /// The name that `SetThreadDescription` gave it.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] without one.
    pub fn name(&self, space: &Space<'_>) -> Value<Text> {
        let at = self.view.name_raw()?.not_null()?;
        let layout = self.kernel.layout::<UnicodeString>().map_err(|_| Absent::NoSymbol)?;
        let view = space.view(layout, at);
        let width = space.pointer_size();
        let text = Counted { length: view.length()?, maximum: view.maximum()?, buffer: view.buffer()? };
        if width == 4 && text.buffer.0 > u64::from(u32::MAX) {
            return Err(Absent::Implausible);
        }
        match space.text(text)? {
            text if text.is_empty() => Err(Absent::NotApplicable),
            text => Ok(text),
        }
    }
    /// What it impersonates.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] while it acts as its process does.
    pub fn impersonation(&self, space: &Space<'_>) -> Value<Impersonation> {
        if self.view.impersonating()? == 0 {
            return Err(Absent::NotApplicable);
        }
        match self.view.client() {
            // _PS_CLIENT_SECURITY_CONTEXT: ImpersonationLevel in bits 0 and 1, EffectiveOnly in bit 2, the rest is the token.
            Ok(raw) => Ok(Impersonation {
                token: Va(raw & !7).not_null()?,
                level: u32::try_from(raw & 3).map_err(|_| Absent::Implausible)?,
                effective_only: raw & 4 != 0,
            }),
            Err(Absent::NotInBuild) => {
                let at = self.view.impersonation_info()?.not_null()?;
                let layout = self.kernel.layout::<OldImpersonation>().map_err(|_| Absent::NoSymbol)?;
                let old = space.view(layout, at);
                Ok(Impersonation {
                    token: old.token()?.not_null()?,
                    level: old.level()?,
                    effective_only: old.effective_only()? != 0,
                })
            }
            Err(why) => Err(why),
        }
    }
    /// The processors it may run on: a mask for each processor group, with the group's number.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn affinity(&self, space: &Space<'_>) -> Value<Vec<(u16, u64)>> {
        match self.view.affinity_mask() {
            Ok(mask) => return Ok(vec![(self.view.affinity_group().unwrap_or(0), mask)]),
            Err(Absent::NotInBuild) => {}
            Err(why) => return Err(why),
        }
        let member = self.kernel.symbols.types.member("_KTHREAD", "Affinity").ok_or(Absent::NotInBuild)?;
        let field: Field = self.view.layout.field("affinity")?;
        let raw = crate::bytes::le(self.view.bytes.at(field.offset, field.size)?).ok_or(Absent::Implausible)?;
        if !member.ty.starts_with('*') {
            return Ok(vec![(0, raw)]);
        }
        let layout = self.kernel.layout::<AffinityEx>().map_err(|_| Absent::NoSymbol)?;
        let view = space.view(layout, Va(raw).not_null()?);
        // KAFFINITY_EX has at most 32 words (Windows 11), of the machine's pointer size.
        let (count, width) = (u32::from(view.count()?), space.pointer_size());
        if count > 32 {
            return Err(Absent::Implausible);
        }
        let words = space.fetch(view.bitmap()?, count.saturating_mul(width));
        let word =
            |i: u16| crate::bytes::le(words.at(u32::from(i).saturating_mul(width), width)?).ok_or(Absent::Implausible);
        let all: Value<Vec<(u16, u64)>> = (0..view.count()?).map(|i| Ok((i, word(i)?))).collect();
        Ok(all?.into_iter().filter(|(_, mask)| *mask != 0).collect())
    }
}

layout! {
    /// `_UNICODE_STRING`, where a pointer leads to one.
    pub struct UnicodeString: "_UNICODE_STRING" {
        /// `Length`, in bytes.
        length: u16 = "Length",
        /// `MaximumLength`, in bytes.
        maximum: u16 = "MaximumLength",
        /// `Buffer`.
        buffer: Va = "Buffer",
    }
}

/// The name of an enumeration's value: as the symbols have it, else as every known kernel that has the enumeration does.
fn named<'k>(kernel: &'k Kernel, name: &str, known: &[&'static str], value: u8) -> Value<Cow<'k, str>> {
    if let Some(found) = kernel.symbols.types.enum_name(name, value.into()) {
        return Ok(Cow::Borrowed(found));
    }
    known.get(usize::from(value)).map(|n| Cow::Borrowed(*n)).ok_or(Absent::Implausible)
}

/// `_KTHREAD_STATE` of the 18 layout tables that have it; they agree.
const STATES: [&str; 10] = [
    "Initialized",
    "Ready",
    "Running",
    "Standby",
    "Terminated",
    "Waiting",
    "Transition",
    "DeferredReady",
    "GateWaitObsolete",
    "WaitingForProcessInSwap",
];

/// `_KWAIT_REASON` of the newest table (22631). Older ones are beginnings of it, but for 14, `WrEventPair` up to 7.
const WAIT_REASONS: [&str; 42] = [
    "Executive",
    "FreePage",
    "PageIn",
    "PoolAllocation",
    "DelayExecution",
    "Suspended",
    "UserRequest",
    "WrExecutive",
    "WrFreePage",
    "WrPageIn",
    "WrPoolAllocation",
    "WrDelayExecution",
    "WrSuspended",
    "WrUserRequest",
    "WrSpare0",
    "WrQueue",
    "WrLpcReceive",
    "WrLpcReply",
    "WrVirtualMemory",
    "WrPageOut",
    "WrRendezvous",
    "WrKeyedEvent",
    "WrTerminated",
    "WrProcessInSwap",
    "WrCpuRateControl",
    "WrCalloutStack",
    "WrKernel",
    "WrResource",
    "WrPushLock",
    "WrMutex",
    "WrQuantumEnd",
    "WrDispatchInt",
    "WrPreempted",
    "WrYieldExecution",
    "WrFastMutex",
    "WrGuardedMutex",
    "WrRundown",
    "WrAlertByThreadId",
    "WrDeferredPreempt",
    "WrPhysicalFault",
    "WrIoRing",
    "WrMdlCache",
];
