//! A process's user memory: its VADs, and a view of its pages that asks them where the page tables are silent.

use super::process::Process;
use super::section::{Sections, Subsection};
use super::vad::{Mapping, Vad};
use super::vad_tree::{self, Tree};
use crate::addr::Va;
use crate::paging::{Prototyped, Prototypes, Space};
use crate::value::{Absent, Value};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// A process's user memory.
#[derive(Debug)]
pub struct AddressSpace<'k> {
    /// Its pages. Pages of mapped sections are found though the process never touched them.
    pub space: Space<'k>,
    /// Its VADs.
    pub tree: Arc<Tree>,
}

impl<'k> AddressSpace<'k> {
    /// Walks the VADs of a process (through `kernel_space`) and opens its memory. Where the symbols lack what VADs need,
    /// the memory is opened all the same and the tree carries a note.
    ///
    /// # Errors
    /// The process has no page tables that can be read.
    pub fn of(process: &Process<'k>, kernel_space: &Space<'k>) -> Value<Self> {
        let space = process.space()?;
        let kernel = process.kernel;
        process.offset().ok_or(Absent::NotRecorded)?;
        let tree = process.ranges(kernel_space);
        let Ok(sections) = Sections::of(kernel) else { return Ok(Self { space, tree }) };
        let asked = ByVads { kernel: kernel.space(), sections, tree: Arc::clone(&tree), last: RefCell::default() };
        Ok(Self { space: space.with_vads(Box::new(asked)), tree })
    }
}

/// The VADs as those who know the prototype entries.
struct ByVads<'k> {
    kernel: Space<'k>,
    sections: Sections<'k>,
    tree: Arc<Tree>,
    /// The subsections of the VAD asked for last: a scan asks for all its pages one after the other.
    last: RefCell<Option<(Va, Rc<[Subsection]>)>>,
}

impl ByVads<'_> {
    fn subsections(&self, vad: &Vad, mapping: &Mapping) -> Rc<[Subsection]> {
        if let Some((node, list)) = &*self.last.borrow()
            && *node == vad.node
        {
            return Rc::clone(list);
        }
        let list: Rc<[Subsection]> = self.sections.subsections(&self.kernel, mapping).0.into();
        *self.last.borrow_mut() = Some((vad.node, Rc::clone(&list)));
        list
    }
}

impl Prototypes for ByVads<'_> {
    fn prototypes(&self, va: Va) -> Result<Prototyped, u64> {
        let vads = &self.tree.vads;
        match vad_tree::find(vads, va) {
            Some(vad) => self.sections.prototypes_of(vad, va, |mapping| self.subsections(vad, mapping)),
            // Nothing up to the next VAD.
            None => {
                let after = vads.partition_point(|v| v.start <= va);
                let next = vads.get(after).map_or(u64::MAX, |v| v.start.0);
                Err(next.saturating_sub(va.0))
            }
        }
    }
}
