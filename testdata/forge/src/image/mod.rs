//! Portable executables as they lie in memory: headers, exports, debug directory, exception table, some code.
//!
//! Source: the PE format specification (learn.microsoft.com/windows/win32/debug/pe-format) and, for RSDS, the layout that
//! every linker writes (signature, GUID, age, name).

mod build;
mod code;
mod kernel;

pub use build::{Image, build};
pub use code::{FUNCTION_NAMES, Function, functions, functions_arm64, functions_x86};
pub use kernel::{added_symbols, kernel, kernel_sections, kernel_size};

/// One section of an image.
#[derive(Debug, Clone)]
pub struct Section {
    /// At most eight characters.
    pub name: &'static str,
    /// First RVA.
    pub rva: u64,
    /// Size in memory.
    pub size: u64,
    /// Executable (else writable data, unless `read_only`).
    pub code: bool,
    /// Neither executable nor writable.
    pub read_only: bool,
}

impl Section {
    /// Whether the RVA lies inside.
    pub fn holds(&self, rva: u64) -> bool {
        rva >= self.rva && rva < self.rva + self.size
    }

    /// `Characteristics` of the section header.
    pub fn characteristics(&self) -> u32 {
        match (self.code, self.read_only) {
            (true, _) => 0x6000_0020,
            (_, true) => 0x4000_0040,
            _ => 0xC000_0040,
        }
    }
}

/// Identity of the PDB that belongs to an image.
#[derive(Debug, Clone)]
pub struct Rsds {
    /// 32 hexadecimal digits.
    pub guid: String,
    /// Age.
    pub age: u32,
    /// Name as the linker wrote it.
    pub name: String,
}

impl Rsds {
    /// The CodeView record: signature, GUID, age, name.
    pub fn record(&self) -> Vec<u8> {
        let mut record = b"RSDS".to_vec();
        record.extend(crate::pdb::guid_bytes(&self.guid));
        record.extend(self.age.to_le_bytes());
        record.extend(self.name.bytes());
        record.push(0);
        record
    }
}

/// What to build an image from.
#[derive(Debug, Clone)]
pub struct Spec {
    /// Name in the export directory.
    pub name: String,
    /// `TimeDateStamp`.
    pub timestamp: u32,
    /// Preferred base.
    pub base: u64,
    /// `SizeOfImage`.
    pub size: u64,
    /// 64-bit (PE32+) or 32-bit.
    pub wide: bool,
    /// `IMAGE_FILE_MACHINE_…`.
    pub machine: u16,
    /// A library or driver rather than a program.
    pub dll: bool,
    /// Subsystem: 1 native, 2 windows, 3 console.
    pub subsystem: u16,
    /// Entry point's RVA.
    pub entry: u64,
    /// Sections in order of address. Needs `.text`; exports and debug directory go to `.rdata`, unwind data to `.pdata`.
    pub sections: Vec<Section>,
    /// Exported names and their RVAs.
    pub exports: Vec<(String, u64)>,
    /// The PDB.
    pub rsds: Option<Rsds>,
    /// Where the debug directory and the RSDS record lie; at the start of `.rdata` if nowhere else.
    pub debug_at: Option<u64>,
    /// Where the code page with unwindable functions lies, if any.
    pub functions_at: Option<u64>,
}
