//! Secondary data: what bug-check callbacks of the kernel and of drivers add behind a crash dump, each piece under a GUID.
//!
//! It begins with `DumpBlob`, the size of that head and `NtBuildNumber` (`_DUMP_BLOB_FILE_HEADER` of the WDK); each piece has
//! a head of its own: its size, the GUID, the bytes of data, the padding before and behind them (`_DUMP_BLOB_HEADER`).
//! Checked on real dumps of builds 19041 and 22000. In triage dumps it follows what `SizeOfDump` counts, in others the last
//! page.

use super::raw;
use crate::bytes::u32_at;
use crate::value::Note;
use std::fmt;

/// What it begins with.
const SIGNATURE: &[u8] = b"DumpBlob";
/// Bytes of the head (`_DUMP_BLOB_FILE_HEADER`).
const HEAD: u32 = 16;
/// Bytes of a piece's head (`_DUMP_BLOB_HEADER`).
const PIECE_HEAD: u32 = 32;
/// More pieces than callbacks write.
const MOST_PIECES: usize = 4096;

/// The GUID a piece is written under.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag(pub [u8; 16]);

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g, h, i, j, k, l, m, n, o, p, q] = self.0;
        let first = u32::from_le_bytes([a, b, c, d]);
        let (second, third) = (u16::from_le_bytes([e, g]), u16::from_le_bytes([h, i]));
        write!(f, "{first:08x}-{second:04x}-{third:04x}-{j:02x}{k:02x}-{l:02x}{m:02x}{n:02x}{o:02x}{p:02x}{q:02x}")
    }
}
impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'d> {
    /// The GUID it is written under.
    pub tag: Tag,
    /// File offset of its data.
    pub file: u64,
    /// Its data.
    pub data: &'d [u8],
}

/// The pieces that begin at `at`, and what was odd. None where no secondary data begins there.
pub fn read(map: &[u8], at: u64) -> (Vec<Piece<'_>>, Vec<Note>) {
    let (mut pieces, mut notes) = (Vec::new(), Vec::new());
    let Some(start) = usize::try_from(at).ok().filter(|at| map.get(*at..).is_some_and(|m| m.starts_with(SIGNATURE)))
    else {
        return (pieces, notes);
    };
    let head = u32_at(map, start.saturating_add(8)).filter(|n| (HEAD..0x1000).contains(n)).unwrap_or(HEAD);
    let mut next = start.saturating_add(head as usize);
    while next < map.len() && pieces.len() < MOST_PIECES {
        match piece(map, next) {
            Some((piece, end)) => {
                pieces.push(piece);
                next = end;
            }
            // What follows may be zeros up to a whole sector.
            None if map.get(next..).is_some_and(|rest| rest.iter().take(512).all(|b| *b == 0)) => break,
            None => {
                notes.push(Note::loss(format!(
                    "the secondary data is cut off or damaged at {next:#x}: {} pieces were read before",
                    pieces.len()
                )));
                break;
            }
        }
    }
    (pieces, notes)
}

/// The piece at `at`, and where the next begins.
fn piece(map: &[u8], at: usize) -> Option<(Piece<'_>, usize)> {
    let head: raw::Blob = raw::read(map, at)?;
    let size = head.header_size;
    let from = at.checked_add(size.checked_add(head.pre_pad).filter(|_| size >= PIECE_HEAD)? as usize)?;
    let to = from.checked_add(head.data_size as usize)?;
    let data = map.get(from..to)?;
    Some((Piece { tag: Tag(head.tag), file: from as u64, data }, to.checked_add(head.post_pad as usize)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[(u8, &[u8], u32, u32)]) -> Vec<u8> {
        let mut out = b"....DumpBlob".to_vec();
        out.extend([16u32, 0xf000_4a61].iter().flat_map(|n| n.to_le_bytes()));
        for (tag, data, before, behind) in pieces {
            out.extend(32u32.to_le_bytes());
            out.extend([*tag; 16]);
            out.extend([data.len() as u32, *before, *behind].iter().flat_map(|n| n.to_le_bytes()));
            out.extend(vec![0xcc; *before as usize]);
            out.extend(*data);
            out.extend(vec![0xcc; *behind as usize]);
        }
        out
    }

    #[test]
    fn pieces_lie_behind_their_padding() {
        let map = written(&[(1, b"one", 4, 5), (2, b"", 0, 0), (0, b"three", 0, 3)]);
        let (pieces, notes) = read(&map, 4);
        let data: Vec<_> = pieces.iter().map(|p| (p.tag.0[0], p.data)).collect();
        assert_eq!(data, [(1, &b"one"[..]), (2, b""), (0, b"three")]);
        assert_eq!(&map[pieces[0].file as usize..][..3], b"one");
        assert!(notes.is_empty(), "{notes:?}");
    }
    #[test]
    fn none_where_none_begins() {
        let map = written(&[(1, b"one", 0, 0)]);
        for at in [0, 3, 5, map.len() as u64, u64::MAX] {
            assert_eq!(read(&map, at), (Vec::new(), Vec::new()), "{at}");
        }
    }
    #[test]
    fn a_cut_piece_ends_the_list_with_a_note() {
        let mut map = written(&[(1, b"one", 0, 0), (2, b"two, which is longer", 0, 0)]);
        map.truncate(map.len() - 2);
        let (pieces, notes) = read(&map, 4);
        assert_eq!(pieces.len(), 1);
        assert!(notes[0].loss && notes[0].text.contains("cut off"), "{notes:?}");
        let mut map = written(&[(1, b"one", 0, 0)]);
        map.extend([0xff; 64]);
        assert_eq!(read(&map, 4).1.len(), 1);
    }
    #[test]
    fn zeros_behind_the_last_piece_are_no_loss() {
        let mut map = written(&[(1, b"one", 0, 0)]);
        map.extend([0; 700]);
        assert_eq!((read(&map, 4).0.len(), read(&map, 4).1.len()), (1, 0));
    }
    #[test]
    fn a_guid_as_it_is_written() {
        let tag = Tag([0x67, 0x5c, 0x00, 0xbc, 0x3a, 0x1e, 0xd7, 0x44, 0x98, 0x8d, 0x86, 0xf6, 0x88, 0x4c, 0x67, 0x58]);
        assert_eq!(tag.to_string(), "bc005c67-1e3a-44d7-988d-86f6884c6758");
    }
}
