//! Machines on layouts of any kernel, and the tables that are offered for them.

use dumpwalk::symbols::{Symbols, table};
use forge::scenario::{Scenario, time::SECOND};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The layout of one kernel.
#[derive(Clone)]
pub struct Table {
    pub name: String,
    pub text: String,
}

impl Table {
    fn read(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let name = path.file_stem()?.to_string_lossy().into_owned();
        (text.starts_with("# kernel ")).then_some(Self { name, text })
    }
    /// As a source of layouts gives it: without globals, without a PDB's identity.
    pub fn symbols(&self) -> Symbols {
        let lines = self.text.lines().filter(|l| !l.starts_with("symbol "));
        let text: String = lines.flat_map(|l| [l, "\n"]).collect();
        let mut symbols = table::parse(&text, &self.name).unwrap();
        symbols.id = None;
        symbols
    }
    /// Whether it is a table of the same kernel: another source's, or the same with another name.
    pub fn same_kernel(&self, other: &Self) -> bool {
        let version =
            |t: &Self| t.text.lines().next().unwrap().split(' ').skip(3).take(2).collect::<Vec<_>>().join(" ");
        let special = |t: &Self| t.name.rsplit('-').next().unwrap().to_owned();
        version(self) == version(other) && (special(self) == special(other))
    }
}

/// The four parts of a version.
pub fn version(text: &str) -> (u32, u32, u32, u32) {
    let mut parts = text.split('.').map(|p| p.parse().unwrap_or(0)).chain(std::iter::repeat(0));
    let mut next = || parts.next().unwrap();
    (next(), next(), next(), next())
}

/// A forged machine.
pub struct Machine {
    pub name: String,
    pub dump: PathBuf,
    /// Its own layouts and globals.
    pub own: Symbols,
}

fn forge_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/forge/layouts")
}

fn tables(folder: &Path) -> Vec<Table> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.iter().filter(|p| p.extension().is_some_and(|e| e == "txt")).filter_map(|p| Table::read(p)).collect()
}

/// The tables that the forge builds its samples on.
pub fn tables_of_forge() -> Vec<Symbols> {
    tables(&forge_folder()).iter().map(Table::symbols).collect()
}

/// Layouts of real kernels beside the checkout.
pub fn tables_of_shared() -> Option<Vec<Table>> {
    let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    if !shared.join("layouts-variants").is_dir() {
        println!("skipped: no ../shared/layouts-variants");
        return None;
    }
    let folders = ["layouts-variants", "layouts", "layouts-more"];
    Some(folders.iter().flat_map(|f| tables(&shared.join(f))).collect())
}

/// The scenario of each build, and the table its machine is built on.
const SCENARIOS: [(&str, u32, &str); 22] = [
    ("x64", 7601, "win7-sp1"),
    ("x64", 9200, "win8.0"),
    ("x64", 9600, "win8.1"),
    ("x64", 10240, "win10-1507"),
    ("x64", 14393, "win10-1607"),
    ("x64", 15063, "win10-1703"),
    ("x64", 16299, "win10-1709"),
    ("x64", 17134, "win10-1803"),
    ("x64", 17763, "win10-1809"),
    ("x64", 18362, "win10-1903"),
    ("x64", 19041, "win10-2004"),
    ("x64", 19045, "win10-22h2"),
    ("x64", 20348, "server-2022"),
    ("x64", 22000, "win11-21h2"),
    ("x64", 22621, "win11-22h2"),
    ("x64", 22631, "win11-23h2"),
    ("x64", 26100, "win11-24h2"),
    ("x86", 2600, "winxp-sp3-x86"),
    ("x86", 7601, "win7-sp1-x86"),
    ("x86", 9600, "win8.1-x86"),
    ("x86", 10240, "win10-1507-x86"),
    ("x86", 19041, "win10-2004-x86"),
];

/// The scenario for a build, made small, with processes that have ended, protections, jobs, and the tails of structures filled.
fn scenario(machine: &str, build: u32) -> Option<Scenario> {
    let (.., name) = SCENARIOS.iter().find(|(m, b, _)| *m == machine && *b == build)?;
    let mut s = Scenario::load(name);
    s.containers = vec!["full".into()];
    s.tails = true;
    let now = s.now;
    let alive = |p: &forge::scenario::Process| p.pid != 4 && p.exit.is_none();
    // What has no thread of consequence ends: an exit time must be there to be read from a wrong place.
    let last: Vec<u64> =
        s.processes.iter().filter(|p| alive(p) && p.path.is_none() && !p.minimal).map(|p| p.pid).collect();
    for p in s.processes.iter_mut().filter(|p| last.contains(&p.pid)) {
        p.exit = Some((now - SECOND, 1));
    }
    Some(s)
}

/// A table with what the forge needs and it lacks: structures that dumpwalk never reads, and addresses of globals, from the forge's
/// own table of that build. An identity of its own where it has none.
fn completed(table: &Table, donor: &str) -> String {
    let mut words: Vec<String> = table.text.lines().next().unwrap().split(' ').map(str::to_owned).collect();
    if words.last().is_some_and(|id| !id.contains('+')) {
        let n = words.len();
        words[n - 2] = "ntkrnlmp.pdb".into();
        words[n - 1] = format!(
            "{:0>32}+1",
            format!("{:X}", table.name.bytes().fold(7u64, |h, b| h.wrapping_mul(31) + u64::from(b)))
        );
    }
    let mut out = words.join(" ") + "\n";
    let named = |line: &str| {
        let mut words = line.split(' ');
        let kind = words.next().unwrap_or("");
        ["struct", "union", "enum"].contains(&kind).then(|| words.next().unwrap_or("").to_owned())
    };
    let own: BTreeSet<String> = table.text.lines().filter_map(named).collect();
    for line in table.text.lines().skip(1).filter(|l| !l.starts_with("symbol ") && !l.starts_with('#')) {
        out += &format!("{line}\n");
    }
    let mut keep = false;
    for line in donor.lines().filter(|l| !l.starts_with('#')) {
        if let Some(name) = named(line) {
            keep = !own.contains(&name);
        } else if line.starts_with("symbol ") {
            keep = true;
        }
        if keep {
            out += &format!("{line}\n");
        }
    }
    out
}

/// The machine of a table, where there is a scenario for its build.
pub fn machine(table: &Table, folder: &Path) -> Option<Machine> {
    let mut words = table.text.lines().next().unwrap().split(' ').skip(3);
    let (number, machine) = (words.next()?, words.next()?);
    let mut s = scenario(machine, version(number).2)?;
    let donor = std::fs::read_to_string(forge_folder().join(format!("{}.txt", s.layout))).ok()?;
    let text = completed(table, &donor);
    // Entries of page tables are as wide as the kernel's processor mode has them.
    if machine == "x86" {
        let wide = text.lines().any(|l| l == "struct _MMPTE 0x8");
        s.mode = if wide { forge::memory::Mode::Pae } else { forge::memory::Mode::Plain };
    }
    let path = folder.join(&table.name);
    std::fs::write(path.with_file_name(format!("{}.txt", table.name)), &text).unwrap();
    s.layout = path.to_string_lossy().into_owned();
    let (dumps, _) = forge::build(&s);
    let dump = folder.join(format!("{}.dmp", table.name));
    std::fs::write(&dump, &dumps.into_iter().next().unwrap().1).unwrap();
    Some(Machine { name: table.name.clone(), dump, own: table::parse(&text, &table.name).unwrap() })
}

/// A revision that does not exist: fields of a structure of a kernel moved from a place on, and the structure as much larger.
pub struct MadeUp {
    pub layout: &'static str,
    /// The structure, the first offset that moves, by how much.
    pub moves: &'static [(&'static str, u32, u32)],
}

/// `_EPROCESS` behind its tree of ranges (10240, 14393: an update did that), within its end, `_EJOB` from its middle (20348).
pub const MADE_UP: &[MadeUp] = &[
    MadeUp { layout: "x64-10.0.10240.16384", moves: &[("_EPROCESS", 0x610, 8)] },
    MadeUp { layout: "x64-10.0.17134.1", moves: &[("_EPROCESS", 0x690, 16), ("_EJOB", 0x400, 16)] },
    MadeUp { layout: "x86-10.0.10240.16384", moves: &[("_EPROCESS", 0x2c0, 8)] },
];

fn moved(text: &str, moves: &[(&str, u32, u32)]) -> String {
    let mut by = None;
    let mut out = String::new();
    let hex = |w: &str| u32::from_str_radix(w.trim_start_matches("0x"), 16).unwrap();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["struct", name, size] => {
                by = moves.iter().find(|(ty, ..)| *ty == name);
                let size = hex(size) + by.map_or(0, |m| m.2);
                out += &format!("struct {name} {size:#x}\n");
            }
            ["", at, ref rest @ ..] if by.is_some_and(|m| hex(at) >= m.1) => {
                out += &format!(" {:#x} {}\n", hex(at) + by.unwrap().2, rest.join(" "));
            }
            _ => {
                by = by.filter(|_| words[0].is_empty());
                out += &format!("{line}\n");
            }
        }
    }
    out
}

/// The machine of a revision that does not exist.
pub fn made_up(made: &MadeUp, folder: &Path) -> Machine {
    let base = Table::read(&forge_folder().join(format!("{}.txt", made.layout))).unwrap();
    let (kernel, revision) = made.layout.rsplit_once('.').unwrap();
    let later = revision.parse::<u32>().unwrap() + 1000;
    let text = moved(&base.text, made.moves).replacen(
        &format!(" {} ", made.layout.split_once('-').unwrap().1),
        &format!(" {}.{later} ", kernel.split_once('-').unwrap().1),
        1,
    );
    machine(&Table { name: format!("{kernel}.{later}"), text }, folder).unwrap()
}
