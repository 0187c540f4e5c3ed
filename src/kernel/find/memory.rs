//! The road through all of memory: every page that could be a page-table root, scored; the kernel image under the best of them.

use super::judge::Judge;
use super::roots::{self, Scored, Seen};
use super::{Candidate, Road, header, image, listed};
use crate::addr::{Pa, Va};
use crate::dump::Dump;
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};
use crate::progress::Progress;
use rayon::prelude::*;
use rustc_hash::FxHashSet;

/// Roots under which the image is looked for. The best score first; the rest are other processes of the same kernel.
const MOST_TRIED: usize = 64;
/// Debug records of kernels that are followed under each root.
const MOST_RECORDS: usize = 4;

/// Follows it.
///
/// # Errors
/// What was seen.
pub(super) fn follow(dump: &Dump, progress: &Progress, judge: &mut Judge<'_>) -> Result<Kernel, String> {
    let seen = roots::sweep(dump, progress);
    let stubs = roots::low_stubs(dump);
    let mut all: Vec<Scored> = seen.guesses.par_iter().flat_map_iter(|g| roots::score(dump, *g)).collect();
    for stub in &stubs {
        if all.iter().all(|s| s.root != stub.root) {
            all.extend(roots::best(dump, &[Mode::X64, Mode::La57], stub.root));
        }
    }
    let from_stub = |root: Pa| stubs.iter().find(|s| s.root == root);
    // The best first; of equals the stub's, then the one lowest in memory, which is nearest to the boot.
    all.sort_by_key(|s| (std::cmp::Reverse(s.score), from_stub(s.root).is_none(), s.root));
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let summary = format!(
        "{} pages, {} that name themselves, {} with the shared page, {}",
        seen.pages,
        count(seen.guesses.len(), "table"),
        roots_of(all.iter().filter(|s| s.shared.is_some())),
        count(stubs.len(), "low stub"),
    );
    let hints: Vec<(&str, Va)> = dump
        .header
        .iter()
        .flat_map(header::hints)
        .filter_map(|(name, hint)| Some((name, hint?)))
        .chain(stubs.iter().map(|s| ("the low stub's target", s.target)))
        .collect();
    let mut met = Vec::new();
    // One root that scores the same in two modes is looked at in both before either is believed.
    for same in all.chunk_by(|a, b| a.root == b.root).take(MOST_TRIED) {
        for (scored, found, how) in kernels_under(dump, same, &hints, &seen, &mut met) {
            let taken = from_stub(scored.root).map_or_else(
                || "page tables that map themselves, all of memory scored".into(),
                |stub| format!("low stub at {}", stub.at),
            );
            let mut road = Road { taken, ..Road::default() };
            road.checks.push(format!("{summary}; best root {} scores {}", scored.root, scored.score));
            road.checks.push(format!("the kernel image at {} was found by {how}: {}", found.base, found.told_by));
            road.check_shared(&scored.shared.clone().ok_or_else(|| "the shared page is missing".into()));
            let here = Space::new(dump, scored.mode, scored.root).translate(found.base);
            let agree = |s: &&Scored| here.is_ok() && Space::new(dump, s.mode, s.root).translate(found.base) == here;
            let (agree, of) = (roots_of(all.iter().filter(agree)), roots_of(all.iter()));
            road.checks.push(format!("{agree} of {of} roots map that image"));
            if let Some(kernel) =
                judge.hear(Candidate::new(scored.mode, scored.root, found, scored.shared.clone()), road)
            {
                return Ok(kernel);
            }
            if judge.is_over() {
                break;
            }
            met.push(format!("root {} ({}) does not lead to System", scored.root, scored.mode.name()));
        }
    }
    met.truncate(4);
    let met = if met.is_empty() { String::new() } else { format!("; {}", met.join("; ")) };
    Err(format!("all of memory: {summary}{met}"))
}

/// How many different roots these are.
fn roots_of<'s>(scored: impl Iterator<Item = &'s Scored>) -> usize {
    scored.map(|s| s.root).collect::<FxHashSet<Pa>>().len()
}

/// The kernel under one root in each of the modes that it scored the same in; the image that tells most of itself first.
fn kernels_under<'s>(
    dump: &Dump,
    same: &'s [Scored],
    hints: &[(&str, Va)],
    seen: &Seen,
    met: &mut Vec<String>,
) -> Vec<(&'s Scored, image::Found, String)> {
    let mut out = Vec::new();
    for scored in same {
        match kernel_under(&Space::new(dump, scored.mode, scored.root), hints, seen) {
            Ok((found, how)) => out.push((scored, found, how)),
            Err(why) => met.push(format!("root {} (score {}): {why}", scored.root, scored.score)),
        }
    }
    let tells = |found: &image::Found| {
        let holds = hints.iter().filter(|(_, hint)| hint.0.wrapping_sub(found.base.0) < u64::from(found.size)).count();
        (found.pdb.is_some(), found.named, found.image.is_some(), holds)
    };
    out.sort_by_key(|(_, found, _)| std::cmp::Reverse(tells(found)));
    out
}

/// The kernel image in a space: below what must lie in it, where kernels are loaded, or wherever a page that begins
/// one is mapped; without its headers, by the module list near what must lie in it or near its debug record.
pub(super) fn kernel_under(
    space: &Space<'_>,
    hints: &[(&str, Va)],
    seen: &Seen,
) -> Result<(image::Found, String), String> {
    for (name, hint) in hints {
        if space.translate(*hint).is_ok()
            && let Ok(found) = image::around(space, *hint)
        {
            return Ok((found, format!("{name} {hint}")));
        }
    }
    let mut why = match image::mapped(space) {
        Ok(found) => return Ok((found, "the page tables".into())),
        Err(why) => why,
    };
    let pages = |of: &[Pa]| of.iter().map(|pa| pa.page()).collect::<FxHashSet<Pa>>();
    if !seen.headers.is_empty() {
        match image::mappings_of(space, &pages(&seen.headers)).next() {
            Some(at) => match image::identify(space, at) {
                Ok(found) => return Ok((found, format!("its header page in memory, mapped at {at}"))),
                Err(_) => why.push_str(&format!("; the page mapped at {at} begins like a kernel and is none")),
            },
            None => why.push_str(&format!("; {} pages begin like a kernel, none is mapped", seen.headers.len())),
        }
    }
    for (name, hint) in hints {
        match listed::search(space, *hint) {
            Ok(found) => return Ok((found, format!("the module list near {name} {hint}"))),
            Err(not) => why.push_str(&format!("; {not}")),
        }
    }
    // A record can also lie in the file's pages of the cache: there, no module list is near.
    let records = pages(&seen.records);
    let most = if records.is_empty() { 0 } else { MOST_RECORDS };
    for at in image::mappings_of(space, &records).take(most) {
        match listed::search(space, at) {
            Ok(found) => return Ok((found, format!("the module list near the debug record in page {at}"))),
            Err(not) => why.push_str(&format!("; {not}")),
        }
    }
    Err(why)
}
