//! `_ETW_REG_ENTRY`: an event provider's registration.

use super::{Description, Fact, Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::symbols::layout::Bits;
use crate::value::{Absent, Value};

layout! {
    /// `_ETW_REG_ENTRY`.
    pub struct Registration: "_ETW_REG_ENTRY" {
        /// `GuidEntry`.
        guid: Va = "GuidEntry",
        /// `EnableMask`: the sessions it is enabled in.
        enabled: Bits = "EnableMask",
        /// `Process`, of a provider in user mode.
        process: Va = "Process",
    }
}
layout! {
    /// `_ETW_GUID_ENTRY`.
    pub struct GuidEntry: "_ETW_GUID_ENTRY" {
        /// `Guid`.
        guid: [u8; 16] = "Guid",
    }
}

/// The provider.
pub(super) fn facts(objects: &mut Objects<'_>, kind: &str, body: Va) -> Value<Facts> {
    if kind != "EtwRegistration" {
        return Ok(Vec::new());
    }
    let layout = objects.kernel.layout::<Registration>().map_err(|_| Absent::NoSymbol)?;
    let entry = objects.kernel.layout::<GuidEntry>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let guid = v.guid().and_then(|at| objects.space.view(entry, at).guid());
    Ok(vec![
        ("provider", guid.map(|g| guid_text(&g)).into()),
        ("enable_mask", v.enabled().map_or_else(Fact::Absent, Fact::Hex)),
    ])
}

/// A registration has no name: the provider's GUID is what tells it.
pub(super) fn name_by_guid(kind: &str, description: &mut Description) {
    if kind != "EtwRegistration" || description.name != Err(Absent::NotApplicable) {
        return;
    }
    if let Some((_, Fact::Text(guid))) = description.facts.iter().find(|(key, _)| *key == "provider") {
        description.name = Ok(guid.to_string().into());
    }
}

/// `{d1d93ef7-e1f2-4f45-9943-03d245fe6c00}`.
#[must_use]
pub fn guid_text(raw: &[u8; 16]) -> String {
    let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e @ ..] = raw;
    let tail: String = e.iter().map(|b| format!("{b:02x}")).collect();
    format!("{{{a3:02x}{a2:02x}{a1:02x}{a0:02x}-{b1:02x}{b0:02x}-{c1:02x}{c0:02x}-{d0:02x}{d1:02x}-{tail}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_are_written_in_their_usual_order() {
        let raw = [0xf7, 0x3e, 0xd9, 0xd1, 0xf2, 0xe1, 0x45, 0x4f, 0x99, 0x43, 0x03, 0xd2, 0x45, 0xfe, 0x6c, 0x00];
        assert_eq!(guid_text(&raw), "{d1d93ef7-e1f2-4f45-9943-03d245fe6c00}");
    }
}
