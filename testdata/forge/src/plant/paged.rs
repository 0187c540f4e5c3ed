//! Pages of processes that are not in memory: in page files, and in the compressed store of the process MemCompression.
//!
//! Everything is planted in memory first and written away last, so that nothing else knows of it. The store's structures are those that the project's notes
//! give for 19041; no PDB has them.

use super::UserSide;
use super::user::DATA;
use crate::machine::Machine;
use crate::memory::{PAGE, PoolKind, Soft, Use, software, xpress};
use crate::scenario::Scenario;
use crate::truth::Json;

/// A page file under construction.
struct File {
    name: &'static str,
    bytes: Vec<u8>,
}

impl File {
    /// Adds a page somewhere behind the last; gives its number in the file.
    fn add(&mut self, m: &mut Machine, page: &[u8]) -> u64 {
        let skip = m.rng.below(3);
        for _ in 0..skip * PAGE / 8 {
            self.bytes.extend(m.rng.word().to_le_bytes());
        }
        let number = self.bytes.len() as u64 / PAGE;
        self.bytes.extend(page);
        number
    }
}

/// The number of the compressed store, behind those of the two files.
const STORE: u64 = 2;
/// Where the store keeps its regions in the process that owns it.
const REGIONS: u64 = 0x1_8000_0000;
/// Bytes of a region.
const REGION: u64 = 0x1_0000;
/// Records in a page of them that keys lead to, as a power of two; as many again are led to by others.
const RECORDS: u64 = 4;
/// Bits of a record's key that are its index.
const INDEX: u64 = RECORDS + 1;

/// What is written away, and what is true of it.
pub struct Away {
    /// Of each page: process, address, where it went, its first eight bytes.
    pub truth: Json,
    /// The page files, by name.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Writes pages of all processes away, by turns as the scenario says.
pub fn plant(m: &mut Machine, s: &Scenario, users: &mut [UserSide], owner: (u64, u64)) -> Away {
    let mut files = [
        File { name: "pagefile.sys", bytes: vec![0; PAGE as usize] },
        File { name: "swapfile.sys", bytes: Vec::new() },
    ];
    let mut truth = Vec::new();
    let mut kept: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut turn = 0;
    let holder = users.iter().position(|u| u.pid == owner.0).expect("a process MemCompression");
    for (i, user) in users.iter_mut().enumerate() {
        if i == holder || user.area == 0 {
            continue;
        }
        let inside = user.area / PAGE..(user.area + 0x20_0000) / PAGE;
        let pages: Vec<(u64, u64)> =
            user.space.pages.range(inside).map(|(page, frame)| (*page * PAGE, *frame)).collect();
        for (va, frame) in pages {
            if user.space.entry(&m.mem, va) & 1 == 0 {
                continue;
            }
            let kind = s.evict[turn % s.evict.len()].as_str();
            turn += 1;
            let bytes = m.mem.page(frame).to_vec();
            let soft = match kind {
                "stays" => continue,
                "pagefile" => Soft::PageFile(0, files[0].add(m, &bytes)),
                "swapfile" => Soft::PageFile(1, files[1].add(m, &bytes)),
                "compressed" => {
                    let page = 0x2000 + kept.len() as u64 * 3;
                    kept.push((page, bytes.clone()));
                    Soft::PageFile(STORE, page)
                }
                other => panic!("away into {other}"),
            };
            let entry = software(&m.layouts, soft, 4, m.pte_mask);
            user.space.set_entry(&mut m.mem, va, entry);
            noise(m, frame);
            truth.push(
                Json::object()
                    .with("pid", user.pid)
                    .with("va", va)
                    .with("where", kind)
                    .with("first8", u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))),
            );
        }
        // Its page table goes the same way.
        if s.evict_tables && turn % 2 == 0 {
            table(m, user, &mut files[0]);
        }
    }
    if !kept.is_empty() {
        store(m, &mut users[holder], owner.1, &kept, &mut files[0]);
    }
    list(m, &files);
    Away { truth: truth.into(), files: files.into_iter().map(|f| (f.name.to_string(), f.bytes)).collect() }
}

/// Writes the page table of a process's area away.
fn table(m: &mut Machine, user: &UserSide, file: &mut File) {
    let Some(frame) = user.space.table_of(&m.mem, user.area) else { return };
    let bytes = m.mem.page(frame).to_vec();
    let number = file.add(m, &bytes);
    let entry = software(&m.layouts, Soft::PageFile(0, number), 4, m.pte_mask);
    user.space.set_table_entry(&mut m.mem, user.area, entry);
    noise(m, frame);
}

/// What lies in a frame whose page went away is something else by now.
fn noise(m: &mut Machine, frame: u64) {
    let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| m.rng.word().to_le_bytes()).collect();
    m.mem.page_mut(frame).copy_from_slice(&bytes);
}

/// The kernel's list of page files.
fn list(m: &mut Machine, files: &[File]) {
    let list = m.global("MiSystemPartition") + m.layouts.offset("_MI_PARTITION", "Vp.PagingFile");
    for number in 0..=STORE {
        let mut obj = m.obj("_MMPAGING_FILE");
        obj.set("PageFileNumber", number);
        match files.get(number as usize) {
            Some(file) => {
                let path = format!("\\??\\C:\\{}", file.name);
                let buffer = m.text(b"MmPg", &path);
                let pages = file.bytes.len() as u64 / PAGE;
                obj.set_text("PageFileName", &path, buffer).set("Size", pages).set("FreeSpace", pages / 2);
            }
            None => _ = obj.set("VirtualStorePagefile", 1).set("Size", 0x10_0000).set("FreeSpace", 0xF_0000),
        }
        let at = m.put(PoolKind::NonPaged, b"Mm  ", &obj);
        m.plant(list + number * 8, &at.to_le_bytes());
    }
}

/// Puts the pages into a store.
fn store(m: &mut Machine, holder: &mut UserSide, owner: u64, kept: &[(u64, Vec<u8>)], file: &mut File) {
    let page = |m: &mut Machine| m.alloc(PoolKind::NonPaged, b"smBt", PAGE);
    let at = m.alloc(PoolKind::NonPaged, b"smSt", 3 * PAGE);
    m.write(at, &vec![0; 3 * PAGE as usize]);
    // The bytes, one after another in regions, sixteen by sixteen; a page does not go over a region's end.
    let (mut region, mut used) = (0u64, 0u64);
    let mut records = Vec::new();
    let mut bytes: Vec<Vec<u8>> = vec![Vec::new()];
    for (i, (_, page)) in kept.iter().enumerate() {
        let packed = xpress::compress(page);
        // What does not get smaller is kept as it is, and each seventh for the test's sake.
        let (data, size) = match packed.len() {
            n if n < PAGE as usize && i % 7 != 6 => (packed, n as u64),
            _ => (page.clone(), 0),
        };
        if used + data.len() as u64 > REGION {
            (region, used) = (region + 1, 0);
            bytes.push(Vec::new());
        }
        let into = bytes.last_mut().expect("a region");
        into.resize(used as usize, 0xCC);
        into.extend(&data);
        // The upper bits of the size are flags that nobody reads.
        records.push(((region << 12) | (used / 16), size | 0x4000));
        used = (used + data.len() as u64).next_multiple_of(16);
    }
    for (i, bytes) in bytes.iter().enumerate() {
        for (n, part) in bytes.chunks(PAGE as usize).enumerate() {
            let va = REGIONS + i as u64 * 2 * REGION + n as u64 * PAGE;
            let mut whole = part.to_vec();
            whole.resize(PAGE as usize, 0xCC);
            let frame = m.mem.take(Use::User);
            holder.space.map(&mut m.mem, va, frame, DATA);
            m.mem.page_mut(frame).copy_from_slice(&whole);
            // Windows writes the store's own pages away, too.
            let soft = match n % 4 {
                1 => Soft::PageFile(0, file.add(m, &whole)),
                2 => Soft::Transition(frame),
                _ => continue,
            };
            let entry = software(&m.layouts, soft, 4, m.pte_mask);
            holder.space.set_entry(&mut m.mem, va, entry);
            if matches!(soft, Soft::PageFile(..)) {
                noise(m, frame);
            }
        }
    }
    let regions = m.alloc(PoolKind::NonPaged, b"smRg", 8 * bytes.len().max(2) as u64);
    for i in 0..bytes.len() as u64 {
        // The low bits of a region's address are flags.
        m.write(regions + i * 8, &(REGIONS + i * 2 * REGION + 3).to_le_bytes());
    }
    // Records, in pages that hang on arrays of one, two, four …
    let (header, size) = (0x20u64, 12u64);
    let per = 1u64 << RECORDS;
    let chunks = records.len() as u64 / per + 2;
    let mut arrays = Vec::new();
    for level in 0..=chunks.ilog2() {
        let array = m.alloc(PoolKind::NonPaged, b"smCh", 16 << level);
        m.write(array, &vec![0; 16 << level]);
        m.write(at + 0x110 + u64::from(level) * 8, &array.to_le_bytes());
        arrays.push(array);
    }
    let mut pages = std::collections::BTreeMap::new();
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    for (i, (location, length)) in records.iter().enumerate() {
        let (chunk, index) = (i as u64 / per + 1, i as u64 % per);
        let base = *pages.entry(chunk).or_insert_with(|| {
            let base = page(m);
            let level = chunk.ilog2();
            m.write(arrays[level as usize] + 16 * (chunk ^ 1 << level), &base.to_le_bytes());
            base
        });
        let record = base + header + index * size;
        // Each fifth record names another.
        if i % 5 == 4 {
            let extra = base + header + (per + index) * size;
            m.write(record, &[u32::MAX.to_le_bytes(), ((chunk << INDEX | per | index) as u32).to_le_bytes()].concat());
            m.write(extra, &[(*location as u32).to_le_bytes(), (*length as u32).to_le_bytes()].concat());
        } else {
            m.write(record, &[(*location as u32).to_le_bytes(), (*length as u32).to_le_bytes()].concat());
        }
        pairs.push((STORE << 28 | kept[i].0, chunk << INDEX | index));
    }
    let tree = |m: &mut Machine, pairs: &[(u64, u64)]| {
        let leaves: Vec<(u64, u64)> = pairs
            .chunks(20)
            .map(|leaf| {
                let at = page(m);
                let mut bytes = vec![leaf.len() as u8, 0, 1, 1];
                bytes.resize(16, 0);
                bytes.extend(
                    leaf.iter().flat_map(|(k, v)| [(*k as u32).to_le_bytes(), (*v as u32).to_le_bytes()].concat()),
                );
                m.write(at, &bytes);
                (leaf[0].0, at)
            })
            .collect();
        let root = page(m);
        let mut bytes = vec![leaves.len() as u8 - 1, 0, 2, 0, 0, 0, 0, 0];
        bytes.extend(leaves[0].1.to_le_bytes());
        bytes.extend(leaves[1..].iter().flat_map(|(k, at)| [*k, *at].map(u64::to_le_bytes).concat()));
        m.write(root, &bytes);
        root
    };
    let pages_tree = tree(m, &pairs);
    let stores: Vec<(u64, u64)> = pairs.iter().map(|(key, _)| (*key, 33)).collect();
    let store_tree = tree(m, &stores);
    let long = |m: &mut Machine, offset: u64, value: u32| m.write(at + offset, &value.to_le_bytes());
    let word = |m: &mut Machine, offset: u64, value: u64| m.write(at + offset, &value.to_le_bytes());
    word(m, 0x50, pages_tree);
    long(m, 0x110 + 0x108, INDEX as u32);
    long(m, 0x110 + 0x10C, (1 << INDEX) - 1);
    long(m, 0x110 + 0x110, size as u32);
    long(m, 0x110 + 0x118, header as u32);
    word(m, 0x370, at);
    long(m, 0x378, 0xFFF);
    long(m, 0x37C, 12);
    long(m, 0x430, 3);
    word(m, 0x1848, regions);
    word(m, 0x19B8, owner);
    // Store 33: the second of the second array.
    let array = m.alloc(PoolKind::NonPaged, b"smSa", 32 * 0x28);
    m.write(array, &vec![0; 32 * 0x28]);
    m.write(array + 0x28, &at.to_le_bytes());
    let globals = m.global("SmGlobals");
    m.plant(globals, &vec![0; 0x200]);
    m.plant(globals + 8, &array.to_le_bytes());
    m.plant(globals + 0x1C0, &store_tree.to_le_bytes());
}
