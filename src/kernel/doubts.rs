//! What of a process's or a thread's fields is not as Windows writes them, and what bears the object out all the same.
//!
//! Whoever can write to kernel memory can change any one field of an object, and the machine runs on: nothing follows the
//! links of a process that was unlinked, and nobody reads its name. So no single field decides that an object is none. A
//! field that cannot be right is a [`Doubt`], shown with the object, as long as something that must be right for it to run
//! leads back to it: its threads, its handle table, the page tables that it runs on.

use super::Kernel;
use super::process::{EProcess, Process};
use super::scan::checks::{PROCESS_OBJECT, THREAD_OBJECT};
use super::thread::{EThread, Thread};
use crate::addr::Va;
use crate::paging::{Mode, Space};
use crate::symbols::layout::Layout as _;
use crate::time::FileTime;
use crate::value::{Absent, Value};

/// A field that is not as Windows writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Doubt {
    /// The name is empty, or its bytes are no text in any code page.
    Name,
    /// The id is zero, no multiple of 4, or too large.
    Id,
    /// A link of the active list leads outside the kernel's half.
    Links,
    /// The token is outside the kernel's half.
    Token,
    /// It runs and has no token.
    NoToken,
    /// The handle table is outside the kernel's half.
    HandleTable,
    /// The time of creation is before 1998 or after 2100.
    CreateTime,
    /// The process that a thread belongs to cannot be read.
    OwnerGone,
    /// A thread and the process it belongs to do not name the same process id.
    OwnersId,
}

impl Doubt {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Name => "name is no text",
            Self::Id => "impossible id",
            Self::Links => "links lead outside the kernel",
            Self::Token => "token is outside the kernel",
            Self::NoToken => "runs without a token",
            Self::HandleTable => "handle table is outside the kernel",
            Self::CreateTime => "impossible creation time",
            Self::OwnerGone => "its process cannot be read",
            Self::OwnersId => "its process has another id",
        }
    }
}

fn possible_id(id: Value<u64>) -> bool {
    id.is_ok_and(|id| id != 0 && id.is_multiple_of(4) && id <= u64::from(u32::MAX))
}

/// Between 1998 and 2100: before the first kernel dumpwalk knows there was nothing to create.
fn plausible(time: FileTime) -> bool {
    (883_612_800..4_102_444_800).contains(&time.unix_seconds())
}

impl Process<'_> {
    /// Whether the name's first byte can begin a name: printable ASCII, or a letter of the machine's code page (0x80 and
    /// above) with no control character behind it. Windows writes `ImageFileName` in the ANSI code page, so names in
    /// Cyrillic, Chinese or with accents have such bytes.
    #[must_use]
    pub fn name_is_text(&self) -> bool {
        self.view.short_name().is_ok_and(|raw| {
            let name = raw.split(|b| *b == 0).next().unwrap_or_default();
            let control = |b: &u8| *b < 0x20 || *b == 0x7f;
            name.first().is_some_and(|first| !control(first) && (first.is_ascii() || !name.iter().any(control)))
        })
    }
    /// Whether the name begins with a byte outside ASCII.
    fn name_is_foreign(&self) -> bool {
        self.view.short_name().is_ok_and(|raw| raw.first().is_some_and(|first| !first.is_ascii()))
    }
    /// Whether these bytes can be a process, with room for one field that was tampered with: the dispatcher type, a
    /// page-table root, and an id or a name.
    #[must_use]
    pub fn may_be_one(&self) -> bool {
        self.view.kind() == Ok(PROCESS_OBJECT)
            && self.dtb().is_ok()
            && (possible_id(self.pid()) || self.pid() == Ok(0) || self.name_is_text())
    }
    /// Its fields that are not as Windows writes them.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        // Null, or in the kernel's half. One that cannot be read says nothing.
        let kernel = |p: Value<Va>| p.map_or(true, |p| p.is_null() || self.kernel.in_kernel_half(p));
        let links = self.view.links();
        let runs = self.exit_time() == Err(Absent::NotApplicable) && self.threads().is_ok_and(|n| n > 0);
        let created = self.create_time().map_or_else(|why| why != Absent::Implausible, plausible);
        [
            (Doubt::Name, self.name_is_text()),
            (Doubt::Id, possible_id(self.pid())),
            (Doubt::Links, kernel(links.map(|l| l.flink)) && kernel(links.map(|l| l.blink))),
            (Doubt::Token, kernel(self.view.token())),
            (Doubt::NoToken, !runs || self.view.token() != Ok(Va(0))),
            (Doubt::HandleTable, kernel(self.view.handle_table())),
            (Doubt::CreateTime, created),
        ]
        .into_iter()
        .filter(|(_, right)| !right)
        .map(|(doubt, _)| doubt)
        .collect()
    }
    /// Whether something that must be right for a process to run leads back to it: a thread of its list, its handle table,
    /// or page tables that map this kernel.
    #[must_use]
    pub fn is_borne_out(&self, space: &Space<'_>) -> bool {
        self.offset().is_some_and(|at| {
            self.has_a_thread(space, at) || self.owns_its_handles(space, at) || self.maps_the_kernel(space, at)
        })
    }
    fn has_a_thread(&self, space: &Space<'_>, at: Va) -> bool {
        let (Ok(head), Ok(layout)) = (self.view.thread_list(), self.kernel.layout::<EThread>()) else { return false };
        let offset = layout.field("links").map_or(0, |f| u64::from(f.offset));
        let Ok(first) = space.pointer(head) else { return false };
        let back = space.pointer(first.add(space.pointer_size().into()));
        first != head && back == Ok(head) && space.view(layout, first.sub(offset)).owner() == Ok(at)
    }
    fn owns_its_handles(&self, space: &Space<'_>, at: Va) -> bool {
        let Ok(table) = self.view.handle_table() else { return false };
        let owner = self.kernel.symbols.types.member("_HANDLE_TABLE", "QuotaProcess");
        !table.is_null() && owner.is_some_and(|owner| space.pointer(table.add(owner.offset.into())) == Ok(at))
    }
    /// Its page tables map this kernel, and what waits for it leads back to it: a copy of a process elsewhere in memory
    /// has the first and not the second.
    fn maps_the_kernel(&self, space: &Space<'_>, at: Va) -> bool {
        let Some(waits) = self.kernel.symbols.types.member("_EPROCESS", "Pcb.Header.WaitListHead") else {
            return false;
        };
        let head = at.add(waits.offset.into());
        let back = space.pointer(head).and_then(|first| space.pointer(first.add(space.pointer_size().into())));
        let here = space.translate(self.kernel.base);
        back == Ok(head)
            && self.kernel.mode != Mode::Blocks
            && here.is_ok()
            && self.dtb().is_ok_and(|root| self.kernel.space_of(root).translate(self.kernel.base) == here)
    }
    /// Whether the scan takes these bytes for a process; `tagged` where they lie in a pool allocation of processes. The
    /// doubts are [`doubts`](Self::doubts).
    #[must_use]
    pub(super) fn is_one(&self, space: &Space<'_>, tagged: bool) -> bool {
        if self.view.kind() != Ok(PROCESS_OBJECT) || self.dtb().is_err() {
            return false;
        }
        // The Idle process, which lies in the kernel image, has the id 0 and is on no list.
        let size = u64::from(self.kernel.size.unwrap_or(0));
        if self.pid() == Ok(0) && self.offset().is_some_and(|at| at.0.wrapping_sub(self.kernel.base.0) < size) {
            return false;
        }
        let certain = self.doubts().iter().all(|d| *d == Doubt::NoToken) && (tagged || !self.name_is_foreign());
        certain || self.is_borne_out(space)
    }
}

impl Kernel {
    /// Whether nothing of a process is left at an address that was one's: its page is not in the dump, or is empty.
    #[must_use]
    pub(super) fn process_is_gone(&self, space: &Space<'_>, at: Va) -> bool {
        self.in_kernel_half(at)
            && self.process_at(space, at).is_ok_and(|p| match p.view.kind() {
                Ok(kind) => kind == 0 && p.view.short_name() == Ok([0; 15]) && p.view.dtb_raw() == Ok([0; 4]),
                Err(why) => why == Absent::NotInDump,
            })
    }
}

impl Thread<'_> {
    /// What of it is not as Windows writes it; `None` where it points to nothing that is or was a process.
    #[must_use]
    pub fn doubts(&self, space: &Space<'_>) -> Option<Vec<Doubt>> {
        let owner = self.view.owner().ok()?;
        let process = self.kernel.process_at(space, owner).ok()?;
        let mut doubts = Vec::new();
        if !possible_id(self.tid()) || !possible_id(self.view.pid()) {
            doubts.push(Doubt::Id);
        }
        if process.may_be_one() {
            if process.pid() != self.view.pid() {
                doubts.push(Doubt::OwnersId);
            }
        } else if self.kernel.process_is_gone(space, owner) {
            doubts.push(Doubt::OwnerGone);
        } else {
            return None;
        }
        Some(doubts)
    }
    /// Whether the scan takes these bytes for a thread.
    #[must_use]
    pub(super) fn is_one(&self, space: &Space<'_>) -> bool {
        if self.view.kind() != Ok(THREAD_OBJECT) {
            return false;
        }
        // The Idle process's threads, one for each processor, have the id 0.
        let size = u64::from(self.kernel.size.unwrap_or(0));
        let of_idle = |owner: Va| owner.0.wrapping_sub(self.kernel.base.0) < size;
        match self.doubts(space) {
            Some(doubts) if doubts.is_empty() => true,
            Some(_) => self.ended() == Ok(false) && !self.view.owner().is_ok_and(of_idle) && self.is_linked(space),
            None => false,
        }
    }
    /// Whether its neighbours on its process's list point back to it. The head of that list lies in the process, which may
    /// be gone.
    fn is_linked(&self, space: &Space<'_>) -> bool {
        let (Some(at), Ok(links), Ok(owner)) = (self.offset(), self.view.links(), self.view.owner()) else {
            return false;
        };
        let Ok(layout) = self.kernel.layout::<EThread>() else { return false };
        let Ok(entry) = layout.field("links").map(|f| at.add(f.offset.into())) else { return false };
        let span = self.kernel.layout::<EProcess>().map_or(0, |l| u64::from(l.span()));
        let is_head = |link: Va| link.0.wrapping_sub(owner.0) < span;
        let gone = self.kernel.process_is_gone(space, owner);
        let leads_back = |link: Va, back: Va| is_head(link) && gone || space.pointer(back) == Ok(entry);
        let width = space.pointer_size().into();
        leads_back(links.flink, links.flink.add(width)) && leads_back(links.blink, links.blink)
    }
}
