//! Fields that cannot all be true of one process.

mod claims;

use super::super::evidence::Evidence;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity};
use crate::analysis::identities::token_of;
use crate::kernel::life::Mark;
use crate::kernel::process::EProcess;
use crate::kernel::standing::Sort;
use crate::kernel::vad_tree::Layouts;
use crate::report::Cell;
use crate::symbols::layout::At;
use crate::time::FileTime;
use crate::value::{Absent, Value};

/// The rule.
pub static RULE: Rule = Rule {
    name: "contradiction",
    technique: "T1014",
    about: "Fields of a process that cannot all be true: one was written over",
    means: "Tools pass over a process that has ended, is minimal, or has no handles or ranges. Whoever can write to kernel memory needs to \
            change one field to be passed over so. Here the other witnesses say that the process lives: threads without any mark of an \
            end, its count of threads, handle table, exit status, signal state, PEB, section. All other rules judge it by these.",
    fooled: "Changing all the witnesses alike. Innocent: memory written while the machine ran on can mix two moments of a process, so \
             that ProcessDelete alone, set a moment before its threads are marked, is of severity medium.",
    verify: "Read the fields given at their places, and the process' threads with `dumpwalk threads --pid PID`: state, Terminated, ExitTime.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    marks(scene, out);
    if scene.person.ended || scene.person.life.leaving || scene.person.process.offset().is_none() {
        return;
    }
    flag(scene, out);
    namesake(scene, out);
    if scene.person.lives() && scene.person.life.running > 0 {
        age(scene, out);
        contents(scene, out);
        origin(scene, out);
        identity(scene, out);
        if scene.person.process.image_witnesses() > 1 {
            claims::token(scene, out);
            claims::parameters(scene, out);
        }
        pages(scene, out);
        claims::starts(scene, out);
    }
    if scene.person.life.lost_threads {
        scene.lose("fewer threads than it counts can be reached: those missing are not judged");
    }
}

/// An end, or the beginning of one, of what runs on.
fn marks(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    for mark in &person.life.contradicted {
        let (severity, field, at, value): (_, _, _, Cell) = match mark {
            Mark::ExitTime => {
                (Severity::High, "_EPROCESS.ExitTime", EProcess::exited, person.process.exit_time().into())
            }
            Mark::Exiting => (Severity::High, "_EPROCESS.ProcessExiting", EProcess::exiting, view.exiting().into()),
            Mark::Delete => (Severity::Medium, "_EPROCESS.ProcessDelete", EProcess::deleted, view.deleted().into()),
        };
        let name = field.trim_start_matches("_EPROCESS.");
        let n = person.life.running;
        let what = format!("{name} is set, but it lives: {n} thread{} of it run{}", plural(n).0, plural(n).1);
        out.push(
            scene
                .finding(&RULE, severity, what)
                .with(Evidence::field(field, view, at, value))
                .with(Evidence::field("_EPROCESS.ActiveThreads", view, EProcess::active_threads, view.active_threads()))
                .with(Evidence::field("_EPROCESS.ExitStatus", view, EProcess::exit_code, view.exit_code())),
        );
    }
}

const fn plural(n: usize) -> (&'static str, &'static str) {
    if n == 1 { ("", "s") } else { ("s", "") }
}

/// Minimal or pico by a flag, with what only a process with an image has.
fn flag(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    if person.sort != Ok(Sort::User) {
        return;
    }
    let Some((field, at)) = person.process.refuted_flag() else { return };
    let what = format!("{} is set, but it has an image", field.trim_start_matches("_EPROCESS."));
    out.push(
        scene
            .finding(&RULE, Severity::High, what)
            .with(Evidence::field(field, view, at, Absent::NotApplicable))
            .with(Evidence::field("_EPROCESS.Peb", view, EProcess::peb_raw, view.peb_raw()))
            .with(Evidence::field("_EPROCESS.SectionBaseAddress", view, EProcess::image_base, view.image_base())),
    );
}

/// Two living processes with one id.
fn namesake(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    if person.life.running == 0 {
        return;
    }
    let Some(other) = scene.world.namesake_of(person) else { return };
    let leads = scene.world.ids.as_ref().zip(person.pid.ok()).and_then(|(ids, pid)| ids.get(&pid).copied());
    // The table of ids says whose it is.
    let severity = if leads.is_some() && leads == person.process.offset() { Severity::Medium } else { Severity::High };
    let at = other.process.offset().map_or_else(String::new, |va| format!(" at {va}"));
    let what = format!("has the id of {}{at}, which lives too", other.called());
    let field =
        |label, of: &super::super::person::Person<'_>| Evidence::field(label, &of.process.view, EProcess::id, of.pid);
    out.push(
        scene
            .finding(&RULE, severity, what)
            .with(field("_EPROCESS.UniqueProcessId", person))
            .with(field("the other's _EPROCESS.UniqueProcessId", other)),
    );
}

/// How much later than its process its first thread may seem to be older: none is, by the kernel's order; a clock set back between
/// the two makes it seem so. In 100 ns.
const SECOND: u64 = 10_000_000;
/// System's own time of creation is that of the clock before it was set right: programs seem older than it by seconds.
const SETTLING: u64 = 600 * SECOND;

/// A time of creation that cannot be.
fn age(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    let thread = person.life.first_thread;
    let boot =
        scene.world.people.iter().find(|p| p.sort == Ok(Sort::System)).map_or(Err(Absent::NotRecorded), |p| p.created);
    let what = match (person.created, thread, boot) {
        (Err(Absent::NotApplicable | Absent::Implausible), ..) => "lives, but has no time of creation".to_owned(),
        (Ok(made), Ok(thread), _) if made.0.saturating_sub(thread.0) > SECOND => {
            format!("was made {made}, after its own thread ({thread})")
        }
        (Ok(made), _, Ok(boot)) if boot.0.saturating_sub(made.0) > SETTLING => {
            format!("was made {made}, before System ({boot})")
        }
        _ => return,
    };
    let shown = |v: Value<FileTime>| v.map_or_else(Cell::Absent, Cell::from);
    out.push(scene.finding(&RULE, Severity::High, what).with(Evidence::field(
        "_EPROCESS.CreateTime",
        view,
        EProcess::created,
        shown(person.created),
    )));
}

/// Whether nothing could ever lie there.
fn wild<T>(value: &Value<T>) -> bool {
    value.as_ref().err().is_some_and(|why| why.is_wild())
}

/// What every process whose threads run has: a handle table, address ranges, a PEB.
fn contents(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    let table = person.process.handle_count(&scene.desk.space);
    if let Err(why) = table
        && why != Absent::NoSymbol
        && why != Absent::NotInBuild
    {
        scene.lose(format!("its handle table is {why}: what it holds is not judged"));
        if wild(&table) {
            let what = "its threads run, but it has no handle table that can be read";
            let at = view.handle_table();
            out.push(scene.finding(&RULE, Severity::High, what).with(Evidence::field(
                "_EPROCESS.ObjectTable",
                view,
                EProcess::handle_table,
                at,
            )));
        }
    }
    first_page(scene, out);
    if let Some(why) = scene.no_memory() {
        scene.lose(format!(
            "its memory cannot be read, its page tables are {why}: rules that look into it did not judge"
        ));
    }
    let empty = scene.memory().is_some_and(|m| m.tree.vads.is_empty());
    if empty && person.process.image_witnesses() > 1 {
        scene.lose("it has no address ranges that can be read: rules that look at them did not judge");
        ranges(scene, out);
    }
    if wild(&person.process.peb()) && person.process.image_witnesses() > 1 {
        scene.lose("its PEB is not where one can be: rules that look at its modules did not judge");
        let peb = Evidence::field("_EPROCESS.Peb", view, EProcess::peb_raw, view.peb_raw());
        out.push(
            scene.finding(&RULE, Severity::High, "its threads run and it has an image, but it has no PEB").with(peb),
        );
    }
}

/// The page its handle table begins with: there from the process' beginning, wherever the table was grown to.
fn first_page(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let view = &scene.person.process.view;
    let (Some(tables), Ok(table)) = (&scene.world.handles, view.handle_table()) else { return };
    let Ok(page) = tables.top(&scene.desk.space, table) else { return };
    let read = if page.offset_in_page() == 0 { scene.desk.space.pointer(page) } else { Err(Absent::Implausible) };
    let Err(why) = read else { return };
    scene.lose(format!("the first page of its handle table, {page}, is {why}: its handles are not judged"));
    if wild(&read) {
        let what = format!("its threads run, but its handle table leads to {page}, where there is none");
        out.push(
            scene
                .finding(&RULE, Severity::High, what)
                .with(Evidence::field("_EPROCESS.ObjectTable", view, EProcess::handle_table, table))
                .with(Evidence::memory(
                    "_HANDLE_TABLE.TableCode",
                    &scene.desk.space,
                    table.add(tables.code_at()),
                    8,
                    page,
                )),
        );
    }
}

/// What every program is made with: a parent's id, and where the kernel mapped its image.
fn origin(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    // Ids count in fours, and 0 is the idle process, which starts System alone.
    if let Ok(parent) = person.ppid
        && (parent == 0 || parent % 4 != 0 || parent > u64::from(u32::MAX))
    {
        let field = Evidence::field("_EPROCESS.InheritedFromUniqueProcessId", view, EProcess::parent, parent);
        let what = format!("names {parent:#x} as its parent, which is the id of no process");
        out.push(scene.finding(&RULE, Severity::High, what).with(field));
    }
    if person.process.image_witnesses() > 1 && view.image_base().is_ok_and(|va| va.is_null()) {
        let field = Evidence::field("_EPROCESS.SectionBaseAddress", view, EProcess::image_base, view.image_base());
        out.push(
            scene
                .finding(&RULE, Severity::High, "its image is mapped nowhere, but it has a section and a PEB")
                .with(field),
        );
    }
}

/// The root of its ranges: null, or where nothing is, is no tree of a process whose threads run.
fn ranges(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (view, space) = (&scene.person.process.view, &scene.desk.space);
    let layouts = Layouts::of(scene.world.kernel);
    let (Ok(layouts), Some(at)) = (layouts, scene.person.process.offset()) else { return };
    let Ok(root) = layouts.root(space, at) else { return };
    if root.is_null() || wild(&space.pointer(root)) {
        let field = Evidence::field("_EPROCESS.VadRoot", view, EProcess::vad_root, root);
        let what = "its threads run and it has an image, but its tree of address ranges is empty or leads nowhere";
        out.push(scene.finding(&RULE, Severity::High, what).with(field));
    }
}

/// What every program has from its making: a token, its path, a short name.
fn identity(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view) = (scene.person, &scene.person.process.view);
    if person.process.image_witnesses() < 2 {
        return;
    }
    let mut odd = |severity, what: &str, field: &'static str, at: At<EProcess>| {
        out.push(scene.finding(&RULE, severity, what).with(Evidence::field(field, view, at, Absent::Implausible)));
    };
    if let Some(identities) = &scene.world.identities
        && let Err(why) = token_of(&identities.tokens, &scene.desk.space, &person.process).and_then(|t| t.view.kind())
    {
        scene.lose(format!("its token is {why}: who it runs as is not judged"));
        if why.is_wild() {
            odd(Severity::High, "its threads run, but it has no token", "_EPROCESS.Token", EProcess::token);
        }
    }
    if wild(&person.path) {
        scene.lose("its path cannot be read: where its program lies is not judged");
        let field = "_EPROCESS.SeAuditProcessCreationInfo.ImageFileName";
        odd(Severity::High, "it has an image, but no path that can be read", field, EProcess::audit_name);
    } else if person.path.is_ok() && person.process.name() == Err(Absent::NotApplicable) {
        odd(Severity::High, "it has a path, but no short name", "_EPROCESS.ImageFileName", EProcess::short_name);
    }
}

/// The pages of its address space: those of every process map the kernel too, and its PEB lies in one of its ranges.
fn pages(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let (person, view, kernel) = (scene.person, &scene.person.process.view, scene.world.kernel);
    if let Err(why) = person.process.whole_space().and_then(|s| s.translate(kernel.base))
        && scene.world.processes_map_the_kernel()
    {
        scene.lose(format!(
            "its page tables do not map the kernel ({why}): rules that look into its memory did not judge"
        ));
        if why.is_wild() {
            let field = Evidence::field("_KPROCESS.DirectoryTableBase", view, EProcess::dtb_wide, Absent::Implausible);
            out.push(
                scene
                    .finding(&RULE, Severity::High, "its page tables are none: they do not map the kernel")
                    .with(field),
            );
        }
        return;
    }
    if let Ok(peb) = person.process.peb()
        && scene.ranges_are_whole()
        && scene.vad(peb).is_none()
    {
        scene.lose("its PEB lies in none of its ranges: what it says is not judged");
        let field = Evidence::field("_EPROCESS.Peb", view, EProcess::peb_raw, peb);
        out.push(scene.finding(&RULE, Severity::High, "its PEB lies in no range of its address space").with(field));
    }
}
