//! The system service tables: where each system call leads. `KiServiceTable` is the kernel's own, `W32pServiceTable` that of win32k.
//!
//! A descriptor is four words: base, counters, number of services, bytes of arguments. No public PDB describes it; the two descriptors
//! of a table lie 4 pointers apart, and `KeServiceDescriptorTableShadow` and `KeServiceDescriptorTable` follow each other at twice that
//! (0x40 in the symbols of 6.1.7601.24540 x64). Where the symbols also name `KiServiceTable` and `KiServiceLimit`, these must agree.

use super::Kernel;
use crate::addr::Va;
use crate::bytes::{Place, le};
use crate::dump::Arch;
use crate::error::{Error, Result};
use crate::layout;
use crate::paging::Space;
use crate::value::{Absent, Note, Value};

layout! {
    /// `_ETHREAD`, for kernels that keep the table's address in each thread (all known x86 kernels).
    pub struct ThreadServices: "_ETHREAD" {
        /// `Tcb.ServiceTable`: a descriptor table.
        table: Va = "Tcb.ServiceTable",
    }
}

/// A system call's number has 12 bits for the service and above them the table.
const MOST_SERVICES: u64 = 1 << 12;

/// A service table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// `KiServiceTable`: the kernel.
    Kernel,
    /// `W32pServiceTable`: windows and graphics.
    Win32k,
}

impl Table {
    /// The name Windows gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "KiServiceTable",
            Self::Win32k => "W32pServiceTable",
        }
    }
    /// Its number in a system call's bits 12 and 13, and its place among the descriptors.
    #[must_use]
    pub const fn number(self) -> u64 {
        match self {
            Self::Kernel => 0,
            Self::Win32k => 1,
        }
    }
}

/// One system service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its table.
    pub table: Table,
    /// Its place in the table.
    pub index: u64,
    /// Where its entry stands.
    pub place: Place,
    /// The routine it leads to.
    pub routine: Value<Va>,
    /// Arguments on the stack, in pointers (x64: beyond the four in registers).
    pub arguments: Value<u8>,
}

impl Service {
    /// The system call's number (`eax`).
    #[must_use]
    pub const fn call(&self) -> u64 {
        self.table.number() << 12 | self.index
    }
}

/// A descriptor.
struct Descriptor {
    at: Va,
    base: Va,
    limit: u64,
    arguments: Va,
}

impl Kernel {
    /// Every system service, table by table, and notes on what could not be read.
    ///
    /// # Errors
    /// Nothing says where the tables are, or how this processor's kernels write them.
    pub fn services(&self) -> Result<(Vec<Service>, Vec<Note>)> {
        if self.arch == Arch::Arm64 {
            return Err(Error::NotAvailable("how ARM64 kernels write their service tables is not known".into()));
        }
        let space = self.space();
        let mut notes = Vec::new();
        let own = self.kernel_services(&space, &mut notes)?;
        let mut out = entries(&space, Table::Kernel, &own, &mut notes);
        out.extend(self.win32k_services(&space, &mut notes));
        Ok((out, notes))
    }

    /// The kernel's own table: by its descriptor, else by its own symbols.
    fn kernel_services(&self, space: &Space<'_>, notes: &mut Vec<Note>) -> Result<Descriptor> {
        let by_symbol = self.symbol("KiServiceTable");
        let limit = self.symbol("KiServiceLimit").ok_or(Absent::NoSymbol).and_then(|at| space.number(at, 4));
        let limit = limit.and_then(|n| if n == 0 || n > MOST_SERVICES { Err(Absent::Implausible) } else { Ok(n) });
        let at = self.global("KeServiceDescriptorTable").or_else(|| self.service_table_of_threads(space));
        let read = at.map(|at| (at, descriptor(space, at, Table::Kernel)));
        match (read, by_symbol) {
            (Some((at, Ok(found))), symbol) => {
                if let Some(symbol) = symbol.filter(|s| *s != found.base) {
                    notes.push(Note::info(format!(
                        "the descriptor at {at} leads to a service table at {}, not to KiServiceTable at {symbol}",
                        found.base
                    )));
                }
                if let Some(limit) = limit.ok().filter(|l| *l != found.limit) {
                    notes.push(Note::info(format!(
                        "the descriptor at {at} has {} services, KiServiceLimit is {limit}",
                        found.limit
                    )));
                }
                Ok(found)
            }
            (read, Some(base)) => {
                if let Some((at, Err(why))) = read {
                    notes.push(Note::loss(format!("KeServiceDescriptorTable at {at} is {why}")));
                }
                let limit = limit.map_err(|why| {
                    Error::NotAvailable(format!("KeServiceDescriptorTable cannot be read, and KiServiceLimit is {why}"))
                })?;
                Ok(Descriptor { at: base, base, limit, arguments: Va(0) })
            }
            (Some((at, Err(Absent::NotApplicable))), None) => {
                Err(Error::NotAvailable(format!("KeServiceDescriptorTable at {at} names no table: its base is null")))
            }
            (Some((at, Err(why))), None) => {
                Err(Error::NotAvailable(format!("KeServiceDescriptorTable at {at} is {why}")))
            }
            (None, None) => Err(Error::NotAvailable(
                "the system service table was not found: no symbol KeServiceDescriptorTable or KiServiceTable".into(),
            )),
        }
    }

    /// The descriptor table that System's threads use, where threads name one.
    fn service_table_of_threads(&self, space: &Space<'_>) -> Option<Va> {
        let layout = self.layout::<ThreadServices>().ok()?;
        let system = self.process_at(space, self.system?).ok()?;
        let threads = system.thread_list(space).ok()?.list;
        threads.iter().find_map(|t| space.view(layout, t.offset()?).table().and_then(Va::not_null).ok())
    }

    /// win32k's table, seen from a process that has windows where System does not map it.
    fn win32k_services(&self, space: &Space<'_>, notes: &mut Vec<Note>) -> Vec<Service> {
        let Some(at) = self.symbol("KeServiceDescriptorTableShadow") else {
            notes.push(Note::info("win32k's services: no symbol KeServiceDescriptorTableShadow"));
            return Vec::new();
        };
        let found = match descriptor(space, at, Table::Win32k) {
            Ok(found) => found,
            Err(Absent::NotApplicable) => return Vec::new(), // win32k was not loaded
            Err(why) => {
                notes.push(Note::info(format!("win32k's services: the descriptor in the table at {at} is {why}")));
                return Vec::new();
            }
        };
        if space.slice(found.base, 4).is_ok() {
            return entries(space, Table::Win32k, &found, notes);
        }
        let with_windows = |p: &super::process::Process<'_>| p.view.win32_process().is_ok_and(|w| !w.is_null());
        let processes = self.processes().map(|p| p.list).unwrap_or_default();
        let mut spaces = processes.iter().filter(|p| with_windows(p)).filter_map(|p| p.whole_space().ok());
        match spaces.find(|s| s.slice(found.base, 4).is_ok()) {
            Some(space) => entries(&space, Table::Win32k, &found, notes),
            None => {
                let text = format!("win32k's services: no process maps the table at {}", found.base);
                notes.push(Note::loss(text));
                Vec::new()
            }
        }
    }
}

/// One descriptor of a descriptor table.
fn descriptor(space: &Space<'_>, table: Va, which: Table) -> Value<Descriptor> {
    let width = u64::from(space.pointer_size());
    let at = table.add(which.number().saturating_mul(width.saturating_mul(4)));
    let word = |n: u64| at.add(n.saturating_mul(width));
    let base = space.pointer(word(0))?.not_null()?;
    let limit = space.number(word(2), 4)?;
    if limit == 0 || limit > MOST_SERVICES {
        return Err(Absent::Implausible);
    }
    Ok(Descriptor { at, base, limit, arguments: space.pointer(word(3)).unwrap_or(Va(0)) })
}

/// The entries of a table. Four bytes each: on x86 an address; on x64 the distance from the table times sixteen, with the
/// number of arguments on the stack in the low four bits.
fn entries(space: &Space<'_>, table: Table, found: &Descriptor, notes: &mut Vec<Note>) -> Vec<Service> {
    let wide = space.pointer_size() == 8;
    let mut unread = 0u64;
    let mut out = Vec::new();
    for index in 0..found.limit {
        let bytes = space.fetch(found.base.add(index.saturating_mul(4)), 4);
        let raw = bytes.all().and_then(|b| le(b).ok_or(Absent::Implausible));
        let routine = raw.map(|raw| decode(wide, found.base, raw));
        if routine.is_err() {
            unread = unread.saturating_add(1);
        }
        let arguments = if wide {
            raw.map(|raw| (raw & 0xf) as u8)
        } else {
            found.arguments.not_null().and_then(|at| space.number(at.add(index), 1)).map(|bytes| (bytes / 4) as u8)
        };
        out.push(Service { table, index, place: bytes.place(0), routine, arguments });
    }
    if unread > 0 {
        notes.push(Note::loss(format!(
            "{} by the descriptor at {}: {unread} of {} entries cannot be read",
            table.name(),
            found.at,
            found.limit
        )));
    }
    out
}

/// The address an entry means.
fn decode(wide: bool, table: Va, raw: u64) -> Va {
    if !wide {
        return Va(raw & 0xffff_ffff);
    }
    let signed = i64::from(raw as u32 as i32) >> 4;
    Va(table.0.wrapping_add_signed(signed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;
    use crate::paging::Mode;
    use crate::paging::testing::Memory;

    #[test]
    fn the_two_ways_of_writing() {
        let table = Va(0xffff_f807_1d4c_79f0);
        assert_eq!(decode(true, table, 0x0012_3450), Va(table.0 + 0x1_2345));
        assert_eq!(decode(true, table, 0xffff_fff7), Va(table.0 - 1), "negative, with seven arguments below");
        assert_eq!(decode(false, Va(0x8265_0000), 0x8288_1234), Va(0x8288_1234));
    }

    /// A 32-bit descriptor table with two services and their argument bytes.
    fn narrow() -> Memory {
        let mut m = Memory::new(Mode::Pae, Pa(0x10_0000));
        m.map(Va(0x8265_0000), Pa(0x1000), 12);
        let words: [u32; 4] = [0x8265_0100, 0, 2, 0x8265_0200];
        let raw: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        m.write(Pa(0x1010), &raw);
        m.write(Pa(0x1100), &[0x8288_1234u32.to_le_bytes(), 0x9c00_0010u32.to_le_bytes()].concat());
        m.write(Pa(0x1200), &[24, 0]);
        m
    }

    #[test]
    fn a_32_bit_table_holds_addresses_and_bytes_of_arguments() {
        let m = narrow();
        let dump = m.dump();
        let space = Space::new(&dump, Mode::Pae, m.root);
        let found = descriptor(&space, Va(0x8265_0010), Table::Kernel).unwrap();
        let mut notes = Vec::new();
        let services = entries(&space, Table::Kernel, &found, &mut notes);
        let got: Vec<_> = services.iter().map(|s| (s.call(), s.routine, s.arguments)).collect();
        assert_eq!(got, [(0, Ok(Va(0x8288_1234)), Ok(6)), (1, Ok(Va(0x9c00_0010)), Ok(0))]);
        assert_eq!(services[1].place.pa, Some(Pa(0x1104)));
        assert!(notes.is_empty());
    }

    #[test]
    fn a_descriptor_of_nonsense_is_none() {
        let mut m = narrow();
        m.write(Pa(0x1018), &0x1001u32.to_le_bytes()); // more services than a call's number can name
        let dump = m.dump();
        let space = Space::new(&dump, Mode::Pae, m.root);
        assert_eq!(descriptor(&space, Va(0x8265_0010), Table::Kernel).err(), Some(Absent::Implausible));
        assert_eq!(descriptor(&space, Va(0x8265_0010), Table::Win32k).err(), Some(Absent::NotApplicable));
    }
}
