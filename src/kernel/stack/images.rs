//! Which module an address is code of, and where that module keeps its unwind information.

use super::exports::Exports;
use super::memory::Memory;
use super::unwind::Functions;
use crate::addr::Va;
use crate::bytes::{u16_at, u32_at};
use crate::kernel::Kernel;
use crate::kernel::module::Module;
use crate::value::{Absent, Value};
use std::sync::{Arc, OnceLock};

/// `IMAGE_FILE_MACHINE_AMD64`.
const AMD64: u16 = 0x8664;
/// `IMAGE_FILE_MACHINE_ARM64`.
const ARM64: u16 = 0xaa64;
/// `IMAGE_DIRECTORY_ENTRY_EXPORT`.
const EXPORT: u32 = 0;
/// `IMAGE_DIRECTORY_ENTRY_EXCEPTION`.
const EXCEPTION: u32 = 3;

/// No driver is larger: half of the range that x64 Windows gives them (2 GB around the kernel).
const LARGEST_DRIVER: u64 = 1 << 30;

/// One image whose code may be on a stack.
#[derive(Debug)]
pub struct Code {
    /// First byte.
    pub base: Va,
    /// One past the last.
    pub end: Va,
    /// File name; empty for executable memory without an image.
    pub name: Arc<str>,
    /// Whether it had been unloaded: only the list of unloaded drivers knows that it was here.
    pub unloaded: bool,
    /// Its table of functions, looked for when it is first needed.
    functions: OnceLock<Value<(u16, Functions)>>,
    /// Its exports, the same.
    exports: OnceLock<Value<Exports>>,
}

impl Code {
    /// An image.
    #[must_use]
    pub fn new(base: Va, size: u64, name: Arc<str>) -> Self {
        Self { base, end: base.add(size), name, unloaded: false, functions: OnceLock::new(), exports: OnceLock::new() }
    }
    /// A driver that had been unloaded.
    #[must_use]
    pub fn gone(base: Va, end: Va, name: Arc<str>) -> Self {
        Self { unloaded: true, ..Self::new(base, end.0.saturating_sub(base.0), name) }
    }
    /// Its table of functions.
    ///
    /// # Errors
    /// Why there is none: the headers are not there, or it is not an x64 image ([`Absent::NotApplicable`]).
    pub fn functions(&self, memory: &impl Memory) -> Value<Functions> {
        self.functions_of(memory, AMD64)
    }
    /// The same of an ARM64 image, whose entries have another form.
    ///
    /// # Errors
    /// Why there is none: the headers are not there, or it is not an ARM64 image ([`Absent::NotApplicable`]).
    pub fn functions_arm64(&self, memory: &impl Memory) -> Value<Functions> {
        self.functions_of(memory, ARM64)
    }
    fn functions_of(&self, memory: &impl Memory, wanted: u16) -> Value<Functions> {
        let found = *self.functions.get_or_init(|| {
            if self.unloaded {
                return Err(Absent::NotApplicable);
            }
            let (machine, rva, size) = self.directory(memory, EXCEPTION)?;
            let entry = if machine == ARM64 { 8 } else { 12 };
            Ok((machine, Functions { base: self.base, rva, count: size / entry }))
        });
        let (machine, functions) = found?;
        if machine == wanted { Ok(functions) } else { Err(Absent::NotApplicable) }
    }
    /// Its exports.
    ///
    /// # Errors
    /// Why there are none.
    pub fn exports(&self, memory: &impl Memory) -> Value<&Exports> {
        let kept = self.exports.get_or_init(|| {
            if self.unloaded {
                return Err(Absent::NotApplicable);
            }
            let (_, rva, size) = self.directory(memory, EXPORT)?;
            Exports::read(memory, self.base, rva, size)
        });
        kept.as_ref().map_err(|why| *why)
    }
    /// The machine type of an image, and offset and size of one of its data directories.
    fn directory(&self, memory: &impl Memory, index: u32) -> Value<(u16, u32, u32)> {
        let headers = memory.fetch(self.base, 0x1000);
        if headers.at(0, 2)? != b"MZ" {
            return Err(Absent::Implausible);
        }
        let dword = |at: u32| u32_at(headers.at(at, 4)?, 0).ok_or(Absent::Implausible);
        let word = |at: u32| u16_at(headers.at(at, 2)?, 0).ok_or(Absent::Implausible);
        let pe = dword(0x3c)?;
        if pe > 0xe00 || dword(pe)? != u32::from_le_bytes(*b"PE\0\0") {
            return Err(Absent::Implausible);
        }
        // PE format: the machine in the file header; directories at 96 of a PE32 optional header, at 112 of a PE32+ one.
        let optional = pe.saturating_add(24);
        let directories = optional.saturating_add(match word(optional)? {
            0x10b => 96,
            0x20b => 112,
            _ => return Err(Absent::Implausible),
        });
        if dword(directories.saturating_sub(4))? <= index {
            return Err(Absent::NotApplicable);
        }
        let at = directories.saturating_add(index * 8);
        let (rva, size) = (dword(at)?, dword(at.saturating_add(4))?);
        if rva == 0 || size == 0 {
            return Err(Absent::NotApplicable);
        }
        let last = u64::from(rva).saturating_add(size.into());
        if self.end.0.checked_sub(self.base.0).is_none_or(|whole| last > whole) {
            return Err(Absent::Implausible);
        }
        Ok((word(pe.saturating_add(4))?, rva, size))
    }
}

/// Images sorted by address.
#[derive(Debug, Default)]
pub struct CodeMap {
    list: Vec<Code>,
    /// Why the images are not known, where they are not.
    unread: Option<Absent>,
    /// Whether every executable range is in the list, those without an image too.
    whole: bool,
}

impl CodeMap {
    /// Of these images, in any order. Of two that overlap the one that begins higher is believed for what both claim.
    #[must_use]
    pub fn new(mut list: Vec<Code>) -> Self {
        list.retain(|c| c.base < c.end);
        list.sort_by(|a, b| (a.base, a.end, &a.name).cmp(&(b.base, b.end, &b.name)));
        Self { list, unread: None, whole: false }
    }
    /// The drivers of a kernel, and where no loaded one lies, those that were unloaded: code of theirs may still be on a stack.
    #[must_use]
    pub fn drivers(kernel: &Kernel) -> Self {
        // Neither of its errors is of the list's bytes: symbols or the list's place are missing.
        let Ok(modules) = kernel.modules() else { return Self::unread(Absent::NoSymbol) };
        let loaded = |m: &Module| {
            let name = m.name.as_deref().unwrap_or("");
            Some(Code::new(m.base.ok()?, m.size.ok()?.into(), name.into()))
        };
        let mut map = Self::new(modules.list.iter().filter_map(loaded).collect());
        let (gone, _) = kernel.unloaded_drivers().unwrap_or_default();
        let gone = gone.iter().filter_map(|d| {
            let (start, end) = (d.start.ok()?, d.end.ok()?);
            let fits = start < end && end.0.checked_sub(start.0)? <= LARGEST_DRIVER;
            fits.then(|| Code::gone(start, end, d.name.as_deref().unwrap_or("").into()))
        });
        map.add_where_free(gone.collect());
        map
    }
    /// Adds ranges that lie over none of those that are there. Of two new ones that overlap the lower one is taken.
    pub fn add_where_free(&mut self, mut more: Vec<Code>) {
        more.retain(|code| {
            let at = self.list.partition_point(|c| c.base <= code.base);
            let before = at.checked_sub(1).and_then(|i| self.list.get(i)).is_none_or(|c| c.end <= code.base);
            let behind = self.list.get(at).is_none_or(|c| code.end <= c.base);
            before && behind && code.base < code.end
        });
        more.sort_by_key(|code| (code.base, code.end));
        let mut free = Va(0);
        more.retain(|code| {
            let fits = code.base >= free;
            free = if fits { code.end } else { free };
            fits
        });
        self.list.extend(more);
        self.list.sort_by_key(|c| c.base);
    }
    /// The same, when every executable range of the address space is among them.
    #[must_use]
    pub fn all_executable(mut self) -> Self {
        self.whole = true;
        self
    }
    /// Whether an address can hold code: it lies in one of the ranges, or nothing says which memory is executable.
    #[must_use]
    pub fn may_hold_code(&self, va: Va) -> bool {
        !self.whole || self.find(va).is_some()
    }
    /// Of images that cannot be told: no address is in one, and none is outside of all.
    #[must_use]
    pub fn unread(why: Absent) -> Self {
        Self { list: Vec::new(), unread: Some(why), whole: false }
    }
    /// Why an address lies in no image: [`Absent::NotApplicable`] where all images are known.
    #[must_use]
    pub fn outside(&self) -> Absent {
        self.unread.unwrap_or(Absent::NotApplicable)
    }
    /// The image an address lies in.
    #[must_use]
    pub fn find(&self, va: Va) -> Option<&Code> {
        let before = self.list.partition_point(|c| c.base <= va);
        self.list.get(before.checked_sub(1)?).filter(|c| va < c.end)
    }
    /// Images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::memory::Flat;
    use super::*;

    fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
        image[at..at + bytes.len()].copy_from_slice(bytes);
    }
    fn image(machine: u16, rva: u32, size: u32) -> Flat {
        let mut image = vec![0; 0x1000];
        put(&mut image, 0, b"MZ");
        put(&mut image, 0x3c, &0x80u32.to_le_bytes());
        put(&mut image, 0x80, b"PE\0\0");
        put(&mut image, 0x84, &machine.to_le_bytes());
        put(&mut image, 0x98, &0x20bu16.to_le_bytes());
        put(&mut image, 0x98 + 108, &16u32.to_le_bytes());
        put(&mut image, 0x98 + 112 + 24, &rva.to_le_bytes());
        put(&mut image, 0x98 + 112 + 28, &size.to_le_bytes());
        Flat(vec![(0x10_0000, image)])
    }

    #[test]
    fn the_exception_directory() {
        let code = |size| Code::new(Va(0x10_0000), size, "a.dll".into());
        let table = code(0x10000).functions(&image(AMD64, 0x8000, 120)).unwrap();
        assert_eq!(table, Functions { base: Va(0x10_0000), rva: 0x8000, count: 10 });
        assert_eq!(code(0x10000).functions(&image(0x14c, 0x8000, 120)), Err(Absent::NotApplicable));
        let arm64 = code(0x10000).functions_arm64(&image(ARM64, 0x8000, 120)).unwrap();
        assert_eq!(arm64, Functions { base: Va(0x10_0000), rva: 0x8000, count: 15 });
        assert_eq!(code(0x10000).functions(&image(ARM64, 0x8000, 120)), Err(Absent::NotApplicable));
        assert_eq!(code(0x10000).functions_arm64(&image(AMD64, 0x8000, 120)), Err(Absent::NotApplicable));
        assert_eq!(code(0x8000).functions(&image(AMD64, 0x8000, 120)), Err(Absent::Implausible));
        assert_eq!(code(0x10000).functions(&image(AMD64, 0, 0)), Err(Absent::NotApplicable));
        assert_eq!(code(0x10000).functions(&Flat::default()), Err(Absent::NotMapped));
    }
    #[test]
    fn an_address_is_found_in_its_image() {
        let map = CodeMap::new(vec![
            Code::new(Va(0x9000), 0x1000, "b".into()),
            Code::new(Va(0x1000), 0x2000, "a".into()),
            Code::new(Va(0x5000), 0, "nothing".into()),
        ]);
        let name = |va| map.find(Va(va)).map(|c| c.name.to_string());
        assert_eq!(name(0x1000).as_deref(), Some("a"));
        assert_eq!(name(0x2fff).as_deref(), Some("a"));
        assert_eq!((name(0x3000), name(0xfff), name(0x5000)), (None, None, None));
        assert_eq!(map.len(), 2);
    }
}
