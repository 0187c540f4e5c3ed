//! dumpwalk against Volatility 3 and MemProcFS on the checked-in samples: their rows are stored under `testdata/oracles/`
//! (`make.py` there made them), and every row that only one side has must be explained in `differences.tsv`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use program::{number, root, rows};
use serde_json::Value;
use std::collections::BTreeSet;

const M48: u64 = (1 << 48) - 1;

fn plain(v: &Value) -> String {
    number(v).map_or_else(|| "-".into(), |n| n.to_string())
}
fn address(v: &Value) -> String {
    number(v).map_or_else(|| "-".into(), |n| format!("{:#x}", n & M48))
}
fn text(v: &Value) -> String {
    v.as_str().filter(|s| !s.is_empty()).map_or_else(|| "-".into(), |s| s.replace('\t', " "))
}
/// Python's way to write it.
fn truth(v: &Value) -> String {
    if v == &Value::Bool(true) { "True".into() } else { "False".into() }
}

/// One of our rows as the columns kept of the other tool's; `None` for rows it does not print.
type Shape = fn(&Value) -> Option<Vec<String>>;

/// By tool and analysis.
fn shape(tool: &str, analysis: &str) -> Shape {
    match (tool, analysis) {
        (_, "pslist") => |r| Some(vec![plain(&r["pid"]), plain(&r["ppid"]), text(&r["name"]), address(&r["offset"])]),
        (_, "modules") => |r| Some(vec![address(&r["base"]), plain(&r["size"]), text(&r["name"]), text(&r["path"])]),
        ("volatility", "handles") => |r| {
            Some(vec![
                plain(&r["pid"]),
                plain(&r["handle"]),
                text(&r["type"]),
                address(&r["granted_access"]),
                address(&r["object"]),
            ])
        },
        ("memprocfs", "handles") => {
            |r| Some(vec![plain(&r["pid"]), plain(&r["handle"]), address(&r["granted_access"]), address(&r["object"])])
        }
        ("volatility", "vadinfo") => |r| {
            Some(vec![
                plain(&r["pid"]),
                address(&r["start"]),
                address(&r["end"]),
                text(&r["protection"]),
                text(&r["file"]),
            ])
        },
        ("memprocfs", "vadinfo") => |r| Some(vec![plain(&r["pid"]), address(&r["start"]), address(&r["end"])]),
        (_, "dlllist") => |r| {
            (r["in_load"] == true)
                .then(|| vec![plain(&r["pid"]), address(&r["base"]), plain(&r["size"]), text(&r["path"])])
        },
        (_, "cmdline") => |r| Some(vec![plain(&r["pid"]), text(&r["command_line"])]).filter(|c| c[1] != "-"),
        (_, "envars") => |r| Some(vec![plain(&r["pid"]), text(&r["variable"]), text(&r["value"])]),
        (_, "getsids") => |r| Some(vec![plain(&r["pid"]), text(&r["sid"])]),
        (_, "privileges") => {
            |r| (r["present"] == true).then(|| vec![plain(&r["pid"]), plain(&r["value"]), truth(&r["enabled"])])
        }
        ("volatility", "threads") => {
            |r| Some(vec![plain(&r["pid"]), plain(&r["tid"]), address(&r["offset"]), address(&r["start_address"])])
        }
        ("memprocfs", "threads") => |r| Some(vec![plain(&r["pid"]), plain(&r["tid"])]),
        other => panic!("no comparison for {other:?}"),
    }
}

/// A difference that is known: rows that only one side has and whose first columns are these (`*` is any).
struct Known {
    sample: String,
    tool: String,
    side: String,
    begins: Vec<String>,
}

impl Known {
    fn is(&self, sample: &str, tool: &str, side: &str, row: &str) -> bool {
        let mut columns = row.split('\t');
        (self.sample == "*" || self.sample == sample)
            && self.tool == tool
            && self.side == side
            && self.begins.iter().all(|want| columns.next().is_some_and(|column| want == "*" || want == column))
    }
}

fn known() -> Vec<Known> {
    let path = root().join("testdata/oracles/differences.tsv");
    let text = std::fs::read_to_string(path).expect("differences.tsv");
    let line = |l: &str| {
        let parts: Vec<&str> = l.split(" | ").collect();
        let [sample, tool, side, begins, reason] = parts[..] else { panic!("differences.tsv: {l}") };
        assert!(!reason.trim().is_empty(), "a difference needs its reason: {l}");
        Known {
            sample: sample.into(),
            tool: tool.into(),
            side: side.into(),
            begins: begins.split(' ').map(str::to_owned).collect(),
        }
    };
    text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).map(line).collect()
}

#[test]
fn every_difference_is_explained() {
    let folder = root().join("testdata/oracles");
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| {
        p.to_string_lossy().ends_with(".volatility.tsv") || p.to_string_lossy().ends_with(".memprocfs.tsv")
    });
    files.sort();
    assert!(!files.is_empty(), "no stored outputs under {}", folder.display());
    let known = known();
    let mut unexplained = Vec::new();
    let (mut compared, mut explained) = (0, 0);
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut parts = name.split('.').rev().skip(1);
        let tool = parts.next().unwrap().to_owned();
        let sample = name.strip_suffix(&format!(".{tool}.tsv")).unwrap().to_owned();
        let stored = std::fs::read_to_string(&file).unwrap();
        let analyses: Vec<&str> = stored.lines().filter_map(|l| l.strip_prefix("# ")?.split(':').next()).collect();
        let dump = ["full.dmp", "bitmap.dmp", "raw.dd"]
            .iter()
            .map(|d| root().join("testdata").join(&sample).join(d))
            .find(|p| p.exists());
        let dump = dump.unwrap_or_else(|| panic!("{name}: no such sample"));
        for analysis in analyses {
            let begins = format!("{analysis}\t");
            let theirs: BTreeSet<String> =
                stored.lines().filter(|l| l.starts_with(&begins)).map(str::to_owned).collect();
            // A tool that printed nothing of a kind has failed there; differences.tsv says so under `nothing`.
            if theirs.is_empty() {
                if !known.iter().any(|k| k.is(&sample, &tool, "nothing", analysis)) {
                    unexplained.push(format!("{sample} {tool} {analysis}: printed nothing"));
                }
                continue;
            }
            let make = shape(&tool, analysis);
            let ours = rows(analysis, &dump, Some(&root().join("symbols")))
                .unwrap_or_else(|e| panic!("{sample} {analysis}: {e}"));
            let ours: BTreeSet<String> =
                ours.iter().filter_map(make).map(|c| format!("{begins}{}", c.join("\t"))).collect();
            compared += 1;
            for (side, only) in [("ours", ours.difference(&theirs)), ("theirs", theirs.difference(&ours))] {
                for row in only {
                    if known.iter().any(|k| k.is(&sample, &tool, side, row)) {
                        explained += 1;
                    } else {
                        unexplained.push(format!("{sample} | {tool} | {side} | {}", row.replace('\t', " ")));
                    }
                }
            }
        }
    }
    println!("{compared} comparisons; {explained} rows differ for a known reason");
    let shown: Vec<_> = unexplained.iter().take(40).cloned().collect();
    assert!(unexplained.is_empty(), "{} rows differ without a reason:\n{}", unexplained.len(), shown.join("\n"));
}
