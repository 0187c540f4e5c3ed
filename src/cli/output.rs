//! Where rows go: standard output, or a file that is there complete or not at all.

use super::interrupt;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

const BUFFER: usize = 256 * 1024;

/// An output being written.
pub(super) enum Output {
    /// Standard output.
    Standard,
    /// A device or pipe that was named: written as it is.
    Device(File),
    /// A new file beside its final name.
    File { temporary: NamedTempFile, path: PathBuf, force: bool },
}

impl Output {
    /// Opens the output, before any work is done. `inputs` are never overwritten, whatever is forced.
    pub(super) fn open(path: Option<&Path>, force: bool, input: &Path) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::Standard) };
        let failed = |source| Error::Usage(format!("cannot write {}: {source}", path.display()));
        match std::fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                return Err(Error::Usage(format!("cannot write {}: it is a directory", path.display())));
            }
            Ok(there) if !there.is_file() => {
                return Ok(Self::Device(File::options().write(true).open(path).map_err(failed)?));
            }
            Ok(_) => {
                let same = path.canonicalize().ok().zip(input.canonicalize().ok());
                if same.is_some_and(|(a, b)| a == b) {
                    return Err(Error::Usage(format!(
                        "{} is the dump itself: it is never overwritten",
                        path.display()
                    )));
                }
                if !force {
                    return Err(Error::Usage(format!("{} exists: --force replaces it", path.display())));
                }
            }
            Err(_) => {}
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".dumpwalk-").suffix(".part");
        // As any new file: the umask decides, not the privacy of temporary files.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let temporary = builder.tempfile_in(folder).map_err(failed)?;
        interrupt::remove_on_interrupt(temporary.path());
        Ok(Self::File { temporary, path: path.into(), force })
    }

    /// Whether a person is looking at it.
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self, Self::Standard) && io::stdout().is_terminal()
    }

    /// A buffered writer to it.
    pub(super) fn writer(&mut self) -> Result<Box<dyn Write + Send + '_>> {
        Ok(match self {
            // Translates colours for old consoles; a person reads no faster than it writes.
            Self::Standard if io::stdout().is_terminal() => Box::new(anstream::AutoStream::auto(io::stdout())),
            Self::Standard => Box::new(BufWriter::with_capacity(BUFFER, io::stdout())),
            Self::Device(file) => Box::new(BufWriter::with_capacity(BUFFER, file)),
            Self::File { temporary, .. } => Box::new(BufWriter::with_capacity(BUFFER, temporary.as_file_mut())),
        })
    }

    /// Everything is written: the file gets its name.
    pub(super) fn keep(self) -> Result<()> {
        let Self::File { temporary, path, force } = self else { return Ok(()) };
        let done = if force {
            temporary.persist(&path).map_err(|e| e.error)
        } else {
            // Fails when the name was taken meanwhile.
            temporary.persist_noclobber(&path).map_err(|e| e.error)
        };
        match done {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                Err(Error::Usage(format!("{} exists: --force replaces it", path.display())))
            }
            Err(e) => Err(e.into()),
        }
    }
}

/// Rows and notes go to two files: the second would replace the first. A device or pipe may take both.
///
/// # Errors
/// Both names lead to one file, whether it exists yet or not.
pub(super) fn two_files(rows: &Path, notes: &Path) -> Result<()> {
    let device = std::fs::metadata(rows).is_ok_and(|there| !there.is_file());
    if device || real(rows) != real(notes) {
        return Ok(());
    }
    Err(Error::Usage(format!("{} cannot hold both the rows and the notes: name two files", rows.display())))
}

/// The path without links and detours; of a file that is yet to be made, that of its folder.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name()?.to_str().map(str::to_owned);
        // Windows takes letters of either case for the same.
        let name = name.map(|n| if cfg!(windows) { n.to_lowercase() } else { n });
        Some(folder.canonicalize().ok()?.join(name?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_notes_are_two_files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let same = |a: &str, b: &str| two_files(&at(a), &at(b)).is_err();
        assert!(same("b", "b") && same("b", "./b"), "neither is there yet");
        assert!(!same("a", "b"));
        std::fs::write(at("a"), b"old").unwrap();
        assert!(same("a", "a"));
        std::fs::hard_link(at("a"), at("linked")).unwrap();
        assert!(!same("a", "linked"), "each gets its own new file under its own name");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
            assert!(same("a", "link"));
            assert!(two_files(Path::new("/dev/null"), Path::new("/dev/null")).is_ok());
        }
    }

    fn write(path: &Path, force: bool, input: &Path) -> Result<()> {
        let mut output = Output::open(Some(path), force, input)?;
        output.writer()?.write_all(b"new")?;
        output.keep()
    }

    #[test]
    fn files_are_complete_or_absent_and_never_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let (input, out) = (dir.path().join("in.dmp"), dir.path().join("out.json"));
        std::fs::write(&input, b"dump").unwrap();
        write(&out, false, &input).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"new");
        std::fs::write(&out, b"old").unwrap();
        assert!(matches!(write(&out, false, &input), Err(Error::Usage(_))));
        assert_eq!(std::fs::read(&out).unwrap(), b"old");
        write(&out, true, &input).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "no temporary file is left");
    }
    #[test]
    fn an_abandoned_output_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.json");
        let mut output = Output::open(Some(&out), false, Path::new("none")).unwrap();
        output.writer().unwrap().write_all(b"half").unwrap();
        drop(output);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
    #[test]
    fn the_dump_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let input = dir.path().join("in.dmp");
        std::fs::write(&input, b"dump").unwrap();
        let detour = dir.path().join(".").join("in.dmp");
        for force in [false, true] {
            assert!(matches!(write(&detour, force, &input), Err(Error::Usage(_))));
        }
        assert_eq!(std::fs::read(&input).unwrap(), b"dump");
    }
}
