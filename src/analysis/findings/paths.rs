//! Paths as the kernel, the loader and programs write them, made comparable.

/// A path without its volume, in lower case, with Windows' own folder spelt out: `\windows\system32\lsass.exe`.
///
/// The kernel names files by device (`\Device\HarddiskVolume3\Windows\…`), the loader by drive (`C:\Windows\…`, `\??\C:\…`) or by the
/// system's folder (`\SystemRoot\…`, `%SystemRoot%\…`). Which drive is which device is not compared.
#[must_use]
pub fn plain(path: &str) -> String {
    let mut path = path.trim().trim_matches('"').replace('/', "\\").to_lowercase();
    for prefix in [r"\??\", r"\\?\", r"\\.\"] {
        if let Some(rest) = path.strip_prefix(prefix) {
            path = rest.to_owned();
        }
    }
    for folder in [r"\systemroot\", r"%systemroot%\", r"%windir%\"] {
        if let Some(rest) = path.strip_prefix(folder) {
            return format!(r"\windows\{rest}");
        }
    }
    if let Some(rest) = path.strip_prefix(r"\device\") {
        // `\Device\Mup\server\share` is a path on another machine, which programs call `\\server\share`.
        return match rest.split_once('\\') {
            Some(("mup", rest)) => format!(r"\\{rest}"),
            Some((_, rest)) => format!(r"\{rest}"),
            None => path,
        };
    }
    let drive = path.as_bytes().get(1) == Some(&b':') && path.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    match path.get(2..) {
        Some(rest) if drive && rest.starts_with('\\') => rest.to_owned(),
        _ => path,
    }
}

/// The last part of a path.
#[must_use]
pub fn base(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

/// The folder of a [`plain`] path, with its last backslash.
#[must_use]
pub fn folder(plain: &str) -> &str {
    plain.rfind('\\').and_then(|at| plain.get(..=at)).unwrap_or("")
}

/// The program a command line begins with.
#[must_use]
pub fn program(command_line: &str) -> &str {
    let line = command_line.trim_start();
    match line.strip_prefix('"') {
        Some(rest) => rest.split('"').next().unwrap_or(rest),
        // Unquoted paths may have blanks: up to a known ending, else to the first blank.
        None => {
            let lower = line.to_ascii_lowercase();
            let end = [".exe ", ".com ", ".scr ", ".exe\t"].iter().filter_map(|e| lower.find(e)).min();
            match end.and_then(|at| line.get(..at.saturating_add(4))) {
                Some(program) => program,
                None if lower.ends_with(".exe") => line,
                None => line.split_whitespace().next().unwrap_or(line),
            }
        }
    }
}

/// Whether ordinary users can write to the folder of a [`plain`] path: their own profiles, shared and temporary folders. Everything outside
/// Windows' and the programs' folders counts, but for Defender's, which lies in a shared one and is protected.
#[must_use]
pub fn user_writable(plain: &str) -> bool {
    let kept =
        [r"\windows\", r"\program files\", r"\program files (x86)\", r"\programdata\microsoft\windows defender\"];
    let open = [r"\windows\temp\", r"\windows\tasks\", r"\windows\tracing\", r"\windows\system32\spool\drivers\color\"];
    if !plain.starts_with('\\') {
        return false; // a bare name says nothing of its folder
    }
    open.iter().any(|f| plain.starts_with(f)) || !kept.iter().any(|f| plain.starts_with(f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_file_by_any_name() {
        for path in [
            r"\Device\HarddiskVolume3\Windows\System32\lsass.exe",
            r"C:\Windows\System32\lsass.exe",
            r"\??\C:\Windows\System32\LSASS.EXE",
            r"\SystemRoot\System32\lsass.exe",
            r"%SystemRoot%\system32\lsass.exe",
            r"\Windows\System32\lsass.exe",
        ] {
            assert_eq!(plain(path), r"\windows\system32\lsass.exe", "{path}");
        }
        assert_eq!(plain(r"\Device\Mup\server\share\a.exe"), r"\\server\share\a.exe");
        assert_eq!(plain(r"\\server\share\a.exe"), r"\\server\share\a.exe");
        assert_eq!(plain("Registry"), "registry");
    }
    #[test]
    fn parts() {
        assert_eq!(base(r"C:\a\b.exe"), "b.exe");
        assert_eq!(folder(r"\windows\system32\a.exe"), r"\windows\system32\");
        assert_eq!(program(r#""C:\Program Files\a.exe" /x"#), r"C:\Program Files\a.exe");
        assert_eq!(program(r"C:\Program Files\a.exe -k netsvcs"), r"C:\Program Files\a.exe");
        assert_eq!(program(r"wininit.exe"), "wininit.exe");
        assert_eq!(program("a b"), "a");
    }
    #[test]
    fn where_users_write() {
        assert!(user_writable(r"\users\alice\a.exe") && user_writable(r"\windows\temp\a.sys"));
        assert!(user_writable(r"\programdata\a.dll") && user_writable(r"\a.exe"));
        assert!(!user_writable(r"\windows\system32\a.exe") && !user_writable(r"\program files\a\a.exe"));
        assert!(!user_writable("registry"));
    }
}
