//! A processor time in two halves (`_KPROCESS.KernelTimeLow`, `_EPROCESS.KernelTimeHigh`: Server 2022 from 20348.2227) is one
//! number, and one half alone is none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use dumpwalk::dump::Dump;
use dumpwalk::error::Result;
use dumpwalk::kernel::{Kernel, find};
use dumpwalk::symbols::{Fallback, PdbId, SymbolSource, Symbols, table};
use dumpwalk::value::{Absent, Value};
use forge::scenario::Scenario;
use std::path::Path;
use std::sync::Arc;

/// Ticks of explorer.exe: more than 32 bits hold, both halves unlike each other.
const TICKS: (u64, u64) = (0x3_0000_1000, 0x2_8000_2000);

struct Only(Symbols);
impl SymbolSource for Only {
    fn load(&self, _: &PdbId) -> Result<Symbols> {
        Ok(self.0.clone())
    }
    fn fallbacks(&self, _: &Fallback) -> Box<dyn Iterator<Item = Symbols> + '_> {
        Box::new(std::iter::empty())
    }
}

/// The kernel's table as the analyzer reads it, with the fields where the updates have them. Not the forge's own change of it.
fn symbols(layout: &str, halved: bool) -> Symbols {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/forge/layouts/{layout}.txt"));
    let mut text = std::fs::read_to_string(path).unwrap();
    if halved {
        for (offset, name) in [("0x37c", "KernelTime"), ("0x380", "UserTime"), ("0x384", "ReadyTime")] {
            let line = format!("\n {offset} 0x4 ulong {name}\n");
            assert_eq!(text.matches(&line).count(), 1, "{line}");
            text = text.replace(&line, &format!("\n {offset} 0x4 ulong {name}Low\n"));
        }
        let (before, rest) = text.split_once("\nstruct _EPROCESS ").unwrap();
        let (own, after) = rest.split_once("\nstruct ").unwrap();
        text = format!(
            "{before}\nstruct _EPROCESS {own}\n 0xb70 0x4 ulong KernelTimeHigh\n 0xb74 0x4 ulong UserTimeHigh\n 0xb78 0x4 ulong \
             ReadyTimeHigh\nstruct {after}"
        );
    }
    table::parse(&text, layout).unwrap()
}

/// Ticks of explorer.exe in a machine forged on this layout, read with these symbols.
fn ticks(halved: bool, symbols: Symbols) -> (Value<u64>, Value<u64>) {
    let mut scenario = Scenario::load("server-2022");
    scenario.halved = halved;
    scenario.containers = vec!["full".into()];
    let explorer = scenario.processes.iter_mut().find(|p| p.name == "explorer.exe").unwrap();
    explorer.ticks = if halved { TICKS } else { (TICKS.0 & 0xffff_ffff, TICKS.1 & 0xffff_ffff) };
    let (dumps, _) = forge::build(&scenario);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("full.dmp");
    std::fs::write(&path, &dumps[0].1).unwrap();
    let kernel: Kernel = find::find(&Arc::new(Dump::open(&path).unwrap()), &Only(symbols)).unwrap();
    let processes = kernel.processes().unwrap().list;
    let explorer = processes.iter().find(|p| p.name().as_deref() == Ok("explorer.exe")).unwrap();
    (explorer.kernel_ticks(), explorer.user_ticks())
}

#[test]
fn two_halves_are_one_number() {
    let layout = "x64-10.0.20348.1006";
    assert_eq!(ticks(true, symbols(layout, true)), (Ok(TICKS.0), Ok(TICKS.1)));
    let whole = ticks(false, symbols(layout, false));
    assert_eq!(whole, (Ok(TICKS.0 & 0xffff_ffff), Ok(TICKS.1 & 0xffff_ffff)));
}

#[test]
fn one_half_alone_is_no_number() {
    for (ty, field) in [("_EPROCESS", "KernelTimeHigh"), ("_KPROCESS", "KernelTimeLow")] {
        let mut less = symbols("x64-10.0.20348.1006", true);
        less.types.types.get_mut(ty).unwrap().members.remove(field).unwrap();
        assert_eq!(ticks(true, less), (Err(Absent::NotInBuild), Ok(TICKS.1)), "{field}");
    }
}
