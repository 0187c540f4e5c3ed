//! The cache's file format: everything of one module's symbols, made to be read in a few milliseconds.
//!
//! A header (magic, format number, checksum) and then length-prefixed fields in little-endian order. Nothing is
//! trusted: a file that is cut, changed or of another format is refused, and the cache is filled anew.

use super::globals::Globals;
use super::types::{Enum, Member, Type, Types};
use super::{Machine, PdbId, Symbols};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::value::Note;
use std::collections::HashMap;

/// Raised whenever what is written, or how a source is read, changes: older files are then made anew.
const FORMAT: u32 = 1;
const MAGIC: &[u8; 12] = b"dumpwalk sym";
/// Magic, format, checksum.
const HEADER: usize = 24;

/// Packs symbols.
#[must_use]
pub fn encode(s: &Symbols) -> Vec<u8> {
    let mut w = Writer(Vec::with_capacity(1 << 20));
    w.0.extend_from_slice(MAGIC);
    w.u32(FORMAT);
    w.0.extend_from_slice(&[0; 8]);

    w.id(s.id.as_ref());
    w.u8(s.machine.map_or(0, |m| match m {
        Machine::X86 => 1,
        Machine::X64 => 2,
        Machine::Arm64 => 3,
    }));
    w.text(s.version.as_deref().unwrap_or_default());
    w.text(&s.origin);
    w.count(s.notes.len());
    for n in &s.notes {
        w.u8(n.loss.into());
        w.text(&n.text);
    }
    w.types(&s.types);
    let (names, entries) = s.globals.parts();
    w.text(names);
    w.count(entries.len());
    for (end, rva) in entries {
        w.u32(*end);
        w.u32(*rva);
    }
    let sum = checksum(w.0.get(HEADER..).unwrap_or_default());
    if let Some(place) = w.0.get_mut(16..HEADER) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    w.0
}

/// Unpacks what [`encode`] made.
///
/// # Errors
/// Why it cannot be used.
pub fn decode(file: &[u8]) -> Result<Symbols, &'static str> {
    if !file.starts_with(MAGIC) {
        return Err("it is no symbol cache file");
    }
    if u32_at(file, 12) != Some(FORMAT) {
        return Err("another version of dumpwalk wrote it");
    }
    let body = file.get(HEADER..).ok_or(CUT)?;
    if u64_at(file, 16) != Some(checksum(body)) {
        return Err("its checksum is wrong");
    }
    let mut r = Reader(body);
    let id = r.id()?;
    let machine = match r.u8()? {
        0 => None,
        1 => Some(Machine::X86),
        2 => Some(Machine::X64),
        3 => Some(Machine::Arm64),
        _ => return Err("an unknown processor"),
    };
    let version = Some(r.text()?).filter(|v| !v.is_empty()).map(Into::into);
    let origin = r.text()?.into();
    let mut notes = Vec::new();
    for _ in 0..r.count(5)? {
        notes.push(Note { loss: r.u8()? != 0, text: r.text()?.into() });
    }
    let types = r.types()?;
    let names = r.text()?;
    let pairs = r.count(8)?;
    let raw = r.take(pairs.checked_mul(8).ok_or(CUT)?)?;
    let entries = raw.chunks_exact(8).filter_map(|p| Some((u32_at(p, 0)?, u32_at(p, 4)?))).collect();
    let globals = Globals::from_parts(names.into(), entries).ok_or("its symbols are out of order")?;
    if !r.0.is_empty() {
        return Err("there is more in it than there should be");
    }
    Ok(Symbols { types, machine, version, globals, id, origin, notes })
}

/// Whether an earlier version of dumpwalk wrote a cache file: nothing is wrong with it, it is made anew.
pub(super) fn is_of_earlier_version(file: &[u8]) -> bool {
    file.starts_with(MAGIC) && u32_at(file, 12).is_some_and(|format| (1..FORMAT).contains(&format))
}

/// The checksum that a cache file states.
pub(super) fn sum_of(file: &[u8]) -> Option<u64> {
    u64_at(file, 16)
}

const CUT: &str = "it ends early";

/// 64 bits over the whole, eight bytes a step. Guards against damage, not against malice.
fn checksum(bytes: &[u8]) -> u64 {
    let mut sum = 0x9e37_79b9_7f4a_7c15u64 ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut add = |word: u64| sum = (sum.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    for word in words {
        add(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    add(u64::from_le_bytes(last));
    sum ^ sum >> 32
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, n: u8) {
        self.0.push(n);
    }
    fn u32(&mut self, n: u32) {
        self.0.extend_from_slice(&n.to_le_bytes());
    }
    fn count(&mut self, n: usize) {
        // Nothing here has 4 billion of anything; a lie would fail to decode.
        self.u32(u32::try_from(n).unwrap_or(u32::MAX));
    }
    fn text(&mut self, s: &str) {
        self.count(s.len());
        self.0.extend_from_slice(s.as_bytes());
    }
    fn id(&mut self, id: Option<&PdbId>) {
        self.text(id.map_or("", |id| &id.name));
        self.text(id.map_or("", |id| &id.guid));
        self.u32(id.map_or(0, |id| id.age));
    }
    fn types(&mut self, types: &Types) {
        self.u8(types.pointer_size);
        // A kernel names 3,000 different member types 16,000 times.
        let mut texts: Vec<&str> = Vec::new();
        let mut number: HashMap<&str, usize> = HashMap::new();
        for m in types.types.values().flat_map(|t| t.members.values()) {
            number.entry(&m.ty).or_insert_with(|| {
                texts.push(&m.ty);
                texts.len().saturating_sub(1)
            });
        }
        self.count(texts.len());
        for t in &texts {
            self.text(t);
        }
        self.count(types.types.len());
        for (name, t) in &types.types {
            self.text(name);
            self.u32(t.size);
            self.u8(t.is_union.into());
            self.count(t.members.len());
            for (name, m) in &t.members {
                self.text(name);
                self.u32(m.offset);
                self.u32(m.size);
                self.count(number.get(m.ty.as_ref()).copied().unwrap_or_default());
                let (at, len) = m.bits.unwrap_or((0xff, 0));
                self.u8(at);
                self.u8(len);
            }
        }
        self.count(types.enums.len());
        for (name, e) in &types.enums {
            self.text(name);
            self.u32(e.size);
            self.count(e.names.len());
            for (value, name) in &e.names {
                self.0.extend_from_slice(&value.to_le_bytes());
                self.text(name);
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], &'static str> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(CUT)?;
        self.0 = rest;
        Ok(head)
    }
    fn u8(&mut self) -> Result<u8, &'static str> {
        self.take(1)?.first().copied().ok_or(CUT)
    }
    fn u32(&mut self) -> Result<u32, &'static str> {
        u32_at(self.take(4)?, 0).ok_or(CUT)
    }
    /// A count of things of at least `each` bytes: never more than the file can hold.
    fn count(&mut self, each: usize) -> Result<usize, &'static str> {
        let n = self.u32()? as usize;
        if n > self.0.len() / each { Err(CUT) } else { Ok(n) }
    }
    fn text(&mut self) -> Result<&'a str, &'static str> {
        let n = self.count(1)?;
        std::str::from_utf8(self.take(n)?).map_err(|_| "a name is no text")
    }
    fn id(&mut self) -> Result<Option<PdbId>, &'static str> {
        let (name, guid, age) = (self.text()?, self.text()?, self.u32()?);
        Ok((!guid.is_empty()).then(|| PdbId { name: name.into(), guid: guid.into(), age }))
    }
    fn types(&mut self) -> Result<Types, &'static str> {
        let pointer_size = self.u8()?;
        let mut texts = Vec::new();
        for _ in 0..self.count(4)? {
            texts.push(self.text()?);
        }
        let mut types = Vec::new();
        for _ in 0..self.count(13)? {
            let name = self.text()?;
            let (size, is_union) = (self.u32()?, self.u8()? != 0);
            let mut members = Vec::new();
            for _ in 0..self.count(18)? {
                members.push(self.member(size, &texts)?);
            }
            types.push((name.into(), Type { size, is_union, members: members.into_iter().collect() }));
        }
        let mut enums = Vec::new();
        for _ in 0..self.count(12)? {
            let (name, size) = (self.text()?, self.u32()?);
            let mut names = Vec::new();
            for _ in 0..self.count(12)? {
                let value = u64_at(self.take(8)?, 0).ok_or(CUT)?.cast_signed();
                names.push((value, self.text()?.into()));
            }
            enums.push((name.into(), Enum::new(size, names)));
        }
        Ok(Types { pointer_size, types: types.into_iter().collect(), enums: enums.into_iter().collect() })
    }
    fn member(&mut self, size_of_type: u32, texts: &[&str]) -> Result<(Box<str>, Member), &'static str> {
        let name = self.text()?;
        let raw = self.take(14)?;
        let word = |at| u32_at(raw, at).ok_or(CUT);
        let (offset, size, ty) = (word(0)?, word(4)?, *texts.get(word(8)? as usize).ok_or("an unknown type")?);
        let bits = u16_at(raw, 12).ok_or(CUT)?.to_le_bytes();
        let bits = (bits != [0xff, 0]).then_some((bits[0], bits[1]));
        if offset.checked_add(size).is_none_or(|end| end > size_of_type) {
            return Err("a member ends past its type");
        }
        Ok((name.into(), Member { offset, size, ty: ty.into(), bits }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::table;

    fn small() -> Symbols {
        let text = "# kernel - 10.0.1.2 x64 pdb ntkrnlmp.pdb 89284D0CA6ACC8274B9A44BD5AF9290B+1\n\
            struct _A 0x18\n 0x0 0x4 ulong:3,5 Bits\n 0x8 0x10 _A.u u\nunion _A.u 0x10\n 0x0 0x10 uint64[2] Odd\n\
            enum _E 0x4 Minus=-1 Zero=0 AlsoZero=0\nsymbol A 0x1\nsymbol B 0x2\n";
        let mut s = table::parse(text, "here").unwrap();
        s.notes.push(Note::loss("something"));
        s
    }

    #[test]
    fn packed_and_unpacked_it_is_the_same() {
        assert_eq!(decode(&encode(&small())), Ok(small()));
        assert_eq!(decode(&encode(&Symbols::default())), Ok(Symbols::default()));
    }
    #[test]
    fn any_change_is_noticed() {
        let good = encode(&small());
        for i in 0..good.len() {
            let mut bad = good.clone();
            bad[i] ^= 0x10;
            assert!(decode(&bad).is_err(), "byte {i}");
            assert!(decode(&good[..i]).is_err(), "cut at {i}");
        }
    }
    /// Behind a right checksum, too, nothing may be believed.
    #[test]
    fn lies_behind_a_right_checksum_do_no_harm() {
        let good = encode(&small());
        for i in HEADER..good.len() {
            for change in [1, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[i] ^= change;
                let sum = checksum(&bad[HEADER..]);
                bad[16..HEADER].copy_from_slice(&sum.to_le_bytes());
                if let Ok(s) = decode(&bad) {
                    for t in s.types.types.values() {
                        assert!(t.members.values().all(|m| m.offset + m.size <= t.size));
                    }
                }
            }
        }
    }
}
