//! Findings: rules that say what does not fit, each with the bytes that show it.
//!
//! A rule is one file in `rules/` and one line in [`RULES`]. It looks at one process ([`Check::Process`], with a [`scene::Scene`]) or at
//! the whole machine ([`Check::Machine`], with the [`world::World`]), and adds [`Finding`]s. What looks odd and is known to be innocent is
//! a finding all the same: of severity [`Severity::Info`], with the reason under `explained`, so that nobody has to look twice.
//!
//! A rule never guesses from what it cannot read: an absent value is no evidence. What a rule cannot do without is in `needs.rs`: in a
//! kernel that lacks it the rule is silent, with a note.

mod code;
mod evidence;
mod explain;
mod known;
pub(in crate::analysis) mod needs;
mod paths;
mod person;
mod rules;
mod scene;
mod show;
mod story;
mod user_dump;
mod world;

pub use evidence::Evidence;
pub use rules::RULES;
pub use show::{FINDINGS, TRIAGE};

use crate::addr::Va;
use scene::Scene;
use world::World;

/// How much a finding weighs, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Recognised as innocent, or only worth knowing.
    Info,
    /// Odd; most such things are innocent.
    Low,
    /// Needs a reason.
    Medium,
    /// Hardly has an innocent reason.
    High,
    /// Somebody is hiding something.
    Critical,
}

impl Severity {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What a rule looks at.
#[derive(Clone, Copy)]
pub enum Check {
    /// One process at a time.
    Process(fn(&Scene<'_, '_>, &mut Vec<Finding>)),
    /// The whole machine.
    Machine(fn(&World<'_>, &mut Vec<Finding>)),
}

/// One rule.
pub struct Rule {
    /// What it is called, for good.
    pub name: &'static str,
    /// The MITRE ATT&CK technique it speaks for.
    pub technique: &'static str,
    /// One line.
    pub about: &'static str,
    /// What a finding means.
    pub means: &'static str,
    /// What escapes it, and what innocent things set it off.
    pub fooled: &'static str,
    /// How to check a finding by hand.
    pub verify: &'static str,
    /// How it looks.
    pub check: Check,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A process.
    Process {
        /// Its id; none where it cannot be read.
        pid: Option<u64>,
        /// Its name.
        name: String,
        /// Its `_EPROCESS`.
        offset: Option<Va>,
    },
    /// A driver or kernel module.
    Driver(String),
    /// A table of the kernel.
    Kernel(&'static str),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Process { pid: Some(pid), name, .. } => write!(f, "pid {pid} {name}"),
            Self::Process { pid: None, name, .. } => write!(f, "pid ? {name}"),
            Self::Driver(name) => write!(f, "driver {name}"),
            Self::Kernel(what) => write!(f, "kernel {what}"),
        }
    }
}

/// One thing found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The rule.
    pub rule: &'static Rule,
    /// How much it weighs here.
    pub severity: Severity,
    /// The technique, where it is another than the rule's own.
    pub technique: Option<&'static str>,
    /// What it is about.
    pub subject: Subject,
    /// What was found, in a few words: a part of the subject's story.
    pub what: String,
    /// Why it is innocent, where it is.
    pub explained: Option<String>,
    /// The fields and bytes that show it.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(rule: &'static Rule, severity: Severity, subject: Subject, what: impl Into<String>) -> Self {
        Self { rule, severity, technique: None, subject, what: what.into(), explained: None, evidence: Vec::new() }
    }
    /// The same, recognised as innocent.
    #[must_use]
    pub fn explained(mut self, why: impl Into<String>) -> Self {
        self.severity = Severity::Info;
        self.explained = Some(why.into());
        self
    }
    /// The same, of another technique.
    #[must_use]
    pub fn technique(mut self, id: &'static str) -> Self {
        self.technique = Some(id);
        self
    }
    /// The same, with one more piece of evidence.
    #[must_use]
    pub fn with(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }
}
