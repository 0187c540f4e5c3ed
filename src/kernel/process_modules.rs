//! The modules of a process by two witnesses: the loader's lists, which the process can write, and the VADs, which only the kernel does.

use super::address_space::AddressSpace;
use super::ldr::Module;
use super::sides::Side;
use super::vad::Vad;
use super::vad_tree;
use crate::addr::Va;
use crate::value::{Absent, Note, Value};

/// One module.
#[derive(Clone, Debug)]
pub struct Loaded<'v> {
    /// Where it lies.
    pub base: Value<Va>,
    /// What a loader list says of it.
    pub listed: Option<Module>,
    /// The VAD that begins at its base.
    pub vad: Option<&'v Vad>,
    /// On the load-order list of either side.
    pub in_load: Value<bool>,
    /// On the memory-order list.
    pub in_mem: Value<bool>,
    /// On the initialisation-order list.
    pub in_init: Value<bool>,
}

/// The modules of a process.
#[derive(Clone, Debug)]
pub struct ProcessModules<'v> {
    /// Those on a list in the list's order (the native side's first), then images mapped that no list has, by address.
    pub modules: Vec<Loaded<'v>>,
    /// Lists that could not be read whole.
    pub notes: Vec<Note>,
    /// What is said of an image that was met on no list, for each list (load, memory, initialisation): it is not on it, or why that cannot be told.
    pub unmet: [Value<bool>; 3],
}

/// All modules of a process.
#[must_use]
pub fn modules<'v>(memory: &'v AddressSpace<'_>, sides: &[Side<'_>]) -> ProcessModules<'v> {
    let vads = &memory.tree.vads;
    let mut out = ProcessModules { modules: Vec::new(), notes: Vec::new(), unmet: [Ok(false); 3] };
    for side in sides {
        match side.modules(&memory.space) {
            Ok(found) => {
                for (unmet, torn) in out.unmet.iter_mut().zip(found.torn) {
                    if let Some(why) = torn {
                        *unmet = Err(why);
                    }
                }
                out.notes.extend(found.notes);
                for module in found.modules {
                    if let Err(why @ (Absent::NotInBuild | Absent::NoSymbol)) = module.base {
                        out.unmet = [Err(why); 3];
                    }
                    let vad = module.base.ok().and_then(|base| vad_tree::find(vads, base).filter(|v| v.start == base));
                    let (in_load, in_mem, in_init) = (module.in_load, module.in_mem, module.in_init);
                    out.modules.push(Loaded { base: module.base, listed: Some(module), vad, in_load, in_mem, in_init });
                }
            }
            // The 32-bit side's loader runs after the native one's: until then it has no lists.
            Err(Absent::NotApplicable) if side.wow64 => {}
            Err(why) => {
                out.unmet = [Err(why); 3];
                if why != Absent::NotApplicable {
                    let side = if side.wow64 { "32-bit loader" } else { "loader" };
                    out.notes.push(Note::loss(format!("the {side}'s lists are {why}")));
                }
            }
        }
    }
    let listed: rustc_hash::FxHashSet<Va> = out.modules.iter().filter_map(|m| m.base.ok()).collect();
    let [in_load, in_mem, in_init] = out.unmet;
    for vad in vads.iter().filter(|v| v.is_image() && !listed.contains(&v.start)) {
        out.modules.push(Loaded { base: Ok(vad.start), listed: None, vad: Some(vad), in_load, in_mem, in_init });
    }
    out
}
