//! The kernel's globals that are numbers or small tables.

use crate::machine::Machine;
use crate::memory::{Mode, PoolKind};
use crate::scenario::Scenario;

/// `MmProtectToValue`: the low three bits of a protection code choose the access, the next two a modifier.
fn protections() -> Vec<u8> {
    let access = [0x01u32, 0x02, 0x10, 0x20, 0x04, 0x08, 0x40, 0x80];
    let modifier = [0u32, 0x200, 0x100, 0x400]; // no cache, guard, write-combine
    (0..32usize)
        .flat_map(|i| if i % 8 == 0 { 1u32.to_le_bytes() } else { (access[i % 8] | modifier[i / 8]).to_le_bytes() })
        .collect()
}

/// Where user space ends and the 64 KB that nobody may touch begin.
pub fn user_end(m: &Machine, s: &Scenario) -> u64 {
    match m.kernel.mode.wide() {
        false => 0x7FFF_0000,
        true if s.nt >= (6, 3) => 0x7FFF_FFFF_0000,
        true => 0x7FF_FFFF_0000,
    }
}

/// Where the last-level page tables appear: where the self-reference stands in the topmost one.
pub fn tables(m: &Machine) -> u64 {
    match m.kernel.mode {
        Mode::Four | Mode::Arm => 0xFFFF_0000_0000_0000 | m.regions.self_map << 39,
        Mode::Five => 0xFE00_0000_0000_0000 | m.regions.self_map << 48,
        Mode::Pae | Mode::Plain => 0xC000_0000,
    }
}

/// Plants them.
pub fn plant(m: &mut Machine, s: &Scenario) {
    m.plant_u32("NtBuildNumber", 0xF000_0000 | if s.build == 19045 { 19041 } else { s.build });
    m.plant_u32("CmNtCSDVersion", s.service_pack << 8);
    m.plant_u32("KeNumberProcessors", 2);
    m.plant_word("KeActiveProcessors", 3);
    m.plant_u64("KeBootTime", s.boot);
    m.plant_word("PsNtosImageBase", m.regions.kernel);
    let end = user_end(m, s);
    m.plant_word("MmHighestUserAddress", end - 1);
    m.plant_word("MmUserProbeAddress", end);
    m.plant_word(
        "MmSystemRangeStart",
        match m.kernel.mode.wide() {
            false => 0x8000_0000,
            true if s.nt >= (6, 3) => 0xFFFF_8000_0000_0000,
            true => 0xFFFF_0800_0000_0000,
        },
    );
    m.plant_word("MmPteBase", tables(m));
    if m.cookie != 0 {
        let at = m.global("ObHeaderCookie");
        let cookie = [m.cookie];
        m.plant(at, &cookie);
    }
    if m.pte_mask != 0 {
        let at = m.global("MiState") + m.layouts.offset("_MI_SYSTEM_INFORMATION", "Hardware.InvalidPteMask");
        let mask = m.pte_mask;
        m.plant(at, &mask.to_le_bytes());
    }
    if let Some(at) = m.global_opt("MmProtectToValue") {
        m.plant(at, &protections());
    }
    if let Some(at) = m.global_opt("NtBuildLab") {
        m.plant(at, &[s.lab.as_bytes(), &[0]].concat());
    }
    // One entry for each combination of optional headers; Windows 7 keeps 64 of them, later ones 256.
    let n = if m.cookie == 0 { 64 } else { 256 };
    let offsets: Vec<u8> = (0..n).map(|mask| m.info_offset(mask & 0x1F) as u8).collect();
    if let Some(at) = m.global_opt("ObpInfoMaskToOffset") {
        m.plant(at, &offsets);
    }
    if let Some(at) = m.global_opt("KiBugCheckData") {
        let values: Vec<u64> = std::iter::once(u64::from(s.bugcheck.0)).chain(s.bugcheck.1).collect();
        let words = m.words(&values);
        m.plant(at, &words);
    }
    for list in ["CmpHiveListHead", "HandleTableListHead", "KiProcessListHead", "IopErrorLogListHead"] {
        if let Some(at) = m.global_opt(list) {
            m.plant(at, &[0; 16]);
            m.link(at, &[]);
        }
    }
    prcb(m);
}

/// The start of each processor's control block: enough to see which thread runs.
fn prcb(m: &mut Machine) {
    let Some(table) = m.global_opt("KiProcessorBlock").filter(|_| m.layouts.has("_KPRCB")) else { return };
    let block = m.alloc(PoolKind::Large, b"Prcb", 0x600);
    let mut p = m.obj("_KPRCB");
    p.set_opt("MxCsr", 0x1F80).set("Number", 0);
    m.write(block, &p.bytes[..0x600]);
    m.plant(table, &m.word(block));
}

/// The table of pool blocks too big for a header.
pub fn big_pages(m: &mut Machine, big: &[(u64, [u8; 4], u64)]) {
    if big.is_empty() || !m.layouts.has("_POOL_TRACKER_BIG_PAGES") || m.global_opt("PoolBigPageTable").is_none() {
        return;
    }
    let size = m.layouts.size("_POOL_TRACKER_BIG_PAGES");
    let slots = (big.len() as u64 + 1).next_power_of_two();
    let table = m.regions.session + 0x1000_0000;
    m.ensure(table, slots * size, crate::memory::flags::KERNEL | crate::memory::flags::NX);
    for i in 0..slots {
        let mut e = m.obj("_POOL_TRACKER_BIG_PAGES");
        match big.get(i as usize) {
            Some((va, tag, bytes)) => {
                e.set("Va", *va)
                    .set("Key", u64::from(u32::from_le_bytes(*tag)))
                    .set_opt("NumberOfBytes", bytes.next_multiple_of(0x1000))
                    .set_opt("NumberOfPages", bytes.div_ceil(0x1000));
            }
            // A free slot has its lowest address bit set.
            None => {
                e.set("Va", 1);
            }
        }
        m.write(table + i * size, &e.bytes);
    }
    m.plant_word("PoolBigPageTable", table);
    m.plant_word("PoolBigPageTableSize", slots);
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_table_of_protections() {
        let t = super::protections();
        let at = |i: usize| u32::from_le_bytes(t[4 * i..4 * i + 4].try_into().unwrap());
        assert_eq!([at(0), at(4), at(7), at(0xC), at(0x14), at(0x18), at(0x1F)], [1, 4, 0x80, 0x204, 0x104, 1, 0x480]);
    }
}
