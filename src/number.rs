//! Numbers as people write them.

/// A number, decimal or hexadecimal with `0x`.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(_) => hexadecimal(text),
        None if text.starts_with('+') => None,
        None => text.parse().ok(),
    }
}

/// A hexadecimal number, with or without `0x`: as this program prints it, or with a grave accent in
/// the middle, as `WinDbg` does.
#[must_use]
pub fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text).replace('`', "");
    if digits.starts_with('+') { None } else { u64::from_str_radix(&digits, 16).ok() }
}

/// An address.
///
/// # Errors
/// It is none: what one looks like.
pub fn address(text: &str) -> Result<u64, String> {
    hexadecimal(text).ok_or_else(|| format!("'{text}' is no address: hexadecimal, as 0xffffab0fc6f4e080"))
}

/// A count, of bytes for example, or an id.
///
/// # Errors
/// It is none: what one looks like.
pub fn count(text: &str) -> Result<u64, String> {
    decimal(text).ok_or_else(|| format!("'{text}' is no number: decimal, or hexadecimal with 0x"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal() {
        assert_eq!(address("0xffffab0fc6f4e080"), Ok(0xffff_ab0f_c6f4_e080));
        assert_eq!(address("ffffab0f`c6f4e080"), address("0xffffab0fc6f4e080"));
        assert!(["-1", "+1", "", "0x", "4x", "0x+1", "1ffffffffffffffff"].iter().all(|t| address(t).is_err()));
    }
    #[test]
    fn counts_are_decimal_unless_they_say_so() {
        assert_eq!((count("100"), count("0x100")), (Ok(100), Ok(256)));
        assert!(["-1", "+1", "", "0x", "0x0x1", "4x", "1f"].iter().all(|t| count(t).is_err()));
    }
}
