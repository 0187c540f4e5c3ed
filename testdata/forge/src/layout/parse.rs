//! The text form of a table: one line a fact (see `layouts/README.md`).

use super::{Enum, Field, Layouts, Ref, Type};

impl Layouts {
    /// Reads a table.
    ///
    /// # Panics
    /// On a line it does not understand: the tables are ours, a broken one must not pass unnoticed.
    pub fn parse(text: &str) -> Layouts {
        let mut out = Layouts::default();
        let mut current = String::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["#", "kernel", _file, version, arch, "pdb", name, id, ..] => {
                    (out.version, out.arch, out.pdb_name) = (version.to_string(), arch.to_string(), name.to_string());
                    if let Some((guid, age)) = id.split_once('+') {
                        out.guid = guid.to_string();
                        out.age = age.parse().expect("age");
                    }
                }
                ["#", ..] | [] => {}
                [kind @ ("struct" | "union"), name, size] => {
                    current = name.to_string();
                    let ty = Type { union: *kind == "union", size: hex(size), fields: Vec::new() };
                    out.types.insert(current.clone(), ty);
                }
                ["enum", name, size, rest @ ..] => {
                    let values = rest.iter().map(|v| enum_value(v)).collect();
                    out.enums.insert(name.to_string(), Enum { size: hex(size), values });
                }
                ["symbol", name, rva] => {
                    out.symbols.insert(name.to_string(), hex(rva));
                }
                [offset, size, ty, name] if line.starts_with(' ') => {
                    let (ty, bits) = bits(ty);
                    let field =
                        Field { offset: hex(offset), size: hex(size), ty: type_ref(ty), bits, name: name.to_string() };
                    out.types.get_mut(&current).expect("a field outside a type").fields.push(field);
                }
                _ => panic!("layout line not understood: {line}"),
            }
        }
        out
    }
}

fn hex(text: &str) -> u64 {
    let digits = text.strip_prefix("0x").unwrap_or_else(|| panic!("not hexadecimal: {text}"));
    u64::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("not hexadecimal: {text}"))
}

fn enum_value(text: &str) -> (String, i64) {
    let (name, value) = text.rsplit_once('=').unwrap_or_else(|| panic!("not an enum value: {text}"));
    let value = match value.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).expect("enum value") as i64,
        None => value.parse().unwrap_or_else(|_| panic!("not an enum value: {text}")),
    };
    (name.to_string(), value)
}

/// Splits `ulong:3,1` into the type and the bits.
fn bits(text: &str) -> (&str, Option<(u8, u8)>) {
    match text.split_once(':') {
        Some((ty, bits)) => {
            let (pos, len) = bits.split_once(',').expect("bit position and length");
            (ty, Some((pos.parse().expect("bit position"), len.parse().expect("bit length"))))
        }
        None => (text, None),
    }
}

const BASES: [&str; 14] = [
    "void", "char", "uchar", "bool", "wchar", "short", "ushort", "long", "ulong", "int64", "uint64", "float", "double",
    "hresult",
];

/// Stars stand in front (`*T`), dimensions behind; an array of pointers is `*T[n]`.
fn type_ref(text: &str) -> Ref {
    if let Some((inner, n)) = outer_dimension(text) {
        return Ref::Array(Box::new(type_ref(&inner)), n);
    }
    if text == "*func" {
        return Ref::Func;
    }
    if let Some(target) = text.strip_prefix('*') {
        return Ref::Pointer(Box::new(type_ref(target)));
    }
    if BASES.contains(&text) { Ref::Base(text.to_string()) } else { Ref::Named(text.to_string()) }
}

/// `T[2][3]` is two of `T[3]`: takes the first dimension off.
fn outer_dimension(text: &str) -> Option<(String, u64)> {
    let open = text.find('[')?;
    let close = open + text[open..].find(']')?;
    let n = text[open + 1..close].parse().expect("array length");
    Some((format!("{}{}", &text[..open], &text[close + 1..]), n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_pointers_and_bits() {
        assert_eq!(type_ref("*void[4]"), Ref::Array(Box::new(Ref::Pointer(Box::new(Ref::Base("void".into())))), 4));
        let inner = Ref::Array(Box::new(Ref::Base("uchar".into())), 3);
        assert_eq!(type_ref("uchar[2][3]"), Ref::Array(Box::new(inner), 2));
        assert_eq!(bits("ulong:3,1"), ("ulong", Some((3, 1))));
        assert_eq!(enum_value("A=-1"), ("A".into(), -1));
    }
}
