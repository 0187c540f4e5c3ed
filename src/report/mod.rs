//! Rows of typed cells, and what writes them. Knows nothing of Windows.
//!
//! An analysis makes a [`Row`] of [`Cell`]s for its [`Column`]s and hands it to a [`Sink`]; it never knows which format
//! is asked for. [`Report`] is the sink that writes: one [`Writer`] per format, rows as they come.
//!
//! * **Absent values** keep their reason: JSON `null` and `"absent": {key: reason}`, CSV an empty field and a column
//!   `absent`, tables one of the marks `-` `?` `!` and a legend.
//! * **Cut texts** show what there is of them and why the rest is missing: JSON `"cut": {key: reason}`, CSV `key=cut:reason` in the column
//!   `absent`, tables `…` and the reason's mark.
//! * **Text from a dump is chosen by whoever wrote to that memory.** [`guard`] keeps it from steering a terminal or a
//!   spreadsheet; JSON keeps every character (dangerous ones as `\u` escapes, which mean the same to a parser).
//! * **Order** is the analysis' own; nothing here depends on a hash or on time.

mod body;
mod cell;
mod csv;
mod field;
pub mod guard;
mod json;
mod raw;
mod row;
pub mod schema;
mod table;
#[cfg(test)]
mod tests;
mod writer;

pub use cell::Cell;
pub use field::{Field, Subject, Wanted, derived, headers, placed};
pub use json::Pen;
pub use row::{Collected, Column, Kind, Origin, Row, Sink, col, joined, wide};
pub use writer::{Finished, Format, Provenance, Report, Style, Writer};
