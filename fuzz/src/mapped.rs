//! Bytes as physical memory: page tables that the fuzzer wrote, and an image that lies mapped.

use dumpwalk::addr::{Pa, Va};
use dumpwalk::bytes::Bytes;
use dumpwalk::dump::Dump;
use dumpwalk::kernel::image::Image;
use dumpwalk::kernel::pe::{Exports, code_view};
use dumpwalk::kernel::stack::unwind::{Functions, Registers, leaf, unwind};
use dumpwalk::kernel::stack::unwind_arm64;
use dumpwalk::kernel::verinfo;
use dumpwalk::paging::{Mode, Space};
use std::path::Path;

/// Pages of the machine.
const PAGES: usize = 64;

/// A full dump whose pages 0 on hold these bytes.
fn memory(bytes: &[u8]) -> Option<Dump> {
    let mut file = vec![0; 0x2000];
    file[..8].copy_from_slice(b"PAGEDU64");
    file[0x30..0x34].copy_from_slice(&0x8664u32.to_le_bytes());
    file[0x88..0x8c].copy_from_slice(&1u32.to_le_bytes());
    file[0x90..0x98].copy_from_slice(&(PAGES as u64).to_le_bytes());
    file[0xa0..0xa8].copy_from_slice(&(PAGES as u64).to_le_bytes());
    file[0xf98..0xf9c].copy_from_slice(&1u32.to_le_bytes());
    file.extend(bytes.iter().take(PAGES * 4096));
    file.resize(0x2000 + PAGES * 4096, 0);
    Dump::from_bytes(Path::new("fuzz.dmp"), &file).ok()
}

/// Page tables of every mode. The bytes are words of eight: the low half of the first says where in memory it goes.
pub fn tables(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else { return };
    let mut physical = vec![0u8; PAGES * 4096];
    for pair in rest.as_chunks::<10>().0 {
        let at = usize::from(u16::from_le_bytes([pair[0], pair[1]])) * 4 % physical.len();
        let end = (at + 8).min(physical.len());
        physical[at..end].copy_from_slice(&pair[2..2 + end - at]);
    }
    let Some(dump) = memory(&physical) else { return };
    let modes = [Mode::X64, Mode::La57, Mode::Pae, Mode::X86, Mode::Arm64];
    let space = Space::new(&dump, modes[usize::from(*choice) % modes.len()], Pa(0x1000));
    let mut addresses = vec![0, 0x1000, 0x7fff_ffff_f000, 0x8000_0000, 0xc030_0000, 0xffff_8000_0000_0000, u64::MAX];
    addresses.extend(rest.as_chunks::<8>().0.iter().take(16).map(|w| u64::from_le_bytes(*w)));
    for va in addresses.into_iter().map(Va) {
        let walked = space.walk(va);
        if let Ok(pa) = space.translate(va)
            && let Ok(mapping) = walked
        {
            assert_eq!(pa, mapping.pa, "what is remembered is what was found");
        }
        let fetched = space.fetch(va, 0x3000);
        assert_eq!(fetched.len(), 0x3000);
        for (offset, present) in fetched.present().take(4) {
            let place = fetched.place(offset);
            let file = place.file.and_then(|at| at.dump_offset()).expect("bytes of a dump have a place in it") as usize;
            assert_eq!(dump.map().get(file), present.first());
        }
        let _ = (space.pointer(va), space.until_nul(va, 64));
        let mut end = va.0;
        for region in space.regions(va, Va(u64::MAX)).take(64) {
            assert!(region.va.0 >= end && region.size > 0, "regions come in order");
            end = region.va.0.saturating_add(region.size - 1);
        }
    }
}

/// Where the image lies.
const BASE: u64 = 0xffff_f800_0000_0000;

/// A PE image in mapped memory: headers, sections, exports, debug record, version, unwind data.
pub fn image(bytes: &[u8]) {
    let _ = verinfo::parse(bytes);
    let _ = code_view(&Bytes::borrowed(bytes, None, None, None));
    // Pages 1 to 4 are the tables, the image begins in page 8.
    let mut physical = vec![0u8; 8 * 4096];
    let mut entry = |page: usize, index: usize, to: u64| {
        let at = page * 4096 + index * 8;
        physical[at..at + 8].copy_from_slice(&(to << 12 | 0x63).to_le_bytes());
    };
    entry(1, 0x1f0, 2);
    entry(2, 0, 3);
    entry(3, 0, 4);
    (0..PAGES - 8).for_each(|i| entry(4, i, 8 + i as u64));
    physical.extend(bytes);
    let Some(dump) = memory(&physical) else { return };
    let space = Space::new(&dump, Mode::X64, Pa(0x1000));
    assert_eq!(space.translate(Va(BASE)), Ok(Pa(0x8000)));
    if let Ok(image) = Image::read(&space, Va(BASE)) {
        let _ = (image.pdb(&space), image.version(&space), Exports::read(&space, &image));
        (0..0x4_0000).step_by(0x800).for_each(|rva| _ = image.section_at(rva).map(|s| s.name.clone()));
    }
    let table = Functions { base: Va(BASE), rva: 0x100, count: 64 };
    for ip in (0..0x2000).step_by(0x40).map(|rva| BASE + rva) {
        let mut registers = Registers::at(ip, BASE + 0x1000);
        match table.find(&space, ip) {
            Ok(Some(function)) => {
                let _ = table.primary(&space, function);
                let _ = unwind(&space, &table, function, &mut registers, ip & 0x40 != 0);
            }
            _ => _ = leaf(&space, &mut registers),
        }
        let mut registers = Registers::at(ip, BASE + 0x1000);
        let _ = unwind_arm64::unwind(&space, &table, &mut registers, ip & 0x40 != 0);
    }
}
