//! Physical memory, x64 page tables over it, and the kernel pools.

mod paging;
mod physical;
mod pool;
mod pte;

pub use paging::{Space, flags};
pub use physical::{Physical, Plan, Use};
pub use pool::{Pool, PoolKind};
pub use pte::{Soft, software};

/// Bytes a page.
pub const PAGE: u64 = 0x1000;
/// Bytes a large page.
pub const LARGE: u64 = 0x20_0000;
