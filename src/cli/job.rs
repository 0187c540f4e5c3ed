//! What was typed → what is needed: everything decided once, before anything is opened.

use super::words;
use crate::addr::Va;
use crate::analysis::{Analysis, Ask, OpenOptions};
use crate::error::{Error, Result};
use crate::kernel::paged::Given;
use crate::progress::Progress;
use crate::report::{Format, Provenance, Wanted};
use crate::symbols::Chosen;
use clap::ArgMatches;
use std::ffi::OsString;
use std::path::PathBuf;

/// One analysis of one dump, ready to be done.
#[derive(Debug)]
pub(super) struct Job {
    pub analysis: &'static Analysis,
    pub dump: PathBuf,
    pub open: OpenOptions,
    pub ask: Ask,
    /// Only rows with a name that contains one of these, in lower case; all where there are none.
    pub rows: Vec<String>,
    /// The columns shown, in this order; `None` for all.
    pub columns: Option<Vec<&'static str>>,
    pub format: Format,
    pub wide: bool,
    pub provenance: Provenance,
    /// Where rows go; `None` for standard output.
    pub output: Option<PathBuf>,
    pub notes: Option<PathBuf>,
    pub force: bool,
    /// Zero for one a processor.
    pub threads: usize,
    /// The least severity (its index) that makes the run fail.
    pub fail_on: Option<usize>,
    pub verbose: bool,
}

impl Job {
    pub(super) fn new(analysis: &'static Analysis, words: &ArgMatches) -> Result<Self> {
        let (dump, mut pids) = dump_and_pids(words.get_many::<OsString>("dump").into_iter().flatten())?;
        pids.extend(numbers(words, "pid"));
        let names: Vec<String> = words.try_get_many("name").ok().flatten().into_iter().flatten().cloned().collect();
        // Of the machine's own things, names choose rows.
        let (names, rows) = if analysis.is_of_processes() { (names, Vec::new()) } else { (Vec::new(), names) };
        if let (Some(pid), false) = (pids.first(), analysis.is_of_processes()) {
            return Err(Error::Usage(format!(
                "{} is not about processes: it takes no process id ({pid})",
                analysis.name
            )));
        }
        let columns = columns(analysis, words)?;
        let provenance = match text(words, "provenance") {
            None => Provenance::None,
            Some("fields") => Provenance::Fields,
            Some(_) => Provenance::Rows,
        };
        let mut switches = Vec::new();
        for switch in analysis.switches {
            if switch.value.is_some() {
                for value in words.get_many::<String>(switch.name).into_iter().flatten() {
                    switches.push((switch.name, value.clone()));
                }
            } else if words.get_flag(switch.name) {
                switches.push((switch.name, String::new()));
            }
        }
        let given = |wanted: &str| switches.iter().any(|(name, _)| *name == wanted);
        let format = match () {
            () if given("body") => Format::Body,
            () if given("raw") => Format::Raw,
            () => format(words),
        };
        if columns.is_some() && !format.has_columns() {
            return Err(Error::Usage("--columns: --body and --raw write columns of their own, or none".into()));
        }
        let fail_on = words::has_severity(analysis).then(|| text(words, "fail-on")).flatten();
        let progress = Progress::default();
        Ok(Self {
            analysis,
            dump,
            open: OpenOptions {
                symbols: words.get_many::<PathBuf>("symbols").into_iter().flatten().cloned().collect(),
                pdb: words.get_one::<Chosen>("pdb").cloned(),
                offline: words.get_flag("offline"),
                page_files: words.get_many::<Given>("page-file").into_iter().flatten().cloned().collect(),
                isolated: false,
                progress: progress.clone(),
            },
            rows: rows.iter().map(|name| name.to_lowercase()).collect(),
            ask: Ask {
                pids,
                names,
                offsets: numbers(words, "offset").map(Va).collect(),
                rows: Wanted {
                    places: provenance == Provenance::Fields,
                    columns: columns.as_ref().map(|shown| {
                        // What is looked at besides: names for a filter, severities for the exit code.
                        let names = analysis.names().filter_map(|i| analysis.columns.get(i)).map(|c| c.key);
                        let filter = names.filter(|_| !rows.is_empty());
                        shown.iter().copied().chain(filter).chain(fail_on.map(|_| "severity")).collect()
                    }),
                    // A filter looks at names that a table does not show.
                    brief: format == Format::Table && !words.get_flag("wide") && rows.is_empty() && columns.is_none(),
                },
                switches,
                brief: format == Format::Table,
                progress,
            },
            columns,
            format,
            wide: words.get_flag("wide"),
            provenance,
            output: words.get_one::<PathBuf>("output").filter(|p| p.as_os_str() != "-").cloned(),
            notes: words.get_one::<PathBuf>("notes").cloned(),
            force: words.get_flag("force"),
            threads: words.get_one::<u16>("threads").copied().unwrap_or(0).into(),
            fail_on: fail_on.and_then(|s| words::SEVERITIES.iter().position(|x| *x == s)),
            verbose: words.get_count("verbose") > 0,
        })
    }
}

/// The columns asked for, as the analysis knows them.
fn columns(analysis: &'static Analysis, words: &ArgMatches) -> Result<Option<Vec<&'static str>>> {
    let Some(asked) = words.try_get_many::<String>("columns").ok().flatten() else { return Ok(None) };
    let known = |name: &String| {
        let found = analysis.columns.iter().find(|c| c.key == name.trim());
        found.map(|c| c.key).ok_or_else(|| {
            let all: Vec<&str> = analysis.columns.iter().map(|c| c.key).collect();
            Error::Usage(format!("--columns {name}: {} has no such column; it has {}", analysis.name, all.join(", ")))
        })
    };
    asked.map(known).collect::<Result<_>>().map(Some)
}

/// The format asked for.
pub(super) fn format(words: &ArgMatches) -> Format {
    let name = text(words, "format");
    Format::ALL.into_iter().find(|f| Some(f.name()) == name).unwrap_or_default()
}

/// Numbers of an option that not every analysis has.
fn numbers<'m>(words: &'m ArgMatches, name: &str) -> impl Iterator<Item = u64> + 'm {
    words.try_get_many::<u64>(name).ok().flatten().into_iter().flatten().copied()
}

fn text<'m>(words: &'m ArgMatches, name: &str) -> Option<&'m str> {
    words.get_one::<String>(name).map(String::as_str)
}

/// One word is the dump, numbers beside it are process ids.
fn dump_and_pids<'m>(given: impl Iterator<Item = &'m OsString>) -> Result<(PathBuf, Vec<u64>)> {
    let given: Vec<&OsString> = given.collect();
    if let [dump] = given.as_slice() {
        return Ok((dump.into(), Vec::new()));
    }
    let (mut dump, mut pids) = (None, Vec::new());
    for word in given {
        match word.to_str().and_then(|w| words::pid(w).ok()) {
            Some(pid) => pids.push(pid),
            None if dump.is_none() => dump = Some(PathBuf::from(word)),
            None => {
                return Err(Error::Usage(format!(
                    "one dump at a time: both {} and {} are given",
                    dump.unwrap_or_default().display(),
                    word.display()
                )));
            }
        }
    }
    match dump {
        Some(dump) => Ok((dump, pids)),
        None => {
            Err(Error::Usage("no dump is given, only process ids; a dump named like a number is written ./1337".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(words: &[&str]) -> Result<(PathBuf, Vec<u64>)> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        dump_and_pids(words.iter())
    }

    #[test]
    fn numbers_beside_the_dump_are_process_ids() {
        assert_eq!(split(&["a.dmp"]).unwrap(), ("a.dmp".into(), vec![]));
        assert_eq!(split(&["7"]).unwrap(), ("7".into(), vec![]));
        assert_eq!(split(&["1337", "a.dmp", "0x10"]).unwrap(), ("a.dmp".into(), vec![1337, 16]));
        assert_eq!(split(&["./1337", "4"]).unwrap(), ("./1337".into(), vec![4]));
    }
    #[test]
    fn one_dump_and_not_none() {
        assert!(matches!(split(&["a.dmp", "b.dmp"]), Err(Error::Usage(_))));
        assert!(matches!(split(&["1", "2"]), Err(Error::Usage(_))));
    }
}
