//! A registry hive in memory: SOFTWARE with the list of user profiles.
//!
//! Cells, their numbers and the signatures of their kinds are those of hive files; the structures are the layouts'. Up to 1709 the bins are
//! blocks of paged pool; since 1803 the hive's file is a section mapped into the process Registry, and what the kernel notes of a bin is an
//! address in there.

use super::files::Files;
use super::user::{DATA, User};
use crate::machine::Machine;
use crate::memory::{PAGE, PoolKind, Use, flags};
use crate::scenario::Profile;
use crate::truth::Json;

/// What a header of a bin takes, before the first cell.
const BIN: usize = 0x20;
/// The hive's file on the volume.
const FILE: &str = "\\Windows\\System32\\config\\SOFTWARE";
/// No cell.
const NONE: u32 = u32::MAX;

/// The cells of a hive while they are laid out.
struct Cells {
    bytes: Vec<u8>,
}

impl Cells {
    /// A cell in use with these contents; gives its number.
    fn add(&mut self, contents: &[u8]) -> u32 {
        let at = self.bytes.len();
        let size = (contents.len() + 4).next_multiple_of(8);
        self.bytes.extend((-(size as i32)).to_le_bytes());
        self.bytes.extend(contents);
        self.bytes.resize(at + size, 0);
        at as u32
    }
    /// A list of keys: `lh` with hashes, `li` without, or `ri` of two `li`.
    fn list(&mut self, keys: &[u32], kind: &[u8; 2]) -> u32 {
        let head = |kind: &[u8; 2], n: usize| [&kind[..], &(n as u16).to_le_bytes()].concat();
        match kind {
            b"ri" => {
                let (a, b) = keys.split_at(keys.len() / 2);
                let halves = [self.list(a, b"li"), self.list(b, b"li")];
                let bytes = [head(b"ri", 2), halves.map(u32::to_le_bytes).concat()].concat();
                self.add(&bytes)
            }
            b"li" => {
                let cells: Vec<u8> = keys.iter().flat_map(|k| k.to_le_bytes()).collect();
                self.add(&[head(kind, keys.len()), cells].concat())
            }
            _ => {
                let cells: Vec<u8> = keys.iter().flat_map(|k| [k.to_le_bytes(), [7, 7, 7, 7]].concat()).collect();
                self.add(&[head(kind, keys.len()), cells].concat())
            }
        }
    }
    fn key(&mut self, m: &Machine, name: &str, subkeys: Option<u32>, values: &[u32]) -> u32 {
        let list = if values.is_empty() {
            NONE
        } else {
            self.add(&values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
        };
        let mut k = m.obj("_CM_KEY_NODE");
        k.set("Signature", u64::from(u16::from_le_bytes(*b"nk"))).set("Flags", 0x20);
        k.set_bytes("SubKeyCounts", &u32::from(subkeys.is_some()).to_le_bytes());
        k.set_bytes("SubKeyLists", &[subkeys.unwrap_or(NONE).to_le_bytes(), NONE.to_le_bytes()].concat());
        k.set("ValueList.Count", values.len() as u64).set("ValueList.List", list.into());
        k.set("NameLength", name.len() as u64);
        let at = m.layouts.offset("_CM_KEY_NODE", "Name") as usize;
        self.add(&[&k.bytes[..at], name.as_bytes()].concat())
    }
    /// A value of type `REG_EXPAND_SZ`.
    fn text(&mut self, m: &Machine, name: &str, text: &str) -> u32 {
        let data: Vec<u8> = text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let cell = self.add(&data);
        let mut v = m.obj("_CM_KEY_VALUE");
        v.set("Signature", u64::from(u16::from_le_bytes(*b"vk"))).set("NameLength", name.len() as u64);
        v.set("DataLength", data.len() as u64).set("Data", cell.into()).set("Type", 2).set("Flags", 1);
        let at = m.layouts.offset("_CM_KEY_VALUE", "Name") as usize;
        self.add(&[&v.bytes[..at], name.as_bytes()].concat())
    }
}

/// The bins of a hive, whole pages, and the number of its root's cell.
fn bins(m: &Machine, profiles: &[Profile]) -> (Vec<u8>, u32) {
    let mut cells = Cells { bytes: vec![0; BIN] };
    cells.bytes[..4].copy_from_slice(b"hbin");
    let users: Vec<u32> = profiles
        .iter()
        .map(|p| {
            // What else a hive holds: it makes this one longer than a block, and some cells lie across two.
            cells.add(&[0x5A; 0x5A0]);
            let state = cells.text(m, "Sid", "unused");
            let folder = cells.text(m, "ProfileImagePath", &p.folder);
            cells.key(m, &p.sid, None, &[state, folder])
        })
        .collect();
    let mut below = cells.list(&users, if users.len() > 1 { b"ri" } else { b"li" });
    for name in ["ProfileList", "CurrentVersion", "Windows NT", "Microsoft"] {
        let key = cells.key(m, name, Some(below), &[]);
        let other = cells.key(m, "Other", None, &[]);
        below = cells.list(&[other, key], b"lh");
    }
    let root = cells.key(m, "CMI-CreateHive{2A7FB991}", Some(below), &[]);
    let length = cells.bytes.len().next_multiple_of(PAGE as usize);
    cells.bytes.resize(length, 0);
    (cells.bytes, root)
}

/// The header of a hive's file.
fn header(m: &Machine, root: u32) -> crate::machine::Obj {
    let mut b = m.obj("_HBASE_BLOCK");
    b.set("Signature", u64::from(u32::from_le_bytes(*b"regf"))).set("RootCell", root.into());
    b
}

/// Maps the hive's file, its header and its bins, into the process Registry; gives the address of the first bin.
pub fn map_file(m: &mut Machine, profiles: &[Profile], files: &mut Files, user: &mut User) -> u64 {
    let (bytes, root) = bins(m, profiles);
    let (at, pages) = (user.area, 1 + bytes.len() as u64 / PAGE);
    let (section, first) = files.data(m, Some(FILE), pages);
    user.map_data(m, at, &section, first, 4);
    let head = header(m, root).bytes;
    m.mem.page_mut(first)[..head.len()].copy_from_slice(&head);
    for (i, page) in (1..).zip(bytes.chunks(PAGE as usize)) {
        let frame = m.mem.take(Use::User);
        m.mem.page_mut(frame).copy_from_slice(page);
        user.space.map(&mut m.mem, at + i * PAGE, frame, DATA);
        let (prototype, pte) = (section.prototypes + m.pte_size() * i, m.pte_size() as usize);
        let entry = m.kernel.mode.descriptor(1, frame << 12 | flags::P | 0x120 | flags::NX);
        m.write(prototype, &entry.to_le_bytes()[..pte]);
        files.sections.insert(frame, prototype);
    }
    at + PAGE
}

/// Plants the hive and links it; its bins lie at `mapped` in the process Registry, or in the pool. Gives the profiles' truth.
pub fn plant(m: &mut Machine, profiles: &[Profile], mapped: Option<u64>) -> Vec<Json> {
    let (bytes, root) = bins(m, profiles);
    let length = bytes.len() as u64;
    let bin = mapped.unwrap_or_else(|| {
        let bin = m.alloc(PoolKind::Paged, b"CM10", length.max(PAGE));
        m.write(bin, &bytes);
        bin
    });
    let table = map(m, bin, length / PAGE);
    hive(m, root, table, length);
    profiles.iter().map(|p| Json::object().with("sid", p.sid.as_str()).with("folder", p.folder.as_str())).collect()
}

/// The table that says where each block of the bin is.
fn map(m: &mut Machine, bin: u64, blocks: u64) -> u64 {
    let table = m.alloc(PoolKind::Paged, b"CM25", m.layouts.size("_HMAP_TABLE"));
    for i in 0..blocks {
        let mut e = m.obj("_HMAP_ENTRY");
        if e.has("BlockAddress") {
            e.set("BlockAddress", bin + i * PAGE).set("BinAddress", bin | 1);
        } else {
            // The lowest bit marks the bin as a heap's own memory.
            e.set("PermanentBinAddress", bin | 1).set("BlockOffset", i * PAGE);
        }
        m.write(table + i * e.bytes.len() as u64, &e.bytes);
    }
    table
}

fn hive(m: &mut Machine, root: u32, table: u64, length: u64) {
    let head = header(m, root);
    let base = m.put(PoolKind::Paged, b"CM19", &head);
    let size = m.layouts.size("_CMHIVE");
    let va = m.alloc(PoolKind::Paged, b"CM16", size);
    let (mounted, file) = ("\\REGISTRY\\MACHINE\\SOFTWARE", format!("\\Device\\HarddiskVolume3{FILE}"));
    let mut h = m.obj("_CMHIVE");
    h.set("Hive.Signature", 0xBEE0_BEE0).set("Hive.BaseBlock", base);
    let buffer = m.text(b"CM23", &file);
    h.set_text("FileUserName", &file, buffer);
    if h.has("HiveRootPath") {
        let buffer = m.text(b"CM23", mounted);
        h.set_text("HiveRootPath", mounted, buffer);
    }
    // One table: the map is the word beside it.
    let dual = m.layouts.offset("_CMHIVE", "Hive.Storage");
    let small = va + dual + m.layouts.offset("_DUAL", "SmallDir");
    m.write(va, &h.bytes);
    for (field, value) in [("Length", length), ("Map", small), ("SmallDir", table)] {
        m.poke(va + dual, "_DUAL", field, value);
    }
    let head = m.global("CmpHiveListHead");
    let links = va + m.layouts.offset("_CMHIVE", "HiveList");
    m.link(head, &[links]);
}
