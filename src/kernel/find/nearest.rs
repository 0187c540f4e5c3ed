//! Without the exact symbols: which layouts serve instead.

use super::Candidate;
use super::settle::take;
use super::shared_page::machine;
use crate::kernel::Kernel;
use crate::paging::Mode;
use crate::symbols::{Fallback, SymbolSource, Symbols};
use crate::value::Note;

/// The first line of an error, without the list that follows it: a note is one sentence.
fn in_short(why: &str) -> &str {
    let line = why.lines().next().unwrap_or(why);
    line.strip_suffix("; tried:").unwrap_or(line)
}

/// Without the exact symbols: the layouts of a near build that the dump itself bears out.
pub(super) fn fall_back(
    kernel: &mut Kernel,
    source: &dyn SymbolSource,
    found: &Candidate,
    why: &str,
) -> Result<(), String> {
    let machine = machine(kernel.arch);
    let version = {
        let space = kernel.space();
        let version = found.image.as_ref().and_then(|i| i.version(&space).ok());
        version.and_then(|v| v.file).map(|n| n.0)
    };
    let revision = version.map(|[.., revision]| u32::from(revision));
    let file_build = version.map(|[_, _, build, _]| u32::from(build));
    let (notes, root, road) = (kernel.notes.clone(), kernel.root, kernel.road.clone());
    let mut refused = Vec::new();
    // Nearest first: the first that nothing in the dump speaks against is the best there is.
    for symbols in source.fallbacks(&Fallback { machine, build: kernel.build, revision }) {
        let origin = symbols.origin.clone();
        let builds = [file_build, kernel.build, kernel.build.map(kernel_file_build)];
        let own = build_of(&symbols).is_some_and(|b| builds.contains(&Some(b)));
        take(kernel, symbols);
        let checks = kernel.verify();
        // Of another build's layouts some fields can be wrong where nothing notices. Only sizes that the dump itself
        // states make up for that.
        if !own && checks.stated < STATED {
            (kernel.notes, kernel.root, kernel.road) = (notes.clone(), root, road.clone());
            refused.push(format!("{origin}: of another build, and no debugger block states its sizes"));
            continue;
        }
        let enough = if kernel.mode == Mode::Blocks { ENOUGH_OF_TRIAGE } else { ENOUGH };
        if checks.failed.is_empty() && checks.passed.len() >= enough {
            kernel.notes.push(Note::info(format!(
                "no symbols of this very kernel ({}): layouts are those of {origin}, which the dump bears out: {}",
                in_short(why),
                checks.passed.join(", ")
            )));
            return Ok(());
        }
        (kernel.notes, kernel.root, kernel.road) = (notes.clone(), root, road.clone());
        let few = if checks.failed.is_empty() { "too little of it can be checked" } else { "" };
        refused.push(format!("{origin}: {}{few}", checks.failed.join(", ")));
    }
    if refused.is_empty() {
        return Err(why.to_owned());
    }
    Err(format!("{why}\nno layout of a near build fits the dump either: {}", refused.join("; ")))
}

/// The build that an enablement package only renames: the kernel file is that of the first. (Microsoft, "Windows release information":
/// 1909 on 1903, 20H2 to 22H2 on 2004, 23H2 on 22H2.)
const fn kernel_file_build(build: u32) -> u32 {
    match build {
        18363 => 18362,
        19042..=19045 => 19041,
        22631 => 22621,
        other => other,
    }
}

/// The third part of a table's version.
fn build_of(symbols: &Symbols) -> Option<u32> {
    symbols.version.as_ref()?.split('.').nth(2)?.parse().ok()
}

/// Sizes and offsets of the debugger block that must agree before layouts of another build are trusted: of ten, two may be zero.
const STATED: usize = 8;
/// Checks that must have held before layouts are trusted that are not this very kernel's.
const ENOUGH: usize = 4;
/// The same for triage dumps, which hold one process and one thread.
const ENOUGH_OF_TRIAGE: usize = 2;
