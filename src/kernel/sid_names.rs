//! Names of security identifiers: well-known ones by table, services and capabilities by the hash of their names,
//! logon sessions, virtual accounts, mandatory and process-trust labels by their form, accounts by what a dump holds of them.
//!
//! Sources: `winnt.h` (`SECURITY_…_RID`, `DOMAIN_…_RID`, `SECURITY_PROCESS_…_RID`) and
//! [Well-known SIDs](https://learn.microsoft.com/windows/win32/secauthz/well-known-sids).
//! A service's SID is `S-1-5-80-` and the SHA-1 of its upper-case UTF-16 name; a named capability's is `S-1-15-3-1024-` and the SHA-256.

use super::service_names::{CAPABILITIES, SERVICES};
use super::sid::Sid;
use rustc_hash::FxHashMap;
use sha1::Digest;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Names of SIDs: the fixed ones, and those a dump told of.
#[derive(Clone, Debug, Default)]
pub struct SidNames {
    /// Services met in the dump, by the hash of their names.
    services: FxHashMap<[u32; 5], String>,
    /// Accounts: `DOMAIN\user`.
    accounts: FxHashMap<Sid, String>,
    /// Names of profile folders, of users of whom nothing else tells.
    profiles: FxHashMap<Sid, String>,
    /// What the environment of a user's process says, of users of whom nothing else tells.
    environments: FxHashMap<Sid, String>,
}

impl SidNames {
    /// Notes the name of a service that the dump tells of.
    pub fn add_service(&mut self, name: &str) {
        self.services.entry(service_hash(name)).or_insert_with(|| name.into());
    }
    /// Notes the name of an account that the dump tells of. The first one told stays.
    pub fn add_account(&mut self, sid: Sid, name: String) {
        self.accounts.entry(sid).or_insert(name);
    }
    /// Notes the name of a user's profile folder. It is shown as such, and only where the account's own name is not known.
    pub fn add_profile(&mut self, sid: Sid, folder: &str) {
        self.profiles.entry(sid).or_insert_with(|| folder.into());
    }
    /// Notes what the environment of a user's process calls that user. The process can have changed it: it is shown as such, and only
    /// where nothing else is known.
    pub fn add_environment(&mut self, sid: Sid, name: String) {
        self.environments.entry(sid).or_insert(name);
    }
    /// The name of a SID, as Windows prints it; `None` where nothing tells.
    #[must_use]
    pub fn name(&self, sid: &Sid) -> Option<Cow<'static, str>> {
        if let Some(name) = well_known(sid) {
            return Some(name);
        }
        if let Some(name) = self.accounts.get(sid) {
            return Some(Cow::Owned(name.clone()));
        }
        if let Some(folder) = self.profiles.get(sid) {
            return Some(Cow::Owned(format!("{folder} (by the profile's folder)")));
        }
        if let Some(name) = self.environments.get(sid) {
            return Some(Cow::Owned(by_environment(name)));
        }
        match (sid.authority(), sid.parts()) {
            (5, [80, hash @ ..]) => {
                let hash: [u32; 5] = hash.try_into().ok()?;
                let found = self.services.get(&hash).map(String::as_str);
                let name = found.or_else(|| KNOWN_SERVICES.get(&hash).copied())?;
                Some(format!("NT SERVICE\\{name}").into())
            }
            (5, [21, _, _, _, rid]) => domain_rid(*rid).map(Cow::Borrowed),
            _ => None,
        }
    }
}

/// A name that only the environment of a process tells, marked as such.
#[must_use]
pub fn by_environment(name: &str) -> String {
    format!("{name} (by the environment of a process)")
}

/// The known services by hash, made once.
static KNOWN_SERVICES: LazyLock<FxHashMap<[u32; 5], &'static str>> =
    LazyLock::new(|| SERVICES.iter().map(|name| (service_hash(name), *name)).collect());
/// The known capabilities by hash, made once.
static KNOWN_CAPABILITIES: LazyLock<FxHashMap<[u32; 8], &'static str>> =
    LazyLock::new(|| CAPABILITIES.iter().map(|name| (capability_hash(name), *name)).collect());

fn words<const N: usize>(digest: &[u8]) -> [u32; N] {
    let mut out = [0; N];
    for (word, chunk) in out.iter_mut().zip(digest.chunks_exact(4)) {
        *word = chunk.try_into().map_or(0, u32::from_le_bytes);
    }
    out
}
fn upper_utf16(name: &str) -> Vec<u8> {
    name.to_uppercase().encode_utf16().flat_map(u16::to_le_bytes).collect()
}
/// The five sub-authorities that follow `S-1-5-80-` in a service's SID.
#[must_use]
pub fn service_hash(name: &str) -> [u32; 5] {
    words(&sha1::Sha1::digest(upper_utf16(name)))
}
/// The eight sub-authorities that follow `S-1-15-3-1024-` in a capability's SID (and `S-1-5-32-` in its group's).
#[must_use]
pub fn capability_hash(name: &str) -> [u32; 8] {
    words(&sha2::Sha256::digest(upper_utf16(name)))
}

/// The names that do not depend on the machine.
#[must_use]
pub fn well_known(sid: &Sid) -> Option<Cow<'static, str>> {
    let parts = sid.parts();
    let fixed = match sid.authority() {
        0..=3 => world(sid.authority(), parts),
        5 => nt(parts),
        15 => package(parts),
        16 => parts.first().filter(|_| parts.len() == 1).and_then(|level| label(*level)),
        18 => asserted(parts),
        _ => None,
    };
    if let Some(name) = fixed {
        return Some(Cow::Borrowed(name));
    }
    match (sid.authority(), parts) {
        (5, [5, high, low]) => Some(format!("NT AUTHORITY\\LogonSessionId_{high}_{low}").into()),
        (5, [90, 0, session]) => Some(format!("Window Manager\\DWM-{session}").into()),
        (5, [96, 0, session]) => Some(format!("Font Driver Host\\UMFD-{session}").into()),
        (5, [83, 1, guid @ ..]) => Some(format!("NT VIRTUAL MACHINE\\{}", guid_text(guid)?).into()),
        (5, [32, hash @ ..]) => {
            let hash: [u32; 8] = hash.try_into().ok()?;
            Some(format!("capability group {}", KNOWN_CAPABILITIES.get(&hash)?).into())
        }
        (15, [3, 1024, hash @ ..]) => {
            let hash: [u32; 8] = hash.try_into().ok()?;
            Some(format!("capability {}", KNOWN_CAPABILITIES.get(&hash)?).into())
        }
        (16, [level]) => Some(format!("Mandatory Label\\{level}").into()),
        (19, [kind, level]) => Some(format!("process trust {}-{}", trust_kind(*kind)?, trust_level(*level)?).into()),
        _ => None,
    }
}

/// The GUID whose sixteen bytes four sub-authorities hold.
fn guid_text(parts: &[u32]) -> Option<String> {
    let [a, b, c, d] = parts else { return None };
    let (x, y) = (c.swap_bytes(), d.swap_bytes());
    Some(format!("{a:08X}-{:04X}-{:04X}-{:04X}-{:04X}{y:08X}", b & 0xffff, b >> 16, x >> 16, x & 0xffff))
}

fn world(authority: u64, parts: &[u32]) -> Option<&'static str> {
    Some(match (authority, parts) {
        (0, [0]) => "NULL SID",
        (1, [0]) => "Everyone",
        (2, [0]) => "LOCAL",
        (2, [1]) => "CONSOLE LOGON",
        (3, [0]) => "CREATOR OWNER",
        (3, [1]) => "CREATOR GROUP",
        (3, [2]) => "CREATOR OWNER SERVER",
        (3, [3]) => "CREATOR GROUP SERVER",
        (3, [4]) => "OWNER RIGHTS",
        _ => return None,
    })
}

fn nt(parts: &[u32]) -> Option<&'static str> {
    Some(match parts {
        [1] => "NT AUTHORITY\\DIALUP",
        [2] => "NT AUTHORITY\\NETWORK",
        [3] => "NT AUTHORITY\\BATCH",
        [4] => "NT AUTHORITY\\INTERACTIVE",
        [6] => "NT AUTHORITY\\SERVICE",
        [7] => "NT AUTHORITY\\ANONYMOUS LOGON",
        [8] => "NT AUTHORITY\\PROXY",
        [9] => "NT AUTHORITY\\ENTERPRISE DOMAIN CONTROLLERS",
        [10] => "NT AUTHORITY\\SELF",
        [11] => "NT AUTHORITY\\Authenticated Users",
        [12] => "NT AUTHORITY\\RESTRICTED",
        [13] => "NT AUTHORITY\\TERMINAL SERVER USER",
        [14] => "NT AUTHORITY\\REMOTE INTERACTIVE LOGON",
        [15] => "NT AUTHORITY\\This Organization",
        [17] => "NT AUTHORITY\\IUSR",
        [18] => "NT AUTHORITY\\SYSTEM",
        [19] => "NT AUTHORITY\\LOCAL SERVICE",
        [20] => "NT AUTHORITY\\NETWORK SERVICE",
        [33] => "NT AUTHORITY\\WRITE RESTRICTED",
        [64, 10] => "NT AUTHORITY\\NTLM Authentication",
        [64, 14] => "NT AUTHORITY\\SChannel Authentication",
        [64, 21] => "NT AUTHORITY\\Digest Authentication",
        [65, 1] => "NT AUTHORITY\\This Organization Certificate",
        [80, 0] => "NT SERVICE\\ALL SERVICES",
        [83, 0] => "NT VIRTUAL MACHINE\\Virtual Machines",
        [84, 0, 0, 0, 0, 0] => "NT AUTHORITY\\USER MODE DRIVERS",
        [90, 0] => "Window Manager\\Window Manager Group",
        [96, 0] => "Font Driver Host",
        [113] => "NT AUTHORITY\\Local account",
        [114] => "NT AUTHORITY\\Local account and member of Administrators group",
        [1000] => "NT AUTHORITY\\Other Organization",
        [32] => "BUILTIN",
        [32, rid] => return builtin(*rid),
        _ => return None,
    })
}

fn builtin(rid: u32) -> Option<&'static str> {
    Some(match rid {
        544 => "BUILTIN\\Administrators",
        545 => "BUILTIN\\Users",
        546 => "BUILTIN\\Guests",
        547 => "BUILTIN\\Power Users",
        548 => "BUILTIN\\Account Operators",
        549 => "BUILTIN\\Server Operators",
        550 => "BUILTIN\\Print Operators",
        551 => "BUILTIN\\Backup Operators",
        552 => "BUILTIN\\Replicator",
        554 => "BUILTIN\\Pre-Windows 2000 Compatible Access",
        555 => "BUILTIN\\Remote Desktop Users",
        556 => "BUILTIN\\Network Configuration Operators",
        557 => "BUILTIN\\Incoming Forest Trust Builders",
        558 => "BUILTIN\\Performance Monitor Users",
        559 => "BUILTIN\\Performance Log Users",
        560 => "BUILTIN\\Windows Authorization Access Group",
        561 => "BUILTIN\\Terminal Server License Servers",
        562 => "BUILTIN\\Distributed COM Users",
        568 => "BUILTIN\\IIS_IUSRS",
        569 => "BUILTIN\\Cryptographic Operators",
        573 => "BUILTIN\\Event Log Readers",
        574 => "BUILTIN\\Certificate Service DCOM Access",
        575 => "BUILTIN\\RDS Remote Access Servers",
        576 => "BUILTIN\\RDS Endpoint Servers",
        577 => "BUILTIN\\RDS Management Servers",
        578 => "BUILTIN\\Hyper-V Administrators",
        579 => "BUILTIN\\Access Control Assistance Operators",
        580 => "BUILTIN\\Remote Management Users",
        581 => "BUILTIN\\System Managed Accounts Group",
        582 => "BUILTIN\\Storage Replica Administrators",
        583 => "BUILTIN\\Device Owners",
        584 => "BUILTIN\\User Mode Hardware Operators",
        585 => "BUILTIN\\OpenSSH Users",
        _ => return None,
    })
}

fn package(parts: &[u32]) -> Option<&'static str> {
    Some(match parts {
        [2, 1] => "APPLICATION PACKAGE AUTHORITY\\ALL APPLICATION PACKAGES",
        [2, 2] => "APPLICATION PACKAGE AUTHORITY\\ALL RESTRICTED APPLICATION PACKAGES",
        // `SECURITY_CAPABILITY_…` of winnt.h, by their names in a package manifest.
        [3, 1] => "capability internetClient",
        [3, 2] => "capability internetClientServer",
        [3, 3] => "capability privateNetworkClientServer",
        [3, 4] => "capability picturesLibrary",
        [3, 5] => "capability videosLibrary",
        [3, 6] => "capability musicLibrary",
        [3, 7] => "capability documentsLibrary",
        [3, 8] => "capability enterpriseAuthentication",
        [3, 9] => "capability sharedUserCertificates",
        [3, 10] => "capability removableStorage",
        [3, 11] => "capability appointments",
        [3, 12] => "capability contacts",
        [3, 4096] => "capability internetExplorer",
        _ => return None,
    })
}

fn label(level: u32) -> Option<&'static str> {
    Some(match level {
        0 => "Mandatory Label\\Untrusted Mandatory Level",
        0x1000 => "Mandatory Label\\Low Mandatory Level",
        0x2000 => "Mandatory Label\\Medium Mandatory Level",
        0x2100 => "Mandatory Label\\Medium Plus Mandatory Level",
        0x3000 => "Mandatory Label\\High Mandatory Level",
        0x4000 => "Mandatory Label\\System Mandatory Level",
        0x5000 => "Mandatory Label\\Protected Process Mandatory Level",
        0x7000 => "Mandatory Label\\Secure Process Mandatory Level",
        _ => return None,
    })
}

/// The short name of an integrity level, as people say it; a level between two known ones is named by its number.
#[must_use]
pub fn integrity_name(level: u32) -> Cow<'static, str> {
    Cow::Borrowed(match level {
        0 => "Untrusted",
        0x1000 => "Low",
        0x2000 => "Medium",
        0x2100 => "Medium Plus",
        0x3000 => "High",
        0x4000 => "System",
        0x5000 => "Protected",
        0x7000 => "Secure",
        other => return Cow::Owned(format!("{other:#x}")),
    })
}

fn asserted(parts: &[u32]) -> Option<&'static str> {
    Some(match parts {
        [1] => "Authentication authority asserted identity",
        [2] => "Service asserted identity",
        [3] => "Fresh public key identity",
        [4] => "Key trust identity",
        [5] => "Key property multi-factor authentication",
        [6] => "Key property attestation",
        _ => return None,
    })
}

fn trust_kind(kind: u32) -> Option<&'static str> {
    Some(match kind {
        0 => "None",
        0x200 => "ProtectedLight",
        0x400 => "Protected",
        _ => return None,
    })
}
fn trust_level(level: u32) -> Option<&'static str> {
    Some(match level {
        0 => "None",
        0x400 => "Authenticode",
        0x600 => "Antimalware",
        0x800 => "App",
        0x1000 => "Windows",
        0x2000 => "WinTcb",
        _ => return None,
    })
}

/// What a relative id below 1000 means in every domain. On a machine of no domain 513 is the group `None`.
fn domain_rid(rid: u32) -> Option<&'static str> {
    Some(match rid {
        498 => "Enterprise Read-only Domain Controllers",
        500 => "Administrator",
        501 => "Guest",
        502 => "krbtgt",
        503 => "DefaultAccount",
        504 => "WDAGUtilityAccount",
        512 => "Domain Admins",
        513 => "Domain Users (or None)",
        514 => "Domain Guests",
        515 => "Domain Computers",
        516 => "Domain Controllers",
        517 => "Cert Publishers",
        518 => "Schema Admins",
        519 => "Enterprise Admins",
        520 => "Group Policy Creator Owners",
        521 => "Read-only Domain Controllers",
        522 => "Cloneable Domain Controllers",
        525 => "Protected Users",
        526 => "Key Admins",
        527 => "Enterprise Key Admins",
        553 => "RAS and IAS Servers",
        571 => "Allowed RODC Password Replication Group",
        572 => "Denied RODC Password Replication Group",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(text: &str) -> Sid {
        let mut numbers = text.strip_prefix("S-1-").unwrap().split('-').map(|n| n.parse::<u64>().unwrap());
        let authority = numbers.next().unwrap();
        let parts: Vec<u32> = numbers.map(|n| u32::try_from(n).unwrap()).collect();
        Sid::new(authority, &parts).unwrap()
    }
    fn name(text: &str) -> Option<String> {
        SidNames::default().name(&sid(text)).map(Cow::into_owned)
    }

    #[test]
    fn fixed_names() {
        for (text, want) in [
            ("S-1-5-18", "NT AUTHORITY\\SYSTEM"),
            ("S-1-1-0", "Everyone"),
            ("S-1-5-32-544", "BUILTIN\\Administrators"),
            ("S-1-16-12288", "Mandatory Label\\High Mandatory Level"),
            ("S-1-16-4242", "Mandatory Label\\4242"),
            ("S-1-5-5-0-78123", "NT AUTHORITY\\LogonSessionId_0_78123"),
            ("S-1-5-90-0-1", "Window Manager\\DWM-1"),
            ("S-1-5-96-0-2", "Font Driver Host\\UMFD-2"),
            ("S-1-15-3-1", "capability internetClient"),
            ("S-1-19-512-8192", "process trust ProtectedLight-WinTcb"),
            ("S-1-5-21-1-2-3-500", "Administrator"),
        ] {
            assert_eq!(name(text).as_deref(), Some(want), "{text}");
        }
        for text in ["S-1-5-21-1-2-3-1001", "S-1-5-99", "S-1-5-32-9999", "S-1-16-1-2", "S-1-12-1-5"] {
            assert_eq!(name(text), None, "{text}");
        }
    }
    /// The SID that the file permissions of every Windows name: published by Microsoft.
    #[test]
    fn a_service_by_the_hash_of_its_name() {
        let trusted_installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
        assert_eq!(name(trusted_installer).as_deref(), Some("NT SERVICE\\TrustedInstaller"));
    }
    #[test]
    fn a_service_only_the_dump_tells_of() {
        let mut names = SidNames::default();
        names.add_service("EvilSvc");
        let [a, b, c, d, e] = service_hash("evilsvc");
        let sid = Sid::new(5, &[80, a, b, c, d, e]).unwrap();
        assert_eq!(names.name(&sid).as_deref(), Some("NT SERVICE\\EvilSvc"));
        assert_eq!(SidNames::default().name(&sid), None);
    }
    /// `registryRead`, as the permissions of the registry's own keys name it on Windows 10.
    #[test]
    fn a_capability_by_the_hash_of_its_name() {
        let registry_read =
            "S-1-15-3-1024-1065365936-1281604716-3511738428-1654721687-432734479-3232135806-4053264122-3456934681";
        assert_eq!(name(registry_read).as_deref(), Some("capability registryRead"));
    }
    #[test]
    fn an_account_the_dump_tells_of() {
        let mut names = SidNames::default();
        names.add_account(sid("S-1-5-21-1-2-3-1001"), "CORP\\alice".into());
        assert_eq!(names.name(&sid("S-1-5-21-1-2-3-1001")).as_deref(), Some("CORP\\alice"));
    }
    #[test]
    fn a_virtual_machine() {
        let text = name("S-1-5-83-1-305419896-2882343476-3735928559-67305985");
        assert_eq!(text.as_deref(), Some("NT VIRTUAL MACHINE\\12345678-1234-ABCD-EFBE-ADDE01020304"));
    }
}
