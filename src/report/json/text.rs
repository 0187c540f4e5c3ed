//! Single values as JSON text.
//!
//! Written by hand because escapes are chosen: every character that could steer a terminal is a `\u` escape, which a parser reads
//! as that very character. A report is tens of megabytes of short values, so each goes out with as few steps as it takes.

use crate::report::guard;
use std::io::Write;

/// A decimal number.
pub(super) fn number(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// `"0x…"`, as the formatter of the standard library has the digits; every other value is one.
pub(super) fn hex(out: &mut Vec<u8>, value: u64) {
    // The digits in use to the front, so that all goes out at once.
    let unused = (value.leading_zeros() / 4).min(15);
    let value = value << (unused * 4);
    let (high, low) = (digits((value >> 32) as u32), digits(value as u32));
    let digits = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
    let mut text = *b"\"0x0123456789abcdef\"";
    if let Some(room) = text.get_mut(3..19) {
        room.copy_from_slice(&digits);
    }
    let end = 19usize.saturating_sub(unused as usize);
    if let Some(quote) = text.get_mut(end) {
        *quote = b'"';
    }
    out.extend_from_slice(text.get(..=end).unwrap_or(&text));
}

/// The eight hexadecimal digits of a number, all at once: one in each byte.
fn digits(value: u32) -> u64 {
    let spread = u64::from(value);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let spread = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // Six more carries into the high half of each byte that is above nine.
    let letters = ((spread + EACH * 6) >> 4) & EACH;
    spread + EACH * u64::from(b'0') + letters * u64::from(b'a' - b'0' - 10)
}

/// One in each byte.
const EACH: u64 = 0x0101_0101_0101_0101;
/// The top bit of each byte.
const TOPS: u64 = EACH << 7;

/// Whether none of eight bytes needs an escape: printable ASCII without `"` and `\`. May say no where it is yes.
fn plain(bytes: [u8; 8]) -> bool {
    let all = u64::from_le_bytes(bytes);
    let below = |value: u64, least: u8| value.wrapping_sub(EACH * u64::from(least)) & !value;
    let is = |byte: u8| below(all ^ (EACH * u64::from(byte)), 1);
    (all | below(all, b' ') | is(b'"') | is(b'\\') | is(0x7f)) & TOPS == 0
}

/// Whether a byte by itself needs no escape.
const fn one(byte: u8) -> bool {
    matches!(byte, b' '..0x7f) && byte != b'"' && byte != b'\\'
}

/// A JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escaped(out, text);
    out.push(b'"');
}

/// What stands between the quotes.
pub(super) fn escaped(out: &mut Vec<u8>, text: &str) {
    // Nearly every name: nothing in it needs an escape.
    let bytes = text.as_bytes();
    let all = match bytes.last_chunk::<8>() {
        // The last eight overlap those before.
        Some(last) => plain(*last) && bytes.as_chunks::<8>().0.iter().all(|eight| plain(*eight)),
        None => match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
            (Some([a, b, c, d]), Some([e, f, g, h])) => plain([*a, *b, *c, *d, *e, *f, *g, *h]),
            _ => bytes.iter().all(|b| one(*b)),
        },
    };
    if all {
        out.extend_from_slice(bytes);
        return;
    }
    let mut rest = text;
    while !rest.is_empty() {
        let run = rest.bytes().position(|b| !one(b)).unwrap_or(rest.len());
        let (plain, odd) = rest.split_at(run);
        out.extend_from_slice(plain.as_bytes());
        let mut odd = odd.chars();
        if let Some(c) = odd.next() {
            escape(out, c);
        }
        rest = odd.as_str();
    }
}

/// A character that is not printable ASCII, or that JSON escapes.
fn escape(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if guard::is_dangerous(c) => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to memory cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_what_the_formatter_writes() {
        for shift in 0..64 {
            for value in [1u64 << shift, (1u64 << shift) - 1, 0x0123_4567_89ab_cdef >> shift, u64::MAX >> shift] {
                let mut out = Vec::new();
                hex(&mut out, value);
                assert_eq!(String::from_utf8(out).unwrap(), format!("\"{value:#x}\""));
            }
        }
    }
    #[test]
    fn eight_at_a_time_never_pass_what_one_would_not() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                for filler in [b' ', b'!', b'#', b'[', b'z', b'~'] {
                    let mut eight = [filler; 8];
                    eight[at] = byte;
                    if at > 0 {
                        assert_eq!(plain(eight), one(byte), "{byte:#x} at {at}");
                    }
                    assert!(one(byte) || !plain(eight), "{byte:#x} at {at}");
                }
            }
        }
    }
    #[test]
    fn every_character_is_read_back() {
        for text in [
            "",
            "a",
            "12345678",
            "c:\\x\\y",
            "say \"no\"",
            "über allen Gipfeln",
            "\u{202e}txt.exe",
            "𝕏\u{0}\u{e0041}\n",
        ] {
            let mut out = Vec::new();
            string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }
}
