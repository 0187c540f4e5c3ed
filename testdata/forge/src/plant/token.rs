//! Primary tokens and the logon sessions behind them.

use std::collections::BTreeMap;

use super::accounts::{Group, account, sid};
use crate::machine::{Header, Machine};
use crate::memory::PoolKind;
use crate::scenario::Process;
use crate::truth::Json;

/// Logon sessions made so far, by LUID; and the next token id.
#[derive(Default)]
pub struct Tokens {
    sessions: BTreeMap<u64, u64>,
    next: u64,
}

impl Tokens {
    /// The token of a process: address and truth.
    pub fn plant(&mut self, m: &mut Machine, p: &Process) -> (u64, Json) {
        let who = account(&p.user);
        let session = self.session(m, who.luid, who.names);
        let integrity = p.integrity.unwrap_or(who.integrity);
        let mut groups: Vec<Group> = vec![(who.user.clone(), 0)];
        groups.extend(who.groups);
        // XP knows neither integrity levels nor masks of privileges.
        let labelled = m.layouts.find("_TOKEN", "IntegrityLevelIndex").is_some();
        if labelled {
            groups.push((format!("S-1-16-{integrity}"), 0x60));
        }
        let sids: Vec<Vec<u8>> = groups.iter().map(|g| sid(&g.0)).collect();
        // Behind the token stand the array of SIDs with attributes, then the SIDs.
        let fixed = m.layouts.size("_TOKEN");
        let array = m.layouts.size("_SID_AND_ATTRIBUTES");
        let total = fixed + array * groups.len() as u64 + sids.iter().map(|s| s.len() as u64).sum::<u64>();
        let va = m.object("Token", total, &Header { pointers: 4, ..Header::default() });
        let mut at = va + fixed + array * groups.len() as u64;
        let mut first_group = at;
        for (i, ((_, attributes), bytes)) in groups.iter().zip(&sids).enumerate() {
            let mut entry = m.obj("_SID_AND_ATTRIBUTES");
            entry.set("Sid", at).set("Attributes", (*attributes).into());
            m.write(va + fixed + array * i as u64, &entry.bytes);
            m.write(at, bytes);
            if i == 1 {
                first_group = at;
            }
            at += bytes.len() as u64;
        }
        self.next += 0x1234;
        let id = 0x1_0000 + self.next;
        let mut t = m.obj("_TOKEN");
        t.set_bytes("TokenSource.SourceName", if p.session.is_some() { b"User32 \0" } else { b"*SYSTEM*" });
        t.set("TokenId.LowPart", id).set("AuthenticationId.LowPart", who.luid).set("ModifiedId.LowPart", id + 1);
        t.set("ExpirationTime.QuadPart", 0x7FFF_FFFF_FFFF_FFFF);
        if labelled {
            t.set("Privileges.Present", who.privileges[0]).set("Privileges.Enabled", who.privileges[1]);
            t.set("Privileges.EnabledByDefault", who.privileges[2])
                .set("MandatoryPolicy", 3)
                .set("LogonSession", session);
            t.set("IntegrityLevelIndex", groups.len() as u64 - 1);
        } else {
            let (list, n) = privileges(m, who.privileges);
            t.set("Privileges", list).set("PrivilegeCount", n);
        }
        t.set("SessionId", p.session.unwrap_or(0).into());
        t.set("UserAndGroupCount", groups.len() as u64)
            .set("UserAndGroups", va + fixed)
            .set("PrimaryGroup", first_group);
        t.set("TokenType", 1).set("TokenFlags", 0x2000).set("TokenInUse", 1).set("VariableLength", total - fixed);
        m.write(va, &t.bytes);
        let truth = Json::object()
            .with("token", va)
            .with("sids", groups.iter().map(|g| g.0.as_str().into()).collect::<Vec<Json>>())
            .with("attrs", groups.iter().map(|g| g.1.into()).collect::<Vec<Json>>())
            .with("present", who.privileges[0])
            .with("enabled", who.privileges[1])
            .with("default", who.privileges[2])
            .with("integrity", if labelled { Some(integrity) } else { None })
            .with("session", p.session.unwrap_or(0))
            .with("id", id)
            .with("luid", who.luid);
        (va, truth)
    }

    fn session(&mut self, m: &mut Machine, luid: u64, (account, authority): (&str, &str)) -> u64 {
        if let Some(va) = self.sessions.get(&luid) {
            return *va;
        }
        let (a, b) = (m.text(b"SeLs", account), m.text(b"SeLs", authority));
        if !m.layouts.has("_SEP_LOGON_SESSION_REFERENCES") {
            return 0;
        }
        let mut s = m.obj("_SEP_LOGON_SESSION_REFERENCES");
        s.set("LogonId.LowPart", luid).set("ReferenceCount", 9).set_text("AccountName", account, a).set_text(
            "AuthorityName",
            authority,
            b,
        );
        let va = m.put(PoolKind::Paged, b"SeLs", &s);
        self.sessions.insert(luid, va);
        va
    }
}

/// XP's list of privileges: number, and attributes (1 by default, 2 enabled) behind it.
fn privileges(m: &mut Machine, [present, enabled, default]: [u64; 3]) -> (u64, u64) {
    let mut bytes = Vec::new();
    for i in (0..64u32).filter(|i| present >> i & 1 != 0) {
        let attributes = (default >> i & 1) as u32 | ((enabled >> i & 1) as u32) << 1;
        bytes.extend([i, 0, attributes].into_iter().flat_map(u32::to_le_bytes));
    }
    let at = m.alloc(PoolKind::Paged, b"SeTd", bytes.len() as u64);
    m.write(at, &bytes);
    (at, bytes.len() as u64 / 12)
}
