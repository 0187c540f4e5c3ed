//! The book under `docs/`: what the code knows is listed there whole, and links lead somewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use dumpwalk::analysis;
use dumpwalk::value::Absent;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join("docs").join(name)).unwrap_or_else(|e| panic!("docs/{name}: {e}"))
}

/// The first cells, without their code marks, of all rows of the table under a heading; the table's head is the first.
fn first_cells(page: &str, heading: &str) -> Vec<String> {
    let mut inside = false;
    let mut out = Vec::new();
    for line in page.lines() {
        if line.starts_with('#') {
            inside = line.trim_start_matches('#').trim() == heading;
        } else if let Some(cell) = line.strip_prefix("| ").and_then(|row| row.split(" |").next())
            && inside
        {
            out.push(cell.trim().trim_matches('`').to_owned());
        }
    }
    out
}

#[test]
fn every_reason_is_listed() {
    let reasons: Vec<&str> = Absent::ALL.iter().map(|a| a.key()).collect();
    assert_eq!(first_cells(&page("output.md"), "Why a value is absent")[1..], reasons);
}

/// The help's table of exit codes and the page's say the same.
#[test]
fn exit_codes_are_those_of_the_help() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_dumpwalk")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let codes: BTreeSet<(String, String)> = help
        .lines()
        .skip_while(|line| *line != "Exit codes:")
        .skip(1)
        .map_while(|line| line.trim().split_once(char::is_whitespace))
        .map(|(code, meaning)| (code.to_owned(), meaning.trim().to_owned()))
        .collect();
    assert!(codes.len() > 5, "{help}");
    let output = page("output.md");
    let rows = output.lines().skip_while(|line| *line != "## Exit codes").filter_map(|line| {
        let (code, meaning) = line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | ")?;
        Some((code.to_owned(), meaning.replace('`', "")))
    });
    assert_eq!(rows.filter(|(code, _)| code != "code").collect::<BTreeSet<_>>(), codes);
}

#[test]
fn every_analysis_is_listed_with_its_subject() {
    let page = page("analyses.md");
    for group in analysis::GROUPS {
        let names: Vec<&str> = group.analyses.iter().map(|a| a.name).collect();
        assert_eq!(first_cells(&page, group.name)[1..], names, "{}", group.name);
        for analysis in group.analyses {
            let also: Vec<&str> = analysis.answers.kinds().filter(|kind| *kind != "memory").collect();
            let row = page.lines().find(|line| line.starts_with(&format!("| `{}` |", analysis.name))).unwrap();
            assert_eq!(row.trim_end_matches('|').rsplit('|').next().unwrap().trim(), also.join(", "), "{row}");
        }
    }
}

#[test]
fn every_rule_is_listed() {
    let findings = page("findings.md");
    for rule in analysis::findings::RULES {
        let line = format!("| `{}` | {} | {} |", rule.name, rule.about, rule.technique);
        assert!(findings.contains(&line), "{line}");
    }
}

/// The page has the table that the program answers from.
#[test]
fn other_tools_names_are_those_of_the_program() {
    let program = std::fs::read_to_string(root().join("src/cli/other_tools.tsv")).unwrap();
    let program: Vec<String> = program.lines().map(|line| line.replace('\t', ", ")).collect();
    let page = page("from-other-tools.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|'));
    let rows: Vec<String> =
        rows.map(|row| row.replace('`', "").split('|').map(str::trim).collect::<Vec<_>>().join(", ")).collect();
    assert_eq!(rows, program);
}

/// The targets of `[text](target)` in a page, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut code = false;
    for line in text.lines() {
        code ^= line.starts_with("```");
        if !code {
            out.extend(line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned));
        }
    }
    out
}

/// The anchor that a heading gets: lower case, words joined by dashes, other signs left out.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn check_links(file: &Path) {
    for link in links(&std::fs::read_to_string(file).unwrap()) {
        if link.contains("://") {
            continue;
        }
        let (path, fragment) = link.split_once('#').map_or((link.as_str(), None), |(p, f)| (p, Some(f)));
        let target = if path.is_empty() { file.to_owned() } else { file.parent().unwrap().join(path) };
        assert!(target.is_file(), "{}: {link}", file.display());
        if let Some(fragment) = fragment {
            let text = std::fs::read_to_string(&target).unwrap();
            let known =
                text.lines().filter(|l| l.starts_with('#')).any(|l| anchor(l.trim_start_matches('#')) == fragment);
            assert!(known, "{}: {link}", file.display());
        }
    }
}

#[test]
fn links_lead_somewhere() {
    check_links(&root().join("README.md"));
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|e| e == "md") {
            check_links(&file);
        }
    }
}

/// Every page is in the book's table of contents.
#[test]
fn the_summary_has_every_page() {
    let summary: BTreeSet<String> = links(&page("SUMMARY.md")).into_iter().collect();
    let pages = std::fs::read_dir(root().join("docs")).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let pages: BTreeSet<String> = pages.filter(|n| n.ends_with(".md") && n != "SUMMARY.md").collect();
    assert_eq!(summary, pages);
}

/// What a newcomer sees first stays short.
#[test]
fn the_readme_is_short() {
    let bytes = std::fs::metadata(root().join("README.md")).unwrap().len();
    assert!(bytes <= 10 * 1024, "{bytes} bytes: move what is too long into docs/");
}
