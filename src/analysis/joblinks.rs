//! `joblinks`: jobs and the processes in them, by the jobs' own lists.

use super::parallel::asked_for;
use super::{Analysis, Answers, Ask, Case, Subject};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::object::Objects;
use crate::kernel::object::job::{self, Job};
use crate::kernel::process::{Process, applicable};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::symbols::layout::View;
use crate::utf16::Text;
use crate::value::{Absent, Value};
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

const COLUMNS: [Column; 16] = [
    col("pid", Kind::Number, "Process id"),
    col("name", Kind::Text, "Process name"),
    col("ppid", Kind::Number, "Id of the parent it inherited from"),
    col("listed", Kind::Bool, "Whether it is in the active process list"),
    col("in_job", Kind::Bool, "Whether the job's own list names it"),
    col("job", Kind::Hex, "Address of the job"),
    col("job_name", Kind::Text, "The job's path, of a named one"),
    col("job_id", Kind::Number, "The job's number (from 1607)"),
    col("active", Kind::Number, "Processes in the job, by its counter"),
    col("total", Kind::Number, "Processes ever in it"),
    col("terminated", Kind::Number, "Processes ended for breaking a limit"),
    col("limits", Kind::Texts, "Limits of the job (JOB_OBJECT_LIMIT_…)"),
    wide("job_session", Kind::Number, "The job's session"),
    wide("session", Kind::Number, "The process's session"),
    wide("parent_job", Kind::Hex, "Address of the job it is nested in"),
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
];

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
            sink.row(row(&space, job, &view, path.clone(), &member))?;
        }
    }
    Ok(())
}

/// The row of one listed process: its job, where it has one.
///
/// # Errors
/// The symbols lack a type or a field, or the sink's error.
pub fn rows<'k>(objects: &mut Objects<'k>, process: &Process<'k>, sink: &mut dyn Sink) -> Result<()> {
    let kernel = process.kernel;
    let Ok(job) = process.view.job().and_then(applicable) else { return Ok(()) };
    let layout = kernel.layout::<Job>().map_err(|e| kernel.unreadable(&e))?;
    let object = objects.with_body(job);
    let path = objects.path(&object);
    let space = &objects.space;
    let in_job = kernel.job_processes(space, job).map(|(on_list, notes)| {
        notes.into_iter().for_each(|n| sink.note(n));
        process.offset().is_some_and(|at| on_list.contains(&at))
    });
    let member = Member { process: process.clone(), listed: true, in_job };
    sink.row(row(space, job, &space.view(layout, job), path, &member))
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
        if let Ok(job) = process.view.job().and_then(applicable) {
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

fn row(space: &Space<'_>, job: Va, view: &View<'_, Job>, path: Value<Text>, member: &Member<'_>) -> Row {
    let process = &member.process;
    let cells: [Cell; COLUMNS.len()] = [
        process.pid().into(),
        process.name().into(),
        process.ppid().into(),
        member.listed.into(),
        member.in_job.into(),
        job.into(),
        path.into(),
        view.id().into(),
        view.active().into(),
        view.total().into(),
        view.terminated().into(),
        view.limits().map_or_else(Cell::Absent, |l| Cell::from(job::limit_names(l))),
        view.session().into(),
        process.session(space).into(),
        view.parent().and_then(applicable).into(),
        process.offset().ok_or(Absent::NotRecorded).into(),
    ];
    Row::new(cells.into()).at(process.place())
}
