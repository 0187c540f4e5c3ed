//! `timeline` of a user-mode minidump: what its streams have of times.

use super::{asked, base_name, process_name, record};
use crate::analysis::Ask;
use crate::analysis::timeline::event::{Event, Kind, Stamp};
use crate::bytes::Place;
use crate::dump::user::UserDump;
use crate::time::FileTime;
use crate::value::Value;

/// Every time stamp of the minidump.
pub(in crate::analysis) fn events(user: &UserDump<'_>, ask: &Ask) -> Vec<Event> {
    if !asked(user, ask) {
        return Vec::new();
    }
    let info = user.info();
    let (pid, program) = (info.pid.ok().map(u64::from), process_name(user));
    let mut out = Vec::new();
    let mut push = |time: Value<FileTime>, kind, name: &Value<String>, description, file: Option<u64>| {
        if let Ok(time) = time {
            let place = file.map_or_else(Place::default, record);
            let stamp = if kind == Kind::ImageBuilt { Stamp::Unknown } else { Stamp::Time };
            out.push(Event { time, kind, pid, name: name.clone().map(Into::into), description, place, stamp });
        }
    };
    push(info.written, Kind::DumpWritten, &program, None, None);
    push(info.create_time, Kind::ProcessCreated, &program, None, info.file);
    for t in user.threads() {
        let what = Some(format!("thread {}", t.id));
        push(t.create_time, Kind::ThreadCreated, &program, what.clone(), None);
        push(t.exit_time, Kind::ThreadExited, &program, what, None);
    }
    for m in user.modules().iter().filter(|m| m.time_stamp != 0) {
        let file = m.name.as_ref().map(|n| base_name(n).to_owned()).map_err(|why| *why);
        push(Ok(FileTime::from_unix(m.time_stamp)), Kind::ImageBuilt, &file, m.name.clone().ok(), Some(m.file));
    }
    out
}
