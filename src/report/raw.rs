//! Memory as it is: the bytes of the rows' column `bytes`, one after another, and nothing else.
//!
//! Where bytes are missing it ends: what came after would stand at a wrong place.

use super::cell::Cell;
use super::row::{Column, Row};
use super::writer::Writer;
use crate::error::{Error, Result};
use std::io::Write;

/// The format.
pub(super) struct Raw<'w> {
    out: Box<dyn Write + Send + 'w>,
    column: Option<usize>,
    /// Rows after the first that has no bytes.
    missing: u64,
}

impl<'w> Raw<'w> {
    pub(super) fn new(out: Box<dyn Write + Send + 'w>, columns: &'static [Column]) -> Self {
        Self { out, column: position(columns), missing: 0 }
    }
}

fn position(columns: &[Column]) -> Option<usize> {
    columns.iter().position(|c| c.key == "bytes")
}

/// The bytes of hexadecimal digits, two for each.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let all = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect();
    if rest.is_empty() { all } else { None }
}

impl Writer for Raw<'_> {
    fn section(&mut self, _: &'static str, columns: &'static [Column]) -> Result<()> {
        self.column = position(columns);
        Ok(())
    }
    fn row(&mut self, row: Row) -> Result<()> {
        let found = match self.column.and_then(|i| row.cells.get(i)) {
            Some(Cell::Text(digits)) if self.missing == 0 => bytes(digits),
            _ => None,
        };
        match found {
            Some(bytes) => self.out.write_all(&bytes).map_err(Error::Output),
            None => {
                self.missing = self.missing.saturating_add(1);
                Ok(())
            }
        }
    }
    fn finish(&mut self) -> Result<Option<String>> {
        self.out.flush().map_err(Error::Output)?;
        Ok((self.missing > 0)
            .then(|| "the bytes end before the first that is missing; without --raw each row says why".into()))
    }
}
