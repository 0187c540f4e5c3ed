//! The address-space analyses of a user-mode minidump: what its streams hold, and what the process's own memory says where it was kept.

use super::{Ask, cmdline, dlllist, envars, malfind, memmap, vadinfo, verinfo};
use crate::addr::{Pa, Va};
use crate::bytes::Place;
use crate::dump::user::{List, Module as Recorded, Region, UserDump};
use crate::dump::{Arch, Dump};
use crate::error::Result;
use crate::kernel::image::Image;
use crate::kernel::ldr::{Module, Modules};
use crate::kernel::peb::{self, Parameters, Shapes};
use crate::kernel::protection::Protection;
use crate::kernel::sides::{Side, SideLayouts};
use crate::kernel::teb::TebLayout;
use crate::paging::{Mode, Space};
use crate::report::{Cell, Column, Row, Sink};
use crate::symbols::resolved::Resolved;
use crate::symbols::{Fallback, Machine, Symbols, builtin};
use crate::value::{Absent, Note, Value};

/// `MEM_COMMIT` and `MEM_FREE` of `MEMORY_BASIC_INFORMATION.State`.
const COMMIT: u32 = 0x1000;
const FREE: u32 = 0x1_0000;

/// A process in a minidump, with the layouts of its Windows.
struct Minidump<'d> {
    dump: &'d Dump,
    user: UserDump<'d>,
    symbols: Option<Symbols>,
    resolved: Resolved,
    peb: Value<Va>,
}

impl<'d> Minidump<'d> {
    fn of(dump: &'d Dump, user: UserDump<'d>) -> Self {
        let mut this = Self {
            dump,
            user,
            symbols: layouts(dump, &user),
            resolved: Resolved::default(),
            peb: Err(Absent::NotRecorded),
        };
        this.peb = this.find_peb();
        this
    }
    fn space(&self) -> Space<'d> {
        Space::new(self.dump, Mode::Blocks, Pa(0))
    }
    fn shapes(&self) -> Value<Shapes<'_>> {
        let symbols = self.symbols.as_ref().ok_or(Absent::NoSymbol)?;
        Ok(Shapes { types: &symbols.types, resolved: &self.resolved })
    }
    /// Every TEB names the PEB; one that was kept will do.
    fn find_peb(&self) -> Value<Va> {
        let layout: &TebLayout = self.shapes()?.get(false).map_err(|_| Absent::NoSymbol)?;
        let space = self.space();
        let mut why = Absent::NotRecorded;
        for thread in self.user.threads() {
            let view = space.view(layout, thread.teb);
            match (view.itself(), view.peb()) {
                (Ok(own), Ok(peb)) if own == thread.teb && !peb.is_null() => return Ok(peb),
                (Ok(_), Ok(_)) => why = Absent::Implausible,
                (Err(absent), _) | (_, Err(absent)) => why = absent,
            }
        }
        Err(why)
    }
    fn parameters(&self) -> Value<Parameters> {
        let layouts = SideLayouts::of(self.shapes()?, false).map_err(|_| Absent::NoSymbol)?;
        Side::new(self.peb, &layouts).parameters(&self.space())
    }
    fn loader(&self) -> Value<Modules> {
        let layouts = SideLayouts::of(self.shapes()?, false).map_err(|_| Absent::NoSymbol)?;
        Side::new(self.peb, &layouts).modules(&self.space())
    }
    fn who(&self) -> Vec<(&'static str, Cell)> {
        vec![
            ("pid", self.user.info().pid.into()),
            ("name", process_name(&self.user).map_or(Cell::Absent(Absent::NotRecorded), Cell::from)),
        ]
    }
}

/// The layouts of the process's Windows, from the built-in tables: user-mode structures of ARM64 are those of x64.
fn layouts(dump: &Dump, user: &UserDump<'_>) -> Option<Symbols> {
    let machine = match dump.arch? {
        Arch::X86 => Machine::X86,
        Arch::X64 | Arch::Arm64 => Machine::X64,
    };
    let build = user.system().map(|s| s.version).and_then(|[_, _, build]| (build != 0).then_some(build));
    builtin::nearest(&Fallback { machine, build, revision: None }).next()
}

fn process_name(user: &UserDump<'_>) -> Option<String> {
    let path = user.program()?.name.as_ref().ok()?;
    Some(last(path))
}
fn last(path: &str) -> String {
    path.rsplit('\\').next().unwrap_or(path).to_owned()
}

fn asked(user: &UserDump<'_>, ask: &Ask) -> bool {
    ask.wants(user.info().pid.ok().map(Into::into), process_name(user).as_deref())
}

/// A row of `columns` with the cells known; the others are not recorded.
fn row(columns: &[Column], known: Vec<(&str, Cell)>, place: Place) -> Row {
    let mut cells = vec![Cell::Absent(Absent::NotRecorded); columns.len()];
    for (key, cell) in known {
        let column = columns.iter().position(|c| c.key == key);
        if let Some(slot) = column.and_then(|i| cells.get_mut(i)) {
            *slot = cell;
        }
    }
    Row::new(cells).at(place)
}
fn hex(v: u32) -> Cell {
    Cell::Hex(v.into())
}
fn at_file(file: u64) -> Place {
    Place { file: Some(file), ..Place::default() }
}

/// The rows of `dlllist`: the dump's list of modules, and the loader's lists where the process's memory has them.
pub(super) fn dlllist(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let mini = Minidump::of(dump, user);
    let loader = mini.loader();
    let mut recorded: Vec<&Recorded> = user.modules().iter().collect();
    let lists = match &loader {
        Ok(found) => {
            found.notes.iter().for_each(|n| sink.note(n.clone()));
            for module in &found.modules {
                // What both have is one row, with the loader's word where it has one.
                let same = recorded.iter().position(|r| module.base == Ok(r.base));
                let also = same.map(|i| recorded.remove(i));
                sink.row(listed(&mini, module, also))?;
            }
            found.torn.map(|torn| torn.map_or(Ok(false), Err))
        }
        Err(why) => [Err(*why); 3],
    };
    for module in recorded {
        let [load, mem, init] = lists;
        let mut known = mini.who();
        known.extend([
            ("base", module.base.into()),
            ("size", hex(module.size)),
            ("module_name", module.name.as_deref().map(last).map_err(|e| *e).into()),
            ("path", module.name.clone().into()),
            ("in_load", load.into()),
            ("in_mem", mem.into()),
            ("in_init", init.into()),
            ("timestamp", hex(module.time_stamp)),
            ("mapped_file", Absent::NotRecorded.into()),
        ]);
        sink.row(row(&dlllist::COLUMNS, known, at_file(module.file)))?;
    }
    Ok(())
}

fn listed(mini: &Minidump<'_>, m: &Module, also: Option<&Recorded>) -> Row {
    let reason = m.load_reason.map(|r| {
        let name = mini.symbols.as_ref().and_then(|s| s.types.enum_name("_LDR_DLL_LOAD_REASON", r.into()));
        name.map_or_else(|| r.to_string(), |n| n.strip_prefix("LoadReason").unwrap_or(n).to_owned())
    });
    let or_recorded = |own: Value<String>, of: fn(&Recorded) -> Value<String>| own.or_else(|e| also.map_or(Err(e), of));
    let mut known = mini.who();
    known.extend([
        ("base", m.base.into()),
        ("size", m.size.or_else(|e| also.map(|r| r.size).ok_or(e)).map_or_else(Cell::Absent, hex)),
        ("module_name", or_recorded(m.name.clone(), |r| r.name.as_deref().map(last).map_err(|e| *e)).into()),
        ("path", or_recorded(m.path.clone(), |r| r.name.clone()).into()),
        ("in_load", m.in_load.into()),
        ("in_init", m.in_init.into()),
        ("in_mem", m.in_mem.into()),
        ("wow64", false.into()),
        ("load_time", m.load_time.into()),
        ("load_reason", reason.into()),
        ("load_count", m.load_count.into()),
        ("entry", m.entry.into()),
        ("timestamp", m.timestamp.map_or_else(Cell::Absent, hex)),
        ("flags", m.flags.map_or_else(Cell::Absent, hex)),
        ("original_base", m.original_base.into()),
        ("ldr_entry", m.entry_address.into()),
    ]);
    row(&dlllist::COLUMNS, known, m.place)
}

/// The rows of `vadinfo`: the regions of each allocation together, as `VirtualQuery` told them.
pub(super) fn vadinfo(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    if let Err(why) = user.has(List::Regions) {
        sink.note(Note::loss(format!("the list of memory regions is {why}: this minidump was written without it")));
    }
    let mini = Minidump::of(dump, user);
    let regions: Vec<&Region> = user.regions().iter().filter(|r| r.state != FREE).collect();
    for allocation in regions.chunk_by(|a, b| a.allocation_base == b.allocation_base) {
        let (Some(first), Some(end)) = (allocation.first(), allocation.last()) else { continue };
        let module = user.modules().iter().find(|m| m.base == first.allocation_base);
        let committed: u64 = allocation
            .iter()
            .filter(|r| r.state == COMMIT)
            .map(|r| r.size / crate::addr::PAGE_SIZE)
            .fold(0, u64::saturating_add);
        let mut known = mini.who();
        known.extend([
            ("start", first.base.into()),
            ("end", end.base.add(end.size).sub(1).into()),
            ("type", kind(first).into()),
            ("protection", Protection(first.allocation_protection).name().into()),
            ("private", (kind(first) == Ok("private")).into()),
            ("commit", committed.into()),
            ("file", module.ok_or(Absent::NotRecorded).and_then(|m| m.name.clone()).into()),
            ("usage", usage(&mini, first, end).into()),
        ]);
        sink.row(row(&vadinfo::COLUMNS, known, at_file(first.file)))?;
    }
    Ok(())
}

/// `MEM_PRIVATE`, `MEM_MAPPED`, `MEM_IMAGE`.
fn kind(region: &Region) -> Value<&'static str> {
    match region.kind {
        0x2_0000 => Ok("private"),
        0x4_0000 => Ok("mapped"),
        0x100_0000 => Ok("image"),
        _ => Err(Absent::Implausible),
    }
}

fn usage(mini: &Minidump<'_>, first: &Region, end: &Region) -> Vec<String> {
    let inside = |va: Va| first.base <= va && va.0 < end.base.0.saturating_add(end.size);
    let mut found = Vec::new();
    if mini.peb.is_ok_and(inside) {
        found.push("peb".to_owned());
    }
    for thread in mini.user.threads() {
        if inside(thread.teb) {
            found.push(format!("teb {}", thread.id));
        }
        if thread.stack.is_some_and(|(start, _)| inside(start)) {
            found.push(format!("stack {}", thread.id));
        }
    }
    let modules = mini.user.modules().iter().filter(|m| inside(m.base));
    found.extend(modules.filter_map(|m| m.name.as_ref().ok()).map(|n| format!("module {}", last(n))));
    found
}

/// The row of `cmdline`.
pub(super) fn cmdline(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let mini = Minidump::of(dump, user);
    let own = mini.parameters();
    let p = |get: fn(&Parameters) -> Value<String>| Cell::from(own.as_ref().map_err(|e| *e).and_then(get));
    let mut known = mini.who();
    known.extend([
        ("command_line", p(|p| p.command_line.clone())),
        ("image_path", p(|p| p.image_path.clone())),
        ("current_directory", p(|p| p.directory.clone())),
        ("window_title", p(|p| p.window_title.clone())),
        ("desktop", p(|p| p.desktop.clone())),
        ("shell_info", p(|p| p.shell.clone())),
        ("dll_path", p(|p| p.dll_path.clone())),
        ("peb", mini.peb.into()),
        ("parameters", own.as_ref().map(|p| p.address).map_err(|e| *e).into()),
        ("wow64", Absent::NotApplicable.into()),
    ]);
    sink.row(row(&cmdline::COLUMNS, known, own.as_ref().map_or(Place::default(), |p| p.place)))
}

/// The rows of `envars`.
pub(super) fn envars(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let mini = Minidump::of(dump, user);
    let (address, size) = match mini.parameters().and_then(|p| Ok((p.environment.0?, p.environment.1))) {
        Ok(found) => found,
        Err(why) => {
            sink.note(Note::loss(format!(
                "the process parameters are {why}: this minidump was written without the memory they lie in"
            )));
            return Ok(());
        }
    };
    let (variables, note) = peb::environment(&mini.space(), address, size.ok());
    note.into_iter().for_each(|n| sink.note(n));
    for v in variables {
        let mut known = mini.who();
        known.extend([
            ("variable", v.name.into()),
            ("value", v.value.into()),
            ("wow64", false.into()),
            ("block", address.into()),
        ]);
        sink.row(row(&envars::COLUMNS, known, v.place))?;
    }
    Ok(())
}

/// The rows of `verinfo`: what the dump recorded, and the headers and resources that were kept.
pub(super) fn verinfo(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let mini = Minidump::of(dump, user);
    let space = mini.space();
    for m in user.modules() {
        let image = Image::read(&space, m.base);
        // Linkers without a version resource leave four zeros.
        let number = |n: Option<[u16; 4]>| {
            n.filter(|n| *n != [0; 4]).map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")).ok_or(Absent::NotRecorded)
        };
        let facts = verinfo::facts(&space, &image);
        // The columns of the facts begin after the module's name.
        let from = verinfo::COLUMNS.iter().position(|c| c.key == "company").unwrap_or(0);
        let keys = verinfo::COLUMNS.iter().skip(from).map(|c| c.key);
        let mut known = mini.who();
        known.extend(keys.zip(facts).filter(|(_, cell)| !matches!(cell, Cell::Absent(_))));
        let has = |key: &str, known: &[(&str, Cell)]| known.iter().any(|(k, _)| *k == key);
        let recorded = [
            ("file_version", number(m.file_version).into()),
            ("product_version", number(m.product_version).into()),
            ("size", hex(m.size)),
            ("timestamp", hex(m.time_stamp)),
            ("checksum", hex(m.checksum)),
            ("pdb", m.pdb.as_ref().map(|p| p.name.clone()).ok_or(Absent::NotRecorded).into()),
            ("pdb_id", m.pdb.as_ref().map(|p| format!("{}{:X}", p.guid, p.age)).ok_or(Absent::NotRecorded).into()),
        ];
        for (key, cell) in recorded {
            if !has(key, &known) {
                known.push((key, cell));
            }
        }
        known.extend([
            ("base", m.base.into()),
            ("module_name", m.name.as_deref().map(last).map_err(|e| *e).into()),
            ("path", m.name.clone().into()),
        ]);
        sink.row(row(&verinfo::COLUMNS, known, at_file(m.file)))?;
    }
    Ok(())
}

/// The rows of `memmap`: what was kept of each region, and what was not.
pub(super) fn memmap(_: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let who = [
        ("pid", Cell::from(user.info().pid)),
        ("name", process_name(&user).map_or(Cell::Absent(Absent::NotRecorded), Cell::from)),
    ];
    let mut give = |start: Va, size: u64, state: &'static str, file: Option<u64>| {
        let mut known = who.to_vec();
        known.extend([
            ("start", start.into()),
            ("size", size.into()),
            ("state", state.into()),
            ("file_offset", file.map_or(Cell::Absent(Absent::NotInDump), Cell::Hex)),
        ]);
        sink.row(row(&memmap::COLUMNS, known, Place { va: Some(start), pa: None, file }))
    };
    let committed = user.regions().iter().filter(|r| r.state == COMMIT);
    if user.regions().is_empty() {
        for block in user.blocks() {
            give(block.va, block.len, "valid", Some(block.file))?;
        }
        return Ok(());
    }
    for region in committed {
        let end = region.base.0.saturating_add(region.size);
        let mut at = region.base;
        while at.0 < end {
            let left = end.saturating_sub(at.0);
            let size = match user.bytes(at, usize::try_from(left).unwrap_or(usize::MAX)) {
                Ok((data, file)) if !data.is_empty() => {
                    give(at, data.len() as u64, "valid", Some(file))?;
                    data.len() as u64
                }
                _ => {
                    let next = at.0.checked_add(1).and_then(|n| user.next_kept(Va(n))).map_or(end, |n| n.0.min(end));
                    let hole = next.saturating_sub(at.0).max(1);
                    give(at, hole, "not_in_dump", None)?;
                    hole
                }
            };
            at = at.add(size);
        }
    }
    Ok(())
}

/// The rows of `malfind`: private memory that may be written and executed, or holds an image.
pub(super) fn malfind(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    if let Err(why) = user.has(List::Regions) {
        sink.note(Note::loss(format!("the list of memory regions is {why}: this minidump was written without it")));
    }
    let mini = Minidump::of(dump, user);
    let space = mini.space();
    for region in user.regions().iter().filter(|r| r.state == COMMIT && kind(r) != Ok("image")) {
        let now = Protection(region.protection);
        if !now.executable() {
            continue;
        }
        let threads: Vec<u32> = user
            .threads()
            .iter()
            .filter(|t| {
                t.start_address.is_ok_and(|va| region.base <= va && va.0 < region.base.0.saturating_add(region.size))
            })
            .map(|t| t.id)
            .collect();
        let header = Image::read(&space, region.base);
        if !now.writable() && threads.is_empty() && header.is_err() {
            continue;
        }
        let mut notes: Vec<String> = threads.iter().map(|id| format!("thread {id} starts here")).collect();
        if let Ok(image) = &header {
            notes.push(format!("begins with a PE header: {}, {} bytes", image.machine_name(), image.size));
        }
        if space.slice(region.base, 1).is_err() {
            notes.push("its bytes are not in the dump".into());
        }
        let narrow = dump.arch == Some(Arch::X86);
        let bytes = space.fetch(region.base, 128);
        let code = if bytes.prefix().is_empty() { bytes.at(0, 1) } else { Ok(bytes.prefix()) };
        let lines = code.and_then(|b| {
            super::disassembly::instructions(dump.arch.ok_or(Absent::NotRecorded)?, narrow, region.base, b, 16)
        });
        let mut known = mini.who();
        known.extend([
            ("start", region.base.into()),
            ("end", region.base.add(region.size).sub(1).into()),
            ("protection", now.name().into()),
            ("private", (kind(region) == Ok("private")).into()),
            ("type", kind(region).into()),
            ("notes", notes.into()),
            ("threads", threads.into()),
            ("code_at", region.base.into()),
            ("hexdump", code.map(|b| super::disassembly::hex_lines(region.base, b.get(..64).unwrap_or(b))).into()),
            ("disassembly", if header.is_ok() { Absent::NotApplicable.into() } else { lines.into() }),
        ]);
        sink.row(row(&malfind::COLUMNS, known, at_file(region.file)))?;
    }
    Ok(())
}
