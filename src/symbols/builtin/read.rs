//! From the lines of a processor's tables to the layout of one kernel.

use super::catalog::{Basis, Layout, layouts};
use crate::symbols::types::{Enum, Member, Type, Types};
use crate::symbols::{Globals, Machine, Symbols};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::OnceLock;

/// The tables of a processor, unpacked when first asked for.
fn text(machine: Machine) -> &'static str {
    static X86: OnceLock<String> = OnceLock::new();
    static X64: OnceLock<String> = OnceLock::new();
    static ARM64: OnceLock<String> = OnceLock::new();
    let (unpacked, packed): (_, &[u8]) = match machine {
        Machine::X86 => (&X86, include_bytes!("../../../symbols/tables/x86.txt.gz")),
        Machine::X64 => (&X64, include_bytes!("../../../symbols/tables/x64.txt.gz")),
        Machine::Arm64 => (&ARM64, include_bytes!("../../../symbols/tables/arm64.txt.gz")),
    };
    unpacked.get_or_init(|| {
        let mut text = String::new();
        // A test unpacks all: what does not unpack does not ship.
        let _ = flate2::read::GzDecoder::new(packed).read_to_string(&mut text);
        text
    })
}

/// The layout at this position, with the globals of one of its kernels, named by its version.
pub(super) fn layout(at: usize, globals_of: Option<&str>) -> Symbols {
    let Some(layout) = layouts().get(at) else { return Symbols::default() };
    let order = order(layout.machine);
    let mut reader = Reader {
        mine: order.get(layout.key).copied().unwrap_or_default(),
        order,
        globals_of,
        types: BTreeMap::new(),
        enums: BTreeMap::new(),
        globals: Vec::new(),
        open: None,
    };
    for line in text(layout.machine).lines() {
        // A test reads every line of every layout: one that does not parse does not ship.
        let _ = reader.line(line);
    }
    reader.close();
    Symbols {
        types: Types { pointer_size: layout.machine.pointer_size(), types: reader.types, enums: reader.enums },
        machine: Some(layout.machine),
        version: None,
        globals: reader.globals.into_iter().collect::<Globals>(),
        id: None,
        origin: origin(layout),
        notes: Vec::new(),
    }
}

/// Where the layout comes from, for people.
fn origin(layout: &Layout) -> String {
    let sure = match layout.basis {
        Basis::Computed => " (computed from the layouts of its sibling for another processor or paging mode)",
        Basis::Pdb | Basis::Headers | Basis::Stated | Basis::Structures => "",
    };
    format!("built-in table {}{sure}", layout.name())
}

/// Where each layout lies among those of its processor.
fn order(machine: Machine) -> FxHashMap<&'static str, usize> {
    let of_machine = layouts().iter().filter(|l| l.machine == machine);
    of_machine.enumerate().map(|(i, l): (usize, &Layout)| (l.key, i)).collect()
}

struct Reader<'g> {
    /// Position of the layout that is read.
    mine: usize,
    order: FxHashMap<&'static str, usize>,
    globals_of: Option<&'g str>,
    types: BTreeMap<Box<str>, Type>,
    enums: BTreeMap<Box<str>, Enum>,
    globals: Vec<(&'static str, u32)>,
    /// The structure that this layout has and whose members follow.
    open: Option<(Box<str>, Type)>,
}

impl Reader<'_> {
    /// The number that holds for this layout: of `7600.16385=10 9200.16384=18 …` the last at or before it.
    fn number(&self, runs: &str) -> Option<u32> {
        let mut held = "-";
        for word in runs.split(' ') {
            let (key, number) = word.split_once('=')?;
            if *self.order.get(key)? > self.mine {
                break;
            }
            held = number;
        }
        // No number is `-`.
        u32::from_str_radix(held, 16).ok()
    }
    fn close(&mut self) {
        if let Some((name, ty)) = self.open.take() {
            self.types.insert(name, ty);
        }
    }
    /// Takes in one line. `None` when it says nothing of this layout.
    fn line(&mut self, line: &'static str) -> Option<()> {
        if let Some(member) = line.strip_prefix(' ') {
            let (name, member) = self.member(member)?;
            self.open.as_mut()?.1.members.insert(name, member);
            return Some(());
        }
        let (word, rest) = line.split_once(' ')?;
        let (name, rest) = rest.split_once(' ')?;
        match word {
            "struct" | "union" => {
                self.close();
                let size = self.number(rest)?;
                let ty = Type { size, is_union: word == "union", members: BTreeMap::new() };
                self.open = Some((name.replace("%20", " ").into(), ty));
            }
            "enum" => {
                let (size, rest) = rest.split_once(' ')?;
                let (runs, names) = rest.split_once(" : ")?;
                self.number(runs)?;
                let pair = |w: &str| w.split_once('=').and_then(|(n, v)| Some((v.parse().ok()?, n.into())));
                let names = names.split(' ').map(pair).collect::<Option<Vec<_>>>()?;
                self.enums.insert(name.into(), Enum::new(u32::from_str_radix(size, 16).ok()?, names));
            }
            "symbol" => {
                let wanted = self.globals_of?;
                let rva = rest.split(' ').find_map(|w| w.strip_prefix(wanted)?.strip_prefix('='))?;
                self.globals.push((name, u32::from_str_radix(rva, 16).ok()?));
            }
            _ => {}
        }
        Some(())
    }
    fn member(&self, line: &str) -> Option<(Box<str>, Member)> {
        self.open.as_ref()?;
        let (field, rest) = line.split_once(' ')?;
        let (ty, rest) = rest.split_once(' ')?;
        let (size, runs) = rest.split_once(' ')?;
        let offset = self.number(runs)?;
        // A C++ scope has two colons, a bit-field one and figures behind it.
        let (ty, bits) = match ty.rsplit_once(':').filter(|(t, _)| !t.ends_with(':')) {
            Some((ty, bits)) => {
                let (at, len) = bits.split_once(',')?;
                (ty, Some((at.parse().ok()?, len.parse().ok()?)))
            }
            None => (ty, None),
        };
        let size = u32::from_str_radix(size, 16).ok()?;
        let ty = if ty.contains('%') { ty.replace("%20", " ").into() } else { ty.into() };
        Some((field.into(), Member { offset, size, ty, bits }))
    }
}
