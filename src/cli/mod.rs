//! The command line: words → job → exit code.
//!
//! Two steps keep what was typed apart from what is needed: [`words`] declares the words and reads them as typed,
//! [`job`] turns them into a [`job::Job`] that can be done, or says why they make no sense together. [`run`] does it.
//! Analyses are not known here by name: their subcommands, switches and help come from [`crate::analysis::ALL`].

mod docs;
mod exit;
mod interrupt;
mod job;
mod logging;
mod other_tools;
mod output;
mod progress;
mod run;
mod symbols;
mod words;

pub use exit::Exit;
pub use words::command;

use std::ffi::OsString;
use std::path::Path;

/// Does what the words ask and says how it went. Everything but data goes to standard error.
pub fn main(words: impl IntoIterator<Item = OsString>) -> Exit {
    let matches = match words::command().try_get_matches_from(with_default(words.into_iter().collect())) {
        Ok(matches) => matches,
        Err(answer) => return exit::of_clap(&answer),
    };
    match run::run(&matches) {
        Ok(exit) => exit,
        Err(error) => exit::of_error(&error),
    }
}

/// A file in place of the subcommand is a dump to look at: `dumpwalk memory.dmp` is `dumpwalk triage memory.dmp`.
fn with_default(mut words: Vec<OsString>) -> Vec<OsString> {
    let is_subcommand = |word: &OsString| word.to_str().is_some_and(|w| words::command().find_subcommand(w).is_some());
    let names_file = |word: &OsString| Path::new(word).is_file() && !is_subcommand(word);
    if words.get(1).is_some_and(names_file) {
        words.insert(1, "triage".into());
    }
    words
}
