//! `timeline` of a user-mode minidump: what its streams have of times.

use super::{asked, at, base_name, misc_at, process_name};
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
            let place = file.map_or_else(Place::default, Place::in_dump);
            let stamp = if kind == Kind::ImageBuilt { Stamp::Unknown } else { Stamp::Time };
            out.push(Event { time, kind, pid, name: name.clone().map(Into::into), description, place, stamp });
        }
    };
    // MINIDUMP_HEADER.TimeDateStamp, and ProcessCreateTime of MINIDUMP_MISC_INFO.
    push(info.written, Kind::DumpWritten, &program, None, Some(20));
    push(info.create_time, Kind::ProcessCreated, &program, None, misc_at(user, 12));
    for t in user.threads() {
        let what = Some(format!("thread {}", t.id));
        // MINIDUMP_THREAD_INFO.
        let info = |field| t.info_file.and_then(|file| at(file, field));
        push(t.create_time, Kind::ThreadCreated, &program, what.clone(), info(16));
        push(t.exit_time, Kind::ThreadExited, &program, what, info(24));
    }
    for m in user.modules().iter().filter(|m| m.time_stamp != 0) {
        let file = m.name.as_ref().map(|n| base_name(n).to_owned()).map_err(|why| *why);
        push(Ok(FileTime::from_unix(m.time_stamp)), Kind::ImageBuilt, &file, m.name.clone().ok(), at(m.file, 16));
    }
    out
}
