//! The two sides of a process: native code, and 32-bit code on a 64-bit kernel, each with a PEB, parameters, loader lists and heaps of its own.

use super::heap::{Heap, HeapLayouts, NtHeap};
use super::ldr::{LdrLayouts, Modules};
use super::peb::{Parameters, Peb, PebLayouts, Shapes};
use super::process::Process;
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::paging::Space;
use crate::symbols::layout::LayoutError;
use crate::value::{Absent, Note, Value};

/// The layouts of one side.
#[derive(Clone, Copy, Debug)]
pub struct SideLayouts<'k> {
    /// PEB and parameters.
    pub peb: PebLayouts<'k>,
    /// Loader lists.
    pub ldr: LdrLayouts<'k>,
    /// Heaps; none where the symbols lack them.
    pub heap: Option<HeapLayouts<'k>>,
}

impl<'k> SideLayouts<'k> {
    /// Resolves them.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(shapes: Shapes<'k>, wow64: bool) -> Result<Self, LayoutError> {
        Ok(Self {
            peb: PebLayouts::of(shapes, wow64)?,
            ldr: LdrLayouts::of(shapes, wow64)?,
            heap: shapes.described::<NtHeap>(wow64).and_then(|_| HeapLayouts::of(shapes, wow64).ok()),
        })
    }
}

/// One side of a process.
#[derive(Clone, Copy, Debug)]
pub struct Side<'k> {
    /// 32-bit code on a 64-bit kernel.
    pub wow64: bool,
    /// The PEB's address.
    pub peb: Value<Va>,
    layouts: &'k SideLayouts<'k>,
}

/// The layouts of both sides; made once for all processes.
#[derive(Clone, Copy, Debug)]
pub struct Sides<'k> {
    native: SideLayouts<'k>,
    wow64: Option<SideLayouts<'k>>,
}

impl<'k> Sides<'k> {
    /// Resolves them.
    ///
    /// # Errors
    /// The symbols lack a type or a field of the native side.
    pub fn of(kernel: &'k Kernel) -> Result<Self, LayoutError> {
        let wide = kernel.space().pointer_size() == 8;
        let wow64 = if wide { SideLayouts::of(Shapes::of(kernel), true).ok() } else { None };
        Ok(Self { native: SideLayouts::of(Shapes::of(kernel), false)?, wow64 })
    }
    /// The sides of a process, the native one first. A process without a PEB has one all the same, whose PEB says why it is absent.
    pub fn of_process<'s>(&'s self, process: &Process<'_>, kernel_space: &Space<'_>) -> Vec<Side<'s>> {
        let mut sides = vec![Side { wow64: false, peb: process.peb(), layouts: &self.native }];
        let Some(layouts) = &self.wow64 else { return sides };
        match process.wow64(kernel_space) {
            Ok(narrow) => {
                let peb = narrow.peb.and_then(Va::not_null);
                sides.push(Side { wow64: true, peb, layouts });
            }
            // Where the kernel does not say, there may be one.
            Err(why @ (Absent::NotInBuild | Absent::NoSymbol)) => {
                sides.push(Side { wow64: true, peb: Err(why), layouts });
            }
            Err(_) => {}
        }
        sides
    }
}

impl<'k> Side<'k> {
    /// A side whose PEB was found otherwise than through a process.
    #[must_use]
    pub fn new(peb: Value<Va>, layouts: &'k SideLayouts<'k>) -> Self {
        Self { wow64: false, peb, layouts }
    }
    /// The PEB.
    ///
    /// # Errors
    /// The process has none.
    pub fn view<'a>(&'a self, space: &Space<'a>) -> Value<Peb<'a>> {
        Ok(space.view(self.layouts.peb.peb, self.peb?))
    }
    /// The process parameters.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub fn parameters(&self, space: &Space<'_>) -> Value<Parameters> {
        let address = space.view(self.layouts.peb.peb, self.peb?).parameters()?;
        Parameters::read(space, &self.layouts.peb, address)
    }
    /// The modules on the loader's lists.
    ///
    /// # Errors
    /// Why the lists cannot be reached. A process whose loader has not run yet has none.
    pub fn modules(&self, space: &Space<'_>) -> Value<Modules> {
        let ldr = space.view(self.layouts.peb.peb, self.peb?).ldr()?;
        if ldr.is_null() {
            return Err(Absent::NotApplicable);
        }
        Ok(self.layouts.ldr.modules(space, ldr))
    }
    /// The heaps.
    ///
    /// # Errors
    /// Why they cannot be reached.
    pub fn heaps(&self, space: &Space<'_>) -> Value<(Vec<Heap>, Vec<Note>)> {
        let layouts = self.layouts.heap.as_ref().ok_or(Absent::NoSymbol)?;
        let peb = space.view(self.layouts.peb.peb, self.peb?);
        peb.heap_count()?;
        Ok(layouts.heaps(space, &peb))
    }
}
