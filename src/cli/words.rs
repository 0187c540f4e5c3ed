//! The words of the command line, as typed.

use super::{exit, other_tools};
use crate::analysis::{ALL, Analysis, GROUPS};
use crate::kernel::paged::Given;
use crate::number;
use crate::report::Format;
use crate::symbols::{Chosen, manage};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command, value_parser};
use std::path::PathBuf;

/// The analysis of a subcommand's name.
#[must_use]
pub(super) fn analysis(name: &str) -> Option<&'static Analysis> {
    ALL.iter().copied().find(|a| a.name == name)
}

/// The whole command line. Completions and manual pages are made from it too.
#[must_use]
pub fn command() -> Command {
    let mut out = Command::new("dumpwalk")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Opens a Windows memory dump on any workstation and says what was running")
        .long_about(
            "Opens a Windows memory dump on any workstation and says what was running: processes with their image, \
             address space, handles, threads, token and modules; what hides; and what to look at first.\n\n\
             Any dump Windows writes will do (full, bitmap, kernel, triage, live, 32-bit, user-mode minidump) and raw \
             images. Symbols are found by themselves: --symbols, _NT_SYMBOL_PATH, the cache, Microsoft's server; without \
             any, built-in tables serve and a note says so.",
        )
        .after_help("See 'dumpwalk help ANALYSIS' for one analysis with its columns, 'dumpwalk help' for examples.")
        .after_long_help(format!(
            "Examples:\n  \
             dumpwalk pstree memory.dmp                          the tree of processes\n  \
             dumpwalk handles memory.dmp --name lsass --wide     everything known of lsass's handles\n  \
             dumpwalk vadinfo memory.dmp --pid 1337 -f json | jq '.[] | select(.protection|test(\"EXECUTE\"))'\n  \
             dumpwalk modules memory.dmp -f csv -o modules.csv   into a file that must not exist yet\n  \
             dumpwalk pslist memory.dmp --provenance             with the place of each row in the dump file\n  \
             dumpwalk symbols fetch memory.dmp -o usb/           symbols for a machine without network\n  \
             dumpwalk completions bash > /etc/bash_completion.d/dumpwalk\n\n{}",
            exit::HELP
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(false)
        .infer_subcommands(false)
        .override_usage("dumpwalk ANALYSIS DUMP [PID]... [OPTIONS]\n       dumpwalk DUMP              the same as dumpwalk triage DUMP\n       dumpwalk COMMAND ...")
        .max_term_width(110);
    for analysis in ALL.iter() {
        out = out.subcommand(of_analysis(analysis));
    }
    by_subject(out.subcommand(
        Command::new("analyses")
            .about("List all analyses")
            .long_about("Lists all analyses with one line each.")
            .arg(format())
            .arg(verbose()),
    )
    .subcommand(
        Command::new("schema")
            .about("Print the JSON Schema of an analysis' output")
            .long_about(
                "Prints the JSON Schema (draft 2020-12) of the array that '--format json' writes; the lines of \
                 '--format jsonl' are its items.",
            )
            .arg(
                Arg::new("analysis")
                    .value_name("ANALYSIS")
                    .required(true)
                    .value_parser(PossibleValuesParser::new(ALL.iter().map(|a| a.name)))
                    .hide_possible_values(true)
                    .help("The analysis, as 'dumpwalk analyses' lists it"),
            ),
    )
    .subcommand(super::symbols::command())
    .subcommand(
        Command::new("completions")
            .about("Print a completion script for a shell")
            .long_about(
                "Prints a completion script.\n\n  bash:        dumpwalk completions bash > /etc/bash_completion.d/dumpwalk\n  \
                 zsh:         dumpwalk completions zsh > ~/.zfunc/_dumpwalk\n  \
                 fish:        dumpwalk completions fish > ~/.config/fish/completions/dumpwalk.fish\n  \
                 PowerShell:  dumpwalk completions powershell >> $PROFILE",
            )
            .arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(value_parser!(clap_complete::Shell))
                    .help("The shell"),
            ),
    )
    .subcommand(
        Command::new("man")
            .about("Print the manual page")
            .long_about(
                "Prints the manual page of dumpwalk, or of one of its commands, in the form 'man -l' reads.\n\n  \
                 dumpwalk man | man -l -",
            )
            .arg(Arg::new("of").value_name("COMMAND").help("The command; without it, dumpwalk itself")),
    )
    .subcommand(other_tools::command()))
}

/// The help of the whole: analyses by subject, then the other commands, one line each.
fn by_subject(command: Command) -> Command {
    let line = |name: &str, about: &str| format!("  {name:13} {about}\n");
    let mut list = String::new();
    for group in GROUPS {
        let lines: String = group.analyses.iter().map(|a| line(a.name, a.about)).collect();
        list.push_str(&format!("{}:\n{lines}\n", group.name));
    }
    let commands = command.get_subcommands().filter(|c| analysis(c.get_name()).is_none() && !c.is_hide_set());
    let lines: String =
        commands.map(|c| line(c.get_name(), &c.get_about().map(ToString::to_string).unwrap_or_default())).collect();
    list.push_str(&format!("Commands:\n{lines}{}", line("help", "Explain one analysis or command")));
    command.help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{list}\nOptions:\n{{options}}{{after-help}}"
    ))
}

/// An analysis' subcommand. Its words are made when they are needed: most runs need those of one.
fn of_analysis(analysis: &'static Analysis) -> Command {
    let command = Command::new(analysis.name).about(analysis.about);
    // What it was called before.
    let command = if analysis.name == "procinfo" { command.alias("standing") } else { command };
    command.defer(|command| match self::analysis(command.get_name()) {
        Some(analysis) => words_of(analysis, command),
        None => command,
    })
}

fn words_of(analysis: &'static Analysis, command: Command) -> Command {
    let mut columns = String::from("Columns (those in brackets with --wide, and always in JSON and CSV):\n");
    let longest = analysis.columns.iter().map(|c| c.key.len()).max().unwrap_or(0).saturating_add(2);
    for column in analysis.columns {
        let key = if column.table { column.key.to_owned() } else { format!("[{}]", column.key) };
        columns.push_str(&format!("  {key:longest$}  {}\n", column.about));
    }
    let mut out = command
        .long_about(format!(
            "{}\n\n{}\n\nAnswers from: {}.",
            analysis.about,
            analysis.help,
            analysis.answers.kinds().collect::<Vec<_>>().join(", ")
        ))
        .after_long_help(columns.trim_end().to_owned())
        .arg(
            Arg::new("dump")
                .value_name("DUMP")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(std::ffi::OsString))
                .value_hint(clap::ValueHint::FilePath)
                .help(if analysis.is_of_processes() { "The dump, and process ids if only some processes are wanted" } else { "The dump" })
                .long_help(if analysis.is_of_processes() {
                    "The dump. Numbers beside it are process ids, as of --pid: 'dumpwalk process 1337 memory.dmp'. A dump that is named like a number is written ./1337."
                } else {
                    "The dump."
                }),
        )
        .args(selection(analysis))
        .args(output())
        .args(chosen_columns(analysis))
        .args(symbols())
        .arg(pdb())
        .arg(page_file())
        .arg(
            Arg::new("threads")
                .long("threads")
                .value_name("N")
                .value_parser(value_parser!(u16).range(1..=1024))
                .help_heading("Running")
                .help("Threads to use; the output is the same with any number [default: one a processor]"),
        )
        .arg(verbose());
    for switch in analysis.switches {
        let arg = Arg::new(switch.name).long(switch.name).help(switch.about).help_heading("This analysis");
        out = out.arg(match switch.value {
            Some(takes) => arg
                .value_name(takes.name)
                .value_parser(move |text: &str| takes.judge(text).map(|()| text.to_owned()))
                .action(if takes.list { ArgAction::Append } else { ArgAction::Set }),
            None => arg.action(ArgAction::SetTrue),
        });
    }
    if has_severity(analysis) {
        out = out.arg(
            Arg::new("fail-on")
                .long("fail-on")
                .value_name("SEVERITY")
                .value_parser(PossibleValuesParser::new(SEVERITIES))
                .help_heading("Running")
                .help("Exit with 1 when a row has this severity or a higher one"),
        );
    }
    out
}

/// What chooses processes, or rows by their names.
fn selection(analysis: &Analysis) -> Vec<Arg> {
    let arg = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Append).help_heading("Selection");
    let name = arg("name").short('n').value_name("TEXT");
    if !analysis.is_of_processes() {
        let name = name.help("Only rows with a name or path that contains this, ignoring case (repeatable)");
        return if analysis.names().next().is_some() { vec![name] } else { Vec::new() };
    }
    vec![
        arg("pid")
            .short('p')
            .value_name("PID")
            .value_delimiter(',')
            .value_parser(pid)
            .help("Only these processes (repeatable, or a list with commas)"),
        name.help("Only processes whose name contains this, ignoring case (repeatable)"),
        arg("offset").value_name("ADDRESS").value_delimiter(',').value_parser(number::address).help(
            "The process whose _EPROCESS lies there, on a list or not (psscan, psxview and triage show it; repeatable)",
        ),
    ]
}

/// Severities of findings, lowest first.
pub(super) const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// Whether an analysis' rows are findings.
pub(super) fn has_severity(analysis: &Analysis) -> bool {
    analysis.columns.iter().any(|c| c.key == "severity")
}

pub(super) fn format() -> Arg {
    Arg::new("format")
        .long("format")
        .short('f')
        .value_name("FORMAT")
        .value_parser(PossibleValuesParser::new(Format::ALL.map(Format::name)))
        .default_value(Format::Table.name())
        .help_heading("Output")
        .help("How rows are written; json is one array, jsonl one object a line")
}

/// Chooses columns, of an analysis that has any of its own.
fn chosen_columns(analysis: &Analysis) -> Option<Arg> {
    (!analysis.columns.is_empty()).then(|| {
        Arg::new("columns")
            .long("columns")
            .value_name("NAMES")
            .action(ArgAction::Append)
            .value_delimiter(',')
            .help_heading("Output")
            .help("Only these columns, in this order, in any format; the values of others are not read")
    })
}

fn output() -> [Arg; 6] {
    let arg = |name: &'static str| Arg::new(name).long(name).help_heading("Output");
    [
        format(),
        arg("output")
            .short('o')
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(clap::ValueHint::FilePath)
            .help("Write to a file, complete or not at all; an existing one is not touched"),
        arg("force").action(ArgAction::SetTrue).help("Let -o and --notes replace an existing file (never the dump)"),
        arg("wide").short('w').action(ArgAction::SetTrue).help("Tables show all columns, uncut"),
        arg("provenance")
            .value_name("WHAT")
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("rows")
            .value_parser(PossibleValuesParser::new(["rows", "fields"]))
            .hide_possible_values(true)
            .help("Add where each row stands: virtual, physical, file offset; =fields for each value too"),
        arg("notes")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .value_hint(clap::ValueHint::FilePath)
            .help("Write the notes there as JSON Lines, besides showing them on standard error"),
    ]
}

/// Where symbols come from.
pub(super) fn symbols() -> [Arg; 2] {
    [
        Arg::new("symbols")
            .long("symbols")
            .short('s')
            .value_name("DIR")
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .value_hint(clap::ValueHint::AnyPath)
            .help_heading("Symbols")
            .help("Look for PDB and ISF files here first (repeatable); then _NT_SYMBOL_PATH, cache, server")
            .long_help(
                "A folder (a symbol store, a Volatility pack, or files under any name) or a file to look in first, before \
                 _NT_SYMBOL_PATH, the cache and the server. A file that cannot be used (damaged, of another kernel, no symbol \
                 file) is named in a note with the reason, and the next place is asked. Where the dump does not name its PDB, \
                 as triage dumps do not, every kernel's symbols found here are held against the dump's own pointers.",
            ),
        Arg::new("offline")
            .long("offline")
            .action(ArgAction::SetTrue)
            .help_heading("Symbols")
            .help("Never use the network"),
    ]
}

/// The symbols that the user names.
fn pdb() -> Arg {
    Arg::new("pdb")
        .long("pdb")
        .value_name("GUID|FILE")
        .value_parser(chosen)
        .value_hint(clap::ValueHint::FilePath)
        .help_heading("Symbols")
        .help("Use the kernel symbols of this GUID and age, or this PDB or ISF file, whatever the dump names")
        .long_help(
            "Use the kernel symbols of this GUID and age (89284D0CA6ACC8274B9A44BD5AF9290B1, or \
             89284D0C-A6AC-C827-4B9A-44BD5AF9290B-1), or this PDB or ISF file, whatever the dump names. A note says so; where \
             the dump names another PDB the run ends with 4. Symbols that do not fit the dump are named and not used.",
        )
}

/// The page files that the user has.
fn page_file() -> Arg {
    Arg::new("page-file")
        .long("page-file")
        .value_name("[N=]FILE|DIR")
        .action(ArgAction::Append)
        .value_parser(given)
        .value_hint(clap::ValueHint::AnyPath)
        .help_heading("Memory")
        .help("A page file of the same machine: pages that were written to it are read out of it (repeatable)")
        .long_help(
            "A page file of the same machine and the same start of it (pagefile.sys, swapfile.sys): pages that were written to it are \
             read out of it. Which of the machine's page files it is, its name tells; where two are named alike, say the number Windows gave it \
             (0=pagefile.sys), as 'dumpwalk info' lists them. A folder stands for the files in it that are named as this machine's page files are. \
             Files beside the dump are not used unasked: a page file is saved at another time than the dump, and what is read \
             out of it is marked so (--provenance).",
        )
}

/// A path, or a page file's number and a path.
fn given(text: &str) -> Result<Given, String> {
    let (number, path) = match text.split_once('=') {
        Some((number, path)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => {
            let number = number.parse().ok().filter(|n| *n < 16);
            (Some(number.ok_or("Windows numbers its page files from 0 to 15")?), path)
        }
        _ => (None, text),
    };
    if path.is_empty() {
        return Err("no file is named".into());
    }
    Ok(Given { number, path: path.into() })
}

/// A file that exists, or GUID and age.
fn chosen(text: &str) -> Result<Chosen, String> {
    let path = PathBuf::from(text);
    if path.is_file() {
        return Ok(Chosen::File(path));
    }
    let id = manage::identity("ntkrnlmp.pdb", text);
    let id = id.map_err(|_| {
        format!("'{text}' is neither a file nor a GUID with its age (89284D0CA6ACC8274B9A44BD5AF9290B1)")
    })?;
    Ok(Chosen::Id { guid: id.guid, age: id.age })
}

pub(super) fn verbose() -> Arg {
    Arg::new("verbose")
        .long("verbose")
        .short('v')
        .action(ArgAction::Count)
        .help_heading("Running")
        .help("Say what is being done (-vv more, -vvv everything)")
}

/// A process id, decimal or `0x…`.
pub(super) fn pid(text: &str) -> Result<u64, String> {
    number::decimal(text).ok_or_else(|| format!("invalid process id '{text}': expected a number such as 1337 or 0x539"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }
    #[test]
    fn no_analysis_takes_a_reserved_word() {
        for analysis in ALL.iter() {
            assert!(!["analyses", "schema", "symbols", "completions", "man", "help"].contains(&analysis.name));
            for column in analysis.columns {
                assert!(!["absent", "place", "places", "section"].contains(&column.key), "{}", analysis.name);
                assert!(column.key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'));
            }
        }
    }
    #[test]
    fn symbols_are_named_by_guid_or_file() {
        let id = Chosen::Id { guid: "89284D0CA6ACC8274B9A44BD5AF9290B".into(), age: 0x1a };
        for text in ["89284D0CA6ACC8274B9A44BD5AF9290B1a", "{89284D0C-A6AC-C827-4B9A-44BD5AF9290B}-1a"] {
            assert_eq!(chosen(text), Ok(id.clone()), "{text}");
        }
        for text in ["", "89284D0CA6ACC8274B9A44BD5AF9290B", "no/such/file.pdb"] {
            assert!(chosen(text).is_err(), "{text}");
        }
        let file = std::env::current_exe().unwrap();
        assert_eq!(chosen(file.to_str().unwrap()), Ok(Chosen::File(file)));
    }
    #[test]
    fn page_files_are_paths_with_or_without_a_number() {
        let of = |text: &str| given(text).map(|g| (g.number, g.path.display().to_string()));
        assert_eq!(of("pagefile.sys"), Ok((None, "pagefile.sys".into())));
        assert_eq!(of("1=x/pagefile.sys"), Ok((Some(1), "x/pagefile.sys".into())));
        assert_eq!(of("evidence=1/pagefile.sys"), Ok((None, "evidence=1/pagefile.sys".into())));
        assert!(of("16=pagefile.sys").is_err() && of("0=").is_err() && of("").is_err());
    }
    #[test]
    fn process_ids_are_numbers() {
        assert_eq!(pid("1337"), Ok(1337));
        assert_eq!(pid("0x539"), Ok(1337));
        assert!(pid("-1").is_err() && pid("4x").is_err() && pid("").is_err());
    }
}
