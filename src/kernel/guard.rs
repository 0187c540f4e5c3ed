//! Guard pages: the pages below a stack's committed part that raise an exception when they are touched.

use super::Kernel;
use crate::addr::{PAGE_SIZE, Va};
use crate::paging::Space;
use crate::value::{Absent, Value};

/// Guard pages followed at most: `SetThreadStackGuarantee` makes several, never more than the stack.
const MOST: u64 = 512;
/// The two upper bits of the five of a protection that say how: 2 is guard (see [`super::protection`]).
const HOW: u64 = 0x18;
const GUARD: u64 = 0x10;

/// A run of guard pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its first byte.
    pub start: Va,
    /// How many bytes.
    pub bytes: u64,
}

impl Kernel {
    /// The guard pages of user memory that end right below `limit`.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] where the page below is none, else why its page-table entry cannot be read.
    pub fn guard_below(&self, user: &Space<'_>, limit: Va) -> Value<Guard> {
        // Software entries keep the protection in the same bits whatever they say else.
        let bits = self.symbols.types.member("_MMPTE_SOFTWARE", "Protection").and_then(|m| m.bits);
        let (at, len) = bits.filter(|(_, len)| *len == 5).ok_or(Absent::NoSymbol)?;
        let mut guard = Err(Absent::NotApplicable);
        for n in 1..=MOST {
            let Some(start) = n.checked_mul(PAGE_SIZE).and_then(|b| limit.0.checked_sub(b)) else { break };
            let entry = match (user.raw_entry(Va(start)), guard) {
                (Ok(entry), _) => entry,
                (Err(_), Ok(_)) => break,
                (Err(why), Err(_)) => return Err(why),
            };
            let protection = entry.checked_shr(at.into()).unwrap_or(0) & ((1u64 << len) - 1);
            // A page that the processor maps (bit 0 in every mode) guards nothing, nor does an entry that says nothing yet.
            if entry & 1 == 1 || entry == 0 || protection & HOW != GUARD || protection & 7 == 0 {
                break;
            }
            guard = Ok(Guard { start: Va(start), bytes: n.saturating_mul(PAGE_SIZE) });
        }
        guard
    }
}
