//! Files and paths as workstations have them, Linux and Windows: blanks, any letter, backslashes, prefixes, more than 260
//! characters; read-only, sparse, larger than 4 GiB, open in another program. The built binary, with no right beyond
//! reading the dump and writing a cache.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A copy of a crash dump among the samples, under any name; `None` without samples.
fn copy_to(to: &Path) -> Option<()> {
    let all = common::samples();
    let sample = all.iter().find(|s| s.name == "win10-22h2/full").or(all.first())?;
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(&sample.path, to).unwrap();
    Some(())
}

fn dumpwalk(words: &[&OsStr]) -> Command {
    let mut out = Command::new(env!("CARGO_BIN_EXE_dumpwalk"));
    out.args(words).env_remove("_NT_SYMBOL_PATH");
    out.env("DUMPWALK_CACHE", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache-of-none"));
    out
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The rows of `pslist`, offline, with the built-in layouts.
fn pslist(dump: &OsStr) -> String {
    let words = ["pslist".as_ref(), dump, "--offline".as_ref(), "-f".as_ref(), "csv".as_ref()];
    let Output { status, stdout, stderr } = dumpwalk(&words).output().unwrap();
    assert!(status.success(), "{}: {}", dump.display(), String::from_utf8_lossy(&stderr));
    text(stdout)
}

/// What every path to the same dump must answer.
fn expected() -> Option<(tempfile::TempDir, PathBuf, String)> {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain.dmp");
    copy_to(&plain)?;
    let rows = pslist(plain.as_os_str());
    assert!(rows.contains(",System,") && !rows.contains('\r'), "{rows}");
    Some((dir, plain, rows))
}

#[test]
fn names_may_hold_blanks_and_any_letter() {
    let Some((dir, plain, rows)) = expected() else { return };
    for name in
        ["two words.dmp", "prüfung.dmp", "память дамп.dmp", "メモリ.dmp", "a'b&c(1)%d.dmp", "-f.dmp", "no extension"]
    {
        let path = dir.path().join("Fälle 2024").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(&plain, &path).unwrap();
        assert_eq!(pslist(path.as_os_str()), rows, "{name}");
    }
}

#[test]
fn paths_may_be_longer_than_260_characters() {
    let Some((dir, plain, rows)) = expected() else { return };
    let deep = (0..8).fold(dir.path().to_path_buf(), |p, i| p.join(format!("{i}-{}", "folder".repeat(8))));
    std::fs::create_dir_all(&deep).unwrap();
    let path = deep.join("memory.dmp");
    std::fs::copy(&plain, &path).unwrap();
    assert!(path.as_os_str().len() > 300);
    assert_eq!(pslist(path.as_os_str()), rows);
    let out = deep.join("processes.csv");
    let words = [
        "pslist".as_ref(),
        path.as_os_str(),
        "--offline".as_ref(),
        "-f".as_ref(),
        "csv".as_ref(),
        "-o".as_ref(),
        out.as_os_str(),
    ];
    assert!(dumpwalk(&words).status().unwrap().success());
    assert_eq!(std::fs::read_to_string(&out).unwrap(), rows, "the same bytes in a file, line ends included");
}

#[test]
fn read_only_dumps_are_read_and_stay_so() {
    let Some((_dir, plain, rows)) = expected() else { return };
    let mut rights = plain.metadata().unwrap().permissions();
    rights.set_readonly(true);
    std::fs::set_permissions(&plain, rights.clone()).unwrap();
    assert_eq!(pslist(plain.as_os_str()), rows);
    assert!(plain.metadata().unwrap().permissions().readonly());
    #[allow(clippy::permissions_set_readonly_false, reason = "Windows deletes no read-only file")]
    rights.set_readonly(false);
    std::fs::set_permissions(&plain, rights).unwrap();
}

/// Another program reads the dump, and on Windows lets others read only.
#[test]
fn dumps_open_in_another_program_are_read() {
    let Some((_dir, plain, rows)) = expected() else { return };
    let mut options = std::fs::File::options();
    options.read(true);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(&mut options, 1); // FILE_SHARE_READ
    let held = options.open(&plain).unwrap();
    assert_eq!(pslist(plain.as_os_str()), rows);
    drop(held);
}

/// A dump of 64 GiB is mapped, not read: the same answer as for the pages it has, in the time those take. The file is sparse;
/// where the file system has no holes and no room, this says so.
#[test]
fn a_dump_of_64_gib_is_address_space_only() {
    let Some((_dir, plain, rows)) = expected() else { return };
    const SIZE: u64 = 64 << 30;
    let file = std::fs::File::options().write(true).open(&plain).unwrap();
    if let Err(e) = file.set_len(SIZE) {
        println!("skipped: no sparse file of 64 GiB here: {e}");
        return;
    }
    drop(file);
    assert_eq!(plain.metadata().unwrap().len(), SIZE);
    let begun = std::time::Instant::now();
    assert_eq!(pslist(plain.as_os_str()), rows);
    assert!(begun.elapsed().as_secs() < 60, "{:?}: what is not asked for is not read", begun.elapsed());
}

/// The cache lies where the system keeps such things for the user, in the layout of a symbol store.
#[test]
fn the_cache_lies_in_the_users_own_folder() {
    let dir = tempfile::tempdir().unwrap();
    let Some(sample) = common::samples().into_iter().find(|s| s.name == "win10-22h2/full") else { return };
    let variable = if cfg!(windows) { "LOCALAPPDATA" } else { "XDG_CACHE_HOME" };
    let words: [&OsStr; 5] =
        ["pslist".as_ref(), sample.path.as_ref(), "--offline".as_ref(), "--symbols".as_ref(), sample.symbols.as_ref()];
    let mut command = dumpwalk(&words);
    let done = command.env_remove("DUMPWALK_CACHE").env(variable, dir.path()).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let names = dir.path().join("dumpwalk").join("compact").join("ntkrnlmp.pdb");
    let mut found: Vec<OsString> = std::fs::read_dir(names).unwrap().map(|e| e.unwrap().file_name()).collect();
    found.sort();
    assert_eq!(found, ["89284D0CA6ACC8274B9A44BD5AF9290B1.from", "89284D0CA6ACC8274B9A44BD5AF9290B1.sym"]);
}

/// Nobody in particular may run it: not root, no home, no cache that can be written.
#[cfg(unix)]
#[test]
fn no_rights_are_needed_but_to_read_the_dump() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let Some((dir, plain, rows)) = expected() else { return };
    let program = dir.path().join("dumpwalk");
    std::fs::copy(env!("CARGO_BIN_EXE_dumpwalk"), &program).unwrap();
    for path in [dir.path(), &program, &plain] {
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o555)).unwrap();
    }
    let mut command = Command::new(&program);
    command.env_clear().args(["pslist", "plain.dmp", "--offline", "-f", "csv"]).current_dir(dir.path());
    // The numbers of `nobody` and its group on every Linux: beyond any user.
    let done = match command.uid(65534).gid(65534).output() {
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: only root may become somebody else");
            return;
        }
        done => done.unwrap(),
    };
    assert_eq!(text(done.stdout), rows, "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0));
}

#[cfg(windows)]
mod on_windows {
    use super::*;
    use std::io::Read;
    use std::process::Stdio;

    /// A share by its name, plain and with the prefix. Without such a share it is refused in one line that names it.
    #[test]
    fn shares_are_read_or_refused_by_name() {
        let Some((_dir, plain, rows)) = expected() else { return };
        let plain = plain.to_str().unwrap();
        let (drive, rest) = plain.split_once(":\\").unwrap();
        // The share that Windows has for each drive.
        for path in [format!(r"\\localhost\{drive}$\{rest}"), format!(r"\\?\UNC\localhost\{drive}$\{rest}")] {
            if std::fs::metadata(&path).is_ok() {
                println!("read: {path}");
                assert_eq!(pslist(path.as_ref()), rows, "{path}");
            } else {
                println!("no such share here: {path}");
            }
        }
        for path in [r"\\localhost\nosuch$\memory.dmp", r"\\?\UNC\localhost\nosuch$\memory.dmp"] {
            let words: [&OsStr; 3] = ["pslist".as_ref(), path.as_ref(), "--offline".as_ref()];
            let done = dumpwalk(&words).output().unwrap();
            let said = text(done.stderr);
            assert_eq!((done.status.code(), said.lines().count()), (Some(3), 1), "{said}");
            assert!(said.starts_with("dumpwalk: ") && said.contains(path), "{said}");
        }
    }

    /// A 64 GiB dump is mapped and charged to nobody: "committed memory" of the process stays what its own data take.
    #[test]
    #[allow(unsafe_code, reason = "Windows' counters of a process")]
    fn a_mapped_dump_is_no_committed_memory() {
        use std::os::windows::io::AsRawHandle;
        use windows_sys::Win32::System::ProcessStatus::{K32GetProcessMemoryInfo, PROCESS_MEMORY_COUNTERS};
        let Some((_dir, plain, _)) = expected() else { return };
        let file = std::fs::File::options().write(true).open(&plain).unwrap();
        if let Err(e) = file.set_len(64 << 30) {
            println!("skipped: no sparse file of 64 GiB here: {e}");
            return;
        }
        drop(file);
        // Nobody reads what it writes: it stands still with the dump mapped.
        let words: [&OsStr; 5] =
            ["memmap".as_ref(), plain.as_ref(), "--offline".as_ref(), "-f".as_ref(), "json".as_ref()];
        let mut run = dumpwalk(&words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = run.stdout.take().unwrap();
        out.read_exact(&mut [0; 16]).unwrap();
        let mut counters = PROCESS_MEMORY_COUNTERS::default();
        let size = u32::try_from(size_of_val(&counters)).unwrap();
        // SAFETY: the handle is open, and there is room for `size` bytes.
        let told = unsafe { K32GetProcessMemoryInfo(run.as_raw_handle(), &raw mut counters, size) };
        drop(out);
        run.wait().unwrap();
        assert_ne!(told, 0, "{}", std::io::Error::last_os_error());
        let (charged, resident) = (counters.PagefileUsage >> 20, counters.WorkingSetSize >> 20);
        println!("committed: {charged} MiB, resident: {resident} MiB");
        assert!(resident > 0 && charged < 1024 && resident < 1024, "{charged} MiB, {resident} MiB");
    }

    /// It asks for no elevation and takes no privilege.
    #[test]
    fn no_administrator_is_needed() {
        let program = std::fs::read(env!("CARGO_BIN_EXE_dumpwalk")).unwrap();
        let has = |words: &str| program.windows(words.len()).any(|w| w == words.as_bytes());
        // The names of imports stand in the file as they are: one that must be among them is found.
        assert!(has("CreateFileMappingW"));
        // The two levels of an application's manifest beside `asInvoker`, and the function that switches a privilege on.
        for words in ["requireAdministrator", "highestAvailable", "AdjustTokenPrivileges"] {
            assert!(!has(words), "{words}");
        }
    }

    /// `Z:\x\y`, `Z:/x/y`, `\\?\Z:\x\y`, `.\y`: all the same file.
    #[test]
    fn paths_of_every_form_lead_to_the_dump() {
        let Some((dir, plain, rows)) = expected() else { return };
        let plain = plain.to_str().unwrap();
        assert!(plain.as_bytes()[1] == b':' && plain.contains('\\'), "{plain}");
        for path in [plain.to_owned(), plain.replace('\\', "/"), format!(r"\\?\{plain}"), plain.to_lowercase()] {
            assert_eq!(pslist(path.as_ref()), rows, "{path}");
        }
        let words: [&OsStr; 5] =
            ["pslist".as_ref(), r".\plain.dmp".as_ref(), "--offline".as_ref(), "-f".as_ref(), "csv".as_ref()];
        let done = dumpwalk(&words).current_dir(dir.path()).output().unwrap();
        assert_eq!(text(done.stdout), rows);
    }

    /// `_NT_SYMBOL_PATH` as WinDbg users set it: a downstream store with a drive letter before a server.
    #[test]
    fn a_symbol_path_with_drive_letters_is_read() {
        let Some(sample) = common::samples().into_iter().find(|s| s.name == "win10-22h2/full") else { return };
        let path = format!("cache*;srv*{}*https://symbols.invalid/x", sample.symbols.display());
        let words: [&OsStr; 6] = [
            "info".as_ref(),
            sample.path.as_ref(),
            "--offline".as_ref(),
            "-f".as_ref(),
            "json".as_ref(),
            "-v".as_ref(),
        ];
        let empty = tempfile::tempdir().unwrap();
        let mut command = dumpwalk(&words);
        let done = command.env("_NT_SYMBOL_PATH", path).env("DUMPWALK_CACHE", empty.path()).output().unwrap();
        let info: serde_json::Value = serde_json::from_str(&text(done.stdout)).unwrap();
        let origin = info[0]["symbols"].as_str().unwrap();
        assert!(origin.contains("89284D0CA6ACC8274B9A44BD5AF9290B1"), "{origin}");
    }

    /// Another program writes the dump and shares nothing: it is refused with what Windows says, and that is all.
    #[test]
    fn a_dump_nobody_may_read_is_refused_with_a_reason() {
        let Some((_dir, plain, _)) = expected() else { return };
        let mut options = std::fs::File::options();
        std::os::windows::fs::OpenOptionsExt::share_mode(options.read(true).write(true), 0);
        let held = options.open(&plain).unwrap();
        let words: [&OsStr; 3] = ["pslist".as_ref(), plain.as_ref(), "--offline".as_ref()];
        let done = dumpwalk(&words).output().unwrap();
        drop(held);
        assert_eq!(done.status.code(), Some(3));
        assert!(text(done.stderr).contains("plain.dmp"));
    }
}
