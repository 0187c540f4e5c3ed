//! Of a triage dump: the copied process and thread.

use super::End::{self, Failed, Passed, Unknown};
use crate::bytes::{Bytes, le};
use crate::dump::{Part, Triage};
use crate::kernel::Kernel;
use crate::value::Value;

impl Kernel {
    /// Of a triage dump: the copied process and thread belong together and to the header.
    pub(super) fn check_copies(&self, triage: Triage<'_>) -> End {
        let (Some(process), Some(thread)) = (triage.process(), triage.thread()) else {
            return Unknown("copies of process and thread (the dump keeps none)".into());
        };
        let bytes = |part: Part<'_>| Bytes::from_vec(part.bytes.to_vec());
        let (Ok(process), Ok(thread)) = (self.process_of(bytes(process)), self.thread_of(bytes(thread))) else {
            return Failed("no layout of processes and threads".into());
        };
        let mut wrong = Vec::new();
        if process.view.kind() != Ok(3) {
            wrong.push("its dispatcher type is not 3");
        }
        let plain = |n: String| !n.is_empty() && n.chars().all(|c| !c.is_control() && c != '\u{fffd}');
        if !process.name().is_ok_and(plain) {
            wrong.push("its name is not printable");
        }
        let id = |v: Value<u64>| v.is_ok_and(|v| v != 0 && v.is_multiple_of(4) && v <= u64::from(u32::MAX));
        if !id(process.pid()) {
            wrong.push("its id is none");
        }
        if !id(thread.tid()) {
            wrong.push("its thread's id is none");
        }
        // The header's root is the crashing context's; with shadowed kernel addresses it may be the process's other one.
        let root = self.dump.header.as_ref().and_then(|h| h.dtb);
        let own = [process.dtb(), process.user_dtb()].into_iter().flatten().any(|d| Some(d) == root);
        if root.is_some() && !own {
            wrong.push("its page-table root is not the header's");
        }
        let owner = self.symbols.types.member("_ETHREAD", "Cid.UniqueProcess");
        let owner = owner.and_then(|m| le(thread.view.bytes.at(m.offset, m.size).ok()?));
        if owner != process.pid().ok() {
            wrong.push("its thread names another process");
        }
        if wrong.is_empty() {
            Passed("the copied process and thread belong together and to the header".into())
        } else {
            Failed(format!("the copied process does not fit: {}", wrong.join(", ")))
        }
    }
}
