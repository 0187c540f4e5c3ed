//! `joblinks`: jobs and the processes in them, by the jobs' own lists.

use super::parallel::asked_for;
use super::{Analysis, Answers, Ask, Case, Subject, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::object::Objects;
use crate::kernel::object::job::{self, Job};
use crate::kernel::process::{EProcess, Process};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::View;
use crate::utf16::Text;
use crate::value::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The register's entry.
pub static JOBLINKS: Analysis = Analysis {
    name: "joblinks",
    about: "Jobs, and the processes in them by the jobs' own lists",
    help: "Every job that a listed process belongs to, with the processes its own list names. One that is in a job's list and not \
           in the active list was unlinked from the latter: listed is then no.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run),
};

/// A process in a job.
struct Members;
struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    listed: bool,
    in_job: Value<bool>,
    job: Va,
    view: &'a View<'a, Job>,
    path: &'a Value<Text>,
}
who::of_process!(Members, Of);

const FIELDS: &[Field<Members>] = &[
    placed(col("pid", Kind::Number, "Process id"), |c| c.process.pid().into(), |c| c.process.view.at(EProcess::id)),
    placed(
        col("name", Kind::Text, "Process name"),
        |c| c.process.name().into(),
        |c| c.process.view.at(EProcess::short_name),
    ),
    who::ppid(col("ppid", Kind::Number, "Id of the parent it inherited from")),
    derived(
        col("listed", Kind::Bool, "Whether it is in the active process list"),
        "PsActiveProcessHead and the links of its members",
        |c| c.listed.into(),
    ),
    derived(col("in_job", Kind::Bool, "Whether the job's own list names it"), "the job's list of processes", |c| {
        c.in_job.into()
    }),
    placed(col("job", Kind::Hex, "Address of the job"), |c| c.job.into(), |c| c.process.view.at(EProcess::job)),
    derived(
        col("job_name", Kind::Text, "The job's path, of a named one"),
        "the job's own name behind those of its directories",
        |c| c.path.clone().into(),
    ),
    placed(col("job_id", Kind::Number, "The job's number (from 1607)"), |c| c.view.id().into(), |c| c.view.at(Job::id)),
    placed(
        col("active", Kind::Number, "Processes in the job, by its counter"),
        |c| c.view.active().into(),
        |c| c.view.at(Job::active),
    ),
    placed(col("total", Kind::Number, "Processes ever in it"), |c| c.view.total().into(), |c| c.view.at(Job::total)),
    placed(
        col("terminated", Kind::Number, "Processes ended for breaking a limit"),
        |c| c.view.terminated().into(),
        |c| c.view.at(Job::terminated),
    ),
    placed(
        col("limits", Kind::Texts, "Limits of the job (JOB_OBJECT_LIMIT_…)"),
        |c| c.view.limits().map_or_else(Cell::Absent, |l| Cell::from(job::limit_names(l))),
        |c| c.view.at(Job::limits),
    ),
    placed(
        wide("job_session", Kind::Number, "The job's session"),
        |c| c.view.session().into(),
        |c| c.view.at(Job::session),
    ),
    placed(
        wide("session", Kind::Number, "The process's session"),
        |c| c.process.session(c.space).into(),
        |c| c.process.session_at(c.space),
    ),
    placed(
        wide("parent_job", Kind::Hex, "Address of the job it is nested in"),
        |c| c.view.parent().and_then(Va::not_null).into(),
        |c| c.view.at(Job::parent),
    ),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let wanted: BTreeSet<Option<Va>> = asked_for(case, ask, sink)?.iter().map(Process::offset).collect();
    let all = kernel.processes()?.list;
    let narrowed = wanted.len() < all.len();
    let types = kernel.object_types();
    let mut objects = Objects::of(kernel, &types)?;
    let space = kernel.space();
    let layout = kernel.layout::<Job>().map_err(|e| kernel.unreadable(&e))?;
    for (job, members) in jobs(kernel, &space, &all, sink) {
        let view = space.view(layout, job);
        let path = {
            let object = objects.with_body(job);
            objects.path(&object)
        };
        for member in members {
            if narrowed && !wanted.contains(&member.process.offset()) {
                continue;
            }
            sink.row(row(&space, job, &view, &path, &member, ask))?;
        }
    }
    Ok(())
}

/// The row of one listed process: its job, where it has one.
///
/// # Errors
/// The symbols lack a type or a field, or the sink's error.
pub fn rows<'k>(objects: &mut Objects<'k>, process: &Process<'k>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = process.kernel;
    let Ok(job) = process.view.job().and_then(Va::not_null) else { return Ok(()) };
    let layout = kernel.layout::<Job>().map_err(|e| kernel.unreadable(&e))?;
    let object = objects.with_body(job);
    let path = objects.path(&object);
    let space = &objects.space;
    let in_job = kernel.job_processes(space, job).map(|(on_list, notes)| {
        notes.into_iter().for_each(|n| sink.note(n));
        process.offset().is_some_and(|at| on_list.contains(&at))
    });
    let member = Member { process: process.clone(), listed: true, in_job };
    sink.row(row(space, job, &space.view(layout, job), &path, &member, ask))
}

/// A process of a job.
struct Member<'k> {
    process: Process<'k>,
    listed: bool,
    in_job: Value<bool>,
}

/// The jobs that listed processes belong to, by address, with their processes: those that say so, and those on their lists.
fn jobs<'k>(
    kernel: &'k Kernel,
    space: &Space<'k>,
    all: &[Process<'k>],
    sink: &mut dyn Sink,
) -> BTreeMap<Va, Vec<Member<'k>>> {
    let mut jobs: BTreeMap<Va, Vec<Member<'k>>> = BTreeMap::new();
    for process in all {
        if let Ok(job) = process.view.job().and_then(Va::not_null) {
            let member = Member { process: process.clone(), listed: true, in_job: Ok(false) };
            jobs.entry(job).or_default().push(member);
        }
    }
    for (job, members) in &mut jobs {
        let on_list = match kernel.job_processes(space, *job) {
            Ok((on_list, notes)) => {
                notes.into_iter().for_each(|n| sink.note(n));
                on_list
            }
            Err(why) => {
                members.iter_mut().for_each(|m| m.in_job = Err(why));
                continue;
            }
        };
        for va in on_list {
            match members.iter_mut().find(|m| m.process.offset() == Some(va)) {
                Some(member) => member.in_job = Ok(true),
                None => {
                    let Ok(process) = kernel.process_at(space, va) else { continue };
                    let listed = all.iter().any(|p| p.offset() == Some(va));
                    members.push(Member { process, listed, in_job: Ok(true) });
                }
            }
        }
    }
    jobs
}

fn row(space: &Space<'_>, job: Va, view: &View<'_, Job>, path: &Value<Text>, member: &Member<'_>, ask: &Ask) -> Row {
    let Member { process, listed, in_job } = member;
    Row::of(FIELDS, &Of { process, space, listed: *listed, in_job: *in_job, job, view, path }, &ask.rows)
        .at(process.place())
}
