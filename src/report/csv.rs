//! CSV for spreadsheets: a heading, a field for each column, and a column `absent` that says why fields are empty, or (`key=cut:reason`) why texts
//! have no end.

use super::cell::Cell;
use super::row::{Column, Row};
use super::writer::{Provenance, Style, Writer};
use super::{guard, json};
use crate::error::Result;
use std::fmt::Write as _;
use std::io::Write;

/// The CSV format. Fields that a spreadsheet might run as a formula begin with `'`; lists are joined by `|`, lists of
/// objects are JSON text.
pub(super) struct Csv<'w> {
    out: csv::Writer<Box<dyn Write + Send + 'w>>,
    columns: &'static [Column],
    section: bool,
    provenance: Provenance,
    terminal: bool,
    headed: bool,
    record: csv::StringRecord,
    field: String,
}

impl<'w> Csv<'w> {
    pub(super) fn new(out: Box<dyn Write + Send + 'w>, columns: &'static [Column], style: Style) -> Self {
        Self {
            // `flexible`: sections have columns of their own.
            out: csv::WriterBuilder::new().flexible(true).from_writer(out),
            columns,
            section: false,
            provenance: style.provenance,
            terminal: style.terminal,
            headed: false,
            record: csv::StringRecord::new(),
            field: String::new(),
        }
    }

    fn head(&mut self) -> Result<()> {
        self.headed = true;
        self.record.clear();
        for column in self.columns {
            self.record.push_field(column.key);
        }
        self.record.push_field("absent");
        if self.provenance != Provenance::None {
            ["place_va", "place_pa", "place_file"].iter().for_each(|key| self.record.push_field(key));
        }
        if self.provenance == Provenance::Fields {
            self.record.push_field("places");
        }
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        self.out.write_record(&self.record).map_err(|e| std::io::Error::from(e).into())
    }

    fn cell(&mut self, cell: &Cell) {
        self.field.clear();
        match cell {
            c if c.absent().is_some() => {}
            Cell::List(items) if items.iter().any(needs_json) => self.field = json::text_of(cell),
            Cell::Object(_) => self.field = json::text_of(cell),
            // As in JSON, the field holds what there is; the mark stands in the column for reasons.
            Cell::Cut(text, _) => self.field.push_str(text),
            c => c.write_text(&mut self.field),
        }
        if matches!(cell, Cell::Text(_) | Cell::Cut(..) | Cell::List(_)) && guard::is_formula(&self.field) {
            self.field.insert(0, '\'');
        }
        if self.terminal {
            self.record.push_field(&guard::visible(&self.field));
        } else {
            self.record.push_field(&self.field);
        }
    }
}

fn needs_json(item: &Cell) -> bool {
    match item {
        Cell::Object(_) | Cell::List(_) | Cell::Absent(_) | Cell::Cut(..) => true,
        Cell::Text(text) => text.contains('|'),
        _ => false,
    }
}

impl Writer for Csv<'_> {
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        // A part of a page: an empty line, its title, its own heading.
        self.record.clear();
        if self.section || self.headed {
            self.out.flush()?;
            self.out.write_record([""]).map_err(std::io::Error::from)?;
        }
        self.record.push_field(title);
        self.write()?;
        (self.section, self.headed, self.columns) = (true, false, columns);
        Ok(())
    }

    fn row(&mut self, row: Row) -> Result<()> {
        if !self.headed {
            self.head()?;
        }
        self.record.clear();
        let mut absent = String::new();
        for (column, cell) in self.columns.iter().zip(&row.cells) {
            self.cell(cell);
            let (mark, why) = match cell {
                Cell::Cut(_, why) => ("cut:", Some(*why)),
                cell => ("", cell.absent()),
            };
            if let Some(why) = why {
                let gap = if absent.is_empty() { "" } else { ";" };
                let _ = write!(absent, "{gap}{}={mark}{}", column.key, why.key());
            }
        }
        self.record.push_field(&absent);
        if self.provenance != Provenance::None {
            let place = row.place.unwrap_or_default();
            for at in place.parts() {
                self.record.push_field(&at.unwrap_or_default());
            }
        }
        if self.provenance == Provenance::Fields {
            let mut places = String::new();
            for (key, at) in &row.fields {
                let gap = if places.is_empty() { "" } else { ";" };
                // Virtual / physical / file, in the order of the three columns before.
                let [va, pa, file] = at.parts().map(|part| part.unwrap_or_else(|| "?".to_owned()));
                let _ = write!(places, "{gap}{key}={va}/{pa}/{file}");
            }
            self.record.push_field(&places);
        }
        self.write()
    }

    fn finish(&mut self) -> Result<Option<String>> {
        if !self.headed && !self.section {
            self.head()?;
        }
        self.out.flush()?;
        Ok(None)
    }
}
