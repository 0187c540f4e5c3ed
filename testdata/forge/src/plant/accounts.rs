//! Accounts: their SIDs, groups, privileges and integrity.

/// A group in a token: SID text and attributes.
pub type Group = (String, u32);

/// What a logon session of an account gives its tokens.
pub struct Account {
    /// The user's SID.
    pub user: String,
    /// Groups with attributes, without the integrity label.
    pub groups: Vec<Group>,
    /// Integrity level's last number.
    pub integrity: u32,
    /// Privileges present, enabled, enabled by default.
    pub privileges: [u64; 3],
    /// Logon id.
    pub luid: u64,
    /// Account and authority as the logon session names them.
    pub names: (&'static str, &'static str),
}

/// Mandatory, enabled by default, enabled.
const ON: u32 = 7;
/// The same, and may own objects.
const OWNER: u32 = 0xF;

/// The account of that name; any other name is a user of the machine's domain.
pub fn account(name: &str) -> Account {
    let g = |list: &[(&str, u32)]| list.iter().map(|(s, a)| (s.to_string(), *a)).collect::<Vec<_>>();
    match name {
        "system" => Account {
            user: "S-1-5-18".into(),
            groups: g(&[("S-1-5-32-544", 0xE), ("S-1-1-0", ON), ("S-1-5-11", ON)]),
            integrity: 0x4000,
            privileges: [0x1F_F2FF_FFBC, 0x1E_60B1_E890, 0x1E_60B1_E890],
            luid: 0x3E7,
            names: ("DESKTOP-FORGE$", "WORKGROUP"),
        },
        "local" => Account {
            user: "S-1-5-19".into(),
            groups: g(&[
                ("S-1-1-0", ON),
                ("S-1-5-32-545", ON),
                ("S-1-5-6", ON),
                ("S-1-5-11", ON),
                ("S-1-5-5-0-51234", 0xC000_000F),
            ]),
            integrity: 0x4000,
            privileges: [0x6_60A0_0028, 0x6080_0000, 0x4080_0000],
            luid: 0x3E5,
            names: ("LOCAL SERVICE", "NT AUTHORITY"),
        },
        "network" => Account {
            user: "S-1-5-20".into(),
            groups: g(&[
                ("S-1-1-0", ON),
                ("S-1-5-32-545", ON),
                ("S-1-5-6", ON),
                ("S-1-5-11", ON),
                ("S-1-5-5-0-50987", 0xC000_000F),
            ]),
            integrity: 0x4000,
            privileges: [0x6_60A0_0028, 0x6080_0000, 0x4080_0000],
            luid: 0x3E4,
            names: ("NETWORK SERVICE", "NT AUTHORITY"),
        },
        name => {
            let rid = 1001 + name.bytes().map(u32::from).sum::<u32>() % 50;
            let domain = "S-1-5-21-3084521317-1720569803-2915447381";
            let mut groups = g(&[
                ("S-1-1-0", ON),
                ("S-1-5-32-544", 0x10),
                ("S-1-5-32-545", ON),
                ("S-1-5-4", ON),
                ("S-1-2-1", ON),
                ("S-1-5-11", ON),
            ]);
            groups.push((format!("{domain}-513"), ON));
            groups.push(("S-1-5-5-0-187234".into(), 0xC000_0000 | OWNER));
            // An identifier authority that needs more than its last byte; Windows writes those beyond 32 bits in hexadecimal.
            groups.push(("S-1-0x000100000000-7".into(), ON));
            Account {
                user: format!("{domain}-{rid}"),
                groups,
                integrity: 0x2000,
                privileges: [0x6_0288_0000, 0x80_0000, 0x4080_0000],
                luid: 0x2DB6C,
                names: ("alice", "DESKTOP-FORGE"),
            }
        }
    }
}

/// The bytes of a SID.
pub fn sid(text: &str) -> Vec<u8> {
    let number = |p: &str| p.strip_prefix("0x").map_or_else(|| p.parse(), |h| u64::from_str_radix(h, 16));
    let parts: Vec<u64> = text.split('-').skip(2).map(|p| number(p).expect("SID number")).collect();
    let mut out = vec![1, parts.len() as u8 - 1];
    out.extend(&parts[0].to_be_bytes()[2..]);
    for part in &parts[1..] {
        out.extend((*part as u32).to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn authority_is_big_endian() {
        assert_eq!(super::sid("S-1-5-18"), [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]);
        assert_eq!(super::sid("S-1-0x000100000000-7")[..8], [1, 1, 0, 1, 0, 0, 0, 0]);
    }
}
