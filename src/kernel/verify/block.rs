//! What the debugger block states: globals, and offsets of a few fields.

use super::End::{self, Failed, Unknown};
use super::Tally;
use crate::kernel::Kernel;

impl Kernel {
    /// Sizes and offsets that the debugger block states and the layouts have.
    pub(super) fn stated(&self) -> usize {
        let Some(block) = &self.kdbg else { return 0 };
        let types = &self.symbols.types;
        let sizes = SIZES.iter().map(|(field, ty)| (*field, types.size_of(ty)));
        let all = sizes.chain(self.offsets_of_block());
        all.filter(|(field, own)| own.is_some() && block.field(field) == own.map(u64::from)).count()
    }
    /// Globals that the debugger block names lie where the symbols have them; so do fields whose offset it states. (Sizes are
    /// another matter: a structure that has grown at its end is still right before that.)
    pub(super) fn check_block(&self) -> End {
        let Some(block) = &self.kdbg else { return Unknown("debugger block (not found)".into()) };
        let mut tally = Tally::default();
        for (name, _) in block.fields() {
            if let (Some(stated), Some(own)) = (block.global(name), self.symbol(name)) {
                tally.count((stated == own).into());
            }
        }
        let mut wrong = Vec::new();
        for (field, own) in self.offsets_of_block() {
            if let (Some(stated), Some(own)) = (block.field(field).filter(|v| *v != 0), own) {
                if stated == u64::from(own) {
                    tally.count(true.into());
                } else {
                    wrong.push(format!("{field} is {stated:#x}, here {own:#x}"));
                }
            }
        }
        if wrong.is_empty() {
            tally.verdict(1, "globals and offsets are the debugger block's")
        } else {
            Failed(format!("the debugger block differs: {}", wrong.join(", ")))
        }
    }
    /// Fields of the block that state an offset, and what the layouts have.
    fn offsets_of_block(&self) -> impl Iterator<Item = (&'static str, Option<u32>)> + '_ {
        OFFSETS.iter().map(|(field, ty, path)| (*field, self.symbols.types.member(ty, path).map(|m| m.offset)))
    }
}

/// Fields of the block that state a size.
pub(super) const SIZES: [(&str, &str); 2] = [("SizeEProcess", "_EPROCESS"), ("SizeEThread", "_ETHREAD")];

/// Fields of the block that state an offset.
const OFFSETS: [(&str, &str, &str); 8] = [
    ("OffsetEprocessPeb", "_EPROCESS", "Peb"),
    ("OffsetEprocessParentCID", "_EPROCESS", "InheritedFromUniqueProcessId"),
    ("OffsetEprocessDirectoryTableBase", "_EPROCESS", "Pcb.DirectoryTableBase"),
    ("OffsetKThreadTeb", "_KTHREAD", "Teb"),
    ("OffsetKThreadKernelStack", "_KTHREAD", "KernelStack"),
    ("OffsetKThreadInitialStack", "_KTHREAD", "InitialStack"),
    ("OffsetKThreadApcProcess", "_KTHREAD", "ApcState.Process"),
    ("OffsetKThreadState", "_KTHREAD", "State"),
];
