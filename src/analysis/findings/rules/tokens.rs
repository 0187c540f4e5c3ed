//! Tokens that do not fit: shared, above their parent's, of SYSTEM where none belongs, with privileges that cannot be.

use super::super::evidence::Evidence;
use super::super::person::Person;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::kernel::process::EProcess;
use crate::kernel::token::Token;
use crate::kernel::token::TokenLayout;
use crate::report::Cell;
use std::cmp::Ordering;

/// Two processes with one token.
pub static SHARED: Rule = Rule {
    name: "shared-token",
    technique: "T1134.001",
    about: "A process whose token object is another process's",
    means: "Every process gets a token object of its own, a copy even where it runs as the same user. Two processes that point at one object: \
            somebody wrote another process's token into this one's _EPROCESS, the classic way to become SYSTEM from the kernel.",
    fooled: "Privileges and SIDs written into the process's own token show as `impossible-privilege`. Innocent: none known among living processes.",
    verify: "Compare _EPROCESS.Token (without its low four bits, three on x86) of both processes.",
    check: Check::Process(shared),
};

/// SYSTEM where none belongs.
pub static SYSTEM: Rule = Rule {
    name: "system-from-user",
    technique: "T1134.002",
    about: "A process that runs as SYSTEM, started by a user's program",
    means: "Processes that run as SYSTEM are started by the system's own: by services, by sign-in, by one another. This one's parent runs as an \
            ordinary user: the token was stolen, or a service was made to start it under a spoofed parent.",
    fooled: "Work through a service, as its child, looks like a service. Innocent: programs that name another parent when they elevate (some \
             installers and remote support tools).",
    verify: "`dumpwalk tokens` for both; compare CreateTime and InheritedFromUniqueProcessId.",
    check: Check::Process(system),
};

/// An integrity level above the parent's.
pub static INTEGRITY: Rule = Rule {
    name: "integrity-above-parent",
    technique: "T1548.002",
    about: "A process with a higher integrity level than its parent",
    means: "A child gets its parent's integrity level, or a lower one. A higher one needs a way up: the user agreed to it (UAC), or somebody went \
            around that. From a sandbox (low, untrusted) no way leads up.",
    fooled: "Going up by way of a service that is the parent. Innocent: elevation by UAC names the asking program as parent, so high above medium \
             of the same user is told as explained.",
    verify: "`dumpwalk tokens` for both: integrity; the label's SID is the group at IntegrityLevelIndex.",
    check: Check::Process(integrity),
};

/// Privileges that cannot be.
pub static PRIVILEGE: Rule = Rule {
    name: "impossible-privilege",
    technique: "T1134",
    about: "A privilege switched on that the token does not hold, or its user cannot",
    means: "Windows switches on only privileges a token holds, and takes the powerful ones (SeTcb, SeCreateToken, SeDebug, SeLoadDriver …) out of \
            tokens of medium integrity and below. A mask that says otherwise was written by hand.",
    fooled: "Setting Present as well in a token of high integrity. Innocent: none known.",
    verify: "Read _TOKEN.Privileges: Present, Enabled, EnabledByDefault, eight bytes each; Enabled must lie within Present.",
    check: Check::Process(privilege),
};

/// The token's evidence: the field that names it.
fn named(scene: &Scene<'_, '_>) -> Evidence {
    Evidence::field("_EPROCESS.Token", &scene.person.process.view, EProcess::token, scene.person.token)
}

fn shared(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let (true, Ok(token)) = (person.lives(), person.token) else { return };
    let mut others = scene.world.people.iter().filter(|p| {
        p.token == Ok(token) && p.process.offset() != person.process.offset() && !p.ended && p.sort.is_ok()
    });
    let Some(other) = others.next() else { return };
    let (severity, what) = match thief(scene, other) {
        Some(true) => (Severity::Critical, format!("stolen token: has that of {}", other.called())),
        Some(false) => (Severity::Medium, format!("its token is also {}'s", other.called())),
        None => (
            Severity::High,
            format!(
                "its token is also {}'s: one of the two has the other's, and which one cannot be said",
                other.called()
            ),
        ),
    };
    let view = &person.process.view;
    let what = match person.age_votes(other) {
        [Some(told), rest @ ..] if rest.contains(&Some(told.reverse())) && !rest.contains(&Some(told)) => {
            format!("{what} (which of them is older by CreateTime is contradicted by threads and sequence numbers)")
        }
        _ => what,
    };
    out.push(
        scene
            .finding(&SHARED, severity, what)
            .with(named(scene))
            .with(Evidence::field("the other's _EPROCESS.Token", &other.process.view, EProcess::token, other.token))
            .with(Evidence::field("_EPROCESS.CreateTime", view, EProcess::created, person.created))
            .with(Evidence::field(
                "the other's _EPROCESS.CreateTime",
                &other.process.view,
                EProcess::created,
                other.created,
            )),
    );
}

/// Whether this process, not the other one, has a token that was not made for it: the token is the older one's, and SYSTEM's is
/// none of a program that a user started. One field can be written over, so that a majority of two is asked for.
fn thief(scene: &Scene<'_, '_>, other: &Person<'_>) -> Option<bool> {
    let person = scene.person;
    let younger = |v: &Option<Ordering>| v.map_or(0, |o| if o.is_gt() { 1 } else { -1i32 });
    let ages: i32 = person.age_votes(other).iter().map(younger).sum();
    let of_user = |p: &Person<'_>| p.is_system() && scene.world.parent_of(p).is_some_and(Person::is_somebody);
    let parents = i32::from(of_user(person)) - i32::from(of_user(other));
    match ages.saturating_add(parents) {
        2.. => Some(true),
        ..=-2 => Some(false),
        _ => None,
    }
}

fn system(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    if !person.lives() || !person.is_system() {
        return;
    }
    let Some(parent) = scene.world.parent_of(person).filter(|p| p.is_somebody()) else { return };
    out.push(
        scene
            .finding(
                &SYSTEM,
                Severity::High,
                format!("runs as SYSTEM, but its parent {} runs as a user", parent.called()),
            )
            .with(named(scene))
            .with(Evidence::field("the parent's _EPROCESS.Token", &parent.process.view, EProcess::token, parent.token)),
    );
}

/// `SECURITY_MANDATORY_…_RID` of winnt.h.
const MEDIUM: u32 = 0x2000;
const HIGH: u32 = 0x3000;
const SYSTEM_LEVEL: u32 = 0x4000;

fn integrity(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let (true, Ok(own)) = (person.lives(), person.integrity) else { return };
    let Some(parent) = scene.world.parent_of(person).filter(|p| !p.ended) else { return };
    let Ok(theirs) = parent.integrity else { return };
    if own <= theirs {
        return;
    }
    let what = format!("integrity {own:#x} above {theirs:#x} of its parent {}", parent.called());
    let elevated = (MEDIUM..HIGH).contains(&theirs) && (HIGH..SYSTEM_LEVEL).contains(&own);
    // Between medium and medium plus: what accessibility tools get.
    let slight = theirs >= MEDIUM && own < HIGH;
    let severity = if own >= SYSTEM_LEVEL && parent.is_somebody() { Severity::High } else { Severity::Medium };
    let finding = scene.finding(&INTEGRITY, severity, what).with(named(scene)).with(Evidence::field(
        "the parent's _EPROCESS.Token",
        &parent.process.view,
        EProcess::token,
        parent.token,
    ));
    out.push(if elevated || slight { finding.explained("elevated by its user (UAC)") } else { finding });
}

/// Privileges Windows takes out of tokens of medium integrity and below (`winnt.h` numbers): SeCreateToken, SeTcb, SeTakeOwnership,
/// SeLoadDriver, SeBackup, SeRestore, SeDebug, SeImpersonate, SeRelabel: the ones that make a token need elevation.
const POWERFUL: [u64; 9] = [2, 7, 9, 10, 17, 18, 20, 29, 32];

fn privilege(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let (true, Some(identities)) = (!person.ended, &scene.world.identities) else { return };
    let Ok(token) = crate::analysis::identities::token_of(&identities.tokens, &scene.desk.space, &person.process)
    else {
        return;
    };
    let Ok(held) = token.privileges(&scene.desk.space) else { return };
    if !token.plausible() {
        return;
    }
    let names = |list: Vec<u64>| {
        let name = |l: &u64| crate::kernel::privilege::name(*l).map_or_else(|| l.to_string(), str::to_owned);
        list.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    let never_held: Vec<u64> = held.iter().filter(|p| p.enabled && !p.present).map(|p| p.luid).collect();
    let above: Vec<u64> = held
        .iter()
        .filter(|p| p.enabled && p.present && POWERFUL.contains(&p.luid) && person.integrity.is_ok_and(|i| i <= MEDIUM))
        .map(|p| p.luid)
        .collect();
    if !never_held.is_empty() {
        let what = format!("privileges switched on that its token does not hold: {}", names(never_held));
        out.push(masks(scene.finding(&PRIVILEGE, Severity::High, what).with(named(scene)), &token));
    }
    if !above.is_empty() {
        let what = format!("privileges switched on that no token of its integrity keeps: {}", names(above));
        out.push(masks(scene.finding(&PRIVILEGE, Severity::Medium, what).with(named(scene)), &token));
    }
}

fn masks(finding: Finding, token: &Token<'_>) -> Finding {
    let mask = |label: &'static str, at, value: crate::value::Value<u64>| {
        Evidence::field(label, &token.view, at, value.map_or_else(Cell::Absent, Cell::Hex))
    };
    finding.with(mask("_TOKEN.Privileges.Present", TokenLayout::present, token.view.present())).with(mask(
        "_TOKEN.Privileges.Enabled",
        TokenLayout::enabled,
        token.view.enabled(),
    ))
}
