//! Volatility 3's symbol files (ISF): JSON, plain or compressed with xz or gzip. Air-gapped labs own packs of them.
//!
//! Read into the same shape as a PDB, so that nothing later can tell which of the two it was.
//! Format: the published JSON schema 6.x (`base_types`, `user_types`, `enums`, `symbols`, `metadata`).

use super::codeview::{DEPTH, Described, MEMBERS, cost, is_unnamed, with_sign};
use super::pdb::{is_literal, plain_name};
use super::types::{Enum, Member, Type, Types};
use super::{Machine, PdbId, Symbols};
use crate::error::{Error, Result};
use crate::value::Note;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Read;
use std::marker::PhantomData;
use std::path::Path;

/// The largest file, and the largest document inside of a compressed one. A full kernel's is 12 MB.
const LARGEST: u64 = 64 << 20;
/// Memory for the xz dictionary, in KiB: `xz -9` needs 64 MiB, and a little more for itself.
const DICTIONARY: u32 = 80 << 10;
/// The most names in one object of a document. A full kernel has some 60,000 symbols.
const MOST_NAMES: usize = 1 << 18;

/// Reads a `.json`, `.json.xz` or `.json.gz` file, told apart by their first bytes.
///
/// # Errors
/// The file cannot be read, is no ISF document, or not one of a Windows module.
pub fn read(path: &Path) -> Result<Symbols> {
    parse(&super::read_file(path, LARGEST)?, &path.display().to_string())
}

/// Reads an ISF file from memory.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], origin: &str) -> Result<Symbols> {
    let bad = |what: String| Error::BadSymbols { origin: origin.into(), what };
    let json = unpack(bytes, LARGEST).map_err(bad)?;
    let document: Document<'_> =
        serde_json::from_slice(&json).map_err(|e| bad(format!("it is no Volatility symbol file: {e}")))?;
    let Some(windows) = &document.metadata.windows else {
        return Err(bad("its metadata names no Windows PDB".into()));
    };
    let pdb = &windows.pdb;
    let guid = pdb.guid.to_ascii_uppercase();
    if guid.len() != 32 || !guid.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(bad("its metadata has no GUID".into()));
    }
    // IMAGE_FILE_MACHINE_*.
    let machine = match pdb.machine_type {
        Some(0x14c) => Some(Machine::X86),
        Some(0x8664) => Some(Machine::X64),
        Some(0xaa64) => Some(Machine::Arm64),
        _ => None,
    };
    let pointer = document.base_types.get("pointer").map(|p| p.size);
    let pointer_size = match (machine, pointer) {
        (Some(m), Some(size)) if u32::from(m.pointer_size()) != size => {
            return Err(bad(format!("its pointers have {size} bytes, which {} ones have not", m.word())));
        }
        (Some(m), _) => m.pointer_size(),
        (None, Some(4)) => 4,
        (None, Some(8)) => 8,
        (None, _) => return Err(bad("it says neither its machine nor the size of a pointer".into())),
    };
    let id = PdbId { name: pdb.database.to_string(), guid, age: pdb.age };
    let mut reader = Reader {
        document: &document,
        members_left: MEMBERS,
        waiting: Vec::new(),
        out: Types { pointer_size, ..Types::default() },
        damaged: 0,
        first: None,
    };
    reader.run().map_err(|what| bad(what.into()))?;
    let mut notes = Vec::new();
    if let Some(first) = &reader.first {
        notes.push(Note::loss(format!(
            "the symbol file has {} types that cannot be, left out: {first} first",
            reader.damaged
        )));
    }
    let types = reader.out;
    let names = document.symbols.iter().filter(|(name, _)| !is_literal(name));
    let globals = names.filter_map(|(name, s)| Some((global_name(name, machine), u32::try_from(s.address?).ok()?)));
    let globals = globals.collect();
    Ok(Symbols { types, globals, id: Some(id), machine, version: None, origin: origin.into(), notes })
}

/// The JSON text.
fn unpack(bytes: &[u8], largest: u64) -> std::result::Result<Cow<'_, [u8]>, String> {
    let limited = |r: &mut dyn Read| {
        let mut out = Vec::new();
        r.take(largest.saturating_add(1)).read_to_end(&mut out).map_err(|e| format!("it cannot be unpacked: {e}"))?;
        if out.len() as u64 > largest {
            return Err(format!("it unpacks to more than {} MiB", largest >> 20));
        }
        Ok(Cow::Owned(out))
    };
    match bytes {
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            limited(&mut lzma_rust2::XzReader::new_mem_limit(bytes, true, DICTIONARY))
        }
        [0x1f, 0x8b, ..] => limited(&mut flate2::read::MultiGzDecoder::new(bytes)),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

/// As [`plain_name`]; Volatility's converter has taken one leading underscore away already.
fn global_name(name: &str, machine: Option<Machine>) -> Box<str> {
    if machine == Some(Machine::X86) && name.contains('@') && !name.starts_with(['?', '@']) {
        return plain_name(&format!("_{name}"), machine);
    }
    if name.starts_with(['?', '@']) { plain_name(name, machine) } else { name.into() }
}

/// The names of an object, sorted: whoever made the file chose them, and could choose them so that a hash table of known
/// hash is slow. Their number is bounded.
struct Names<'a, V>(BTreeMap<Cow<'a, str>, V>);

impl<'a, V> std::ops::Deref for Names<'a, V> {
    type Target = BTreeMap<Cow<'a, str>, V>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<'a, 'de: 'a, V: Deserialize<'de>> Deserialize<'de> for Names<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor(PhantomData))
    }
}

struct NamesVisitor<'a, V>(PhantomData<(&'a str, V)>);

impl<'a, 'de: 'a, V: Deserialize<'de>> Visitor<'de> for NamesVisitor<'a, V> {
    type Value = Names<'a, V>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of names")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
        let mut out = BTreeMap::new();
        while let Some(name) = map.next_key::<Name<'a>>()? {
            out.insert(name.0, map.next_value()?);
            if out.len() > MOST_NAMES {
                return Err(A::Error::custom(format!("it has more than {MOST_NAMES} names in one object")));
            }
        }
        Ok(Names(out))
    }
}

/// A name, borrowed from the document where it has no escape in it.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow)]
    base_types: Names<'a, Base<'a>>,
    #[serde(borrow)]
    user_types: Names<'a, User<'a>>,
    #[serde(borrow)]
    enums: Names<'a, Enumeration<'a>>,
    #[serde(borrow)]
    symbols: Names<'a, Symbol>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow)]
    windows: Option<Windows<'a>>,
}

#[derive(Deserialize)]
struct Windows<'a> {
    #[serde(borrow)]
    pdb: Pdb<'a>,
}

#[derive(Deserialize)]
struct Pdb<'a> {
    #[serde(rename = "GUID", borrow)]
    guid: Cow<'a, str>,
    age: u32,
    #[serde(borrow)]
    database: Cow<'a, str>,
    machine_type: Option<u32>,
}

#[derive(Deserialize)]
struct Base<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    size: u32,
    #[serde(default)]
    signed: bool,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    size: u32,
    #[serde(borrow, default)]
    fields: Option<Names<'a, FieldOf<'a>>>,
}

#[derive(Deserialize)]
struct FieldOf<'a> {
    offset: u32,
    #[serde(rename = "type", borrow)]
    ty: TypeOf<'a>,
    #[serde(default)]
    anonymous: bool,
}

/// A type descriptor. The JSON reader bounds their nesting (128).
#[derive(Deserialize)]
struct TypeOf<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    subtype: Option<Box<TypeOf<'a>>>,
    /// A bit-field's unit.
    #[serde(rename = "type", borrow)]
    unit: Option<Box<TypeOf<'a>>>,
    count: Option<u32>,
    bit_position: Option<u8>,
    bit_length: Option<u8>,
}

#[derive(Deserialize)]
struct Enumeration<'a> {
    #[serde(borrow)]
    base: Cow<'a, str>,
    size: u32,
    #[serde(borrow)]
    constants: Names<'a, i64>,
}

#[derive(Deserialize)]
struct Symbol {
    address: Option<u64>,
}

struct Reader<'d> {
    document: &'d Document<'d>,
    members_left: usize,
    /// Blocks for unnamed types met as members: path, type, depth.
    waiting: Vec<(String, &'d User<'d>, u32)>,
    out: Types,
    damaged: usize,
    first: Option<String>,
}

type Damage = &'static str;

impl<'d> Reader<'d> {
    fn run(&mut self) -> std::result::Result<(), Damage> {
        let document = self.document;
        for (name, e) in document.enums.iter() {
            if is_unnamed(name.as_bytes()) {
                continue;
            }
            let base = self.base(&e.base).map_or("long", |(word, _)| word);
            let value = |v: i64| with_sign(v, base, e.size);
            let mut names: Vec<(i64, Box<str>)> =
                e.constants.iter().map(|(n, v)| (value(*v), n.as_ref().into())).collect();
            names.sort();
            self.out.enums.insert(name.as_ref().into(), Enum::new(e.size, names));
        }
        for (name, user) in document.user_types.iter() {
            if is_unnamed(name.as_bytes()) {
                continue;
            }
            self.block(name.as_ref().into(), user, 0)?;
            while let Some((path, user, depth)) = self.waiting.pop() {
                self.block(path, user, depth)?;
            }
        }
        Ok(())
    }
    fn block(&mut self, name: String, user: &'d User<'d>, depth: u32) -> std::result::Result<(), Damage> {
        let waiting = self.waiting.len();
        let mut members = Vec::new();
        let made = self.members(&name, 0, user, depth, &mut members);
        if self.members_left == 0 {
            return Err("it has more members than any kernel");
        }
        let too_long = |m: &Member| m.offset.checked_add(m.size).is_none_or(|end| end > user.size);
        if made.is_err() || members.iter().any(|(_, m): &(Box<str>, Member)| too_long(m)) {
            self.waiting.truncate(waiting);
            self.damaged = self.damaged.saturating_add(1);
            // The smallest name, so that the note does not depend on the order of a hash table.
            self.first = Some(self.first.take().map_or(name.clone(), |f| f.min(name)));
            return Ok(());
        }
        let ty = Type { size: user.size, is_union: user.kind == "union", members: members.into_iter().collect() };
        self.out.types.insert(name.into(), ty);
        Ok(())
    }
    fn members(
        &mut self,
        path: &str,
        base: u32,
        user: &'d User<'d>,
        depth: u32,
        into: &mut Vec<(Box<str>, Member)>,
    ) -> std::result::Result<(), Damage> {
        if depth > DEPTH {
            return Err("types nest too deeply");
        }
        for (name, field) in user.fields.iter().flat_map(|f| f.iter()) {
            let offset = base.checked_add(field.offset).ok_or("an offset past 4 GiB")?;
            if field.anonymous || name.is_empty() {
                self.members_left = self.members_left.saturating_sub(1);
                if self.members_left == 0 {
                    return Err("too many members");
                }
                let inner = field.ty.name.as_ref().and_then(|n| self.document.user_types.get(n.as_ref()));
                let inner = inner.ok_or("an unnamed member of no structure")?;
                self.members(path, offset, inner, depth.saturating_add(1), into)?;
                continue;
            }
            let d = self.describe(&field.ty, path, name)?;
            let text = d.text();
            self.members_left = self.members_left.saturating_sub(cost(name, &text));
            if self.members_left == 0 {
                return Err("too many members");
            }
            if let Some(unnamed) = d.unnamed {
                self.waiting.push((format!("{path}.{name}"), unnamed, depth.saturating_add(1)));
            }
            into.push((name.as_ref().into(), Member { offset, size: d.size, ty: text.into(), bits: d.bits }));
        }
        Ok(())
    }
    fn describe(
        &self,
        ty: &'d TypeOf<'d>,
        path: &str,
        field: &str,
    ) -> std::result::Result<Described<&'d User<'d>>, Damage> {
        let name = || ty.name.as_deref().ok_or("a type without a name");
        match ty.kind.as_ref() {
            "base" => {
                let (word, size) = self.base(name()?)?;
                Ok(Described::simple(word, size))
            }
            "pointer" => {
                let to = ty.subtype.as_ref().ok_or("a pointer to nothing")?;
                let to = self.describe(to, path, field).unwrap_or_else(|_| Described::simple("void", 0));
                Ok(to.pointed_to(self.out.pointer_size.into()))
            }
            "array" => {
                let element = self.describe(ty.subtype.as_ref().ok_or("an array of nothing")?, path, field)?;
                let count = ty.count.ok_or("an array without a count")?;
                let size = element.size.checked_mul(count).ok_or("an array past 4 GiB")?;
                Ok(element.repeated(count, size))
            }
            "bitfield" => {
                let mut unit = self.describe(ty.unit.as_ref().ok_or("a bit-field of nothing")?, path, field)?;
                let (at, len) = ty.bit_position.zip(ty.bit_length).ok_or("a bit-field without bits")?;
                if u32::from(at).saturating_add(len.into()) > unit.size.saturating_mul(8) {
                    return Err("a bit-field past its unit");
                }
                unit.bits = Some((at, len));
                Ok(unit)
            }
            "function" => Ok(Described::simple("func", 0)),
            "enum" => {
                let name = name()?;
                let e = self.document.enums.get(name).ok_or("an enumeration that is missing")?;
                let word = if is_unnamed(name.as_bytes()) { self.base(&e.base)?.0 } else { name };
                Ok(Described::simple(word, e.size))
            }
            "struct" | "union" | "class" => {
                let name = name()?;
                let Some(user) = self.document.user_types.get(name) else {
                    // Only ever named: opaque.
                    return Ok(Described::simple(name, 0));
                };
                if !is_unnamed(name.as_bytes()) {
                    return Ok(Described::simple(name, user.size));
                }
                let own = Described::simple(format!("{path}.{field}"), user.size);
                Ok(Described { unnamed: Some(user), ..own })
            }
            _ => Err("a type of unknown kind"),
        }
    }
    /// A base type in the table's words.
    fn base(&self, name: &str) -> std::result::Result<(&'static str, u32), Damage> {
        let b = self.document.base_types.get(name).ok_or("a base type that is missing")?;
        let word = match (b.kind.as_ref(), b.size, b.signed) {
            ("void", ..) => "void",
            ("bool", ..) => "bool",
            ("float", 4, _) => "float",
            ("float", ..) => "double",
            ("int" | "char", 2, _) if name.starts_with("wchar") => "wchar",
            ("int" | "char", 1, true) => "char",
            ("int" | "char", 1, false) => "uchar",
            ("int", 2, true) => "short",
            ("int", 2, false) => "ushort",
            // A HRESULT is written as unsigned by some converters and as signed by others.
            ("int", 4, _) if name == "HRESULT" => "long",
            ("int", 4, true) => "long",
            ("int", 4, false) => "ulong",
            ("int", 8, true) => "int64",
            ("int", 8, false) => "uint64",
            ("int", 16, true) => "int128",
            ("int", 16, false) => "uint128",
            _ => return Err("a base type of unknown kind"),
        };
        Ok((word, b.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{
        "metadata": {"format": "6.1.0", "windows": {"pdb": {"GUID": "89284d0ca6acc8274b9a44bd5af9290b", "age": 1,
            "database": "ntkrnlmp.pdb", "machine_type": 34404}}},
        "base_types": {"pointer": {"kind": "int", "size": 8, "signed": false, "endian": "little"},
            "unsigned long": {"kind": "int", "size": 4, "signed": false, "endian": "little"},
            "void": {"kind": "void", "size": 0, "signed": true, "endian": "little"}},
        "enums": {"_E": {"base": "unsigned long", "size": 4, "constants": {"One": 1, "Zero": 0}}},
        "user_types": {
            "_A": {"kind": "struct", "size": 32, "fields": {
                "Next": {"offset": 0, "type": {"kind": "pointer", "subtype": {"kind": "struct", "name": "_A"}}},
                "Bit": {"offset": 8, "type": {"kind": "bitfield", "bit_position": 3, "bit_length": 5,
                    "type": {"kind": "base", "name": "unsigned long"}}},
                "E": {"offset": 12, "type": {"kind": "enum", "name": "_E"}},
                "u": {"offset": 16, "type": {"kind": "union", "name": "__unnamed_1"}},
                "x": {"offset": 24, "anonymous": true, "type": {"kind": "struct", "name": "__unnamed_2"}}}},
            "__unnamed_1": {"kind": "union", "size": 8, "fields": {
                "Two": {"offset": 0, "type": {"kind": "array", "count": 2,
                    "subtype": {"kind": "base", "name": "unsigned long"}}}}},
            "__unnamed_2": {"kind": "struct", "size": 8, "fields": {
                "Deep": {"offset": 4, "type": {"kind": "base", "name": "unsigned long"}}}},
            "_BAD": {"kind": "struct", "size": 2, "fields": {
                "TooLong": {"offset": 0, "type": {"kind": "base", "name": "unsigned long"}}}}},
        "symbols": {"?SmGlobals@@3U_SM_GLOBALS@@A": {"address": 4660}, "KeBugCheck": {"address": 4096}}
    }"#;

    #[test]
    fn reads_every_kind_of_type() {
        let s = parse(SMALL.as_bytes(), "test").unwrap();
        assert_eq!(s.id.as_ref().unwrap().key(), "89284D0CA6ACC8274B9A44BD5AF9290B1");
        let member = |path| s.types.member("_A", path).map(|m| (m.offset, m.size, m.ty.to_string(), m.bits));
        assert_eq!(member("Next"), Some((0, 8, "*_A".into(), None)));
        assert_eq!(member("Bit"), Some((8, 4, "ulong".into(), Some((3, 5)))));
        assert_eq!(member("E"), Some((12, 4, "_E".into(), None)));
        assert_eq!(member("u.Two"), Some((16, 8, "ulong[2]".into(), None)));
        assert_eq!(member("Deep"), Some((28, 4, "ulong".into(), None)));
        assert_eq!(s.rva("SmGlobals"), Some(4660));
        assert_eq!(s.types.get("_BAD"), None);
        assert!(s.notes[0].text.contains("_BAD"));
    }
    #[test]
    fn packed_ones_are_unpacked() {
        use std::io::Write as _;
        let plain = parse(SMALL.as_bytes(), "test").unwrap();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(SMALL.as_bytes()).unwrap();
        let packed = gz.finish().unwrap();
        assert_eq!(parse(&packed, "test").unwrap(), plain);
        assert!(unpack(&packed, 100).unwrap_err().contains("more than 0 MiB"));
    }
    #[test]
    fn what_is_none_says_so() {
        for (bad, what) in [
            ("{}", "no Volatility symbol file"),
            ("PK\u{3}\u{4}", "no Volatility symbol file"),
            (&SMALL.replace("\"windows\"", "\"linux\""), "no Windows PDB"),
            (&SMALL.replace("89284d", "xyz"), "no GUID"),
            (&SMALL.replace("34404", "332"), "pointers have 8 bytes"),
        ] {
            let e = parse(bad.as_bytes(), "test").unwrap_err().to_string();
            assert!(e.contains(what), "{e}");
        }
    }
}
