//! `handles`: what each process has open, and what it may do with it.

use super::parallel::{asked_for, in_order};
use super::{Analysis, Answers, Ask, Case, Subject, Switch, Takes, user, who};
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::handle_table::{AUDIT, Handle, HandleTables, INHERIT, Leaf, PROTECT};
use crate::kernel::object::header::ObjectHeader;
use crate::kernel::object::types::ObjectTypes;
use crate::kernel::object::{Fact, Facts, Object, Objects, access};
use crate::kernel::process::{EProcess, Process};
use crate::report::{Cell, Column, Field, Kind, Row, Sink, Wanted, col, derived, headers, placed, wide};
use crate::value::{Absent, Note};
use std::borrow::Cow;

/// The register's entry.
pub static HANDLES: Analysis = Analysis {
    name: "handles",
    about: "Open handles: object, type, name, and access rights by name",
    help: "Walks each process's handle table, all three levels, every slot. The access column names the rights in the type's own \
           words; bits that no right of the type has stand there as a number. Names are whole paths: registry keys from \\REGISTRY \
           on, files with their device, named objects with their directory.\n\nExample: dumpwalk handles memory.dmp --name \
           lsass --type Process,Token",
    columns: &COLUMNS,
    switches: &[Switch {
        name: "type",
        value: Some(Takes::list("TYPES", any_type)),
        about: "Only objects of these types (Process,Thread,Key …), ignoring case",
    }],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|_, dump, ask, sink| user::handles(dump, ask, &kinds(ask), &COLUMNS, sink)),
};

/// A handle of a process, and the object it leads to.
struct Handles;
struct Of<'a> {
    process: &'a Process<'a>,
    tables: &'a HandleTables<'a>,
    handle: &'a Handle,
    object: &'a Object<'a>,
    /// Id and name of the process: the same in all rows of a part of its table.
    head: &'a [Cell; 2],
    /// Taken by the row: they are made with the object's type.
    kind: Taken,
    name: Taken,
    rights: Taken,
    details: Taken,
}
type Taken = std::cell::Cell<Cell>;
who::of_process!(Handles, Of);

const FIELDS: &[Field<Handles>] = &[
    placed(who::PID, |c| c.head[0].clone(), |c| c.process.view.at(EProcess::id)),
    placed(who::NAME, |c| c.head[1].clone(), |c| c.process.view.at(EProcess::short_name)),
    derived(col("handle", Kind::Hex, "The handle's value in its process"), "the entry's number in the table", |c| {
        Cell::Hex(c.handle.value)
    }),
    placed(col("type", Kind::Text, "Name of the object's type"), |c| c.kind.take(), |c| c.object.header.type_at()),
    derived(
        col("object_name", Kind::Text, "Path of the object, or what it stands for"),
        "the object's own name behind those of its directories, or the fields that tell what it stands for",
        |c| c.name.take(),
    ),
    placed(
        col("granted_access", Kind::Hex, "The access mask the handle was granted"),
        |c| Cell::hex(c.handle.access),
        |c| c.tables.access_at(c.handle),
    ),
    derived(
        col("access", Kind::Texts, "The same by the type's own right names"),
        "granted_access, by the names of the type's rights",
        |c| c.rights.take(),
    ),
    derived(col("object", Kind::Hex, "Address of the object's body"), "header, and the size of a header", |c| {
        c.object.body.into()
    }),
    placed(
        wide("attributes", Kind::Texts, "protect_from_close, inherit, audit, no_rights_upgrade"),
        |c| attributes(c.handle),
        |c| Some(c.handle.place),
    ),
    derived(wide("details", Kind::Nested, "What the object's kind has besides"), "the object's own fields", |c| {
        c.details.take()
    }),
    placed(
        wide("handle_count", Kind::Number, "Handles to the object in all processes"),
        |c| c.object.header.view.handle_count().into(),
        |c| c.object.header.view.at(ObjectHeader::handle_count),
    ),
    placed(
        wide(
            "pointer_count",
            Kind::Number,
            "References to the object, as its header keeps them (handles count many times from 8.1 on)",
        ),
        |c| c.object.header.view.pointer_count().into(),
        |c| c.object.header.view.at(ObjectHeader::pointer_count),
    ),
    placed(
        wide("header", Kind::Hex, "Address of the object's header"),
        |c| c.object.header.at.into(),
        |c| Some(c.handle.place),
    ),
    who::offset(wide("offset", Kind::Hex, "Address of the process's _EPROCESS")),
    derived(
        wide("entry", Kind::Hex, "Address of the handle table's entry"),
        "the address of the entry: it is the row's own place",
        |c| c.handle.place.va.ok_or(Absent::NotRecorded).into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Leaf pages of a table that are one unit of work: some 4,000 handles on x64.
const LEAVES: usize = 16;

/// A part of a process's table.
struct Unit<'k> {
    process: Process<'k>,
    leaves: Vec<Leaf>,
    notes: Vec<Note>,
}

/// Which types there are only the dump knows.
fn any_type(text: &str) -> std::result::Result<(), String> {
    if text.is_empty() { Err("a type of objects has a name".into()) } else { Ok(()) }
}

/// The types asked for, in lower case; none for all.
fn kinds(ask: &Ask) -> Vec<String> {
    ask.values("type").map(str::to_lowercase).collect()
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kinds = kinds(ask);
    let kernel = case.kernel()?;
    let processes = asked_for(case, ask, sink)?;
    let tables = HandleTables::of(kernel).map_err(|why| unreadable(kernel, why))?;
    let types = kernel.object_types();
    types.notes.iter().for_each(|n| sink.note(n.clone()));
    known_types(&types, &kinds)?;
    Objects::of(kernel, &types)?; // fails here rather than in a worker
    // Made in turn, as workers ask for them.
    let units = processes.into_iter().flat_map(move |process| units(&tables, process));
    let reader = Reader { tables, kinds, wanted: ask.rows.clone() };
    in_order(
        units,
        || Objects::of(kernel, &types),
        |objects, unit, sink| match objects {
            Ok(objects) => reader.unit(objects, unit, sink),
            Err(why) => Err(Error::NotAvailable(why.to_string())),
        },
        sink,
    )
}

/// Refuses a type that this kernel does not have: a table without rows would read as "no such handle".
fn known_types(types: &ObjectTypes, asked: &[String]) -> Result<()> {
    let names: Vec<&str> = types.list.values().filter_map(|t| t.name.as_deref().ok()).collect();
    let unknown = asked.iter().find(|kind| !names.is_empty() && !names.iter().any(|n| n.eq_ignore_ascii_case(kind)));
    let Some(unknown) = unknown else { return Ok(()) };
    let alike = |name: &&&str| {
        let name = name.to_lowercase();
        let begins = unknown.get(..3).is_some_and(|head| name.starts_with(head));
        begins || name.contains(unknown.as_str()) || unknown.contains(&name)
    };
    let near: Vec<&str> = names.iter().filter(alike).copied().collect();
    let (what, names) = if near.is_empty() { ("it has", names) } else { ("like it are", near) };
    Err(Error::Usage(format!("--type {unknown}: this Windows has no such object type; {what} {}", names.join(", "))))
}

/// The rows of one process, for pages.
///
/// # Errors
/// The symbols do not describe handles, or the sink's error.
pub fn rows<'k>(objects: &mut Objects<'k>, process: &Process<'k>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = process.kernel;
    let tables = HandleTables::of(kernel).map_err(|why| unreadable(kernel, why))?;
    let all = units(&tables, process.clone());
    let reader = Reader { tables, kinds: Vec::new(), wanted: ask.rows.clone() };
    all.into_iter().try_for_each(|unit| reader.unit(objects, unit, sink))
}

/// No handle can be read.
fn unreadable(kernel: &Kernel, why: Absent) -> Error {
    Error::NotAvailable(format!(
        "handle tables cannot be read: _HANDLE_TABLE_ENTRY is {why} ({})",
        kernel.symbols.origin
    ))
}

/// The parts of a process's table.
fn units<'k>(tables: &HandleTables<'k>, process: Process<'k>) -> Vec<Unit<'k>> {
    let space = process.kernel.space();
    let (leaves, mut notes) = match process.view.handle_table() {
        Ok(at) if at.is_null() => return Vec::new(),
        Ok(at) => tables.leaves(&space, at),
        Err(why) => (Vec::new(), vec![Note::loss(format!("its handle table is {why}"))]),
    };
    let pid = process.pid().map_or_else(|_| "?".to_owned(), |p| p.to_string());
    for note in &mut notes {
        note.text = format!("process {pid}: {}", note.text);
    }
    let mut out: Vec<Unit<'_>> = leaves
        .chunks(LEAVES)
        .map(|l| Unit { process: process.clone(), leaves: l.to_vec(), notes: Vec::new() })
        .collect();
    match out.first_mut() {
        Some(first) => first.notes = notes,
        None if notes.is_empty() => {}
        None => out.push(Unit { process, leaves: Vec::new(), notes }),
    }
    out
}

/// What every worker needs.
struct Reader<'k> {
    tables: HandleTables<'k>,
    kinds: Vec<String>,
    wanted: Wanted,
}

impl<'k> Reader<'k> {
    fn unit(&self, objects: &mut Objects<'k>, unit: Unit<'k>, sink: &mut dyn Sink) -> Result<()> {
        unit.notes.into_iter().for_each(|n| sink.note(n));
        let head = who::cells(&unit.process);
        for leaf in unit.leaves {
            let mut handles = Vec::new();
            let read = self.tables.handles(&objects.space, leaf, |h| handles.push(h));
            if let Err(why) = read {
                let pid = unit.process.pid().map_or_else(|_| "?".to_owned(), |p| p.to_string());
                sink.note(Note::loss(format!(
                    "process {pid}: handles from {:#x} on: the page at {} is {why}",
                    leaf.first.saturating_mul(4),
                    leaf.at
                )));
            }
            for handle in handles {
                if let Some(row) = self.row(objects, &unit.process, &head, handle) {
                    sink.row(row)?;
                }
            }
        }
        Ok(())
    }

    /// The row of a handle; `None` when its type was not asked for.
    fn row(&self, objects: &mut Objects<'k>, process: &Process<'k>, head: &[Cell; 2], handle: Handle) -> Option<Row> {
        let object = objects.with_header(handle.target);
        let kind = objects.type_of(&object);
        if !self.kinds.is_empty() {
            let kind = kind.as_deref().unwrap_or_default().to_lowercase();
            if !self.kinds.contains(&kind) {
                return None;
            }
        }
        let (name, details) = match &kind {
            Ok(kind) => {
                let d = objects.describe(&object, kind);
                (d.name.into(), details(d.facts))
            }
            // Of an object whose type is not known its name may still be told.
            Err(why) => (objects.path(&object).into(), Cell::Absent(*why)),
        };
        let access = |mask| rights(kind.as_deref().unwrap_or_default(), mask);
        let rights = Taken::new(handle.access.map_or_else(Cell::Absent, access));
        let of = Of {
            process,
            tables: &self.tables,
            handle: &handle,
            object: &object,
            head,
            rights,
            kind: Taken::new(kind.into()),
            name: Taken::new(name),
            details: Taken::new(details),
        };
        Some(Row::of(FIELDS, &of, &self.wanted).at(handle.place))
    }
}

/// An access mask as the type's rights.
pub(super) fn rights(kind: &str, mask: u32) -> Cell {
    let (names, left) = access::names(kind, mask);
    let mut out: Vec<Cell> = names.into_iter().map(Cell::from).collect();
    if left != 0 {
        out.push(format!("{left:#x}").into());
    }
    Cell::List(out)
}

fn attributes(handle: &Handle) -> Cell {
    let bits = [(PROTECT, "protect_from_close"), (INHERIT, "inherit"), (AUDIT, "audit")];
    let set = match handle.attributes {
        Ok(set) => set,
        Err(why) => return Cell::Absent(why),
    };
    let mut out: Vec<Cell> = bits.iter().filter(|(bit, _)| set & bit != 0).map(|(_, name)| Cell::from(*name)).collect();
    if handle.no_upgrade == Ok(true) {
        out.push("no_rights_upgrade".into());
    }
    Cell::List(out)
}

/// What is said of an object, as a cell.
#[must_use]
pub fn details(facts: Facts) -> Cell {
    if facts.is_empty() {
        return Cell::Absent(Absent::NotApplicable);
    }
    Cell::Object(facts.into_iter().map(|(key, fact)| (Cow::Borrowed(key), cell(fact))).collect())
}

fn cell(fact: Fact) -> Cell {
    match fact {
        Fact::Absent(why) => Cell::Absent(why),
        Fact::Yes(yes) => Cell::Bool(yes),
        Fact::Number(n) => Cell::Dec(n),
        Fact::Signed(n) => Cell::Int(n),
        Fact::Hex(n) => Cell::Hex(n),
        Fact::Time(t) => Cell::Time(t),
        Fact::Text(t) => Cell::Text(t),
        Fact::Read(t) => t.into(),
        Fact::Names(names) => Cell::List(names.into_iter().map(Cell::from).collect()),
    }
}
