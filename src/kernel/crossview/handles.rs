//! Which processes the handles of each process lead to, straight or by one of their threads.

use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::handle_table::HandleTables;
use crate::kernel::object::Objects;
use crate::kernel::process::Process;
use crate::value::{Absent, Note, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};

/// By holder (its `_EPROCESS`): the processes its handles lead to, or why its table cannot be read.
pub(super) type Reached = FxHashMap<Va, Value<FxHashSet<Va>>>;

/// Walks the table of each of these processes.
///
/// # Errors
/// [`Absent::NoSymbol`]: the symbols do not describe handles or objects.
pub(super) fn reached(kernel: &Kernel, holders: &[Process<'_>], notes: &mut Vec<Note>) -> Value<Reached> {
    let tables = HandleTables::of(kernel)?;
    let types = kernel.object_types();
    Objects::of(kernel, &types).map_err(|_| Absent::NoSymbol)?; // fails here rather than in a worker
    let walked: Vec<(Va, Value<FxHashSet<Va>>, usize)> = holders
        .par_iter()
        .map_init(
            || Objects::of(kernel, &types).ok(),
            |objects, holder| {
                let at = holder.offset()?;
                let objects = objects.as_mut()?;
                let table = match holder.view.handle_table() {
                    Ok(table) if table.is_null() => return Some((at, Err(Absent::NotApplicable), 0)),
                    Ok(table) => table,
                    Err(why) => return Some((at, Err(why), 0)),
                };
                let (to, lost) = walk(&tables, objects, table);
                Some((at, to, lost))
            },
        )
        .flatten()
        .collect();
    let lost: usize = walked.iter().map(|w| w.2).sum();
    if lost > 0 {
        let text = format!("{lost} pages of handle tables cannot be read: handles to processes may be missing");
        notes.push(Note::loss(text));
    }
    Ok(walked.into_iter().map(|(at, to, _)| (at, to)).collect())
}

/// What one table leads to, and how many of its pages cannot be read.
fn walk(tables: &HandleTables<'_>, objects: &mut Objects<'_>, table: Va) -> (Value<FxHashSet<Va>>, usize) {
    let (leaves, _) = tables.leaves(&objects.space, table);
    let mut to = FxHashSet::default();
    let (mut lost, mut why) = (0usize, Absent::NotMapped);
    let all = leaves.len();
    for leaf in leaves {
        let mut targets = Vec::new();
        if let Err(reason) = tables.handles(&objects.space, leaf, |h| targets.push(h.target)) {
            lost = lost.saturating_add(1);
            why = reason;
        }
        for target in targets {
            let object = objects.with_header(target);
            match objects.type_of(&object).as_deref() {
                Ok("Process") => _ = to.insert(object.body),
                Ok("Thread") => {
                    let thread = objects.kernel.thread_at(&objects.space, object.body);
                    to.extend(thread.ok().and_then(|t| t.view.owner().ok()));
                }
                _ => {}
            }
        }
    }
    // A table of which nothing can be read says nothing of what it lacks.
    if lost == all { (Err(why), lost) } else { (Ok(to), lost) }
}
