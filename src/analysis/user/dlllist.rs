//! `dlllist` of a user-mode minidump: its module list.

use super::{asked, at, base_name, name_at, path_at, placed, row_of, tell_missing, whose, whose_at};
use crate::analysis::Ask;
use crate::analysis::dlllist::COLUMNS;
use crate::bytes::Place;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::report::{Cell, Sink};

/// The rows.
pub(in crate::analysis) fn dlllist(user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    tell_missing(user, List::Modules, "modules", sink);
    for m in user.modules() {
        let [pid, name] = whose(user);
        let known = vec![
            ("pid", pid),
            ("name", name),
            ("base", m.base.into()),
            ("size", Cell::Hex(m.size.into())),
            ("module_name", m.name.as_ref().map(|path| base_name(path).to_owned()).map_err(|why| *why).into()),
            ("path", m.name.clone().into()),
            ("timestamp", Cell::Hex(m.time_stamp.into())),
        ];
        let [pid, name] = whose_at(user);
        let places = [
            pid,
            name,
            ("base", at(m.file, 0)),
            ("size", at(m.file, 8)),
            ("module_name", name_at(user, m)),
            ("path", path_at(user, m)),
            ("timestamp", at(m.file, 16)),
        ];
        sink.row(placed(row_of(&COLUMNS, known, Place::in_dump(m.file)), ask, &places))?;
    }
    Ok(())
}
