//! Driver objects, the system service table and notification routines; and the places where these lead out of every module.

use crate::machine::{Header, Machine};
use crate::memory::PoolKind;
use crate::scenario::{Hook, Scenario};
use crate::truth::Json;

/// Services in the table.
const SERVICES: u64 = 64;
/// Major functions of a driver.
const MAJORS: u64 = 28;

/// Arrays of notification routines, by what they are called for.
const ARRAYS: [(&str, &str); 3] = [
    ("process", "PspCreateProcessNotifyRoutine"),
    ("thread", "PspCreateThreadNotifyRoutine"),
    ("image", "PspLoadImageNotifyRoutine"),
];
/// Slots of such an array.
const SLOTS: usize = 64;
/// Lists of other callbacks.
const LISTS: [&str; 5] = [
    "CallbackListHead",
    "KeBugCheckCallbackListHead",
    "KeBugCheckReasonCallbackListHead",
    "IopNotifyShutdownQueueHead",
    "IopNotifyLastChanceShutdownQueueHead",
];

/// The kernel sets up all its lists when it starts; on a machine where nobody registered anything they are empty.
fn empty(m: &mut Machine) {
    for (_, array) in ARRAYS {
        if let Some(at) = m.global_opt(array) {
            let none = vec![0; SLOTS * m.pointer() as usize];
            m.plant(at, &none);
        }
    }
    for list in LISTS {
        if let Some(at) = m.global_opt(list) {
            m.plant(at, &[0; 16]);
            m.link(at, &[]);
        }
    }
}

/// Plants them all; gives the truth of drivers, services, callbacks and hooks.
pub fn plant(m: &mut Machine, s: &Scenario, modules: &Json) -> Vec<(&'static str, Json)> {
    empty(m);
    if !s.driver_objects {
        return Vec::new();
    }
    // Where the hooks lead: a block of code in the non-paged pool.
    let rogue = m.alloc(PoolKind::NonPaged, b"Ev1l", 0x200);
    m.write(rogue, &[0x48, 0x83, 0xEC, 0x28, 0x33, 0xC0, 0x48, 0x83, 0xC4, 0x28, 0xC3]);
    let mut hooks = Vec::new();
    let mut hook = |kind: &str, index: u64, at: u64, target: u64, what: &str| {
        hooks.push(
            Json::object()
                .with("kind", kind)
                .with("index", index)
                .with("at", at)
                .with("target", target)
                .with("what", what),
        );
    };
    let wanted = |kind: &str| s.hooks.iter().filter(|h| h.kind == kind).cloned().collect::<Vec<Hook>>();
    let drivers = drivers(m, modules, &[wanted("dispatch"), wanted("unload")].concat(), rogue, &mut hook);
    let services = services(m, &wanted("ssdt"), rogue, &mut hook);
    let mut callbacks = Vec::new();
    for (kind, symbol) in ARRAYS {
        callbacks.extend(notify(m, kind, symbol, modules, &wanted(kind), rogue, &mut hook));
    }
    callbacks.extend(super::callbacks::plant(m, modules, &drivers));
    vec![("drivers", drivers), ("services", services), ("callbacks", callbacks.into()), ("hooks", hooks.into())]
}

type Report<'a> = &'a mut dyn FnMut(&str, u64, u64, u64, &str);

/// Name, base, size and list entry of a module.
pub fn base_of(modules: &Json, index: usize) -> (String, u64, u64, u64) {
    let Json::List(list) = modules else { panic!("no modules") };
    let number = |key: &str| match list[index].get(key) {
        Some(Json::Number(n)) => *n,
        _ => 0,
    };
    let name = match list[index].get("name") {
        Some(Json::Text(t)) => t.clone(),
        _ => String::new(),
    };
    (name, number("base"), number("size"), number("entry"))
}

/// How many modules there are.
pub fn count(modules: &Json) -> usize {
    if let Json::List(list) = modules { list.len() } else { 0 }
}

/// A driver object for each module but the kernel, all of whose routines lie in it, but for the hooks.
fn drivers(m: &mut Machine, modules: &Json, hooks: &[Hook], rogue: u64, report: Report) -> Json {
    let mut out = Vec::new();
    for i in 1..count(modules) {
        let (file, base, size, entry) = base_of(modules, i);
        let stem = file.split('.').next().unwrap_or("").to_string();
        let path = format!("\\Driver\\{stem}");
        let va = m.object(
            "Driver",
            m.layouts.size("_DRIVER_OBJECT"),
            &Header { name: Some(path.clone()), pointers: 3, ..Header::default() },
        );
        let device_path = format!("\\Device\\{stem}");
        let device = m.object(
            "Device",
            m.layouts.size("_DEVICE_OBJECT"),
            &Header { name: Some(device_path.clone()), pointers: 1, ..Header::default() },
        );
        let mut d = m.obj("_DEVICE_OBJECT");
        d.set("Type", 3).set("Size", m.layouts.size("_DEVICE_OBJECT")).set("DriverObject", va).set("DeviceType", 0x22);
        m.write(device, &d.bytes);
        let buffer = m.text(b"IoNm", &path);
        let mut o = m.obj("_DRIVER_OBJECT");
        o.set("Type", 4).set("Size", m.layouts.size("_DRIVER_OBJECT")).set("DeviceObject", device).set("Flags", 0x12);
        o.set("DriverStart", base).set("DriverSize", size).set("DriverSection", entry).set("DriverInit", base + 0x1000);
        // A driver whose unload routine lies in one that is gone.
        let astray = hooks.iter().any(|h| h.kind == "unload" && h.driver == stem);
        let unload = if astray { super::modules::first_unloaded(m) + 0x80 } else { base + 0x1100 };
        if astray {
            report("unload", 0, va + m.layouts.offset("_DRIVER_OBJECT", "DriverUnload"), unload, &path);
        }
        o.set_text("DriverName", &path, buffer).set("DriverUnload", unload);
        let mut majors = Vec::new();
        for major in 0..MAJORS {
            let hook = hooks.iter().find(|h| h.kind == "dispatch" && h.driver == stem && h.index == major);
            let rogue =
                if hook.is_some_and(|h| h.unloaded) { super::modules::first_unloaded(m) + 0x100 } else { rogue };
            let hooked = hook.is_some();
            // What a driver does not serve goes to a routine of the kernel.
            let own = if major % 3 == 1 { m.regions.kernel + 0x1230 } else { base + 0x1200 + 0x40 * major };
            let target = if hooked { rogue } else { own };
            o.set(&format!("MajorFunction[{major}]"), target);
            majors.push(target.into());
            if hooked {
                let at = va + m.layouts.offset("_DRIVER_OBJECT", &format!("MajorFunction[{major}]"));
                report("dispatch", major, at, rogue, &path);
            }
        }
        m.write(va, &o.bytes);
        out.push(
            Json::object()
                .with("driver", va)
                .with("name", path)
                .with("start", base)
                .with("size", size)
                .with("init", base + 0x1000)
                .with("unload", unload)
                .with("device", device)
                .with("device_name", device_path)
                .with("majors", Json::List(majors)),
        );
    }
    out.into()
}

/// `KiServiceTable`: on x64 each entry is the distance from the table, times sixteen, with the number of arguments below; on x86 an address.
fn services(m: &mut Machine, hooks: &[Hook], rogue: u64, report: Report) -> Json {
    let (Some(table), Some(descriptor)) = (m.global_opt("KiServiceTable"), m.global_opt("KeServiceDescriptorTable"))
    else {
        return Json::List(Vec::new());
    };
    let mut truth = Vec::new();
    let mut bytes = Vec::new();
    for i in 0..SERVICES {
        let own = m.regions.kernel + 0x30_0000 + 0x100 * i;
        // A hook needs a place within 2 GB of the table: a jump in a gap between the kernel's sections leads on from there.
        let wide = m.pointer() == 8;
        let target = if !hooks.iter().any(|h| h.index == i) {
            own
        } else if !wide {
            report("ssdt", i, table + 4 * i, rogue, "KiServiceTable");
            rogue
        } else {
            let stub = m.regions.kernel - 0x1_0000 + 0x10 * i;
            m.ensure(stub, 16, crate::memory::flags::KERNEL);
            m.write(stub, &[&[0x48u8, 0xB8][..], &rogue.to_le_bytes(), &[0xFF, 0xE0]].concat());
            report("ssdt", i, table + 4 * i, stub, "KiServiceTable");
            stub
        };
        let distance = ((target.wrapping_sub(table) as i64) << 4) as u32 | (i % 5) as u32;
        bytes.extend(if wide { distance } else { target as u32 }.to_le_bytes());
        truth.push(target.into());
    }
    m.plant(table, &bytes);
    m.plant_u32("KiServiceLimit", SERVICES as u32);
    let fields = m.words(&[table, 0, SERVICES, 0]);
    m.plant(descriptor, &fields);
    Json::List(truth)
}

/// An array of fast references to {rundown, routine, context}.
fn notify(
    m: &mut Machine,
    kind: &str,
    symbol: &str,
    modules: &Json,
    hooks: &[Hook],
    rogue: u64,
    report: Report,
) -> Vec<Json> {
    let Some(array) = m.global_opt(symbol) else { return Vec::new() };
    let mut routines: Vec<u64> = (1..count(modules)).map(|i| base_of(modules, i).1 + 0x1800).collect();
    routines.insert(0, m.regions.kernel + 0x31_0000);
    routines.extend(hooks.iter().map(|_| rogue));
    let mut slots = Vec::new();
    let mut truth = Vec::new();
    for (i, routine) in routines.iter().enumerate() {
        let block = m.alloc(PoolKind::NonPaged, b"Psin", 3 * m.pointer());
        let bytes = m.words(&[0x20, *routine, 0]);
        m.write(block, &bytes);
        slots.push(block | (2 * m.pointer() - 1));
        let at = array + m.pointer() * i as u64;
        if *routine == rogue {
            report(kind, i as u64, at, rogue, symbol);
        }
        truth.push(Json::object().with("kind", kind).with("index", i as u64).with("routine", *routine));
    }
    let n = slots.len() as u32;
    slots.resize(SLOTS, 0);
    let bytes = m.words(&slots);
    m.plant(array, &bytes);
    m.plant_u32(&format!("{symbol}Count"), n);
    truth
}
