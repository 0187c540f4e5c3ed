//! From a dotted path (`Pcb.DirectoryTableBase`, `Privileges.Present`, `FreeLists[0].HandleCount`) to a place.

use super::{Layouts, Ref};

/// Where a member lies inside the outermost type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset in bytes.
    pub offset: u64,
    /// Size in bytes.
    pub size: u64,
    /// First bit and length for a bit field.
    pub bits: Option<(u8, u8)>,
}

impl Layouts {
    /// The place of `path` in `ty`, or nothing when some step of it does not exist in this kernel.
    pub fn find(&self, ty: &str, path: &str) -> Option<Place> {
        let mut at = Place { offset: 0, size: self.types.get(ty)?.size, bits: None };
        let mut here = Ref::Named(ty.to_string());
        for step in path.split('.') {
            let (name, index) = match step.split_once('[') {
                Some((name, index)) => (name, index.trim_end_matches(']').parse::<u64>().ok()),
                None => (step, None),
            };
            let Ref::Named(owner) = &here else { return None };
            let field = self.types.get(owner)?.fields.iter().find(|f| f.name == name)?;
            at = Place { offset: at.offset + field.offset, size: field.size, bits: field.bits };
            here = field.ty.clone();
            if let Some(index) = index {
                let Ref::Array(element, n) = here else { return None };
                at.size /= n;
                at.offset += at.size * index;
                here = *element;
            }
        }
        Some(at)
    }

    /// The place of a member that must exist.
    ///
    /// # Panics
    /// When it does not: the scenario asks for something this kernel cannot hold.
    pub fn place(&self, ty: &str, path: &str) -> Place {
        self.find(ty, path).unwrap_or_else(|| panic!("no {ty}.{path} in kernel {}", self.version))
    }

    /// Offset of a member that must exist.
    pub fn offset(&self, ty: &str, path: &str) -> u64 {
        self.place(ty, path).offset
    }

    /// The name of the type of a member, when it is a structure, union or enumeration.
    pub fn type_of(&self, ty: &str, field: &str) -> Option<&str> {
        match &self.types.get(ty)?.fields.iter().find(|f| f.name == field)?.ty {
            Ref::Named(name) => Some(name),
            _ => None,
        }
    }
}
