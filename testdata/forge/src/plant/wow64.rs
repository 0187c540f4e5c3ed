//! The 32-bit side of a 32-bit process on a 64-bit kernel: PEB, loader lists, parameters, TEBs and stacks, on the layouts of
//! the 32-bit Windows of the same age.

use std::sync::Arc;

use super::files::Mapped;
use super::peb::PEB;
use super::user::User;
use crate::layout::Layouts;
use crate::machine::{Machine, Obj};
use crate::memory::{PAGE, PoolKind};
use crate::scenario::{Process, Scenario};
use crate::truth::Json;

/// The table of the 32-bit Windows whose user mode fits.
pub fn table(s: &Scenario) -> Arc<Layouts> {
    let name = match (s.nt, s.build) {
        ((6, 0 | 1), _) => "x86-6.1.7601.17514",
        ((6, _), _) => "x86-6.3.9600.17415",
        (_, ..18362) => "x86-10.0.10240.16384",
        _ => "x86-10.0.19041.1288",
    };
    Arc::new(Layouts::load(name))
}

/// Offset of the 32-bit PEB in the process's area.
pub const PEB32: u64 = PEB - 0x1000;

/// Plants PEB and lists; sets how the kernel reaches them: through `_EWOW64PROCESS` where that exists, directly before.
pub fn plant(
    m: &mut Machine,
    s: &Scenario,
    p: &Process,
    eprocess: &mut Obj,
    u: &mut User,
    modules: &[Mapped],
) -> Vec<(&'static str, Json)> {
    let t = table(s);
    let peb32 = u.area + PEB32;
    let (ldr, lists) = loader(m, &t, p, u, modules);
    let parameters = parameters(m, &t, p, u);
    let mut b = m.obj("_PEB32");
    b.set("ImageBaseAddress", modules[0].file.base).set("Ldr", ldr).set("ProcessParameters", parameters);
    b.set("OSMajorVersion", s.nt.0.into()).set("OSMinorVersion", s.nt.1.into()).set("OSBuildNumber", s.build.into());
    b.set("NumberOfProcessors", 2).set("SessionId", p.session.unwrap_or(0).into()).set("OSPlatformId", 2);
    u.write(m, peb32, &b.bytes[..b.bytes.len().min(PAGE as usize)]);
    let value = if m.layouts.has("_EWOW64PROCESS") {
        let mut w = m.obj("_EWOW64PROCESS");
        w.set("Peb", peb32).set_opt("Machine", 0x14C);
        m.put(PoolKind::NonPaged, b"Wow6", &w)
    } else {
        peb32
    };
    eprocess.set_first(&["WoW64Process", "Wow64Process"], value);
    vec![("peb32", peb32.into()), ("modules32", lists)]
}

fn text(u: &mut User, m: &mut Machine, o: &mut Obj, field: &str, value: &str) {
    let buffer = u.text(m, value);
    o.set_text(field, value, buffer);
}

fn parameters(m: &mut Machine, t: &Arc<Layouts>, p: &Process, u: &mut User) -> u64 {
    let mut r = Obj::new(t, "_RTL_USER_PROCESS_PARAMETERS");
    let size = r.bytes.len() as u64;
    r.set("MaximumLength", size).set("Length", size).set("Flags", 0x6001);
    let image = format!("C:{}", p.path.as_deref().unwrap_or(""));
    for (field, value) in [("ImagePathName", &image), ("CommandLine", &p.cmdline), ("CurrentDirectory.DosPath", &p.cwd)]
    {
        text(u, m, &mut r, field, value);
    }
    let at = u.alloc(size);
    u.write(m, at, &r.bytes);
    at
}

/// The 32-bit lists: the program, and the 32-bit images.
fn loader(m: &mut Machine, t: &Arc<Layouts>, p: &Process, u: &mut User, modules: &[Mapped]) -> (u64, Json) {
    let head = u.alloc(t.size("_PEB_LDR_DATA"));
    let mut d = Obj::new(t, "_PEB_LDR_DATA");
    d.set("Length", d.bytes.len() as u64).set("Initialized", 1);
    u.write(m, head, &d.bytes);
    let (mut entries, mut truth) = (Vec::new(), Vec::new());
    for (i, f) in modules.iter().filter(|f| !f.file.wide).enumerate() {
        // Programs compiled for 32 bits believe that their system's files are in System32.
        let path = format!("C:{}", f.file.path.replace("\\SysWOW64\\", "\\System32\\"));
        let base = path.rsplit('\\').next().unwrap_or("").to_string();
        let mut e = Obj::new(t, "_LDR_DATA_TABLE_ENTRY");
        e.set("DllBase", f.file.base).set("EntryPoint", f.file.base + f.entry).set("SizeOfImage", f.file.size);
        text(u, m, &mut e, "FullDllName", &path);
        text(u, m, &mut e, "BaseDllName", &base);
        let time = p.create + 20_000 * (i as u64 + 1);
        e.set("TimeDateStamp", f.file.timestamp.into()).set_opt("LoadTime.QuadPart", time).set("Flags", 0xA2CC);
        let at = u.alloc(e.bytes.len() as u64);
        u.write(m, at, &e.bytes);
        entries.push(at);
        truth.push(
            Json::object()
                .with("base", f.file.base)
                .with("size", f.file.size)
                .with("path", path)
                .with("load_time", time)
                .with("lists", Json::object().with("load", true).with("mem", true).with("init", i > 0)),
        );
    }
    let ty = "_LDR_DATA_TABLE_ENTRY";
    for (list, links, skip) in [
        ("InLoadOrderModuleList", "InLoadOrderLinks", 0),
        ("InMemoryOrderModuleList", "InMemoryOrderLinks", 0),
        ("InInitializationOrderModuleList", "InInitializationOrderLinks", 1),
    ] {
        let head = head + t.offset("_PEB_LDR_DATA", list);
        let at = t.offset(ty, links);
        let ring: Vec<u64> = std::iter::once(head).chain(entries.iter().skip(skip).map(|e| e + at)).collect();
        for (i, at) in ring.iter().enumerate() {
            let (next, last) = (ring[(i + 1) % ring.len()] as u32, ring[(i + ring.len() - 1) % ring.len()] as u32);
            u.write(m, *at, &[next.to_le_bytes(), last.to_le_bytes()].concat());
        }
    }
    (head, truth.into())
}

/// A thread's 32-bit TEB, two pages above its 64-bit one, and a 32-bit stack; gives the TEB's address and the stack's base.
pub fn teb(m: &mut Machine, p: &Process, u: &mut User, teb: u64, index: u64, tid: u64) -> (u64, u64) {
    let teb32 = teb + 0x2000;
    let base = u.area + 0x8_0000 + 0x1_0000 * (index + 1);
    u.private(base - 0x1_0000, 16, 1, 4);
    u.write(m, base - 0x10, &0x77A4_1234u32.to_le_bytes());
    let mut t = m.obj("_TEB32");
    t.set("NtTib.StackBase", base).set("NtTib.StackLimit", base - PAGE).set("NtTib.Self", teb32);
    t.set("ClientId.UniqueProcess", p.pid)
        .set("ClientId.UniqueThread", tid)
        .set("ProcessEnvironmentBlock", u.area + PEB32);
    u.write(m, teb32, &t.bytes[..t.bytes.len().min(PAGE as usize)]);
    (teb32, base)
}
