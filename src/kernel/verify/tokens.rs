//! Tokens of the first processes: whose they are.

use super::End::{self, Failed};
use super::tally::{Says, Tally, blank};
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::process::Process;
use crate::kernel::token::Tokens;
use crate::paging::Space;
use crate::value::Absent;

/// Processes whose token is looked at.
const SOME: usize = 16;

impl Kernel {
    /// System's token is that of the local system, S-1-5-18, and those of the others are accounts'.
    pub(super) fn check_token(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let Ok(tokens) = Tokens::new(&self.symbols.types) else { return Failed("no layout of tokens".into()) };
        let mut tally = Tally::default();
        for process in processes.iter().filter(|p| p.view.signal_state() == Ok(0)).take(SOME) {
            let system = process.offset() == self.system && self.system.is_some();
            let Ok(at) = process.view.token() else { continue };
            let says = match tokens.at(&self.space(), at).user(space).map(|sid| sid.to_string()) {
                Ok(sid) if system && sid != LOCAL_SYSTEM => return Failed(format!("System's token is {sid}'s")),
                Ok(sid) => account(&sid).into(),
                Err(Absent::Implausible) if !lost(space, at) => Says::No,
                Err(_) => Says::Lost,
            };
            tally.count(says);
        }
        tally.verdict(1, "tokens are those of accounts, System's that of the local system")
    }
}

const LOCAL_SYSTEM: &str = "S-1-5-18";

/// Whether a process may run as such a user: the service accounts, accounts of a machine, a domain or the cloud, virtual accounts
/// (services, window manager, font driver, app pools), the anonymous user. (Microsoft, "Security identifiers".)
fn account(sid: &str) -> bool {
    ["S-1-5-18", "S-1-5-19", "S-1-5-20", "S-1-5-7"].contains(&sid)
        || ["S-1-5-21-", "S-1-12-1-", "S-1-5-80-", "S-1-5-82-", "S-1-5-83-", "S-1-5-90-", "S-1-5-96-"]
            .iter()
            .any(|prefix| sid.starts_with(prefix))
}

/// Whether a token's own page is empty.
fn lost(space: &Space<'_>, at: Va) -> bool {
    at.is_null() || blank(space, at, 0x40)
}
