//! Lays an image out: which bytes lie at which RVA.

use super::{Rsds, Spec};
use crate::image::code::{Function, functions, functions_arm64, functions_x86};

/// An image's bytes: pieces by RVA. What is not in a piece is zero, or not in memory at all.
pub struct Image {
    /// RVA and bytes.
    pub pieces: Vec<(u64, Vec<u8>)>,
}

/// File alignment and offset of headers in the pieces: everything is at its RVA.
const PE_AT: usize = 0xF8;

/// Builds headers and directories.
pub fn build(spec: &Spec) -> Image {
    let mut pieces = Vec::new();
    let mut directories = [(0u32, 0u32); 16];
    if let Some(rdata) = spec.sections.iter().find(|s| s.name == ".rdata").map(|s| s.rva) {
        if let Some(rsds) = &spec.rsds {
            let at = spec.debug_at.unwrap_or(rdata);
            directories[6] = (at as u32, 28);
            pieces.push((at, debug(rsds, at, spec.timestamp)));
        }
        if !spec.exports.is_empty() {
            let at = rdata + 0x100;
            let bytes = exports(spec, at);
            assert!(bytes.len() <= 0xF00, "exports of {} do not fit the page", spec.name);
            directories[0] = (at as u32, bytes.len() as u32);
            pieces.push((at, bytes));
        }
    }
    if let (Some(at), false) = (spec.functions_at, spec.wide) {
        pieces.extend(functions_x86(at).into_iter().map(|f| (f.start, f.code)));
    } else if let (Some(s), Some(at), 0xAA64) =
        (spec.sections.iter().find(|s| s.name == ".pdata"), spec.functions_at, spec.machine)
    {
        let list = functions_arm64(at);
        directories[3] = (s.rva as u32, 8 * list.len() as u32);
        let entry = |f: &Function| [(f.start as u32).to_le_bytes(), f.packed().to_le_bytes()].concat();
        pieces.push((s.rva, list.iter().flat_map(entry).collect()));
        pieces.extend(list.into_iter().map(|f| (f.start, f.code)));
    } else if let (Some(s), Some(at)) = (spec.sections.iter().find(|s| s.name == ".pdata"), spec.functions_at) {
        let list = functions(at);
        directories[3] = (s.rva as u32, 12 * list.len() as u32);
        let mut info_at = s.rva + 12 * list.len() as u64 + 4;
        info_at = info_at.next_multiple_of(4);
        let (mut table, mut infos) = (Vec::new(), Vec::new());
        for f in &list {
            for v in [f.start, f.end, info_at + infos.len() as u64] {
                table.extend((v as u32).to_le_bytes());
            }
            infos.extend(f.unwind_info());
            pieces.push((f.start, f.code.clone()));
        }
        pieces.push((s.rva, table));
        pieces.push((info_at, infos));
    }
    pieces.push((0, headers(spec, &directories)));
    pieces.sort_by_key(|p| p.0);
    Image { pieces }
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

fn headers(spec: &Spec, directories: &[(u32, u32)]) -> Vec<u8> {
    let mut h = vec![0u8; 0x400];
    put(&mut h, 0, b"MZ\x90\0\x03\0\0\0\x04\0\0\0\xFF\xFF\0\0\xB8");
    put(&mut h, 0x3C, &(PE_AT as u32).to_le_bytes());
    put(
        &mut h,
        0x40,
        b"\x0E\x1F\xBA\x0E\0\xB4\x09\xCD\x21\xB8\x01\x4C\xCD\x21This program cannot be run in DOS mode.\r\r\n$",
    );
    put(&mut h, PE_AT, b"PE\0\0");
    let optional_size: u16 = if spec.wide { 240 } else { 224 };
    let file = PE_AT + 4;
    put(&mut h, file, &spec.machine.to_le_bytes());
    put(&mut h, file + 2, &(spec.sections.len() as u16).to_le_bytes());
    put(&mut h, file + 4, &spec.timestamp.to_le_bytes());
    put(&mut h, file + 16, &optional_size.to_le_bytes());
    let characteristics: u16 = if spec.dll { 0x2022 } else { 0x0022 } | if spec.wide { 0 } else { 0x100 };
    put(&mut h, file + 18, &characteristics.to_le_bytes());
    let o = file + 20;
    put(&mut h, o, &(if spec.wide { 0x20Bu16 } else { 0x10B }).to_le_bytes());
    put(&mut h, o + 2, &[14, 20]); // linker version
    let code: u64 = spec.sections.iter().filter(|s| s.code).map(|s| s.size).sum();
    put(&mut h, o + 4, &(code as u32).to_le_bytes());
    put(&mut h, o + 16, &(spec.entry as u32).to_le_bytes());
    put(&mut h, o + 20, &0x1000u32.to_le_bytes());
    if spec.wide {
        put(&mut h, o + 24, &spec.base.to_le_bytes());
    } else {
        put(&mut h, o + 28, &(spec.base as u32).to_le_bytes());
    }
    put(&mut h, o + 32, &0x1000u32.to_le_bytes()); // section alignment
    put(&mut h, o + 36, &0x200u32.to_le_bytes()); // file alignment
    put(&mut h, o + 40, &[10, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0]); // OS, image, subsystem version
    put(&mut h, o + 56, &(spec.size as u32).to_le_bytes());
    put(&mut h, o + 60, &0x400u32.to_le_bytes());
    put(&mut h, o + 64, &(spec.timestamp ^ 0x0010_5A5A).to_le_bytes()); // checksum: any number
    put(&mut h, o + 68, &spec.subsystem.to_le_bytes());
    put(&mut h, o + 70, &0x4160u16.to_le_bytes()); // high entropy, dynamic base, NX, CFG
    let (count_at, first) = if spec.wide { (o + 108, o + 112) } else { (o + 92, o + 96) };
    put(&mut h, count_at, &16u32.to_le_bytes());
    for (i, (rva, size)) in directories.iter().enumerate() {
        put(&mut h, first + 8 * i, &rva.to_le_bytes());
        put(&mut h, first + 8 * i + 4, &size.to_le_bytes());
    }
    let table = o + usize::from(optional_size);
    let mut raw = 0x400u32;
    for (i, s) in spec.sections.iter().enumerate() {
        let at = table + 40 * i;
        let raw_size = (s.size as u32).next_multiple_of(0x200);
        put(&mut h, at, s.name.as_bytes());
        put(&mut h, at + 8, &(s.size as u32).to_le_bytes());
        put(&mut h, at + 12, &(s.rva as u32).to_le_bytes());
        put(&mut h, at + 16, &raw_size.to_le_bytes());
        put(&mut h, at + 20, &raw.to_le_bytes());
        put(&mut h, at + 36, &s.characteristics().to_le_bytes());
        raw += raw_size;
    }
    h
}

/// Debug directory with one CodeView entry, the RSDS record behind it.
fn debug(rsds: &Rsds, rva: u64, timestamp: u32) -> Vec<u8> {
    let record = rsds.record();
    let mut out = vec![0; 4];
    out.extend(timestamp.to_le_bytes());
    out.extend([0; 4]);
    out.extend(2u32.to_le_bytes()); // IMAGE_DEBUG_TYPE_CODEVIEW
    out.extend((record.len() as u32).to_le_bytes());
    let at = rva as u32 + 0x20;
    out.extend(at.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.resize(0x20, 0);
    out.extend(record);
    out
}

/// Export directory: names sorted as the loader's binary search wants them.
fn exports(spec: &Spec, rva: u64) -> Vec<u8> {
    let mut list = spec.exports.clone();
    list.sort();
    let n = list.len();
    let (functions, names, ordinals) = (40, 40 + 4 * n, 40 + 8 * n);
    let mut text_at = 40 + 10 * n;
    let mut out = vec![0u8; text_at];
    let mut text = Vec::new();
    put(&mut out, 4, &spec.timestamp.to_le_bytes());
    put(&mut out, 12, &(rva as u32 + text_at as u32).to_le_bytes());
    put(&mut out, 16, &1u32.to_le_bytes());
    put(&mut out, 20, &(n as u32).to_le_bytes());
    put(&mut out, 24, &(n as u32).to_le_bytes());
    for (at, what) in [(28, functions), (32, names), (36, ordinals)] {
        put(&mut out, at, &(rva as u32 + what as u32).to_le_bytes());
    }
    text.extend(spec.name.bytes());
    text.push(0);
    text_at += spec.name.len() + 1;
    for (i, (name, target)) in list.iter().enumerate() {
        put(&mut out, functions + 4 * i, &(*target as u32).to_le_bytes());
        put(&mut out, names + 4 * i, &(rva as u32 + text_at as u32).to_le_bytes());
        put(&mut out, ordinals + 2 * i, &(i as u16).to_le_bytes());
        text.extend(name.bytes());
        text.push(0);
        text_at += name.len() + 1;
    }
    out.extend(text);
    out
}
