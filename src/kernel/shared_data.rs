//! `KUSER_SHARED_DATA`: the page that the kernel shares with every process. Clock, tick length, version.
//!
//! Its address is fixed in every Windows since XP (`wdm.h`, `ntexapi_x.h`: `KI_USER_SHARED_DATA`):
//! `0xFFFFF780_00000000` on x64 and ARM64, `0xFFDF0000` on x86.

use super::Kernel;
use super::system::SystemData;
use crate::addr::Va;
use crate::bytes::Place;
use crate::bytes::le;
use crate::dump::Arch;
use crate::layout;
use crate::paging::{Mode, Space};
use crate::symbols::layout::{Layout, View};
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};

layout! {
    /// `_KUSER_SHARED_DATA`.
    pub struct SharedData: "_KUSER_SHARED_DATA" {
        /// `SystemTime`, a `_KSYSTEM_TIME`: low part, then high part twice.
        system_time_raw: [u8; 12] = "SystemTime",
        /// `InterruptTime`: 100 ns since the machine started.
        interrupt_time_raw: [u8; 12] = "InterruptTime",
        /// `TickCount`: clock ticks since the machine started (Server 2003 and later).
        tick_count_raw: [u8; 12] = "TickCount",
        /// `TickCountLowDeprecated`, XP's `TickCountLow`.
        tick_count_low: u32 = "TickCountLow",
        /// `TickCountMultiplier`: milliseconds of a tick, times 2²⁴.
        multiplier: u32 = "TickCountMultiplier",
    }
}

/// The 64-bit value of a `_KSYSTEM_TIME`. A torn one (written while it was read) is implausible.
fn system_time(raw: &[u8; 12]) -> Value<u64> {
    let [low, high, again] = [0, 4, 8].map(|at| raw.get(at..at + 4).and_then(le));
    match (low, high, again) {
        (Some(low), Some(high), Some(again)) if high == again => Ok(high << 32 | low),
        _ => Err(Absent::Implausible),
    }
}

/// From half a millisecond to a fifth of a second: anything else is no clock's tick.
fn a_tick(length: u64) -> Value<u64> {
    if (5_000..=2_000_000).contains(&length) { Ok(length) } else { Err(Absent::Implausible) }
}

/// Clocks of the moment the dump was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The system time.
    pub now: Value<FileTime>,
    /// Ticks since start.
    pub ticks: Value<u64>,
    /// 100 ns units in a tick (usually 156,250).
    pub tick: Value<u64>,
}

impl Clock {
    /// The duration of so many ticks, in 100 ns.
    ///
    /// # Errors
    /// Why the length of a tick is not known.
    pub fn duration(&self, ticks: u64) -> Value<u64> {
        self.tick?.checked_mul(ticks).ok_or(Absent::Implausible)
    }
    /// How long ago a 32-bit tick count was, in 100 ns.
    ///
    /// # Errors
    /// Why the tick count is not known.
    pub fn since(&self, tick_count: u32) -> Value<u64> {
        let now = self.ticks? & u64::from(u32::MAX);
        let now = u32::try_from(now).map_err(|_| Absent::Implausible)?;
        self.duration(now.wrapping_sub(tick_count).into())
    }
}

impl Kernel {
    /// Where the shared page lies in kernel space.
    #[must_use]
    pub fn shared_data_va(&self) -> Va {
        match self.arch {
            Arch::X86 => Va(0xffdf_0000),
            Arch::X64 | Arch::Arm64 => Va(0xffff_f780_0000_0000),
        }
    }
    /// The shared page seen through a layout.
    ///
    /// # Errors
    /// Why it cannot be read; [`Absent::Implausible`] where what lies there is no such page: a lost page that was written as zeros has no
    /// version of Windows in it, and its other zeros are no values either.
    pub(super) fn shared_view<'s, L: Layout>(&self, space: &Space<'s>, layout: &'s L) -> Value<View<'s, L>> {
        let at = self.shared_data_va();
        // `NtMajorVersion`: 5, 6 and 10 so far.
        match self.layout::<SystemData>().map(|system| space.view(system, at).major()) {
            Ok(Ok(5..=20)) | Ok(Err(Absent::NotInBuild)) | Err(_) => Ok(space.view(layout, at)),
            Ok(Ok(_)) => Err(Absent::Implausible),
            Ok(Err(why)) => Err(why),
        }
    }
    /// What is lost where the shared page is not in the dump, as a note. Dumps that keep only blocks of memory never promise it.
    #[must_use]
    pub fn shared_page_note(&self) -> Option<Note> {
        let layout = self.layout::<SystemData>().ok().filter(|_| self.mode != Mode::Blocks)?;
        let why = self.shared_view(&self.space(), layout).err()?;
        Some(Note::loss(format!(
            "the page KUSER_SHARED_DATA at {} is {why}: the time of the dump, the length of a clock tick, version and product are not known from it",
            self.shared_data_va()
        )))
    }
    /// Where the system time stands.
    #[must_use]
    pub fn system_time_place(&self, space: &Space<'_>) -> Option<Place> {
        let layout = self.layout::<SharedData>().ok()?;
        space.view(layout, self.shared_data_va()).at(SharedData::system_time_raw)
    }
    /// The clocks of the moment the dump was taken.
    #[must_use]
    pub fn clock(&self, space: &Space<'_>) -> Clock {
        let Ok(layout) = self.layout::<SharedData>() else {
            return Clock { now: Err(Absent::NoSymbol), ticks: Err(Absent::NoSymbol), tick: Err(Absent::NoSymbol) };
        };
        let data = match self.shared_view(space, layout) {
            Ok(data) => data,
            Err(why) => {
                return Clock { now: Err(why), ticks: Err(why), tick: self.tick_of_kernel(space).map_err(|_| why) };
            }
        };
        let now = data.system_time_raw().and_then(|raw| system_time(&raw));
        let ticks = match data.tick_count_raw() {
            Ok(raw) => system_time(&raw),
            Err(Absent::NotInBuild) => data.tick_count_low().map(u64::from),
            Err(why) => Err(why),
        };
        let shared = data.multiplier().map(|m| u64::from(m).saturating_mul(10_000) >> 24);
        let tick = shared.and_then(a_tick).or_else(|why| self.tick_of_kernel(space).map_err(|_| why));
        Clock { now: now.map(FileTime), ticks, tick }
    }
    /// The kernel's own copy of the length of a tick, where the shared one says nothing.
    fn tick_of_kernel(&self, space: &Space<'_>) -> Value<u64> {
        space.number(self.global("KeMaximumIncrement").ok_or(Absent::NoSymbol)?, 4).and_then(a_tick)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_time_is_no_time() {
        let mut raw = [1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0];
        assert_eq!(system_time(&raw), Ok(0x2_0000_0001));
        raw[8] = 3;
        assert_eq!(system_time(&raw), Err(Absent::Implausible));
    }
    #[test]
    fn ticks_wrap() {
        let clock = Clock { now: Err(Absent::NotInDump), ticks: Ok(0x1_0000_0005), tick: Ok(156_250) };
        assert_eq!(clock.since(5), Ok(0));
        assert_eq!(clock.since(0xffff_ffff), Ok(6 * 156_250));
    }
}
