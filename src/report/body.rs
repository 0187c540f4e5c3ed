//! Body files, as `mactime` of The Sleuth Kit 3 and later reads them: eleven fields between `|`, times in seconds since 1970.
//!
//! `MD5|name|inode|mode_as_string|UID|GID|size|atime|mtime|ctime|crtime`. For rows with a column `time`, a column `macb` that says which of the times
//! it is, and text columns that make up the name. Rows with a `doubt` are left out, and told.

use super::cell::Cell;
use super::guard;
use super::row::{Column, Row};
use super::writer::Writer;
use crate::error::{Error, Result};
use std::io::Write;

/// The format.
pub(super) struct Body<'w> {
    out: Box<dyn Write + Send + 'w>,
    columns: &'static [Column],
    left_out: u64,
}

impl<'w> Body<'w> {
    pub(super) fn new(out: Box<dyn Write + Send + 'w>, columns: &'static [Column]) -> Self {
        Self { out, columns, left_out: 0 }
    }
    fn cell<'r>(&self, row: &'r Row, key: &str) -> Option<&'r Cell> {
        let at = self.columns.iter().position(|c| c.key == key)?;
        row.cells.get(at).filter(|c| c.absent().is_none())
    }
    fn text(&self, row: &Row, key: &str) -> Option<String> {
        let mut text = String::new();
        self.cell(row, key)?.write_text(&mut text);
        // A field ends at a bar, a line at its end: neither may come from the dump.
        Some(guard::visible(&text).replace('|', "<U+007C>"))
    }
}

impl Writer for Body<'_> {
    fn section(&mut self, _: &'static str, columns: &'static [Column]) -> Result<()> {
        self.columns = columns;
        Ok(())
    }
    fn row(&mut self, row: Row) -> Result<()> {
        let time = match self.cell(&row, "time") {
            Some(Cell::Time(time)) if self.cell(&row, "doubt").is_none() => time.unix_seconds(),
            _ => {
                self.left_out = self.left_out.saturating_add(1);
                return Ok(());
            }
        };
        let kind = self.text(&row, "kind").unwrap_or_default();
        let pid = self.text(&row, "pid").map(|pid| format!("pid {pid}"));
        let parts = [pid, self.text(&row, "name"), self.text(&row, "description")];
        let name: Vec<String> = parts.into_iter().flatten().filter(|t| !t.is_empty()).collect();
        let inode = row.place.and_then(|p| p.file?.dump_offset()).unwrap_or(0);
        let macb = self.text(&row, "macb").unwrap_or_default();
        let at = |letter: &str| if macb.contains(letter) { time } else { 0 };
        let [a, m, c, b] = ["a", "m", "c", "b"].map(at);
        writeln!(self.out, "0|[{kind}] {}|{inode}|0|0|0|0|{a}|{m}|{c}|{b}", name.join(" ")).map_err(Error::Output)
    }
    fn finish(&mut self) -> Result<Option<String>> {
        self.out.flush().map_err(Error::Output)?;
        Ok((self.left_out > 0)
            .then(|| format!("{} rows have no time of this machine's life and are left out", self.left_out)))
    }
}
