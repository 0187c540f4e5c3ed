use super::testing::*;
use super::*;
use std::collections::BTreeMap;

/// Every page the model has is in the dump with its own bytes and offset; none else is.
fn same(dump: &Dump, model: &BTreeMap<u64, u64>, probe: &[u64]) {
    assert_eq!(dump.page_count(), model.len() as u64);
    assert_eq!(dump.highest_page().map(|p| p.0), model.keys().next_back().copied());
    for (pfn, file) in model {
        let page = dump.page(Pfn(*pfn)).unwrap_or_else(|| panic!("page {pfn:#x} is missing"));
        assert_eq!(page[..], page_of(*pfn)[..], "page {pfn:#x}");
        assert_eq!(dump.file_offset(Pfn(*pfn).base().add(0x123)), Some(file + 0x123));
    }
    for pfn in probe {
        if !model.contains_key(pfn) {
            assert_eq!(dump.page(Pfn(*pfn)), None, "page {pfn:#x}");
            assert_eq!(dump.bytes(Pfn(*pfn).base(), 8), Err(Absent::NotInDump));
        }
    }
    let walked: BTreeMap<u64, u64> =
        dump.runs().flat_map(|r| (0..r.count).map(move |i| (r.pfn.0 + i, r.file + i * 4096))).collect();
    assert_eq!(&walked, model);
    assert!(dump.runs().is_sorted_by_key(|r| r.file));
}

/// Random memory: runs with holes, ascending.
fn memory(dice: &mut Dice) -> Vec<(u64, u64)> {
    let mut at = dice.below(3);
    (0..1 + dice.below(8))
        .map(|_| {
            let run = (at, 1 + dice.below(6));
            at += run.1 + 1 + dice.below(40);
            run
        })
        .collect()
}
pub fn full64(runs: &[(u64, u64)]) -> (Vec<u8>, BTreeMap<u64, u64>) {
    let mut file = header64(1);
    put32(&mut file, 0x88, runs.len() as u32);
    put64(&mut file, 0x90, runs.iter().map(|r| r.1).sum());
    let mut model = BTreeMap::new();
    for (i, (page, count)) in runs.iter().enumerate() {
        put64(&mut file, 0x98 + i * 16, *page);
        put64(&mut file, 0xa0 + i * 16, *count);
        for pfn in *page..page + count {
            model.insert(pfn, file.len() as u64);
            file.extend(page_of(pfn));
        }
    }
    (file, model)
}
pub fn full32(runs: &[(u64, u64)]) -> (Vec<u8>, BTreeMap<u64, u64>) {
    let mut file = header32(1);
    put32(&mut file, 0x64, runs.len() as u32);
    put32(&mut file, 0x68, runs.iter().map(|r| r.1 as u32).sum());
    let mut model = BTreeMap::new();
    for (i, (page, count)) in runs.iter().enumerate() {
        put32(&mut file, 0x6c + i * 8, *page as u32);
        put32(&mut file, 0x70 + i * 8, *count as u32);
        for pfn in *page..page + count {
            model.insert(pfn, file.len() as u64);
            file.extend(page_of(pfn));
        }
    }
    (file, model)
}
/// A bitmap dump whose bits end at the last page, wherever in a byte that is.
pub fn bitmap(mut file: Vec<u8>, runs: &[(u64, u64)], signature: &[u8; 8]) -> (Vec<u8>, BTreeMap<u64, u64>) {
    let head = file.len();
    let bits = runs.iter().map(|r| r.0 + r.1).max().unwrap();
    let first = (head + 0x38 + bits.div_ceil(8) as usize).next_multiple_of(4096);
    put(&mut file, head, signature);
    put64(&mut file, head + 0x20, first as u64);
    put64(&mut file, head + 0x28, runs.iter().map(|r| r.1).sum());
    put64(&mut file, head + 0x30, bits);
    file.resize(first, 0);
    let mut model = BTreeMap::new();
    for pfn in runs.iter().flat_map(|r| r.0..r.0 + r.1) {
        file[head + 0x38 + (pfn / 8) as usize] |= 1 << (pfn % 8);
        model.insert(pfn, file.len() as u64);
        file.extend(page_of(pfn));
    }
    (file, model)
}
/// A range dump: the ranges from 0x2030 on, a page for them, then the pages.
pub fn ranges(dump_type: u32, runs: &[(u64, u64)]) -> (Vec<u8>, BTreeMap<u64, u64>) {
    let mut file = header64(dump_type);
    put32(&mut file, 0x2000, 0x40);
    put(&mut file, 0x2004, b"RDMPDUMP");
    put64(&mut file, 0x2010, 0x1000 - 0x20);
    put64(&mut file, 0x2018, 0x3000);
    if dump_type == 0xa {
        put32(&mut file, 0x2020, runs.len() as u32);
        put64(&mut file, 0x2028, runs.iter().map(|r| r.1).sum());
    }
    let list: Vec<u8> = runs.iter().flat_map(|r| [r.0.to_le_bytes(), r.1.to_le_bytes()]).flatten().collect();
    put(&mut file, 0x2030, &list);
    if dump_type == 0xa {
        put(&mut file, 0x2030 + list.len(), &[0xa5; 64]);
    }
    file.resize(0x3000, 0);
    let mut model = BTreeMap::new();
    for pfn in runs.iter().flat_map(|r| r.0..r.0 + r.1) {
        model.insert(pfn, file.len() as u64);
        file.extend(page_of(pfn));
    }
    (file, model)
}
/// A summary dump as Windows 2000 to 7 wrote them.
pub fn summary(mut file: Vec<u8>, header: usize, runs: &[(u64, u64)]) -> (Vec<u8>, BTreeMap<u64, u64>) {
    let head = file.len();
    let bits = runs.iter().map(|r| r.0 + r.1).max().unwrap();
    let first = (head + header + bits.div_ceil(8) as usize).next_multiple_of(4096);
    put(&mut file, head, b"SDMPDUMP");
    put32(&mut file, head + 0xc, first as u32);
    put32(&mut file, head + 0x10, bits as u32);
    put32(&mut file, head + 0x14, runs.iter().map(|r| r.1 as u32).sum());
    put32(&mut file, head + 0x18, bits as u32);
    file.resize(first, 0);
    let mut model = BTreeMap::new();
    for pfn in runs.iter().flat_map(|r| r.0..r.0 + r.1) {
        file[head + header + (pfn / 8) as usize] |= 1 << (pfn % 8);
        model.insert(pfn, file.len() as u64);
        file.extend(page_of(pfn));
    }
    (file, model)
}
fn probe(runs: &[(u64, u64)]) -> Vec<u64> {
    let end = runs.iter().map(|r| r.0 + r.1).max().unwrap_or(0);
    (0..end + 70).chain([1 << 20, 1 << 40, 1 << 52, u64::MAX]).collect()
}

#[test]
fn every_container_is_the_flat_model() {
    let mut dice = Dice::new(7);
    for _ in 0..60 {
        let runs = memory(&mut dice);
        for (kind, (file, model)) in [
            (Kind::Full, full64(&runs)),
            (Kind::Full, full32(&runs)),
            (Kind::BitmapFull, bitmap(header64(5), &runs, b"FDMPDUMP")),
            (Kind::BitmapKernel, bitmap(header64(6), &runs, b"SDMPDUMP")),
            (Kind::BitmapKernel, bitmap(header32(6), &runs, b"SDMPDUMP")),
            (Kind::BitmapFull, bitmap(header32(5), &runs, b"FDMPDUMP")),
            (Kind::Summary, summary(header32(2), 0x20, &runs)),
            (Kind::Summary, summary(header64(2), 0x28, &runs)),
            (Kind::RangeKernel, ranges(8, &runs)),
            (Kind::RangeKernelUser, ranges(9, &runs)),
            (Kind::RangeComplete, ranges(0xa, &runs)),
        ] {
            let dump = open(&file).unwrap();
            assert_eq!((dump.kind, dump.notes.as_slice()), (kind, [].as_slice()));
            same(&dump, &model, &probe(&runs));
        }
    }
}
#[test]
fn a_truncated_dump_answers_what_is_there() {
    let mut dice = Dice::new(11);
    for _ in 0..40 {
        let runs = memory(&mut dice);
        let kernel = bitmap(header64(6), &runs, b"SDMPDUMP");
        for (file, model) in
            [full64(&runs), kernel, ranges(8, &runs), ranges(0xa, &runs), summary(header32(2), 0x20, &runs)]
        {
            let first = *model.values().min().unwrap();
            let cut = first + dice.below(file.len() as u64 - first);
            let dump = open(&file[..cut as usize]).unwrap();
            let left = model.into_iter().filter(|(_, at)| at + 4096 <= cut).collect();
            same(&dump, &left, &probe(&runs));
            assert!(dump.notes.iter().any(|n| n.loss && n.text.contains("truncated")), "{:?}", dump.notes);
        }
    }
}
#[test]
fn reads_stop_at_the_page() {
    let (file, _) = full64(&[(1, 2)]);
    let dump = open(&file).unwrap();
    assert_eq!(dump.bytes(Pa(0x1ff8), 100).unwrap().len(), 8);
    assert_eq!(dump.bytes(Pa(0x1ff8), 3).unwrap().len(), 3);
    assert_eq!(dump.bytes(Pa(0x3000), 1), Err(Absent::NotInDump));
    assert_eq!(dump.file_offset(Pa(u64::MAX)), None);
}
#[test]
fn lying_headers_are_errors_or_notes() {
    for (count, want) in [(0u32, "is 0;"), (43, "is 43;"), (raw::FILL32, "never written"), (u32::MAX, "1 to 42")] {
        let (mut file, _) = full64(&[(1, 2)]);
        put32(&mut file, 0x88, count);
        let why = open(&file).unwrap_err();
        assert!(why.starts_with("made.dmp: ") && why.contains(want) && why.contains("0x88"), "{why}");
    }
    let (mut file, model) = full64(&[(1, 2)]);
    put64(&mut file, 0x90, 99);
    let dump = open(&file).unwrap();
    same(&dump, &model, &[0, 3]);
    assert!(dump.notes[0].text.contains("2 pages, the header promises 99"));

    let (mut file, _) = bitmap(header64(6), &[(1, 2)], b"SDMPDUMP");
    put(&mut file, 0x2000, b"XXMP");
    assert!(open(&file).unwrap_err().contains("\"XXMPDUMP\" at 0x2000"));

    let (mut file, _) = ranges(8, &[(1, 2)]);
    put64(&mut file, 0x2018, 0x4000);
    assert!(open(&file).unwrap_err().contains("contradicts itself"));
    let (mut file, model) = ranges(0xa, &[(1, 2), (9, 1)]);
    put64(&mut file, 0x2028, 2);
    let dump = open(&file).unwrap();
    same(&dump, &model.iter().map(|(p, f)| (*p, *f)).take(2).collect(), &[9]);
    assert!(dump.notes[0].text.contains("1 ranges, the header promises 2"), "{:?}", dump.notes);
    put64(&mut file, 0x2028, 4);
    file[0x2050..0x3000].fill(0);
    let dump = open(&file).unwrap();
    same(&dump, &model, &[]);
    assert!(dump.notes.iter().any(|n| n.loss && n.text.contains("range 2 at 0x2050 is empty")), "{:?}", dump.notes);
    for (dump_type, want) in [(0, "never written"), (3, "without memory"), (0x77, "unknown")] {
        assert!(open(&header64(dump_type)).unwrap_err().contains(want));
    }
}
#[test]
fn a_raw_image_is_itself() {
    let mut file: Vec<u8> = (0..300).flat_map(page_of).collect();
    file.extend([1, 2, 3]);
    let dump = open(&file).unwrap();
    assert_eq!((dump.kind, dump.arch, dump.page_count()), (Kind::Raw, None, 300));
    assert_eq!(dump.page(Pfn(299)).unwrap()[..], page_of(299)[..]);
    assert_eq!(dump.page(Pfn(300)), None);
    assert_eq!(dump.file_offset(Pa(0x12345)), Some(0x12345));
    assert!(dump.notes[0].text.contains("last 3 bytes"));
}
#[test]
fn files_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Dump::open(&path).unwrap_err().to_string()
    };
    assert!(at("empty", b"").contains("empty"));
    assert!(at("text", b"a note").contains("text file"));
    assert!(Dump::open(dir.path()).unwrap_err().to_string().contains("a directory"));
    let gone = dir.path().join("gone");
    let why = Dump::open(&gone).unwrap_err().to_string();
    assert!(why.contains("gone") && why.contains("No such file") || cfg!(windows), "{why}");
}
#[test]
fn opening_a_large_sparse_dump_is_instant_and_right() {
    // 64 GiB of memory as a sparse file: what is opened is the header and two megabytes of bitmap.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("large.dmp");
    let bits = 16u64 << 20;
    let (mut head, first) = (header64(5), 0x20_3000u64);
    put(&mut head, 0x2000, b"FDMPDUMP");
    put64(&mut head, 0x2020, first);
    put64(&mut head, 0x2028, bits);
    put64(&mut head, 0x2030, bits);
    head.resize(0x2038 + (bits / 8) as usize, 0xff);
    std::fs::write(&path, &head).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    if file.set_len(first + bits * 4096).is_err() {
        println!("skipped: no sparse files here");
        return;
    }
    let dump = Dump::open(&path).unwrap();
    assert_eq!((dump.page_count(), dump.highest_page()), (bits, Some(Pfn(bits - 1))));
    assert_eq!(dump.file_offset(Pa(0x8_1234_5678)), Some(first + 0x8_1234_5678));
    assert_eq!(dump.runs().count(), 1);
}
#[test]
fn sample_dumps_hold_the_pages_their_truth_lists() {
    let Some(root) = std::env::var_os("DUMPWALK_SAMPLES").map(PathBuf::from) else {
        println!("skipped: set DUMPWALK_SAMPLES to the unpacked samples");
        return;
    };
    for (name, kind, pages) in [
        ("win10-19041/full.dmp", Kind::Full, 13214),
        ("win10-19041/bitmap.dmp", Kind::BitmapFull, 13214),
        ("win11-22000-containers/kernel6.dmp", Kind::BitmapKernel, 0x1457),
        ("win11-22000-containers/rdmp8.dmp", Kind::RangeKernel, 0x1457),
        ("win11-22000-containers/rdmpA.dmp", Kind::RangeComplete, 13214),
        ("win10-10240-x86pae/full.dmp", Kind::Full, 13214),
    ] {
        let Ok(dump) = Dump::open(&root.join(name)) else { continue };
        assert_eq!((dump.kind, dump.page_count(), dump.notes.len()), (kind, pages, 0), "{name} {:?}", dump.notes);
    }
    // The same memory in two containers, and the kernel's part of it in two others.
    for (a, b, all) in [
        ("win10-19041/full.dmp", "win10-19041/bitmap.dmp", true),
        ("win11-22000-containers/kernel6.dmp", "win11-22000-containers/rdmp8.dmp", true),
        ("win11-22000-containers/kernel6.dmp", "win11-22000-containers/rdmpA.dmp", false),
    ] {
        let (Ok(a), Ok(b)) = (Dump::open(&root.join(a)), Dump::open(&root.join(b))) else { continue };
        for pfn in 0..=b.highest_page().unwrap().0 + 9 {
            let (x, y) = (a.page(Pfn(pfn)), b.page(Pfn(pfn)));
            assert!(x == y || (!all && x.is_none()), "page {pfn:#x}");
        }
    }
}
#[test]
fn real_heads_open_with_a_note() {
    for (name, arch, build, runs, pages, dtb) in [
        ("real/full-dump-heads/x64-19045-dumpit-head.bin", Arch::X64, 19045, 1, 2, 0x1a_d000),
        ("real/full-dump-heads/arm64-19042-dumpit-head.bin", Arch::Arm64, 19042, 1, 254, 0x2_200c_0000),
    ] {
        let Some(path) = shared(name) else { continue };
        let dump = Dump::open(&path).unwrap();
        let header = dump.header.as_ref().unwrap();
        assert_eq!((dump.kind, dump.arch, header.build), (Kind::Full, Some(arch), build));
        assert_eq!((dump.runs().count(), dump.page_count()), (runs, pages));
        assert_eq!(header.dtb, Some(Pa(dtb)));
        assert_eq!(header.bugcheck, u32::from_le_bytes(*b"MATT"));
        assert!(header.system_time.is_some() && header.uptime.is_some() && header.context.is_some());
        assert!(dump.notes.iter().any(|n| n.loss && n.text.contains("truncated")), "{:?}", dump.notes);
    }
}
