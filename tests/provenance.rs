//! Where values are: every column says it, every value names its bytes, and those bytes hold it.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{open, samples};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::report::{Cell, Collected, Column, Origin, Wanted};
use std::collections::{BTreeMap, BTreeSet};

#[test]
fn every_column_says_where_its_values_are() {
    for analysis in ALL.iter() {
        for column in analysis.columns {
            let said = match column.origin {
                Origin::Unsaid => false,
                Origin::Placed => true,
                Origin::Derived(from) => !from.is_empty() && !from.ends_with('.'),
            };
            assert!(said, "{}: {} says neither its place nor what it is made of", analysis.name, column.key);
        }
    }
}

/// Columns whose bytes hold some values in another form: bits of a word, a pointer with flags in it or without its sign, a number shown as a
/// word, an address as a page number, a time in other units. What they are made of their accessors' tests say.
const IN_ANOTHER_FORM: &[(&str, &[&str])] = &[
    // Times of minidumps are seconds since 1970.
    ("crashinfo", &["system_time"]),
    // An image that no list has: by the page numbers of its range.
    ("dlllist", &["base", "size", "load_reason"]),
    ("getsids", &["sid"]),
    // Up to 7 the mask has a flag in it, and the pointer some.
    ("handles", &["granted_access", "header", "type"]),
    ("heaps", &["front_end", "kind"]),
    ("images", &["entry", "file_object", "machine"]),
    ("info", &["boot_time", "header_dtb", "product", "system_time", "version"]),
    ("ldrmodules", &["base", "machine", "type"]),
    ("malfind", &["end", "private", "protection", "start", "type"]),
    ("mappedfiles", &["delete_on_close", "file_object", "kind"]),
    ("memmap", &["page_file", "page_file_offset", "physical"]),
    ("memory", &["bytes", "text"]),
    ("poolscan", &["pool_type", "protected", "size"]),
    ("privileges", &["default", "enabled", "present"]),
    ("procinfo", &["critical", "priority_class", "protection", "section_signature_level", "signature_level", "wow64"]),
    ("pslist", &["create_time", "machine", "protection", "wow64"]),
    ("psscan", &["machine", "protection", "wow64"]),
    ("psxview", &["create_time"]),
    ("pstree", &["machine", "protection", "wow64"]),
    ("ssdt", &["address"]),
    // On XP times eight.
    ("thrdscan", &["create_time", "state"]),
    (
        "threads",
        &[
            "create_time",
            "impersonation_level",
            "impersonation_token",
            "previous_mode",
            "state",
            // Of a minidump: from the stack's start and size.
            "user_stack_base",
            "wait_mode",
            "wait_reason",
        ],
    ),
    // Seconds since 1970 of image headers; the header's own clock.
    ("timeline", &["time"]),
    (
        "tokens",
        &[
            "app_container",
            "impersonation_level",
            "integrity",
            "integrity_level",
            "owner",
            "primary_group",
            "token",
            "type",
            "user",
        ],
    ),
    ("unloaded", &["end"]),
    ("vadinfo", &["commit", "end", "file_object", "private", "protection", "start", "type"]),
    ("vadtree", &["end", "file_object", "private", "protection", "start", "type"]),
    ("verinfo", &["entry", "machine"]),
];

/// What a placed value's bytes are, against what is shown.
#[derive(Default, Clone, Copy, Debug)]
struct Count {
    same: u64,
    other: u64,
    nowhere: u64,
}

/// Whether bytes hold a value as it is: numbers and times low byte first, texts in ASCII or UTF-16, of lists the first.
fn holds(bytes: &[u8], cell: &Cell) -> bool {
    let number = |n: u64| {
        [1usize, 2, 4, 8].iter().any(|w| {
            let mut raw = [0; 8];
            raw[..*w].copy_from_slice(&bytes[..*w]);
            u64::from_le_bytes(raw) == n
        })
    };
    match cell {
        Cell::Bool(v) => (bytes[0] != 0) == *v,
        Cell::Dec(n) | Cell::Hex(n) => number(*n),
        Cell::Int(n) => [1, 2, 4, 8].iter().any(|w| bytes[..*w] == n.to_le_bytes()[..*w]),
        Cell::Time(t) => number(t.0),
        Cell::Text(text) | Cell::Cut(text, _) => {
            let wide: Vec<u8> = text.encode_utf16().take(4).flat_map(u16::to_le_bytes).collect();
            let narrow: Vec<u8> = text.bytes().take(4).collect();
            bytes.starts_with(&wide) || bytes.starts_with(&narrow)
        }
        _ => true,
    }
}

fn counted(case: &Case, counts: &mut BTreeMap<String, Count>, missing: &mut BTreeSet<String>) {
    let map = case.dump.map();
    for analysis in ALL.iter().filter(|a| !a.columns.is_empty()) {
        let mut found = Collected::default();
        let ask = Ask { rows: Wanted::with_places(), ..Ask::default() };
        if analysis.run(case, &ask, &mut found).is_err() {
            continue;
        }
        for row in &found.rows {
            for (column, cell) in analysis.columns.iter().zip(&row.cells) {
                look(map, analysis.name, column, cell, row, counts, missing);
            }
        }
    }
}

fn look(
    map: &[u8],
    analysis: &str,
    column: &Column,
    cell: &Cell,
    row: &dumpwalk::report::Row,
    counts: &mut BTreeMap<String, Count>,
    missing: &mut BTreeSet<String>,
) {
    let place = row.fields.iter().find(|(key, _)| *key == column.key).map(|(_, place)| *place);
    assert!(place.is_none() || column.origin == Origin::Placed, "{analysis} {}: derived, with a place", column.key);
    if column.origin != Origin::Placed || cell.absent().is_some() {
        return;
    }
    let key = format!("{analysis} {}", column.key);
    let count = counts.entry(key.clone()).or_default();
    let offset = place.and_then(|p| p.file).and_then(|at| at.dump_offset()).and_then(|at| usize::try_from(at).ok());
    match offset.and_then(|at| map.get(at..at + 8)) {
        None => {
            count.nowhere += 1;
            missing.insert(format!("{key}: {cell:?} at {place:?} in {:?}", row.cells.first()));
        }
        Some(bytes) if holds(bytes, cell) => count.same += 1,
        Some(_) => count.other += 1,
    }
}

#[test]
fn the_bytes_at_a_place_hold_the_value() {
    let (mut counts, mut missing) = (BTreeMap::new(), BTreeSet::new());
    let names = [
        "win10-22h2-attack/full",
        "win7-sp1-x86/full",
        "win11-24h2/bitmap",
        "winxp-sp3-x86/full",
        "win10-22h2/full",
        "win8.0/full",
        "win10-1809-raw/raw",
        "server-2022/rdmpA",
        "win10-minidump/minidump",
        "win7-minidump-x86/minidump",
        "win11-21h2/triage",
        "win10-1809/kernel",
    ];
    for name in names {
        let Some(sample) = samples().into_iter().find(|s| s.name == name) else { continue };
        counted(&open(&sample.path, &sample.symbols).unwrap(), &mut counts, &mut missing);
    }
    let in_another_form = |key: &str| {
        let (analysis, column) = key.split_once(' ').unwrap();
        IN_ANOTHER_FORM.iter().any(|(name, columns)| *name == analysis && columns.contains(&column))
    };
    let wrong: Vec<_> = counts.iter().filter(|(key, count)| (count.other > 0) != in_another_form(key)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    // 32-bit kernels have no field that says whether a process is a 32-bit one.
    missing.retain(|what| !what.contains(" wow64: Bool(false)"));
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(counts.values().map(|count| count.same).sum::<u64>() > 10_000, "{counts:?}");
}
