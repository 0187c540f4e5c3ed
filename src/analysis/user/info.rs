//! What `info` tells of a user-mode minidump besides.

use super::process_name;
use crate::bytes::Place;
use crate::dump::user::UserDump;
use crate::report::Cell;
use crate::value::Absent;

/// Cells by column.
pub(in crate::analysis) fn info(user: &UserDump<'_>) -> Vec<(&'static str, Cell)> {
    let info = user.info();
    let mut known = vec![
        ("system_time", info.written.into()),
        ("build_lab", info.build_string.clone().into()),
        ("user_process", process(user)),
        ("streams", streams(user)),
    ];
    if let Some(s) = user.system() {
        let [major, minor, build] = s.version;
        // wProductType: VER_NT_WORKSTATION, VER_NT_DOMAIN_CONTROLLER, VER_NT_SERVER (winnt.h).
        let product = match s.product_type {
            1 => Ok("workstation"),
            2 => Ok("domain controller"),
            3 => Ok("server"),
            0 => Err(Absent::NotRecorded),
            _ => Err(Absent::Implausible),
        };
        known.push(("version", format!("{major}.{minor}").into()));
        known.push(("build", build.into()));
        known.push(("product", product.into()));
        known.push(("suite_mask", Cell::Hex(s.suite_mask.into())));
        known.push(("processors", s.processors.into()));
    }
    known
}

/// Where they are: `MINIDUMP_SYSTEM_INFO`, and `TimeDateStamp` of `MINIDUMP_HEADER`.
pub(in crate::analysis) fn info_at(user: &UserDump<'_>) -> Vec<(&'static str, Place)> {
    let mut places = vec![("system_time", Place::in_dump(20))];
    if let Some(s) = user.system() {
        let fields = [("version", 8), ("build", 16), ("product", 7), ("suite_mask", 28), ("processors", 6)];
        places.extend(fields.map(|(key, field)| (key, Place::in_dump(s.file.saturating_add(field)))));
    }
    places
}

fn process(user: &UserDump<'_>) -> Cell {
    let info = user.info();
    let hex = |value: crate::value::Value<u32>| value.map_or_else(Cell::Absent, |v| Cell::Hex(v.into()));
    let text = |value: Option<String>| value.ok_or(Absent::NotApplicable);
    Cell::Object(vec![
        ("pid".into(), info.pid.into()),
        ("name".into(), process_name(user).into()),
        ("create_time".into(), info.create_time.into()),
        ("user_seconds".into(), info.user_seconds.into()),
        ("kernel_seconds".into(), info.kernel_seconds.into()),
        ("integrity_level".into(), hex(info.integrity_level)),
        ("execute_flags".into(), hex(info.execute_flags)),
        ("protected".into(), info.protected.into()),
        ("cookie".into(), hex(info.cookie)),
        ("service_pack".into(), text(user.system().and_then(|s| s.service_pack.clone())).into()),
        ("dump_flags".into(), Cell::Hex(info.flags)),
        ("comment".into(), text(info.comment.clone()).into()),
    ])
}

fn streams(user: &UserDump<'_>) -> Cell {
    let one = |s: crate::dump::user::StreamEntry| {
        Cell::Object(vec![
            ("type".into(), s.kind.into()),
            ("size".into(), s.size.into()),
            ("file".into(), Cell::Hex(s.file.into())),
        ])
    };
    Cell::List(user.streams().map(one).collect())
}
