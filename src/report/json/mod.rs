//! JSON: one array with a row a line, or one object a line.

mod pen;
mod text;

use super::row::{Column, Row};
use super::writer::{Style, Writer};
use crate::error::Result;
pub use pen::Pen;
pub(super) use pen::text_of;
use std::io::Write;

/// Both JSON formats.
pub(super) struct Json<'w> {
    out: Box<dyn Write + Send + 'w>,
    pen: Pen,
    any: bool,
    /// The row in the making: kept to be reused.
    line: Vec<u8>,
}

impl<'w> Json<'w> {
    pub(super) fn array(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self { out, pen: Pen::new(columns, style, true), any: false, line: Vec::new() }
    }
    pub(super) fn lines(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self { out, pen: Pen::new(columns, style, false), any: false, line: Vec::new() }
    }
}

impl Writer for Json<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        self.pen.section(title, columns);
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        self.pen.row(&mut line, &row);
        let done = self.penned(&line);
        self.line = line;
        done
    }

    fn pen(&self) -> Option<Pen> {
        Some(self.pen.clone())
    }

    fn penned(&mut self, text: &[u8]) -> Result<()> {
        let mut text = text;
        if self.pen.array() && !self.any {
            self.out.write_all(b"[\n")?;
            text = text.strip_prefix(pen::COMMA).unwrap_or(text);
        }
        self.any = true;
        Ok(self.out.write_all(text)?)
    }

    fn finish(&mut self) -> Result<Option<String>> {
        if self.pen.array() {
            self.out.write_all(if self.any { b"\n]\n" } else { b"[]\n" })?;
        }
        self.out.flush()?;
        Ok(None)
    }
}
