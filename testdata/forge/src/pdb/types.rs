//! From a layout table to CodeView records: forward references first, then unnamed types, then the definitions.
//!
//! A real kernel PDB names unnamed types `<unnamed-tag>` and refers to them by index only, so these must stand before
//! the types that hold them; everything else is referred to through its forward reference.

use std::collections::BTreeMap;

use super::codeview::{self, Records};
use crate::layout::{Layouts, Ref, Type};

/// The `.debug$T` contents for all types of the table.
pub fn records(table: &Layouts) -> Vec<u8> {
    let mut w = Writer { table, out: Records::default(), index: BTreeMap::new(), made: BTreeMap::new(), func: None };
    let mut names: Vec<&String> = table.types.keys().filter(|n| !unnamed(n)).collect();
    let opaque = w.opaque();
    names.extend(opaque.keys());
    for name in names {
        let union = table.types.get(name).is_some_and(|t| t.union);
        let index = w.out.forward(union, name);
        w.index.insert(name.clone(), index);
    }
    for (name, e) in &table.enums {
        let items: Vec<_> = e.values.iter().map(|(n, v)| codeview::enumerator(*v, n)).collect();
        let list = w.out.list(&items);
        let base = match e.size {
            1 => 0x20,
            2 => 0x21,
            8 => 0x23,
            _ => 0x74, // int, as MSVC makes them
        };
        let index = w.out.enumeration(name, items.len() as u16, list, base);
        w.index.insert(name.clone(), index);
    }
    for (name, ty) in table.types.iter().filter(|(n, _)| !unnamed(n)) {
        w.define(name, ty);
    }
    // A reader that works out the length of an array needs the size of its elements, even of those nobody describes.
    for (name, size) in opaque.iter().filter(|(_, size)| **size > 0) {
        let list = w.out.list(&[]);
        w.out.class(false, name, 0, list, *size, 0);
    }
    // Says that the file is forged, and brings in `unsigned int`, which every kernel PDB has and some readers ask for.
    let mark = codeview::member(0x75, 0, "ForgedFor");
    let list = w.out.list(&[mark]);
    w.out.class(false, "_DUMPWALK_FORGE", 1, list, 4, 0);
    let mut bytes = 4u32.to_le_bytes().to_vec(); // CV_SIGNATURE_C13
    bytes.extend(w.out.bytes);
    bytes
}

/// A type, the bits of it, its size.
type Key = (Ref, Option<(u8, u8)>, u64);

struct Writer<'a> {
    table: &'a Layouts,
    out: Records,
    /// Named types (forward references), enumerations, and unnamed types once defined.
    index: BTreeMap<String, u32>,
    /// Pointers, arrays and bit fields already written.
    made: BTreeMap<Key, u32>,
    func: Option<u32>,
}

/// `_MMVAD_SHORT.u`: a named member of an unnamed type.
fn unnamed(name: &str) -> bool {
    name.contains('.')
}

impl Writer<'_> {
    /// Types that the table names but does not hold: with their size where some member is one (or an array of them),
    /// zero where they are only pointed to.
    fn opaque(&self) -> BTreeMap<String, u64> {
        fn target(ty: &Ref, size: u64) -> Option<(&String, u64)> {
            match ty {
                Ref::Named(name) => Some((name, size)),
                Ref::Pointer(inner) => target(inner, 0),
                Ref::Array(inner, n) => target(inner, size / (*n).max(1)),
                _ => None,
            }
        }
        let mut out: BTreeMap<String, u64> = BTreeMap::new();
        for field in self.table.types.values().flat_map(|t| &t.fields) {
            let Some((name, size)) = target(&field.ty, field.size) else { continue };
            if !self.table.types.contains_key(name) && !self.table.enums.contains_key(name) {
                let known = out.entry(name.clone()).or_default();
                *known = size.max(*known);
            }
        }
        out
    }

    fn define(&mut self, name: &str, ty: &Type) -> u32 {
        let items: Vec<Vec<u8>> = ty
            .fields
            .iter()
            .map(|f| {
                let whole = self.resolve(&f.ty, f.size);
                let index = f.bits.map_or(whole, |(pos, len)| self.bits(&f.ty, whole, pos, len));
                codeview::member(index, f.offset, &f.name)
            })
            .collect();
        let list = self.out.list(&items);
        let shown = if unnamed(name) { "<unnamed-tag>" } else { name };
        self.out.class(ty.union, shown, items.len() as u16, list, ty.size, 0)
    }

    fn bits(&mut self, ty: &Ref, whole: u32, pos: u8, len: u8) -> u32 {
        let key = (ty.clone(), Some((pos, len)), 0);
        if let Some(index) = self.made.get(&key) {
            return *index;
        }
        let index = self.out.bits(whole, pos, len);
        self.made.insert(key, index);
        index
    }

    /// The index of a type; `size` is that of the member, which an opaque type or an enumeration without values lacks.
    fn resolve(&mut self, ty: &Ref, size: u64) -> u32 {
        let pointer = self.table.pointer();
        match ty {
            Ref::Base(name) => base(name),
            Ref::Named(name) if unnamed(name) => self.unnamed(name),
            Ref::Named(name) => {
                let known = self.table.types.contains_key(name) || self.table.enums.contains_key(name);
                // An enumeration whose values the source does not know: an integer of its size is all that is left.
                if !known && matches!(size, 1 | 2 | 4) {
                    [0, 0x20, 0x21, 0, 0x22][size as usize]
                } else {
                    self.index[name]
                }
            }
            Ref::Func => {
                let key = (Ref::Func, None, 0);
                if let Some(index) = self.made.get(&key) {
                    return *index;
                }
                let procedure = match self.func {
                    Some(index) => index,
                    None => self.out.procedure(),
                };
                self.func = Some(procedure);
                let index = self.out.pointer(procedure, pointer);
                self.made.insert(key, index);
                index
            }
            Ref::Pointer(to) => {
                let key = (ty.clone(), None, 0);
                if let Some(index) = self.made.get(&key) {
                    return *index;
                }
                let to = self.resolve(to, 0);
                let index = self.out.pointer(to, pointer);
                self.made.insert(key, index);
                index
            }
            Ref::Array(of, n) => {
                let key = (ty.clone(), None, size);
                if let Some(index) = self.made.get(&key) {
                    return *index;
                }
                let of = self.resolve(of, if *n == 0 { 0 } else { size / n });
                let index = self.out.array(of, if pointer == 8 { 0x23 } else { 0x22 }, size);
                self.made.insert(key, index);
                index
            }
        }
    }

    fn unnamed(&mut self, name: &str) -> u32 {
        if let Some(index) = self.index.get(name) {
            return *index;
        }
        let index = match self.table.types.get(name) {
            Some(ty) => self.define(name, &ty.clone()),
            None => 0x22, // its members are not known: leave an integer
        };
        self.index.insert(name.to_string(), index);
        index
    }
}

/// Index of a base type (`cvinfo.h`, `TYPE_ENUM_e`).
fn base(name: &str) -> u32 {
    match name {
        "void" => 0x03,
        "char" => 0x70,
        "uchar" => 0x20,
        "bool" => 0x30,
        "wchar" => 0x71,
        "short" => 0x11,
        "ushort" => 0x21,
        "long" => 0x12,
        "ulong" => 0x22,
        "int64" => 0x13,
        "uint64" => 0x23,
        "float" => 0x40,
        "double" => 0x41,
        "hresult" => 0x08,
        _ => panic!("base type {name}"),
    }
}
