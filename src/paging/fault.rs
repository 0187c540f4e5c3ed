//! Why an address lies nowhere, in full: what a page-table entry that is not valid says.

use crate::addr::{Pa, Va};
use crate::value::Absent;
use std::fmt;

/// Why a virtual address has no bytes. Each maps to one [`Absent`]; `memmap` shows the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No pointer of this machine can be so: neither in the user half nor in the kernel's.
    NonCanonical,
    /// In the kernel half, and what was read is a process's own memory: no pointer of its own leads there.
    KernelHalf,
    /// The entry is zero: nothing is there.
    Unmapped,
    /// The page that holds the page table (or the root itself) is not in the dump.
    TableNotInDump {
        /// Where the table lies.
        table: Pa,
    },
    /// The page that holds the page table was itself written away, and no source has it.
    TableAway {
        /// The page file's number, where known.
        number: Option<u8>,
        /// Page inside it (not byte), or key in the store.
        offset: u64,
        /// [`Absent::PagedOut`] or [`Absent::Compressed`].
        why: Absent,
    },
    /// Committed, never touched: it would be given a page of zeros.
    DemandZero,
    /// Written to a page file.
    PageFile {
        /// The page file's number, where the format of this build's entries is known.
        number: Option<u8>,
        /// Page inside it (not byte).
        offset: u64,
    },
    /// In the compressed store (the page file that is none: `VirtualStorePagefile`).
    Compressed {
        /// The virtual page file's number.
        number: u8,
        /// The page's key in the store, without the number.
        offset: u64,
    },
    /// Must be read back from the file it maps.
    FileBacked {
        /// The `_SUBSECTION` named by the entry, where it names one.
        subsection: Option<Va>,
    },
    /// A prototype entry decides, and it cannot be read.
    Prototype {
        /// Where the prototype entry lies.
        pte: Va,
        /// Why it cannot be read.
        why: Absent,
    },
    /// The entry says that the VAD tree knows, and nobody asked it (see [`Prototypes`](super::Prototypes)).
    AskVad,
    /// Not valid, not zero, and this build's format is not known.
    Unknown {
        /// The entry.
        entry: u64,
    },
    /// A triage dump keeps no block for this address.
    NoBlock,
}

impl From<Fault> for Absent {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NonCanonical | Fault::Unmapped | Fault::AskVad | Fault::Unknown { .. } => Self::NotMapped,
            Fault::TableNotInDump { .. } | Fault::NoBlock => Self::NotInDump,
            Fault::DemandZero => Self::DemandZero,
            Fault::PageFile { .. } | Fault::FileBacked { .. } => Self::PagedOut,
            Fault::Compressed { .. } => Self::Compressed,
            Fault::KernelHalf => Self::Implausible,
            Fault::Prototype { why, .. } | Fault::TableAway { why, .. } => why,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonCanonical => f.write_str("not an address"),
            Self::KernelHalf => f.write_str("in the kernel half"),
            Self::Unmapped => f.write_str("not mapped"),
            Self::TableNotInDump { table } => write!(f, "page table {table} not in the dump"),
            Self::TableAway { number: Some(n), offset, why: Absent::PagedOut } => {
                write!(f, "page table in page file {n} page {offset:#x}")
            }
            Self::TableAway { offset, why, .. } => write!(f, "page table {why}, page {offset:#x}"),
            Self::DemandZero => f.write_str("demand-zero"),
            Self::PageFile { number: Some(n), offset } => write!(f, "page file {n} page {offset:#x}"),
            Self::PageFile { number: None, offset } => write!(f, "page file page {offset:#x}"),
            Self::Compressed { offset, .. } => write!(f, "compressed store page {offset:#x}"),
            Self::FileBacked { subsection: Some(s) } => write!(f, "in the mapped file, subsection {s}"),
            Self::FileBacked { subsection: None } => f.write_str("in the mapped file"),
            Self::Prototype { pte, why } => write!(f, "prototype entry {pte}: {why}"),
            Self::AskVad => f.write_str("prototype entry of the VAD"),
            Self::Unknown { entry } => write!(f, "not valid: {entry:#x}"),
            Self::NoBlock => f.write_str("no data block"),
        }
    }
}
