//! `_DEVICE_OBJECT` and `_DRIVER_OBJECT` as handles hold them.

use super::{Fact, Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::symbols::layout::Counted;
use crate::value::{Absent, Value};

layout! {
    /// `_DEVICE_OBJECT`.
    pub struct Device: "_DEVICE_OBJECT" {
        /// `DriverObject`.
        driver: Va = "DriverObject",
        /// `DeviceType`: `FILE_DEVICE_…`.
        kind: u32 = "DeviceType",
    }
}
layout! {
    /// `_DRIVER_OBJECT`.
    pub struct Driver: "_DRIVER_OBJECT" {
        /// `DriverStart`.
        start: Va = "DriverStart",
        /// `DriverSize`.
        size: u32 = "DriverSize",
        /// `DriverName`.
        name: Counted = "DriverName",
    }
}

pub(super) fn facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let device = objects.kernel.layout::<Device>().map_err(|_| Absent::NoSymbol)?;
    let driver = objects.kernel.layout::<Driver>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(device, body);
    let name = v.driver().and_then(|at| objects.space.view(driver, at).name()).and_then(|n| objects.space.text(n));
    Ok(vec![("driver", name.into()), ("device_type", v.kind().map_or_else(Fact::Absent, |k| Fact::Hex(k.into())))])
}

pub(super) fn driver_facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let driver = objects.kernel.layout::<Driver>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(driver, body);
    Ok(vec![("start", v.start().into()), ("size", v.size().map_or_else(Fact::Absent, |s| Fact::Hex(s.into())))])
}
