//! Names of Volatility, MemProcFS and WinDbg, and what answers the same here.

use clap::Command;

/// One line each: the command here, then what Volatility 3, MemProcFS and WinDbg call it, several with commas.
/// `docs/from-other-tools.md` shows the same table.
const TABLE: &str = include_str!("other_tools.tsv");

/// The tools, in the order of the table's columns.
const TOOLS: [&str; 3] = ["Volatility 3", "MemProcFS", "WinDbg"];

fn rows() -> impl Iterator<Item = (&'static str, [&'static str; 3])> {
    TABLE.lines().filter_map(|line| {
        let mut cells = line.split('\t');
        Some((cells.next()?, [cells.next()?, cells.next()?, cells.next()?]))
    })
}

/// A name without what tools write around it: `windows.pslist.PsList`, `!PROCESS` and `windows.pslist` are one each.
fn bare(name: &str) -> String {
    let name = name.trim_start_matches(['!', '.']).to_lowercase();
    let name = name.strip_prefix("windows.").unwrap_or(&name);
    name.split(['.', ' ']).next().unwrap_or_default().trim_end_matches('/').to_owned()
}

/// What a word of another tool is called here: the tool, and the command.
#[must_use]
pub(super) fn known_as(word: &str) -> Option<(&'static str, &'static str)> {
    let word = bare(word);
    rows().find_map(|(ours, names)| {
        let of = |(tool, names): (&'static str, &str)| names.split(", ").any(|n| bare(n) == word).then_some(tool);
        TOOLS.into_iter().zip(names).filter(|_| !word.is_empty()).find_map(of).map(|tool| (tool, ours))
    })
}

/// `dumpwalk from-volatility`: the table, as help. Not in the list of commands.
pub(super) fn command() -> Command {
    let line = |a: &str, b: &str, c: &str, d: &str| format!("  {a:13} {b:25} {c:20} {d}").trim_end().to_owned() + "\n";
    let mut table = line("dumpwalk", TOOLS[0], TOOLS[1], TOOLS[2]);
    for (ours, [volatility, memprocfs, windbg]) in rows() {
        // Several names of one tool take a line each.
        for (n, name) in volatility.split(", ").enumerate() {
            let first = |text: &'static str| if n == 0 { text } else { "" };
            table.push_str(&line(first(ours), name, first(memprocfs), first(windbg)));
        }
    }
    Command::new("from-volatility")
        .aliases(["from-memprocfs", "from-windbg"])
        .hide(true)
        .about("Which analysis answers what a plugin or command of another tool does")
        .long_about(
            "Which analysis answers what a plugin of Volatility 3, a file of MemProcFS or a command of WinDbg does.",
        )
        .arg_required_else_help(true)
        .after_help(table.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::words;

    #[test]
    fn every_command_of_the_table_exists() {
        for (ours, _) in rows() {
            let mut command = words::command();
            for word in ours.split(' ') {
                command = command.find_subcommand(word).unwrap_or_else(|| panic!("{ours}")).clone();
            }
        }
        assert_eq!(rows().count(), TABLE.lines().count());
    }

    #[test]
    fn names_are_recognised_as_they_are_typed() {
        assert_eq!(known_as("windows.pslist"), Some(("Volatility 3", "pslist")));
        assert_eq!(known_as("windows.vadwalk.VadWalk"), Some(("Volatility 3", "vadtree")));
        assert_eq!(known_as("poolscanner"), Some(("Volatility 3", "poolscan")));
        assert_eq!(known_as("!process"), Some(("WinDbg", "pslist")));
        assert_eq!(known_as("findevil"), Some(("MemProcFS", "triage")));
        assert_eq!(known_as("dt"), Some(("WinDbg", "symbols show")));
        assert_eq!(known_as("memory.dmp"), None);
        assert_eq!(known_as(""), None);
    }
}
