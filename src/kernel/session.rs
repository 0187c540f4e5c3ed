//! Windows sessions: what a process's session number is.

use super::process::Process;
use crate::addr::Va;
use crate::layout;
use crate::paging::Space;
use crate::value::{Absent, Value};

layout! {
    /// `_MM_SESSION_SPACE`: one session, up to Windows 11 23H2.
    pub struct SessionSpace: "_MM_SESSION_SPACE" {
        /// `SessionId`.
        id: u32 = "SessionId",
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

/// The number of the session a process belongs to.
pub(super) fn id(process: &Process<'_>, space: &Space<'_>) -> Value<u32> {
    let at = process.view.session()?;
    if at.is_null() {
        return Err(Absent::NotApplicable);
    }
    let kernel = process.kernel;
    if let Ok(layout) = kernel.layout::<SessionSpace>() {
        return space.view(layout, at).id();
    }
    if let Ok(layout) = kernel.layout::<PspSessionSpace>() {
        return space.view(layout, at).id();
    }
    undescribed(process, space, at)
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
