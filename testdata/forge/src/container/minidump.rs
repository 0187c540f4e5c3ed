//! User-mode minidumps (`MDMP`) of one process of the machine, with all of its memory.
//!
//! Source: `minidumpapiset.h` (learn.microsoft.com/windows/win32/api/minidumpapiset): header, directory of streams, and each
//! stream's structure. Everything said here is in the truth of that process.

use crate::memory::PAGE;
use crate::plant::{Planted, UserModule, UserSide};
use crate::scenario::Scenario;
use crate::truth::Json;

/// Streams by the numbers of `MINIDUMP_STREAM_TYPE`.
mod stream {
    pub const THREADS: u32 = 3;
    pub const MODULES: u32 = 4;
    pub const EXCEPTION: u32 = 6;
    pub const SYSTEM: u32 = 7;
    pub const MEMORY64: u32 = 9;
    pub const HANDLES: u32 = 12;
    pub const UNLOADED: u32 = 14;
    pub const MISC: u32 = 15;
    pub const MEMORY_INFO: u32 = 16;
    pub const THREAD_INFO: u32 = 17;
    pub const THREAD_NAMES: u32 = 24;
}

/// A file being laid out.
#[derive(Default)]
struct File {
    out: Vec<u8>,
    directory: Vec<(u32, u32, u32)>,
}

/// Little-endian numbers one after the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u16(mut self, v: u64) -> Bytes {
        self.0.extend((v as u16).to_le_bytes());
        self
    }
    fn u32(mut self, v: u64) -> Bytes {
        self.0.extend((v as u32).to_le_bytes());
        self
    }
    fn u64(mut self, v: u64) -> Bytes {
        self.0.extend(v.to_le_bytes());
        self
    }
    fn zero(mut self, n: usize) -> Bytes {
        self.0.extend(vec![0; n]);
        self
    }
}

fn b() -> Bytes {
    Bytes::default()
}

impl File {
    /// Appends at the next multiple of eight; gives the offset.
    fn add(&mut self, bytes: &[u8]) -> u64 {
        self.out.resize(self.out.len().next_multiple_of(8), 0);
        let at = self.out.len() as u64;
        self.out.extend(bytes);
        at
    }

    /// `MINIDUMP_STRING`: length in bytes, characters, terminator.
    fn text(&mut self, text: &str) -> u64 {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bytes = [&(units.len() as u32).to_le_bytes()[..], &units, &[0, 0]].concat();
        self.add(&bytes)
    }

    fn stream(&mut self, kind: u32, bytes: &[u8]) {
        let at = self.add(bytes);
        self.directory.push((kind, bytes.len() as u32, at as u32));
    }
}

fn number(j: &Json, key: &str) -> u64 {
    match j.get(key) {
        Some(Json::Number(n)) => *n,
        _ => 0,
    }
}

fn string(j: &Json, key: &str) -> String {
    match j.get(key) {
        Some(Json::Text(t)) => t.clone(),
        _ => String::new(),
    }
}

fn list(j: &Json, key: &str) -> Vec<Json> {
    match j.get(key) {
        Some(Json::List(l)) => l.clone(),
        _ => Vec::new(),
    }
}

/// The whole file: the process named by the scenario's `context`, or the first with a PEB.
///
/// # Panics
/// When no process of the scenario has user memory.
pub fn write(p: &Planted, s: &Scenario) -> Vec<u8> {
    let wanted = s.context.as_deref();
    let processes = list(&p.truth, "processes");
    let process = processes
        .iter()
        .find(|j| number(j, "peb") != 0 && wanted.is_none_or(|w| string(j, "name") == w))
        .expect("a process with user memory");
    let side = p.users.iter().find(|u| u.pid == number(process, "pid")).expect("its address space");
    let mut f = File { out: vec![0; 32], ..File::default() };
    system(&mut f, p, s);
    misc(&mut f, process);
    modules(&mut f, process, side);
    threads(&mut f, p, s, process, side);
    memory_info(&mut f, process, side);
    handles(&mut f, process);
    // Memory comes last: its bytes follow the file's other parts.
    memory(&mut f, p, side);
    let directory: Vec<u8> =
        f.directory.iter().flat_map(|(k, n, at)| [*k, *n, *at]).flat_map(u32::to_le_bytes).collect();
    let at = f.add(&directory);
    // Full memory, handle data, unloaded modules, full memory info, thread info.
    let flags = 0x2 | 0x4 | 0x20 | 0x800 | 0x1000;
    let seconds = s.now / 10_000_000 - 11_644_473_600;
    let head = b().u32(0x504D_444D).u32(0xA793).u32(f.directory.len() as u64).u32(at).u32(0).u32(seconds).u64(flags);
    f.out[..32].copy_from_slice(&head.0);
    f.out
}

fn system(f: &mut File, p: &Planted, s: &Scenario) {
    let pack = if s.service_pack == 0 { String::new() } else { format!("Service Pack {}", s.service_pack) };
    let pack = f.text(&pack);
    let wide = p.machine.pointer() == 8;
    let bytes = b()
        .u16(if wide { 9 } else { 0 })
        .u16(6)
        .u16(0x9E0A)
        .u16(2 | 1 << 8) // processors, workstation
        .u32(s.nt.0.into())
        .u32(s.nt.1.into())
        .u32(s.build.into())
        .u32(2)
        .u32(pack)
        .u16(0x100)
        .zero(26);
    f.stream(stream::SYSTEM, &bytes.0);
}

fn misc(f: &mut File, process: &Json) {
    let created = number(process, "create") / 10_000_000 - 11_644_473_600;
    let bytes = b().u32(24).u32(1 | 2).u32(number(process, "pid")).u32(created).u32(1).u32(2);
    f.stream(stream::MISC, &bytes.0);
}

fn modules(f: &mut File, process: &Json, side: &UserSide) {
    let list = list(process, "modules");
    let mut out = b().u32(list.len() as u64);
    for m in &list {
        let name = f.text(&string(m, "path"));
        let file = side.modules.iter().find(|i| i.base == number(m, "base"));
        let (time, record) = file.map_or((0, Vec::new()), |i: &UserModule| (i.timestamp, i.codeview.clone()));
        let at = f.add(&record);
        out = out.u64(number(m, "base")).u32(number(m, "size")).u32(u64::from(time ^ 0x0010_5A5A)).u32(time.into());
        // No version resource; CodeView record; no other.
        out = out.u32(name).zero(52).u32(record.len() as u64).u32(at).zero(8).zero(16);
    }
    f.stream(stream::MODULES, &out.0);
    let name = f.text("unloaded_helper.dll");
    let out = b().u32(12).u32(24).u32(1).u64(0x6123_0000).u32(0x2_4000).u32(0x2_5F31).u32(0x5D11_2233).u32(name);
    f.stream(stream::UNLOADED, &out.0);
}

fn threads(f: &mut File, p: &Planted, s: &Scenario, process: &Json, side: &UserSide) {
    let threads: Vec<Json> = list(process, "threads").into_iter().filter(|t| number(t, "exit") == 0).collect();
    let mut out = b().u32(threads.len() as u64);
    let mut info = b().u32(12).u32(64).u32(threads.len() as u64);
    let mut names: Vec<(u64, u64)> = Vec::new();
    let mut first = None;
    for t in &threads {
        let (rip, rsp, base) = side.stacks.get(&number(t, "tid")).copied().unwrap_or_default();
        let mut c = p.machine.obj("_CONTEXT");
        if p.machine.pointer() == 8 {
            c.set("ContextFlags", 0x10_000F).set("Rip", rip).set("Rsp", rsp).set("SegCs", 0x33).set("SegSs", 0x2B);
        } else {
            c.set("ContextFlags", 0x1_000F).set("Eip", rip).set("Esp", rsp).set("SegCs", 0x1B).set("SegSs", 0x23);
        }
        c.set("EFlags", 0x246);
        let context = (f.add(&c.bytes), c.bytes.len() as u64);
        let stack = side.space.read(&p.machine.mem, rsp, base - rsp);
        let stack_at = f.add(&stack);
        first.get_or_insert((number(t, "tid"), rip, context));
        out = out.u32(number(t, "tid")).u32(0).u32(0x20).u32(0).u64(number(t, "teb"));
        out = out.u64(rsp).u32(stack.len() as u64).u32(stack_at).u32(context.1).u32(context.0);
        info = info.u32(number(t, "tid")).u32(0).u32(0).u32(0x103).u64(number(t, "create")).u64(0).u64(30_000);
        info = info.u64(20_000).u64(number(t, "start")).u64(3);
        let name = string(t, "name");
        if !name.is_empty() {
            names.push((number(t, "tid"), f.text(&name)));
        }
    }
    f.stream(stream::THREADS, &out.0);
    f.stream(stream::THREAD_INFO, &info.0);
    let mut out = b().u32(names.len() as u64);
    for (tid, at) in names {
        out = out.u32(tid).u64(at);
    }
    f.stream(stream::THREAD_NAMES, &out.0);
    if let Some((tid, rip, context)) = first {
        // An access violation: it wrote to an address that nobody has.
        let record = b().u32(0xC000_0005).u32(0).u64(0).u64(rip).u32(2).u32(0).u64(1).u64(0x10).zero(13 * 8);
        let mut out = b().u32(tid).u32(0);
        out.0.extend(record.0);
        let out = out.u32(context.1).u32(context.0);
        f.stream(stream::EXCEPTION, &out.0);
    }
    let _ = s;
}

/// `PAGE_…` of a protection code.
fn page(code: u64) -> u64 {
    let access = [0x01, 0x02, 0x10, 0x20, 0x04, 0x08, 0x40, 0x80][(code & 7) as usize];
    if code & 7 == 0 { 1 } else { access | [0, 0x200, 0x100, 0x400][(code >> 3) as usize] }
}

fn memory_info(f: &mut File, process: &Json, side: &UserSide) {
    let mut rows: Vec<[u64; 7]> = Vec::new();
    for v in list(process, "vads") {
        let (start, end) = (number(&v, "start"), number(&v, "end"));
        let kind = string(&v, "kind");
        let ty = match kind.as_str() {
            "image" => 0x100_0000u64,
            "mapped" => 0x4_0000,
            _ => 0x2_0000,
        };
        let allocation = page(number(&v, "protection"));
        let mut at = start;
        while at <= end {
            // Of private memory, what is there is committed; images and sections are so as a whole.
            let there = ty != 0x2_0000 || side.space.pages.contains_key(&(at / PAGE));
            let (state, protect) = if there { (0x1000, allocation) } else { (0x2000, 0) };
            match rows.last_mut() {
                Some(r) if r[0] + r[3] == at && r[1] == start && r[4] == state => r[3] += PAGE,
                _ => rows.push([at, start, allocation, PAGE, state, protect, ty]),
            }
            at += PAGE;
        }
    }
    let mut out = b().u32(16).u32(48).u64(rows.len() as u64);
    for [base, allocation, access, size, state, protect, ty] in rows {
        out = out.u64(base).u64(allocation).u32(access).u32(0).u64(size).u32(state).u32(protect).u32(ty).u32(0);
    }
    f.stream(stream::MEMORY_INFO, &out.0);
}

fn handles(f: &mut File, process: &Json) {
    let list = list(process, "handles");
    let mut out = b().u32(16).u32(32).u32(list.len() as u64).u32(0);
    for h in &list {
        let ty = f.text(&string(h, "type"));
        let name = string(h, "name");
        let name = if name.is_empty() { 0 } else { f.text(&name) };
        out = out.u64(number(h, "value")).u32(ty).u32(name).u32(number(h, "attributes")).u32(number(h, "access"));
        out = out.u32(1).u32(2);
    }
    f.stream(stream::HANDLES, &out.0);
}

fn memory(f: &mut File, p: &Planted, side: &UserSide) {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for n in side.space.pages.keys().copied().filter(|n| *n < 1 << 35) {
        match ranges.last_mut() {
            Some((start, len)) if *start + *len == n * PAGE => *len += PAGE,
            _ => ranges.push((n * PAGE, PAGE)),
        }
    }
    let size = 16 + 16 * ranges.len();
    let at = f.out.len().next_multiple_of(8) as u64;
    let base = (at + size as u64).next_multiple_of(8);
    let mut out = b().u64(ranges.len() as u64).u64(base);
    for (start, len) in &ranges {
        out = out.u64(*start).u64(*len);
    }
    f.stream(stream::MEMORY64, &out.0);
    for (start, len) in ranges {
        let bytes = side.space.read(&p.machine.mem, start, len);
        f.out.extend(bytes);
    }
}
