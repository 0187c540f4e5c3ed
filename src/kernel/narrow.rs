//! Structures of 32-bit processes on a 64-bit kernel.
//!
//! The kernel's symbols describe the loader's, the heap's and the parameters' structures with 64-bit pointers only. Their 32-bit
//! twins come from the same declarations, so they are laid out anew from the 64-bit ones: each pointer and each pointer-sized number
//! takes 4 bytes, everything else keeps its size, every member is aligned as the compiler aligns it. The tests hold the result
//! against the tables of real 32-bit kernels of the same builds.

use crate::symbols::layout::{Asked, Field, Layout, LayoutError};
use crate::symbols::types::{Member, Type, Types};
use crate::value::Value;
use std::collections::BTreeMap;

/// The layout `L` as 32-bit code on this 64-bit kernel has it.
#[derive(Clone, Copy, Debug)]
pub struct Narrow<L>(pub L);

impl<L: Layout> Layout for Narrow<L> {
    const TYPE: &'static str = L::TYPE;
    const ASKED: &'static [Asked] = L::ASKED;
    fn resolve(types: &Types) -> Result<Self, LayoutError> {
        L::resolve(&narrow(types, L::TYPE)).map(Self)
    }
    fn span(&self) -> u32 {
        self.0.span()
    }
    fn start(&self) -> u32 {
        self.0.start()
    }
    fn field(&self, accessor: &str) -> Value<Field> {
        self.0.field(accessor)
    }
}

/// Types nest this deep at most.
const DEEPEST: u8 = 16;

/// One type and all it embeds, as 32-bit code has them. Empty where the 64-bit kernel does not have the type.
#[must_use]
pub fn narrow(types: &Types, name: &str) -> Types {
    let mut out = Types { pointer_size: 4, ..Types::default() };
    out.enums.clone_from(&types.enums);
    // A process environment block has its 32-bit twin in the symbols: no need to derive it.
    let twin = match name {
        "_PEB" => types.get("_PEB32"),
        "_TEB" => types.get("_TEB32"),
        _ => None,
    };
    if let Some(twin) = twin {
        out.types.insert(name.into(), twin.clone());
        for member in twin.members.values() {
            if let Some(ty) = types.get(&member.ty) {
                out.types.entry(member.ty.clone()).or_insert_with(|| ty.clone());
            }
        }
        return out;
    }
    let mut done = BTreeMap::new();
    size_and_align(types, name, &mut done, &mut out, 0);
    out
}

/// Sizes of types that are not made of what their 64-bit members say: `_HEAP_ENTRY` carries 8 bytes more on x64 for alignment alone
/// (`Reserved`, `PreviousBlockPrivateData`), and a list header is one atomic double word.
/// From the 32-bit tables of 7, 8.1, 10240 and 19041: 8 bytes each.
const FIXED: [(&str, u32, u32); 5] = [
    ("_HEAP_ENTRY", 8, 8),
    ("_HEAP_ENTRY_EXTRA", 8, 8),
    ("_HEAP_UNPACKED_ENTRY", 8, 8),
    ("_HEAP_EXTENDED_ENTRY", 8, 8),
    ("_SLIST_HEADER", 8, 8),
];

/// Members that begin a cache line whatever the width, by type or by name: on x64 they lie at multiples of 64 behind gaps that
/// no natural alignment makes, and in the 32-bit table of 19041 as well.
const CACHE_ALIGNED: [&str; 6] = [
    "_HEAP_SEG_CONTEXT",
    "_HEAP_VS_CONTEXT",
    "_HEAP_LFH_CONTEXT",
    "_HEAP_RUNTIME_MEMORY_STATS",
    "LargeMetadataLock",
    "SegmentLock",
];

/// Size and alignment of a type on 32 bits; lays out structures on the way.
fn size_and_align(
    types: &Types,
    ty: &str,
    done: &mut BTreeMap<Box<str>, (u32, u32)>,
    out: &mut Types,
    depth: u8,
) -> Option<(u32, u32)> {
    if depth > DEEPEST {
        return None;
    }
    if ty.starts_with('*') {
        // An array of pointers is `*T[n]`.
        return Some((array_count(ty).map_or(Some(4), |n| n.checked_mul(4))?, 4));
    }
    if let Some((of, count)) = ty.strip_suffix(']').and_then(|t| t.rsplit_once('[')) {
        let (size, align) = size_and_align(types, of, done, out, depth.checked_add(1)?)?;
        return Some((size.checked_mul(count.parse().ok()?)?, align));
    }
    let plain = match ty {
        "char" | "uchar" | "bool" => 1,
        "wchar" | "short" | "ushort" => 2,
        "long" | "ulong" | "float" => 4,
        // In these structures a bare 64-bit number is a SIZE_T or ULONG_PTR; true 64-bit values are unions of their own.
        "uint64" | "int64" => 4,
        "double" | "_LARGE_INTEGER" | "_ULARGE_INTEGER" => return Some((8, 8)),
        _ => 0,
    };
    if plain != 0 {
        return Some((plain, plain));
    }
    if let Some((_, size, align)) = FIXED.iter().find(|(name, ..)| *name == ty) {
        return Some((*size, *align));
    }
    if types.enums.contains_key(ty) {
        return Some((4, 4));
    }
    if let Some(known) = done.get(ty) {
        return Some(*known);
    }
    let wide = types.get(ty)?;
    let (narrow, align, whole) = lay_out(types, wide, done, out, depth)?;
    if !whole {
        out.types.insert(ty.into(), narrow);
        return None;
    }
    let align = if CACHE_ALIGNED.contains(&ty) { align.max(64) } else { align };
    let found = (narrow.size.checked_next_multiple_of(align)?, align);
    done.insert(ty.into(), found);
    out.types.insert(ty.into(), narrow);
    Some(found)
}

fn array_count(ty: &str) -> Option<u32> {
    ty.strip_suffix(']')?.rsplit_once('[')?.1.parse().ok()
}

/// Lays the members of a 64-bit structure out on 32 bits. Members whose type is unknown are left out, and so is all that follows them:
/// also behind a gap that no alignment makes, for whatever lies there is not described. Whether the structure is known to its end,
/// its own size included, is the last value.
fn lay_out(
    types: &Types,
    wide: &Type,
    done: &mut BTreeMap<Box<str>, (u32, u32)>,
    out: &mut Types,
    depth: u8,
) -> Option<(Type, u32, bool)> {
    // A member whose place is not sure takes its room all the same.
    let known = wide.members.iter().filter(|(_, m)| !m.sure_type().is_empty());
    let mut members: Vec<(&Box<str>, &Member)> = known.collect();
    members.sort_by_key(|(name, m)| (m.offset, std::cmp::Reverse(m.size), *name));
    let mut narrow = Type::default();
    // End of each member already placed: on 64 bits, and on 32.
    let mut ends: Vec<(u32, u32)> = vec![(0, 0)];
    let (mut most_align, mut wide_align, mut whole) = (1, 1, true);
    for (name, m) in members {
        let Some((size, natural)) = size_and_align(types, m.sure_type(), done, out, depth.checked_add(1)?) else {
            whole = false;
            break;
        };
        let of = m.sure_type().split('[').next().unwrap_or(m.sure_type());
        let in_line = CACHE_ALIGNED.contains(&of) || CACHE_ALIGNED.contains(&&**name);
        let align = if in_line { natural.max(64) } else { natural };
        // The member before is the one that ends last at or before this one's start; padding lies between.
        let before = ends.iter().filter(|(end, _)| *end <= m.offset).max_by_key(|(wide_end, end)| (*wide_end, *end))?;
        let own = if in_line { 64 } else { align_on_64(types, m.sure_type(), depth) };
        // Of a member inside another's bytes (a union's) the gap is the other's.
        let inside = ends.iter().any(|(end, _)| *end > m.offset);
        if !inside && before.0.checked_next_multiple_of(own)? < m.offset {
            whole = false;
            break;
        }
        wide_align = wide_align.max(own);
        let offset = before.1.checked_next_multiple_of(align)?;
        ends.push((m.offset.checked_add(m.size)?, offset.checked_add(size)?));
        most_align = most_align.max(align);
        narrow.size = narrow.size.max(offset.checked_add(size)?);
        narrow.members.insert(name.clone(), Member { offset, size, ty: m.ty.clone(), bits: m.bits });
    }
    narrow.size = narrow.size.checked_next_multiple_of(most_align)?;
    let end = ends.iter().map(|(end, _)| *end).max()?;
    Some((narrow, most_align, whole && end.checked_next_multiple_of(wide_align)? >= wide.size))
}

/// What a 64-bit compiler aligns a type to; 64 where the type is not described, for then any gap before it may be padding.
fn align_on_64(types: &Types, ty: &str, depth: u8) -> u32 {
    if ty.starts_with('*') {
        return 8;
    }
    if let Some((of, _)) = ty.strip_suffix(']').and_then(|t| t.rsplit_once('[')) {
        return align_on_64(types, of, depth);
    }
    match ty {
        "char" | "uchar" | "bool" => 1,
        "wchar" | "short" | "ushort" => 2,
        "long" | "ulong" | "float" => 4,
        "uint64" | "int64" | "double" | "_LARGE_INTEGER" | "_ULARGE_INTEGER" => 8,
        "_SLIST_HEADER" => 16,
        _ if types.enums.contains_key(ty) => 4,
        _ if CACHE_ALIGNED.contains(&ty) || depth > DEEPEST => 64,
        _ => match types.get(ty) {
            Some(ty) => {
                let members = ty.members.values().map(|m| align_on_64(types, &m.ty, depth.saturating_add(1)));
                members.max().unwrap_or(64)
            }
            None => 64,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::heap::{NtHeap, NtLarge, NtSegment, RbTree, SegmentContext, SegmentHeap, SegmentLarge};
    use crate::kernel::ldr::{DependencyNode, LdrData, LdrEntry};
    use crate::kernel::peb::{ParametersLayout, PebLayout};
    use crate::kernel::testing::kernels;

    /// Every field asked for lies where the 32-bit kernel of the same build has it.
    fn same<L: Layout>(wide: &Types, real: &Types, build: &str) {
        // The two are of one build, but not of one revision: the older may lack a type that has nothing to do with the width.
        if real.get(L::TYPE).is_none() {
            return;
        }
        let real = L::resolve(real).unwrap_or_else(|e| panic!("{build}: {e}"));
        let derived = Narrow::<L>::resolve(wide).unwrap_or_else(|e| panic!("{build}: {e}"));
        for asked in L::ASKED {
            let (d, r) = (derived.field(asked.accessor), real.field(asked.accessor));
            // A field that the older revision lacks cannot be compared.
            let Ok(r) = r else { continue };
            let place = |f: Field| (f.offset, f.size);
            assert_eq!(d.map(place), Ok(place(r)), "{build} {}.{}", L::TYPE, asked.accessor);
        }
    }

    #[test]
    fn laid_out_anew_as_the_compiler_did() {
        let tables = kernels();
        let table = |name: &str| tables.iter().find(|(n, _)| n == name).map(|(_, s)| &s.types);
        // Each pair is one build, once for each width.
        let pairs = [
            ("x64-6.1.7601.24540", "x86-6.1.7601.17514"),
            ("x64-6.3.9600.19913", "x86-6.3.9600.17415"),
            ("x64-10.0.10240.16384", "x86-10.0.10240.16384"),
            ("x64-10.0.19041.804", "x86-10.0.19041.1288"),
        ];
        for (wide, real) in pairs {
            let (Some(wide_types), Some(real)) = (table(wide), table(real)) else { return };
            same::<PebLayout>(wide_types, real, wide);
            same::<ParametersLayout>(wide_types, real, wide);
            same::<LdrData>(wide_types, real, wide);
            same::<LdrEntry>(wide_types, real, wide);
            same::<DependencyNode>(wide_types, real, wide);
            same::<NtHeap>(wide_types, real, wide);
            same::<NtSegment>(wide_types, real, wide);
            same::<NtLarge>(wide_types, real, wide);
            same::<SegmentHeap>(wide_types, real, wide);
            same::<SegmentContext>(wide_types, real, wide);
            same::<SegmentLarge>(wide_types, real, wide);
            same::<RbTree>(wide_types, real, wide);
            if let Some(size) = real.size_of("_HEAP_SEG_CONTEXT") {
                assert_eq!(narrow(wide_types, "_HEAP_SEG_CONTEXT").size_of("_HEAP_SEG_CONTEXT"), Some(size));
            }
        }
    }
}
