//! DLLs that a process unloaded: the ring ntdll keeps of them, and the function that tells where.
//!
//! Source: "RtlGetUnloadEventTrace function" (learn.microsoft.com/windows/win32/devnotes): the fields of an entry and their number;
//! public headers show two words of version behind them since Vista.

use super::files::Mapped;
use super::user::User;
use crate::machine::Machine;
use crate::memory::PAGE;
use crate::scenario::{Gone, ImageFile};
use crate::truth::Json;

/// RVA of the function, behind those that stacks run through.
pub const FUNCTION: u64 = PAGE + 0x800;
/// Entries of the ring.
const ENTRIES: usize = 64;

/// RVA of the ring: the beginning of writable data.
fn ring(file: &ImageFile) -> u64 {
    let spec = super::files::spec(file);
    spec.sections.iter().find(|s| s.name == ".data").map_or(0, |s| s.rva)
}

/// `lea rax, [rip+distance]; ret`, or `mov eax, address; ret`.
pub fn function(file: &ImageFile) -> Vec<u8> {
    let data = ring(file);
    let mut code = if file.wide { vec![0x48, 0x8D, 0x05] } else { vec![0xB8] };
    let value = if file.wide { data - (FUNCTION + 7) } else { file.base + data };
    code.extend((value as u32).to_le_bytes());
    code.push(0xC3);
    code
}

/// Writes the ring of a process into its own copy of ntdll's data. The event numbered n stands at n modulo 64.
pub fn plant(m: &mut Machine, u: &mut User, ntdll: &Mapped, gone: &[Gone]) -> Vec<Json> {
    let wide = ntdll.file.wide;
    let versions = m.layouts.vista();
    let pointer = |n: u64| if wide { n.to_le_bytes().to_vec() } else { (n as u32).to_le_bytes().to_vec() };
    let at = ntdll.file.base + ring(&ntdll.file);
    let mut slots: Vec<Vec<u8>> = vec![Vec::new(); ENTRIES];
    let mut truth = std::collections::VecDeque::new();
    for (i, g) in gone.iter().enumerate() {
        let mut e = [pointer(g.base), pointer(g.size)].concat();
        for word in [i as u32, g.timestamp, g.timestamp ^ 0xFFFF] {
            e.extend(word.to_le_bytes());
        }
        let mut name: Vec<u8> = g.name.encode_utf16().take(32).flat_map(u16::to_le_bytes).collect();
        name.resize(64, 0);
        e.extend(name);
        if versions {
            e.extend([0; 8]);
        }
        slots[i % ENTRIES] = e;
        if truth.len() == ENTRIES {
            truth.pop_front();
        }
        truth.push_back(
            Json::object()
                .with("sequence", i as u64)
                .with("base", g.base)
                .with("size", g.size)
                .with("name", g.name.as_str())
                .with("timestamp", g.timestamp)
                .with("wow64", u64::from(!wide) & u64::from(m.pointer() == 8) == 1),
        );
    }
    let body = if wide { 92 } else { 84 } + if versions { 8u64 } else { 0 };
    let stride = body.next_multiple_of(if wide { 8 } else { 4 }) as usize;
    let bytes: Vec<u8> = slots
        .into_iter()
        .flat_map(|mut slot| {
            slot.resize(stride, 0);
            slot
        })
        .collect();
    u.write(m, at, &bytes);
    truth.into()
}
