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

impl Member {
    /// What the type of a member begins with whose place in this very kernel is not sure.
    const UNSURE: char = '?';

    /// A member that the kernel may have, of which nothing is known here.
    #[must_use]
    pub fn unknown() -> Self {
        Self { offset: 0, size: 0, ty: Self::UNSURE.to_string().into(), bits: None }
    }
    /// The same member, whose place is not sure: [`Types::member`] does not find it. What is laid out by its size and type still is.
    #[must_use]
    pub fn unsure(&self) -> Self {
        Self { ty: format!("{}{}", Self::UNSURE, self.sure_type()).into(), ..self.clone() }
    }
    /// Whether its place is not sure.
    #[must_use]
    pub fn is_unsure(&self) -> bool {
        self.ty.starts_with(Self::UNSURE)
    }
    /// Its type, sure of its place or not. Empty where nothing is known of it.
    #[must_use]
    pub fn sure_type(&self) -> &str {
        self.ty.trim_start_matches(Self::UNSURE)
    }
}

/// One structure or union.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Type {
    /// Bytes.
    pub size: u32,
    /// Whether it was declared as a union. Only for showing it: the members' offsets say the same.
    pub is_union: bool,
    /// By name. Members of unnamed nested types stand here at their absolute offset.
    pub members: BTreeMap<Box<str>, Member>,
}

/// One enumeration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Enum {
    /// Bytes of a member of this type.
    pub size: u32,
    /// Value and name, by value; names of one value in the order the source has them.
    pub names: Vec<(i64, Box<str>)>,
}

impl Enum {
    /// An enumeration from its values in any order.
    #[must_use]
    pub fn new(size: u32, mut names: Vec<(i64, Box<str>)>) -> Self {
        names.sort_by_key(|(value, _)| *value);
        Self { size, names }
    }
    /// The first name of a value. A value read without sign finds a negative one of the same bits.
    #[must_use]
    pub fn name(&self, value: i64) -> Option<&str> {
        let at = |value| {
            let i = self.names.partition_point(|(v, _)| *v < value);
            self.names.get(i).filter(|(v, _)| *v == value).map(|(_, name)| name.as_ref())
        };
        let unused = 64u32.saturating_sub(self.size.saturating_mul(8));
        let signed = value.wrapping_shl(unused).wrapping_shr(unused);
        let unsigned = signed.cast_unsigned().wrapping_shl(unused).wrapping_shr(unused).cast_signed();
        at(value).or_else(|| at(signed)).or_else(|| at(unsigned))
    }
    /// The value of a name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<i64> {
        self.names.iter().find(|(_, n)| n.as_ref() == name).map(|(v, _)| *v)
    }
}

/// All structures and enumerations of one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Types {
    /// 4 or 8; 0 in an empty table.
    pub pointer_size: u8,
    /// Structures and unions by name.
    pub types: BTreeMap<Box<str>, Type>,
    /// Enumerations by name.
    pub enums: BTreeMap<Box<str>, Enum>,
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
    /// Follows a dotted path: `Pcb.DirectoryTableBase`. The offset is from the start of `ty`. Nothing where the kernel has no such
    /// member, and where its place is not sure.
    #[must_use]
    pub fn member(&self, ty: &str, path: &str) -> Option<Member> {
        let (head, rest) = path.split_once('.').map_or((path, None), |(h, r)| (h, Some(r)));
        let here = self.get(ty)?.members.get(head).filter(|m| !m.is_unsure())?;
        let Some(rest) = rest else {
            return Some(here.clone());
        };
        let mut inner = self.member(&here.ty, rest)?;
        inner.offset = inner.offset.checked_add(here.offset)?;
        Some(inner)
    }
    /// Whether a step of a dotted path is a member whose place is not sure.
    #[must_use]
    pub fn is_unsure(&self, ty: &str, path: &str) -> bool {
        let (head, rest) = path.split_once('.').map_or((path, None), |(h, r)| (h, Some(r)));
        let Some(here) = self.get(ty).and_then(|t| t.members.get(head)) else { return false };
        here.is_unsure() || rest.is_some_and(|rest| self.is_unsure(&here.ty, rest))
    }
    /// Sets the size of a type.
    pub fn resize(&mut self, ty: &str, size: u32) {
        if let Some(ty) = self.types.get_mut(ty) {
            ty.size = size;
        }
    }
    /// Marks a member as one whose place is not sure.
    pub fn doubt(&mut self, ty: &str, member: &str) {
        if let Some(ty) = self.types.get_mut(ty) {
            let unsure = ty.members.get(member).map_or_else(Member::unknown, Member::unsure);
            ty.members.insert(member.into(), unsure);
        }
    }
    /// The name of an enumeration's value.
    #[must_use]
    pub fn enum_name(&self, name: &str, value: i64) -> Option<&str> {
        self.enums.get(name)?.name(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_whose_place_is_not_sure_is_not_found() {
        let member = |offset, ty: &str| Member { offset, size: 8, ty: ty.into(), bits: None };
        let ty = |members: [(&str, Member); 1]| Type {
            members: members.map(|(k, m)| (k.into(), m)).into(),
            ..Type::default()
        };
        let mut types = Types::default();
        types.types.insert("_A".into(), ty([("Pcb", member(0x10, "_B"))]));
        types.types.insert("_B".into(), ty([("Time", member(8, "uint64"))]));
        assert_eq!(types.member("_A", "Pcb.Time").map(|m| m.offset), Some(0x18));
        assert!(!types.is_unsure("_A", "Pcb.Time") && !types.is_unsure("_A", "None.Time"));
        types.doubt("_B", "Time");
        assert_eq!(types.member("_A", "Pcb.Time"), None);
        assert!(types.is_unsure("_A", "Pcb.Time") && !types.is_unsure("_A", "Pcb"));
    }
    #[test]
    fn an_enumeration_is_found_with_and_without_sign() {
        let e = Enum::new(4, vec![(2, "Two".into()), (-1, "Invalid".into()), (2, "Max".into())]);
        assert_eq!(e.name(2), Some("Two"));
        assert_eq!(e.name(0xffff_ffff), Some("Invalid"));
        assert_eq!(e.name(-1), Some("Invalid"));
        assert_eq!(e.name(3), None);
        assert_eq!(e.value("Max"), Some(2));
        let unsigned = Enum::new(4, vec![(0xffff_ffff, "All".into())]);
        assert_eq!(unsigned.name(-1), Some("All"));
    }
}
