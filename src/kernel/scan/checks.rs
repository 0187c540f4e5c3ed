//! Whether the bytes at a place can be the object the scan takes them for: each kind by what its own fields must hold.

use super::find::{By, Found};
use super::object;
use super::tags::Kind;
use crate::addr::{Pa, Va};
use crate::kernel::Kernel;
use crate::kernel::driver::{DriverObject, IO_TYPE_DRIVER};
use crate::kernel::file_object::IO_TYPE_FILE;
use crate::kernel::object::header::Headers;
use crate::kernel::object::types::{self, ObjectTypes};
use crate::kernel::process::EProcess;
use crate::kernel::thread::EThread;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::{Layout, View};
use crate::value::Absent;

layout! {
    /// `_FILE_OBJECT`, as much of it as tells whether it is one.
    pub struct ScanFile: "_FILE_OBJECT" {
        /// `Type`.
        kind: u16 = "Type",
        /// `Size`: bytes, as the I/O manager wrote them.
        size: u16 = "Size",
    }
}
layout! {
    /// `_KMUTANT`, as much of it as tells whether it is one.
    pub struct ScanMutant: "_KMUTANT" {
        /// `Header.Type`.
        kind: u8 = "Header.Type",
    }
}
layout! {
    /// `_TOKEN`, as much of it as tells whether it is one.
    pub struct ScanToken: "_TOKEN" {
        /// `TokenType`: 1 primary, 2 impersonation (`TOKEN_TYPE` of winnt.h).
        kind: u32 = "TokenType",
        /// `UserAndGroupCount`: at least the user.
        groups: u32 = "UserAndGroupCount",
    }
}
layout! {
    /// `_EJOB`, as much of it as tells whether it is one.
    pub struct ScanJob: "_EJOB" {
        /// `Event.Header.Type`.
        kind: u8 = "Event.Header.Type",
        /// `TotalProcesses`.
        total: u32 = "TotalProcesses",
        /// `ActiveProcesses`.
        active: u32 = "ActiveProcesses",
    }
}
layout! {
    /// `_CMHIVE`, as much of it as tells whether it is one.
    pub struct ScanHive: "_CMHIVE" {
        /// `Hive.Signature`.
        signature: u32 = "Hive.Signature",
    }
}

/// `_KOBJECTS`: what `_DISPATCHER_HEADER.Type` says, the same in every known kernel. Events are 0 and 1.
pub(in crate::kernel) const PROCESS_OBJECT: u8 = 3;
pub(in crate::kernel) const THREAD_OBJECT: u8 = 6;
const MUTANT_OBJECT: u8 = 2;
const LAST_EVENT_OBJECT: u8 = 1;
/// `_HHIVE.Signature` of every hive in memory, as public descriptions of the registry's hive library agree.
const HIVE_SIGNATURE: u32 = 0xbee0_bee0;
/// Groups a token has at most: `SE_MAX_GROUPS_SUPPORTED` is 1,024, and the user.
const MOST_GROUPS: u32 = 1_025;

/// What the checks need, made once a scan.
#[derive(Debug)]
pub(super) struct Checks<'k> {
    kernel: &'k Kernel,
    types: Option<(ObjectTypes, Headers<'k>)>,
}

impl<'k> Checks<'k> {
    /// For a scan for these kinds. Processes and threads prove themselves by their own fields: a changed type index must not hide one.
    pub(super) fn of(kernel: &'k Kernel, kinds: &[Kind]) -> Self {
        let by_type = |k: &Kind| k.has_object_header() && !matches!(k, Kind::Process | Kind::Thread);
        let headers = kinds.iter().any(by_type).then(|| Headers::of(kernel).ok()).flatten();
        Self { kernel, types: headers.map(|h| (kernel.object_types(), h)) }
    }
    /// The address by which the kernel itself knows an object, of several that map it: what waits for a dispatcher object hangs in a list
    /// whose first entry points back to the object's list head; the type index of other objects is written by their own address
    /// (Windows 10 and later).
    pub(super) fn own_address(&self, f: &Found, aliases: &[Va]) -> Option<Va> {
        let of = |page: &Va| page.add(f.pa.offset_in_page());
        let first = aliases.first().map(of);
        if aliases.len() < 2 {
            return first;
        }
        let space = self.kernel.space();
        let points_back = |va: &Va| {
            let head = va.add(8);
            let next = space.pointer(head);
            next.and_then(|n| space.pointer(n.add(space.pointer_size().into()))) == Ok(head)
        };
        let mut own = aliases.iter().map(of);
        let found = match f.kind {
            Kind::Process | Kind::Thread | Kind::Mutant => own.find(points_back),
            kind if kind.has_object_header() => own.find(|va| self.right_type(f, *va)),
            _ => None,
        };
        found.or(first)
    }
    /// Whether what lies in the object's first page leaves it possible: a fast test that refuses nothing of what [`hold`](Self::hold)
    /// takes. What lies behind the page's end is not known yet.
    pub(super) fn may_hold(&self, space: &Space<'_>, kind: Kind, body: Pa) -> bool {
        let kernel = self.kernel;
        let bytes = |span| object::at(&kernel.dump, body, span);
        let open = |why: Absent| why == Absent::NotMapped;
        match kind {
            Kind::Process => kernel.layout::<EProcess>().is_ok_and(|l| {
                kernel
                    .process_of(bytes(l.span()))
                    .is_ok_and(|p| p.view.kind() == Ok(PROCESS_OBJECT) && p.dtb().map_or_else(open, |_| true))
            }),
            Kind::Thread => kernel.layout::<EThread>().is_ok_and(|l| {
                kernel.thread_of(bytes(l.span())).is_ok_and(|t| {
                    t.view.kind() == Ok(THREAD_OBJECT)
                        && t.view.owner().map_or_else(open, |_| t.doubts(space).is_some())
                })
            }),
            Kind::Driver => self.may::<DriverObject>(body, |v| v.kind().map_or_else(open, |t| t == IO_TYPE_DRIVER)),
            Kind::File => self.may::<ScanFile>(body, |v| v.kind().map_or_else(open, |t| t == IO_TYPE_FILE)),
            Kind::Mutant => self.may::<ScanMutant>(body, |v| v.kind().map_or_else(open, |t| t == MUTANT_OBJECT)),
            Kind::Token => self.may::<ScanToken>(body, |v| {
                v.kind().map_or_else(open, |t| t == 1 || t == 2)
                    && v.groups().map_or_else(open, |n| (1..=MOST_GROUPS).contains(&n))
            }),
            Kind::Job => self.may::<ScanJob>(body, |v| v.kind().map_or_else(open, |t| t <= LAST_EVENT_OBJECT)),
            Kind::Hive => self.may::<ScanHive>(body, |v| v.signature().map_or_else(open, |s| s == HIVE_SIGNATURE)),
            Kind::SymbolicLink | Kind::Module | Kind::Network => true,
        }
    }
    fn may<L: Layout + Send + Sync + 'static>(&self, body: Pa, can_be: impl Fn(&View<'_, L>) -> bool) -> bool {
        let Ok(layout) = self.kernel.layout::<L>() else { return true };
        can_be(&View::new(layout, object::at(&self.kernel.dump, body, layout.span())))
    }
    /// Whether header and fields can be what the finding says.
    pub(super) fn hold(&self, f: &Found) -> bool {
        let kernel = self.kernel;
        match f.kind {
            Kind::Process => kernel.layout::<EProcess>().is_ok_and(|l| {
                let tagged = f.by.contains(&By::PoolTag);
                kernel.process_of(f.bytes(kernel, l.span())).is_ok_and(|p| p.is_one(&kernel.space(), tagged))
            }),
            Kind::Thread => kernel
                .layout::<EThread>()
                .is_ok_and(|l| kernel.thread_of(f.bytes(kernel, l.span())).is_ok_and(|t| t.is_one(&kernel.space()))),
            Kind::Driver => {
                self.fields::<DriverObject>(f, |v| v.kind() == Ok(IO_TYPE_DRIVER)) && self.has_right_type(f)
            }
            Kind::File => {
                self.fields::<ScanFile>(f, |v| v.kind() == Ok(IO_TYPE_FILE) && v.size().is_ok_and(|s| s != 0))
                    && self.has_right_type(f)
            }
            Kind::Mutant => self.fields::<ScanMutant>(f, |v| v.kind() == Ok(MUTANT_OBJECT)) && self.has_right_type(f),
            Kind::Token => {
                self.fields::<ScanToken>(f, |v| {
                    v.kind().is_ok_and(|t| t == 1 || t == 2) && v.groups().is_ok_and(|n| (1..=MOST_GROUPS).contains(&n))
                }) && self.has_right_type(f)
            }
            Kind::Job => {
                self.fields::<ScanJob>(f, |v| {
                    v.kind().is_ok_and(|t| t <= LAST_EVENT_OBJECT)
                        && v.active().is_ok_and(|active| v.total().is_ok_and(|total| active <= total))
                }) && self.has_right_type(f)
            }
            Kind::Hive => self.fields::<ScanHive>(f, |v| v.signature() == Ok(HIVE_SIGNATURE)),
            Kind::SymbolicLink => self.has_right_type(f),
            // A module's entry is checked where its names are read; no public type describes an endpoint.
            Kind::Module | Kind::Network => true,
        }
    }
    /// Whether the fields are what they must be. A structure that the symbols do not describe cannot be checked.
    fn fields<L: Layout + Send + Sync + 'static>(&self, f: &Found, right: impl Fn(&View<'_, L>) -> bool) -> bool {
        let Ok(layout) = self.kernel.layout::<L>() else { return true };
        right(&View::new(layout, f.bytes(self.kernel, layout.span())))
    }
    /// Whether the header's type index means the kind's own type. Where that cannot be told, the fields must do.
    fn has_right_type(&self, f: &Found) -> bool {
        f.va.is_none_or(|va| self.right_type(f, va))
    }
    fn right_type(&self, f: &Found, body: Va) -> bool {
        let (Some((types, headers)), Some(wanted)) = (&self.types, f.kind.object_type()) else { return true };
        let space = self.kernel.space();
        let header = headers.at(&space, body.sub(headers.body()));
        let name = match header.view.type_index() {
            Ok(index) => types.name(index, header.at),
            // Up to Vista the header points at the type itself.
            Err(Absent::NotInBuild) => header.view.type_object().and_then(|at| types::name_of(self.kernel, &space, at)),
            Err(why) => Err(why),
        };
        match name {
            Ok(name) => name == wanted,
            Err(why) => why != Absent::Implausible,
        }
    }
}
