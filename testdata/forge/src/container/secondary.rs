//! Secondary data: what bug-check callbacks add behind a crash dump, each piece under a GUID.
//!
//! Source: the form of real dumps of builds 19041 and 22000; the tables inside after DMTF's DSP0134 (SMBIOS) and the
//! processor makers' CPUID.

use crate::scenario::Secondary;

/// The whole of it.
pub fn write(s: &Secondary, build: u32) -> Vec<u8> {
    let mut out = b"DumpBlob".to_vec();
    out.extend(0x10u32.to_le_bytes());
    out.extend((0xF000_0000 | build).to_le_bytes());
    let mut piece = |guid: &str, data: Vec<u8>| {
        let behind = (8 - data.len() % 8) % 8;
        out.extend(0x20u32.to_le_bytes());
        out.extend(bytes_of(guid));
        for n in [data.len(), 0, behind] {
            out.extend((n as u32).to_le_bytes());
        }
        out.extend(data);
        out.resize(out.len() + behind, 0);
    };
    // A driver's own piece, under a GUID that nobody knows; then those of Windows.
    piece("12345678-9abc-def0-1234-56789abcdef0", b"forge".repeat(9));
    piece("be84d651-a550-4367-8e63-ab792b631f94", program(&s.program));
    piece("65755a40-f146-43ea-8c91-36b85728fd35", Vec::new());
    piece("bc5c008f-1e3a-44d7-988d-86f6884c6758", smbios(s));
    piece("6c7ac389-4313-47dc-9f34-a8800a0fb56c", registry(s));
    piece("d03dc06f-d88e-44c5-ba2a-fae035172d19", cpuid());
    piece("00000000-0000-0000-0000-000000000000", Vec::new());
    out
}

/// A GUID as it lies in memory.
fn bytes_of(guid: &str) -> Vec<u8> {
    let digits: Vec<u8> = guid.bytes().filter(|b| *b != b'-').collect();
    let mut raw: Vec<u8> =
        digits.chunks(2).map(|c| u8::from_str_radix(std::str::from_utf8(c).unwrap(), 16).unwrap()).collect();
    raw[..4].reverse();
    raw[4..6].reverse();
    raw[6..8].reverse();
    raw
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn program(path: &str) -> Vec<u8> {
    let text = wide(path);
    [&1u32.to_le_bytes()[..], &(8 + text.len() as u32).to_le_bytes(), &text].concat()
}

fn structure(kind: u8, fields: &[u8], strings: &[&str]) -> Vec<u8> {
    let mut out = vec![kind, 4 + fields.len() as u8, kind, 0];
    out.extend(fields);
    for text in strings {
        out.extend(text.bytes().chain([0]));
    }
    out.resize(out.len() + if strings.is_empty() { 2 } else { 1 }, 0);
    out
}

fn smbios(s: &Secondary) -> Vec<u8> {
    let mut system = vec![1, 2, 0, 3];
    system.resize(0x17, 0);
    let tables = [
        structure(0, &[1, 2, 0, 0xF0, 3, 0, 0, 0], &[&s.manufacturer, &s.bios_version, &s.bios_date]),
        structure(4, &[0; 0x1F], &[]),
        structure(1, &system, &[&s.manufacturer, &s.product, "0042"]),
        structure(127, &[], &[]),
    ]
    .concat();
    [&[0, 3, 1, 0][..], &(tables.len() as u32).to_le_bytes(), &tables].concat()
}

fn registry(s: &Secondary) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, kind, value) in [
        ("~MHz", 4u16, 2500u32.to_le_bytes().to_vec()),
        ("Component Information", 3, vec![0; 16]),
        ("ProcessorNameString", 1, wide(&s.cpu)),
        ("VendorIdentifier", 1, wide("GenuineForge")),
    ] {
        let name = wide(name);
        out.extend((name.len() as u16).to_le_bytes());
        out.extend(&name);
        out.extend(kind.to_le_bytes());
        out.extend((value.len() as u16).to_le_bytes());
        out.extend(value);
    }
    out
}

/// Leaves 0 and 1: `GenuineIntel`, family 6, model 0x9E, stepping 10.
fn cpuid() -> Vec<u8> {
    let leaf = |n: u32, words: [u32; 4]| [&[0, n][..], &words, &words].concat();
    let vendor = *b"GenuineIntel";
    let word = |i: usize| u32::from_le_bytes(vendor[i..i + 4].try_into().unwrap());
    let all = [leaf(0, [0x16, word(0), word(8), word(4)]), leaf(1, [0x0009_06EA, 0, 0, 0])].concat();
    all.into_iter().flat_map(u32::to_le_bytes).collect()
}
