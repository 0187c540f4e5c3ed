//! What of a table of another revision may be read: not what has moved, or may have.

use crate::kernel::verify::Witnessed;
use crate::symbols::types::{Member, Type, Types};
use std::collections::BTreeSet;

/// Before or after the dump's own revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// What is known around a table that is nearly the right one.
pub(super) struct Near<'t> {
    /// Tables of the same build, as near as the chosen one: what they do not agree on has moved in between.
    pub kin: Vec<&'t Types>,
    /// The nearest tables of other builds, on the sides where no table of the same build bounds the dump's revision: what is
    /// elsewhere there may have moved already.
    pub flanks: Vec<&'t Types>,
    /// Whether there is such a side.
    pub open: bool,
    /// Structures whose size the dump states.
    pub sized: Vec<&'static str>,
    /// Those of which it states another one than the chosen table has.
    pub misfits: Vec<&'static str>,
    /// What the dump's processes say of single fields.
    pub witnessed: Vec<Witnessed>,
}

/// Structures that updates have moved members of within one build, as the tables of 213 kernels of JPCERTCC/Windows-Symbol-Tables and
/// the others built in have it: any that are read here, service packs of Server 2003 aside. What an update never moved is taken to lie where its build has it.
/// (Members that nothing reads moved in others, too.) `tests/layouts.rs` compares all tables.
pub const MOVED_BY_UPDATES: [&str; 17] = [
    "_CMHIVE",
    "_CM_KEY_CONTROL_BLOCK",
    "_CM_NAME_CONTROL_BLOCK",
    "_EJOB",
    "_EPROCESS",
    "_ETHREAD",
    "_ETW_GUID_ENTRY",
    "_ETW_REG_ENTRY",
    "_HHIVE",
    "_KPRCB",
    "_KPROCESS",
    "_KTHREAD",
    "_MI_PARTITION",
    "_MI_SYSTEM_INFORMATION",
    "_MMPFN",
    "_MMSUPPORT",
    "_OBJECT_SYMBOLIC_LINK",
];

/// Structures that the checks of layouts read whole objects by, all over the dump.
const WALKED: [&str; 8] = [
    "_TOKEN",
    "_MMVAD",
    "_MMVAD_SHORT",
    "_HANDLE_TABLE",
    "_HANDLE_TABLE_ENTRY",
    "_OBJECT_HEADER",
    "_KLDR_DATA_TABLE_ENTRY",
    "_POOL_HEADER",
];

/// A structure's first part, whose size is known with it.
const PARTS: [(&str, &str); 2] = [("_EPROCESS", "_KPROCESS"), ("_ETHREAD", "_KTHREAD")];

/// Marks the fields that may lie elsewhere, and gives the structures that have some: of those that analyses read whole.
pub(super) fn mark(types: &mut Types, near: &Near<'_>) -> Vec<Box<str>> {
    let names: Vec<Box<str>> = types.types.keys().cloned().collect();
    let mut doubted = Vec::new();
    for name in names {
        let fields = doubtful(types, &name, near);
        fields.iter().for_each(|field| types.doubt(&name, field));
        if !fields.is_empty() && (MOVED_BY_UPDATES.contains(&&*name) || WALKED.contains(&&*name)) {
            doubted.push(name);
        }
    }
    doubted
}

/// The doubtful fields of one structure.
fn doubtful(types: &Types, name: &str, near: &Near<'_>) -> BTreeSet<Box<str>> {
    let Some(own) = types.get(name) else { return BTreeSet::new() };
    let whole = PARTS.iter().find(|(_, part)| *part == name).map_or(name, |(whole, _)| *whole);
    let says = |field: &str| near.witnessed.iter().find(|w| w.ty == name && w.path == field).map(|w| w.holds);
    let misfit = near.misfits.contains(&name) || near.witnessed.iter().any(|w| w.ty == name && !w.holds);
    // Processes and threads are others in every build: of them the dump itself must say where they are what the table has.
    let witnessed = PARTS.iter().any(|(known, _)| *known == whole);
    let sized = near.sized.contains(&whole);
    let beside = !witnessed && !sized && MOVED_BY_UPDATES.contains(&name);
    let tail = misfit || (witnessed && whole == name && !sized && near.open);
    let mut out = BTreeSet::new();
    let flanks = near.flanks.iter().filter(|_| beside);
    // Of a structure whose size is known and right, tables with another size say nothing.
    let alike = |t: &&&Types| !sized || near.misfits.contains(&whole) || t.size_of(whole) == types.size_of(whole);
    for other in near.kin.iter().filter(alike).chain(flanks).filter_map(|t| t.get(name)) {
        out.extend(moved(own, other));
    }
    if tail {
        out.extend(behind(own, last_known(own, name, near)));
    }
    out.retain(|field| says(field) != Some(true));
    out.extend(own.members.keys().filter(|field| says(field) == Some(false)).cloned());
    out
}

/// Fields of either structure that the other has elsewhere or not at all. A flag that only one has a name for is none of them: where
/// no other flag has its place, it was not in use.
fn moved(own: &Type, other: &Type) -> Vec<Box<str>> {
    let names: BTreeSet<&Box<str>> = own.members.keys().chain(other.members.keys()).collect();
    let differ = names.into_iter().filter(|name| match (own.members.get(*name), other.members.get(*name)) {
        (Some(flag), None) if flag.bits.is_some() => taken(flag, other),
        (None, Some(flag)) if flag.bits.is_some() => false,
        (a, b) => !same(a, b),
    });
    differ.cloned().collect()
}

/// Whether a structure has another flag in a flag's place.
fn taken(flag: &Member, other: &Type) -> bool {
    other.members.values().any(|m| m.bits.is_some() && (m.offset, m.bits) == (flag.offset, flag.bits))
}

fn same(a: Option<&Member>, b: Option<&Member>) -> bool {
    let (Some(a), Some(b)) = (a, b) else { return a.is_none() && b.is_none() };
    // One source spells a type otherwise than another; two structures of different names are two.
    let structure = |m: &Member| m.ty.starts_with('_');
    let types = !(structure(a) && structure(b)) || a.ty == b.ty;
    (a.offset, a.size, a.bits) == (b.offset, b.size, b.bits) && types
}

/// Where the last field ends that the dump itself confirms, before the first that it denies.
fn last_known(own: &Type, name: &str, near: &Near<'_>) -> u32 {
    let of = |holds: bool| near.witnessed.iter().filter(move |w| w.ty == name && w.holds == holds);
    let place = |w: &Witnessed| own.members.get(w.path);
    let denied = of(false).filter_map(place).map(|m| m.offset).min().unwrap_or(u32::MAX);
    let known = of(true).filter_map(place).filter(|m| m.offset < denied);
    known.map(|m| m.offset.saturating_add(m.size)).max().unwrap_or(0)
}

/// Fields that lie at or behind a place.
fn behind(own: &Type, place: u32) -> Vec<Box<str>> {
    own.members.iter().filter(|(_, m)| m.offset >= place).map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &[(&str, u32)]) -> Types {
        let member = |offset| Member { offset, size: 8, ty: "uint64".into(), bits: None };
        let members = fields.iter().map(|(name, at)| ((*name).into(), member(*at))).collect();
        let mut types = Types::default();
        types.types.insert("_EPROCESS".into(), Type { members, ..Type::default() });
        types
    }
    fn near<'t>(kin: &[&'t Types], flanks: &[&'t Types]) -> Near<'t> {
        let (kin, flanks) = (kin.to_vec(), flanks.to_vec());
        Near { kin, flanks, open: false, sized: Vec::new(), misfits: Vec::new(), witnessed: Vec::new() }
    }
    fn marked(types: &Types, near: &Near<'_>) -> Vec<String> {
        let mut types = types.clone();
        mark(&mut types, near);
        let members = &types.get("_EPROCESS").unwrap().members;
        members.iter().filter(|(_, m)| m.is_unsure()).map(|(name, _)| name.to_string()).collect()
    }
    fn says(path: &'static str, holds: bool) -> Witnessed {
        Witnessed { ty: "_EPROCESS", path, holds }
    }

    #[test]
    fn what_kin_and_flanks_have_elsewhere_is_doubtful() {
        let own = table(&[("A", 0), ("B", 8), ("C", 16)]);
        let kin = table(&[("A", 0), ("B", 16), ("C", 24), ("D", 8)]);
        assert_eq!(marked(&own, &near(&[&kin], &[])), ["B", "C", "D"]);
        // Processes are others in each build.
        assert_eq!(marked(&own, &near(&[], &[&kin])), [""; 0]);
        // Where nothing bounds the revision and nothing states the size, the dump itself must say where a field is.
        let open = Near { open: true, witnessed: vec![says("B", true)], ..near(&[], &[&kin]) };
        assert_eq!(marked(&own, &open), ["C"]);
        let sized = Near { open: true, sized: vec!["_EPROCESS"], ..near(&[], &[&kin]) };
        assert_eq!(marked(&own, &sized), [""; 0]);
        let witnessed = Near { witnessed: vec![says("B", true)], ..near(&[&kin], &[]) };
        assert_eq!(marked(&own, &witnessed), ["C", "D"]);
    }
    #[test]
    fn of_another_size_only_what_is_confirmed_and_before_is_read() {
        let own = table(&[("A", 0), ("B", 8), ("C", 16), ("D", 24)]);
        let misfit = Near { sized: vec!["_EPROCESS"], misfits: vec!["_EPROCESS"], ..near(&[], &[]) };
        assert_eq!(marked(&own, &misfit), ["A", "B", "C", "D"]);
        let known = Near { witnessed: vec![says("B", true)], ..misfit };
        assert_eq!(marked(&own, &known), ["C", "D"]);
        let denied = Near { witnessed: vec![says("C", false), says("D", true), says("A", true)], ..near(&[], &[]) };
        assert_eq!(marked(&own, &denied), ["B", "C"]);
    }
}
