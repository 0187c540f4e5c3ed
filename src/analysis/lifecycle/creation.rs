//! What may be concluded of how a process came to be. Facts in, findings out; nothing is read here.
//!
//! Windows keeps no record of the call that made a process. `CreateProcess` gives the child a copy of the caller's token;
//! `CreateProcessAsUser` another one, for which the caller needs `SeAssignPrimaryTokenPrivilege`; `CreateProcessWithTokenW` and
//! `CreateProcessWithLogonW` have the Secondary Logon service make it and name the caller as parent (documentation of these
//! functions); the Application Information service does the same for elevation.

use super::finding::{Confidence, Finding};
use crate::analysis::family::Parent;
use crate::kernel::standing::Sort;

/// Whose token a process has, and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's SID.
    pub user: String,
    /// The logon session.
    pub logon: u64,
    /// The other half of a logon that User Account Control split.
    pub buddy: Option<u64>,
    /// `ModifiedId`: a copy keeps it until it is changed.
    pub modified: Option<u64>,
    /// `TokenSource`: who made the token.
    pub source: Option<String>,
    /// Integrity level.
    pub integrity: Option<u32>,
    /// Whether it is an app container's.
    pub package: bool,
    /// Whether it has restricting SIDs.
    pub restricted: bool,
    /// Whether it holds `SeAssignPrimaryTokenPrivilege`.
    pub may_assign: bool,
    /// Whether it holds `SeImpersonatePrivilege`, which `CreateProcessWithTokenW` needs.
    pub may_impersonate: bool,
}

/// Another process, by id and name.
pub type Other = (u64, Option<String>);

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
    /// Other processes whose primary token is the very same object: at most [`NAMED`].
    pub same_token: Vec<Other>,
    /// How many more there are.
    pub more_with_token: usize,
    /// Whether it is the oldest of those, the one the token was made for.
    pub oldest: bool,
    /// Whether both are in one job; `None` where either is in none.
    pub same_job: Option<bool>,
    /// The process its `OwnerProcessId` names.
    pub owner: Option<Other>,
    /// Whether the low bits of `OwnerProcessId` are set: it names a console host.
    pub owner_is_host: bool,
    /// A console host that is its child.
    pub console_host: Option<u64>,
    /// Other processes with a handle to it that allows everything: id, name, handle.
    pub full_holders: Vec<(u64, Option<String>, u64)>,
}

/// Processes with one token that the evidence names.
pub const NAMED: usize = 8;

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
        return vec![Finding::new(says, Confidence::Certain, vec![evidence.to_owned()])];
    }
    let mut out = vec![by_parent(o)];
    out.extend(by_owner(o));
    out.extend(by_holders(o));
    if let Some(host) = o.console_host {
        let evidence = vec![format!("conhost.exe {host} is its child and was created after it")];
        out.push(Finding::new("has a console of its own", Confidence::Likely, evidence));
    }
    out
}

/// What was done to it since it was made: its token.
#[must_use]
pub fn replaced(o: &Origin) -> Option<Finding> {
    if o.same_token.is_empty() {
        return None;
    }
    let mut others: Vec<String> = o.same_token.iter().map(other).collect();
    if o.more_with_token > 0 {
        others.push(format!("and {} more", o.more_with_token));
    }
    let evidence = vec![
        format!("its primary token is the very object that is also that of {}", others.join(", ")),
        "the kernel gives each process a token of its own".to_owned(),
    ];
    Some(if o.oldest {
        Finding::new("its token was put into another process too", Confidence::Likely, evidence)
    } else {
        Finding::new("its token was replaced by another process's", Confidence::Likely, evidence)
            .by(o.same_token.first().cloned())
    })
}

fn other((pid, name): &Other) -> String {
    format!("{} {pid}", name.as_deref().unwrap_or("?"))
}

/// By the parent it inherited from, and both tokens.
fn by_parent(o: &Origin) -> Finding {
    let ppid = o.ppid.map_or_else(|| "?".to_owned(), |p| p.to_string());
    let cannot = |evidence: String| Finding::new("its creator cannot be told", Confidence::CannotTell, vec![evidence]);
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
    if !o.same_token.is_empty() && !o.oldest {
        evidence.push("its token tells nothing: it is not the one it was made with".to_owned());
        return Finding::new("made by its parent, by a call that cannot be told", Confidence::Possible, evidence)
            .by(actor);
    }
    let (Some(own), Some(parent)) = (&o.own, &o.parent) else {
        evidence.push("a token of the two cannot be read".to_owned());
        return Finding::new("made by its parent, by a call that cannot be told", Confidence::Possible, evidence)
            .by(actor);
    };
    let (says, confidence) = by_tokens(own, parent, &mut evidence);
    Finding::new(says, confidence, evidence).by(actor)
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
    // The source that the Secondary Logon service gives the logons it is asked for.
    if own.source.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("seclogo")) {
        evidence.push("its token was made by the Secondary Logon service (source seclogo)".to_owned());
        return (
            "CreateProcessWithLogonW (runas): the Secondary Logon service made it and named the caller as parent",
            Confidence::Likely,
        );
    }
    if parent.may_assign {
        evidence.push("its parent holds SeAssignPrimaryTokenPrivilege, which giving another's token needs".to_owned());
        return ("CreateProcessAsUser by its parent, with another token than its own", Confidence::Likely);
    }
    evidence
        .push("its parent lacks SeAssignPrimaryTokenPrivilege, so something privileged made it in its name".to_owned());
    if parent.may_impersonate {
        evidence.push("its parent holds SeImpersonatePrivilege, which CreateProcessWithTokenW needs".to_owned());
        return (
            "CreateProcessWithTokenW or CreateProcessWithLogonW: the Secondary Logon service made it and named the caller as parent",
            Confidence::Possible,
        );
    }
    (
        "CreateProcessWithLogonW by its parent, or made by a service in its name, or its token was changed since",
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
            return ("CreateProcessAsUser by its parent, with a reduced token (a sandbox)", Confidence::Likely);
        }
        (Some(own), Some(parents)) if own > parents => {
            evidence.push(format!("its integrity level {own:#x} is above its parent's {parents:#x}"));
            return (
                "made by something more privileged than its parent, or its token was changed since",
                Confidence::Possible,
            );
        }
        _ => {}
    }
    if own.modified.is_some() && own.modified == parent.modified {
        evidence.push("both tokens have one ModifiedId: its own is an unchanged copy".to_owned());
    }
    ("CreateProcess by its parent, whose token it inherited", Confidence::Likely)
}

/// By `OwnerProcessId`, where it names another process than the parent.
fn by_owner(o: &Origin) -> Option<Finding> {
    let (pid, name) = o.owner.clone()?;
    if Some(pid) == o.pid {
        return None;
    }
    if o.owner_is_host || name.as_deref() == Some("conhost.exe") {
        let evidence = vec![format!("OwnerProcessId names {} as its console's host", other(&(pid, name.clone())))];
        let says = "its console is served by a console host";
        return Some(Finding::new(says, Confidence::Likely, evidence).by(Some((pid, name))));
    }
    if Some(pid) == o.ppid {
        return None;
    }
    let evidence = vec![format!("OwnerProcessId names {pid}, its parent's id is another")];
    let says = "another process than its parent owns it: that one may have made it";
    Some(Finding::new(says, Confidence::Possible, evidence).by(Some((pid, name))))
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
    let says = "another process than its parent can do everything to it: a creator that named a false parent, a debugger, or a later opener";
    Some(Finding::new(says, Confidence::Possible, evidence).by(actor))
}

#[cfg(test)]
#[path = "creation_tests.rs"]
mod tests;
