//! `handles` of a user-mode minidump: its handle data.

use super::{asked, at, placed, row_of, tell_missing, whose, whose_at};
use crate::analysis::Ask;
use crate::analysis::handles::rights;
use crate::bytes::Place;
use crate::dump::user::{List, UserDump};
use crate::error::Result;
use crate::report::{Cell, Column, Sink};

/// `OBJ_PROTECT_CLOSE`, `OBJ_INHERIT` and `OBJ_AUDIT_OBJECT_CLOSE`: the same bits as in a handle table's entry.
const ATTRIBUTES: [(u8, &str); 3] = [
    (crate::kernel::handle_table::PROTECT, "protect_from_close"),
    (crate::kernel::handle_table::INHERIT, "inherit"),
    (crate::kernel::handle_table::AUDIT, "audit"),
];

/// The rows, of these types (lower case; none for all).
pub(in crate::analysis) fn handles(
    user: &UserDump<'_>,
    ask: &Ask,
    kinds: &[String],
    columns: &[Column],
    sink: &mut dyn Sink,
) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    tell_missing(user, List::Handles, "handles", sink);
    for h in user.handles() {
        let kind = h.type_name.as_deref().unwrap_or_default();
        if !kinds.is_empty() && !kinds.contains(&kind.to_lowercase()) {
            continue;
        }
        let [pid, name] = whose(user);
        let attributes = ATTRIBUTES.iter().filter(|(bit, _)| h.attributes & u32::from(*bit) != 0);
        let known = vec![
            ("pid", pid),
            ("name", name),
            ("handle", Cell::Hex(h.value)),
            ("type", h.type_name.clone().into()),
            ("object_name", h.object_name.clone().into()),
            ("granted_access", Cell::Hex(h.granted_access.into())),
            ("access", rights(kind, h.granted_access)),
            ("attributes", Cell::List(attributes.map(|(_, word)| Cell::from(*word)).collect())),
            ("handle_count", h.handle_count.into()),
            ("pointer_count", h.pointer_count.into()),
        ];
        let [pid, name] = whose_at(user);
        let text = |field| at(h.file, field).and_then(|rva| user.text_at(rva));
        let places = [
            pid,
            name,
            ("type", text(8)),
            ("granted_access", at(h.file, 20)),
            ("attributes", at(h.file, 16)),
            ("handle_count", at(h.file, 24)),
            ("pointer_count", at(h.file, 28)),
        ];
        sink.row(placed(row_of(columns, known, Place::in_dump(h.file)), ask, &places))?;
    }
    Ok(())
}
