//! `kernels.txt`: the kernels whose layouts are built in, and which layout each has.

use crate::symbols::{Machine, PdbId};
use std::sync::OnceLock;

const TEXT: &str = include_str!("../../../symbols/tables/kernels.txt");

/// What a layout was made from: how sure it is. The surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// A symbol file made from the public PDB.
    Pdb,
    /// Headers made from the public PDB.
    Headers,
    /// Numbers stated by type files made from the public PDB, without enumerations.
    Stated,
    /// Generated structures: offsets and sizes from the public PDB; types and some bit lengths carried over.
    Structures,
    /// Worked out from the layout of a sibling of the same build.
    Computed,
}

impl Basis {
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "pdb" => Self::Pdb,
            "headers" => Self::Headers,
            "stated" => Self::Stated,
            "structures" => Self::Structures,
            "computed" => Self::Computed,
            _ => return None,
        })
    }
}

/// A kernel whose layouts are built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The processor.
    pub machine: Machine,
    /// The file version, `10.0.19041.2965`.
    pub version: String,
    /// The PDB, where it is known.
    pub id: Option<PdbId>,
    /// Whether its globals are built in, too.
    pub has_globals: bool,
    /// Position in [`layouts`].
    pub(super) layout: usize,
}

impl Known {
    /// The name of its layout: `x64-10.0.19041.2965`. Several kernels may share one.
    #[must_use]
    pub fn name(&self) -> String {
        layouts().get(self.layout).map(Layout::name).unwrap_or_default()
    }
    /// What its layout was made from.
    #[must_use]
    pub fn basis(&self) -> Option<Basis> {
        layouts().get(self.layout).map(|l| l.basis)
    }
    /// The third and fourth part of the version.
    pub(super) fn build(&self) -> (u32, u32) {
        let mut parts = self.version.split('.').skip(2).map(|p| p.parse().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
    }
}

/// One layout, and where it lies among those of its processor.
#[derive(Debug)]
pub(super) struct Layout {
    /// The processor.
    pub(super) machine: Machine,
    /// As lines of the tables name it: `19041.2965`.
    pub(super) key: &'static str,
    /// What it was made from.
    pub(super) basis: Basis,
    /// Positions of its kernels in [`known`].
    kernels: std::ops::Range<usize>,
}

impl Layout {
    /// For people: `x64-10.0.19041.2965`.
    pub(super) fn name(&self) -> String {
        let version = self.kernels().first().map_or("", |k| &k.version);
        // Major and minor version stand in no key.
        let of_windows: Vec<&str> = version.split('.').take(2).collect();
        format!("{}-{}.{}", self.machine.word(), of_windows.join("."), self.key)
    }
    /// The kernels that have it: at least one.
    pub(super) fn kernels(&self) -> &'static [Known] {
        known().get(self.kernels.clone()).unwrap_or_default()
    }
}

#[derive(Default)]
struct Catalog {
    layouts: Vec<Layout>,
    kernels: Vec<Known>,
}

fn catalog() -> &'static Catalog {
    static READ: OnceLock<Catalog> = OnceLock::new();
    READ.get_or_init(|| {
        let mut out = Catalog::default();
        for line in TEXT.lines() {
            // A test reads every line: one that does not parse does not ship.
            let _ = out.line(line);
        }
        out
    })
}

/// Every kernel whose layouts are built in, by processor and layout, the oldest first.
#[must_use]
pub fn known() -> &'static [Known] {
    &catalog().kernels
}

/// Every layout, by processor, the oldest first.
pub(super) fn layouts() -> &'static [Layout] {
    &catalog().layouts
}

impl Catalog {
    fn line(&mut self, line: &'static str) -> Option<()> {
        let count = self.kernels.len();
        if let Some(kernel) = line.strip_prefix(' ') {
            let open = self.layouts.last_mut()?;
            open.kernels.end = count.checked_add(1)?;
            let (machine, layout) = (open.machine, self.layouts.len().checked_sub(1)?);
            let mut words = kernel.split(' ');
            let (version, name, key) = (words.next()?.to_owned(), words.next()?, words.next()?);
            let id = key
                .split_once('+')
                .and_then(|(guid, age)| Some(PdbId { name: name.into(), guid: guid.into(), age: age.parse().ok()? }));
            let has_globals = words.next() == Some("globals");
            self.kernels.push(Known { machine, version, id, has_globals, layout });
            return Some(());
        }
        let mut words = line.strip_prefix("layout ")?.split(' ');
        let machine = match words.next()? {
            "x86" => Machine::X86,
            "x64" => Machine::X64,
            "arm64" => Machine::Arm64,
            _ => return None,
        };
        let (key, basis) = (words.next()?, Basis::of_word(words.next()?)?);
        self.layouts.push(Layout { machine, key, basis, kernels: count..count });
        Some(())
    }
}
