//! The kernel image in memory.

use crate::image;
use crate::machine::Machine;
use crate::memory::{LARGE, flags};
use crate::scenario::Scenario;

/// Link time of the kernel: made from the build, so that two builds differ, and in the years that it could be.
pub fn timestamp(s: &Scenario) -> u32 {
    0x5000_0000 + s.build.wrapping_mul(0x2_545F) % 0x1500_0000
}

/// Writes the kernel's headers and tables, and some code in every 2 MB of it.
pub fn kernel(m: &mut Machine, s: &Scenario) {
    let base = m.regions.kernel;
    let sections = image::kernel_sections(&m.layouts);
    for (rva, bytes) in image::kernel(&m.layouts, base, timestamp(s)).pieces {
        let bits =
            if sections.iter().any(|s| s.code && s.holds(rva)) { flags::KERNEL } else { flags::KERNEL | flags::NX };
        m.ensure(base + rva, bytes.len() as u64, bits);
        m.write(base + rva, &bytes);
    }
    // Tools that look for the image's start walk down in steps of 2 MB and give up at a step with nothing in it.
    let size = image::kernel_size(&m.layouts);
    let mut at = (base + 0x1000).next_multiple_of(LARGE);
    while at < base + size {
        let filler: Vec<u8> = (0..0x200).flat_map(|_| m.rng.word().to_le_bytes()).collect();
        let code = sections.iter().any(|s| s.code && s.holds(at - base));
        m.ensure(at, 0x1000, if code { flags::KERNEL } else { flags::KERNEL | flags::NX });
        if code {
            m.write(at, &filler);
        }
        at += LARGE;
    }
}
