//! Raw images (`dd`, `.raw`, `.vmem`, `.bin`): physical address and file offset are the same number.

use super::Run;
use super::pages::{Pages, RunTable};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::value::Note;

/// A file smaller than this is no memory of a machine that runs Windows: the page tables of one process, System's own objects and the
/// kernel's headers alone take more.
pub const SMALLEST: usize = 1 << 18;

/// Opens a raw image.
pub fn open(map: &[u8], notes: &mut Vec<Note>) -> Result<Pages, String> {
    let length = map.len() as u64;
    let over = length % PAGE_SIZE;
    if over != 0 {
        notes.push(Note::info(format!("the file is no whole number of pages: its last {over} bytes are not used")));
    }
    let run = Run { pfn: Pfn(0), count: length / PAGE_SIZE, file: 0 };
    RunTable::new(vec![run], length, notes).map(Pages::Runs)
}
