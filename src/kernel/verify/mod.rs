//! Whether layouts fit a dump: what must hold of any Windows, held against what they make of this one.
//!
//! With the exact symbols this confirms; with the layouts of a near build it decides. A layout that is wrong in one field
//! fails here or is caught by nothing else, so each object that analyses rest on has its own line, and each line asks
//! several witnesses: a page that the dump lost says nothing for or against a layout ([`tally`]).
//!
//! | file | asks |
//! |---|---|
//! | `processes` | System, the ring of processes, what each says of itself, page-table roots |
//! | `threads` | threads of the first processes |
//! | `objects` | object headers, handle tables |
//! | `tokens` | users of the first processes |
//! | `modules`, `vads` | the list of modules, trees of address ranges |
//! | `block` | globals and offsets that the debugger block states |
//! | `sizes` | sizes of structures that the dump itself states |
//! | `tail` | fields behind those: the values that all processes and threads have there |
//! | `copies` | triage dumps: the copied process and thread |

mod block;
mod copies;
mod modules;
mod objects;
mod processes;
mod sizes;
mod tail;
mod tally;
mod threads;
mod tokens;
mod vads;

pub use sizes::{Misfit, Stated};
pub use tail::Witnessed;

use super::Kernel;
use tally::Tally;

/// What was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// What held, in words.
    pub passed: Vec<String>,
    /// What did not.
    pub failed: Vec<String>,
    /// What could not be checked: the dump lacks the pages.
    pub unknown: Vec<String>,
    /// Sizes and offsets that the debugger block states and the layouts have: the strongest there is of a dump without symbols.
    pub stated: usize,
    /// Structures that have another size in the dump than in the layouts: these are of another revision.
    pub misfits: Vec<Misfit>,
}

impl Checks {
    fn take(&mut self, end: End) {
        match end {
            Passed(what) => self.passed.push(what),
            Failed(what) => self.failed.push(what),
            Unknown(what) => self.unknown.push(what),
        }
    }
}

/// One check's end.
enum End {
    Passed(String),
    Failed(String),
    Unknown(String),
}
use End::{Failed, Passed, Unknown};

impl Kernel {
    /// Holds the layouts against the dump.
    #[must_use]
    pub fn verify(&self) -> Checks {
        let mut out = Checks { misfits: self.misfits(), stated: self.stated(), ..Checks::default() };
        if let Some(triage) = self.dump.triage() {
            for check in [self.check_copies(triage), self.check_block()] {
                out.take(check);
            }
            return out;
        }
        let space = self.space();
        let processes = self.first_processes();
        let checks = [
            self.check_system(&space, &processes),
            self.check_list(&space, &processes),
            self.check_processes(&processes),
            self.check_roots(&processes),
            self.check_threads(&space, &processes),
            self.check_modules(),
            self.check_token(&space, &processes),
            self.check_handle_tables(&space, &processes),
            self.check_object_types(&space, &processes),
            self.check_vads(&processes),
            self.check_block(),
        ];
        for check in checks {
            out.take(check);
        }
        out
    }
}
