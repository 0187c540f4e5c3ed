//! Routines that drivers had the kernel call when something happens: notification callbacks, where the symbols tell of their lists.
//!
//! No PDB of the kernel describes the entries of these lists. Where they come from is said at each; what is read is believed only where it
//! bears itself out: a routine lies in the kernel's half, an object callback names the type it hangs on, a device is a device.

use super::Kernel;
use super::driver::{DriverObject, MAJOR_FUNCTIONS};
use super::list::List;
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::{Error, Result};
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Counted, Here, Layout};
use crate::value::{Absent, Note, Value};

layout! {
    /// What hangs on an object type.
    pub struct TypeCallbacks: "_OBJECT_TYPE" {
        /// `CallbackList` (Vista and later): what `ObRegisterCallbacks` put there.
        list: Here = "CallbackList",
    }
}
layout! {
    /// `_DEVICE_OBJECT`, for shutdown notifications.
    pub struct ShutdownDevice: "_DEVICE_OBJECT" {
        /// `Type`: 3 (`IO_TYPE_DEVICE` of wdm.h).
        kind: u16 = "Type",
        /// `DriverObject`.
        driver: Va = "DriverObject",
    }
}

/// `IO_TYPE_DEVICE` of wdm.h.
const IO_TYPE_DEVICE: u16 = 3;
/// Slots of a notification array: 64 from Vista on (in the symbols of 6.1.7601.24540 the three arrays lie 64 pointers apart); the
/// registry's of XP had 100.
const MOST_SLOTS: u64 = 100;
const SLOTS: u64 = 64;
/// More callbacks than a list has.
const MOST_CALLBACKS: usize = 1 << 16;

/// What a callback is called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A process is made or ends (`PsSetCreateProcessNotifyRoutine`).
    Process,
    /// A thread is made or ends.
    Thread,
    /// An image is mapped.
    Image,
    /// A registry operation (`CmRegisterCallback`).
    Registry,
    /// A handle to an object is made, before it is (`ObRegisterCallbacks`).
    ObjectPre,
    /// The same, after it was.
    ObjectPost,
    /// The machine stops (`KeRegisterBugCheckCallback`).
    Bugcheck,
    /// The machine stops and a dump is written (`KeRegisterBugCheckReasonCallback`).
    BugcheckReason,
    /// The machine is shut down (`IoRegisterShutdownNotification`): the driver's dispatch routine.
    Shutdown,
}

impl Kind {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Image => "image",
            Self::Registry => "registry",
            Self::ObjectPre => "object_pre",
            Self::ObjectPost => "object_post",
            Self::Bugcheck => "bugcheck",
            Self::BugcheckReason => "bugcheck_reason",
            Self::Shutdown => "shutdown",
        }
    }
}

/// One callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// What it is called for.
    pub kind: Kind,
    /// The list it is on, by its symbol.
    pub list: &'static str,
    /// Its slot or its place in the list, from 0.
    pub index: u64,
    /// Where its slot or entry stands.
    pub place: Place,
    /// The routine.
    pub routine: Value<Va>,
    /// What tells it from others: a registry callback's altitude, an object callback's type, a component's name, a driver's.
    pub detail: Value<String>,
}

/// What the lists of one kernel need.
struct Reader<'k> {
    kernel: &'k Kernel,
    space: Space<'k>,
    width: u64,
    out: Vec<Callback>,
    notes: Vec<Note>,
    lists: usize,
    /// Lists whose head is null, which the kernel never set up.
    unset: Vec<&'static str>,
}

impl Kernel {
    /// Every callback on the lists that the symbols tell of, kind by kind, and notes on the lists they do not tell of.
    ///
    /// # Errors
    /// The symbols tell of none of the lists.
    pub fn callbacks(&self) -> Result<(Vec<Callback>, Vec<Note>)> {
        let space = self.space();
        let width = space.pointer_size().into();
        let mut r =
            Reader { kernel: self, space, width, out: Vec::new(), notes: Vec::new(), lists: 0, unset: Vec::new() };
        r.array(Kind::Process, "PspCreateProcessNotifyRoutine", SLOTS);
        r.array(Kind::Thread, "PspCreateThreadNotifyRoutine", SLOTS);
        r.array(Kind::Image, "PspLoadImageNotifyRoutine", SLOTS);
        // XP's registry callbacks are such an array too; later kernels have a list.
        if self.symbol("CmpCallBackVector").is_some() {
            r.array(Kind::Registry, "CmpCallBackVector", MOST_SLOTS);
        } else {
            r.registry();
        }
        r.objects();
        r.bugchecks();
        r.shutdowns();
        if r.lists == 0 {
            let what = "no list of callbacks was found: the symbols name none of them";
            return Err(Error::NotAvailable(what.into()));
        }
        r.unset.dedup();
        if !r.unset.is_empty() {
            r.notes.push(Note::info(format!("callbacks: never set up, their heads are null: {}", r.unset.join(", "))));
        }
        Ok((r.out, r.notes))
    }
}

impl Reader<'_> {
    /// A list's head by its symbol, told where there is none.
    fn head(&mut self, symbol: &'static str) -> Option<Va> {
        match self.kernel.symbol(symbol) {
            Some(at) => {
                self.lists = self.lists.saturating_add(1);
                Some(at)
            }
            None => {
                self.notes.push(Note::info(format!("callbacks: no symbol {symbol}")));
                None
            }
        }
    }
    /// A routine: not null, and in the kernel's half.
    fn routine(&self, at: Va) -> Value<Va> {
        let va = self.space.pointer(at)?;
        if self.kernel.in_kernel_half(va) { Ok(va) } else { Err(Absent::Implausible) }
    }
    fn push(&mut self, kind: Kind, list: &'static str, index: u64, at: Va, routine: Value<Va>, detail: Value<String>) {
        let place = self.space.fetch(at, 1).place(0);
        self.out.push(Callback { kind, list, index, place, routine, detail });
    }

    /// An array of fast references, each to `{rundown protection, routine, context}`: the `EX_CALLBACK_ROUTINE_BLOCK` of the Windows Research
    /// Kernel, the same in the driver kit's descriptions of later ones.
    fn array(&mut self, kind: Kind, symbol: &'static str, most: u64) {
        let Some(array) = self.head(symbol) else { return };
        let mask = if self.width == 8 { 0xf } else { 7 };
        let slots = self.room(symbol).map_or(most, |room| (room / self.width).clamp(1, most));
        for index in 0..slots {
            let slot = array.add(index.saturating_mul(self.width));
            let block = match self.space.pointer(slot) {
                Ok(reference) => Va(reference.0 & !mask),
                Err(why) => {
                    self.notes.push(Note::loss(format!("{symbol}: slots from {index} on at {slot} are {why}")));
                    return;
                }
            };
            if block.is_null() {
                continue;
            }
            if !self.kernel.in_kernel_half(block) {
                // No reference: an array of older kernels is shorter, and what follows it is another global.
                continue;
            }
            let routine = self.routine(block.add(self.width));
            self.push(kind, symbol, index, slot, routine, Err(Absent::NotApplicable));
        }
    }
    /// Bytes from a symbol to the next one.
    fn room(&self, symbol: &str) -> Option<u64> {
        let globals = &self.kernel.symbols.globals;
        let rva = globals.get(symbol)?;
        // The last name before a place further on is the next name, if it is not this one.
        let furthest = u32::try_from(MOST_SLOTS.saturating_mul(self.width)).ok()?;
        (1..furthest)
            .map(|n| rva.saturating_add(n))
            .find(|place| globals.nearest(*place).is_some_and(|(_, past)| past == 0))
            .map(|next| u64::from(next.saturating_sub(rva)))
    }

    /// The entries of a list.
    fn entries(&mut self, symbol: &'static str, head: Va) -> Vec<Va> {
        match self.space.pointer(head) {
            Ok(first) if first.is_null() && self.space.pointer(head.add(self.width)) == Ok(Va(0)) => {
                self.unset.push(symbol);
                return Vec::new();
            }
            Ok(_) => {}
            Err(why) => {
                self.notes.push(Note::loss(format!("{symbol} at {head} is {why}")));
                return Vec::new();
            }
        }
        let list = List { what: symbol, head, width: self.space.pointer_size(), limit: MOST_CALLBACKS };
        let walked = list.walk(&self.space, |_| false);
        self.notes.extend(walked.notes);
        walked.links
    }

    /// `{list, two numbers, cookie (8 bytes), context, routine, altitude}`, as published descriptions of `CmRegisterCallback` agree for Vista and later:
    /// the routine is the fifth pointer on x64 (0x28), and at 0x1c on x86.
    fn registry(&mut self) {
        const LIST: &str = "CallbackListHead";
        let Some(head) = self.head(LIST) else { return };
        let routine = if self.width == 8 { 0x28 } else { 0x1c };
        for (index, entry) in (0u64..).zip(self.entries(LIST, head)) {
            let at = entry.add(routine);
            let altitude = self.text(at.add(self.width)).and_then(|t| {
                // An altitude is a decimal number, perhaps with a fraction.
                let number = t.chars().all(|c| c.is_ascii_digit() || c == '.');
                if number { Ok(t) } else { Err(Absent::Implausible) }
            });
            let routine = self.routine(at);
            self.push(Kind::Registry, LIST, index, entry, routine, altitude);
        }
    }
    /// The `_UNICODE_STRING` at an address.
    fn text(&self, at: Va) -> Value<String> {
        let short = |at| self.space.number(at, 2).and_then(|n| u16::try_from(n).map_err(|_| Absent::Implausible));
        let buffer = self.space.pointer(at.add(self.width))?;
        match self.space.text(Counted { length: short(at)?, maximum: short(at.add(2))?, buffer })? {
            text if text.is_empty() => Err(Absent::NotApplicable),
            text => Ok(text),
        }
    }

    /// `{list, operations (4 bytes), in use (4), registration, object type, before, after}`: borne out by the object type, which must be the
    /// one whose list this is.
    fn objects(&mut self) {
        const LIST: &str = "CallbackList";
        let Ok(layout) = self.kernel.layout::<TypeCallbacks>() else { return };
        let Ok(offset) = layout.field("list").map(|f| u64::from(f.offset)) else { return };
        let types = self.kernel.object_types();
        if types.list.is_empty() {
            self.notes.push(Note::info("callbacks: object types were not found, nor what hangs on them"));
            return;
        }
        self.lists = self.lists.saturating_add(1);
        for kind in types.list.values() {
            let mut index = 0u64;
            let name = kind.name.clone().map(std::borrow::Cow::into_owned);
            for entry in self.entries(LIST, kind.at.add(offset)) {
                let word = |n: u64| entry.add(8).add(n.saturating_mul(self.width));
                // Two pointers, eight bytes of numbers, the registration; then the type.
                if self.space.pointer(word(3)) != Ok(kind.at) {
                    let text = format!(
                        "callbacks: the entry at {entry} hangs on object type {} and does not name it",
                        kind.at
                    );
                    self.notes.push(Note::loss(text));
                    continue;
                }
                for (which, at) in [(Kind::ObjectPre, word(4)), (Kind::ObjectPost, word(5))] {
                    match self.space.pointer(at) {
                        Ok(routine) if routine.is_null() => {}
                        _ => {
                            let routine = self.routine(at);
                            self.push(which, LIST, index, entry, routine, name.clone());
                        }
                    }
                }
                index = index.saturating_add(1);
            }
        }
    }

    /// `KBUGCHECK_CALLBACK_RECORD` and `KBUGCHECK_REASON_CALLBACK_RECORD` of wdm.h, which PDBs of drivers hold: list, routine; then buffer, length and
    /// component, or component at once.
    fn bugchecks(&mut self) {
        for (kind, list, component) in [
            (Kind::Bugcheck, "KeBugCheckCallbackListHead", 5),
            (Kind::BugcheckReason, "KeBugCheckReasonCallbackListHead", 3),
        ] {
            let Some(head) = self.head(list) else { continue };
            for (index, entry) in (0u64..).zip(self.entries(list, head)) {
                let word = |n: u64| entry.add(n.saturating_mul(self.width));
                let name =
                    self.space.pointer(word(component)).and_then(|at| self.space.until_nul(at, 64)).and_then(|raw| {
                        let printable = !raw.is_empty() && raw.iter().all(|b| (0x20..0x7f).contains(b));
                        if printable {
                            Ok(String::from_utf8_lossy(&raw).into_owned())
                        } else {
                            Err(Absent::Implausible)
                        }
                    });
                let routine = self.routine(word(2));
                self.push(kind, list, index, entry, routine, name);
            }
        }
    }

    /// `{list, device}`: what is called is the `IRP_MJ_SHUTDOWN` routine of the device's driver. Borne out by the device's type.
    fn shutdowns(&mut self) {
        let Some(major) = MAJOR_FUNCTIONS.iter().position(|m| *m == "SHUTDOWN") else { return };
        for list in ["IopNotifyShutdownQueueHead", "IopNotifyLastChanceShutdownQueueHead"] {
            let Some(head) = self.head(list) else { continue };
            for (index, entry) in (0u64..).zip(self.entries(list, head)) {
                let driver = self.shutdown_driver(entry);
                let (routine, name) = match driver {
                    Ok(driver) => (driver.major.get(major).copied().unwrap_or(Err(Absent::Implausible)), driver.name),
                    Err(why) => (Err(why), Err(why)),
                };
                self.push(Kind::Shutdown, list, index, entry, routine, name);
            }
        }
    }
    fn shutdown_driver(&self, entry: Va) -> Value<super::driver::Driver> {
        let layout = self.kernel.layout::<ShutdownDevice>().map_err(|_| Absent::NoSymbol)?;
        self.kernel.layout::<DriverObject>().map_err(|_| Absent::NoSymbol)?;
        let device = self.space.view(layout, self.space.pointer(entry.add(self.width.saturating_mul(2)))?);
        if device.kind()? != IO_TYPE_DEVICE {
            return Err(Absent::Implausible);
        }
        match self.kernel.driver_at(&self.space, device.driver()?) {
            Ok(Some(driver)) => Ok(driver),
            Ok(None) => Err(Absent::Implausible),
            Err(_) => Err(Absent::NoSymbol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kernel_from_7_on_has_callbacks_on_its_object_types() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let layout = TypeCallbacks::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(layout.field("list").is_ok(), !name.contains("-5.1."), "{name}");
            ShutdownDevice::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
