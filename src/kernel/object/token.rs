//! Tokens as handles hold them: whose, and of what kind.

use super::{Description, Facts, Objects};
use crate::addr::Va;
use crate::kernel::sid_names::SidNames;
use crate::kernel::token::{kind_name, level_name};
use crate::value::Absent;

/// `TokenPrimary` of winnt.h.
const PRIMARY: u32 = 1;

/// The user.
pub(super) fn describe(objects: &mut Objects<'_>, body: Va) -> Description {
    let Some(tokens) = &objects.tokens else {
        return Description { name: Err(Absent::NoSymbol), facts: Vec::new() };
    };
    let token = tokens.at(&objects.space, body);
    let user = token.user(&objects.space);
    let known = user.as_ref().ok().and_then(|sid| SidNames::default().name(sid));
    let name = user.as_ref().map_err(|e| *e).map(|sid| match &known {
        Some(name) => format!("{name} ({sid})"),
        None => sid.to_string(),
    });
    let named =
        |n: Result<u32, Absent>, f: fn(u32) -> Option<&'static str>| n.and_then(|n| f(n).ok_or(Absent::Implausible));
    // A primary token impersonates nobody.
    let level = match token.view.kind() {
        Ok(PRIMARY) => Err(Absent::NotApplicable),
        Ok(_) => named(token.view.level(), level_name),
        Err(why) => Err(why),
    };
    let facts: Facts = vec![
        ("user", user.map(|sid| sid.to_string()).into()),
        ("kind", named(token.view.kind(), kind_name).into()),
        ("level", level.into()),
        ("session", token.view.session_id().into()),
        ("token_id", token.view.token_id().map_or_else(super::Fact::Absent, super::Fact::Hex)),
        ("logon_id", token.view.logon_id().map_or_else(super::Fact::Absent, super::Fact::Hex)),
    ];
    Description { name, facts }
}
