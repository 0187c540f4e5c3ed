//! Dump files: one file a container.

mod bitmap;
mod elf;
mod full;
mod header;
mod lime;
mod minidump;
mod ranges;
mod raw;
mod secondary;
mod summary;
mod triage;
mod vmware;

use crate::memory::Use;
use crate::plant::Planted;
use crate::scenario::Scenario;

/// Writes a full dump page by page: what nobody uses becomes a hole in the file, or what `filler` says. A machine of many
/// gigabytes is written so without being held in memory twice.
///
/// # Errors
/// When the file cannot be written.
pub fn write_sparse(
    p: &Planted,
    s: &Scenario,
    out: &mut (impl std::io::Write + std::io::Seek),
    filler: impl FnMut(u64) -> Option<Vec<u8>>,
) -> std::io::Result<u64> {
    full::write_sparse(p, s, out, filler)
}

/// File extension and bytes of a container by its name in scenarios.
///
/// # Panics
/// When there is no such container.
pub fn write(kind: &str, p: &Planted, s: &Scenario) -> (&'static str, Vec<u8>) {
    let (extension, mut bytes) = memory(kind, p, s);
    if let Some(secondary) = s.secondary.as_ref().filter(|_| extension == "dmp" && kind != "minidump") {
        bytes.extend(secondary::write(secondary, s.build));
    }
    (extension, bytes)
}

/// The same without what bug-check callbacks add.
fn memory(kind: &str, p: &Planted, s: &Scenario) -> (&'static str, Vec<u8>) {
    let kernel = |u: Option<Use>| matches!(u, Some(Use::Table | Use::Kernel));
    match kind {
        "full" => ("dmp", full::write(p, s)),
        "bitmap" => ("dmp", bitmap::write(p, s, 5, |_| true)),
        "kernel" => ("dmp", bitmap::write(p, s, 6, kernel)),
        "summary" => ("dmp", summary::write(p, s, kernel)),
        "rdmp8" => ("dmp", ranges::write(p, s, 8, kernel)),
        "rdmp9" => ("dmp", ranges::write(p, s, 9, |u| u.is_some())),
        "rdmpA" => ("dmp", ranges::write(p, s, 0xA, |_| true)),
        "triage" => ("dmp", triage::write(p, s)),
        "minidump" => ("dmp", minidump::write(p, s)),
        "raw" => ("dd", raw::write(p)),
        "lime" => ("lime", lime::write(p)),
        "qemu" => ("elf", elf::write(p, s, elf::By::Qemu)),
        "qemu-header" => ("elf", elf::write(p, s, elf::By::QemuWithHeader)),
        "qemu-mappings" => ("elf", elf::write(p, s, elf::By::QemuMappings)),
        "virtualbox" => ("elf", elf::write(p, s, elf::By::VirtualBox)),
        "vmem" => ("vmem", vmware::memory(p)),
        "vmsn" => ("vmsn", vmware::state(p, false)),
        "vmss" => ("vmss", vmware::state(p, true)),
        other => panic!("container {other}"),
    }
}
