//! Structure layouts of one kernel: every symbol source (PDB, ISF, text table, cache) ends here.

use std::collections::BTreeMap;

/// One member of a structure or union.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the type.
    pub offset: u32,
    /// Bytes; of a bit-field, its storage unit.
    pub size: u32,
    /// The type's name in the table notation: `ulong`, `_LIST_ENTRY`, `*_EPROCESS`, `ulong[4]`.
    pub ty: Box<str>,
    /// Of a bit-field: position and length in bits.
    pub bits: Option<(u8, u8)>,
}

/// One structure or union.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Type {
    /// Bytes.
    pub size: u32,
    /// By name. Members of unnamed nested types stand here at their absolute offset.
    pub members: BTreeMap<Box<str>, Member>,
}

/// All structures and enumerations of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// 4 or 8; 0 in an empty table.
    pub pointer_size: u8,
    /// Structures and unions by name.
    pub types: BTreeMap<Box<str>, Type>,
    /// Enumerations: value to name, by enumeration.
    pub enums: BTreeMap<Box<str>, BTreeMap<i64, Box<str>>>,
}

impl Types {
    /// A structure or union by name.
    #[must_use]
    pub fn get(&self, ty: &str) -> Option<&Type> {
        self.types.get(ty)
    }
    /// The size of a type in bytes.
    #[must_use]
    pub fn size_of(&self, ty: &str) -> Option<u32> {
        self.get(ty).map(|t| t.size)
    }
    /// Follows a dotted path: `Pcb.DirectoryTableBase`. The offset is from the start of `ty`.
    #[must_use]
    pub fn member(&self, ty: &str, path: &str) -> Option<Member> {
        let (head, rest) = path.split_once('.').map_or((path, None), |(h, r)| (h, Some(r)));
        let here = self.get(ty)?.members.get(head)?;
        let Some(rest) = rest else {
            return Some(here.clone());
        };
        let mut inner = self.member(&here.ty, rest)?;
        inner.offset = inner.offset.checked_add(here.offset)?;
        Some(inner)
    }
    /// The name of an enumeration's value.
    #[must_use]
    pub fn enum_name(&self, name: &str, value: i64) -> Option<&str> {
        self.enums.get(name)?.get(&value).map(AsRef::as_ref)
    }
}
