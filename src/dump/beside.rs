//! What a raw image's name and the files beside it say: a piece of a split image, or VMware memory whose pages are not in their order.
//! Neither has a signature of its own, and either, read as it is, puts pages at addresses that are not theirs.

use super::map::Map;
use super::vmware;
use crate::value::Note;
use std::path::{Path, PathBuf};

/// Three GiB: with more memory, VMware puts the rest behind the hole for devices, at four.
const BELOW_HOLE: u64 = 3 << 30;

/// Why a file cannot be taken as a raw image for its name's sake. Where its name only raises a doubt, that is a note.
pub fn not_raw(path: &Path, length: u64, notes: &mut Vec<Note>) -> Option<String> {
    let extension = path.extension().and_then(|e| e.to_str())?.to_ascii_lowercase();
    if extension == "vmem" {
        return vmem(path, length, notes);
    }
    piece(path, &extension, notes)
}

/// VMware memory: the state file beside it says where its pages belong.
fn vmem(path: &Path, length: u64, notes: &mut Vec<Note>) -> Option<String> {
    let state = ["vmsn", "vmss"].into_iter().find_map(|e| beside(path, e));
    let Some(state) = state else {
        if length > BELOW_HOLE {
            notes.push(Note::loss(
                "a VMware memory file of more than 3 GB without its .vmsn or .vmss beside it: VMware usually puts what is behind the first 3 GB \
                 at 4 GB, and only that file says so; it is read as if there were no hole",
            ));
        }
        return None;
    };
    let name = state.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let map = match Map::open(&state) {
        Ok(map) => map,
        Err(why) => {
            notes.push(Note::loss(format!(
                "{name}, which says where the pages of this memory file belong, is not read: {why}"
            )));
            return None;
        }
    };
    match vmware::regions(&map) {
        Ok(regions) if regions.iter().all(vmware::Region::in_place) => None,
        Ok(regions) => Some(format!(
            "a VMware memory file whose {} regions are not in the order of their addresses ({name} beside it says where they belong); reading \
             such files is not supported. Read as a raw image its pages would stand at wrong addresses; convert it first (VMware's vmss2core \
             writes a crash dump, option -W or -W8)",
            regions.len()
        )),
        Err(why) => {
            notes.push(Note::loss(format!(
                "{name}, which says where the pages of this memory file belong, cannot be read ({why}): the file is taken as a raw image"
            )));
            None
        }
    }
}

/// The file of the same name with another extension, in either case.
fn beside(path: &Path, extension: &str) -> Option<PathBuf> {
    [extension.to_owned(), extension.to_ascii_uppercase()].iter().map(|e| path.with_extension(e)).find(|p| p.is_file())
}

/// A piece of an image that was split: `.001`, `.part1`, `.aa`.
fn piece(path: &Path, extension: &str, notes: &mut Vec<Note>) -> Option<String> {
    let place = Place::of(extension)?;
    let named = |p: Option<Place>| p.map(|p| path.with_extension(p.extension())).filter(|p| p.is_file());
    let neighbour = named(place.next()).or_else(|| named(place.before()));
    let name = |p: &Path| p.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    match neighbour {
        Some(other) => Some(format!(
            "one piece of an image that was split ({} is another); join all pieces in the order of their names first (Unix: `cat`, Windows: \
             `copy /b`) and open the result",
            name(&other)
        )),
        None if place.is_later() => Some(format!(
            "by its name (.{extension}) a later piece of an image that was split: its first byte is not the first of memory. Join it with the \
             pieces before it; should it be a whole image, give it another name"
        )),
        None => {
            if place.is_numbered() {
                notes.push(Note::info(format!(
                    "the name ends in .{extension} as the first piece of a split image does; no other piece is beside it, so it is read as a whole one"
                )));
            }
            None
        }
    }
}

/// Which piece an extension names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// `part`, or nothing.
    word: String,
    /// Digits after it, or letters (`aa`, `ab`, …) as a number of that many digits of 26.
    number: u32,
    width: usize,
    letters: bool,
}

impl Place {
    fn of(extension: &str) -> Option<Self> {
        let word = if extension.starts_with("part") { "part" } else { "" };
        let rest = extension.get(word.len()..)?;
        let digits = !rest.is_empty() && rest.len() <= 4 && rest.bytes().all(|b| b.is_ascii_digit());
        if digits && (!word.is_empty() || rest.len() >= 3) {
            return Some(Self { word: word.into(), number: rest.parse().ok()?, width: rest.len(), letters: false });
        }
        // `split` names its pieces aa, ab, …; longer words are names of formats.
        if word.is_empty() && rest.len() == 2 && rest.starts_with('a') && rest.bytes().all(|b| b.is_ascii_lowercase()) {
            let number = rest.as_bytes().get(1)?.checked_sub(b'a')?;
            return Some(Self { word: String::new(), number: number.into(), width: 2, letters: true });
        }
        None
    }
    fn extension(&self) -> String {
        if self.letters {
            return format!("a{}", char::from(b'a'.saturating_add(u8::try_from(self.number).unwrap_or(25).min(25))));
        }
        format!("{}{:0width$}", self.word, self.number, width = self.width)
    }
    fn next(&self) -> Option<Self> {
        Some(Self { number: self.number.checked_add(1)?, ..self.clone() })
    }
    fn before(&self) -> Option<Self> {
        Some(Self { number: self.number.checked_sub(1)?, ..self.clone() })
    }
    /// Pieces are counted from 0 or 1.
    fn is_later(&self) -> bool {
        !self.letters && self.number > 1
    }
    fn is_numbered(&self) -> bool {
        !self.letters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(folder: &Path, name: &str) -> (Option<String>, Vec<Note>) {
        let mut notes = Vec::new();
        (not_raw(&folder.join(name), 1 << 20, &mut notes), notes)
    }

    #[test]
    fn pieces_are_known_by_their_neighbours() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        for name in
            ["a.001", "a.002", "b.part1", "b.part2", "c.aa", "c.ab", "d.001", "e.raw.000", "e.raw.001", "f.002", "g.ac"]
        {
            std::fs::write(at.join(name), b"x").unwrap();
        }
        for name in ["a.001", "a.002", "b.part1", "c.aa", "c.ab", "e.raw.000"] {
            let (why, _) = why(at, name);
            assert!(why.as_ref().is_some_and(|w| w.contains("one piece of an image")), "{name}: {why:?}");
        }
        assert!(why(at, "f.002").0.unwrap().contains("a later piece"));
        // A whole image can be called so.
        let (alone, notes) = why(at, "d.001");
        assert!(alone.is_none() && notes[0].text.contains("no other piece"), "{notes:?}");
        for name in ["g.ac", "x.raw", "x.mem", "x.bin", "x.1", "x", "x.ab"] {
            assert_eq!(why(at, name), (None, vec![]), "{name}");
        }
    }
    #[test]
    fn a_large_vmem_alone_is_doubtful() {
        let mut notes = Vec::new();
        assert_eq!(not_raw(Path::new("nowhere/x.vmem"), 4 << 30, &mut notes), None);
        assert!(notes[0].loss && notes[0].text.contains("more than 3 GB"));
        notes.clear();
        assert_eq!(not_raw(Path::new("nowhere/x.vmem"), 2 << 30, &mut notes), None);
        assert!(notes.is_empty());
    }
    #[test]
    fn a_vmem_is_refused_when_its_state_file_moves_pages() {
        let folder = tempfile::tempdir().unwrap();
        let vmem = folder.path().join("vm.vmem");
        let refused = |regions: &[[u32; 3]]| {
            std::fs::write(folder.path().join("vm.vmsn"), vmware::testing::state(regions)).unwrap();
            let mut notes = Vec::new();
            let why = not_raw(&vmem, 1 << 20, &mut notes);
            assert!(notes.is_empty(), "{notes:?}");
            why
        };
        assert!(refused(&[[0, 0, 0x100], [0x10_0000, 0x100, 0x80]]).unwrap().contains("2 regions"));
        assert_eq!(refused(&[]), None, "no regions: pages are in their order");
        assert_eq!(refused(&[[0, 0, 0x100]]), None);
        std::fs::write(folder.path().join("vm.vmsn"), b"something else").unwrap();
        let mut notes = Vec::new();
        assert_eq!(not_raw(&vmem, 1 << 20, &mut notes), None);
        assert!(notes[0].loss && notes[0].text.contains("vm.vmsn"), "{notes:?}");
    }
}
