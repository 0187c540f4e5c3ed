//! LiME images, and those of AVML 1, which are the same: records of a stretch of physical memory each, with a head of 32 bytes.
//!
//! Head: `EMiL`, version 1, first and last address (inclusive, 64 bits each), eight bytes of zero. The format is described in LiME's own
//! documentation. What no record has is not in the image; AVML leaves out stretches of zeros.

use super::pages::{Pages, RunTable, whole_pages};
use crate::bytes::{u32_at, u64_at};
use crate::value::Note;

/// How a record begins.
pub const MAGIC: &[u8] = b"EMiL";
/// Bytes of a record's head.
const HEAD: usize = 32;
/// Records of one image at most. AVML writes one for each 16 MiB: these would be 16 TiB.
const MOST_RECORDS: usize = 1 << 20;

/// Opens an image.
///
/// # Errors
/// The first record is of another version, or impossible.
pub fn open(map: &[u8], notes: &mut Vec<Note>) -> Result<Pages, String> {
    let mut runs = Vec::new();
    let (mut at, mut cut) = (0usize, 0u64);
    while let Some(head) = map.get(at..at.saturating_add(HEAD)) {
        let record = match record(head) {
            Ok(record) => record,
            // Zeros behind the last record are padding.
            Err(_) if !runs.is_empty() && head.iter().all(|b| *b == 0) => break,
            Err(why) if runs.is_empty() => return Err(format!("a LiME image whose first record {why}")),
            Err(why) => {
                notes.push(Note::loss(format!("LiME: the record at {at:#x} {why}; what follows is not read")));
                break;
            }
        };
        if runs.len() == MOST_RECORDS {
            notes.push(Note::loss(format!("LiME: more than {MOST_RECORDS} records; the rest is not read")));
            break;
        }
        let data = at.saturating_add(HEAD);
        let (run, over) = whole_pages(record.start, record.length, data as u64);
        cut = cut.saturating_add(over);
        runs.push(run);
        let Ok(length) = usize::try_from(record.length) else { break };
        at = data.saturating_add(length);
    }
    if cut > 0 {
        notes.push(Note::info(format!("LiME: {cut} bytes of records that begin or end inside a page are not used")));
    }
    RunTable::new(runs, map.len() as u64, notes).map(Pages::Runs)
}

/// One stretch of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Record {
    start: u64,
    length: u64,
}

fn record(head: &[u8]) -> Result<Record, String> {
    if !head.starts_with(MAGIC) {
        return Err("does not begin with EMiL".into());
    }
    let version = u32_at(head, 4).unwrap_or_default();
    if version != 1 {
        return Err(format!("has version {version}; only 1 is known"));
    }
    let range = u64_at(head, 8).zip(u64_at(head, 16));
    let length =
        range.and_then(|(start, last)| last.checked_sub(start)?.checked_add(1).map(|length| Record { start, length }));
    length.ok_or_else(|| "ends before it begins".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pfn;

    fn image(records: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (start, data) in records {
            out.extend(b"EMiL\x01\0\0\0");
            out.extend(start.to_le_bytes());
            out.extend((start + data.len() as u64 - 1).to_le_bytes());
            out.extend([0; 8]);
            out.extend(*data);
        }
        out
    }
    fn opened(file: &[u8]) -> (Pages, Vec<Note>) {
        let mut notes = Vec::new();
        (open(file, &mut notes).unwrap(), notes)
    }

    #[test]
    fn records_are_runs() {
        let file = image(&[(0x1000, &[1; 0x2000]), (0x1_0000_0000, &[2; 0x1000])]);
        let (pages, notes) = opened(&file);
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!(pages.count(), 3);
        assert_eq!(pages.file(&file, Pfn(0)), None);
        assert_eq!(pages.file(&file, Pfn(2)), Some(0x1020));
        assert_eq!(pages.file(&file, Pfn(0x10_0000)), Some(0x2040));
    }
    #[test]
    fn parts_of_pages_are_left_out_and_said() {
        let file = image(&[(0x1800, &[1; 0x2000])]);
        let (pages, notes) = opened(&file);
        assert_eq!((pages.count(), pages.file(&file, Pfn(2))), (1, Some(0x820)));
        assert!(notes[0].text.contains("4096 bytes"), "{notes:?}");
    }
    #[test]
    fn a_damaged_record_ends_the_image_with_a_loss() {
        let mut file = image(&[(0, &[1; 0x1000]), (0x1000, &[2; 0x1000])]);
        file[0x1020..0x1024].copy_from_slice(b"XXXX");
        let (pages, notes) = opened(&file);
        assert!(pages.count() == 1 && notes[0].loss, "{notes:?}");
        // Cut in the middle: what is there is read.
        let whole = image(&[(0, &[1; 0x3000])]);
        let (pages, notes) = opened(&whole[..0x2100]);
        assert!(pages.count() == 2 && notes[0].loss, "{notes:?}");
        // Padding is none.
        let mut padded = image(&[(0, &[1; 0x1000])]);
        padded.extend([0; 512]);
        assert!(opened(&padded).1.is_empty());
        let mut backwards = image(&[(0x1000, &[1; 0x1000])]);
        backwards[16..24].fill(0);
        assert!(open(&backwards, &mut Vec::new()).unwrap_err().contains("ends before"));
    }
}
