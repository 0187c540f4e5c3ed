//! Physical memory, page tables over it, and the kernel pools.

mod paging;
mod physical;
mod pool;
mod pte;
pub mod xpress;

pub use paging::{Mode, Space, flags};
pub use physical::{Physical, Plan, Use};
pub use pool::{Pool, PoolKind};
pub use pte::{Soft, software};

/// Bytes a page.
pub const PAGE: u64 = 0x1000;
/// Steps in which tools look for the kernel's start.
pub const LARGE: u64 = 0x20_0000;
