//! Exit codes, and how errors end a run.

use super::other_tools;
use crate::error::Error;
use crate::report::guard;
use clap::error::{ContextKind, ContextValue, ErrorKind as Misuse};
use std::io::ErrorKind;
use std::process::{ExitCode, Termination};

/// How a run ended, as scripts see it. `--help` and `docs/output.md` list the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for was answered. A reader that stopped reading (broken pipe) is no failure either.
    Done = 0,
    /// Findings at or above the severity of `--fail-on`.
    Findings = 1,
    /// The words of the command line make no sense, or the output may not be written there.
    Usage = 2,
    /// The dump cannot be read, holds no kernel that can be found, or its symbols are missing.
    Unreadable = 3,
    /// Answered, but rows or values may be missing: a note says which and why.
    Partial = 4,
    /// Writing the output failed.
    Output = 5,
    /// Interrupted (Ctrl-C).
    Interrupted = 130,
}

/// The table of `--help`.
pub(super) const HELP: &str = "\
Exit codes:
  0    answered (also when whoever read the output stopped reading)
  1    findings at or above the severity of --fail-on
  2    the command line makes no sense, or the output file may not be written
  3    the dump cannot be read, no kernel found in it, or no symbols for it
  4    answered, but a note says that rows or values may be missing
  5    writing the output failed
  130  interrupted";

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}

/// Prints clap's answer (help, version, or what was wrong) where it belongs. A word that another tool knows is translated.
pub(super) fn of_clap(answer: &clap::Error) -> Exit {
    if let (Misuse::InvalidSubcommand, Some(ContextValue::String(word))) =
        (answer.kind(), answer.get(ContextKind::InvalidSubcommand))
        && let Some((tool, ours)) = other_tools::known_as(word)
    {
        complain(&format!(
            "'{word}' is a name of {tool}: here it is 'dumpwalk {ours}'. 'dumpwalk from-volatility' lists more"
        ));
        return Exit::Usage;
    }
    match answer.print() {
        _ if answer.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Exit::Done,
        Err(_) => Exit::Output,
    }
}

/// Prints an error and gives its exit code.
pub(super) fn of_error(error: &anyhow::Error) -> Exit {
    let exit = code(error);
    if exit != Exit::Done {
        complain(&text(error));
    }
    exit
}

/// The error and its causes, each said once: some errors have their cause's text in their own.
fn text(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.ends_with(&cause) => said.to_owned(),
        said => format!("{said}: {cause}"),
    })
}

/// A message on standard error. Its line breaks are its own: what comes from a dump, a file or a server is in it with none.
/// All lines but the first are indented, so that whatever else stands in them is seen to belong to it.
pub(super) fn complain(text: &str) {
    use std::io::Write;
    // Nobody is left to tell if standard error is closed.
    let _ = std::io::stderr().write_all(message(text).as_bytes());
}

fn message(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| guard::visible(line)).collect();
    format!("dumpwalk: {}\n", lines.join("\n  "))
}

fn code(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            return if io.kind() == ErrorKind::BrokenPipe { Exit::Done } else { Exit::Output };
        }
        match cause.downcast_ref::<Error>() {
            Some(Error::Output(io)) if io.kind() == ErrorKind::BrokenPipe => return Exit::Done,
            Some(Error::Output(_)) => return Exit::Output,
            Some(Error::Usage(_)) => return Exit::Usage,
            Some(_) => return Exit::Unreadable,
            None => {}
        }
    }
    Exit::Unreadable
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_broken_pipe_is_success() {
        let pipe = || Error::Output(io::Error::from(ErrorKind::BrokenPipe));
        assert_eq!(code(&pipe().into()), Exit::Done);
        assert_eq!(code(&anyhow::Error::from(pipe()).context("writing")), Exit::Done);
        assert_eq!(code(&Error::Output(io::Error::from(ErrorKind::StorageFull)).into()), Exit::Output);
    }
    #[test]
    fn messages_keep_their_lines_and_no_others() {
        let text = format!("tried:\n  a: {}\n\u{1b}[2Jb", crate::error::one_line("x\ndumpwalk: fine"));
        assert_eq!(message(&text), "dumpwalk: tried:\n    a: x<U+000A>dumpwalk: fine\n  <U+001B>[2Jb\n");
        assert_eq!(message("one"), "dumpwalk: one\n");
    }
    #[test]
    fn a_cause_is_said_once() {
        let source = io::Error::new(ErrorKind::NotFound, "no such file");
        let error = anyhow::Error::from(Error::Io { path: "a.dmp".into(), source });
        assert_eq!(text(&error), "a.dmp: no such file");
        assert_eq!(text(&error.context("reading")), "reading: a.dmp: no such file");
    }
    #[test]
    fn each_failure_has_its_code() {
        assert_eq!(code(&Error::Usage("x".into()).into()), Exit::Usage);
        assert_eq!(code(&Error::NoKernel("x".into()).into()), Exit::Unreadable);
        let source = io::Error::from(ErrorKind::NotFound);
        assert_eq!(code(&Error::Io { path: "a".into(), source }.into()), Exit::Unreadable);
    }
}
