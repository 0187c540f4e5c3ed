//! Privileges: their numbers, their names, and which of them a token holds.
//!
//! The numbers are the `SE_…_PRIVILEGE` constants of the Windows driver kit (`wdm.h`, `ntifs.h`); the names are those
//! [documented](https://learn.microsoft.com/windows/win32/secauthz/privilege-constants) for them.

/// Names by number; a privilege's number is the low part of its LUID.
const NAMES: [Option<&str>; 37] = [
    None,
    None,
    Some("SeCreateTokenPrivilege"),
    Some("SeAssignPrimaryTokenPrivilege"),
    Some("SeLockMemoryPrivilege"),
    Some("SeIncreaseQuotaPrivilege"),
    Some("SeMachineAccountPrivilege"),
    Some("SeTcbPrivilege"),
    Some("SeSecurityPrivilege"),
    Some("SeTakeOwnershipPrivilege"),
    Some("SeLoadDriverPrivilege"),
    Some("SeSystemProfilePrivilege"),
    Some("SeSystemtimePrivilege"),
    Some("SeProfileSingleProcessPrivilege"),
    Some("SeIncreaseBasePriorityPrivilege"),
    Some("SeCreatePagefilePrivilege"),
    Some("SeCreatePermanentPrivilege"),
    Some("SeBackupPrivilege"),
    Some("SeRestorePrivilege"),
    Some("SeShutdownPrivilege"),
    Some("SeDebugPrivilege"),
    Some("SeAuditPrivilege"),
    Some("SeSystemEnvironmentPrivilege"),
    Some("SeChangeNotifyPrivilege"),
    Some("SeRemoteShutdownPrivilege"),
    Some("SeUndockPrivilege"),
    Some("SeSyncAgentPrivilege"),
    Some("SeEnableDelegationPrivilege"),
    Some("SeManageVolumePrivilege"),
    Some("SeImpersonatePrivilege"),
    Some("SeCreateGlobalPrivilege"),
    Some("SeTrustedCredManAccessPrivilege"),
    Some("SeRelabelPrivilege"),
    Some("SeIncreaseWorkingSetPrivilege"),
    Some("SeTimeZonePrivilege"),
    Some("SeCreateSymbolicLinkPrivilege"),
    Some("SeDelegateSessionUserImpersonatePrivilege"),
];

/// The name of a privilege's number; `None` where no documentation names it.
#[must_use]
pub fn name(luid: u64) -> Option<&'static str> {
    NAMES.get(usize::try_from(luid).ok()?).copied().flatten()
}

/// One privilege of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Privilege {
    /// The number.
    pub luid: u64,
    /// Whether the token holds it.
    pub present: bool,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it was switched on when the token was made.
    pub default: bool,
}

/// The privileges of three masks (`_SEP_TOKEN_PRIVILEGES`, Vista and later): bit *n* is the privilege numbered *n*.
/// A privilege in any mask counts: one that is enabled without being present is a token that was written to.
#[must_use]
pub fn from_masks(present: u64, enabled: u64, default: u64) -> Vec<Privilege> {
    let has = |mask: u64, bit: u32| mask >> bit & 1 == 1;
    (0..u64::BITS)
        .filter(|&bit| has(present | enabled | default, bit))
        .map(|bit| Privilege {
            luid: bit.into(),
            present: has(present, bit),
            enabled: has(enabled, bit),
            default: has(default, bit),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        assert_eq!(name(20), Some("SeDebugPrivilege"));
        assert_eq!(name(2), Some("SeCreateTokenPrivilege"));
        assert_eq!(name(36), Some("SeDelegateSessionUserImpersonatePrivilege"));
        assert_eq!((name(0), name(1), name(37), name(u64::MAX)), (None, None, None, None));
    }
    #[test]
    fn masks() {
        let got = from_masks(1 << 20 | 1 << 23, 1 << 23, 1 << 23 | 1 << 63);
        let p = |luid, present, enabled, default| Privilege { luid, present, enabled, default };
        assert_eq!(got, [p(20, true, false, false), p(23, true, true, true), p(63, false, false, true)]);
    }
}
