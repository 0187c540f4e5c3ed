//! Threads: kernel object, kernel stack with a walkable wait, TEB and user stack.

use super::user::User;
use crate::image::{functions, functions_x86};
use crate::machine::{Header, Machine};
use crate::memory::{PAGE, PoolKind, Soft, software};
use crate::scenario::{Process, Thread};
use crate::truth::Json;

/// What the caller knows of the thread's process.
pub struct Owner<'a> {
    /// The process.
    pub process: &'a Process,
    /// Its `_EPROCESS`.
    pub eprocess: u64,
    /// Its PEB.
    pub peb: u64,
    /// Address of ntdll's code, where user threads wait.
    pub ntdll: u64,
}

/// A planted thread.
pub struct Made {
    /// `_ETHREAD`.
    pub va: u64,
    /// Its id.
    pub tid: u64,
    /// Its truth.
    pub truth: Json,
    /// Kernel stack pointer and the address it returns to.
    pub kernel: (u64, u64),
    /// User instruction pointer, stack pointer and stack base; zeros without a TEB.
    pub user: (u64, u64, u64),
    /// Kernel stack base.
    pub base: u64,
    /// First frame pointer of the kernel stack, on x86.
    pub ebp: u64,
}

/// Plants thread number `index` of a process; `start` is where it began, and where it entered the kernel from, if not from ntdll.
pub fn plant(
    m: &mut Machine,
    o: &Owner,
    t: &Thread,
    index: u64,
    tid: u64,
    (start, at): (u64, Option<u64>),
    user: Option<&mut User>,
) -> Made {
    let va = m.object("Thread", m.layouts.size("_ETHREAD"), &Header { pointers: 2, quota: true, ..Header::default() });
    let (limit, base) = m.kernel_stack();
    let (teb, user_stack) = match user {
        Some(user) => teb(m, o, index, tid, user),
        None => (0, 0),
    };
    let trap = if teb == 0 { 0 } else { trap_frame(m, base, at.unwrap_or(o.ntdll + 0x14), user_stack) };
    // The stack was filled a page at a time, and its base is the next multiple of 64 KB.
    let user_state =
        if teb == 0 { (0, 0, 0) } else { (o.ntdll + 0x14, user_stack, user_stack.next_multiple_of(0x1_0000)) };
    let (stack, rip, ebp) = match m.layouts.machine() {
        0xAA64 => wait_arm64(m, base),
        0x8664 => wait(m, base),
        _ => wait_x86(m, base),
    };
    let alive = t.exit.is_none();
    let create = o.process.create + index * 137_000;
    let mut e = m.obj("_ETHREAD");
    e.set("Tcb.Header.Type", 6).set("Tcb.Header.SignalState", (!alive).into());
    e.set_opt("Tcb.Process", o.eprocess)
        .set_opt("ThreadsProcess", o.eprocess)
        .set("Tcb.ApcState.Process", o.eprocess)
        .set("Tcb.Teb", teb)
        .set("Tcb.TrapFrame", trap);
    e.set("Tcb.InitialStack", base)
        .set("Tcb.StackBase", base)
        .set("Tcb.StackLimit", limit)
        .set("Tcb.KernelStack", stack);
    e.set("Tcb.State", if alive { t.state } else { 4 })
        .set("Tcb.WaitReason", t.reason)
        .set("Tcb.Priority", 9)
        .set("Tcb.BasePriority", 8);
    e.set("Tcb.ContextSwitches", 40 + tid % 50)
        .set("Tcb.KernelTime", 3)
        .set("Tcb.UserTime", 2)
        .set("Tcb.WaitTime", 1000 + tid);
    e.set("Tcb.PreviousMode", u64::from(teb != 0)).set("Tcb.WaitIrql", 0).set("Tcb.WaitMode", u64::from(teb != 0));
    if t.suspended != 0 {
        e.set("Tcb.SuspendCount", t.suspended);
    }
    // XP keeps three other bits below the time.
    let shift = if m.layouts.find("_ETHREAD", "NestedFaultCount").is_some() { 3 } else { 0 };
    e.set("CreateTime.QuadPart", create << shift).set("StartAddress", start).set("Win32StartAddress", start);
    e.set("Cid.UniqueProcess", o.process.pid).set("Cid.UniqueThread", tid);
    if let Some((time, status)) = t.exit {
        e.set("ExitTime.QuadPart", time).set("ExitStatus", status.into()).set_opt("Terminated", 1);
    } else {
        // While a thread lives, its exit time is the head of a list.
        let chain = va + m.layouts.offset("_ETHREAD", "KeyedWaitChain");
        if o.process.leaving {
            // Windows marks all threads before the process.
            e.set_opt("Terminated", 1);
        }
        e.set("KeyedWaitChain.Flink", chain).set("KeyedWaitChain.Blink", chain).set("ExitStatus", 0x103);
    }
    m.write(va, &e.bytes);
    for list in ["Tcb.Header.WaitListHead", "Tcb.MutantListHead", "IrpList", "ActiveTimerListHead"] {
        let at = va + m.layouts.offset("_ETHREAD", list);
        m.link(at, &[]);
    }
    if let (Some(name), true) = (&t.name, m.layouts.find("_ETHREAD", "ThreadName").is_some()) {
        let at = m.alloc(PoolKind::NonPaged, b"ThNm", m.layouts.size("_UNICODE_STRING") + 2 * name.len() as u64 + 2);
        let mut u = m.obj("_UNICODE_STRING");
        let length = 2 * name.encode_utf16().count() as u64;
        let buffer = at + u.bytes.len() as u64;
        u.set("Length", length).set("MaximumLength", length).set("Buffer", buffer);
        u.bytes.extend(name.encode_utf16().flat_map(u16::to_le_bytes));
        m.write(at, &u.bytes);
        m.poke(va, "_ETHREAD", "ThreadName", at);
    }
    let truth = Json::object()
        .with("name", t.name.clone())
        .with("tid", tid)
        .with("et", va)
        .with("teb", teb)
        .with("teb32", if o.process.wow64 && teb != 0 { Some(teb + 0x2000) } else { None })
        .with("start", start)
        .with("win32start", start)
        .with("state", if alive { t.state } else { 4 })
        .with("wait_reason", t.reason)
        .with("create", create)
        .with("exit", t.exit.map_or(0, |x| x.0))
        .with("stack_base", base)
        .with("stack_limit", limit)
        .with("kernel_stack", stack)
        .with("trap_frame", trap);
    let truth = if teb != 0 && o.process.guards { truth.with("user_stack", bounds(user_state.2)) } else { truth };
    Made { va, tid, truth, kernel: (stack, rip), base, ebp, user: user_state }
}

/// What is told of a user stack with a guard page.
fn bounds(base: u64) -> Json {
    Json::object()
        .with("base", base)
        .with("limit", base - 2 * PAGE)
        .with("guard", base - 3 * PAGE)
        .with("reserved", base - 0x1_0000)
}

/// TEB and one committed page of user stack.
fn teb(m: &mut Machine, o: &Owner, index: u64, tid: u64, user: &mut User) -> (u64, u64) {
    // A 32-bit process has a second TEB two pages above each.
    let teb = user.area + super::peb::PEB - if o.process.wow64 { 0x4000 } else { 0x2000 } * (index + 1);
    let base = user.area + 0x1_0000 * (index + 1);
    let stack = base - 0x98;
    user.private(base - 0x1_0000, 16, 2, 4);
    user.write(m, base - PAGE, &[0]);
    if o.process.guards {
        // `MM_GUARD_PAGE` (0x10) with read and write, promised and not there: what VirtualAlloc leaves below a new stack.
        let entry = software(&m.layouts, Soft::DemandZero, 0x14, m.pte_mask);
        user.space.set_entry(&mut m.mem, base - 3 * PAGE, entry);
    }
    user.write(m, stack, &m.word(o.ntdll + 0x20));
    let mut t = m.obj("_TEB");
    t.set("NtTib.StackBase", base).set("NtTib.StackLimit", base - 2 * PAGE).set("NtTib.Self", teb);
    if o.process.guards {
        t.set("DeallocationStack", base - 0x1_0000);
    }
    t.set("ClientId.UniqueProcess", o.process.pid)
        .set("ClientId.UniqueThread", tid)
        .set("ProcessEnvironmentBlock", o.peb);
    t.set("RealClientId.UniqueProcess", o.process.pid).set("RealClientId.UniqueThread", tid);
    // The second page of a TEB is rarely touched; it is left out here, as the working-set manager would.
    if o.process.wow64 {
        let (teb32, _) = super::wow64::teb(m, o.process, user, teb, index, tid);
        t.set("NtTib.ExceptionList", teb32).set_opt("WowTebOffset", 0x2000);
    }
    let kept = if o.process.guards { t.bytes.len() } else { t.bytes.len().min(PAGE as usize) };
    user.write(m, teb, &t.bytes[..kept]);
    (teb, stack)
}

fn trap_frame(m: &mut Machine, base: u64, rip: u64, rsp: u64) -> u64 {
    // Whose place is in no table at hand: the thread says of none.
    if !m.layouts.has("_KTRAP_FRAME") {
        return 0;
    }
    let at = base - m.layouts.size("_KTRAP_FRAME");
    let mut f = m.obj("_KTRAP_FRAME");
    if f.has("Pc") {
        f.set("Pc", rip).set("Sp", rsp);
    } else if m.pointer() == 8 {
        f.set("Rip", rip).set("Rsp", rsp).set("SegCs", 0x33).set("SegSs", 0x2B).set("EFlags", 0x246);
    } else {
        f.set("Eip", rip).set("HardwareEsp", rsp).set("Ebp", rsp + 8).set("EFlags", 0x246);
        f.set("SegCs", 0x1B).set("HardwareSegSs", 0x23).set("SegDs", 0x23).set("SegEs", 0x23).set("SegFs", 0x3B);
    }
    m.write(at, &f.bytes);
    at
}

/// The frames of a thread that waits in `NtWaitForSingleObject`; gives the stack pointer `KTHREAD.KernelStack` and the
/// address to go on at. At the pointer lies the switch frame: home space, a flag, rbp, the return address (seven words before it).
fn wait(m: &mut Machine, base: u64) -> (u64, u64, u64) {
    let sections = crate::image::kernel_sections(&m.layouts);
    let code = sections.iter().find(|s| s.name == "INIT").map_or(0, |s| s.rva);
    let list = functions(code);
    let kernel = m.regions.kernel;
    // From the outermost frame inwards, below the place of the trap frame.
    let mut at = base - m.layouts.size("_KTRAP_FRAME") - 8;
    let outer = m.global_opt("KiSystemServiceRepeat").or(m.global_opt("KiSystemServiceStart")).unwrap_or(kernel + code);
    m.write(at, &(outer + 0x20).to_le_bytes());
    for f in list.iter().rev() {
        at -= f.frame() + 8;
        m.write(at, &(kernel + f.returns_to).to_le_bytes());
    }
    let stack = at - 0x38;
    m.write(stack + 0x30, &(base - 0x400).to_le_bytes());
    (stack, kernel + list[0].returns_to, 0)
}

/// The same on ARM64, where frame records are chained. How a thread's registers lie in the record of its switch is not published: nothing
/// is claimed of it but that a return address into the switch lies above the pointer.
fn wait_arm64(m: &mut Machine, base: u64) -> (u64, u64, u64) {
    let sections = crate::image::kernel_sections(&m.layouts);
    let code = sections.iter().find(|s| s.name == "INIT").map_or(0, |s| s.rva);
    let list = crate::image::functions_arm64(code);
    let kernel = m.regions.kernel;
    let outer = m.global_opt("KiSystemServiceRepeat").or(m.global_opt("KiSystemServiceStart")).unwrap_or(kernel + code);
    // Where no table at hand has the frame, as much room as 24H2 takes for it.
    let trap = if m.layouts.has("_KTRAP_FRAME") { m.layouts.size("_KTRAP_FRAME") } else { 0x150 };
    let mut at = base - trap - 16;
    m.write(at, &m.words(&[0, outer + 0x20]));
    let mut fp = at;
    for (i, f) in list.iter().enumerate().rev() {
        // Its record: the caller's frame pointer, and where it returns to, behind the caller's call.
        let to = list.get(i + 1).map_or(outer + 0x20, |caller| kernel + caller.returns_to);
        at -= f.locals;
        m.write(at, &m.words(&[fp, to]));
        fp = at;
    }
    let stack = at - 0x40;
    m.write(stack + 0x20, &m.words(&[fp, kernel + list[0].returns_to]));
    (stack, kernel + list[0].returns_to, fp)
}

/// The same on x86, where frames are chained: at the pointer lie the exception list, a flag and the return address; the
/// registers that the switch saved follow, ebp last, and then the chain of saved ebp and return address.
fn wait_x86(m: &mut Machine, base: u64) -> (u64, u64, u64) {
    let sections = crate::image::kernel_sections(&m.layouts);
    let code = sections.iter().find(|s| s.name == "INIT").map_or(0, |s| s.rva);
    let list = functions_x86(code);
    let kernel = m.regions.kernel;
    let outer = m.global_opt("KiSystemServiceRepeat").or(m.global_opt("KiSystemServiceStart")).unwrap_or(kernel + code);
    let mut at = base - m.layouts.size("_KTRAP_FRAME") - 8;
    // The outermost frame ends the chain at the trap frame.
    m.write(at, &m.words(&[base - m.layouts.size("_KTRAP_FRAME"), outer + 0x20]));
    let mut ebp = at;
    for f in list.iter().skip(1).rev().take(list.len() - 2) {
        at -= f.locals + 8;
        m.write(at, &m.words(&[ebp, kernel + f.returns_to]));
        ebp = at;
    }
    // The switch itself: list, flag, return address into it; edi, esi, ebx, ebp; return address into its caller.
    let stack = at - list[1].locals - 0x20;
    let frame = [0xFFFF_FFFF, 0, kernel + list[0].returns_to, 0, 0, 0, ebp, kernel + list[1].returns_to];
    m.write(stack, &m.words(&frame));
    (stack, kernel + list[0].returns_to, ebp)
}
