//! `stacks`: the stacks of each thread, with the range each lies in and its guard page.

use super::parallel::{asked_for, in_order};
use super::thread_walk::{Threaded, Worker, each_thread};
use super::{Analysis, Answers, Ask, Case, Subject, copied, which_thread, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::guard::Guard;
use crate::kernel::page_state::{Grain, State, pages};
use crate::kernel::process::Process;
use crate::kernel::stack::registers::wow64_context;
use crate::kernel::stack::thread::{Side, trap_frame};
use crate::kernel::teb::{Teb, TebLayout, TebTail};
use crate::kernel::thread::{EThread, Thread};
use crate::kernel::vad::Vad;
use crate::kernel::vad_tree;
use crate::paging::Space;
use crate::report::{Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
use crate::value::{Absent, Value};

/// The register's entry.
pub static STACKS: Analysis = Analysis {
    name: "stacks",
    about: "Stacks of each thread: bounds, address range, guard page, what is in memory",
    help: "One row for each stack: the kernel's, the user's, and the 32-bit one of a 32-bit process on a 64-bit Windows. base is one past the highest \
           byte; stacks grow down to limit, and further when the guard page below it is touched. pointer_inside is no where the stack \
           pointer lies elsewhere: in a fiber, in a run time's own stack, or where an exploit put it.\n\n\
           Example: dumpwalk stacks memory.dmp --name explorer",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, ask, sink| copied::thread(kernel, &COLUMNS, ask, sink)),
};

/// A stack of a thread.
struct StacksOf;
struct Of<'a> {
    process: &'a Process<'a>,
    with: &'a Threaded<'a, 'a>,
    thread: &'a Thread<'a>,
    stack: &'a Stack,
}
who::of_process!(StacksOf, Of);
which_thread::of_thread!(StacksOf, Of);

impl<'a> Of<'a> {
    fn teb(&self) -> Option<Teb<'a>> {
        let user = self.with.user()?;
        let teb = self.thread.kernel.teb(user, self.thread.teb().ok()?, false).ok()?;
        match self.stack.side {
            Side::Wow64 => self.thread.kernel.teb(user, teb.other_half().ok()?, true).ok(),
            _ => Some(teb),
        }
    }
    /// In the thread for its kernel stack, in a TEB for the others.
    fn bound(&self, kernel: At<EThread>, user: At<TebLayout>) -> Option<Place> {
        match self.stack.side {
            Side::Kernel => self.thread.view.at(kernel),
            _ => self.teb()?.view.at(user),
        }
    }
    fn reserved_at(&self) -> Option<Place> {
        match self.stack.side {
            Side::Kernel => self.thread.view.at(EThread::stack_limit),
            _ => self.teb()?.tail.at(TebTail::reserved_limit),
        }
    }
    fn inside(&self) -> Value<bool> {
        match (self.stack.pointer, self.stack.limit, self.stack.base) {
            (Ok(sp), Ok(limit), Ok(base)) => Ok(limit <= sp && sp <= base),
            (Err(why), ..) | (_, Err(why), _) | (_, _, Err(why)) => Err(why),
        }
    }
    fn vad(&self) -> Value<&'a Vad> {
        match (self.stack.side, self.with.memory, self.stack.base) {
            (Side::Kernel, ..) | (_, None, _) => Err(Absent::NotApplicable),
            (_, Some(memory), base) => {
                base.and_then(|base| vad_tree::find(&memory.tree.vads, base.sub(1)).ok_or(Absent::NotMapped))
            }
        }
    }
}

const FIELDS: &[Field<StacksOf>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    which_thread::tid(),
    derived(
        col("side", Kind::Text, "kernel, user or wow64 (32-bit code of a 64-bit Windows)"),
        "which of the thread's stacks it is",
        |c| c.stack.side.word().into(),
    ),
    placed(
        col("base", Kind::Hex, "Upper end: one past the highest byte"),
        |c| c.stack.base.into(),
        |c| c.bound(EThread::stack_base, TebLayout::stack_base),
    ),
    placed(
        col("limit", Kind::Hex, "Lower end of the committed part"),
        |c| c.stack.limit.into(),
        |c| c.bound(EThread::stack_limit, TebLayout::stack_limit),
    ),
    placed(
        col("reserved_limit", Kind::Hex, "Lower end of what is reserved (user: DeallocationStack)"),
        |c| c.stack.reserved.into(),
        |c| c.reserved_at(),
    ),
    derived(
        col(
            "pointer",
            Kind::Hex,
            "Stack pointer: of the last switch (kernel), of the last entry into the kernel (user)",
        ),
        "KernelStack of a kernel stack; else the trap frame, or the 32-bit context",
        |c| c.stack.pointer.into(),
    ),
    derived(
        col("pointer_inside", Kind::Bool, "Whether the pointer lies in the stack"),
        "pointer, base and limit",
        |c| c.inside().into(),
    ),
    derived(
        col(
            "guard",
            Kind::Hex,
            "First guard page below the committed part; of kernel stacks the page that is not mapped",
        ),
        "the page tables below limit",
        |c| c.stack.guard.map(|g| g.start).into(),
    ),
    derived(wide("guard_bytes", Kind::Number, "Bytes of guard pages"), "the page tables below limit", |c| {
        c.stack.guard.map(|g| g.bytes).into()
    }),
    derived(
        wide("resident", Kind::Number, "Bytes of the committed part that are in memory"),
        "the page tables between limit and base",
        |c| c.stack.resident.into(),
    ),
    derived(
        wide("vad_start", Kind::Hex, "First byte of the address range it lies in"),
        "the process's address ranges",
        |c| c.vad().map(|v| v.start).into(),
    ),
    derived(wide("vad_end", Kind::Hex, "Last byte of that range"), "the process's address ranges", |c| {
        c.vad().map(|v| v.end).into()
    }),
    derived(
        wide("in_vad", Kind::Bool, "Whether the whole stack lies in one range"),
        "reserved_limit, and the process's address ranges",
        |c| c.vad().and_then(|v| Ok(v.start <= c.stack.reserved.or(c.stack.limit)?)).into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let start = || Worker::of(kernel);
    let wanted = asked_for(case, ask, sink)?;
    in_order(wanted.into_iter(), start, |worker, process, sink| rows(worker, &process, ask, sink), sink)
}

/// The rows of a process.
///
/// # Errors
/// The symbols do not describe threads, or the sink's error.
pub fn rows<'k>(worker: &mut Worker<'k>, process: &Process<'k>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    each_thread(worker, process, false, sink, |with, thread, _, sink| {
        for stack in stacks(with, thread) {
            let of = Of { process: with.process, with, thread, stack: &stack };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(thread.place()))?;
        }
        Ok(())
    })
}

/// One stack.
struct Stack {
    side: Side,
    base: Value<Va>,
    limit: Value<Va>,
    reserved: Value<Va>,
    pointer: Value<Va>,
    guard: Value<Guard>,
    resident: Value<u64>,
}

fn stacks<'k>(with: &Threaded<'_, 'k>, thread: &Thread<'k>) -> Vec<Stack> {
    let mut out = vec![of_kernel(with.space, thread)];
    let Some(user) = with.user() else { return out };
    let kernel = thread.kernel;
    let Ok(teb) = thread.teb().and_then(|va| kernel.teb(user, va, false)) else { return out };
    let entered =
        trap_frame(thread, with.space).and_then(|f| f.registers()).and_then(|r| r.sp().ok_or(Absent::NotRecorded));
    // A trap frame of an entry from the kernel itself has a kernel stack's pointer.
    let entered = entered.and_then(|sp| if user_address(user, sp) { Ok(Va(sp)) } else { Err(Absent::NotRecorded) });
    out.push(of_teb(thread, user, Side::User, &teb, entered));
    if let Ok(other) = teb.other_half().and_then(|va| kernel.teb(user, va, true)) {
        let saved = teb.tail.tls_slots().and_then(|slots| wow64_context(user, slots));
        let pointer = saved.and_then(|r| r.sp().map(Va).ok_or(Absent::NotRecorded));
        out.push(of_teb(thread, user, Side::Wow64, &other, pointer));
    }
    out
}

fn user_address(user: &Space<'_>, va: u64) -> bool {
    if user.pointer_size() == 8 { va >> 63 == 0 } else { va < 0xc000_0000 }
}

fn of_kernel(space: &Space<'_>, thread: &Thread<'_>) -> Stack {
    let (base, limit) = (thread.view.stack_base(), thread.view.stack_limit());
    // Below a kernel stack one page is left unmapped.
    let guard = limit.and_then(|limit| {
        let start = limit.0.checked_sub(PAGE_SIZE).map(Va).ok_or(Absent::Implausible)?;
        match space.raw_entry(start) {
            Ok(0) | Err(Absent::NotMapped) => Ok(Guard { start, bytes: PAGE_SIZE }),
            Ok(_) => Err(Absent::NotApplicable),
            Err(why) => Err(why),
        }
    });
    let resident = resident(space, base, limit);
    Stack { side: Side::Kernel, base, limit, reserved: limit, pointer: thread.view.kernel_stack(), guard, resident }
}

fn of_teb(
    thread: &Thread<'_>,
    user: &Space<'_>,
    side: Side,
    teb: &crate::kernel::teb::Teb<'_>,
    pointer: Value<Va>,
) -> Stack {
    let (base, limit) = (teb.view.stack_base(), teb.view.stack_limit());
    let reserved =
        teb.tail.reserved_limit().and_then(|va| if va.is_null() { Err(Absent::NotRecorded) } else { Ok(va) });
    let guard = limit.and_then(|limit| thread.kernel.guard_below(user, limit));
    Stack { side, base, limit, reserved, pointer, guard, resident: resident(user, base, limit) }
}

/// More than any stack: the largest that a program can ask for is far smaller.
const MOST: u64 = 1 << 32;

/// Bytes between limit and base that are in memory.
fn resident(space: &Space<'_>, base: Value<Va>, limit: Value<Va>) -> Value<u64> {
    let (base, limit) = (base?, limit?);
    if base <= limit || base.0.saturating_sub(limit.0) > MOST {
        return Err(Absent::Implausible);
    }
    let here = |state| matches!(state, State::Valid | State::Transition | State::Prototype);
    Ok(pages(space, limit, base.sub(1), Grain::Runs).filter(|run| here(run.state)).map(|run| run.size).sum())
}
