//! What a dump that does not name its kernel's PDB says of that kernel: places in its image that must be names in the
//! right symbols, and sizes of its structures.
//!
//! The debugger block holds the addresses of some forty variables and functions. Measured on the real triage dump of
//! 19041.804 with its own symbols: 39 of 40 are names. An image's exports, where they are in the dump, are names too.

use super::header;
use super::shared_page::machine;
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::kdbg::Kdbg;
use crate::symbols::{Machine, Symbols};
use rustc_hash::FxHashMap;

/// Places that must be known before anything is concluded from them.
const LEAST: usize = 8;
/// Exports that are compared: enough to tell two kernels apart.
const EXPORTS: usize = 4096;

/// Places in the image, and what they must be.
pub(super) struct Evidence {
    machine: Machine,
    /// RVA by name. The names are the debugger block's, which the symbols need not share, or exports.
    named: FxHashMap<Box<str>, u32>,
    /// The debugger block, for the sizes it states.
    block: Option<Kdbg>,
    what: &'static str,
}

impl Evidence {
    /// What there is of it. The kernel has no symbols yet.
    pub(super) fn of(kernel: &Kernel) -> Self {
        let block = Kdbg::find(kernel);
        let inside = |va: Va| {
            let rva = u32::try_from(va.0.checked_sub(kernel.base.0)?).ok()?;
            (rva != 0 && rva < kernel.size.unwrap_or(super::image::LARGEST)).then_some(rva)
        };
        let mut named = FxHashMap::default();
        for (name, _) in block.iter().flat_map(|b| b.fields()) {
            if name != "KernBase"
                && let Some(rva) = block.as_ref().and_then(|b| inside(b.address(name)?))
            {
                named.insert(name.into(), rva);
            }
        }
        for (name, hint) in kernel.dump.header.iter().flat_map(header::hints) {
            if let Some(rva) = hint.and_then(inside) {
                named.insert(name.into(), rva);
            }
        }
        let exports = kernel.exports.names.iter().take(EXPORTS);
        let what = if kernel.exports.names.is_empty() {
            "debugger-block pointers"
        } else {
            "exports and debugger-block pointers"
        };
        named.extend(exports.map(|(name, rva)| (name.clone(), *rva)));
        Self { machine: machine(kernel.arch), named, block, what }
    }
    /// The processor, when there is enough to tell kernels apart.
    pub(super) fn machine(&self) -> Option<Machine> {
        (self.named.len() >= LEAST).then_some(self.machine)
    }
    /// How many places are known.
    pub(super) fn len(&self) -> usize {
        self.named.len()
    }
    /// What they are, in words.
    pub(super) const fn what(&self) -> &'static str {
        self.what
    }
    /// How many places are names in these symbols; `None` when they cannot be this kernel's.
    pub(super) fn hits(&self, symbols: &Symbols) -> Option<usize> {
        if symbols.machine.is_some_and(|m| m != self.machine) || self.sizes_differ(symbols) {
            return None;
        }
        let (mut hits, mut elsewhere) = (0usize, 0usize);
        for (name, rva) in &self.named {
            if symbols.globals.nearest(*rva).is_some_and(|(_, off)| off == 0) {
                hits = hits.saturating_add(1);
            }
            if symbols.rva(name).is_some_and(|own| own != *rva) {
                elsewhere = elsewhere.saturating_add(1);
            }
        }
        let all = self.named.len();
        // One in ten may be something else: a block names a few variables by other names than the linker.
        let fits = hits.saturating_mul(10) >= all.saturating_mul(9) && elsewhere.saturating_mul(10) <= all;
        fits.then_some(hits)
    }
    /// Whether the block states other sizes than the symbols have.
    fn sizes_differ(&self, symbols: &Symbols) -> bool {
        let states = |field: &str| self.block.as_ref()?.field(field).filter(|size| *size != 0);
        let own = [("SizeEProcess", "_EPROCESS"), ("SizeEThread", "_ETHREAD")];
        own.iter().any(|(field, ty)| match (states(field), symbols.types.size_of(ty)) {
            (Some(stated), Some(own)) => stated != u64::from(own),
            _ => false,
        })
    }
}
