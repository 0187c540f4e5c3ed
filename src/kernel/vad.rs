//! `_MMVAD_SHORT` and `_MMVAD`: one stretch of a process's address space. Walking the tree of them is in
//! [`vad_tree`](super::vad_tree); what a mapped one maps is in [`section`](super::section).

use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::layout;
use crate::symbols::layout::{Bits, View};
use crate::value::{Absent, Value};

layout! {
    /// `_MMVAD_SHORT`: what every node has. Links and page numbers moved three times: XP (pointers after the page numbers),
    /// 7 (pointers first), 8.0 (`_MM_AVL_NODE`), 8.1 and later (`_RTL_BALANCED_NODE`).
    pub struct VadShort: "_MMVAD_SHORT" {
        /// The child with lower addresses.
        left: Va = "VadNode.Left" | "VadNode.LeftChild" | "LeftChild",
        /// The child with higher addresses.
        right: Va = "VadNode.Right" | "VadNode.RightChild" | "RightChild",
        /// The parent; low bits are the balance (except on XP).
        parent: u64 = "VadNode.ParentValue" | "VadNode.u1.Parent" | "u1.Parent" | "Parent",
        /// First page number (its low 32 bits on x64 since 8.0).
        start: u64 = "StartingVpn",
        /// Last page number.
        end: u64 = "EndingVpn",
        /// Bits 32 to 39 of the first page number, since 8.1 on x64.
        start_high: u8 = "StartingVpnHigh",
        /// Bits 32 to 39 of the last page number.
        end_high: u8 = "EndingVpnHigh",
        /// Bits 40 to 43 of both (five-level paging), since build 20348.
        higher: Bits = "u5.StartingVpnHigher" | "StartingVpnHigher",
        /// Number in the kernel's enumeration of kinds; XP has single bits instead.
        kind: Bits = "u.VadFlags.VadType" | "VadFlags.VadType",
        /// XP: an image.
        image_map: Bits = "u.VadFlags.ImageMap",
        /// XP: device memory.
        physical: Bits = "u.VadFlags.PhysicalMapping",
        /// XP: AWE.
        awe: Bits = "u.VadFlags.UserPhysicalPages",
        /// XP, and private memory since 18362.
        write_watch: Bits = "u.VadFlags.WriteWatch" | "u.PrivateVadFlags.WriteWatch" | "PrivateVadFlags.WriteWatch",
        /// XP: large pages.
        large_pages: Bits = "u.VadFlags.LargePages",
        /// Index into `MmProtectToValue`.
        protection: Bits = "u.VadFlags.Protection" | "VadFlags.Protection",
        /// Private memory: the node is no `_MMVAD`.
        private: Bits = "u.VadFlags.PrivateMemory" | "VadFlags.PrivateMemory",
        /// Committed pages.
        commit: Bits = "u1.VadFlags1.CommitCharge" | "VadFlags1.CommitCharge" | "CommitCharge" | "u.VadFlags.CommitCharge",
        /// The commit's upper bits.
        commit_high: u8 = "CommitChargeHigh",
        /// Committed as a whole when it was reserved.
        mem_commit: Bits = "u1.VadFlags1.MemCommit" | "VadFlags1.MemCommit" | "u.VadFlags.MemCommit",
        /// Its protection may not be changed.
        no_change: Bits = "u.VadFlags.NoChange" | "VadFlags.NoChange",
        /// Being deleted.
        deleting: Bits = "u.VadFlags.DeleteInProgress" | "VadFlags.DeleteInProgress",
        /// A TEB lies there (7 to 10.0.10240).
        teb: Bits = "u.VadFlags.Teb" | "u5.VadFlags3.Teb",
        /// Private fix-ups of an image.
        private_fixup: Bits = "u.VadFlags.PrivateFixup" | "u.SharedVadFlags.PrivateFixup" | "SharedVadFlags.PrivateFixup",
        /// Graphics memory.
        graphics: Bits = "u.VadFlags.Graphics" | "u.PrivateVadFlags.Graphics" | "PrivateVadFlags.Graphics",
        /// An enclave.
        enclave: Bits = "u.VadFlags.Enclave" | "u.PrivateVadFlags.Enclave" | "PrivateVadFlags.Enclave",
        /// A shadow stack (CET).
        shadow_stack: Bits = "u.PrivateVadFlags.ShadowStack" | "PrivateVadFlags.ShadowStack",
    }
}
layout! {
    /// `_MMVAD`: a node that maps a section. Begins with a `_MMVAD_SHORT`.
    pub struct VadLong: "_MMVAD" {
        /// The first subsection mapped, since 7.
        subsection: Va = "Subsection",
        /// The control area, on XP; later it is reached through the subsection.
        control_area: Va = "ControlArea",
        /// The prototype entry of the first page.
        first_prototype: Va = "FirstPrototypePte",
        /// The last one that lies in a row with the first.
        last_prototype: Va = "LastContiguousPte",
        /// The file it was mapped from, since 10240; null for most.
        file_object: Va = "FileObject",
        /// Copied on write.
        copy_on_write: Bits = "u2.VadFlags2.CopyOnWrite",
        /// Children inherit it.
        inherit: Bits = "u2.VadFlags2.Inherit" | "VadFlags2.Inherit",
        /// Mapped with large pages.
        large: Bits = "u2.VadFlags2.Large" | "VadFlags2.Large",
    }
}

/// What a node holds. The numbers are the kernel's `_MI_VAD_TYPE` (`VadNone` 0, `VadDevicePhysicalMemory` 1, `VadImageMap` 2, `VadAwe` 3,
/// `VadWriteWatch` 4, `VadLargePages` 5, `VadRotatePhysical` 6, `VadLargePageSection` 7: public symbols of Windows 7 and later).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Memory of the process alone.
    Private,
    /// A view of a section, of a file or of the page file.
    Mapped,
    /// An executable image.
    Image,
    /// Device memory.
    Physical,
    /// Address windowing extensions.
    Awe,
    /// Private memory that records writes.
    WriteWatch,
    /// Private memory in large pages.
    LargePages,
    /// Switches between device and normal memory.
    Rotate,
    /// A section in large pages.
    LargePageSection,
}

impl Kind {
    /// The name in the output.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Mapped => "mapped",
            Self::Image => "image",
            Self::Physical => "physical",
            Self::Awe => "awe",
            Self::WriteWatch => "write_watch",
            Self::LargePages => "large_pages",
            Self::Rotate => "rotate",
            Self::LargePageSection => "large_page_section",
        }
    }
}

/// One pool tag, four characters in memory order. The top bit of the last (a protected object) is cleared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tag(pub [u8; 4]);

impl Tag {
    /// The tag as text, if all four are printable.
    ///
    /// # Errors
    /// [`Absent::Implausible`].
    pub fn text(self) -> Value<String> {
        let Self([a, b, c, d]) = self;
        let chars = [a, b, c, d & 0x7f];
        if chars.iter().all(|c| (0x20..0x7f).contains(c)) {
            Ok(chars.iter().map(|c| char::from(*c)).collect())
        } else {
            Err(Absent::Implausible)
        }
    }
}

/// Single facts of a node, for the `flags` column.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(u16);

impl Flags {
    /// Every flag's name, in the order of the bits.
    const NAMES: [&'static str; 12] = [
        "no_change",
        "mem_commit",
        "delete_in_progress",
        "teb",
        "private_fixup",
        "write_watch",
        "graphics",
        "enclave",
        "shadow_stack",
        "copy_on_write",
        "inherit",
        "commit_fixed",
    ];
    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().enumerate().filter(move |(i, _)| self.0 >> i & 1 == 1).map(|(_, name)| name)
    }
    /// Whether a flag is set.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.names().any(|n| n == name)
    }
    fn set(&mut self, name: &str, on: bool) {
        if let Some(i) = Self::NAMES.iter().position(|n| *n == name).filter(|_| on) {
            self.0 |= 1 << i;
        }
    }
}

/// Where a mapped node's pages come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// The first subsection.
    pub subsection: Value<Va>,
    /// The control area, where the node names it itself (XP).
    pub control_area: Value<Va>,
    /// The prototype entry of the first page; null where there is none.
    pub first_prototype: Value<Va>,
    /// The last one in a row.
    pub last_prototype: Value<Va>,
    /// The node's own file, where it has one.
    pub file_object: Value<Va>,
}

/// One node of the tree, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vad {
    /// The node's address.
    pub node: Va,
    /// The node's parent as the walk met it; null at the root.
    pub parent: Va,
    /// The child below, null where none.
    pub left: Value<Va>,
    /// The child above.
    pub right: Value<Va>,
    /// Steps from the root.
    pub depth: u16,
    /// The first byte.
    pub start: Va,
    /// The last byte.
    pub end: Va,
    /// The pool tag before the node.
    pub tag: Value<Tag>,
    /// What it holds.
    pub kind: Value<Kind>,
    /// Index into `MmProtectToValue`: what was asked for when it was made; pages may differ.
    pub protection: Value<u8>,
    /// Private memory.
    pub private: Value<bool>,
    /// Committed pages. 0 where the kernel keeps the mark "not counted" (all bits set).
    pub commit: Value<u64>,
    /// Single facts.
    pub flags: Flags,
    /// Of a node that maps a section.
    pub mapping: Option<Mapping>,
    /// Where the node stands.
    pub place: Place,
}

impl Vad {
    /// Pages from the first to the last.
    #[must_use]
    pub const fn pages(&self) -> u64 {
        (self.end.0.saturating_sub(self.start.0) / PAGE_SIZE).saturating_add(1)
    }
    /// Bytes from the first to the last.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.pages().saturating_mul(PAGE_SIZE)
    }
    /// Whether an address lies inside.
    #[must_use]
    pub const fn contains(&self, va: Va) -> bool {
        self.start.0 <= va.0 && va.0 <= self.end.0
    }
}

/// First and last byte of a node.
///
/// # Errors
/// Unreadable, or an end before the start.
pub fn range(v: &View<'_, VadShort>) -> Value<(Va, Va)> {
    // 32 bits of the page number, 8 more in a byte of their own, 4 more in spare bits of a pointer. Only the first page
    // has those 4: a node that crosses 4 PB would need one more than its first page has.
    let higher = v.higher().or_else(absent_in_build)? << 40;
    let (start_high, end_high) = match (v.start_high(), v.end_high()) {
        // Up to 8 the low parts are the whole numbers.
        (Err(Absent::NotInBuild), Err(Absent::NotInBuild)) => (0, 0),
        // A build has both or neither: with one alone the other's number is not known.
        (start, end) => (start?, end?),
    };
    let start = v.start()? | u64::from(start_high) << 32 | higher;
    let end = v.end()? | u64::from(end_high) << 32 | higher;
    let address = |page: u64| page.checked_mul(PAGE_SIZE).ok_or(Absent::Implausible);
    let (start, end) = (address(start)?, address(end)?);
    if end < start {
        return Err(Absent::Implausible);
    }
    Ok((Va(start), Va(end | (PAGE_SIZE - 1))))
}

/// Zero for what this build has no place for; every other reason stays.
fn absent_in_build<T: Default>(why: Absent) -> Value<T> {
    if why == Absent::NotInBuild { Ok(T::default()) } else { Err(why) }
}

/// What a node holds.
///
/// # Errors
/// Unreadable.
pub fn kind(v: &View<'_, VadShort>) -> Value<Kind> {
    let private = v.private()? != 0;
    let set = |bit: Value<u64>| bit.is_ok_and(|b| b != 0);
    Ok(match v.kind() {
        Ok(0) if private && set(v.awe()) => Kind::Awe,
        Ok(0) if private && set(v.large_pages()) => Kind::LargePages,
        Ok(0) if private => Kind::Private,
        Ok(0) => Kind::Mapped,
        Ok(1) => Kind::Physical,
        Ok(2) => Kind::Image,
        Ok(3) => Kind::Awe,
        Ok(4) => Kind::WriteWatch,
        Ok(5) => Kind::LargePages,
        Ok(6) => Kind::Rotate,
        Ok(7) => Kind::LargePageSection,
        Ok(_) => return Err(Absent::Implausible),
        // XP and Server 2003 have a bit for each kind.
        Err(Absent::NotInBuild) if private => match (v.awe()?, v.large_pages()?) {
            (0, 0) => Kind::Private,
            (0, _) => Kind::LargePages,
            _ => Kind::Awe,
        },
        Err(Absent::NotInBuild) => match (v.image_map()?, v.physical()?) {
            (0, 0) => Kind::Mapped,
            (0, _) => Kind::Physical,
            _ => Kind::Image,
        },
        Err(why) => return Err(why),
    })
}

/// Committed pages, and whether the kernel keeps the mark "not counted" in their place: all bits set (`MM_MAX_COMMIT`),
/// as for the shared user data. A debugger prints -1 there.
///
/// # Errors
/// Unreadable.
pub fn commit(v: &View<'_, VadShort>) -> Value<(u64, bool)> {
    use crate::symbols::layout::Layout;
    let low = v.commit()?;
    let field = v.layout.field("commit")?;
    let bits = field.bits.map_or(field.size.saturating_mul(8), |(_, len)| len.into());
    let all = u64::MAX.checked_shr(64u32.saturating_sub(bits)).unwrap_or(0);
    let high = match v.commit_high() {
        Ok(high) => u64::from(high),
        Err(Absent::NotInBuild) => 0,
        Err(why) => return Err(why),
    };
    if low == all && (high == 0 || high == 0xff) {
        return Ok((0, true));
    }
    Ok((low | high.checked_shl(bits).unwrap_or(0), false))
}

/// The single facts of a node.
#[must_use]
pub fn flags(v: &View<'_, VadShort>, long: Option<&View<'_, VadLong>>) -> Flags {
    let mut flags = Flags::default();
    let private = v.private() == Ok(1);
    let set = |bit: Value<u64>| bit.is_ok_and(|b| b != 0);
    flags.set("no_change", set(v.no_change()));
    flags.set("mem_commit", set(v.mem_commit()));
    flags.set("delete_in_progress", set(v.deleting()));
    flags.set("teb", set(v.teb()));
    // Since 18362 private and shared nodes give the same bits different meanings.
    flags.set("private_fixup", !private && set(v.private_fixup()));
    flags.set("write_watch", private && set(v.write_watch()));
    flags.set("graphics", private && set(v.graphics()));
    flags.set("enclave", private && set(v.enclave()));
    flags.set("shadow_stack", private && set(v.shadow_stack()));
    flags.set("copy_on_write", long.is_some_and(|l| set(l.copy_on_write())));
    flags.set("inherit", long.is_some_and(|l| set(l.inherit())));
    flags.set("commit_fixed", commit(v).is_ok_and(|(_, fixed)| fixed));
    flags
}
