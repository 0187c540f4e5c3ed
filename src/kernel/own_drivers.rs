//! Which drivers are Windows' own, by file name: a list (`own_drivers.txt`), for dumps that lack the files' version resources.

use rustc_hash::FxHashMap;
use std::sync::LazyLock;

/// What a driver of Windows itself is to a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// Others' requests pass through it.
    Library,
    /// A driver of its own device or task.
    Driver,
}

static NAMES: LazyLock<FxHashMap<&'static str, Own>> = LazyLock::new(|| lines().collect());

fn lines() -> impl Iterator<Item = (&'static str, Own)> {
    let written = include_str!("own_drivers.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#'));
    written.map(|line| match line.strip_prefix("library ") {
        Some(name) => (name, Own::Library),
        None => (line, Own::Driver),
    })
}

/// What a file name is known as; `None` where the list does not have it. Windows loads copies of storage drivers as `dump_…` to
/// write the dump with.
#[must_use]
pub fn own(name: &str) -> Option<Own> {
    let name = name.to_ascii_lowercase();
    let known = |name: &str| NAMES.get(name).copied();
    known(&name).or_else(|| known(name.strip_prefix("dump_")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_small() {
        let names: Vec<_> = lines().map(|l| l.0).collect();
        assert!(names.is_sorted() && names.windows(2).all(|w| w[0] != w[1]));
        assert!(names.iter().all(|n| !n.contains([' ', '\\']) && *n == n.to_ascii_lowercase()));
        assert!(names.len() >= 300);
    }
    #[test]
    fn whose_they_are() {
        assert_eq!(own("ntoskrnl.exe"), Some(Own::Library));
        assert_eq!(own("Wdf01000.sys"), Some(Own::Library));
        assert_eq!(own("AMDPPM.SYS"), Some(Own::Driver));
        assert_eq!(own("dump_stornvme.sys"), Some(Own::Driver));
        for third_party in ["nvlddmkm.sys", "rt640x64.sys", "VBoxDrv.sys", "amdpsp.sys", "dump_", ""] {
            assert_eq!(own(third_party), None, "{third_party}");
        }
    }
}
