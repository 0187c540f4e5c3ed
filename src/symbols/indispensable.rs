//! The fields without which no dump can be read, each with the reason.
//!
//! A process is what every question starts from: it is recognized, walked to, translated through and named by the fields below,
//! and the kernel itself is found by reading System's. Every other field of every `layout!` may be missing in a
//! kernel: it is absent then, and costs the cells that show it. Whoever adds a line here makes kernels unreadable that lack
//! the field; `tests/missing_fields.rs` takes each field away in turn.

/// One field that a kernel must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// The structure's name in the symbols.
    pub ty: &'static str,
    /// The field's path.
    pub field: &'static str,
    /// What it is needed for: completes "this field …".
    pub why: &'static str,
}

/// All of them. They exist, spelt so, in every kernel of the layout tables, Windows XP to Windows 11 24H2.
pub const ALL: &[Need] = &[
    Need { ty: "_EPROCESS", field: "Pcb.Header.Type", why: "distinguishes a process from other memory" },
    Need { ty: "_EPROCESS", field: "Pcb.DirectoryTableBase", why: "is the root of a process's page tables" },
    Need { ty: "_EPROCESS", field: "UniqueProcessId", why: "identifies a process, and System among them" },
    Need { ty: "_EPROCESS", field: "ActiveProcessLinks", why: "leads from one process to the next" },
    Need { ty: "_EPROCESS", field: "ImageFileName", why: "names a process, and System among them" },
    Need { ty: "_EPROCESS", field: "ThreadListHead", why: "leads from a process to its threads" },
];

/// Why a kernel must have one of these paths of a type; `None` where it may lack them all.
#[must_use]
pub fn need(ty: &str, paths: &[&str]) -> Option<&'static Need> {
    ALL.iter().find(|n| n.ty == ty && paths.contains(&n.field))
}
