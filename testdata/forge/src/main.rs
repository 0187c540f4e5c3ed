//! The forge's command line.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use forge::layout::{Layouts, reduce::reduce};
use forge::scenario::Scenario;

const USAGE: &str = "forge build SCENARIO OUT            one scenario into OUT/<name>/
forge all OUT                       every scenario of scenarios/ that names a sample
forge large OUT [KEY=NUMBER]...     a large machine into OUT/large.dmp, a sparse file, and OUT/large.json, what it holds: gib=8
                                    processes=400 threads=6000 handles=150000 vads=60000 modules=25000 filled=10
forge pdb TABLE STORE [NAMES]       the PDB of a layout table into a symbol store (needs clang and lld); with NAMES more names
                                    and a structure for each forty of them, to measure with a file as large as Microsoft's
forge pdbs STORE                    the PDBs of all tables
forge reduce FULL [DONOR [ENUMS]] OUT   a full layout table to the part the forge keeps";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("forge: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> io::Result<()> {
    match words {
        ["build", scenario, out] => forge::build_into(&Scenario::load(scenario), Path::new(out)),
        ["all", out] => {
            forge::samples()?.iter().try_for_each(|name| forge::build_into(&Scenario::load(name), Path::new(out)))
        }
        ["large", out, keys @ ..] => forge::large::build_into(&forge::large::Size::read(keys)?, Path::new(out)),
        ["pdb", table, store, more @ ..] if more.len() < 2 => {
            let more = more.first().map_or(Ok(0), |n| n.parse()).map_err(io::Error::other)?;
            println!("{}", forge::pdb::file(&Layouts::load(table).widened(more), Path::new(store))?.display());
            Ok(())
        }
        ["pdbs", store] => forge::layouts()?.iter().try_for_each(|t| run(&["pdb", t, store])),
        ["reduce", full, donors @ .., out] if donors.len() < 3 => {
            let donors = donors.iter().map(std::fs::read_to_string).collect::<io::Result<Vec<_>>>()?;
            let donor = |i: usize| donors.get(i).map(String::as_str);
            std::fs::write(out, reduce(&std::fs::read_to_string(full)?, donor(0), donor(1)))
        }
        _ => Err(io::Error::other(USAGE)),
    }
}
