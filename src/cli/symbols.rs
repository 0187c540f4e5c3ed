//! `dumpwalk symbols`: what is at hand, fetching for another machine, importing, showing.

use super::exit::Exit;
use super::progress::Bar;
use super::{job, logging, words};
use crate::analysis::OpenOptions;
use crate::dump::Dump;
use crate::error::{Error, Result, in_one_line};
use crate::kernel::find;
use crate::report::{Cell, Column, Kind, Report, Row, Sink, Style, col, guard};
use crate::symbols::manage::{self, Wanted};
use crate::symbols::store::{MICROSOFT, Store, checked_image, image_address};
use crate::symbols::{ImageId, PdbId, Stage, SymbolSource, Symbols, file};
use crate::value::{Absent, Note};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The words.
pub(super) fn command() -> Command {
    let paths = |name: &'static str| {
        Arg::new(name)
            .num_args(1..)
            .action(ArgAction::Append)
            .value_parser(value_parser!(PathBuf))
            .value_hint(clap::ValueHint::AnyPath)
    };
    let sub = |name: &'static str, about: &'static str| {
        Command::new(name).about(about).args(words::symbols()).arg(words::verbose())
    };
    Command::new("symbols")
        .about("List, fetch, import and show symbols")
        .long_about(
            "What a kernel's names mean comes from its PDB. dumpwalk finds it by itself where it can; these commands are \
             for machines without network, for packs of symbols, and for looking up a structure.\n\n  \
             dumpwalk symbols list memory.dmp              which PDB a dump needs, and where it would come from\n  \
             dumpwalk symbols fetch memory.dmp -o usb      fetch it into a folder, for --symbols usb elsewhere\n  \
             dumpwalk symbols import pack/                 take PDB or ISF files into the cache\n  \
             dumpwalk symbols show _EPROCESS memory.dmp    show a structure as a debugger does",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            sub("list", "List the symbols at hand, or which PDB each dump needs")
                .arg(paths("dumps").value_name("DUMP").help("Say which PDB these dumps need, and where it would come from"))
                .arg(words::format()),
        )
        .subcommand(
            sub("fetch", "Fetch PDBs into a folder, for a machine without network")
                .arg(
                    Arg::new("what")
                        .value_name("DUMP|GUID")
                        .required(true)
                        .num_args(1..)
                        .value_parser(value_parser!(std::ffi::OsString))
                        .help("Dumps that need them, or GUIDs with age (89284D0CA6ACC8274B9A44BD5AF9290B1)")
                        .long_help(
                            "Dumps that need them, or GUIDs with age (89284D0CA6ACC8274B9A44BD5AF9290B1). A triage dump does not \
                             name its kernel's PDB but the kernel's image, by time stamp and size: the image is fetched first, \
                             and its debug directory names the PDB.",
                        ),
                )
                .arg(
                    Arg::new("pdb")
                        .long("pdb")
                        .value_name("NAME")
                        .default_value("ntkrnlmp.pdb")
                        .help("The name of the PDB that a GUID is of"),
                )
                .arg(
                    Arg::new("output")
                        .long("output")
                        .short('o')
                        .value_name("DIR")
                        .default_value("symbols")
                        .value_parser(value_parser!(PathBuf))
                        .help("The folder; it gets the layout of a symbol store"),
                ),
        )
        .subcommand(
            sub("import", "Take PDB and Volatility symbol files into the cache").arg(
                paths("files").value_name("FILE|DIR").required(true).help("PDB, .pd_, ISF .json, .json.xz, or folders of them"),
            ),
        )
        .subcommand(
            sub("show", "Show a type, an enumeration or a global")
                .arg(
                    Arg::new("what")
                        .value_name("NAME")
                        .required(true)
                        .help("_EPROCESS, _EPROCESS.Pcb, _KTHREAD_STATE, PsActiveProcessHead; * and ? list names"),
                )
                .arg(
                    Arg::new("of")
                        .value_name("DUMP|FILE|GUID")
                        .required(true)
                        .value_parser(value_parser!(std::ffi::OsString))
                        .help("Of the kernel in a dump, of a PDB or ISF file, or of a GUID with age"),
                ),
        )
}

/// Does `dumpwalk symbols …`.
pub(super) fn run(matches: &ArgMatches) -> Result<Exit> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(Exit::Usage) };
    logging::start(matches.get_count("verbose"));
    let options = OpenOptions {
        symbols: matches.get_many::<PathBuf>("symbols").into_iter().flatten().cloned().collect(),
        offline: matches.get_flag("offline"),
        ..OpenOptions::default()
    };
    let bar = Bar::start(&options.progress);
    let store = options.store();
    match name {
        "list" => {
            let dumps: Vec<&PathBuf> = matches.get_many::<PathBuf>("dumps").into_iter().flatten().collect();
            let style = Style { format: job::format(matches), ..Style::default() };
            if dumps.is_empty() { at_hand(&store, style, &bar) } else { needed(&store, &dumps, style, &bar) }
        }
        "fetch" => fetch(&store, matches),
        "import" => import(&store, matches),
        _ => show(&store, matches, &bar),
    }
}

const AT_HAND: &[Column] = &[
    col("where", Kind::Text, "cache, folder or built-in."),
    col("name", Kind::Text, "The PDB's name, or the kernel's file."),
    col("version", Kind::Text, "The kernel's version, where it is known."),
    col("machine", Kind::Text, "The processor."),
    col("key", Kind::Text, "GUID and age."),
    col("path", Kind::Text, "The file."),
    col("problem", Kind::Text, "What is wrong with it."),
];

fn or_absent<T: Into<String>>(value: Option<T>) -> Cell {
    value.map_or(Cell::Absent(Absent::NotApplicable), |v| Cell::from(v.into()))
}

fn at_hand(store: &Store, style: Style, bar: &Bar) -> Result<Exit> {
    let mut report = Report::new(bar.hidden_by(Box::new(io::stdout())), AT_HAND, style);
    for found in manage::list(store) {
        report.row(Row::new(vec![
            found.at.word().into(),
            found.name.into(),
            or_absent(found.version),
            or_absent(found.machine.map(crate::symbols::Machine::word)),
            or_absent(found.id.map(|id| id.key())),
            or_absent(found.path.map(|p| p.display().to_string())),
            or_absent(found.problem),
        ]))?;
    }
    report.finish()?;
    Ok(Exit::Done)
}

const NEEDED: &[Column] = &[
    col("dump", Kind::Text, "The dump."),
    col("pdb", Kind::Text, "The PDB its kernel was built with."),
    col("key", Kind::Text, "GUID and age."),
    col("from", Kind::Text, "Where its symbols would come from without asking a server."),
    col("url", Kind::Text, "Where Microsoft's symbol server has it."),
    col("problem", Kind::Text, "Why nothing can be said."),
];

fn needed(store: &Store, dumps: &[&PathBuf], style: Style, bar: &Bar) -> Result<Exit> {
    let mut report = Report::new(bar.hidden_by(Box::new(io::stdout())), NEEDED, style);
    let mut exit = Exit::Done;
    for path in dumps {
        let name = || Cell::from(path.display().to_string());
        let wanted = wanted_by(store, path);
        if wanted.is_err() {
            exit = Exit::Unreadable;
        }
        match wanted.and_then(|ids| ids.iter().map(|id| manage::at_hand(store, id)).collect::<Result<Vec<_>>>()) {
            Ok(found) => {
                for one in found {
                    let none = || or_absent(None::<String>);
                    report.row(Row::new(vec![
                        name(),
                        one.id.name.clone().into(),
                        one.id.key().into(),
                        or_absent(one.from),
                        one.url.into(),
                        none(),
                    ]))?;
                }
            }
            Err(error) => {
                let mut cells = vec![name()];
                cells.extend((0..4).map(|_| or_absent(None::<String>)));
                cells.push(in_one_line(&error.to_string()).into());
                report.row(Row::new(cells))?;
            }
        }
    }
    report.finish()?;
    Ok(exit)
}

/// The PDBs that opening a dump asks for.
fn wanted_by(store: &Store, path: &Path) -> Result<Vec<PdbId>> {
    match asked_by(path)? {
        (ids, _) if !ids.is_empty() => Ok(ids),
        (_, images) => {
            let known = images.iter().find_map(|image| store.named_by(image, Stage::Files).ok());
            known.map(|id| vec![id]).ok_or_else(|| Error::NoSymbols(by_image(&images)))
        }
    }
}

/// The PDBs that opening a dump asks for, and the images whose PDB it asks for.
fn asked_by(path: &Path) -> Result<(Vec<PdbId>, Vec<ImageId>)> {
    let dump = Arc::new(Dump::open(path)?);
    let wanted = Wanted::default();
    let found = find::find(&dump, &wanted);
    let (mut asked, images) = (wanted.asked(), wanted.images());
    asked.sort();
    asked.dedup();
    match found {
        Err(why) if asked.is_empty() && images.is_empty() => Err(Error::NoKernel(why)),
        _ => Ok((asked, images)),
    }
}

/// What leads to the PDB of a kernel whose debug record is not in the dump.
fn by_image(images: &[ImageId]) -> String {
    let none = "the dump does not hold the record that names the kernel's PDB";
    match images.first().and_then(|image| checked_image(image).ok()) {
        Some(image) => {
            format!("{none}; `symbols fetch` finds it by the image: {}", image_address(MICROSOFT, &image))
        }
        None => none.into(),
    }
}

fn fetch(store: &Store, matches: &ArgMatches) -> Result<Exit> {
    let pdb = matches.get_one::<String>("pdb").map_or("ntkrnlmp.pdb", String::as_str);
    let into = matches.get_one::<PathBuf>("output").cloned().unwrap_or_default();
    for what in matches.get_many::<std::ffi::OsString>("what").into_iter().flatten() {
        for id in to_fetch(store, what, pdb, &into)? {
            let path = manage::fetch(store, &id, &into)?;
            writeln!(io::stdout(), "{}", guard::visible(&path.display().to_string()))?;
        }
    }
    Ok(Exit::Done)
}

/// What to fetch for a word. Of a dump that does not name its PDB, the kernel's image is fetched first: that names it.
fn to_fetch(store: &Store, what: &std::ffi::OsStr, pdb: &str, into: &Path) -> Result<Vec<PdbId>> {
    let path = Path::new(what);
    if !path.exists() {
        return identities(store, what, pdb);
    }
    let (ids, images) = asked_by(path)?;
    match images.first() {
        Some(image) if ids.is_empty() => Ok(vec![manage::fetch_image(store, image, into)?]),
        _ if ids.is_empty() => Err(Error::NoSymbols(by_image(&images))),
        _ => Ok(ids),
    }
}

/// A word is a dump when there is such a file, else a GUID with its age.
fn identities(store: &Store, what: &std::ffi::OsStr, pdb: &str) -> Result<Vec<PdbId>> {
    let path = Path::new(what);
    if path.exists() {
        return wanted_by(store, path);
    }
    let text = what.to_str().unwrap_or_default();
    manage::identity(pdb, text).map(|id| vec![id]).map_err(|_| {
        Error::Usage(format!(
            "{} is neither a file nor a GUID with its age (89284D0CA6ACC8274B9A44BD5AF9290B1)",
            path.display()
        ))
    })
}

fn import(store: &Store, matches: &ArgMatches) -> Result<Exit> {
    let cache = store
        .options()
        .cache
        .as_ref()
        .ok_or_else(|| Error::Usage("there is no cache to import into: set DUMPWALK_CACHE to a folder".into()))?;
    let mut exit = Exit::Done;
    for path in matches.get_many::<PathBuf>("files").into_iter().flatten() {
        for one in manage::import(cache, path)? {
            match one.result {
                // Names of files and PDBs are not of this machine's making.
                Ok(id) => {
                    let line = format!("{}  {} {}", one.path.display(), id.name, id.key());
                    writeln!(io::stdout(), "{}", guard::visible(&line))?;
                }
                // It names the file.
                Err(error) => {
                    super::exit::complain(&error.to_string());
                    exit = Exit::Partial;
                }
            }
        }
    }
    Ok(exit)
}

fn show(store: &Store, matches: &ArgMatches, bar: &Bar) -> Result<Exit> {
    let what = matches.get_one::<String>("what").map_or("", String::as_str);
    let of = matches.get_one::<std::ffi::OsString>("of").cloned().unwrap_or_default();
    let (symbols, notes) = symbols_of(store, &of)?;
    let text = manage::show(&symbols, what)?;
    let mut out = bar.hidden_by(Box::new(io::stdout()));
    // Names of a PDB are not of this machine's making either.
    for line in text.lines() {
        writeln!(out, "{}", guard::visible(line))?;
    }
    out.flush()?;
    for note in notes {
        let _ = writeln!(io::stderr(), "note: {}", guard::visible(&note.text));
    }
    let _ = writeln!(io::stderr(), "note: symbols from {}", guard::visible(&symbols.origin));
    Ok(Exit::Done)
}

/// The symbols of a PDB or ISF file, of a dump's kernel, or of an identity.
fn symbols_of(store: &Store, of: &std::ffi::OsStr) -> Result<(Symbols, Vec<Note>)> {
    let path = Path::new(of);
    if !path.exists() {
        let id = identities(store, of, "ntkrnlmp.pdb")?;
        let id = id.first().ok_or_else(|| Error::Usage("no identity is given".into()))?;
        return Ok((store.load(id)?, Vec::new()));
    }
    match file::read(path) {
        Ok(symbols) => return Ok((symbols, Vec::new())),
        // Symbols by their first bytes are no dump: why they are refused is the answer.
        Err(error) if file::kind(path).is_some() => return Err(error),
        Err(_) => {}
    }
    let dump = Arc::new(Dump::open(path)?);
    let kernel = find::find(&dump, store).map_err(Error::NoKernel)?;
    Ok((kernel.symbols, kernel.notes))
}
