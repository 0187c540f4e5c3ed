//! Objects: the headers in front of processes, and their handle tables.

use super::End::{self, Failed, Passed, Unknown};
use super::tally::{Says, Tally, blank};
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::paging::Space;

impl Kernel {
    /// A handle table names the process it belongs to.
    pub(super) fn check_handle_tables(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let Some(owner) = self.symbols.types.member("_HANDLE_TABLE", "QuotaProcess") else {
            return Unknown("handle tables (no layout)".into());
        };
        let others = processes.iter().filter(|p| p.pid() != Ok(4));
        let tally: Tally = others
            .filter_map(|p| Some((p.view.handle_table().ok()?, p.offset()?)))
            .filter(|(table, _)| !table.is_null())
            .map(|(table, va)| match space.pointer(table.add(owner.offset.into())) {
                Ok(named) if named == va => Says::Yes,
                Ok(named) if named.is_null() && blank(space, table, 0x40) => Says::Empty,
                Ok(_) => Says::No,
                Err(_) => Says::Lost,
            })
            .collect();
        tally.verdict(1, "handle tables name their process")
    }
    /// The object headers in front of processes say the same type.
    pub(super) fn check_object_types(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let types = &self.symbols.types;
        let Some(body) = types.member("_OBJECT_HEADER", "Body") else {
            return Unknown("object headers (no layout)".into());
        };
        let (field, coded) = match (types.member("_OBJECT_HEADER", "TypeIndex"), types.member("_OBJECT_HEADER", "Type"))
        {
            // From Windows 10 the index is mixed with the header's address and a secret that is the same for all.
            (Some(m), _) => (m, self.build.is_none_or(|b| b >= 10_000)),
            (None, Some(m)) => (m, false),
            _ => return Unknown("object headers (no layout)".into()),
        };
        let seen: Vec<u64> = processes
            .iter()
            .filter_map(|p| {
                let header = p.offset()?.sub(body.offset.into());
                if blank(space, header, body.offset) {
                    return None;
                }
                let raw = space.number(header.add(field.offset.into()), field.size).ok()?;
                Some(if coded { raw ^ (header.0 >> 8 & 0xff) } else { raw })
            })
            .collect();
        same(&seen)
    }
}

/// One type is that of all but a few.
fn same(seen: &[u64]) -> End {
    let most = seen.iter().map(|one| seen.iter().filter(|other| *other == one).count()).max().unwrap_or(0);
    let others = seen.len().saturating_sub(most);
    match seen.len() {
        0..2 => Unknown("object headers (fewer than two processes)".into()),
        count if others.saturating_mul(10) <= count => {
            Passed(format!("{most} of {count} object headers say the same type"))
        }
        count => Failed(format!("the object headers of {count} processes say several types, {most} at most the same")),
    }
}
