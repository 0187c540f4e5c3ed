//! Triage dumps as Windows writes them: the project's own one with the bytes changed in which real ones differ.

use super::*;
use crate::analysis::{ALL, Analysis, Case};
use crate::bytes::{u32_at, u64_at};
use crate::dump::Dump;
use crate::kernel::find;
use crate::report::Collected;
use crate::symbols::store::{Options, Store};
use std::path::Path;
use std::sync::Arc;

const CONTEXT: usize = 0x348;
const RSP: usize = CONTEXT + 0x98;
const RIP: usize = CONTEXT + 0xf8;
const TCPIP: u64 = 0xffff_f805_0022_d83e;

/// The bytes of a triage dump, to be changed.
struct Changed(Vec<u8>);

impl Changed {
    fn new() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/win10-2004/triage.dmp");
        Self(std::fs::read(file).unwrap())
    }
    fn put(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }
    fn long(&mut self, at: usize, value: u64) -> &mut Self {
        self.put(at, &value.to_le_bytes())
    }
    fn part(&self, field: usize) -> usize {
        u32_at(&self.0, 0x2000 + field).unwrap() as usize
    }
    fn prcb(&self) -> usize {
        self.part(0x1c)
    }
    fn process(&self) -> usize {
        self.part(0x20)
    }
    fn thread(&self) -> usize {
        self.part(0x24)
    }
    fn stack(&self) -> usize {
        self.part(0x28)
    }
    fn block(&self) -> usize {
        self.part(0x70)
    }
    fn top(&self) -> u64 {
        u64_at(&self.0, 0x2048).unwrap()
    }
    fn rsp(&self) -> u64 {
        u64_at(&self.0, RSP).unwrap()
    }
    /// What lies at the stack pointer: the return address into the driver that called `KeBugCheckEx`.
    fn called_by(&mut self, address: u64) -> &mut Self {
        let at = self.stack() + (self.rsp() - self.top()) as usize;
        self.long(at, address)
    }
    /// The same bytes on a stack elsewhere.
    fn on_stack_at(&mut self, top: u64) -> &mut Self {
        let rsp = top + (self.rsp() - self.top());
        self.long(0x2048, top).long(RSP, rsp)
    }
    /// A structure size that no layout has.
    fn of_unknown_layout(&mut self) -> &mut Self {
        let at = self.block() + 0x2a8;
        self.put(at, &0xa50u16.to_le_bytes())
    }
    /// A crash on the idle thread of the processor: ids 0 and 0, of the process Idle inside the kernel's image, in System's
    /// address space. Offsets of `_ETHREAD` and `_EPROCESS` of build 19041.
    fn on_idle_thread(&mut self) -> &mut Self {
        let (thread, process, prcb) = (self.thread(), self.process(), self.prcb());
        let current = u64_at(&self.0, prcb + 8).unwrap();
        self.long(thread + 0x478, 0).long(thread + 0x480, 0).long(thread + 0x220, 0xffff_f804_7bf2_4a00);
        self.long(prcb + 0x18, current);
        self.long(process + 0x440, 4).long(process + 0x540, 0);
        self.put(process + 0x5a8, b"System\0\0\0\0\0\0\0\0\0")
    }
    fn case(&self) -> Case {
        let dump = Arc::new(Dump::from_bytes(Path::new("changed.dmp"), &self.0).unwrap());
        let kernel = find::find(&dump, &Store::new(Options { offline: true, ..Options::default() }));
        Case { dump, kernel, notes: Vec::new() }
    }
    fn run(&self, analysis: &str) -> Collected {
        run(&self.case(), analysis)
    }
}

fn named(name: &str) -> &'static Analysis {
    ALL.iter().find(|a| a.name == name).unwrap()
}
fn run(case: &Case, analysis: &str) -> Collected {
    let mut out = Collected::default();
    named(analysis).run(case, &Ask::default(), &mut out).unwrap_or_else(|e| panic!("{analysis}: {e}"));
    out
}
fn cell<'r>(analysis: &str, row: &'r Row, key: &str) -> &'r Cell {
    let at = named(analysis).columns.iter().position(|c| c.key == key).unwrap();
    &row.cells[at]
}
/// Of each frame: module, offset in it, how it was found.
fn frames(found: &Collected) -> Vec<(Cell, Cell, Cell)> {
    let of = |row: &Row| ["module", "module_offset", "how"].map(|key| cell("callstacks", row, key).clone());
    found.rows.iter().map(of).map(|[module, offset, how]| (module, offset, how)).collect()
}
fn frame(module: &str, offset: u64, how: &str) -> (Cell, Cell, Cell) {
    (module.to_owned().into(), Cell::Hex(offset), how.to_owned().into())
}
fn says(found: &Collected, what: &str) -> bool {
    found.notes.iter().any(|n| n.text.contains(what))
}

#[test]
fn a_crash_on_a_dpc_stack() {
    let mut dump = Changed::new();
    dump.on_stack_at(0xffff_e501_8d9c_6ad0).called_by(TCPIP);
    let found = dump.run("callstacks");
    let all = frames(&found);
    assert_eq!(all[0], frame("ntoskrnl.exe", 0xe0_500e, "context"));
    assert_eq!(all[1], frame("tcpip.sys", 0x2_783e, "unchecked scan"));
    assert_eq!(all.len(), 8);
    // Nobody knows whether this is the bottom: the thread's own stack is another one.
    let last = found.rows.last().unwrap();
    assert_eq!(*cell("callstacks", last, "end"), Cell::from("end of the kept stack"));
    assert!(says(&found, "the dump keeps the stack up to"), "{:?}", found.notes);
}

#[test]
fn a_stack_that_is_kept_to_its_bottom_and_one_that_is_not() {
    let end = |dump: &Changed| {
        let found = dump.run("callstacks");
        cell("callstacks", found.rows.last().unwrap(), "end").clone()
    };
    let mut dump = Changed::new();
    let bottom = dump.top() + dump.part(0x2c) as u64;
    let thread = dump.thread();
    // `InitialStack`, whose last 30h bytes hold no return address.
    dump.long(thread + 0x28, bottom - 0x100);
    assert_eq!(end(&dump), Cell::from("bottom of the stack"));
    dump.long(thread + 0x28, bottom + 0x2000);
    assert_eq!(end(&dump), Cell::from("end of the kept stack"));
}

#[test]
fn a_crash_on_the_idle_thread() {
    let mut dump = Changed::new();
    dump.on_idle_thread().called_by(TCPIP);
    let case = dump.case();
    let kernel = case.kernel().unwrap();
    assert!(kernel.symbols.origin.starts_with("built-in table x64-10.0.19041"), "{}", kernel.symbols.origin);
    let threads = run(&case, "threads");
    assert_eq!(threads.rows.len(), 1);
    assert_eq!(*cell("threads", &threads.rows[0], "tid"), Cell::Dec(0));
    assert!(says(&threads, "idle thread"), "{:?}", threads.notes);
    assert_eq!(frames(&run(&case, "callstacks"))[1], frame("tcpip.sys", 0x2_783e, "unchecked scan"));
    // With an id of zero, but the processor ran another thread: that is not explained, and no layout is believed.
    let prcb = dump.prcb();
    dump.long(prcb + 0x18, 0xffff_e517_0340_0000);
    assert!(dump.case().kernel().unwrap().symbols.origin.starts_with("nowhere"));
}

#[test]
fn a_thread_that_was_attached_to_the_process() {
    let mut dump = Changed::new();
    let thread = dump.thread();
    // `Cid.UniqueProcess` and `Tcb.Process` of another process than `Tcb.ApcState.Process`.
    dump.long(thread + 0x478, 4).long(thread + 0x220, 0xffff_e517_0330_0080);
    let case = dump.case();
    assert!(case.kernel().unwrap().has_structures());
    assert!(says(&run(&case, "threads"), "the thread is one of process 4"));
    // Of another process without being attached: wrong.
    let home = u64_at(&dump.0, thread + 0x98 + 0x20).unwrap();
    dump.long(thread + 0x220, home);
    assert!(!dump.case().kernel().unwrap().has_structures());
}

#[test]
fn a_kernel_that_no_layout_fits() {
    let mut dump = Changed::new();
    dump.of_unknown_layout().called_by(TCPIP);
    let case = dump.case();
    let kernel = case.kernel().unwrap();
    assert!(kernel.symbols.types.member("_EPROCESS", "UniqueProcessId").is_none(), "a refused table is still there");
    assert!(kernel.system.is_none());
    let all = frames(&run(&case, "callstacks"));
    assert_eq!(all[0], frame("ntoskrnl.exe", 0xe0_500e, "context"));
    assert_eq!(all[1], frame("tcpip.sys", 0x2_783e, "unchecked scan"));
    for analysis in ["pslist", "pstree", "threads", "procinfo", "images", "stacks", "tokens", "callstacks"] {
        let found = run(&case, analysis);
        assert_eq!(*cell(analysis, &found.rows[0], "pid"), Cell::Dec(2620), "{analysis}");
        assert_eq!(*cell(analysis, &found.rows[0], "name"), Cell::from("explorer.exe".to_owned()), "{analysis}");
    }
    // What has no row for the process says so, and is no error.
    for analysis in ["triage", "findings", "lifecycle", "sessions", "timeline", "report"] {
        let found = run(&case, analysis);
        let pid = |row: &Row| row.cells.first().cloned();
        assert!(found.rows.iter().all(|row| pid(row) != Some(Cell::Dec(0))), "{analysis}");
    }
}

/// Whatever is asked of such a dump, no value is read through the layouts that were refused.
#[test]
fn without_a_layout_only_the_identity_is_there() {
    let mut dump = Changed::new();
    dump.of_unknown_layout();
    let case = dump.case();
    let found = run(&case, "procinfo");
    let known = ["pid", "ppid", "name", "dtb", "create_time"];
    for (column, cell) in named("procinfo").columns.iter().zip(&found.rows[0].cells) {
        let absent = *cell == Cell::Absent(Absent::NoSymbol);
        assert_eq!(absent, !known.contains(&column.key), "{}: {cell:?}", column.key);
    }
    // An identity that does not fit the header is none.
    let at = dump.process() + 0x28;
    dump.long(at, 0x1234_5000);
    let found = dump.run("pslist");
    assert!(found.rows.is_empty());
    assert!(says(&found, "not known"), "{:?}", found.notes);
    let row = &dump.run("callstacks").rows[0];
    assert_eq!(*cell("callstacks", row, "pid"), Cell::Absent(Absent::NoSymbol));
}

#[test]
fn a_clock_that_was_set_back() {
    let mut dump = Changed::new();
    dump.of_unknown_layout();
    // The header's time is a day before the process was made.
    let found = dump.run("pslist");
    let made = cell("pslist", &found.rows[0], "create_time").clone();
    let Cell::Time(made) = made else { panic!("{made:?}") };
    dump.long(0xfa8, made.0 - 864_000_000_000);
    let found = dump.run("pslist");
    assert_eq!(*cell("pslist", &found.rows[0], "pid"), Cell::Dec(2620));
    assert_eq!(*cell("pslist", &found.rows[0], "create_time"), Cell::Time(made));
}

#[test]
fn the_processor_block_where_the_header_has_no_stack_pointer() {
    let mut dump = Changed::new();
    let (rip, rsp, prcb, block) = (u64_at(&dump.0, RIP).unwrap(), dump.rsp(), dump.prcb(), dump.block());
    dump.called_by(TCPIP).long(RSP, 0);
    // Nothing else has registers: what is kept of the stack is looked through from its lowest byte on.
    let found = dump.run("callstacks");
    assert_eq!(frames(&found)[0], frame("ntoskrnl.exe", 0xe0_500e, "context"));
    assert!(frames(&found).contains(&frame("tcpip.sys", 0x2_783e, "unchecked scan")));
    assert!(found.notes.iter().any(|n| n.loss && n.text.contains("return addresses")), "{:?}", found.notes);
    // `OffsetPrcbProcStateContext`, and registers there.
    dump.put(block + 0x2bc, &0x100u16.to_le_bytes());
    dump.long(prcb + 0x100 + 0xf8, rip).long(prcb + 0x100 + 0x98, rsp);
    let found = dump.run("callstacks");
    assert_eq!(frames(&found)[1], frame("tcpip.sys", 0x2_783e, "unchecked scan"));
    assert_eq!(*cell("callstacks", &found.rows[0], "sp"), Cell::Hex(rsp));
    assert!(says(&found, "_KPRCB"), "{:?}", found.notes);
    // A stack pointer that leads out of all that is kept is no better than none.
    dump.long(RSP, 0xffff_8000_0000_1000);
    assert!(says(&dump.run("callstacks"), "_KPRCB"));
}

#[test]
fn a_driver_that_was_unloaded() {
    let mut dump = Changed::new();
    dump.called_by(0xffff_f805_0222_4444);
    assert_eq!(frames(&dump.run("callstacks"))[1], frame("WdFilter.sys (unloaded)", 0x1444, "unchecked scan"));
    let case = dump.case();
    let stack = crash::of(case.kernel().unwrap()).unwrap();
    let second = stack.frames().nth(1).unwrap();
    assert_eq!((second.module.as_deref(), second.unloaded), (Some("WdFilter.sys"), true));
}

/// Machines of the forge that crashed in a DPC, and on the idle thread: of several kernels, with what was planted as the truth.
#[test]
fn forged_crashes_on_other_stacks() {
    use forge::scenario::{CrashOn, Scenario};
    use forge::truth::Json;
    let number = |truth: &Json, key: &str| match truth.get("crash").and_then(|c| c.get(key)) {
        Some(Json::Number(n)) => *n,
        _ => panic!("no {key} in the truth"),
    };
    for name in ["win10-2004", "win7-sp1", "win11-24h2", "win10-1507-x86"] {
        for on in [CrashOn::Dpc, CrashOn::Idle] {
            let mut s = Scenario::load(name);
            (s.crash_on, s.context, s.containers) = (on, None, vec!["triage".into()]);
            let (dumps, truth) = forge::build(&s);
            let case = Changed(dumps[0].1.clone()).case();
            let kernel = case.kernel().unwrap();
            assert!(kernel.has_structures(), "{name} {on:?}: {}", kernel.symbols.origin);
            let found = run(&case, "callstacks");
            let key = |i: usize, key| cell("callstacks", &found.rows[i], key).clone();
            let (ip, sp, caller) = (number(&truth, "ip"), number(&truth, "sp"), number(&truth, "caller"));
            assert_eq!((key(0, "ip"), key(0, "sp")), (Cell::Hex(ip), Cell::Hex(sp)), "{name} {on:?}");
            assert!(found.rows.len() > 2, "{name} {on:?}");
            // x86 code is left by its frame pointer, which leads to the caller's caller here.
            if kernel.arch == crate::dump::Arch::X64 {
                assert_eq!((key(1, "ip"), key(1, "sp")), (Cell::Hex(caller), Cell::Hex(sp + 8)), "{name} {on:?}");
            }
            let threads = run(&case, "threads");
            assert_eq!(*cell("threads", &threads.rows[0], "pid"), Cell::Dec(4), "{name} {on:?}");
            let tid = cell("threads", &threads.rows[0], "tid");
            assert_eq!(*tid == Cell::Dec(0), on == CrashOn::Idle, "{name}: {tid:?}");
        }
    }
}
