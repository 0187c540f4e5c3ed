//! `_TEB`: what user mode keeps of a thread. On a 64-bit Windows a 32-bit thread has two.

use super::Kernel;
use super::peb::layout_for;
use crate::addr::Va;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Here, View};
use crate::value::{Absent, Value};

layout! {
    /// `_TEB`, as far as its first page goes. The 32-bit one of a 64-bit Windows is the same, laid out for 32-bit pointers.
    pub struct TebLayout: "_TEB" {
        /// `NtTib.ExceptionList`; in the 64-bit TEB of a 32-bit thread the 32-bit TEB's address.
        exceptions: Va = "NtTib.ExceptionList",
        /// `NtTib.StackBase`: the stack's upper end.
        stack_base: Va = "NtTib.StackBase",
        /// `NtTib.StackLimit`: down to here it is committed.
        stack_limit: Va = "NtTib.StackLimit",
        /// `NtTib.Self`: its own address.
        itself: Va = "NtTib.Self",
        /// `ClientId.UniqueProcess`.
        pid: u64 = "ClientId.UniqueProcess",
        /// `ClientId.UniqueThread`.
        tid: u64 = "ClientId.UniqueThread",
        /// `ProcessEnvironmentBlock`.
        peb: Va = "ProcessEnvironmentBlock",
        /// `LastErrorValue`: what `GetLastError` gives.
        last_error: u32 = "LastErrorValue",
    }
}
layout! {
    /// `_TEB`, what stands far behind.
    pub struct TebTail: "_TEB" {
        /// `DeallocationStack`: down to here it is reserved.
        reserved_limit: Va = "DeallocationStack",
        /// `TlsSlots`, 64 pointers.
        tls_slots: Here = "TlsSlots",
        /// `SubProcessTag`: in service hosts the service it works for (Vista and later).
        service_tag: u64 = "SubProcessTag",
        /// `WowTebOffset`: from this TEB to the other (Windows 10).
        other: i32 = "WowTebOffset",
    }
}

/// A TEB.
#[derive(Clone, Debug)]
pub struct Teb<'a> {
    /// Its fields.
    pub view: View<'a, TebLayout>,
    /// Those of its second page.
    pub tail: View<'a, TebTail>,
    /// Whether it is the 32-bit one of a 64-bit Windows.
    pub wow64: bool,
}

impl Kernel {
    /// The TEB at an address.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`] without its type; [`Absent::Implausible`] when it does not name itself.
    pub fn teb<'s>(&'s self, space: &Space<'s>, va: Va, wow64: bool) -> Value<Teb<'s>> {
        let layout = layout_for::<TebLayout>(self, wow64).map_err(|_| Absent::NoSymbol)?;
        let tail = layout_for::<TebTail>(self, wow64).map_err(|_| Absent::NoSymbol)?;
        let view = space.view(layout, va);
        if view.itself()? != va {
            return Err(Absent::Implausible);
        }
        Ok(Teb { view, tail: space.view_part(tail, va), wow64 })
    }
}

impl Teb<'_> {
    /// The 32-bit TEB of a 32-bit thread, found from the 64-bit one.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for a thread that has none.
    pub fn other_half(&self) -> Value<Va> {
        let here = self.view.va().ok_or(Absent::NotRecorded)?;
        // The 64-bit exception list, which 64-bit code does not use, holds the address in every Windows; the distance, which lies in the
        // TEB's second page, is there from Windows 10 on.
        let listed = self.view.exceptions().and_then(|va| match va {
            Va(0) => Err(Absent::NotApplicable),
            va if va.0 <= u64::from(u32::MAX) => Ok(va),
            _ => Err(Absent::Implausible),
        });
        match self.tail.other() {
            Ok(0) => Err(Absent::NotApplicable),
            Ok(distance) => Ok(Va(here.0.wrapping_add_signed(distance.into()))),
            Err(_) => listed,
        }
    }
}
