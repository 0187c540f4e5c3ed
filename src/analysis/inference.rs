//! What may be concluded of a process's beginning and end. Facts in, findings out; nothing is read here.

use super::family::Parent;
use crate::kernel::context::status_name;
use crate::kernel::standing::Sort;
use crate::time::FileTime;

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The kernel's own mark says so.
    Certain,
    /// What is left fits this and nothing else usual.
    Likely,
    /// What is left fits this, and other things too.
    Possible,
    /// What is left does not tell.
    CannotTell,
}
impl Confidence {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
            Self::CannotTell => "cannot_tell",
        }
    }
}

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it says.
    pub says: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Who did it: id and name.
    pub actor: Option<(u64, Option<String>)>,
    /// What it rests on.
    pub evidence: Vec<String>,
}

/// Whose token a process has, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's SID.
    pub user: String,
    /// The logon session.
    pub logon: u64,
    /// The other half of a logon that User Account Control split.
    pub buddy: Option<u64>,
    /// Integrity level.
    pub integrity: Option<u32>,
    /// Whether it is an app container's.
    pub package: bool,
    /// Whether it has restricting SIDs.
    pub restricted: bool,
    /// Whether it holds `SeAssignPrimaryTokenPrivilege`, which `CreateProcessAsUser` needs for a stranger's token.
    pub may_assign: bool,
}

/// What is known of how a process came to be.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Its sort.
    pub sort: Sort,
    /// Its id.
    pub pid: Option<u64>,
    /// Its parent's id.
    pub ppid: Option<u64>,
    /// Whether that one can be its parent.
    pub state: Parent,
    /// The parent's name.
    pub parent_name: Option<String>,
    /// Its token.
    pub own: Option<Identity>,
    /// Its parent's token.
    pub parent: Option<Identity>,
    /// Whether both are in one job; `None` where either is in none.
    pub same_job: Option<bool>,
    /// The process its `OwnerProcessId` names.
    pub owner: Option<(u64, Option<String>)>,
    /// A console host that is its child.
    pub console_host: Option<u64>,
    /// Other processes with a handle to it that allows everything: id, name, handle.
    pub full_holders: Vec<(u64, Option<String>, u64)>,
}

/// `PROCESS_ALL_ACCESS` of winnt.h: 0x1F0FFF up to XP, 0x1FFFFF since.
#[must_use]
pub const fn is_full(access: u32) -> bool {
    access & 0x001f_0fff == 0x001f_0fff
}

/// System (4) keeps handles to everything, and so does csrss.exe, which is told of every process.
fn holds_all_by_trade(pid: u64, name: Option<&str>) -> bool {
    pid == 4 || name.is_some_and(|n| n.eq_ignore_ascii_case("csrss.exe"))
}

/// How it came to be.
#[must_use]
pub fn origin(o: &Origin) -> Vec<Finding> {
    let by_kernel = match o.sort {
        Sort::System => Some(("made by the kernel as it started", "its id is 4")),
        Sort::Minimal => Some(("made by the kernel without an image (a minimal process)", "flag Minimal is set")),
        Sort::Compression => {
            Some(("made by the kernel to hold compressed pages", "flag MemoryCompressionProcess is set"))
        }
        Sort::VirtualMachine => Some(("made for a virtual machine's memory", "flag VmProcessorHost is set")),
        Sort::Pico => {
            Some(("made by a pico provider for a process of another system", "flag PicoCreated, or a pico context"))
        }
        Sort::User | Sort::Secure => None,
    };
    if let Some((says, evidence)) = by_kernel {
        return vec![finding(says, Confidence::Certain, None, vec![evidence.to_owned()])];
    }
    let mut out = vec![by_parent(o)];
    out.extend(by_owner(o));
    out.extend(by_holders(o));
    if let Some(host) = o.console_host {
        let evidence = vec![format!("conhost.exe {host} is its child and was created after it")];
        out.push(finding("has a console of its own", Confidence::Likely, None, evidence));
    }
    out
}

fn finding(says: &str, confidence: Confidence, actor: Option<(u64, Option<String>)>, evidence: Vec<String>) -> Finding {
    Finding { says: says.to_owned(), confidence, actor, evidence }
}

/// By the parent it inherited from, and both tokens.
fn by_parent(o: &Origin) -> Finding {
    let ppid = o.ppid.map_or_else(|| "?".to_owned(), |p| p.to_string());
    let cannot = |evidence: String| finding("its creator cannot be told", Confidence::CannotTell, None, vec![evidence]);
    match o.state {
        Parent::Found(_) => {}
        Parent::Gone => return cannot(format!("its parent's id {ppid} is no listed process's: that one has ended")),
        Parent::Younger => {
            return cannot(format!(
                "the process with its parent's id {ppid} was created after it: the id was used again"
            ));
        }
        Parent::Ended => {
            return cannot(format!("the process with its parent's id {ppid} had ended before it was created"));
        }
        Parent::Unknown => return cannot("times or ids that would tell are missing".to_owned()),
    }
    let actor = o.ppid.map(|p| (p, o.parent_name.clone()));
    let mut evidence = vec![format!(
        "{} {ppid} was there when it was created",
        o.parent_name.as_deref().unwrap_or("the process with its parent's id")
    )];
    match o.same_job {
        Some(true) => evidence.push("both are in one job, which children inherit".to_owned()),
        Some(false) => evidence.push("it is in another job than its parent".to_owned()),
        None => {}
    }
    let (Some(own), Some(parent)) = (&o.own, &o.parent) else {
        evidence.push("a token of the two cannot be read".to_owned());
        return finding("made by its parent, by a call that cannot be told", Confidence::Possible, actor, evidence);
    };
    let (says, confidence) = by_tokens(own, parent, &mut evidence);
    finding(says, confidence, actor, evidence)
}

fn by_tokens(own: &Identity, parent: &Identity, evidence: &mut Vec<String>) -> (&'static str, Confidence) {
    let split = own.buddy == Some(parent.logon) || parent.buddy == Some(own.logon);
    if own.user == parent.user && own.logon == parent.logon {
        evidence.push(format!("both tokens are of {} and of logon session {:#x}", own.user, own.logon));
        return within_a_logon(own, parent, evidence);
    }
    evidence.push(format!(
        "its token is of {} in logon session {:#x}, its parent's of {} in {:#x}",
        own.user, own.logon, parent.user, parent.logon
    ));
    if own.user == parent.user && split {
        let up = own.integrity > parent.integrity;
        evidence.push("the two logon sessions are halves of one that User Account Control split".to_owned());
        return if up {
            (
                "elevated by User Account Control: the Application Information service made it for its parent",
                Confidence::Likely,
            )
        } else {
            ("CreateProcessAsUser by its parent, with the limited half of its logon", Confidence::Likely)
        };
    }
    if parent.may_assign {
        evidence.push("its parent holds SeAssignPrimaryTokenPrivilege, which giving another's token needs".to_owned());
        return ("CreateProcessAsUser by its parent, with another token than its own", Confidence::Likely);
    }
    evidence
        .push("its parent lacks SeAssignPrimaryTokenPrivilege, so something privileged made it in its name".to_owned());
    (
        "CreateProcessWithTokenW or CreateProcessWithLogonW: the Secondary Logon service made it and named the caller as parent",
        Confidence::Possible,
    )
}

/// Both tokens are of one logon session.
fn within_a_logon(own: &Identity, parent: &Identity, evidence: &mut Vec<String>) -> (&'static str, Confidence) {
    if own.package && !parent.package {
        evidence.push("its token is an app container's, its parent's is not".to_owned());
        return ("CreateProcess by its parent into an app container", Confidence::Likely);
    }
    if own.restricted && !parent.restricted {
        evidence.push("its token has restricting SIDs, its parent's has none".to_owned());
        return ("CreateProcessAsUser by its parent, with a restricted token (a sandbox)", Confidence::Likely);
    }
    match (own.integrity, parent.integrity) {
        (Some(own), Some(parents)) if own < parents => {
            evidence.push(format!("its integrity level {own:#x} is below its parent's {parents:#x}"));
            ("CreateProcessAsUser by its parent, with a reduced token (a sandbox)", Confidence::Likely)
        }
        (Some(own), Some(parents)) if own > parents => {
            evidence.push(format!("its integrity level {own:#x} is above its parent's {parents:#x}"));
            ("made by something more privileged than its parent, or its token was changed since", Confidence::Possible)
        }
        _ => ("CreateProcess by its parent, whose token it inherited", Confidence::Likely),
    }
}

/// By `OwnerProcessId`, where it names another process than the parent.
fn by_owner(o: &Origin) -> Option<Finding> {
    let (pid, name) = o.owner.clone()?;
    if Some(pid) == o.ppid || Some(pid) == o.pid {
        return None;
    }
    if name.as_deref() == Some("conhost.exe") {
        let evidence = vec![format!("OwnerProcessId names conhost.exe {pid}")];
        return Some(finding(
            "its console is served by a console host",
            Confidence::Likely,
            Some((pid, name)),
            evidence,
        ));
    }
    let evidence = vec![format!("OwnerProcessId names {pid}, its parent's id is another")];
    Some(finding(
        "another process than its parent owns it: that one may have made it",
        Confidence::Possible,
        Some((pid, name)),
        evidence,
    ))
}

/// By who can do everything to it: a creator gets such a handle, and often keeps it.
fn by_holders(o: &Origin) -> Option<Finding> {
    let strangers: Vec<_> =
        o.full_holders.iter().filter(|(pid, name, _)| !holds_all_by_trade(*pid, name.as_deref())).collect();
    if strangers.is_empty() || strangers.iter().any(|(pid, ..)| Some(*pid) == o.ppid) {
        return None;
    }
    let evidence: Vec<String> = strangers
        .iter()
        .take(8)
        .map(|(pid, name, handle)| {
            format!(
                "{} {pid} has full access to it by handle {handle:#x}; its parent has none",
                name.as_deref().unwrap_or("?")
            )
        })
        .collect();
    let actor = match strangers.as_slice() {
        [(pid, name, _)] => Some((*pid, name.clone())),
        _ => None,
    };
    Some(finding(
        "another process than its parent can do everything to it: a creator that named a false parent, a debugger, or a later opener",
        Confidence::Possible,
        actor,
        evidence,
    ))
}

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
    /// `Crashed`; `None` where the kernel has no such flag.
    pub crashed: Option<bool>,
    /// Threads still on its list.
    pub threads: usize,
    /// What those ended with.
    pub thread_statuses: Vec<u32>,
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
                return vec![finding("was never started, or is being torn down", Confidence::Possible, None, evidence)];
            }
            Vec::new()
        }
        Life::Ending => {
            let evidence = vec!["flag ProcessExiting or ProcessDelete is set, and there is no exit time".to_owned()];
            vec![finding("is ending", Confidence::Certain, None, evidence)]
        }
        Life::Unknown => {
            vec![finding(
                "cannot be told",
                Confidence::CannotTell,
                None,
                vec!["its exit time cannot be read".to_owned()],
            )]
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
    if e.threads > 0 {
        let same = e.thread_statuses.iter().filter(|s| Some(**s) == e.status).count();
        evidence.push(format!("{same} of the {} threads still on its list ended with the same status", e.threads));
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
    finding(says, confidence, None, evidence)
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
        Some(false) => {
            ("ended by another: TerminateProcess, a job's limit, or the end of its session", Confidence::Possible)
        }
        None => ("by itself or by another cannot be told", Confidence::CannotTell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user: &str, logon: u64) -> Identity {
        Identity {
            user: user.into(),
            logon,
            buddy: None,
            integrity: Some(0x2000),
            package: false,
            restricted: false,
            may_assign: false,
        }
    }
    fn of(own: Identity, parent: Identity) -> Origin {
        Origin {
            sort: Sort::User,
            pid: Some(100),
            ppid: Some(40),
            state: Parent::Found(0),
            parent_name: Some("explorer.exe".into()),
            own: Some(own),
            parent: Some(parent),
            same_job: None,
            owner: None,
            console_host: None,
            full_holders: Vec::new(),
        }
    }
    fn says(o: &Origin) -> (String, Confidence) {
        let first = origin(o).swap_remove(0);
        assert!(!first.evidence.is_empty());
        (first.says, first.confidence)
    }

    #[test]
    fn a_child_with_its_parents_token() {
        let o = of(identity("alice", 1), identity("alice", 1));
        assert_eq!(says(&o), ("CreateProcess by its parent, whose token it inherited".into(), Confidence::Likely));
        assert_eq!(origin(&o)[0].actor, Some((40, Some("explorer.exe".into()))));
    }
    #[test]
    fn a_sandboxed_child() {
        let low = Identity { integrity: Some(0x1000), ..identity("alice", 1) };
        assert!(says(&of(low, identity("alice", 1))).0.contains("reduced token"));
        let restricted = Identity { restricted: true, ..identity("alice", 1) };
        assert!(says(&of(restricted, identity("alice", 1))).0.contains("restricted token"));
        let package = Identity { package: true, integrity: Some(0x1000), ..identity("alice", 1) };
        assert!(says(&of(package, identity("alice", 1))).0.contains("app container"));
    }
    #[test]
    fn a_split_logon_is_user_account_control() {
        let parent = Identity { buddy: Some(2), ..identity("alice", 1) };
        let own = Identity { buddy: Some(1), integrity: Some(0x3000), ..identity("alice", 2) };
        assert!(says(&of(own.clone(), parent.clone())).0.contains("User Account Control"));
        assert!(says(&of(parent, own)).0.contains("limited half"));
    }
    #[test]
    fn anothers_token_needs_a_privilege_or_a_service() {
        let service = Identity { may_assign: true, ..identity("system", 0x3e7) };
        assert!(says(&of(identity("alice", 1), service)).0.starts_with("CreateProcessAsUser"));
        let (text, confidence) = says(&of(identity("bob", 9), identity("alice", 1)));
        assert!(text.contains("Secondary Logon") && confidence == Confidence::Possible);
    }
    #[test]
    fn no_parent_no_conclusion() {
        for state in [Parent::Gone, Parent::Younger, Parent::Ended, Parent::Unknown] {
            let o = Origin { state, ..of(identity("alice", 1), identity("alice", 1)) };
            assert_eq!(says(&o).1, Confidence::CannotTell);
        }
    }
    #[test]
    fn a_stranger_with_full_access_is_told_and_the_parent_and_csrss_are_not() {
        let mut o = of(identity("alice", 1), identity("alice", 1));
        o.full_holders = vec![(500, Some("csrss.exe".into()), 4), (4, Some("System".into()), 8)];
        assert_eq!(origin(&o).len(), 1);
        o.full_holders.push((666, Some("evil.exe".into()), 12));
        let found = origin(&o);
        assert_eq!(found[1].actor, Some((666, Some("evil.exe".into()))));
        assert_eq!(found[1].confidence, Confidence::Possible);
        o.full_holders.push((40, Some("explorer.exe".into()), 16));
        assert_eq!(origin(&o).len(), 1);
        assert!(is_full(0x1f_ffff) && is_full(0x1f_0fff) && !is_full(0x1410));
    }

    fn end(status: u32, itself: Option<bool>) -> Ending {
        Ending {
            life: Life::Ended(FileTime(1)),
            sort: Sort::User,
            active_threads: Some(0),
            status: Some(status),
            itself,
            crashed: None,
            threads: 0,
            thread_statuses: Vec::new(),
            holders: Vec::new(),
        }
    }
    #[test]
    fn endings() {
        let says = |e: &Ending| ending(e).swap_remove(0);
        assert!(says(&end(0, Some(true))).says.starts_with("ended itself"));
        assert_eq!(says(&end(1, Some(false))).confidence, Confidence::Possible);
        assert_eq!(says(&end(0, None)).confidence, Confidence::CannotTell);
        assert!(says(&end(0xc000_0005, Some(true))).says.contains("exception"));
        assert!(says(&end(0xc000_013a, Some(true))).says.contains("Ctrl+C"));
        assert!(ending(&Ending { life: Life::Running, active_threads: Some(3), ..end(0, None) }).is_empty());
        assert_eq!(ending(&Ending { life: Life::Ending, ..end(0, None) })[0].confidence, Confidence::Certain);
        let held = Ending { holders: vec!["a 1 by handle 0x4".into()], ..end(0, None) };
        assert!(says(&held).evidence.contains(&"still held by a 1 by handle 0x4".to_owned()));
    }
}
