//! Builds small PDBs for tests: the container, the streams dumpwalk reads, and type records given as bytes.
#![allow(dead_code, clippy::unwrap_used, clippy::indexing_slicing, reason = "each test uses a part of it")]

pub const GUID: &str = "0123456789ABCDEF0123456789ABCDEF";

/// What goes into a PDB.
pub struct SmallPdb {
    pub guid: &'static str,
    pub age: u32,
    /// Type records: kind and what follows it.
    pub types: Vec<(u16, Vec<u8>)>,
    /// Publics of section 1 (at RVA 0x1000): name and offset.
    pub publics: Vec<(&'static str, u32)>,
    /// Bytes of nothing at the end of the symbol stream, to make the file as large as wanted.
    pub fill: usize,
}

impl Default for SmallPdb {
    fn default() -> Self {
        Self { guid: GUID, age: 1, types: structure(), publics: vec![("PsActiveProcessHead", 0x234)], fill: 0 }
    }
}

/// `struct _A { ulong First; ulong Second; }` with a bit-field over the second.
fn structure() -> Vec<(u16, Vec<u8>)> {
    let mut fields = Vec::new();
    for (name, ty, offset) in [("First", 0x22u32, 0u16), ("Second", 0x22, 4), ("Bit", 0x1000, 4)] {
        fields.extend(member(name, ty, offset));
    }
    vec![(0x1205, [&0x22u32.to_le_bytes()[..], &[5, 3]].concat()), (0x1203, fields), (0x1505, head("_A", 0x1001, 8))]
}

/// An LF_MEMBER.
pub fn member(name: &str, ty: u32, offset: u16) -> Vec<u8> {
    let mut out =
        [&0x150du16.to_le_bytes()[..], &3u16.to_le_bytes(), &ty.to_le_bytes(), &offset.to_le_bytes()].concat();
    out.extend(name.bytes().chain([0]));
    while out.len() % 4 != 0 {
        out.push(0xf0 | (4 - out.len() % 4) as u8);
    }
    out
}

/// The body of an LF_STRUCTURE.
pub fn head(name: &str, fields: u32, size: u16) -> Vec<u8> {
    let mut out = vec![0; 4];
    out.extend([fields, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(size.to_le_bytes());
    out.extend(name.bytes().chain([0]));
    out
}

impl SmallPdb {
    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let streams = [vec![], self.info(), self.tpi(), self.dbi(), self.symbols(), self.sections()];
        let mut pages: Vec<Vec<u8>> = vec![vec![0; 4096]; 3];
        let put = |pages: &mut Vec<Vec<u8>>, bytes: &[u8]| -> Vec<u32> {
            let first = pages.len() as u32;
            pages.extend(bytes.chunks(4096).map(|c| [c, &vec![0; 4096 - c.len()]].concat()));
            (first..pages.len() as u32).collect()
        };
        let mut directory = vec![streams.len() as u32];
        directory.extend(streams.iter().map(|s| s.len() as u32));
        for s in &streams {
            directory.extend(put(&mut pages, s));
        }
        let directory: Vec<u8> = directory.iter().flat_map(|n| n.to_le_bytes()).collect();
        let list: Vec<u8> = put(&mut pages, &directory).iter().flat_map(|n| n.to_le_bytes()).collect();
        let list = put(&mut pages, &list);
        let mut header = b"Microsoft C/C++ MSF 7.00\r\n\x1aDS\0\0\0".to_vec();
        for n in [4096, 1, pages.len() as u32, directory.len() as u32, 0].into_iter().chain(list) {
            header.extend(n.to_le_bytes());
        }
        pages[0][..header.len()].copy_from_slice(&header);
        pages.concat()
    }
    fn info(&self) -> Vec<u8> {
        let n = |r: std::ops::Range<usize>| u32::from_str_radix(&self.guid[r], 16).unwrap();
        let mut out: Vec<u8> =
            [20_000_404u32, 0x1234, self.age, n(0..8)].iter().flat_map(|n| n.to_le_bytes()).collect();
        out.extend((n(8..12) as u16).to_le_bytes());
        out.extend((n(12..16) as u16).to_le_bytes());
        out.extend((16..32).step_by(2).map(|i| n(i..i + 2) as u8));
        out.extend([0; 64]);
        out
    }
    fn tpi(&self) -> Vec<u8> {
        let mut records = Vec::new();
        for (kind, body) in &self.types {
            records.extend((body.len() as u16 + 2).to_le_bytes());
            records.extend(kind.to_le_bytes());
            records.extend(body);
        }
        let end = 0x1000 + self.types.len() as u32;
        let mut out: Vec<u8> =
            [20_040_203, 56, 0x1000, end, records.len() as u32].iter().flat_map(|n: &u32| n.to_le_bytes()).collect();
        out.resize(56, 0);
        out.extend(records);
        out
    }
    fn dbi(&self) -> Vec<u8> {
        let mut out = vec![0; 64];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &u32::MAX.to_le_bytes());
        put(4, &19_990_903u32.to_le_bytes());
        put(8, &self.age.to_le_bytes());
        put(12, &[0xff; 2]);
        put(16, &[0xff; 2]);
        put(20, &4u16.to_le_bytes());
        put(48, &22u32.to_le_bytes());
        put(58, &0x8664u16.to_le_bytes());
        for i in 0..11 {
            out.extend(if i == 5 { 5u16 } else { 0xffff }.to_le_bytes());
        }
        out
    }
    fn symbols(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, offset) in &self.publics {
            let mut body = [&0x110eu16.to_le_bytes()[..], &[0; 4], &offset.to_le_bytes(), &1u16.to_le_bytes()].concat();
            body.extend(name.bytes().chain([0]));
            while body.len() % 4 != 2 {
                body.push(0);
            }
            out.extend((body.len() as u16).to_le_bytes());
            out.extend(body);
        }
        // S_SKIP records.
        let mut left = self.fill;
        while left > 0 {
            let n = left.min(0x8000);
            out.extend((n as u16 + 2).to_le_bytes());
            out.extend([7, 0]);
            out.resize(out.len() + n, 0x5a);
            left -= n;
        }
        out
    }
    fn sections(&self) -> Vec<u8> {
        let mut out = b".text\0\0\0".to_vec();
        out.extend([0x10000u32, 0x1000, 0x10000, 0x400].iter().flat_map(|n| n.to_le_bytes()));
        out.resize(40, 0);
        out
    }
}
