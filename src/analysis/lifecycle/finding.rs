//! What is concluded, how surely, and what it rests on.

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// The kernel's own mark says so.
    Certain,
    /// What is left fits this and nothing else usual.
    Likely,
    /// What is left fits this, and other things too.
    Possible,
    /// What is left does not tell.
    CannotTell,
}
impl Confidence {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
            Self::CannotTell => "cannot_tell",
        }
    }
}

/// A conclusion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it says.
    pub says: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// Who did it: id and name.
    pub actor: Option<(u64, Option<String>)>,
    /// What it rests on.
    pub evidence: Vec<String>,
}

impl Finding {
    /// A conclusion without an actor.
    #[must_use]
    pub fn new(says: &str, confidence: Confidence, evidence: Vec<String>) -> Self {
        Self { says: says.to_owned(), confidence, actor: None, evidence }
    }
    /// The same, done by somebody.
    #[must_use]
    pub fn by(self, actor: Option<(u64, Option<String>)>) -> Self {
        Self { actor, ..self }
    }
}
