//! A type shown as a debugger's `dt` does.

use super::table::in_order;
use super::types::{Enum, Type};
use super::{Symbols, types::Types};
use crate::error::{Error, Result};
use std::fmt::Write as _;

/// Names that are listed for a pattern.
const LISTED: usize = 500;
/// Unnamed structures inside of each other that are shown in place.
const DEPTH: usize = 12;

/// Shows a structure, an enumeration or a global: `_EPROCESS`, `_EPROCESS.Pcb`, `_KTHREAD_STATE`,
/// `PsActiveProcessHead`; with `*` or `?` the names that match. Large and small letters may differ.
///
/// # Errors
/// Nothing has the name; the error lists what is near.
pub fn show(symbols: &Symbols, what: &str) -> Result<String> {
    let what = what.strip_prefix("nt!").unwrap_or(what);
    if what.contains(['*', '?']) {
        return list(symbols, what);
    }
    let types = &symbols.types;
    if let Some((name, ty)) = structure(types, what) {
        let kind = if ty.is_union { "union" } else { "struct" };
        let mut out = format!("{kind} {name}, {:#x} bytes\n", ty.size);
        members(&mut out, types, name, ty, 0);
        return Ok(out);
    }
    let same = |name: &str| name.eq_ignore_ascii_case(what);
    if let Some((name, e)) = types.enums.iter().find(|(n, _)| same(n)) {
        return Ok(enumeration(name, e));
    }
    if let Some((name, rva)) = symbols.globals.get(what).map(|rva| (what, rva)) {
        return Ok(format!("{name} at RVA {rva:#x}\n"));
    }
    if let Some((name, rva)) = symbols.globals.iter().find(|(n, _)| same(n)) {
        return Ok(format!("{name} at RVA {rva:#x}\n"));
    }
    let near = near(symbols, what);
    let near = if near.is_empty() { String::new() } else { format!("; near it: {}", near.join(" ")) };
    Err(Error::Usage(format!("{} have no type, enumeration or global {what:?}{near}", symbols.origin)))
}

/// A structure by name, or by the path to a member that is one.
fn structure<'s>(types: &'s Types, what: &str) -> Option<(&'s str, &'s Type)> {
    let find = |name: &str| {
        let exact = types.types.get_key_value(name);
        exact.or_else(|| types.types.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)))
    };
    if let Some((name, ty)) = find(what) {
        return Some((name, ty));
    }
    let (root, path) = what.split_once('.')?;
    let member = types.member(find(root)?.0, path)?;
    let inner = member.ty.trim_start_matches('*');
    let inner = inner.split('[').next().unwrap_or(inner);
    find(inner).map(|(n, t)| (n.as_ref(), t))
}

fn members(out: &mut String, types: &Types, name: &str, ty: &Type, depth: usize) {
    let width = ty.members.keys().map(|n| n.len()).max().unwrap_or(0).clamp(16, 32);
    for (field, m) in in_order(ty) {
        let indent = depth.saturating_mul(3).saturating_add(3);
        let text = match m.bits {
            Some((at, 1)) => format!("Pos {at}, 1 Bit"),
            Some((at, len)) => format!("Pos {at}, {len} Bits"),
            None => as_dt(&m.ty, types.pointer_size, 0),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{:indent$}+{:#05x} {field:width$} : {text}", "", m.offset);
        // A structure without a name of its own is shown in place: there is no other way to ask for it by a known name.
        if depth < DEPTH
            && *m.ty == *format!("{name}.{field}")
            && let Some(inner) = types.get(&m.ty)
        {
            members(out, types, &m.ty, inner, depth.saturating_add(1));
        }
    }
}

/// `*_EPROCESS[4]` → `[4] Ptr64 _EPROCESS`, `*(ulong[4])` → `Ptr64 [4] Uint4B`.
fn as_dt(ty: &str, pointer_size: u8, depth: usize) -> String {
    if depth > DEPTH {
        return ty.into();
    }
    let mut element = ty;
    while let Some(at) = element.rfind('[').filter(|_| element.ends_with(']')) {
        element = element.get(..at).unwrap_or_default();
    }
    let mut out = String::new();
    for dimension in ty.get(element.len()..).unwrap_or_default().split_inclusive(']') {
        let _ = write!(out, "{dimension} ");
    }
    let mut inner = element;
    while let Some(to) = inner.strip_prefix('*') {
        let _ = write!(out, "Ptr{} ", u32::from(pointer_size).saturating_mul(8));
        inner = to.strip_prefix('(').and_then(|t| t.strip_suffix(')')).unwrap_or(to);
        if inner.len() != to.len() {
            return out + &as_dt(inner, pointer_size, depth.saturating_add(1));
        }
    }
    out.push_str(match inner {
        "void" => "Void",
        "char" => "Char",
        "uchar" => "UChar",
        "bool" => "Bool",
        "wchar" => "Wchar",
        "short" => "Int2B",
        "ushort" => "Uint2B",
        "long" => "Int4B",
        "ulong" => "Uint4B",
        "int64" => "Int8B",
        "uint64" => "Uint8B",
        "float" => "Float",
        "double" => "Double",
        "func" => "Function",
        other => other,
    });
    out
}

fn enumeration(name: &str, e: &Enum) -> String {
    let mut out = format!("enum {name}, {:#x} bytes\n", e.size);
    let width = e.names.iter().map(|(_, n)| n.len()).max().unwrap_or(0).min(48);
    for (value, name) in &e.names {
        let _ = writeln!(out, "   {name:width$} = 0n{value}");
    }
    out
}

fn list(symbols: &Symbols, pattern: &str) -> Result<String> {
    let all = symbols.types.types.keys().chain(symbols.types.enums.keys()).map(AsRef::as_ref);
    let types: Vec<&str> = all.filter(|n| matches(pattern, n)).collect();
    let globals: Vec<(&str, u32)> = symbols.globals.iter().filter(|(n, _)| matches(pattern, n)).collect();
    if types.is_empty() && globals.is_empty() {
        return Err(Error::Usage(format!("{} have nothing that matches {pattern:?}", symbols.origin)));
    }
    let mut out = String::new();
    for name in types.iter().take(LISTED) {
        let _ = writeln!(out, "{name}");
    }
    for (name, rva) in globals.iter().take(LISTED) {
        let _ = writeln!(out, "{name} at RVA {rva:#x}");
    }
    let more = types.len().saturating_sub(LISTED).saturating_add(globals.len().saturating_sub(LISTED));
    if more > 0 {
        let _ = writeln!(out, "… and {more} more");
    }
    Ok(out)
}

/// Whether a name matches a pattern of `*` and `?`, large and small letters alike. Takes one pass: the last `*` is
/// widened by one when what follows it does not fit.
fn matches(pattern: &str, name: &str) -> bool {
    let (p, n) = (pattern.as_bytes(), name.as_bytes());
    let (mut i, mut j) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&c) = n.get(j) {
        match p.get(i) {
            Some(b'*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(&w) if w == b'?' || w.eq_ignore_ascii_case(&c) => (i, j) = (i + 1, j + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (i, j) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    p.get(i..).is_some_and(|rest| rest.iter().all(|b| *b == b'*'))
}

/// Up to eight names that contain what was asked for, or are contained in it.
fn near<'s>(symbols: &'s Symbols, what: &str) -> Vec<&'s str> {
    let core = what.split('.').next().unwrap_or(what).trim_matches('_').to_ascii_lowercase();
    if core.len() < 3 {
        return Vec::new();
    }
    let all = symbols.types.types.keys().chain(symbols.types.enums.keys()).map(AsRef::as_ref);
    let mut found: Vec<&str> = all.filter(|n: &&str| n.to_ascii_lowercase().contains(&core)).collect();
    found.sort_by_key(|n| (n.len(), *n));
    found.truncate(8);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::table;

    fn symbols() -> Symbols {
        let text = "# kernel - - x64 pdb - -\n\
            struct _A 0x40\n 0x0 0x8 *void Next\n 0x8 0x4 ulong:3,5 Bits\n 0x8 0x4 ulong:8,1 One\n \
            0x10 0x10 _A.u u\n 0x20 0x20 *_B[2][2] Table\n\
            union _A.u 0x10\n 0x0 0x10 uint64[2] Two\n\
            struct _B 0x8\n 0x0 0x8 **_A Back\n\
            enum _STATE 0x4 Ready=1 Running=2\nsymbol PsActiveProcessHead 0x1234\n";
        table::parse(text, "the table").unwrap()
    }

    #[test]
    fn a_structure_as_a_debugger_shows_it() {
        let expected = "\
struct _A, 0x40 bytes
   +0x000 Next             : Ptr64 Void
   +0x008 Bits             : Pos 3, 5 Bits
   +0x008 One              : Pos 8, 1 Bit
   +0x010 u                : _A.u
      +0x000 Two              : [2] Uint8B
   +0x020 Table            : [2] [2] Ptr64 _B
";
        assert_eq!(show(&symbols(), "_A").unwrap(), expected);
        assert_eq!(show(&symbols(), "nt!_a").unwrap(), expected);
        assert!(show(&symbols(), "_A.Table").unwrap().starts_with("struct _B, 0x8 bytes\n   +0x000 Back"));
        assert!(show(&symbols(), "_A.u").unwrap().starts_with("union _A.u"));
    }
    #[test]
    fn types_in_a_debuggers_words() {
        for (ty, dt) in [
            ("*_B[2][3]", "[2] [3] Ptr64 _B"),
            ("**void", "Ptr64 Ptr64 Void"),
            ("*(ulong[4])", "Ptr64 [4] Uint4B"),
            ("*(*func[4])[2]", "[2] Ptr64 [4] Ptr64 Function"),
            ("ns::T<uchar[2]>", "ns::T<uchar[2]>"),
        ] {
            assert_eq!(as_dt(ty, 8, 0), dt);
        }
    }
    #[test]
    fn enumerations_globals_and_patterns() {
        let s = symbols();
        assert_eq!(show(&s, "_STATE").unwrap(), "enum _STATE, 0x4 bytes\n   Ready   = 0n1\n   Running = 0n2\n");
        assert_eq!(show(&s, "psactiveprocesshead").unwrap(), "PsActiveProcessHead at RVA 0x1234\n");
        assert_eq!(show(&s, "_*").unwrap(), "_A\n_A.u\n_B\n_STATE\n");
        assert_eq!(show(&s, "Ps*Head").unwrap(), "PsActiveProcessHead at RVA 0x1234\n");
        let e = show(&s, "_STAT").unwrap_err().to_string();
        assert!(e.contains("_STATE") && e.contains("the table"), "{e}");
        assert!(show(&s, "x*").is_err());
    }
    #[test]
    fn patterns_match_as_expected() {
        for (pattern, name, yes) in [
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("?b", "ab", true),
            ("?b", "b", false),
            ("*ab", "aab", true),
            ("A*", "abc", true),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }
}
