//! `info`: what the file is, what machine it comes from, and how that was found out.

use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::addr::PAGE_SIZE;
use crate::bytes::Place;
use crate::dump::HeaderField;
use crate::dump::{Arch, Dump, Header, Kind as Container};
use crate::error::{Result, in_one_line};
use crate::kernel::Kernel;
use crate::kernel::paged::Listed;
use crate::kernel::secondary;
use crate::kernel::smbios::Smbios;
use crate::kernel::system::{System, SystemData, product_name};
use crate::paging::Mode;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed};
use crate::symbols::PdbId;
use crate::symbols::layout::At;
use crate::time::FileTime;
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// The register's entry.
pub static INFO: Analysis = Analysis {
    name: "info",
    about: "Dump format, Windows version, and how the kernel was located",
    help: "Answers for every file that opens, also where no kernel is found in it: then it says what was tried.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run).minidump(|case, _, ask, sink| run(case, ask, sink)),
};

/// A dump.
struct About;
struct Of<'a> {
    case: &'a Case,
    dump: &'a Dump,
    kernel: Option<&'a Kernel>,
    system: Option<System>,
    told: Told,
    secondary: secondary::Told,
}
impl crate::report::Subject for About {
    type Of<'a> = Of<'a>;
}

const NOT_RECORDED: Cell = Cell::Absent(Absent::NotRecorded);

impl Of<'_> {
    fn system(&self, get: fn(&System) -> Cell) -> Cell {
        self.system.as_ref().map_or(NOT_RECORDED, get)
    }
    fn kernel(&self, get: fn(&Kernel) -> Cell) -> Cell {
        self.kernel.map_or(NOT_RECORDED, get)
    }
    fn header(&self, get: fn(&Header) -> Option<Cell>) -> Cell {
        self.dump.header.as_ref().and_then(get).unwrap_or(NOT_RECORDED)
    }
    /// What the kernel's own record says its PDB is; where the dump lacks the record, that of the symbols which were taken.
    fn pdb(&self, get: fn(&PdbId) -> Cell) -> Cell {
        self.kernel.and_then(|k| k.pdb.as_ref().or(k.symbols.id.as_ref())).map_or(NOT_RECORDED, get)
    }
    fn build(&self) -> Value<u32> {
        let own = self.system.as_ref().map_or(Err(Absent::NotRecorded), |s| s.build);
        own.or(self.kernel.and_then(|k| k.build).ok_or(Absent::NotRecorded))
    }
    fn now(&self) -> Value<FileTime> {
        let header = self.dump.header.as_ref().and_then(|h| h.system_time).ok_or(Absent::NotRecorded);
        self.kernel.map_or(header, |k| k.clock(&k.space()).now.or(header))
    }
    fn now_at(&self) -> Option<Place> {
        let space = self.kernel.map(Kernel::space);
        let own = self.kernel.zip(space.as_ref()).filter(|(k, space)| k.clock(space).now.is_ok());
        match own {
            Some((kernel, space)) => kernel.system_time_place(space),
            None => Some(Place::in_dump(self.dump.header.as_ref()?.system_time_at)),
        }
    }
    /// Where a field of `KUSER_SHARED_DATA` is.
    fn shared(&self, field: At<SystemData>) -> Option<Place> {
        self.kernel?.place_in(&self.kernel?.space(), self.kernel?.shared_data_va(), field)
    }
    /// The same, of what may be the header's instead.
    fn own(&self, what: &str, field: At<SystemData>) -> Option<Place> {
        self.shared(field).filter(|_| !self.told.by_header.contains(&what))
    }
    /// By the header it is its time less its up time.
    fn boot_at(&self) -> Option<Place> {
        if self.told.by_header.contains(&"boot_time") {
            return Some(Place::in_dump(self.dump.header.as_ref()?.system_time_at));
        }
        self.global("KeBootTime")
    }
    fn processors_at(&self) -> Option<Place> {
        match self.system.as_ref().map(|s| s.processors) {
            Some(Ok(n)) if n > 0 => self.shared(SystemData::processors),
            _ => self.header_at(HeaderField::Processors),
        }
    }
    fn global(&self, name: &str) -> Option<Place> {
        Some(self.kernel?.space().place(self.kernel?.global(name)?))
    }
    fn header_at(&self, field: HeaderField) -> Option<Place> {
        Some(Place::in_dump(self.dump.header.as_ref()?.field_at(field)))
    }
}

const FIELDS: &[Field<About>] = &[
    derived(col("file", Kind::Text, "The file"), "the command line", |c| c.dump.path().display().to_string().into()),
    derived(col("file_size", Kind::Number, "Its bytes"), "the file system", |c| c.dump.len().into()),
    derived(
        col("container", Kind::Text, "What kind of dump it is"),
        "the file's first bytes, its length and its name",
        |c| container(c.dump.kind).into(),
    ),
    derived(col("architecture", Kind::Text, "x64, x86 or arm64"), "the kernel's image, else the header", |c| {
        c.kernel.map(|k| k.arch).or(c.dump.arch).map(architecture).ok_or(Absent::NotRecorded).into()
    }),
    derived(
        col("paging", Kind::Text, "How the machine translates addresses"),
        "the page tables that lead to the kernel, else the header",
        |c| c.kernel.map(|k| k.mode).or_else(|| header_mode(c.dump)).map(paging).ok_or(Absent::NotRecorded).into(),
    ),
    derived(
        col("memory", Kind::Number, "Bytes of physical memory in the file"),
        "the dump's own table of pages",
        |c| c.dump.page_count().saturating_mul(PAGE_SIZE).into(),
    ),
    derived(
        col("highest_address", Kind::Hex, "One past the highest physical byte in the file"),
        "the dump's own table of pages",
        |c| c.dump.highest_page().map_or(NOT_RECORDED, |p| Cell::Hex(p.base().0.saturating_add(PAGE_SIZE))),
    ),
    placed(
        col("version", Kind::Text, "Windows version"),
        |c| c.told.version.clone().into(),
        |c| c.own("version", SystemData::major).or_else(|| c.header_at(HeaderField::Build)),
    ),
    placed(col("build", Kind::Number, "Build number"), |c| c.build().into(), |c| c.global("NtBuildNumber")),
    placed(
        col("build_lab", Kind::Text, "Build string of the kernel"),
        |c| c.system(|s| s.build_lab.clone().into()),
        |c| c.kernel?.build_lab_at(&c.kernel?.space()),
    ),
    placed(
        col("product", Kind::Text, "workstation, domain controller or server"),
        |c| c.told.product.into(),
        |c| c.own("product", SystemData::product).or_else(|| c.header_at(HeaderField::Product)),
    ),
    placed(
        col("suite_mask", Kind::Hex, "Product suites"),
        |c| Cell::hex(c.told.suite),
        |c| c.own("suite_mask", SystemData::suite).or_else(|| c.header_at(HeaderField::Suite)),
    ),
    derived(col("suites", Kind::Texts, "The same by name (VER_SUITE_… of winnt.h)"), "suite_mask", |c| {
        c.told.suite.map_or_else(Cell::Absent, suites)
    }),
    derived(
        col(
            "by_header",
            Kind::Texts,
            "Which of version, product, suite_mask and boot_time are the crash-dump header's, for want of the kernel's own: the start is then \
         header time less up time",
        ),
        "which of the kernel's own values are absent",
        |c| if c.told.by_header.is_empty() { Cell::default() } else { c.told.by_header.clone().into() },
    ),
    placed(
        col("system_root", Kind::Text, "Folder Windows is installed in"),
        |c| c.system(|s| s.root.clone().into()),
        |c| c.shared(SystemData::root_raw),
    ),
    placed(
        col("processors", Kind::Number, "Running processors"),
        |c| processors(c.dump, c.system.as_ref().and_then(|s| s.processors.ok())).into(),
        |c| c.processors_at(),
    ),
    placed(
        col("safe_mode", Kind::Bool, "Whether it was started in safe mode"),
        |c| c.system(|s| s.safe_boot.into()),
        |c| c.shared(SystemData::safe_boot),
    ),
    placed(
        col("kernel_debugger", Kind::Bool, "Whether a kernel debugger was enabled"),
        |c| c.system(|s| s.debugger.into()),
        |c| c.shared(SystemData::debugger),
    ),
    placed(
        col("system_time", Kind::Time, "When the dump was taken, by the machine's clock"),
        |c| c.now().into(),
        |c| c.now_at(),
    ),
    placed(col("boot_time", Kind::Time, "When the machine was started"), |c| c.told.boot.into(), |c| c.boot_at()),
    placed(
        col("time_zone_minutes", Kind::Number, "Minutes to add to local time for UTC"),
        |c| c.system(|s| s.time_zone.map_or_else(Cell::Absent, Cell::Int)),
        |c| c.shared(SystemData::time_zone_raw),
    ),
    derived(col("kernel_base", Kind::Hex, "Where the kernel image lies"), "found_by", |c| c.kernel(|k| k.base.into())),
    derived(col("kernel_size", Kind::Hex, "Bytes of the kernel image"), "the header of the kernel's image", |c| {
        c.kernel(|k| k.size.map_or(NOT_RECORDED, |size| Cell::Hex(size.into())))
    }),
    derived(col("dtb", Kind::Hex, "Page tables used for kernel addresses"), "found_by", |c| {
        c.kernel(|k| k.root.into())
    }),
    derived(
        col("pdb", Kind::Text, "Name of the kernel's symbol file"),
        "the CodeView record of the kernel's image, else the symbols",
        |c| c.pdb(|id| id.name.clone().into()),
    ),
    derived(
        col("pdb_guid", Kind::Text, "Its GUID"),
        "the CodeView record of the kernel's image, else the symbols",
        |c| c.pdb(|id| id.guid.clone().into()),
    ),
    derived(
        col("pdb_age", Kind::Number, "Its age"),
        "the CodeView record of the kernel's image, else the symbols",
        |c| c.pdb(|id| id.age.into()),
    ),
    derived(col("symbols", Kind::Text, "Where the symbols in use come from"), "where symbols were looked for", |c| {
        c.kernel(|k| origin(k).into())
    }),
    derived(
        col("found_by", Kind::Texts, "Which road led to the kernel, and how sure it is"),
        "the search for the kernel",
        |c| c.kernel(roads),
    ),
    derived(
        col("no_kernel", Kind::Text, "Where no kernel was found: what was tried"),
        "the search for the kernel",
        |c| c.case.kernel.as_ref().err().map_or_else(Cell::default, |why| in_one_line(why).into()),
    ),
    placed(
        col("header_build", Kind::Number, "Build number by the crash-dump header"),
        |c| c.header(|h| Some(h.build.into())),
        |c| c.header_at(HeaderField::Build),
    ),
    placed(
        col("header_dtb", Kind::Hex, "Page tables of the crashing processor by the header (any process's)"),
        |c| c.header(|h| Some(h.dtb?.into())),
        |c| c.header_at(HeaderField::Dtb),
    ),
    placed(
        col("header_process_list", Kind::Hex, "PsActiveProcessHead by the header"),
        |c| c.header(|h| Some(h.process_head?.into())),
        |c| c.header_at(HeaderField::ProcessHead),
    ),
    placed(
        col("header_module_list", Kind::Hex, "PsLoadedModuleList by the header"),
        |c| c.header(|h| Some(h.module_list?.into())),
        |c| c.header_at(HeaderField::ModuleList),
    ),
    placed(
        col("header_kdbg", Kind::Hex, "KdDebuggerDataBlock by the header"),
        |c| c.header(|h| Some(h.kdbg?.into())),
        |c| c.header_at(HeaderField::Kdbg),
    ),
    derived(
        col("runs", Kind::Nested, "Stretches of physical memory in the file, the first sixteen"),
        "the dump's own table of pages",
        |c| runs(c.dump),
    ),
    derived(
        col(
            "header_runs",
            Kind::Nested,
            "Stretches of physical memory that the crash-dump header describes, in the file or not: first page, pages",
        ),
        "PhysicalMemoryBlock of the header",
        |c| header_runs(c.dump),
    ),
    derived(col("header_pages", Kind::Number, "Pages in those stretches"), "PhysicalMemoryBlock of the header", |c| {
        header_pages(c.dump)
    }),
    derived(
        col("machine", Kind::Nested, "Machine, board and BIOS by the SMBIOS tables in the dump's secondary data"),
        "a piece of the secondary data",
        |c| c.secondary.smbios.clone().map_or(NOT_RECORDED, machine),
    ),
    derived(
        col("cpu", Kind::Nested, "The processor by the secondary data: name, vendor, family, model, stepping"),
        "a piece of the secondary data",
        |c| cpu(&c.secondary),
    ),
    derived(
        col("program", Kind::Text, "Path of the program that was running, by the secondary data"),
        "a piece of the secondary data",
        |c| c.secondary.program.clone().map_or(NOT_RECORDED, Cell::from),
    ),
    derived(
        col(
            "secondary_size",
            Kind::Number,
            "Bytes of secondary data, which kernel and drivers add behind a crash dump",
        ),
        "the sizes of the pieces",
        |c| secondary_size(c.dump),
    ),
    derived(
        col(
            "page_files",
            Kind::Nested,
            "Page files by the kernel's list: number, path, pages it has and pages in use, whether it is the compressed store, the file given for it (--page-file)",
        ),
        "the kernel's list of page files",
        |_| Cell::default(),
    ),
    derived(
        col(
            "compressed_store",
            Kind::Nested,
            "The compressed store: how many stores, how they compress, the process that holds them; or why it cannot be read",
        ),
        "SmGlobals, and the stores it leads to",
        |_| Cell::default(),
    ),
    derived(
        col("user_process", Kind::Nested, "Of a user-mode minidump: its process, and how the dump was written"),
        "the minidump's streams",
        |_| Cell::default(),
    ),
    derived(
        col("streams", Kind::Nested, "Of a user-mode minidump: its streams, by MINIDUMP_STREAM_TYPE"),
        "the minidump's directory",
        |_| Cell::default(),
    ),
    derived(
        col(
            "secondary",
            Kind::Nested,
            "The pieces of secondary data: GUID, what it holds and who writes it where known, bytes, file offset",
        ),
        "the heads of the pieces",
        |_| Cell::default(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    for note in case.all_notes() {
        sink.note(note.clone());
    }
    let dump = &*case.dump;
    let kernel = case.kernel.as_ref().ok();
    let system = kernel.map(|k| k.system(&k.space()));
    let told = Told::of(dump.header.as_ref(), system.as_ref());
    let of = Of { case, dump, kernel, system, told, secondary: secondary::Told::of(dump) };
    let mut row = Row::of(FIELDS, &of, &ask.rows).upright();
    let mut pieces = match dump.minidump() {
        Some(dump) => {
            if ask.rows.places {
                row.fields = user::info_at(&dump);
            }
            user::info(&dump)
        }
        None => of_pieces(dump, sink),
    };
    if let Ok(kernel) = &case.kernel {
        pieces.extend(of_paged(kernel));
    }
    for (key, cell) in pieces {
        let column = COLUMNS.iter().position(|c| c.key == key);
        if let Some(slot) = column.and_then(|i| row.cells.get_mut(i)) {
            *slot = cell;
        }
    }
    sink.row(row)
}

/// What there is of pages beside physical memory.
fn of_paged(kernel: &Kernel) -> [(&'static str, Cell); 2] {
    let listed = kernel.page_files(&kernel.space());
    let object =
        |fields: Vec<(&'static str, Cell)>| Cell::Object(fields.into_iter().map(|(k, v)| (k.into(), v)).collect());
    let file = |one: &Listed| {
        let given = kernel.paged.files.get(one.number);
        let path = given.map(|file| file.path().display().to_string());
        object(vec![
            ("number", one.number.into()),
            ("path", if one.virtual_store { Absent::NotApplicable.into() } else { one.name.clone().into() }),
            ("pages", one.pages.into()),
            ("used", one.used.into()),
            ("compressed_store", one.virtual_store.into()),
            ("given", path.ok_or(Absent::NotApplicable).into()),
        ])
    };
    let store = match &listed {
        Ok(all) if all.iter().any(|one| one.virtual_store) => match kernel.stores() {
            Ok(stores) => object(vec![
                ("stores", (stores.count() as u64).into()),
                ("algorithm", stores.algorithm().name().into()),
                ("process", stores.owner.into()),
            ]),
            Err(why) => object(vec![("unreadable", why.to_owned().into())]),
        },
        Ok(_) => Absent::NotApplicable.into(),
        Err(why) => Cell::Absent(*why),
    };
    [
        ("page_files", listed.map_or_else(Cell::Absent, |all| Cell::List(all.iter().map(file).collect()))),
        ("compressed_store", store),
    ]
}

/// What the kernel says of the system, or for want of that the crash-dump header.
struct Told {
    version: Value<String>,
    product: Value<&'static str>,
    suite: Value<u32>,
    boot: Value<FileTime>,
    by_header: Vec<&'static str>,
}

impl Told {
    fn of(header: Option<&Header>, system: Option<&System>) -> Self {
        let mut by_header = Vec::new();
        let own = |get: &dyn Fn(&System) -> Option<Absent>| system.map_or(Some(Absent::NotRecorded), get);
        let mut take = |missing: Option<Absent>, has: bool, what| {
            if missing.is_some() && has {
                by_header.push(what);
            }
        };
        // A tool that takes a dump of the running machine may write what Windows tells old programs (6.2.9200) instead.
        let version = header.filter(|h| h.bugcheck != 0).and_then(|h| header_version(h.build));
        let product = header.and_then(|h| h.product_type).and_then(|p| product_name(p).ok());
        let suite = header.and_then(|h| h.suite_mask);
        let boot = header.and_then(|h| Some(FileTime(h.system_time?.0.checked_sub(h.uptime?)?)));
        take(own(&|s| s.version.err()), version.is_some(), "version");
        take(own(&|s| s.product.err()), product.is_some(), "product");
        take(own(&|s| s.suite.err()), suite.is_some(), "suite_mask");
        take(own(&|s| s.boot.err()), boot.is_some(), "boot_time");
        Self {
            version: or(system.map(|s| s.version.map(|(major, minor)| format!("{major}.{minor}"))), version),
            product: or(system.map(|s| s.product), product),
            suite: or(system.map(|s| s.suite), suite),
            boot: or(system.map(|s| s.boot), boot),
            by_header,
        }
    }
}

/// The kernel's own value, else the header's, else why the kernel has none.
fn or<T>(own: Option<Value<T>>, header: Option<T>) -> Value<T> {
    match own.unwrap_or(Err(Absent::NotRecorded)) {
        Ok(value) => Ok(value),
        Err(why) => header.ok_or(why),
    }
}

/// Which Windows a build number is of; `None` of a number no Windows was released with.
fn header_version(build: u32) -> Option<String> {
    let version = match build {
        2600 => "5.1",
        3790 => "5.2",
        6000..=6003 => "6.0",
        7600 | 7601 => "6.1",
        9200 => "6.2",
        9600 => "6.3",
        10240..=65535 => "10.0",
        _ => return None,
    };
    Some(format!("{version}.{build}"))
}

/// Suites by name, lowest bit first.
fn suites(mask: u32) -> Cell {
    const NAMES: [(u32, &str); 17] = [
        (0x1, "SmallBusiness"),
        (0x2, "Enterprise"),
        (0x4, "BackOffice"),
        (0x8, "Communications"),
        (0x10, "TerminalServer"),
        (0x20, "SmallBusinessRestricted"),
        (0x40, "EmbeddedNT"),
        (0x80, "DataCenter"),
        (0x100, "SingleUserTS"),
        (0x200, "Personal"),
        (0x400, "Blade"),
        (0x800, "EmbeddedRestricted"),
        (0x1000, "SecurityAppliance"),
        (0x2000, "StorageServer"),
        (0x4000, "ComputeServer"),
        (0x8000, "HomeServer"),
        (0x2_0000, "MultiUserTS"),
    ];
    let rest = NAMES.iter().fold(mask, |rest, (bit, _)| rest & !bit);
    let mut names: Vec<Cell> =
        NAMES.iter().filter(|(bit, _)| mask & bit != 0).map(|(_, name)| (*name).into()).collect();
    if rest != 0 {
        names.push(format!("{rest:#x}").into());
    }
    Cell::List(names)
}

/// By the shared page, else by the header.
fn processors(dump: &Dump, shared: Option<u32>) -> Value<u32> {
    let header = dump.header.as_ref().map(|h| h.processors);
    shared.filter(|n| *n > 0).or(header.filter(|n| *n > 0)).ok_or(Absent::NotRecorded)
}

/// In a line: why there are none is said in a note.
fn origin(kernel: &Kernel) -> String {
    let origin = &kernel.symbols.origin;
    let none = origin.strip_prefix("nowhere").map(|_| "nowhere: see the notes".to_owned());
    none.unwrap_or_else(|| origin.clone())
}

fn roads(kernel: &Kernel) -> Cell {
    let road = &kernel.road;
    let failed = road.failed.iter().map(|f| format!("not so: {f}"));
    let texts = std::iter::once(road.taken.clone()).chain(road.checks.iter().cloned()).chain(failed);
    Cell::List(texts.filter(|t| !t.is_empty()).map(Cell::from).collect())
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

/// Of a 32-bit crash dump without a kernel in it: the header says whether PAE was on.
fn header_mode(dump: &Dump) -> Option<Mode> {
    let pae = dump.header.as_ref()?.pae.filter(|_| dump.arch == Some(Arch::X86))?;
    Some(if pae { Mode::Pae } else { Mode::X86 })
}

fn header_runs(dump: &Dump) -> Cell {
    let runs = dump.described_runs();
    if runs.is_empty() {
        return Cell::Absent(Absent::NotRecorded);
    }
    let one = |(page, pages): (u64, u64)| {
        Cell::Object(vec![(Cow::Borrowed("page"), Cell::Hex(page)), ("pages".into(), Cell::Hex(pages))])
    };
    Cell::List(runs.into_iter().map(one).collect())
}

fn header_pages(dump: &Dump) -> Cell {
    let runs = dump.described_runs();
    let sum = runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.1));
    if runs.is_empty() { Cell::Absent(Absent::NotRecorded) } else { sum.into() }
}

fn cpu(told: &secondary::Told) -> Cell {
    let cpu = told.cpuid.as_ref();
    let numbers = cpu.and_then(secondary::Cpuid::family_model_stepping);
    let name = told.processor.clone().or_else(|| cpu.and_then(|c| c.brand.clone()));
    object(vec![
        ("name", name.map(Cell::from)),
        ("vendor", cpu.map(|c| c.vendor.clone().into())),
        ("family", numbers.map(|n| n.0.into())),
        ("model", numbers.map(|n| n.1.into())),
        ("stepping", numbers.map(|n| n.2.into())),
    ])
}

fn secondary_size(dump: &Dump) -> Cell {
    let size: u64 = dump.secondary().0.iter().map(|p| p.data.len() as u64).fold(0, u64::saturating_add);
    if size == 0 { NOT_RECORDED } else { size.into() }
}

fn machine(s: Smbios) -> Cell {
    let text = |value: Option<String>| value.map(Cell::from);
    object(vec![
        ("manufacturer", text(s.manufacturer)),
        ("product", text(s.product)),
        ("serial", text(s.serial)),
        ("board_manufacturer", text(s.board_manufacturer)),
        ("board", text(s.board)),
        ("bios_vendor", text(s.bios_vendor)),
        ("bios_version", text(s.bios_version)),
        ("bios_date", text(s.bios_date)),
        ("smbios_version", Some(s.version.into())),
    ])
}

/// Those that are known; absent where none is.
fn object(known: Vec<(&'static str, Option<Cell>)>) -> Cell {
    let fields: Vec<_> = known.into_iter().filter_map(|(key, cell)| Some((Cow::Borrowed(key), cell?))).collect();
    if fields.is_empty() { Cell::Absent(Absent::NotRecorded) } else { Cell::Object(fields) }
}

/// The pieces of secondary data, by column.
fn of_pieces(dump: &Dump, sink: &mut dyn Sink) -> Vec<(&'static str, Cell)> {
    let (pieces, notes) = dump.secondary();
    notes.into_iter().for_each(|n| sink.note(n));
    if pieces.is_empty() {
        return Vec::new();
    }
    let one = |piece: &crate::dump::Piece<'_>| {
        let mut fields = vec![(Cow::Borrowed("guid"), Cell::from(piece.tag.to_string()))];
        if let Some(holds) = secondary::holds(piece) {
            fields.push(("holds".into(), holds.into()));
        }
        if let Some((by, _)) = secondary::name(piece.tag) {
            fields.push(("by".into(), by.into()));
        }
        fields.push(("size".into(), (piece.data.len() as u64).into()));
        fields.push(("file".into(), Cell::Hex(piece.file)));
        Cell::Object(fields)
    };
    vec![("secondary", Cell::List(pieces.iter().map(one).collect()))]
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
        Container::Lime => "LiME image",
        Container::ElfCore => "ELF core of a virtual machine",
        Container::Vmware => "VMware memory",
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
