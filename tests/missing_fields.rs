//! No field that only an analysis shows is fatal: each field that a `layout!` or a look-up by name asks for is taken out of the
//! symbols in turn, on three builds, and `report` and `triage` run over the same machine. Without an indispensable field
//! ([`indispensable::ALL`]) the run fails and names it. Without any other nothing fails, cells may be absent with their reason, what
//! cannot be reached any more is missing with a note of loss, and no value is another than before.
//!
//! `DUMPWALK_MISSING=_EPROCESS.Peb` takes out the fields that contain this only, and prints what changes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;
mod sources;

use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::dump::Dump;
use dumpwalk::error::Result;
use dumpwalk::kernel::find;
use dumpwalk::report::{Cell, Column, Row, Sink};
use dumpwalk::symbols::store::{Options, Store};
use dumpwalk::symbols::types::Types;
use dumpwalk::symbols::{Symbols, indispensable};
use dumpwalk::value::Note;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// Machines of three builds: the oldest x64, the middle of Windows 10, the newest.
const MACHINES: [&str; 3] = ["win7-sp1/full.dmp", "win10-2004/full.dmp", "win11-24h2/bitmap.dmp"];
/// What is run.
const RUN: [&str; 2] = ["report", "triage"];

/// Everything that came out of one run: rows by section, notes.
#[derive(Default)]
struct Kept {
    section: &'static str,
    columns: &'static [Column],
    rows: Vec<(&'static str, &'static [Column], Vec<Cell>)>,
    notes: Vec<Note>,
}
impl Sink for Kept {
    fn row(&mut self, row: Row) -> Result<()> {
        self.rows.push((self.section, self.columns, row.cells));
        Ok(())
    }
    fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    fn section(&mut self, title: &'static str, columns: &'static [Column]) -> Result<()> {
        (self.section, self.columns) = (title, columns);
        Ok(())
    }
}

fn run(dump: &Arc<Dump>, symbols: Symbols) -> Result<Vec<Kept>> {
    let kernel = find::find(dump, &common::Exactly(symbols));
    let case = Case { dump: Arc::clone(dump), kernel, notes: Vec::new() };
    RUN.iter()
        .map(|name| {
            let analysis = ALL.iter().find(|a| a.name == *name).unwrap();
            let mut kept = Kept { section: analysis.name, columns: analysis.columns, ..Kept::default() };
            analysis.run(&case, &Ask::default(), &mut kept)?;
            kept.notes.extend(case.all_notes().cloned());
            Ok(kept)
        })
        .collect()
}

/// The structure that declares the last part of a path, and the part.
fn owner(types: &Types, ty: &str, path: &str) -> Option<(Box<str>, String)> {
    let Some((above, last)) = path.rsplit_once('.') else {
        types.get(ty)?.members.get(path)?;
        return Some((ty.into(), path.to_owned()));
    };
    let inner = types.member(ty, above)?.ty;
    types.get(&inner)?.members.get(last)?;
    Some((inner, last.to_owned()))
}

/// `member("_TYPE", "Path")` of the sources, and both strings in any other call that names a type and a path.
fn looked_up() -> BTreeSet<(String, String)> {
    let mut out = BTreeSet::new();
    for (_, text) in sources::sources() {
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        let quoted: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
        let gaps: Vec<&str> = text.split('"').step_by(2).collect();
        for (i, pair) in quoted.windows(2).enumerate() {
            if pair[0].starts_with('_') && gaps[i + 1].trim() == "," {
                out.insert((pair[0].to_owned(), pair[1].to_owned()));
            }
        }
    }
    out
}

/// Every field of these types that anything asks for, with those it lies in.
fn fields(types: &Types) -> BTreeSet<(Box<str>, String)> {
    let declared = sources::layouts().into_iter().flat_map(|d| {
        let ty = d.ty;
        d.lines.into_iter().flat_map(|l| l.paths).map(move |path| (ty.clone(), path)).collect::<Vec<_>>()
    });
    let mut out = BTreeSet::new();
    for (ty, path) in declared.chain(looked_up()) {
        let ends = path.match_indices('.').map(|(i, _)| i).chain([path.len()]);
        out.extend(ends.filter_map(|end| owner(types, &ty, &path[..end])));
    }
    out
}

/// Whether an indispensable field is, or lies in, this one.
fn is_needed(types: &Types, field: &(Box<str>, String)) -> bool {
    indispensable::ALL.iter().any(|need| {
        let ends = need.field.match_indices('.').map(|(i, _)| i).chain([need.field.len()]);
        ends.into_iter().any(|end| owner(types, need.ty, &need.field[..end]).as_ref() == Some(field))
    })
}

/// Columns whose words follow from several fields together: fewer of them give a weaker verdict, or one of fewer reasons, which is no
/// other value. Where a call stack is begun, and so the number of a frame and where it ends, depends on which witness there is.
/// An image that is on no list that can be read is as large as its range.
const VERDICTS: [(&str, &[&str]); 5] = [
    // Which driver is to blame and why; what is known by the header only.
    ("crashinfo", &["driver"]),
    ("info", &["by_header"]),
    ("callstacks", &["frame", "how", "end"]),
    ("dlllist", &["size"]),
    ("lifecycle", &["event", "finding", "confidence", "evidence"]),
];
/// What a verdict column may say at most, from the weakest on.
const CONFIDENCE: [&str; 4] = ["cannot_tell", "possible", "likely", "certain"];

/// How a user is named whom only the environment of a process names.
const BY_ENVIRONMENT: &str = " (by the environment of a process)";

/// Whether a cell says nothing that it did not say before: the same, absent, a part of the same text, or fewer of the same names.
fn holds(old: &Cell, new: &Cell) -> bool {
    match (old, new) {
        (_, Cell::Absent(_)) => true,
        (Cell::Absent(_), Cell::Object(new)) => new.iter().all(|(_, v)| matches!(v, Cell::Absent(_))),
        (Cell::List(old), Cell::List(new)) => part_of(old, new),
        (Cell::Object(old), Cell::Object(new)) => new
            .iter()
            .all(|(key, new)| matches!(new, Cell::Absent(_)) || old.iter().any(|(k, old)| k == key && holds(old, new))),
        // An address in a module whose name is not known.
        (Cell::Text(old), Cell::Text(new)) if new.starts_with("?+") => old.ends_with(&new[1..]),
        // The same user by another witness, which is named.
        (Cell::Text(old), Cell::Text(new)) if new.ends_with(BY_ENVIRONMENT) => {
            old.contains(new.trim_end_matches(BY_ENVIRONMENT))
        }
        // A path without its device, an account without its domain.
        (Cell::Text(old), Cell::Text(new)) => {
            old == new || new == "unknown" || (!new.is_empty() && old.contains(&**new))
        }
        (old, new) => old == new,
    }
}

/// Whether every new cell is an old one, in order. Bits that no name is known for stand as a number.
fn part_of(old: &[Cell], new: &[Cell]) -> bool {
    let mut rest = old.iter();
    let number = |c: &Cell| matches!(c, Cell::Text(t) if t.starts_with("0x"));
    new.iter().filter(|c| !number(c)).all(|new| rest.any(|old| holds(old, new)))
}

/// Whether a row says nothing that an old one of its section did not say.
fn row_holds(section: &str, columns: &[Column], old: &[Cell], new: &[Cell]) -> bool {
    if section == "triage" {
        return story_holds(columns, old, new);
    }
    // The shared page says `10.0`, the header the build as well.
    let version = |old: &Cell, new: &Cell| matches!((old, new), (Cell::Text(old), Cell::Text(new)) if section == "info" && new.starts_with(&format!("{old}.")));
    let verdicts = VERDICTS.iter().find(|(s, _)| *s == section).map_or(&[][..], |(_, columns)| columns);
    let rank = |cell: &Cell| CONFIDENCE.iter().position(|w| matches!(cell, Cell::Text(t) if t == w));
    old.iter().zip(new).zip(columns).all(|((old, new), column)| {
        holds(old, new)
            || (column.key == "version" && version(old, new))
            || (verdicts.contains(&column.key) && (column.key != "confidence" || rank(new) <= rank(old)))
    })
}

/// Whether a story holds nothing that was not found before, and weighs no more.
fn story_holds(columns: &[Column], old: &[Cell], new: &[Cell]) -> bool {
    const WEIGHT: [&str; 5] = ["info", "low", "medium", "high", "critical"];
    let rank = |cell: &Cell| WEIGHT.iter().position(|w| matches!(cell, Cell::Text(t) if t == w));
    let parts = |cell: &Cell| match cell {
        Cell::Text(text) => text.split("; ").flat_map(|t| t.split(", and ")).map(str::to_owned).collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    old.iter().zip(new).zip(columns).all(|((old_cell, new_cell), column)| match (column.key, old_cell, new_cell) {
        ("severity", old, new) => rank(new) <= rank(old),
        ("story", old, new) => parts(new).iter().all(|new| parts(old).iter().any(|old| old.contains(new.as_str()))),
        // Those of the heaviest finding: one that was there.
        ("rule" | "technique", _, new) => old.iter().any(|c| matches!(c, Cell::List(all) if all.contains(new))),
        ("findings", Cell::Dec(old), Cell::Dec(new)) => new <= old,
        (_, old, new) => holds(old, new),
    })
}

fn differences(old: &Kept, new: &Kept) -> Vec<String> {
    let mut out = Vec::new();
    for (i, (section, columns, cells)) in new.rows.iter().enumerate() {
        let holds =
            |row: &(&str, &[Column], Vec<Cell>)| row.0 == *section && row_holds(section, columns, &row.2, cells);
        if !old.rows.get(i).is_some_and(holds) && !old.rows.iter().any(holds) {
            out.push(nearest(old, section, columns, cells));
        }
    }
    let of = |kept: &Kept, section: &str| kept.rows.iter().filter(|r| r.0 == section).count();
    let sections: BTreeSet<&str> = old.rows.iter().map(|r| r.0).collect();
    let fewer = sections.into_iter().find(|s| of(new, s) < of(old, s));
    if let Some(section) = fewer.filter(|_| !new.notes.iter().any(|n| n.loss && !old.notes.contains(n))) {
        out.push(format!("{section}: {} rows of {}, and no note of loss", of(new, section), of(old, section)));
    }
    out
}

/// What is different about a row, against the old row that is most like it.
fn nearest(old: &Kept, section: &str, columns: &[Column], cells: &[Cell]) -> String {
    let of_section = old.rows.iter().filter(|r| r.0 == section);
    let like = of_section.max_by_key(|r| r.2.iter().zip(cells).filter(|(o, n)| o == n).count());
    let Some((_, _, like)) = like else { return format!("{section}: a row that was not there: {cells:?}") };
    let differ = like.iter().zip(cells).zip(columns).filter(|((o, n), _)| !holds(o, n));
    let differ: Vec<String> = differ.map(|((o, n), c)| format!("{} {o:?} -> {n:?}", c.key)).collect();
    format!("{section}: row {:?}: {}", &cells[..cells.len().min(2)], differ.join("; "))
}

#[test]
fn a_field_that_is_missing_costs_its_cells() {
    let only = std::env::var("DUMPWALK_MISSING").ok();
    let mut wrong = Vec::new();
    for machine in MACHINES {
        let path = common::root().join("testdata").join(machine);
        if !path.is_file() {
            println!("skipped: no {machine}");
            continue;
        }
        let dump = Arc::new(Dump::open(&path).unwrap());
        let store =
            Store::new(Options { folders: vec![common::root().join("symbols")], offline: true, ..Options::default() });
        let symbols = find::find(&dump, &store).unwrap().symbols;
        let whole = run(&dump, symbols.clone()).unwrap();
        let again = run(&dump, symbols.clone()).unwrap();
        for (a, b) in whole.iter().zip(&again) {
            assert_eq!(differences(a, b), [""; 0], "{machine}: not the same twice");
        }
        let fields = fields(&symbols.types);
        assert!(fields.len() > 400, "the sources are not read right: {}", fields.len());
        let found = Mutex::new(Vec::new());
        let chosen = fields.iter().filter(|f| only.as_ref().is_none_or(|o| format!("{}.{}", f.0, f.1).contains(o)));
        let chosen: Vec<_> = chosen.collect();
        println!("{machine}: {} fields, {} rows", chosen.len(), whole.iter().map(|k| k.rows.len()).sum::<usize>());
        chosen.par_iter().for_each(|field| {
            let mut less = symbols.clone();
            less.types.types.get_mut(&field.0).unwrap().members.remove(field.1.as_str());
            let name = format!("{machine} without {}.{}", field.0, field.1);
            let result = run(&dump, less);
            let what: Vec<String> = match (result, is_needed(&symbols.types, field)) {
                (Ok(_), true) => vec!["indispensable, and nothing fails".into()],
                (Err(e), true) if !e.to_string().contains(&field.1) => vec![format!("the error does not name it: {e}")],
                (Err(_), true) => Vec::new(),
                (Err(e), false) => vec![format!("fails: {e}")],
                (Ok(less), false) => whole.iter().zip(&less).flat_map(|(old, new)| differences(old, new)).collect(),
            };
            found.lock().unwrap().extend(what.into_iter().map(|w| format!("{name}: {w}")));
        });
        wrong.extend(found.into_inner().unwrap());
    }
    wrong.sort();
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}
