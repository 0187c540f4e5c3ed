//! Where the processor was when it crashed, as real triage dumps have it: in a DPC on a stack of its own, or on its idle thread. In both
//! a driver called `KeBugCheckEx`, whose return address lies at the stack pointer of the saved registers.
//!
//! Source: of 52 real triage dumps 33 crashed on the idle thread (`Cid` 0/0, `KTHREAD.Process` the Idle process inside the kernel's
//! image, `ApcState.Process` System, which is the process that is copied; the `_KPRCB` has `CurrentThread` = `IdleThread`); others on DPC,
//! interrupt and double-fault stacks, outside of the thread's `StackLimit` to `StackBase`.

use super::process::Processes;
use crate::machine::Machine;
use crate::memory::{PAGE, PoolKind};
use crate::scenario::{CrashOn, Scenario};
use crate::truth::Json;

/// Moves the crash there; gives its truth. Nothing where it is a thread's own.
pub fn place(m: &mut Machine, s: &Scenario, p: &mut Processes, modules: Option<&Json>) -> Option<Json> {
    if s.crash_on == CrashOn::Thread {
        return None;
    }
    let stack_pointer = if m.pointer() == 8 { "Rsp" } else { "Esp" };
    let place = m.layouts.place("_CONTEXT", stack_pointer);
    let from = place.offset as usize;
    let mut raw = [0; 8];
    raw[..m.pointer() as usize].copy_from_slice(&p.context[from..from + m.pointer() as usize]);
    let mut sp = u64::from_le_bytes(raw);
    let caller = last_driver(modules) + 0x783E;
    match s.crash_on {
        CrashOn::Thread => return None,
        CrashOn::Dpc => {
            // The same frames at the top of another stack.
            let n = p.crashed.base - p.crashed.stack;
            assert!(n < PAGE, "only the topmost page of a stack is in memory");
            let bytes = m.kernel.read(&m.mem, p.crashed.stack, n);
            let (_, base) = m.kernel_stack();
            m.write(base - n, &bytes);
            sp = sp - p.crashed.stack + base - n;
            (p.crashed.stack, p.crashed.base) = (base - n, base);
        }
        CrashOn::Idle => {
            let idle = m.regions.kernel + 0x0052_4A00;
            let mut e = m.obj("_ETHREAD");
            e.set("Tcb.Header.Type", 6).set("Tcb.State", 2).set("Tcb.ApcState.Process", p.crashed.process);
            e.set_opt("Tcb.Process", idle).set_opt("ThreadsProcess", idle);
            e.set("Tcb.InitialStack", p.crashed.base).set("Tcb.StackBase", p.crashed.base);
            e.set("Tcb.StackLimit", p.crashed.base - 6 * PAGE).set("Tcb.KernelStack", p.crashed.stack);
            p.crashed.thread = m.put(PoolKind::NonPaged, b"Idle", &e);
        }
    }
    let word = m.word(sp);
    p.context[from..from + word.len()].copy_from_slice(&word);
    let word = m.word(caller);
    m.write(sp, &word);
    Some(
        Json::object()
            .with("on", if s.crash_on == CrashOn::Dpc { "dpc" } else { "idle" })
            .with("ip", p.rip)
            .with("sp", sp)
            .with("caller", caller),
    )
}

/// Where the driver that was loaded last begins.
fn last_driver(modules: Option<&Json>) -> u64 {
    let Some(Json::List(all)) = modules else { return 0 };
    match all.last().and_then(|d| d.get("base")) {
        Some(Json::Number(base)) => *base,
        _ => 0,
    }
}
