//! `_EJOB`: processes held together.

use super::{Fact, Facts, Objects};
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::list::List;
use crate::kernel::process::EProcess;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Here, Layout, Link};
use crate::value::{Absent, Note, Value};

layout! {
    /// `_EJOB`.
    pub struct Job: "_EJOB" {
        /// `JobLinks`: the list of all jobs.
        links: Link = "JobLinks",
        /// `ProcessListHead`: its processes, by their `JobLinks`.
        processes: Here = "ProcessListHead",
        /// `TotalProcesses`: ever in it.
        total: u32 = "TotalProcesses",
        /// `ActiveProcesses`.
        active: u32 = "ActiveProcesses",
        /// `TotalTerminatedProcesses`: ended for breaking a limit.
        terminated: u32 = "TotalTerminatedProcesses",
        /// `LimitFlags`: `JOB_OBJECT_LIMIT_…`.
        limits: u32 = "LimitFlags",
        /// `ActiveProcessLimit`.
        active_limit: u32 = "ActiveProcessLimit",
        /// `UIRestrictionsClass`: `JOB_OBJECT_UILIMIT_…`.
        ui_limits: u32 = "UIRestrictionsClass",
        /// `SessionId`.
        session: u32 = "SessionId",
        /// `JobId` (from 1607).
        id: u32 = "JobId",
        /// `ParentJob` (from 8).
        parent: Va = "ParentJob",
        /// `JobFlags`.
        flags: u32 = "JobFlags",
        /// `ContainerId` (from Windows 10): of a container.
        container: [u8; 16] = "ContainerId",
    }
}

/// `JOB_OBJECT_LIMIT_…` of winnt.h.
pub const LIMITS: [(u32, &str); 16] = [
    (0x0000_0001, "WORKINGSET"),
    (0x0000_0002, "PROCESS_TIME"),
    (0x0000_0004, "JOB_TIME"),
    (0x0000_0008, "ACTIVE_PROCESS"),
    (0x0000_0010, "AFFINITY"),
    (0x0000_0020, "PRIORITY_CLASS"),
    (0x0000_0040, "PRESERVE_JOB_TIME"),
    (0x0000_0080, "SCHEDULING_CLASS"),
    (0x0000_0100, "PROCESS_MEMORY"),
    (0x0000_0200, "JOB_MEMORY"),
    (0x0000_0400, "DIE_ON_UNHANDLED_EXCEPTION"),
    (0x0000_0800, "BREAKAWAY_OK"),
    (0x0000_1000, "SILENT_BREAKAWAY_OK"),
    (0x0000_2000, "KILL_ON_JOB_CLOSE"),
    (0x0000_4000, "SUBSET_AFFINITY"),
    (0x0000_8000, "JOB_MEMORY_LOW"),
];

/// More processes than a job has.
const MOST_PROCESSES: usize = 1 << 20;

impl Kernel {
    /// The processes on the list of the job at `job` (what `_EPROCESS.Job` holds): the addresses of their `_EPROCESS`, in list order, and how
    /// the walk went. What does not name this job itself is left out.
    ///
    /// # Errors
    /// Why the job cannot be read.
    pub fn job_processes(&self, space: &Space<'_>, job: Va) -> Value<(Vec<Va>, Vec<Note>)> {
        let layout = self.layout::<Job>().map_err(|_| Absent::NoSymbol)?;
        let process = self.layout::<EProcess>().map_err(|_| Absent::NoSymbol)?;
        let offset = process.field("job_links")?.offset;
        let view = space.view(layout, job);
        view.active()?; // tells whether the job can be read at all
        let what = format!("process list of the job at {job}");
        let belongs = |link: Va| space.view(process, link.sub(offset.into())).job() == Ok(job);
        let list = List { what: &what, head: view.processes()?, width: space.pointer_size(), limit: MOST_PROCESSES };
        Ok(list.members(space, offset, belongs))
    }
}

/// Its processes and limits.
pub(super) fn facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let layout = objects.kernel.layout::<Job>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let limits = v.limits().map(limit_names);
    Ok(vec![
        ("job_id", v.id().into()),
        ("active_processes", v.active().into()),
        ("total_processes", v.total().into()),
        ("terminated_processes", v.terminated().into()),
        ("limits", limits.into()),
        ("session", v.session().into()),
        ("parent_job", v.parent().and_then(Va::not_null).into()),
        ("ui_limits", v.ui_limits().map_or_else(Fact::Absent, |l| Fact::Hex(l.into()))),
    ])
}

/// The names of a job's limits.
#[must_use]
pub fn limit_names(flags: u32) -> Vec<&'static str> {
    LIMITS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            Job::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
