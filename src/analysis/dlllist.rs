//! `dlllist`: the modules of each process.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, Files};
use crate::kernel::ldr::{DependencyNode, LdrEntry, Module};
use crate::kernel::peb::layout_for;
use crate::kernel::process::Process;
use crate::kernel::process_modules::{self, Loaded};
use crate::kernel::section::Sections;
use crate::kernel::sides::Sides;
use crate::kernel::vad::{Vad, VadShort};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
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

/// A module of a process.
struct Modules;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    /// The process's own memory.
    memory: &'a Space<'a>,
    module: &'a Loaded<'a>,
    mapped_file: Value<Text>,
}
who::of_process!(Modules, Of);

impl<'a> Of<'a> {
    /// What the loader says: nothing of an image that no list has.
    fn listed(&self, get: fn(&Module) -> Cell) -> Cell {
        self.module.listed.as_ref().map_or(Cell::Absent(Absent::NotApplicable), get)
    }
    fn size(&self) -> Value<u64> {
        match (&self.module.listed, self.module.vad) {
            (Some(m), _) => m.size.map(u64::from),
            (None, Some(v)) => Ok(v.bytes()),
            (None, None) => Err(Absent::NotApplicable),
        }
    }
    /// A load reason's name in the kernel's own enumeration, without what all have in front.
    fn reason(&self) -> Value<String> {
        let reason = self.module.listed.as_ref().map_or(Err(Absent::NotApplicable), |m| m.load_reason)?;
        let name = self.process.kernel.symbols.types.enum_name("_LDR_DLL_LOAD_REASON", reason.into());
        Ok(name.map_or_else(|| reason.to_string(), |n| n.strip_prefix("LoadReason").unwrap_or(n).to_owned()))
    }
    /// Where a field of the loader's entry is.
    fn at(&self, field: At<LdrEntry>) -> Option<Place> {
        let listed = self.module.listed.as_ref()?;
        let layout = layout_for::<LdrEntry>(self.process.kernel, listed.wow64).ok()?;
        Some(self.memory.place(field.of(layout, listed.entry_address)?))
    }
    fn in_node(&self, field: At<VadShort>) -> Option<Place> {
        self.process.kernel.place_in(self.space, self.module.vad?.node, field)
    }
    fn text_at(&self, get: fn(&Module) -> &Value<Text>) -> Option<Place> {
        self.memory.place_of(get(self.module.listed.as_ref()?))
    }
    /// In the dependency node, before 8 in the entry.
    fn load_count_at(&self) -> Option<Place> {
        let listed = self.module.listed.as_ref()?;
        let kernel = self.process.kernel;
        let entry = layout_for::<LdrEntry>(kernel, listed.wow64).ok()?;
        let in_node = || {
            let node = self.memory.view(entry, listed.entry_address).node().ok().filter(|node| !node.is_null())?;
            let layout = layout_for::<DependencyNode>(kernel, listed.wow64).ok()?;
            Some(self.memory.place(DependencyNode::load_count.of(layout, node)?))
        };
        in_node().or_else(|| self.at(LdrEntry::load_count))
    }
}

/// The columns of a module.
const FIELDS: &[Field<Modules>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("base", Kind::Hex, "First byte"),
        |c| c.module.base.into(),
        |c| c.at(LdrEntry::base).or_else(|| c.in_node(VadShort::start)),
    ),
    placed(
        col("size", Kind::Hex, "Bytes: SizeOfImage of the loader's entry, else of the mapped range"),
        |c| Cell::hex(c.size()),
        |c| c.at(LdrEntry::size).or_else(|| c.in_node(VadShort::end)),
    ),
    placed(
        col("module_name", Kind::Text, "BaseDllName"),
        |c| c.listed(|m| m.name.clone().into()),
        |c| c.text_at(|m| &m.name),
    ),
    placed(col("path", Kind::Text, "FullDllName"), |c| c.listed(|m| m.path.clone().into()), |c| c.text_at(|m| &m.path)),
    derived(col("in_load", Kind::Bool, "On the load-order list"), "the links of the list", |c| c.module.in_load.into()),
    derived(
        col("in_init", Kind::Bool, "On the initialisation-order list (a program's own image never is)"),
        "the links of the list",
        |c| c.module.in_init.into(),
    ),
    derived(col("in_mem", Kind::Bool, "On the memory-order list"), "the links of the list", |c| c.module.in_mem.into()),
    derived(col("wow64", Kind::Bool, "From the lists of the 32-bit side"), "which PEB the list hangs on", |c| {
        c.listed(|m| m.wow64.into())
    }),
    placed(
        col("load_time", Kind::Time, "When it was loaded (Windows 7 and later)"),
        |c| c.listed(|m| m.load_time.into()),
        |c| c.at(LdrEntry::load_time),
    ),
    placed(
        wide("load_reason", Kind::Text, "Why it was loaded (Windows 8 and later)"),
        |c| c.reason().into(),
        |c| c.at(LdrEntry::load_reason),
    ),
    placed(
        wide("load_count", Kind::Number, "How often it was loaded; -1: never to be unloaded"),
        |c| c.listed(|m| m.load_count.into()),
        |c| c.load_count_at(),
    ),
    placed(wide("entry", Kind::Hex, "Entry point"), |c| c.listed(|m| m.entry.into()), |c| c.at(LdrEntry::entry)),
    placed(
        wide("timestamp", Kind::Hex, "TimeDateStamp of its header, as the loader noted it"),
        |c| c.listed(|m| Cell::hex(m.timestamp)),
        |c| c.at(LdrEntry::timestamp),
    ),
    placed(
        wide("flags", Kind::Hex, "The loader's flags"),
        |c| c.listed(|m| Cell::hex(m.flags)),
        |c| c.at(LdrEntry::flags),
    ),
    placed(
        wide("loaded_by", Kind::Hex, "Base of the module that loaded it"),
        |c| c.listed(|m| m.parent.and_then(Va::not_null).into()),
        |c| c.at(LdrEntry::parent),
    ),
    placed(
        wide("original_base", Kind::Hex, "Base it was linked for"),
        |c| c.listed(|m| m.original_base.into()),
        |c| c.at(LdrEntry::original_base),
    ),
    derived(
        wide("ldr_entry", Kind::Hex, "Address of the loader's entry"),
        "the links of the list: it is the row's own place",
        |c| c.listed(|m| m.entry_address.into()),
    ),
    derived(
        col("mapped_file", Kind::Text, "File the kernel mapped there, with its device"),
        "the file object's name behind its device's",
        |c| c.mapped_file.clone().into(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// What is needed to show modules; made once for all processes.
pub struct ModuleRows<'k> {
    /// The layouts of PEB and loader.
    pub sides: Sides<'k>,
    sections: Sections<'k>,
}

impl<'k> ModuleRows<'k> {
    /// Resolves the layouts.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self> {
        let needs = |e| kernel.unreadable(&e);
        Ok(Self { sides: Sides::of(kernel).map_err(needs)?, sections: Sections::of(kernel).map_err(needs)? })
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
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let show = ModuleRows::of(case.kernel()?)?;
    each_process(case, ask, sink, |space, process, sink| rows(&show, process, space, ask, sink))
}

/// The rows of a process.
///
/// # Errors
/// The sink's.
pub fn rows<'k>(
    show: &ModuleRows<'k>,
    process: &Process<'k>,
    space: &Space<'k>,
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    // A process whose page tables are gone has no memory of its own left.
    let Ok(memory) = AddressSpace::of(process, space) else { return Ok(()) };
    let mut files = Files::of(process.kernel).map_err(|e| process.kernel.unreadable(&e))?;
    let sides = show.sides.of_process(process, space);
    let found = process_modules::modules(&memory, &sides);
    tell(process, memory.tree.notes.iter().cloned().chain(found.notes), sink);
    for module in &found.modules {
        let mapped_file = show.mapped_file(&mut files, space, module);
        let row = Row::of(FIELDS, &Of { process, space, memory: &memory.space, module, mapped_file }, &ask.rows);
        let place = module.listed.as_ref().map(|m| m.place).or(module.vad.map(|v| v.place));
        sink.row(Row { place, ..row })?;
    }
    Ok(())
}
