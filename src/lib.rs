//! dumpwalk opens a Windows memory dump on any workstation and says what was running.

pub mod addr;
pub mod analysis;
pub mod bytes;
pub mod cli;
pub mod dump;
pub mod error;
pub mod kernel;
pub mod paging;
pub mod progress;
pub mod report;
pub mod symbols;
pub mod time;
pub mod value;
