//! Whether layouts fit a dump: what must hold of any Windows, held against what they make of this one.
//!
//! With the exact symbols this confirms; with the layouts of a near build it decides. A layout that is wrong in one field
//! fails here or is caught by nothing else, so each object that analyses rest on has its own line.

use super::Kernel;
use super::list::List;
use super::process::{EProcess, Process};
use super::token::Tokens;
use super::vad_tree::Layouts as VadLayouts;
use crate::bytes::{Bytes, le};
use crate::dump::{Part, Triage};
use crate::paging::{Mode, Space};
use crate::symbols::layout::Layout as _;
use crate::value::{Absent, Value};

/// What was checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// What held, in words.
    pub passed: Vec<String>,
    /// What did not.
    pub failed: Vec<String>,
    /// What could not be checked: the dump lacks the pages.
    pub unknown: Vec<String>,
    /// Sizes and offsets that the debugger block states and the layouts have: the strongest there is of a dump without symbols.
    pub stated: usize,
}

impl Checks {
    fn take(&mut self, end: End) {
        match end {
            Passed(what) => self.passed.push(what),
            Failed(what) => self.failed.push(what),
            Unknown(what) => self.unknown.push(what),
        }
    }
}

/// One check's end.
enum End {
    Passed(String),
    Failed(String),
    Unknown(String),
}
use End::{Failed, Passed, Unknown};

/// Processes looked at.
const SOME: usize = 64;

impl Kernel {
    /// Holds the layouts against the dump.
    #[must_use]
    pub fn verify(&self) -> Checks {
        let mut out = Checks::default();
        let space = self.space();
        if let Some(triage) = self.dump.triage() {
            for check in [self.check_copies(triage), self.check_block()] {
                out.take(check);
            }
            out.stated = self.stated();
            return out;
        }
        let processes = self.first_processes();
        let checks = [
            self.check_system(&space),
            self.check_list(&space, &processes),
            self.check_processes(&processes),
            self.check_roots(&processes),
            self.check_threads(&space),
            self.check_modules(),
            self.check_token(&space),
            self.check_handle_tables(&space, &processes),
            self.check_object_types(&space, &processes),
            self.check_vads(&processes),
            self.check_block(),
        ];
        for check in checks {
            out.take(check);
        }
        out.stated = self.stated();
        out
    }
    fn stated(&self) -> usize {
        let Some(block) = &self.kdbg else { return 0 };
        let own = self.sizes_of_block();
        own.iter().filter(|(field, own)| own.is_some() && block.field(field) == own.map(u64::from)).count()
    }
    /// Of a triage dump: the copied process and thread belong together and to the header.
    fn check_copies(&self, triage: Triage<'_>) -> End {
        let (Some(process), Some(thread)) = (triage.process(), triage.thread()) else {
            return Unknown("copies of process and thread (the dump keeps none)".into());
        };
        let bytes = |part: Part<'_>| Bytes::from_vec(part.bytes.to_vec());
        let (Ok(process), Ok(thread)) = (self.process_of(bytes(process)), self.thread_of(bytes(thread))) else {
            return Failed("no layout of processes and threads".into());
        };
        let mut wrong = Vec::new();
        if process.view.kind() != Ok(3) {
            wrong.push("its dispatcher type is not 3");
        }
        let plain = |n: String| !n.is_empty() && n.chars().all(|c| !c.is_control() && c != '\u{fffd}');
        if !process.name().is_ok_and(plain) {
            wrong.push("its name is not printable");
        }
        let id = |v: Value<u64>| v.is_ok_and(|v| v != 0 && v.is_multiple_of(4) && v <= u64::from(u32::MAX));
        if !id(process.pid()) {
            wrong.push("its id is none");
        }
        if !id(thread.tid()) {
            wrong.push("its thread's id is none");
        }
        // The header's root is the crashing context's; with shadowed kernel addresses it may be the process's other one.
        let root = self.dump.header.as_ref().and_then(|h| h.dtb);
        let own = [process.dtb(), process.user_dtb()].into_iter().flatten().any(|d| Some(d) == root);
        if root.is_some() && !own {
            wrong.push("its page-table root is not the header's");
        }
        let owner = self.symbols.types.member("_ETHREAD", "Cid.UniqueProcess");
        let owner = owner.and_then(|m| le(thread.view.bytes.at(m.offset, m.size).ok()?));
        if owner != process.pid().ok() {
            wrong.push("its thread names another process");
        }
        if wrong.is_empty() {
            Passed("the copied process and thread belong together and to the header".into())
        } else {
            Failed(format!("the copied process does not fit: {}", wrong.join(", ")))
        }
    }
    /// Globals that the debugger block names lie where the symbols have them.
    fn check_block(&self) -> End {
        let Some(block) = &self.kdbg else { return Unknown("debugger block (not found)".into()) };
        let (mut good, mut bad) = (0usize, 0usize);
        for (name, _) in block.fields() {
            if let (Some(told), Some(own)) = (block.global(name), self.symbol(name)) {
                let counter = if told == own { &mut good } else { &mut bad };
                *counter = counter.saturating_add(1);
            }
        }
        // Structure sizes and offsets that the block states: layouts without globals can be held against those.
        let mut wrong = Vec::new();
        for (field, own) in self.sizes_of_block() {
            if let (Some(told), Some(own)) = (block.field(field).filter(|v| *v != 0), own) {
                if told == u64::from(own) {
                    good = good.saturating_add(1);
                } else {
                    wrong.push(format!("{field} is {told:#x}, here {own:#x}"));
                }
            }
        }
        if wrong.is_empty() {
            verdict(good, bad, 1, "globals, sizes and offsets are the debugger block's")
        } else {
            Failed(format!("the debugger block differs: {}", wrong.join(", ")))
        }
    }
    /// Fields of the block that state a size or an offset, and what the layouts have.
    fn sizes_of_block(&self) -> [(&'static str, Option<u32>); 10] {
        let types = &self.symbols.types;
        let offset = |ty, path| types.member(ty, path).map(|m| m.offset);
        [
            ("SizeEProcess", types.size_of("_EPROCESS")),
            ("SizeEThread", types.size_of("_ETHREAD")),
            ("OffsetEprocessPeb", offset("_EPROCESS", "Peb")),
            ("OffsetEprocessParentCID", offset("_EPROCESS", "InheritedFromUniqueProcessId")),
            ("OffsetEprocessDirectoryTableBase", offset("_EPROCESS", "Pcb.DirectoryTableBase")),
            ("OffsetKThreadTeb", offset("_KTHREAD", "Teb")),
            ("OffsetKThreadKernelStack", offset("_KTHREAD", "KernelStack")),
            ("OffsetKThreadInitialStack", offset("_KTHREAD", "InitialStack")),
            ("OffsetKThreadApcProcess", offset("_KTHREAD", "ApcState.Process")),
            ("OffsetKThreadState", offset("_KTHREAD", "State")),
        ]
    }
    fn check_system(&self, space: &Space<'_>) -> End {
        match self.system.map(|va| (va, self.process_at(space, va))) {
            Some((va, Ok(system))) => match (system.view.kind(), system.dtb()) {
                (Ok(3), Ok(_)) => Passed(format!("System at {va} is process 4")),
                (Err(why), _) | (_, Err(why)) => Failed(format!("System's own fields are {why}")),
                (Ok(kind), _) => Failed(format!("System's dispatcher type is {kind}, not 3")),
            },
            _ => Failed("nothing that is process 4 and called System was found".into()),
        }
    }
    /// The first processes of the active list, from System on.
    pub(crate) fn first_processes(&self) -> Vec<Process<'_>> {
        let space = &self.space();
        let (Some(system), Ok(layout)) = (self.system, self.layout::<EProcess>()) else { return Vec::new() };
        let offset = layout.field("links").map_or(0, |f| u64::from(f.offset));
        let list =
            List { what: "active process list", head: system.add(offset), width: space.pointer_size(), limit: SOME };
        let head = self.global("PsActiveProcessHead");
        let walked = list.walk(space, |_| true);
        let others = walked.links.into_iter().filter(|link| Some(*link) != head).map(|link| link.sub(offset));
        std::iter::once(system).chain(others).filter_map(|va| self.process_at(space, va).ok()).collect()
    }
    /// Links lead back: of each entry, the next one's previous is the entry.
    fn check_list(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let Ok(layout) = self.layout::<EProcess>() else { return Failed("no layout of processes".into()) };
        let offset = layout.field("links").map_or(0, |f| u64::from(f.offset));
        let width = space.pointer_size();
        let (mut good, mut bad) = (0usize, 0usize);
        for p in processes {
            let (Ok(links), Some(va)) = (p.view.links(), p.offset()) else { continue };
            match space.pointer(links.flink.add(width.into())) {
                Ok(back) if back == va.add(offset) => good = good.saturating_add(1),
                Ok(_) => bad = bad.saturating_add(1),
                Err(_) => {}
            }
        }
        verdict(good, bad, 2, "links of processes lead back")
    }
    /// Names are printable, ids multiples of 4, times of this era.
    fn check_processes(&self, processes: &[Process<'_>]) -> End {
        let (mut good, mut bad) = (0usize, 0usize);
        for p in processes {
            let (Ok(pid), Ok(ppid), Ok(name), Ok(kind)) = (p.pid(), p.ppid(), p.name(), p.view.kind()) else {
                continue;
            };
            let plain = !name.is_empty() && name.chars().all(|c| !c.is_control() && c != '\u{fffd}');
            let ids = |id: u64| id.is_multiple_of(4) && id <= u64::from(u32::MAX);
            // FILETIMEs of 1990 and 2100; absent where none was set.
            let era = match p.view.created() {
                Ok(t) => (122_700_000_000_000_000..157_500_000_000_000_000).contains(&t.0),
                Err(why) => why == Absent::NotApplicable,
            };
            let counter = if plain && ids(pid) && ids(ppid) && kind == 3 && era { &mut good } else { &mut bad };
            *counter = counter.saturating_add(1);
        }
        verdict(good, bad, 2, "processes have printable names, ids and times")
    }
    /// Each process's root maps this kernel.
    fn check_roots(&self, processes: &[Process<'_>]) -> End {
        if self.mode == Mode::Blocks {
            return Unknown("page-table roots (the dump has no page tables)".into());
        }
        let here = self.space().translate(self.base);
        let (mut good, mut bad) = (0usize, 0usize);
        for p in processes {
            // Ended processes have given theirs back.
            if p.view.signal_state() != Ok(0) {
                continue;
            }
            let same = p.dtb().is_ok_and(|root| self.space_of(root).translate(self.base) == here);
            let counter = if same { &mut good } else { &mut bad };
            *counter = counter.saturating_add(1);
        }
        verdict(good, bad, 1, "page-table roots of processes map this kernel")
    }
    /// System's threads say they are System's.
    fn check_threads(&self, space: &Space<'_>) -> End {
        let Some(system) = self.system.and_then(|va| self.process_at(space, va).ok()) else {
            return Unknown("threads (no System)".into());
        };
        let Ok(list) = system.thread_list(&self.space()) else { return Failed("no layout of threads".into()) };
        let (mut good, mut bad) = (0usize, 0usize);
        for t in &list.list {
            let mine = t.belongs_to(system.offset()) == Ok(true);
            let tid = t.tid().is_ok_and(|t| t != 0 && t.is_multiple_of(4) && t <= u64::from(u32::MAX));
            let counter = if mine && tid { &mut good } else { &mut bad };
            *counter = counter.saturating_add(1);
        }
        if good == 0 && bad == 0 {
            // The walk leaves out what belongs to another process and says so.
            return match list.notes.first() {
                Some(note) => Failed(format!("System's threads: {}", note.text)),
                None => Unknown("threads (System's list is empty)".into()),
            };
        }
        verdict(good, bad, 1, "threads of System name System")
    }
    /// The module list begins with this kernel.
    fn check_modules(&self) -> End {
        match self.listed_modules() {
            Ok(modules) => match modules.list.first() {
                Some(m) if m.base == Ok(self.base) => {
                    let size = m.size.is_ok_and(|s| self.size.is_none_or(|own| own == s));
                    if size {
                        Passed("the module list begins with this kernel".into())
                    } else {
                        Failed("the module list gives this kernel another size".into())
                    }
                }
                Some(m) => Failed(format!("the module list begins with {:?} at {:?}", m.name, m.base)),
                None => Unknown("modules (the list is empty)".into()),
            },
            Err(_) => Unknown("modules (the list was not found)".into()),
        }
    }
    /// System's token is that of the local system, S-1-5-18.
    fn check_token(&self, space: &Space<'_>) -> End {
        let Ok(tokens) = Tokens::new(&self.symbols.types) else { return Failed("no layout of tokens".into()) };
        let system = self.system.and_then(|va| self.process_at(space, va).ok());
        let Some(Ok(at)) = system.map(|s| s.view.token()) else { return Unknown("tokens (no System)".into()) };
        match tokens.at(&self.space(), at).user(space).map(|sid| sid.to_string()) {
            Ok(sid) if sid == "S-1-5-18" => Passed("System's token is S-1-5-18's".into()),
            Ok(sid) => Failed(format!("System's token is {sid}'s")),
            Err(Absent::Implausible) => Failed("System's token is implausible".into()),
            Err(why) => Unknown(format!("tokens (System's is {why})")),
        }
    }
    /// A handle table names the process it belongs to.
    fn check_handle_tables(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let Some(owner) = self.symbols.types.member("_HANDLE_TABLE", "QuotaProcess") else {
            return Unknown("handle tables (no layout)".into());
        };
        let (mut good, mut bad) = (0usize, 0usize);
        for p in processes.iter().filter(|p| p.pid() != Ok(4)) {
            let (Ok(table), Some(va)) = (p.view.handle_table(), p.offset()) else { continue };
            if table.is_null() {
                continue;
            }
            match space.pointer(table.add(owner.offset.into())) {
                Ok(named) if named == va => good = good.saturating_add(1),
                Ok(_) => bad = bad.saturating_add(1),
                Err(_) => {}
            }
        }
        verdict(good, bad, 1, "handle tables name their process")
    }
    /// The object headers in front of all processes say the same type.
    fn check_object_types(&self, space: &Space<'_>, processes: &[Process<'_>]) -> End {
        let types = &self.symbols.types;
        let Some(body) = types.member("_OBJECT_HEADER", "Body") else {
            return Unknown("object headers (no layout)".into());
        };
        let (field, coded) = match (types.member("_OBJECT_HEADER", "TypeIndex"), types.member("_OBJECT_HEADER", "Type"))
        {
            // From Windows 10 the index is mixed with the header's address and a secret that is the same for all.
            (Some(m), _) => (m, self.build.is_none_or(|b| b >= 10_000)),
            (None, Some(m)) => (m, false),
            _ => return Unknown("object headers (no layout)".into()),
        };
        let mut seen: Vec<u64> = processes
            .iter()
            .filter_map(|p| {
                let header = p.offset()?.sub(body.offset.into());
                let raw = space.number(header.add(field.offset.into()), field.size).ok()?;
                Some(if coded { raw ^ (header.0 >> 8 & 0xff) } else { raw })
            })
            .collect();
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        match (count, seen.len()) {
            (0..2, _) => Unknown("object headers (fewer than two processes)".into()),
            (_, 1) => Passed(format!("{count} object headers say the same type")),
            (_, n) => Failed(format!("{count} processes have {n} object types")),
        }
    }
    /// A process's image lies in a node of its VAD tree.
    fn check_vads(&self, processes: &[Process<'_>]) -> End {
        let Ok(layouts) = VadLayouts::of(self) else { return Failed("no layout of VADs".into()) };
        let (mut good, mut bad, mut unread) = (0usize, 0usize, 0usize);
        for p in processes.iter().filter(|p| p.view.signal_state() == Ok(0)).take(16) {
            let (Ok(base), Some(va)) = (p.view.image_base(), p.offset()) else { continue };
            if base.is_null() {
                continue;
            }
            let tree = layouts.walk(&self.space(), va);
            let counter = match tree.at(base) {
                Some(_) => &mut good,
                None if tree.notes.iter().any(|n| n.loss) => &mut unread,
                None => &mut bad,
            };
            *counter = counter.saturating_add(1);
        }
        if good == 0 && bad == 0 && unread > 0 {
            return Failed(format!("{unread} VAD trees cannot be walked"));
        }
        verdict(good, bad, 1, "VAD trees hold the process's image")
    }
}

/// Enough that held, against little that did not: a dump taken while the machine ran is torn in places.
fn verdict(good: usize, bad: usize, least: usize, what: &str) -> End {
    let all = good.saturating_add(bad);
    if all == 0 {
        Unknown(format!("{what} (nothing to look at)"))
    } else if good >= least.min(all) && bad.saturating_mul(10) <= all {
        Passed(format!("{what} ({good} of {all})"))
    } else {
        Failed(format!("{what} ({good} of {all})"))
    }
}
