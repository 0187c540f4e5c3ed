//! Names of sections: which control area is behind which named section object.
//!
//! A VAD leads to a control area, and nothing leads from there to the section object or its name. So the objects are asked: those in
//! the object namespace (`\KnownDlls`, `\BaseNamedObjects`, …) and those that listed processes have handles to.

use super::Kernel;
use super::handle_table::HandleTables;
use super::object::types::ObjectTypes;
use super::object::{Object, Objects};
use super::process::Process;
use super::section::Sections;
use super::section_object::SectionObjects;
use crate::addr::Va;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// Directories of the namespace that are looked into at most; a machine has some hundreds.
const MOST_DIRECTORIES: usize = 1 << 14;

/// Named sections by the address of their control area.
#[derive(Clone, Debug, Default)]
pub struct SectionNames {
    names: FxHashMap<Va, String>,
}

impl SectionNames {
    /// Of the namespace and of these processes' handles. What cannot be read is left out: the analyses of handles tell of it.
    #[must_use]
    pub fn of(kernel: &Kernel, processes: &[Process<'_>]) -> Self {
        let types = kernel.object_types();
        let mut out = Self::default();
        let Some(mut finder) = Finder::of(kernel, &types) else { return out };
        // The first name wins: the namespace's, then that of the first process.
        for (area, name) in finder.in_namespace() {
            out.names.entry(area).or_insert(name);
        }
        let found: Vec<Vec<(Va, String)>> = processes
            .par_iter()
            .map_init(|| Finder::of(kernel, &types), |finder, process| finder.as_mut()?.in_handles(process))
            .map(Option::unwrap_or_default)
            .collect();
        for (area, name) in found.into_iter().flatten() {
            out.names.entry(area).or_insert(name);
        }
        out
    }
    /// The name of a section with this control area, if one has a name.
    #[must_use]
    pub fn get(&self, control_area: Va) -> Option<&str> {
        self.names.get(&control_area).map(String::as_str)
    }
}

struct Finder<'k> {
    kernel: &'k Kernel,
    objects: Objects<'k>,
    tables: HandleTables<'k>,
    sections: Sections<'k>,
    section_objects: SectionObjects<'k>,
}

impl<'k> Finder<'k> {
    fn of(kernel: &'k Kernel, types: &'k ObjectTypes) -> Option<Self> {
        Some(Self {
            kernel,
            objects: Objects::of(kernel, types).ok()?,
            tables: HandleTables::of(kernel).ok()?,
            sections: Sections::of(kernel).ok()?,
            section_objects: SectionObjects::of(kernel).ok()?,
        })
    }
    /// The control area and the path of an object that is a named section.
    fn named(&mut self, object: &Object<'k>) -> Option<(Va, String)> {
        let path = self.objects.path(object).ok()?;
        let area = self.section_objects.control_area(&self.objects.space, &self.sections, object.body).ok()?;
        Some((area.address, path.to_string()))
    }
    /// All named sections in the directories of the namespace, level by level.
    fn in_namespace(&mut self) -> Vec<(Va, String)> {
        let mut out = Vec::new();
        let Some(root) = self.kernel.global("ObpRootDirectoryObject") else { return out };
        let Ok(root) = self.objects.space.pointer(root) else { return out };
        let mut seen = FxHashSet::default();
        let mut waiting = std::collections::VecDeque::from([root]);
        while let Some(directory) = waiting.pop_front() {
            if directory.is_null() || !seen.insert(directory) || seen.len() > MOST_DIRECTORIES {
                continue;
            }
            let Ok((entries, _)) = self.objects.entries(directory) else { continue };
            for body in entries {
                let object = self.objects.with_body(body);
                match self.objects.type_of(&object).as_deref() {
                    Ok("Directory") => waiting.push_back(body),
                    Ok("Section") => out.extend(self.named(&object)),
                    _ => {}
                }
            }
        }
        out
    }
    /// All named sections a process has handles to.
    fn in_handles(&mut self, process: &Process<'_>) -> Option<Vec<(Va, String)>> {
        let table = process.view.handle_table().ok().filter(|at| !at.is_null())?;
        let mut targets = Vec::new();
        for leaf in self.tables.leaves(&self.objects.space, table).0 {
            let _ = self.tables.handles(&self.objects.space, leaf, |h| targets.push(h.target));
        }
        let mut seen = FxHashSet::default();
        let mut out = Vec::new();
        for target in targets.into_iter().filter(|t| seen.insert(*t)) {
            let object = self.objects.with_header(target);
            if self.objects.type_of(&object).as_deref() == Ok("Section") {
                out.extend(self.named(&object));
            }
        }
        Some(out)
    }
}
