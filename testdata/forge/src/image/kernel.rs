//! The kernel's own image, arranged around the addresses that its symbols have.

use super::{FUNCTION_NAMES, Image, Rsds, Section, Spec, build, functions, functions_arm64, functions_x86};
use crate::layout::Layouts;

/// Exports that the real kernel has and that the tables know the address of.
const EXPORTS: [&str; 22] = [
    "PsInitialSystemProcess",
    "NtBuildNumber",
    "PsLoadedModuleList",
    "KeNumberProcessors",
    "PsProcessType",
    "PsThreadType",
    "PsJobType",
    "IoFileObjectType",
    "ExEventObjectType",
    "ExSemaphoreObjectType",
    "MmSectionObjectType",
    "MmHighestUserAddress",
    "MmSystemRangeStart",
    "MmUserProbeAddress",
    "KeServiceDescriptorTable",
    "KdDebuggerEnabled",
    "KdDebuggerNotPresent",
    "NtGlobalFlag",
    "HalDispatchTable",
    "HalPrivateDispatchTable",
    "NtBuildLab",
    "SeExports",
];

/// Data symbols whose lowest address is where the writable part begins.
const DATA: [&str; 6] = [
    "PsActiveProcessHead",
    "PsLoadedModuleList",
    "KdDebuggerDataBlock",
    "PspCidTable",
    "ObTypeIndexTable",
    "MmUnloadedDrivers",
];

const PAGE: u64 = 0x1000;

/// First page behind everything that has a symbol; the sections we add ourselves begin there.
fn tail(table: &Layouts) -> u64 {
    // The widest global is MiState; two pages more than the last symbol are enough for what follows it.
    (table.symbols.values().max().copied().unwrap_or(0) + 2 * PAGE).next_multiple_of(PAGE)
}

/// The sections: code and data as the symbols demand, with our own `.rdata` (exports, debug directory) on a page between
/// them that no symbol claims, and behind them what else the forge writes.
///
/// The order is the one lld gives sections of these names, so that the PDB's section headers agree with the image's. The
/// last section holds no symbol because some PDB readers lose those of the last one.
pub fn kernel_sections(table: &Layouts) -> Vec<Section> {
    let used = |page: u64| table.symbols.values().any(|rva| rva & !(PAGE - 1) == page);
    let mut data = DATA.iter().filter_map(|n| table.symbols.get(*n)).min().copied().unwrap_or(PAGE * 4) & !(PAGE - 1);
    while used(data - PAGE) {
        data -= PAGE;
    }
    let tail = tail(table);
    let s = |name, rva, size, code, read_only| Section { name, rva, size, code, read_only };
    vec![
        s(".text", PAGE, data - 2 * PAGE, true, false),
        s(".rdata", data - PAGE, PAGE, false, true),
        s(".data", data, tail - data, false, false),
        // 12 bytes an entry: linkers refuse another size.
        s(".pdata", tail, 0xFFC, false, true),
        s("INIT", tail + PAGE, PAGE, true, false),
        s("POOLCODE", tail + 2 * PAGE, PAGE, true, false),
    ]
}

/// First page without a symbol. The debug directory lies there, as close to the headers as real kernels have it: a
/// reader that finds the RSDS record walks down from it to the headers, and gives up when too many pages are missing.
fn first_free(table: &Layouts) -> u64 {
    (1..).map(|n| n * PAGE).find(|page| !table.symbols.values().any(|rva| rva & !(PAGE - 1) == *page)).unwrap_or(PAGE)
}

/// Where the forge's functions lie.
fn functions_at(table: &Layouts) -> u64 {
    tail(table) + PAGE
}

/// `SizeOfImage`.
pub fn kernel_size(table: &Layouts) -> u64 {
    tail(table) + 3 * PAGE
}

/// Symbols the tables lack and the forge adds: its functions, at their RVAs.
pub fn added_symbols(table: &Layouts) -> Vec<(&'static str, u64)> {
    let at = functions_at(table);
    let list = match table.arch.as_str() {
        "x64" => functions(at),
        "arm64" => functions_arm64(at),
        _ => functions_x86(at),
    };
    list.into_iter().map(|f| (f.name, f.start)).filter(|(n, _)| FUNCTION_NAMES.contains(n)).collect()
}

/// The kernel image at `base`.
pub fn kernel(table: &Layouts, base: u64, timestamp: u32) -> Image {
    let exports = EXPORTS.iter().filter_map(|n| Some((n.to_string(), *table.symbols.get(*n)?))).collect();
    build(&Spec {
        name: "ntoskrnl.exe".into(),
        timestamp,
        base,
        size: kernel_size(table),
        wide: table.pointer() == 8,
        machine: table.machine(),
        dll: false,
        subsystem: 1,
        entry: functions_at(table),
        sections: kernel_sections(table),
        exports,
        rsds: Some(Rsds { guid: table.guid.clone(), age: table.age, name: table.pdb_name.clone() }),
        debug_at: Some(first_free(table)),
        functions_at: Some(functions_at(table)),
    })
}
