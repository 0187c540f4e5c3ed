//! Call stacks: from where a thread stopped to where it began.

pub mod call;
pub mod crash;
pub mod exports;
pub mod images;
pub mod memory;
pub mod registers;
pub mod thread;
pub mod unwind;
pub mod unwind_arm64;
pub mod walk;
