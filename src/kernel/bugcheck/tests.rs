use super::*;

const WINDOWS_10: Machine = Machine { arch: Some(Arch::X64), build: Some(19041) };

fn explained(code: u32, values: [u64; 4], machine: Machine) -> Bugcheck {
    explain(code, values, machine).unwrap_or_else(|| panic!("{code:#x} is not in the table"))
}
fn says(code: u32, values: [u64; 4], machine: Machine, parameter: usize) -> Option<String> {
    explained(code, values, machine).parameters[parameter - 1].says.clone()
}
fn meaning(code: u32, values: [u64; 4], parameter: usize) -> Option<&'static str> {
    explained(code, values, WINDOWS_10).parameters[parameter - 1].meaning
}

#[test]
fn every_line_of_the_table_is_read() {
    let codes: Vec<u32> = table::blocks().map(|(code, _)| code).collect();
    assert!(codes.is_sorted() && codes.windows(2).all(|w| w[0] != w[1]));
    assert_eq!(codes.len(), include_str!("codes.txt").matches("\ncode ").count());
    assert!(codes.len() >= 500);
    for (code, block) in table::blocks() {
        let plain = block.name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        assert!(plain && !block.name.is_empty(), "{code:#x}");
        let mut known = [false; 4];
        for line in block.lines() {
            match line.unwrap_or_else(|text| panic!("{code:#x}: {text}")) {
                table::Line::Meaning(i, ..) => known[i] = true,
                table::Line::Says(i, _, _, text) => assert!(known[i] && !text.is_empty(), "{code:#x}: {text}"),
                table::Line::About(text) => assert!(!text.ends_with('.'), "{code:#x}: {text}"),
                _ => {}
            }
        }
    }
}

/// The codes that Microsoft's reference has a page of and that were missing or exchanged once.
#[test]
fn names() {
    for (code, want) in [
        (0x1a, "MEMORY_MANAGEMENT"),
        (0x170, "CLUSTER_CSV_CLUSSVC_DISCONNECT_WATCHDOG"),
        (0x171, "CRYPTO_LIBRARY_INTERNAL_ERROR"),
        (0x1a1, "WIN32K_CALLOUT_WATCHDOG_LIVEDUMP"),
        (0x1a2, "WIN32K_CALLOUT_WATCHDOG_BUGCHECK"),
        (0x1a9, "DIRECTED_FX_TRANSITION_LIVEDUMP"),
        (0x1aa, "EXCEPTION_ON_INVALID_STACK"),
        (0x1ab, "UNWIND_ON_INVALID_STACK"),
        (0x1b8, "VIDEO_MINIPORT_BLACK_SCREEN_LIVEDUMP"),
        (0x1da, "HAL_BLOCKED_PROCESSOR_INTERNAL_ERROR"),
        (0x1dd, "BUGCODE_MBBADAPTER_DRIVER"),
        (0x1de, "BUGCODE_WIFIADAPTER_DRIVER"),
        (0x1df, "PROCESSOR_START_TIMEOUT"),
        (0x1e1, "DEVICE_DIAGNOSTIC_LOG_LIVEDUMP"),
        (0x1e4, "VIDEO_DXGKRNL_SYSMM_FATAL_ERROR"),
        (0x1e9, "ILLEGAL_ATS_INITIALIZATION"),
        (0x1ea, "SECURE_PCI_CONFIG_SPACE_ACCESS_VIOLATION"),
        (0x1eb, "DAM_WATCHDOG_TIMEOUT"),
        (0x1ed, "HANDLE_ERROR_ON_CRITICAL_THREAD"),
        (0x1f1, "KASAN_ENLIGHTENMENT_VIOLATION"),
        (0x1f2, "KASAN_ILLEGAL_ACCESS"),
        (0x1f5, "APPLICATION_HANG_KERNEL_LIVEDUMP"),
        (0x21c8, "MANUALLY_INITIATED_BLACKSCREEN_HOTKEY_LIVE_DUMP"),
        (0xc000_021a, "STATUS_SYSTEM_PROCESS_TERMINATED"),
    ] {
        assert_eq!(name(code), Some(want), "{code:#x}");
    }
    assert_eq!(name(0x1234_5678), None);
    assert_eq!(name(0), None);
}

#[test]
fn a_code_of_a_small_dump_is_the_same_code() {
    assert_eq!(name(0x1000_007e), Some("SYSTEM_THREAD_EXCEPTION_NOT_HANDLED_M"));
    assert_eq!(name(0x1000_00d1), Some("DRIVER_IRQL_NOT_LESS_OR_EQUAL"));
    let marked = explained(0x1000_007e, [0xffff_ffff_c000_0005, 1, 2, 3], WINDOWS_10);
    assert_eq!(marked.parameters, explained(0x7e, [0xffff_ffff_c000_0005, 1, 2, 3], WINDOWS_10).parameters);
    assert_eq!(marked.parameters[0].says.as_deref(), Some("STATUS_ACCESS_VIOLATION"));
    assert_eq!(marked.parameters[1].kind, Kind::Code);
}

#[test]
fn codes_of_live_dumps_are_told_from_crashes() {
    let life = |code| explained(code, [0; 4], WINDOWS_10).life;
    for code in [0x117, 0x141, 0x156, 0x15e, 0x161, 0x175, 0x187, 0x193, 0x1a1, 0x1c4, 0x1e5, 0x1f5, 0x11c8, 0x21c8] {
        assert_eq!(life(code), Life::Live, "{code:#x}");
    }
    for code in [0x124, 0x144, 0x164] {
        assert_eq!(life(code), Life::Either, "{code:#x}");
    }
    for code in [0x1a, 0x50, 0x116, 0x1a2, 0x1c8, 0xe2] {
        assert_eq!(life(code), Life::Crash, "{code:#x}");
    }
    for (code, block) in table::blocks() {
        let named = block.name.contains("LIVEDUMP") || block.name.contains("LIVE_DUMP");
        assert!(!named || life(code) == Life::Live, "{code:#x} {}", block.name);
    }
}

/// Windows 10 hands over the processor's page-fault error code; older Windows and ARM do not.
#[test]
fn access_of_0x50_by_build_and_processor() {
    let says = |value, arch, build| says(0x50, [0, value, 0, 0], Machine { arch: Some(arch), build: Some(build) }, 2);
    for arch in [Arch::X64, Arch::X86] {
        for (value, want) in [
            (0, "read"),
            (1, "read"),
            (2, "write"),
            (3, "write"),
            (0x10, "execute"),
            (0x11, "execute"),
            (0x12, "execute"),
        ] {
            assert_eq!(says(value, arch, 10240).as_deref(), Some(want), "{arch:?} {value:#x}");
        }
        for (value, want) in [(0, Some("read")), (1, Some("write")), (8, Some("execute")), (2, None), (0x10, None)] {
            assert_eq!(says(value, arch, 9600).as_deref(), want, "{arch:?} {value:#x}");
        }
    }
    for (value, want) in [(0, "read"), (1, "write"), (8, "execute")] {
        assert_eq!(says(value, Arch::Arm64, 22000).as_deref(), Some(want), "{value:#x}");
    }
    let unknown = Machine { arch: Some(Arch::X64), build: None };
    assert_eq!(super::tests::says(0x50, [0, 2, 0, 0], unknown, 2), None, "an unknown build is not guessed");
}

#[test]
fn the_two_forms_of_0x133() {
    assert_eq!(meaning(0x133, [0, 0x501, 0x500, 1], 2), Some("ticks used"));
    assert_eq!(meaning(0x133, [0, 0x501, 0x500, 1], 3), Some("ticks allowed"));
    assert!(meaning(0x133, [0, 0x501, 0x500, 1], 4).unwrap().starts_with("triage block"));
    assert!(meaning(0x133, [1, 0x1e00, 9, 0], 2).unwrap().contains("period"));
    assert!(meaning(0x133, [1, 0x1e00, 9, 0], 3).unwrap().starts_with("triage block"));
    assert_eq!(meaning(0x133, [1, 0x1e00, 9, 0], 4), None);
    assert_eq!(meaning(0x133, [7, 1, 2, 3], 2), None, "a form nobody described");
}

#[test]
fn parameters_that_depend_on_the_first() {
    let page_table = explained(0x1a, [0x41792, 1, 2, 3], WINDOWS_10);
    assert_eq!(page_table.parameters[0].says.as_deref(), Some("a corrupt page-table entry was found"));
    assert_eq!(page_table.parameters[1].meaning, Some("address of the page-table entry"));
    assert_eq!(meaning(0x1a, [0x41790, 1, 2, 3], 2).map(|m| m.contains("page-table page")), Some(true));
    assert_eq!(meaning(0x1a, [0x777, 1, 2, 3], 2), None);
    assert_eq!(meaning(0x9f, [3, 0, 0, 0], 4), Some("the request (IRP) that is held"));
    assert_eq!(meaning(0x9f, [4, 0, 0, 0], 2), Some("seconds waited"));
    let tag = u64::from(u32::from_le_bytes(*b"Frge"));
    assert_eq!(says(0xc2, [0xa, 0, tag, 0], WINDOWS_10, 3).as_deref(), Some("'Frge'"));
    assert_eq!(says(0xd1, [0, 2, 1, 0], WINDOWS_10, 2).as_deref(), Some("DISPATCH_LEVEL"));
    assert_eq!(says(0xd1, [0, 2, 1, 0], WINDOWS_10, 3).as_deref(), Some("write"));
    assert!(says(0x139, [3, 0, 0, 0], WINDOWS_10, 1).unwrap().starts_with("FAST_FAIL_CORRUPT_LIST_ENTRY"));
    assert_eq!(says(0x139, [3, 3, 0, 0], WINDOWS_10, 2), None);
    assert!(says(0xc4, [0x2_0005, 0, 0, 0], WINDOWS_10, 1).unwrap().contains("DDI compliance"));
    assert!(says(0x144, [0x1005, 0, 0, 0], WINDOWS_10, 1).unwrap().contains("xHCI"));
}
