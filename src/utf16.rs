//! UTF-16, low byte first: as Windows writes text.

use crate::addr::Va;
use crate::value::{Absent, Value};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// Text of a dump as far as it is there. Where its end lies in memory that cannot be read, it says why: a cell then shows the beginning
/// and marks it as cut.
///
/// It reads as the text there is. What decides by a text whether two things are the same asks for [the whole](Self::whole).
#[derive(Clone, Debug, Default)]
pub struct Text {
    text: String,
    cut: Option<Absent>,
    at: Option<Va>,
}

/// Two texts are compared by what they say, not by where they are.
impl Text {
    fn said(&self) -> (&str, Option<Absent>) {
        (&self.text, self.cut)
    }
}
impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.said() == other.said()
    }
}
impl Eq for Text {}
impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.said().hash(state);
    }
}
impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.said().cmp(&other.said())
    }
}

impl Text {
    /// The beginning of a text, and why the rest is absent.
    #[must_use]
    pub fn cut(text: String, why: Absent) -> Self {
        Self { text, cut: Some(why), at: None }
    }
    /// The same text, read at this address.
    #[must_use]
    pub fn read_at(self, va: Va) -> Self {
        Self { at: Some(va), ..self }
    }
    /// The address of its first character, of a text that was read at one.
    #[must_use]
    pub fn at(&self) -> Option<Va> {
        self.at
    }
    /// Why its end is absent, if it is.
    #[must_use]
    pub fn cut_by(&self) -> Option<Absent> {
        self.cut
    }
    /// All of it.
    ///
    /// # Errors
    /// Why its end is absent.
    pub fn whole(&self) -> Value<&str> {
        match self.cut {
            None => Ok(&self.text),
            Some(why) => Err(why),
        }
    }
    /// All of it, as a string of its own.
    ///
    /// # Errors
    /// Why its end is absent.
    pub fn into_whole(self) -> Value<String> {
        match self.cut {
            None => Ok(self.text),
            Some(why) => Err(why),
        }
    }
    /// The text there is, and why its end is absent, if it is.
    #[must_use]
    pub fn into_parts(self) -> (String, Option<Absent>) {
        (self.text, self.cut)
    }
    /// The same with something done to what there is of it.
    #[must_use]
    pub fn map(self, change: impl FnOnce(String) -> String) -> Self {
        Self { text: change(self.text), ..self }
    }
    /// This text, and after it another with something between them: cut where the first part that is cut ends.
    #[must_use]
    pub fn then(mut self, between: &str, next: &Self) -> Self {
        if self.cut.is_none() {
            self.text.push_str(between);
            self.text.push_str(&next.text);
            self.cut = next.cut;
            self.at = None;
        }
        self
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.text
    }
}
impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        &self.text
    }
}
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, cut: None, at: None }
    }
}
impl From<&str> for Text {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}
/// A cut text is the same as no other.
impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.cut.is_none() && self.text == other
    }
}
impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}
/// With `…` where it is cut.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.cut.is_some() { f.write_str("…") } else { Ok(()) }
    }
}

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
    fn a_cut_text_says_so_and_equals_nothing() {
        let (whole, cut) = (Text::from("C:\\a"), Text::cut("C:\\a".into(), Absent::PagedOut));
        assert_eq!(whole, "C:\\a");
        assert!(cut != "C:\\a" && cut != whole && cut.starts_with("C:"));
        assert_eq!((cut.whole(), cut.to_string().as_str()), (Err(Absent::PagedOut), "C:\\a…"));
        assert_eq!(whole.clone().then("+", &cut).to_string(), "C:\\a+C:\\a…");
        assert_eq!(cut.clone().then("+", &whole), cut, "what follows a cut is not known to follow");
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
