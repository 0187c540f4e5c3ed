//! Processes: the `_EPROCESS` and all that hangs on it.

use std::collections::BTreeMap;

use super::files::{self, Files, Mapped};
use super::handles::{self, Slot, Targets};
use super::session::Sessions;
use super::thread::{self, Made, Owner};
use super::token::Tokens;
use super::triage::Crashed;
use super::user::{Backing, Region, User};
use super::{UserModule, UserSide};
use super::{heaps, jobs, keys::Keys, odd, pages, peb, shared, unloaded_dlls, vad, wow64};
use crate::layout::Layouts;
use crate::machine::{Header, Machine, Obj};
use crate::memory::{PAGE, PoolKind, Space, flags};
use crate::scenario::{Process, Scenario};
use crate::truth::Json;

/// Where the page table's root is kept: before Vista in the first of two words.
const DTB: [&str; 2] = ["Pcb.DirectoryTableBase[0]", "Pcb.DirectoryTableBase"];

/// What planting the processes gives.
pub struct Processes {
    /// Their truth.
    pub truth: Json,
    /// Their user halves, System's excepted.
    pub users: Vec<UserSide>,
    /// `_HANDLE_TABLE` of process and thread ids.
    pub cid_table: u64,
    /// `_CONTEXT` of the crashing thread.
    pub context: Vec<u8>,
    /// Where it is.
    pub rip: u64,
    /// CR3 at the time of the crash.
    pub cr3: u64,
    /// Where the first bin of the hive SOFTWARE lies in the process Registry, where that holds the hives.
    pub hive: Option<u64>,
    /// Id and `_EPROCESS` of the process that holds compressed memory.
    pub store_owner: Option<(u64, u64)>,
    /// Jobs, if there are any.
    pub jobs: Option<Json>,
    /// The crashing process and thread.
    pub crashed: Crashed,
}

/// One process while being planted.
struct Draft<'a> {
    p: &'a Process,
    va: u64,
    obj: Obj,
    truth: Json,
    threads: Vec<Made>,
    space: Option<Space>,
    area: u64,
    token: u64,
    modules: Vec<Mapped>,
    injected: Vec<u64>,
    hive: Option<u64>,
}

impl Draft<'_> {
    fn user_side(self) -> Option<UserSide> {
        let stacks = self.threads.iter().map(|t| (t.tid, t.user)).collect();
        let modules = self
            .modules
            .iter()
            .map(|f| UserModule {
                base: f.file.base,
                timestamp: f.file.timestamp,
                codeview: files::rsds(&f.file).record(),
            })
            .collect();
        self.space.map(|space| UserSide { pid: self.p.pid, space, area: self.area, modules, stacks })
    }
}

/// Plants all processes.
pub fn plant(m: &mut Machine, s: &Scenario, files: &mut Files, shared_frame: u64) -> Processes {
    let mut tokens = Tokens::default();
    let mut sessions = Sessions::default();
    let mut next_tid = ThreadIds { last: 0x9C0, taken: s.processes.iter().map(|p| p.pid).collect() };
    let mut drafts: Vec<Draft> = Vec::new();
    for p in &s.processes {
        // Several headers are cache-aligned in the real kernel; sixteen bytes are enough for every reader.
        let header = Header { pointers: 8, quota: true, handle_info: true, ..Header::default() };
        let va = m.object("Process", m.layouts.size("_EPROCESS"), &header);
        if p.wiped {
            // Quota and handle information stand before the header, the pool's own header before these.
            let pool = va - m.body_offset() - m.info_offset(0xC) - m.layouts.size("_POOL_HEADER");
            m.poke(pool, "_POOL_HEADER", "PoolTag", 0);
        }
        let obj = m.obj("_EPROCESS");
        drafts.push(Draft {
            p,
            va,
            obj,
            truth: Json::object(),
            threads: Vec::new(),
            space: None,
            area: 0,
            token: 0,
            modules: Vec::new(),
            injected: Vec::new(),
            hive: None,
        });
    }
    let mut made: BTreeMap<String, (u64, Json)> = BTreeMap::new();
    for d in &mut drafts {
        standing(m, s, d);
        let (token, truth) = match d.p.token_of.as_ref().and_then(|n| made.get(n).cloned()) {
            Some(stolen) => stolen,
            None => tokens.plant(m, d.p),
        };
        made.entry(d.p.name.clone()).or_insert_with(|| (token, truth.clone()));
        d.token = token;
        // The low bits count cached references: four bits of them on x64, three on x86.
        d.obj.set("Token.Value", token | (2 * m.pointer() - 1));
        d.truth.set("token", truth);
        if let Some(id) = d.p.session.filter(|_| d.p.pid != 4 && !d.p.minimal) {
            let links = d.va + m.layouts.offset("_EPROCESS", "SessionProcessLinks");
            d.obj.set("Session", sessions.join(m, id, links));
        }
        memory(m, s, d, files, shared_frame, &mut next_tid, &mut tokens);
    }
    let mut targets = Targets {
        processes: BTreeMap::new(),
        threads: BTreeMap::new(),
        tokens: BTreeMap::new(),
        keys: Keys::of(s.build),
    };
    for d in &drafts {
        targets.processes.entry(d.p.name.clone()).or_insert(d.va);
        targets.tokens.entry(d.p.name.clone()).or_insert(d.token);
        if let Some(t) = d.threads.first() {
            targets.threads.entry(d.p.name.clone()).or_insert(t.va);
        }
    }
    for d in &mut drafts {
        let (slots, truth) = handles::plant(m, d.p, files, &mut targets);
        if d.p.exit.is_none() {
            let table = handles::table(m, &slots, d.va, d.p.pid);
            d.obj.set("ObjectTable", table);
            d.truth.set("handle_table", table);
            if d.p.pid == 4 {
                m.plant_word("ObpKernelHandleTable", table);
            }
        }
        d.truth.set("handles", truth);
        m.write(d.va, &d.obj.bytes.clone());
        lists(m, d);
    }
    // The lists of a process are only heads in its own bytes: link after writing these.
    active(m, &drafts);
    let mut members: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for d in &drafts {
        if let Some(job) = &d.p.job {
            members.entry(job.clone()).or_default().push(d.va);
        }
    }
    let jobs = if members.is_empty() { None } else { Some(jobs::plant(m, &members)) };
    sessions.finish(m);
    let cid_table = cids(m, &drafts);
    m.plant_word("PspCidTable", cid_table);
    m.plant_word("PsInitialSystemProcess", drafts[0].va);
    let wanted = s.context.as_deref().unwrap_or("System");
    let crashed = drafts.iter().find(|d| d.p.name == wanted).unwrap_or(&drafts[0]);
    let crash = crashed.threads.first().map_or((0, 0), |t| t.kernel);
    // The low twelve bits of CR3 hold a process-context id; readers must mask them.
    // ARM64 keeps an address-space id above the address (TTBR0_EL1.ASID).
    let pcid = match m.layouts.machine() {
        0xAA64 => 2 << 48,
        0x8664 => 2,
        _ => 0,
    };
    let cr3 = crashed.space.as_ref().map_or(s.root << 12, |u| u.dtb() | pcid);
    let ebp = crashed.threads.first().map_or(0, |t| t.ebp);
    let context = context(m, crash, ebp);
    let at = crashed.threads.first().map_or((0, 0), |t| (t.va, t.base));
    let triage = Crashed { process: crashed.va, thread: at.0, stack: crash.0, base: at.1 };
    let truth = drafts.iter().map(|d| d.truth.clone()).collect::<Vec<_>>().into();
    Processes {
        truth,
        jobs,
        hive: drafts.iter().find_map(|d| d.hive),
        store_owner: drafts.iter().find(|d| d.p.name == "MemCompression").map(|d| (d.p.pid, d.va)),
        crashed: triage,
        users: drafts.into_iter().filter_map(Draft::user_side).collect(),
        cid_table,
        context,
        rip: crash.1,
        cr3,
    }
}

/// The registers of a thread that crashed with this stack pointer and at this address.
fn context(m: &Machine, (stack, ip): (u64, u64), frame: u64) -> Vec<u8> {
    if m.layouts.machine() == 0xAA64 {
        return context_arm64(ip, stack + 0x40, frame);
    }
    let mut context = m.obj("_CONTEXT");
    if m.pointer() == 8 {
        context.set("ContextFlags", 0x10_001F).set("Rip", ip).set("Rsp", stack + 0x40);
        context.set("SegCs", 0x10).set("SegSs", 0x18).set("EFlags", 0x246);
    } else {
        context.set("ContextFlags", 0x1_001F).set("Eip", ip).set("Esp", stack + 0x20);
        context.set("Ebp", frame).set("SegCs", 8).set("SegSs", 0x10).set("EFlags", 0x246);
    }
    context.bytes
}

/// `ARM64_NT_CONTEXT` of `winnt.h`: flags (ARM64, control and integer), `Cpsr`, x0 to x28, `Fp`, `Lr`, `Sp`, `Pc`.
fn context_arm64(pc: u64, sp: u64, fp: u64) -> Vec<u8> {
    let mut out = vec![0; 0x390];
    out[..4].copy_from_slice(&0x40_0003u32.to_le_bytes());
    for (at, value) in [(0xF0, fp), (0x100, sp), (0x108, pc)] {
        out[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    out
}

/// Name, ids, times and the like.
fn standing(m: &mut Machine, s: &Scenario, d: &mut Draft) {
    let p = d.p;
    let image = p.name.as_bytes();
    let e = &mut d.obj;
    e.set("Pcb.Header.Type", 3).set("Pcb.Header.SignalState", p.exit.is_some().into()).set("Pcb.BasePriority", 8);
    e.set_opt("Pcb.Header.Size", (m.layouts.size("_KPROCESS") / 4) & 0xFF).set_opt("Pcb.QuantumReset", 6);
    e.set("UniqueProcessId", p.pid).set("InheritedFromUniqueProcessId", p.ppid).set("CreateTime.QuadPart", p.create);
    // The array is fifteen bytes; the kernel leaves room for a terminator when it cuts a name.
    e.set_bytes("ImageFileName", &image[..image.len().min(14)]).set("PriorityClass", 2);
    e.set("ExitStatus", p.exit.map_or(0x103, |x| x.1.into())).set("ExitTime.QuadPart", p.exit.map_or(0, |x| x.0));
    e.set_opt("Cookie", m.rng.below(1 << 32))
        .set_opt("SequenceNumber", p.pid / 4)
        .set_opt("Protection.Level", p.protection);
    e.set_opt("Flags3", if p.minimal { 1 } else { 0 }).set_opt("HighestUserAddress", super::globals::user_end(m, s));
    let flags = 0x144D_0C01 | if p.exit.is_some() { 0x2C } else { 0 };
    e.set("Flags", flags).set("DefaultHardErrorProcessing", 5);
    if s.tails {
        tail(&m.layouts, e, p);
    }
    for (name, ticks) in [("Kernel", p.ticks.0), ("User", p.ticks.1)].into_iter().filter(|(_, ticks)| *ticks != 0) {
        if e.has(&format!("Pcb.{name}Time")) {
            e.set(&format!("Pcb.{name}Time"), ticks);
        } else {
            e.set(&format!("Pcb.{name}TimeLow"), ticks & 0xFFFF_FFFF).set(&format!("{name}TimeHigh"), ticks >> 32);
        }
        d.truth.set(&format!("{}_ticks", name.to_lowercase()), ticks);
    }
    if p.leaving {
        e.set("ProcessExiting", 1);
    }
    if p.signature != 0 {
        e.set("SignatureLevel", p.signature).set("SectionSignatureLevel", p.signature);
    }
    if p.debugged.is_some() {
        // A debug object: an event, a mutex, a list of events, flags. No public PDB describes it.
        let port = m.alloc(PoolKind::NonPaged, b"DbgK", 0x60);
        e.set("DebugPort", port);
    }
    if p.pid != 4 && !p.minimal {
        let path = format!("\\Device\\HarddiskVolume3{}", p.path.as_deref().unwrap_or(""));
        let name =
            m.alloc(PoolKind::Paged, b"SeOn", m.layouts.size("_OBJECT_NAME_INFORMATION") + 2 * path.len() as u64 + 2);
        let buffer = name + m.layouts.size("_OBJECT_NAME_INFORMATION");
        let mut n = m.obj("_OBJECT_NAME_INFORMATION");
        n.set_text("Name", &path, buffer);
        m.write(name, &n.bytes);
        m.write(buffer, &path.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        d.obj.set("SeAuditProcessCreationInfo.ImageFileName", name);
        d.truth.set("audit_name", path);
    } else {
        d.truth.set("audit_name", Json::Null);
    }
    let shown = String::from_utf8_lossy(&image[..image.len().min(14)]).into_owned();
    let truth = &mut d.truth;
    for (key, value) in [("pid", p.pid), ("ppid", p.ppid), ("eprocess", d.va), ("create", p.create)] {
        truth.set(key, value);
    }
    truth.set("name", shown);
    truth.set("exit", p.exit.map_or(0, |x| x.0));
    truth.set("exit_status", p.exit.map_or(0x103, |x| x.1));
    truth.set("linked", !p.hidden);
    truth.set("session", p.session.filter(|_| p.pid != 4 && !p.minimal));
    truth.set("wow64", p.wow64);
    truth.set("protection", p.protection);
    if p.unnumbered {
        truth.set("unnumbered", true);
    }
    if let Some(how) = &p.debugged {
        truth.set("debugged", how.as_str());
    }
    truth.set("user", super::accounts::account(&p.user).user);
    let why = match () {
        () if p.why.is_some() => p.why.as_deref(),
        () if p.hidden => Some("dkom-hidden"),
        () if p.exit.is_some() => Some("terminated"),
        () if p.wow64 => Some("wow64"),
        () if p.minimal => Some("minimal"),
        () => None,
    };
    truth.set("why", why);
}

/// Fields that nothing else asks for: numbers of the process's own, so that whatever is read one field off shows. Of flags only those
/// are set that this kernel has a name for.
fn tail(layouts: &Layouts, e: &mut Obj, p: &Process) {
    let own = 0x1000 + p.pid;
    for (i, field) in ["MitigationFlags", "MitigationFlags2", "MitigationFlags3", "Flags2", "Flags4"].iter().enumerate()
    {
        e.set_opt(field, (own << 4 | 1 << i) & named_bits(layouts, field));
    }
    for (i, field) in ["CommitChargePeak", "PeakVirtualSize", "NumberOfPrivatePages"].iter().enumerate() {
        e.set_opt(field, own * (i as u64 + 3));
    }
    e.set_opt("LastThreadExitStatus", own << 1);
    e.set_opt("SectionSignatureLevel", 4 + (p.pid >> 2) % 4).set_opt("SignatureLevel", 8 + (p.pid >> 2) % 4);
}

/// The bits of a word of flags that have a name in this kernel.
fn named_bits(layouts: &Layouts, word: &str) -> u64 {
    let Some(place) = layouts.find("_EPROCESS", word) else { return 0 };
    let bits = layouts.ty("_EPROCESS").fields.iter().filter(|f| f.offset == place.offset).filter_map(|f| f.bits);
    bits.fold(0, |mask, (at, len)| mask | ((1u64 << len) - 1) << at)
}

/// Address space, PEB, threads, VADs.
fn memory(
    m: &mut Machine,
    s: &Scenario,
    d: &mut Draft,
    files: &mut Files,
    shared_frame: u64,
    next_tid: &mut ThreadIds,
    tokens: &mut Tokens,
) {
    let p = d.p;
    d.truth.set("peb", 0u64);
    for key in ["injected", "unlinked_dll"] {
        d.truth.set(key, Json::Null);
    }
    for key in ["modules", "env", "vads"] {
        d.truth.set(key, Vec::<Json>::new());
    }
    d.truth.set("cmdline", Json::Null);
    let mut modules = Vec::new();
    let (mut user, mut peb_va) = (None, 0);
    if p.pid == 4 {
        d.obj.set_first(&DTB, s.root << 12);
        system_vads(m, d, files);
    } else {
        let mut u = User::new(m, p.wow64);
        d.obj.set_first(&DTB, u.space.dtb());
        if p.path.is_some() && p.exit.is_none() {
            modules = images(m, p, &mut u, files);
            u.space.map(&mut m.mem, shared::USER, shared_frame, flags::P | flags::U | 0x20 | flags::NX);
            u.private(shared::USER, 1, 0, 1);
            let (va, truths) = peb::plant(m, s, p, &mut u, &modules);
            peb_va = va;
            for (key, value) in truths {
                d.truth.set(key, value);
            }
            d.truth.set("peb", peb_va);
            d.truth.set("cmdline", p.cmdline.as_str());
            d.truth.set("cwd", p.cwd.as_str());
            let own = format!("C:{}", p.path.as_deref().unwrap_or(""));
            d.truth.set("image_path", p.shown.clone().unwrap_or(own));
            d.obj
                .set("Peb", peb_va)
                .set("SectionObject", modules[0].section)
                .set("SectionBaseAddress", modules[0].file.base);
            d.obj.set_opt("ImageFilePointer", modules[0].object);
            if p.wow64 {
                for (key, value) in wow64::plant(m, s, p, &mut d.obj, &mut u, &modules) {
                    d.truth.set(key, value);
                }
            }
            extra(m, s, d, &mut u, &modules, files, peb_va);
        }
        if p.minimal && p.name == "Registry" && !s.profiles.is_empty() {
            d.hive = Some(super::hive::map_file(m, &s.profiles, files, &mut u));
        }
        user = Some(u);
    }
    d.truth.set("dtb", user.as_ref().map_or(s.root << 12, |u| u.space.dtb()));
    threads(m, d, &modules, peb_va, user.as_mut(), next_tid, tokens);
    if let Some(mut u) = user {
        if peb_va != 0 {
            basic(m, p, &mut u);
        }
        if !u.regions.is_empty() {
            let vads = vad::plant(m, &u.regions, d.va, &mut d.obj, p.deep);
            let pages: u64 = u.regions.iter().map(|r| r.commit).sum();
            d.obj.set("CommitCharge", pages).set("VirtualSize", u.regions.iter().map(|r| r.end + 1 - r.start).sum());
            d.obj.set_first(&["Vm.Instance.WorkingSetSize", "Vm.WorkingSetSize"], u.space.pages.len() as u64);
            d.truth.set("vads", vads);
        }
        d.truth.set("paging", u.paging);
        d.area = if peb_va != 0 { u.area } else { 0 };
        d.space = Some(u.space);
        d.modules = modules;
    }
}

/// System has a few regions too: ntdll, mapped there once to read addresses from it, and the shared page.
fn system_vads(m: &mut Machine, d: &mut Draft, files: &mut Files) {
    let file = files.image(m, "\\Windows\\System32\\ntdll.dll");
    let ntdll = Region {
        start: file.file.base,
        end: file.file.base + file.file.size - 1,
        protection: 7,
        commit: 2,
        backing: Backing::Image(Box::new(file)),
    };
    let shared = Region {
        start: shared::USER,
        end: shared::USER + PAGE - 1,
        protection: 1,
        commit: 0,
        backing: Backing::Private(0),
    };
    let vads = vad::plant(m, &[ntdll, shared], d.va, &mut d.obj, false);
    d.truth.set("vads", vads);
}

/// Maps the program, ntdll and the other modules, in load order.
fn images(m: &mut Machine, p: &Process, u: &mut User, files: &mut Files) -> Vec<Mapped> {
    let program = p.path.clone().unwrap_or_default();
    let names = [program, "\\Windows\\System32\\ntdll.dll".to_string()].into_iter().chain(p.dlls.iter().cloned());
    let mut out = Vec::new();
    for name in names {
        let file = files.image(m, &name);
        if !(p.hollowed && out.is_empty()) {
            u.map_image(m, &file);
        }
        out.push(file);
    }
    out.extend(p.phantom_dll.iter().map(|name| files.image(m, name)));
    out
}

fn threads(
    m: &mut Machine,
    d: &mut Draft,
    modules: &[Mapped],
    peb: u64,
    mut user: Option<&mut User>,
    next_tid: &mut ThreadIds,
    tokens: &mut Tokens,
) {
    let alive_user = peb != 0;
    let ntdll = modules.get(1).map_or(0, |f| f.file.base + PAGE);
    let owner = Owner { process: d.p, eprocess: d.va, peb, ntdll };
    let mut truths = Vec::new();
    for (i, t) in d.p.threads.iter().enumerate() {
        let tid = next_tid.next(m);
        let start = start_address(m, &t.start, modules, &d.injected);
        let at = t.at.as_ref().map(|at| start_address(m, at, modules, &d.injected));
        let user = user.as_deref_mut().filter(|_| alive_user);
        let thread = thread::plant(m, &owner, t, i as u64, tid, (start, at), user);
        let mut truth = thread.truth.clone();
        if let Some(user) = &t.impersonate {
            let as_user = Process { user: user.clone(), session: d.p.session, ..Process::default() };
            let (token, of) = tokens.make(m, &as_user, Some(2));
            // The level is kept in the pointer's low bits.
            if m.layouts.find("_ETHREAD", "ClientSecurity.ImpersonationData").is_some() {
                m.poke(thread.va, "_ETHREAD", "ClientSecurity.ImpersonationData", token | 2);
                m.poke(thread.va, "_ETHREAD", "ActiveImpersonationInfo", 1);
            }
            truth.set("impersonation", of);
        }
        truths.push(truth);
        d.threads.push(thread);
    }
    let alive = d.p.threads.iter().filter(|t| t.exit.is_none()).count() as u64;
    d.obj.set("ActiveThreads", alive);
    d.truth.set("threads", truths);
}

fn start_address(m: &Machine, (module, offset): &(String, u64), modules: &[Mapped], injected: &[u64]) -> u64 {
    // `inject` is the first injected region, `inject2` the second.
    if let Some(n) = module.strip_prefix("inject") {
        let index = n.parse::<usize>().unwrap_or(1) - 1;
        return injected[index] + offset;
    }
    let wanted = module.to_ascii_lowercase();
    let hit = modules.iter().find(|f| f.file.path.to_ascii_lowercase().ends_with(&wanted));
    match hit {
        _ if module.is_empty() => *offset,
        Some(f) => f.file.base + offset,
        None => m.regions.kernel + offset,
    }
}

/// Heap and PEB area: how much of them is in use is known last.
fn basic(m: &Machine, p: &Process, u: &mut User) {
    let _ = m;
    u.private(u.area + super::user::HEAP, 0x80, u.heap_pages(), 4);
    u.private(u.area + 0x18_0000, 0x80, 2 * p.threads.len() as u64 + 1, 4);
}

/// What the scenario adds: private memory, sections, heaps, what does not belong, pages in other states.
fn extra(m: &mut Machine, s: &Scenario, d: &mut Draft, u: &mut User, modules: &[Mapped], files: &mut Files, peb: u64) {
    let p = d.p;
    let mut next = u.area + 0x20_0000;
    for v in &p.vads {
        let at = if v.at == 0 { next } else { v.at };
        u.special(at, v.pages, v.commit, v.protection, v.kind);
        let bits = if v.protection & 7 == 6 { flags::USER } else { super::user::DATA };
        for i in 0..v.commit.min(4) {
            u.page(m, at + i * PAGE, bits);
        }
        if !v.content.is_empty() {
            u.write(m, at, &v.content);
        }
        if v.at == 0 {
            next += (v.pages * PAGE).next_multiple_of(0x1_0000);
        }
    }
    for map in &p.maps {
        let (mut data, frame) = files.data(m, map.path.as_deref(), map.pages);
        if let Some(name) = &map.name {
            super::handles::named_section(m, name, &data);
            data.name = Some(name.clone());
        }
        u.map_data(m, next, &data, frame, map.protection);
        next += (map.pages * PAGE).next_multiple_of(0x1_0000);
    }
    let own = heaps::Shape { layouts: m.layouts.clone() };
    let heaps = heaps::plant(m, &own, &p.heaps, u, peb, &mut next);
    if p.wow64 && !p.heaps32.is_empty() {
        let narrow = heaps::Shape { layouts: wow64::table(s) };
        let peb32 = u.area + wow64::PEB32;
        d.truth.set("heaps32", heaps::plant(m, &narrow, &p.heaps32, u, peb32, &mut next));
    }
    let (bases, mut injected, benign) = odd::injections(m, &p.injections, u, &mut next);
    d.injected = bases;
    if p.hollowed {
        injected.push(odd::hollow(m, u, &modules[0]));
    }
    let patched = odd::patches(m, p, u, modules);
    if let Some(path) = &p.hidden_dll {
        let file = files.image(m, path);
        u.map_image(m, &file);
        let row = Json::object().with("base", file.file.base).with("size", file.file.size);
        d.truth.set("unlinked_dll", row.with("path", file.file.path.as_str()));
    }
    // The 32-bit ntdll of a 32-bit process keeps the ring.
    let ntdll = modules.iter().rev().find(|f| f.file.ring);
    let unloaded = match ntdll {
        Some(ntdll) if !p.unloaded.is_empty() => unloaded_dlls::plant(m, u, ntdll, &p.unloaded),
        _ => Vec::new(),
    };
    let lists =
        [("heaps", heaps), ("injected", injected), ("benign", benign), ("patched", patched), ("unloaded", unloaded)];
    for (key, list) in lists {
        if !list.is_empty() {
            d.truth.set(key, list);
        }
    }
    if !p.pages.is_empty() {
        u.private(next, 0x10, p.pages.len() as u64, 4);
        for (i, kind) in p.pages.iter().enumerate() {
            pages::plant(m, u, next + i as u64 * PAGE, kind, &modules[1]);
        }
    }
}

/// Lists whose head is in the process: threads twice, and the empty ones.
fn lists(m: &mut Machine, d: &Draft) {
    let e = |field: &str| m.layouts.find("_EPROCESS", field).map(|p| d.va + p.offset);
    let empty: Vec<u64> = [
        "Pcb.Header.WaitListHead",
        "Pcb.ProfileListHead",
        "Pcb.ReadyListHead",
        "JobLinks",
        "MmProcessLinks",
        "TimerResolutionLink",
    ]
    .iter()
    .filter_map(|f| e(f))
    .collect();
    let heads = [("ThreadListHead", "ThreadListEntry"), ("Pcb.ThreadListHead", "Tcb.ThreadListEntry")];
    let heads: Vec<(u64, u64)> =
        heads.iter().map(|(h, l)| (d.va + m.layouts.offset("_EPROCESS", h), m.layouts.offset("_ETHREAD", l))).collect();
    for at in empty {
        m.link(at, &[]);
    }
    for (head, entry) in heads {
        let links: Vec<u64> = d.threads.iter().map(|t| t.va + entry).collect();
        m.link(head, &links);
    }
}

/// The active list; a hidden process keeps links that lead nowhere but to itself.
fn active(m: &mut Machine, drafts: &[Draft]) {
    let at = m.layouts.offset("_EPROCESS", "ActiveProcessLinks");
    let head = m.global("PsActiveProcessHead");
    m.plant(head, &[0; 16]);
    let links: Vec<u64> = drafts.iter().filter(|d| !d.p.hidden).map(|d| d.va + at).collect();
    m.link(head, &links);
    for d in drafts.iter().filter(|d| d.p.hidden) {
        m.link(d.va + at, &[]);
    }
}

/// Numbers for threads. They come from one table with those of processes: no thread has a process's number.
struct ThreadIds {
    last: u64,
    taken: Vec<u64>,
}

impl ThreadIds {
    fn next(&mut self, m: &mut Machine) -> u64 {
        self.last += 4 * (1 + m.rng.below(3));
        // Multiples of 0x400 are slots the table keeps for itself.
        while self.last.is_multiple_of(0x400) || self.taken.contains(&self.last) {
            self.last += 4;
        }
        self.last
    }
}

/// The table of process and thread ids: like a handle table, but its entries point to the objects themselves.
fn cids(m: &mut Machine, drafts: &[Draft]) -> u64 {
    let slot = |value, pointer| Slot { value, pointer, access: 0, attributes: 0 };
    let mut slots: Vec<Slot> = Vec::new();
    for d in drafts {
        if !d.p.unnumbered {
            slots.push(slot(d.p.pid, d.va));
        }
        slots.extend(d.threads.iter().map(|t| slot(t.tid, t.va)));
    }
    handles::table(m, &slots, 0, 0)
}
