//! Many witnesses, one verdict: a dump taken while the machine ran is torn in places, and pages of it may be lost.

use super::End::{self, Failed, Passed, Unknown};
use crate::addr::Va;
use crate::paging::Space;

/// What the witnesses of one check said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    good: usize,
    bad: usize,
    lost: usize,
    empty: usize,
}

/// What one witness says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// It is as the layout has it.
    Yes,
    /// It is not.
    No,
    /// It cannot be read: its page is not in the dump, or its address is none.
    Lost,
    /// There is a page, and nothing in it.
    Empty,
}

impl From<bool> for Says {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl FromIterator<Says> for Tally {
    fn from_iter<I: IntoIterator<Item = Says>>(all: I) -> Self {
        let mut out = Self::default();
        all.into_iter().for_each(|says| out.count(says));
        out
    }
}

impl Tally {
    pub(super) fn count(&mut self, says: Says) {
        let counter = match says {
            Says::Yes => &mut self.good,
            Says::No => &mut self.bad,
            Says::Lost => &mut self.lost,
            Says::Empty => &mut self.empty,
        };
        *counter = counter.saturating_add(1);
    }
    /// Witnesses that could be heard.
    pub(super) fn heard(self) -> usize {
        self.good.saturating_add(self.bad)
    }
    /// Whether enough of those that could be heard say yes: one in ten may be torn.
    pub(super) fn holds(self, least: usize) -> bool {
        self.good >= least.min(self.heard()).max(1) && self.bad.saturating_mul(10) <= self.heard()
    }
    /// Whether those that could be heard speak against it.
    pub(super) fn fails(self) -> bool {
        self.bad.saturating_mul(10) > self.heard()
    }
    /// The verdict. A layout that reads nothing at all where there is much to read is wrong: lost pages do not take everything.
    pub(super) fn verdict(self, least: usize, what: &str) -> End {
        let gone = self.lost.saturating_add(self.empty);
        let all = self.heard().saturating_add(gone);
        match self.heard() {
            0 if self.lost >= ALL_LOST && self.empty == 0 => Failed(format!("{what} (none of {all} can be read)")),
            0 => Unknown(format!("{what} (nothing to look at)")),
            heard if self.holds(least) => {
                let lost = if gone == 0 { String::new() } else { format!(", {gone} more are lost") };
                Passed(format!("{what} ({} of {heard}{lost})", self.good))
            }
            heard => Failed(format!("{what} ({} of {heard})", self.good)),
        }
    }
}

/// Witnesses of which one at least can be heard where the layout is right: with every second page lost, one dump in 256 has none.
const ALL_LOST: usize = 8;

/// Whether what lies at an address says nothing: its page is not in the dump, or there is nothing but zeros.
pub(super) fn blank(space: &Space<'_>, at: Va, len: u32) -> bool {
    let bytes = space.fetch(at, len);
    bytes.all().map_or(true, |all| all.iter().all(|b| *b == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(good: usize, bad: usize, lost: usize) -> Tally {
        Tally { good, bad, lost, empty: 0 }
    }

    #[test]
    fn lost_pages_speak_neither_for_nor_against() {
        assert!(matches!(tally(1, 0, 3).verdict(2, "x"), Passed(_)));
        assert!(matches!(tally(20, 2, 0).verdict(2, "x"), Passed(_)));
        assert!(matches!(tally(8, 1, 0).verdict(2, "x"), Failed(_)));
        assert!(matches!(tally(0, 0, 3).verdict(1, "x"), Unknown(_)));
        assert!(matches!(tally(0, 0, 8).verdict(1, "x"), Failed(_)));
        assert!(matches!(Tally { empty: 19, ..tally(0, 0, 1) }.verdict(1, "x"), Unknown(_)));
        assert!(matches!(tally(0, 1, 8).verdict(1, "x"), Failed(_)));
    }
}
