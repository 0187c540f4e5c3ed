//! Pages in every state, large pages, and the boot processor's low stub.

use super::files::Mapped;
use super::user::User;
use crate::machine::Machine;
use crate::memory::{PAGE, Soft, Use, flags, software};
use crate::scenario::Scenario;
use crate::truth::Json;

/// Puts the next page of a region into the state `kind`.
pub fn plant(m: &mut Machine, user: &mut User, va: u64, kind: &str, image: &Mapped) {
    let mask = m.pte_mask;
    let mut truth = Json::object().with("va", va).with("kind", kind);
    let soft = match kind {
        "transition" => {
            let frame = m.mem.take(Use::User);
            let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| m.rng.word().to_le_bytes()).collect();
            m.mem.page_mut(frame).copy_from_slice(&bytes);
            user.space.know(va, frame);
            truth.set("pa", frame << 12);
            truth.set("first8", m.mem.u64_at(frame, 0));
            Soft::Transition(frame)
        }
        "pagefile" => {
            let page = m.rng.within(0x100, 0x4000);
            truth.set("file", 0u64);
            truth.set("offset", page);
            Soft::PageFile(0, page)
        }
        // The virtual store of compressed memory is page file number 2 unless configured otherwise.
        "compressed" => {
            let page = m.rng.within(0x100, 0x4000);
            truth.set("file", 2u64);
            truth.set("offset", page);
            Soft::PageFile(2, page)
        }
        "zero" => Soft::DemandZero,
        "prototype" => {
            let (page, frame, _) = image.resident[image.resident.len() - 1];
            let proto = image.prototypes + m.pte_size() * page;
            truth.set("prototype", proto);
            truth.set("pa", frame << 12);
            truth.set("first8", m.mem.u64_at(frame, 0));
            Soft::Prototype(proto)
        }
        other => panic!("page state {other}"),
    };
    let protection = if kind == "prototype" { 0 } else { 4 };
    let entry = software(&m.layouts, soft, protection, mask);
    truth.set("pte", entry);
    user.space.set_entry(&mut m.mem, va, entry);
    user.paging.push(truth);
}

/// Fills what exists of the 1 GB page and tells of both large mappings.
pub fn large(m: &mut Machine) -> Json {
    let (first, from, n) = m.frames.huge;
    let mut out = Vec::new();
    for frame in from..from + n {
        let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| m.rng.word().to_le_bytes()).collect();
        m.mem.page_mut(frame).copy_from_slice(&bytes);
        let va = m.regions.huge + (frame - first) * PAGE;
        out.push(
            Json::object()
                .with("va", va)
                .with("pa", frame << 12)
                .with("size", 1u64 << 30)
                .with("first8", m.mem.u64_at(frame, 0)),
        );
    }
    let (skip, large) = (m.frames.large.1, m.kernel.mode.large());
    let (frame, va) = (m.frames.large.0 + skip, m.regions.large + skip * PAGE);
    out.push(
        Json::object()
            .with("va", va)
            .with("pa", frame << 12)
            .with("size", large)
            .with("first8", m.mem.u64_at(frame, 0)),
    );
    out.into()
}

/// The low stub's fields that tools look at: a jump, the kernel's entry, the page-table root (offsets as in the HAL's
/// `PROCESSOR_START_BLOCK`, known from published tools).
pub fn low_stub(m: &mut Machine, s: &Scenario) {
    if let Some(frame) = s.low_stub {
        m.mem.claim(frame, Use::Kernel);
        m.mem.set_u64(frame, 0, 0x0000_0001_0006_00E9);
        let entry = m.regions.kernel + m.layouts.symbols.get("KiSystemStartup").copied().unwrap_or(0x1010);
        m.mem.set_u64(frame, 0x70 / 8, entry & !3);
        m.mem.set_u64(frame, 0xA0 / 8, s.root << 12);
    }
    let _ = flags::P;
}
