//! Why a view lacks a process, where that is no sign of hiding.

use super::sources::Sources;
use super::{Crossed, Standing, View};
use crate::addr::Va;
use crate::kernel::standing::Sort;
use crate::time::FileTime;
use crate::value::Value;
use rustc_hash::FxHashMap;

/// Why a view lacks a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// It has ended: what is left is an object that something still references.
    Exited,
    /// Memory that the kernel maps nowhere any more.
    Remains,
    /// System itself.
    System,
    /// A minimal or pico process, which has no user-mode side that csrss would care for.
    Minimal,
    /// It was there before the first csrss.exe of its session (smss.exe and what came with it).
    BeforeCsrss,
    /// A csrss.exe does not hold itself.
    Itself,
    /// It belongs to no session.
    NoSession,
    /// No csrss.exe of its session was found.
    NoCsrss,
    /// It belongs to no job.
    NoJob,
    /// It has no threads: it is being made or has just ended.
    NoThreads,
    /// System holds handles to some processes only.
    NotRequired,
    /// The view lacks more than a quarter of the processes it ought to have, so that it says nothing of one.
    Sparse,
    /// The active list is torn where it stands, or this direction of it is.
    Torn,
    /// None of these.
    Unexplained,
}

impl Reason {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Remains => "no longer mapped",
            Self::System => "is System",
            Self::Minimal => "minimal process",
            Self::BeforeCsrss => "made before csrss",
            Self::Itself => "is csrss itself",
            Self::NoSession => "in no session",
            Self::NoCsrss => "no csrss of its session",
            Self::NoJob => "in no job",
            Self::NoThreads => "has no threads",
            Self::NotRequired => "System need not hold it",
            Self::Sparse => "lacks a quarter of those it ought to have",
            Self::Torn => "the list is torn",
            Self::Unexplained => "unexplained",
        }
    }
}

/// What reasons are drawn from.
struct Facts {
    exited: bool,
    mapped: bool,
    sort: Value<Sort>,
    session: Option<Va>,
    made: Option<FileTime>,
    threads: Option<u32>,
    job: Option<Va>,
    is_csrss: bool,
    /// When the first csrss.exe of its session was made.
    csrss_made: Option<FileTime>,
    /// How it stands to the active list.
    standing: Value<Standing>,
}

/// Gives each miss its reason.
pub(super) fn explain(rows: &mut [Crossed<'_>], sources: &Sources) {
    let mut first: FxHashMap<Va, FileTime> = FxHashMap::default();
    for row in rows.iter() {
        let session = row.process.offset().and_then(|at| sources.csrss.get(&at));
        if let (Some(session), Ok(made)) = (session, row.process.create_time()) {
            let known = first.entry(*session).or_insert(made);
            *known = (*known).min(made);
        }
    }
    for row in rows.iter_mut() {
        let p = &row.process;
        let session = p.view.session().ok().filter(|s| !s.is_null());
        let facts = Facts {
            exited: row.ended,
            mapped: p.offset().is_some(),
            sort: p.sort(),
            session,
            made: p.create_time().ok(),
            threads: p.threads().ok(),
            job: p.view.job().ok().filter(|j| !j.is_null()),
            is_csrss: p.offset().is_some_and(|at| sources.csrss.contains_key(&at)),
            csrss_made: session.and_then(|s| first.get(&s).copied()),
            standing: row.standing,
        };
        for seen in &mut row.seen {
            let torn = sources.is_torn(seen.view);
            seen.reason = (seen.has == Ok(false)).then(|| reason(seen.view, &facts, torn));
        }
    }
    for view in [View::Csrss, View::Session, View::Threads, View::CidTable, View::Scan] {
        sparse(rows, view);
    }
}

fn reason(view: View, f: &Facts, torn: bool) -> Reason {
    if f.exited && view != View::Scan {
        return Reason::Exited;
    }
    if !f.mapped {
        return Reason::Remains;
    }
    match view {
        View::List | View::ListBack if torn && matches!(f.standing, Ok(Standing::Listed | Standing::Torn)) => {
            Reason::Torn
        }
        View::Threads if f.threads == Some(0) => Reason::NoThreads,
        View::Session if f.session.is_none() => Reason::NoSession,
        View::Job if f.job.is_none() => Reason::NoJob,
        View::System => Reason::NotRequired,
        View::Csrss => match f.sort {
            Ok(Sort::System) => Reason::System,
            Ok(Sort::Minimal | Sort::Compression | Sort::Pico | Sort::Secure | Sort::VirtualMachine) => Reason::Minimal,
            _ if f.is_csrss => Reason::Itself,
            _ if f.session.is_none() => Reason::NoSession,
            _ => match (f.csrss_made, f.made) {
                (None, _) => Reason::NoCsrss,
                (Some(csrss), Some(made)) if made <= csrss => Reason::BeforeCsrss,
                _ => Reason::Unexplained,
            },
        },
        _ => Reason::Unexplained,
    }
}

/// A view that lacks much of what it ought to have (its pages are missing, it was torn while the dump was taken) says nothing of
/// one process: of those listed, three quarters must be there.
fn sparse(rows: &mut [Crossed<'_>], view: View) {
    let (mut with, mut without) = (0usize, 0usize);
    for row in rows.iter().filter(|r| r.has(View::List) == Ok(true)) {
        match row.seen.iter().find(|s| s.view == view) {
            Some(seen) if seen.has == Ok(true) => with = with.saturating_add(1),
            Some(seen) if seen.reason == Some(Reason::Unexplained) => without = without.saturating_add(1),
            _ => {}
        }
    }
    if without.saturating_mul(3) <= with {
        return;
    }
    for seen in rows.iter_mut().flat_map(|r| &mut r.seen).filter(|s| s.view == view) {
        if seen.reason == Some(Reason::Unexplained) {
            seen.reason = Some(Reason::Sparse);
        }
    }
}
