//! The address-space analyses of a user-mode minidump: what its streams hold, and what the process's own memory says where it was kept.

use super::{asked, placed, placed_at, process_name, row_of, whose_at};
use crate::addr::{Pa, Va};
use crate::analysis::image_facts::{self, Facts};
use crate::analysis::{self, Ask, disassembly, malfind, memmap};
use crate::bytes::Place;
use crate::dump::user::{List, Region, UserDump};
use crate::dump::{Arch, Dump};
use crate::error::Result;
use crate::kernel::image::{HeaderField, Image};
use crate::kernel::peb::Shapes;
use crate::kernel::process::base_name;
use crate::kernel::protection::Protection;
use crate::kernel::stamp::Bounds;
use crate::kernel::teb::TebLayout;
use crate::paging::{Mode, Space};
use crate::place::At;
use crate::report::{Cell, Sink};
use crate::symbols::resolved::Resolved;
use crate::symbols::{Fallback, Machine, Symbols, builtin};
use crate::time::FileTime;
use crate::value::{Absent, Note, Value};

/// `MEM_COMMIT` and `MEM_FREE` of `MEMORY_BASIC_INFORMATION.State`.
const COMMIT: u32 = 0x1000;

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
    fn who(&self) -> Vec<(&'static str, Cell)> {
        vec![("pid", self.user.info().pid.into()), ("name", process_name(&self.user).into())]
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

fn hex(v: u32) -> Cell {
    Cell::Hex(v.into())
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

/// The rows of `verinfo`: what the dump recorded, and the headers and resources that were kept.
pub(in crate::analysis) fn verinfo(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(&user, ask) {
        return Ok(());
    }
    let mini = Minidump::of(dump, user);
    let space = mini.space();
    let bounds = Bounds { end: user.info().written.ok().map(FileTime::end_of_second), hashes: false };
    for m in user.modules() {
        // Linkers without a version resource leave four zeros.
        let number = |n: Option<[u16; 4]>| {
            n.filter(|n| *n != [0; 4]).map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")).ok_or(Absent::NotRecorded)
        };
        let facts = Facts::of(Ok(&space), Image::read(&space, m.base), bounds);
        let mut known = mini.who();
        known.extend(of_image(&facts).into_iter().filter(|(_, cell)| !matches!(cell, Cell::Absent(_))));
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
            ("module_name", m.name.as_deref().map(|path| base_name(path).to_owned()).map_err(|e| *e).into()),
            ("path", m.name.clone().into()),
        ]);
        let row = placed(row_of(&analysis::verinfo::COLUMNS, known, Place::in_dump(m.file)), ask, &whose_at(&user));
        let recorded = |field: u64| Some(Place::in_dump(m.file.saturating_add(field)));
        let fields = [
            ("machine", facts.header_at(HeaderField::Machine)),
            ("entry", facts.header_at(HeaderField::Entry)),
            ("size", facts.header_at(HeaderField::Size).or_else(|| recorded(8))),
            ("timestamp", facts.header_at(HeaderField::TimeStamp).or_else(|| recorded(16))),
            ("checksum", facts.header_at(HeaderField::CheckSum).or_else(|| recorded(12))),
        ];
        sink.row(placed_at(row, ask, fields))?;
    }
    Ok(())
}

/// What an image says of itself, by column.
fn of_image(facts: &Facts<'_>) -> [(&'static str, Cell); 18] {
    [
        ("company", facts.string("CompanyName")),
        ("product", facts.string("ProductName")),
        ("original_name", facts.string("OriginalFilename")),
        ("file_version", facts.number(|v| v.file)),
        ("product_version", facts.number(|v| v.product)),
        ("file_version_text", facts.string("FileVersion")),
        ("description", facts.string("FileDescription")),
        ("internal_name", facts.string("InternalName")),
        ("copyright", facts.string("LegalCopyright")),
        ("strings", facts.strings()),
        ("machine", facts.header(|i| i.machine_name().into())),
        ("size", facts.header(|i| Cell::Hex(i.size.into()))),
        ("entry", facts.header(image_facts::entry_point)),
        ("timestamp", facts.header(|i| Cell::Hex(i.timestamp.into()))),
        ("build_time", facts.build_time()),
        ("checksum", facts.header(|i| Cell::Hex(i.checksum.into()))),
        ("pdb", facts.pdb(|p| p.name.clone())),
        ("pdb_id", facts.pdb(crate::symbols::PdbId::key)),
    ]
}

/// The rows of `memmap`: what was kept of each region, and what was not.
pub(in crate::analysis) fn memmap(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let who = [("pid", Cell::from(user.info().pid)), ("name", process_name(user).into())];
    let mut give = |start: Va, size: u64, state: &'static str, file: Option<u64>| {
        let mut known = who.to_vec();
        known.extend([
            ("start", start.into()),
            ("size", size.into()),
            ("state", state.into()),
            ("file_offset", file.map_or(Cell::Absent(Absent::NotInDump), Cell::Hex)),
        ]);
        let place = Place { va: Some(start), pa: None, file: file.map(At::in_dump) };
        sink.row(placed(row_of(&memmap::COLUMNS, known, place), ask, &whose_at(user)))
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
pub(in crate::analysis) fn malfind(dump: &Dump, user: UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
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
        let lines = code
            .and_then(|b| disassembly::instructions(dump.arch.ok_or(Absent::NotRecorded)?, narrow, region.base, b, 16));
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
            ("hexdump", code.map(|b| disassembly::hex_lines(region.base, b.get(..64).unwrap_or(b))).into()),
            ("disassembly", if header.is_ok() { Absent::NotApplicable.into() } else { lines.into() }),
        ]);
        let row = placed(row_of(&malfind::COLUMNS, known, Place::in_dump(region.file)), ask, &whose_at(&user));
        let field = |at: u64| Some(Place::in_dump(region.file.saturating_add(at)));
        // MINIDUMP_MEMORY_INFO.
        let fields = [
            ("start", field(0)),
            ("end", field(24)),
            ("protection", field(36)),
            ("private", field(40)),
            ("type", field(40)),
            ("hexdump", Some(bytes.place(0))),
            ("disassembly", Some(bytes.place(0))),
        ];
        sink.row(placed_at(row, ask, fields))?;
    }
    Ok(())
}
