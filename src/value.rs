//! A value of a dump, or the reason why it is not there.

use std::fmt;

/// Why one value is absent. One byte; it travels to the printed cell. Never silently zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Absent {
    /// This Windows build has no such field or type.
    NotInBuild,
    /// The object has no such thing: the System process has no PEB, a running process no exit time.
    NotApplicable,
    /// The page tables map nothing at the address.
    NotMapped,
    /// The page was promised but never touched: a process that read it would see zeros, no byte of the dump says so.
    DemandZero,
    /// The page was written to a page file or must be read back from its mapped file.
    PagedOut,
    /// The page lies in the compressed store.
    Compressed,
    /// The page tables name a physical page that the dump does not hold.
    NotInDump,
    /// This kind of dump does not record it.
    NotRecorded,
    /// Needs a symbol or type that no symbol source gives.
    NoSymbol,
    /// Bytes are there, but they cannot be what they should be.
    Implausible,
}

impl Absent {
    /// Every reason, for schemas and tests.
    pub const ALL: [Self; 10] = [
        Self::NotInBuild,
        Self::NotApplicable,
        Self::NotMapped,
        Self::DemandZero,
        Self::PagedOut,
        Self::Compressed,
        Self::NotInDump,
        Self::NotRecorded,
        Self::NoSymbol,
        Self::Implausible,
    ];

    /// Whether nothing could ever be there: a page that is missing from the dump, or from memory, has another reason.
    #[must_use]
    pub const fn is_wild(self) -> bool {
        matches!(self, Self::NotMapped | Self::Implausible | Self::NotApplicable)
    }

    /// The stable machine-readable name (`"not_in_dump"`).
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::NotInBuild => "not_in_build",
            Self::NotApplicable => "not_applicable",
            Self::NotMapped => "not_mapped",
            Self::DemandZero => "demand_zero",
            Self::PagedOut => "paged_out",
            Self::Compressed => "compressed",
            Self::NotInDump => "not_in_dump",
            Self::NotRecorded => "not_recorded",
            Self::NoSymbol => "no_symbol",
            Self::Implausible => "implausible",
        }
    }

    /// The one-character mark of a table cell: `-` nothing to show, `?` unreadable, `!` implausible.
    #[must_use]
    pub const fn mark(self) -> &'static str {
        match self {
            Self::NotInBuild | Self::NotApplicable | Self::NotRecorded | Self::NoSymbol => "-",
            Self::NotMapped | Self::DemandZero | Self::PagedOut | Self::Compressed | Self::NotInDump => "?",
            Self::Implausible => "!",
        }
    }
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInBuild => "not in this build",
            Self::NotApplicable => "not applicable",
            Self::NotMapped => "not mapped",
            Self::DemandZero => "never touched (demand-zero)",
            Self::PagedOut => "paged out",
            Self::Compressed => "in the compressed store",
            Self::NotInDump => "not in the dump",
            Self::NotRecorded => "not recorded by this kind of dump",
            Self::NoSymbol => "no symbol",
            Self::Implausible => "implausible",
        })
    }
}

/// A program that uses the library may pass a reason on as any other error (`?`).
impl std::error::Error for Absent {}

/// A value, or why there is none.
pub type Value<T> = Result<T, Absent>;

/// A fact about how an analysis went: a list broken, pages missing, a source of symbols that had to be guessed.
/// Notes go into the report, not only to a log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    /// Whether rows may be missing or wrong because of it (exit code 4).
    pub loss: bool,
    /// One sentence, with addresses.
    pub text: String,
}

impl Note {
    /// A fact worth knowing that lost nothing.
    pub fn info(text: impl Into<String>) -> Self {
        Self { loss: false, text: text.into() }
    }
    /// Something that may have cost rows or values.
    pub fn loss(text: impl Into<String>) -> Self {
        Self { loss: true, text: text.into() }
    }
}
