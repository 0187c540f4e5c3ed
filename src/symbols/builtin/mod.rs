//! Layouts of known kernels, compiled in: with no network and no PDB a dump still opens.
//!
//! `symbols/tables/` holds them as text, made to be read and compared, reduced to the structures that dumpwalk names
//! and all that these hold by value. `tests/tables.rs` makes the files from the full tables and holds them current.
//!
//! `kernels.txt` says which kernel has which layout. Kernels whose layouts are the same in everything that is kept
//! here share one:
//!
//! ```text
//! layout <machine> <key> <basis>                 the key: build and revision of one of its kernels
//!  <version> <pdb name or -> <GUID+age or ->     a kernel that has it; `globals` at the end: symbols are kept too
//! ```
//!
//! `x86.txt`, `x64.txt` and `arm64.txt` have one line for each member of a structure, with its offsets from the oldest
//! layout to the newest (the order of `kernels.txt`), so that a reader sees what moved when:
//!
//! ```text
//! struct <type> <key>=<size> …                   or: union
//!  <field> <type>[:<bit>,<length>] <size> <key>=<offset> …
//! enum <type> <size> <key>=1 … : <name>=<value> …
//! symbol <name> <version>=<rva> …
//! ```
//!
//! A number holds from the layout of its key on, up to the next key of the line; `-` says that from there on it is not
//! there. Numbers are hexadecimal, bits and values of enumerations decimal. Symbols hold for the one kernel named.
//! Compiled in are the files packed with gzip; they are unpacked when a layout is asked for.
//!
//! # Sources, and how sure a layout is
//!
//! Sizes and offsets are facts of a binary; no program text of the sources is kept. [`Basis`] says of each layout:
//!
//! * `pdb`: symbol files of JPCERTCC/Windows-Symbol-Tables (BSD-3-Clause), made from the public PDBs. Exact, and bound
//!   to the PDB's GUID. The others are of a version, not of a GUID.
//! * `headers`: novafacing/vergilius-rs (Apache-2.0), made from the public PDBs by way of vergiliusproject.com.
//! * `stated`: numbers that the type files of Volatility 2 state, made from the public PDBs (facts only); no
//!   enumerations.
//! * `structures`: generated structures of Rickebo/ntoskrnlib (MIT), made from the public PDB of Windows 11 24H2; no
//!   enumerations, and some bit-fields with lengths carried over from the release before.
//! * `computed`: worked out from the layout of a sibling of the same build. x86 with PAE from x86 without (entries of
//!   page tables have eight bytes; what holds one is laid out again; their bits are left out before 7601.24000). ARM64 from x64, with the differences that headers
//!   of ARM64 kernels show; held against published offsets of hundreds of ARM64 kernels, but members that nothing was
//!   held against may be wrong: `_HANDLE_TABLE` and its entries were, as the handle table of a real dump shows. The identifier's field is left out for ARM64 1709 and 1803, where no source has it.
//!
//! Of build 28000 only 30 members of 10 types are published. All lie where 26100 has them (a test holds that), so
//! kernels of that build are offered 26100's layouts, under the checks for layouts of another build; a layout of 30
//! members alone would read nothing.

mod catalog;
mod read;

pub use catalog::{Basis, Known, known};

use super::{Fallback, PdbId, Symbols};
use crate::value::Note;
use catalog::layouts;
use std::cmp::Reverse;

impl Known {
    /// Its layouts, and its globals too where they are asked for and built in. Those hold for this very kernel only.
    #[must_use]
    pub fn load(&self, with_globals: bool) -> Symbols {
        let mut symbols =
            read::layout(self.layout, (with_globals && self.has_globals).then_some(self.version.as_str()));
        symbols.version = Some(self.version.clone());
        symbols.id = self.id.clone().filter(|_| with_globals);
        symbols
    }
}

/// The built-in layouts of exactly this kernel, with its globals where they are built in.
#[must_use]
pub fn exact(id: &PdbId) -> Option<Symbols> {
    let same = |k: &&Known| k.id.as_ref().is_some_and(|i| i.guid == id.guid && i.age == id.age);
    let found = known().iter().find(same)?;
    let mut symbols = found.load(true);
    let globals = if found.has_globals { "" } else { "; where its globals lie is not" };
    symbols.notes.push(Note::info(format!(
        "exact layouts of this kernel ({}) are built in, as {}{globals}",
        found.version,
        found.name()
    )));
    Some(symbols)
}

/// Layouts of kernels of the same processor, the nearest build first, each once, without globals.
///
/// Of one build, the layout of the kernel with the nearest revision comes first; where the revision is not known, the
/// latest, since most machines are updated. Windows 10 2004 to 22H2 (19041 to 19045) share one kernel, which calls
/// itself 19041.
pub fn nearest(wanted: &Fallback) -> impl Iterator<Item = Symbols> + use<> {
    let (build, revision) = (wanted.build, wanted.revision);
    let distance = |k: &Known| {
        let (its_build, its_revision) = k.build();
        let far = build.map_or(0, |b| b.abs_diff(its_build));
        let off = revision.map_or(0, |r| r.abs_diff(its_revision));
        // Without a build number: the newest first.
        (far, off, Reverse((its_build, its_revision)))
    };
    let of_machine = layouts().iter().filter(|l| l.machine == wanted.machine);
    let with_nearest = of_machine.filter_map(|l| Some((l, l.kernels().iter().min_by_key(|k| distance(k))?)));
    let mut candidates: Vec<_> = with_nearest.collect();
    // Where two are as near, the surer one first, then the later.
    candidates.reverse();
    candidates.sort_by_key(|(l, k)| (distance(k), l.basis));
    candidates.into_iter().map(|(_, k)| k.load(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the handle table of System in a real dump of ARM64 22000 has it: the count of handles at 0x98, and as many entries as fill pages
    /// of entries of 16 bytes.
    #[test]
    fn handle_tables_of_arm64() {
        for kernel in known().iter().filter(|k| k.machine == Machine::Arm64) {
            let types = kernel.load(false).types;
            let sizes = ["_HANDLE_TABLE", "_HANDLE_TABLE_FREE_LIST", "_HANDLE_TABLE_ENTRY"].map(|t| types.size_of(t));
            assert_eq!(sizes, [Some(0x100), Some(0x80), Some(0x10)], "{}", kernel.name());
            let at = |ty: &str, field: &str| types.get(ty).unwrap().members.get(field).unwrap().offset;
            assert_eq!(at("_HANDLE_TABLE", "FreeLists") + at("_HANDLE_TABLE_FREE_LIST", "HandleCount"), 0x98);
            assert_eq!(at("_HANDLE_TABLE_ENTRY", "GrantedAccessBits"), 8);
        }
    }
    use crate::symbols::Machine;
    use std::collections::BTreeSet;

    fn order(machine: Machine, build: Option<u32>, revision: Option<u32>) -> Vec<String> {
        nearest(&Fallback { machine, build, revision }).map(|s| s.version.unwrap()).collect()
    }

    #[test]
    fn the_nearest_build_comes_first() {
        let first = |build, revision| {
            let mut found = nearest(&Fallback { machine: Machine::X64, build, revision });
            found.next().unwrap().version.unwrap()
        };
        assert_eq!(first(Some(19045), None), "10.0.19041.3570");
        assert_eq!(first(Some(19041), Some(700)), "10.0.19041.685");
        assert_eq!(first(Some(19041), Some(2965)), "10.0.19041.2965");
        assert_eq!(first(Some(18363), Some(418)), "10.0.18362.418");
        assert_eq!(first(Some(26200), None), "10.0.26100");
        assert_eq!(first(Some(28000), None), "10.0.26100");
        assert_eq!(first(Some(7600), None), "6.1.7600.16385");
        assert_eq!(first(Some(3790), Some(1830)), "5.2.3790.1830");
        assert_eq!(first(None, None), "10.0.26100");
        assert_eq!(order(Machine::X86, Some(2600), Some(5512))[..2], ["5.1.2600.5512"; 2]);
        assert_eq!(order(Machine::Arm64, Some(22000), None)[0], "10.0.22000.318");
    }
    #[test]
    fn each_layout_is_offered_once() {
        let machines = [Machine::X86, Machine::X64, Machine::Arm64];
        let offered = machines.map(|machine| {
            let all: Vec<_> = nearest(&Fallback { machine, build: None, revision: None }).collect();
            let origins: BTreeSet<_> = all.iter().map(|s| &s.origin).collect();
            assert_eq!(origins.len(), all.len());
            for s in &all {
                assert!(s.globals.is_empty() && s.id.is_none());
                assert!(s.types.member("_EPROCESS", "Pcb.DirectoryTableBase").is_some(), "{}", s.origin);
            }
            all.len()
        });
        assert_eq!(offered.iter().sum::<usize>(), layouts().len());
    }
    #[test]
    fn globals_come_with_the_exact_kernel_only() {
        let with_id: Vec<_> = known().iter().filter(|k| k.id.is_some()).collect();
        assert!(with_id.len() >= 213);
        assert!(known().iter().filter(|k| k.has_globals).count() >= 9);
        for k in with_id {
            let exact = exact(k.id.as_ref().unwrap()).unwrap();
            assert_eq!((exact.id.as_ref(), exact.version.as_ref()), (k.id.as_ref(), Some(&k.version)));
            assert_eq!(exact.rva("PsActiveProcessHead").is_some(), k.has_globals, "{}", k.name());
            assert_eq!(exact.globals.is_empty(), !k.has_globals, "{}", k.name());
            let [note] = &exact.notes[..] else { panic!("{:?}", exact.notes) };
            assert!(!note.loss && note.text.contains(&k.version), "{}", note.text);
            let mut other = k.id.clone().unwrap();
            other.age += 1;
            assert!(super::exact(&other).is_none());
        }
    }
}
