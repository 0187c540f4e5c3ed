//! One kernel structure being filled in, by field path.

use std::sync::Arc;

use crate::layout::{Layouts, Place};

/// The bytes of one structure.
#[derive(Clone)]
pub struct Obj {
    layouts: Arc<Layouts>,
    ty: String,
    /// The bytes so far.
    pub bytes: Vec<u8>,
}

impl Obj {
    /// All zero.
    pub fn new(layouts: &Arc<Layouts>, ty: &str) -> Obj {
        Obj { layouts: layouts.clone(), ty: ty.to_string(), bytes: vec![0; layouts.size(ty) as usize] }
    }

    /// Sets a member that must exist.
    ///
    /// # Panics
    /// When this kernel has no such member, or the value does not fit it.
    pub fn set(&mut self, path: &str, value: u64) -> &mut Obj {
        let place = self.layouts.place(&self.ty, path);
        store(&mut self.bytes, place, value, &format!("{}.{path}", self.ty));
        self
    }

    /// Sets a member if this kernel has it.
    pub fn set_opt(&mut self, path: &str, value: u64) -> &mut Obj {
        if self.layouts.find(&self.ty, path).is_some() {
            self.set(path, value);
        }
        self
    }

    /// Sets the first of several spellings that this kernel has.
    ///
    /// # Panics
    /// When it has none of them.
    pub fn set_first(&mut self, paths: &[&str], value: u64) -> &mut Obj {
        let path = paths.iter().find(|p| self.layouts.find(&self.ty, p).is_some());
        let path = path.unwrap_or_else(|| panic!("none of {paths:?} in {} of {}", self.ty, self.layouts.version));
        self.set(path, value)
    }

    /// Sets raw bytes from the start of a member; the rest of it stays.
    pub fn set_bytes(&mut self, path: &str, bytes: &[u8]) -> &mut Obj {
        let place = self.layouts.place(&self.ty, path);
        assert!(bytes.len() as u64 <= place.size, "{}.{path} is shorter than that", self.ty);
        let at = place.offset as usize;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets a counted string whose characters are at `buffer`.
    pub fn set_text(&mut self, path: &str, text: &str, buffer: u64) -> &mut Obj {
        let length = 2 * text.encode_utf16().count() as u64;
        self.set(&format!("{path}.Length"), length);
        self.set(&format!("{path}.MaximumLength"), if length == 0 { 0 } else { length + 2 });
        self.set(&format!("{path}.Buffer"), buffer)
    }

    /// Whether this kernel has the member.
    pub fn has(&self, path: &str) -> bool {
        self.layouts.find(&self.ty, path).is_some()
    }
}

/// Stores a number at a place, respecting bit fields.
pub fn store(bytes: &mut [u8], place: Place, value: u64, what: &str) {
    let (at, n) = (place.offset as usize, place.size as usize);
    assert!(n <= 8, "{what} is no number");
    let mut raw = [0u8; 8];
    raw[..n].copy_from_slice(&bytes[at..at + n]);
    let value = match place.bits {
        Some((pos, len)) => {
            let mask = u64::MAX >> (64 - len);
            assert!(value & !mask == 0, "{value:#x} does not fit the {len} bits of {what}");
            (u64::from_le_bytes(raw) & !(mask << pos)) | value << pos
        }
        None => value,
    };
    bytes[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_fields_leave_their_neighbours() {
        let mut bytes = [0xFF; 4];
        store(&mut bytes, Place { offset: 0, size: 4, bits: Some((4, 3)) }, 2, "x");
        assert_eq!(u32::from_le_bytes(bytes), 0xFFFF_FFAF);
    }

    #[test]
    #[should_panic(expected = "no _EPROCESS.NoSuchField")]
    fn unknown_fields_are_loud() {
        let layouts = Arc::new(Layouts::load("x64-10.0.19045.2965"));
        Obj::new(&layouts, "_EPROCESS").set("NoSuchField", 1);
    }
}
