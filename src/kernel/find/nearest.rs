//! Without the exact symbols: which layouts serve instead, and what of them.
//!
//! Tables of the dump's own build are held against it, nearest revision first. Sizes that the dump states (debugger block, object
//! types, pool blocks) tell those of another revision: they serve only where none has the right sizes. What the chosen table says is
//! then compared with its neighbours ([`doubts`]): what may have moved is not read. Tables of other builds serve
//! where the dump itself states enough of them.

use super::doubts::{Near, Side};
use super::settle::take;
use super::shared_page::machine;
use super::{Candidate, doubts};
use crate::dump::Arch;
use crate::kernel::Kernel;
use crate::kernel::verify::Checks;
use crate::paging::Mode;
use crate::symbols::{Fallback, SymbolSource, Symbols};
use crate::value::Note;

/// What is known of the kernel file's version.
#[derive(Clone, Copy, Debug)]
struct Version {
    /// The builds it may call itself.
    builds: [Option<u32>; 2],
    /// The fourth part.
    revision: Option<u32>,
}

impl Version {
    fn of(kernel: &Kernel, found: &Candidate) -> Self {
        let space = kernel.space();
        let version = found.image.as_ref().and_then(|i| i.version(&space).ok()).and_then(|v| v.file).map(|n| n.0);
        let build = version.map(|[_, _, build, _]| u32::from(build));
        let revision = version.map(|[.., revision]| u32::from(revision));
        Self { builds: [build, kernel.build].map(|b| b.map(kernel_file_build)), revision }
    }
    /// Whether a table is one of this build.
    fn has(&self, table: &Symbols) -> bool {
        build_of(table).is_some_and(|(build, _)| self.builds.contains(&Some(kernel_file_build(build))))
    }
}

/// The tables that a source offers: those of the dump's own build, and the nearest before and after it.
#[derive(Default)]
struct Offered {
    own: Vec<Symbols>,
    others: Vec<Symbols>,
}

impl Offered {
    /// Nearest first. Of other builds one on each side is enough where the own build has tables.
    fn by(kernel: &Kernel, source: &dyn SymbolSource, wanted: &Fallback, version: &Version) -> Self {
        let mut out = Self::default();
        let build = version.builds.iter().flatten().next().copied();
        for table in source.fallbacks(wanted).filter(|table| !has_other_entries(kernel, table)) {
            if version.has(&table) {
                out.own.push(table);
                continue;
            }
            out.others.push(table);
            let side = |after: bool| {
                out.others.iter().any(|t| build_of(t).zip(build).is_some_and(|((b, _), own)| (b > own) == after))
            };
            if !out.own.is_empty() && side(true) && side(false) {
                break;
            }
        }
        out
    }
}

/// Whether layouts are those of the other kernel of a build: before Windows 8, x86 has one with PAE, whose page tables have
/// entries of eight bytes, and one without, with four.
fn has_other_entries(kernel: &Kernel, symbols: &Symbols) -> bool {
    let pae = match kernel.mode {
        Mode::Pae => Some(true),
        Mode::X86 => Some(false),
        Mode::Blocks => kernel.dump.header.as_ref().and_then(|h| h.pae),
        Mode::X64 | Mode::La57 | Mode::Arm64 => None,
    };
    let wide = symbols.types.size_of("_MMPTE").map(|size| size == 8);
    pae.zip(wide).is_some_and(|(pae, wide)| kernel.arch == Arch::X86 && pae != wide)
}

/// The first line of an error, without the list that follows it: a note is one sentence.
fn in_short(why: &str) -> &str {
    let line = why.lines().next().unwrap_or(why);
    line.strip_suffix("; tried:").unwrap_or(line)
}

/// Layouts that were held against the dump and taken.
struct Chosen {
    table: Symbols,
    checks: Checks,
    own: bool,
}

/// Without the exact symbols: the layouts of a near build that the dump itself bears out.
pub(super) fn fall_back(
    kernel: &mut Kernel,
    source: &dyn SymbolSource,
    found: &Candidate,
    why: &str,
) -> Result<(), String> {
    let version = Version::of(kernel, found);
    let wanted = Fallback { machine: machine(kernel.arch), build: kernel.build, revision: version.revision };
    let offered = Offered::by(kernel, source, &wanted, &version);
    let mut refused = Vec::new();
    let chosen = choose(kernel, &offered, &mut refused);
    let Some(chosen) = chosen else {
        if refused.is_empty() {
            return Err(why.to_owned());
        }
        return Err(format!("{why}\nno layout of a near build fits the dump either: {}", refused.join("; ")));
    };
    let Chosen { mut table, checks, own } = chosen;
    let origin = table.origin.clone();
    let doubted = if kernel.mode == Mode::Blocks {
        Vec::new()
    } else {
        doubts::mark(&mut table.types, &near(kernel, &offered, &checks, own, &version))
    };
    if !doubted.is_empty() {
        checks.misfits.iter().for_each(|m| table.types.resize(m.stated.ty, m.stated.most));
        take_anew(kernel, table);
    }
    kernel.notes.push(Note::info(format!(
        "exact symbols not found ({}); using layouts of {origin}, verified against the dump: {}",
        in_short(why),
        checks.passed.join(", ")
    )));
    kernel.notes.extend(told(&origin, &doubted, &checks));
    Ok(())
}

/// What is to be said of fields that are left out.
fn told(origin: &str, doubted: &[Box<str>], checks: &Checks) -> Option<Note> {
    let sizes: Vec<String> = checks.misfits.iter().map(ToString::to_string).collect();
    let why = if sizes.is_empty() { String::new() } else { format!(" ({})", sizes.join(", ")) };
    let text = format!(
        "{origin} may be of another revision{why}: fields that may lie elsewhere in this kernel are left out (no_symbol), in {}",
        doubted.join(", ")
    );
    (!doubted.is_empty()).then(|| Note::info(text))
}

/// Gives the kernel its symbols once more, as if they were the first.
fn take_anew(kernel: &mut Kernel, symbols: Symbols) {
    let (before, road) = (kernel.notes.len(), kernel.road.clone());
    take(kernel, symbols);
    // What is noted twice was noted the first time.
    let again = kernel.notes.split_off(before.min(kernel.notes.len()));
    for note in again {
        if !kernel.notes.contains(&note) {
            kernel.notes.push(note);
        }
    }
    kernel.road = road;
}

/// The first table that nothing in the dump speaks against: of the own build with the right sizes, of the own build with others, of
/// another build.
fn choose(kernel: &mut Kernel, offered: &Offered, refused: &mut Vec<String>) -> Option<Chosen> {
    let (notes, root, road) = (kernel.notes.clone(), kernel.root, kernel.road.clone());
    let mut second: Option<&Symbols> = None;
    let own = offered.own.iter().map(|table| (table, true));
    // Tables of other builds are for a dump whose own build has none.
    let others = offered.others.iter().filter(|_| offered.own.is_empty()).map(|table| (table, false));
    for (table, own) in own.chain(others) {
        let checks = try_table(kernel, table);
        match judge(kernel, &checks, own) {
            Ok(()) if checks.misfits.is_empty() => return Some(Chosen { table: table.clone(), checks, own }),
            Ok(()) => second = second.or(Some(table)),
            Err(why) => refused.push(format!("{}: {why}", table.origin)),
        }
        (kernel.notes, kernel.root, kernel.road) = (notes.clone(), root, road.clone());
    }
    let table = second?;
    let checks = try_table(kernel, table);
    Some(Chosen { table: table.clone(), checks, own: true })
}

fn try_table(kernel: &mut Kernel, table: &Symbols) -> Checks {
    take(kernel, table.clone());
    kernel.verify()
}

/// Whether a table may serve.
fn judge(kernel: &Kernel, checks: &Checks, own: bool) -> Result<(), String> {
    // Of another build's layouts some fields can be wrong where nothing notices. Only sizes that the dump itself states make up
    // for that.
    if !own && checks.stated < STATED {
        return Err("of another build, and no debugger block states its sizes".into());
    }
    if !checks.failed.is_empty() {
        return Err(checks.failed.join(", "));
    }
    // A triage dump holds one process and one thread, which tell too little where the sizes are others.
    if !checks.misfits.is_empty() && (!own || kernel.mode == Mode::Blocks) {
        return Err(checks.misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "));
    }
    let enough = if kernel.mode == Mode::Blocks { ENOUGH_OF_TRIAGE } else { ENOUGH };
    if checks.passed.len() < enough { Err("too little of it can be checked".into()) } else { Ok(()) }
}

/// What stands around the chosen table.
fn near<'o>(kernel: &Kernel, offered: &'o Offered, checks: &Checks, own: bool, version: &Version) -> Near<'o> {
    let chosen = build_of(&kernel.symbols);
    let sizes = kernel.stated_sizes();
    let fits = |table: &&Symbols| {
        let mut known = sizes.iter().filter_map(|stated| Some((stated, table.types.size_of(stated.ty)?)));
        known.all(|(stated, size)| stated.fits(size))
    };
    let revision = |table: &Symbols| build_of(table).map(|(_, revision)| revision);
    let exact =
        own && checks.misfits.is_empty() && version.revision.is_some() && chosen.map(|c| c.1) == version.revision;
    let mut kin: Vec<&Symbols> = Vec::new();
    let mut open = vec![Side::Before, Side::After];
    if exact {
        open.clear();
    } else if let Some(dump) = version.revision.filter(|_| own && checks.misfits.is_empty()) {
        let fitting = || offered.own.iter().filter(fits);
        let before = fitting().filter(|t| revision(t).is_some_and(|r| r <= dump)).max_by_key(|t| revision(t));
        let after = fitting().filter(|t| revision(t).is_some_and(|r| r >= dump)).min_by_key(|t| revision(t));
        open.retain(|side| match side {
            Side::Before => before.is_none(),
            Side::After => after.is_none(),
        });
        kin.extend(before.into_iter().chain(after));
    } else {
        kin.extend(offered.own.iter().filter(|t| !checks.misfits.is_empty() || fits(t)));
    }
    let build = version.builds.iter().flatten().next().copied();
    let flank = |side: &Side| {
        offered.others.iter().find(|t| {
            build_of(t).zip(build).is_some_and(|((b, _), own)| match side {
                Side::Before => b < own,
                Side::After => b > own,
            })
        })
    };
    Near {
        kin: kin.iter().map(|t| &t.types).collect(),
        flanks: open.iter().filter_map(flank).map(|t| &t.types).collect(),
        open: !open.is_empty(),
        sized: sizes.iter().filter(|s| s.is_exact()).map(|s| s.ty).collect(),
        misfits: checks.misfits.iter().map(|m| m.stated.ty).collect(),
        witnessed: kernel.witnessed(),
    }
}

/// The third and fourth part of a table's version.
fn build_of(symbols: &Symbols) -> Option<(u32, u32)> {
    let mut parts = symbols.version.as_ref()?.split('.').skip(2).map(|part| part.parse().ok());
    Some((parts.next()??, parts.next().flatten().unwrap_or(0)))
}

/// The build that an enablement package only renames: the kernel file is that of the first. (Microsoft, "Windows release information":
/// 1909 on 1903, 20H2 to 22H2 on 2004, 23H2 on 22H2, 25H2 on 24H2.)
const fn kernel_file_build(build: u32) -> u32 {
    match build {
        18363 => 18362,
        19042..=19045 => 19041,
        22631 => 22621,
        26200 => 26100,
        other => other,
    }
}

/// Sizes and offsets of the debugger block that must agree before layouts of another build are trusted: of ten, two may be zero.
const STATED: usize = 8;
/// Checks that must have held before layouts are trusted that are not this very kernel's.
const ENOUGH: usize = 4;
/// The same for triage dumps, which hold one process and one thread.
const ENOUGH_OF_TRIAGE: usize = 2;
