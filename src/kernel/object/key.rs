//! `_CM_KEY_BODY`: an open registry key, and its path through the key control blocks.

use super::{Description, Fact, Facts, Objects};
use crate::addr::Va;
use crate::bytes::Place;
use crate::layout;
use crate::symbols::layout::{Bits, Here, View};
use crate::time::FileTime;
use crate::utf16::Text;
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
        /// `Flags`: those of the key's cell.
        flags: Bits = "Flags",
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
    pub path: Value<Text>,
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
        let place = key.at(KeyBlock::written).ok_or(Absent::NotInBuild)?;
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

/// Of a key's flags: the root cell of a hive (`KEY_HIVE_ENTRY` of the public descriptions of hive files).
const HIVE_ENTRY: u64 = 4;
/// The key in another hive that stands for that root cell (`KEY_HIVE_EXIT`).
const HIVE_EXIT: u64 = 2;

/// The path of a key control block: its name after its parents'.
fn path(objects: &mut Objects<'_>, at: Va) -> Value<Text> {
    let layout = objects.kernel.layout::<KeyBlock>().map_err(|_| Absent::NoSymbol)?;
    // From the key up to one that is known, or to the root.
    let mut above = Vec::new();
    let mut here = at;
    let mut path = loop {
        if here.is_null() {
            break Ok(Text::default());
        }
        if let Some(known) = objects.keys.get(&here) {
            break known.clone();
        }
        if above.len() >= DEEPEST {
            break Err(Absent::Implausible);
        }
        let v = objects.space.view(layout, here);
        above.push((here, part(objects, layout, &v)));
        here = match v.parent() {
            Ok(parent) => parent,
            Err(why) => break Err(why),
        };
    };
    for (block, part) in above.into_iter().rev() {
        path = match part {
            Ok(Some(name)) => path.map(|p| p.then("\\", &name)),
            Ok(None) => path,
            Err(why) => path.and(Err(why)),
        };
        objects.keys.insert(block, path.clone());
    }
    path
}

/// What a key control block adds to the path: its name, or nothing. From 14393 on there are two blocks where a hive is attached, one for
/// the key in the hive above and under it one for the hive's own root cell, whose name (`ROOT`, `CMI-CreateHive{…}`) is in no path. Up to
/// 1511 one block stands for both: it has the root cell's flags and the name of the key above.
fn part(objects: &Objects<'_>, layout: &KeyBlock, v: &View<'_, KeyBlock>) -> Value<Option<Text>> {
    let has = |v: &View<'_, KeyBlock>, flag: u64| v.flags().map(|flags| flags & flag != 0);
    // Without the flags nobody knows whether the name belongs in the path.
    if has(v, HIVE_ENTRY)?
        && let Ok(parent) = v.parent()
        && has(&objects.space.view(layout, parent), HIVE_EXIT) == Ok(true)
    {
        return Ok(None);
    }
    v.name().and_then(|at| name(objects, at)).map(Some)
}

/// The name in a name control block, as far as it is there.
fn name(objects: &Objects<'_>, at: Va) -> Value<Text> {
    let layout = objects.kernel.layout::<KeyName>().map_err(|_| Absent::NoSymbol)?;
    let v = objects.space.view(layout, at);
    let length = v.length()?;
    let bytes = objects.space.fetch(v.name()?, length.into());
    // One byte for a character is Latin-1: the low half of its UTF-16.
    if v.compressed()? & 1 != 0 {
        return objects.space.latin_of(&bytes);
    }
    objects.space.text_of(&bytes)
}
