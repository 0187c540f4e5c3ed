//! The text format of layout tables: one file per kernel, made to be read, compared and shipped.
//!
//! ```text
//! # kernel <file> <version> <arch> pdb <name or -> <GUID+age or ->
//! # further comment lines
//! struct <type> <size>                               or: union <type> <size>
//!  <offset> <size> <type>[:<bit>,<length>] <field>   numbers in 0x hex, bits in decimal
//! enum <type> <size> <name>=<value> ...
//! symbol <name> <rva>
//! ```
//!
//! Base types are `void char uchar bool wchar short ushort long ulong int64 uint64 float double`; `*T` is a pointer,
//! `*func` one to a function, `T[n]` an array. Members of unnamed structures stand in their parent at the absolute
//! offset; a named field of unnamed type has the type `Parent.field`, which has its own block. A space inside a name
//! (C++ templates have them) is written `%20`.

use super::types::{Enum, Member, Type, Types};
use super::{Machine, PdbId, Symbols};
use crate::error::{Error, Result};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Reads a table.
///
/// # Errors
/// [`Error::BadSymbols`] with the line that is not understood, or that contradicts another.
pub fn parse(text: &str, origin: &str) -> Result<Symbols> {
    let mut reader = Reader { out: Symbols { origin: origin.into(), ..Symbols::default() }, ..Reader::default() };
    for (number, line) in text.lines().enumerate() {
        if let Err(what) = reader.line(line) {
            let what = format!("line {}: {what}: {}", number.saturating_add(1), clipped(line));
            return Err(Error::BadSymbols { origin: origin.into(), what });
        }
    }
    reader.close().map_err(|what| Error::BadSymbols { origin: origin.into(), what: what.into() })?;
    let symbols = reader.globals.len();
    reader.out.globals = reader.globals.into_iter().collect();
    if reader.out.globals.len() != symbols {
        return Err(Error::BadSymbols { origin: origin.into(), what: "a symbol stands there twice".into() });
    }
    if reader.out.machine.is_none() {
        let what = "no `# kernel` line: this is no layout table".into();
        return Err(Error::BadSymbols { origin: origin.into(), what });
    }
    Ok(reader.out)
}

/// The start of a line, for an error message.
fn clipped(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(80) {
        Some((end, _)) => Cow::Owned(format!("{}…", line.get(..end).unwrap_or_default())),
        None => Cow::Borrowed(line),
    }
}

#[derive(Default)]
struct Reader {
    out: Symbols,
    globals: Vec<(Box<str>, u32)>,
    /// The structure whose members are being read.
    open: Option<(Box<str>, Type)>,
}

type Line = std::result::Result<(), &'static str>;

impl Reader {
    fn line(&mut self, line: &str) -> Line {
        if let Some(member) = line.strip_prefix(' ') {
            return self.member(member);
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "struct" | "union" => self.structure(rest, word == "union"),
            "enum" => self.enumeration(rest),
            "symbol" => self.symbol(rest),
            "#" => self.comment(rest),
            _ => Err("unknown line"),
        }
    }
    fn comment(&mut self, rest: &str) -> Line {
        let Some(header) = rest.strip_prefix("kernel ") else { return Ok(()) };
        let mut words = header.split(' ');
        let (_file, version, machine) = (words.next(), words.next(), words.next());
        self.out.machine = Some(match machine {
            Some("x86") => Machine::X86,
            Some("x64") => Machine::X64,
            Some("arm64") => Machine::Arm64,
            _ => return Err("unknown processor"),
        });
        self.out.types.pointer_size = self.out.machine.map_or(0, Machine::pointer_size);
        self.out.version = version.filter(|v| *v != "-").map(|v| plain(v).map(Into::into)).transpose()?;
        if let (Some("pdb"), Some(name), Some(key)) = (words.next(), words.next(), words.next())
            && key != "-"
        {
            self.out.id = Some(identity(name, key).ok_or("the PDB identity is not GUID+age")?);
        }
        Ok(())
    }
    fn structure(&mut self, rest: &str, is_union: bool) -> Line {
        self.close()?;
        let (name, size) = rest.split_once(' ').ok_or("no size")?;
        self.open = Some((plain(name)?, Type { size: hex(size)?, is_union, members: BTreeMap::new() }));
        Ok(())
    }
    fn member(&mut self, rest: &str) -> Line {
        let mut words = rest.split(' ');
        let mut next = || words.next().ok_or("a member has offset, size, type and name");
        let (offset, size, ty, name) = (hex(next()?)?, hex(next()?)?, next()?, plain(next()?)?);
        if words.next().is_some() {
            return Err("too many words");
        }
        // A C++ scope has two colons, a bit-field one and figures behind it.
        let (ty, bits) = match ty.rsplit_once(':').filter(|(t, _)| !t.ends_with(':')) {
            Some((t, bits)) => {
                let (at, len) = bits.split_once(',').ok_or("bits are position,length")?;
                let figure = |s: &str| s.parse::<u8>().map_err(|_| "bit positions are decimal");
                (t, Some((figure(at)?, figure(len)?)))
            }
            None => (ty, None),
        };
        let (_, open) = self.open.as_mut().ok_or("a member outside of a structure")?;
        if offset.checked_add(size).is_none_or(|end| end > open.size) {
            return Err("the member ends past its structure");
        }
        if let Some((at, len)) = bits
            && u32::from(at).saturating_add(len.into()) > size.saturating_mul(8)
        {
            return Err("the bit-field ends past its unit");
        }
        match open.members.insert(name, Member { offset, size, ty: plain(ty)?, bits }) {
            None => Ok(()),
            Some(_) => Err("the member stands here twice"),
        }
    }
    fn enumeration(&mut self, rest: &str) -> Line {
        self.close()?;
        let mut words = rest.split(' ');
        let name = plain(words.next().ok_or("no name")?)?;
        let size = hex(words.next().ok_or("no size")?)?;
        let mut names = Vec::new();
        for word in words {
            let (name, value) = word.split_once('=').ok_or("no value")?;
            names.push((value.parse().map_err(|_| "the value is no decimal number")?, plain(name)?));
        }
        match self.out.types.enums.insert(name, Enum::new(size, names)) {
            None => Ok(()),
            Some(_) => Err("the enumeration stands here twice"),
        }
    }
    fn symbol(&mut self, rest: &str) -> Line {
        self.close()?;
        let (name, rva) = rest.split_once(' ').ok_or("no address")?;
        self.globals.push((plain(name)?, hex(rva)?));
        Ok(())
    }
    fn close(&mut self) -> Line {
        let Some((name, ty)) = self.open.take() else { return Ok(()) };
        match self.out.types.types.insert(name, ty) {
            None => Ok(()),
            Some(_) => Err("the structure before this line stands here twice"),
        }
    }
}

/// `89284D0CA6ACC8274B9A44BD5AF9290B+1`.
fn identity(name: &str, key: &str) -> Option<PdbId> {
    let (guid, age) = key.split_once('+')?;
    let good = guid.len() == 32 && guid.bytes().all(|b| b.is_ascii_hexdigit());
    good.then_some(())?;
    Some(PdbId { name: plain(name).ok()?.into(), guid: guid.to_ascii_uppercase(), age: age.parse().ok()? })
}

fn hex(word: &str) -> std::result::Result<u32, &'static str> {
    let digits = word.strip_prefix("0x").filter(|d| !d.starts_with('+')).ok_or("a number is not in 0x hex")?;
    u32::from_str_radix(digits, 16).map_err(|_| "a number is not in 0x hex")
}

/// Undoes [`Escaped`].
fn plain(word: &str) -> std::result::Result<Box<str>, &'static str> {
    if word.is_empty() {
        return Err("an empty name");
    }
    if !word.contains('%') {
        return Ok(word.into());
    }
    let mut parts = word.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2).ok_or("a broken escape")?;
        bytes.push(u8::from_str_radix(code, 16).map_err(|_| "a broken escape")?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).map(Into::into).map_err(|_| "a broken escape")
}

/// A name without the characters that the format needs for itself.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let special = |b: u8| b <= b' ' || b == b'%' || b == b'=' || b == 0x7f;
        if !self.0.bytes().any(special) {
            return f.write_str(self.0);
        }
        let mut utf8 = [0; 4];
        for c in self.0.chars() {
            match u8::try_from(c) {
                Ok(b) if special(b) => write!(f, "%{b:02x}")?,
                _ => f.write_str(c.encode_utf8(&mut utf8))?,
            }
        }
        Ok(())
    }
}

/// Writes a table that [`parse`] reads back as it was.
#[must_use]
pub fn write(symbols: &Symbols) -> String {
    let mut out = String::new();
    let machine = symbols.machine.unwrap_or(match symbols.types.pointer_size {
        4 => Machine::X86,
        _ => Machine::X64,
    });
    let version = symbols.version.as_deref().unwrap_or("-");
    let (name, key) = match &symbols.id {
        Some(id) => (Cow::Owned(Escaped(&id.name).to_string()), format!("{}+{}", id.guid, id.age)),
        None => (Cow::Borrowed("-"), "-".into()),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# kernel - {} {} pdb {name} {key}", Escaped(version), machine.word());
    write_types(&mut out, &symbols.types);
    for (name, rva) in symbols.globals.iter() {
        let _ = writeln!(out, "symbol {} {rva:#x}", Escaped(name));
    }
    out
}

fn write_types(out: &mut String, types: &Types) {
    for (name, ty) in &types.types {
        let word = if ty.is_union { "union" } else { "struct" };
        let _ = writeln!(out, "{word} {} {:#x}", Escaped(name), ty.size);
        for (field, m) in in_order(ty) {
            let ty = Escaped(&m.ty).to_string();
            let ty = if colons_are_scopes(&m.ty) { ty } else { ty.replace(':', "%3a") };
            let _ = write!(out, " {:#x} {:#x} {ty}", m.offset, m.size);
            if let Some((at, len)) = m.bits {
                let _ = write!(out, ":{at},{len}");
            }
            let _ = writeln!(out, " {}", Escaped(field));
        }
    }
    for (name, e) in &types.enums {
        let _ = write!(out, "enum {} {:#x}", Escaped(name), e.size);
        for (value, name) in &e.names {
            let _ = write!(out, " {}={value}", Escaped(name));
        }
        out.push('\n');
    }
}

/// Whether colons stand in pairs only, with something behind them: else one would be taken for a bit-field's.
fn colons_are_scopes(ty: &str) -> bool {
    !ty.replace("::", "").contains(':') && !ty.contains(":::") && !ty.ends_with(':')
}

/// A structure's members as people read them: by offset, then bit, the larger first.
#[must_use]
pub fn in_order(ty: &Type) -> Vec<(&str, &Member)> {
    let mut members: Vec<_> = ty.members.iter().map(|(name, m)| (name.as_ref(), m)).collect();
    members.sort_by_key(|(name, m)| {
        (m.offset, m.bits.map_or(0, |(at, _)| at), std::cmp::Reverse(m.size), m.bits.map(|b| b.1), *name)
    });
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "\
# kernel ntoskrnl.exe 10.0.19041.2965 x64 pdb ntkrnlmp.pdb 89284D0CA6ACC8274B9A44BD5AF9290B+1
# source somewhere
struct _A 0x18
 0x0 0x4 ulong:3,5 Bits
 0x0 0x4 ulong Flags
 0x8 0x10 _A.u u
union _A.u 0x10
 0x0 0x10 ns::B<%20,1>[2] Odd
enum _E 0x4 Minus=-1 Zero=0 AlsoZero=0
symbol PsActiveProcessHead 0xc2a7e0
";

    #[test]
    fn written_and_read_again_it_is_the_same() {
        let first = parse(SMALL, "test").unwrap();
        assert_eq!(first.id.as_ref().unwrap().key(), "89284D0CA6ACC8274B9A44BD5AF9290B1");
        assert_eq!(first.types.member("_A", "u.Odd").unwrap().offset, 8);
        assert_eq!(&*first.types.member("_A", "u.Odd").unwrap().ty, "ns::B< ,1>[2]");
        assert_eq!(first.types.member("_A", "Bits").unwrap().bits, Some((3, 5)));
        assert_eq!(first.types.enum_name("_E", 0), Some("Zero"));
        let second = parse(&write(&first), "test").unwrap();
        assert_eq!(first, second);
        // Names with the characters that the format needs for itself.
        let mut odd = first;
        for ty in ["a:b", "a::b", "a:::b", "a::", ":", "a b=%c:3,5"] {
            let member = Member { offset: 0, size: 1, ty: ty.into(), bits: None };
            let with_bits = Member { bits: Some((1, 2)), ..member.clone() };
            let members = [(format!("x {ty}").into(), member), ("bits".into(), with_bits)].into();
            odd.types.types.insert(ty.into(), Type { size: 1, is_union: false, members });
        }
        odd.version = Some("1 2%".into());
        assert_eq!(parse(&write(&odd), "test").unwrap(), odd);
    }
    #[test]
    fn a_line_that_cannot_be_is_refused_by_its_number() {
        for (bad, what) in [
            ("struct _B 12\n", "0x hex"),
            ("struct _B 0x4\n 0x2 0x4 ulong X\n", "past its structure"),
            ("struct _B 0x4\n 0x0 0x4 ulong:30,3 X\n", "past its unit"),
            ("struct _B 0x4\n 0x0 0x4 ulong X\n 0x0 0x4 ulong X\n", "twice"),
            (" 0x0 0x4 ulong X\n", "outside"),
            ("symbol PsActiveProcessHead 0x1\nsymbol PsActiveProcessHead 0x2\n", "twice"),
            ("garbage\n", "unknown line"),
        ] {
            let head = "# kernel - - x64 pdb - -\n";
            let error = parse(&format!("{head}{bad}"), "test").unwrap_err().to_string();
            assert!(error.contains(what), "{bad}: {error}");
        }
        assert!(parse("struct _B 0x4\n", "test").unwrap_err().to_string().contains("no layout table"));
    }
}
