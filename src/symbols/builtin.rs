//! Layouts of known kernels, compiled in: with no network and no PDB a dump still opens.
//!
//! `symbols/tables/layouts.txt` has one line for each member of a structure, with its offset in every kernel, so that
//! a reader sees what moved when:
//!
//! ```text
//! kernel <letter> <machine> <version> <pdb name or -> <GUID+age or ->
//! struct <type> <letters>=<size> …                     or: union
//!  <field> <type>[:<bit>,<length>] <size> <letters>=<offset> …
//! enum <letters> <type> <size> <name>=<value> …
//! symbol <name> <letters>=<rva> …
//! ```
//!
//! Letters are the kernels for which a number holds; numbers are hexadecimal, bits and values of enumerations decimal.
//! The table is reduced to the structures that dumpwalk names, whole and with all they embed; `tests/tables.rs`
//! makes it from the full tables and holds it current.

use super::types::{Enum, Member, Type, Types};
use super::{Fallback, Globals, Machine, PdbId, Symbols};
use std::cmp::Reverse;
use std::collections::BTreeMap;

const TEXT: &str = include_str!("../../symbols/tables/layouts.txt");

/// A kernel whose layouts are built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    letter: char,
    /// The processor.
    pub machine: Machine,
    /// The file version, `10.0.19041.2965`.
    pub version: String,
    /// The PDB, where it is known.
    pub id: Option<PdbId>,
}

impl Known {
    /// The table's name: `x64-10.0.19041.2965`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}-{}", self.machine.word(), self.version)
    }
    /// The third and fourth part of the version.
    fn build(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').skip(2).map(|p| p.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
    /// Its layouts, and its globals too where they are asked for. Those hold for this very kernel only.
    #[must_use]
    pub fn load(&self, with_globals: bool) -> Symbols {
        let mut reader = Reader { letter: self.letter, ..Reader::default() };
        for line in TEXT.lines() {
            // A test reads every table of every kernel: a line that does not parse does not ship.
            let _ = reader.line(line, with_globals);
        }
        let pointer_size = self.machine.pointer_size();
        Symbols {
            types: Types { pointer_size, types: reader.types, enums: reader.enums },
            machine: Some(self.machine),
            version: Some(self.version.clone()),
            globals: reader.globals.into_iter().collect::<Globals>(),
            id: self.id.clone().filter(|_| with_globals),
            origin: format!("built-in table {}", self.name()),
            notes: Vec::new(),
        }
    }
}

/// Every kernel whose layouts are built in.
#[must_use]
pub fn known() -> Vec<Known> {
    TEXT.lines().filter_map(|line| kernel(line.strip_prefix("kernel ")?)).collect()
}

fn kernel(line: &str) -> Option<Known> {
    let mut words = line.split(' ');
    let letter = words.next()?.chars().next()?;
    let machine = match words.next()? {
        "x86" => Machine::X86,
        "x64" => Machine::X64,
        "arm64" => Machine::Arm64,
        _ => return None,
    };
    let (version, name, key) = (words.next()?.into(), words.next()?, words.next()?);
    let id = key
        .split_once('+')
        .and_then(|(guid, age)| Some(PdbId { name: name.into(), guid: guid.into(), age: age.parse().ok()? }));
    Some(Known { letter, machine, version, id })
}

/// The built-in table of exactly this kernel, with its globals.
#[must_use]
pub fn exact(id: &PdbId) -> Option<Symbols> {
    let same = |k: &&Known| k.id.as_ref().is_some_and(|i| i.guid == id.guid && i.age == id.age);
    Some(known().iter().find(same)?.load(true))
}

/// Kernels of the same processor, the nearest build first, without globals.
///
/// Of one build, the nearest revision counts; where the revision is not known, the latest, since most machines are
/// updated. Windows 10 2004 to 22H2 (19041 to 19045) share one kernel, which calls itself 19041.
pub fn nearest(wanted: &Fallback) -> impl Iterator<Item = Symbols> + use<> {
    let mut kernels = known();
    kernels.retain(|k| k.machine == wanted.machine);
    let (build, revision) = (wanted.build, wanted.revision);
    kernels.sort_by_key(|k| {
        let (its_build, its_revision) = k.build();
        let far = build.map_or(0, |b| b.abs_diff(its_build));
        let off = revision.map_or(0, |r| r.abs_diff(its_revision));
        // Without a build number: the newest first.
        (far, off, Reverse((its_build, its_revision)))
    });
    kernels.into_iter().map(|k| k.load(false))
}

#[derive(Default)]
struct Reader {
    letter: char,
    types: BTreeMap<Box<str>, Type>,
    enums: BTreeMap<Box<str>, Enum>,
    globals: Vec<(Box<str>, u32)>,
    /// The structure that this kernel has and whose members follow.
    open: Option<Box<str>>,
}

impl Reader {
    /// The number of this kernel among `abc=10 d=18`.
    fn mine<'w>(&self, mut words: impl Iterator<Item = &'w str>) -> Option<u32> {
        let (_, number) = words.find_map(|w| w.split_once('=').filter(|(letters, _)| letters.contains(self.letter)))?;
        u32::from_str_radix(number, 16).ok()
    }
    /// Takes in one line. `None` when it says nothing of this kernel.
    fn line(&mut self, line: &str, with_globals: bool) -> Option<()> {
        if let Some(member) = line.strip_prefix(' ') {
            let mut words = member.split(' ');
            let (field, ty, size) = (words.next()?, words.next()?, words.next()?);
            let open = self.open.as_ref()?;
            let offset = self.mine(words)?;
            let (ty, bits) = match ty.rsplit_once(':').filter(|(t, _)| !t.ends_with(':')) {
                Some((ty, bits)) => {
                    let (at, len) = bits.split_once(',')?;
                    (ty, Some((at.parse().ok()?, len.parse().ok()?)))
                }
                None => (ty, None),
            };
            let size = u32::from_str_radix(size, 16).ok()?;
            let ty = ty.replace("%20", " ").into();
            self.types.get_mut(open)?.members.insert(field.into(), Member { offset, size, ty, bits });
            return Some(());
        }
        let (word, rest) = line.split_once(' ')?;
        let mut words = rest.split(' ');
        match word {
            "struct" | "union" => {
                self.open = None;
                let name: Box<str> = words.next()?.replace("%20", " ").into();
                let size = self.mine(words)?;
                let ty = Type { size, is_union: word == "union", members: BTreeMap::new() };
                self.types.insert(name.clone(), ty);
                self.open = Some(name);
            }
            "enum" if words.next()?.contains(self.letter) => {
                let (name, size) = (words.next()?, u32::from_str_radix(words.next()?, 16).ok()?);
                let pair = |w: &str| w.split_once('=').and_then(|(n, v)| Some((v.parse().ok()?, n.into())));
                let names = words.map(pair).collect::<Option<Vec<_>>>()?;
                self.enums.insert(name.into(), Enum::new(size, names));
            }
            "symbol" if with_globals => {
                let name = words.next()?.into();
                let rva = self.mine(words)?;
                self.globals.push((name, rva));
            }
            _ => {}
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(machine: Machine, build: Option<u32>, revision: Option<u32>) -> Vec<String> {
        nearest(&Fallback { machine, build, revision }).map(|s| s.version.unwrap()).collect()
    }

    #[test]
    fn the_nearest_build_comes_first() {
        let x64 = |build, revision| order(Machine::X64, build, revision);
        assert_eq!(x64(Some(19045), None)[..2], ["10.0.19041.2965", "10.0.19041.804"]);
        assert_eq!(x64(Some(19041), Some(700))[..2], ["10.0.19041.804", "10.0.19041.2965"]);
        assert_eq!(x64(Some(18363), None)[0], "10.0.18362.418");
        assert_eq!(x64(Some(26200), None)[0], "10.0.26100");
        assert_eq!(x64(Some(7600), None)[0], "6.1.7601.24540");
        assert_eq!(x64(None, None)[0], "10.0.26100");
        assert_eq!(order(Machine::X86, Some(2600), None)[0], "5.1.2600.5512");
        assert_eq!(order(Machine::Arm64, Some(22000), None), Vec::<String>::new());
        assert_eq!(x64(None, None).len() + order(Machine::X86, None, None).len(), known().len());
    }
    #[test]
    fn globals_come_with_the_exact_kernel_only() {
        let with_id = known().into_iter().filter(|k| k.id.is_some()).collect::<Vec<_>>();
        assert!(with_id.len() >= 9);
        for k in with_id {
            let exact = exact(k.id.as_ref().unwrap()).unwrap();
            assert_eq!((exact.id.as_ref(), exact.version.as_ref()), (k.id.as_ref(), Some(&k.version)));
            assert!(exact.rva("PsActiveProcessHead").is_some(), "{}", k.name());
            let mut other = k.id.clone().unwrap();
            other.age += 1;
            assert!(super::exact(&other).is_none());
        }
        for s in nearest(&Fallback { machine: Machine::X64, build: None, revision: None }) {
            assert!(s.globals.is_empty() && s.id.is_none());
            assert!(s.types.member("_EPROCESS", "Pcb.DirectoryTableBase").is_some());
        }
    }
}
