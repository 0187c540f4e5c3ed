//! PEB, process parameters, environment, loader data.

use super::files::Mapped;
use super::user::User;
use crate::machine::Machine;
use crate::scenario::{Process, Scenario};
use crate::truth::Json;

/// Offset of the PEB in the process's area.
pub const PEB: u64 = 0x1F_F000;

/// Variables every process has besides its user's.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("ComSpec", "C:\\Windows\\system32\\cmd.exe"),
    ("NUMBER_OF_PROCESSORS", "2"),
    ("OS", "Windows_NT"),
    ("Path", "C:\\Windows\\system32;C:\\Windows;C:\\Windows\\System32\\Wbem"),
    ("SystemRoot", "C:\\Windows"),
    ("TEMP", "C:\\Windows\\TEMP"),
];

/// Plants them all; gives the PEB's address and the truth of environment and modules.
pub fn plant(
    m: &mut Machine,
    s: &Scenario,
    p: &Process,
    user: &mut User,
    files: &[Mapped],
) -> (u64, Vec<(&'static str, Json)>) {
    let peb = user.area + PEB;
    let (ldr, modules) = loader(m, p, user, files);
    let (parameters, environment) = parameters(m, p, user);
    let mut b = m.obj("_PEB");
    b.set("ImageBaseAddress", files[0].file.base).set("Ldr", ldr).set("ProcessParameters", parameters);
    b.set("ProcessHeap", user.area + super::user::HEAP).set("NumberOfHeaps", 0).set("MaximumNumberOfHeaps", 16);
    b.set("NumberOfProcessors", 2).set("OSMajorVersion", s.nt.0.into()).set("OSMinorVersion", s.nt.1.into());
    b.set("OSBuildNumber", s.build.into()).set("OSCSDVersion", u64::from(s.service_pack) << 8).set("OSPlatformId", 2);
    b.set("ImageSubsystem", 3).set("SessionId", p.session.unwrap_or(0).into());
    if p.debugged.as_deref() == Some("open") {
        b.set("BeingDebugged", 1);
    }
    if s.service_pack > 0 {
        let text = format!("Service Pack {}", s.service_pack);
        let buffer = user.text(m, &text);
        b.set_text("CSDVersion", &text, buffer);
    }
    user.write(m, peb, &b.bytes);
    (peb, vec![("modules", modules), ("env", environment)])
}

fn parameters(m: &mut Machine, p: &Process, user: &mut User) -> (u64, Json) {
    let mut variables: Vec<(String, String)> =
        ENVIRONMENT.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    variables.push(("USERNAME".into(), if p.user == "alice" { "alice".into() } else { "SYSTEM".into() }));
    let block: String = variables.iter().map(|(k, v)| format!("{k}={v}\0")).chain(["\0".to_string()]).collect();
    let bytes: Vec<u8> = block.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let environment = user.alloc(bytes.len() as u64);
    user.write(m, environment, &bytes);
    // A process may show another path than its own.
    let image = p.shown.clone().unwrap_or_else(|| format!("C:{}", p.path.as_deref().unwrap_or("")));
    let mut r = m.obj("_RTL_USER_PROCESS_PARAMETERS");
    let size = m.layouts.size("_RTL_USER_PROCESS_PARAMETERS");
    r.set("MaximumLength", size).set("Length", size).set("Flags", 0x6001).set("Environment", environment);
    r.set_opt("EnvironmentSize", bytes.len() as u64);
    let title = image.clone();
    let texts = [
        ("ImagePathName", &image),
        ("CommandLine", &p.cmdline),
        ("CurrentDirectory.DosPath", &p.cwd),
        ("WindowTitle", &title),
    ];
    for (field, text) in texts {
        let buffer = user.text(m, text);
        r.set_text(field, text, buffer);
    }
    let desktop = "Winsta0\\Default";
    let buffer = user.text(m, desktop);
    r.set_text("DesktopInfo", desktop, buffer);
    let at = user.alloc(size);
    user.write(m, at, &r.bytes);
    let truth =
        variables.iter().map(|(k, v)| Json::List(vec![k.as_str().into(), v.as_str().into()])).collect::<Vec<_>>();
    (at, truth.into())
}

/// The three lists. Initialisation order leaves the program out and begins with ntdll.
fn loader(m: &mut Machine, p: &Process, user: &mut User, files: &[Mapped]) -> (u64, Json) {
    let ty = "_LDR_DATA_TABLE_ENTRY";
    let head = user.alloc(m.layouts.size("_PEB_LDR_DATA"));
    let mut entries = Vec::new();
    let mut truth = Vec::new();
    // The 64-bit lists of a 32-bit process hold its program and what is 64-bit.
    let wide = m.pointer() == 8;
    for (i, f) in files.iter().enumerate().filter(|(i, f)| *i == 0 || !wide || f.file.wide) {
        let path = format!("C:{}", f.file.path);
        let base = path.rsplit('\\').next().unwrap_or("").to_string();
        let buffer = user.text(m, &path);
        let base_at = buffer + 2 * (path.encode_utf16().count() - base.encode_utf16().count()) as u64;
        let mut e = m.obj(ty);
        e.set("DllBase", f.file.base).set("EntryPoint", f.file.base + f.entry).set("SizeOfImage", f.file.size);
        e.set_text("FullDllName", &path, buffer).set_text("BaseDllName", &base, base_at);
        e.set("Flags", if i == 0 { 0xA2C4 } else { 0x8A2CC }).set_first(&["ObsoleteLoadCount", "LoadCount"], 0xFFFF);
        let time = p.create + 10_000 * (i as u64 + 1);
        e.set("TimeDateStamp", f.file.timestamp.into()).set_opt("LoadTime.QuadPart", time);
        e.set_opt("OriginalBase", f.file.base).set_opt("LoadReason", if i == 0 { 4 } else { 0 });
        let at = user.alloc(m.layouts.size(ty));
        user.write(m, at, &e.bytes);
        entries.push(at);
        let lists = Json::object().with("load", true).with("mem", true).with("init", i > 0);
        truth.push(
            Json::object()
                .with("base", f.file.base)
                .with("size", f.file.size)
                .with("path", path)
                .with("load_time", time)
                .with("lists", lists),
        );
    }
    let mut d = m.obj("_PEB_LDR_DATA");
    d.set("Length", m.layouts.size("_PEB_LDR_DATA")).set("Initialized", 1);
    user.write(m, head, &d.bytes);
    let lists = [
        ("InLoadOrderModuleList", "InLoadOrderLinks", 0),
        ("InMemoryOrderModuleList", "InMemoryOrderLinks", 0),
        ("InInitializationOrderModuleList", "InInitializationOrderLinks", 1),
    ];
    for (list, links, skip) in lists {
        let head = head + m.layouts.offset("_PEB_LDR_DATA", list);
        let links_at =
            m.layouts.find(ty, links).map_or_else(|| m.layouts.offset(ty, "InInitializationOrderLinks"), |p| p.offset);
        let ring: Vec<u64> = std::iter::once(head).chain(entries.iter().skip(skip).map(|e| e + links_at)).collect();
        for (i, at) in ring.iter().enumerate() {
            let (next, last) = (ring[(i + 1) % ring.len()], ring[(i + ring.len() - 1) % ring.len()]);
            user.write(m, *at, &m.words(&[next, last]));
        }
    }
    (head, truth.into())
}
