//! Which fields a rule needs. A kernel that lacks one makes the rule silent, with a note: what cannot be read is no evidence, for
//! something or against it.
//!
//! Only fields whose absence would make a rule miss what it looks for, or take something for it, stand here; a field that is
//! one witness of several does not. Most are common to all that look at ranges, threads, handles, tokens or modules.

use super::{RULES, Rule};
use crate::symbols::types::Types;
use crate::value::Note;

/// Spellings of one field, `_TYPE.Path`: one of them must be there.
pub(in crate::analysis) type Need = &'static [&'static str];

/// Address ranges, and what they hold.
const RANGES: &[Need] = &[
    &["_EPROCESS.VadRoot"],
    &["_MMVAD_SHORT.VadNode.Left", "_MMVAD_SHORT.VadNode.LeftChild", "_MMVAD_SHORT.LeftChild"],
    &["_MMVAD_SHORT.VadNode.Right", "_MMVAD_SHORT.VadNode.RightChild", "_MMVAD_SHORT.RightChild"],
    &["_MMVAD_SHORT.StartingVpn"],
    &["_MMVAD_SHORT.EndingVpn"],
    &["_MMVAD_SHORT.u.VadFlags.PrivateMemory", "_MMVAD_SHORT.VadFlags.PrivateMemory"],
    &["_MMVAD_SHORT.u.VadFlags.Protection", "_MMVAD_SHORT.VadFlags.Protection"],
    &["_MMVAD_SHORT.u.VadFlags.VadType", "_MMVAD_SHORT.VadFlags.VadType", "_MMVAD_SHORT.u.VadFlags.ImageMap"],
];
/// The files behind ranges.
const FILES: &[Need] = &[
    &["_MMVAD.Subsection", "_MMVAD.ControlArea"],
    &["_CONTROL_AREA.FilePointer"],
    &["_FILE_OBJECT.Type"],
    &["_FILE_OBJECT.FileName"],
];
/// Threads.
const THREADS: &[Need] = &[
    &["_ETHREAD.ThreadListEntry"],
    &["_ETHREAD.Tcb.Process", "_ETHREAD.ThreadsProcess"],
    &["_ETHREAD.Tcb.State"],
    &["_ETHREAD.Terminated"],
    &["_ETHREAD.StartAddress"],
];
/// Whether a process has ended.
const LIFE: &[Need] = &[&["_EPROCESS.ExitTime"]];
/// Who made a process, and when.
const BIRTH: &[Need] = &[&["_EPROCESS.CreateTime"], &["_EPROCESS.InheritedFromUniqueProcessId"]];
/// The path as security auditing saw it.
const PATH: &[Need] = &[&["_EPROCESS.SeAuditProcessCreationInfo.ImageFileName"]];
/// The token, and whose it is.
const TOKEN: &[Need] = &[
    &["_EPROCESS.Token"],
    &["_TOKEN.TokenType"],
    &["_TOKEN.ImpersonationLevel"],
    &["_TOKEN.UserAndGroups"],
    &["_TOKEN.UserAndGroupCount"],
    &["_SID_AND_ATTRIBUTES.Sid"],
];
/// Handles, and what they name.
const HANDLES: &[Need] = &[
    &["_EPROCESS.ObjectTable"],
    &["_HANDLE_TABLE.TableCode"],
    &["_HANDLE_TABLE_ENTRY.ObjectPointerBits", "_HANDLE_TABLE_ENTRY.Object"],
    &["_HANDLE_TABLE_ENTRY.GrantedAccessBits", "_HANDLE_TABLE_ENTRY.GrantedAccess"],
    &["_OBJECT_HEADER.Body"],
    &["_OBJECT_HEADER.TypeIndex", "_OBJECT_HEADER.Type"],
    &["_OBJECT_TYPE.Name"],
];
/// The kernel's modules.
const MODULES: &[Need] = &[
    &["_KLDR_DATA_TABLE_ENTRY.InLoadOrderLinks", "_LDR_DATA_TABLE_ENTRY.InLoadOrderLinks"],
    &["_KLDR_DATA_TABLE_ENTRY.DllBase", "_LDR_DATA_TABLE_ENTRY.DllBase"],
    &["_KLDR_DATA_TABLE_ENTRY.SizeOfImage", "_LDR_DATA_TABLE_ENTRY.SizeOfImage"],
];
/// Driver objects.
const DRIVERS: &[Need] = &[&["_DRIVER_OBJECT.Type"], &["_DRIVER_OBJECT.DriverStart"], &["_DRIVER_OBJECT.DriverSize"]];
/// The loader's lists of a process.
const LOADER: &[Need] = &[
    &["_EPROCESS.Peb"],
    &["_PEB.Ldr"],
    &["_PEB_LDR_DATA.InLoadOrderModuleList"],
    &["_PEB_LDR_DATA.InMemoryOrderModuleList"],
    &["_PEB_LDR_DATA.InInitializationOrderModuleList"],
    &["_LDR_DATA_TABLE_ENTRY.InLoadOrderLinks"],
    &["_LDR_DATA_TABLE_ENTRY.InMemoryOrderLinks"],
    &["_LDR_DATA_TABLE_ENTRY.InInitializationOrderLinks"],
    &["_LDR_DATA_TABLE_ENTRY.DllBase"],
];
/// Whether the kernel says of a process that it has a 32-bit side: of 64-bit kernels only.
const OTHER_SIDE: &[Need] = &[&["_EPROCESS.WoW64Process", "_EPROCESS.Wow64Process", "32"]];
/// Where the image was mapped.
const IMAGE: &[Need] = &[&["_EPROCESS.SectionBaseAddress"], &["_EPROCESS.SectionObject"]];

/// What each rule needs. A rule that is not here reads one field, whose absence is its silence.
const NEEDS: &[(&str, &[&[Need]])] = &[
    ("callback-hook", &[MODULES]),
    ("deleted-image", &[IMAGE, FILES]),
    ("direct-syscall", &[LIFE, RANGES, FILES, THREADS]),
    ("dispatch-hook", &[MODULES, DRIVERS, &[&["_DRIVER_OBJECT.MajorFunction"]]]),
    ("driver-path", &[MODULES]),
    ("ended-process", &[LIFE]),
    ("foreign-handle", &[LIFE, HANDLES, TOKEN]),
    ("hidden-process", &[LIFE, THREADS, &[&["_EPROCESS.ProcessExiting"]], &[&["_EPROCESS.ProcessDelete"]]]),
    ("injected-code", &[LIFE, RANGES]),
    ("integrity-above-parent", &[BIRTH, TOKEN]),
    ("lsass-handle", &[LIFE, HANDLES, TOKEN, PATH]),
    ("masqueraded-path", &[PATH]),
    ("patched-image", &[LIFE, RANGES, FILES]),
    ("phantom-module", &[LIFE, RANGES, FILES, LOADER]),
    ("replaced-image", &[LIFE, RANGES, FILES, IMAGE]),
    ("service-hook", &[MODULES]),
    ("shared-token", &[BIRTH, TOKEN]),
    ("suspended-thread", &[LIFE, RANGES, THREADS]),
    ("system-from-user", &[BIRTH, TOKEN]),
    ("thread-outside", &[LIFE, RANGES, THREADS, MODULES]),
    ("unlisted-driver", &[MODULES, DRIVERS]),
    ("unlisted-module", &[LIFE, RANGES, FILES, LOADER, OTHER_SIDE, IMAGE]),
    ("unloaded-driver", &[MODULES, DRIVERS]),
    ("wrong-parent", &[BIRTH]),
];

/// Whether these symbols have one spelling of a field, in the first type named that they describe.
pub(in crate::analysis) fn is_met(types: &Types, need: Need) -> bool {
    let described = need.iter().filter_map(|name| name.split_once('.')).find(|(ty, _)| types.get(ty).is_some());
    need.iter().any(|name| match name.split_once('.') {
        Some((ty, path)) => described.is_some_and(|(first, _)| first == ty) && types.member(ty, path).is_some(),
        None => types.pointer_size == 4,
    })
}

/// The rules that this kernel's symbols let judge, and a note for each of the others.
pub(super) fn judging(types: &Types) -> (Vec<&'static Rule>, Vec<Note>) {
    let mut notes = Vec::new();
    let judging = RULES.iter().copied().filter(|rule| {
        let needs = NEEDS.iter().find(|(name, _)| *name == rule.name).map_or(&[][..], |(_, needs)| needs);
        let lacking = needs.iter().flat_map(|group| group.iter()).find(|need| !is_met(types, need));
        if let Some(field) = lacking.and_then(|need| need.first()) {
            notes.push(Note::loss(format!("rule {} was not judged: the symbols have no {field}", rule.name)));
        }
        lacking.is_none()
    });
    let judging = judging.collect();
    (judging, notes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_need_is_of_a_rule() {
        let names: Vec<&str> = NEEDS.iter().map(|(name, _)| *name).collect();
        assert!(names.is_sorted(), "{names:?}");
        for name in names {
            assert!(RULES.iter().any(|r| r.name == name), "{name}");
        }
    }
    #[test]
    fn every_known_kernel_has_what_rules_need() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let (rules, notes) = judging(&symbols.types);
            assert_eq!(notes, [], "{name}");
            assert_eq!(rules.len(), RULES.len(), "{name}");
        }
    }
    #[test]
    fn a_rule_that_lacks_a_field_is_silent_and_says_so() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let mut types = symbols.types;
            types.types.get_mut("_EPROCESS").unwrap().members.remove("ObjectTable");
            let (rules, notes) = judging(&types);
            assert!(!rules.iter().any(|r| r.name == "lsass-handle"), "{name}");
            assert!(notes.iter().any(|n| n.loss && n.text.contains("lsass-handle") && n.text.contains("ObjectTable")));
        }
    }
}
