//! The type records of a PDB (its TPI stream), decoded within bounds.
//!
//! The `pdb` crate reads the container and the symbols; its decoder of type records asserts and recurses on damaged
//! ones, so this one is ours: every read is checked, every walk bounded, and a record that is damaged costs its own
//! type and leaves a [`Note`]. Source of the record formats: `cvinfo.h` and `tpi.h` of Microsoft's published
//! microsoft-pdb sources.

use super::types::{Enum, Member, Type, Types};
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::value::Note;
use std::collections::HashMap;

/// Nesting of types in types (and of pointers to pointers, arrays of arrays) that is followed. Kernels need 8.
pub(super) const DEPTH: u32 = 24;
/// Members made in all, those with long names counting for several. The largest kernel seen has 30,000; only symbols
/// made to exhaust memory have more than this.
pub(super) const MEMBERS: usize = 1 << 19;
/// Bytes of names that count as one member.
const NAMES_EACH: usize = 32;
/// Field-list records of one type. A record holds 64 KiB; the largest type seen needs 3.
const CONTINUATIONS: usize = 256;

/// No record's index: a name that several unnamed types share.
const AMBIGUOUS: u32 = u32::MAX;

const TOO_MANY: &str = "its types have more members than any kernel's";

/// What a member takes of [`MEMBERS`].
pub(super) fn cost(name: &str, ty: &str) -> usize {
    name.len().saturating_add(ty.len()) / NAMES_EACH + 1
}

/// What stopped the decoding of one type.
type Damage = &'static str;

/// Reads all structures, unions and enumerations.
///
/// # Errors
/// The stream's header cannot be, or there are more members than any kernel has.
pub(super) fn types(tpi: &[u8], pointer_size: u8) -> Result<(Types, Vec<Note>), String> {
    let records = Records::index(tpi)?;
    let mut decoder = Decoder::new(records, pointer_size);
    decoder.run()?;
    Ok((decoder.out, decoder.notes.finish()))
}

/// A cursor over one record.
#[derive(Clone, Copy)]
struct Cursor<'t>(&'t [u8]);

impl<'t> Cursor<'t> {
    fn take(&mut self, n: usize) -> Result<&'t [u8], Damage> {
        let (head, rest) = self.0.split_at_checked(n).ok_or("it ends early")?;
        self.0 = rest;
        Ok(head)
    }
    fn u8(&mut self) -> Result<u8, Damage> {
        self.take(1)?.first().copied().ok_or("it ends early")
    }
    fn u16(&mut self) -> Result<u16, Damage> {
        u16_at(self.take(2)?, 0).ok_or("it ends early")
    }
    fn u32(&mut self) -> Result<u32, Damage> {
        u32_at(self.take(4)?, 0).ok_or("it ends early")
    }
    /// A "numeric leaf": a number below 0x8000 stands for itself, else it names the width that follows.
    fn number(&mut self) -> Result<i64, Damage> {
        let word = self.u16()?;
        Ok(match word {
            0..0x8000 => word.into(),
            0x8000 => i64::from(self.u8()?.cast_signed()),
            0x8001 => i64::from(self.u16()?.cast_signed()),
            0x8002 => self.u16()?.into(),
            0x8003 => i64::from(self.u32()?.cast_signed()),
            0x8004 => self.u32()?.into(),
            // LF_QUADWORD and LF_UQUADWORD.
            0x8009 | 0x800a => u64_at(self.take(8)?, 0).ok_or("it ends early")?.cast_signed(),
            _ => return Err("a number of unknown width"),
        })
    }
    fn size(&mut self) -> Result<u32, Damage> {
        u32::try_from(self.number()?).map_err(|_| "a size or offset that no structure has")
    }
    /// A name: NUL-terminated, or (records of before 2002, `ST`) with its length in front.
    fn name(&mut self, counted: bool) -> Result<&'t [u8], Damage> {
        if counted {
            let len = self.u8()?.into();
            return self.take(len);
        }
        let end = self.0.iter().position(|b| *b == 0).ok_or("a name without end")?;
        let name = self.take(end)?;
        self.take(1)?;
        Ok(name)
    }
    /// Fill bytes between field-list entries: 0xf1 to 0xff, the low four bits say how many.
    fn padding(&mut self) {
        while let Some(b @ 0xf0..) = self.0.first() {
            let n = usize::from(b & 0xf).max(1);
            self.0 = self.0.get(n..).unwrap_or_default();
        }
    }
}

/// Where every record of the stream lies.
struct Records<'t> {
    tpi: &'t [u8],
    /// The index of the first record; lower ones are built-in types.
    first: u32,
    /// Offset of each record's kind.
    at: Vec<u32>,
    /// How many the header promises.
    promised: u32,
}

impl<'t> Records<'t> {
    fn index(tpi: &'t [u8]) -> Result<Self, String> {
        // tpi.h HDR: version, header size, first index, one past the last index, bytes of records.
        let word = |at| u32_at(tpi, at).ok_or("the type stream has no header");
        let (header, first, end, len) = (word(4)?, word(8)?, word(12)?, word(16)?);
        if first != 0x1000 || end < first || !(56..=1024).contains(&header) {
            return Err("the type stream's header is damaged".into());
        }
        let promised = end.saturating_sub(first);
        let stop = (header as usize).saturating_add(len as usize).min(tpi.len());
        // The smallest record is four bytes.
        let mut at = Vec::with_capacity((promised as usize).min(tpi.len() / 4));
        let mut here = header as usize;
        while at.len() < promised as usize {
            let Some(size) = u16_at(tpi, here) else { break };
            let kind = here.saturating_add(2);
            let next = kind.saturating_add(size.into());
            if size < 2 || next > stop {
                break;
            }
            at.push(u32::try_from(kind).map_err(|_| "the type stream is larger than 4 GiB")?);
            here = next;
        }
        Ok(Self { tpi, first, at, promised })
    }
    /// A record's kind and what follows it.
    fn get(&self, index: u32) -> Option<(u16, Cursor<'t>)> {
        let i = index.checked_sub(self.first)? as usize;
        let kind_at = *self.at.get(i)? as usize;
        let size = usize::from(u16_at(self.tpi, kind_at.checked_sub(2)?)?);
        let body = self.tpi.get(kind_at.checked_add(2)?..kind_at.checked_add(size)?)?;
        Some((u16_at(self.tpi, kind_at)?, Cursor(body)))
    }
    fn indices(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..self.first.saturating_add(u32::try_from(self.at.len()).unwrap_or(u32::MAX))
    }
}

/// The head of a structure, union or enumeration.
#[derive(Clone, Copy)]
struct Head<'t> {
    kind: HeadKind,
    forward: bool,
    /// The first field-list record.
    fields: u32,
    /// Bytes; of an enumeration, its underlying type's.
    size: u32,
    /// An enumeration's underlying type.
    underlying: &'static str,
    name: &'t [u8],
    /// The linker's name for it, which tells two unnamed types apart.
    unique: Option<&'t [u8]>,
}

#[derive(Clone, Copy, PartialEq)]
enum HeadKind {
    Struct,
    Union,
    Enum,
}

impl<'t> Head<'t> {
    /// `None` when the record is something else.
    fn read(kind: u16, mut c: Cursor<'t>) -> Option<Result<Self, Damage>> {
        let shape = match kind {
            // LF_CLASS, LF_STRUCTURE, LF_INTERFACE, and as ST; LF_CLASS2, LF_STRUCTURE2.
            0x1504 | 0x1505 | 0x1519 | 0x1004 | 0x1005 | 0x1608 | 0x1609 => HeadKind::Struct,
            // LF_UNION, as ST, LF_UNION2.
            0x1506 | 0x1006 | 0x160a => HeadKind::Union,
            // LF_ENUM, as ST.
            0x1507 | 0x1007 => HeadKind::Enum,
            _ => return None,
        };
        let counted = kind < 0x1500;
        // The newer forms have 32 bits of properties first and the count later.
        let wide = matches!(kind, 0x1608..=0x160a);
        let mut read = || {
            let properties = if wide {
                c.u32()?
            } else {
                let _count = c.u16()?;
                c.u16()?.into()
            };
            let mut underlying = "";
            let (fields, size) = match shape {
                HeadKind::Enum => {
                    let (name, size) = primitive(c.u32()?).ok_or("an enumeration of no number")?;
                    underlying = name;
                    (c.u32()?, size)
                }
                HeadKind::Union => {
                    let fields = c.u32()?;
                    if wide {
                        c.u16()?;
                    }
                    (fields, c.size()?)
                }
                HeadKind::Struct => {
                    let fields = c.u32()?;
                    c.take(8)?; // derivation list, virtual-table shape
                    if wide {
                        c.u16()?;
                    }
                    (fields, c.size()?)
                }
            };
            let name = c.name(counted)?;
            let unique = if properties & 0x200 != 0 { Some(c.name(counted)?) } else { None };
            Ok(Self { kind: shape, forward: properties & 0x80 != 0, fields, size, underlying, name, unique })
        };
        Some(read())
    }
    fn unnamed(&self) -> bool {
        is_unnamed(self.name)
    }
}

/// Whether the compiler had no name for a type and made one up.
pub(super) fn is_unnamed(name: &[u8]) -> bool {
    // MSVC `<unnamed-tag>`, `_PARENT::<unnamed-type-u>`, before 2012 `__unnamed`; clang `<unnamed-tag>`;
    // Volatility's symbol files `__unnamed_1a2b` and `__anonymous_1a2b`.
    let last = name.rsplit(|b| *b == b':').next().unwrap_or_default();
    last.is_empty()
        || [&b"<unnamed-"[..], b"<anonymous-", b"__unnamed", b"__anonymous"].iter().any(|p| last.starts_with(p))
}

/// The built-in types, in the table's words, with their size. `cvinfo.h` `TYPE_ENUM_e`: the low byte is the type,
/// bits 8 to 11 the width of a pointer to it.
fn primitive(index: u32) -> Option<(&'static str, u32)> {
    Some(match index & 0xff {
        0x00 | 0x03 => ("void", 0),
        0x10 | 0x68 | 0x70 => ("char", 1),
        0x20 | 0x69 | 0x7c => ("uchar", 1),
        0x30 => ("bool", 1),
        0x71 | 0x7a => ("wchar", 2),
        0x11 | 0x72 => ("short", 2),
        0x21 | 0x73 | 0x31 => ("ushort", 2),
        // T_LONG, T_INT4, HRESULT.
        0x12 | 0x74 | 0x08 => ("long", 4),
        0x22 | 0x75 | 0x32 | 0x7b => ("ulong", 4),
        0x13 | 0x76 => ("int64", 8),
        0x23 | 0x77 | 0x33 => ("uint64", 8),
        0x40 => ("float", 4),
        0x41 => ("double", 8),
        0x42 => ("float80", 10),
        0x14 | 0x78 => ("int128", 16),
        0x24 | 0x79 => ("uint128", 16),
        0x43 => ("float128", 16),
        _ => return None,
    })
}

/// Bytes of a pointer to a built-in type; 0 when it is no pointer.
fn primitive_pointer(index: u32) -> Option<u32> {
    Some(match index >> 8 & 0xf {
        0 => 0,
        1 => 2,
        2..=4 => 4,
        5 => 6,
        6 => 8,
        7 => 16,
        _ => return None,
    })
}

/// A member's type as the table writes it.
pub(super) struct Described<U> {
    /// Without dimensions.
    pub element: String,
    /// `[n][m]`, or nothing.
    pub dimensions: String,
    pub size: u32,
    pub bits: Option<(u8, u8)>,
    /// The unnamed definition that `element` stands for, to be given a block of its own.
    pub unnamed: Option<U>,
}

impl<U> Described<U> {
    pub(super) fn simple(element: impl Into<String>, size: u32) -> Self {
        Self { element: element.into(), dimensions: String::new(), size, bits: None, unnamed: None }
    }
    /// A pointer to it. One to an array is written `*(T[n])`, since `*T[n]` is an array of pointers.
    pub(super) fn pointed_to(self, size: u32) -> Self {
        let element = match self.dimensions.as_str() {
            "" => format!("*{}", self.element),
            dimensions => format!("*({}{dimensions})", self.element),
        };
        Self { element, dimensions: String::new(), size, bits: None, unnamed: self.unnamed }
    }
    /// `count` of it. Of `T[n][m]` the outer number stands first.
    pub(super) fn repeated(mut self, count: u32, size: u32) -> Self {
        self.dimensions.insert_str(0, &format!("[{count}]"));
        Self { size, ..self }
    }
    pub(super) fn text(&self) -> String {
        format!("{}{}", self.element, self.dimensions)
    }
}

/// A value of an enumeration with its sign, as its underlying type has it: compilers write `-5` as 4294967291 too.
pub(super) fn with_sign(value: i64, underlying: &str, size: u32) -> i64 {
    let unused = 64u32.saturating_sub(size.saturating_mul(8));
    let top = value.wrapping_shl(unused);
    if matches!(underlying, "char" | "short" | "long" | "int64") {
        top.wrapping_shr(unused)
    } else {
        top.cast_unsigned().wrapping_shr(unused).cast_signed()
    }
}

/// What was damaged: counted, with the first cases told.
#[derive(Default)]
struct Problems {
    count: usize,
    first: Vec<String>,
    ends_early: Option<String>,
}

impl Problems {
    fn add(&mut self, name: &str, why: Damage) {
        self.count = self.count.saturating_add(1);
        if self.first.len() < 3 {
            self.first.push(format!("{name} ({why})"));
        }
    }
    fn finish(self) -> Vec<Note> {
        let mut notes: Vec<Note> = self.ends_early.into_iter().map(Note::loss).collect();
        if self.count > 0 {
            let what = self.first.join(", ");
            notes.push(Note::loss(format!("the PDB has {} damaged types, left out: {what}", self.count)));
        }
        notes
    }
}

struct Decoder<'t> {
    records: Records<'t>,
    pointer_size: u32,
    /// Definitions by unique name and by name, the first one of each. Whoever made the file chose the names: the hash has a
    /// key of its own in each run.
    by_name: HashMap<&'t [u8], u32>,
    /// Blocks for unnamed types met as members: path, definition, depth.
    waiting: Vec<(String, u32, u32)>,
    members_left: usize,
    out: Types,
    notes: Problems,
}

impl<'t> Decoder<'t> {
    fn new(records: Records<'t>, pointer_size: u8) -> Self {
        Self {
            by_name: HashMap::new(),
            waiting: Vec::new(),
            members_left: MEMBERS,
            out: Types { pointer_size, ..Types::default() },
            notes: Problems::default(),
            pointer_size: pointer_size.into(),
            records,
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let read = self.records.at.len();
        if (read as u64) < u64::from(self.records.promised) {
            let promised = self.records.promised;
            self.notes.ends_early =
                Some(format!("the PDB's type records end after {read} of {promised}; later types are missing"));
        }
        let mut named = Vec::new();
        for index in self.records.indices() {
            let Some((kind, body)) = self.records.get(index) else { continue };
            match Head::read(kind, body) {
                None => {}
                Some(Err(why)) => self.notes.add(&format!("record {index:#x}"), why),
                Some(Ok(head)) if head.forward => {}
                Some(Ok(head)) => {
                    if let Some(unique) = head.unique {
                        self.by_name.entry(unique).or_insert(index);
                    }
                    let first = *self.by_name.entry(head.name).or_insert(index);
                    if head.unnamed() {
                        // A made-up name that two definitions share means neither.
                        if first != index && head.unique != Some(head.name) {
                            self.by_name.insert(head.name, AMBIGUOUS);
                        }
                    } else if first == index {
                        // The first of several definitions counts, as in a debugger.
                        named.push(head);
                    }
                }
            }
        }
        for head in named {
            let name = String::from_utf8_lossy(head.name).into_owned();
            self.block(name, head, 0)?;
            while let Some((path, index, depth)) = self.waiting.pop() {
                if let Some((_, head)) = self.head(index) {
                    self.block(path, head, depth)?;
                }
            }
        }
        Ok(())
    }

    fn head(&self, index: u32) -> Option<(u32, Head<'t>)> {
        let (kind, body) = self.records.get(index)?;
        Some((index, Head::read(kind, body)?.ok()?))
    }

    /// The definition a forward reference means. `None` when the PDB only ever names the type.
    fn definition(&self, index: u32, head: Head<'t>) -> Option<(u32, Head<'t>)> {
        if !head.forward {
            return Some((index, head));
        }
        let found = head.unique.and_then(|unique| self.by_name.get(unique));
        let (index, definition) = self.head(*found.or_else(|| self.by_name.get(head.name))?)?;
        (definition.kind == head.kind).then_some((index, definition))
    }

    /// Makes the block of one definition. A damaged one is left out, with a note.
    fn block(&mut self, name: String, head: Head<'t>, depth: u32) -> Result<(), String> {
        if head.kind == HeadKind::Enum {
            match self.enumerators(head) {
                Ok(names) => {
                    self.out.enums.insert(name.into(), Enum::new(head.size, names));
                }
                Err(why) => self.notes.add(&name, why),
            }
            return if self.members_left == 0 { Err(TOO_MANY.into()) } else { Ok(()) };
        }
        let mut members = Vec::new();
        let waiting = self.waiting.len();
        let made = self.members(&name, 0, head, depth, &mut members);
        if self.members_left == 0 {
            return Err(TOO_MANY.into());
        }
        if let Err(why) = made {
            self.waiting.truncate(waiting);
            self.notes.add(&name, why);
            return Ok(());
        }
        if members.iter().any(|(_, m): &(Box<str>, Member)| m.offset.saturating_add(m.size) > head.size) {
            self.waiting.truncate(waiting);
            self.notes.add(&name, "a member ends past it");
            return Ok(());
        }
        // Of members of one name the first counts: a class's own before its base's.
        members.reverse();
        let ty =
            Type { size: head.size, is_union: head.kind == HeadKind::Union, members: members.into_iter().collect() };
        self.out.types.insert(name.into(), ty);
        Ok(())
    }

    /// Takes from what may be made in all.
    fn pay(&mut self, cost: usize) -> Result<(), Damage> {
        self.members_left = self.members_left.saturating_sub(cost);
        if self.members_left == 0 { Err("too many members") } else { Ok(()) }
    }

    /// Walks field lists and their continuations.
    fn entries(
        &mut self,
        head: Head<'t>,
        mut each: impl FnMut(&mut Self, u16, &mut Cursor<'t>) -> Result<(), Damage>,
    ) -> Result<(), Damage> {
        let mut next = Some(head.fields).filter(|list| *list != 0);
        let mut lists = 0;
        while let Some(list) = next.take() {
            lists += 1;
            if lists > CONTINUATIONS {
                return Err("its field lists go round in a circle");
            }
            // LF_FIELDLIST.
            let Some((0x1203, mut c)) = self.records.get(list) else { return Err("its field list is missing") };
            while !c.0.is_empty() {
                let kind = c.u16()?;
                if kind == 0x1404 {
                    // LF_INDEX: the list goes on in another record.
                    c.u16()?;
                    next = Some(c.u32()?);
                } else {
                    each(self, kind, &mut c)?;
                }
                c.padding();
            }
        }
        Ok(())
    }

    fn enumerators(&mut self, head: Head<'t>) -> Result<Vec<(i64, Box<str>)>, Damage> {
        let mut names = Vec::new();
        self.entries(head, |decoder, kind, c| {
            // LF_ENUMERATE, as ST.
            if kind != 0x1502 && kind != 0x0403 {
                return skip(kind, c);
            }
            c.u16()?;
            let value = c.number()?;
            let name: Box<str> = String::from_utf8_lossy(c.name(kind == 0x0403)?).into();
            decoder.pay(cost(&name, ""))?;
            names.push((with_sign(value, head.underlying, head.size), name));
            Ok(())
        })?;
        Ok(names)
    }

    /// Collects the members of a definition, `base` bytes into the block.
    fn members(
        &mut self,
        path: &str,
        base: u32,
        head: Head<'t>,
        depth: u32,
        into: &mut Vec<(Box<str>, Member)>,
    ) -> Result<(), Damage> {
        if depth > DEPTH {
            return Err("types nest too deeply");
        }
        let mut bases = Vec::new();
        self.entries(head, |decoder, kind, c| match kind {
            // LF_MEMBER, as ST.
            0x150d | 0x1405 => {
                c.u16()?;
                let (ty, offset, name) = (c.u32()?, c.size()?, c.name(kind == 0x1405)?);
                let offset = base.checked_add(offset).ok_or("an offset past 4 GiB")?;
                if name.is_empty() {
                    bases.push((ty, offset));
                    return decoder.pay(1);
                }
                let name = String::from_utf8_lossy(name);
                let d = decoder.describe(ty, path, &name, 0)?;
                let text = d.text();
                decoder.pay(cost(&name, &text))?;
                if let Some(unnamed) = d.unnamed {
                    decoder.waiting.push((format!("{path}.{name}"), unnamed, depth.saturating_add(1)));
                }
                let member = Member { offset, size: d.size, ty: text.into(), bits: d.bits };
                into.push((name.into(), member));
                Ok(())
            }
            // LF_BCLASS, LF_BINTERFACE: a base class stands in the derived one.
            0x1400 | 0x151a => {
                c.u16()?;
                let (ty, offset) = (c.u32()?, c.size()?);
                bases.push((ty, base.checked_add(offset).ok_or("an offset past 4 GiB")?));
                Ok(())
            }
            _ => skip(kind, c),
        })?;
        for (ty, offset) in bases {
            let inner = self.head(ty).and_then(|(index, head)| self.definition(index, head));
            let (_, inner) =
                inner.filter(|(_, h)| h.kind != HeadKind::Enum).ok_or("an unnamed member of no structure")?;
            self.members(path, offset, inner, depth.saturating_add(1), into)?;
        }
        Ok(())
    }

    /// Names a member's type and measures it.
    fn describe(&self, index: u32, path: &str, field: &str, depth: u32) -> Result<Described<u32>, Damage> {
        if depth > DEPTH {
            return Err("types nest too deeply");
        }
        if index < self.records.first {
            let (name, size) = primitive(index).ok_or("a built-in type that is not known")?;
            let simple = Described::simple(name, size);
            return Ok(match primitive_pointer(index).ok_or("a built-in type that is not known")? {
                0 => simple,
                width => simple.pointed_to(width),
            });
        }
        let (kind, mut c) = self.records.get(index).ok_or("a type that is missing")?;
        let inner = |index| self.describe(index, path, field, depth.saturating_add(1));
        match kind {
            // LF_MODIFIER: const, volatile.
            0x1001 => inner(c.u32()?),
            // LF_POINTER: the width in bits 13 to 18, else by kind: 0x0a near 32, 0x0b far 32, 0x0c 64 bits.
            0x1002 => {
                let (to, attributes) = (c.u32()?, c.u32()?);
                let size = match (attributes >> 13 & 0x3f, attributes & 0x1f) {
                    (0, 0x0a) => 4,
                    (0, 0x0b) => 6,
                    (0, 0x0c) => 8,
                    (0, _) => self.pointer_size,
                    (size, _) => size,
                };
                // What a pointer leads to may be damaged or unknown; the pointer itself is sound.
                Ok(inner(to).unwrap_or_else(|_| Described::simple("void", 0)).pointed_to(size))
            }
            // LF_ARRAY, as ST: the whole size in bytes, not a count.
            0x1503 | 0x1003 => {
                let element = c.u32()?;
                c.u32()?;
                let size = c.size()?;
                let element = inner(element)?;
                let count = match size {
                    0 => 0,
                    size => size.checked_div(element.size).ok_or("an array of a type that is only named")?,
                };
                Ok(element.repeated(count, size))
            }
            // LF_BITFIELD.
            0x1205 => {
                let mut unit = inner(c.u32()?)?;
                let (len, at) = (c.u8()?, c.u8()?);
                if u32::from(at).saturating_add(len.into()) > unit.size.saturating_mul(8) {
                    return Err("a bit-field past its unit");
                }
                unit.bits = Some((at, len));
                Ok(unit)
            }
            // LF_PROCEDURE, LF_MFUNCTION.
            0x1008 | 0x1009 => Ok(Described::simple("func", 0)),
            // LF_VTSHAPE.
            0x000a => Ok(Described::simple("void", 0)),
            _ => {
                let head = Head::read(kind, c).ok_or("a member of a type that is not known")??;
                let Some((at, definition)) = self.definition(index, head) else {
                    // Only ever named: opaque.
                    return Ok(Described::simple(String::from_utf8_lossy(head.name), 0));
                };
                if !definition.unnamed() {
                    return Ok(Described::simple(String::from_utf8_lossy(definition.name), definition.size));
                }
                if definition.kind == HeadKind::Enum {
                    return Ok(Described::simple(definition.underlying, definition.size));
                }
                let own = Described::simple(format!("{path}.{field}"), definition.size);
                Ok(Described { unnamed: Some(at), ..own })
            }
        }
    }
}

/// Steps over a field-list entry that is no data member.
fn skip(kind: u16, c: &mut Cursor<'_>) -> Result<(), Damage> {
    let counted = kind < 0x1500;
    match kind {
        // LF_STMEMBER, LF_NESTTYPE, LF_NESTTYPEEX, LF_METHOD, LF_FRIENDFCN, LF_MEMBERMODIFY: two bytes, a type, a name.
        0x150e | 0x1406 | 0x1510 | 0x1408 | 0x1512 | 0x140d | 0x150f | 0x1407 | 0x150c | 0x1403 | 0x1513 | 0x140e => {
            c.take(6)?;
            c.name(counted)?;
        }
        // LF_ONEMETHOD: a virtual one that is introduced here (property 4 or 6) has its table offset too.
        0x1511 | 0x140b => {
            let attributes = c.u16()?;
            c.u32()?;
            if matches!(attributes >> 2 & 7, 4 | 6) {
                c.u32()?;
            }
            c.name(counted)?;
        }
        // LF_VBCLASS, LF_IVBCLASS.
        0x1401 | 0x1402 => {
            c.take(10)?;
            c.number()?;
            c.number()?;
        }
        // LF_VFUNCTAB, LF_FRIENDCLS.
        0x1409 | 0x140a => {
            c.take(6)?;
        }
        // LF_VFUNCOFF.
        0x140c => {
            c.take(10)?;
        }
        // LF_ENUMERATE in a structure, LF_BCLASS and LF_MEMBER in an enumeration.
        _ => return Err("an entry of unknown kind"),
    }
    Ok(())
}
