//! The scans: one pass over physical memory, in file order, that meets every object whether or not anything still points at it.
//!
//! [`sweep`] is the pass; [`tags`] says which pool tags belong to which kind.

pub(crate) mod checks;
pub mod find;
pub mod mapped;
pub mod object;
pub mod pages;
mod pass;
pub mod share;
pub mod sweep;
pub mod tags;
