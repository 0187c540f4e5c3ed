//! `cmdline`: what each process was started with.

use super::parallel::each_process;
use super::tell::tell;
use super::{Analysis, Answers, Ask, Case, Subject, user, who};
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::peb::{Parameters, ParametersLayout, Peb, PebLayout};
use crate::kernel::process::Process;
use crate::kernel::sides::{Side, Sides};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::At;
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

/// What a process was started with.
#[derive(Debug)]
pub struct CommandLines;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// The process's own memory.
    memory: Value<&'a Space<'a>>,
    sides: &'a [Side<'a>],
    parameters: Value<Parameters>,
    peb: Value<Peb<'a>>,
}
who::of_process!(CommandLines, Of);

impl<'a> Of<'a> {
    fn parameters(&self) -> Value<&Parameters> {
        self.parameters.as_ref().map_err(|why| *why)
    }
    fn parameter(&self, get: fn(&Parameters) -> Cell) -> Cell {
        self.parameters().map_or_else(Cell::Absent, get)
    }
    fn text(&self, get: fn(&Parameters) -> &Value<Text>) -> Cell {
        self.parameters().and_then(|p| get(p).clone()).into()
    }
    /// Its characters; where there are none, the field that says so.
    fn text_at(&self, get: fn(&Parameters) -> &Value<Text>, field: At<ParametersLayout>) -> Option<Place> {
        let characters = self.memory.ok()?.place_of(get(self.parameters().ok()?));
        characters.or_else(|| self.in_parameters(field))
    }
    fn in_parameters(&self, field: At<ParametersLayout>) -> Option<Place> {
        self.process.kernel.place_in(self.memory.ok()?, self.parameters().ok()?.address, field)
    }
    fn peb(&self) -> Value<&Peb<'a>> {
        self.peb.as_ref().map_err(|why| *why)
    }
    fn peb_flags(&self) -> Value<Vec<String>> {
        let peb = self.peb()?;
        let at = peb.layout.field("bit_field")?;
        Ok(self.process.kernel.flag_names("_PEB", at.offset, peb.bit_field()?.into()))
    }
    fn wow64(&self) -> Cell {
        let Some(side) = self.sides.iter().find(|side| side.wow64) else { return Absent::NotApplicable.into() };
        let p = self.memory.and_then(|memory| side.parameters(memory));
        let text = |get: fn(&Parameters) -> Value<Text>| Cell::from(p.as_ref().map_err(|e| *e).and_then(get));
        Cell::Object(vec![
            ("peb".into(), side.peb.into()),
            ("command_line".into(), text(|p| p.command_line.clone())),
            ("image_path".into(), text(|p| p.image_path.clone())),
            ("current_directory".into(), text(|p| p.directory.clone())),
        ])
    }
}

/// The columns.
pub const FIELDS: &[Field<CommandLines>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    placed(
        col("command_line", Kind::Text, "Command line"),
        |c| c.text(|p| &p.command_line),
        |c| c.text_at(|p| &p.command_line, ParametersLayout::command_line),
    ),
    placed(
        col("image_path", Kind::Text, "Image path (ImagePathName)"),
        |c| c.text(|p| &p.image_path),
        |c| c.text_at(|p| &p.image_path, ParametersLayout::image_path),
    ),
    placed(
        col("current_directory", Kind::Text, "Current directory"),
        |c| c.text(|p| &p.directory),
        |c| c.text_at(|p| &p.directory, ParametersLayout::directory),
    ),
    placed(
        wide("window_title", Kind::Text, "Window title"),
        |c| c.text(|p| &p.window_title),
        |c| c.text_at(|p| &p.window_title, ParametersLayout::window_title),
    ),
    placed(
        wide("desktop", Kind::Text, "Window station and desktop"),
        |c| c.text(|p| &p.desktop),
        |c| c.text_at(|p| &p.desktop, ParametersLayout::desktop),
    ),
    placed(
        wide("shell_info", Kind::Text, "What the shell passed on"),
        |c| c.text(|p| &p.shell),
        |c| c.text_at(|p| &p.shell, ParametersLayout::shell),
    ),
    placed(
        wide("dll_path", Kind::Text, "Search path for DLLs"),
        |c| c.text(|p| &p.dll_path),
        |c| c.text_at(|p| &p.dll_path, ParametersLayout::dll_path),
    ),
    placed(
        wide("standard_input", Kind::Hex, "Handle of standard input"),
        |c| c.parameter(|p| p.handles[0].into()),
        |c| c.in_parameters(ParametersLayout::stdin),
    ),
    placed(
        wide("standard_output", Kind::Hex, "Handle of standard output"),
        |c| c.parameter(|p| p.handles[1].into()),
        |c| c.in_parameters(ParametersLayout::stdout),
    ),
    placed(
        wide("standard_error", Kind::Hex, "Handle of standard error"),
        |c| c.parameter(|p| p.handles[2].into()),
        |c| c.in_parameters(ParametersLayout::stderr),
    ),
    placed(
        wide("console", Kind::Hex, "Handle of the console"),
        |c| c.parameter(|p| p.console.into()),
        |c| c.in_parameters(ParametersLayout::console),
    ),
    placed(
        wide("parameter_flags", Kind::Hex, "RTL_USER_PROC_… flags"),
        |c| c.parameter(|p| Cell::hex(p.flags)),
        |c| c.in_parameters(ParametersLayout::flags),
    ),
    placed(
        wide("window_flags", Kind::Texts, "STARTF_… flags of the start"),
        |c| c.parameter(|p| p.window_flags.map(start_flags).into()),
        |c| c.in_parameters(ParametersLayout::window_flags),
    ),
    placed(
        wide("show_window", Kind::Number, "SW_… of the first window"),
        |c| c.parameter(|p| p.show_window.into()),
        |c| c.in_parameters(ParametersLayout::show_window),
    ),
    placed(
        wide("being_debugged", Kind::Bool, "BeingDebugged of the PEB"),
        |c| c.peb().and_then(|v| v.being_debugged()).map(|b| b != 0).into(),
        |c| c.peb().ok()?.at(PebLayout::being_debugged),
    ),
    placed(
        wide("global_flag", Kind::Hex, "NtGlobalFlag of the PEB"),
        |c| Cell::hex(c.peb().and_then(|v| v.global_flag())),
        |c| c.peb().ok()?.at(PebLayout::global_flag),
    ),
    placed(
        wide(
            "global_flags",
            Kind::Texts,
            "The same by name, as gflags names them: heap checks, stack traces, page heap",
        ),
        |c| c.peb().and_then(|v| v.global_flag()).map(global_flags).into(),
        |c| c.peb().ok()?.at(PebLayout::global_flag),
    ),
    placed(
        wide("peb_flags", Kind::Texts, "Flags of the PEB's BitField that are set, by the kernel's own names"),
        |c| c.peb_flags().into(),
        |c| c.peb().ok()?.at(PebLayout::bit_field),
    ),
    who::peb(wide("peb", Kind::Hex, "Address of the PEB")),
    placed(
        wide("parameters", Kind::Hex, "Address of the process parameters"),
        |c| c.parameter(|p| p.address.into()),
        |c| c.peb().ok()?.at(PebLayout::parameters),
    ),
    derived(
        wide("wow64", Kind::Nested, "The 32-bit side: peb, command_line, image_path, current_directory"),
        "PEB and process parameters of the 32-bit side",
        |c| c.wow64(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

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
    let memory = memory.as_ref().map_err(|e| *e);
    if let Ok(m) = memory {
        tell(process, m.tree.notes.iter().cloned(), sink);
    }
    let memory = memory.map(|m| &m.space);
    let native = sides.first().ok_or(Absent::NotApplicable);
    let parameters = native.and_then(|side| side.parameters(memory?));
    let peb = native.and_then(|side| side.view(memory?));
    let place = parameters.as_ref().map_or(process.place(), |p| p.place);
    Row::of(FIELDS, &Of { process, memory, sides: &sides, parameters, peb }, &ask.rows).at(place)
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
