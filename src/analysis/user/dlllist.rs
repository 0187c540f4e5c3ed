//! `dlllist` of a user-mode minidump: its module list.

use super::{asked, base_name, cells, record, tell_missing, whose};
use crate::analysis::Ask;
use crate::analysis::dlllist::COLUMNS;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::report::{Cell, Row, Sink};

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
        sink.row(Row::new(cells(&COLUMNS, known)).at(record(m.file)))?;
    }
    Ok(())
}
