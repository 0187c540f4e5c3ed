//! `_TOKEN`: who a process or thread acts as. User, groups, privileges, integrity, logon session.
//!
//! Meaning of the numbers: `winnt.h` (`SE_GROUP_…`, `SE_PRIVILEGE_…`), `ntifs.h` (`TOKEN_…` flags).

use super::privilege::{self, Privilege};
use super::sid::Sid;
use crate::addr::Va;
use crate::bytes::Place;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{At, Counted, Field, Layout, LayoutError, View};
use crate::symbols::types::Types;
use crate::value::{Absent, Value};

layout! {
    /// `_TOKEN`.
    pub struct TokenLayout: "_TOKEN" {
        /// `TokenSource.SourceName`: who made it, eight characters (`User32 `, `*SYSTEM*`, `Advapi  `).
        source_name: [u8; 8] = "TokenSource.SourceName",
        /// `TokenSource.SourceIdentifier`.
        source_id: u64 = "TokenSource.SourceIdentifier",
        /// `TokenId`: this token's own LUID.
        token_id: u64 = "TokenId",
        /// `AuthenticationId`: the logon session's LUID (0x3e7 is the system's).
        logon_id: u64 = "AuthenticationId",
        /// `ParentTokenId`: of a restricted token, the one it was made from.
        parent_id: u64 = "ParentTokenId",
        /// `ModifiedId`: changes with every change.
        modified_id: u64 = "ModifiedId",
        /// `OriginatingLogonSession`: of a token made with explicit credentials, the session that asked.
        origin: u64 = "OriginatingLogonSession",
        /// `SessionId`: the terminal session.
        session_id: u32 = "SessionId",
        /// `UserAndGroupCount`.
        group_count: u32 = "UserAndGroupCount",
        /// `UserAndGroups`: an array of `_SID_AND_ATTRIBUTES`, the user first.
        groups: Va = "UserAndGroups",
        /// `RestrictedSidCount`.
        restricted_count: u32 = "RestrictedSidCount",
        /// `RestrictedSids`.
        restricted: Va = "RestrictedSids",
        /// `CapabilityCount` (Windows 8).
        capability_count: u32 = "CapabilityCount",
        /// `Capabilities` (Windows 8).
        capabilities: Va = "Capabilities",
        /// `Package`: the SID of the app container (Windows 8).
        package: Va = "Package",
        /// `TrustLevelSid`: of protected processes (Windows 8.1).
        trust: Va = "TrustLevelSid",
        /// `PrimaryGroup`.
        primary_group: Va = "PrimaryGroup",
        /// `DefaultOwnerIndex`: which of the groups owns what is made with this token.
        owner_index: u32 = "DefaultOwnerIndex",
        /// `TokenType`: 1 primary, 2 impersonation.
        kind: u32 = "TokenType",
        /// `ImpersonationLevel`.
        level: u32 = "ImpersonationLevel",
        /// `TokenFlags`.
        flags: u32 = "TokenFlags",
        /// `IntegrityLevelIndex`: which of the groups is the mandatory label; all ones for none (Vista).
        integrity_index: u32 = "IntegrityLevelIndex",
        /// `MandatoryPolicy` (Vista).
        mandatory_policy: u32 = "MandatoryPolicy",
        /// `LogonSession` (Vista SP1 and later have it in the token).
        logon_session: Va = "LogonSession",
        /// `Privileges.Present` (Vista).
        present: u64 = "Privileges.Present",
        /// `Privileges.Enabled` (Vista).
        enabled: u64 = "Privileges.Enabled",
        /// `Privileges.EnabledByDefault` (Vista).
        default: u64 = "Privileges.EnabledByDefault",
    }
}
layout! {
    /// `_TOKEN` up to Windows Server 2003: privileges stand in an array of `_LUID_AND_ATTRIBUTES`.
    pub struct OldPrivileges: "_TOKEN" {
        /// `PrivilegeCount`; its presence tells the old form.
        count: u32 = "PrivilegeCount",
        /// `Privileges`.
        array: Va = "Privileges",
    }
}
layout! {
    /// `_SID_AND_ATTRIBUTES`.
    pub struct SidAndAttributes: "_SID_AND_ATTRIBUTES" {
        /// `Sid`.
        sid: Va = "Sid",
        /// `Attributes`: `SE_GROUP_…`.
        attributes: u32 = "Attributes",
    }
}
layout! {
    /// `_LUID_AND_ATTRIBUTES`.
    pub struct LuidAndAttributes: "_LUID_AND_ATTRIBUTES" {
        /// `Luid`.
        luid: u64 = "Luid",
        /// `Attributes`: `SE_PRIVILEGE_…`.
        attributes: u32 = "Attributes",
    }
}
layout! {
    /// `_SEP_LOGON_SESSION_REFERENCES`: one logon session.
    pub struct LogonSession: "_SEP_LOGON_SESSION_REFERENCES" {
        /// `Next` in the same bucket of `SepLogonSessions`.
        next: Va = "Next",
        /// `LogonId`.
        logon_id: u64 = "LogonId",
        /// `BuddyLogonId`: the other half of a split administrator's logon; zero for none.
        buddy: u64 = "BuddyLogonId",
        /// `Flags`.
        flags: u32 = "Flags",
        /// `Token`: the session's own token.
        token: Va = "Token",
        /// `AccountName`.
        account: Counted = "AccountName",
        /// `AuthorityName`: domain or computer.
        authority: Counted = "AuthorityName",
    }
}

/// More entries than any token has (the kernel allows about a thousand groups).
const MOST_SIDS: u32 = 4096;
/// More privileges than there are.
const MOST_PRIVILEGES: u32 = 256;

/// One entry of a token's SID arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Who.
    pub sid: Value<Sid>,
    /// `SE_GROUP_…` bits.
    pub attributes: Value<u32>,
}

/// Reads tokens of one kernel.
#[derive(Clone, Copy, Debug)]
pub struct Tokens {
    layout: TokenLayout,
    old: Option<(OldPrivileges, LuidAndAttributes, u32)>,
    entry: SidAndAttributes,
    entry_size: u32,
    logon: Option<LogonSession>,
}

impl Tokens {
    /// Looks the layouts up.
    ///
    /// # Errors
    /// The symbols lack `_TOKEN` or one of its fields.
    pub fn new(types: &Types) -> Result<Self, LayoutError> {
        let old = OldPrivileges::resolve(types)?;
        let luid = LuidAndAttributes::resolve(types)?;
        let luid_size = types.size_of("_LUID_AND_ATTRIBUTES").unwrap_or_else(|| luid.span());
        let old = old.field("count").is_ok().then_some((old, luid, luid_size));
        let entry = SidAndAttributes::resolve(types)?;
        Ok(Self {
            layout: TokenLayout::resolve(types)?,
            old,
            entry,
            entry_size: types.size_of("_SID_AND_ATTRIBUTES").unwrap_or_else(|| entry.span()),
            logon: types.get(LogonSession::TYPE).and_then(|_| LogonSession::resolve(types).ok()),
        })
    }
    /// The token at `va`.
    pub fn at<'s>(&'s self, space: &Space<'s>, va: Va) -> Token<'s> {
        Token { reader: self, va, view: space.view(&self.layout, va) }
    }
    /// Whether this kernel's tokens name their logon sessions.
    ///
    /// # Errors
    /// Why they do not.
    pub fn names_sessions(&self) -> Value<()> {
        self.layout.field("logon_id").map(|_| ())
    }
    /// The logon session at `va`; `None` where the symbols do not know it.
    pub fn logon_session<'s>(&'s self, space: &Space<'s>, va: Va) -> Option<View<'s, LogonSession>> {
        Some(space.view(self.logon.as_ref()?, va))
    }
    fn sids(&self, space: &Space<'_>, array: Va, count: u32) -> Value<Vec<Group>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        if count > MOST_SIDS || array.is_null() {
            return Err(Absent::Implausible);
        }
        // One fetch for the whole array; each entry's bytes are looked at where they lie.
        let bytes = space.fetch(array, count.saturating_mul(self.entry_size));
        let number = |at: u32, field: Value<Field>| {
            let field = field?;
            let at = at.checked_add(field.offset).ok_or(Absent::Implausible)?;
            crate::bytes::le(bytes.at(at, field.size)?).ok_or(Absent::Implausible)
        };
        let field = |name| self.entry.field(name);
        let (sid, attributes) = (field("sid"), field("attributes"));
        Ok((0..count)
            .map(|i| i.saturating_mul(self.entry_size))
            .map(|at| Group {
                sid: number(at, sid).and_then(|p| Sid::read(space, Va(p))),
                attributes: number(at, attributes).and_then(|a| u32::try_from(a).map_err(|_| Absent::Implausible)),
            })
            .collect())
    }
}

/// One token.
#[derive(Debug)]
pub struct Token<'s> {
    reader: &'s Tokens,
    /// Where it lies.
    pub va: Va,
    /// Its fields.
    pub view: View<'s, TokenLayout>,
}

impl Token<'_> {
    /// Whether the bytes can be a token: a type of 1 or 2 and an impersonation level of 0 to 3.
    #[must_use]
    pub fn plausible(&self) -> bool {
        matches!(self.view.kind(), Ok(1 | 2))
            && matches!(self.view.level(), Ok(0..=3) | Err(Absent::NotInBuild | Absent::NoSymbol))
    }
    /// The user, then the groups.
    ///
    /// # Errors
    /// Why the array is not there.
    pub fn groups(&self, space: &Space<'_>) -> Value<Vec<Group>> {
        self.reader.sids(space, self.view.groups()?, self.view.group_count()?)
    }
    /// The restricting SIDs.
    ///
    /// # Errors
    /// Why the array is not there.
    pub fn restricted(&self, space: &Space<'_>) -> Value<Vec<Group>> {
        self.reader.sids(space, self.view.restricted()?, self.view.restricted_count()?)
    }
    /// The capabilities of an app container.
    ///
    /// # Errors
    /// Why the array is not there.
    pub fn capabilities(&self, space: &Space<'_>) -> Value<Vec<Group>> {
        self.reader.sids(space, self.view.capabilities()?, self.view.capability_count()?)
    }
    /// The user.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn user(&self, space: &Space<'_>) -> Value<Sid> {
        if self.view.group_count()? == 0 {
            return Err(Absent::Implausible);
        }
        let first = self.reader.sids(space, self.view.groups()?, 1)?;
        first.first().ok_or(Absent::Implausible)?.sid
    }
    /// The group that owns new files of POSIX programs.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn primary_group(&self, space: &Space<'_>) -> Value<Sid> {
        Sid::read(space, self.view.primary_group()?)
    }
    /// The app container's SID.
    ///
    /// # Errors
    /// Why it is not there; [`Absent::NotApplicable`] outside of app containers.
    pub fn package(&self, space: &Space<'_>) -> Value<Sid> {
        Sid::read(space, self.view.package()?)
    }
    /// The process trust label.
    ///
    /// # Errors
    /// Why it is not there; [`Absent::NotApplicable`] for processes without protection.
    pub fn trust(&self, space: &Space<'_>) -> Value<Sid> {
        Sid::read(space, self.view.trust()?)
    }
    /// The integrity level (0x3000 is high), from the group that the token names as its mandatory label.
    ///
    /// # Errors
    /// Why it is not there; [`Absent::NotApplicable`] for a token without a label, [`Absent::Implausible`] when the SID is no label.
    pub fn integrity(&self, space: &Space<'_>) -> Value<u32> {
        let index = self.view.integrity_index()?;
        if index == u32::MAX {
            return Err(Absent::NotApplicable);
        }
        let count = self.view.group_count()?;
        if index >= count || count > MOST_SIDS {
            return Err(Absent::Implausible);
        }
        let entry = self.view.groups()?.add(u64::from(index).saturating_mul(self.reader.entry_size.into()));
        let found = self.reader.sids(space, entry, 1)?;
        found.first().ok_or(Absent::Implausible)?.sid?.integrity().ok_or(Absent::Implausible)
    }
    /// Where the SID of a group is: the user's is the first.
    #[must_use]
    pub fn sid_at(&self, space: &Space<'_>, index: u32) -> Option<Place> {
        if index >= self.view.group_count().ok()? {
            return None;
        }
        self.entry_sid_at(space, self.view.groups().ok()?, index)
    }
    /// Where the SID is of an entry of one of its arrays.
    #[must_use]
    pub fn entry_sid_at(&self, space: &Space<'_>, array: Va, index: u32) -> Option<Place> {
        Some(space.place(space.view(&self.reader.entry, self.entry(array, index)).sid().ok()?))
    }
    /// Where the attributes are of an entry of one of its arrays.
    #[must_use]
    pub fn attributes_at(&self, space: &Space<'_>, array: Va, index: u32) -> Option<Place> {
        space.view(&self.reader.entry, self.entry(array, index)).at(SidAndAttributes::attributes)
    }
    fn entry(&self, array: Va, index: u32) -> Va {
        array.add(u64::from(index).saturating_mul(self.reader.entry_size.into()))
    }
    /// Where the SID of its mandatory label is.
    #[must_use]
    pub fn label_at(&self, space: &Space<'_>) -> Option<Place> {
        self.sid_at(space, self.view.integrity_index().ok()?)
    }
    /// Where its privileges are: one of the masks, up to Server 2003 an array.
    #[must_use]
    pub fn privileges_at(&self, space: &Space<'_>, mask: At<TokenLayout>) -> Option<Place> {
        match &self.reader.old {
            None => self.view.at(mask),
            Some((layout, ..)) => Some(space.place(space.view(layout, self.va).array().ok()?)),
        }
    }
    /// The privileges, by number.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn privileges(&self, space: &Space<'_>) -> Value<Vec<Privilege>> {
        let Some((layout, entry, size)) = &self.reader.old else {
            return Ok(privilege::from_masks(self.view.present()?, self.view.enabled()?, self.view.default()?));
        };
        let old = View::new(layout, self.view_bytes(space, layout.span()));
        let (count, array) = (old.count()?, old.array()?);
        if count > MOST_PRIVILEGES || (array.is_null() && count > 0) {
            return Err(Absent::Implausible);
        }
        let mut all = Vec::with_capacity(count as usize);
        for i in 0..count {
            let each = space.view(entry, array.add(u64::from(i).saturating_mul((*size).into())));
            let (luid, attributes) = (each.luid()?, each.attributes()?);
            // winnt.h: SE_PRIVILEGE_ENABLED_BY_DEFAULT 1, ENABLED 2, REMOVED 4.
            all.push(Privilege {
                luid,
                present: attributes & 4 == 0,
                enabled: attributes & 2 != 0,
                default: attributes & 1 != 0,
            });
        }
        all.sort_unstable();
        Ok(all)
    }
    fn view_bytes<'s>(&self, space: &Space<'s>, len: u32) -> crate::bytes::Bytes<'s> {
        space.fetch(self.va, len)
    }
    /// The logon session it belongs to.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn logon_session<'s>(&'s self, space: &Space<'s>) -> Value<View<'s, LogonSession>> {
        let va = self.view.logon_session()?;
        if va.is_null() {
            return Err(Absent::NotApplicable);
        }
        let session = self.reader.logon_session(space, va).ok_or(Absent::NoSymbol)?;
        // A session that is not the one the token says it belongs to is another allocation by now.
        if session.logon_id()? == self.view.logon_id()? { Ok(session) } else { Err(Absent::Implausible) }
    }
    /// Who made it: `SourceName` without its padding.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn source(&self) -> Value<String> {
        let raw = self.view.source_name()?;
        let text: String = raw.iter().map(|b| char::from(*b)).collect();
        Ok(text.trim_end_matches(['\0', ' ']).to_owned())
    }
    /// Whether the kernel would call it elevated (`TokenElevation`): it holds a sensitive privilege, or is in a sensitive group that
    /// is not for denying only.
    ///
    /// # Errors
    /// Why groups or privileges are not there.
    pub fn elevated(&self, space: &Space<'_>) -> Value<bool> {
        self.view.integrity_index()?; // Vista and later: before there was nothing to elevate from.
        let sensitive = |p: &Privilege| p.present && SENSITIVE_PRIVILEGES.contains(&p.luid);
        if self.privileges(space)?.iter().any(sensitive) {
            return Ok(true);
        }
        let mut torn = None;
        for group in self.groups(space)? {
            match (group.sid, group.attributes) {
                (Ok(sid), Ok(attributes)) if attributes & USE_FOR_DENY_ONLY == 0 && sensitive_group(&sid) => {
                    return Ok(true);
                }
                (Err(why), _) | (_, Err(why)) => torn = Some(why),
                _ => {}
            }
        }
        torn.map_or(Ok(false), Err)
    }
    /// `Default` without a linked token, else `Full` for the elevated half of a split logon and `Limited` for the other.
    ///
    /// # Errors
    /// Why logon session, groups or privileges are not there.
    pub fn elevation_type(&self, space: &Space<'_>) -> Value<&'static str> {
        Ok(match self.logon_session(space)?.buddy()? {
            0 => "Default",
            _ if self.elevated(space)? => "Full",
            _ => "Limited",
        })
    }
}

/// The privileges for whose sake User Account Control splits a logon
/// ([UAC architecture](https://learn.microsoft.com/windows/security/application-security/application-control/user-account-control/)):
/// create token, TCB, take ownership, load driver, backup, restore, debug, impersonate, relabel, delegate session user.
const SENSITIVE_PRIVILEGES: [u64; 10] = [2, 7, 9, 10, 17, 18, 20, 29, 32, 36];

/// The groups for whose sake it does: built-in administrators, power users, account, server, print and backup operators, RAS servers,
/// pre-Windows 2000 access, network configuration and cryptographic operators; and of a domain the (read-only) controllers,
/// domain, schema, enterprise and policy administrators, certificate publishers.
fn sensitive_group(sid: &Sid) -> bool {
    match (sid.authority(), sid.parts()) {
        (5, [32, rid]) => matches!(rid, 544 | 547..=551 | 554 | 556 | 569),
        (5, [21, _, _, _, rid]) => matches!(rid, 498 | 512 | 516..=521 | 553),
        _ => false,
    }
}

/// `SE_GROUP_USE_FOR_DENY_ONLY`.
const USE_FOR_DENY_ONLY: u32 = 0x10;

/// Names of a bit mask's bits, low to high; bits without a name stand last, as a number.
fn bit_names(mask: u32, names: &[(u32, &'static str)]) -> Vec<std::borrow::Cow<'static, str>> {
    let mut rest = mask;
    let mut out = Vec::new();
    for (bits, name) in names {
        if mask & bits == *bits {
            out.push((*name).into());
            rest &= !bits;
        }
    }
    if rest != 0 {
        out.push(format!("{rest:#x}").into());
    }
    out
}

/// The names of a group's attributes (`SE_GROUP_…` of `winnt.h`, without the prefix).
#[must_use]
pub fn attribute_names(attributes: u32) -> Vec<std::borrow::Cow<'static, str>> {
    const NAMES: [(u32, &str); 9] = [
        (0x1, "MANDATORY"),
        (0x2, "ENABLED_BY_DEFAULT"),
        (0x4, "ENABLED"),
        (0x8, "OWNER"),
        (0x10, "USE_FOR_DENY_ONLY"),
        (0x20, "INTEGRITY"),
        (0x40, "INTEGRITY_ENABLED"),
        (0x2000_0000, "RESOURCE"),
        (0xC000_0000, "LOGON_ID"),
    ];
    bit_names(attributes, &NAMES)
}

/// The names of `TokenFlags` (`TOKEN_…` of `ntifs.h`, without the prefix).
#[must_use]
pub fn flag_names(flags: u32) -> Vec<std::borrow::Cow<'static, str>> {
    const NAMES: [(u32, &str); 25] = [
        (0x1, "HAS_TRAVERSE_PRIVILEGE"),
        (0x2, "HAS_BACKUP_PRIVILEGE"),
        (0x4, "HAS_RESTORE_PRIVILEGE"),
        (0x8, "WRITE_RESTRICTED"),
        (0x10, "IS_RESTRICTED"),
        (0x20, "SESSION_NOT_REFERENCED"),
        (0x40, "SANDBOX_INERT"),
        (0x80, "HAS_IMPERSONATE_PRIVILEGE"),
        (0x100, "BACKUP_PRIVILEGES_CHECKED"),
        (0x200, "VIRTUALIZE_ALLOWED"),
        (0x400, "VIRTUALIZE_ENABLED"),
        (0x800, "IS_FILTERED"),
        (0x1000, "UIACCESS"),
        (0x2000, "NOT_LOW"),
        (0x4000, "LOWBOX"),
        (0x8000, "HAS_OWN_CLAIM_ATTRIBUTES"),
        (0x1_0000, "PRIVATE_NAMESPACE"),
        (0x2_0000, "DO_NOT_USE_GLOBAL_ATTRIBS_FOR_QUERY"),
        (0x4_0000, "SPECIAL_ENCRYPTED_OPEN"),
        (0x8_0000, "NO_CHILD_PROCESS"),
        (0x10_0000, "NO_CHILD_PROCESS_UNLESS_SECURE"),
        (0x20_0000, "AUDIT_NO_CHILD_PROCESS"),
        (0x40_0000, "ENFORCE_REDIRECTION_TRUST"),
        (0x80_0000, "AUDIT_REDIRECTION_TRUST"),
        (0x100_0000, "LEARNING_MODE_LOGGING"),
    ];
    bit_names(flags, &NAMES)
}

/// The name of an impersonation level.
#[must_use]
pub fn level_name(level: u32) -> Option<&'static str> {
    ["Anonymous", "Identification", "Impersonation", "Delegation"].get(usize::try_from(level).ok()?).copied()
}

/// The name of a token's type.
#[must_use]
pub fn kind_name(kind: u32) -> Option<&'static str> {
    match kind {
        1 => Some("Primary"),
        2 => Some("Impersonation"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_by_name() {
        assert_eq!(attribute_names(0x60), ["INTEGRITY", "INTEGRITY_ENABLED"]);
        assert_eq!(attribute_names(0xC000_0007), ["MANDATORY", "ENABLED_BY_DEFAULT", "ENABLED", "LOGON_ID"]);
        assert_eq!(attribute_names(0x4000_0000), ["0x40000000"]);
        assert!(attribute_names(0).is_empty());
    }
    #[test]
    fn flags_by_name() {
        assert_eq!(
            flag_names(0x4881),
            ["HAS_TRAVERSE_PRIVILEGE", "HAS_IMPERSONATE_PRIVILEGE", "IS_FILTERED", "LOWBOX"]
        );
    }
    /// Every known kernel's token can be read, and what one lacks is what it is known to lack.
    #[test]
    fn every_known_kernel() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let tokens = Tokens::new(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let xp = name.starts_with("x86-5.1");
            let seven = name.contains("-6.1.");
            let has = |field| tokens.layout.field(field).is_ok();
            assert_eq!(tokens.old.is_some(), xp, "{name}");
            assert_eq!((has("present"), has("integrity_index"), has("logon_session")), (!xp, !xp, !xp), "{name}");
            assert_eq!((has("package"), has("capabilities")), (!xp && !seven, !xp && !seven), "{name}");
            assert_eq!(has("trust"), !xp && !seven && !name.contains("-6.2."), "{name}");
            let pointer = u32::from(symbols.types.pointer_size);
            assert_eq!(tokens.entry_size, pointer * 2, "{name}");
            assert_eq!(tokens.logon.is_some_and(|l| l.field("account").is_ok()), !xp, "{name}");
        }
    }
    #[test]
    fn who_is_sensitive() {
        let sid = |parts: &[u32]| Sid::new(5, parts).unwrap();
        assert!(sensitive_group(&sid(&[32, 544])));
        assert!(sensitive_group(&sid(&[21, 1, 2, 3, 512])));
        assert!(!sensitive_group(&sid(&[32, 545])));
        assert!(!sensitive_group(&sid(&[21, 1, 2, 3, 513])));
        assert!(!sensitive_group(&sid(&[18])));
    }
}
