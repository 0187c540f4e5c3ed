//! `crashinfo`: why the machine stopped, as the dump's header tells it.

use super::blame::blame;
use super::crash::Crash;
use super::{Analysis, Answers, Ask, Case, Subject, user};
use crate::addr::Va;
use crate::bytes::{Bytes, Place};
use crate::dump::{Dump, Header};
use crate::error::{Error, Result};
use crate::kernel::context::{Context, Exception, status_name};
use crate::kernel::find::Copied;
use crate::kernel::module::Modules;
use crate::kernel::process::Process;
use crate::kernel::thread::Thread;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed};
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// The register's entry.
pub static CRASHINFO: Analysis = Analysis {
    name: "crashinfo",
    about: "Why the machine stopped: bug check, its parameters, registers, exception",
    help: "Reads the crash-dump header, the call stack of the crash and the list of drivers. `driver` names the driver most likely to \
           blame and why: the one that a parameter of the bug check points into, else the first on the call stack that does not belong \
           to Windows; whose a driver is says its version resource, or its name where the dump lacks that. A stamp that is a hash \
           (reproducible builds) is no date. Live dumps have codes of their own (0x161 LIVE_SYSTEM_DUMP), tools leave a mark (DumpIt \
           writes MATT) or 0: `about` says that nothing crashed. Of a user-mode minidump, the exception it was written for.",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Machine,
    answers: Answers::of(run)
        .minidump(|case, dump, ask, sink| user::crashinfo(dump, ask, case.dump.arch, &COLUMNS, sink)),
};

/// A crash.
struct Crashes;
struct Of<'a> {
    dump: &'a Dump,
    header: &'a Header,
    crash: Crash<'a>,
    context: Value<Context>,
    running: Value<Running<'a>>,
    copied: Option<&'a Copied>,
}
impl crate::report::Subject for Crashes {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    fn instruction(&self) -> Value<Va> {
        self.context.as_ref().map_err(|e| *e).and_then(|c| c.instruction().ok_or(Absent::NotRecorded))
    }
    fn processor(&self) -> Value<u32> {
        self.crash.processor().or(self.running.as_ref().map_err(|e| *e).and_then(|r| r.processor))
    }
}

const FIELDS: &[Field<Crashes>] = &[
    placed(
        col("bugcheck", Kind::Hex, "Bug-check code"),
        |c| Cell::Hex(c.header.bugcheck.into()),
        |c| Some(Place::in_dump(c.header.bugcheck_at)),
    ),
    derived(
        col("bugcheck_name", Kind::Text, "Its name in Microsoft's reference"),
        "bugcheck, by Microsoft's reference",
        |c| c.crash.name().ok_or(Absent::NotRecorded).into(),
    ),
    derived(
        col("about", Kind::Text, "What it means; whether anything crashed at all"),
        "bugcheck and its parameters",
        |c| c.crash.about().ok_or(Absent::NotRecorded).into(),
    ),
    placed(
        col("parameters", Kind::Nested, "Its four parameters: value, meaning, what the value says, driver it lies in"),
        |c| parameters(&c.crash),
        |c| Some(Place::in_dump(c.header.parameters_at)),
    ),
    derived(
        col(
            "driver",
            Kind::Nested,
            "The driver most likely to blame: name, where its code was, why, whether it is one of Windows' own or was unloaded, path, \
         company, version, when it was built; where none can be named, why",
        ),
        "parameters, call stack, and the list of drivers",
        |c| blame(&c.crash).cell(),
    ),
    placed(
        col("exception", Kind::Nested, "The exception record: code, flags, address, parameters"),
        |c| exception(c.dump, c.header, &c.crash.modules),
        |c| Some(Place::in_dump(c.header.exception?.0)),
    ),
    derived(
        col("instruction", Kind::Hex, "Where the processor was (instruction pointer of the context)"),
        "the instruction pointer of the context record",
        |c| c.instruction().into(),
    ),
    derived(
        col("instruction_module", Kind::Text, "Module and offset of that"),
        "instruction, and the list of drivers",
        |c| c.instruction().and_then(|va| c.crash.place(va).ok_or(Absent::NotApplicable)).into(),
    ),
    derived(
        col(
            "stack",
            Kind::Texts,
            "The call stack of the crash: code, and how the frame was found (callstacks has addresses)",
        ),
        "the thread's stack, unwound frame by frame",
        |c| c.crash.frames(),
    ),
    derived(col("processor", Kind::Number, "Number of the processor"), "the processor's control block", |c| {
        c.processor().into()
    }),
    placed(
        col("registers", Kind::Nested, "Registers of the context record"),
        |c| c.context.as_ref().map_or_else(|why| Cell::Absent(*why), registers),
        |c| Some(Place::in_dump(c.header.context?.0)),
    ),
    placed(
        col("system_time", Kind::Time, "When the machine stopped, by the header"),
        |c| c.header.system_time.ok_or(Absent::NotRecorded).into(),
        |c| Some(Place::in_dump(c.header.system_time_at)),
    ),
    derived(
        col("uptime", Kind::Text, "How long it had run: days.hours:minutes:seconds"),
        "SystemUpTime of the header, in 100 ns",
        |c| c.header.uptime.ok_or(Absent::NotRecorded).map(duration).into(),
    ),
    derived(
        col("process", Kind::Nested, "The process that was running, and what says so"),
        "the processor's thread, or whose page tables it used",
        |c| c.copied.map_or_else(|| process_cell(&c.running), process_of_copy),
    ),
    derived(
        col("thread", Kind::Nested, "The thread that was running"),
        "the stack pointer of the context record, and the threads' stacks",
        |c| c.copied.map_or_else(|| thread_cell(&c.running), thread_of_copy),
    ),
    derived(
        col("comment", Kind::Text, "The comment that the writer left in the header"),
        "Comment of the header",
        |c| c.header.comment.clone().ok_or(Absent::NotRecorded).into(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let dump = &*case.dump;
    let Some(header) = &dump.header else {
        return Err(Error::NotAvailable(format!(
            "{} has no crash-dump header: a raw image does not say why it was taken",
            dump.path().display()
        )));
    };
    let crash = Crash::of(case, header);
    let context = read(dump, header.context).and_then(|b| Context::read(dump.arch.ok_or(Absent::NotRecorded)?, b));
    let running = running(case, &context);
    let copied = case.kernel().ok().and_then(|k| k.copied.as_ref());
    let of = Of { dump, header, crash, context, running, copied };
    sink.row(Row::of(FIELDS, &of, &ask.rows).at(Place::in_dump(0)).upright())
}

fn parameters(crash: &Crash<'_>) -> Cell {
    let known = crash.explained.as_ref().map(|e| &e.parameters);
    let one = |(i, value): (usize, &u64)| {
        let mut fields = vec![(Cow::Borrowed("value"), Cell::Hex(*value))];
        let parameter = known.and_then(|p| p.get(i));
        if let Some(meaning) = parameter.and_then(|p| p.meaning) {
            fields.push(("meaning".into(), meaning.into()));
        }
        if let Some(says) = parameter.and_then(|p| p.says.clone()) {
            fields.push(("says".into(), says.into()));
        }
        if let Some(name) = crash.place(Va(*value)) {
            fields.push(("in".into(), name.into()));
        }
        Cell::Object(fields)
    };
    Cell::List(crash.header.bugcheck_parameters.iter().enumerate().map(one).collect())
}

fn exception(dump: &Dump, header: &Header, modules: &Modules) -> Cell {
    let found = read(dump, header.exception).and_then(|b| Exception::read(dump.arch.ok_or(Absent::NotRecorded)?, b));
    let e = match found {
        Ok(e) => e,
        Err(why) => return Cell::Absent(why),
    };
    let mut fields = vec![("code".into(), Cell::Hex(e.code.into()))];
    if let Some(name) = status_name(e.code) {
        fields.push(("name".into(), name.into()));
    }
    fields.push(("flags".into(), Cell::Hex(e.flags.into())));
    fields.push(("address".into(), e.address.into()));
    if let Some(name) = modules.name(e.address) {
        fields.push(("in".into(), name.into()));
    }
    fields.push((Cow::Borrowed("parameters"), Cell::List(e.parameters.into_iter().map(Cell::Hex).collect())));
    Cell::Object(fields)
}

fn registers(context: &Context) -> Cell {
    Cell::Object(context.registers.iter().map(|(n, v)| ((*n).into(), Cell::Hex(*v))).collect())
}

fn read(dump: &Dump, at: Option<(u64, u32)>) -> Value<&[u8]> {
    let (at, len) = at.ok_or(Absent::NotRecorded)?;
    let from = usize::try_from(at).map_err(|_| Absent::NotInDump)?;
    let to = from.checked_add(len as usize).ok_or(Absent::NotInDump)?;
    dump.map().get(from..to).ok_or(Absent::NotInDump)
}

/// A span of 100 ns ticks.
fn duration(ticks: u64) -> String {
    let seconds = ticks / 10_000_000;
    let (minutes, s) = (seconds / 60, seconds % 60);
    let (hours, m) = (minutes / 60, minutes % 60);
    format!("{}.{:02}:{m:02}:{s:02}", hours / 24, hours % 24)
}

/// Who was running when the machine stopped.
struct Running<'k> {
    process: Value<Process<'k>>,
    thread: Value<Thread<'k>>,
    /// Number of the processor.
    processor: Value<u32>,
    /// What says so.
    by: &'static str,
}

fn running<'k>(case: &'k Case, context: &Value<Context>) -> Value<Running<'k>> {
    let kernel = case.kernel().map_err(|_| Absent::NoSymbol)?;
    let space = kernel.space();
    if let Some(triage) = case.dump.triage() {
        let part = triage.thread().ok_or(Absent::NotInDump);
        let thread = part.and_then(|part| {
            let bytes = Bytes::borrowed(part.bytes, part.va, None, Some(part.file.into()));
            kernel.thread_of(bytes).map_err(|_| Absent::NoSymbol)
        });
        let found = kernel.processes().map_err(|_| Absent::NoSymbol)?;
        let process = found.list.into_iter().next().ok_or(Absent::NotInDump);
        let processor = Err(Absent::NotRecorded);
        return Ok(Running { process, thread, processor, by: "the dump keeps copies of both" });
    }
    let on_processors = kernel.running(&space).unwrap_or_default();
    let stack = context.as_ref().ok().and_then(Context::stack);
    let on_its_stack = |t: &Thread<'_>| {
        stack.is_some_and(|sp| t.view.stack_limit().is_ok_and(|l| l <= sp) && t.view.stack_base().is_ok_and(|b| sp < b))
    };
    let threads = on_processors.into_iter().filter_map(|r| Some((r.processor, r.thread.ok()?)));
    let mut here = threads.filter(|(_, t)| on_its_stack(t));
    if let (Some((processor, thread)), None) = (here.next(), here.next()) {
        let processor = Ok(processor);
        let process = thread.view.owner().and_then(|va| kernel.process_at(&space, va).map_err(|_| Absent::NoSymbol));
        return Ok(Running {
            process,
            thread: Ok(thread),
            processor,
            by: "the stack pointer lies in the thread's kernel stack",
        });
    }
    // Without a thread: whose page tables the crashing processor used. It may have been attached to another process.
    let dtb = case.dump.header.as_ref().and_then(|h| h.dtb).ok_or(Absent::NotRecorded)?;
    let found = kernel.processes().map_err(|_| Absent::NoSymbol)?;
    let mut same = found.list.into_iter().filter(|p| p.dtb() == Ok(dtb) || p.user_dtb() == Ok(dtb));
    match (same.next(), same.next()) {
        (Some(process), None) => Ok(Running {
            process: Ok(process),
            thread: Err(Absent::NotRecorded),
            processor: Err(Absent::NotRecorded),
            by: "the processor used its page tables",
        }),
        _ => Err(Absent::NotRecorded),
    }
}

/// Who was running, in a few words; `None` where that is not known.
pub(super) fn running_text(crash: &Crash<'_>) -> Option<String> {
    if let Some(copied) = crash.case.kernel().ok().and_then(|k| k.copied.as_ref()) {
        let thread = copied.thread.map(|(tid, _)| format!(", thread {tid}")).unwrap_or_default();
        return Some(format!("process {} {}{thread}", copied.pid, copied.name));
    }
    let dump = &*crash.case.dump;
    let context = read(dump, crash.header.context);
    let context = context.and_then(|b| Context::read(dump.arch.ok_or(Absent::NotRecorded)?, b));
    let running = running(crash.case, &context).ok()?;
    let process = running.process.ok()?;
    let name = process.name().unwrap_or_else(|_| "?".into());
    let thread = running.thread.and_then(|t| t.tid()).map(|tid| format!(", thread {tid}")).unwrap_or_default();
    Some(format!("process {} {name}{thread}", process.pid().ok()?))
}

fn process_cell(running: &Value<Running<'_>>) -> Cell {
    match running.as_ref().map_err(|e| *e).and_then(|r| Ok((r.process.as_ref().map_err(|e| *e)?, r.by))) {
        Ok((p, by)) => Cell::Object(vec![
            ("pid".into(), p.pid().into()),
            ("name".into(), p.name().into()),
            ("offset".into(), p.offset().ok_or(Absent::NotRecorded).into()),
            ("by".into(), by.into()),
        ]),
        Err(why) => Cell::Absent(why),
    }
}

fn process_of_copy(copied: &Copied) -> Cell {
    Cell::Object(vec![
        ("pid".into(), copied.pid.into()),
        ("name".into(), copied.name.clone().into()),
        ("offset".into(), Cell::Absent(Absent::NotRecorded)),
        ("by".into(), "the dump keeps a copy".into()),
    ])
}

fn thread_of_copy(copied: &Copied) -> Cell {
    let Some((tid, _)) = copied.thread else { return Cell::Absent(Absent::NoSymbol) };
    Cell::Object(vec![("tid".into(), tid.into()), ("offset".into(), Cell::Absent(Absent::NotRecorded))])
}

fn thread_cell(running: &Value<Running<'_>>) -> Cell {
    match running.as_ref().map_err(|e| *e).and_then(|r| r.thread.as_ref().map_err(|e| *e)) {
        Ok(t) => Cell::Object(vec![
            ("tid".into(), t.tid().into()),
            ("offset".into(), t.offset().ok_or(Absent::NotRecorded).into()),
        ]),
        Err(why) => Cell::Absent(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(duration(0), "0.00:00:00");
        assert_eq!(duration(10_000_000 * (86_400 + 3_661)), "1.01:01:01");
    }
}
