//! The object namespace: directories, their hash buckets, and who is in them.

use std::collections::BTreeSet;

use crate::machine::{Header, Machine};
use crate::memory::PoolKind;
use crate::scenario::Scenario;
use crate::truth::Json;

/// Directories that every Windows has.
const FIXED: [&str; 12] = [
    "\\Device",
    "\\Driver",
    "\\FileSystem",
    "\\GLOBAL??",
    "\\KnownDlls",
    "\\ObjectTypes",
    "\\BaseNamedObjects",
    "\\RPC Control",
    "\\Security",
    "\\Sessions",
    "\\Windows",
    "\\Callback",
];

/// Makes the directories that fixed paths and the scenario's names need, parents first.
pub fn directories(m: &mut Machine, s: &Scenario) {
    let mut paths: BTreeSet<String> = FIXED.iter().map(|p| p.to_string()).collect();
    let sessions: BTreeSet<u32> = s.processes.iter().filter_map(|p| p.session).collect();
    paths.extend(sessions.iter().filter(|id| **id > 0).map(|id| format!("\\Sessions\\{id}\\BaseNamedObjects")));
    let named = s
        .processes
        .iter()
        .flat_map(|p| &p.handles)
        .filter(|h| !["File", "Key", "Process", "Thread", "Token"].contains(&h.ty.as_str()));
    paths.extend(named.filter_map(|h| h.name.rsplit_once('\\')).map(|(directory, _)| directory.to_string()));
    let all: BTreeSet<String> =
        paths.iter().flat_map(|p| p.match_indices('\\').map(|(i, _)| p[..i].to_string()).chain([p.clone()])).collect();
    let size = m.layouts.size("_OBJECT_DIRECTORY");
    for path in all {
        let name = if path.is_empty() { None } else { Some(path.clone()) };
        let va = m.object("Directory", size, &Header { name, handles: 1, pointers: 2, ..Header::default() });
        if path.is_empty() {
            m.plant_word("ObpRootDirectoryObject", va);
            m.names.entry("/".into()).or_default().push((String::new(), va));
        }
    }
}

/// Address of a directory made by [`directories`].
pub fn directory(m: &Machine, path: &str) -> Option<u64> {
    if path.is_empty() {
        return m.names.get("/").map(|v| v[0].1);
    }
    lookup(m, path)
}

/// Address of any named object.
pub fn lookup(m: &Machine, path: &str) -> Option<u64> {
    let (directory, name) = path.rsplit_once('\\')?;
    m.names.get(directory)?.iter().find(|(n, _)| n == name).map(|(_, va)| *va)
}

/// The bucket of a name. Source: the public description of `ObpLookupDirectoryEntry` (ReactOS and WRK agree): for each
/// upper-case character, hash = hash + hash/2 (as shifts) + character.
fn hash(name: &str) -> u32 {
    name.encode_utf16().fold(0u32, |h, c| {
        let upper = char::from_u32(u32::from(c)).map_or(u32::from(c), |c| c.to_ascii_uppercase() as u32);
        h.wrapping_add(h << 1).wrapping_add(h >> 1).wrapping_add(upper)
    })
}

/// Fills the directories in; gives the list of named objects.
pub fn plant(m: &mut Machine) -> Json {
    let names = m.names.clone();
    let mut out = Vec::new();
    for (path, members) in names.iter().filter(|(p, _)| *p != "/") {
        let Some(directory) = directory(m, path) else { continue };
        for (name, body) in members {
            m.set_directory(*body, directory);
            let value = hash(name);
            let slot =
                directory + m.layouts.offset("_OBJECT_DIRECTORY", "HashBuckets") + m.pointer() * u64::from(value % 37);
            let mut entry = m.obj("_OBJECT_DIRECTORY_ENTRY");
            entry.set("ChainLink", m.read_word(slot)).set("Object", *body).set_opt("HashValue", value.into());
            let at = m.put(PoolKind::Paged, b"ObDi", &entry);
            m.write(slot, &m.word(at));
            if !path.starts_with("\\ObjectTypes") {
                out.push(Json::object().with("path", format!("{path}\\{name}")).with("object", *body));
            }
        }
    }
    out.into()
}
