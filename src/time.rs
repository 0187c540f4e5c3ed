//! Windows time stamps.

use jiff::fmt::temporal::DateTimePrinter;
use std::fmt;

/// 100-nanosecond ticks since 1601-01-01 00:00 UTC, as `KeQuerySystemTime` gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileTime(pub u64);

/// Seconds from 1601-01-01 to 1970-01-01.
const UNIX_EPOCH_SECONDS: i64 = 11_644_473_600;
const TICKS_PER_SECOND: u64 = 10_000_000;

impl FileTime {
    /// From seconds since 1970 (PE time stamps, minidump headers).
    #[must_use]
    pub fn from_unix(seconds: u32) -> Self {
        let since_1601 = u64::from(seconds).saturating_add(UNIX_EPOCH_SECONDS.unsigned_abs());
        Self(since_1601.saturating_mul(TICKS_PER_SECOND))
    }
    /// Whole seconds since 1970; negative before.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        i64::try_from(self.0 / TICKS_PER_SECOND).unwrap_or(i64::MAX).saturating_sub(UNIX_EPOCH_SECONDS)
    }
    /// The last moment of its second.
    #[must_use]
    pub fn end_of_second(self) -> Self {
        Self(self.0.saturating_add(TICKS_PER_SECOND.saturating_sub(1)))
    }
    /// Whether the calendar has it: RFC 3339 ends with the year 9999 (the calendar here a day before, for the sake of time zones).
    #[must_use]
    pub fn is_date(self) -> bool {
        self.unix_seconds() <= jiff::Timestamp::MAX.as_second()
    }
    /// RFC 3339 in UTC with all seven digits (`2021-02-21T01:38:22.0698125Z`); `None` past the year 9999.
    #[must_use]
    pub fn rfc3339(self) -> Option<String> {
        let hundreds = i32::try_from(self.0 % TICKS_PER_SECOND).ok()?;
        let time = jiff::Timestamp::new(self.unix_seconds(), hundreds.checked_mul(100)?).ok()?;
        let mut out = String::with_capacity(28);
        TO_THE_TICK.print_timestamp(&time, &mut out).ok()?;
        Some(out)
    }
}

/// Prints all seven digits that a tick needs.
static TO_THE_TICK: DateTimePrinter = DateTimePrinter::new().precision(Some(7));

impl fmt::Display for FileTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rfc3339() {
            Some(text) => f.write_str(&text),
            None => write!(f, "{} ticks", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_seven_digits_survive() {
        // 2021-02-21 01:38:22.0698 is the creation time of System in a real dump.
        assert_eq!(FileTime(132_583_451_020_698_125).to_string(), "2021-02-21T01:38:22.0698125Z");
    }
    #[test]
    fn the_epochs() {
        assert_eq!(FileTime(0).to_string(), "1601-01-01T00:00:00.0000000Z");
        assert_eq!(FileTime::from_unix(0).to_string(), "1970-01-01T00:00:00.0000000Z");
    }
    #[test]
    fn nonsense_is_not_a_date() {
        assert_eq!(FileTime(u64::MAX).rfc3339(), None);
        for ticks in [0, 2_650_467_000_000_000_000, 2_650_466_808_009_999_999, 2_650_467_744_000_000_000, u64::MAX] {
            assert_eq!(FileTime(ticks).is_date(), FileTime(ticks).rfc3339().is_some(), "{ticks}");
        }
    }
}
