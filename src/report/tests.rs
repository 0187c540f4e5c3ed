//! What every format must do with the same rows.

use super::*;
use crate::addr::{Pa, Va};
use crate::bytes::Place;
use crate::time::FileTime;
use crate::value::{Absent, Note};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// An output that can be looked at afterwards.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);
impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static COLUMNS: &[Column] = &[
    col("pid", Kind::Number, "Id."),
    col("name", Kind::Text, "Name."),
    col("offset", Kind::Hex, "Address."),
    col("exit_time", Kind::Time, "End."),
    wide("access", Kind::Texts, "Rights."),
    wide("frames", Kind::Nested, "Stack."),
];

fn rows() -> Vec<Row> {
    let place = Place { va: Some(Va(0xffff_8000_0000_1000)), pa: Some(Pa(0x1000)), file: None };
    let frame = |symbol: Cell| Cell::Object(vec![("at".into(), Cell::Hex(16)), ("symbol".into(), symbol)]);
    let mut first = Row::new(vec![
        4_u64.into(),
        "System".into(),
        Va(0xffff_8000_0000_1000).into(),
        Absent::NotApplicable.into(),
        vec!["READ", "WRITE"].into(),
        Cell::List(vec![frame("nt!a".into()), frame(Absent::NoSymbol.into())]),
    ])
    .at(place);
    first.fields.push(("pid", Place { file: Some(0x2440.into()), ..place }));
    let evil = Row::new(vec![
        Absent::NotInDump.into(),
        "=cmd|'/c calc'\u{202e}\x1b[2J\"\\".to_owned().into(),
        Cell::Hex(u64::MAX),
        Cell::Time(FileTime(132_583_451_020_698_125)),
        Cell::List(vec!["a|b".into(), Absent::PagedOut.into()]),
        Absent::Implausible.into(),
    ]);
    vec![first, evil]
}

fn written(style: Style, rows: Vec<Row>) -> (String, Finished) {
    let out = Shared::default();
    let mut report = Report::new(Box::new(out.clone()), COLUMNS, style);
    for row in rows {
        report.row(row).unwrap();
    }
    let finished = report.finish().unwrap();
    let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    (text, finished)
}

fn of(format: Format) -> Style {
    Style { format, ..Style::default() }
}

#[test]
fn json_says_why_values_are_absent_and_stays_raw() {
    let (text, _) = written(Style { provenance: Provenance::Fields, ..of(Format::Json) }, rows());
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let (first, evil) = (&value[0], &value[1]);
    assert_eq!(first["pid"], 4);
    assert_eq!(first["offset"], "0xffff800000001000");
    assert_eq!(first["exit_time"], serde_json::Value::Null);
    assert_eq!(first["absent"], serde_json::json!({"exit_time": "not_applicable"}));
    assert_eq!(first["access"], serde_json::json!(["READ", "WRITE"]));
    assert_eq!(
        first["frames"][1],
        serde_json::json!({"at": "0x10", "symbol": null, "absent": {"symbol": "no_symbol"}})
    );
    assert_eq!(first["place"], serde_json::json!({"va": "0xffff800000001000", "pa": "0x1000", "file": null}));
    assert_eq!(first["places"]["pid"]["file"], "0x2440");
    assert_eq!(evil["name"], "=cmd|'/c calc'\u{202e}\x1b[2J\"\\");
    assert_eq!(evil["exit_time"], "2021-02-21T01:38:22.0698125Z");
    assert_eq!(
        evil["absent"],
        serde_json::json!({"pid": "not_in_dump", "access[1]": "paged_out", "frames": "implausible"})
    );
    let keys: Vec<&String> = evil.as_object().unwrap().keys().collect();
    assert_eq!(keys[..6], COLUMNS.iter().map(|c| c.key).collect::<Vec<_>>());
    assert!(!text.contains(['\x1b', '\u{202e}']), "dangerous characters are escapes");
}

#[test]
fn json_lines_are_the_arrays_items() {
    let (array, _) = written(of(Format::Json), rows());
    let (lines, _) = written(of(Format::Jsonl), rows());
    let array: Vec<serde_json::Value> = serde_json::from_str(&array).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(array, lines);
    assert_eq!(written(of(Format::Json), vec![]).0, "[]\n");
    assert_eq!(written(of(Format::Jsonl), vec![]).0, "");
}

#[test]
fn every_scalar_survives_json() {
    for block in (0..=0x10_ffff_u32).step_by(0x1000) {
        let all: String = (block..block + 0x1000).filter_map(char::from_u32).collect();
        let row = Row::new(vec![1_u64.into(), all.clone().into()]);
        let (text, _) = written(of(Format::Jsonl), vec![row]);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(value["name"] == all, "block {block:#x}");
    }
}

#[test]
fn csv_guards_formulas_and_names_reasons() {
    let (text, _) = written(Style { provenance: Provenance::Rows, ..of(Format::Csv) }, rows());
    let mut reader = ::csv::Reader::from_reader(text.as_bytes());
    assert_eq!(
        reader.headers().unwrap(),
        vec!["pid", "name", "offset", "exit_time", "access", "frames", "absent", "place_va", "place_pa", "place_file"]
    );
    let records: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(&records[0][3], "");
    assert_eq!(&records[0][4], "READ|WRITE");
    assert_eq!(&records[0][6], "exit_time=not_applicable");
    assert_eq!(&records[0][8], "0x1000");
    assert_eq!(&records[1][1], "'=cmd|'/c calc'\u{202e}\x1b[2J\"\\");
    assert_eq!(&records[1][4], r#"["a|b",null]"#);
    assert_eq!(&records[1][6], "pid=not_in_dump;frames=implausible");
    assert!(serde_json::from_str::<serde_json::Value>(&records[0][5]).is_ok());
    let (on_terminal, _) = written(Style { terminal: true, ..of(Format::Csv) }, rows());
    assert!(!on_terminal.contains(['\x1b', '\u{202e}']));
    assert_eq!(written(of(Format::Csv), vec![]).0, "pid,name,offset,exit_time,access,frames,absent\n");
}

#[test]
fn tables_mark_absent_values_and_show_no_control_characters() {
    let (text, finished) = written(of(Format::Table), rows());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("PID  NAME"));
    assert!(!lines[0].contains("ACCESS"));
    assert!(lines[1].ends_with("  -"), "{:?}", lines[1]);
    assert!(lines[2].starts_with("?    =cmd|'/c calc'<U+202E><U+001B>[2J"));
    assert_eq!(finished.legend.as_deref(), Some("- not applicable  ? not in the dump"));
    let (wide, finished) = written(Style { wide: true, ..of(Format::Table) }, rows());
    assert!(wide.contains("READ|WRITE") && wide.contains("at=0x10 symbol=nt!a; at=0x10 symbol=-"));
    let legend = finished.legend.unwrap();
    assert!(legend.contains("! implausible") && legend.contains("not applicable or no symbol"), "{legend}");
}

#[test]
fn tables_are_cut_on_terminals_only() {
    let long = "x".repeat(200);
    let row = || Row::new(vec![1_u64.into(), long.clone().into(), Cell::Hex(1), Absent::NotRecorded.into()]);
    assert!(written(of(Format::Table), vec![row()]).0.contains(&long));
    let (cut, finished) = written(Style { width: Some(60), ..of(Format::Table) }, vec![row()]);
    assert!(cut.lines().all(|l| l.chars().count() <= 60), "{cut}");
    assert!(cut.contains('…') && finished.legend.unwrap().contains("--wide"));
}

#[test]
fn tables_stream_and_late_wide_cells_lose_nothing() {
    let mut all: Vec<Row> = (0..table::MEASURED as u64).map(|i| Row::new(vec![i.into(), "n".into()])).collect();
    let long = "y".repeat(300);
    all.push(Row::new(vec![u64::MAX.into(), long.clone().into()]));
    let (text, _) = written(of(Format::Table), all);
    assert_eq!(text.lines().count(), table::MEASURED + 2);
    assert!(text.contains(&u64::MAX.to_string()) && text.contains(&long));
}

#[test]
fn trees_are_indented_at_the_first_column() {
    let mut child = Row::new(vec![8_u64.into(), "child".into()]);
    child.depth = 1;
    let (text, _) = written(of(Format::Table), vec![Row::new(vec![4_u64.into(), "root".into()]), child]);
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["4    root", "  8  child"]);
}

#[test]
fn sections_have_titles_everywhere() {
    static PARTS: &[Column] = &[col("sid", Kind::Text, "Sid.")];
    let write = |format| {
        let out = Shared::default();
        let mut report = Report::new(Box::new(out.clone()), COLUMNS, of(format));
        for title in ["token", "groups"] {
            report.section(title, PARTS).unwrap();
            report.row(Row::new(vec!["S-1-5-18".into()])).unwrap();
        }
        report.finish().unwrap();
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(write(Format::Table), "token\nSID\nS-1-5-18\n\ngroups\nSID\nS-1-5-18\n");
    assert_eq!(
        write(Format::Jsonl),
        "{\"section\":\"token\",\"sid\":\"S-1-5-18\"}\n{\"section\":\"groups\",\"sid\":\"S-1-5-18\"}\n"
    );
    assert_eq!(write(Format::Csv), "token\nsid,absent\nS-1-5-18,\n\"\"\ngroups\nsid,absent\nS-1-5-18,\n");
}

#[test]
fn notes_are_kept_once_and_bounded() {
    let mut report = Report::new(Box::new(io::sink()), COLUMNS, of(Format::Csv));
    for i in 0..20_000 {
        report.note(Note::info("the same"));
        report.note(Note { loss: i == 19_999, text: format!("note {i}") });
    }
    let finished = report.finish().unwrap();
    assert_eq!(finished.notes.len(), 10_001);
    assert!(finished.loss(), "a loss past the bound still counts");
}

/// A small validator for the keywords that our schemas use: `type`, `properties`, `required`, `additionalProperties`,
/// `items`, `enum`, `anyOf`, `$ref`. An unknown keyword fails the test.
fn check(schema: &serde_json::Value, value: &serde_json::Value, root: &serde_json::Value) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}: {value} against {schema}"));
    for (keyword, rule) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "$schema" | "title" | "description" | "format" | "$defs" => {}
            "pattern" => {
                let prefix = if rule.as_str().unwrap().starts_with("^0x") { "0x" } else { "" };
                if value.as_str().is_some_and(|text| !text.starts_with(prefix)) {
                    return wrong("pattern");
                }
            }
            "$ref" => check(&root["$defs"][rule.as_str().unwrap().trim_start_matches("#/$defs/")], value, root)?,
            "anyOf" => {
                if !rule.as_array().unwrap().iter().any(|s| check(s, value, root).is_ok()) {
                    return wrong("anyOf");
                }
            }
            "enum" => {
                if !rule.as_array().unwrap().contains(value) {
                    return wrong("enum");
                }
            }
            "type" => {
                let is = match value {
                    serde_json::Value::Null => "null",
                    serde_json::Value::Bool(_) => "boolean",
                    serde_json::Value::Number(_) => "integer",
                    serde_json::Value::String(_) => "string",
                    serde_json::Value::Array(_) => "array",
                    serde_json::Value::Object(_) => "object",
                };
                if rule != is && !rule.as_array().is_some_and(|r| r.iter().any(|r| r == is)) {
                    return wrong("type");
                }
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    check(rule, item, root)?;
                }
            }
            "required" => {
                if let Some(object) = value.as_object()
                    && rule.as_array().unwrap().iter().any(|k| !object.contains_key(k.as_str().unwrap()))
                {
                    return wrong("required");
                }
            }
            "properties" | "additionalProperties" => {
                for (key, item) in value.as_object().into_iter().flatten() {
                    match (schema["properties"].get(key), &schema["additionalProperties"]) {
                        (Some(known), _) => check(known, item, root)?,
                        (None, serde_json::Value::Bool(false)) => return wrong(key),
                        (None, serde_json::Value::Object(_)) => check(&schema["additionalProperties"], item, root)?,
                        _ => {}
                    }
                }
            }
            other => return Err(format!("keyword {other}")),
        }
    }
    Ok(())
}

#[test]
fn the_schema_fits_the_json() {
    let schema = schema::of("test", "About.", COLUMNS);
    for provenance in [Provenance::None, Provenance::Rows, Provenance::Fields] {
        let (text, _) = written(Style { provenance, ..of(Format::Json) }, rows());
        check(&schema, &serde_json::from_str(&text).unwrap(), &schema).unwrap();
    }
    for wrong in [
        serde_json::json!([{"pid": 1}]),
        serde_json::json!([{"pid": "1", "name": null, "offset": null, "exit_time": null, "access": null, "frames": null}]),
        serde_json::json!([{"pid": 1, "name": null, "offset": 5, "exit_time": null, "access": null, "frames": null}]),
        serde_json::json!({}),
    ] {
        assert!(check(&schema, &wrong, &schema).is_err(), "{wrong}");
    }
}

#[test]
fn a_cut_text_is_marked_in_every_format() {
    use crate::utf16::Text;
    static COLUMNS: [Column; 2] = [col("line", Kind::Text, "A line"), col("more", Kind::Nested, "More")];
    let cut = || Cell::from(Text::cut("cmd /c ab".into(), Absent::PagedOut));
    let row = || Row::new(vec![cut(), Cell::Object(vec![("path".into(), cut())])]);
    let written = |format| {
        let out = Shared::default();
        let mut report = Report::new(Box::new(out.clone()), &COLUMNS, Style { format, ..Style::default() });
        report.row(row()).unwrap();
        let finished = report.finish().unwrap();
        (String::from_utf8(out.0.lock().unwrap().clone()).unwrap(), finished)
    };
    let (lines, _) = written(Format::Jsonl);
    let json: serde_json::Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(json["line"], "cmd /c ab");
    assert_eq!(json["cut"], serde_json::json!({"line": "paged_out"}));
    assert_eq!(json["more"], serde_json::json!({"path": "cmd /c ab", "cut": {"path": "paged_out"}}));
    assert!(json.get("absent").is_none());
    let (csv, _) = written(Format::Csv);
    assert!(csv.contains("cmd /c ab,") && csv.contains("line=cut:paged_out"), "{csv}");
    let (table, finished) = written(Format::Table);
    assert!(table.contains("cmd /c ab…?"), "{table}");
    assert!(finished.legend.is_some_and(|l| l.contains("paged out")));
}
