use super::super::user::List;
use crate::addr::Va;
use crate::dump::testing::*;
use crate::dump::{Arch, Dump, Kind};
use crate::value::Absent;

/// A minidump made by hand: streams are added one by one, the directory comes last.
pub struct Made {
    pub bytes: Vec<u8>,
    directory: Vec<[u32; 3]>,
}
impl Made {
    /// With the system information of an x64 Windows 10.
    pub fn new() -> Self {
        let mut made = Self { bytes: vec![0; 32], directory: Vec::new() };
        put(&mut made.bytes, 0, b"MDMP");
        put32(&mut made.bytes, 4, 0xa793);
        put32(&mut made.bytes, 20, 1_600_000_000);
        let mut system = vec![0; 56];
        put(&mut system, 0, &9u16.to_le_bytes());
        put(&mut system, 6, &[4, 1]);
        put32(&mut system, 8, 10);
        put32(&mut system, 16, 19045);
        put32(&mut system, 20, 2);
        made.stream(7, &system);
        made
    }
    pub fn stream(&mut self, kind: u32, bytes: &[u8]) -> usize {
        let at = self.bytes.len();
        self.directory.push([kind, bytes.len() as u32, at as u32]);
        self.bytes.extend(bytes);
        at
    }
    pub fn text(&mut self, text: &str) -> u32 {
        let at = self.bytes.len() as u32;
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        self.bytes.extend((units.len() as u32).to_le_bytes());
        self.bytes.extend(units);
        at
    }
    pub fn done(mut self) -> Vec<u8> {
        let at = self.bytes.len() as u32;
        put32(&mut self.bytes, 8, self.directory.len() as u32);
        put32(&mut self.bytes, 12, at);
        for word in self.directory.iter().flatten() {
            self.bytes.extend(word.to_le_bytes());
        }
        self.bytes
    }
}
fn words(list: &[u64], size: usize) -> Vec<u8> {
    list.iter().flat_map(|w| w.to_le_bytes()[..size].to_vec()).collect()
}

/// One of everything.
pub fn everything() -> Vec<u8> {
    let mut m = Made::new();
    let (exe, gone) = (m.text("C:\\a\\evil.exe"), m.text("gone.dll"));
    let (file, name, thread) = (m.text("File"), m.text("\\Device\\HarddiskVolume1\\x"), m.text("worker"));
    let rsds = m.bytes.len() as u32;
    m.bytes.extend(b"RSDS");
    m.bytes.extend((0u8..16).chain([7, 0, 0, 0]));
    m.bytes.extend(b"evil.pdb\0");
    let mut module = words(&[0x1_4000_0000], 8);
    module.extend(words(
        &[0x5000, 0xc5, 0x5f, exe.into(), 0xfeef_04bd, 0x1_0000, 0x1_0002, 0x3_0004, 0x5_0006, 0x7_0008],
        4,
    ));
    module.resize(76, 0);
    module.extend(words(&[33, rsds.into()], 4));
    module.resize(108, 0);
    m.stream(4, &[words(&[1], 4), module].concat());
    let unloaded = [words(&[12, 24, 1], 4), words(&[0x7000_0000], 8), words(&[0x3000, 1, 2, gone.into()], 4)].concat();
    m.stream(14, &unloaded);
    let context = m.bytes.len();
    m.bytes.resize(context + 0x4d0, 0);
    put32(&mut m.bytes, context + 0x30, 0x10_001f);
    put64(&mut m.bytes, context + 0x98, 0x20_1000);
    put64(&mut m.bytes, context + 0xf8, 0x1_4000_1234);
    let stack = m.bytes.len();
    m.bytes.extend([0x55; 64]);
    let one = [
        words(&[4242, 1, 2, 3], 4),
        words(&[0x7ff0_0000, 0x20_1000], 8),
        words(&[64, stack as u64, 0x4d0, context as u64], 4),
    ]
    .concat();
    let mut two = one.clone();
    put32(&mut two, 0, 4243);
    put(&mut two, 32, &[0; 16]);
    m.stream(3, &[words(&[2], 4), one, two].concat());
    m.stream(24, &[words(&[1], 4), words(&[4242], 4), words(&[thread.into()], 8)].concat());
    let info = [words(&[4242, 0, 0, 259], 4), words(&[132_583_451_020_698_125, 0, 5, 6, 0x1_4000_1000, 3], 8)].concat();
    let bad = [words(&[4243, 8, 0, 259], 4), words(&[1, 2, 3, 4, 5, 6], 8)].concat();
    m.stream(17, &[words(&[12, 64, 2], 4), info, bad].concat());
    let region =
        [words(&[0x1_4000_0000, 0x1_4000_0000, 0x80, 0x1000], 8), words(&[0x1000, 0x20, 0x100_0000, 0], 4)].concat();
    m.stream(16, &[words(&[16, 48], 4), words(&[1], 8), region].concat());
    let handle = [words(&[0x44], 8), words(&[file.into(), name.into(), 2, 0x12_019f, 3, 4], 4)].concat();
    let anonymous = [words(&[0x48], 8), words(&[file.into(), 0, 0, 1, 1, 1], 4)].concat();
    m.stream(12, &[words(&[16, 32, 2, 0], 4), handle, anonymous].concat());
    let exception = [
        words(&[4242, 0, 0xc000_0005, 0], 4),
        words(&[0, 0x1_4000_1234], 8),
        words(&[2, 0], 4),
        words(&[1, 0xdead], 8),
        vec![0; 13 * 8],
        words(&[0x4d0, context as u64], 4),
    ]
    .concat();
    m.stream(6, &exception);
    m.stream(15, &words(&[24, 3, 777, 1_500_000_000, 5, 6], 4));
    // The memory list comes last, its bytes after everything, as Windows writes full dumps.
    let list_at = m.bytes.len();
    let list = m.stream(9, &words(&[2, 0, 0x10_0000, 0x1000, 0x40_0000, 0x800], 8));
    assert_eq!(list_at, list);
    let mut file = m.done();
    let base = file.len() as u64;
    put64(&mut file, list + 8, base);
    file.extend((0..0x1000u32).map(|i| i as u8));
    file.extend([0xbb; 0x800]);
    file
}

#[test]
fn one_of_everything() {
    let file = everything();
    let dump = open(&file).unwrap();
    assert_eq!((dump.kind, dump.arch, dump.page_count()), (Kind::UserMinidump, Some(Arch::X64), 0));
    assert!(dump.notes.is_empty(), "{:?}", dump.notes);
    let u = dump.minidump().unwrap();
    assert_eq!(u.system().unwrap().version, [10, 0, 19045]);
    let info = u.info();
    assert_eq!((info.pid, info.user_seconds, info.kernel_seconds), (Ok(777), Ok(5), Ok(6)));
    assert_eq!(info.create_time.unwrap().to_string(), "2017-07-14T02:40:00.0000000Z");
    assert_eq!(info.integrity_level, Err(Absent::NotRecorded));
    let m = u.program().unwrap();
    assert_eq!(
        (m.name.as_deref(), m.base, m.size, m.checksum, m.time_stamp),
        (Ok("C:\\a\\evil.exe"), Va(0x1_4000_0000), 0x5000, 0xc5, 0x5f)
    );
    assert_eq!((m.file_version, m.product_version), (Some([1, 2, 3, 4]), Some([5, 6, 7, 8])));
    let pdb = m.pdb.as_ref().unwrap();
    assert_eq!(
        (pdb.name.as_str(), pdb.guid.as_str(), pdb.age),
        ("evil.pdb", "03020100050407060809 0A0B0C0D0E0F".replace(' ', "").as_str(), 7)
    );
    assert_eq!(file[m.file as usize..m.file as usize + 8], 0x1_4000_0000u64.to_le_bytes());
    assert_eq!((u.unloaded()[0].name.as_deref(), u.unloaded()[0].base), (Ok("gone.dll"), Va(0x7000_0000)));
    let [one, two] = u.threads() else { panic!() };
    assert_eq!(
        (one.id, one.teb, one.name.as_deref(), one.start_address),
        (4242, Va(0x7ff0_0000), Ok("worker"), Ok(Va(0x1_4000_1000)))
    );
    assert_eq!((one.kernel_time, one.user_time, one.affinity), (Ok(5), Ok(6), Ok(3)));
    assert_eq!(one.create_time.unwrap().0, 132_583_451_020_698_125);
    assert_eq!((one.exit_time, one.exit_status), (Err(Absent::NotApplicable), Err(Absent::NotApplicable)));
    let r = u.registers(one.context.unwrap()).unwrap();
    assert_eq!((r.ip, r.sp, r.all.len()), (Va(0x1_4000_1234), Va(0x20_1000), 17));
    assert_eq!(u.bytes(r.sp, 8).unwrap().0, [0x55; 8]);
    assert_eq!(
        (two.id, two.name.clone(), two.create_time),
        (4243, Err(Absent::NotApplicable), Err(Absent::NotRecorded))
    );
    let region = u.regions()[0];
    assert_eq!(
        (region.base, region.size, region.state, region.protection, region.kind),
        (Va(0x1_4000_0000), 0x1000, 0x1000, 0x20, 0x100_0000)
    );
    let [named, anonymous] = u.handles() else { panic!() };
    assert_eq!(
        (named.value, named.type_name.as_deref(), named.object_name.as_deref()),
        (0x44, Ok("File"), Ok("\\Device\\HarddiskVolume1\\x"))
    );
    assert_eq!((named.granted_access, named.handle_count, named.pointer_count, named.attributes), (0x12_019f, 3, 4, 2));
    assert_eq!(anonymous.object_name, Err(Absent::NotApplicable));
    let e = u.exception().unwrap();
    assert_eq!(
        (e.thread_id, e.code, e.address, e.parameters.as_slice()),
        (4242, 0xc000_0005, Va(0x1_4000_1234), &[1, 0xdead][..])
    );
    let (bytes, at) = u.bytes(Va(0x10_0ffe), 100).unwrap();
    assert_eq!((bytes, file[at as usize]), (&[0xfe, 0xff][..], 0xfe));
    assert_eq!(dump.virtual_bytes(Va(0x40_07ff), 9).unwrap().0, [0xbb]);
    assert_eq!((u.bytes(Va(0x40_0800), 1), u.next_kept(Va(0x10_1000))), (Err(Absent::NotInDump), Some(Va(0x20_1000))));
    assert_eq!(dump.bytes(crate::addr::Pa(0), 1), Err(Absent::NotInDump));
}
#[test]
fn a_truncated_one_keeps_what_is_there() {
    let file = everything();
    let dump = open(&file[..file.len() - 0x900]).unwrap();
    let u = dump.minidump().unwrap();
    assert_eq!(u.bytes(Va(0x10_0eff), 9).unwrap().0, [0xff]);
    assert!(u.bytes(Va(0x40_0000), 1).is_err());
    assert_eq!((u.modules().len(), u.handles().len()), (1, 2));
    assert!(dump.notes.iter().any(|n| n.loss && n.text.starts_with("2304 of ")), "{:?}", dump.notes);
}
#[test]
fn no_list_is_not_an_empty_list() {
    let mut m = Made::new();
    m.stream(4, &[0; 4]);
    let file = m.done();
    let dump = open(&file).unwrap();
    let u = dump.minidump().unwrap();
    assert_eq!((u.has(List::Modules), u.has(List::Handles)), (Ok(()), Err(Absent::NotRecorded)));
    assert!(u.modules().is_empty() && u.program().is_none());
}
#[test]
fn hostile_lists_end() {
    // Entries of no size, four thousand million of them.
    let mut m = Made::new();
    m.stream(12, &words(&[16, 0, 0xffff_ffff, 0], 4));
    m.stream(14, &words(&[0, 24, 0xffff_ffff, 0], 4));
    m.stream(4, &words(&[0xffff_ffff, 0], 4));
    let file = m.done();
    let dump = open(&file).unwrap();
    assert_eq!(dump.minidump().unwrap().has(List::Handles), Err(Absent::Implausible));
    assert_eq!(dump.notes.iter().filter(|n| n.loss).count(), 3, "{:?}", dump.notes);
    // Many records that share one long name: reading stops.
    let mut m = Made::new();
    let name = m.text(&"x".repeat(0x7fff));
    let handle = [words(&[4], 8), words(&[name.into(), name.into(), 0, 0, 0, 0], 4)].concat();
    m.stream(12, &[words(&[16, 32, 20_000, 0], 4), handle.repeat(20_000)].concat());
    let file = m.done();
    let dump = open(&file).unwrap();
    let handles = dump.minidump().unwrap().handles();
    assert_eq!((handles.len(), &handles[19_999].type_name), (20_000, &Err(Absent::Implausible)));
    assert!(dump.notes.iter().any(|n| n.text.contains("overlap beyond reason")));
    // Handles whose object information is a chain that bites its tail.
    let mut m = Made::new();
    let info = m.bytes.len() as u32;
    m.bytes.extend(words(&[info.into(), 1, 0], 4));
    let handle = [words(&[4], 8), words(&[0, 0, 0, 0, 0, 0, info.into(), 0], 4)].concat();
    m.stream(12, &[words(&[16, 40, 1, 0], 4), handle].concat());
    assert_eq!(open(&m.done()).unwrap().minidump().unwrap().handles()[0].value, 4);
}
#[test]
fn other_systems_and_damage_are_refused() {
    let mut file = Made::new().done();
    put32(&mut file, 32 + 20, 0x8201);
    assert!(open(&file).unwrap_err().contains("another system"));
    let mut file = Made::new().done();
    put32(&mut file, 8, u32::MAX);
    assert!(open(&file).unwrap_err().contains("4294967295 streams"));
    assert!(open(b"MDMP\x93\xa7\0\0").unwrap_err().contains("cut off after 8 bytes"));
}
#[test]
fn the_real_ones() {
    // Counts, names and registers as a separate reader of the same files gives them.
    for (name, arch, build, pid, modules, program, threads, ip, exception) in [
        (
            "ascii_read_av",
            Arch::X86,
            7600,
            5376,
            26,
            "D:\\crashme\\Debug\\crashme.exe",
            2,
            0x772c_f861u64,
            Some(0x00d6_a6cd_u64),
        ),
        ("minidump2", Arch::X86, 2600, 3932, 13, "c:\\test_app.exe", 2, 0x7c90_eb94, Some(0x40_429e)),
        (
            "thread_name_list",
            Arch::X86,
            17763,
            6040,
            17,
            "C:\\qiewer\\git\\heob\\heob.git\\allocer32.exe",
            6,
            0x7781_06ac,
            Some(0x40_15fd),
        ),
        (
            "tiny-exe-with-cet-xsave",
            Arch::X64,
            22000,
            15444,
            25,
            "C:\\src\\crashpad\\tiny.exe",
            1,
            0x7ff9_111e_39e4,
            None,
        ),
        (
            "x64-14393-electron",
            Arch::X64,
            14393,
            10148,
            58,
            "C:\\Users\\kevin\\Downloads\\electron-v1.4.3-win32-x64\\electron.exe",
            14,
            0x7fff_672a_59a4,
            Some(0x7ff7_215f_8da4),
        ),
        (
            "x86-14393",
            Arch::X86,
            14393,
            1928,
            17,
            "C:\\projects\\breakpad-tools\\windows\\Release\\crash.exe",
            4,
            0x771d_e59c,
            Some(0x2a_2a3d),
        ),
    ] {
        let Some(path) = shared(&format!("real/user-minidump/{name}.dmp")) else { continue };
        let dump = Dump::open(&path).unwrap();
        assert!(dump.notes.is_empty(), "{name}: {:?}", dump.notes);
        let u = dump.minidump().unwrap();
        assert_eq!((dump.arch, u.system().unwrap().version[2], u.info().pid), (Some(arch), build, Ok(pid)));
        assert_eq!((u.modules().len(), u.program().unwrap().name.as_deref()), (modules, Ok(program)));
        assert!(u.modules().iter().all(|m| m.name.is_ok() && m.size > 0));
        assert_eq!(u.threads().len(), threads);
        assert_eq!(u.registers(u.threads()[0].context.unwrap()).unwrap().ip, Va(ip));
        assert_eq!(u.exception().map(|e| e.address), exception.map(Va));
        for t in u.threads() {
            let (start, size) = t.stack.unwrap();
            let sp = u.registers(t.context.unwrap()).unwrap().sp;
            assert!(sp >= start && sp.0 < start.0 + u64::from(size), "{name} thread {}", t.id);
            assert!(u.bytes(sp, 8).is_ok());
        }
        match name {
            "thread_name_list" => {
                let named: Vec<_> = u.threads().iter().filter_map(|t| Some((t.id, t.name.clone().ok()?))).collect();
                let want = [(6564, "main thread"), (8820, "sleep thread"), (10976, "overflow thread")];
                assert_eq!(named, want.map(|(id, n)| (id, n.to_string())));
            }
            "tiny-exe-with-cet-xsave" => {
                assert_eq!((u.regions().len(), u.handles().len(), u.unloaded().len()), (557, 147, 1));
                assert_eq!(u.unloaded()[0].name.as_deref(), Ok("shcore.dll"));
                assert!(u.regions().is_sorted_by_key(|r| r.base));
            }
            _ => {}
        }
    }
}
