//! Where a kernel's globals lie, by whatever tells: symbols, the dump's header, the debugger data block, exports.

use super::Kernel;
use crate::addr::Va;
use crate::value::Absent;

impl Kernel {
    /// Where a global comes from when the symbols do not have it.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`] when nothing has it.
    pub fn global_from(&self, name: &str) -> Result<(Va, GlobalSource), Absent> {
        let header = || {
            let header = self.dump.header.as_ref()?;
            match name {
                "PsActiveProcessHead" => header.process_head,
                "PsLoadedModuleList" => header.module_list,
                "KdDebuggerDataBlock" => header.kdbg,
                _ => None,
            }
        };
        let met = || match name {
            "PsActiveProcessHead" => self.met.process_head,
            "PsLoadedModuleList" => self.met.module_list,
            _ => None,
        };
        let from = |va: Option<Va>, source| va.map(|va| (va, source));
        from(self.symbol(name), GlobalSource::Symbols)
            .or_else(|| from(header(), GlobalSource::Header))
            .or_else(|| from(self.kdbg.as_ref().and_then(|k| k.global(name)), GlobalSource::Kdbg))
            .or_else(|| from(self.export(name), GlobalSource::Exports))
            .or_else(|| from(met(), GlobalSource::Memory))
            .ok_or(Absent::NoSymbol)
    }
}

/// What told where a global lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GlobalSource {
    /// The kernel's symbols.
    Symbols,
    /// The crash-dump header.
    Header,
    /// The debugger data block.
    Kdbg,
    /// The kernel's export table.
    Exports,
    /// The object itself, found in memory.
    Memory,
}

impl GlobalSource {
    /// In words.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Symbols => "symbols",
            Self::Header => "crash-dump header",
            Self::Kdbg => "debugger data block",
            Self::Exports => "exports",
            Self::Memory => "the object itself, found in memory",
        }
    }
}
