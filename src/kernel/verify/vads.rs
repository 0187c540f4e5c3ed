//! Trees of address ranges.

use super::End::{self, Failed};
use super::tally::{Says, Tally};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::vad_tree::Layouts as VadLayouts;

/// Processes whose tree is walked.
const SOME: usize = 16;

impl Kernel {
    /// A process's image lies in a node of its VAD tree.
    pub(super) fn check_vads(&self, processes: &[Process<'_>]) -> End {
        let Ok(layouts) = VadLayouts::of(self) else { return Failed("no layout of VADs".into()) };
        let mut tally = Tally::default();
        for p in processes.iter().filter(|p| p.view.signal_state() == Ok(0)).take(SOME) {
            let (Ok(base), Some(va)) = (p.view.image_base(), p.offset()) else { continue };
            if base.is_null() {
                continue;
            }
            let tree = layouts.walk(&self.space(), va);
            tally.count(match tree.at(base) {
                Some(_) => Says::Yes,
                None if tree.notes.iter().any(|n| n.loss) => Says::Lost,
                // Nothing is ever mapped at 0: a node that says so is an empty page, and what hung on it is lost.
                None if tree.vads.iter().any(|v| v.start.is_null()) => Says::Empty,
                None => Says::No,
            });
        }
        if tally == Tally::default() || tally.heard() > 0 {
            return tally.verdict(1, "VAD trees hold the process's image");
        }
        Failed("no VAD tree can be walked".into())
    }
}
