//! `_CM_KEY_BODY`: an open registry key, and its path through the key control blocks.

use super::{Description, Fact, Facts, Objects};
use crate::addr::Va;
use crate::bytes::Place;
use crate::layout;
use crate::symbols::layout::{Bits, Here};
use crate::time::FileTime;
use crate::utf16;
use crate::value::{Absent, Value};

layout! {
    /// `_CM_KEY_BODY`.
    pub struct KeyBody: "_CM_KEY_BODY" {
        /// `KeyControlBlock`.
        block: Va = "KeyControlBlock",
        /// `ProcessID`: who opened it.
        opener: u64 = "ProcessID",
    }
}
layout! {
    /// `_CM_KEY_CONTROL_BLOCK`: one key of a loaded hive.
    pub struct KeyBlock: "_CM_KEY_CONTROL_BLOCK" {
        /// `ParentKcb`.
        parent: Va = "ParentKcb",
        /// `NameBlock`.
        name: Va = "NameBlock",
        /// `KcbLastWriteTime`.
        written: FileTime = "KcbLastWriteTime",
        /// `KeyHive`.
        hive: Va = "KeyHive",
        /// `KeyCell`: the key's cell in its hive.
        cell: u32 = "KeyCell",
        /// `Delete` (up to 1511): the key is gone.
        deleted: Bits = "Delete",
    }
}
layout! {
    /// `_CM_NAME_CONTROL_BLOCK`: a key's name.
    pub struct KeyName: "_CM_NAME_CONTROL_BLOCK" {
        /// `Compressed`: a byte for each character, else UTF-16. In old kernels a byte, later the lowest bit of a word.
        compressed: Bits = "Compressed",
        /// `NameLength`, in bytes.
        length: u16 = "NameLength",
        /// `Name`.
        name: Here = "Name",
    }
}

/// Keys nest at most this deep (documented limit: 512 levels).
const DEEPEST: usize = 512;

/// When a key was last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// `KcbLastWriteTime`.
    pub time: FileTime,
    /// Where it stands.
    pub place: Place,
    /// The key's path.
    pub path: Value<String>,
}

impl Objects<'_> {
    /// When the key behind an open key object was last written.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn key_written(&mut self, body: Va) -> Value<Written> {
        let layout = self.kernel.layout::<KeyBody>().map_err(|_| Absent::NoSymbol)?;
        let block = self.kernel.layout::<KeyBlock>().map_err(|_| Absent::NoSymbol)?;
        let at = self.space.view(layout, body).block()?;
        let key = self.space.view(block, at);
        let place = key.place_of("written").ok_or(Absent::NotInBuild)?;
        Ok(Written { time: key.written()?, place, path: path(self, at) })
    }
}

/// The key's path.
pub(super) fn describe(objects: &mut Objects<'_>, body: Va) -> Description {
    match read(objects, body) {
        Ok(description) => description,
        Err(why) => Description { name: Err(why), facts: Vec::new() },
    }
}

fn read(objects: &mut Objects<'_>, body: Va) -> Value<Description> {
    let layout = objects.kernel.layout::<KeyBody>().map_err(|_| Absent::NoSymbol)?;
    let block = objects.kernel.layout::<KeyBlock>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, body);
    let at = v.block()?;
    let key = objects.space.view(block, at);
    let mut facts: Facts = vec![
        ("opened_by_pid", v.opener().into()),
        ("last_write_time", key.written().into()),
        ("hive", key.hive().into()),
        ("cell", key.cell().map_or_else(Fact::Absent, |c| Fact::Hex(c.into()))),
    ];
    match key.deleted() {
        Err(Absent::NotInBuild) => {}
        deleted => facts.push(("deleted", deleted.map(|d| d != 0).into())),
    }
    Ok(Description { name: path(objects, at), facts })
}

/// The path of a key control block: its name after its parents'.
fn path(objects: &mut Objects<'_>, at: Va) -> Value<String> {
    // From the key up to one that is known, or to the root.
    let mut above = Vec::new();
    let mut here = at;
    let mut path = loop {
        if here.is_null() {
            break Ok(String::new());
        }
        if let Some(known) = objects.keys.get(&here) {
            break known.clone();
        }
        if above.len() >= DEEPEST {
            break Err(Absent::Implausible);
        }
        let layout = objects.kernel.layout::<KeyBlock>().map_err(|_| Absent::NoSymbol)?;
        let v = objects.space.view(layout, here);
        above.push((here, v.name().and_then(|n| name(objects, n))));
        here = match v.parent() {
            Ok(parent) => parent,
            Err(why) => break Err(why),
        };
    };
    for (block, name) in above.into_iter().rev() {
        path = path.and_then(|p| Ok(format!("{p}\\{}", name?)));
        objects.keys.insert(block, path.clone());
    }
    path
}

fn name(objects: &Objects<'_>, at: Va) -> Value<String> {
    let layout = objects.kernel.layout::<KeyName>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, at);
    let length = v.length()?;
    let bytes = objects.space.fetch(v.name()?, length.into());
    let raw = bytes.all()?;
    // One byte for a character is Latin-1: the low half of its UTF-16.
    if v.compressed()? & 1 != 0 {
        return Ok(raw.iter().map(|b| char::from(*b)).collect());
    }
    Ok(utf16::text(raw))
}
