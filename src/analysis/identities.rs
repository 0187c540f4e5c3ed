//! What a dump tells of the names behind security identifiers.

use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::sid::Sid;
use crate::kernel::sid_names::SidNames;
use crate::kernel::token::{Token, Tokens};
use crate::paging::Space;
use crate::value::{Absent, Value};
use rayon::prelude::*;

/// What the token analyses share: layouts, and names gathered from the whole dump.
#[derive(Debug)]
pub struct Identities {
    /// Reads tokens.
    pub tokens: Tokens,
    /// Names SIDs.
    pub names: SidNames,
}

impl Identities {
    /// Looks the layouts up and gathers names: accounts from the logon sessions of every process' token.
    ///
    /// # Errors
    /// The symbols do not describe tokens or processes.
    pub fn gather(kernel: &Kernel) -> Result<Self> {
        let tokens = Tokens::new(&kernel.symbols.types).map_err(|e| kernel.unreadable(&e))?;
        let mut names = SidNames::default();
        let told: Vec<Option<(Sid, String)>> = kernel
            .processes()?
            .list
            .par_iter()
            .map_init(
                || kernel.space(),
                |space, process| {
                    let token = token_of(&tokens, space, process).ok()?;
                    Some((token.user(space).ok()?, account(&token, space).ok()?))
                },
            )
            .collect();
        // In list order, so that the same name wins at any number of threads.
        for (sid, name) in told.into_iter().flatten() {
            names.add_account(sid, name);
        }
        Ok(Self { tokens, names })
    }
}

/// The primary token of a process.
///
/// # Errors
/// Why it is not there.
pub fn token_of<'s>(tokens: &'s Tokens, space: &Space<'s>, process: &Process<'_>) -> Value<Token<'s>> {
    let at = process.view.token()?;
    if at.is_null() {
        return Err(Absent::NotApplicable);
    }
    Ok(tokens.at(space, at))
}

/// `DOMAIN\user` of a token's logon session.
///
/// # Errors
/// Why it is not there.
pub fn account(token: &Token<'_>, space: &Space<'_>) -> Value<String> {
    let session = token.logon_session(space)?;
    let user = space.text(session.account()?)?;
    if user.is_empty() {
        return Err(Absent::NotApplicable);
    }
    match space.text(session.authority()?) {
        Ok(domain) if !domain.is_empty() => Ok(format!("{domain}\\{user}")),
        _ => Ok(user),
    }
}
