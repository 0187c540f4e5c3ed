//! What threads wait on: events, mutants, semaphores, timers, completion ports.

use super::{Fact, Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::symbols::layout::Bits;
use crate::value::{Absent, Value};

layout! {
    /// `_KEVENT`.
    pub struct Event: "_KEVENT" {
        /// `Header.Type`: 0 notification, 1 synchronization.
        kind: u8 = "Header.Type",
        /// `Header.SignalState`.
        state: i32 = "Header.SignalState",
    }
}
layout! {
    /// `_KMUTANT`.
    pub struct Mutant: "_KMUTANT" {
        /// `Header.SignalState`: 1 free, 0 and less owned so many times.
        state: i32 = "Header.SignalState",
        /// `OwnerThread`.
        owner: Va = "OwnerThread",
        /// `Abandoned`: its owner ended without giving it back.
        abandoned: Bits = "Abandoned",
    }
}
layout! {
    /// `_KSEMAPHORE`.
    pub struct Semaphore: "_KSEMAPHORE" {
        /// `Header.SignalState`: what is left.
        state: i32 = "Header.SignalState",
        /// `Limit`.
        limit: i32 = "Limit",
    }
}
layout! {
    /// `_ETIMER`: a timer of user mode.
    pub struct Timer: "_ETIMER" {
        /// `KeTimer.Header.Type`: 8 notification, 9 synchronization.
        kind: u8 = "KeTimer.Header.Type",
        /// `KeTimer.Header.SignalState`.
        state: i32 = "KeTimer.Header.SignalState",
        /// `KeTimer.DueTime`, in interrupt time (100 ns since start).
        due: u64 = "KeTimer.DueTime",
        /// `Period`, in milliseconds.
        period: u32 = "Period",
    }
}
layout! {
    /// `_KQUEUE`: what a completion port is made of.
    pub struct Queue: "_KQUEUE" {
        /// `Header.SignalState`: entries that wait.
        state: i32 = "Header.SignalState",
        /// `CurrentCount`: threads that run.
        running: u32 = "CurrentCount",
        /// `MaximumCount`: threads that may run.
        limit: u32 = "MaximumCount",
    }
}

macro_rules! view {
    ($objects:expr, $L:ty, $body:expr) => {
        $objects.space.view($objects.kernel.layout::<$L>().map_err(|_| Absent::NoSymbol)?, $body)
    };
}

/// Names of the dispatcher's types by `_KOBJECTS`: those with two kinds.
fn kind(value: u8) -> Value<&'static str> {
    match value {
        0 | 8 => Ok("notification"),
        1 | 9 => Ok("synchronization"),
        _ => Err(Absent::Implausible),
    }
}

pub(super) fn event(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let v = view!(objects, Event, body);
    Ok(vec![
        ("kind", v.kind().map(|k| k & 0x7f).and_then(kind).into()),
        ("signalled", v.state().map(|s| s != 0).into()),
    ])
}

pub(super) fn mutant(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let v = view!(objects, Mutant, body);
    let owner = v.owner().and_then(Va::not_null);
    let tid = owner.and_then(|o| objects.kernel.thread_at(&objects.space, o).map_err(|_| Absent::NoSymbol)?.tid());
    Ok(vec![
        ("owned", v.state().map(|s| s <= 0).into()),
        ("owner_tid", tid.into()),
        ("owner", owner.into()),
        ("abandoned", v.abandoned().map(|a| a != 0).into()),
    ])
}

pub(super) fn semaphore(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let v = view!(objects, Semaphore, body);
    Ok(vec![("count", v.state().into()), ("limit", v.limit().into())])
}

pub(super) fn timer(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let v = view!(objects, Timer, body);
    Ok(vec![
        ("kind", v.kind().map(|k| k & 0x7f).and_then(kind).into()),
        ("signalled", v.state().map(|s| s != 0).into()),
        ("due_interrupt_time", v.due().map_or_else(Fact::Absent, Fact::Number)),
        ("period_ms", v.period().into()),
    ])
}

pub(super) fn queue(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let v = view!(objects, Queue, body);
    Ok(vec![("waiting", v.state().into()), ("running", v.running().into()), ("limit", v.limit().into())])
}
