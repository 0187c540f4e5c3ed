//! Paths of registry keys: from 14393 on the root cell of a hive has a key control block of its own between the key that the hive is
//! attached to and the keys in it; its name is in no path. Before, one block stands for both and its name is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use forge::scenario::{Handle, Scenario};
use serde_json::Value;

const PATHS: [&str; 5] = [
    "\\REGISTRY\\MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion",
    "\\REGISTRY\\MACHINE\\SOFTWARE",
    "\\REGISTRY\\MACHINE\\HARDWARE\\DESCRIPTION\\System",
    "\\REGISTRY\\USER\\S-1-5-18\\Software",
    "\\REGISTRY\\MACHINE",
];

/// The paths of explorer.exe's key handles in a machine of this scenario, and whether its memory holds a root cell's name.
fn keys(scenario: &str) -> (Vec<String>, bool) {
    let mut s = Scenario::load(scenario);
    s.containers = vec!["full".into()];
    let at = s.processes.iter().position(|p| p.name == "explorer.exe").expect("explorer.exe");
    let key = |path: &&str| Handle {
        ty: "Key".into(),
        name: (*path).into(),
        access: 0x2_0019,
        count: 1,
        ..Handle::default()
    };
    s.processes[at].handles = PATHS.iter().map(key).collect();
    let (dumps, _) = forge::build(&s);
    let bytes = &dumps[0].1;
    let has_root = bytes.windows(31).any(|w| w.starts_with(b"CMI-CreateHive{6A1C4018-979D-42"));
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("keys.dmp");
    std::fs::write(&dump, bytes).unwrap();
    let store = program::root().join("symbols");
    let (dump, store) = (dump.to_str().unwrap(), store.to_str().unwrap());
    let ran = program::dumpwalk(&["handles", dump, "-f", "jsonl", "--offline", "-s", store, "--name", "explorer.exe"]);
    let rows = ran.stdout.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let keys = rows.filter(|r| r["type"] == "Key").map(|r| r["object_name"].as_str().unwrap_or_default().to_owned());
    (keys.collect(), has_root)
}

#[test]
fn the_root_cell_of_a_hive_is_in_no_path() {
    for (scenario, two) in [("win10-2004", true), ("win10-1607", true), ("win7-sp1", false), ("win10-1507", false)] {
        let (keys, has_root) = keys(scenario);
        assert_eq!(keys, PATHS, "{scenario}");
        assert_eq!(has_root, two, "{scenario}: the machine has root cells with blocks of their own");
    }
}
