//! One file of symbols, whatever its kind: told by its first bytes, never by its name.

use super::{PdbId, Symbols, compact, isf, pdb, read_file, table};
use crate::bytes::{u16_at, u32_at};
use crate::error::{Error, Result};
use std::io::{Cursor, Read as _};
use std::path::Path;

/// What a file's first bytes say it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A PDB.
    Pdb,
    /// A CAB archive: a compressed PDB (`.pd_`).
    Cab,
    /// A Volatility symbol file, plain or packed.
    Isf,
    /// A layout table.
    Table,
    /// Our own cache format.
    Compact,
}

impl Kind {
    /// In words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pdb => "PDB",
            Self::Cab => "compressed PDB",
            Self::Isf => "Volatility symbol file",
            Self::Table => "layout table",
            Self::Compact => "cache file",
        }
    }
    /// By the first bytes of a file. `None` for anything else.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b if b.starts_with(pdb::MAGIC) => Some(Self::Pdb),
            b if b.starts_with(b"MSCF") => Some(Self::Cab),
            b if b.starts_with(b"\xfd7zXZ\0") || b.starts_with(b"\x1f\x8b") => Some(Self::Isf),
            b if b.starts_with(b"# kernel ") => Some(Self::Table),
            b if b.starts_with(b"dumpwalk sym") => Some(Self::Compact),
            b if b.trim_ascii_start().starts_with(b"{") => Some(Self::Isf),
            _ => None,
        }
    }
}

/// What a file is by its first bytes. `None` where it is no symbol file, or cannot be read.
#[must_use]
pub fn kind(path: &Path) -> Option<Kind> {
    let mut head = Vec::new();
    crate::regular::open(path).ok()?.take(64).read_to_end(&mut head).ok()?;
    Kind::of(&head)
}

/// Reads a symbol file of any kind.
///
/// # Errors
/// The file cannot be read, is none, or is damaged beyond use.
pub fn read(path: &Path) -> Result<Symbols> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    parse(&read_file(path, pdb::LARGEST)?, &name, &path.display().to_string())
}

/// Reads a symbol file of any kind from memory. `name` is the PDB's file name, where the file does not say it.
///
/// # Errors
/// As [`read`].
pub fn parse(bytes: &[u8], name: &str, origin: &str) -> Result<Symbols> {
    let bad = |what: String| Error::BadSymbols { origin: origin.into(), what };
    match Kind::of(bytes) {
        Some(Kind::Pdb) => pdb::parse(bytes, name, origin),
        Some(Kind::Cab) => {
            let (name, bytes) = unpack_cab(bytes).map_err(bad)?;
            pdb::parse(&bytes, &name, origin)
        }
        Some(Kind::Isf) => isf::parse(bytes, origin),
        Some(Kind::Table) => {
            let text = std::str::from_utf8(bytes).map_err(|_| bad("the layout table is no text".into()))?;
            table::parse(text, origin)
        }
        Some(Kind::Compact) => compact::decode(bytes).map_err(|e| bad(e.into())),
        None => Err(bad(format!("it is no symbol file: {}", beginning(bytes)))),
    }
}

/// How something that should have been symbols begins, for an error message.
#[must_use]
pub fn beginning(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "it is empty".into();
    }
    let start = bytes.get(..48).unwrap_or(bytes);
    let is_text = start.iter().all(|b| (b' '..0x7f).contains(b) || b.is_ascii_whitespace());
    if is_text {
        format!("it begins with the text {:?}", String::from_utf8_lossy(start).trim())
    } else {
        let hex: Vec<String> = start.iter().take(16).map(|b| format!("{b:02x}")).collect();
        format!("it begins with {}", hex.join(" "))
    }
}

/// The one file in a CAB archive, with its name.
///
/// # Errors
/// The archive is damaged, holds nothing, or more than a symbol file can have.
pub fn unpack_cab(bytes: &[u8]) -> std::result::Result<(String, Vec<u8>), String> {
    unpack_cab_within(bytes, pdb::LARGEST)
}

/// The same, of a file with at most `largest` bytes.
///
/// # Errors
/// As [`unpack_cab`].
pub fn unpack_cab_within(bytes: &[u8], largest: u64) -> std::result::Result<(String, Vec<u8>), String> {
    let broken = |e: std::io::Error| format!("the compressed PDB is damaged: {e}");
    let mut cabinet = cab::Cabinet::new(Cursor::new(bytes)).map_err(broken)?;
    let first = cabinet.folder_entries().flat_map(|f| f.file_entries()).next();
    let first = first.map(|f| (f.name().to_owned(), u64::from(f.uncompressed_size())));
    let (name, size) = first.ok_or("the compressed PDB holds no file")?;
    // CFHEADER.cFiles, and by coffFiles the first CFFILE's uoffFolderStart: the `cab` crate trusts that a file begins inside
    // what its folder unpacks to. The one file of a compressed PDB begins it.
    let start = u32_at(bytes, 16).and_then(|at| u32_at(bytes, usize::try_from(at).ok()?.checked_add(4)?));
    if u16_at(bytes, 28) != Some(1) || start != Some(0) {
        return Err("the compressed PDB is no archive of one file".into());
    }
    if size > largest {
        return Err(format!("the compressed PDB claims to hold {} MiB", size >> 20));
    }
    let reader = cabinet.read_file(&name).map_err(broken)?;
    let mut out = Vec::new();
    reader.take(largest).read_to_end(&mut out).map_err(broken)?;
    if out.len() as u64 != size {
        return Err(format!("the compressed PDB holds {} bytes, not the {size} it promises", out.len()));
    }
    Ok((name, out))
}

/// What the first bytes of a file say it is. `None` for no symbol file.
///
/// # Errors
/// The file cannot be read.
pub fn kind_of(path: &Path) -> Result<Option<Kind>> {
    Ok(Kind::of(&start_of(path)?))
}

/// How a file begins that is no symbol file, for people.
#[must_use]
pub fn beginning_of(path: &Path) -> String {
    match start_of(path) {
        Ok(start) => format!("it is no symbol file: {}", beginning(&start)),
        Err(why) => why.to_string(),
    }
}

fn start_of(path: &Path) -> Result<Vec<u8>> {
    let io = |source| Error::Io { path: path.into(), source };
    let mut start = Vec::new();
    crate::regular::open(path).map_err(io)?.take(4096).read_to_end(&mut start).map_err(io)?;
    Ok(start)
}

/// The identity of a file without reading all of it, where its kind allows that. `Ok(None)` when only a full read
/// can tell (Volatility symbol files, compressed PDBs).
///
/// # Errors
/// As [`read`].
pub fn identify(path: &Path) -> Result<Option<PdbId>> {
    let start = start_of(path)?;
    match Kind::of(&start) {
        Some(Kind::Pdb) => pdb::identify_file(path).map(Some),
        Some(Kind::Table) => {
            let text = String::from_utf8_lossy(&start);
            let head = text.lines().next().unwrap_or_default();
            Ok(table::parse(&format!("{head}\n"), &path.display().to_string())?.id)
        }
        Some(Kind::Isf | Kind::Cab | Kind::Compact) => Ok(None),
        None => {
            let what = format!("it is no symbol file: {}", beginning(&start));
            Err(Error::BadSymbols { origin: path.display().to_string(), what })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn cab_of(name: &str, content: &[u8], how: cab::CompressionType) -> Vec<u8> {
        let mut builder = cab::CabinetBuilder::new();
        builder.add_folder(how).add_file(name);
        let mut writer = builder.build(Cursor::new(Vec::new())).unwrap();
        while let Some(mut file) = writer.next_file().unwrap() {
            file.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn a_compressed_file_is_unpacked() {
        let content = b"Microsoft C/C++ MSF 7.00".repeat(5000);
        let cab = cab_of("ntkrnlmp.pdb", &content, cab::CompressionType::MsZip);
        assert_eq!(unpack_cab(&cab).unwrap(), ("ntkrnlmp.pdb".into(), content));
    }
    /// Found by fuzzing: a file said to begin behind all that is packed.
    #[test]
    fn a_file_that_begins_nowhere_is_an_error() {
        let mut bad = cab_of("a.pdb", b"content", cab::CompressionType::MsZip);
        let file = u32_at(&bad, 16).unwrap() as usize;
        bad[file + 4..file + 8].copy_from_slice(&0x100u32.to_le_bytes());
        assert!(unpack_cab(&bad).unwrap_err().contains("no archive of one file"));
    }
    #[test]
    fn a_damaged_archive_is_an_error() {
        let content: Vec<u8> = (0..60_000u32).map(|i| ((i * i) >> 7) as u8).collect();
        for how in [cab::CompressionType::None, cab::CompressionType::MsZip] {
            let good = cab_of("a.pdb", &content, how);
            for i in (0..good.len()).step_by(7) {
                let mut bad = good.clone();
                bad[i] ^= 0x41;
                let _ = unpack_cab(&bad);
                assert!(unpack_cab(&good[..i]).is_err());
            }
        }
        assert!(unpack_cab(b"MSCF").is_err());
    }
    #[test]
    fn what_is_none_says_how_it_begins() {
        let e = parse(b"<html>Please log in</html>", "x.pdb", "x").unwrap_err().to_string();
        assert!(e.contains("<html>Please log in"), "{e}");
        assert!(parse(&[0x1b, 0], "x.pdb", "x").unwrap_err().to_string().contains("1b 00"));
        assert!(parse(b"", "x.pdb", "x").unwrap_err().to_string().contains("empty"));
    }
}
