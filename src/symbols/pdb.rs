//! A Microsoft PDB: its identity, its types, and its public and global symbols as RVAs.
//!
//! The container and the symbol records are read through the `pdb` crate; types by our own [`codeview`] decoder.

use super::codeview;
use super::globals::Globals;
use super::{Machine, PdbId, Symbols};
use crate::bytes::{u16_at, u32_at};
use crate::error::{Error, Result};
use crate::value::Note;
use pdb::{FallibleIterator as _, SourceSlice, SourceView, SymbolData};
use std::io::{Read as _, Seek as _};
use std::path::Path;

/// The largest file that is read as a PDB. Kernels' are 10 to 30 MB.
pub const LARGEST: u64 = 64 << 20;

/// How a PDB begins.
pub const MAGIC: &[u8] = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0";

/// Reads a PDB file.
///
/// # Errors
/// The file cannot be read, is no PDB, or is damaged beyond use. Damage that costs single types is a Note.
pub fn read(path: &Path) -> Result<Symbols> {
    let bytes = super::read_file(path, LARGEST)?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&bytes, &name, &path.display().to_string())
}

/// Reads a PDB from memory. `name` is the file name of its identity, `origin` says for people where it came from.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], name: &str, origin: &str) -> Result<Symbols> {
    let bad = |what: String| Error::BadSymbols { origin: origin.into(), what };
    let mut pdb = open(bytes).map_err(bad)?;
    let (id, machine) = identity(&mut pdb, name).map_err(bad)?;
    let mut notes = Vec::new();

    let tpi = stream(&mut pdb, 2).map_err(bad)?.ok_or_else(|| bad("it has no type records".into()))?;
    let (types, damage) = codeview::types(&tpi, machine.map_or(0, Machine::pointer_size)).map_err(bad)?;
    notes.extend(damage);
    let globals = match globals(&mut pdb, machine, &mut notes) {
        Ok(globals) => globals,
        Err(why) => {
            notes.push(Note::loss(format!("the PDB's symbols cannot be read: {why}")));
            Globals::default()
        }
    };
    if types.types.is_empty() && globals.is_empty() {
        return Err(bad("it has neither types nor symbols".into()));
    }
    Ok(Symbols { types, globals, id: Some(id), machine, version: None, origin: origin.into(), notes })
}

/// Reads only the identity of a file, which touches a few of its pages.
///
/// # Errors
/// The file cannot be read or is no PDB.
pub fn identify_file(path: &Path) -> Result<PdbId> {
    Ok(outline(path)?.0)
}

/// Reads only the identity and the processor of a file, which touches a few of its pages.
///
/// # Errors
/// As [`identify_file`].
pub fn outline(path: &Path) -> Result<(PdbId, Option<Machine>)> {
    let io = |source| Error::Io { path: path.into(), source };
    let bad = |what: String| Error::BadSymbols { origin: path.display().to_string(), what };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let file = crate::regular::open(path).map_err(io)?;
    let len = file.metadata().map_err(io)?.len();
    let mut pdb = pdb::PDB::open(OnDisk { file, len }).map_err(|e| bad(e.to_string()))?;
    identity(&mut pdb, &name).map_err(bad)
}

/// Reads only the identity, from memory.
///
/// # Errors
/// It is no PDB.
pub fn identify(bytes: &[u8], name: &str, origin: &str) -> Result<PdbId> {
    let bad = |what: String| Error::BadSymbols { origin: origin.into(), what };
    let mut pdb = open(bytes).map_err(bad)?;
    Ok(identity(&mut pdb, name).map_err(bad)?.0)
}

type Pdb<'a> = pdb::PDB<'a, Slice<'a>>;

fn open(bytes: &[u8]) -> std::result::Result<Pdb<'_>, String> {
    if !bytes.starts_with(MAGIC) {
        return Err(format!("it is no PDB: {}", super::file::beginning(bytes)));
    }
    pdb::PDB::open(Slice(bytes)).map_err(|e| e.to_string())
}

/// One stream's bytes. `None` where the PDB has no such stream.
fn stream<'a>(
    pdb: &mut Pdb<'a>,
    index: u16,
) -> std::result::Result<Option<impl std::ops::Deref<Target = [u8]> + use<'a>>, String> {
    match pdb.raw_stream(pdb::StreamIndex(index)) {
        Err(pdb::Error::StreamNotFound(_)) => Ok(None),
        other => other.map_err(|e| e.to_string()),
    }
}

/// The identity and the processor.
fn identity<'s, S: pdb::Source<'s> + 's>(
    pdb: &mut pdb::PDB<'s, S>,
    name: &str,
) -> std::result::Result<(PdbId, Option<Machine>), String> {
    let info = pdb.pdb_information().map_err(|e| e.to_string())?;
    let guid: String = info.guid.to_string().chars().filter(|c| *c != '-').collect::<String>().to_ascii_uppercase();
    // The image's debug record repeats the age of the DBI stream; tools that rewrite a PDB raise only the other.
    let dbi = pdb.debug_information().ok();
    let age = dbi.as_ref().and_then(pdb::DebugInformation::age).unwrap_or(info.age);
    let machine = dbi.and_then(|d| d.machine_type().ok()).and_then(|m| match m {
        pdb::MachineType::X86 => Some(Machine::X86),
        pdb::MachineType::Amd64 => Some(Machine::X64),
        pdb::MachineType::Arm64 => Some(Machine::Arm64),
        _ => None,
    });
    Ok((PdbId { name: name.into(), guid, age }, machine))
}

/// Publics and global data by name.
fn globals(pdb: &mut Pdb<'_>, machine: Option<Machine>, notes: &mut Vec<Note>) -> std::result::Result<Globals, String> {
    let places = Places::read(pdb)?;
    let table = match pdb.global_symbols() {
        Ok(table) => table,
        Err(pdb::Error::GlobalSymbolsNotFound | pdb::Error::StreamNotFound(_)) => return Ok(Globals::default()),
        Err(e) => return Err(e.to_string()),
    };
    let mut found = Vec::new();
    let mut symbols = table.iter();
    let (mut nowhere, mut damaged) = (0u32, 0u32);
    loop {
        let symbol = match symbols.next() {
            Ok(Some(symbol)) => symbol,
            Ok(None) => break,
            Err(e) => {
                notes.push(Note::loss(format!("the PDB's symbols end after {} at a damaged record: {e}", found.len())));
                break;
            }
        };
        // S_PUB32, S_GDATA32, S_LDATA32, and as ST; all else has no address of a global.
        if !matches!(symbol.raw_kind(), 0x110e | 0x110d | 0x110c | 0x1009 | 0x1008 | 0x1007) {
            continue;
        }
        let (name, at) = match symbol.parse() {
            Ok(SymbolData::Public(p)) => (p.name, p.offset),
            Ok(SymbolData::Data(d)) => (d.name, d.offset),
            Ok(_) => continue,
            Err(_) => {
                damaged = damaged.saturating_add(1);
                continue;
            }
        };
        if is_literal(&name.to_string()) {
            continue;
        }
        match places.rva(at.section, at.offset) {
            Some(rva) => found.push((plain_name(&name.to_string(), machine), name, rva)),
            // Section 0 and the one past the last hold constants without an address.
            None if at.section == 0 || usize::from(at.section) > places.sections.len() => {}
            None => nowhere = nowhere.saturating_add(1),
        }
    }
    if nowhere > 0 {
        notes.push(Note::info(format!("{nowhere} symbols of the PDB lie in code that the linker removed")));
    }
    if damaged > 0 {
        notes.push(Note::loss(format!("{damaged} symbols of the PDB are damaged and left out")));
    }
    // Two functions that differ in their parameters only: the second keeps its decorated name.
    found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut last: Option<(Box<str>, u32)> = None;
    let named = found.into_iter().map(|(plain, raw, rva)| match &last {
        Some((before, at)) if *before == plain && *at != rva => (raw.to_string().into(), rva),
        _ => {
            last = Some((plain.clone(), rva));
            (plain, rva)
        }
    });
    Ok(named.collect())
}

/// Whether a name is one that the compiler made from the text of a string literal. They are a quarter of a kernel's
/// names, nobody asks for them, and they are long.
pub(super) fn is_literal(name: &str) -> bool {
    name.starts_with("??_C@")
}

/// A public's name as people write it: `?SmGlobals@@3U_SM_GLOBALS@@A` is `SmGlobals`, and on x86
/// `_NtClose@4` is `NtClose`. What is not simple (operators, templates, string literals) stays as it is.
pub(super) fn plain_name(name: &str, machine: Option<Machine>) -> Box<str> {
    if let Some(plain) = name.strip_prefix('?').and_then(undecorated) {
        return plain;
    }
    if machine == Some(Machine::X86) && !name.starts_with('?') {
        // cdecl `_f`, stdcall `_f@8`, fastcall `@f@8`.
        let stem = match name.rsplit_once('@') {
            Some((stem, bytes)) if !stem.is_empty() && bytes.parse::<u16>().is_ok() => stem,
            _ => name,
        };
        let stem = stem.strip_prefix(['_', '@']).unwrap_or(stem);
        return if stem.is_empty() { name.into() } else { stem.into() };
    }
    name.into()
}

/// `Name@Inner@Outer@@…` → `Outer::Inner::Name`, where all parts are plain words.
fn undecorated(name: &str) -> Option<Box<str>> {
    let (scopes, _) = name.split_once("@@")?;
    let word = |p: &str| {
        p.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'$')
            // A figure alone repeats an earlier part; a leading `$` is special.
            && p.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
    };
    let parts: Vec<&str> = scopes.split('@').rev().collect();
    parts.iter().all(|p| word(p)).then(|| parts.join("::").into())
}

/// From section and offset to RVA, through OMAP where the linker's output was rearranged afterwards.
struct Places {
    /// Virtual address of each section as linked.
    sections: Vec<u32>,
    /// Address as linked → address in the image, sorted.
    omap: Option<Vec<(u32, u32)>>,
}

impl Places {
    fn read(pdb: &mut Pdb<'_>) -> std::result::Result<Self, String> {
        let dbi = stream(pdb, 3)?.ok_or("it has no debug information")?;
        // dbi.h NewDBIHdr (64 bytes): sizes of the substreams, then those substreams, then the list of
        // streams (DbgDataHdr): 4 OMAP from linked to final, 5 section headers, 10 section headers as linked.
        let part = |at| u32_at(&dbi, at).map(u64::from).ok_or("its debug information is damaged");
        let mut list = 64u64;
        for size in [24, 28, 32, 36, 40, 52] {
            list = list.saturating_add(part(size)?);
        }
        let entries = part(48)? / 2;
        let entry = |i: u64| {
            let at = usize::try_from(list.saturating_add(i.saturating_mul(2))).ok()?;
            (i < entries).then(|| u16_at(&dbi, at)).flatten().filter(|s| *s != 0xffff)
        };
        let mut open = |i| entry(i).map(|s| stream(pdb, s)).transpose().map(Option::flatten);
        let headers = match open(10)? {
            Some(original) => original,
            None => open(5)?.ok_or("it has no section headers")?,
        };
        // IMAGE_SECTION_HEADER: 40 bytes, the virtual address at 12.
        let sections = headers.chunks_exact(40).filter_map(|h| u32_at(h, 12)).collect();
        let omap = open(4)?.map(|s| {
            let pairs = s.chunks_exact(8).filter_map(|p| Some((u32_at(p, 0)?, u32_at(p, 4)?)));
            let mut pairs: Vec<_> = pairs.collect();
            pairs.sort_by_key(|(from, _)| *from);
            pairs
        });
        Ok(Self { sections, omap })
    }
    fn rva(&self, section: u16, offset: u32) -> Option<u32> {
        let linked = self.sections.get(usize::from(section).checked_sub(1)?)?.checked_add(offset)?;
        let Some(omap) = &self.omap else { return Some(linked) };
        let before = omap.partition_point(|(from, _)| *from <= linked).checked_sub(1)?;
        let (from, to) = omap.get(before)?;
        // 0 marks what the final image no longer has.
        if *to == 0 { None } else { to.checked_add(linked.checked_sub(*from)?) }
    }
}

/// A file in memory as the `pdb` crate's source. A page past the end, or more pages than the file has, is an error
/// before anything is allocated.
#[derive(Debug)]
struct Slice<'a>(&'a [u8]);

/// A file on disk as the `pdb` crate's source, with the same limits.
#[derive(Debug)]
struct OnDisk {
    file: std::fs::File,
    len: u64,
}

impl<'s> pdb::Source<'s> for OnDisk {
    fn view(&mut self, slices: &[SourceSlice]) -> std::io::Result<Box<dyn SourceView<'s>>> {
        let eof = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let mut joined = Vec::new();
        for s in slices {
            let end = s.offset.checked_add(s.size as u64).filter(|end| *end <= self.len).ok_or_else(eof)?;
            let size = end.saturating_sub(s.offset);
            if (joined.len() as u64).saturating_add(size) > self.len {
                return Err(eof());
            }
            self.file.seek(std::io::SeekFrom::Start(s.offset))?;
            if (&self.file).take(size).read_to_end(&mut joined)? as u64 != size {
                return Err(eof());
            }
        }
        Ok(Box::new(View(joined)))
    }
}

#[derive(Debug)]
struct View(Vec<u8>);

impl SourceView<'_> for View {
    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl<'a> pdb::Source<'a> for Slice<'a> {
    fn view(&mut self, slices: &[SourceSlice]) -> std::io::Result<Box<dyn SourceView<'a>>> {
        let eof = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let piece = |s: &SourceSlice| {
            let start = usize::try_from(s.offset).ok()?;
            self.0.get(start..start.checked_add(s.size)?)
        };
        let mut len = 0usize;
        for s in slices {
            len = len.saturating_add(piece(s).ok_or_else(eof)?.len());
        }
        if len > self.0.len() {
            return Err(eof());
        }
        let mut joined = Vec::with_capacity(len);
        for s in slices {
            joined.extend_from_slice(piece(s).ok_or_else(eof)?);
        }
        Ok(Box::new(View(joined)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_people_write_them() {
        for (raw, machine, plain) in [
            ("?SmGlobals@@3U_SM_GLOBALS@@A", Machine::X64, "SmGlobals"),
            ("?StInit@Store@Sm@@QEAAXXZ", Machine::X64, "Sm::Store::StInit"),
            ("??_C@_1EC@NPLJOAHD@x@", Machine::X64, "??_C@_1EC@NPLJOAHD@x@"),
            ("?$T@H@@x", Machine::X64, "?$T@H@@x"),
            ("PsActiveProcessHead", Machine::X64, "PsActiveProcessHead"),
            ("_PsActiveProcessHead", Machine::X86, "PsActiveProcessHead"),
            ("_NtClose@4", Machine::X86, "NtClose"),
            ("@ObfReferenceObject@4", Machine::X86, "ObfReferenceObject"),
            ("_", Machine::X86, "_"),
            ("_PsActiveProcessHead", Machine::X64, "_PsActiveProcessHead"),
        ] {
            assert_eq!(&*plain_name(raw, Some(machine)), plain);
        }
    }
    #[test]
    fn addresses_go_through_omap() {
        let mut places = Places { sections: vec![0x1000, 0x5000], omap: None };
        assert_eq!(places.rva(2, 0x10), Some(0x5010));
        assert_eq!(places.rva(0, 0x10), None);
        assert_eq!(places.rva(3, 0x10), None);
        assert_eq!(places.rva(1, u32::MAX), None);
        places.omap = Some(vec![(0x1000, 0x9000), (0x1800, 0), (0x5000, 0x2000)]);
        assert_eq!(places.rva(1, 0x20), Some(0x9020));
        assert_eq!(places.rva(1, 0x900), None);
        assert_eq!(places.rva(2, 8), Some(0x2008));
    }
    #[test]
    fn what_is_no_pdb_says_so() {
        assert!(parse(b"MZ", "x.pdb", "x").unwrap_err().to_string().contains("no PDB"));
        let mut bytes = MAGIC.to_vec();
        bytes.resize(0x2000, 0xff);
        assert!(parse(&bytes, "x.pdb", "x").is_err());
    }
}
