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
mod output;
mod progress;
mod run;
mod symbols;
mod words;

pub use exit::Exit;
pub use words::command;

use std::ffi::OsString;

/// Does what the words ask and says how it went. Everything but data goes to standard error.
pub fn main(words: impl IntoIterator<Item = OsString>) -> Exit {
    let matches = match words::command().try_get_matches_from(words) {
        Ok(matches) => matches,
        Err(answer) => return exit::of_clap(&answer),
    };
    match run::run(&matches) {
        Ok(exit) => exit,
        Err(error) => exit::of_error(&error),
    }
}
