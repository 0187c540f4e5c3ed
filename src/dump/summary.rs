//! Summary dumps (type 2): the kernel memory dumps of Windows 2000 to 7, with a 32-bit count of bits.

use super::bitmap::{Bitmap, DUMP, SDMP};
use super::header::Width;
use super::pages::Pages;
use super::{raw, sniff};
use crate::value::Note;

/// Opens a summary dump.
pub fn open(map: &[u8], width: Width, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let at = width.header_size();
    let cut = || format!("the file ends inside its summary header at {at:#x}");
    // The two differ in the width of a pointer that was written with them, and so in where the bitmap begins.
    let (head, size) = match width {
        Width::Bits32 => (raw::read::<raw::Summary32>(map, at).ok_or_else(cut)?, raw::size::<raw::Summary32>()),
        Width::Bits64 => {
            let h: raw::Summary64 = raw::read(map, at).ok_or_else(cut)?;
            let head = raw::Summary32 {
                signature: h.signature,
                valid_dump: h.valid_dump,
                options: h.options,
                header_size: h.header_size,
                bits: h.bits,
                pages: h.pages,
                bitmap_bits: h.bitmap_bits,
                pointer: 0,
            };
            (head, raw::size::<raw::Summary64>())
        }
    };
    if head.signature != SDMP || head.valid_dump != DUMP {
        return Err(format!(
            "a summary dump without its second header: {} at {at:#x} where SDMPDUMP should be",
            sniff::quote(map.get(at..at.saturating_add(8)).unwrap_or_default())
        ));
    }
    if head.bits != head.bitmap_bits {
        notes.push(Note::info(format!(
            "the summary header gives two sizes of its bitmap, {} and {} bits; the first is used",
            head.bits, head.bitmap_bits
        )));
    }
    let bits_at = at.saturating_add(size);
    Bitmap::new(map, bits_at, head.bits.into(), head.header_size.into(), head.pages.into(), notes).map(Pages::Bitmap)
}
