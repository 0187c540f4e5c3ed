//! What an analysis answers from: memory images, triage dumps, user-mode minidumps. That one does not answer from a kind of dump is
//! said here, and nowhere else.

use super::{Analysis, Ask, Case};
use crate::dump::{Evidence, UserDump};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::report::Sink;

/// Answers from a memory image, or from a triage dump.
type Run = fn(&Case, &Ask, &mut dyn Sink) -> Result<()>;
/// Answers from a triage dump of a kernel that no layout fits.
type OfCopies = fn(&Kernel, &Ask, &mut dyn Sink) -> Result<()>;
/// Answers from a user-mode minidump.
type OfMinidump = fn(&Case, &UserDump<'_>, &Ask, &mut dyn Sink) -> Result<()>;

/// How an analysis answers from each kind of dump.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    memory: Run,
    triage: Option<Run>,
    copies: Option<OfCopies>,
    minidump: Option<OfMinidump>,
}

impl Answers {
    /// From a memory image, and from a triage dump as far as it holds what is asked for.
    #[must_use]
    pub const fn of(run: Run) -> Self {
        Self { triage: Some(run), ..Self::of_memory(run) }
    }
    /// From a memory image only: all of physical memory is asked, or the kernel's own tables.
    #[must_use]
    pub const fn of_memory(run: Run) -> Self {
        Self { memory: run, triage: None, copies: None, minidump: None }
    }
    /// The same, with another way for triage dumps.
    #[must_use]
    pub const fn triage(self, run: Run) -> Self {
        Self { triage: Some(run), ..self }
    }
    /// The same, with another way for triage dumps of a kernel that no layout fits.
    #[must_use]
    pub const fn copies(self, run: OfCopies) -> Self {
        Self { copies: Some(run), ..self }
    }
    /// The same, and from a user-mode minidump.
    #[must_use]
    pub const fn minidump(self, run: OfMinidump) -> Self {
        Self { minidump: Some(run), ..self }
    }
    /// The kinds of dump that it answers from: `memory`, `triage`, `minidump`.
    pub fn kinds(&self) -> impl Iterator<Item = &'static str> {
        let all = [("memory", true), ("triage", self.triage.is_some()), ("minidump", self.minidump.is_some())];
        all.into_iter().filter(|(_, answers)| *answers).map(|(kind, _)| kind)
    }
}

impl Analysis {
    /// Answers.
    ///
    /// # Errors
    /// The analysis does not answer from this kind of dump, what it needs is not there, or the sink's error.
    pub fn run(&self, case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
        match case.dump.evidence() {
            Evidence::Memory => (self.answers.memory)(case, ask, sink),
            Evidence::Triage(_) => match (self.answers.triage, self.answers.copies, case.without_structures()) {
                (Some(_), Some(run), Some(kernel)) => run(kernel, ask, sink),
                (Some(run), ..) => run(case, ask, sink),
                (None, ..) => {
                    Err(self.does_not_answer("a triage dump: it keeps blocks of virtual memory, no physical memory"))
                }
            },
            Evidence::Minidump(dump) => match self.answers.minidump {
                Some(run) => run(case, &dump, ask, sink),
                None => Err(self.does_not_answer("a user-mode minidump: it holds one process and no kernel")),
            },
        }
    }
    fn does_not_answer(&self, what: &str) -> Error {
        Error::NotAvailable(format!(
            "{} does not answer from {what} ('dumpwalk analyses' lists what each answers from)",
            self.name
        ))
    }
}
