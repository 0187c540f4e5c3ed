//! How a process stands: what sort of process it is, and how it is protected.

use super::process::{EProcess, Process};
use super::shared_data::Clock;
use crate::bytes::Place;
use crate::symbols::layout::{At, Layout};
use crate::value::{Absent, Value};
use std::fmt;

/// Of the three things that only a process with an image has, so many say that it has one.
const ENOUGH: usize = 2;

/// What sort of process it is, by the kernel's own flags, as far as what the process has does not contradict them.
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
        if self.is_system()? {
            return Ok(Sort::System);
        }
        let v = &self.view;
        // A flag that what the process has contradicts decides nothing.
        let image = self.image_witnesses();
        let set = |bit: Value<u64>| image < ENOUGH && bit.is_ok_and(|b| b != 0);
        if set(v.compression()) {
            return Ok(Sort::Compression);
        }
        if set(v.vm_host()) {
            return Ok(Sort::VirtualMachine);
        }
        if set(v.pico()) || set(v.pico_context().map(|c| c.0)) {
            return Ok(Sort::Pico);
        }
        if v.secure_handle().is_ok_and(|h| h != 0) {
            return Ok(Sort::Secure);
        }
        match v.minimal() {
            _ if image >= ENOUGH => Ok(Sort::User),
            // A child of System with nothing of an image, whatever its flag says.
            Ok(0) if image == 0 && self.is_bare_child_of_system() => Ok(Sort::Minimal),
            Ok(0) => Ok(Sort::User),
            Ok(_) => Ok(Sort::Minimal),
            // Kernels before 8.1 have no such processes, nor pico contexts.
            Err(Absent::NotInBuild) if v.pico_context() == Err(Absent::NotInBuild) => Ok(Sort::User),
            Err(_) if image == 0 && self.is_bare_child_of_system() => Ok(Sort::Minimal),
            Err(why) => Err(why),
        }
    }
    /// Whether it is the System process: the one that the kernel names so (`PsInitialSystemProcess`). Where that is not known, the
    /// one with id 4 and no image.
    ///
    /// # Errors
    /// Its id, or where it is, is not known.
    pub fn is_system(&self) -> Value<bool> {
        match (self.kernel.system, self.offset()) {
            (Some(system), Some(at)) => Ok(system == at),
            _ => Ok(self.pid()? == 4 && self.image_witnesses() < ENOUGH),
        }
    }
    /// How many of the three things that a process with an image has it has: a PEB, a section, the place of its image. Minimal and
    /// pico processes have none of them.
    #[must_use]
    pub fn image_witnesses(&self) -> usize {
        let v = &self.view;
        [v.peb_raw(), v.section(), v.image_base()].into_iter().filter(|va| va.is_ok_and(|va| !va.is_null())).count()
    }
    /// A flag by which it would be a process without an image, though it has one.
    #[must_use]
    pub fn refuted_flag(&self) -> Option<(&'static str, At<EProcess>)> {
        let v = &self.view;
        let set = |bit: Value<u64>| bit.is_ok_and(|b| b != 0);
        let flags = [
            ("_EPROCESS.Minimal", EProcess::minimal, set(v.minimal())),
            ("_EPROCESS.PicoCreated", EProcess::pico, set(v.pico())),
            ("_EPROCESS.PicoContext", EProcess::pico_context, v.pico_context().is_ok_and(|c| !c.is_null())),
            ("_EPROCESS.MemoryCompressionProcess", EProcess::compression, set(v.compression())),
        ];
        let refuted = self.image_witnesses() >= ENOUGH;
        flags.into_iter().find(|(_, _, set)| refuted && *set).map(|(field, at, _)| (field, at))
    }
    /// Made by System, alive, and with a null where an image would be named.
    fn is_bare_child_of_system(&self) -> bool {
        let v = &self.view;
        let null = |va: Value<crate::addr::Va>| va.is_ok_and(|va| va.is_null());
        let bare = null(v.peb_raw()) && null(v.section()) && null(v.image_base());
        bare && self.ppid() == Ok(4) && self.exit_time() == Err(Absent::NotApplicable)
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
    /// Where its protection is.
    #[must_use]
    pub fn protection_at(&self) -> Option<Place> {
        self.view.at(EProcess::protection_byte).or_else(|| self.view.at(EProcess::protected_flag))
    }
}

/// `PROCESS_PRIORITY_CLASS_…` of the phnt headers, in their order; the same order since XP.
const PRIORITY_CLASSES: [&str; 7] = ["unknown", "idle", "normal", "high", "realtime", "below-normal", "above-normal"];

/// `SE_SIGNING_LEVEL_…` of winnt.h, in their order.
const SIGNING_LEVELS: [&str; 16] = [
    "Unchecked",
    "Unsigned",
    "Enterprise",
    "Developer",
    "Authenticode",
    "Custom2",
    "Store",
    "Antimalware",
    "Microsoft",
    "Custom4",
    "Custom5",
    "DynamicCodeGeneration",
    "Windows",
    "WindowsProtectedProcessLight",
    "WindowsTcb",
    "Custom6",
];

/// A code-signing level by its low four bits; the upper ones say how it was come by.
#[must_use]
pub fn signing_level(level: u8) -> &'static str {
    SIGNING_LEVELS.get(usize::from(level & 0xf)).copied().unwrap_or("Unchecked")
}

/// Members of `_EPROCESS` flag words that are mitigations, in kernels that have no `MitigationFlags` yet (up to 1703).
/// The names are those of `_EPROCESS.MitigationFlagsValues` in later ones.
const OLD_MITIGATIONS: [&str; 23] = [
    "AuditFilteredWin32kAPIs",
    "AuditNonSystemFontLoading",
    "ControlFlowGuardEnabled",
    "ControlFlowGuardExportSuppressionEnabled",
    "ControlFlowGuardStrict",
    "DisableDynamicCode",
    "DisableDynamicCodeAllowOptOut",
    "DisableDynamicCodeAllowRemoteDowngrade",
    "DisableNonSystemFonts",
    "DisallowStrippedImages",
    "DisallowWin32kSystemCalls",
    "EnableFilteredWin32kAPIs",
    "ExtensionPointDisable",
    "ForceRelocateImages",
    "HighEntropyASLREnabled",
    "LoaderIntegrityContinuityEnabled",
    "PreferSystem32Images",
    "ProhibitLowILImageMap",
    "ProhibitRemoteImageMap",
    "RestrictIndirectBranchPrediction",
    "SignatureMitigationOptIn",
    "SpeculativeStoreBypassDisable",
    "StackRandomizationDisabled",
];

impl Process<'_> {
    /// The scheduling class its priorities come from.
    ///
    /// # Errors
    /// Why it is not there.
    pub fn priority_class(&self) -> Value<&'static str> {
        let class = self.view.priority_class()?;
        PRIORITY_CLASSES.get(usize::from(class)).copied().ok_or(Absent::Implausible)
    }
    /// The mitigations that are on (or audited), by the kernel's names for them.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn mitigations(&self) -> Value<Vec<String>> {
        match self.view.mitigation_flags() {
            Ok(first) => {
                let mut out = self.kernel.flag_names("_EPROCESS.MitigationFlagsValues", 0, first.into());
                let more = [
                    ("_EPROCESS.MitigationFlags2Values", self.view.mitigation_flags2()),
                    ("_EPROCESS.MitigationFlags3Values", self.view.mitigation_flags3()),
                ];
                for (ty, flags) in more {
                    match flags {
                        Ok(flags) => out.extend(self.kernel.flag_names(ty, 0, flags.into())),
                        Err(Absent::NotInBuild) => {}
                        Err(why) => return Err(why),
                    }
                }
                Ok(out)
            }
            Err(Absent::NotInBuild) => {
                Ok(self.all_flags()?.into_iter().filter(|n| OLD_MITIGATIONS.contains(&n.as_str())).collect())
            }
            Err(why) => Err(why),
        }
    }
    /// The names of every flag that is set in its flag words, mitigations among them in old kernels.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn all_flags(&self) -> Value<Vec<String>> {
        let v = &self.view;
        let mut out = Vec::new();
        let words = [("flags", v.flags()), ("flags2", v.flags2()), ("flags3", v.flags3()), ("flags4", v.flags4())];
        for (accessor, word) in words {
            match (v.layout.field(accessor), word) {
                (Ok(field), Ok(word)) => out.extend(self.kernel.flag_names(EProcess::TYPE, field.offset, word.into())),
                (_, Err(Absent::NotInBuild)) => {}
                (_, Err(why)) => return Err(why),
                // A word that is there has a place.
                (Err(why), Ok(_)) => return Err(why),
            }
        }
        Ok(out)
    }
    /// The data-execution options that are set (`_KEXECUTE_OPTIONS`).
    ///
    /// # Errors
    /// Why they are not there.
    pub fn execute_options(&self) -> Value<Vec<String>> {
        let options = self.view.execute_options()?;
        Ok(self.kernel.flag_names("_KEXECUTE_OPTIONS", 0, options.into()))
    }
    /// Time spent in the kernel and in user mode, in 100 ns. The kernel counts clock ticks; more of them than the processors
    /// had are refused.
    ///
    /// # Errors
    /// Why they are not there.
    pub fn processor_time(&self, clock: &Clock, processors: Value<u32>) -> Value<(u64, u64)> {
        let (kernel, user) = (self.kernel_ticks()?, self.user_ticks()?);
        let most = clock.ticks?.saturating_mul(processors?.into());
        if kernel.saturating_add(user) > most {
            return Err(Absent::Implausible);
        }
        Ok((clock.duration(kernel)?, clock.duration(user)?))
    }
    /// What a process without an image of its own is for, by what the kernel marks it as and by its name.
    #[must_use]
    pub fn purpose(&self) -> Option<&'static str> {
        let sort = self.sort().ok()?;
        let name = self.name().ok();
        let called = |n: &str| name.as_deref() == Some(n);
        Some(match sort {
            Sort::System => "the kernel and its drivers: threads without user mode",
            Sort::Compression => "holds compressed pages (memory compression)",
            Sort::VirtualMachine => "holds the memory of a virtual machine",
            Sort::Pico => "a process of another system, run by a pico provider (WSL 1)",
            Sort::Minimal if called("Registry") => "holds the registry's loaded hives",
            Sort::Minimal if called("MemCompression") => "holds compressed pages (memory compression)",
            Sort::Minimal if called("vmmem") => "holds the memory of a virtual machine",
            Sort::Minimal => "a minimal process: no image, made by the kernel",
            Sort::Secure if called("Secure System") => {
                "stands for the secure kernel; its memory is not in this world's pages"
            }
            Sort::Secure => "has a part in the secure kernel (a trustlet) whose memory is not in this world's pages",
            Sort::User => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::resolved::Resolved;

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
    fn every_old_mitigation_is_a_flag_of_some_kernel_and_a_mitigation_of_a_later_one() {
        let kernels = crate::kernel::testing::kernels();
        for name in OLD_MITIGATIONS {
            let flag = kernels.iter().any(|(_, s)| {
                s.types.member("_EPROCESS", name).is_some() && s.types.get("_EPROCESS.MitigationFlagsValues").is_none()
            });
            let later = kernels.iter().any(|(_, s)| {
                ["", "2", "3"]
                    .iter()
                    .any(|n| s.types.member(&format!("_EPROCESS.MitigationFlags{n}Values"), name).is_some())
            });
            assert!(kernels.is_empty() || (flag && later), "{name}: {flag} {later}");
        }
    }

    #[test]
    fn flags_are_named_by_the_kernel() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let at = symbols.types.member("_EPROCESS", "BreakOnTermination").unwrap();
            let bit = 1 << at.bits.unwrap().0;
            let names = Resolved::default().flag_names(&symbols.types, "_EPROCESS", at.offset, bit);
            assert_eq!(names, ["BreakOnTermination"], "{name}");
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
