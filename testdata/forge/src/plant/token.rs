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
        self.make(m, p, None)
    }

    /// A token, to impersonate with when a level is given.
    pub fn make(&mut self, m: &mut Machine, p: &Process, impersonation: Option<u64>) -> (u64, Json) {
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
        // Restricting SIDs and capabilities are arrays of the same kind behind these, then their SIDs and the package's.
        let more = [
            (&p.restricted, "RestrictedSids", "RestrictedSidCount"),
            (&p.capabilities, "Capabilities", "CapabilityCount"),
        ];
        let more_sids: Vec<Vec<u8>> =
            p.restricted.iter().chain(&p.capabilities).chain(&p.package).map(|s| sid(s)).collect();
        let more_size = more.iter().map(|l| array * l.0.len() as u64).sum::<u64>()
            + more_sids.iter().map(|s| s.len() as u64).sum::<u64>();
        let own = fixed + array * groups.len() as u64 + sids.iter().map(|s| s.len() as u64).sum::<u64>();
        let total = own.next_multiple_of(8) + more_size;
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
            t.set("Privileges.Present", who.privileges[0]).set("Privileges.Enabled", who.privileges[1] | p.enable);
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
        let mut next = va + own.next_multiple_of(8);
        let mut sid_at = next + more.iter().map(|l| array * l.0.len() as u64).sum::<u64>();
        let mut bytes = more_sids.iter();
        for (list, field, count) in more.iter().filter(|l| !l.0.is_empty()) {
            t.set(field, next).set(count, list.len() as u64);
            for _ in *list {
                let mut entry = m.obj("_SID_AND_ATTRIBUTES");
                entry.set("Sid", sid_at).set("Attributes", if *field == "Capabilities" { 4 } else { 7 });
                m.write(next, &entry.bytes);
                let sid = bytes.next().expect("as many SIDs as entries");
                m.write(sid_at, sid);
                (next, sid_at) = (next + array, sid_at + sid.len() as u64);
            }
        }
        if p.package.is_some() {
            t.set("Package", sid_at);
            m.write(sid_at, bytes.next().expect("the package's SID"));
        }
        // 0x2000: not low. 0x10: restricted. 0x4000: AppContainer.
        let flags = 0x2000 | (0x10 * u64::from(!p.restricted.is_empty())) | (0x4000 * u64::from(p.package.is_some()));
        t.set("TokenType", if impersonation.is_some() { 2 } else { 1 })
            .set("ImpersonationLevel", impersonation.unwrap_or(0));
        t.set("TokenFlags", flags).set("TokenInUse", 1).set("VariableLength", total - fixed);
        m.write(va, &t.bytes);
        let texts = |l: &[String]| l.iter().map(|s| s.as_str().into()).collect::<Vec<Json>>();
        let truth = Json::object()
            .with("restricted", texts(&p.restricted))
            .with("capabilities", texts(&p.capabilities))
            .with("package", p.package.clone())
            .with("type", if impersonation.is_some() { 2u64 } else { 1 })
            .with("level", impersonation.unwrap_or(0))
            .with("token", va)
            .with("sids", groups.iter().map(|g| g.0.as_str().into()).collect::<Vec<Json>>())
            .with("attrs", groups.iter().map(|g| g.1.into()).collect::<Vec<Json>>())
            .with("present", who.privileges[0])
            .with("enabled", who.privileges[1] | p.enable)
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
        s.set("LogonId.LowPart", luid).set("ReferenceCount", 9);
        // Server 2003 keeps no names here.
        if s.has("AccountName") {
            s.set_text("AccountName", account, a).set_text("AuthorityName", authority, b);
        }
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
