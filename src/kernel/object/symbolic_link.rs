//! `_OBJECT_SYMBOLIC_LINK`: a name that stands for another.

use super::{Facts, Objects};
use crate::addr::Va;
use crate::layout;
use crate::symbols::layout::{Bits, Counted};
use crate::time::FileTime;
use crate::value::{Absent, Value};

layout! {
    /// `_OBJECT_SYMBOLIC_LINK`.
    pub struct SymbolicLink: "_OBJECT_SYMBOLIC_LINK" {
        /// `CreationTime`.
        created: FileTime = "CreationTime",
        /// `LinkTarget`; of a link with a callback, the callback lies in its place.
        target: Counted = "LinkTarget",
        /// `Flags` (from Windows 10): bit 4 says that a callback gives the target.
        flags: Bits = "Flags",
    }
}

/// `OBJECT_SYMBOLIC_LINK_USE_CALLBACK`.
const CALLBACK: u64 = 0x10;

/// Target and age.
pub(super) fn facts(objects: &mut Objects<'_>, body: Va) -> Value<Facts> {
    let layout = objects.kernel.layout::<SymbolicLink>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let target = if v.flags().is_ok_and(|f| f & CALLBACK != 0) {
        Err(Absent::NotApplicable)
    } else {
        v.target().and_then(|t| objects.space.text(t))
    };
    Ok(vec![("target", target.into()), ("create_time", v.created().into())])
}
