//! A genuine PDB for a layout table: records and labels assembled by clang, linked by lld, identity patched.
//!
//! Going through a real linker keeps our own reading of the PDB format out of the samples: what lld wrote, other
//! readers accept. clang and lld are needed only here; nothing else in the forge runs a program.

mod codeview;
mod identity;
mod types;

pub use identity::guid_bytes;

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::{self, Section};
use crate::layout::Layouts;

/// Path of the table's PDB below a symbol store.
pub fn store_path(table: &Layouts) -> PathBuf {
    PathBuf::from(format!("{0}/{1}{2:X}/{0}", table.pdb_name, table.guid, table.age))
}

/// Builds the PDB and files it in `store`; gives its path.
pub fn file(table: &Layouts, store: &Path) -> io::Result<PathBuf> {
    let work = std::env::temp_dir().join(format!("forge-pdb-{}-{}", std::process::id(), table.guid));
    std::fs::create_dir_all(&work)?;
    let linked = link(table, &work);
    let path = store.join(store_path(table));
    std::fs::create_dir_all(path.parent().unwrap_or(store))?;
    std::fs::write(&path, linked?)?;
    std::fs::remove_dir_all(&work)?;
    Ok(path)
}

fn link(table: &Layouts, work: &Path) -> io::Result<Vec<u8>> {
    std::fs::write(work.join("nt.s"), assembler(table))?;
    let target = if table.arch == "x64" { "x86_64-pc-windows-msvc" } else { "i686-pc-windows-msvc" };
    run(work, "clang", &["-c", &format!("--target={target}"), "nt.s", "-o", "nt.obj"])?;
    let alt = format!("/pdbaltpath:{}", table.pdb_name);
    // Without a source path of our choice the PDB would name the folder it was linked in.
    let options = [
        "/safeseh:no",
        "/dll",
        "/noentry",
        "/debug",
        "/Brepro",
        "/opt:noref",
        "/out:nt.dll",
        "/pdb:nt.pdb",
        "/pdbsourcepath:C:\\forge",
    ];
    run(work, "lld-link", &[&options[..], &[&alt, "nt.obj"]].concat())?;
    let mut pdb = std::fs::read(work.join("nt.pdb"))?;
    identity::set(&mut pdb, &table.guid, table.age);
    Ok(pdb)
}

fn run(dir: &Path, program: &str, args: &[&str]) -> io::Result<()> {
    let out = Command::new(program).args(args).current_dir(dir).output()?;
    if out.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program}: {}", String::from_utf8_lossy(&out.stderr))))
}

/// The sections of the kernel image with a label at every symbol, and the type records.
///
/// The sections hold no bytes: only the addresses matter, and the PDB records the section headers.
fn assembler(table: &Layouts) -> String {
    let mut out = String::new();
    // lld makes .rdata itself, one page for its debug directory; no symbol lies there.
    for section in image::kernel_sections(table).into_iter().filter(|s| s.name != ".rdata") {
        labels(&mut out, table, &section);
    }
    out += ".section .debug$T,\"dr\"\n";
    for line in types::records(table).chunks(32) {
        let bytes: Vec<String> = line.iter().map(u8::to_string).collect();
        let _ = writeln!(out, ".byte {}", bytes.join(","));
    }
    out
}

fn labels(out: &mut String, table: &Layouts, section: &Section) {
    let mut inside: Vec<(u64, &str)> =
        table.symbols.iter().map(|(n, r)| (*r, n.as_str())).filter(|(r, _)| section.holds(*r)).collect();
    inside.extend(image::added_symbols(table).into_iter().map(|(n, r)| (r, n)).filter(|(r, _)| section.holds(*r)));
    inside.sort();
    let _ = writeln!(out, ".section {},\"{}\"", section.name, if section.code { "bx" } else { "bw" });
    let mut at = section.rva;
    // COFF decoration: one underscore more on x86 only.
    let prefix = if table.arch == "x64" { "" } else { "_" };
    for (rva, name) in inside {
        if rva > at {
            let _ = writeln!(out, ".skip {}", rva - at);
            at = rva;
        }
        let _ = writeln!(out, ".globl {prefix}{name}\n{prefix}{name}:");
    }
    let _ = writeln!(out, ".skip {}", section.rva + section.size - at);
}
