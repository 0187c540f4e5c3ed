//! Of a triage dump: the copied process and thread.

use super::End::{self, Failed, Passed, Unknown};
use crate::addr::Va;
use crate::bytes::{Bytes, le};
use crate::dump::{Part, Triage};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::thread::Thread;
use crate::value::Value;

/// Why the copied thread ran in the copied process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    /// It is a thread of that process.
    Own,
    /// It is a processor's idle thread.
    Idle,
    /// It is a thread of another process and was attached to this one.
    Attached,
    /// Nothing explains it.
    Unknown,
}

impl Kernel {
    /// Of a triage dump: the copied process and thread belong together and to the header.
    pub(super) fn check_copies(&self, triage: Triage<'_>) -> End {
        let (Some(process), Some(thread)) = (triage.process(), triage.thread()) else {
            return Unknown("copies of process and thread (the dump keeps none)".into());
        };
        let bytes = |part: Part<'_>| Bytes::from_vec(part.bytes.to_vec());
        let (Ok(process), Ok(thread)) = (self.process_of(bytes(process)), self.thread_of(bytes(thread))) else {
            return Failed("no layout of processes and threads".into());
        };
        let mut wrong = Vec::new();
        if process.view.kind() != Ok(3) {
            wrong.push("its dispatcher type is not 3");
        }
        let plain = |n: String| !n.is_empty() && n.chars().all(|c| !c.is_control() && c != '\u{fffd}');
        if !process.name().is_ok_and(plain) {
            wrong.push("its name is not printable");
        }
        let id = |v: Value<u64>| v.is_ok_and(|v| v != 0 && v.is_multiple_of(4) && v <= u64::from(u32::MAX));
        if !id(process.pid()) {
            wrong.push("its id is none");
        }
        let runs = self.how_it_runs(triage, &process, &thread);
        if runs != Runs::Idle && !id(thread.tid()) {
            wrong.push("its thread's id is none");
        }
        // The header's root is the crashing context's; with shadowed kernel addresses it may be the process's other one.
        let root = self.dump.header.as_ref().and_then(|h| h.dtb);
        let own = [process.dtb(), process.user_dtb()].into_iter().flatten().any(|d| Some(d) == root);
        if root.is_some() && !own {
            wrong.push("its page-table root is not the header's");
        }
        if runs == Runs::Unknown {
            wrong.push("its thread names another process");
        }
        if wrong.is_empty() {
            Passed("the copied process and thread belong together and to the header".into())
        } else {
            Failed(format!("the copied process does not fit: {}", wrong.join(", ")))
        }
    }
    /// How the copied thread came to run in the copied process: Windows copies the process whose address space was in use.
    fn how_it_runs(&self, triage: Triage<'_>, process: &Process<'_>, thread: &Thread<'_>) -> Runs {
        let owner = self.symbols.types.member("_ETHREAD", "Cid.UniqueProcess");
        let owner = owner.and_then(|m| le(thread.view.bytes.at(m.offset, m.size).ok()?));
        if owner.is_some() && owner == process.pid().ok() {
            return Runs::Own;
        }
        let (Ok(home), Ok(attached)) = (thread.view.owner(), thread.view.attached()) else { return Runs::Unknown };
        let in_image = |va: Va| self.size.is_some_and(|size| va >= self.base && va < self.base.add(size.into()));
        // Idle is no object of the pool: its _EPROCESS is a global of the kernel (KiInitialProcess). Its threads have the ids 0
        // and 0, and run on what System's page tables map.
        let idle = owner == Some(0) && thread.tid() == Ok(0) && in_image(home) && !in_image(attached);
        if idle && process.pid() == Ok(4) && self.idle_on_processor(triage) != Some(false) {
            return Runs::Idle;
        }
        // KeStackAttachProcess: a thread of one process in the address space of another.
        let kernel = |va: Va| va.0 >= 0x8000_0000 && va.0.is_multiple_of(8);
        let plain = owner.is_some_and(|id| id != 0 && id.is_multiple_of(4) && id <= u64::from(u32::MAX));
        if plain && home != attached && kernel(home) && kernel(attached) && !in_image(home) && !in_image(attached) {
            return Runs::Attached;
        }
        Runs::Unknown
    }
    /// Whether the processor that crashed ran its idle thread, by the copied `_KPRCB`.
    fn idle_on_processor(&self, triage: Triage<'_>) -> Option<bool> {
        let prcb = triage.prcb()?;
        let pointer = |name| {
            let m = self.symbols.types.member("_KPRCB", name)?;
            let from = usize::try_from(m.offset).ok()?;
            le(prcb.bytes.get(from..from.checked_add(usize::try_from(m.size).ok()?)?)?)
        };
        let (current, idle) = (pointer("CurrentThread")?, pointer("IdleThread")?);
        Some(current != 0 && current == idle)
    }
}
