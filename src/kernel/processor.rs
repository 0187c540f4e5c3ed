//! `_KPRCB`: what each processor was doing.

use super::Kernel;
use super::thread::Thread;
use crate::addr::Va;
use crate::layout;
use crate::paging::Space;
use crate::value::{Absent, Value};

layout! {
    /// `_KPRCB`. Only its public beginning, which every known kernel describes alike.
    pub struct Prcb: "_KPRCB" {
        /// `CurrentThread`.
        current_thread: Va = "CurrentThread",
        /// `IdleThread`.
        idle_thread: Va = "IdleThread",
        /// `NextThread`: chosen to run next, if any.
        next_thread: Va = "NextThread",
        /// `Number`.
        number: u32 = "Number",
    }
}

/// More processors than Windows runs on (20 groups of 64).
const MOST_PROCESSORS: u32 = 1280;

/// A processor and the thread that ran on it.
#[derive(Debug)]
pub struct Running<'k> {
    /// The processor, from 0.
    pub processor: u32,
    /// Its thread.
    pub thread: Value<Thread<'k>>,
}

impl Kernel {
    /// The thread that ran on each processor, by `KiProcessorBlock`.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`] where nothing says where the processors' blocks are.
    pub fn running<'k>(&'k self, space: &Space<'k>) -> Value<Vec<Running<'k>>> {
        let block = self.global("KiProcessorBlock").ok_or(Absent::NoSymbol)?;
        let layout = self.layout::<Prcb>().map_err(|_| Absent::NoSymbol)?;
        let width = space.pointer_size();
        let mut out = Vec::new();
        for processor in 0..MOST_PROCESSORS {
            let at = block.add(u64::from(processor).saturating_mul(width.into()));
            let prcb = match space.pointer(at) {
                Ok(prcb) if !prcb.is_null() => prcb,
                Ok(_) => break, // the blocks end with a null pointer
                Err(why) if out.is_empty() => return Err(why),
                Err(_) => break,
            };
            let thread = space
                .view(layout, prcb)
                .current_thread()
                .and_then(|va| self.thread_at(space, va).map_err(|_| Absent::NoSymbol));
            out.push(Running { processor, thread });
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_has_the_fields() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            Prcb::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
    }
}
