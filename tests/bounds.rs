//! Dumps of a few megabytes that would take hours or all memory: each is answered with what there is, and says what was
//! left out.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod common;

use common::{open, samples, write};
use dumpwalk::analysis::{ALL, Ask, Case};
use dumpwalk::report::Format;

/// The sample, changed by `change` (the file's bytes and what it is of).
fn changed(change: impl FnOnce(&mut Vec<u8>, &Case)) -> Option<(tempfile::TempDir, Case)> {
    let Some(sample) = samples().into_iter().find(|s| s.name == "win10-22h2/full") else {
        println!("skipped: no sample win10-22h2/full");
        return None;
    };
    let mut bytes = std::fs::read(&sample.path).unwrap();
    change(&mut bytes, &open(&sample.path, &sample.symbols).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memory.dmp");
    std::fs::write(&path, bytes).unwrap();
    let case = open(&path, &sample.symbols).unwrap();
    Some((dir, case))
}

/// The rows and notes of an analysis.
fn answered(case: &Case, name: &str, ask: &Ask) -> (Vec<serde_json::Value>, Vec<String>) {
    let analysis = ALL.iter().find(|a| a.name == name).unwrap();
    let written = write(case, analysis, ask, &[Format::Json]).unwrap().remove(0);
    let notes = written.finished.notes.iter().filter(|n| n.loss).map(|n| n.text.clone()).collect();
    (serde_json::from_slice(&written.bytes).unwrap(), notes)
}

/// A process whose page-table root names itself by every entry of the user half.
#[test]
fn page_tables_that_name_themselves() {
    let mut victim = 0;
    let Some((_dir, case)) = changed(|bytes, case| {
        let kernel = case.kernel().unwrap();
        let processes = kernel.processes().unwrap().list;
        let process = processes.iter().find(|p| p.name().is_ok_and(|n| n == "explorer.exe")).unwrap();
        victim = process.pid().unwrap();
        let root = process.dtb().unwrap();
        let at = usize::try_from(case.dump.file_offset(root).unwrap()).unwrap();
        for slot in 0..256 {
            bytes[at + slot * 8..at + slot * 8 + 8].copy_from_slice(&(root.0 | 0x67).to_le_bytes());
        }
    }) else {
        return;
    };
    let ask = Ask { pids: vec![victim], ..Ask::default() };
    for name in ["workingset", "memmap"] {
        let (rows, losses) = answered(&case, name, &ask);
        assert!(!rows.is_empty() && rows.len() < 1 << 18, "{name}: {} rows", rows.len());
        assert!(losses.iter().any(|l| l.contains("name the same tables again and again")), "{name}: {losses:?}");
    }
}
