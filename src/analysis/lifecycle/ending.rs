//! What may be concluded of how a process ended. Facts in, findings out; nothing is read here.

use super::finding::{Confidence, Finding};
use crate::kernel::context::status_name;
use crate::kernel::standing::Sort;
use crate::time::FileTime;

/// Whether a process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It runs.
    Running,
    /// It was told to end and has not yet.
    Ending,
    /// It ended then.
    Ended(FileTime),
    /// Its times cannot be read.
    Unknown,
}

/// What is known of how a process ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Whether it did.
    pub life: Life,
    /// Its sort.
    pub sort: Sort,
    /// Threads that have not ended.
    pub active_threads: Option<u32>,
    /// What it ended with.
    pub status: Option<u32>,
    /// `ProcessSelfDelete`; `None` where the kernel has no such flag.
    pub itself: Option<bool>,
    /// `ProcessDelete`: somebody asked for its end; `None` where it cannot be read.
    pub asked: Option<bool>,
    /// `Crashed`; `None` where the kernel has no such flag.
    pub crashed: Option<bool>,
    /// Threads still on its list: id, and what each ended with.
    pub threads: Vec<(u64, Option<u32>)>,
    /// `LastThreadExitStatus`.
    pub last_thread: Option<u32>,
    /// Who still holds it.
    pub holders: Vec<String>,
}

/// How it ended.
#[must_use]
pub fn ending(e: &Ending) -> Vec<Finding> {
    match e.life {
        Life::Running => {
            let none_left = e.active_threads == Some(0) && e.sort == Sort::User;
            if none_left {
                let evidence = vec!["it has neither an exit time nor a thread that has not ended".to_owned()];
                return vec![Finding::new("was never started, or is being torn down", Confidence::Possible, evidence)];
            }
            Vec::new()
        }
        Life::Ending => {
            let evidence = vec!["flag ProcessExiting or ProcessDelete is set, and there is no exit time".to_owned()];
            vec![Finding::new("is ending", Confidence::Certain, evidence)]
        }
        Life::Unknown => {
            let evidence = vec!["its exit time cannot be read".to_owned()];
            vec![Finding::new("cannot be told", Confidence::CannotTell, evidence)]
        }
        Life::Ended(time) => vec![ended(e, time)],
    }
}

/// NTSTATUS codes that say by themselves how a process ended (ntstatus.h).
const TELLING: [(u32, &str); 5] = [
    (0x4001_0004, "ended by its debugger, or with its session (DBG_TERMINATE_PROCESS)"),
    (0xc000_013a, "ended by Ctrl+C, or by closing its console window (STATUS_CONTROL_C_EXIT)"),
    (0xc000_0142, "never began to run: a library failed to start (STATUS_DLL_INIT_FAILED)"),
    (0xc000_0135, "never began to run: a library is missing (STATUS_DLL_NOT_FOUND)"),
    (0xc000_0602, "ended itself by a fail-fast call (STATUS_FAIL_FAST_EXCEPTION)"),
];

fn ended(e: &Ending, time: FileTime) -> Finding {
    let mut evidence = vec![format!("it ended at {time}")];
    match e.status {
        Some(status) => {
            let name = status_name(status).map(|n| format!(" ({n})")).unwrap_or_default();
            evidence.push(format!("with status {status:#x}{name}"));
        }
        None => evidence.push("its exit status cannot be read".to_owned()),
    }
    match e.itself {
        Some(true) => evidence.push("flag ProcessSelfDelete is set".to_owned()),
        Some(false) => evidence.push("flag ProcessSelfDelete is not set".to_owned()),
        None => {}
    }
    match e.asked {
        Some(true) => evidence.push("flag ProcessDelete is set: its end was asked for".to_owned()),
        Some(false) => evidence.push("flag ProcessDelete is not set".to_owned()),
        None => {}
    }
    if let Some(last) = e.last_thread {
        evidence.push(format!("its last thread ended with {last:#x}"));
    }
    if !e.threads.is_empty() {
        let same = e.threads.iter().filter(|(_, s)| *s == e.status).count();
        evidence
            .push(format!("{same} of the {} threads still on its list ended with the same status", e.threads.len()));
        let others = e.threads.iter().filter(|(_, s)| *s != e.status).take(8);
        evidence.extend(others.map(|(tid, s)| match s {
            Some(status) => format!("thread {tid} ended with {status:#x}"),
            None => format!("thread {tid} has no exit status"),
        }));
    }
    if e.holders.is_empty() {
        evidence.push("no listed process holds a handle to it".to_owned());
    }
    let more = e.holders.len().saturating_sub(8);
    evidence.extend(e.holders.iter().take(8).map(|h| format!("still held by {h}")));
    if more > 0 {
        evidence.push(format!("still held by {more} more handles"));
    }
    let (says, confidence) = conclude(e, &mut evidence);
    Finding::new(says, confidence, evidence)
}

fn conclude(e: &Ending, evidence: &mut Vec<String>) -> (&'static str, Confidence) {
    if e.crashed == Some(true) {
        evidence.push("flag Crashed is set".to_owned());
        return ("ended by an exception that it did not handle", Confidence::Likely);
    }
    if let Some((_, says)) = e.status.and_then(|s| TELLING.iter().find(|(code, _)| *code == s)) {
        return (says, Confidence::Likely);
    }
    // Error statuses of the system are what an unhandled exception leaves.
    if e.status.is_some_and(|s| s >> 28 == 0xc && status_name(s).is_some()) {
        return ("ended by an exception that it did not handle", Confidence::Likely);
    }
    match e.itself {
        Some(true) => ("ended itself: ExitProcess, or TerminateProcess on itself", Confidence::Likely),
        Some(false) if e.asked == Some(true) => {
            ("ended by another: TerminateProcess, a job's limit, or the end of its session", Confidence::Possible)
        }
        Some(false) => ("by itself or by another cannot be told", Confidence::CannotTell),
        None => ("by itself or by another cannot be told", Confidence::CannotTell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(status: u32, itself: Option<bool>) -> Ending {
        Ending {
            life: Life::Ended(FileTime(1)),
            sort: Sort::User,
            active_threads: Some(0),
            status: Some(status),
            itself,
            crashed: None,
            asked: Some(true),
            threads: Vec::new(),
            last_thread: None,
            holders: Vec::new(),
        }
    }
    #[test]
    fn endings() {
        let says = |e: &Ending| ending(e).swap_remove(0);
        assert!(says(&end(0, Some(true))).says.starts_with("ended itself"));
        assert_eq!(says(&end(1, Some(false))).confidence, Confidence::Possible);
        let unasked = Ending { asked: Some(false), ..end(1, Some(false)) };
        assert_eq!(says(&unasked).confidence, Confidence::CannotTell);
        let odd = Ending { threads: vec![(8, Some(0)), (12, Some(5))], ..end(0, Some(true)) };
        assert!(says(&odd).evidence.contains(&"thread 12 ended with 0x5".to_owned()));
        assert_eq!(says(&end(0, None)).confidence, Confidence::CannotTell);
        assert!(says(&end(0xc000_0005, Some(true))).says.contains("exception"));
        assert!(says(&end(0xc000_013a, Some(true))).says.contains("Ctrl+C"));
        assert!(ending(&Ending { life: Life::Running, active_threads: Some(3), ..end(0, None) }).is_empty());
        assert_eq!(ending(&Ending { life: Life::Ending, ..end(0, None) })[0].confidence, Confidence::Certain);
        let held = Ending { holders: vec!["a 1 by handle 0x4".into()], ..end(0, None) };
        assert!(says(&held).evidence.contains(&"still held by a 1 by handle 0x4".to_owned()));
    }
}
