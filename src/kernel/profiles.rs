//! Users by their profiles: `ProfileList` in the hive SOFTWARE names a folder for each user who ever logged on here, domain users too.

use super::Kernel;
use super::address_space::AddressSpace;
use super::hive::{HIVES, Hive, hives};
use super::process::Process;
use super::sid::Sid;
use super::standing::Sort;
use crate::dump::Kind;
use crate::paging::Space;
use crate::value::{Absent, Note, Value};

/// Where profiles are listed, below the hive's root.
const PATH: [&str; 4] = ["Microsoft", "Windows NT", "CurrentVersion", "ProfileList"];
/// The value that names the folder.
const FOLDER: &str = "ProfileImagePath";

/// Each user's SID and profile folder (`C:\Users\alice`), in the order of the list; and what could not be read.
#[must_use]
pub fn profiles<'k>(
    kernel: &'k Kernel,
    processes: &[Process<'k>],
    space: &Space<'k>,
) -> (Vec<(Sid, String)>, Vec<Note>) {
    let holds_hives = |p: &&Process<'k>| p.sort() == Ok(Sort::Minimal) && p.name().as_deref() == Ok("Registry");
    let registry = processes.iter().find(holds_hives).and_then(|p| AddressSpace::of(p, space).ok());
    let Ok((all, mut notes)) = hives(kernel, space, registry.as_ref().map(|m| &m.space)) else {
        return (Vec::new(), Vec::new());
    };
    // A triage dump holds no hive, whatever its symbols.
    if kernel.dump.kind != Kind::Triage && kernel.global(HIVES).is_none() {
        notes
            .push(Note::info(format!("the list of profiles in the registry: no symbol {HIVES}: fewer names of users")));
    }
    let mut out = Vec::new();
    for hive in all.iter().filter(|h| h.name().is_ok_and(|n| is_software(&n))) {
        match listed(hive, &mut out) {
            Ok(()) | Err(Absent::NotApplicable) => {}
            Err(why) => {
                notes.push(Note::info(format!("the list of profiles in the registry is {why}: fewer names of users")))
            }
        }
    }
    (out, notes)
}

/// `\REGISTRY\MACHINE\SOFTWARE`, or the file `…\config\SOFTWARE` where the kernel does not note the former.
fn is_software(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name == "\\registry\\machine\\software" || name.ends_with("\\config\\software")
}

fn listed(hive: &Hive<'_, '_>, out: &mut Vec<(Sid, String)>) -> Value<()> {
    let mut key = hive.root()?;
    for name in PATH {
        key = hive.subkey(key, name)?;
    }
    for user in hive.subkeys(key)? {
        // One that cannot be read hides one user.
        let (Ok(name), Ok(folder)) = (hive.key_name(user), hive.text_value(user, FOLDER)) else { continue };
        out.extend(sid(&name).map(|sid| (sid, folder)));
    }
    Ok(())
}

/// `S-1-5-21-1-2-3-1001`.
fn sid(text: &str) -> Option<Sid> {
    let mut parts = text.strip_prefix("S-1-")?.split('-');
    let authority = parts.next()?.parse().ok()?;
    let parts: Option<Vec<u32>> = parts.map(|p| p.parse().ok()).collect();
    Sid::new(authority, &parts?)
}

/// The last part of a profile's folder: the user's name when the profile was made, and `name.DOMAIN` where that was taken.
#[must_use]
pub fn folder_name(folder: &str) -> Option<&str> {
    folder.rsplit('\\').next().filter(|name| !name.is_empty() && !name.contains(char::is_control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let user = sid("S-1-5-21-1-2-3-1001").unwrap();
        assert_eq!((user.authority(), user.parts()), (5, &[21, 1, 2, 3, 1001][..]));
        assert_eq!(sid("S-1-5-21-x"), None);
        // A profile that Windows set aside.
        assert_eq!(sid("S-1-5-21-1-2-3-1001.bak"), None);
        assert_eq!(folder_name("C:\\Users\\alice"), Some("alice"));
        assert_eq!(folder_name("C:\\"), None);
        assert!(is_software("\\REGISTRY\\MACHINE\\SOFTWARE"));
        assert!(is_software("\\Device\\HarddiskVolume1\\WINDOWS\\system32\\config\\software"));
        assert!(!is_software("\\REGISTRY\\MACHINE\\SYSTEM"));
    }
}
