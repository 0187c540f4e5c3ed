//! Windows sessions: what a process's session number is.

use super::Kernel;
use super::list::List;
use super::process::Process;
use crate::addr::Va;
use crate::bytes::Place;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Here, Link};
use crate::value::{Absent, Value};

layout! {
    /// `_MM_SESSION_SPACE`: one session, up to Windows 11 23H2.
    pub struct SessionSpace: "_MM_SESSION_SPACE" {
        /// `SessionId`.
        id: u32 = "SessionId",
        /// `ProcessList`: its processes, by their `SessionProcessLinks`.
        processes: Here = "ProcessList",
    }
}
layout! {
    /// How a process hangs in its session's list.
    pub struct SessionMember: "_EPROCESS" {
        /// `SessionProcessLinks`.
        links: Link = "SessionProcessLinks",
        /// `Session`.
        session: Va = "Session",
    }
}
layout! {
    /// `_PSP_SESSION_SPACE`: its name from 24H2 on.
    pub struct PspSessionSpace: "_PSP_SESSION_SPACE" {
        /// `SessionId`.
        id: u32 = "SessionId",
    }
}
layout! {
    /// The session number in the PEB.
    pub struct PebSession: "_PEB" {
        /// `SessionId`.
        id: u32 = "SessionId",
    }
}

/// The offset of `SessionId` in the session structure of every kernel that describes it (22 of 22 layout tables, x86 and x64).
/// 24H2's PDB has no such type, yet keeps the structure.
const SESSION_ID: u64 = 8;
/// The offset of `ProcessList` in it, the same in 21 of 22 layout tables (XP alone has 0x14). For kernels whose PDB lacks the type; what
/// hangs there is believed only where its processes name the session themselves.
const PROCESS_LIST: u64 = 0x10;
/// Bytes at a session's start that are never all zero: its count of references and its list of processes are among them.
const SESSION_START: u32 = 0x40;
/// More processes than a session has.
const MOST_PROCESSES: usize = 1 << 20;

impl Kernel {
    /// The processes on the list of the session at `session` (what `_EPROCESS.Session` holds): the addresses of their `_EPROCESS`, in list
    /// order. What does not name this session itself is left out.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`]: the symbols do not say where the list is, and nothing that looks like it is in the usual place; or why the
    /// session cannot be read.
    pub fn session_processes(&self, space: &Space<'_>, session: Va) -> Value<Vec<Va>> {
        let member = self.layout::<SessionMember>().map_err(|_| Absent::NoSymbol)?;
        let described = self.described::<SessionSpace>();
        let head = match described {
            Some(layout) => {
                let view = space.view(layout, session);
                view.id()?; // tells whether the session can be read at all
                view.processes()?
            }
            None => {
                let head = session.add(PROCESS_LIST);
                space.pointer(head)?;
                head
            }
        };
        let offset = crate::symbols::layout::Layout::field(member, "links")?.offset;
        let belongs = |link: Va| space.view(member, link.sub(offset.into())).session() == Ok(session);
        let list = List { what: "session's process list", head, width: space.pointer_size(), limit: MOST_PROCESSES };
        let (found, _) = list.members(space, offset, belongs);
        if found.is_empty() && described.is_none() { Err(Absent::NoSymbol) } else { Ok(found) }
    }
}

/// The number of the session a process belongs to.
pub(super) fn id(process: &Process<'_>, space: &Space<'_>) -> Value<u32> {
    let at = process.view.session()?;
    if at.is_null() {
        return Err(Absent::NotApplicable);
    }
    let kernel = process.kernel;
    // A session has references, lists, a name: nothing but zeros is a page that the dump lost, and no session 0.
    if space.fetch(at, SESSION_START).all().is_ok_and(|all| all.iter().all(|b| *b == 0)) {
        return Err(Absent::Implausible);
    }
    if let Some(layout) = kernel.described::<SessionSpace>() {
        return space.view(layout, at).id();
    }
    if let Some(layout) = kernel.described::<PspSessionSpace>() {
        return space.view(layout, at).id();
    }
    undescribed(process, space, at)
}

/// Where that number is.
pub(super) fn id_at(process: &Process<'_>, space: &Space<'_>) -> Option<Place> {
    let at = process.view.session().ok().filter(|at| !at.is_null())?;
    let kernel = process.kernel;
    if let Some(layout) = kernel.described::<SessionSpace>() {
        return Some(space.place(SessionSpace::id.of(layout, at)?));
    }
    match kernel.described::<PspSessionSpace>() {
        Some(layout) => Some(space.place(PspSessionSpace::id.of(layout, at)?)),
        None => Some(space.place(at.add(SESSION_ID))),
    }
}

/// Without a type: the number at its usual offset, refused where the PEB tells another.
fn undescribed(process: &Process<'_>, space: &Space<'_>, at: Va) -> Value<u32> {
    let id = u32::try_from(space.number(at.add(SESSION_ID), 4)?).map_err(|_| Absent::Implausible)?;
    let by_peb = || -> Value<u32> {
        let layout = process.kernel.layout::<PebSession>().map_err(|_| Absent::NoSymbol)?;
        process.space()?.view(layout, process.peb()?).id()
    };
    match by_peb() {
        Ok(other) if other != id => Err(Absent::Implausible),
        _ => Ok(id),
    }
}
