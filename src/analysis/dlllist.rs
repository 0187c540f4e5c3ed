//! `dlllist`: the modules of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, Files};
use crate::kernel::ldr::Module;
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::section::Sections;
use crate::kernel::sides::Sides;
use crate::kernel::vad::Vad;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The register's entry.
pub static DLLLIST: Analysis = Analysis {
    name: "dlllist",
    about: "Modules of each process: loader lists of both bitnesses and mapped images",
    help: "One row for each module on a loader list, in load order (the native side's first, then the 32-bit side's), then one for each image \
           mapped that no list has. The lists lie in the process's own memory and can be forged; mapped_file comes from the kernel.\n\n\
           Example: dumpwalk dlllist memory.dmp --name explorer",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::dlllist(dump, ask, sink)),
};

/// The columns of a module.
pub const COLUMNS: [Column; 21] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("base", Kind::Hex, "First byte"),
    col("size", Kind::Hex, "Bytes: SizeOfImage of the loader's entry, else of the mapped range"),
    col("module_name", Kind::Text, "BaseDllName"),
    col("path", Kind::Text, "FullDllName"),
    col("in_load", Kind::Bool, "On the load-order list"),
    col("in_init", Kind::Bool, "On the initialisation-order list (a program's own image never is)"),
    col("in_mem", Kind::Bool, "On the memory-order list"),
    col("wow64", Kind::Bool, "From the lists of the 32-bit side"),
    col("load_time", Kind::Time, "When it was loaded (Windows 7 and later)"),
    wide("load_reason", Kind::Text, "Why it was loaded (Windows 8 and later)"),
    wide("load_count", Kind::Number, "How often it was loaded; -1: never to be unloaded"),
    wide("entry", Kind::Hex, "Entry point"),
    wide("timestamp", Kind::Hex, "TimeDateStamp of its header, as the loader noted it"),
    wide("flags", Kind::Hex, "The loader's flags"),
    wide("loaded_by", Kind::Hex, "Base of the module that loaded it"),
    wide("original_base", Kind::Hex, "Base it was linked for"),
    wide("ldr_entry", Kind::Hex, "Address of the loader's entry"),
    col("mapped_file", Kind::Text, "File the kernel mapped there, with its device"),
];

/// What is needed to show modules; made once for all processes.
pub struct ModuleRows<'k> {
    /// The layouts of PEB and loader.
    pub sides: Sides<'k>,
    sections: Sections<'k>,
    kernel: &'k Kernel,
}

impl<'k> ModuleRows<'k> {
    /// Resolves the layouts.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self> {
        let needs = |e| kernel.unreadable(&e);
        Ok(Self { sides: Sides::of(kernel).map_err(needs)?, sections: Sections::of(kernel).map_err(needs)?, kernel })
    }
    /// The file behind a module, with its device.
    ///
    /// # Errors
    /// Nothing is mapped there, or why its file cannot be told.
    pub fn mapped_file(&self, files: &mut Files<'k>, space: &Space<'k>, module: &Loaded<'_>) -> Value<Text> {
        self.file(files, space, module.vad.ok_or(Absent::NotApplicable)?)?.path()
    }
    /// The file a VAD maps.
    ///
    /// # Errors
    /// None is mapped, or why it cannot be read.
    pub fn file(&self, files: &mut Files<'k>, space: &Space<'k>, vad: &Vad) -> Value<File> {
        files.read(self.sections.file_of(space, vad)?)
    }
    fn row(&self, process: &Process<'k>, space: &Space<'k>, files: &mut Files<'k>, module: &Loaded<'_>) -> Row {
        let [pid, name] = who::cells(process);
        // Of an image that no list has, the loader says nothing.
        let l = |get: fn(&Module) -> Cell| module.listed.as_ref().map_or(Cell::Absent(Absent::NotApplicable), get);
        let size = match (&module.listed, module.vad) {
            (Some(m), _) => m.size.map(u64::from),
            (None, Some(v)) => Ok(v.bytes()),
            (None, None) => Err(Absent::NotApplicable),
        };
        let reason =
            module.listed.as_ref().map_or(Err(Absent::NotApplicable), |m| m.load_reason).map(|r| self.reason(r));
        let cells: [Cell; COLUMNS.len()] = [
            pid,
            name,
            who::offset(process),
            module.base.into(),
            size.map_or_else(Cell::Absent, Cell::Hex),
            l(|m| m.name.clone().into()),
            l(|m| m.path.clone().into()),
            module.in_load.into(),
            module.in_init.into(),
            module.in_mem.into(),
            l(|m| m.wow64.into()),
            l(|m| m.load_time.into()),
            reason.into(),
            l(|m| m.load_count.into()),
            l(|m| m.entry.into()),
            l(|m| m.timestamp.map_or_else(Cell::Absent, |t| Cell::Hex(t.into()))),
            l(|m| m.flags.map_or_else(Cell::Absent, |f| Cell::Hex(f.into()))),
            l(|m| m.parent.and_then(present).into()),
            l(|m| m.original_base.into()),
            l(|m| m.entry_address.into()),
            self.mapped_file(files, space, module).into(),
        ];
        let place = module.listed.as_ref().map(|m| m.place).or(module.vad.map(|v| v.place));
        Row { place, ..Row::new(cells.into()) }
    }
    /// A load reason's name in the kernel's own enumeration, without what all have in front.
    fn reason(&self, reason: i32) -> String {
        let name = self.kernel.symbols.types.enum_name("_LDR_DLL_LOAD_REASON", reason.into());
        name.map_or_else(|| reason.to_string(), |n| n.strip_prefix("LoadReason").unwrap_or(n).to_owned())
    }
}

fn present(va: Va) -> Value<Va> {
    if va.is_null() { Err(Absent::NotApplicable) } else { Ok(va) }
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(show: &ModuleRows<'k>, process: &Process<'k>, space: &Space<'k>, sink: &mut dyn Sink) -> Result<()> {
    // A process whose page tables are gone has no memory of its own left.
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(process.kernel).map_err(|e| process.kernel.unreadable(&e))?;
    let sides = show.sides.of_process(process, space);
    let found = process_modules::modules(&memory, &sides);
    tell(process, memory.tree.notes.iter().cloned().chain(found.notes), sink);
    for module in &found.modules {
        sink.row(show.row(process, space, &mut files, module))?;
    }
    Ok(())
}
