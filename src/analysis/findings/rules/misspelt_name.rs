//! A name that is meant to be taken for a system process's.

use super::super::evidence::Evidence;
use super::super::known;
use super::super::scene::Scene;
use super::super::{Check, Finding, Rule, Severity, paths};
use crate::kernel::process::EProcess;

/// The rule.
pub static RULE: Rule = Rule {
    name: "misspelt-name",
    technique: "T1036.005",
    about: "A name one letter away from a system process's, or written so that it is read as another",
    means: "The name differs by one letter (changed, added, left out, swapped) from a process every Windows has, or uses letters that look like \
            others, or characters that turn the reading direction or cannot be seen: it is meant to be overlooked.",
    fooled: "Names two letters away, or another vendor's. Innocent: a program that happens to be called so; known ones are left out.",
    verify: "Read ImageFileName at its place, byte by byte.",
    check: Check::Process(check),
};

fn check(scene: &Scene<'_, '_>, out: &mut Vec<Finding>) {
    let person = scene.person;
    let of_path = person.path.as_ref().ok().map(|p| paths::base(p).to_owned());
    let name = of_path.filter(|_| person.lives()).unwrap_or_else(|| person.name.clone());
    let evidence = || {
        Evidence::field("_EPROCESS.ImageFileName", &person.process.view, EProcess::short_name, person.process.name())
    };
    for name in [&name, &person.name] {
        if let Some(known) = known::misspelt(name) {
            let severity = if person.ended { Severity::Medium } else { Severity::High };
            out.push(
                scene.finding(&RULE, severity, format!("is called {name}, as if it were {known}")).with(evidence()),
            );
            return;
        }
    }
    // Bidirectional controls, zero-width characters, no-break and full-width blanks.
    let unseen = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{a0}' | '\u{3000}');
    let padded = name.trim_end() != name || name.contains("   ");
    let double = [".doc.exe", ".docx.exe", ".pdf.exe", ".jpg.exe", ".png.exe", ".txt.exe", ".xls.exe", ".xlsx.exe"];
    let lower = name.to_lowercase();
    if name.chars().any(unseen) || padded || double.iter().any(|d| lower.ends_with(d)) {
        out.push(
            scene
                .finding(
                    &RULE,
                    Severity::High,
                    format!("has a name that is read as another: {}", name.escape_unicode_odd()),
                )
                .technique("T1036.002")
                .with(evidence()),
        );
    }
}

/// Text with what cannot be seen written out.
trait Odd {
    fn escape_unicode_odd(&self) -> String;
}
impl Odd for str {
    fn escape_unicode_odd(&self) -> String {
        self.chars().map(|c| if c.is_ascii() { c.to_string() } else { c.escape_unicode().to_string() }).collect()
    }
}
