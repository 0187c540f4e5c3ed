//! Range dumps: types 8 (kernel), 9 (kernel and user) and 0xA (complete), with `RDMP` in their second header.
//!
//! A list of {page, count} follows the second header, and the pages of all ranges follow one another from the first
//! page on. The list of types 8 and 9 ends with page 0; that of 0xA when all promised pages are placed.

use super::bitmap::DUMP;
use super::pages::{Pages, RunTable};
use super::{Run, raw, sniff};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::value::Note;

/// `RDMP`.
const RDMP: u32 = 0x504d_4452;

/// Opens a range dump whose second header stands at `at`.
pub fn open(map: &[u8], at: usize, complete: bool, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let cut = || format!("the file ends at {:#x}, inside its list of ranges", map.len());
    let head: raw::RangeHead = raw::read(map, at).ok_or_else(cut)?;
    if head.signature != RDMP || head.valid_dump != DUMP {
        return Err(format!(
            "a range dump without its second header: {} at {:#x} where RDMPDUMP should be",
            sniff::quote(map.get(at.saturating_add(4)..at.saturating_add(12)).unwrap_or_default()),
            at.saturating_add(4)
        ));
    }
    let after_head = at.saturating_add(raw::size::<raw::RangeHead>());
    let counts: raw::RangeCount = raw::read(map, after_head).ok_or_else(cut)?;
    let list = after_head.saturating_add(raw::size::<raw::RangeCount>());
    // The list's area ends where the pages begin; the header says so twice.
    let by_size = head.metadata_size.saturating_add(at as u64).saturating_add(0x20);
    if by_size != head.first_page {
        return Err(format!(
            "its second header contradicts itself: the first page is at {:#x}, but the list of ranges ends at {by_size:#x}",
            head.first_page
        ));
    }
    let end = usize::try_from(head.first_page).map_err(|_| cut())?;
    let area = map.get(list..end).ok_or_else(cut)?;

    let mut runs = Vec::new();
    let (mut file, mut sum, mut ended) = (head.first_page, 0u64, false);
    for i in 0..area.len() / raw::size::<raw::Run64>() {
        if complete && sum >= counts.pages {
            ended = true;
            break;
        }
        let Some(r) = raw::read::<raw::Run64>(area, i.saturating_mul(raw::size::<raw::Run64>())) else { break };
        if !complete && r.page == 0 && (i > 0 || r.count == 0) {
            ended = true;
            break;
        }
        if r.count == 0 {
            notes.push(Note::loss(format!(
                "range {i} at {:#x} is empty; the list is read up to it",
                list.saturating_add(i.saturating_mul(16))
            )));
            ended = true;
            break;
        }
        runs.push(Run { pfn: Pfn(r.page), count: r.count, file });
        sum = sum.saturating_add(r.count);
        file = file.saturating_add(r.count.saturating_mul(PAGE_SIZE));
    }
    if runs.is_empty() {
        return Err(format!("its list of ranges at {list:#x} is empty"));
    }
    if complete && sum != counts.pages {
        notes.push(Note::loss(format!(
            "the ranges have {sum} pages, the header promises {}; the ranges are used",
            counts.pages
        )));
    } else if complete && runs.len() as u64 != u64::from(counts.ranges) {
        notes.push(Note::info(format!("there are {} ranges, the header promises {}", runs.len(), counts.ranges)));
    } else if !complete && !ended {
        notes.push(Note::loss(format!(
            "the list of ranges has no end before the first page at {end:#x}; some may be missing"
        )));
    }
    RunTable::new(runs, map.len() as u64, notes).map(Pages::Runs)
}
