//! The register: every analysis, by what it is about.

use super::{Analysis, Subject};
use super::{
    callbacks, callstacks, cmdline, crashinfo, dlllist, drivermodule, driverscan, envars, filescan, findings, getsids,
    handles, heaps, images, info, joblinks, ldrmodules, lifecycle, malfind, mappedfiles, memmap, memory, modscan,
    modules, page, poolscan, privileges, procinfo, pslist, psscan, pstree, psxview, sessions, ssdt, stacks, thrdscan,
    threads, timeline, tokens, unloaded, unloadeddlls, vadinfo, vadtree, verinfo, workingset,
};
use std::sync::LazyLock;

/// Analyses about one subject, as the help and the docs show them.
#[derive(Debug)]
pub struct Group {
    /// The subject ("Processes").
    pub name: &'static str,
    /// Its analyses, most used first.
    pub analyses: &'static [&'static Analysis],
}

/// Every analysis. Adding a question is one file and one line here.
pub static GROUPS: &[Group] = &[
    Group {
        name: "First",
        analyses: &[
            &findings::TRIAGE,
            &findings::FINDINGS,
            &info::INFO,
            &crashinfo::CRASHINFO,
            &page::PROCESS,
            &page::REPORT,
            &timeline::TIMELINE,
        ],
    },
    Group {
        name: "Processes",
        analyses: &[
            &pslist::PSLIST,
            &pstree::PSTREE,
            &psscan::PSSCAN,
            &psxview::PSXVIEW,
            &procinfo::PROCINFO,
            &lifecycle::LIFECYCLE,
            &cmdline::CMDLINE,
            &envars::ENVARS,
            &images::IMAGES,
            &joblinks::JOBLINKS,
            &sessions::SESSIONS,
        ],
    },
    Group { name: "Tokens", analyses: &[&tokens::TOKENS, &getsids::GETSIDS, &privileges::PRIVILEGES] },
    Group {
        name: "Address spaces",
        analyses: &[
            &vadinfo::VADINFO,
            &vadtree::VADTREE,
            &memmap::MEMMAP,
            &memory::MEMORY,
            &workingset::WORKINGSET,
            &dlllist::DLLLIST,
            &ldrmodules::LDRMODULES,
            &unloadeddlls::UNLOADEDDLLS,
            &verinfo::VERINFO,
            &malfind::MALFIND,
            &heaps::HEAPS,
            &stacks::STACKS,
            &mappedfiles::MAPPEDFILES,
        ],
    },
    Group {
        name: "Handles and objects",
        analyses: &[&handles::HANDLES, &filescan::FILESCAN, &filescan::MUTANTSCAN, &filescan::SYMLINKSCAN],
    },
    Group { name: "Threads", analyses: &[&threads::THREADS, &callstacks::CALLSTACKS, &thrdscan::THRDSCAN] },
    Group {
        name: "Kernel",
        analyses: &[
            &modules::MODULES,
            &modscan::MODSCAN,
            &unloaded::UNLOADED,
            &driverscan::DRIVERSCAN,
            &drivermodule::DRIVERMODULE,
            &driverscan::DRIVERIRP,
            &ssdt::SSDT,
            &callbacks::CALLBACKS,
            &poolscan::POOLSCAN,
        ],
    },
];

/// Every analysis by name.
pub static ALL: LazyLock<Vec<&'static Analysis>> = LazyLock::new(|| {
    let mut all: Vec<_> = GROUPS.iter().flat_map(|group| group.analyses).copied().collect();
    all.sort_unstable_by_key(|analysis| analysis.name);
    all
});

impl Analysis {
    /// Whether it is about processes, so that some can be chosen.
    #[must_use]
    pub fn is_of_processes(&self) -> bool {
        self.subject == Subject::Processes
    }
    /// The columns, by index, in which what a row is about has its name or path.
    pub fn names(&self) -> impl Iterator<Item = usize> {
        let named = |key: &str| {
            matches!(key, "path" | "module" | "symbol" | "target" | "account" | "user")
                || (key.ends_with("name") && key != "bugcheck_name")
        };
        self.columns.iter().enumerate().filter(move |(_, column)| named(column.key)).map(|(i, _)| i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_processes_can_choose_some() {
        for analysis in ALL.iter() {
            let pid = analysis.columns.iter().any(|c| c.key == "pid");
            assert!(!pid || analysis.is_of_processes(), "{}", analysis.name);
        }
    }
}
