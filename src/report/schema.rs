//! The JSON Schema of an analysis' rows.

use super::row::{Column, Kind, Origin};
use crate::value::Absent;
use serde_json::{Map, Value, json};

/// The schema (draft 2020-12) of the array that `--format json` writes: one object a row. Lines of `--format jsonl` are
/// its items.
#[must_use]
pub fn of(name: &str, about: &str, columns: &[Column]) -> Value {
    let mut properties: Map<String, Value> = columns.iter().map(|c| (c.key.to_owned(), column(c))).collect();
    properties.insert("section".into(), json!({"type": "string", "description": "The part of a page the row is of."}));
    properties.insert(
        "absent".into(),
        json!({
            "type": "object",
            "description": "Why values are null, by key.",
            "additionalProperties": {"$ref": "#/$defs/reason"},
        }),
    );
    properties.insert(
        "cut".into(),
        json!({
            "type": "object",
            "description": "Why the ends of texts are missing, by key: the value is the beginning.",
            "additionalProperties": {"$ref": "#/$defs/reason"},
        }),
    );
    properties.insert("place".into(), json!({"$ref": "#/$defs/place"}));
    properties.insert(
        "places".into(),
        json!({
            "type": "object",
            "description": "Where the bytes of single values are, by key (--provenance=fields). A property with x-derived has none: that says what its values are made of.",
            "additionalProperties": {"$ref": "#/$defs/place"},
        }),
    );
    let required: Vec<&str> = columns.iter().map(|c| c.key).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("dumpwalk {name}"),
        "description": about,
        "type": "array",
        "items": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        },
        "$defs": {
            "hex": {"type": "string", "pattern": "^0x[0-9a-f]+$"},
            "reason": {"enum": Absent::ALL.map(Absent::key)},
            "place": {
                "type": "object",
                "description": "Where the bytes are: virtual address, physical address, offset in the dump file, or in the page file that page_file names. With decoded, the bytes at that offset are a page in another form (compressed), and decoded is the byte of that page.",
                "properties": {
                    "va": {"anyOf": [{"$ref": "#/$defs/hex"}, {"type": "null"}]},
                    "pa": {"anyOf": [{"$ref": "#/$defs/hex"}, {"type": "null"}]},
                    "file": {"anyOf": [{"$ref": "#/$defs/hex"}, {"type": "null"}]},
                    "page_file": {"type": "integer", "minimum": 0, "maximum": 15},
                    "decoded": {"type": "integer", "minimum": 0, "maximum": 4095},
                },
                "required": ["va", "pa", "file"],
                "additionalProperties": false,
            },
        },
    })
}

fn column(c: &Column) -> Value {
    let mut out = match c.kind {
        Kind::Bool => json!({"type": ["boolean", "null"]}),
        Kind::Number => json!({"type": ["integer", "null"]}),
        Kind::Hex => json!({"anyOf": [{"$ref": "#/$defs/hex"}, {"type": "null"}]}),
        Kind::Time => json!({
            "type": ["string", "null"],
            "format": "date-time",
            "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$",
        }),
        Kind::Text => json!({"type": ["string", "null"]}),
        Kind::Texts => json!({"type": ["array", "null"], "items": {"type": ["string", "null"]}}),
        Kind::Nested => json!({"type": ["array", "object", "null"]}),
    };
    if let Some(object) = out.as_object_mut() {
        object.insert("description".into(), c.about.into());
        if let Origin::Derived(from) = c.origin {
            object.insert("x-derived".into(), from.into());
        }
    }
    out
}
