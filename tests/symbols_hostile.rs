//! Symbol files that are damaged, or made to harm: an error or a Note, never a panic, never without end.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod small_pdb;
mod sources;

use dumpwalk::symbols::cache::Cache;
use dumpwalk::symbols::{Symbols, builtin, compact, file, isf, pdb, table};
use small_pdb::{SmallPdb, head, member};
use std::time::{Duration, Instant};

/// Copies with damage: a few bits, bytes or words changed, pieces copied, or the end cut off. The same every time.
struct Damaged<'a> {
    good: &'a [u8],
    state: u64,
}

impl Damaged<'_> {
    fn number(&mut self, below: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % below.max(1) as u64) as usize
    }
    fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.good.to_vec();
        for _ in 0..=self.number(8) {
            let at = self.number(bytes.len());
            match self.number(6) {
                0 => bytes[at] ^= 1 << self.number(8),
                1 => bytes[at] = self.number(256) as u8,
                2 => bytes[at..].iter_mut().take(4).for_each(|b| *b = 0xff),
                3 => bytes[at..].iter_mut().take(2).for_each(|b| *b = 0),
                4 => {
                    let (from, len) = (self.number(bytes.len()), self.number(64));
                    let piece: Vec<u8> = bytes[from..].iter().take(len).copied().collect();
                    bytes[at..].iter_mut().zip(piece).for_each(|(to, b)| *to = b);
                }
                _ if self.number(4) == 0 => bytes.truncate(at.max(1)),
                _ => bytes[at] = bytes[at].wrapping_add(1),
            }
        }
        bytes
    }
}

/// Reads many damaged copies; what is still read holds together.
fn survive(good: &[u8], copies: usize, read: impl Fn(&[u8]) -> Option<Symbols>) {
    assert!(read(good).is_some());
    let mut damaged = Damaged { good, state: 0x1234_5678_9abc_def1 };
    for i in 0..copies {
        let bytes = damaged.next();
        let begun = Instant::now();
        if let Some(s) = read(&bytes) {
            for (name, t) in &s.types.types {
                for (field, m) in &t.members {
                    assert!(u64::from(m.offset) + u64::from(m.size) <= u64::from(t.size), "{i}: {name}.{field}");
                    if let Some((at, len)) = m.bits {
                        assert!(u32::from(at) + u32::from(len) <= m.size * 8, "{i}: {name}.{field}");
                    }
                }
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "copy {i} takes {:?}", begun.elapsed());
    }
}

#[test]
fn damaged_pdbs() {
    let small = SmallPdb::default().bytes();
    survive(&small, 3000, |b| pdb::parse(b, "a.pdb", "a").ok());
    if let Some(shared) = sources::shared() {
        let key = "E64C442BAADFEED33AD6670D0E5C22A11";
        let real = std::fs::read(shared.join(format!("samples/symbols/ntkrpamp.pdb/{key}/ntkrpamp.pdb"))).unwrap();
        survive(&real, 40, |b| pdb::parse(b, "a.pdb", "a").ok());
        // The first words of pages, where the structures of the container begin.
        for page in (0..real.len() / 4096).step_by(4) {
            let mut bytes = real.clone();
            bytes[page * 4096..][..8].iter_mut().for_each(|b| *b ^= 0xa5);
            let _ = pdb::parse(&bytes, "a.pdb", "a");
        }
    }
}

#[test]
fn damaged_pdbs_are_identified_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pdb");
    let small = SmallPdb::default().bytes();
    let mut damaged = Damaged { good: &small, state: 77 };
    for _ in 0..500 {
        std::fs::write(&path, damaged.next()).unwrap();
        let _ = file::identify(&path);
    }
}

#[test]
fn damaged_tables() {
    let text = table::write(&builtin::known()[5].load(true)).into_bytes();
    survive(&text[..], 300, |b| table::parse(&String::from_utf8_lossy(b), "a").ok());
}

#[test]
fn damaged_cache_files() {
    let good = compact::encode(&builtin::known()[5].load(true));
    survive(&good, 300, |b| compact::decode(b).ok());
    // A damaged cache file is as none, and is made anew.
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::new(dir.path().into());
    let symbols = pdb::parse(&SmallPdb::default().bytes(), "a.pdb", "a").unwrap();
    cache.store(&symbols, None).unwrap();
    let path = cache.path(symbols.id.as_ref().unwrap());
    let good = std::fs::read(&path).unwrap();
    let mut damaged = Damaged { good: &good, state: 99 };
    for _ in 0..200 {
        let bytes = damaged.next();
        std::fs::write(&path, &bytes).unwrap();
        match cache.load(symbols.id.as_ref().unwrap()) {
            Ok(found) => assert_eq!((bytes == good, found.as_ref()), (true, Some(&symbols))),
            Err(why) => assert!(why.contains("a.pdb"), "{why}"),
        }
    }
}

#[test]
fn damaged_volatility_files() {
    let json = br#"{"metadata":{"windows":{"pdb":{"GUID":"89284D0CA6ACC8274B9A44BD5AF9290B","age":1,
        "database":"n.pdb","machine_type":34404}}},"base_types":{"pointer":{"kind":"int","size":8},
        "int":{"kind":"int","size":4,"signed":true}},"user_types":{"_A":{"kind":"struct","size":16,"fields":{
        "a":{"offset":0,"type":{"kind":"array","count":2,"subtype":{"kind":"base","name":"int"}}},
        "u":{"offset":8,"type":{"kind":"union","name":"__unnamed_1"}}}},"__unnamed_1":{"kind":"union","size":4,
        "fields":{"x":{"offset":0,"type":{"kind":"bitfield","bit_position":3,"bit_length":4,
        "type":{"kind":"base","name":"int"}}}}}},"enums":{"_E":{"base":"int","size":4,"constants":{"A":1}}},
        "symbols":{"S":{"address":16}}}"#;
    survive(json, 3000, |b| isf::parse(b, "a").ok());
    if let Some(shared) = sources::shared() {
        let packed = "real/symbols/5278AFF86C341677D7D7835C85B7B844-1.json.xz";
        let xz = std::fs::read(shared.join(packed)).unwrap();
        let mut damaged = Damaged { good: &xz, state: 5 };
        for _ in 0..3 {
            let _ = isf::parse(&damaged.next(), "a");
        }
    }
}

#[test]
fn damaged_compressed_pdbs() {
    use std::io::Write as _;
    let mut builder = cab::CabinetBuilder::new();
    builder.add_folder(cab::CompressionType::MsZip).add_file("a.pdb");
    let mut writer = builder.build(std::io::Cursor::new(Vec::new())).unwrap();
    while let Some(mut file) = writer.next_file().unwrap() {
        file.write_all(&SmallPdb { fill: 100_000, ..SmallPdb::default() }.bytes()).unwrap();
    }
    let good = writer.finish().unwrap().into_inner();
    survive(&good, 3000, |b| file::parse(b, "a.pd_", "a").ok());
}

/// Microsoft packs with LZX, which nothing here can write: noise in its place, behind right sizes and no checksum.
#[test]
fn noise_as_lzx() {
    let mut noise = Damaged { good: &[], state: 0xfeed };
    for i in 0..400 {
        let mut block: Vec<u8> = (0..20 + noise.number(600)).map(|_| noise.number(256) as u8).collect();
        // The first three bits after the header of a stream name the kind of block: verbatim, aligned, stored.
        if i % 2 == 0 {
            block[..2].copy_from_slice(&(0x1000u16 << (i % 3)).to_le_bytes());
        }
        let mut cab = b"MSCF\0\0\0\0".to_vec();
        cab.extend(u32s(&[0, 0, 44, 0]));
        cab.extend([3, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        // Folder: data at 66, one block, LZX with a window of 2^21.
        cab.extend(u32s(&[66]));
        cab.extend([1, 0, 3, 21]);
        // File: 32,768 bytes at 0 of folder 0.
        cab.extend(u32s(&[0x8000, 0]));
        cab.extend([0, 0, 0x21, 0x50, 0, 0, 0x20, 0]);
        cab.extend(b"a.pdb\0");
        assert_eq!(cab.len(), 66);
        cab.extend(u32s(&[0]));
        cab.extend((block.len() as u16).to_le_bytes());
        cab.extend(0x8000u16.to_le_bytes());
        cab.extend(block);
        let size = (cab.len() as u32).to_le_bytes();
        cab[8..12].copy_from_slice(&size);
        let error = file::unpack_cab(&cab).map(|_| ()).unwrap_err();
        assert!(!error.contains("no file"), "{error}");
    }
}

fn types_of(types: Vec<(u16, Vec<u8>)>) -> Result<Symbols, String> {
    let begun = Instant::now();
    let bytes = SmallPdb { types, ..SmallPdb::default() }.bytes();
    let read = pdb::parse(&bytes, "a.pdb", "a").map_err(|e| e.to_string());
    assert!(begun.elapsed() < Duration::from_secs(20), "takes {:?}", begun.elapsed());
    read
}

/// A damaged type is left out with a Note; what else there is stays.
fn left_out(types: Vec<(u16, Vec<u8>)>, why: &str) {
    let s = types_of(types).unwrap();
    assert_eq!(s.types.get("_A"), None);
    assert!(s.notes.iter().any(|n| n.loss && n.text.contains(why)), "{:?}", s.notes);
    assert_eq!(s.rva("PsActiveProcessHead"), Some(0x1234));
}

fn u32s(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[test]
fn types_that_go_round_in_circles() {
    // A field list that goes on in itself.
    let circle = [&0x1404u16.to_le_bytes()[..], &[0; 2], &0x1000u32.to_le_bytes()].concat();
    left_out(vec![(0x1203, circle), (0x1505, head("_A", 0x1000, 8))], "circle");
    // A pointer to itself is a pointer; an array of itself is nothing.
    let list = member("Next", 0x1000, 0);
    let pointer = u32s(&[0x1000, 0x1000c]);
    let s = types_of(vec![(0x1002, pointer), (0x1203, list.clone()), (0x1505, head("_A", 0x1001, 8))]).unwrap();
    assert_eq!(s.types.member("_A", "Next").unwrap().size, 8);
    let array = [u32s(&[0x1000, 0x22]), vec![8, 0, 0]].concat();
    left_out(vec![(0x1503, array), (0x1203, list.clone()), (0x1505, head("_A", 0x1001, 8))], "too deeply");
    // A modifier of itself.
    let modifier = [u32s(&[0x1000]), vec![1, 0]].concat();
    left_out(vec![(0x1001, modifier), (0x1203, list), (0x1505, head("_A", 0x1001, 8))], "too deeply");
    // A structure without name that embeds itself, with a name and without.
    for field in ["Inner", ""] {
        let types = vec![(0x1203, member(field, 0x1001, 0)), (0x1505, head("<unnamed-tag>", 0x1000, 8))];
        let outer = vec![(0x1203, member(field, 0x1001, 0)), (0x1505, head("_A", 0x1002, 8))];
        let read = types_of([types, outer].concat());
        assert!(read.is_err() || read.is_ok_and(|s| !s.notes.is_empty()));
    }
    // A base class that is its own.
    let base = [&0x1400u16.to_le_bytes()[..], &[0; 2], &0x1001u32.to_le_bytes(), &[0; 2]].concat();
    left_out(vec![(0x1203, base), (0x1505, head("_A", 0x1000, 8))], "too deeply");
}

#[test]
fn types_that_would_fill_all_memory() {
    // Each unnamed structure has 1,000 members of the one before.
    let mut types = vec![(0x1203, member("End", 0x22, 0)), (0x1505, head("<unnamed-tag>", 0x1000, 4))];
    for level in 0..20u32 {
        let below = 0x1001 + level * 2;
        let fields: Vec<u8> = (0..1000).flat_map(|i| member(&format!("Member{i}"), below, 0)).collect();
        types.push((0x1203, fields));
        types.push((0x1505, head(if level == 19 { "_A" } else { "<unnamed-tag>" }, below + 1, 4)));
    }
    let error = types_of(types).unwrap_err();
    assert!(error.contains("more members"), "{error}");
    // The same with names of 60,000 characters.
    let long = "x".repeat(60_000);
    let mut types = vec![(0x1203, member("End", 0x22, 0)), (0x1505, head("<unnamed-tag>", 0x1000, 4))];
    for level in 0..20u32 {
        let below = 0x1001 + level * 2;
        types.push((0x1203, [member(&long, below, 0), member("Short", below, 0)].concat()));
        types.push((0x1505, head(if level == 19 { "_A" } else { "<unnamed-tag>" }, below + 1, 4)));
    }
    let error = types_of(types).unwrap_err();
    assert!(error.contains("more members"), "{error}");
}

#[test]
fn types_that_lie() {
    left_out(vec![(0x1203, member("Far", 0x22, 6)), (0x1505, head("_A", 0x1000, 8))], "ends past");
    left_out(vec![(0x1203, member("Nothing", 0x4444, 0)), (0x1505, head("_A", 0x1000, 8))], "missing");
    left_out(vec![(0x1505, head("_A", 0x1001, 8))], "field list is missing");
    left_out(vec![(0x1203, vec![0x77; 12]), (0x1505, head("_A", 0x1000, 8))], "unknown kind");
    let bits = [u32s(&[0x22]), vec![20, 20]].concat();
    let types = vec![(0x1205, bits), (0x1203, member("Bits", 0x1000, 0)), (0x1505, head("_A", 0x1001, 8))];
    left_out(types, "past its unit");
    // The number of records is a lie.
    let mut bytes = SmallPdb::default().bytes();
    let header = bytes.windows(8).position(|w| w == [56, 0, 0, 0, 0, 0x10, 0, 0]).unwrap();
    bytes[header + 8..header + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let s = pdb::parse(&bytes, "a.pdb", "a").unwrap();
    assert!(s.notes.iter().any(|n| n.loss && n.text.contains("records end after 3")), "{:?}", s.notes);
    assert!(s.types.get("_A").is_some());
}

#[test]
fn a_volatility_file_that_would_fill_all_memory() {
    let mut user = String::new();
    for level in 0..20 {
        let name = if level == 19 { "_A".to_owned() } else { format!("__unnamed_{level}") };
        let below = format!(r#"{{"kind":"struct","name":"__unnamed_{}"}}"#, level - 1);
        let ty = if level == 0 { r#"{"kind":"base","name":"int"}"# } else { &below };
        let fields: Vec<String> = (0..200).map(|i| format!(r#""m{i}":{{"offset":0,"type":{ty}}}"#)).collect();
        user += &format!(
            r#"{}"{name}":{{"kind":"struct","size":4,"fields":{{{}}}}}"#,
            if level > 0 { "," } else { "" },
            fields.join(",")
        );
    }
    let json = format!(
        r#"{{"metadata":{{"windows":{{"pdb":{{"GUID":"89284D0CA6ACC8274B9A44BD5AF9290B","age":1,"database":"n.pdb",
        "machine_type":34404}}}}}},"base_types":{{"int":{{"kind":"int","size":4,"signed":true}}}},"user_types":{{{user}}},
        "enums":{{}},"symbols":{{}}}}"#
    );
    let error = isf::parse(json.as_bytes(), "a").unwrap_err().to_string();
    assert!(error.contains("more members"), "{error}");
    // Descriptors of types in each other, deeper than any stack.
    let deep = format!("{}{}", r#"{"kind":"pointer","subtype":"#.repeat(100_000), "}".repeat(100_000));
    assert!(isf::parse(deep.as_bytes(), "a").is_err());
}
