//! Trees of address ranges.

use super::End::{self, Failed};
use super::tally::{Says, Tally};
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::vad_tree::Layouts as VadLayouts;
use crate::paging::Space;

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
            let space = self.space();
            let tree = layouts.walk(&space, va);
            tally.count(match tree.at(base) {
                // A field nearby leads to a node as well (`VadHint`), but not to the one that has no parent among nodes.
                Some(_) if layouts.root(&space, va).is_ok_and(|root| is_below_another(&layouts, &space, root, va)) => {
                    Says::No
                }
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

/// Whether a node names another node as its parent. A tree's own root names none, or (8.0 and before) the table in the process.
fn is_below_another(layouts: &VadLayouts<'_>, space: &Space<'_>, root: Va, process: Va) -> bool {
    // The low bits of the parent pointer are the balance. No `_EPROCESS` has more than a page.
    let parent = layouts.view(space, root).parent().map(|parent| parent & !7);
    parent.is_ok_and(|parent| parent != 0 && parent.wrapping_sub(process.0) > 0x1000)
}
