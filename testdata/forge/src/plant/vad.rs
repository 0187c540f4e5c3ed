//! The VAD tree.
//!
//! Three families: XP links nodes by plain pointers from a root pointer; Vista to 8.0 have the root as a node embedded in the
//! process (`_MM_AVL_TABLE`) whose right child is the real root; from 8.1 on the root is a pointer (`_RTL_AVL_TREE`) and every
//! node begins with `_RTL_BALANCED_NODE`. Members and their types say which.

use super::user::{Backing, Region};
use crate::machine::{Machine, Obj};
use crate::memory::{PAGE, PoolKind};
use crate::truth::Json;

/// `MI_VAD_TYPE`: what the number in the flags means.
pub const TYPES: [&str; 8] =
    ["private", "physical", "image", "awe", "write-watch", "large-pages", "rotate", "large-page-section"];

/// Plants the tree of a process; gives the truth of every VAD.
pub fn plant(m: &mut Machine, regions: &[Region], process: u64, eprocess: &mut Obj, deep: bool) -> Vec<Json> {
    let mut regions = regions.to_vec();
    regions.sort_by_key(|r| r.start);
    let nodes: Vec<u64> = regions.iter().map(|r| room(m, r)).collect();
    let embedded = m.layouts.type_of("_EPROCESS", "VadRoot") == Some("_MM_AVL_TABLE");
    let head = if embedded { process + m.layouts.offset("_EPROCESS", "VadRoot") } else { 0 };
    let mut links = vec![[0u64; 3]; nodes.len()];
    let root = if deep { chain(&nodes, &mut links, head) } else { tree(&nodes, &mut links, 0, nodes.len(), head) };
    for ((region, va), [left, right, parent]) in regions.iter().zip(&nodes).zip(links) {
        let mut node = fill(m, region, process);
        let core = if node.has("Core") { "Core." } else { "" };
        let node_at = if node.has(&format!("{core}VadNode")) { format!("{core}VadNode.") } else { String::new() };
        let p = |name: &str| format!("{node_at}{name}");
        node.set_first(&[&p("LeftChild"), &p("Left")], left).set_first(&[&p("RightChild"), &p("Right")], right);
        node.set_first(&[&p("u1.Parent"), &p("ParentValue"), &p("Parent")], parent);
        m.write(*va, &node.bytes);
    }
    let n = nodes.len() as u64;
    if embedded {
        eprocess.set("VadRoot.BalancedRoot.RightChild", root).set("VadRoot.BalancedRoot.u1.Parent", head);
        eprocess.set("VadRoot.NumberGenericTableElements", n);
        eprocess.set("VadRoot.DepthOfTree", u64::from(64 - n.leading_zeros()));
    } else {
        eprocess.set_first(&["VadRoot.Root", "VadRoot"], root).set_first(&["VadCount", "NumberOfVads"], n);
        eprocess.set_opt("VadHint", root);
    }
    regions.iter().zip(&nodes).map(|(r, va)| truth(r, *va)).collect()
}

/// Links every node as the right child of the one before: what no kernel makes, and a damaged dump may hold.
fn chain(nodes: &[u64], links: &mut [[u64; 3]], head: u64) -> u64 {
    for i in 0..nodes.len() {
        let parent = if i == 0 { head } else { nodes[i - 1] };
        links[i] = [0, nodes.get(i + 1).copied().unwrap_or(0), parent];
    }
    nodes.first().copied().unwrap_or(0)
}

/// Links `nodes[from..to]` as a balanced tree; gives its root.
fn tree(nodes: &[u64], links: &mut [[u64; 3]], from: usize, to: usize, parent: u64) -> u64 {
    if from == to {
        return 0;
    }
    let middle = from + (to - from) / 2;
    let me = nodes[middle];
    let left = tree(nodes, links, from, middle, me);
    let right = tree(nodes, links, middle + 1, to, me);
    links[middle] = [left, right, parent];
    me
}

/// Whether the region's VAD has the long form: it shows something that others see too.
fn is_long(r: &Region) -> bool {
    !matches!(r.backing, Backing::Private(0 | 3 | 4 | 5))
}

fn tag(r: &Region) -> &'static [u8; 4] {
    if is_long(r) { b"Vad " } else { b"VadS" }
}

fn room(m: &mut Machine, r: &Region) -> u64 {
    let size = m.layouts.size(ty(m, r));
    m.alloc(PoolKind::NonPaged, tag(r), size)
}

fn ty(m: &Machine, r: &Region) -> &'static str {
    match (is_long(r), m.layouts.has("_MMVAD_LONG")) {
        (false, _) => "_MMVAD_SHORT",
        (true, true) => "_MMVAD_LONG",
        (true, false) => "_MMVAD",
    }
}

/// `VadType` of a region.
fn kind(r: &Region) -> u64 {
    match &r.backing {
        Backing::Private(kind) => *kind,
        Backing::Image(_) => 2,
        Backing::Data(_) => 0,
    }
}

fn fill(m: &mut Machine, r: &Region, process: u64) -> Obj {
    let mut v = m.obj(ty(m, r));
    let core = if v.has("Core") { "Core." } else { "" };
    let p = |name: &str| format!("{core}{name}");
    let (start, end) = (r.start / PAGE, r.end / PAGE);
    if v.has(&p("StartingVpnHigh")) {
        v.set(&p("StartingVpn"), start & 0xFFFF_FFFF).set(&p("StartingVpnHigh"), start >> 32);
        v.set(&p("EndingVpn"), end & 0xFFFF_FFFF).set(&p("EndingVpnHigh"), end >> 32);
    } else {
        v.set(&p("StartingVpn"), start).set(&p("EndingVpn"), end);
    }
    v.set(&p("u.VadFlags.Protection"), r.protection);
    v.set(&p("u.VadFlags.PrivateMemory"), (!is_long(r)).into());
    v.set_first(&[&p("u.VadFlags.CommitCharge"), &p("u1.VadFlags1.CommitCharge"), &p("CommitCharge")], r.commit);
    if v.has(&p("u.VadFlags.VadType")) {
        v.set(&p("u.VadFlags.VadType"), kind(r));
    } else if let Some(flag) = [
        None,
        Some("PhysicalMapping"),
        Some("ImageMap"),
        Some("UserPhysicalPages"),
        Some("WriteWatch"),
        Some("LargePages"),
    ]
    .get(kind(r) as usize)
    .copied()
    .flatten()
    {
        v.set(&p(&format!("u.VadFlags.{flag}")), 1);
    }
    let section = match &r.backing {
        Backing::Image(f) => Some((f.subsection, f.area, f.prototypes, f.file.size)),
        Backing::Data(d) => Some((d.subsection, d.area, d.prototypes, d.size)),
        Backing::Private(_) => None,
    };
    if let Some((subsection, area, prototypes, size)) = section {
        let last = prototypes + m.pte_size() * (size / PAGE - 1);
        // XP points to the control area, behind which the subsections stand.
        if v.has("Subsection") {
            v.set("Subsection", subsection)
        } else {
            v.set("ControlArea", area)
        };
        v.set("FirstPrototypePte", prototypes).set("LastContiguousPte", last).set_opt("VadsProcess", process | 1);
        v.set_opt("FileObject", 0);
    } else if r.commit > 0 {
        for flag in [p("u.VadFlags.MemCommit"), p("u1.VadFlags1.MemCommit")] {
            v.set_opt(&flag, 1);
        }
    }
    v
}

fn truth(r: &Region, va: u64) -> Json {
    let file = match &r.backing {
        Backing::Image(f) => Some(f.file.path.clone()),
        Backing::Data(d) => d.file.clone(),
        Backing::Private(_) => None,
    };
    let shown = match &r.backing {
        Backing::Data(_) => "mapped",
        _ => TYPES[kind(r) as usize],
    };
    let told = Json::object()
        .with("va", va)
        .with("start", r.start)
        .with("end", r.end)
        .with("protection", r.protection)
        .with("kind", shown)
        .with("type", kind(r))
        .with("tag", String::from_utf8_lossy(tag(r)).into_owned())
        .with("commit", r.commit)
        .with("file", file);
    match &r.backing {
        Backing::Data(d) if d.name.is_some() => told.with("section", d.name.clone()),
        _ => told,
    }
}
