//! What threads and their stacks are told by: gathered once for each process, shared by `threads`, `stacks` and `callstacks`.

use super::code::{CodeReader, Location, kernel_code};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::process::Process;
use crate::kernel::shared_data::Clock;
use crate::kernel::stack::images::CodeMap;
use crate::kernel::stack::thread::{Moment, Side, Stack, Stacks};
use crate::kernel::stack::walk::Frame;
use crate::kernel::thread::{Thread, Threads};
use crate::paging::Space;
use crate::report::{Cell, Sink};
use crate::value::{Absent, Note};
use rustc_hash::{FxHashMap, FxHashSet};
use std::cell::RefCell;
use std::fmt::Write as _;

/// What the rows of all threads share.
#[derive(Debug)]
pub struct Common<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// Its clock.
    pub clock: Clock,
    moment: Moment,
    kernel_code: CodeMap,
    /// Whether rows carry the threads' stacks.
    pub stacks: bool,
}

impl<'k> Common<'k> {
    /// Reads the clock, the processors and the kernel's modules.
    #[must_use]
    pub fn of(kernel: &'k Kernel, stacks: bool) -> Self {
        let space = kernel.space();
        Self {
            kernel,
            clock: kernel.clock(&space),
            moment: Moment::of(kernel, &space),
            kernel_code: kernel_code(kernel),
            stacks,
        }
    }
}

/// What each worker has of its own.
#[derive(Debug)]
pub struct Worker<'k> {
    /// Kernel memory.
    pub space: Space<'k>,
    code: CodeReader<'k>,
    /// What was gathered of the process at this address, whose threads were told last: sections of a page ask one after the other.
    last: Option<(Va, Gathered<'k>)>,
    /// What the addresses of kernel code that were met are: the stacks of a machine's threads end in few functions.
    met: RefCell<FxHashMap<Va, Location>>,
}

/// Addresses of kernel code that a worker remembers; the stacks of a hostile dump can name any number.
const MOST_MET: usize = 1 << 14;

/// The threads of a process, and what they are told by.
#[derive(Debug)]
struct Gathered<'k> {
    memory: Option<AddressSpace<'k>>,
    code: CodeMap,
    threads: Threads<'k>,
    /// Those that only the scheduler's list has.
    unlinked: Vec<Thread<'k>>,
}

impl<'k> Worker<'k> {
    /// A worker.
    #[must_use]
    pub fn of(kernel: &'k Kernel) -> Self {
        Self { space: kernel.space(), code: CodeReader::of(kernel), last: None, met: RefCell::default() }
    }
    fn gather(&mut self, process: &Process<'k>) -> Result<Gathered<'k>> {
        if let Some((of, gathered)) = self.last.take()
            && process.offset() == Some(of)
        {
            return Ok(gathered);
        }
        let memory = AddressSpace::of(process, &self.space).ok();
        let code = memory.as_ref().map_or_else(CodeMap::default, |m| self.code.user(&self.space, &m.tree));
        let threads = process.thread_list(&self.space)?;
        // The scheduler has a list of its own. What only that one has was taken off the other.
        let listed: FxHashSet<Option<Va>> = threads.list.iter().map(Thread::offset).collect();
        let mut unlinked = process.scheduler_thread_list(&self.space)?.list;
        unlinked.retain(|thread| !listed.contains(&thread.offset()));
        Ok(Gathered { memory, code, threads, unlinked })
    }
}

/// A process with what its threads are told by.
#[derive(Clone, Copy)]
pub struct Threaded<'a, 'k> {
    /// The process.
    pub process: &'a Process<'k>,
    /// Kernel memory.
    pub space: &'a Space<'k>,
    /// Its own memory.
    pub memory: Option<&'a AddressSpace<'k>>,
    /// Its images.
    pub code: &'a CodeMap,
    met: &'a RefCell<FxHashMap<Va, Location>>,
}

impl<'a, 'k> Threaded<'a, 'k> {
    /// The pages of its own memory.
    #[must_use]
    pub fn user(&self) -> Option<&'a Space<'k>> {
        self.memory.map(|m| &m.space)
    }
}

/// Hands every thread of a process to `each`, with what is needed to tell of it.
///
/// # Errors
/// The symbols do not describe threads, or the sink's error.
pub fn each_thread<'k>(
    worker: &mut Worker<'k>,
    process: &Process<'k>,
    unlinked: bool,
    sink: &mut dyn Sink,
    mut each: impl FnMut(&Threaded<'_, 'k>, &Thread<'k>, bool, &mut dyn Sink) -> Result<()>,
) -> Result<()> {
    let gathered = worker.gather(process)?;
    let Gathered { memory, code, threads, unlinked: hidden } = &gathered;
    let pid = process.pid().map_or_else(|_| "?".into(), |p| p.to_string());
    for note in &threads.notes {
        sink.note(Note { loss: note.loss, text: format!("process {pid}: {}", note.text) });
    }
    let threaded = Threaded { process, space: &worker.space, memory: memory.as_ref(), code, met: &worker.met };
    for thread in &threads.list {
        each(&threaded, thread, false, sink)?;
    }
    for thread in hidden {
        let tid = thread.tid().map_or_else(|_| "?".into(), |t| t.to_string());
        let at = thread.offset().unwrap_or_default();
        sink.note(Note::info(format!(
            "process {pid}: thread {tid} at {at} is on the scheduler's list but not on the process' own: it was unlinked"
        )));
        if unlinked {
            each(&threaded, thread, true, sink)?;
        }
    }
    worker.last = process.offset().map(|at| (at, gathered));
    Ok(())
}

/// The location of an address that a thread names, in the kernel or in its process.
pub fn location(common: &Common<'_>, with: &Threaded<'_, '_>, va: Va) -> Location {
    match (with.user(), common.kernel_code.find(va)) {
        (Some(user), None) => Location::of(common.kernel, user, with.code, va),
        _ => kernel_location(common, with, va),
    }
}

/// What an address of the kernel's code is; looked up once.
fn kernel_location(common: &Common<'_>, with: &Threaded<'_, '_>, va: Va) -> Location {
    let mut met = with.met.borrow_mut();
    if met.len() >= MOST_MET {
        met.clear();
    }
    met.entry(va).or_insert_with(|| Location::of(common.kernel, with.space, &common.kernel_code, va)).clone()
}

/// Walks a thread's stacks.
pub fn walk<'k>(common: &Common<'k>, with: &Threaded<'_, 'k>, thread: &Thread<'k>) -> Stack {
    let stacks = Stacks { moment: &common.moment, kernel_code: &common.kernel_code, user_code: with.code };
    stacks.walk(thread, with.space, with.user())
}

/// The location of a frame's code.
pub fn frame_location(common: &Common<'_>, with: &Threaded<'_, '_>, side: Side, ip: Va) -> Location {
    match (side, with.user()) {
        (Side::User | Side::Wow64, Some(user)) => Location::of(common.kernel, user, with.code, ip),
        _ => kernel_location(common, with, ip),
    }
}

/// A thread's stack as one cell.
pub fn stack<'k>(common: &Common<'k>, with: &Threaded<'_, 'k>, thread: &Thread<'k>) -> Cell {
    nested(&walk(common, with, thread), |side, ip| frame_location(common, with, side, ip))
}

/// A stack as one cell.
pub fn nested(stack: &Stack, locate: impl Fn(Side, Va) -> Location) -> Cell {
    let frame = |(i, (side, frame)): (usize, &(Side, Frame))| {
        let at = locate(*side, frame.ip);
        Cell::Object(vec![
            ("frame".into(), (i as u64).into()),
            ("side".into(), side.word().into()),
            ("ip".into(), frame.ip.into()),
            ("sp".into(), frame.sp.into()),
            ("module".into(), at.module_name().into()),
            ("offset".into(), at.offset.map_or_else(Cell::Absent, Cell::Hex)),
            ("symbol".into(), symbol(at.symbol)),
            ("how".into(), frame.how.word().into()),
        ])
    };
    Cell::List(stack.frames.iter().enumerate().map(frame).collect())
}

/// A location's function as a cell.
#[must_use]
pub fn symbol(function: Option<(String, u32)>) -> Cell {
    let Some((mut name, distance)) = function else { return Cell::Absent(Absent::NoSymbol) };
    if distance > 0 {
        // Writing to a string cannot fail.
        let _ = write!(name, "+{distance:#x}");
    }
    name.into()
}
