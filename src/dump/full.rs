//! Full dumps (type 1): every page of every run of physical memory, one after another.

use super::header::Width;
use super::pages::{Pages, RunTable};
use super::{Run, raw};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::value::Note;

/// Opens a full dump.
pub fn open(map: &[u8], width: Width, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let (count, promised, at) = match width {
        Width::Bits64 => {
            let head: raw::Memory64 = raw::read(map, raw::MEMORY64).ok_or("the file ends inside its header")?;
            (head.runs, head.pages, raw::MEMORY64)
        }
        Width::Bits32 => {
            let head: raw::Memory32 = raw::read(map, raw::MEMORY32).ok_or("the file ends inside its header")?;
            (head.runs, head.pages.into(), raw::MEMORY32)
        }
    };
    let room = width.runs_room();
    if count == 0 || count > room {
        let seen = if count == raw::FILL32 { "never written".to_string() } else { format!("{count}") };
        return Err(format!(
            "the number of memory runs at {at:#x} is {seen}; a full dump has 1 to {room}. Its pages cannot be placed"
        ));
    }
    let mut file = width.header_size() as u64;
    let mut runs = Vec::with_capacity(count as usize);
    for i in 0..count as usize {
        let (page, pages) = width.run(map, i).ok_or("the file ends inside its header")?;
        runs.push(Run { pfn: Pfn(page), count: pages, file });
        file = file.saturating_add(pages.saturating_mul(PAGE_SIZE));
    }
    let sum = runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.count));
    if sum != promised {
        notes.push(Note::info(format!(
            "the memory runs have {sum} pages, the header promises {promised}; the runs are used"
        )));
    }
    RunTable::new(runs, map.len() as u64, notes).map(Pages::Runs)
}
