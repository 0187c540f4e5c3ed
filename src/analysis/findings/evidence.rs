//! Evidence: a field or a stretch of memory, where it stands, and its bytes.

use crate::addr::Va;
use crate::bytes::{Bytes, Place};
use crate::paging::Space;
use crate::report::Cell;
use crate::symbols::layout::At;
use crate::symbols::layout::{Layout, View};
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// Bytes kept of each piece: enough to recognise a header or the beginning of code.
const KEPT: u32 = 32;

/// One piece of evidence.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The field (`_EPROCESS.DebugPort`), or what the memory is.
    pub field: Cow<'static, str>,
    /// What it says.
    pub value: Cell,
    /// Where its first byte stands.
    pub place: Place,
    /// Its bytes.
    pub bytes: Value<Vec<u8>>,
}

impl Evidence {
    /// A field of a structure. Bit-fields give their whole storage unit.
    pub fn field<L: Layout>(
        label: impl Into<Cow<'static, str>>,
        view: &View<'_, L>,
        at: At<L>,
        value: impl Into<Cell>,
    ) -> Self {
        let field = at.in_layout(view.layout);
        let bytes = field.and_then(|f| view.bytes.at(f.offset, f.size.clamp(1, KEPT)).map(<[u8]>::to_vec));
        let place = view.at(at).unwrap_or_default();
        Self { field: label.into(), value: value.into(), place, bytes }
    }
    /// A stretch of memory.
    pub fn memory(
        label: impl Into<Cow<'static, str>>,
        space: &Space<'_>,
        va: Va,
        len: u32,
        value: impl Into<Cell>,
    ) -> Self {
        Self::bytes(label, &space.fetch(va, len.clamp(1, KEPT)), value)
    }
    /// Bytes at hand.
    pub fn bytes(label: impl Into<Cow<'static, str>>, bytes: &Bytes<'_>, value: impl Into<Cell>) -> Self {
        let start = bytes.prefix();
        let kept = if start.is_empty() {
            bytes.at(0, 1).map(<[u8]>::to_vec)
        } else {
            Ok(start.iter().take(KEPT as usize).copied().collect())
        };
        Self { field: label.into(), value: value.into(), place: bytes.place(0), bytes: kept }
    }
    /// As a cell: `field value va pa file bytes`.
    #[must_use]
    pub fn cell(&self) -> Cell {
        let address = |a: Option<u64>| a.map_or(Cell::Absent(Absent::NotRecorded), Cell::Hex);
        let bytes = match &self.bytes {
            Ok(bytes) => hex(bytes).into(),
            Err(why) => Cell::Absent(*why),
        };
        Cell::Object(vec![
            ("field".into(), self.field.clone().into()),
            ("value".into(), self.value.clone()),
            ("va".into(), address(self.place.va.map(|v| v.0))),
            ("pa".into(), address(self.place.pa.map(|p| p.0))),
            ("file".into(), self.place.file.map_or(Cell::Absent(Absent::NotRecorded), Cell::from)),
            ("bytes".into(), bytes),
        ])
    }
}

/// Bytes in hexadecimal, without blanks.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, b| {
        // Writing to a string cannot fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}
