//! The same machine in every container: what is said of it is the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod program;

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// What a dump's header tells, and raw memory does not: why it was taken and when, and where the crashed processor stood.
const OF_THE_HEADER: [&str; 4] = ["info", "crashinfo", "procinfo", "callstacks"];

/// The rows of a `report` by section, and the lines of `info`.
fn report(file: &Path, store: &Path) -> (BTreeMap<String, Vec<Value>>, Value) {
    let mut sections = program::report(file, store);
    let info = sections["info"][0].clone();
    sections.retain(|name, _| !OF_THE_HEADER.contains(&name.as_str()));
    (sections, info)
}

/// Kinds of containers as the forge names them, the file's name, and what `info` calls it.
const WRAPPED: &[(&str, &str, &str)] = &[
    ("lime", "m.lime", "LiME image"),
    ("qemu", "qemu.elf", "ELF core of a virtual machine"),
    ("qemu-header", "header.elf", "ELF core of a virtual machine"),
    ("qemu-mappings", "mappings.elf", "ELF core of a virtual machine"),
    ("virtualbox", "vbox.core", "ELF core of a virtual machine"),
    ("vmsn", "vm.vmsn", ""),
    ("vmem", "vm.vmem", "VMware memory"),
    ("vmss", "inside.vmss", "VMware memory"),
];

#[test]
fn every_container_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let store = program::root().join("symbols");
    // 64- and 32-bit machines.
    for seed in [0, 1, 2, 3] {
        let mut scenario = forge::random::scenario(seed);
        scenario.containers = ["full"].into_iter().chain(WRAPPED.iter().map(|w| w.0)).map(str::to_owned).collect();
        let (files, _) = forge::build(&scenario);
        let full = folder.path().join("full.dmp");
        std::fs::write(&full, &files[0].1).unwrap();
        let (want, header) = report(&full, &store);
        assert!(want["pslist"].len() > 3 && want.len() > 12, "seed {seed}: {:?}", want.keys());
        for ((_, bytes), (_, name, _)) in files[1..].iter().zip(WRAPPED) {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        for (kind, name, called) in WRAPPED.iter().filter(|w| w.0 != "vmsn") {
            let (got, info) = report(&folder.path().join(name), &store);
            assert_eq!(info["container"], *called, "seed {seed}, {kind}");
            assert_eq!(info["kernel_base"], header["kernel_base"], "seed {seed}, {kind}");
            for (section, rows) in &want {
                assert_eq!(got.get(section), Some(rows), "seed {seed}, {kind}: {section}");
            }
        }
        // The state file stands for the memory file beside it; alone it is refused.
        let state = folder.path().join("vm.vmsn");
        assert_eq!(report(&state, &store).0["pslist"], want["pslist"]);
        std::fs::remove_file(folder.path().join("vm.vmem")).unwrap();
        let ran = program::dumpwalk(&["info".as_ref(), state.as_os_str()]);
        assert!(ran.code == 3 && ran.stderr.contains("put the .vmem"), "{}", ran.stderr);
    }
}

/// A core that is cut answers what is there, and says so.
#[test]
fn a_cut_core_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = program::root().join("symbols");
    let mut scenario = forge::random::scenario(0);
    scenario.containers = ["qemu", "lime"].map(str::to_owned).to_vec();
    for (name, bytes) in forge::build(&scenario).0 {
        let file = folder.path().join(&name);
        std::fs::write(&file, &bytes[..bytes.len() - 0x1800]).unwrap();
        let ran = program::dumpwalk(&[
            "pslist".as_ref(),
            file.as_os_str(),
            "--offline".as_ref(),
            "--symbols".as_ref(),
            store.as_os_str(),
        ]);
        assert!(ran.stderr.contains("2 of "), "{name}: {}", ran.stderr);
        assert_eq!(ran.code, 4, "{name}");
    }
}

/// Heads with bytes bent, and cut anywhere, are an answer or an error.
#[test]
fn damaged_heads_are_no_panic() {
    let mut scenario = forge::random::scenario(0);
    scenario.containers = ["lime", "qemu-header", "qemu-mappings", "virtualbox", "vmss"].map(str::to_owned).to_vec();
    for (name, bytes) in forge::build(&scenario).0 {
        // Sizes and places then lie past the end, which is a trap of its own.
        let head = &bytes[..bytes.len().min(0x3000)];
        for at in (0..head.len()).step_by(7) {
            let _ = dumpwalk::dump::Dump::from_bytes(name.as_ref(), &head[..at.max(1)]);
            for bits in [0xff, 0x80, 0x01] {
                let mut bent = head.to_vec();
                bent[at] ^= bits;
                if let Ok(dump) = dumpwalk::dump::Dump::from_bytes(name.as_ref(), &bent) {
                    assert!(dump.page_count() * 0x1000 <= dump.len());
                }
            }
        }
    }
}
