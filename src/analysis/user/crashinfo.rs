//! `crashinfo` of a user-mode minidump: the exception it was written for.

use super::{at, placed, process_name, row_of};
use crate::addr::Va;
use crate::analysis::Ask;
use crate::analysis::code::{Location, module_code};
use crate::bytes::Place;
use crate::dump::Arch;
use crate::dump::user::{Exception, UserDump};
use crate::error::Result;
use crate::kernel::context::status_name;
use crate::report::{Cell, Column, Sink};
use crate::value::Absent;

/// The row.
pub(in crate::analysis) fn crashinfo(
    user: &UserDump<'_>,
    ask: &Ask,
    arch: Option<Arch>,
    columns: &[Column],
    sink: &mut dyn Sink,
) -> Result<()> {
    let code = module_code(user);
    let located = |va: Va| Location::plain(&code, va).text();
    let info = user.info();
    let raised = user.exception();
    let registers = raised.and_then(|e| e.context).ok_or(Absent::NotRecorded).and_then(|c| user.registers(c));
    let ip = registers.as_ref().map(|r| r.ip).map_err(|why| *why);
    let none = |value: Option<Cell>| value.unwrap_or(Cell::Absent(Absent::NotRecorded));
    let process = vec![
        ("pid".into(), info.pid.into()),
        ("name".into(), process_name(user).into()),
        ("by".into(), "the dump holds this process alone".into()),
    ];
    let known = vec![
        ("bugcheck", Cell::Absent(Absent::NotApplicable)),
        ("bugcheck_name", Cell::Absent(Absent::NotApplicable)),
        ("about", Cell::Absent(Absent::NotApplicable)),
        ("parameters", Cell::Absent(Absent::NotApplicable)),
        ("exception", none(raised.map(|e| exception(e, arch, &located)))),
        ("instruction", ip.into()),
        ("instruction_module", ip.and_then(located).into()),
        (
            "registers",
            registers.map_or_else(Cell::Absent, |r| {
                Cell::Object(r.all.into_iter().map(|(name, value)| (name.into(), Cell::Hex(value))).collect())
            }),
        ),
        ("system_time", info.written.into()),
        ("process", Cell::Object(process)),
        ("thread", none(raised.map(|e| Cell::Object(vec![("tid".into(), e.thread_id.into())])))),
        ("comment", none(info.comment.clone().map(Cell::from))),
    ];
    let places = [
        // MINIDUMP_EXCEPTION_STREAM: the record behind the thread's id and padding.
        ("exception", raised.and_then(|e| at(e.file, 8))),
        ("registers", raised.and_then(|e| e.context).map(|(context, _)| context)),
        // MINIDUMP_HEADER.TimeDateStamp.
        ("system_time", Some(20)),
    ];
    let row = row_of(columns, known, Place::in_dump(raised.map_or(0, |e| e.file)));
    sink.row(placed(row, ask, &places).upright())
}

fn exception(e: &Exception, arch: Option<Arch>, at: &dyn Fn(Va) -> crate::value::Value<String>) -> Cell {
    // Addresses and parameters of 32-bit processes are sign-extended in the record, or have leftovers above.
    let width = |value: u64| if arch == Some(Arch::X86) { value & 0xffff_ffff } else { value };
    let address = Va(width(e.address.0));
    let mut fields = vec![("code".into(), Cell::Hex(e.code.into()))];
    if let Some(name) = status_name(e.code) {
        fields.push(("name".into(), name.into()));
    }
    fields.push(("flags".into(), Cell::Hex(e.flags.into())));
    fields.push(("address".into(), address.into()));
    if let Ok(place) = at(address) {
        fields.push(("in".into(), place.into()));
    }
    fields.push(("parameters".into(), Cell::List(e.parameters.iter().copied().map(width).map(Cell::Hex).collect())));
    Cell::Object(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses and parameters of a 32-bit process have 32 bits, whatever the record's upper halves hold.
    #[test]
    fn parameters_are_as_wide_as_the_processor() {
        let e = Exception {
            thread_id: 1,
            code: 0xc000_0005,
            flags: 0,
            address: Va(0xffff_ffff_8012_3456),
            parameters: vec![1, 0xffff_ffff_0000_0045],
            context: None,
            file: 0,
        };
        let text = |arch| {
            let mut out = String::new();
            exception(&e, Some(arch), &|_| Err(Absent::NotApplicable)).write_text(&mut out);
            out
        };
        assert!(text(Arch::X86).ends_with("address=0x80123456 parameters=0x1|0x45"), "{}", text(Arch::X86));
        assert!(text(Arch::X64).ends_with("address=0xffffffff80123456 parameters=0x1|0xffffffff00000045"));
    }
}
