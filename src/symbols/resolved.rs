//! Layouts resolved once for one kernel, shared by every thread.

use super::layout::{Layout, LayoutError};
use super::types::Types;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::any::{Any, TypeId};
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// A layout, or why there is none: what a [`Node`] keeps.
type Kept<L> = Result<L, LayoutError>;

/// One resolved layout and the way to the next. Nodes are only ever added, so references into them stay good.
struct Node {
    /// A `Kept<L>` of some layout `L`.
    kept: Box<dyn Any + Send + Sync>,
    next: OnceLock<Box<Node>>,
}

/// Chains of layouts: about as many as there are layouts, for each row asks for several.
const CHAINS: usize = 128;

/// Every layout asked for so far, each resolved once. Chains that only grow need no lock.
pub struct Resolved {
    chains: [OnceLock<Box<Node>>; CHAINS],
    flags: RwLock<FxHashMap<(&'static str, u32), FlagWord>>,
}

/// The one-bit members of a word: position and name, lowest first.
type FlagWord = Arc<[(u8, Box<str>)]>;

impl Default for Resolved {
    fn default() -> Self {
        Self { chains: [const { OnceLock::new() }; CHAINS], flags: RwLock::default() }
    }
}

impl std::fmt::Debug for Resolved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolved")
    }
}

impl Resolved {
    /// The layout `L` by these types. Ask always with the same types: the first answer is kept.
    ///
    /// # Errors
    /// See [`Layout::resolve`].
    pub fn get<L: Layout + Send + Sync + 'static>(&self, types: &Types) -> Result<&L, LayoutError> {
        let chain = FxBuildHasher.hash_one(TypeId::of::<L>()) as usize % CHAINS;
        let mut slot = self.chains.get(chain).unwrap_or(&self.chains[0]);
        loop {
            // Two threads may resolve the same layout at once; the slower one's is dropped and the list walked on.
            let node = slot.get_or_init(|| Box::new(Node { kept: Box::new(L::resolve(types)), next: OnceLock::new() }));
            if let Some(kept) = node.kept.downcast_ref::<Kept<L>>() {
                return kept.as_ref().map_err(Clone::clone);
            }
            slot = &node.next;
        }
    }
    /// The names of the one-bit members of `ty` (at `offset`) whose bit is set in `value`, lowest bit first. Ask always with the same
    /// types: the first answer on a word is kept.
    pub fn flag_names(&self, types: &Types, ty: &'static str, offset: u32, value: u64) -> Vec<String> {
        let set = |position: u8| value.checked_shr(position.into()).is_some_and(|bits| bits & 1 == 1);
        let word = self.flags(types, ty, offset);
        word.iter().filter(|(position, _)| set(*position)).map(|(_, name)| name.to_string()).collect()
    }
    fn flags(&self, types: &Types, ty: &'static str, offset: u32) -> FlagWord {
        let known = self.flags.read().unwrap_or_else(PoisonError::into_inner).get(&(ty, offset)).cloned();
        known.unwrap_or_else(|| {
            let members = types.get(ty).into_iter().flat_map(|ty| &ty.members);
            let mut named: Vec<(u8, Box<str>)> = members
                .filter_map(|(name, m)| match m.bits? {
                    (position, 1) if m.offset == offset => Some((position, name.clone())),
                    _ => None,
                })
                .collect();
            named.sort_unstable();
            let word = FlagWord::from(named);
            self.flags.write().unwrap_or_else(PoisonError::into_inner).insert((ty, offset), Arc::clone(&word));
            word
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::types::{Member, Type};

    crate::layout! {
        /// One.
        struct One: "_ONE" {
            /// A.
            a: u32 = "A",
        }
    }
    crate::layout! {
        /// What nothing is read without.
        struct Two: "_EPROCESS" {
            /// The id.
            id: u32 = "UniqueProcessId",
        }
    }

    #[test]
    fn each_layout_is_resolved_once_and_errors_are_kept() {
        let mut types = Types::default();
        let member = Member { offset: 8, size: 4, ty: "ulong".into(), bits: None };
        types.types.insert("_ONE".into(), Type { size: 16, is_union: false, members: [("A".into(), member)].into() });
        let resolved = Resolved::default();
        assert!(matches!(resolved.get::<Two>(&types), Err(LayoutError::NoType { ty: "_EPROCESS", .. })));
        let one = resolved.get::<One>(&types).unwrap();
        assert_eq!(one.span(), 12);
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| {
                    assert!(std::ptr::eq(resolved.get::<One>(&types).unwrap(), one));
                    assert!(matches!(resolved.get::<Two>(&types), Err(LayoutError::NoType { ty: "_EPROCESS", .. })));
                });
            }
        });
    }
}
