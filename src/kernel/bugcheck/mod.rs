//! What a bug-check code and its four parameters mean.

mod meanings;
mod names;

/// What is documented of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// The code, without the flag below.
    pub code: u32,
    /// What happened, in a sentence.
    pub about: &'static str,
    /// What each parameter holds; empty where it is reserved or depends on the first.
    pub parameters: [&'static str; 4],
}

/// Bit 28 marks a dump that keeps little (`0x1000007E` in a triage dump is `0x7E`).
const SMALL_DUMP: u32 = 0x1000_0000;

/// The name of a code.
#[must_use]
pub fn name(code: u32) -> Option<&'static str> {
    let at = |code| Some(names::NAMES.get(names::NAMES.binary_search_by_key(&code, |n| n.0).ok()?)?.1);
    at(code).or_else(|| at(code ^ SMALL_DUMP).filter(|_| code & SMALL_DUMP != 0))
}

/// What is documented of a code.
#[must_use]
pub fn meaning(code: u32) -> Option<&'static Meaning> {
    let at = |code| meanings::MEANINGS.iter().find(|m| m.code == code);
    at(code).or_else(|| at(code ^ SMALL_DUMP).filter(|_| code & SMALL_DUMP != 0))
}

/// What this value of this parameter (from 1) says, where its values are numbered in the reference.
#[must_use]
pub fn value(code: u32, parameter: usize, value: u64) -> Option<&'static str> {
    let code = meaning(code)?.code;
    let (_, _, values) = meanings::VALUES.iter().find(|(c, p, _)| c.contains(&code) && *p == parameter)?;
    values.iter().find(|(v, _)| *v == value).map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_every_meaning_has_one() {
        assert!(names::NAMES.is_sorted_by_key(|n| n.0));
        assert!(meanings::MEANINGS.is_sorted_by_key(|m| m.code));
        assert!(meanings::MEANINGS.len() >= 60);
        for m in meanings::MEANINGS {
            assert!(name(m.code).is_some(), "{:#x}", m.code);
            assert!(!m.about.is_empty());
        }
        for (codes, parameter, _) in meanings::VALUES {
            assert!((1..=4).contains(parameter));
            for code in *codes {
                assert!(meaning(*code).is_some(), "{code:#x}");
            }
        }
    }

    #[test]
    fn a_code_of_a_small_dump_is_the_same_code() {
        assert_eq!(name(0x1000_007e), Some("SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M"));
        assert_eq!(meaning(0x1000_007e), meaning(0x7e));
        assert_eq!(name(0x1000_00d1), Some("DRIVER_IRQL_NOT_LESS_OR_EQUAL"));
        assert_eq!(name(0x1234_5678), None);
        assert_eq!(value(0x139, 1, 3), Some("a linked list was corrupt"));
        assert_eq!(value(0x139, 2, 3), None);
    }
}
