//! What a triage dump keeps of the machine: the crashing process and thread, a processor block, its stack, the debugger data
//! in plain, the drivers, and blocks of virtual memory that a debugger asks for first.

use super::kdbg;
use crate::machine::Machine;
use crate::memory::PAGE;
use crate::scenario::{CrashOn, Scenario};
use crate::truth::Json;

/// A driver in the list.
pub struct Driver {
    /// Full path.
    pub path: String,
    /// Base.
    pub base: u64,
    /// Size in memory.
    pub size: u64,
    /// Link time.
    pub timestamp: u32,
}

/// The crashing process and thread.
#[derive(Debug, Clone, Default)]
pub struct Crashed {
    /// `_EPROCESS`.
    pub process: u64,
    /// `_ETHREAD`.
    pub thread: u64,
    /// Stack pointer.
    pub stack: u64,
    /// Stack base.
    pub base: u64,
}

/// The parts.
pub struct Triage {
    /// `_EPROCESS` of the crashing process.
    pub process: u64,
    /// `_ETHREAD` of the crashing thread.
    pub thread: u64,
    /// The kept stack: top (lowest address) and end.
    pub stack: (u64, u64),
    /// The `_KPRCB`.
    pub prcb: Vec<u8>,
    /// The debugger data block, plain.
    pub debugger: Vec<u8>,
    /// Drivers.
    pub drivers: Vec<Driver>,
    /// Unloaded drivers: name, start, end.
    pub unloaded: Vec<(String, u64, u64)>,
    /// Blocks of virtual memory: address, length; in no order.
    pub blocks: Vec<(u64, u64)>,
}

/// Gathers them.
pub fn plant(m: &Machine, s: &Scenario, c: &Crashed, modules: Option<&Json>, unloaded: Option<&Json>) -> Triage {
    let number = |j: &Json, key: &str| match j.get(key) {
        Some(Json::Number(n)) => *n,
        _ => 0,
    };
    let string = |j: &Json, key: &str| match j.get(key) {
        Some(Json::Text(t)) => t.clone(),
        _ => String::new(),
    };
    let list = |j: Option<&Json>| match j {
        Some(Json::List(l)) => l.clone(),
        _ => Vec::new(),
    };
    let modules = list(modules);
    let drivers = modules.iter().map(|d| Driver {
        path: string(d, "path"),
        base: number(d, "base"),
        size: number(d, "size"),
        timestamp: number(d, "timestamp") as u32,
    });
    let unloaded = list(unloaded).iter().map(|d| (string(d, "name"), number(d, "start"), number(d, "end"))).collect();
    let prcb = if m.layouts.has("_KPRCB") {
        let mut prcb = m.obj("_KPRCB");
        prcb.set_opt("MxCsr", 0x1F80).set("Number", 0).set("CurrentThread", c.thread);
        if s.crash_on == CrashOn::Idle {
            prcb.set("IdleThread", c.thread);
        }
        prcb.bytes
    } else {
        // Whose members are in no table at hand.
        vec![0; 0x1000]
    };
    // Pages around the code that ran, the process and the thread where they stood, and the module list.
    let entry =
        if m.layouts.has("_KLDR_DATA_TABLE_ENTRY") { "_KLDR_DATA_TABLE_ENTRY" } else { "_LDR_DATA_TABLE_ENTRY" };
    let mut blocks = vec![
        (c.thread, m.layouts.size("_ETHREAD")),
        (c.process, m.layouts.size("_EPROCESS")),
        (m.global("PsActiveProcessHead"), 2 * m.pointer()),
        (m.global("PsLoadedModuleList"), 2 * m.pointer()),
        (m.regions.kernel, 0x400),
    ];
    blocks.extend(modules.iter().map(|d| (number(d, "entry"), m.layouts.size(entry))));
    for symbol in ["KiBugCheckData", "PsInitialSystemProcess", "NtBuildNumber", "MmUnloadedDrivers"] {
        let bytes = if symbol == "KiBugCheckData" { 5 * m.pointer() } else { m.pointer() };
        blocks.extend(m.global_opt(symbol).map(|va| (va, bytes)));
    }
    let read = |va: u64, n: u64| (va / PAGE..=(va + n - 1) / PAGE).all(|page| m.kernel.pages.contains_key(&page));
    blocks.retain(|(va, n)| *n > 0 && read(*va, *n));
    Triage {
        process: c.process,
        thread: c.thread,
        stack: (c.stack, c.base),
        prcb,
        debugger: kdbg::plain(m, s),
        drivers: drivers.collect(),
        unloaded,
        blocks,
    }
}
