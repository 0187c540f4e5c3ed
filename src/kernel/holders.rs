//! Who holds handles to certain objects: all tables of all listed processes, by the address alone.

use super::Kernel;
use super::handle_table::HandleTables;
use super::object::header::Headers;
use super::process::Process;
use crate::addr::Va;
use crate::value::Value;
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// A handle to an object of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The `_EPROCESS` whose handle it is.
    pub eprocess: Va,
    /// Its id.
    pub pid: Value<u64>,
    /// Its name.
    pub name: Value<String>,
    /// The handle.
    pub handle: u64,
    /// The access granted.
    pub access: Value<u32>,
}

impl Kernel {
    /// The handles that listed processes have to these objects (by the addresses of their bodies), in the order of processes
    /// and handles. Nothing of the objects themselves is read.
    ///
    /// # Errors
    /// [`Absent::NoSymbol`](crate::value::Absent::NoSymbol): the symbols do not describe handle tables.
    pub fn holders(&self, all: &[Process<'_>], of: &FxHashSet<Va>) -> Value<FxHashMap<Va, Vec<Holder>>> {
        let tables = HandleTables::of(self)?;
        let body = Headers::of(self)?.body();
        let each = |process: &Process<'_>| {
            let mut found = Vec::new();
            let (Some(eprocess), Ok(at)) = (process.offset(), process.view.handle_table()) else { return found };
            if at.is_null() {
                return found;
            }
            let space = self.space();
            for leaf in tables.leaves(&space, at).0 {
                // A page that cannot be read hides its handles here; the handles analysis says so.
                let _ = tables.handles(&space, leaf, |h| {
                    let object = h.target.add(body);
                    if of.contains(&object) {
                        let holder = Holder {
                            eprocess,
                            pid: process.pid(),
                            name: process.name(),
                            handle: h.value,
                            access: h.access,
                        };
                        found.push((object, holder));
                    }
                });
            }
            found
        };
        let found: Vec<Vec<(Va, Holder)>> = all.par_iter().map(each).collect();
        let mut out: FxHashMap<Va, Vec<Holder>> = FxHashMap::default();
        for (object, holder) in found.into_iter().flatten() {
            out.entry(object).or_default().push(holder);
        }
        Ok(out)
    }
}
