//! Real kernels' structure layouts: the tables of `layouts/`, parsed, and fields looked up by path.
//!
//! A table holds facts about one kernel file (sizes, offsets, bit positions, enum values, global addresses). The forge
//! never writes an offset of its own: it names a field and the table says where that field lies, so one encoder serves
//! every build, and a field that a kernel does not have is an error at forging time instead of a wrong dump.

mod complete;
mod parse;
mod path;
pub mod reduce;

use std::collections::BTreeMap;
use std::path::Path;

pub use path::Place;

/// The layouts and global addresses of one kernel.
#[derive(Debug, Clone, Default)]
pub struct Layouts {
    /// `x64`, `x86` or `arm64`.
    pub arch: String,
    /// The kernel file's version, such as `10.0.19041.2965`.
    pub version: String,
    /// File name of the kernel's PDB.
    pub pdb_name: String,
    /// The PDB's GUID, 32 hexadecimal digits as a symbol server writes it.
    pub guid: String,
    /// The PDB's age.
    pub age: u32,
    /// Structures and unions by name.
    pub types: BTreeMap<String, Type>,
    /// Enumerations by name.
    pub enums: BTreeMap<String, Enum>,
    /// Globals: name to RVA.
    pub symbols: BTreeMap<String, u64>,
}

/// One structure or union.
#[derive(Debug, Clone)]
pub struct Type {
    /// Whether it is a union.
    pub union: bool,
    /// Size in bytes.
    pub size: u64,
    /// Members, by offset.
    pub fields: Vec<Field>,
}

/// One member; members of nested unnamed types stand in the parent.
#[derive(Debug, Clone)]
pub struct Field {
    /// Offset in bytes from the start of the type.
    pub offset: u64,
    /// Size in bytes (of the whole unit for a bit field).
    pub size: u64,
    /// What it is.
    pub ty: Ref,
    /// First bit and length.
    pub bits: Option<(u8, u8)>,
    /// Its name.
    pub name: String,
}

/// One enumeration.
#[derive(Debug, Clone)]
pub struct Enum {
    /// Size in bytes.
    pub size: u64,
    /// Names and values in the order of the table.
    pub values: Vec<(String, i64)>,
}

/// The type of a member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ref {
    /// A base type by its name in the tables (`ulong`, `wchar`, ...).
    Base(String),
    /// A pointer to a function.
    Func,
    /// A pointer.
    Pointer(Box<Ref>),
    /// An array of so many elements.
    Array(Box<Ref>, u64),
    /// A structure, union or enumeration.
    Named(String),
}

impl Layouts {
    /// The table kept in this crate under that name (`x64-10.0.19045.2965`), or a file elsewhere by its whole path without `.txt`.
    ///
    /// # Panics
    /// When there is no such table or it does not parse: a forge without layouts has nothing to say.
    pub fn load(name: &str) -> Layouts {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("layouts").join(format!("{name}.txt"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Layouts::parse(&text)
    }

    /// The same table with names that no kernel has: as many more globals, beside the real ones so that sections stay where they are,
    /// and for each forty of them a structure like a real one.
    #[must_use]
    pub fn widened(mut self, names: usize) -> Layouts {
        let real: Vec<u64> = self.symbols.values().copied().collect();
        let models: Vec<Type> = self.types.values().cloned().collect();
        for i in 0..names {
            self.symbols.insert(format!("FiguranteWithALongNameOfNumber{i:06}"), real[i % real.len()]);
            if i % 40 == 0 {
                self.types.insert(format!("_FIGURANTE_{i:06}"), models[i / 40 % models.len()].clone());
            }
        }
        self
    }

    /// The same table as updates of Server 2022 from 2024 on have it (20348.2227 and later): the processor times of a process are
    /// low halves where they were, and `_EPROCESS` ends with their high halves.
    #[must_use]
    pub fn halved(mut self) -> Layouts {
        let names = ["KernelTime", "UserTime", "ReadyTime"];
        let kprocess = self.types.get_mut("_KPROCESS").expect("_KPROCESS");
        let mut high = Vec::new();
        for low in kprocess.fields.iter_mut().filter(|f| names.contains(&f.name.as_str())) {
            high.push(Field { name: format!("{}High", low.name), ..low.clone() });
            low.name.push_str("Low");
        }
        let eprocess = self.types.get_mut("_EPROCESS").expect("_EPROCESS");
        for mut field in high {
            field.offset = eprocess.fields.iter().map(|f| f.offset + f.size).max().expect("fields");
            eprocess.size = eprocess.size.max(field.offset + field.size);
            eprocess.fields.push(field);
        }
        self
    }

    /// Whether the kernel has that type.
    pub fn has(&self, ty: &str) -> bool {
        self.types.contains_key(ty)
    }

    /// The type of that name.
    ///
    /// # Panics
    /// When the kernel does not have it.
    pub fn ty(&self, ty: &str) -> &Type {
        self.types.get(ty).unwrap_or_else(|| panic!("no type {ty} in kernel {}", self.version))
    }

    /// Size of that type.
    pub fn size(&self, ty: &str) -> u64 {
        self.ty(ty).size
    }

    /// RVA of a global that must exist.
    ///
    /// # Panics
    /// When the table has no such symbol.
    pub fn rva(&self, symbol: &str) -> u64 {
        *self.symbols.get(symbol).unwrap_or_else(|| panic!("no symbol {symbol} in kernel {}", self.version))
    }

    /// Size of a pointer on this architecture.
    pub fn pointer(&self) -> u64 {
        if self.arch == "x86" { 4 } else { 8 }
    }

    /// `IMAGE_FILE_MACHINE_…` of the kernel.
    pub fn machine(&self) -> u16 {
        match self.arch.as_str() {
            "arm64" => 0xAA64,
            "x64" => 0x8664,
            _ => 0x14C,
        }
    }

    /// Whether objects are headed and pools marked as from Vista on.
    pub fn vista(&self) -> bool {
        self.find("_OBJECT_HEADER", "InfoMask").is_some()
    }

    /// Third and fourth part of the version: build and revision.
    pub fn build(&self) -> u32 {
        self.version.split('.').nth(2).and_then(|b| b.parse().ok()).unwrap_or(0)
    }
}
