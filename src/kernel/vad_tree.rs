//! The tree of a process's VADs: an AVL tree in kernel memory, walked in address order without recursion.
//!
//! A torn tree costs what hangs below the tear, and a note; everything else is found.

use super::vad::{self, Kind, Mapping, Tag, Vad, VadLong, VadShort};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Layout, LayoutError, View};
use crate::value::{Absent, Note, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

layout! {
    /// `_EPROCESS`, as far as the tree goes.
    pub struct VadOwner: "_EPROCESS" {
        /// The root node: in an `_RTL_AVL_TREE` (8.1 and later), below the table's own node (7, 8.0), or directly (XP).
        root: Va = "VadRoot.Root" | "VadRoot.BalancedRoot.RightChild" | "VadRoot",
    }
}
layout! {
    /// The header of a pool block, before each node.
    pub struct PoolHeader: "_POOL_HEADER" {
        /// Four characters.
        tag: [u8; 4] = "PoolTag",
    }
}

/// More nodes than any process has: a walk that meets as many is caught in made-up memory.
const MOST: usize = 1 << 19;

/// Bytes of memory that a node takes at least: the smallest `_MMVAD_SHORT` of the built-in tables (32-bit XP) and its pool header.
const NODE: u64 = 40;
/// Nodes of others that a process may show in any case.
const SOME: usize = 1 << 10;
/// How often one run walks the trees of processes that are on no list, all rules and analyses together.
const WALKS: usize = 8;

/// Which process's tree begins where: a node belongs to one process, and a tree that several name is walked whole once.
#[derive(Debug, Default)]
pub struct Roots {
    /// Of the processes of the active list.
    listed: OnceLock<FxHashMap<Va, Owners>>,
    /// Nodes met so far in trees of processes that are on no list: how many of those there are nobody knows beforehand.
    unlisted: AtomicUsize,
}

/// The processes of a tree.
#[derive(Clone, Copy, Debug)]
struct Owners {
    /// The first of the list.
    first: Va,
    count: usize,
}

/// What a walk may meet of other processes' nodes.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The process whose tree this is too.
    owner: Option<Va>,
    /// Nodes that name another parent than the one they were reached from, and those below them.
    strangers: usize,
    /// Nodes in all.
    nodes: usize,
    /// Whether no process of the active list has the tree.
    unlisted: bool,
}

impl Default for Limit {
    fn default() -> Self {
        Self { owner: None, strangers: MOST, nodes: MOST, unlisted: false }
    }
}

impl Kernel {
    /// The tree of the process at `eprocess`.
    pub(super) fn vads(&self, layouts: &Layouts<'_>, space: &Space<'_>, eprocess: Va) -> Tree {
        let limit = self.vad_limit(layouts, space, eprocess);
        let tree = layouts.walk_within(space, eprocess, limit);
        if limit.unlisted {
            self.vad_roots.unlisted.fetch_add(tree.vads.len(), Ordering::Relaxed);
        }
        tree
    }

    /// What a walk of a process's tree may meet: of others' nodes, all processes together no more than the dump has room for; of a process
    /// that is on no list, what others like it have left of some times that.
    fn vad_limit(&self, layouts: &Layouts<'_>, space: &Space<'_>, eprocess: Va) -> Limit {
        let roots = self.vad_roots.listed.get_or_init(|| {
            let mut roots: FxHashMap<Va, Owners> = FxHashMap::default();
            let active = self.active_list().ok();
            for at in active.iter().flat_map(|a| a.listed.iter().chain(&a.torn)) {
                let Some(root) = layouts.root(space, *at).ok().filter(|r| !r.is_null()) else { continue };
                let owners = roots.entry(root).or_insert(Owners { first: *at, count: 0 });
                owners.count = owners.count.saturating_add(1);
            }
            roots
        });
        let all = roots.values().fold(0usize, |sum, o| sum.saturating_add(o.count)).max(1);
        let room = usize::try_from(self.dump.page_count().saturating_mul(PAGE_SIZE) / NODE).unwrap_or(MOST);
        let share = room.checked_div(all).unwrap_or(0).saturating_add(SOME).min(MOST);
        let root = layouts.root(space, eprocess).ok().filter(|root| !root.is_null());
        let owner = root.and_then(|root| roots.get(&root)).map(|o| o.first);
        let unlisted = root.is_some() && owner.is_none();
        let mut nodes = MOST;
        if unlisted {
            let left = room.saturating_mul(WALKS).saturating_add(MOST);
            nodes = left.saturating_sub(self.vad_roots.unlisted.load(Ordering::Relaxed)).clamp(SOME, MOST);
        }
        Limit { owner: owner.filter(|first| *first != eprocess), strangers: share, nodes, unlisted }
    }
}

/// The layouts a walk needs, resolved once.
#[derive(Clone, Copy, Debug)]
pub struct Layouts<'k> {
    short: &'k VadShort,
    long: &'k VadLong,
    owner: &'k VadOwner,
    /// The pool header and its size.
    pool: Option<(&'k PoolHeader, u32)>,
    /// What this kernel's symbols lack of what a whole tree needs.
    lacking: Option<(&'static str, Absent)>,
}

/// The first field of what a tree is walked, laid out and understood by that a kernel lacks.
fn lacking(short: &VadShort, long: &VadLong, owner: &VadOwner) -> Option<(&'static str, Absent)> {
    let kind =
        short.field("kind").or_else(|why| short.field("image_map").and(short.field("physical")).map_err(|_| why));
    let highs = match (short.field("start_high"), short.field("end_high")) {
        (Ok(_), end) => end,
        (Err(_), Ok(_)) => short.field("start_high"),
        (Err(_), Err(_)) => short.field("start"),
    };
    let fields = [
        ("_EPROCESS.VadRoot", owner.field("root")),
        ("_MMVAD_SHORT: its left child", short.field("left")),
        ("_MMVAD_SHORT: its right child", short.field("right")),
        ("_MMVAD_SHORT.StartingVpn", short.field("start")),
        ("_MMVAD_SHORT.EndingVpn", short.field("end")),
        ("_MMVAD_SHORT.StartingVpnHigh or EndingVpnHigh", highs),
        ("_MMVAD_SHORT: PrivateMemory", short.field("private")),
        ("_MMVAD_SHORT: VadType", kind),
        ("_MMVAD_SHORT: Protection", short.field("protection")),
        ("_MMVAD.Subsection", long.field("subsection").or_else(|why| long.field("control_area").map_err(|_| why))),
        ("_MMVAD.FirstPrototypePte", long.field("first_prototype")),
    ];
    fields.into_iter().find_map(|(name, field)| Some((name, field.err()?)))
}

impl<'k> Layouts<'k> {
    /// Resolves them.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        let pool = kernel.layout().ok().zip(kernel.symbols.types.size_of(PoolHeader::TYPE));
        let (short, long, owner) = (kernel.layout()?, kernel.layout()?, kernel.layout()?);
        Ok(Self { short, long, owner, pool, lacking: lacking(short, long, owner) })
    }
    /// Why a walk may miss ranges, or what they hold, for all processes: the field that the symbols lack.
    ///
    /// # Errors
    /// Why the field is absent.
    pub fn whole(&self) -> Value<()> {
        self.lacking.map_or(Ok(()), |(_, why)| Err(why))
    }
    /// One node.
    ///
    /// # Errors
    /// Its range is unreadable or impossible.
    pub fn read(&self, space: &Space<'_>, node: Va) -> Value<Vad> {
        self.decode(space, &space.view(self.short, node))
    }
    /// The node's own structure, for the places of its fields.
    #[must_use]
    pub fn view<'a>(&self, space: &Space<'a>, node: Va) -> View<'a, VadShort>
    where
        'k: 'a,
    {
        space.view(self.short, node)
    }

    /// Where a node's pool tag is.
    #[must_use]
    pub fn tag_at(&self, space: &Space<'_>, node: Va) -> Option<Place> {
        let (layout, size) = self.pool?;
        Some(space.place(PoolHeader::tag.of(layout, node.sub(size.into()))?))
    }
    fn decode(&self, space: &Space<'_>, v: &View<'_, VadShort>) -> Value<Vad> {
        let (start, end) = vad::range(v)?;
        let node = v.va().ok_or(Absent::NotRecorded)?;
        let private = v.private().map(|p| p != 0);
        let long = (private == Ok(false)).then(|| space.view(self.long, node));
        let mapping = long.as_ref().map(|l| Mapping {
            subsection: l.subsection(),
            control_area: l.control_area(),
            first_prototype: l.first_prototype(),
            last_prototype: l.last_prototype(),
            file_object: l.file_object(),
        });
        let tag = self
            .pool
            .ok_or(Absent::NoSymbol)
            .and_then(|(layout, size)| space.view(layout, node.sub(size.into())).tag().map(Tag));
        Ok(Vad {
            node,
            parent: Va(0),
            left: v.left(),
            right: v.right(),
            depth: 0,
            start,
            end,
            tag,
            kind: vad::kind(v),
            protection: v.protection().map(|p| u8::try_from(p & 31).unwrap_or(0)),
            private,
            commit: vad::commit(v).map(|(pages, _)| pages),
            flags: vad::flags(v, long.as_ref()),
            mapping,
            place: v.place(),
        })
    }

    /// The root of a process's tree; null for a process without user memory.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn root(&self, space: &Space<'_>, eprocess: Va) -> Value<Va> {
        space.view(self.owner, eprocess).root()
    }

    /// Every node of a process, in address order.
    #[must_use]
    pub fn walk(&self, space: &Space<'_>, eprocess: Va) -> Tree {
        self.walk_within(space, eprocess, Limit::default())
    }
    /// The same, with a limit to the nodes of other processes.
    #[must_use]
    pub fn walk_within(&self, space: &Space<'_>, eprocess: Va, limit: Limit) -> Tree {
        let mut tree = Tree::default();
        match self.root(space, eprocess) {
            Ok(root) => {
                if let Some(owner) = limit.owner {
                    tree.notes.push(Note::loss(format!(
                        "VAD tree: {root}, the root of {eprocess}, is also that of the process at {owner}: a tree belongs to one process"
                    )));
                }
                self.walk_from(space, root, limit, &mut tree);
            }
            Err(why) => tree.notes.push(Note::loss(format!("the root of the VAD tree of {eprocess} is {why}"))),
        }
        if let Some((field, why)) = self.lacking {
            tree.notes
                .push(Note::loss(format!("VAD tree: {field} is {why}: ranges, or what they hold, may be missing")));
        }
        tree
    }

    fn walk_from(&self, space: &Space<'_>, root: Va, limit: Limit, tree: &mut Tree) {
        let mut seen = FxHashSet::default();
        let mut above: Vec<(Vad, bool)> = Vec::new();
        let mut strangers: u32 = 0;
        // Whether the way here led through a node of another's, and how many such nodes there were.
        let (mut strange, mut foreign, mut stopped) = (limit.owner.is_some(), 0usize, false);
        let (mut next, mut parent, mut depth) = (root, Va(0), 0u16);
        loop {
            // Down the left edge.
            while !next.is_null() {
                if !seen.insert(next.0) {
                    tree.notes.push(Note::loss(format!(
                        "VAD tree: node {next} below {parent} was met before; its subtree is not walked again"
                    )));
                    break;
                }
                if seen.len() > limit.nodes {
                    tree.notes.push(Note::loss(format!("VAD tree: stopped after {} nodes", limit.nodes)));
                    tree.vads.extend(above.drain(..).map(|(vad, _)| vad));
                    break;
                }
                let view = space.view(self.short, next);
                let mut vad = match self.decode(space, &view) {
                    Ok(vad) => vad,
                    Err(why) => {
                        // Without a range it is no VAD, and its pointers are worth no more.
                        tree.notes.push(Note::loss(format!(
                            "VAD tree: node {next} below {parent} is {why}; its subtree is missing"
                        )));
                        break;
                    }
                };
                // The low bits of the parent pointer are the balance.
                if depth > 0 && view.parent().is_ok_and(|p| p & !7 != parent.0 & !7) {
                    strangers = strangers.saturating_add(1);
                    strange = true;
                }
                if strange {
                    if foreign >= limit.strangers {
                        stopped = true;
                        break;
                    }
                    foreign = foreign.saturating_add(1);
                }
                (vad.parent, vad.depth) = (parent, depth);
                depth = depth.saturating_add(1);
                parent = vad.node;
                match vad.left {
                    Ok(left) => next = left,
                    Err(why) => {
                        tree.notes.push(Note::loss(format!("VAD tree: the children of node {next} are {why}")));
                        next = Va(0);
                    }
                }
                above.push((vad, strange));
            }
            // Back up to the nearest node not yet given out, then to its right.
            let Some((vad, through)) = above.pop() else { break };
            strange = through;
            (parent, depth) = (vad.node, vad.depth.saturating_add(1));
            next = vad.right.unwrap_or_else(|why| {
                // A field that the build lacks is said once, of the whole tree.
                if self.lacking.is_none() {
                    tree.notes.push(Note::loss(format!("VAD tree: the children of node {} are {why}", vad.node)));
                }
                Va(0)
            });
            tree.vads.push(vad);
        }
        if stopped {
            tree.notes.push(Note::loss(format!(
                "VAD tree: stopped after {foreign} nodes that belong to another process's tree, by the parents they name or by the root"
            )));
        }
        if strangers > 0 {
            tree.notes.push(Note::info(format!(
                "VAD tree: {strangers} nodes name another parent than the one they were reached from"
            )));
        }
        // A sound tree comes out sorted. A torn one is sorted here, so that lookups by address work all the same.
        if !tree.vads.is_sorted_by_key(|v| v.start) {
            tree.notes.push(Note::loss("VAD tree: nodes are out of address order; the tree is damaged"));
            tree.vads.sort_by_key(|v| (v.start, v.node));
        }
    }
}

/// The nodes of one process and what was odd about them.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// In address order.
    pub vads: Vec<Vad>,
    /// Where the walk stopped short.
    pub notes: Vec<Note>,
}

impl Tree {
    /// The node that holds an address.
    #[must_use]
    pub fn at(&self, va: Va) -> Option<&Vad> {
        find(&self.vads, va)
    }
    /// The nodes as a tree: each before its children, the lower child first.
    pub fn top_down(&self) -> impl Iterator<Item = &Vad> {
        let by_node: rustc_hash::FxHashMap<Va, &Vad> = self.vads.iter().map(|v| (v.node, v)).collect();
        let mut todo: Vec<&Vad> = self.vads.iter().filter(|v| v.depth == 0).collect();
        std::iter::from_fn(move || {
            let vad = todo.pop()?;
            for child in [vad.right, vad.left] {
                // Only children that were reached from this node: a loop has none twice.
                let child = child
                    .ok()
                    .and_then(|c| by_node.get(&c))
                    .filter(|c| c.parent == vad.node && c.depth == vad.depth.saturating_add(1));
                todo.extend(child);
            }
            Some(vad)
        })
    }
}

/// The node that holds an address, in a list sorted by start.
#[must_use]
pub fn find(vads: &[Vad], va: Va) -> Option<&Vad> {
    let after = vads.partition_point(|v| v.start <= va);
    vads.get(after.checked_sub(1)?).filter(|v| v.contains(va))
}

impl Vad {
    /// Whether it maps an executable image.
    #[must_use]
    pub fn is_image(&self) -> bool {
        self.kind == Ok(Kind::Image)
    }
}

#[cfg(test)]
mod tests;
