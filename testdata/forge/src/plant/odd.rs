//! What does not belong: injected code, replaced images, patches; and its innocent look-alikes.

use super::files::{Mapped, spec};
use super::user::User;
use crate::image::build;
use crate::machine::Machine;
use crate::memory::{PAGE, Use, flags};
use crate::scenario::{ImageFile, Injection, Process};
use crate::truth::Json;

/// The beginning of many a shellcode: clear the direction flag, align the stack, call over a block.
const SHELLCODE: [u8; 32] = [
    0xFC, 0x48, 0x83, 0xE4, 0xF0, 0xE8, 0xC0, 0x00, 0x00, 0x00, 0x41, 0x51, 0x41, 0x50, 0x52, 0x51, 0x56, 0x48, 0x31,
    0xD2, 0x65, 0x48, 0x8B, 0x52, 0x60, 0x48, 0x8B, 0x52, 0x18, 0x48, 0x8B, 0x52,
];

/// What innocent generated code looks like: small functions with prologues, 32 bytes apart.
const JITTED: [u8; 32] = [
    0x55, 0x48, 0x8B, 0xEC, 0x48, 0x83, 0xEC, 0x20, 0x48, 0x8B, 0x41, 0x08, 0x48, 0x85, 0xC0, 0x74, 0x06, 0x48, 0x8B,
    0x40, 0x10, 0xEB, 0x02, 0x33, 0xC0, 0x48, 0x83, 0xC4, 0x20, 0x5D, 0xC3, 0xCC,
];

/// A PE's pages at a base, as a loader that is not Windows' would lay them out.
fn portable(base: u64, pages: u64, wiped: bool) -> Vec<(u64, Vec<u8>)> {
    let file = ImageFile {
        path: "\\stage2.dll".into(),
        base,
        size: pages.max(8) * PAGE,
        wide: true,
        timestamp: 0x6511_2233,
        ring: false,
        deleted: false,
    };
    let mut pieces = build(&spec(&file)).pieces;
    if wiped {
        pieces.retain(|(rva, _)| *rva >= PAGE);
    }
    pieces
}

/// Writes code into a region page by page; pages in between are committed too.
fn fill(m: &mut Machine, u: &mut User, base: u64, pieces: &[(u64, Vec<u8>)], bits: u64) {
    for (rva, bytes) in pieces {
        for page in (base + rva) / PAGE..=(base + rva + bytes.len() as u64 - 1) / PAGE {
            u.page(m, page * PAGE, bits);
        }
        u.space.write(&mut m.mem, base + rva, bytes);
    }
}

/// Page bits of a protection code.
pub fn bits(protection: u64) -> u64 {
    match protection & 7 {
        2 | 3 => flags::P | flags::U | 0x20,
        6 | 7 => flags::USER,
        1 => flags::P | flags::U | 0x20 | flags::NX,
        _ => super::user::DATA,
    }
}

/// Injected regions from `next` on; gives their bases and truths (the benign ones apart).
pub fn injections(
    m: &mut Machine,
    list: &[Injection],
    u: &mut User,
    next: &mut u64,
) -> (Vec<u64>, Vec<Json>, Vec<Json>) {
    let (mut bases, mut truth, mut benign) = (Vec::new(), Vec::new(), Vec::new());
    for i in list {
        let base = *next;
        let portable_kind = matches!(i.kind.as_str(), "reflective" | "wiped");
        let pages = if portable_kind { i.pages.max(8) } else { i.pages };
        u.private(base, pages, pages, i.protection);
        let pieces = match i.kind.as_str() {
            "reflective" => portable(base, pages, false),
            "wiped" => portable(base, pages, true),
            "jit" => vec![(0, JITTED.repeat(40))],
            // A jump to a module's function and back, as hooking engines allocate.
            "trampoline" => {
                vec![(0, [&[0xFFu8, 0x25, 0, 0, 0, 0][..], &0x7FF6_D8B0_1040u64.to_le_bytes()].concat().repeat(8))]
            }
            // The stub of a system call, copied out of ntdll.
            "syscall" => vec![(0, vec![0x4C, 0x8B, 0xD1, 0xB8, 0x3A, 0, 0, 0, 0x0F, 0x05, 0xC3])],
            _ => {
                let noise: Vec<u8> = (0..0x30).flat_map(|_| m.rng.word().to_le_bytes()).collect();
                vec![(0, [&SHELLCODE[..], &noise].concat())]
            }
        };
        fill(m, u, base, &pieces, bits(i.protection));
        let row = Json::object().with("base", base).with("size", pages * PAGE).with("kind", i.kind.as_str());
        match &i.benign {
            Some(why) => benign.push(row.with("why", why.as_str())),
            None => truth.push(row),
        }
        bases.push(base);
        *next += (pages * PAGE).next_multiple_of(0x1_0000);
    }
    (bases, truth, benign)
}

/// Puts private executable memory where the program's image was; the loader and the section still tell of the image.
pub fn hollow(m: &mut Machine, u: &mut User, file: &Mapped) -> Json {
    let (base, size) = (file.file.base, file.file.size);
    u.private(base, size / PAGE, size / PAGE, 6);
    let pieces = portable(base, size / PAGE, false);
    fill(m, u, base, &pieces, flags::USER);
    Json::object().with("base", base).with("size", size).with("kind", "hollow")
}

/// Changes bytes of images: the page becomes private to the process.
pub fn patches(m: &mut Machine, p: &Process, u: &mut User, modules: &[Mapped]) -> Vec<Json> {
    let mut truth = Vec::new();
    for (module, offset, bytes) in &p.patches {
        let wanted = module.to_ascii_lowercase();
        let file = modules
            .iter()
            .find(|f| f.file.path.to_ascii_lowercase().ends_with(&wanted))
            .unwrap_or_else(|| panic!("no module {module} to patch"));
        let va = file.file.base + offset;
        let old =
            u.space.pages.get(&(va / PAGE)).copied().unwrap_or_else(|| panic!("{module}+{offset:#x} is not in memory"));
        let copy = m.mem.take(Use::User);
        let page = m.mem.page(old).to_vec();
        m.mem.page_mut(copy).copy_from_slice(&page);
        u.space.map(&mut m.mem, va & !(PAGE - 1), copy, flags::P | flags::U | flags::W | 0x60);
        let before = u.space.read(&m.mem, va, bytes.len() as u64);
        u.space.write(&mut m.mem, va, bytes);
        let hex = |b: &[u8]| b.iter().map(|x| format!("{x:02x}")).collect::<String>();
        truth.push(
            Json::object()
                .with("va", va)
                .with("module", file.file.path.as_str())
                .with("offset", *offset)
                .with("before", hex(&before))
                .with("after", hex(bytes)),
        );
    }
    truth
}
