//! Files of others: opened only when they are regular files, without waiting.
//!
//! A folder of symbols or a path in a script may name a pipe that nobody writes to, a device that never ends, or a link to
//! one. None of them is evidence or a symbol file, and reading one would wait or go on for ever.

use std::fs::File;
use std::io::{Error, ErrorKind, Result};
use std::path::Path;

/// Opens a regular file for reading; links are followed.
///
/// # Errors
/// What the system says, or [`ErrorKind::InvalidInput`] with the kind of file it is.
pub fn open(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true);
    // Opening a pipe would wait for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    if std::fs::metadata(path)?.is_dir() {
        return Err(refused("a directory"));
    }
    let file = options.open(path)?;
    let meta = file.metadata()?;
    if meta.is_file() { Ok(file) } else { Err(refused(kind(&meta))) }
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("{what}: only regular files are read"))
}

#[cfg(unix)]
fn kind(meta: &std::fs::Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt as _;
    let of = meta.file_type();
    match () {
        () if of.is_fifo() => "a pipe",
        () if of.is_char_device() || of.is_block_device() => "a device",
        () if of.is_socket() => "a socket",
        () => "not a regular file",
    }
}

#[cfg(not(unix))]
fn kind(_: &std::fs::Metadata) -> &'static str {
    "not a regular file"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_regular_files_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open(dir.path()).unwrap_err().to_string().starts_with("a directory"));
        assert_eq!(open(&dir.path().join("none")).unwrap_err().kind(), ErrorKind::NotFound);
        let file = dir.path().join("file");
        std::fs::write(&file, b"dump").unwrap();
        assert_eq!(open(&file).unwrap().metadata().unwrap().len(), 4);
        #[cfg(unix)]
        {
            let said = |path: &Path| open(path).unwrap_err().to_string();
            assert!(said(Path::new("/dev/zero")).starts_with("a device"));
            let (link, pipe) = (dir.path().join("link.pdb"), dir.path().join("pipe.json"));
            std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
            assert!(said(&link).starts_with("a device"));
            assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
            assert!(said(&pipe).starts_with("a pipe"));
        }
    }
}
