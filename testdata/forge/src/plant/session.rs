//! Session space: the part that says which session it is and which processes belong to it.

use std::collections::BTreeMap;

use crate::machine::Machine;
use crate::memory::flags;

/// `_PSP_SESSION_SPACE` (24H2) is in no layout table; it keeps the two members where `_MM_SESSION_SPACE` had them
/// (see WINDOWS facts: session id at 8, process list at 0x10).
const WITHOUT_TYPE: (u64, u64) = (8, 0x10);

/// Sessions by id: address, and the `SessionProcessLinks` of the processes in them.
#[derive(Default)]
pub struct Sessions {
    made: BTreeMap<u32, (u64, Vec<u64>)>,
}

fn offsets(m: &Machine) -> (u64, u64) {
    let ty = "_MM_SESSION_SPACE";
    if m.layouts.has(ty) {
        (m.layouts.offset(ty, "SessionId"), m.layouts.offset(ty, "ProcessList"))
    } else {
        WITHOUT_TYPE
    }
}

impl Sessions {
    /// Puts a process into a session; gives the session's address.
    pub fn join(&mut self, m: &mut Machine, id: u32, links: u64) -> u64 {
        let va = m.regions.session + u64::from(id) * 0x2_0000;
        let (id_at, _) = offsets(m);
        self.made.entry(id).or_insert_with(|| {
            m.ensure(va, 0x1000, flags::KERNEL | flags::NX);
            m.write(va, &1u32.to_le_bytes());
            m.write(va + id_at, &id.to_le_bytes());
            (va, Vec::new())
        });
        if let Some((_, list)) = self.made.get_mut(&id) {
            list.push(links);
        }
        va
    }

    /// Links the lists.
    pub fn finish(&self, m: &mut Machine) {
        let (_, list_at) = offsets(m);
        for (va, links) in self.made.values() {
            m.link(va + list_at, links);
        }
    }
}
