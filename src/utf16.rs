//! UTF-16, low byte first: as Windows writes text.

/// The text of these bytes. Lone surrogates become U+FFFD; an odd last byte is no character.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    // Nearly all of it is ASCII. All of it is looked at, whatever the first is: that goes many at a time.
    if units.iter().fold(true, |plain, [low, high]| plain & (*high == 0) & low.is_ascii()) {
        let ascii: Vec<u8> = units.iter().map(|[low, _]| *low).collect();
        if let Ok(text) = String::from_utf8(ascii) {
            return text;
        }
    }
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The text up to a NUL, or all of it.
#[must_use]
pub fn until_nul(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let end = units.iter().position(|unit| *unit == [0, 0]).unwrap_or(units.len());
    text(units.get(..end).unwrap_or(units).as_flattened())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn text_comes_back() {
        for known in ["", "ntoskrnl.exe", "Zoë", "日本\u{1f600}", "a\0b", "\u{7f}\u{80}\u{ff}\u{100}"] {
            assert_eq!(text(&of(known)), known);
        }
        assert_eq!(text(&[b'a', 0, 0x00, 0xd8, b'b', 0, b'c']), "a\u{fffd}b");
    }
    #[test]
    fn a_nul_ends_it() {
        assert_eq!(until_nul(&of("a\0b")), "a");
        assert_eq!(until_nul(&of("ab")), "ab");
        assert_eq!(until_nul(&of("\0")), "");
        // A zero in each of two neighbours is no NUL.
        assert_eq!(until_nul(&of("\u{41}\u{4200}")), "A\u{4200}");
    }
}
