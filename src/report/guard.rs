//! Text from a dump is attacker-chosen: it must not steer a terminal, reorder a line, hide in it, or run in a spreadsheet.

use std::borrow::Cow;
use std::fmt::Write;

/// Whether a character shows nothing of itself or changes how others show: control characters, bidirectional marks,
/// zero-width and other default-ignorable code points (Unicode 16, `DerivedCoreProperties.txt`), line separators,
/// interlinear annotations, and non-characters.
#[must_use]
pub const fn is_dangerous(c: char) -> bool {
    // Nearly every character of nearly every name ends here.
    if c as u32 >= 0x20 && (c as u32) < 0x7f {
        return false;
    }
    matches!(c as u32,
        0..=0x1f | 0x7f..=0x9f            // C0, DEL, C1 (0x9b alone starts an escape sequence on old terminals)
        | 0xad | 0x34f | 0x61c            // soft hyphen, combining grapheme joiner, Arabic letter mark
        | 0x115f | 0x1160 | 0x17b4 | 0x17b5
        | 0x180b..=0x180f
        | 0x200b..=0x200f                 // zero-width space to right-to-left mark
        | 0x2028..=0x202e                 // line and paragraph separators, embeddings and overrides
        | 0x2060..=0x206f                 // word joiner, isolates, deprecated format characters
        | 0x2800                          // a Braille pattern without dots: looks like a space, is none
        | 0x3164
        | 0xfe00..=0xfe0f                 // variation selectors
        | 0xfeff | 0xffa0 | 0xfff0..=0xfffb | 0xfffe | 0xffff
        | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff) // tags and further variation selectors
}

/// Text that a terminal or table can show: each dangerous character becomes `<U+202E>`. Windows file names hold neither
/// `<` nor `>`, so what is shown cannot be mistaken for a name that spells it.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        if is_dangerous(c) {
            let _ = write!(out, "<U+{:04X}>", c as u32);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether a spreadsheet might take a field for a formula: by its first character, in plain or full-width form.
#[must_use]
pub fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'])
}

/// A file name made from text of a dump: no separators, no device names, nothing dangerous, never empty, at most 100
/// characters.
#[must_use]
pub fn file_name(text: &str) -> String {
    let mut out: String =
        text.chars()
            .map(|c| {
                if is_dangerous(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') {
                    '_'
                } else {
                    c
                }
            })
            .take(100)
            .collect();
    // Windows drops trailing dots and spaces, so `con.` is `con`.
    while out.ends_with(['.', ' ']) {
        out.pop();
    }
    if out.starts_with('.') {
        out.insert(0, '_');
    }
    let stem = out.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    let is_port = port.is_some_and(|n| n.chars().count() == 1 && n.contains(|c: char| c.is_numeric()));
    if out.is_empty() || is_port || matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        out.insert(0, '_');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_bidi_become_visible() {
        assert_eq!(visible("a\x1b[2Jb"), "a<U+001B>[2Jb");
        assert_eq!(visible("exe\u{202e}cod.scr"), "exe<U+202E>cod.scr");
        assert_eq!(visible("svc\u{200b}host.exe"), "svc<U+200B>host.exe");
        assert_eq!(visible("\u{9b}31m"), "<U+009B>31m");
        assert_eq!(visible("tag\u{e0041}"), "tag<U+E0041>");
    }
    #[test]
    fn ordinary_text_is_borrowed() {
        for text in ["svchost.exe", "C:\\Users\\Zoë\\日本.txt", "a b'c\"d", "Ωמ"] {
            assert!(matches!(visible(text), Cow::Borrowed(t) if t == text));
        }
    }
    #[test]
    fn formulas_are_known_by_their_first_character() {
        for text in ["=1+1", "+1", "-1", "@SUM", "\t=1", "\r=1", "＝1"] {
            assert!(is_formula(text), "{text:?}");
        }
        for text in ["", "a=1", "1-1", " =1"] {
            assert!(!is_formula(text), "{text:?}");
        }
    }
    #[test]
    fn file_names_cannot_leave_their_folder_or_open_a_device() {
        assert_eq!(file_name("../../etc/passwd"), "_.._.._etc_passwd");
        assert_eq!(file_name("a\\b:c"), "a_b_c");
        assert_eq!(file_name("CON.txt"), "_CON.txt");
        assert_eq!(file_name("com1 "), "_com1");
        assert_eq!(file_name("..."), "_");
        assert_eq!(file_name(""), "_");
        assert_eq!(file_name("x\u{202e}y"), "x_y");
        assert_eq!(file_name(&"é".repeat(300)).chars().count(), 100);
    }
}
