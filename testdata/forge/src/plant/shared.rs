//! `_KUSER_SHARED_DATA`: one page, mapped at the same two addresses everywhere.

use crate::machine::Machine;
use crate::memory::{Use, flags};
use crate::scenario::Scenario;

/// Kernel address of the page.
fn kernel(m: &Machine) -> u64 {
    if m.pointer() == 8 { 0xFFFF_F780_0000_0000 } else { 0xFFDF_0000 }
}
/// User address of the page.
pub const USER: u64 = 0x7FFE_0000;

/// Plants it; gives its frame.
pub fn plant(m: &mut Machine, s: &Scenario) -> u64 {
    let frame = m.mem.take(Use::Kernel);
    let at = kernel(m);
    m.kernel.map(&mut m.mem, at, frame, flags::KERNEL | flags::NX);
    let mut k = m.obj("_KUSER_SHARED_DATA");
    let root: Vec<u8> = "C:\\Windows".encode_utf16().flat_map(u16::to_le_bytes).collect();
    k.set_bytes("NtSystemRoot", &root);
    for (field, value) in [("SystemTime", s.now), ("InterruptTime", s.now - s.boot)] {
        k.set(&format!("{field}.LowPart"), value & 0xFFFF_FFFF);
        k.set(&format!("{field}.High1Time"), value >> 32).set(&format!("{field}.High2Time"), value >> 32);
    }
    let ticks = (s.now - s.boot) / 156_250;
    k.set("TickCountMultiplier", 0x0FA0_0000).set("TickCount.LowPart", ticks);
    k.set("NtMajorVersion", s.nt.0.into())
        .set("NtMinorVersion", s.nt.1.into())
        .set("NtProductType", 1)
        .set("ProductTypeIsValid", 1);
    // PROCESSOR_ARCHITECTURE_… of winnt.h.
    let architecture = match m.layouts.machine() {
        0xAA64 => 12,
        0x8664 => 9,
        _ => 0,
    };
    k.set_opt("NtBuildNumber", s.build.into()).set_opt("NativeProcessorArchitecture", architecture);
    let machine = u64::from(m.layouts.machine());
    k.set("ImageNumberLow", machine)
        .set("ImageNumberHigh", machine)
        .set("SuiteMask", 0x110)
        .set_opt("ActiveProcessorCount", 2);
    k.set("NumberOfPhysicalPages", m.mem.plan.runs.iter().map(|r| r.1).sum()).set_opt("QpcFrequency", 10_000_000);
    m.write(at, &k.bytes);
    frame
}
