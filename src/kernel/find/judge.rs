//! Which of several candidates is the kernel: the one whose System process can be read through it.
//!
//! A page-table root can look right and map the image, and yet be the one a process has for user mode (KVAS shadows the
//! kernel: parts of the image and nothing of the pool), or be read with a level too many. So no candidate is final by its
//! looks: it is put together with its symbols, and only what the kernel allocated and that root maps makes it final.

use super::{Candidate, Road, settle};
use crate::addr::{Pa, Va};
use crate::dump::Dump;
use crate::kernel::Kernel;
use crate::paging::{Mode, Space};
use crate::symbols::SymbolSource;
use std::sync::Arc;

/// Candidates that are put together at most: each costs the reading of symbols.
const MOST_SETTLED: usize = 6;

/// Hears candidates until one is final.
pub(super) struct Judge<'a> {
    dump: &'a Arc<Dump>,
    source: &'a dyn SymbolSource,
    /// What was tried and did not lead to System, in words.
    pub failed: Vec<String>,
    /// The best of those that did not reach System, and how much they reached.
    best: Option<(usize, Kernel)>,
    /// Why there are no usable symbols for a kernel that a root certainly maps.
    no_symbols: Option<String>,
    /// Candidates that were put together.
    tried: Vec<(Mode, Pa, Va)>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(dump: &'a Arc<Dump>, source: &'a dyn SymbolSource) -> Self {
        Self { dump, source, failed: Vec::new(), best: None, no_symbols: None, tried: Vec::new() }
    }
    /// Puts a candidate together. The kernel when it is final; `None` when the next is to be tried.
    pub(super) fn hear(&mut self, candidate: Candidate, mut road: Road) -> Option<Kernel> {
        let key = (candidate.mode, candidate.root, candidate.base);
        if self.is_over() || self.tried.len() >= MOST_SETTLED || self.tried.contains(&key) {
            return None;
        }
        self.tried.push(key);
        let (taken, root, mode) = (road.taken.clone(), candidate.root, candidate.mode);
        let lists = maps_pool(self.dump, &candidate);
        road.failed.clone_from(&self.failed);
        let mut kernel = match settle::settle(self.dump, candidate, road, self.source) {
            Ok(kernel) => kernel,
            Err(why) => {
                // Another root maps the same kernel, and the same symbols are missing.
                if lists {
                    self.no_symbols = Some(why);
                } else {
                    self.fail(why);
                }
                return None;
            }
        };
        let reached = Reached::of(&kernel);
        if reached.system {
            return Some(kernel);
        }
        let why = format!(
            "System is not to be read through page-table root {root} ({}): {} of {} objects that the kernel's globals name are mapped",
            mode.name(),
            reached.mapped,
            reached.named
        );
        kernel.road.doubts.push(why.clone());
        if reached.mapped > 0 {
            // The root maps what the kernel allocated; the pages themselves are missing, and no other root brings them back.
            return Some(kernel);
        }
        self.fail(format!("{taken}: {why}"));
        if self.best.as_ref().is_none_or(|(most, _)| reached.named > *most) {
            self.best = Some((reached.named, kernel));
        }
        None
    }
    /// Adds what a way met that led to no candidate, once.
    pub(super) fn fail(&mut self, why: String) {
        if !self.failed.contains(&why) {
            self.failed.push(why);
        }
    }
    /// Whether no further candidate can do better.
    pub(super) fn is_over(&self) -> bool {
        self.no_symbols.is_some()
    }
    /// What is left when every way was tried: the best of those that did not reach System.
    pub(super) fn end(self) -> Result<Kernel, String> {
        match (self.best, self.no_symbols) {
            (_, Some(why)) => Err(why),
            (Some((_, kernel)), None) => Ok(kernel),
            (None, None) => Err(self.failed.join("\n")),
        }
    }
}

/// Whether a root maps an address. A page that the tables name and the dump lacks is mapped.
fn maps(space: &Space<'_>, at: Va) -> bool {
    space.translate(at).is_ok_and(|pa| space.dump().highest_page().is_some_and(|last| pa.pfn() <= last))
}

/// Whether the first entry of a list that the dump's header names is mapped: both lists are of pool memory.
/// Asked without symbols, for a candidate that has none.
fn maps_pool(dump: &Dump, candidate: &Candidate) -> bool {
    let space = Space::new(dump, candidate.mode, candidate.root);
    let of_header = dump.header.as_ref().map(|h| [h.process_head, h.module_list]);
    let heads = of_header.into_iter().flatten().chain([candidate.met.module_list, candidate.met.process_head]);
    let in_image = |at: Va| candidate.size.is_none_or(|size| at.0.wrapping_sub(candidate.base.0) < u64::from(size));
    heads.flatten().any(|head| space.pointer(head).is_ok_and(|first| !in_image(first) && maps(&space, first)))
}

/// How much of what the kernel's globals name is mapped.
struct Reached {
    /// System was found, and other processes or its own root are mapped too.
    system: bool,
    /// Objects that globals name.
    named: usize,
    /// How many of them are mapped.
    mapped: usize,
}

impl Reached {
    fn of(kernel: &Kernel) -> Self {
        let space = kernel.space();
        let in_image = |at: Va| at.0.wrapping_sub(kernel.base.0) < u64::from(kernel.size.unwrap_or(0));
        let globals = ["PsInitialSystemProcess", "PsActiveProcessHead", "PsLoadedModuleList", "PspCidTable"];
        let named: Vec<Va> = globals
            .iter()
            .filter_map(|name| space.pointer(kernel.global(name)?).ok())
            .filter(|at| !in_image(*at) && kernel.in_kernel_half(*at))
            .collect();
        let mapped = named.iter().filter(|at| maps(&space, **at)).count();
        Self { system: kernel.system.is_some(), named: named.len(), mapped }
    }
}
