//! How a process stands: what sort of process it is, and how it is protected.

use super::process::Process;
use crate::symbols::types::Types;
use crate::value::{Absent, Value};
use std::fmt;

/// What sort of process it is, by the kernel's own flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The System process.
    System,
    /// An ordinary process with an image and a user-mode part.
    User,
    /// `Minimal`: no image of its own (`Registry`, `MemCompression`, …).
    Minimal,
    /// The minimal process that holds compressed pages (24H2 marks it).
    Compression,
    /// Made by a pico provider: a Linux process of WSL 1.
    Pico,
    /// Hosts a virtual machine's memory (`vmmem`).
    VirtualMachine,
    /// Has a counterpart in the secure kernel (a trustlet, or `Secure System`).
    Secure,
}

impl Sort {
    /// In a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Minimal => "minimal",
            Self::Compression => "memory-compression",
            Self::Pico => "pico",
            Self::VirtualMachine => "virtual-machine",
            Self::Secure => "secure",
        }
    }
}

/// The kind of protection: `_PS_PROTECTION.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// The byte itself.
    pub level: u8,
    /// Its type, `PP` or `PPL` where it is one of these.
    pub kind: &'static str,
    /// Its signer, as `_PS_PROTECTED_SIGNER` names it.
    pub signer: &'static str,
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind, self.signer)
    }
}

/// `_PS_PROTECTED_TYPE` of all kernels that have it (8.1 to 11): `None`, `ProtectedLight`, `Protected`.
const TYPES: [&str; 3] = ["none", "PPL", "PP"];
/// `_PS_PROTECTED_SIGNER` from 1607 on (layout tables, all kernels with enums): the list only ever grew at its end, save that
/// 8.1 and 1507 have `WinSystem` and `App` not yet.
const SIGNERS: [&str; 9] =
    ["None", "Authenticode", "CodeGen", "Antimalware", "Lsa", "Windows", "WinTcb", "WinSystem", "App"];

impl Protection {
    /// By the byte: type in bits 0 to 2, audit in bit 3, signer in bits 4 to 7 (`_PS_PROTECTION`).
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for an unprotected process, [`Absent::Implausible`] for a value no kernel has.
    pub fn of(level: u8) -> Value<Self> {
        if level == 0 {
            return Err(Absent::NotApplicable);
        }
        let kind = TYPES.get(usize::from(level & 7)).ok_or(Absent::Implausible)?;
        let signer = SIGNERS.get(usize::from(level >> 4)).ok_or(Absent::Implausible)?;
        Ok(Self { level, kind, signer })
    }
}

impl Process<'_> {
    /// What sort of process it is.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn sort(&self) -> Value<Sort> {
        if self.pid()? == 4 {
            return Ok(Sort::System);
        }
        let v = &self.view;
        let set = |bit: Value<u64>| bit.is_ok_and(|b| b != 0);
        if set(v.compression()) {
            return Ok(Sort::Compression);
        }
        if set(v.vm_host()) {
            return Ok(Sort::VirtualMachine);
        }
        if set(v.pico()) || v.pico_context().is_ok_and(|c| !c.is_null()) {
            return Ok(Sort::Pico);
        }
        if v.secure_handle().is_ok_and(|h| h != 0) {
            return Ok(Sort::Secure);
        }
        match v.minimal() {
            Ok(0) | Err(Absent::NotInBuild) => Ok(Sort::User),
            Ok(_) => Ok(Sort::Minimal),
            Err(why) => Err(why),
        }
    }
    /// How it is protected: the byte of 8.1 and later, the flag of Vista to 7.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for an unprotected process.
    pub fn protection(&self) -> Value<Protection> {
        match self.view.protection_byte() {
            Ok(level) => Protection::of(level),
            Err(Absent::NotInBuild) => match self.view.protected_flag()? {
                0 => Err(Absent::NotApplicable),
                _ => Ok(Protection { level: 2, kind: "PP", signer: "None" }),
            },
            Err(why) => Err(why),
        }
    }
}

/// The names of the one-bit members of `ty` (at `offset`) whose bit is set in `value`, lowest bit first.
#[must_use]
pub fn flag_names(types: &Types, ty: &str, offset: u32, value: u64) -> Vec<String> {
    let Some(ty) = types.get(ty) else { return Vec::new() };
    let mut named: Vec<(u8, &str)> = ty
        .members
        .iter()
        .filter_map(|(name, m)| {
            let (pos, len) = m.bits?;
            (m.offset == offset && len == 1 && value.checked_shr(pos.into())? & 1 == 1).then_some((pos, name.as_ref()))
        })
        .collect();
    named.sort_unstable();
    named.into_iter().map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_every_known_kernel() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            for (index, signer) in SIGNERS.iter().enumerate() {
                let known = symbols.types.enum_name("_PS_PROTECTED_SIGNER", index as i64);
                if let Some(known) = known.and_then(|k| k.strip_prefix("PsProtectedSigner")).filter(|k| *k != "Max") {
                    assert_eq!(known, *signer, "{name}");
                }
            }
            let kind = |n| symbols.types.enum_name("_PS_PROTECTED_TYPE", n);
            assert!(kind(1).is_none_or(|k| k == "PsProtectedTypeProtectedLight"), "{name}");
            assert!(kind(2).is_none_or(|k| k == "PsProtectedTypeProtected"), "{name}");
        }
    }

    #[test]
    fn protection_levels() {
        // The levels documented for System (0x72), csrss.exe (0x61) and an LSA plug-in host (0x41).
        assert_eq!(Protection::of(0x72).unwrap().to_string(), "PP-WinSystem");
        assert_eq!(Protection::of(0x61).unwrap().to_string(), "PPL-WinTcb");
        assert_eq!(Protection::of(0x41).unwrap().to_string(), "PPL-Lsa");
        assert_eq!(Protection::of(0), Err(Absent::NotApplicable));
        assert_eq!(Protection::of(0x77), Err(Absent::Implausible));
    }
}
