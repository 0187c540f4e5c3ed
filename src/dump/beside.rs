//! What a raw image's name and the files beside it say: a piece of a split image, or VMware memory whose pages are not in their order.
//! Neither has a signature of its own, and either, read as it is, would put pages at addresses that are not theirs.

use super::map::Map;
use super::vmware;
use crate::value::Note;
use std::path::{Path, PathBuf};

/// Why a file cannot be taken as a raw image for its name's sake. Where its name only raises a doubt, that is a note.
pub fn not_raw(path: &Path, notes: &mut Vec<Note>) -> Option<String> {
    piece(path, &extension(path)?, notes)
}

fn extension(path: &Path) -> Option<String> {
    path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase)
}

fn name(path: &Path) -> String {
    path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned())
}

/// Whether a file is called as VMware's memory files are.
pub fn is_vmem(path: &Path) -> bool {
    extension(path).is_some_and(|e| e == "vmem")
}

/// The state file beside VMware's memory file: its name, and its contents or why they cannot be read. `None` if the folder has no such file.
pub fn state(vmem: &Path) -> Option<(String, Result<vmware::State, String>)> {
    let path = ["vmsn", "vmss"].into_iter().find_map(|e| beside(vmem, e))?;
    let state = Map::open(&path).map_err(|e| e.to_string());
    Some((name(&path), state.and_then(|map| vmware::State::read(&map).map_err(Into::into))))
}

/// The memory file beside a state file of VMware's.
pub fn memory(state: &Path) -> Option<PathBuf> {
    beside(state, "vmem")
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
        (not_raw(&folder.join(name), &mut notes), notes)
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
    fn a_state_file_is_found_in_either_case() {
        let folder = tempfile::tempdir().unwrap();
        let vmem = folder.path().join("vm.vmem");
        assert!(is_vmem(&vmem) && is_vmem(Path::new("X.VMEM")) && !is_vmem(Path::new("x.raw")));
        assert!(state(&vmem).is_none() && memory(&vmem.with_extension("vmsn")).is_none());
        std::fs::write(&vmem, b"x").unwrap();
        std::fs::write(folder.path().join("vm.VMSS"), vmware::testing::state(&[[0, 0, 0x100]], &[], None)).unwrap();
        let (name, read) = state(&vmem).unwrap();
        assert!(name.eq_ignore_ascii_case("vm.vmss") && read.is_ok());
        assert_eq!(memory(&folder.path().join("vm.vmsn")), Some(vmem.clone()));
        std::fs::write(folder.path().join("vm.vmsn"), b"something else").unwrap();
        let (name, read) = state(&vmem).unwrap();
        assert!(name == "vm.vmsn" && read.unwrap_err().contains("signature"));
    }
}
