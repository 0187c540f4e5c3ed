//! Pages that are not in memory: machines forged with page files and a compressed store (encoder, trees and records are the forge's own), read with and
//! without the page files; and the store under attack.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::Exactly;
use dumpwalk::addr::Va;
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::kernel::address_space::AddressSpace;
use dumpwalk::kernel::find;
use dumpwalk::kernel::paged::Given;
use dumpwalk::report::{Cell, Collected};
use dumpwalk::symbols::{Symbols, table};
use dumpwalk::value::{Absent, Value};
use forge::layout::Layouts;
use forge::scenario::Scenario;
use forge::truth::Json;
use sha2::Digest as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// What the reduced layout lacks of 10.0.19045.2965: where the kernel lists its page files.
const TYPES: &str = "\
struct _MI_PARTITION 0x2d00
 0x1b00 0x1200 _MI_VISIBLE_PARTITION Vp
struct _MI_VISIBLE_PARTITION 0x1200
 0x18 0x4 ulong NumberOfPagingFiles
 0x20 0x80 *_MMPAGING_FILE[16] PagingFile
";

/// A machine whose pages were written away, in a folder.
struct Machine {
    folder: tempfile::TempDir,
    symbols: Symbols,
    truth: Json,
}

impl Machine {
    fn forge(change: impl FnOnce(&mut Scenario)) -> Self {
        let layout = "x64-10.0.19045.2965";
        let path = common::root().join(format!("testdata/forge/layouts/{layout}.txt"));
        let text = std::fs::read_to_string(path).unwrap() + TYPES;
        let mut scenario = Scenario::load("paged");
        change(&mut scenario);
        let (files, truth) = forge::build_on(&scenario, Layouts::parse(&text));
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        Self { folder, symbols: table::parse(&text, layout).unwrap(), truth }
    }
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }
    fn open(&self, given: &[(Option<u8>, &Path)]) -> Result<Case, String> {
        let dump = Arc::new(Dump::open(&self.path("full.dmp")).unwrap());
        let mut kernel = find::find(&dump, &Exactly(self.symbols.clone())).unwrap();
        let given: Vec<Given> =
            given.iter().map(|(number, path)| Given { number: *number, path: path.into() }).collect();
        kernel.open_page_files(&given).map_err(|e| e.to_string())?;
        Ok(Case { dump, kernel: Ok(kernel), notes: Vec::new() })
    }
    /// With the folder's page files, or without.
    fn case(&self, files: bool) -> Case {
        let folder = self.folder.path();
        let given = [(None, folder)];
        self.open(if files { &given } else { &[] }).unwrap()
    }
}

fn list(truth: &Json, key: &str) -> Vec<Json> {
    match truth.get(key) {
        Some(Json::List(all)) => all.clone(),
        other => panic!("{key}: {other:?}"),
    }
}
fn number(truth: &Json, key: &str) -> u64 {
    match truth.get(key) {
        Some(Json::Number(n)) => *n,
        other => panic!("{key}: {other:?}"),
    }
}
fn text<'t>(truth: &'t Json, key: &str) -> &'t str {
    match truth.get(key) {
        Some(Json::Text(text)) => text,
        other => panic!("{key}: {other:?}"),
    }
}

/// The first eight bytes of every page that was written away, by process and address.
fn read(case: &Case, truth: &Json) -> Vec<(String, Value<u64>, u64)> {
    let kernel = case.kernel().unwrap();
    let space = kernel.space();
    let spaces: BTreeMap<u64, AddressSpace<'_>> = kernel
        .processes()
        .unwrap()
        .list
        .iter()
        .chain(
            &kernel
                .numbered(&space)
                .unwrap()
                .processes
                .iter()
                .map(|(_, at)| kernel.process_at(&space, *at).unwrap())
                .collect::<Vec<_>>(),
        )
        .filter_map(|p| Some((p.pid().ok()?, AddressSpace::of(p, &space).ok()?)))
        .collect();
    let pages = list(truth, "away");
    assert!(pages.len() > 20, "{} pages", pages.len());
    let one = |page: &Json| {
        let value = spaces[&number(page, "pid")].space.number(Va(number(page, "va")), 8);
        (text(page, "where").to_owned(), value, number(page, "first8"))
    };
    pages.iter().map(one).collect()
}

/// How many pages are what they were, and how many are absent: nothing else is right.
fn right_or_absent(case: &Case, truth: &Json) -> (u32, u32) {
    let (mut right, mut absent) = (0, 0);
    for (place, value, truth) in read(case, truth) {
        match value {
            Ok(value) => {
                assert_eq!(value, truth, "{place}");
                right += 1;
            }
            Err(why) => {
                assert!(matches!(why, Absent::PagedOut | Absent::Compressed), "{why:?}");
                absent += 1;
            }
        }
    }
    (right, absent)
}

fn collected(case: &Case, name: &str) -> Collected {
    let analysis = ALL.iter().find(|a| a.name == name).unwrap();
    let mut out = Collected::default();
    analysis.run(case, &Ask::default(), &mut out).unwrap();
    out
}

/// Command lines by process.
fn command_lines(case: &Case) -> BTreeSet<(u64, String)> {
    let analysis = ALL.iter().find(|a| a.name == "cmdline").unwrap();
    let at = |key: &str| analysis.columns.iter().position(|c| c.key == key).unwrap();
    let (pid, line) = (at("pid"), at("command_line"));
    let known =
        collected(case, "cmdline").rows.into_iter().filter_map(|row| match (&row.cells[pid], &row.cells[line]) {
            (Cell::Dec(pid), Cell::Text(line)) => Some((*pid, line.to_string())),
            _ => None,
        });
    known.collect()
}

#[test]
fn every_page_is_read_where_it_went() {
    for tables in [false, true] {
        let machine = Machine::forge(|s| s.evict_tables = tables);
        let case = machine.case(true);
        let pages = read(&case, &machine.truth);
        for (place, value, truth) in &pages {
            assert_eq!(*value, Ok(*truth), "{place}, tables away: {tables}");
        }
        let kinds: BTreeSet<&str> = pages.iter().map(|(place, ..)| place.as_str()).collect();
        assert_eq!(kinds, BTreeSet::from(["compressed", "pagefile", "swapfile"]));
        assert_eq!(case.met(), []);
        let stores = case.kernel().unwrap().stores().unwrap();
        assert_eq!((stores.count(), stores.of_other_build, &stores.refused), (1, false, &None));
        // What hangs on those pages is what it would be had they stayed.
        let stayed = Machine::forge(|s| (s.evict, s.evict_tables) = (vec!["stays".into()], false));
        assert_eq!(command_lines(&case), command_lines(&stayed.case(false)));
        for name in ["envars", "dlllist", "threads", "vadinfo"] {
            assert_eq!(collected(&case, name).rows.len(), collected(&stayed.case(false), name).rows.len(), "{name}");
        }
    }
}

#[test]
fn without_its_file_a_page_is_absent_and_never_another() {
    let machine = Machine::forge(|s| s.evict_tables = false);
    let case = machine.case(false);
    let mut compressed = (0, 0);
    for (place, value, truth) in read(&case, &machine.truth) {
        match (place.as_str(), value) {
            // Its bytes may lie in a page of the store that is in the page file.
            ("compressed", Err(Absent::Compressed)) => compressed.1 += 1,
            ("compressed", value) => {
                assert_eq!(value, Ok(truth));
                compressed.0 += 1;
            }
            (_, value) => assert_eq!(value, Err(Absent::PagedOut)),
        }
    }
    assert!(compressed.0 > 10 && compressed.1 > 0, "{compressed:?}");
    let notes = case.met();
    assert!(notes.iter().any(|n| n.loss && n.text.contains("page file that was not given")), "{notes:?}");
    // The files beside the dump are named, not used.
    let said: Vec<&str> = case.kernel().unwrap().notes.iter().map(|n| n.text.as_str()).collect();
    assert!(said.iter().any(|n| n.contains("pagefile.sys, swapfile.sys beside the dump")), "{said:?}");
}

#[test]
fn a_place_names_the_file_it_is_in() {
    let machine = Machine::forge(|s| s.evict_tables = false);
    let case = machine.case(true);
    let kernel = case.kernel().unwrap();
    let space = kernel.space();
    let mut seen = BTreeSet::new();
    for page in list(&machine.truth, "away") {
        let pid = number(&page, "pid");
        let Some(process) = kernel.processes().unwrap().list.into_iter().find(|p| p.pid() == Ok(pid)) else { continue };
        let memory = AddressSpace::of(&process, &space).unwrap();
        let bytes = memory.space.fetch(Va(number(&page, "va") + 0x10), 8);
        let place = bytes.place(0);
        let at = place.file.unwrap();
        assert_eq!((place.pa, at.dump_offset()), (None, None));
        let wanted = match text(&page, "where") {
            "pagefile" => Some(0),
            "swapfile" => Some(1),
            _ => None,
        };
        if let Some(number) = wanted {
            assert_eq!((at.stored().file(), at.inside()), (Some(number), None));
            let file = std::fs::read(machine.path(["pagefile.sys", "swapfile.sys"][usize::from(number)])).unwrap();
            let from = usize::try_from(at.stored().offset()).unwrap();
            assert_eq!(&file[from..from + 8], bytes.all().unwrap());
        } else {
            assert_eq!(at.inside(), Some(0x10));
        }
        seen.insert(text(&page, "where").to_owned());
    }
    assert_eq!(seen.len(), 3);
}

#[test]
fn a_page_file_is_told_by_its_name_and_held_against_the_dump() {
    let machine = Machine::forge(|s| s.evict_tables = true);
    let refused = |given: &[(Option<u8>, &Path)]| machine.open(given).unwrap_err();
    let (pagefile, swapfile) = (machine.path("pagefile.sys"), machine.path("swapfile.sys"));
    assert!(machine.open(&[(None, &pagefile), (None, &swapfile)]).is_ok());
    assert!(refused(&[(None, &machine.path("full.dmp"))]).contains("none of this machine's page files is named so"));
    assert!(refused(&[(Some(0), &machine.path("full.dmp"))]).contains("holds a crash dump"));
    assert!(refused(&[(Some(2), &pagefile)]).contains("compressed store"));
    assert!(refused(&[(Some(7), &pagefile)]).contains("no page file 7"));
    assert!(refused(&[(Some(0), &pagefile), (Some(0), &swapfile)]).contains("given already"));
    // A file of another machine.
    let other = Machine::forge(|s| {
        s.name = "another".into();
        s.evict = vec!["pagefile".into(), "compressed".into()];
    });
    let case = machine.open(&[(Some(0), &other.path("pagefile.sys"))]).unwrap();
    let kernel = case.kernel().unwrap();
    assert!(kernel.paged.files.is_empty(), "{:?}", kernel.notes);
    assert!(kernel.notes.iter().any(|n| n.loss && n.text.contains("page file 0 is not read")));
    // A file that ends early: what lay beyond is not known.
    let bytes = std::fs::read(&pagefile).unwrap();
    std::fs::write(&pagefile, &bytes[..bytes.len() / 2]).unwrap();
    let case = machine.open(&[(Some(0), &pagefile), (None, &swapfile)]).unwrap();
    let (right, absent) = right_or_absent(&case, &machine.truth);
    assert!(right > 5 && absent > 0, "{right} {absent}");
}

/// Bytes of the store's structures changed at random: each page is what it was, or absent. The bytes of compressed pages themselves are left
/// alone: changed ones can be another page's.
#[test]
fn a_damaged_store_gives_no_page_that_is_another() {
    let machine = Machine::forge(|s| s.evict_tables = false);
    let whole = std::fs::read(machine.path("full.dmp")).unwrap();
    let structures: Vec<usize> = (0..whole.len() / 4096)
        .filter(|page| {
            let bytes = &whole[page * 4096..][..4096];
            // Nodes of trees (count, level, leaf) and the globals' neighbours.
            bytes[1] == 0 && matches!((bytes[2], bytes[3]), (1, 1) | (2, 0)) && bytes[0] > 0 && bytes[0] <= 20
        })
        .collect();
    assert!(structures.len() > 3, "{} nodes", structures.len());
    let mut random = common::Random(7);
    let mut random = |below: usize| random.below(below);
    let path = machine.path("full.dmp");
    let (mut same, mut gone) = (0, 0);
    for _ in 0..12 {
        let mut bytes = whole.clone();
        for _ in 0..24 {
            // Heads, not keys: another key is another page by right.
            let page = structures[random(structures.len())];
            let at = page * 4096 + random(4);
            bytes[at] = [0, 1, 2, 0xff][random(4)];
        }
        std::fs::write(&path, &bytes).unwrap();
        let case = machine.case(true);
        let (right, absent) = right_or_absent(&case, &machine.truth);
        (same, gone) = (same + right, gone + absent);
    }
    assert!(same > 0 && gone > 0, "{same} {gone}");
}

/// A dump of another generator, with the truth of each page, where it is at hand: read as the process would see it, or absent; and for
/// pages of mapped files, which byte of which file.
#[test]
fn what_another_generator_wrote_away_is_read() {
    let folder = common::root().join("../shared/samples-paging/paging-19041");
    if !folder.exists() {
        println!("skipped: no {}", folder.display());
        return;
    }
    let out = tempfile::tempdir().unwrap();
    let unpacked = |name: &str| {
        let packed = std::fs::File::open(folder.join(format!("{name}.xz"))).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut lzma_rust2::XzReader::new(packed, true), &mut bytes).unwrap();
        let path = out.path().join(name);
        std::fs::write(&path, &bytes).unwrap();
        (path, bytes)
    };
    let truth: serde_json::Value = serde_json::from_slice(&unpacked("truth.json").1).unwrap();
    let dump = unpacked("full.dmp").0;
    let (first, second, swap) = (unpacked("pagefile.sys").0, unpacked("pagefile-d.sys").0, unpacked("swapfile.sys").0);
    let symbols = common::root().join("../shared/samples/symbols");
    for files in [true, false] {
        let given = [(0, &first), (1, &second), (2, &swap)];
        let given = given.into_iter().filter(|_| files);
        let options = dumpwalk::analysis::OpenOptions {
            symbols: vec![symbols.clone()],
            offline: true,
            isolated: true,
            page_files: given.map(|(number, path)| Given { number: Some(number), path: path.clone() }).collect(),
            ..dumpwalk::analysis::OpenOptions::default()
        };
        let case = Case::open(&dump, &options).unwrap();
        let kernel = case.kernel().unwrap();
        let space = kernel.space();
        let mut spaces: BTreeMap<u64, AddressSpace<'_>> = BTreeMap::new();
        for (pid, at) in kernel.numbered(&space).unwrap().processes {
            let process = kernel.process_at(&space, at).unwrap();
            spaces.extend(AddressSpace::of(&process, &space).ok().map(|memory| (pid, memory)));
        }
        let (mut read, mut absent) = (0, 0);
        for page in truth["paged"].as_array().unwrap() {
            let (pid, va) = (page["pid"].as_u64().unwrap(), Va(page["va"].as_u64().unwrap()));
            let whole = &spaces[&pid].space;
            let kernel_half = va > kernel.last_user_address();
            let bytes = if kernel_half { space.fetch(va, 4096) } else { whole.fetch(va, 4096) };
            let needs = page["needs_files"].as_array().is_some_and(|all| !all.is_empty());
            let readable = page["unreadable"].is_null() && (files || !needs);
            match (page["state"].as_str().unwrap(), bytes.all()) {
                ("demandzero" | "file", all) => assert!(all.is_err(), "{page}"),
                (_, Ok(all)) => {
                    assert!(readable, "{page}");
                    let digest: String = sha2::Sha256::digest(all).iter().map(|b| format!("{b:02x}")).collect();
                    assert_eq!(page["sha256"].as_str().unwrap(), digest, "{page}");
                    read += 1;
                }
                (_, Err(_)) => {
                    assert!(!readable, "{page}");
                    absent += 1;
                }
            }
        }
        assert!(read > 500 && absent > 4, "{read} {absent}");
        // Pages of mapped files: the file and the byte.
        let analysis = ALL.iter().find(|a| a.name == "memmap").unwrap();
        let at = |key: &str| analysis.columns.iter().position(|c| c.key == key).unwrap();
        let keys = ["pid", "start", "mapped_file", "mapped_file_offset", "mapped_file_bytes"].map(at);
        let rows = collected(&case, "memmap").rows;
        let told: BTreeMap<(u64, u64), Vec<String>> = rows
            .iter()
            .filter_map(|row| match keys.map(|k| &row.cells[k]) {
                [Cell::Dec(pid), Cell::Hex(va), rest @ ..] => {
                    Some(((*pid, *va), rest.map(|c| format!("{c:?}")).to_vec()))
                }
                _ => None,
            })
            .collect();
        let mut met = 0;
        for page in truth["paged"].as_array().unwrap().iter().filter(|p| p["state"] == "file") {
            let Some(told) = told.get(&(page["pid"].as_u64().unwrap(), page["va"].as_u64().unwrap())) else { continue };
            let wanted = [
                format!("{:?}", Cell::Text(page["path"].as_str().unwrap().to_owned().into())),
                format!("{:?}", Cell::Hex(page["file_offset"].as_u64().unwrap())),
                format!("{:?}", Cell::Dec(page["file_bytes"].as_u64().unwrap())),
            ];
            assert_eq!(told[..], wanted, "{page}");
            met += 1;
        }
        assert!(met > 50, "{met}");
    }
}
