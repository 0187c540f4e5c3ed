//! The VAD tree.
//!
//! Two families: up to Windows 7 the root is a node embedded in the process (`_MM_AVL_TABLE`) whose right child is the real
//! root; from 8.1 on it is a pointer (`_RTL_AVL_TREE`) and every node begins with `_RTL_BALANCED_NODE`. The member's type
//! says which.

use super::user::{Backing, Region};
use crate::machine::{Machine, Obj};
use crate::memory::{PAGE, PoolKind};
use crate::truth::Json;

/// Plants the tree of a process; gives the truth of every VAD.
pub fn plant(m: &mut Machine, regions: &[Region], process: u64, eprocess: &mut Obj) -> Vec<Json> {
    let mut regions = regions.to_vec();
    regions.sort_by_key(|r| r.start);
    let nodes: Vec<u64> = regions.iter().map(|r| room(m, r)).collect();
    let embedded = m.layouts.type_of("_EPROCESS", "VadRoot") == Some("_MM_AVL_TABLE");
    let head = if embedded { process + m.layouts.offset("_EPROCESS", "VadRoot") } else { 0 };
    let mut links = vec![[0u64; 3]; nodes.len()];
    let root = tree(&nodes, &mut links, 0, nodes.len(), head);
    for ((region, va), [left, right, parent]) in regions.iter().zip(&nodes).zip(links) {
        let mut node = fill(m, region, process);
        if embedded {
            node.set("LeftChild", left).set("RightChild", right).set("u1.Parent", parent);
        } else {
            let core = if node.has("Core") { "Core." } else { "" };
            node.set(&format!("{core}VadNode.Left"), left).set(&format!("{core}VadNode.Right"), right);
            node.set(&format!("{core}VadNode.ParentValue"), parent);
        }
        m.write(*va, &node.bytes);
    }
    if embedded {
        eprocess.set("VadRoot.BalancedRoot.RightChild", root).set("VadRoot.BalancedRoot.u1.Parent", head);
        eprocess.set("VadRoot.NumberGenericTableElements", nodes.len() as u64);
        eprocess.set("VadRoot.DepthOfTree", u64::from(64 - (nodes.len() as u64).leading_zeros()));
    } else {
        eprocess.set("VadRoot.Root", root).set("VadCount", nodes.len() as u64).set_opt("VadHint", root);
    }
    regions.iter().zip(&nodes).map(|(r, va)| truth(m, r, *va)).collect()
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

fn is_image(r: &Region) -> bool {
    matches!(r.backing, Backing::Image(_))
}

fn room(m: &mut Machine, r: &Region) -> u64 {
    let ty = ty(m, r);
    let size = m.layouts.size(ty);
    m.alloc(PoolKind::NonPaged, if is_image(r) { b"Vad " } else { b"VadS" }, size)
}

fn ty(m: &Machine, r: &Region) -> &'static str {
    match (is_image(r), m.layouts.has("_MMVAD_LONG")) {
        (false, _) => "_MMVAD_SHORT",
        (true, true) => "_MMVAD_LONG",
        (true, false) => "_MMVAD",
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
    v.set(&p("u.VadFlags.PrivateMemory"), (!is_image(r)).into());
    v.set_first(&[&p("u.VadFlags.CommitCharge"), &p("u1.VadFlags1.CommitCharge"), &p("CommitCharge")], r.commit);
    if let Backing::Image(file) = &r.backing {
        v.set(&p("u.VadFlags.VadType"), 2).set("Subsection", file.subsection).set("FirstPrototypePte", file.prototypes);
        v.set("LastContiguousPte", file.prototypes + 8 * (file.file.size / PAGE - 1)).set("VadsProcess", process | 1);
        v.set_opt("FileObject", 0);
    } else if r.commit > 0 {
        for flag in [p("u.VadFlags.MemCommit"), p("u1.VadFlags1.MemCommit")] {
            v.set_opt(&flag, 1);
        }
    }
    v
}

fn truth(m: &Machine, r: &Region, va: u64) -> Json {
    let file = match &r.backing {
        Backing::Image(f) => Some(f.file.path.clone()),
        Backing::Private => None,
    };
    let _ = m;
    Json::object()
        .with("va", va)
        .with("start", r.start)
        .with("end", r.end)
        .with("protection", r.protection)
        .with("kind", if is_image(r) { "image" } else { "private" })
        .with("type", if is_image(r) { 2u64 } else { 0 })
        .with("tag", if is_image(r) { "Vad " } else { "VadS" })
        .with("commit", r.commit)
        .with("file", file)
}
