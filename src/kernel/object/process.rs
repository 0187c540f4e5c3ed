//! Processes and threads as others hold them.

use super::{Description, Objects, Owner};
use crate::addr::Va;
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// `lsass.exe Pid 632`.
pub(super) fn describe(objects: &mut Objects<'_>, body: Va) -> Description {
    let owner = objects.owner(body);
    let name = named(&owner);
    Description { name, facts: vec![("pid", owner.pid.into()), ("name", owner.name.into())] }
}

/// `Tid 264 Pid 4 System`.
pub(super) fn describe_thread(objects: &mut Objects<'_>, body: Va) -> Description {
    let Ok(thread) = objects.kernel.thread_at(&objects.space, body) else {
        return Description { name: Err(Absent::NoSymbol), facts: Vec::new() };
    };
    let tid = thread.tid();
    let owner = match thread.view.owner() {
        Ok(process) => objects.owner(process),
        Err(why) => Owner { pid: Err(why), name: Err(why) },
    };
    // The thread's own client id names its process even where that is gone.
    let pid = thread.view.pid().or(owner.pid);
    let name = tid.and_then(|tid| {
        let name = owner.name.as_ref().map(|n| format!(" {n}")).unwrap_or_default();
        Ok(format!("Tid {tid} Pid {}{name}", pid?).into())
    });
    Description { name, facts: vec![("tid", tid.into()), ("pid", pid.into()), ("name", owner.name.into())] }
}

fn named(owner: &Owner) -> Value<Text> {
    let pid = owner.pid?;
    Ok(match &owner.name {
        Ok(name) => format!("{name} Pid {pid}").into(),
        Err(_) => format!("Pid {pid}").into(),
    })
}
