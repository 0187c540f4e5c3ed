//! Lists that are torn, heads that lie and objects with one wrong field: nobody is lost without a note, nobody is called
//! hidden because a list is broken, and who hides is found whatever field was written over.
//!
//! Each case writes over a few bytes of a checked-in sample, whose own answer is the right one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use dumpwalk::addr::{Pa, Va};
use dumpwalk::dump::Dump;
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::symbols::store::{Options, Store};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// A sample in which processes hide, in memory.
struct Machine {
    bytes: Vec<u8>,
    kernel: Kernel,
    truth: Value,
    store: std::path::PathBuf,
}

/// What an analysis said.
struct Said {
    code: i32,
    rows: Vec<Value>,
    notes: String,
}

impl Machine {
    fn new(name: &str) -> Self {
        let sample = program::own_samples().into_iter().find(|s| s.name == name).unwrap();
        let path = sample.dumps.iter().find(|d| d.ends_with("full.dmp")).unwrap();
        let options = Options { folders: vec![sample.store.clone()], offline: true, ..Options::default() };
        let kernel = find::find(&Arc::new(Dump::open(path).unwrap()), &Store::new(options)).unwrap();
        Self { bytes: std::fs::read(path).unwrap(), kernel, truth: sample.truth, store: sample.store }
    }
    fn at(&self, va: Va) -> usize {
        let pa: Pa = self.kernel.space().translate(va).unwrap();
        self.kernel.dump.file_offset(pa).unwrap() as usize
    }
    fn write(&mut self, va: Va, bytes: &[u8]) {
        let at = self.at(va);
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn words(&mut self, va: Va, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.write(va, &bytes);
    }
    fn wipe_page(&mut self, va: Va) {
        self.write(va.page(), &[0; 4096]);
    }
    fn process(&self, pid: u64) -> Va {
        let all = self.truth["processes"].as_array().unwrap();
        let one = all.iter().find(|p| p["pid"] == pid && p["exit"].as_u64() == Some(0)).unwrap();
        Va(one["eprocess"].as_u64().unwrap())
    }
    fn field(&self, pid: u64, path: &str) -> Va {
        let member = self.kernel.symbols.types.member("_EPROCESS", path).unwrap_or_else(|| panic!("no {path}"));
        self.process(pid).add(member.offset.into())
    }
    fn links(&self, pid: u64) -> Va {
        self.field(pid, "ActiveProcessLinks")
    }
    fn global(&self, name: &str) -> Va {
        self.kernel.global(name).unwrap()
    }
    /// Ids of the processes on the list, in its order.
    fn listed(&self) -> Vec<u64> {
        let all = self.truth["processes"].as_array().unwrap();
        all.iter().filter(|p| p["linked"] == true).map(|p| p["pid"].as_u64().unwrap()).collect()
    }
    fn everybody(&self) -> BTreeSet<u64> {
        self.truth["processes"].as_array().unwrap().iter().map(|p| p["pid"].as_u64().unwrap()).collect()
    }
    fn ask(&self, analysis: &str) -> Said {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &self.bytes).unwrap();
        let (dump, store) = (file.path().to_str().unwrap(), self.store.to_str().unwrap());
        let ran = program::dumpwalk(&[analysis, dump, "-f", "json", "--offline", "--symbols", store]);
        let rows = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{analysis}: {e}: {}", ran.stderr));
        Said { code: ran.code, rows, notes: ran.stderr }
    }
    /// Places of those that are called hidden with all weight.
    fn hidden(&self) -> (BTreeSet<String>, Said) {
        let said = self.ask("findings");
        let critical = said.rows.iter().filter(|r| r["rule"] == "hidden-process" && r["severity"] == "critical");
        (critical.map(|r| r["offset"].as_str().unwrap().to_owned()).collect(), said)
    }
    fn places(&self, pids: &[u64]) -> BTreeSet<String> {
        pids.iter().map(|pid| self.process(*pid).to_string()).collect()
    }
}

impl Said {
    fn pids(&self) -> BTreeSet<u64> {
        self.rows.iter().filter_map(|r| r["pid"].as_u64()).collect()
    }
    fn row(&self, at: Va) -> &Value {
        self.rows
            .iter()
            .find(|r| r["offset"] == at.to_string())
            .unwrap_or_else(|| panic!("no row at {at}: {}", self.notes))
    }
    fn loss(&self, what: &str) {
        let told = self.notes.lines().any(|l| l.starts_with("loss") && l.contains(what));
        assert!(told && self.code == 4, "no loss says {what:?} (exit {}): {}", self.code, self.notes);
    }
}

/// What is written over.
type Write<'a> = &'a dyn Fn(&mut Machine);

const ATTACK: &str = "win10-22h2-attack";
/// Its hidden processes.
const HIDDEN: [u64; 2] = [3520, 3584];
const BEACON: u64 = 3520;

/// The head may be gone, lie, or lead elsewhere: the ring is walked from System, and it is whole.
#[test]
fn the_active_list_needs_no_head() {
    let whole = Machine::new(ATTACK);
    let order: Vec<Value> = whole.ask("pslist").rows;
    let (head, decoy) = (whole.global("PsActiveProcessHead"), whole.links(BEACON));
    let heads: [(&str, Write<'_>); 5] = [
        ("page gone", &|m| m.wipe_page(head)),
        ("names itself", &|m| m.words(head, &[head.0, head.0])),
        ("leads to nothing", &|m| m.words(head, &[0x4141_4141_4141_4141, 0x4242_4242_4242_4242])),
        ("leads to a decoy", &|m| m.words(head, &[decoy.0, decoy.0])),
        ("null", &|m| m.words(head, &[0, 0])),
    ];
    for (what, write) in heads {
        let mut m = Machine::new(ATTACK);
        write(&mut m);
        let pslist = m.ask("pslist");
        assert!(pslist.rows == order, "{what}: {:?}: {}", pslist.pids(), pslist.notes);
        pslist.loss("walked from System");
        let (hidden, said) = m.hidden();
        assert_eq!(hidden, m.places(&HIDDEN), "{what}: {}", said.notes);
        said.loss("walked from System");
    }
    // Its own links are a pointer each: one of them leads backwards through the whole list.
    for (what, at) in [("forwards", head), ("backwards", head.add(8))] {
        let mut m = Machine::new(ATTACK);
        m.words(at, &[head.0]);
        assert_eq!(m.ask("pslist").pids(), whole.ask("pslist").pids(), "{what}");
        assert_eq!(m.hidden().0, m.places(&HIDDEN), "{what}");
    }
}

/// Without System's page the list is walked from its head; without both pages, from a process that the table of ids knows.
#[test]
fn the_active_list_needs_no_system() {
    let whole = Machine::new(ATTACK);
    let (head, system) = (whole.global("PsActiveProcessHead"), whole.process(4));
    let others: BTreeSet<u64> = whole.listed().into_iter().filter(|pid| *pid != 4).collect();
    for head_too in [false, true] {
        let mut m = Machine::new(ATTACK);
        m.wipe_page(system);
        if head_too {
            m.wipe_page(head);
        }
        let pslist = m.ask("pslist");
        assert_eq!(pslist.pids(), others, "head too {head_too}: {}", pslist.notes);
        pslist.loss("process 4");
        assert_eq!(m.hidden().0, m.places(&HIDDEN), "head too {head_too}");
    }
}

/// Members whose links are written over: what stands between them is listed by its own links and explained, not accused.
#[test]
fn a_torn_list_hides_nobody() {
    let whole = Machine::new(ATTACK);
    let listed = whole.listed();
    let pid = |i: usize| listed[i];
    // Two tears apart, three, two neighbours, the first and the last, one alone.
    let tears: [&[usize]; 5] = [&[5, 9], &[3, 8, 12], &[6, 7], &[0, listed.len() - 1], &[7]];
    for tear in tears {
        for garbage in [[0x4141_4141_4141_4141, 0x4242_4242_4242_4242], [0, 0]] {
            let mut m = Machine::new(ATTACK);
            for i in tear {
                let at = m.links(pid(*i));
                m.words(at, &garbage);
            }
            let what = format!("{tear:?} {garbage:x?}");
            let pslist = m.ask("pslist");
            assert_eq!(pslist.pids(), listed.iter().copied().collect(), "{what}: {}", pslist.notes);
            assert_eq!(m.ask("psscan").pids(), m.everybody(), "{what}");
            let (hidden, said) = m.hidden();
            assert_eq!(hidden, m.places(&HIDDEN), "{what}: {}", said.notes);
            if tear.len() > 1 {
                pslist.loss("active process list");
                said.loss("active process list");
            }
        }
    }
    // Between two that are torn in one direction each, and three in a row, of which nothing leads to the middle one.
    let mut m = Machine::new(ATTACK);
    let (a, b) = (m.links(pid(5)), m.links(pid(9)).add(8));
    m.words(a, &[0x4141_4141_4141_4141]);
    m.words(b, &[0x4141_4141_4141_4141]);
    assert_eq!(m.ask("pslist").pids(), listed.iter().copied().collect());
    assert_eq!(m.hidden().0, m.places(&HIDDEN));
    let mut m = Machine::new(ATTACK);
    for i in [5, 6, 7] {
        let at = m.links(pid(i));
        m.words(at, &[0x4141_4141_4141_4141; 2]);
    }
    m.ask("pslist").loss(&format!("cannot be told: {}", pid(6)));
    let (hidden, said) = m.hidden();
    assert_eq!(hidden, m.places(&HIDDEN));
    let middle = said.rows.iter().find(|r| r["rule"] == "hidden-process" && r["pid"] == pid(6)).unwrap();
    assert_eq!(middle["severity"], "medium");
}

/// A process whose page is gone is named by its id, whoever asks.
#[test]
fn a_lost_process_is_named() {
    for pid in [780, BEACON] {
        let mut m = Machine::new(ATTACK);
        let at = m.process(pid);
        m.wipe_page(at);
        for analysis in ["pslist", "psscan", "psxview", "findings"] {
            // Off the list and gone: only who asks the table of ids can know.
            if analysis == "pslist" && pid == BEACON {
                continue;
            }
            m.ask(analysis).loss(&pid.to_string());
        }
    }
}

/// One field of a hidden process written over, whatever it is: the scan has it, with its doubt, and the rule is as sure.
#[test]
fn one_wrong_field_hides_nobody() {
    let far = 0x02ff_ffff_ffff_ffff_u64; // the year 2285
    let garbage = 0x4141_4141_4141_4141_u64;
    let own = Machine::new(ATTACK).links(BEACON).0;
    let fields: [(&str, &[u64], Option<&str>); 10] = [
        ("ActiveProcessLinks", &[garbage, garbage], Some("links lead outside the kernel")),
        ("ActiveProcessLinks", &[0, 0], None),
        ("ActiveProcessLinks", &[own, own], None),
        ("Token", &[garbage], Some("token is outside the kernel")),
        ("Token", &[0], Some("runs without a token")),
        ("ObjectTable", &[garbage], Some("handle table is outside the kernel")),
        ("CreateTime", &[1], Some("impossible creation time")),
        ("CreateTime", &[far], Some("impossible creation time")),
        ("UniqueProcessId", &[0], Some("impossible id")),
        ("UniqueProcessId", &[3521], Some("impossible id")),
    ];
    for (field, words, doubt) in fields {
        let mut m = Machine::new(ATTACK);
        let at = m.field(BEACON, field);
        m.words(at, words);
        let what = format!("{field} {words:x?}");
        let scan = m.ask("psscan");
        let row = scan.row(m.process(BEACON));
        let doubts: Vec<&str> = doubt.into_iter().collect();
        assert_eq!(row["doubts"], serde_json::json!(doubts), "{what}");
        assert_eq!(row["list_status"], "unlinked", "{what}");
        let (hidden, said) = m.hidden();
        assert_eq!(hidden, m.places(&HIDDEN), "{what}: {}", said.notes);
    }
}

/// A time of creation that the dump's clock has not reached yet explains a process only where its threads say the same.
#[test]
fn a_forged_time_of_creation_explains_nothing() {
    let m = Machine::new(ATTACK);
    let now = m.truth["system_time"].as_u64().unwrap();
    for later in [10_000_000, 36_000_000_000, 864_000_000_000] {
        let mut m = Machine::new(ATTACK);
        let at = m.field(BEACON, "CreateTime");
        m.words(at, &[now + later]);
        assert_eq!(m.hidden().0, m.places(&HIDDEN), "{later}");
    }
}

/// Names in the code pages of Windows: Chinese, Cyrillic, Western, Japanese. They are no doubt, and their threads are met.
#[test]
fn names_in_any_script() {
    let names: [&[u8]; 4] =
        [b"\xb2\xa1\xb6\xbe..exe", b"\xcf\xf0\xe8\xe2\xe5\xf2.exe", b"\xe9t\xe9.exe", b"\x83\x81\x83\x82.exe"];
    for pid in [780, BEACON] {
        let whole = Machine::new(ATTACK);
        let threads = |said: &Said| said.rows.iter().filter(|r| r["pid"] == pid).count();
        let own = threads(&whole.ask("thrdscan"));
        assert!(own > 0);
        for name in names {
            let mut m = Machine::new(ATTACK);
            let mut raw = [0; 15];
            raw[..name.len()].copy_from_slice(name);
            let at = m.field(pid, "ImageFileName");
            m.write(at, &raw);
            let scan = m.ask("psscan");
            assert_eq!(scan.pids(), m.everybody(), "{name:x?}");
            assert_eq!(scan.row(m.process(pid))["doubts"], serde_json::json!([]));
            assert_eq!(threads(&m.ask("thrdscan")), own, "{name:x?}");
            assert_eq!(m.hidden().0, m.places(&HIDDEN), "{name:x?}");
        }
        let mut m = Machine::new(ATTACK);
        let at = m.field(pid, "ImageFileName");
        m.write(at, &[1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let scan = m.ask("psscan");
        assert_eq!(scan.row(m.process(pid))["doubts"], serde_json::json!(["name is no text"]));
        assert_eq!(scan.rows.len(), whole.ask("psscan").rows.len());
    }
}

/// A table of ids that cannot be used costs a rule, and a note says so.
#[test]
fn a_table_of_ids_that_is_gone_is_told() {
    let at = Machine::new(ATTACK).global("PspCidTable");
    for value in [0, 0x4141_4141_4141_4141] {
        let mut m = Machine::new(ATTACK);
        m.words(at, &[value]);
        m.ask("findings").loss("PspCidTable");
        m.ask("psxview").loss("PspCidTable");
    }
}

/// An empty module list is impossible: the kernel is on it. The ring is walked from an entry in memory.
#[test]
fn the_module_list_needs_no_head() {
    let whole = Machine::new(ATTACK);
    let head = whole.global("PsLoadedModuleList");
    let (modules, findings) = (whole.ask("modules").rows, whole.ask("findings").rows.len());
    for words in [[head.0, head.0], [0, 0], [0x4141_4141_4141_4141; 2]] {
        let mut m = Machine::new(ATTACK);
        m.words(head, &words);
        let said = m.ask("modules");
        assert!(said.rows == modules, "{words:x?}: {}", said.notes);
        said.loss("kernel module list");
        let triage = m.ask("findings");
        assert_eq!(triage.rows.len(), findings, "{words:x?}: {}", triage.notes);
        triage.loss("kernel module list");
    }
}

/// What is in order stays so: no doubt, no loss, nobody torn, on every sample.
#[test]
fn samples_in_order_have_no_doubts() {
    for sample in program::own_samples() {
        let Some(dump) = sample.dumps.iter().find(|d| d.ends_with("full.dmp")) else { continue };
        for analysis in ["psscan", "thrdscan"] {
            for row in program::rows(analysis, Path::new(dump), Some(&sample.store)).unwrap() {
                assert_eq!(row["doubts"], serde_json::json!([]), "{}: {row}", sample.name);
                assert_ne!(row["list_status"], "torn", "{}: {row}", sample.name);
            }
        }
    }
}
