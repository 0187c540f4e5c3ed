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
const WHOLE_TABLE: usize = 8 * 1024;

/// So much is kept of what does not stand whole. A changed rest shows in the checksum.
const fn kept(format: Format) -> usize {
    match format {
        Format::Table => 4 * 1024,
        Format::Json => 800,
        Format::Csv | Format::Body | Format::Raw => 400,
        // The rows of `json`, one a line.
        Format::Jsonl => 0,
    }
}

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

/// What a golden file holds, part by part: heading and body.
type Parts = Vec<(String, String)>;

/// Text without the folders of this machine, and with `/` below them: paths are nobody's golden truth.
fn placeless(sample: &Sample, text: &str) -> String {
    let mut out = text.to_owned();
    for (folder, shown) in [(sample.path.parent().unwrap(), ""), (sample.symbols.as_path(), "symbols/")] {
        let plain = format!("{}{}", folder.display(), std::path::MAIN_SEPARATOR);
        let escaped = plain.replace('\\', "\\\\");
        for prefix in [escaped, plain] {
            let mut parts = out.split(&prefix);
            let mut clean = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let end = part.find(['"', '\n', ',']).unwrap_or(part.len());
                let (path, rest) = part.split_at(end);
                clean.extend([shown, &path.replace("\\\\", "/").replace('\\', "/"), rest]);
            }
            out = clean;
        }
    }
    out
}

fn parts_of(out: &mut Parts, case: &Case, sample: &Sample, analysis: &Analysis) {
    let name = analysis.name;
    let answers = match write(case, analysis, &Ask::default(), &Format::ALL) {
        Ok(answers) => answers,
        Err(error) => return out.push((format!("{name} error"), placeless(sample, &error.to_string()))),
    };
    for answer in &answers {
        let text = &placeless(sample, std::str::from_utf8(&answer.bytes).expect("output is UTF-8"));
        let keep = match answer.format {
            Format::Table if text.len() <= WHOLE_TABLE => text,
            format => beginning(text, kept(format)),
        };
        let sum = checksum(text.as_bytes());
        out.push((format!("{name} {} {} bytes {sum:016x}", answer.format.name(), text.len()), keep.to_owned()));
    }
    let finished = &answers[0].finished;
    let mut told = String::new();
    finished.legend.iter().for_each(|legend| writeln!(told, "legend: {legend}").unwrap());
    for note in &finished.notes {
        writeln!(told, "{}: {}", if note.loss { "loss" } else { "note" }, note.text).unwrap();
    }
    out.push((format!("{name} {} rows", finished.rows), placeless(sample, &told)));
}

fn parts(sample: &Sample) -> Parts {
    let mut out = Parts::new();
    match open(&sample.path, &sample.symbols) {
        Ok(case) => ALL.iter().for_each(|analysis| parts_of(&mut out, &case, sample, analysis)),
        Err(error) => out.push(("error".into(), placeless(sample, &error.to_string()))),
    }
    out
}

/// The golden text of a dump; what the first dump of its folder (the same machine, in another container) says too is not
/// repeated.
fn text(parts: &Parts, first: Option<&Parts>) -> String {
    let mut out = String::new();
    for (heading, body) in parts {
        let same = first.is_some_and(|first| body.len() > 100 && first.iter().any(|(_, b)| b == body));
        if same {
            writeln!(out, "== {heading} (shown in the folder's first)").unwrap();
        } else {
            writeln!(out, "== {heading}").unwrap();
            body.lines().for_each(|line| writeln!(out, "{line}").unwrap());
        }
    }
    out
}

/// Compares, or writes when blessing. Says the first line that differs.
fn hold(folder: &Path, name: &str, got: &str) -> Result<(), String> {
    let path = &folder.join(name);
    let here = path.strip_prefix(root()).unwrap_or(path).display();
    if std::env::var_os("DUMPWALK_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, got).unwrap();
        return Ok(());
    }
    if !folder.exists() {
        println!("skipped: {} does not exist", folder.display());
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
    let parts: Vec<Parts> = all.par_iter().map(parts).collect();
    let folder_of = |sample: &Sample| sample.path.parent().map(Path::to_path_buf);
    let mut wrong = Vec::new();
    for (i, sample) in all.iter().enumerate() {
        let first = all.iter().position(|other| folder_of(other) == folder_of(sample)).filter(|first| *first != i);
        let got = text(&parts[i], first.map(|first| &parts[first]));
        wrong.extend(hold(&folder(), &format!("{}.txt", sample.name), &got).err());
    }
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
    if let Err(wrong) = hold(&root().join("tests/golden"), "help.txt", &out) {
        panic!("{wrong}");
    }
}
