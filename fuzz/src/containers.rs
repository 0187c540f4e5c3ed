//! Containers: a dump is opened from bytes and asked everything; what it answers must be true of them.

use dumpwalk::addr::{Pfn, Va};
use dumpwalk::dump::{Block, Dump};
use dumpwalk::kernel::secondary;
use dumpwalk::value::Value;
use std::path::Path;

/// The kernel dump types of a container: the header is set so that the fuzzer need not find it.
#[derive(Clone, Copy)]
pub enum Container {
    Full,
    Bitmap,
    Summary,
    Ranges,
    Triage,
    Minidump,
    Raw,
    Lime,
    Elf,
    Vmware,
}

/// Opens bytes as a container, 32 or 64 bits wide by their first one, and asks the dump everything.
pub fn container(kind: Container, bytes: &[u8]) {
    let Some((choice, body)) = bytes.split_first() else { return };
    let mut file = body.to_vec();
    let types: &[u32] = match kind {
        Container::Full => &[1],
        Container::Bitmap => &[5, 6],
        Container::Summary => &[2],
        Container::Ranges => &[8, 9, 10],
        Container::Triage => &[4],
        Container::Minidump => return ask(&with(file, 0, b"MDMP\x93\xa7")),
        Container::Raw => return ask(&file),
        // What the format says first is given; pages follow, so that runs have something to lie in.
        Container::Lime => return ask(&paged(with(file, 0, b"EMiL\x01\0\0\0"))),
        Container::Elf => {
            let head = [&b"\x7fELF"[..], &[2 - (choice & 1), 1]].concat();
            return ask(&paged(with(with(file, 0, &head), 16, &[4, 0])));
        }
        Container::Vmware => return ask(&paged(with(file, 0, &[0xd2 + (choice & 1), 0xbe, 0xd2, 0xbe]))),
    };
    let wide = choice & 1 == 0;
    let dump_type = types[usize::from(choice >> 1) % types.len()].to_le_bytes();
    // Fuzzers like small inputs: the header is stretched to its size and the fuzzed bytes begin it and follow it.
    let header = if wide { 0x2000 } else { 0x1000 };
    let split = file.len().min(0x110);
    let mut whole = file.drain(..split).collect::<Vec<u8>>();
    whole.resize(header, 0);
    whole.extend(file);
    let whole = with(whole, 0, if wide { b"PAGEDU64" } else { b"PAGEDUMP" });
    let whole = with(whole, if wide { 0xf98 } else { 0xf88 }, &dump_type);
    let second: &[u8] = match kind {
        Container::Bitmap | Container::Summary => b"SDMPDUMP",
        Container::Ranges => b"\x40\0\0\0RDMPDUMP",
        _ => b"",
    };
    ask(&with(whole, header, second));
}
fn with(mut file: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    if let Some(place) = file.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
    file
}

/// The same with a few pages behind it that differ.
fn paged(mut file: Vec<u8>) -> Vec<u8> {
    (1..5u8).for_each(|n| file.extend([n; 4096]));
    file
}

/// The page that the file has there, unless a writer of dumps filled it.
fn page(dump: &Dump, file: &[u8], pfn: Pfn, at: Option<usize>) {
    let there = at.and_then(|at| file.get(at..at + 4096));
    match dump.page(pfn) {
        Some(page) => assert_eq!(Some(&page[..]), there),
        None => assert!(there.is_none_or(|page| page.chunks(4).all(|word| word == &page[..4]))),
    }
}

/// Asks a dump everything and holds the answers against the file.
fn ask(file: &[u8]) {
    let Ok(dump) = Dump::from_bytes(Path::new("fuzz.dmp"), file) else { return };
    let mut pages = 0;
    for run in dump.runs() {
        let last = Pfn(run.pfn.0 + run.count - 1);
        let at = (run.file + (run.count - 1) * 4096) as usize;
        page(&dump, file, last, Some(at));
        assert_eq!(dump.file_offset(run.pfn.base()), Some(run.file));
        pages += run.count;
    }
    assert_eq!(pages, dump.page_count());
    if let Some(last) = dump.highest_page() {
        assert!(dump.file_offset(last.base()).is_some() && dump.page(Pfn(last.0 + 1)).is_none());
    }
    for pfn in [0, 1, 7, 8, 63, 64, 511, 512, 1 << 20, 1 << 40, 1 << 51].map(Pfn) {
        let at = dump.file_offset(pfn.base()).map(|at| at as usize);
        page(&dump, file, pfn, at);
    }
    let (pieces, _) = dump.secondary();
    for piece in &pieces {
        let _ = (secondary::name(piece.tag), secondary::holds(piece));
    }
    let _ = (secondary::Told::of(&dump), dump.described_runs(), dump.roots());
    if let Some(t) = dump.triage() {
        blocks(t.blocks(), file, |va, len| t.bytes(va, len));
        for part in [t.process(), t.thread(), t.prcb(), t.stack(), t.kdbg()].into_iter().flatten() {
            assert_eq!(part.bytes, &file[part.file as usize..][..part.bytes.len()]);
        }
    }
    if let Some(u) = dump.minidump() {
        blocks(u.blocks(), file, |va, len| u.bytes(va, len));
        for t in u.threads().iter().take(16) {
            let _ = t.context.map(|c| u.registers(c));
        }
        let _ = u.exception().and_then(|e| e.context).map(|c| u.registers(c));
    }
}
fn blocks<'d>(list: &[Block], file: &[u8], read: impl Fn(Va, usize) -> Value<(&'d [u8], u64)>) {
    assert!(list.windows(2).all(|w| w[0].va.0 + w[0].len <= w[1].va.0));
    for b in list.iter().take(64) {
        let (bytes, at) = read(b.va, 32).expect("a block has bytes");
        assert_eq!(at, b.file);
        assert_eq!(bytes, &file[at as usize..][..bytes.len()]);
    }
}
