//! The debugger data block, plain or encoded, and the version block beside it.

use std::sync::Arc;

use crate::layout::Layouts;
use crate::machine::{Machine, Obj};
use crate::scenario::Scenario;
use crate::truth::Json;

/// Member of the block and the member of a kernel structure whose offset it holds.
const OFFSETS: [(&str, &str, &str); 12] = [
    ("OffsetKThreadTeb", "_KTHREAD", "Teb"),
    ("OffsetKThreadKernelStack", "_KTHREAD", "KernelStack"),
    ("OffsetKThreadInitialStack", "_KTHREAD", "InitialStack"),
    ("OffsetKThreadApcProcess", "_KTHREAD", "ApcState.Process"),
    ("OffsetKThreadState", "_KTHREAD", "State"),
    ("OffsetKThreadNextProcessor", "_KTHREAD", "NextProcessor"),
    ("OffsetEprocessPeb", "_EPROCESS", "Peb"),
    ("OffsetEprocessParentCID", "_EPROCESS", "InheritedFromUniqueProcessId"),
    ("OffsetEprocessDirectoryTableBase", "_EPROCESS", "Pcb.DirectoryTableBase"),
    ("OffsetPrcbCurrentThread", "_KPRCB", "CurrentThread"),
    ("OffsetPrcbMhz", "_KPRCB", "MHz"),
    ("OffsetPrcbNumber", "_KPRCB", "Number"),
];

/// Size of the block.
fn size(s: &Scenario) -> u64 {
    match s.nt {
        (5, _) => 0x290,
        (6, 0 | 1) => 0x340,
        (6, _) => 0x360,
        _ => 0x380,
    }
}

/// The block's bytes as a triage dump keeps them: never encoded.
pub fn plain(m: &Machine, s: &Scenario) -> Vec<u8> {
    block(m, m.global("KdDebuggerDataBlock"), size(s))
}

/// Plants block and version block; gives their truth.
pub fn plant(m: &mut Machine, s: &Scenario) -> Json {
    let size = size(s);
    let at = m.global("KdDebuggerDataBlock");
    let mut bytes = block(m, at, size);
    let flag = m.global_opt("KdpDataBlockEncoded");
    let encoded = s.nt >= (6, 2) && flag.is_some() && m.pointer() == 8;
    if let (true, Some(flag)) = (encoded, flag) {
        let (never, always) = (m.rng.word(), m.rng.word());
        m.plant_u64("KiWaitNever", never);
        m.plant_u64("KiWaitAlways", always);
        m.plant(flag, &[1]);
        for chunk in bytes.chunks_exact_mut(8) {
            let word = u64::from_le_bytes(chunk.try_into().expect("eight bytes"));
            chunk.copy_from_slice(&encode(word, never, always, flag).to_le_bytes());
        }
    }
    m.plant(at, &bytes[..size as usize]);
    version(m, s);
    Json::object().with("address", at).with("size", size).with("encoded", encoded)
}

/// Undone by: xor never, rotate left by never, xor the flag's address, swap bytes, xor always.
fn encode(plain: u64, never: u64, always: u64, flag: u64) -> u64 {
    ((plain ^ always).swap_bytes() ^ flag).rotate_right((never & 63) as u32) ^ never
}

/// The plain block.
fn block(m: &Machine, at: u64, size: u64) -> Vec<u8> {
    let table = Arc::new(Layouts::load("kddebugger_data64"));
    let mut b = Obj::new(&table, "_KDDEBUGGER_DATA64");
    // A member named like a global holds that global's address.
    for field in table.ty("_KDDEBUGGER_DATA64").fields.iter().filter(|f| f.size == 8) {
        if let Some(va) = m.global_opt(&field.name) {
            b.set(&field.name, va);
        }
    }
    b.set("KernBase", m.regions.kernel).set("MmPageSize", 0x1000);
    for (field, ty, path) in OFFSETS {
        if let Some(place) = m.layouts.find(ty, path) {
            b.set(field, place.offset);
        }
    }
    b.set("SizeEProcess", m.layouts.size("_EPROCESS")).set("SizeEThread", m.layouts.size("_ETHREAD"));
    if m.layouts.has("_KPRCB") {
        b.set("SizePrcb", m.layouts.size("_KPRCB") & 0xFFFF);
    }
    // The block is linked into a list of its own; on x86 by two pointers of four bytes, and its other fields, statically
    // initialised with addresses, are not sign-extended.
    let mut header = m.words(&[at, at]);
    header.resize(16, 0);
    header.extend(b"KDBG");
    header.extend((size as u32).to_le_bytes());
    b.set_bytes("Header", &header);
    b.bytes.truncate(size as usize);
    b.bytes
}

/// `KdVersionBlock`: what a debugger asks first.
fn version(m: &mut Machine, s: &Scenario) {
    let Some(at) = m.global_opt("KdVersionBlock") else { return };
    let build = if s.build == 19045 { 19041 } else { s.build };
    let mut v = m.obj("_DBGKD_GET_VERSION64");
    v.set("MajorVersion", 0xF)
        .set("MinorVersion", build.into())
        .set("ProtocolVersion", 6)
        .set("Flags", 0x47)
        .set("MachineType", m.layouts.machine().into());
    // Here addresses are sign-extended.
    let extended = |va: u64| if m.pointer() == 8 { va } else { va | 0xFFFF_FFFF_0000_0000 };
    v.set("KernBase", extended(m.regions.kernel)).set("PsLoadedModuleList", extended(m.global("PsLoadedModuleList")));
    m.plant(at, &v.bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn encoding_is_undone_as_documented() {
        let (never, always, flag) = (0x1234_5678_9ABC_DEF1, 0x0FED_CBA9_8765_4321, 0xFFFF_F807_1234_5678u64);
        let v = super::encode(0x4742_444B, never, always, flag);
        let back = ((v ^ never).rotate_left((never & 63) as u32) ^ flag).swap_bytes() ^ always;
        assert_eq!(back, 0x4742_444B);
    }
}
