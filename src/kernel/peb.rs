//! `_PEB` and what it points at: the process parameters and the environment, for 64-bit and 32-bit code alike.

use super::narrow::Narrow;
use crate::addr::Va;
use crate::bytes::{Bytes, Place};
use crate::kernel::Kernel;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Bits, Counted, Layout, LayoutError, View};
use crate::symbols::resolved::Resolved;
use crate::symbols::types::Types;
use crate::utf16::{self, Text};
use crate::value::{Absent, Note, Value};

layout! {
    /// `_PEB`: the process environment block.
    pub struct PebLayout: "_PEB" {
        /// A debugger is attached.
        being_debugged: u8 = "BeingDebugged",
        /// Where the program's image lies.
        image_base: Va = "ImageBaseAddress",
        /// The loader's lists.
        ldr: Va = "Ldr",
        /// The process parameters.
        parameters: Va = "ProcessParameters",
        /// The default heap.
        heap: Va = "ProcessHeap",
        /// `FLG_…` of gflags.
        global_flag: u32 = "NtGlobalFlag",
        /// How many heaps.
        heap_count: u32 = "NumberOfHeaps",
        /// Room for so many.
        heap_room: u32 = "MaximumNumberOfHeaps",
        /// The array of heaps.
        heaps: Va = "ProcessHeaps",
        /// What the loader calls the system: 10, 6, 5.
        os_major: u32 = "OSMajorVersion",
        /// 0 to 4.
        os_minor: u32 = "OSMinorVersion",
        /// The build.
        os_build: u16 = "OSBuildNumber",
        /// The session.
        session: u32 = "SessionId",
        /// The byte of one-bit flags, since Vista.
        bit_field: u8 = "BitField",
        /// A protected process.
        protected: Bits = "IsProtectedProcess",
        /// A packaged (store) process.
        packaged: Bits = "IsPackagedProcess",
        /// In an AppContainer.
        app_container: Bits = "IsAppContainer",
        /// The image was moved from the base it asked for.
        relocated: Bits = "IsImageDynamicallyRelocated",
        /// Shared memory of the session manager.
        shared: Va = "ReadOnlySharedMemoryBase",
        /// The map of API sets, since 7.
        api_set: Va = "ApiSetMap",
        /// Code page tables.
        ansi_code_page: Va = "AnsiCodePageData",
        /// Code page tables.
        oem_code_page: Va = "OemCodePageData",
        /// Case tables.
        case_table: Va = "UnicodeCaseTableData",
        /// Handles of the graphics system.
        gdi_handles: Va = "GdiSharedHandleTable",
        /// Compatibility shims.
        shim_data: Va = "pShimData",
        /// Activation contexts.
        activation_context: Va = "ActivationContextData",
        /// Activation contexts of the system.
        system_activation_context: Va = "SystemDefaultActivationContextData",
    }
}
layout! {
    /// `_RTL_USER_PROCESS_PARAMETERS`: what `CreateProcess` was given.
    pub struct ParametersLayout: "_RTL_USER_PROCESS_PARAMETERS" {
        /// Bytes in use of the block.
        length: u32 = "Length",
        /// Bit 0: the strings are addresses, not offsets from the block.
        flags: u32 = "Flags",
        /// The console.
        console: Va = "ConsoleHandle",
        /// Standard input.
        stdin: Va = "StandardInput",
        /// Standard output.
        stdout: Va = "StandardOutput",
        /// Standard error.
        stderr: Va = "StandardError",
        /// Current directory.
        directory: Counted = "CurrentDirectory.DosPath",
        /// Its handle.
        directory_handle: Va = "CurrentDirectory.Handle",
        /// Where DLLs are sought.
        dll_path: Counted = "DllPath",
        /// The image's path.
        image_path: Counted = "ImagePathName",
        /// The command line.
        command_line: Counted = "CommandLine",
        /// The environment block.
        environment: Va = "Environment",
        /// Its bytes, since Vista.
        environment_size: u64 = "EnvironmentSize",
        /// `STARTF_…`.
        window_flags: u32 = "WindowFlags",
        /// `SW_…`.
        show_window: u32 = "ShowWindowFlags",
        /// The window's title.
        window_title: Counted = "WindowTitle",
        /// Window station and desktop.
        desktop: Counted = "DesktopInfo",
        /// What the shell passes.
        shell: Counted = "ShellInfo",
    }
}

/// The layouts for one width of code.
#[derive(Clone, Copy, Debug)]
pub struct PebLayouts<'k> {
    /// The block.
    pub peb: &'k PebLayout,
    /// The parameters.
    pub parameters: &'k ParametersLayout,
    /// Bytes in a pointer.
    pub pointer: u32,
}

/// Where layouts of user-mode structures come from: a kernel's symbols, or built-in tables for a dump that has no kernel.
#[derive(Clone, Copy, Debug)]
pub struct Shapes<'k> {
    /// The structures.
    pub types: &'k Types,
    /// Those resolved so far.
    pub resolved: &'k Resolved,
}

impl<'k> Shapes<'k> {
    /// Those of a kernel.
    #[must_use]
    pub fn of(kernel: &'k Kernel) -> Self {
        Self { types: &kernel.symbols.types, resolved: &kernel.resolved }
    }
    /// A layout for the width asked for: these types' own, or of 32-bit code beside them.
    ///
    /// # Errors
    /// The symbols lack the type or a field.
    pub fn get<L: Layout + Send + Sync + 'static>(&self, wow64: bool) -> Result<&'k L, LayoutError> {
        if wow64 {
            self.resolved.get::<Narrow<L>>(self.types).map(|n| &n.0)
        } else {
            self.resolved.get::<L>(self.types)
        }
    }
    /// The same, where the symbols describe the structure at all.
    #[must_use]
    pub fn described<L: Layout + Send + Sync + 'static>(&self, wow64: bool) -> Option<&'k L> {
        self.types.get(L::TYPE)?;
        self.get(wow64).ok()
    }
    /// Bytes in a pointer of that width.
    #[must_use]
    pub fn pointer(&self, wow64: bool) -> u32 {
        if wow64 { 4 } else { self.types.pointer_size.into() }
    }
}

/// A layout for the width asked for: the kernel's own, or of 32-bit code on a 64-bit kernel.
///
/// # Errors
/// The symbols lack the type or a field.
pub fn layout_for<L: Layout + Send + Sync + 'static>(kernel: &Kernel, wow64: bool) -> Result<&L, LayoutError> {
    Shapes::of(kernel).get(wow64)
}

impl<'k> PebLayouts<'k> {
    /// Resolves them; `wow64` for the 32-bit side of a process on a 64-bit kernel.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(shapes: Shapes<'k>, wow64: bool) -> Result<Self, LayoutError> {
        Ok(Self { peb: shapes.get(wow64)?, parameters: shapes.get(wow64)?, pointer: shapes.pointer(wow64) })
    }
}

/// Bit 0 of the parameters' flags (`RTL_USER_PROC_PARAMS_NORMALIZED`): strings hold addresses. Until the loader has set it they hold
/// offsets from the start of the block.
const NORMALIZED: u32 = 1;

/// The parameters of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The block's address.
    pub address: Va,
    /// Command line.
    pub command_line: Value<Text>,
    /// Image path.
    pub image_path: Value<Text>,
    /// Current directory.
    pub directory: Value<Text>,
    /// Window title.
    pub window_title: Value<Text>,
    /// Desktop.
    pub desktop: Value<Text>,
    /// Shell info.
    pub shell: Value<Text>,
    /// DLL search path.
    pub dll_path: Value<Text>,
    /// Standard input, output and error.
    pub handles: [Value<Va>; 3],
    /// The console's handle.
    pub console: Value<Va>,
    /// `RTL_USER_PROC_…`.
    pub flags: Value<u32>,
    /// `STARTF_…`.
    pub window_flags: Value<u32>,
    /// `SW_…`.
    pub show_window: Value<u32>,
    /// The environment's address and bytes.
    pub environment: (Value<Va>, Value<u64>),
    /// Where the block stands.
    pub place: Place,
    /// Where the text of the command line stands.
    pub command_line_text: Value<Va>,
}

impl Parameters {
    /// Reads the block at `address`.
    ///
    /// # Errors
    /// Nothing of it can be read.
    pub fn read(space: &Space<'_>, layouts: &PebLayouts<'_>, address: Va) -> Value<Self> {
        if address.is_null() {
            return Err(Absent::NotApplicable);
        }
        let v = space.view(layouts.parameters, address);
        let flags = v.flags();
        let buffer = |s: Counted| -> Counted {
            // An offset is smaller than the block; no user address is.
            let relative = flags.is_ok_and(|f| f & NORMALIZED == 0) && v.length().is_ok_and(|n| s.buffer.0 < n.into());
            if relative && !s.buffer.is_null() { Counted { buffer: address.add(s.buffer.0), ..s } } else { s }
        };
        let text = |s: Value<Counted>| s.and_then(|s| space.text(buffer(s)));
        if let (Err(why), Err(_)) = (v.command_line(), v.image_path()) {
            return Err(why);
        }
        Ok(Self {
            address,
            command_line: text(v.command_line()),
            image_path: text(v.image_path()),
            directory: text(v.directory()),
            window_title: text(v.window_title()),
            desktop: text(v.desktop()),
            shell: text(v.shell()),
            dll_path: text(v.dll_path()),
            handles: [v.stdin(), v.stdout(), v.stderr()],
            console: v.console(),
            flags,
            window_flags: v.window_flags(),
            show_window: v.show_window(),
            environment: (v.environment(), v.environment_size()),
            place: v.place(),
            command_line_text: v.command_line().map(|s| buffer(s).buffer),
        })
    }
}

/// One variable of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Its name. Names such as `=C:` hold the current directory of a drive.
    pub name: String,
    /// Its value, as far as it is there.
    pub value: Text,
    /// Where the text stands.
    pub place: Place,
}

impl Variable {
    /// The address of its value: behind the name and the divider.
    #[must_use]
    pub fn value_va(&self) -> Option<Va> {
        let name = u64::try_from(self.name.encode_utf16().count()).ok()?;
        Some(self.place.va?.add(name.saturating_add(1).saturating_mul(2)))
    }
}

/// Windows allows no environment longer than 32,767 characters for one variable; blocks of some 100 KiB occur. Beyond 1 MiB it is no environment.
const MOST_ENVIRONMENT: u32 = 1 << 20;

/// The variables of an environment block, up to the empty one that ends it.
#[must_use]
pub fn environment(space: &Space<'_>, address: Va, size: Option<u64>) -> (Vec<Variable>, Option<Note>) {
    let mut variables = Vec::new();
    if address.is_null() {
        return (variables, None);
    }
    let stated = size.and_then(|s| u32::try_from(s).ok()).filter(|s| (2..=MOST_ENVIRONMENT).contains(s));
    let bytes = space.fetch(address, stated.unwrap_or(MOST_ENVIRONMENT));
    let mut ended = false;
    'stretches: for (start, stretch, hole) in stretches(&bytes) {
        let mut at = 0usize;
        // After a hole the text begins in the middle of a variable: go on behind its end.
        if start > 0 {
            let Some(end) = next_nul(stretch, 0) else { continue };
            at = end.saturating_add(2);
        }
        let place = |at: usize| bytes.place(start.saturating_add(u32::try_from(at).unwrap_or(u32::MAX)));
        while let Some(end) = next_nul(stretch, at) {
            let text = utf16::text(stretch.get(at..end).unwrap_or_default());
            if text.is_empty() {
                ended = true;
                break 'stretches;
            }
            let (name, value) = halves(&text).unwrap_or((&text, ""));
            variables.push(Variable { name: name.to_owned(), value: value.into(), place: place(at) });
            at = end.saturating_add(2);
        }
        // The last goes on in the hole. Of a name without its end nothing is known.
        let rest = utf16::text(stretch.get(at..).unwrap_or_default());
        if let (Some(why), Some((name, value))) = (hole, halves(&rest)) {
            variables.push(Variable {
                name: name.to_owned(),
                value: Text::cut(value.to_owned(), why),
                place: place(at),
            });
        }
    }
    // Without a stated size the block ends where its memory ends: only a hole inside a stated one lost something.
    let hole = bytes.holes().next().filter(|_| !ended);
    let note =
        hole.map(|(at, _, why)| Note::loss(format!("the environment at {address} is {why} from byte {at:#x} on")));
    (variables, note)
}

/// Name and value. A name may begin with `=` (the directory of a drive), so the divider is sought behind the first character.
fn halves(text: &str) -> Option<(&str, &str)> {
    let first = text.chars().next().map_or(0, char::len_utf8);
    let divider = text.get(first..)?.find('=')?.checked_add(first)?;
    Some((text.get(..divider)?, text.get(divider.checked_add(1)?..)?))
}

/// What there is between the holes: offset, bytes, and why they end, if in a hole.
fn stretches<'b>(bytes: &'b Bytes<'_>) -> Vec<(u32, &'b [u8], Option<Absent>)> {
    let mut out = Vec::new();
    let mut from = 0;
    for (at, len, why) in bytes.holes() {
        if let Ok(stretch) = bytes.at(from, at.saturating_sub(from))
            && !stretch.is_empty()
        {
            out.push((from, stretch, Some(why)));
        }
        from = at.saturating_add(len);
    }
    if let Ok(stretch) = bytes.at(from, bytes.len().saturating_sub(from))
        && !stretch.is_empty()
    {
        out.push((from, stretch, None));
    }
    out
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.chunks_exact(2).filter_map(|c| Some(u16::from_le_bytes(c.try_into().ok()?)))
}
/// The offset of the next zero character at or after `from`.
fn next_nul(bytes: &[u8], from: usize) -> Option<usize> {
    let i = units(bytes.get(from..)?).position(|u| u == 0)?;
    from.checked_add(i.checked_mul(2)?)
}

/// The view of a block.
pub type Peb<'a> = View<'a, PebLayout>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Pa;
    use crate::paging::Mode;
    use crate::paging::testing::Memory;

    /// An environment at 0x1fc0, over pages that lie apart in memory; the third is not there.
    fn variables(text: &str) -> (Vec<(String, String)>, bool) {
        let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut m = Memory::new(Mode::X64, Pa(0x10_0000));
        m.map(Va(0x1000), Pa(0x5000), 12);
        m.map(Va(0x2000), Pa(0x9000), 12);
        let (first, rest) = bytes.split_at(bytes.len().min(0x40));
        m.write(Pa(0x5fc0), first);
        m.write(Pa(0x9000), &rest[..rest.len().min(0x1000)]);
        let dump = m.dump();
        let (found, note) = environment(&m.space(&dump), Va(0x1fc0), Some(bytes.len() as u64));
        (found.into_iter().map(|v| (v.name, v.value.to_string())).collect(), note.is_some_and(|n| n.loss))
    }

    #[test]
    fn a_variable_goes_over_pages_that_lie_apart() {
        let (found, lost) = variables("=C:=C:\\\0PATH=C:\\Windows;C:\\Windows\\System32\0X=\0\0");
        let want = [("=C:", "C:\\"), ("PATH", "C:\\Windows;C:\\Windows\\System32"), ("X", "")];
        assert_eq!(found, want.map(|(n, v)| (n.to_owned(), v.to_owned())));
        assert!(!lost);
    }
    #[test]
    fn the_last_before_a_hole_gives_what_there_is() {
        let (found, lost) = variables(&format!("A=1\0LONG={}\0B=2\0\0", "x".repeat(3000)));
        assert_eq!(found.len(), 2);
        assert_eq!(found[1].0, "LONG");
        assert!(
            found[1].1.starts_with("xxx") && found[1].1.ends_with("x…") && found[1].1.len() > 2000,
            "{}",
            found[1].1.len()
        );
        assert!(lost);
    }
}
