//! The page that the kernel shares with every process, read without symbols: it tells a root that translates from one that does not.

use crate::addr::{Pa, Va};
use crate::bytes::u32_at;
use crate::dump::Arch;
use crate::paging::{Mode, Space};
use crate::symbols::Machine;

/// `_KUSER_SHARED_DATA` at offsets that are the same in all 22 tables, XP to Windows 11 24H2: `NtSystemRoot` at 0x30,
/// `NtBuildNumber` at 0x260 (from Windows 10; unused before), `NtMajorVersion` at 0x26c, `NtMinorVersion` at 0x270.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SharedPage {
    pub pa: Pa,
    pub major: u32,
    pub minor: u32,
    /// From Windows 10.
    pub build: Option<u32>,
    /// `C:\Windows`.
    pub system_root: Option<String>,
    /// Whether the address that user mode reads it at maps the same page. System's own root may map no user page.
    pub in_user_half: bool,
}

/// Where the kernel sees it (`wdm.h`: `KI_USER_SHARED_DATA`).
pub(super) const fn address(mode: Mode) -> Va {
    match mode {
        Mode::X86 | Mode::Pae => Va(0xffdf_0000),
        _ => Va(0xffff_f780_0000_0000),
    }
}
/// Where processes see it (`ntddk.h`: `MM_SHARED_USER_DATA_VA`).
const USER: Va = Va(0x7ffe_0000);

/// Reads and checks it.
///
/// # Errors
/// What is there instead.
pub(super) fn read(space: &Space<'_>) -> Result<SharedPage, String> {
    let at = address(space.mode());
    let pa = space.translate(at).map_err(|why| format!("the shared page {at} is {why}"))?;
    let bytes = space.fetch(at, 0x274);
    let raw = bytes.all().map_err(|why| format!("the shared page {at} is {why}"))?;
    let (major, minor) = (u32_at(raw, 0x26c).unwrap_or(0), u32_at(raw, 0x270).unwrap_or(0));
    // Windows NT 5 (XP, Server 2003), 6 (Vista to 8.1), 10.
    if !matches!((major, minor), (5, 1 | 2) | (6, 0..=3) | (10, 0)) {
        return Err(format!("the shared page {at} says Windows {major}.{minor}"));
    }
    let build = u32_at(raw, 0x260).map(|b| b & 0xffff).filter(|b| major >= 10 && plausible_build(*b));
    Ok(SharedPage {
        pa,
        major,
        minor,
        build,
        system_root: system_root(raw.get(0x30..0x30 + 520).unwrap_or_default()),
        in_user_half: space.translate(USER) == Ok(pa),
    })
}

/// Builds from XP on; none had more than five digits.
pub(super) const fn plausible_build(build: u32) -> bool {
    2600 <= build && build < 60_000
}

/// `C:\Windows`: a drive letter and printable text.
fn system_root(raw: &[u8]) -> Option<String> {
    let units: Vec<u16> = raw
        .chunks_exact(2)
        .filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)))
        .take_while(|c| *c != 0)
        .collect();
    let text = String::from_utf16(&units).ok()?;
    let mut chars = text.chars();
    let drive = chars.next()?.is_ascii_alphabetic() && chars.next() == Some(':') && chars.next() == Some('\\');
    (drive && !text.contains(char::is_control)).then_some(text)
}

/// The processor of a paging mode.
pub(super) const fn arch(mode: Mode) -> Arch {
    match mode {
        Mode::X86 | Mode::Pae => Arch::X86,
        Mode::Arm64 => Arch::Arm64,
        Mode::X64 | Mode::La57 | Mode::Blocks => Arch::X64,
    }
}

/// The processor as symbols name it.
pub(super) const fn machine(arch: Arch) -> Machine {
    match arch {
        Arch::X86 => Machine::X86,
        Arch::X64 => Machine::X64,
        Arch::Arm64 => Machine::Arm64,
    }
}
