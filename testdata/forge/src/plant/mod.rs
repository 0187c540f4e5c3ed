//! From a scenario to a machine full of objects: one file for each kind of object.
//!
//! Everything is planted twice: the first time into ample memory, to learn how many pages it takes; the second time into
//! runs of exactly that size, so that a dump holds little but what was planted.

mod accounts;
mod callbacks;
mod crash;
mod files;
mod globals;
mod handles;
mod heaps;
mod hive;
mod image;
mod jobs;
mod kdbg;
mod kernel_hooks;
mod keys;
mod modules;
mod names;
mod odd;
mod paged;
mod pages;
mod peb;
mod pfn;
mod process;
mod session;
mod shared;
mod thread;
mod token;
mod triage;
pub mod types;
mod unloaded_dlls;
mod user;
mod vad;
mod wow64;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use triage::Triage;

use crate::layout::Layouts;
use crate::machine::{Frames, Machine, Regions};
use crate::memory::{Mode, Plan, Space, Use};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::truth::Json;

/// A machine with everything in it, and what is true of it.
pub struct Planted {
    /// The machine.
    pub machine: Machine,
    /// The truth.
    pub truth: Json,
    /// Context and bugcheck for dump headers.
    pub crash: Crash,
    /// The processes' user halves.
    pub users: Vec<UserSide>,
    /// Page files beside the dump, by name.
    pub page_files: Vec<(String, Vec<u8>)>,
}

/// What a process's own dump needs of it.
pub struct UserSide {
    /// Process id.
    pub pid: u64,
    /// The address space.
    pub space: Space,
    /// Start of the 2 MB in which stacks, heap, TEBs and PEB lie; 0 where there are none.
    pub area: u64,
    /// Its images.
    pub modules: Vec<UserModule>,
    /// Of each thread: instruction pointer, stack pointer, stack base.
    pub stacks: BTreeMap<u64, (u64, u64, u64)>,
}

/// An image's identity.
pub struct UserModule {
    /// Base.
    pub base: u64,
    /// Link time.
    pub timestamp: u32,
    /// CodeView record.
    pub codeview: Vec<u8>,
}

/// What a crash dump's header says besides the memory.
pub struct Crash {
    /// CR3 at the crash.
    pub cr3: u64,
    /// Registers of the crashing thread, a `_CONTEXT`.
    pub context: Vec<u8>,
    /// Address of the faulting instruction.
    pub rip: u64,
    /// `PsActiveProcessHead`.
    pub process_head: u64,
    /// `PsLoadedModuleList`.
    pub module_list: u64,
    /// `KdDebuggerDataBlock`.
    pub debugger_data: u64,
    /// `MmPfnDatabase`, as far as the header goes.
    pub pfn_database: u64,
    /// What a triage dump keeps.
    pub triage: Triage,
}

/// Pages a first planting may take.
const AMPLE: (u64, u64) = (12_000, 500);

/// Plants a scenario.
pub fn plant(s: &Scenario) -> Planted {
    let layouts = Layouts::load(&s.layout);
    plant_on(s, &Arc::new(if s.halved { layouts.halved() } else { layouts }))
}

/// Plants a scenario on these layouts instead of those it names.
pub fn plant_on(s: &Scenario, layouts: &Arc<Layouts>) -> Planted {
    let trial = fill(s, layouts, AMPLE.0, AMPLE.1);
    // A few pages more than needed: a machine always has some that nobody uses.
    let enough = |used: &Planted| (used.machine.mem.used() + 5, used.machine.large_used() + 1);
    let (general, large) = enough(&trial);
    let planted = fill(s, layouts, general, large);
    if !s.pfn_database {
        return planted;
    }
    // The less memory, the fewer pages of the database of page frames.
    let (general, large) = enough(&planted);
    fill(s, layouts, general, large)
}

/// Plants a scenario once, into a machine of that many page frames, most of which nobody uses.
pub fn plant_into(s: &Scenario, frames: u64) -> Planted {
    fill(s, &Arc::new(Layouts::load(&s.layout)), frames, AMPLE.1)
}

/// The runs of page frames: below 1 MB, around the kernel's first tables, under the large pages, and above 4 GB.
fn plan(s: &Scenario, general: u64, large: u64) -> (Plan, Frames) {
    // A raw image is as long as its highest frame is high, so a machine for one keeps everything low.
    let (large_at, mut huge, middle_at, high_at) = match s.mode {
        // In a compact machine the large page lies over everything else, and its own frames are some of the first.
        _ if s.compact => (0, (0, 0x1C0, 3), 0x1C8, 0x200),
        Mode::Plain => (0x2400, (0, 0, 0), 0x8123, 0x1_2345),
        _ => (0x2600, (0x40000, 0x41234, 3), 0x8123, 0x10_4000),
    };
    if !s.mode.wide() {
        huge.2 = 0;
    }
    let narrow = s.compact && !s.mode.wide();
    let large_skip = if narrow { 0x78 } else { 0x40 * u64::from(s.compact) };
    let frames = Frames { root: s.root, large: (large_at, large_skip, large), huge };
    let low = (1, if narrow { 0x70 } else { 8 });
    let first = if narrow { low } else { (0x180, 48) };
    let mut runs = vec![low];
    runs.extend([first].into_iter().filter(|_| !narrow));
    let mut reserved = vec![(s.root, if s.mode == Mode::Pae { 5 } else { 1 })];
    reserved.extend([(large_at + large_skip, large), (huge.1, huge.2)]);
    reserved.extend(s.low_stub.map(|f| (f, 1)));
    reserved.extend(s.decoy.map(|f| (f, 1)));
    if !(first.0..first.0 + first.1).contains(&s.root) {
        runs.push((s.root - 5, 8));
    }
    let mut have: u64 = runs.iter().map(|r| r.1).sum();
    have -= reserved.iter().filter(|(f, _)| runs.iter().any(|(a, n)| (*a..a + n).contains(f))).count() as u64;
    let rest = general.saturating_sub(have).max(8);
    let middle = match s.compact {
        true if narrow => 0,
        true => 0x30,
        // The 1 GB mapping ends it where there is more memory than a sample has.
        false if s.mode.wide() => (rest * 3 / 7).min(huge.0 - middle_at),
        false => rest * 3 / 7,
    };
    let high_at = if narrow { 0x80 + large } else { high_at };
    runs.extend([
        (large_at + large_skip, large),
        (middle_at, middle),
        (frames.huge.1, frames.huge.2),
        (high_at, rest.saturating_sub(middle)),
    ]);
    runs.retain(|r| r.1 > 0);
    runs.sort();
    let tops = if narrow { s.root..0x1000 } else { 0x1B0..if s.mode.wide() { u64::MAX } else { 0x10_0000 } };
    (Plan { runs, reserved, tops }, frames)
}

/// Where the kernel keeps what. Fixed addresses are those of the release; random ones fall into 512 GB slots of their own.
fn regions(s: &Scenario, rng: &mut Rng) -> Regions {
    let kernel = s.kernel_base;
    if !s.mode.wide() {
        return Regions {
            kernel,
            nonpaged: 0x8580_0000,
            large: 0x8500_0000,
            paged: if s.nt < (6, 0) { 0xE100_0000 } else { 0x8C00_0000 },
            stacks: 0x9A00_0000,
            drivers: 0x8B00_3000,
            session: 0x9C00_0000,
            huge: 0,
            pfn: 0x8400_0000,
            self_map: 0x300,
        };
    }
    let drivers = (kernel & !0xFFFF_FFFF) + 0x1_0000_0000 + 0x12_3000;
    if s.random_regions {
        let mut slots: Vec<u64> = (0x110..0x1E8).collect();
        rng.shuffle(&mut slots);
        let mut next = || 0xFFFF_0000_0000_0000 | slots.pop().unwrap_or(0x1A0) << 39;
        let mut at = |spread: u64| next() + rng.below(64) * 0x1_0000_0000 + rng.below(spread) * 0x20_0000;
        let (nonpaged, large, paged, stacks, session) = (at(512), at(512), at(512), at(512), at(512));
        let huge = at(1) & !0x3FFF_FFFF;
        let self_map = slots.pop().unwrap_or(0x1ED);
        // At the start of a slot, as in the 22H2 dump whose header a live acquisition tool wrote the value into.
        let pfn = 0xFFFF_0000_0000_0000 | slots.pop().unwrap_or(0x1A0) << 39;
        return Regions { kernel, nonpaged, large, paged, stacks, drivers, session, huge, pfn, self_map };
    }
    let fixed = |nonpaged, paged, stacks, huge| {
        let session = 0xFFFF_F900_C000_0000;
        Regions {
            kernel,
            nonpaged,
            large: nonpaged + 0x4000_0000,
            paged,
            stacks,
            drivers,
            session,
            huge,
            pfn: 0xFFFF_FA80_0000_0000,
            self_map: 0x1ED,
        }
    };
    if s.nt <= (6, 2) {
        fixed(0xFFFF_FA80_0180_0000, 0xFFFF_F8A0_0000_0000, 0xFFFF_F880_0200_0000, 0xFFFF_F980_0000_0000)
    } else {
        fixed(0xFFFF_E000_0040_0000, 0xFFFF_C000_0000_0000, 0xFFFF_D000_2000_0000, 0xFFFF_B000_0000_0000)
    }
}

/// What a header says of the database of page frames. Windows 10 writes the address of the global: a kernel dump of 19041.804 has
/// `0xfffff8047c6fc500` there, which is `MmPfnDatabase` by that kernel's symbols. What older ones write was not seen; here the value.
fn header_pfn_database(m: &Machine, s: &Scenario) -> u64 {
    match m.global_opt("MmPfnDatabase") {
        Some(at) if s.nt >= (10, 0) => at,
        Some(at) if m.kernel.pages.contains_key(&(at >> 12)) => m.read_word(at),
        _ => 0,
    }
}

fn fill(s: &Scenario, layouts: &Arc<Layouts>, general: u64, large: u64) -> Planted {
    let mut rng = Rng::named(&s.name);
    let (plan, frames) = plan(s, general, large);
    let regions = regions(s, &mut rng);
    let mut m = Machine::new(layouts.clone(), s.mode, plan, regions, frames, rng);
    m.tight = s.tight;
    let mut truth = Json::object()
        .with("name", s.name.as_str())
        .with("kernel_version", layouts.version.as_str())
        .with("build", s.build)
        .with("pdb", format!("{}{:X}", layouts.guid, layouts.age))
        .with("kernel_base", m.regions.kernel)
        .with("kernel_size", crate::image::kernel_size(layouts))
        .with("dtb", s.root << 12)
        .with("paging", format!("{:?}", s.mode).to_lowercase())
        .with("self_map_index", m.regions.self_map)
        .with("ob_header_cookie", u64::from(m.cookie))
        .with("invalid_pte_mask", m.pte_mask)
        .with("boot_time", s.boot)
        .with("system_time", s.now)
        .with("build_lab", s.lab.as_str())
        .with("low_stub", s.low_stub.map(|f| f << 12))
        .with("decoy_table", s.decoy.map(|f| f << 12));
    types::plant(&mut m, s);
    names::directories(&mut m, s);
    image::kernel(&mut m, s);
    let shared = shared::plant(&mut m, s);
    let mut files = files::Files::new(&mut m, s);
    let (listed, hidden) = modules::plant(&mut m, s);
    truth.set("modules", listed);
    if !hidden.is_empty() {
        truth.set("hidden_modules", hidden);
    }
    truth.set("unloaded", modules::unloaded(&mut m, s));
    let mut processes = process::plant(&mut m, s, &mut files, shared);
    if let Some(crash) = crash::place(&mut m, s, &mut processes, truth.get("modules")) {
        truth.set("crash", crash);
    }
    truth.set("processes", processes.truth);
    truth.set("cid_table", processes.cid_table);
    if let Some(jobs) = processes.jobs {
        truth.set("jobs", jobs);
    }
    let modules = truth.get("modules").cloned().unwrap_or(Json::Null);
    for (key, value) in kernel_hooks::plant(&mut m, s, &modules) {
        truth.set(key, value);
    }
    globals::plant(&mut m, s);
    if !s.profiles.is_empty() {
        truth.set("profiles", hive::plant(&mut m, &s.profiles, processes.hive));
        truth.set(
            "hive",
            Json::object().with("in_registry_process", processes.hive.is_some()).with("bin", processes.hive),
        );
    }
    truth.set("kdbg", kdbg::plant(&mut m, s));
    truth.set("objects", names::plant(&mut m));
    truth.set("large_pages", pages::large(&mut m));
    let mut page_files = Vec::new();
    if !s.evict.is_empty() {
        let owner = processes.store_owner.expect("a process MemCompression");
        let away = paged::plant(&mut m, s, &mut processes.users, owner);
        truth.set("away", away.truth);
        page_files = away.files;
    }
    let big = m.close_pools();
    globals::big_pages(&mut m, &big);
    if s.pfn_database {
        pfn::room(&mut m);
    }
    // Last of all, when the kernel half is complete: every process shares it, with its own self-reference.
    let kernel = m.kernel.clone();
    kernel.set_self_map(&mut m.mem, m.regions.self_map);
    for UserSide { space, .. } in &processes.users {
        space.share_kernel(&mut m.mem, &kernel);
        space.set_self_map(&mut m.mem, m.regions.self_map);
    }
    if let Some(frame) = s.decoy {
        m.mem.claim(frame, Use::Kernel);
        m.mem.set_u64(frame, 0x1F3, frame << 12 | 0x8000_0000_0000_0063);
    }
    pages::low_stub(&mut m, s);
    if s.pfn_database {
        truth.set("working_sets", pfn::fill(&mut m, &processes.users, &files.sections));
    }
    let head = m.global("PsActiveProcessHead");
    let list = m.global("PsLoadedModuleList");
    truth.set("ps_active_process_head", head);
    truth.set("ps_loaded_module_list", list);
    let runs = &m.mem.plan.runs;
    truth.set("runs", runs.iter().map(|(f, n)| Json::List(vec![(*f).into(), (*n).into()])).collect::<Vec<_>>());
    truth.set("header_dtb", processes.cr3);
    let crash = Crash {
        cr3: processes.cr3,
        context: processes.context,
        rip: processes.rip,
        process_head: head,
        module_list: list,
        debugger_data: m.global("KdDebuggerDataBlock"),
        triage: triage::plant(&m, s, &processes.crashed, truth.get("modules"), truth.get("unloaded")),
        pfn_database: header_pfn_database(&m, s),
    };
    Planted { machine: m, truth, crash, users: processes.users, page_files }
}
