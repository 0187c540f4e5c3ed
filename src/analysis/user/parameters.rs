//! `cmdline` and `envars` of a user-mode minidump: from the PEB, where its memory was kept.

use super::{asked, cells, placed, whose, whose_at};
use crate::addr::{Pa, Va};
use crate::analysis::{Ask, cmdline as command, envars as environment};
use crate::bytes::Place;
use crate::dump::user::UserDump;
use crate::dump::{Arch, Dump};
use crate::error::Result;
use crate::kernel::peb::{self, Parameters, ParametersLayout, PebLayout, PebLayouts};
use crate::kernel::teb::TebLayout;
use crate::paging::{Mode, Space};
use crate::report::{Cell, Row, Sink};
use crate::symbols::layout::{At, Layout};
use crate::symbols::{Fallback, Machine, builtin};
use crate::utf16::Text;
use crate::value::{Absent, Note, Value};

/// What the PEB says.
struct Found {
    peb: Va,
    being_debugged: Value<u8>,
    global_flag: Value<u32>,
    parameters: Value<Parameters>,
    /// Where `BeingDebugged`, `NtGlobalFlag` and `ProcessParameters` of the PEB are, and the PEB's address in a TEB.
    places: [Option<Place>; 4],
    /// Where the fields of the parameters are.
    layout: ParametersLayout,
}

/// Finds the PEB by the threads' TEBs. The layouts are the built-in ones of the nearest build; that they fit is held
/// against the dump: a TEB names itself and its process, the PEB the program's base.
fn find(dump: &Dump, user: &UserDump<'_>) -> Value<Found> {
    let (machine, pointer) = match dump.arch.ok_or(Absent::NotRecorded)? {
        Arch::X86 => (Machine::X86, 4),
        Arch::X64 => (Machine::X64, 8),
        Arch::Arm64 => (Machine::Arm64, 8),
    };
    let build = user.system().map(|s| s.version[2]);
    let symbols = builtin::nearest(&Fallback { machine, build, revision: None }).next().ok_or(Absent::NoSymbol)?;
    let types = &symbols.types;
    let teb = TebLayout::resolve(types).map_err(|_| Absent::NoSymbol)?;
    let peb = PebLayout::resolve(types).map_err(|_| Absent::NoSymbol)?;
    let parameters_layout = ParametersLayout::resolve(types).map_err(|_| Absent::NoSymbol)?;
    let layouts = PebLayouts { peb: &peb, parameters: &parameters_layout, pointer };
    let space = Space::new(dump, Mode::Blocks, Pa(0));
    let mut why = Absent::NotInDump;
    for thread in user.threads() {
        let view = space.view(&teb, thread.teb);
        let at = match (view.itself(), view.peb()) {
            (Ok(own), Ok(at)) if own == thread.teb => at,
            (Ok(_), Ok(_)) => {
                why = Absent::Implausible;
                continue;
            }
            _ => continue,
        };
        let block = space.view(&peb, at);
        let base = block.image_base()?;
        if user.program().is_none_or(|program| program.base != base) {
            return Err(Absent::Implausible);
        }
        let parameters = block.parameters().and_then(|va| Parameters::read(&space, &layouts, va));
        return Ok(Found {
            peb: at,
            being_debugged: block.being_debugged(),
            global_flag: block.global_flag(),
            places: [
                block.at(PebLayout::being_debugged),
                block.at(PebLayout::global_flag),
                block.at(PebLayout::parameters),
                view.at(TebLayout::peb),
            ],
            parameters,
            layout: parameters_layout,
        });
    }
    Err(why)
}

/// The row of `cmdline`.
pub(in crate::analysis) fn cmdline(dump: &Dump, user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let found = find(dump, user);
    let found = found.as_ref().map_err(|why| *why);
    let p = found.and_then(|f| f.parameters.as_ref().map_err(|why| *why));
    let text = |get: fn(&Parameters) -> &Value<Text>| Cell::from(p.and_then(|p| get(p).clone()));
    let number = |value: Value<u32>| value.map_or_else(Cell::Absent, |v| Cell::Hex(v.into()));
    let [pid, name] = whose(user);
    let known = vec![
        ("pid", pid),
        ("name", name),
        ("command_line", text(|p| &p.command_line)),
        ("image_path", text(|p| &p.image_path)),
        ("current_directory", text(|p| &p.directory)),
        ("window_title", text(|p| &p.window_title)),
        ("desktop", text(|p| &p.desktop)),
        ("shell_info", text(|p| &p.shell)),
        ("dll_path", text(|p| &p.dll_path)),
        ("standard_input", p.and_then(|p| p.handles[0]).into()),
        ("standard_output", p.and_then(|p| p.handles[1]).into()),
        ("standard_error", p.and_then(|p| p.handles[2]).into()),
        ("console", p.and_then(|p| p.console).into()),
        ("parameter_flags", number(p.and_then(|p| p.flags))),
        ("window_flags", p.and_then(|p| p.window_flags).map(command::start_flags).into()),
        ("show_window", p.and_then(|p| p.show_window).into()),
        ("being_debugged", found.and_then(|f| f.being_debugged).map(|b| b != 0).into()),
        ("global_flag", number(found.and_then(|f| f.global_flag))),
        ("peb", found.map(|f| f.peb).into()),
        ("parameters", p.map(|p| p.address).into()),
    ];
    let mut row = Row::new(cells(&command::COLUMNS, known));
    if let (true, Ok(f), Ok(p)) = (ask.rows.places, found, p) {
        row = placed(row, ask, &whose_at(user));
        row.fields.extend(in_parameters(dump, f, p));
    }
    sink.row(match (p, user.info().file) {
        (Ok(p), _) => row.at(p.place),
        (Err(_), Some(file)) => row.at(Place::in_dump(file)),
        _ => row,
    })
}

/// Where the values of the PEB and the parameters are, by column.
fn in_parameters(dump: &Dump, found: &Found, p: &Parameters) -> Vec<(&'static str, Place)> {
    let space = Space::new(dump, Mode::Blocks, Pa(0));
    let field = |field: At<ParametersLayout>| field.of(&found.layout, p.address).map(|va| space.place(va));
    let text = |text: &Value<Text>, empty| space.place_of(text).or_else(|| field(empty));
    let [being_debugged, global_flag, parameters, peb] = found.places;
    let all = [
        ("command_line", text(&p.command_line, ParametersLayout::command_line)),
        ("image_path", text(&p.image_path, ParametersLayout::image_path)),
        ("current_directory", text(&p.directory, ParametersLayout::directory)),
        ("window_title", text(&p.window_title, ParametersLayout::window_title)),
        ("desktop", text(&p.desktop, ParametersLayout::desktop)),
        ("shell_info", text(&p.shell, ParametersLayout::shell)),
        ("dll_path", text(&p.dll_path, ParametersLayout::dll_path)),
        ("standard_input", field(ParametersLayout::stdin)),
        ("standard_output", field(ParametersLayout::stdout)),
        ("standard_error", field(ParametersLayout::stderr)),
        ("console", field(ParametersLayout::console)),
        ("parameter_flags", field(ParametersLayout::flags)),
        ("window_flags", field(ParametersLayout::window_flags)),
        ("show_window", field(ParametersLayout::show_window)),
        ("being_debugged", being_debugged),
        ("global_flag", global_flag),
        ("parameters", parameters),
        ("peb", peb),
    ];
    all.into_iter().filter_map(|(key, place)| Some((key, place?))).collect()
}

/// The rows of `envars`.
pub(in crate::analysis) fn envars(dump: &Dump, user: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    if !asked(user, ask) {
        return Ok(());
    }
    let found = find(dump, user);
    let parameters = found.as_ref().map_err(|why| *why).and_then(|f| f.parameters.as_ref().map_err(|why| *why));
    let block = parameters.and_then(|p| Ok((p.environment.0?, p.environment.1)));
    let (address, size) = match block {
        Ok(block) => block,
        Err(why) => {
            sink.note(Note::loss(format!("the process parameters, which lead to the environment, are {why}")));
            return Ok(());
        }
    };
    let space = Space::new(dump, Mode::Blocks, Pa(0));
    let (variables, note) = peb::environment(&space, address, size.ok());
    note.into_iter().for_each(|n| sink.note(n));
    let pointer = found.as_ref().ok().zip(parameters.ok());
    let pointer = pointer.and_then(|(found, p)| ParametersLayout::environment.of(&found.layout, p.address));
    for v in variables {
        let [pid, name] = whose(user);
        let places = [
            ("variable", Some(v.place)),
            ("value", v.value_va().map(|va| space.place(va))),
            ("block", pointer.map(|va| space.place(va))),
        ];
        let known = vec![
            ("pid", pid),
            ("name", name),
            ("variable", v.name.into()),
            ("value", v.value.into()),
            ("block", address.into()),
        ];
        let mut row = placed(Row::new(cells(&environment::COLUMNS, known)).at(v.place), ask, &whose_at(user));
        if ask.rows.places {
            row.fields.extend(places.into_iter().filter_map(|(key, place)| Some((key, place?))));
        }
        sink.row(row)?;
    }
    Ok(())
}
