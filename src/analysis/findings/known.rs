//! Processes every Windows has: where their program lies, who starts them, in which session and as whom they run.
//!
//! Source: "Windows Internals", 7th edition, part 1, chapter 2 ("Key system components", system processes), checked against the process
//! lists of the samples. What differs between releases (`winlogon.exe` started services on XP) is listed side by side: the rules ask
//! whether *any* release does it.

/// One well-known process.
#[derive(Clone, Copy, Debug)]
pub struct WellKnown {
    /// Image name, in lower case.
    pub name: &'static str,
    /// Folders its program may lie in, without the volume, in lower case.
    pub folders: &'static [&'static str],
    /// Who may have started it; empty for anybody.
    pub parents: &'static [&'static str],
    /// In session 0 only.
    pub session_zero: bool,
    /// As `NT AUTHORITY\SYSTEM` only.
    pub system: bool,
    /// Starts no other processes: a child claims a parent it does not have.
    pub childless: bool,
}

const SYSTEM32: &[&str] = &[r"\windows\system32\"];
/// Native, and for 32-bit programs on x64 and ARM64.
const BOTH: &[&str] = &[r"\windows\system32\", r"\windows\syswow64\", r"\windows\sysarm32\", r"\windows\sychpe32\"];

const fn known(name: &'static str, folders: &'static [&'static str], parents: &'static [&'static str]) -> WellKnown {
    WellKnown { name, folders, parents, session_zero: false, system: false, childless: false }
}
const fn core(name: &'static str, parents: &'static [&'static str], session_zero: bool, childless: bool) -> WellKnown {
    WellKnown { name, folders: SYSTEM32, parents, session_zero, system: true, childless }
}

/// The well-known processes.
pub const KNOWN: &[WellKnown] = &[
    core("smss.exe", &["system", "smss.exe"], false, false),
    core("csrss.exe", &["smss.exe"], false, false),
    core("wininit.exe", &["smss.exe"], true, false),
    core("winlogon.exe", &["smss.exe"], false, false),
    core("services.exe", &["wininit.exe", "winlogon.exe"], true, false),
    core("lsass.exe", &["wininit.exe", "winlogon.exe"], true, true),
    core("lsaiso.exe", &["wininit.exe"], true, true),
    core("lsm.exe", &["wininit.exe"], true, true),
    known("svchost.exe", BOTH, &["services.exe"]),
    known("spoolsv.exe", SYSTEM32, &["services.exe"]),
    known("taskhost.exe", SYSTEM32, &["services.exe", "svchost.exe"]),
    known("taskhostex.exe", SYSTEM32, &["svchost.exe"]),
    known("taskhostw.exe", SYSTEM32, &["svchost.exe"]),
    known("sihost.exe", SYSTEM32, &["svchost.exe"]),
    known("runtimebroker.exe", SYSTEM32, &["svchost.exe"]),
    known("searchindexer.exe", BOTH, &["services.exe"]),
    known("fontdrvhost.exe", SYSTEM32, &["wininit.exe", "winlogon.exe"]),
    known("dwm.exe", SYSTEM32, &["winlogon.exe", "svchost.exe"]),
    known("logonui.exe", SYSTEM32, &["winlogon.exe"]),
    known("userinit.exe", BOTH, &["winlogon.exe"]),
    known("explorer.exe", &[r"\windows\", r"\windows\syswow64\"], &[]),
    known("conhost.exe", BOTH, &[]),
    known("dllhost.exe", BOTH, &[]),
    known("rundll32.exe", BOTH, &[]),
    known("regsvr32.exe", BOTH, &[]),
    known("wuauclt.exe", BOTH, &[]),
    known("werfault.exe", BOTH, &[]),
    known("ctfmon.exe", BOTH, &[]),
];

/// What every Windows knows of a name.
#[must_use]
pub fn well_known(name: &str) -> Option<&'static WellKnown> {
    KNOWN.iter().find(|k| k.name.eq_ignore_ascii_case(name))
}

/// Programs a childless process is seen to start all the same: the reporter of its own crash, and the encrypting file system's dialogue.
pub const CHILDREN_OF_CHILDLESS: &[&str] = &["werfault.exe", "werfaultsecure.exe", "efsui.exe", "lsaiso.exe"];

/// The well-known name that another one is a misspelling of: one letter changed, added, left out, or two swapped; or the same after
/// digits and letters that look alike are read alike.
#[must_use]
pub fn misspelt(name: &str) -> Option<&'static str> {
    let lower = name.to_lowercase();
    if well_known(&lower).is_some() || INNOCENT.contains(&lower.as_str()) {
        return None;
    }
    let alike: String = lower.chars().map(read_alike).collect();
    KNOWN.iter().map(|k| k.name).find(|known| {
        let stem = |n: &str| n.strip_suffix(".exe").unwrap_or(n).chars().collect::<Vec<_>>();
        let (a, b) = (stem(&lower), stem(known));
        // Of short names too many are one letter away.
        alike == known.chars().map(read_alike).collect::<String>() || (b.len() >= 5 && one_apart(&a, &b))
    })
}

/// Names one letter away from a well-known one that are programs of Windows or of others.
const INNOCENT: &[&str] = &["service.exe", "explore.exe", "explorers.exe", "lsas.dll", "sihost64.exe", "wsihost.exe"];

/// Letters and digits that look alike, read as one. Cyrillic and Greek twins of Latin letters count as these.
const fn read_alike(c: char) -> char {
    match c {
        '0' | 'о' | 'ο' => 'o',
        '1' | 'l' | 'i' | 'і' | 'ı' => 'l',
        '5' | 'ѕ' => 's',
        '3' | 'е' => 'e',
        'а' | 'α' => 'a',
        'с' => 'c',
        'р' => 'p',
        'х' => 'x',
        'ν' => 'v',
        c => c,
    }
}

/// Whether two words are exactly one edit apart: a letter changed, added or left out, or two neighbours swapped.
fn one_apart(a: &[char], b: &[char]) -> bool {
    let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (rest_a, rest_b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    let after = |rest: &[char], n: usize| rest.get(n..).unwrap_or_default().to_vec();
    match (rest_a, rest_b) {
        ([], []) => false,
        ([x, y, ..], [p, q, ..]) if x == q && y == p && after(rest_a, 2) == after(rest_b, 2) => true,
        _ => {
            after(rest_a, 1) == after(rest_b, 1) || after(rest_a, 1) == rest_b || rest_a == after(rest_b, 1).as_slice()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_names() {
        for (name, known) in [
            ("scvhost.exe", "svchost.exe"),
            ("svch0st.exe", "svchost.exe"),
            ("svchosts.exe", "svchost.exe"),
            ("1sass.exe", "lsass.exe"),
            ("Isass.exe", "lsass.exe"),
            ("lsas.exe", "lsass.exe"),
            ("csrs.exe", "csrss.exe"),
            ("expl0rer.exe", "explorer.exe"),
            ("winlogin.exe", "winlogon.exe"),
            ("sv\u{441}host.exe", "svchost.exe"),
        ] {
            assert_eq!(misspelt(name), Some(known), "{name}");
        }
        for name in
            ["svchost.exe", "LSASS.EXE", "service.exe", "iexplore.exe", "notepad.exe", "taskhostw.exe", "System", "a"]
        {
            assert_eq!(misspelt(name), None, "{name}");
        }
    }
    #[test]
    fn no_known_name_is_another_ones_misspelling() {
        for k in KNOWN {
            assert_eq!(misspelt(k.name), None);
            assert_eq!(k.name, k.name.to_lowercase());
        }
    }
}
