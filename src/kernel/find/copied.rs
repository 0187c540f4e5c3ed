//! What the copies of a triage dump tell of a kernel that no layout is known of: the crashing process's and
//! thread's identity, and no more.
//!
//! The debugger block states where an `_EPROCESS` has its parent's id, its PEB and its page-table root, and how large it
//! and an `_ETHREAD` are. Behind the part that belongs to the processor, structures of one build lie the same on x64 and
//! ARM64; so distances are taken from the x64 layouts of the same build and every value they lead to is held against
//! another: any that does not fit, and nothing is told. (Measured on the real dump of 22000: everything behind `_KPROCESS`
//! lies 0x48 lower, everything behind `_KTHREAD` 0x20 higher.)

use crate::addr::{Pa, Va};
use crate::bytes::{Place, u64_at};
use crate::dump::{Arch, Dump, Part};
use crate::kernel::Kernel;
use crate::symbols::types::Types;
use crate::symbols::{Fallback, Machine, SymbolSource};
use crate::time::FileTime;

/// A process and its thread, as far as they speak for themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// `UniqueProcessId`.
    pub pid: u64,
    /// `InheritedFromUniqueProcessId`.
    pub ppid: u64,
    /// `ImageFileName`.
    pub name: String,
    /// `Pcb.DirectoryTableBase`, low bits cleared.
    pub dtb: Pa,
    /// `CreateTime`.
    pub created: FileTime,
    /// Where the copy of the process stands.
    pub process: Place,
    /// The thread's id and where its copy stands.
    pub thread: Option<(u64, Place)>,
    /// Whose layouts gave the distances.
    pub by: String,
}

/// Reads them.
pub(super) fn read(kernel: &Kernel, source: &dyn SymbolSource) -> Option<Copied> {
    // Pointers and ids of a 32-bit kernel have another width.
    if kernel.arch == Arch::X86 {
        return None;
    }
    let wanted = Fallback { machine: Machine::X64, build: kernel.build, revision: None };
    let near = source.fallbacks(&wanted).next()?;
    of(kernel, &near.types, &near.origin)
}

fn of(kernel: &Kernel, near: &Types, by: &str) -> Option<Copied> {
    let dump: &Dump = &kernel.dump;
    let triage = dump.triage()?;
    let block = kernel.kdbg.as_ref()?;
    let (part, stated) = (triage.process()?, |name| block.field(name));
    let offset = |ty, path| Some(i64::from(near.member(ty, path)?.offset));
    // How much lower or higher than on x64 the fields behind the processor's part lie: two that are stated must agree.
    let shift_of = |name, path| Some(i64::try_from(stated(name)?).ok()? - offset("_EPROCESS", path)?);
    let shift = shift_of("OffsetEprocessPeb", "Peb")?;
    if shift_of("OffsetEprocessParentCID", "InheritedFromUniqueProcessId")? != shift {
        return None;
    }
    let at = |path| usize::try_from(offset("_EPROCESS", path)?.checked_add(shift)?).ok();
    let id = |id: u64| id.is_multiple_of(4) && u32::try_from(id).is_ok();
    let pid = u64_at(part.bytes, at("UniqueProcessId")?).filter(|p| *p != 0 && id(*p))?;
    let ppid = u64_at(part.bytes, at("InheritedFromUniqueProcessId")?).filter(|p| id(*p))?;
    let links = at("ActiveProcessLinks")?;
    let kernel_address = |va: u64| va >= 0xffff_8000_0000_0000 && va.is_multiple_of(8);
    let linked = [links, links.checked_add(8)?].iter().all(|at| u64_at(part.bytes, *at).is_some_and(kernel_address));
    let root = u64_at(part.bytes, usize::try_from(stated("OffsetEprocessDirectoryTableBase")?).ok()?)?;
    let dtb = Pa(root).page();
    let created = FileTime(u64_at(part.bytes, at("CreateTime")?)?);
    // The machine's clock at the crash: no process ran for fifty years. One may be made later, where the clock was set back.
    let now = dump.header.as_ref()?.system_time?;
    let apart = now.0.abs_diff(created.0);
    let name = name(part.bytes.get(at("ImageFileName")?..)?.get(..15)?)?;
    let fits = linked && Some(dtb) == dump.header.as_ref()?.dtb && apart < 50 * 365 * 86_400 * 10_000_000;
    fits.then(|| Copied {
        pid,
        ppid,
        name,
        dtb,
        created,
        process: place(part),
        thread: triage.thread().and_then(|t| thread(kernel, near, t, pid)),
        by: by.to_owned(),
    })
}

/// The thread's id, where the copy names the process beside it.
fn thread(kernel: &Kernel, near: &Types, part: Part<'_>, pid: u64) -> Option<(u64, Place)> {
    // The idle thread of a processor has the id 0; which thread that is, the copied _KPRCB says.
    if pid == 4 && on_idle_thread(kernel) == Some(true) {
        return Some((0, place(part)));
    }
    let size = i64::try_from(kernel.kdbg.as_ref()?.field("SizeEThread")?).ok()?;
    let shift = size - i64::from(near.size_of("_ETHREAD")?);
    let at = i64::from(near.member("_ETHREAD", "Cid")?.offset).checked_add(shift)?;
    let at = usize::try_from(at).ok()?;
    let tid = u64_at(part.bytes, at.checked_add(8)?)?;
    let fits = u64_at(part.bytes, at) == Some(pid) && tid != 0 && tid.is_multiple_of(4) && u32::try_from(tid).is_ok();
    fits.then(|| (tid, place(part)))
}

/// Whether the processor that crashed ran its idle thread. The debugger block states where `_KPRCB.CurrentThread` is; `NextThread` and
/// `IdleThread` follow it in every layout table, from XP to Windows 11 24H2.
fn on_idle_thread(kernel: &Kernel) -> Option<bool> {
    let prcb = kernel.dump.triage()?.prcb()?;
    let at = usize::try_from(kernel.kdbg.as_ref()?.field("OffsetPrcbCurrentThread").filter(|at| *at != 0)?).ok()?;
    let (current, idle) = (u64_at(prcb.bytes, at)?, u64_at(prcb.bytes, at.checked_add(16)?)?);
    Some(current != 0 && current == idle)
}

/// 15 bytes: printable, then nothing.
fn name(raw: &[u8]) -> Option<String> {
    let end = raw.iter().position(|b| *b == 0).unwrap_or(raw.len());
    let (text, rest) = raw.split_at_checked(end)?;
    let plain = !text.is_empty() && text.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    (plain && rest.iter().all(|b| *b == 0)).then(|| String::from_utf8_lossy(text).into_owned())
}

fn place(part: Part<'_>) -> Place {
    Place { va: part.va.filter(|va| *va != Va(0)), pa: None, file: Some(part.file.into()) }
}
