//! Every sample × every analysis × every format, and every `--help`, against `tests/golden/`.
//!
//! One file a dump: tables whole (very long ones by their beginning), the other formats by length, checksum and
//! beginning, then legend and notes. `DUMPWALK_BLESS=1 cargo test --test golden` writes them anew; look at the diff.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use common::{Sample, checksum, open, root, samples, write};
use dumpwalk::analysis::{ALL, Analysis, Ask, Case};
use dumpwalk::report::Format;
use rayon::prelude::*;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Tables up to this size stand whole.
const WHOLE_TABLE: usize = 24 * 1024;
/// So much is kept of what does not.
const BEGINNING: usize = 1_000;

/// The first bytes of a text, cut at a line where there is one.
fn beginning(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match text[..end].rfind('\n') {
        Some(line) if end < text.len() => &text[..=line],
        _ => &text[..end],
    }
}

fn section(out: &mut String, case: &Case, analysis: &Analysis) {
    let answers = match write(case, analysis, &Ask::default(), &Format::ALL) {
        Ok(answers) => answers,
        Err(error) => {
            writeln!(out, "== {} error\n{error}", analysis.name).unwrap();
            return;
        }
    };
    for answer in &answers {
        let text = std::str::from_utf8(&answer.bytes).expect("output is UTF-8");
        let keep = match answer.format {
            Format::Table if text.len() <= WHOLE_TABLE => text,
            _ => beginning(text, BEGINNING),
        };
        let sum = checksum(&answer.bytes);
        writeln!(out, "== {} {} {} bytes {sum:016x}", analysis.name, answer.format.name(), text.len()).unwrap();
        out.push_str(keep);
        if !keep.is_empty() && !keep.ends_with('\n') {
            out.push('\n');
        }
    }
    let finished = &answers[0].finished;
    writeln!(out, "== {} {} rows", analysis.name, finished.rows).unwrap();
    finished.legend.iter().for_each(|legend| writeln!(out, "legend: {legend}").unwrap());
    for note in &finished.notes {
        writeln!(out, "{}: {}", if note.loss { "loss" } else { "note" }, note.text).unwrap();
    }
}

fn golden_of(sample: &Sample) -> String {
    let mut out = String::new();
    match open(&sample.path, &sample.symbols) {
        Ok(case) => ALL.iter().for_each(|analysis| section(&mut out, &case, analysis)),
        Err(error) => writeln!(out, "== error\n{error}").unwrap(),
    }
    // Paths of this machine are nobody's golden truth.
    let place = |p: &Path| format!("{}{}", p.display(), std::path::MAIN_SEPARATOR);
    out.replace(&place(sample.path.parent().unwrap()), "").replace(&place(&sample.symbols), "symbols/")
}

/// Compares, or writes when blessing. Says the first line that differs.
fn hold(path: &Path, got: &str) -> Result<(), String> {
    let here = path.strip_prefix(root()).unwrap_or(path).display();
    if std::env::var_os("DUMPWALK_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, got).unwrap();
        return Ok(());
    }
    if !folder().exists() {
        println!("skipped: {} does not exist", folder().display());
        return Ok(());
    }
    let want = std::fs::read_to_string(path).map_err(|e| format!("{here}: {e} (DUMPWALK_BLESS=1 writes it)"))?;
    if want == got {
        return Ok(());
    }
    let mut inside = "";
    for (n, (w, g)) in want.lines().zip(got.lines()).enumerate() {
        if w != g {
            return Err(format!("{here}:{}: {inside}\n  golden: {w}\n  now:    {g}", n + 1));
        }
        if w.starts_with("== ") {
            inside = w;
        }
    }
    Err(format!("{here}: one is longer: golden {} lines, now {}", want.lines().count(), got.lines().count()))
}

fn folder() -> PathBuf {
    match std::env::var_os("DUMPWALK_SAMPLES") {
        // Other samples than the repository's have their golden files beside them.
        Some(dir) => PathBuf::from(dir).join("golden"),
        None => root().join("tests/golden"),
    }
}

#[test]
fn every_sample_analysis_and_format() {
    let all = samples();
    if all.is_empty() {
        println!("skipped: no samples under testdata/");
        return;
    }
    let wrong: Vec<String> = all
        .par_iter()
        .filter_map(|sample| hold(&folder().join(format!("{}.txt", sample.name)), &golden_of(sample)).err())
        .collect();
    println!("{} dumps x {} analyses x {} formats", all.len(), ALL.len(), Format::ALL.len());
    assert!(wrong.is_empty(), "{} of {} differ\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn no_golden_file_is_left_over() {
    let names: Vec<String> = samples().into_iter().map(|s| s.name).collect();
    let folder = folder();
    for dir in std::fs::read_dir(&folder).into_iter().flatten().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()) {
            let name = format!(
                "{}/{}",
                dir.file_name().unwrap().to_string_lossy(),
                file.file_stem().unwrap().to_string_lossy()
            );
            assert!(names.contains(&name), "{} is of no sample", file.display());
        }
    }
}

#[test]
fn every_help() {
    let mut command = dumpwalk::cli::command().term_width(100);
    command.build();
    let mut out = format!("== dumpwalk\n{}\n", command.render_long_help());
    for sub in command.get_subcommands().filter(|s| s.get_name() != "help") {
        let mut sub = sub.clone();
        writeln!(out, "== {}\n{}", sub.get_name().to_owned(), sub.render_long_help()).unwrap();
    }
    // Trailing blanks are clap's, and editors eat them.
    let out: String = out.lines().map(|l| format!("{}\n", l.trim_end())).collect();
    if let Err(wrong) = hold(&root().join("tests/golden/help.txt"), &out) {
        panic!("{wrong}");
    }
}
