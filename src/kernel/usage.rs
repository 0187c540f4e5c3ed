//! What lives in each range of a process's address space: modules, heaps, stacks, TEBs, and the blocks a PEB points at.

use super::address_space::AddressSpace;
use super::process::Process;
use super::process_modules;
use super::sides::Side;
use super::vad_tree;
use crate::addr::Va;
use crate::paging::Space;
use crate::value::{Absent, Value};
use rustc_hash::FxHashMap;

/// One thing that lives in a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Use {
    /// A module on a loader list, by its name.
    Module(String),
    /// A heap, by its place in the process's array.
    Heap(u32),
    /// A large block of a heap.
    HeapBlock(u32),
    /// The user stack of a thread.
    Stack(u64),
    /// The TEB of a thread.
    Teb(u64),
    /// Something a PEB points at.
    Named(&'static str),
}

impl Use {
    /// The text in the output: `stack 4242`, `heap 0`, `peb`.
    fn text(&self, wow64: bool) -> String {
        let bits = if wow64 { " (32-bit)" } else { "" };
        match self {
            Self::Module(name) => format!("module {name}"),
            Self::Heap(index) => format!("heap {index}{bits}"),
            Self::HeapBlock(index) => format!("heap {index}{bits} large block"),
            Self::Stack(tid) => format!("stack {tid}{bits}"),
            Self::Teb(tid) => format!("teb {tid}{bits}"),
            Self::Named(what) => format!("{what}{bits}"),
        }
    }
}

/// What lives where in one process.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    by_start: FxHashMap<Va, Vec<String>>,
    /// Why the process's own account of its memory could not be read, where it could not.
    silent: Option<Absent>,
}

impl Usage {
    /// What lives in the range that begins at `start`. Empty: nothing that is known of.
    ///
    /// # Errors
    /// The process's own memory, which would tell, cannot be read.
    pub fn at(&self, start: Va) -> Value<&[String]> {
        match (self.by_start.get(&start), self.silent) {
            (Some(found), _) => Ok(found),
            (None, None) => Ok(&[]),
            (None, Some(why)) => Err(why),
        }
    }
    fn put(&mut self, memory: &AddressSpace<'_>, va: Value<Va>, what: &Use, wow64: bool) {
        let Ok(va) = va else { return };
        let Some(vad) = vad_tree::find(&memory.tree.vads, va) else { return };
        let text = what.text(wow64);
        let here = self.by_start.entry(vad.start).or_default();
        if !here.contains(&text) {
            here.push(text);
        }
    }
}

/// The page that the kernel shares with every process (`wdm.h`: `KUSER_SHARED_DATA`, at this address in user mode since NT 4).
const SHARED_DATA: Va = Va(0x7ffe_0000);

/// What lives where in a process.
pub fn usage<'k>(
    process: &Process<'k>,
    kernel_space: &Space<'k>,
    memory: &AddressSpace<'k>,
    sides: &[Side<'_>],
) -> Usage {
    let mut out = Usage::default();
    out.put(memory, Ok(SHARED_DATA), &Use::Named("shared data"), false);
    for loaded in process_modules::modules(memory, sides).modules {
        if let Some(Ok(name)) = loaded.listed.as_ref().map(|m| m.name.clone()) {
            out.put(memory, loaded.base, &Use::Module(name.to_string()), false);
        }
    }
    for side in sides {
        of_peb(&mut out, memory, side);
    }
    of_threads(&mut out, process, kernel_space, memory);
    out
}

fn of_peb(out: &mut Usage, memory: &AddressSpace<'_>, side: &Side<'_>) {
    let wow64 = side.wow64;
    let peb = match side.view(&memory.space) {
        Ok(peb) => peb,
        Err(Absent::NotApplicable) => return,
        Err(why) => {
            out.silent = Some(why);
            return;
        }
    };
    if let Err(why) = peb.ldr() {
        out.silent = Some(why);
    }
    let named = [
        (side.peb, "peb"),
        (peb.parameters(), "process parameters"),
        (peb.shared(), "shared read-only memory"),
        (peb.api_set(), "api set map"),
        (peb.ansi_code_page(), "ansi code page"),
        (peb.oem_code_page(), "oem code page"),
        (peb.case_table(), "case table"),
        (peb.gdi_handles(), "gdi handles"),
        (peb.shim_data(), "shim data"),
        (peb.activation_context(), "activation context"),
        (peb.system_activation_context(), "system activation context"),
    ];
    for (va, what) in named {
        out.put(memory, va, &Use::Named(what), wow64);
    }
    if let Ok(parameters) = side.parameters(&memory.space) {
        out.put(memory, parameters.environment.0, &Use::Named("environment"), wow64);
    }
    if let Ok((heaps, _)) = side.heaps(&memory.space) {
        for heap in heaps {
            out.put(memory, Ok(heap.base), &Use::Heap(heap.index), wow64);
            for block in heap.blocks {
                let what = if block.large { Use::HeapBlock(heap.index) } else { Use::Heap(heap.index) };
                out.put(memory, Ok(block.base), &what, wow64);
            }
        }
    }
}

fn of_threads<'k>(out: &mut Usage, process: &Process<'k>, kernel_space: &Space<'k>, memory: &AddressSpace<'k>) {
    let Ok(threads) = process.thread_list(kernel_space) else { return };
    for thread in threads.list {
        let (Ok(tid), Ok(at)) = (thread.tid(), thread.teb()) else { continue };
        out.put(memory, Ok(at), &Use::Teb(tid), false);
        let Ok(teb) = process.kernel.teb(&memory.space, at, false) else { continue };
        // The stack's upper end is one past its last byte.
        let last = |va: Value<Va>| va.map(|v| v.sub(1));
        out.put(memory, last(teb.view.stack_base()), &Use::Stack(tid), false);
        let Ok(other) = teb.other_half() else { continue };
        let Ok(narrow) = process.kernel.teb(&memory.space, other, true) else { continue };
        out.put(memory, Ok(other), &Use::Teb(tid), true);
        out.put(memory, last(narrow.view.stack_base()), &Use::Stack(tid), true);
    }
}
