//! Logon sessions: the kernel's own list of who is logged on (`SepLogonSessions`), which lsass.exe fills.
//!
//! The kernel keeps them in 16 chains by the low four bits of the LUID. Each token names its session too, so that sessions in use are
//! found without the symbol, and those beside them in the same chain.

use super::Kernel;
use super::token::Tokens;
use crate::addr::Va;
use crate::bytes::Place;
use crate::paging::Space;
use crate::symbols::layout::Counted;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Chains of `SepLogonSessions` (`SEP_LOGON_TRACK_ARRAY_SIZE` of the kernel: 16 since NT 4).
const CHAINS: u64 = 16;
/// More sessions than any machine has.
const MOST: usize = 1 << 16;

/// One logon session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its `_SEP_LOGON_SESSION_REFERENCES`.
    pub at: Va,
    /// Its LUID.
    pub id: u64,
    /// The other half of a split logon; 0 for none.
    pub buddy: Value<u64>,
    /// `Flags`.
    pub flags: Value<u32>,
    /// Its own token.
    pub token: Value<Va>,
    /// The account's name.
    pub account: Value<Text>,
    /// Its domain or computer.
    pub authority: Value<Text>,
    /// Where it stands.
    pub place: Place,
}

impl Session {
    /// `DOMAIN\user`.
    ///
    /// # Errors
    /// Why there is no name.
    pub fn full_name(&self) -> Value<Text> {
        let account = self.account.clone()?;
        Ok(match &self.authority {
            Ok(authority) if !authority.is_empty() => authority.clone().then("\\", &account),
            _ => account,
        })
    }
}

/// All logon sessions that were found.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    /// By LUID.
    pub list: BTreeMap<u64, Session>,
    /// What went wrong.
    pub notes: Vec<Note>,
}

impl Sessions {
    /// Finds them: in the kernel's chains, and from these sessions that tokens name.
    #[must_use]
    pub fn find(kernel: &Kernel, tokens: &Tokens, space: &Space<'_>, named: impl IntoIterator<Item = Va>) -> Self {
        let mut out = Self::default();
        let mut seen = BTreeSet::new();
        let heads = chains(kernel, tokens, space);
        for head in heads.into_iter().chain(named) {
            let mut at = head;
            while !at.is_null() && seen.insert(at) {
                if seen.len() > MOST {
                    out.notes.push(Note::loss(format!("logon sessions: given up after {MOST}")));
                    return out;
                }
                let Some(view) = tokens.logon_session(space, at) else { return out };
                let (Ok(id), next) = (view.logon_id(), view.next()) else { break };
                let text = |s: Value<Counted>| match s.and_then(|s| space.text(s)) {
                    Ok(text) if text.is_empty() => Err(Absent::NotApplicable),
                    other => other,
                };
                out.list.entry(id).or_insert_with(|| Session {
                    at,
                    id,
                    buddy: view.buddy(),
                    flags: view.flags(),
                    token: view.token().and_then(Va::not_null),
                    account: text(view.account()),
                    authority: text(view.authority()),
                    place: view.place(),
                });
                match next {
                    // A session in another chain is no session: the link is torn.
                    Ok(next) if next.is_null() => break,
                    Ok(next) if in_chain(tokens, space, next) == Some(id % CHAINS) => at = next,
                    Ok(next) => {
                        out.notes.push(Note::loss(format!(
                            "logon session {id:#x} at {at}: its link to {next} leads to none"
                        )));
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
        out
    }
}

/// Which chain the session at an address belongs to.
fn in_chain(tokens: &Tokens, space: &Space<'_>, at: Va) -> Option<u64> {
    Some(tokens.logon_session(space, at)?.logon_id().ok()? % CHAINS)
}

/// The first session of each chain, if the table is what it should be.
fn chains(kernel: &Kernel, tokens: &Tokens, space: &Space<'_>) -> Vec<Va> {
    let Some(global) = kernel.global("SepLogonSessions") else { return Vec::new() };
    let width = u64::from(space.pointer_size());
    let table = |base: Va| -> Option<Vec<Va>> {
        let mut heads = Vec::new();
        for i in 0..CHAINS {
            let head = space.pointer(base.add(i.saturating_mul(width))).ok()?;
            if !head.is_null() {
                (in_chain(tokens, space, head) == Some(i)).then_some(())?;
                heads.push(head);
            }
        }
        (!heads.is_empty()).then_some(heads)
    };
    // The global is a pointer to the table; should a kernel keep the table itself there, that is told by what it holds.
    space.pointer(global).ok().filter(|p| !p.is_null()).and_then(table).or_else(|| table(global)).unwrap_or_default()
}
