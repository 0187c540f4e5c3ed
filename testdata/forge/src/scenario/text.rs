//! Reads the text form of a scenario.

use std::collections::BTreeMap;
use std::path::Path;

use crate::memory::Mode;

use super::{
    CrashOn, Driver, Handle, Hook, ImageFile, Injection, Map, Private, Process, Profile, Scenario, Secondary, Thread,
    Unloaded, time,
};

/// One statement: keyword, arguments, options.
struct Line<'a> {
    text: &'a str,
    words: Vec<String>,
    keys: BTreeMap<String, String>,
}

impl Scenario {
    /// The scenario kept in this crate under that name.
    ///
    /// # Panics
    /// When it does not exist or says something not understood.
    pub fn load(name: &str) -> Scenario {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut out = Scenario::default();
        out.include(&folder, &format!("{name}.scn"));
        out
    }

    fn include(&mut self, folder: &Path, file: &str) {
        let path = folder.join(file);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let line = split(line);
            match line.words[0].as_str() {
                "include" => self.include(folder, &line.words[1]),
                "thread" | "handle" | "dll" | "vad" | "page" | "map" | "heap" | "inject" | "hidden-dll"
                | "phantom-dll" | "patch" => {
                    let boot = self.boot;
                    let process = self.processes.last_mut().unwrap_or_else(|| panic!("{}: of no process", line.text));
                    part(process, &line, boot);
                }
                _ => self.statement(&line),
            }
        }
    }

    fn when(&self, text: &str) -> u64 {
        when(self.boot, text)
    }

    fn statement(&mut self, l: &Line) {
        match l.words[0].as_str() {
            "name" => self.name = l.word(1),
            "layout" => self.layout = l.word(1),
            "windows" => {
                self.nt = (l.number(1) as u32, l.number(2) as u32);
                self.build = l.number(3) as u32;
            }
            "service-pack" => self.service_pack = l.number(1) as u32,
            "lab" => self.lab = l.word(1),
            "boot" => self.boot = self.when(&l.word(1)),
            "now" => self.now = self.when(&l.word(1)),
            "kernel" => self.kernel_base = l.number(1),
            "random-regions" => self.random_regions = true,
            "context" => self.context = Some(l.word(1)),
            "driver-objects" => self.driver_objects = true,
            "hook" => self.hooks.push(Hook {
                kind: l.word(1),
                index: l.number(2),
                driver: l.keys.get("driver").cloned().unwrap_or_default(),
                unloaded: l.flag("unloaded"),
            }),
            "pfn-database" => self.pfn_database = true,
            "evict" => self.evict = l.words[1..].to_vec(),
            "evict-tables" => self.evict_tables = true,
            "profile" => self.profiles.push(Profile { sid: l.word(1), folder: l.word(2) }),
            "compact" => self.compact = true,
            "tight" => self.tight = true,
            "paging" => {
                self.mode = match l.words[1].as_str() {
                    "four" => Mode::Four,
                    "five" => Mode::Five,
                    "pae" => Mode::Pae,
                    "plain" => Mode::Plain,
                    "arm64" => Mode::Arm,
                    other => panic!("paging {other}"),
                }
            }
            "root" => self.root = l.number(1),
            "low-stub" => self.low_stub = Some(l.number(1)),
            "decoy" => self.decoy = Some(l.number(1)),
            "bugcheck" => self.bugcheck = (l.number(1) as u32, [2, 3, 4, 5].map(|i| l.number(i))),
            "crash-on" => {
                self.crash_on = match l.words[1].as_str() {
                    "dpc" => CrashOn::Dpc,
                    "idle" => CrashOn::Idle,
                    other => panic!("crash-on {other}"),
                }
            }
            "secondary" => {
                let key = |key: &str| l.keys.get(key).cloned().unwrap_or_default();
                self.secondary = Some(Secondary {
                    manufacturer: key("manufacturer"),
                    product: key("product"),
                    bios_version: key("bios"),
                    bios_date: key("date"),
                    cpu: key("cpu"),
                    program: key("program"),
                });
            }
            "container" => self.containers.extend(l.words[1..].iter().cloned()),
            "driver" => {
                let driver = Driver {
                    path: l.word(1),
                    size: l.key("size", 0x20000),
                    timestamp: l.key("time", 0) as u32,
                    hidden: l.flag("hidden"),
                };
                self.drivers.push(driver);
            }
            "unloaded" => {
                let time = self.when(&l.keys["time"]);
                self.unloaded.push(Unloaded { name: l.word(1), size: l.key("size", 0x10000), time });
            }
            "image" => self.images.push(ImageFile {
                path: l.word(1),
                base: l.key("base", 0),
                size: l.key("size", 0x8000),
                wide: !l.flag("x86"),
                timestamp: l.key("time", 0x6000_0000) as u32,
                ring: l.flag("ring"),
                deleted: l.flag("deleted"),
            }),
            "process" => {
                let process = self.process(l);
                self.processes.push(process);
            }
            other => panic!("scenario statement not understood: {other}"),
        }
    }

    fn process(&self, l: &Line) -> Process {
        let name = l.word(1);
        let path = l.keys.get("path").cloned();
        let parent = l.keys.get("parent").map(|p| self.pid_of(p)).unwrap_or(0);
        let exit = l.keys.get("exit").map(|t| (self.when(t), l.key("status", 0) as u32));
        Process {
            pid: l.key("pid", 0),
            ppid: parent,
            session: l.keys.get("session").map(|s| number(s) as u32),
            user: l.keys.get("user").cloned().unwrap_or_else(|| "system".into()),
            integrity: l.keys.get("integrity").map(|s| number(s) as u32),
            cmdline: l.keys.get("cmd").cloned().or_else(|| path.as_ref().map(|p| format!("C:{p}"))).unwrap_or_default(),
            cwd: l.keys.get("cwd").cloned().unwrap_or_else(|| "C:\\Windows\\system32\\".into()),
            create: self.when(&l.keys["create"]),
            exit,
            hidden: l.flag("hidden"),
            wow64: l.flag("wow64"),
            minimal: l.flag("minimal"),
            hollowed: l.flag("hollowed"),
            wiped: l.flag("wiped"),
            deep: l.flag("deep"),
            leaving: l.flag("leaving"),
            unnumbered: l.flag("unnumbered"),
            debugged: l.keys.get("debugged").cloned(),
            signature: l.key("signature", 0),
            ticks: (l.key("kernel-ticks", 0), l.key("user-ticks", 0)),
            enable: l.key("enable", 0),
            token_of: l.keys.get("token").cloned(),
            shown: l.keys.get("shown").cloned(),
            job: l.keys.get("job").cloned(),
            package: l.keys.get("package").cloned(),
            capabilities: l.list("capabilities"),
            restricted: l.list("restricted"),
            why: l.keys.get("why").cloned(),
            protection: l.key("protection", 0),
            name,
            path,
            ..Process::default()
        }
    }

    /// A parent is named by number, or by name (the latest of that name).
    fn pid_of(&self, text: &str) -> u64 {
        match self.processes.iter().rev().find(|p| p.name == text) {
            Some(p) => p.pid,
            None => number(text),
        }
    }
}

fn part(process: &mut Process, l: &Line, boot: u64) {
    match l.words[0].as_str() {
        "thread" => {
            let start = l.keys.get("start").cloned().unwrap_or_default();
            let place = |text: &str| text.split_once('+').map(|(module, offset)| (module.to_string(), number(offset)));
            let at = l.keys.get("at").and_then(|t| place(t));
            let start = match place(&start) {
                Some(place) => place,
                None if start.is_empty() => (process.name.clone(), 0x1000),
                None => (String::new(), number(&start)),
            };
            let exit = l.keys.get("exit").map(|t| (when(boot, t), l.key("status", 0) as u32));
            let thread = Thread {
                start,
                state: l.key("state", 5),
                reason: l.key("reason", 15),
                name: l.keys.get("name").cloned(),
                impersonate: l.keys.get("impersonate").cloned(),
                exit,
                suspended: l.key("suspended", 0),
                at,
            };
            process.threads.extend(std::iter::repeat_n(thread, l.key("count", 1) as usize));
        }
        "handle" => process.handles.push(Handle {
            ty: l.word(1).replace('_', " "),
            name: l.keys.get("name").cloned().unwrap_or_default(),
            access: l.key("access", 0x1F0003) as u32,
            attributes: l.key("attributes", 0),
            extra: l.keys.get("extra").cloned(),
            count: l.key("count", 1),
        }),
        "map" => process.maps.push(Map {
            name: l.keys.get("name").cloned(),
            path: l.words.get(1).cloned(),
            pages: l.key("pages", 4),
            protection: l.key("protection", 1),
        }),
        "heap" => process.heaps.push(l.word(1)),
        "inject" => process.injections.push(Injection {
            kind: l.word(1),
            pages: l.key("pages", 4),
            protection: l.key("protection", 6),
            benign: l.keys.get("benign").cloned(),
        }),
        "hidden-dll" => process.hidden_dll = Some(l.word(1)),
        "phantom-dll" => process.phantom_dll = Some(l.word(1)),
        "patch" => {
            let place = l.word(1);
            let (module, offset) = place.split_once('+').unwrap_or_else(|| panic!("{}: module+offset", l.text));
            process.patches.push((module.to_string(), number(offset), bytes(&l.word(2))));
        }
        "dll" => process.dlls.extend(l.words[1..].iter().cloned()),
        "vad" => {
            let vad = Private {
                at: l.key("at", 0),
                pages: l.key("pages", 1),
                commit: l.key("commit", 1),
                protection: l.key("protection", 4),
                kind: l.key("type", 0),
                content: l.keys.get("content").map(|h| bytes(h)).unwrap_or_default(),
            };
            process.vads.extend(std::iter::repeat_n(vad, l.key("count", 1) as usize));
        }
        _ => process.pages.extend(l.words[1..].iter().cloned()),
    }
}

fn when(boot: u64, text: &str) -> u64 {
    if let Some(after) = time::offset(text) {
        return boot + after;
    }
    time::filetime(text).unwrap_or_else(|| panic!("no time: {text}"))
}

fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("no number: {text}"))
}

fn bytes(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal bytes")).collect()
}

impl Line<'_> {
    fn word(&self, i: usize) -> String {
        self.words.get(i).cloned().unwrap_or_else(|| panic!("too few words: {}", self.text))
    }

    fn number(&self, i: usize) -> u64 {
        number(&self.word(i))
    }

    fn key(&self, name: &str, default: u64) -> u64 {
        self.keys.get(name).map_or(default, |v| number(v))
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.keys.get(name).map(|v| v.split(',').map(str::to_string).collect()).unwrap_or_default()
    }

    fn flag(&self, name: &str) -> bool {
        self.words.iter().any(|w| w == name)
    }
}

/// Splits at blanks outside quotes; `key=value` apart from words.
fn split(text: &str) -> Line<'_> {
    let mut line = Line { text, words: Vec::new(), keys: BTreeMap::new() };
    let (mut quoted, mut item) = (false, String::new());
    for c in text.chars().chain([' ']) {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                match item.split_once('=').filter(|(k, _)| k.bytes().all(|b| b.is_ascii_lowercase())) {
                    Some((key, value)) => {
                        line.keys.insert(key.to_string(), value.to_string());
                    }
                    None if item.is_empty() => {}
                    None => line.words.push(item.clone()),
                }
                item.clear();
            }
            c => item.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks() {
        let l = split("process a.exe hidden cmd=\"C:\\a b.exe /x=1\" pid=0x10");
        assert_eq!(l.words, ["process", "a.exe", "hidden"]);
        assert_eq!(l.keys["cmd"], "C:\\a b.exe /x=1");
        assert_eq!(l.key("pid", 0), 16);
    }
}
