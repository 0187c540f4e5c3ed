//! `modules` and `unloaded` of a user-mode minidump: the process's own.

use super::{at, base_name, name_at, path_at, placed, row_of, tell_missing};
use crate::analysis::Ask;
use crate::bytes::Place;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::kernel::stamp::{Bounds, Stamp};
use crate::report::{Cell, Column, Sink};
use crate::time::FileTime;
use crate::value::Absent;

/// The rows of `modules`.
pub(in crate::analysis) fn modules(
    user: &UserDump<'_>,
    ask: &Ask,
    columns: &[Column],
    sink: &mut dyn Sink,
) -> Result<()> {
    tell_missing(user, List::Modules, "modules", sink);
    let bounds = Bounds { end: user.info().written.ok().map(FileTime::end_of_second), hashes: false };
    for m in user.modules() {
        let built = match m.time_stamp {
            0 => Err(Absent::NotRecorded),
            stamp => bounds.built(stamp, Stamp::Unknown),
        };
        let known = vec![
            ("base", m.base.into()),
            ("size", Cell::Hex(m.size.into())),
            ("name", m.name.as_ref().map(|path| base_name(path).to_owned()).map_err(|why| *why).into()),
            ("path", m.name.clone().into()),
            ("timestamp", Cell::Hex(m.time_stamp.into())),
            ("build_time", built.into()),
            ("checksum", Cell::Hex(m.checksum.into())),
        ];
        let places = [
            ("base", at(m.file, 0)),
            ("size", at(m.file, 8)),
            ("name", name_at(user, m)),
            ("path", path_at(user, m)),
            ("timestamp", at(m.file, 16)),
            ("checksum", at(m.file, 12)),
        ];
        sink.row(placed(row_of(columns, known, Place::in_dump(m.file)), ask, &places))?;
    }
    Ok(())
}

/// The rows of `unloaded`.
pub(in crate::analysis) fn unloaded(
    user: &UserDump<'_>,
    ask: &Ask,
    columns: &[Column],
    sink: &mut dyn Sink,
) -> Result<()> {
    tell_missing(user, List::Unloaded, "unloaded modules", sink);
    for m in user.unloaded() {
        let end = m.base.0.checked_add(m.size.into()).ok_or(Absent::Implausible);
        let known = vec![
            ("name", m.name.clone().into()),
            ("start", m.base.into()),
            ("end", end.map_or_else(Cell::Absent, Cell::Hex)),
        ];
        let text = at(m.file, 20).and_then(|rva| user.text_at(rva));
        let places = [("name", text), ("start", at(m.file, 0)), ("end", at(m.file, 8))];
        sink.row(placed(row_of(columns, known, Place::in_dump(m.file)), ask, &places))?;
    }
    Ok(())
}
