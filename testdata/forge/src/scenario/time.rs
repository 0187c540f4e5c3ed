//! FILETIMEs from and to text.

/// 100 ns units a second.
pub const SECOND: u64 = 10_000_000;

/// Days from 1601-01-01 to a civil date (Hinnant's algorithm, shifted from 1970).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468 + 134_774
}

/// `2024-05-14T06:12:33.1234567Z`.
pub fn filetime(text: &str) -> Option<u64> {
    let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
    let date: Vec<i64> = date.split('-').filter_map(|p| p.parse().ok()).collect();
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let clock: Vec<i64> = clock.split(':').filter_map(|p| p.parse().ok()).collect();
    let ([y, m, d], [h, min, s]): ([i64; 3], [i64; 3]) = (date.try_into().ok()?, clock.try_into().ok()?);
    let ticks: u64 = format!("{fraction:0<7}").parse().ok()?;
    let seconds = days(y, m, d) * 86_400 + h * 3600 + min * 60 + s;
    Some(u64::try_from(seconds).ok()? * SECOND + ticks)
}

/// `+12.5`: seconds.
pub fn offset(text: &str) -> Option<u64> {
    let (whole, fraction) = text.strip_prefix('+')?.split_once('.').unwrap_or((&text[1..], ""));
    Some(whole.parse::<u64>().ok()? * SECOND + format!("{fraction:0<7}").parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(filetime("1970-01-01T00:00:00Z"), Some(116_444_736_000_000_000));
        assert_eq!(filetime("1601-01-01T00:00:01.0000001Z"), Some(10_000_001));
        assert_eq!(offset("+2.5"), Some(25_000_000));
    }
}
