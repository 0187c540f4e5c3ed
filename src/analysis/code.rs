//! What code an address belongs to: kernel modules, the images of a process, memory that is executable without an image.

use crate::addr::Va;
use crate::dump::user::{List, Module, Region, UserDump};
use crate::kernel::Kernel;
use crate::kernel::file_object::Files;
use crate::kernel::process::base_name;
use crate::kernel::protection::Protections;
use crate::kernel::section::Sections;
use crate::kernel::stack::images::{Code, CodeMap};
use crate::kernel::stack::memory::Memory;
use crate::kernel::vad_tree::Tree;
use crate::paging::Space;
use crate::report::Cell;
use crate::value::{Absent, Value};
use std::sync::Arc;

/// Fewer names than any PDB of a kernel has: with such a table the nearest name says little.
const WHOLE_PDB: usize = 5000;
/// Farther than this from a name an address is hardly in that function, where nothing tells the function's bounds.
const FAR: u32 = 0x4000;
/// The same of an exported name: between exported functions lie others. System call stubs are this short.
const STUB: u32 = 0x20;

/// Reads what a worker needs to tell the code of processes. Keeps the names of files and devices it met.
#[derive(Debug)]
pub struct CodeReader<'k> {
    kernel: &'k Kernel,
    protections: Protections,
    sections: Option<Sections<'k>>,
    files: Option<Files<'k>>,
}

impl<'k> CodeReader<'k> {
    /// A reader; what the symbols lack is told by fewer names.
    #[must_use]
    pub fn of(kernel: &'k Kernel) -> Self {
        Self {
            kernel,
            protections: Protections::of(kernel).0,
            sections: Sections::of(kernel).ok(),
            files: Files::of(kernel).ok(),
        }
    }
    /// The images mapped into a process, and its private memory that was made executable (without a name).
    pub fn user(&mut self, space: &Space<'_>, tree: &Tree) -> CodeMap {
        let mut list = Vec::new();
        for vad in &tree.vads {
            let image = vad.is_image();
            let executable = vad.protection.is_ok_and(|p| self.protections.value(p).executable());
            if !image && !executable {
                continue;
            }
            let file = match (&self.sections, &mut self.files) {
                (Some(sections), Some(files)) if image => {
                    sections.file_of(space, vad).and_then(|f| files.read(f)).and_then(|f| f.name)
                }
                _ => Err(Absent::NotApplicable),
            };
            let name = file.map_or_else(|_| Arc::from(""), |path| Arc::from(base_name(&path)));
            list.push(Code::new(vad.start, vad.bytes(), name));
        }
        CodeMap::new(list)
    }
    /// The kernel's modules.
    #[must_use]
    pub fn kernel(&self) -> CodeMap {
        kernel_code(self.kernel)
    }
}

/// The kernel's modules.
#[must_use]
pub fn kernel_code(kernel: &Kernel) -> CodeMap {
    CodeMap::drivers(kernel)
}

/// The modules of a user-mode dump, and the executable memory outside of them (without a name) where the dump lists regions.
#[must_use]
pub fn module_code(dump: &UserDump<'_>) -> CodeMap {
    let name = |m: &Module| m.name.as_deref().map_or_else(|_| Arc::from(""), |path| Arc::from(base_name(path)));
    let mut map = CodeMap::new(dump.modules().iter().map(|m| Code::new(m.base, m.size.into(), name(m))).collect());
    if dump.has(List::Regions).is_err() {
        return map;
    }
    let executable = |r: &&Region| r.state == MEM_COMMIT && r.protection & PAGE_EXECUTE_ANY != 0;
    let unnamed = |r: &Region| Code::new(r.base, r.size, Arc::from(""));
    map.add_where_free(dump.regions().iter().filter(executable).map(unnamed).collect());
    map.all_executable()
}

/// `MEM_COMMIT` of winnt.h.
const MEM_COMMIT: u32 = 0x1000;
/// `PAGE_EXECUTE`, `PAGE_EXECUTE_READ`, `PAGE_EXECUTE_READWRITE`, `PAGE_EXECUTE_WRITECOPY` of winnt.h.
const PAGE_EXECUTE_ANY: u32 = 0xf0;

/// What an address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The module's name; empty for executable memory without an image.
    pub module: Value<Arc<str>>,
    /// Bytes from its start.
    pub offset: Value<u64>,
    /// The function's name and the distance from its start.
    pub symbol: Option<(String, u32)>,
}

impl Location {
    /// Looks an address up, by its module alone.
    #[must_use]
    pub fn plain(code: &CodeMap, va: Va) -> Self {
        match code.find(va) {
            Some(found) => {
                let name =
                    if found.unloaded { format!("{} (unloaded)", found.name).into() } else { found.name.clone() };
                Self { module: Ok(name), offset: Ok(va.0.saturating_sub(found.base.0)), symbol: None }
            }
            None => Self { module: Err(code.outside()), offset: Err(code.outside()), symbol: None },
        }
    }
    /// Looks an address up.
    pub fn of(kernel: &Kernel, memory: &impl Memory, code: &CodeMap, va: Va) -> Self {
        let mut out = Self::plain(code, va);
        out.symbol = code.find(va).and_then(|found| symbol(kernel, memory, found, va));
        out
    }
    /// `ntoskrnl.exe!KiSwapThread+0x1a`, `ntdll.dll+0x4c2b0`.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] outside of all modules; else why the modules are not known.
    pub fn text(&self) -> Value<String> {
        let module = self.module.as_deref().map_err(|why| *why)?;
        if module.is_empty() {
            return Err(Absent::NotApplicable);
        }
        Ok(match &self.symbol {
            Some((name, 0)) => format!("{module}!{name}"),
            Some((name, distance)) => format!("{module}!{name}+{distance:#x}"),
            None => format!("{module}+{:#x}", self.offset?),
        })
    }
    /// The module's name.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] outside of all modules; else why the modules are not known.
    pub fn module_name(&self) -> Value<String> {
        match &self.module {
            Ok(name) if !name.is_empty() => Ok(name.to_string()),
            Ok(_) => Err(Absent::NotApplicable),
            Err(why) => Err(*why),
        }
    }
}

/// The name of the function at an address, where something names it for certain: the kernel's symbols, else the module's exports.
fn symbol(kernel: &Kernel, memory: &impl Memory, code: &Code, va: Va) -> Option<(String, u32)> {
    let rva = u32::try_from(va.0.checked_sub(code.base.0)?).ok()?;
    // The unwind information knows where the function begins: a name before that is another function's.
    let begins = code.functions(memory).and_then(|table| {
        let function = table.find(memory, va.0)?.ok_or(Absent::NotApplicable)?;
        Ok(table.primary(memory, function)?.begin.min(function.begin))
    });
    let certain = |distance: u32, far: u32| match begins {
        Ok(begins) => rva.checked_sub(distance).is_some_and(|at| at >= begins),
        Err(_) => distance <= far,
    };
    if code.base == kernel.base {
        let globals = &kernel.symbols.globals;
        let far = if globals.len() > WHOLE_PDB { FAR } else { 0 };
        if let Some((name, distance)) = globals.nearest(rva)
            && certain(distance, far)
        {
            return Some((name.to_owned(), distance));
        }
    }
    code.exports(memory).ok()?.nearest(memory, rva).filter(|(_, distance)| certain(*distance, STUB))
}

/// A location's text as a cell.
impl From<&Location> for Cell {
    fn from(location: &Location) -> Self {
        location.text().into()
    }
}
