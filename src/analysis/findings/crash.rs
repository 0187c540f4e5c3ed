//! Why the machine stopped: what `triage` and `findings` say first of a triage dump.

use super::{Check, Evidence, Finding, Rule, Severity, Subject};
use crate::addr::Va;
use crate::analysis::blame::blame;
use crate::analysis::crash::Crash;
use crate::analysis::{Case, crashinfo};
use crate::bytes::Place;
use crate::report::Cell;
use crate::value::Absent;

/// The rule under which it is shown. It is not one of the register: it looks for nothing.
pub static RULE: Rule = Rule {
    name: "crash",
    technique: "",
    about: "Why the machine stopped, of a triage dump",
    means: "The bug check of the dump's header with its parameters, the driver most likely to blame and why, the process, the processor, \
            the call stack. `crashinfo` has the same in columns.",
    fooled: "The driver on the stack is the one that was caught, not always the one that did the damage: memory that another driver \
             corrupted earlier crashes who uses it next. Whose a driver is says its version resource where the dump has it, else its \
             name, which anybody can choose.",
    verify: "The code and its parameters are in the dump's header at the offsets given; Microsoft's bug check reference says what they mean.",
    check: Check::Machine(|_, _| {}),
};

/// What happened; `None` of a dump without a header.
#[must_use]
pub fn finding(case: &Case) -> Option<Finding> {
    let header = case.dump.header.as_ref()?;
    let crash = Crash::of(case, header);
    let name = crash.name().unwrap_or_else(|| format!("{:#x}", header.bugcheck));
    let mut found = Finding::new(&RULE, Severity::Info, Subject::Crash(name), told(&crash));
    let field = |field: String, value: u64, at: u64, size: u32| {
        let from = usize::try_from(at).unwrap_or(usize::MAX);
        let bytes = case.dump.map().get(from..).and_then(|m| m.get(..size as usize));
        let place = Place::in_dump(at);
        Evidence {
            field: field.into(),
            value: Cell::Hex(value),
            place,
            bytes: bytes.map(<[u8]>::to_vec).ok_or(Absent::NotInDump),
        }
    };
    found = found.with(field("BugCheckCode".into(), header.bugcheck.into(), header.bugcheck_at, 4));
    for (i, value) in (1u64..).zip(header.bugcheck_parameters) {
        let size = header.parameter_size;
        let at = header.parameters_at.saturating_add(i.saturating_sub(1).saturating_mul(size.into()));
        found = found.with(field(format!("BugCheckParameter{i}"), value, at, size));
    }
    Some(found)
}

/// The whole of it, the most important first.
fn told(crash: &Crash<'_>) -> String {
    let mut parts = vec![match crash.about() {
        Some(about) => format!("bug check {:#x}: {about}", crash.header.bugcheck),
        None => format!("bug check {:#x}", crash.header.bugcheck),
    }];
    parts.extend(parameters(crash));
    parts.push(format!("driver: {}", blame(crash).text()));
    parts.extend(crashinfo::running_text(crash));
    parts.extend(crash.processor().ok().map(|n| format!("processor {n}")));
    if let Cell::List(frames) = crash.frames() {
        let text = |cell: &Cell| {
            let mut out = String::new();
            cell.write_text(&mut out);
            out
        };
        parts.push(format!("call stack: {}", frames.iter().map(text).collect::<Vec<_>>().join(" < ")));
    }
    parts.join("; ")
}

/// The parameters that something is known of.
fn parameters(crash: &Crash<'_>) -> Vec<String> {
    let Some(explained) = &crash.explained else { return Vec::new() };
    let all = explained.parameters.iter().zip(crash.header.bugcheck_parameters).zip(1..);
    let told = |((p, value), i): ((&crate::kernel::bugcheck::Parameter, u64), u32)| {
        let meaning = p.meaning?;
        let says = p.says.as_ref().map(|s| format!(": {s}")).unwrap_or_default();
        let place = crash.place(Va(value)).map(|at| format!(" ({at})")).unwrap_or_default();
        Some(format!("parameter {i} {value:#x}{place}, {meaning}{says}"))
    };
    all.filter_map(told).collect()
}
