//! Why a machine stopped: bug checks, who is to blame, what header and secondary data say. The inputs are the checked-in triage
//! dumps with a few bytes changed, and dumps that the forge makes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{dumpwalk, number, root, rows, shared};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A triage dump of x64 Windows 10 with three drivers: ntoskrnl.exe, hal.dll, tcpip.sys.
const TRIAGE: &str = "testdata/win10-2004/triage.dmp";
/// Where its drivers lie.
const NTOSKRNL: u64 = 0xffff_f804_7ba0_0000;
const TCPIP: u64 = 0xffff_f805_0020_6000;
/// Where its unloaded WdFilter.sys lay.
const UNLOADED: u64 = 0xffff_f805_0222_3000;
/// Offsets of a 64-bit header: code, first parameter.
const CODE: usize = 0x38;
const PARAMETERS: usize = 0x40;

/// A copy of the sample, changed.
struct Patched {
    _folder: tempfile::TempDir,
    dump: PathBuf,
}

impl Patched {
    fn of(edit: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = std::fs::read(root().join(TRIAGE)).unwrap();
        edit(&mut bytes);
        Self::new(&bytes)
    }
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dump = folder.path().join("a.dmp");
        std::fs::write(&dump, bytes).unwrap();
        Self { _folder: folder, dump }
    }
    /// With this bug check.
    fn crash(code: u32, parameters: [u64; 4]) -> Self {
        Self::of(|bytes| crash(bytes, code, parameters))
    }
    fn rows(&self, analysis: &str) -> Vec<Value> {
        rows(analysis, &self.dump, Some(&root().join("symbols"))).unwrap_or_else(|e| panic!("{analysis}: {e}"))
    }
    fn row(&self, analysis: &str) -> Value {
        self.rows(analysis).into_iter().next().unwrap_or_else(|| panic!("{analysis}: no row"))
    }
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    bytes[at..at + what.len()].copy_from_slice(what);
}
fn crash(bytes: &mut [u8], code: u32, parameters: [u64; 4]) {
    put(bytes, CODE, &code.to_le_bytes());
    parameters.iter().enumerate().for_each(|(i, p)| put(bytes, PARAMETERS + 8 * i, &p.to_le_bytes()));
}
fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}
/// Offset of a driver's entry in the list, and of the characters of its name.
fn driver(bytes: &[u8], index: usize) -> (usize, usize) {
    let entry = u32_at(bytes, 0x2030) + 0x90 * index;
    (entry, u32_at(bytes, entry) + 4)
}
/// Gives a driver another name of the same length.
fn rename(bytes: &mut [u8], index: usize, old: &str, new: &str) {
    assert_eq!(old.len(), new.len());
    let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let (from, old, new) = (driver(bytes, index).1, wide(old), wide(new));
    let at = bytes[from..from + 0x100].windows(old.len()).position(|w| w == old).unwrap();
    put(bytes, from + at, &new);
}
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[test]
fn parameters_say_what_they_hold() {
    let watchdog = Patched::crash(0x133, [1, 0x1e00, NTOSKRNL + 0xcfb320, 0]).row("crashinfo");
    assert_eq!(watchdog["bugcheck_name"], "DPC_WATCHDOG_VIOLATION");
    assert!(text(&watchdog["parameters"][1]["meaning"]).contains("period"));
    assert!(text(&watchdog["parameters"][2]["meaning"]).contains("triage block"));
    assert_eq!(watchdog["parameters"][2]["in"], "ntoskrnl.exe+0xcfb320");
    assert!(watchdog["parameters"][3].get("meaning").is_none());
    let fault = Patched::crash(0x50, [0x1234, 2, TCPIP + 0x10, 0]).row("crashinfo");
    assert_eq!(fault["parameters"][1]["says"], "write");
    let execution = Patched::crash(0x50, [TCPIP + 0x10, 0x11, TCPIP + 0x10, 2]).row("crashinfo");
    assert_eq!(execution["parameters"][1]["says"], "execute");
    // The same on x86, whose header has other offsets.
    let mut old = std::fs::read(root().join("testdata/win10-1507-x86/triage.dmp")).unwrap();
    put(&mut old, 0x28, &0x50u32.to_le_bytes());
    put(&mut old, 0x30, &2u32.to_le_bytes());
    assert_eq!(Patched::new(&old).row("crashinfo")["parameters"][1]["says"], "write");
}

#[test]
fn a_live_dump_says_that_nothing_crashed() {
    for code in [0x161u32, 0x1a1, 0x117, 0x21c8, 0, u32::from_be_bytes(*b"MATT")] {
        let row = Patched::crash(code, [0; 4]).row("crashinfo");
        assert!(text(&row["about"]).contains("othing crashed"), "{code:#x}: {row}");
        assert!(row["driver"].get("name").is_none(), "{code:#x}: {row}");
    }
    assert!(!text(&Patched::crash(0x50, [0; 4]).row("crashinfo")["about"]).contains("othing crashed"));
    // LiveDumpGeneratedDump of the header's attributes.
    let flagged = Patched::of(|b| {
        crash(b, 0x124, [0; 4]);
        put(b, 0x1050, &0x10u32.to_le_bytes());
    });
    assert!(text(&flagged.row("crashinfo")["about"]).contains("othing crashed"));
    let either = Patched::crash(0x124, [0; 4]).row("crashinfo");
    assert!(text(&either["about"]).contains("also used for live dumps"), "{either}");
}

/// The driver that a parameter of the bug check points into is named, with why; Windows' own are not taken for somebody's.
#[test]
fn the_driver_to_blame() {
    let windows = Patched::crash(0xd1, [0x28, 2, 0, TCPIP + 0x77]).row("crashinfo");
    let why = text(&windows["driver"]["why"]);
    assert!(why.contains("only the kernel and libraries of Windows") && why.contains("tcpip.sys+0x77"), "{why}");
    let dump = Patched::of(|b| {
        crash(b, 0xd1, [0x28, 2, 0, TCPIP + 0x77]);
        rename(b, 2, "tcpip.sys", "shade.sys");
    });
    let shade = &dump.row("crashinfo")["driver"];
    assert_eq!((text(&shade["name"]), text(&shade["at"])), ("shade.sys", "shade.sys+0x77"));
    assert!(text(&shade["why"]).starts_with("parameter 4 (address of the code that accessed it)"), "{shade}");
    assert_eq!((&shade["of_windows"], &shade["unloaded"]), (&Value::from(false), &Value::from(false)));
    assert_eq!(shade["built"], "2020-09-23T10:01:38.0000000Z");
    // A driver that had been unloaded.
    let gone = Patched::crash(0xce, [UNLOADED + 0x10, 0x10, UNLOADED + 0x10, 0]).row("crashinfo");
    assert_eq!(gone["parameters"][0]["in"], "WdFilter.sys+0x10 (unloaded)");
    assert_eq!(gone["driver"]["unloaded"], true, "{gone}");
    // No driver is blamed for what was asked for.
    let asked = Patched::of(|b| {
        crash(b, 0xe2, [0, 0, 0, TCPIP + 0x77]);
        rename(b, 2, "tcpip.sys", "shade.sys");
    });
    assert!(asked.row("crashinfo")["driver"].get("name").is_none());
}

/// The first driver on the stack that is not Windows' own, where no parameter names one.
#[test]
fn the_first_frame_of_somebody_else() {
    let dump = Patched::of(|b| {
        crash(b, 0x139, [3, 0, 0, 0]);
        rename(b, 0, "ntoskrnl.exe", "ntoskrnx.exe");
    });
    let driver = &dump.row("crashinfo")["driver"];
    assert_eq!(driver["name"], "ntoskrnx.exe", "{driver}");
    assert!(text(&driver["why"]).contains("frame 0 (found by context)"), "{driver}");
}

#[test]
fn triage_says_first_why_the_machine_stopped() {
    let dump = Patched::of(|b| {
        crash(b, 0xd1, [0x28, 2, 1, TCPIP + 0x77]);
        rename(b, 2, "tcpip.sys", "shade.sys");
    });
    for analysis in ["triage", "findings"] {
        let first = dump.row(analysis);
        assert_eq!(first["subject"], "crash DRIVER_IRQL_NOT_LESS_OR_EQUAL", "{analysis}");
        assert_eq!((text(&first["rule"]), &first["technique"]), ("crash", &Value::Null), "{analysis}");
        let told = text(first.get("story").unwrap_or(&first["what"]));
        let order: Vec<usize> = [
            "bug check 0xd1",
            "kind of access: write",
            "driver: shade.sys",
            "process 2620 explorer.exe",
            "processor 0",
            "call stack: ",
        ]
        .iter()
        .map(|part| told.find(part).unwrap_or_else(|| panic!("{analysis}: no {part} in {told}")))
        .collect();
        assert!(order.is_sorted(), "{told}");
        let code = &first["evidence"][0];
        assert_eq!((number(&code["file"]), text(&code["bytes"])), (Some(0x38), "d1000000"));
        assert_eq!(
            (number(&first["evidence"][4]["file"]), number(&first["evidence"][4]["value"])),
            (Some(0x58), Some(TCPIP + 0x77))
        );
    }
    let explained = dumpwalk(&[
        "triage".as_ref(),
        dump.dump.as_os_str(),
        "--offline".as_ref(),
        "--explain".as_ref(),
        "crash".as_ref(),
    ]);
    assert!(explained.stdout.contains("BugCheckParameter4"), "{}", explained.stderr);
}

#[test]
fn what_the_header_knows_is_shown_where_the_kernel_cannot_be_asked() {
    let dump = Patched::of(|b| {
        put(b, 0x1038, &0xcffu32.to_le_bytes());
        put(b, 0x1040, &[3, 0, 0, 0, 0x10, 1, 0, 0, 0, 0, 0, 0]);
    });
    let info = dump.row("info");
    assert_eq!((text(&info["product"]), number(&info["suite_mask"])), ("server", Some(0x110)));
    assert_eq!(info["suites"], serde_json::json!(["TerminalServer", "SingleUserTS"]));
    assert_eq!((text(&info["version"]), text(&info["boot_time"])), ("10.0.19041", "2021-02-21T06:12:33.1234567Z"));
    assert_eq!(info["by_header"], serde_json::json!(["version", "product", "suite_mask", "boot_time"]));
    // What cannot be a product type is none.
    for wrong in [0u32, 4, 0x4547_4150] {
        let info = Patched::of(|b| put(b, 0x1040, &wrong.to_le_bytes())).row("info");
        assert!(info["product"].is_null(), "{wrong:#x}: {info}");
    }
    let full = rows("info", &root().join("testdata/win10-2004/full.dmp"), Some(&root().join("symbols"))).unwrap();
    assert!(full[0]["by_header"].is_null(), "the kernel was asked");
    let runs = full[0]["header_runs"].as_array().unwrap();
    assert!(!runs.is_empty() && runs.iter().all(|r| number(&r["pages"]) > Some(0)));
}

/// 1977 and 2055, as kernels and HALs of Windows 10 have them: hashes.
#[test]
fn stamps_that_are_no_times() {
    let dump = Patched::of(|b| {
        for (index, stamp) in [(0, 0x0d83_33e6u32), (1, 0xa0d8_33e6)] {
            let (entry, _) = driver(b, index);
            put(b, entry + 0x88, &stamp.to_le_bytes());
        }
        rename(b, 2, "tcpip.sys", "shade.sys");
    });
    let timeline = dump.rows("timeline");
    let built: Vec<(&str, &str)> =
        timeline.iter().filter(|r| r["kind"] == "image_built").map(|r| (text(&r["name"]), text(&r["doubt"]))).collect();
    assert_eq!(built, [("shade.sys", "may_be_hash")]);
    assert_eq!(timeline.last().unwrap()["name"], "shade.sys", "it comes behind the times");
    let modules = dump.rows("modules");
    let times: Vec<(&str, &str)> = modules.iter().map(|m| (text(&m["name"]), text(&m["build_time"]))).collect();
    assert_eq!(times, [("ntoskrnl.exe", ""), ("hal.dll", ""), ("shade.sys", "2020-09-23T10:01:38.0000000Z")]);
    assert_eq!(number(&modules[0]["timestamp"]), Some(0x0d83_33e6), "the stamp itself is shown");
}

/// A whole dump and a triage dump with what real headers and secondary data have.
#[test]
fn secondary_data_of_forged_dumps() {
    let mut scenario = forge::scenario::Scenario::load("win10-2004");
    scenario.containers = vec!["rdmp8".into(), "triage".into()];
    scenario.secondary = Some(forge::scenario::Secondary {
        manufacturer: "Forge Works".into(),
        product: "Anvil 7".into(),
        bios_version: "1.07".into(),
        bios_date: "05/06/2021".into(),
        cpu: "Forge 7 8-Core Processor".into(),
        program: "\\Device\\HarddiskVolume3\\Windows\\explorer.exe".into(),
    });
    for (file, bytes) in forge::build(&scenario).0 {
        assert_eq!((u32_at(&bytes, 0x1040), u32_at(&bytes, 0x1044)), (1, 0x110), "{file}");
        let info = Patched::new(&bytes).row("info");
        let machine = &info["machine"];
        assert_eq!((text(&machine["manufacturer"]), text(&machine["product"])), ("Forge Works", "Anvil 7"), "{file}");
        assert_eq!((text(&machine["bios_version"]), text(&machine["bios_date"])), ("1.07", "05/06/2021"), "{file}");
        assert_eq!(machine["serial"], "0042", "{file}");
        let cpu = &info["cpu"];
        assert_eq!((text(&cpu["name"]), text(&cpu["vendor"])), ("Forge 7 8-Core Processor", "GenuineIntel"), "{file}");
        assert_eq!((cpu["family"].as_u64(), cpu["model"].as_u64()), (Some(6), Some(0x9e)), "{file}");
        assert_eq!(info["program"], "\\Device\\HarddiskVolume3\\Windows\\explorer.exe", "{file}");
        let pieces = info["secondary"].as_array().unwrap();
        assert_eq!(pieces.len(), 7, "{file}");
        assert_eq!(pieces[0]["guid"], "12345678-9abc-def0-1234-56789abcdef0", "{file}");
        assert!(pieces[0].get("holds").is_none(), "{file}: no meaning is made up");
        let at = usize::try_from(number(&pieces[0]["file"]).unwrap()).unwrap();
        assert!(bytes[at..].starts_with(b"forgeforge"), "{file}");
        assert_eq!(pieces[1]["holds"], "path of the program", "{file}");
    }
    let none = Patched::of(|_| ()).row("info");
    assert!(none["secondary"].is_null() && none["machine"].is_null() && none["program"].is_null());
}

/// Two real dumps: what their secondary data says of their machines.
#[test]
fn secondary_data_of_real_dumps() {
    let Some(real) = shared().map(|s| s.join("real/kernel-triage")).filter(|p| p.is_dir()) else {
        println!("skipped: no folder of real dumps");
        return;
    };
    let info = |file: &str| rows("info", &real.join(file), None).unwrap().remove(0);
    let x64 = info("x64-19041.804.dmp");
    assert_eq!((text(&x64["product"]), number(&x64["suite_mask"])), ("workstation", Some(0x110)));
    assert_eq!(text(&x64["cpu"]["name"]), "AMD Ryzen 7 3700X 8-Core Processor");
    assert_eq!((x64["cpu"]["family"].as_u64(), x64["cpu"]["model"].as_u64()), (Some(23), Some(113)));
    let arm64 = info("arm64-22000.dmp");
    assert_eq!(text(&arm64["machine"]["product"]), "Galaxy Book Go (Wi-Fi)");
    assert!(text(&arm64["program"]).ends_with("\\SafiService.exe"));
    for (row, pieces) in [(&x64, 20), (&arm64, 42)] {
        let list = row["secondary"].as_array().unwrap();
        let end = list.iter().map(|p| number(&p["file"]).unwrap() + p["size"].as_u64().unwrap()).max().unwrap();
        assert_eq!(list.len(), pieces);
        assert!(end <= row["file_size"].as_u64().unwrap());
    }
    let crash = rows("crashinfo", &real.join("x64-19041.804.dmp"), None).unwrap().remove(0);
    assert_eq!((text(&crash["driver"]["name"]), &crash["driver"]["of_windows"]), ("amdppm.sys", &Value::from(true)));
    assert!(crash["driver"]["built"].is_null(), "its stamp is no time");
    assert_eq!(crash["processor"], 0);
}

/// The cases that are kept beside the repository: names of all codes, and real heads of dumps.
#[test]
fn cases_of_real_dumps() {
    let Some(cases) = shared().map(|s| s.join("cases/real-dumps")).filter(|p| p.is_dir()) else {
        println!("skipped: no folder of cases");
        return;
    };
    let expected = |case: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(cases.join(case).join("expected.json")).unwrap()).unwrap()
    };
    for (code, name) in expected("bugcheck-names").as_object().unwrap() {
        let number = u32::from_str_radix(code.trim_start_matches("0x"), 16).unwrap();
        assert_eq!(dumpwalk::kernel::bugcheck::name(number), name.as_str(), "{code}");
    }
    for (file, want) in expected("real-heads-memflow").as_object().unwrap() {
        head(&cases.join("real-heads-memflow").join(file), want);
    }
}

fn head(dump: &Path, want: &Value) {
    let info = rows("info", dump, None).unwrap_or_else(|e| panic!("{}: {e}", dump.display())).remove(0);
    let here = dump.display();
    let runs: Vec<Value> =
        info["header_runs"].as_array().unwrap().iter().map(|r| serde_json::json!([r["page"], r["pages"]])).collect();
    assert_eq!(Value::from(runs), want["runs_by_header"], "{here}");
    for key in [
        "header_build",
        "header_dtb",
        "header_process_list",
        "header_module_list",
        "header_kdbg",
        "processors",
        "system_time",
    ] {
        if let Some(value) = want.get(key) {
            assert_eq!(&info[key], value, "{here}: {key}");
        }
    }
    for key in ["product", "suite_mask", "version"] {
        assert!(info[key].is_null() || want.get(key).is_none_or(|w| !w.is_null()), "{here}: {key} is {}", info[key]);
    }
    assert_eq!(info["header_pages"], want["pages"], "{here}");
    if want.get("paging").is_some() {
        assert!(text(&info["paging"]).contains(text(&want["paging"])), "{here}");
    }
    let crash = rows("crashinfo", dump, None).unwrap_or_else(|e| panic!("{here}: {e}")).remove(0);
    assert!(text(&crash["about"]).contains("othing crashed"), "{here}: {crash}");
    assert_eq!(crash["comment"], want["comment"], "{here}");
}
