//! Which pool tags belong to which kind of object.

use std::fmt;

/// The kinds of objects the scan knows how to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `_EPROCESS`.
    Process,
    /// `_ETHREAD`.
    Thread,
    /// `_DRIVER_OBJECT`.
    Driver,
    /// `_KLDR_DATA_TABLE_ENTRY`, the kernel's module records: no object, no object header.
    Module,
    /// `_FILE_OBJECT`.
    File,
    /// `_KMUTANT`.
    Mutant,
    /// `_OBJECT_SYMBOLIC_LINK`.
    SymbolicLink,
    /// `_TOKEN`.
    Token,
    /// `_EJOB`.
    Job,
    /// `_CMHIVE`: no object header.
    Hive,
    /// TCP endpoints, listeners and UDP endpoints of `tcpip.sys`: no object header, no public type.
    Network,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 11] = [
        Self::Process,
        Self::Thread,
        Self::Driver,
        Self::Module,
        Self::File,
        Self::Mutant,
        Self::SymbolicLink,
        Self::Token,
        Self::Job,
        Self::Hive,
        Self::Network,
    ];
    /// The pool tags its allocations carry.
    ///
    /// An object type's tag is `_OBJECT_TYPE.Key`; these are the keys the object types of the sample dumps hold, and for what is no
    /// object (`MmLd`, `CM10`, the endpoints) the names that Microsoft's `pooltag.txt` lists.
    #[must_use]
    pub const fn tags(self) -> &'static [&'static str] {
        match self {
            Self::Process => &["Proc"],
            Self::Thread => &["Thre"],
            Self::Driver => &["Driv"],
            Self::Module => &["MmLd"],
            Self::File => &["File"],
            Self::Mutant => &["Muta"],
            Self::SymbolicLink => &["Symb"],
            Self::Token => &["Toke"],
            Self::Job => &["Job "],
            Self::Hive => &["CM10"],
            Self::Network => &["TcpE", "TcpL", "UdpA"],
        }
    }
    /// The name of its object type, of what has an object header.
    #[must_use]
    pub const fn object_type(self) -> Option<&'static str> {
        match self {
            Self::Process => Some("Process"),
            Self::Thread => Some("Thread"),
            Self::Driver => Some("Driver"),
            Self::File => Some("File"),
            Self::Mutant => Some("Mutant"),
            Self::SymbolicLink => Some("SymbolicLink"),
            Self::Token => Some("Token"),
            Self::Job => Some("Job"),
            Self::Module | Self::Hive | Self::Network => None,
        }
    }
    /// The structure it is, where the kernel's symbols describe it.
    #[must_use]
    pub const fn structure(self) -> Option<&'static str> {
        match self {
            Self::Process => Some("_EPROCESS"),
            Self::Thread => Some("_ETHREAD"),
            Self::Driver => Some("_DRIVER_OBJECT"),
            Self::Module => Some("_KLDR_DATA_TABLE_ENTRY"),
            Self::File => Some("_FILE_OBJECT"),
            Self::Mutant => Some("_KMUTANT"),
            Self::SymbolicLink => Some("_OBJECT_SYMBOLIC_LINK"),
            Self::Token => Some("_TOKEN"),
            Self::Job => Some("_EJOB"),
            Self::Hive => Some("_CMHIVE"),
            Self::Network => None,
        }
    }
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Thread => "thread",
            Self::Driver => "driver",
            Self::Module => "module",
            Self::File => "file",
            Self::Mutant => "mutant",
            Self::SymbolicLink => "symbolic_link",
            Self::Token => "token",
            Self::Job => "job",
            Self::Hive => "hive",
            Self::Network => "network_endpoint",
        }
    }
    /// The kind whose allocations carry a tag.
    #[must_use]
    pub fn of_tag(tag: Tag) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.tags().iter().any(|t| Tag::parse(t) == Some(tag.plain())))
    }
    /// Whether an `_OBJECT_HEADER` stands before the body.
    #[must_use]
    pub const fn has_object_header(self) -> bool {
        self.object_type().is_some()
    }
}

/// Until Windows 7 the allocations of objects are "protected": the top bit of the tag's last character is set.
pub const PROTECTED: u32 = 0x8000_0000;

/// A pool tag as the number it is in memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u32);

impl Tag {
    /// From its four characters.
    #[must_use]
    pub const fn new(name: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(name))
    }
    /// From a user's text: up to four characters, padded with spaces as tags are.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let mut name = [b' '; 4];
        name.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (!bytes.is_empty()).then_some(Self::new(name))
    }
    /// Without the protected bit.
    #[must_use]
    pub const fn plain(self) -> Self {
        Self(self.0 & !PROTECTED)
    }
    /// Whether the protected bit is set.
    #[must_use]
    pub const fn is_protected(self) -> bool {
        self.0 & PROTECTED != 0
    }
}
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.plain().0.to_le_bytes() {
            write!(f, "{}", if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '.' })?;
        }
        Ok(())
    }
}
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({self})")
    }
}

/// A set of tags with a lookup that costs a multiplication and a byte: most slots of memory end there.
#[derive(Clone, Debug)]
pub struct TagSet {
    /// 1 + the index of a tag whose hash this is; 0 for none.
    table: Box<[u8; 256]>,
    tags: Vec<Tag>,
    multiplier: u32,
}

impl TagSet {
    /// At most 64 tags; `None` when there are more, or (never seen) no multiplier tells them apart.
    #[must_use]
    pub fn new(tags: impl IntoIterator<Item = Tag>) -> Option<Self> {
        let mut tags: Vec<Tag> = tags.into_iter().map(Tag::plain).collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.len() > 64 {
            return None;
        }
        // Any odd multiplier mixes; try until no two tags share a slot.
        let mut multiplier = 0x9e37_79b1_u32;
        for _ in 0..100_000 {
            if let Some(table) = Self::table(&tags, multiplier) {
                return Some(Self { table, tags, multiplier });
            }
            multiplier = multiplier.wrapping_mul(0x2c1b_3c6d).wrapping_add(2) | 1;
        }
        None
    }
    fn table(tags: &[Tag], multiplier: u32) -> Option<Box<[u8; 256]>> {
        let mut table = Box::new([0u8; 256]);
        for (i, tag) in tags.iter().enumerate() {
            let slot = table.get_mut(Self::slot(*tag, multiplier))?;
            if *slot != 0 {
                return None;
            }
            *slot = u8::try_from(i).ok()?.checked_add(1)?;
        }
        Some(table)
    }
    const fn slot(tag: Tag, multiplier: u32) -> usize {
        (tag.0.wrapping_mul(multiplier) >> 24) as usize
    }
    /// Whether the (unprotected) tag is in the set.
    #[must_use]
    pub fn contains(&self, tag: Tag) -> bool {
        let index = self.table.get(Self::slot(tag.plain(), self.multiplier)).copied().unwrap_or(0);
        index != 0 && self.tags.get(usize::from(index).wrapping_sub(1)) == Some(&tag.plain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_has_what_was_put_in_and_nothing_else() {
        let all: Vec<Tag> = Kind::ALL.iter().flat_map(|k| k.tags()).map(|t| Tag::parse(t).unwrap()).collect();
        let set = TagSet::new(all.iter().copied()).unwrap();
        for tag in &all {
            assert!(set.contains(*tag) && set.contains(Tag(tag.0 | PROTECTED)));
            assert!(!set.contains(Tag(tag.0 ^ 1)));
        }
        assert!(!set.contains(Tag(0)) && !set.contains(Tag(u32::MAX)));
    }
    #[test]
    fn tags_read_as_people_write_them() {
        assert_eq!(Tag::parse("Job"), Some(Tag::new(*b"Job ")));
        assert_eq!(Tag::parse("Process"), None);
        assert_eq!(Tag(u32::from_le_bytes(*b"Pro\xe3")).to_string(), "Proc");
    }
}
