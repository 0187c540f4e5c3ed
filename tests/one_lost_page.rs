//! One page is not memory: gone (zeros, as an acquisition that failed leaves it) or filled with a pattern by whoever wrote the dump. Every
//! analysis still answers, pattern pages are said to be not in the dump, and no value of another place changes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{open, samples};
use dumpwalk::addr::Va;
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::kernel::Kernel;
use dumpwalk::kernel::process::Process;
use dumpwalk::report::{Cell, Collected};
use dumpwalk::value::Absent;
use std::collections::BTreeMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// What WinDbg writes for a page it could not read, in the file's order.
const DEADFEED: [u8; 4] = [0xed, 0xfe, 0xad, 0xde];

/// The pages that are lost, one at a time: name and file offset.
fn pages(case: &Case) -> BTreeMap<&'static str, u64> {
    let kernel = case.kernel().unwrap();
    let processes = kernel.processes().unwrap().list;
    let kernel_page = |va: Va| file_of(case, kernel, va);
    let system = processes.iter().find(|p| p.pid() == Ok(4)).unwrap();
    let user = processes.iter().find(|p| p.name().as_deref() == Ok("explorer.exe")).unwrap();
    let parameters = parameters(user);
    let mut out = BTreeMap::new();
    out.insert("shared page", kernel_page(kernel.shared_data_va()));
    if let Some(kdbg) = kernel.global("KdDebuggerDataBlock") {
        out.insert("debugger block", kernel_page(kdbg));
    }
    out.insert("System's token", kernel_page(system.view.token().unwrap()));
    out.insert("a process", kernel_page(user.offset().unwrap()));
    let space = user.space().unwrap();
    for (name, va) in [("a PEB", user.peb().unwrap()), ("process parameters", parameters)] {
        out.insert(name, case.dump.file_offset(space.translate(va).unwrap().page()).unwrap());
    }
    out
}

fn file_of(case: &Case, kernel: &Kernel, va: Va) -> u64 {
    case.dump.file_offset(kernel.space().translate(va).unwrap().page()).unwrap()
}

fn parameters(process: &Process<'_>) -> Va {
    let sides = dumpwalk::kernel::sides::Sides::of(process.kernel).unwrap();
    let space = process.space().unwrap();
    let sides = sides.of_process(process, &process.kernel.space());
    sides[0].view(&space).unwrap().parameters().unwrap()
}

/// The analyses that answer of a dump, and how many rows each has.
fn answers(case: &Case) -> BTreeMap<&'static str, Result<Collected, String>> {
    let run = |analysis: &&'static dumpwalk::analysis::Analysis| {
        let mut out = Collected::default();
        let done = analysis.run(case, &Ask::default(), &mut out).map(|()| out).map_err(|e| e.to_string());
        (analysis.name, done)
    };
    ALL.iter().map(run).collect()
}

fn with_page(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

#[test]
fn a_lost_page_ends_no_analysis() {
    let folder = tempfile::tempdir().unwrap();
    let mut tried = 0;
    for sample in samples().iter().filter(|s| ["win10-2004/full", "win10-1507-x86/full"].contains(&s.name.as_str())) {
        let source = &sample.path;
        let whole = open(source, &sample.symbols).unwrap();
        let before = answers(&whole);
        for (name, at) in pages(&whole) {
            for (kind, fill) in [("zeros", [0; 4]), ("0xdeadfeed", DEADFEED)] {
                let dump = folder.path().join("lost.dmp");
                std::fs::copy(source, &dump).unwrap();
                with_page(&dump, at, &fill.repeat(1024));
                let case = open(&dump, &sample.symbols).unwrap();
                for (analysis, found) in answers(&case) {
                    if before[analysis].is_ok() {
                        assert!(found.is_ok(), "{}: {name} with {kind}: {analysis}: {:?}", sample.name, found.err());
                    }
                    tried += 1;
                }
                let rows = |analysis| answer(&case, analysis).0;
                if name == "System's token" {
                    let (of, notes) = answer(&case, "tokens");
                    assert!(
                        notes.iter().any(|n| n.loss && n.text.contains("process 4: its token is")) || kind != "zeros",
                        "{notes:?}"
                    );
                    let system = of.iter().find(|r| r["pid"] == Cell::Dec(4));
                    assert!(system.is_none_or(|r| matches!(r["logon_id"], Cell::Absent(_))), "{system:?}");
                }
                if name == "shared page" {
                    let info = &rows("info")[0];
                    for key in ["version", "product", "safe_mode", "time_zone_minutes", "kernel_debugger"] {
                        let of_header = match &info["by_header"] {
                            Cell::List(names) => names.contains(&Cell::from(key.to_owned())),
                            _ => false,
                        };
                        let absent = matches!(info[key], Cell::Absent(_));
                        assert!(absent || of_header, "{kind}: {key} is {:?}", info[key]);
                    }
                    assert!(case.all_notes().any(|n| n.loss && n.text.contains("KUSER_SHARED_DATA")), "{kind}");
                }
                let met = case.dump.met();
                assert_eq!(
                    met.iter().any(|n| n.loss && n.text.contains("1 with 0xdeadfeed")),
                    kind != "zeros",
                    "{name}: {met:?}"
                );
            }
        }
    }
    assert!(tried > 500, "{tried} answers");
}

type Cells = BTreeMap<&'static str, Cell>;

/// The rows of one analysis by key, and its notes.
fn answer(case: &Case, name: &str) -> (Vec<Cells>, Vec<dumpwalk::value::Note>) {
    let analysis = ALL.iter().find(|a| a.name == name).unwrap();
    let mut out = Collected::default();
    analysis.run(case, &Ask::default(), &mut out).unwrap();
    let keyed = |row: dumpwalk::report::Row| analysis.columns.iter().map(|c| c.key).zip(row.cells).collect();
    (out.rows.into_iter().map(keyed).collect(), out.notes)
}

/// The cells of explorer.exe's row of `cmdline`, by key.
fn cmdline(case: &Case) -> BTreeMap<&'static str, Cell> {
    let analysis = ALL.iter().find(|a| a.name == "cmdline").unwrap();
    let mut out = Collected::default();
    let ask = Ask { names: vec!["explorer.exe".into()], ..Ask::default() };
    analysis.run(case, &ask, &mut out).unwrap();
    let row = out.rows.into_iter().next().expect("a row");
    analysis.columns.iter().map(|c| c.key).zip(row.cells).collect()
}

#[test]
fn a_pattern_is_no_value_and_a_pointer_into_the_kernel_none_either() {
    let sample = samples().into_iter().find(|s| s.name == "win10-2004/full").unwrap();
    let source = &sample.path;
    let whole = open(source, &sample.symbols).unwrap();
    let kernel = whole.kernel().unwrap();
    let user =
        kernel.processes().unwrap().list.into_iter().find(|p| p.name().as_deref() == Ok("explorer.exe")).unwrap();
    let space = user.space().unwrap();
    let block = parameters(&user);
    let page = whole.dump.file_offset(space.translate(block).unwrap().page()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("bent.dmp");
    let bent = |at: u64, bytes: &[u8]| {
        std::fs::copy(source, &dump).unwrap();
        with_page(&dump, at, bytes);
        open(&dump, &sample.symbols).unwrap()
    };

    for fill in [DEADFEED, [0xef, 0xbe, 0xad, 0xde], [0xfe; 4]] {
        let case = bent(page, &fill.repeat(1024));
        let row = cmdline(&case);
        for key in ["command_line", "standard_input", "window_flags", "parameter_flags", "console"] {
            assert_eq!(row[key], Cell::Absent(Absent::NotInDump), "{key} of {fill:x?}");
        }
        assert_eq!(case.dump.met().len(), 1);
    }

    // CommandLine.Buffer: the string of a System process is kernel memory that this one never had.
    let layout = kernel.layout::<dumpwalk::kernel::peb::ParametersLayout>().unwrap();
    let field = dumpwalk::symbols::layout::Layout::field(layout, "command_line").unwrap().offset;
    let string = page + block.offset_in_page() + u64::from(field);
    let system = kernel.system.or_else(|| kernel.processes().unwrap().list[0].offset()).unwrap();
    let case = bent(string + 8, &system.0.to_le_bytes());
    let row = cmdline(&case);
    assert_eq!(row["command_line"], Cell::Absent(Absent::Implausible));
    assert!(matches!(&row["image_path"], Cell::Text(t) if t.contains("explorer")), "what is beside it stays");

    // A text whose end is not there gives the beginning.
    let Cell::Text(all) = &cmdline(&whole)["command_line"] else { panic!("no command line") };
    let case = bent(string, &[0xfc, 0xff, 0xfe, 0xff]);
    let Cell::Cut(text, why) = &cmdline(&case)["command_line"] else {
        panic!("not cut: {:?}", cmdline(&case)["command_line"])
    };
    assert!(text.starts_with(all.as_ref()), "{text:?}");
    assert_ne!(*why, Absent::Implausible);
    assert!(case.dump.met().iter().any(|n| n.loss && n.text.contains("texts go on")), "{:?}", case.dump.met());

    // _EPROCESS.Peb in the kernel half is no PEB, and nobody is called hollowed for it.
    let eprocess = whole.dump.file_offset(kernel.space().translate(user.offset().unwrap()).unwrap()).unwrap();
    let peb = dumpwalk::symbols::layout::Layout::field(user.view.layout, "peb_raw").unwrap().offset;
    let case = bent(eprocess + u64::from(peb), &system.0.to_le_bytes());
    assert_eq!(cmdline(&case)["peb"], Cell::Absent(Absent::Implausible));
    let mut found = Collected::default();
    let triage = ALL.iter().find(|a| a.name == "findings").unwrap();
    triage.run(&case, &Ask { names: vec!["explorer.exe".into()], ..Ask::default() }, &mut found).unwrap();
    let replaced = |r: &dumpwalk::report::Row| r.cells.contains(&Cell::Text("replaced-image".into()));
    assert!(!found.rows.iter().any(replaced), "{:?}", found.rows.iter().find(|r| replaced(r)));
}
