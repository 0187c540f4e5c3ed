//! Jobs and the processes in them.

use std::collections::BTreeMap;

use crate::machine::{Header, Machine};
use crate::truth::Json;

/// Plants the jobs: name and the processes' `_EPROCESS`; sets each process's `Job` in memory. Gives their truth.
pub fn plant(m: &mut Machine, members: &BTreeMap<String, Vec<u64>>) -> Json {
    let mut out = Vec::new();
    for (name, processes) in members {
        let header = Header { name: Some(name.clone()), handles: 1, pointers: 2, ..Header::default() };
        let va = m.object("Job", m.layouts.size("_EJOB"), &header);
        let mut j = m.obj("_EJOB");
        let n = processes.len() as u64;
        j.set("ActiveProcesses", n).set("TotalProcesses", n).set_opt("LimitFlags", 0x2000);
        m.write(va, &j.bytes);
        let at = m.layouts.offset("_EPROCESS", "JobLinks");
        let links: Vec<u64> = processes.iter().map(|p| p + at).collect();
        let head = va + m.layouts.offset("_EJOB", "ProcessListHead");
        m.link(head, &links);
        let own = va + m.layouts.offset("_EJOB", "JobLinks");
        m.link(own, &[]);
        for p in processes {
            m.poke(*p, "_EPROCESS", "Job", va);
        }
        let list: Vec<Json> = processes.iter().map(|p| (*p).into()).collect();
        out.push(
            Json::object()
                .with("name", name.as_str())
                .with("job", va)
                .with("processes", list)
                .with("active", n)
                .with("total", n),
        );
    }
    out.into()
}
