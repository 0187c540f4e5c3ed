//! `info`: what the file is, what machine it comes from, and how that was found out.

use super::{Analysis, Ask, Case, user};
use crate::addr::PAGE_SIZE;
use crate::dump::{Arch, Dump, Header, Kind as Container};
use crate::error::{Result, in_one_line};
use crate::kernel::Kernel;
use crate::paging::Mode;
use crate::report::{Cell, Column, Kind, Row, Sink, col};
use crate::symbols::PdbId;
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// The register's entry.
pub static INFO: Analysis = Analysis {
    name: "info",
    about: "The dump, the machine, and how both were made out",
    help: "Answers for every file that opens, also where no kernel is found in it: then it says what was tried.",
    columns: &COLUMNS,
    switches: &[],
    run,
};

const COLUMNS: [Column; 36] = [
    col("file", Kind::Text, "The file"),
    col("file_size", Kind::Number, "Its bytes"),
    col("container", Kind::Text, "What kind of dump it is"),
    col("architecture", Kind::Text, "x64, x86 or arm64"),
    col("paging", Kind::Text, "How the machine translates addresses"),
    col("memory", Kind::Number, "Bytes of physical memory in the file"),
    col("highest_address", Kind::Hex, "One past the highest physical byte in the file"),
    col("version", Kind::Text, "Windows version"),
    col("build", Kind::Number, "Build number"),
    col("build_lab", Kind::Text, "Build string of the kernel"),
    col("product", Kind::Text, "workstation, domain controller or server"),
    col("suite_mask", Kind::Hex, "Product suites"),
    col("system_root", Kind::Text, "Folder Windows is installed in"),
    col("processors", Kind::Number, "Running processors"),
    col("safe_mode", Kind::Bool, "Whether it was started in safe mode"),
    col("kernel_debugger", Kind::Bool, "Whether a kernel debugger was enabled"),
    col("system_time", Kind::Time, "When the dump was taken, by the machine's clock"),
    col("boot_time", Kind::Time, "When the machine was started"),
    col("time_zone_minutes", Kind::Number, "Minutes to add to local time for UTC"),
    col("kernel_base", Kind::Hex, "Where the kernel image lies"),
    col("kernel_size", Kind::Hex, "Bytes of the kernel image"),
    col("dtb", Kind::Hex, "Page tables used for kernel addresses"),
    col("pdb", Kind::Text, "Name of the kernel's symbol file"),
    col("pdb_guid", Kind::Text, "Its GUID"),
    col("pdb_age", Kind::Number, "Its age"),
    col("symbols", Kind::Text, "Where the symbols in use come from"),
    col("found_by", Kind::Texts, "Which road led to the kernel, and how sure it is"),
    col("no_kernel", Kind::Text, "Where no kernel was found: what was tried"),
    col("header_build", Kind::Number, "Build number by the crash-dump header"),
    col("header_dtb", Kind::Hex, "Page tables of the crashing processor by the header (any process's)"),
    col("header_process_list", Kind::Hex, "PsActiveProcessHead by the header"),
    col("header_module_list", Kind::Hex, "PsLoadedModuleList by the header"),
    col("header_kdbg", Kind::Hex, "KdDebuggerDataBlock by the header"),
    col("runs", Kind::Nested, "Stretches of physical memory in the file, the first sixteen"),
    col("user_process", Kind::Nested, "Of a user-mode minidump: its process, and how the dump was written"),
    col("streams", Kind::Nested, "Of a user-mode minidump: its streams, by MINIDUMP_STREAM_TYPE"),
];

fn run(case: &Case, _: &Ask, sink: &mut dyn Sink) -> Result<()> {
    for note in case.all_notes() {
        sink.note(note.clone());
    }
    let dump = &*case.dump;
    let mut cells = of_file(dump);
    cells.extend(of_kernel(case));
    cells.extend(of_header(dump.header.as_ref()));
    cells.push(runs(dump));
    cells.resize(COLUMNS.len(), Cell::Absent(Absent::NotApplicable));
    for (key, cell) in dump.user().map(|d| user::info(&d)).unwrap_or_default() {
        let column = COLUMNS.iter().position(|c| c.key == key);
        if let Some(slot) = column.and_then(|i| cells.get_mut(i)) {
            *slot = cell;
        }
    }
    sink.row(Row::new(cells).upright())
}

fn of_file(dump: &Dump) -> Vec<Cell> {
    vec![dump.path().display().to_string().into(), dump.len().into(), container(dump.kind).into()]
}

/// What the kernel's own record says its PDB is; where the dump lacks the record, that of the symbols which were taken.
fn pdb(kernel: &Kernel) -> Option<&PdbId> {
    kernel.pdb.as_ref().or(kernel.symbols.id.as_ref())
}

fn of_kernel(case: &Case) -> Vec<Cell> {
    let dump = &*case.dump;
    let kernel = case.kernel.as_ref().ok();
    let system = kernel.map(|k| k.system(&k.space()));
    let clock = kernel.map(|k| k.clock(&k.space()));
    let absent = Cell::Absent(Absent::NotRecorded);
    macro_rules! system {
        (|$s:ident| $value:expr) => {
            system.as_ref().map_or(absent.clone(), |$s| $value.into())
        };
    }
    macro_rules! kernel {
        (|$k:ident| $value:expr) => {
            kernel.map_or(absent.clone(), |$k| $value.into())
        };
    }
    let header_time = dump.header.as_ref().and_then(|h| h.system_time).ok_or(Absent::NotRecorded);
    let now = clock.map_or(header_time, |c| c.now.or(header_time));
    let size = |bytes: u32| Cell::Hex(bytes.into());
    let arch = kernel.map(|k| k.arch).or(dump.arch);
    let build = system.as_ref().map_or(Err(Absent::NotRecorded), |s| s.build);
    let build = build.or(kernel.and_then(|k| k.build).ok_or(Absent::NotRecorded));
    let pages = dump.page_count();
    vec![
        arch.map(architecture).ok_or(Absent::NotRecorded).into(),
        kernel!(|k| paging(k.mode)),
        pages.saturating_mul(PAGE_SIZE).into(),
        dump.highest_page().map_or(absent.clone(), |p| Cell::Hex(p.base().0.saturating_add(PAGE_SIZE))),
        system!(|s| s.version.map(|(major, minor)| format!("{major}.{minor}"))),
        build.into(),
        system!(|s| s.build_lab.clone()),
        system!(|s| s.product),
        system!(|s| s.suite.map_or_else(Cell::Absent, size)),
        system!(|s| s.root.clone()),
        processors(dump, system.as_ref().and_then(|s| s.processors.ok())).into(),
        system!(|s| s.safe_boot),
        system!(|s| s.debugger),
        now.into(),
        system!(|s| s.boot),
        system!(|s| s.time_zone.map_or_else(Cell::Absent, Cell::Int)),
        kernel!(|k| k.base),
        kernel!(|k| k.size.map_or(absent.clone(), size)),
        kernel!(|k| k.root),
        kernel!(|k| pdb(k).map(|id| id.name.clone()).ok_or(Absent::NotRecorded)),
        kernel!(|k| pdb(k).map(|id| id.guid.clone()).ok_or(Absent::NotRecorded)),
        kernel!(|k| pdb(k).map(|id| id.age).ok_or(Absent::NotRecorded)),
        kernel!(|k| k.symbols.origin.clone()),
        kernel!(|k| roads(k)),
        case.kernel.as_ref().err().map_or(Cell::Absent(Absent::NotApplicable), |why| in_one_line(why).into()),
    ]
}

/// By the shared page, else by the header.
fn processors(dump: &Dump, shared: Option<u32>) -> Value<u32> {
    let header = dump.header.as_ref().map(|h| h.processors);
    shared.filter(|n| *n > 0).or(header.filter(|n| *n > 0)).ok_or(Absent::NotRecorded)
}

fn roads(kernel: &Kernel) -> Cell {
    let road = &kernel.road;
    let failed = road.failed.iter().map(|f| format!("not so: {f}"));
    let texts = std::iter::once(road.taken.clone()).chain(road.checks.iter().cloned()).chain(failed);
    Cell::List(texts.filter(|t| !t.is_empty()).map(Cell::from).collect())
}

fn of_header(header: Option<&Header>) -> Vec<Cell> {
    let cell = |value: Option<Cell>| value.unwrap_or(Cell::Absent(Absent::NotRecorded));
    vec![
        cell(header.map(|h| h.build.into())),
        cell(header.and_then(|h| Some(h.dtb?.into()))),
        cell(header.and_then(|h| Some(h.process_head?.into()))),
        cell(header.and_then(|h| Some(h.module_list?.into()))),
        cell(header.and_then(|h| Some(h.kdbg?.into()))),
    ]
}

fn runs(dump: &Dump) -> Cell {
    let one = |r: crate::dump::Run| {
        Cell::Object(vec![
            (Cow::Borrowed("start"), r.pfn.base().into()),
            ("pages".into(), r.count.into()),
            ("file".into(), Cell::Hex(r.file)),
        ])
    };
    Cell::List(dump.runs().take(16).map(one).collect())
}

const fn container(kind: Container) -> &'static str {
    match kind {
        Container::Full => "crash dump, full (type 1)",
        Container::Summary => "crash dump, summary (type 2)",
        Container::Triage => "crash dump, triage (type 4)",
        Container::BitmapFull => "crash dump, full by bitmap (type 5)",
        Container::BitmapKernel => "crash dump, kernel memory by bitmap (type 6)",
        Container::RangeKernel => "crash dump, kernel memory by ranges (type 8)",
        Container::RangeKernelUser => "crash dump, kernel and user memory by ranges (type 9)",
        Container::RangeComplete => "crash dump, complete by ranges (type 0xA)",
        Container::Raw => "raw image",
        Container::UserMinidump => "user-mode minidump",
    }
}

const fn architecture(arch: Arch) -> &'static str {
    match arch {
        Arch::X86 => "x86",
        Arch::X64 => "x64",
        Arch::Arm64 => "arm64",
    }
}

const fn paging(mode: Mode) -> &'static str {
    match mode {
        Mode::X64 => "x64, four levels",
        Mode::La57 => "x64, five levels",
        Mode::X86 => "x86, two levels",
        Mode::Pae => "x86 with PAE, three levels",
        Mode::Arm64 => "ARM64, 4 KiB granule",
        Mode::Blocks => "none: blocks of virtual memory",
    }
}
