//! What a dump tells of the names behind security identifiers.

use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::logon::Sessions;
use crate::kernel::peb;
use crate::kernel::process::Process;
use crate::kernel::profiles::{folder_name, profiles};
use crate::kernel::sid::Sid;
use crate::kernel::sid_names::SidNames;
use crate::kernel::sides::Sides;
use crate::kernel::token::{Token, Tokens};
use crate::paging::Space;
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;

/// What the token analyses share: layouts, and names gathered from the whole dump.
#[derive(Debug)]
pub struct Identities {
    /// Reads tokens.
    pub tokens: Tokens,
    /// Names SIDs.
    pub names: SidNames,
    /// Logon sessions.
    pub sessions: Sessions,
    /// What could not be read of the registry.
    pub notes: Vec<Note>,
}

/// What one process tells.
struct Told {
    user: Value<Sid>,
    logon_id: Value<u64>,
    session: Value<Va>,
    service: Option<String>,
}

impl Identities {
    /// Looks the layouts up and gathers names: of accounts from the logon sessions, of services from the command lines of their hosts.
    ///
    /// # Errors
    /// The symbols do not describe tokens or processes.
    pub fn gather(kernel: &Kernel) -> Result<Self> {
        let tokens = Tokens::new(&kernel.symbols.types).map_err(|e| kernel.unreadable(&e))?;
        let sides = Sides::of(kernel).ok();
        let told: Vec<Told> = kernel
            .processes()?
            .list
            .par_iter()
            .map_init(
                || kernel.space(),
                |space, process| {
                    let token = token_of(&tokens, space, process);
                    let of = |get: fn(&Token<'_>) -> Value<u64>| token.as_ref().map_err(|why| *why).and_then(get);
                    Told {
                        user: token.as_ref().map_err(|why| *why).and_then(|t| t.user(space)),
                        logon_id: of(|t| t.view.logon_id()),
                        session: of(|t| t.view.logon_session().map(|va| va.0)).map(Va),
                        service: sides.as_ref().and_then(|sides| service(sides, process, space)),
                    }
                },
            )
            .collect();
        let space = kernel.space();
        let sessions = Sessions::find(kernel, &tokens, &space, told.iter().filter_map(|t| t.session.ok()));
        // In list order, so that the same name wins at any number of threads.
        let mut names = SidNames::default();
        for each in &told {
            if let Some(service) = &each.service {
                names.add_service(service);
            }
            if let (Ok(user), Ok(id)) = (each.user, each.logon_id)
                && let Some(name) = sessions.list.get(&id).and_then(|s| s.full_name().ok()?.into_whole().ok())
            {
                names.add_account(user, name);
            }
        }
        let processes = kernel.processes()?.list;
        let (users, notes) = profiles(kernel, &processes, &space);
        for (sid, folder) in users {
            if let Some(name) = folder_name(&folder) {
                names.add_profile(sid, name);
            }
        }
        if let Some(sides) = &sides {
            for (process, each) in processes.iter().zip(&told) {
                if let Ok(user) = each.user
                    && names.name(&user).is_none()
                    && let Some(name) = environment_name(sides, process, &space)
                {
                    names.add_environment(user, name);
                }
            }
        }
        Ok(Self { tokens, names, sessions, notes })
    }
    /// `DOMAIN\user` of a token's logon session.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn account(&self, token: &Token<'_>) -> Value<Text> {
        let id = token.view.logon_id()?;
        self.sessions.list.get(&id).ok_or(Absent::NotRecorded)?.full_name()
    }
    /// The token of the other half of a split logon.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] without another half, [`Absent::NotRecorded`] when its session was not found.
    pub fn linked(&self, token: &Token<'_>, space: &Space<'_>) -> Value<Va> {
        match token.logon_session(space)?.buddy()? {
            0 => Err(Absent::NotApplicable),
            buddy => self.sessions.list.get(&buddy).ok_or(Absent::NotRecorded)?.token,
        }
    }
}

/// The name after `-s` on the command line of a service host (Windows 10 and later give each service a host of its own).
fn service<'k>(sides: &Sides<'k>, process: &Process<'k>, space: &Space<'k>) -> Option<String> {
    if !process.name().ok()?.eq_ignore_ascii_case("svchost.exe") {
        return None;
    }
    let memory = AddressSpace::of(process, space).ok()?;
    let line = sides.of_process(process, space).first()?.parameters(&memory.space).ok()?.command_line.ok()?;
    service_of(&line).map(str::to_owned)
}

fn service_of(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.by_ref().find(|word| *word == "-s")?;
    words.next().map(|name| name.trim_matches('"'))
}

/// What a process's environment calls its user: `USERDOMAIN\USERNAME`, or the latter alone. The process itself can change both.
pub(super) fn environment_name(sides: &Sides<'_>, process: &Process<'_>, space: &Space<'_>) -> Option<String> {
    let memory = AddressSpace::of(process, space).ok()?;
    let sides = sides.of_process(process, space);
    let (address, size) = sides.first()?.parameters(&memory.space).ok()?.environment;
    let (variables, _) = peb::environment(&memory.space, address.ok()?, size.ok());
    let value = |name: &str| {
        let found = variables.iter().find(|v| v.name.eq_ignore_ascii_case(name))?;
        found.value.whole().ok().filter(|text| !text.is_empty())
    };
    let user = value("USERNAME")?;
    Some(value("USERDOMAIN").map_or_else(|| user.to_owned(), |domain| format!("{domain}\\{user}")))
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
    let token = tokens.at(space, at);
    // A lost page that was written as zeros has no type, and its other zeros are no values either.
    if token.view.kind().is_ok() && !token.plausible() { Err(Absent::Implausible) } else { Ok(token) }
}

#[cfg(test)]
mod tests {
    use super::service_of;

    #[test]
    fn the_service_of_a_host() {
        assert_eq!(service_of("C:\\Windows\\system32\\svchost.exe -k netsvcs -p -s Schedule"), Some("Schedule"));
        assert_eq!(service_of("svchost.exe -k LocalService"), None);
        assert_eq!(service_of("svchost.exe -k x -s"), None);
    }
}
