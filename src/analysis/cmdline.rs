//! `cmdline`: what each process was started with.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::peb::Parameters;
use crate::kernel::process::Process;
use crate::kernel::sides::{Side, Sides};
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
use crate::symbols::layout::Layout as _;
use crate::utf16::Text;
use crate::value::{Absent, Value};
use std::borrow::Cow;

/// The register's entry.
pub static CMDLINE: Analysis = Analysis {
    name: "cmdline",
    about: "Command line, image path, current directory of each process",
    help: "From the process parameters, which lie in the process's own memory: a process can rewrite them. Of a 32-bit process on 64-bit Windows \
           the native side's are shown; wow64 has those of the 32-bit side, which its own code sees and changes.\n\n\
           Example: dumpwalk cmdline memory.dmp --name powershell",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(|case, dump, ask, sink| user::cmdline(&case.dump, dump, ask, sink)),
};

/// The columns.
pub const COLUMNS: [Column; 24] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("command_line", Kind::Text, "Command line"),
    col("image_path", Kind::Text, "Image path (ImagePathName)"),
    col("current_directory", Kind::Text, "Current directory"),
    wide("window_title", Kind::Text, "Window title"),
    wide("desktop", Kind::Text, "Window station and desktop"),
    wide("shell_info", Kind::Text, "What the shell passed on"),
    wide("dll_path", Kind::Text, "Search path for DLLs"),
    wide("standard_input", Kind::Hex, "Handle of standard input"),
    wide("standard_output", Kind::Hex, "Handle of standard output"),
    wide("standard_error", Kind::Hex, "Handle of standard error"),
    wide("console", Kind::Hex, "Handle of the console"),
    wide("parameter_flags", Kind::Hex, "RTL_USER_PROC_… flags"),
    wide("window_flags", Kind::Texts, "STARTF_… flags of the start"),
    wide("show_window", Kind::Number, "SW_… of the first window"),
    wide("being_debugged", Kind::Bool, "BeingDebugged of the PEB"),
    wide("global_flag", Kind::Hex, "NtGlobalFlag of the PEB"),
    wide("global_flags", Kind::Texts, "The same by name, as gflags names them: heap checks, stack traces, page heap"),
    wide("peb_flags", Kind::Texts, "Flags of the PEB's BitField that are set, by the kernel's own names"),
    wide("peb", Kind::Hex, "Address of the PEB"),
    wide("parameters", Kind::Hex, "Address of the process parameters"),
    wide("wow64", Kind::Nested, "The 32-bit side: peb, command_line, image_path, current_directory"),
];

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let sides = Sides::of(kernel).map_err(|e| kernel.unreadable(&e))?;
    each_process(case, ask, sink, |space, process, sink| {
        let row = row(&sides, process, space, ask, sink);
        sink.row(row)
    })
}

/// The row of a process.
pub fn row<'k>(sides: &Sides<'k>, process: &Process<'k>, space: &Space<'k>, ask: &Ask, sink: &mut dyn Sink) -> Row {
    let memory = AddressSpace::of(process, space);
    let sides = sides.of_process(process, space);
    let native = sides.first();
    let memory = memory.as_ref().map_err(|e| *e);
    if let Ok(m) = memory {
        tell(process, m.tree.notes.iter().cloned(), sink);
    }
    let read = |side: Option<&Side<'_>>| -> Value<Parameters> {
        side.ok_or(Absent::NotApplicable)?.parameters(&memory?.space)
    };
    let own = read(native);
    let peb = native.ok_or(Absent::NotApplicable).and_then(|s| s.view(&memory?.space));
    let p = |get: fn(&Parameters) -> Cell| own.as_ref().map_or_else(|e| Cell::Absent(*e), get);
    let peb_cell =
        |get: &dyn Fn(&crate::kernel::peb::Peb<'_>) -> Cell| peb.as_ref().map_or_else(|e| Cell::Absent(*e), get);
    let handle = |i: usize| -> Cell {
        let h =
            own.as_ref().map_err(|e| *e).and_then(|p| p.handles.get(i).copied().unwrap_or(Err(Absent::NotApplicable)));
        h.into()
    };
    let [pid, name] = who::cells(process);
    let cells: [Cell; COLUMNS.len()] = [
        pid,
        name,
        who::address(process),
        p(|p| p.command_line.clone().into()),
        p(|p| p.image_path.clone().into()),
        p(|p| p.directory.clone().into()),
        p(|p| p.window_title.clone().into()),
        p(|p| p.desktop.clone().into()),
        p(|p| p.shell.clone().into()),
        p(|p| p.dll_path.clone().into()),
        handle(0),
        handle(1),
        handle(2),
        p(|p| p.console.into()),
        p(|p| p.flags.map_or_else(Cell::Absent, |f| Cell::Hex(f.into()))),
        p(|p| p.window_flags.map(start_flags).into()),
        p(|p| p.show_window.into()),
        peb_cell(&|v| v.being_debugged().map(|b| b != 0).into()),
        peb_cell(&|v| v.global_flag().map_or_else(Cell::Absent, |f| Cell::Hex(f.into()))),
        peb_cell(&|v| v.global_flag().map(global_flags).into()),
        peb_cell(&|v| {
            let at = v.layout.field("bit_field");
            at.and_then(|f| Ok(process.kernel.flag_names("_PEB", f.offset, v.bit_field()?.into()))).into()
        }),
        process.peb().into(),
        p(|p| p.address.into()),
        wow64(sides.iter().find(|s| s.wow64), &read),
    ];
    let mut row = Row::new(cells.into()).at(own.as_ref().map_or(process.place(), |p| p.place));
    if ask.rows.places
        && let (Ok(p), Ok(m)) = (&own, memory)
        && let Ok(text) = p.command_line_text
    {
        row.fields.push(("command_line", m.space.fetch(text, 2).place(0)));
    }
    row
}

fn wow64(side: Option<&Side<'_>>, read: &dyn Fn(Option<&Side<'_>>) -> Value<Parameters>) -> Cell {
    let Some(side) = side else { return Absent::NotApplicable.into() };
    let p = read(Some(side));
    let text = |get: fn(&Parameters) -> Value<Text>| Cell::from(p.as_ref().map_err(|e| *e).and_then(get));
    Cell::Object(vec![
        ("peb".into(), side.peb.into()),
        ("command_line".into(), text(|p| p.command_line.clone())),
        ("image_path".into(), text(|p| p.image_path.clone())),
        ("current_directory".into(), text(|p| p.directory.clone())),
    ])
}

/// `STARTUPINFO.dwFlags`, as documented for `CreateProcess`.
const START_FLAGS: [(u32, &str); 14] = [
    (0x1, "USESHOWWINDOW"),
    (0x2, "USESIZE"),
    (0x4, "USEPOSITION"),
    (0x8, "USECOUNTCHARS"),
    (0x10, "USEFILLATTRIBUTE"),
    (0x20, "RUNFULLSCREEN"),
    (0x40, "FORCEONFEEDBACK"),
    (0x80, "FORCEOFFFEEDBACK"),
    (0x100, "USESTDHANDLES"),
    (0x200, "USEHOTKEY"),
    (0x800, "TITLEISLINKNAME"),
    (0x1000, "TITLEISAPPID"),
    (0x2000, "PREVENTPINNING"),
    (0x8000, "UNTRUSTEDSOURCE"),
];

/// The names of `STARTF_…` flags.
pub(super) fn start_flags(flags: u32) -> Vec<Cow<'static, str>> {
    named(&START_FLAGS, flags)
}

fn named(all: &[(u32, &'static str)], flags: u32) -> Vec<Cow<'static, str>> {
    let mut names: Vec<Cow<'static, str>> =
        all.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, n)| Cow::Borrowed(*n)).collect();
    let rest = all.iter().fold(flags, |rest, (bit, _)| rest & !bit);
    if rest != 0 {
        names.push(format!("{rest:#x}").into());
    }
    names
}

/// `FLG_…` that say something of a process, as the "GFlags flag table" of Windows' debuggers' documentation lists them.
const GLOBAL_FLAGS: [(u32, &str); 16] = [
    (0x1, "STOP_ON_EXCEPTION"),
    (0x2, "SHOW_LDR_SNAPS"),
    (0x10, "HEAP_ENABLE_TAIL_CHECK"),
    (0x20, "HEAP_ENABLE_FREE_CHECK"),
    (0x40, "HEAP_VALIDATE_PARAMETERS"),
    (0x80, "HEAP_VALIDATE_ALL"),
    (0x100, "APPLICATION_VERIFIER"),
    (0x400, "POOL_ENABLE_TAGGING"),
    (0x800, "HEAP_ENABLE_TAGGING"),
    (0x1000, "USER_STACK_TRACE_DB"),
    (0x2000, "KERNEL_STACK_TRACE_DB"),
    (0x4000, "MAINTAIN_OBJECT_TYPELIST"),
    (0x8000, "HEAP_ENABLE_TAG_BY_DLL"),
    (0x20_0000, "HEAP_DISABLE_COALESCING"),
    (0x200_0000, "HEAP_PAGE_ALLOCS"),
    (0x800_0000, "DISABLE_DBGPRINT"),
];

/// The names of `FLG_…` flags, what has none as a number.
fn global_flags(flags: u32) -> Vec<Cow<'static, str>> {
    named(&GLOBAL_FLAGS, flags)
}
