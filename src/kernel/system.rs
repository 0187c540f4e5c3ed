//! The machine as its kernel describes it: version, product, system root, times.

use super::Kernel;
use crate::bytes::Place;
use crate::layout;
use crate::paging::Space;
use crate::time::FileTime;
use crate::utf16;
use crate::value::{Absent, Value};

layout! {
    /// What `_KUSER_SHARED_DATA` says of the system.
    pub struct SystemData: "_KUSER_SHARED_DATA" {
        /// `TimeZoneBias`, a `_KSYSTEM_TIME`: what local time lags behind UTC, in 100 ns.
        time_zone_raw: [u8; 12] = "TimeZoneBias",
        /// `NtSystemRoot`: `C:\Windows`.
        root_raw: [u8; 520] = "NtSystemRoot",
        /// `NtBuildNumber` (from Windows 10): the build, with a mark in the upper half.
        build: u32 = "NtBuildNumber",
        /// `NtProductType`.
        product: u32 = "NtProductType",
        /// `NtMajorVersion`.
        major: u32 = "NtMajorVersion",
        /// `NtMinorVersion`.
        minor: u32 = "NtMinorVersion",
        /// `SuiteMask`.
        suite: u32 = "SuiteMask",
        /// `KdDebuggerEnabled`: bit 0 enabled, bit 1 not present.
        debugger: u8 = "KdDebuggerEnabled",
        /// `SafeBootMode`.
        safe_boot: u8 = "SafeBootMode",
        /// `ActiveProcessorCount` (from 7).
        processors: u32 = "ActiveProcessorCount",
        /// `InterruptTime`: 100 ns since start.
        interrupt_raw: [u8; 12] = "InterruptTime",
    }
}

/// The machine as its kernel describes it.
#[derive(Clone, Debug)]
pub struct System {
    /// `10.0`.
    pub version: Value<(u32, u32)>,
    /// The build number.
    pub build: Value<u32>,
    /// `19041.1.amd64fre.vb_release.191206-1406`.
    pub build_lab: Value<String>,
    /// `C:\Windows`.
    pub root: Value<String>,
    /// workstation, domain controller or server.
    pub product: Value<&'static str>,
    /// The suite mask.
    pub suite: Value<u32>,
    /// Running processors.
    pub processors: Value<u32>,
    /// Whether it was started in safe mode.
    pub safe_boot: Value<bool>,
    /// Whether a kernel debugger was enabled.
    pub debugger: Value<bool>,
    /// Minutes to add to local time for UTC.
    pub time_zone: Value<i64>,
    /// When it was started.
    pub boot: Value<FileTime>,
    /// 100 ns it ran, without sleep.
    pub uptime: Value<u64>,
}

/// A product type in words (`_NT_PRODUCT_TYPE`: `NtProductWinNt`, `NtProductLanManNt`, `NtProductServer`).
///
/// # Errors
/// [`Absent::Implausible`] of any other number.
pub const fn product_name(kind: u32) -> Value<&'static str> {
    match kind {
        1 => Ok("workstation"),
        2 => Ok("domain controller"),
        3 => Ok("server"),
        _ => Err(Absent::Implausible),
    }
}

/// 100 ns in a minute.
const MINUTE: i64 = 600_000_000;

impl Kernel {
    /// The machine as its kernel describes it.
    #[must_use]
    pub fn system(&self, space: &Space<'_>) -> System {
        let data = self
            .layout::<SystemData>()
            .map_err(|_| Absent::NoSymbol)
            .and_then(|layout| self.shared_view(space, layout));
        macro_rules! read {
            ($field:ident) => {
                data.as_ref().map_err(|e| *e).and_then(|d| d.$field())
            };
        }
        System {
            version: read!(major).and_then(|major| Ok((major, read!(minor)?))),
            build: self.build_number(space).or_else(|_| read!(build).map(|b| b & 0xffff)),
            build_lab: self.build_lab(space),
            root: read!(root_raw).and_then(|raw| wide(&raw)),
            product: read!(product).and_then(product_name),
            suite: read!(suite),
            processors: read!(processors),
            safe_boot: read!(safe_boot).map(|b| b != 0),
            debugger: read!(debugger).map(|b| b & 1 != 0),
            time_zone: read!(time_zone_raw).and_then(|raw| Ok(signed(&raw)? / MINUTE)),
            boot: self.boot_time(space),
            uptime: read!(interrupt_raw).and_then(|raw| u64::try_from(signed(&raw)?).map_err(|_| Absent::Implausible)),
        }
    }
    /// `NtBuildNumber`: the build in the lower half, how it was compiled in the upper.
    fn build_number(&self, space: &Space<'_>) -> Value<u32> {
        let at = self.global("NtBuildNumber").ok_or(Absent::NoSymbol)?;
        match space.number(at, 4)? & 0xffff {
            0 => Err(Absent::Implausible),
            build => u32::try_from(build).map_err(|_| Absent::Implausible),
        }
    }
    /// `NtBuildLabEx`, or the shorter `NtBuildLab`.
    fn build_lab(&self, space: &Space<'_>) -> Value<String> {
        self.build_lab_in(space).map(|(text, _)| text)
    }
    /// Where that is.
    #[must_use]
    pub fn build_lab_at(&self, space: &Space<'_>) -> Option<Place> {
        self.build_lab_in(space).ok().map(|(_, place)| place)
    }
    fn build_lab_in(&self, space: &Space<'_>) -> Value<(String, Place)> {
        let read = |name| {
            let bytes = space.fetch(self.global(name).ok_or(Absent::NoSymbol)?, 128);
            bytes.at(0, 1)?;
            let text = bytes.prefix().split(|b| *b == 0).next().unwrap_or_default();
            let printable = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
            if printable {
                Ok((String::from_utf8_lossy(text).into_owned(), bytes.place(0)))
            } else {
                Err(Absent::Implausible)
            }
        };
        read("NtBuildLabEx").or_else(|_| read("NtBuildLab"))
    }
    /// `KeBootTime`.
    fn boot_time(&self, space: &Space<'_>) -> Value<FileTime> {
        let at = self.global("KeBootTime").ok_or(Absent::NoSymbol)?;
        match space.number(at, 8)? {
            0 => Err(Absent::NotApplicable),
            ticks => Ok(FileTime(ticks)),
        }
    }
}

/// A `_KSYSTEM_TIME`: low part, then the high part twice; they differ when it was read while it was written.
fn signed(raw: &[u8; 12]) -> Value<i64> {
    let [a, b, c, d, e, f, g, h, again @ ..] = *raw;
    if [e, f, g, h] != again {
        return Err(Absent::Implausible);
    }
    Ok(i64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

/// UTF-16 up to its end or a NUL.
fn wide(raw: &[u8]) -> Value<String> {
    let text = utf16::until_nul(raw);
    if text.is_empty() { Err(Absent::NotApplicable) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            SystemData::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
    #[test]
    fn a_torn_time_is_implausible() {
        assert_eq!(signed(&[1, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0]), Ok(0x2_0000_0001));
        assert_eq!(signed(&[1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]), Err(Absent::Implausible));
    }
}
