//! VMware: a memory file (`.vmem`) and a state file (`.vmsn` of a snapshot, `.vmss` of a suspended machine) that says where its pages
//! belong, or has memory inside.
//!
//! The layout is described by the public readers of these files: a magic number, the number of groups, and groups of 80 bytes (name,
//! offset, size); a group is a list of tags, each with flags, a name, up to three indices and data.

use super::Run;
use super::pages::{Pages, RunTable};
use crate::addr::{PAGE_SIZE, Pa, Pfn};
use crate::bytes::{le, u16_at, u32_at, u64_at};
use crate::value::Note;

/// The magic numbers, as the file has them.
const MAGICS: [[u8; 4]; 4] =
    [[0xd0, 0xbe, 0xd2, 0xbe], [0xd1, 0xba, 0xd1, 0xba], [0xd2, 0xbe, 0xd2, 0xbe], [0xd3, 0xbe, 0xd3, 0xbe]];

/// Groups of one file at most, and regions: real ones have some 50 and fewer than 10.
const MOST_GROUPS: u32 = 1 << 12;
const MOST_REGIONS: u64 = 1 << 16;
/// Tags of one group at most.
const MOST_TAGS: usize = 1 << 20;
/// Processors whose registers are looked at.
const MOST_PROCESSORS: usize = 1 << 10;
/// Three and four GiB in pages: with more memory, VMware leaves the space between to devices.
const HOLE: (u64, u64) = ((3 << 30) / PAGE_SIZE, (4 << 30) / PAGE_SIZE);
/// `Platform` of ARM64 machines, and the page where their memory begins.
const ARM64: (u64, u64) = (3, 0x8000_0000 / PAGE_SIZE);

/// One region of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Region {
    /// First page in the machine.
    page: u64,
    /// First page in the memory file.
    in_file: u64,
    /// Pages.
    pages: u64,
}

/// What a state file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Where memory belongs; none where it lies in order from `first` on.
    regions: Vec<Region>,
    /// First page of the machine's memory.
    first: u64,
    /// File offset and bytes of memory that lies in the state file itself.
    inside: Option<(u64, u64)>,
    /// CR3 of each processor.
    pub roots: Vec<Pa>,
}

/// Whether a file is a state file, by its magic number.
pub fn is_state(map: &[u8]) -> bool {
    map.get(..4).is_some_and(|magic| MAGICS.iter().any(|m| m == magic))
}

impl State {
    /// Reads a state file.
    ///
    /// # Errors
    /// It is none, or damaged.
    pub fn read(map: &[u8]) -> Result<Self, &'static str> {
        if !is_state(map) {
            return Err("it has no signature of VMware's");
        }
        let wide = map.first().is_some_and(|b| b & 0xf != 0);
        let mut state = Self::default();
        if let Some((group, at)) = group(map, b"memory") {
            state.regions = regions(group, wide)?;
            let memory = tags(group, wide).take(MOST_TAGS).find(|t| t.name == b"Memory");
            state.inside = memory.map(|t| ((at.saturating_add(t.at)) as u64, t.length as u64));
        }
        if let Some((group, _)) = group(map, b"cpu") {
            let cr3 = |t: &Tag<'_>| (t.name == b"CR64" && t.index.1 == 3).then(|| le(t.data)).flatten();
            let roots = tags(group, wide).take(MOST_TAGS).filter_map(|t| cr3(&t)).filter(|cr3| *cr3 != 0);
            state.roots = roots.take(MOST_PROCESSORS).map(|cr3| Pa(cr3).page()).collect();
        }
        if let Some((group, _)) = group(map, b"Checkpoint")
            && tags(group, wide).take(MOST_TAGS).any(|t| t.name == b"Platform" && le(t.data) == Some(ARM64.0))
        {
            state.first = ARM64.1;
        }
        Ok(state)
    }
    /// Whether memory lies in the state file.
    pub fn has_memory(&self) -> bool {
        self.inside.is_some()
    }
    /// The pages of the state file itself, or of the memory file (`length` bytes).
    ///
    /// # Errors
    /// A region that no machine can have.
    pub fn pages(&self, length: u64, notes: &mut Vec<Note>) -> Result<Pages, String> {
        let (start, bytes) = self.inside.unwrap_or((0, length));
        let whole = Region { page: self.first, in_file: 0, pages: bytes / PAGE_SIZE };
        let regions = if self.regions.is_empty() { vec![whole] } else { self.regions.clone() };
        runs(&regions, start, length, notes)
    }
}

/// The pages of a memory file without a state file. VMware leaves the fourth GiB to devices: what does not fit below it, as it does in a
/// small machine, is assumed to go on at 4 GiB, with a note.
///
/// # Errors
/// More memory than a machine can have.
pub fn alone(length: u64, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let pages = length / PAGE_SIZE;
    let low = Region { page: 0, in_file: 0, pages: pages.min(HOLE.0) };
    let high = Region { page: HOLE.1, in_file: HOLE.0, pages: pages.saturating_sub(HOLE.0) };
    if high.pages > 0 {
        notes.push(Note::loss(
            "a VMware memory file of more than 3 GiB without its .vmsn or .vmss beside it: what is behind the first 3 GiB is assumed to \
             belong at 4 GiB, as VMware usually has it; only that file says so for certain",
        ));
    }
    runs(&[low, high], 0, length, notes)
}

fn runs(regions: &[Region], start: u64, length: u64, notes: &mut Vec<Note>) -> Result<Pages, String> {
    let run = |r: &Region| Run {
        pfn: Pfn(r.page),
        count: r.pages,
        file: r.in_file.saturating_mul(PAGE_SIZE).saturating_add(start),
    };
    RunTable::new(regions.iter().map(run).collect(), length, notes).map(Pages::Runs)
}

/// One tag of a group.
struct Tag<'m> {
    name: &'m [u8],
    /// The first two of its indices.
    index: (u32, u32),
    /// Its data, where the group has them whole.
    data: &'m [u8],
    /// Where they begin in the group, and their bytes.
    at: usize,
    length: usize,
}

/// The regions of memory that a group describes; none where pages stand in their order.
fn regions(group: &[u8], wide: bool) -> Result<Vec<Region>, &'static str> {
    let mut count = 0;
    let mut out: Vec<Region> = Vec::new();
    for tag in tags(group, wide).take(MOST_TAGS) {
        let Some(value) = le(tag.data) else { continue };
        if tag.name == b"regionsCount" {
            count = value;
            if count > MOST_REGIONS {
                return Err("it describes more regions than a machine has");
            }
            continue;
        }
        let index = tag.index.0 as usize;
        if index as u64 >= MOST_REGIONS {
            continue;
        }
        let set: fn(&mut Region, u64) = match tag.name {
            b"regionPPN" => |r, v| r.page = v,
            b"regionPageNum" => |r, v| r.in_file = v,
            b"regionSize" => |r, v| r.pages = v,
            _ => continue,
        };
        if out.len() <= index {
            out.resize(index.saturating_add(1), Region::default());
        }
        out.get_mut(index).into_iter().for_each(|r| set(r, value));
    }
    if (out.len() as u64) < count {
        return Err("regions are missing in it");
    }
    out.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok(out)
}

/// The bytes of a group by its name, and where they begin.
fn group<'m>(map: &'m [u8], wanted: &[u8]) -> Option<(&'m [u8], usize)> {
    let count = u32_at(map, 8)?.min(MOST_GROUPS) as usize;
    (0..count).find_map(|i| {
        let at = i.checked_mul(80)?.checked_add(12)?;
        let name = map.get(at..at.checked_add(64)?)?;
        if name.split(|b| *b == 0).next() != Some(wanted) {
            return None;
        }
        let from = usize::try_from(u64_at(map, at.checked_add(64)?)?).ok()?;
        let len = usize::try_from(u64_at(map, at.checked_add(72)?)?).ok()?;
        map.get(from..from.saturating_add(len).min(map.len())).map(|group| (group, from))
    })
}

/// The tags of a group.
fn tags(group: &[u8], wide: bool) -> impl Iterator<Item = Tag<'_>> {
    let mut at = 0usize;
    std::iter::from_fn(move || {
        let (tag, next) = tag(group, at, wide)?;
        at = next;
        Some(tag)
    })
}

/// The tag at an offset, and where the next is.
fn tag(group: &[u8], at: usize, wide: bool) -> Option<(Tag<'_>, usize)> {
    let (flags, length) = (*group.get(at)?, *group.get(at.checked_add(1)?)?);
    if length == 0 {
        return None;
    }
    let name_at = at.checked_add(2)?;
    let indices_at = name_at.checked_add(length.into())?;
    let name = group.get(name_at..indices_at)?;
    let indices = usize::from(flags >> 6);
    let index =
        |n: usize| if n < indices { u32_at(group, indices_at.checked_add(n.checked_mul(4)?)?) } else { Some(0) };
    let index = (index(0)?, index(1)?);
    let data_at = indices_at.checked_add(indices.checked_mul(4)?)?;
    let (from, len) = match flags & 0x3f {
        62 | 63 => long(group, data_at, wide)?,
        short => (data_at, short.into()),
    };
    let end = from.checked_add(len)?;
    // What is long (a screen, memory itself) may end past the group.
    let data = group.get(from..end).unwrap_or_default();
    Some((Tag { name, index, data, at: from, length: len }, end))
}

/// Where long data lie: behind their size on disk, their size in memory, and padding.
fn long(group: &[u8], at: usize, wide: bool) -> Option<(usize, usize)> {
    let size = |at| if wide { u64_at(group, at) } else { u32_at(group, at).map(u64::from) };
    let width = if wide { 8 } else { 4 };
    let padding_at = at.checked_add(width)?.checked_add(width)?;
    let (on_disk, in_memory) = (size(at)?, size(at.checked_add(width)?)?);
    // Compressed: nothing that is read here ever is.
    let size = if on_disk == in_memory { on_disk } else { return None };
    let from = padding_at.checked_add(2)?.checked_add(u16_at(group, padding_at)?.into())?;
    Some((from, usize::try_from(size).ok()?))
}

#[cfg(test)]
pub mod testing {
    /// A tag: name, indices, data.
    type Tag<'t> = (&'t str, &'t [u32], &'t [u8]);

    fn file(groups: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let mut file = vec![0xd2, 0xbe, 0xd2, 0xbe, 8, 0, 0, 0];
        file.extend(u32::try_from(groups.len()).unwrap().to_le_bytes());
        let mut at = 12 + 80 * groups.len();
        for (name, group) in groups {
            let mut head = [0u8; 80];
            head[..name.len()].copy_from_slice(name.as_bytes());
            head[64..72].copy_from_slice(&(at as u64).to_le_bytes());
            head[72..80].copy_from_slice(&(group.len() as u64).to_le_bytes());
            file.extend(head);
            at += group.len();
        }
        groups.iter().for_each(|(_, group)| file.extend(group));
        file
    }
    fn group(tags: &[Tag<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, indices, data) in tags {
            let flags = u8::try_from(indices.len() << 6 | if data.len() < 62 { data.len() } else { 63 }).unwrap();
            out.extend([flags, u8::try_from(name.len()).unwrap()]);
            out.extend(name.as_bytes());
            out.extend(indices.iter().flat_map(|i| i.to_le_bytes()));
            if data.len() >= 62 {
                // On disk, in memory, three bytes of padding.
                out.extend((data.len() as u64).to_le_bytes());
                out.extend((data.len() as u64).to_le_bytes());
                out.extend([3, 0, 0xaa, 0xaa, 0xaa]);
            }
            out.extend(*data);
        }
        out.extend([0, 0]);
        out
    }

    /// A state file with these regions (page, page in the file, pages), CR3 of each processor, and memory inside.
    pub fn state(regions: &[[u32; 3]], roots: &[u64], memory: Option<&[u8]>) -> Vec<u8> {
        let count = u32::try_from(regions.len()).unwrap().to_le_bytes();
        let words: Vec<[[u8; 4]; 3]> = regions.iter().map(|r| r.map(u32::to_le_bytes)).collect();
        let indices: Vec<[u32; 1]> = (0..u32::try_from(regions.len()).unwrap()).map(|i| [i]).collect();
        let mut tags: Vec<Tag<'_>> = vec![("align_mask", &[0], &[0xff, 0xff, 0, 0])];
        if !regions.is_empty() {
            tags.push(("regionsCount", &[], &count));
        }
        for (words, index) in words.iter().zip(&indices) {
            tags.extend([
                ("regionPageNum", &index[..], &words[1][..]),
                ("regionPPN", index, &words[0]),
                ("regionSize", index, &words[2]),
            ]);
        }
        tags.extend(memory.map(|memory| ("Memory", &[0, 0][..], memory)));
        let cr: Vec<([u32; 2], [u8; 8])> = roots.iter().zip(0..).map(|(r, cpu)| ([cpu, 3], r.to_le_bytes())).collect();
        let cpu: Vec<Tag<'_>> = cr.iter().map(|(index, cr3)| ("CR64", &index[..], &cr3[..])).collect();
        file(&[("cpu", group(&cpu)), ("memory", group(&tags))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_registers_come_back() {
        let file = testing::state(&[[0, 0, 0xc_0000], [0x10_0000, 0xc_0000, 0x4_0000]], &[0x1a_d000, 0x1a_d002], None);
        let found = State::read(&file).unwrap();
        assert_eq!(found.regions[1], Region { page: 0x10_0000, in_file: 0xc_0000, pages: 0x4_0000 });
        assert_eq!(found.roots, [Pa(0x1a_d000), Pa(0x1a_d000)]);
        assert!(!found.has_memory());
        let empty = State::read(&testing::state(&[], &[], None)).unwrap();
        assert!(empty.regions.is_empty() && empty.roots.is_empty());
    }
    #[test]
    fn memory_inside_is_read_from_where_it_lies() {
        let memory = vec![7u8; 0x3000];
        let file = testing::state(&[[0, 0, 1], [0x10_0000, 1, 2]], &[], Some(&memory));
        let state = State::read(&file).unwrap();
        let pages = state.pages(file.len() as u64, &mut Vec::new()).unwrap();
        let start = file.len() as u64 - 2 - 0x3000;
        assert_eq!(pages.file(&file, Pfn(0)), Some(start));
        assert_eq!(pages.file(&file, Pfn(0x10_0001)), Some(start + 0x2000));
        assert_eq!((pages.file(&file, Pfn(1)), pages.count()), (None, 3));
    }
    #[test]
    fn a_large_memory_file_alone_has_the_hole() {
        let mut notes = Vec::new();
        let pages = alone(4 << 30, &mut notes).unwrap();
        assert_eq!(pages.file(&[], Pfn(0xb_ffff)), Some((3 << 30) - 0x1000));
        assert_eq!((pages.file(&[], Pfn(0xc_0000)), pages.file(&[], Pfn(0x10_0000))), (None, Some(3 << 30)));
        assert!(notes[0].loss && notes[0].text.contains("assumed"), "{notes:?}");
        notes.clear();
        assert_eq!(alone(2 << 30, &mut notes).unwrap().count(), 0x8_0000);
        assert!(notes.is_empty());
    }
    #[test]
    fn damage_is_no_panic() {
        let file = testing::state(&[[0, 0, 1], [5, 1, 1]], &[0x1000], Some(&[1; 0x1000]));
        for n in 0..300.min(file.len()) {
            let _ = State::read(&file[..n]);
            let mut bent = file.clone();
            bent[n] ^= 0xff;
            let _ = State::read(&bent).map(|s| s.pages(file.len() as u64, &mut Vec::new()).is_ok());
        }
        assert!(State::read(b"PAGEDU64").is_err());
    }
}
