//! Who gives way when there is more than can be kept: every part of memory keeps the same number, parts with fewer keep all.

/// The largest number that each part may keep so that all together keep at most `most`.
#[must_use]
pub fn fair(counts: impl Iterator<Item = usize> + Clone, most: usize) -> usize {
    let kept = |each: usize| counts.clone().fold(0usize, |sum, n| sum.saturating_add(n.min(each)));
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low.saturating_add(high.saturating_sub(low).div_ceil(2));
        if kept(middle) <= most { low = middle } else { high = middle.saturating_sub(1) }
    }
    low
}

/// Whether the one with this number, of `all`, is among the `each` that are kept: spread over all, never the first ones.
#[must_use]
pub fn is_kept(number: usize, all: usize, each: usize) -> bool {
    let before = |n: usize| n.saturating_mul(each).checked_div(all).unwrap_or(0);
    all <= each || before(number) != before(number.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_in_one_part_takes_nothing_from_the_others() {
        let counts = [3usize, 1_000_000, 0, 7, 50];
        let each = fair(counts.iter().copied(), 1000);
        assert_eq!(each, 1000 - 60);
        assert_eq!(fair(counts.iter().copied(), 4_000_000), 4_000_000, "nobody gives way");
        assert_eq!(fair([5usize, 5, 5].iter().copied(), 14), 4);
        assert_eq!(fair([5usize; 3].iter().copied(), 2), 0, "fewer than one for each part");
    }
    #[test]
    fn as_many_as_the_share_are_kept_and_from_everywhere() {
        for (all, each) in [(10, 3), (1000, 999), (7, 7), (7, 9), (12345, 100), (5, 0)] {
            let kept: Vec<usize> = (0..all).filter(|n| is_kept(*n, all, each)).collect();
            assert_eq!(kept.len(), all.min(each));
            assert!(each < 2 || kept.last().unwrap() - kept[0] >= all / 2 - 1, "{all} {each}: {kept:?}");
        }
    }
}
