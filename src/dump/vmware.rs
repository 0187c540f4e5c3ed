//! VMware's state files (`.vmsn`, `.vmss`), as far as the memory file beside them needs them: where its regions belong.
//!
//! The layout is described by the public readers of these files: a magic number, the number of groups, and groups of 80 bytes (name,
//! offset, size); a group is a list of tags, each with flags, a name, up to three indices and data.

use crate::bytes::{le, u16_at, u32_at, u64_at};

/// The magic numbers, as the file has them.
pub const MAGICS: [[u8; 4]; 4] =
    [[0xd0, 0xbe, 0xd2, 0xbe], [0xd1, 0xba, 0xd1, 0xba], [0xd2, 0xbe, 0xd2, 0xbe], [0xd3, 0xbe, 0xd3, 0xbe]];

/// Groups of one file at most, and regions: real ones have some 50 and fewer than 10.
const MOST_GROUPS: u32 = 1 << 12;
const MOST_REGIONS: u64 = 1 << 16;
/// Tags of one group at most.
const MOST_TAGS: usize = 1 << 20;

/// One region of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    /// First page in the machine.
    pub page: u64,
    /// First page in the memory file.
    pub in_file: u64,
    /// Pages.
    pub pages: u64,
}

impl Region {
    /// Whether its pages stand in the file at their own addresses.
    pub fn in_place(&self) -> bool {
        self.page == self.in_file
    }
}

/// One tag of a group.
struct Tag<'m> {
    name: &'m [u8],
    index: u32,
    data: &'m [u8],
}

/// The regions that a state file describes; none where pages stand in their order.
///
/// # Errors
/// It is no state file, or damaged.
pub fn regions(map: &[u8]) -> Result<Vec<Region>, &'static str> {
    let magic = map.get(..4).ok_or("it is too short")?;
    if !MAGICS.iter().any(|m| m == magic) {
        return Err("it has no signature of VMware's");
    }
    let wide = magic.first().is_some_and(|b| b & 0xf != 0);
    let Some(group) = memory_group(map) else { return Ok(Vec::new()) };
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
        let index = tag.index as usize;
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

/// The bytes of the group that describes memory.
fn memory_group(map: &[u8]) -> Option<&[u8]> {
    let count = u32_at(map, 8)?.min(MOST_GROUPS) as usize;
    (0..count).find_map(|i| {
        let at = i.checked_mul(80)?.checked_add(12)?;
        let name = map.get(at..at.checked_add(64)?)?;
        if name.split(|b| *b == 0).next() != Some(b"memory") {
            return None;
        }
        let from = usize::try_from(u64_at(map, at.checked_add(64)?)?).ok()?;
        let len = usize::try_from(u64_at(map, at.checked_add(72)?)?).ok()?;
        map.get(from..from.saturating_add(len).min(map.len()))
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
    let index = if indices > 0 { u32_at(group, indices_at)? } else { 0 };
    let data_at = indices_at.checked_add(indices.checked_mul(4)?)?;
    let (from, len) = match flags & 0x3f {
        62 | 63 => long(group, data_at, wide)?,
        short => (data_at, short.into()),
    };
    let end = from.checked_add(len)?;
    // What is long (a screen, memory itself) may end past the group.
    let data = group.get(from..end).unwrap_or_default();
    Some((Tag { name, index, data }, end))
}

/// Where long data lie: behind their size on disk, their size in memory, and padding.
fn long(group: &[u8], at: usize, wide: bool) -> Option<(usize, usize)> {
    let (size, width) = if wide { (u64_at(group, at)?, 8) } else { (u32_at(group, at)?.into(), 4) };
    let padding_at = at.checked_add(width)?.checked_add(width)?;
    let from = padding_at.checked_add(2)?.checked_add(u16_at(group, padding_at)?.into())?;
    Some((from, usize::try_from(size).ok()?))
}

#[cfg(test)]
pub mod testing {
    /// A state file with these regions: page, page in the file, pages.
    pub fn state(regions: &[[u32; 3]]) -> Vec<u8> {
        let mut group = Vec::new();
        let mut tag = |name: &str, index: Option<u32>, data: &[u8]| {
            let indices = if index.is_some() { 1 << 6 } else { 0 };
            group.extend([indices | u8::try_from(data.len()).unwrap(), u8::try_from(name.len()).unwrap()]);
            group.extend(name.as_bytes());
            group.extend(index.into_iter().flat_map(u32::to_le_bytes));
            group.extend(data);
        };
        tag("align_mask", Some(0), &[0xff, 0xff, 0, 0]);
        if !regions.is_empty() {
            tag("regionsCount", None, &u32::try_from(regions.len()).unwrap().to_le_bytes());
        }
        for (i, region) in regions.iter().enumerate() {
            for (name, value) in
                ["regionPageNum", "regionPPN", "regionSize"].into_iter().zip([region[1], region[0], region[2]])
            {
                tag(name, Some(u32::try_from(i).unwrap()), &value.to_le_bytes());
            }
        }
        group.extend([0, 0]);
        let mut file = vec![0xd2, 0xbe, 0xd2, 0xbe, 8, 0, 0, 0, 1, 0, 0, 0];
        let mut head = [0u8; 80];
        head[..6].copy_from_slice(b"memory");
        head[64..72].copy_from_slice(&92u64.to_le_bytes());
        head[72..80].copy_from_slice(&(group.len() as u64).to_le_bytes());
        file.extend(head);
        file.extend(group);
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_come_back() {
        let file = testing::state(&[[0, 0, 0xc_0000], [0x10_0000, 0xc_0000, 0x4_0000]]);
        let found = regions(&file).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], Region { page: 0x10_0000, in_file: 0xc_0000, pages: 0x4_0000 });
        assert!(found[0].in_place() && !found[1].in_place());
        assert_eq!(regions(&testing::state(&[])), Ok(vec![]));
    }
    #[test]
    fn damage_is_no_panic() {
        let file = testing::state(&[[0, 0, 1], [5, 1, 1]]);
        for n in 0..file.len() {
            let _ = regions(&file[..n]);
            let mut bent = file.clone();
            bent[n] ^= 0xff;
            let _ = regions(&bent);
        }
        assert!(regions(b"PAGEDU64").is_err());
    }
}
