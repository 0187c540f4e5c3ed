//! Sizes of structures that the dump itself states, held against the layouts': the first sign of another revision.

use super::block::SIZES;
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::object::types::TypeLayout;
use crate::kernel::process::Process;
use crate::paging::Space;
use std::fmt;

/// What the dump says of a structure's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stated {
    /// The structure.
    pub ty: &'static str,
    /// Bytes it has at least.
    pub least: u32,
    /// Bytes it has at most: the same where the size is stated and not only the room that it lies in.
    pub most: u32,
    /// Who says so.
    pub by: &'static str,
}

impl Stated {
    fn exactly(ty: &'static str, size: u32, by: &'static str) -> Self {
        Self { ty, least: size, most: size, by }
    }
    /// Whether a structure of that many bytes is what the dump speaks of.
    #[must_use]
    pub fn fits(&self, size: u32) -> bool {
        (self.least..=self.most).contains(&size)
    }
    /// Whether it states the size itself.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.least == self.most
    }
}

/// A structure that has another size in the dump than in the layouts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// What the dump says.
    pub stated: Stated,
    /// Bytes in the layouts.
    pub own: u32,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stated { ty, least, most, by } = &self.stated;
        if self.stated.is_exact() {
            write!(f, "{ty} has {least:#x} bytes by {by}, here {:#x}", self.own)
        } else {
            write!(f, "{ty} has {least:#x} to {most:#x} bytes by {by}, here {:#x}", self.own)
        }
    }
}

/// Exported pointers to object types, their name, and the structure that such an object is.
const TYPES: [(&str, &str, &str); 3] =
    [("PsProcessType", "Process", "_EPROCESS"), ("PsThreadType", "Thread", "_ETHREAD"), ("PsJobType", "Job", "_EJOB")];

/// Bytes that may lie between a process's end and that of its pool block: the block is rounded, and from Windows 8 on its front is
/// padded to the object's alignment.
const SLACK: u32 = 0x7f;

impl Kernel {
    /// What the dump says of the sizes of structures, strongest first.
    pub(crate) fn stated_sizes(&self) -> Vec<Stated> {
        let space = self.space();
        let block = self.kdbg.iter().flat_map(|block| {
            SIZES.iter().filter_map(|(field, ty)| {
                let size = block.field(field).filter(|size| *size != 0)?;
                Some(Stated::exactly(ty, u32::try_from(size).ok()?, "the debugger block"))
            })
        });
        let charged = TYPES.iter().filter_map(|(global, name, ty)| {
            let size = self.charged(&space, self.global(global)?, name)?;
            Some(Stated::exactly(ty, size, "its object type's charge"))
        });
        block.chain(charged).chain(self.room_of_processes(&space)).collect()
    }
    /// Structures whose size the dump states otherwise.
    pub(super) fn misfits(&self) -> Vec<Misfit> {
        let own = |stated: &Stated| self.symbols.types.size_of(stated.ty);
        let all = self.stated_sizes().into_iter().filter_map(|stated| Some((own(&stated)?, stated)));
        all.filter(|(own, stated)| !stated.fits(*own)).map(|(own, stated)| Misfit { stated, own }).collect()
    }
    /// The size of a type's objects by what each is charged: the object manager adds its own header and that with the name to what
    /// the type's owner asked for, which for processes, threads and jobs is the structure's size. Seen on real machines: a process is charged
    /// 0x290 on XP (0x260), 0x528 on 7 x64 (0x4d0), 0xa98 on 10 2004 (0xa40).
    fn charged(&self, space: &Space<'_>, pointer: Va, name: &str) -> Option<u32> {
        let types = &self.symbols.types;
        let at = space.pointer(pointer).ok().filter(|at| !at.is_null())?;
        let own = space.view(self.layout::<TypeLayout>().ok()?, at).name().ok()?;
        if space.text(own).ok()? != name {
            return None;
        }
        let field = types.member("_OBJECT_TYPE", "TypeInfo.DefaultNonPagedPoolCharge")?;
        let charge = u32::try_from(space.number(at.add(field.offset.into()), field.size).ok()?).ok()?;
        let headers = types.size_of("_OBJECT_HEADER")?.checked_add(types.size_of("_OBJECT_HEADER_NAME_INFO")?)?;
        charge.checked_sub(headers).filter(|size| *size >= LEAST)
    }
    /// The room that processes have in their pool blocks, where most say the same.
    fn room_of_processes(&self, space: &Space<'_>) -> Option<Stated> {
        let processes = self.first_processes();
        let rooms: Vec<u32> = processes.iter().filter_map(|p| self.room(space, p)).collect();
        let count = |room: u32| rooms.iter().filter(|r| **r == room).count();
        let most = rooms.iter().copied().max_by_key(|room| count(*room))?;
        let agreed = count(most) >= 3 && count(most).saturating_mul(10) >= rooms.len().saturating_mul(9);
        let by = "the pool blocks of processes";
        agreed.then(|| Stated { ty: "_EPROCESS", least: most.saturating_sub(SLACK), most, by })
    }
    /// Bytes from a process to the end of the pool block it lies in, whose header names processes.
    fn room(&self, space: &Space<'_>, process: &Process<'_>) -> Option<u32> {
        let types = &self.symbols.types;
        let at = process.offset()?;
        let unit = types.size_of("_POOL_HEADER")?;
        let size = types.member("_POOL_HEADER", "BlockSize")?;
        let tag = types.member("_POOL_HEADER", "PoolTag")?;
        let (first, bits) = size.bits.map_or((0, 64), |b| b);
        (1..=FARTHEST_HEADER.checked_div(unit)?).find_map(|n| {
            let back = n.checked_mul(unit)?;
            let header = at.sub(back.into());
            let tagged = space.number(header.add(tag.offset.into()), 4).ok()?;
            if tagged & 0x7fff_ffff != u64::from(u32::from_le_bytes(*b"Proc")) {
                return None;
            }
            let unit_of_size = space.number(header.add(size.offset.into()), size.size).ok()?;
            let blocks = unit_of_size.checked_shr(first.into())?
                & 1u64.checked_shl(bits.into()).map_or(u64::MAX, |b| b.wrapping_sub(1));
            u32::try_from(blocks).ok()?.checked_mul(unit)?.checked_sub(back).filter(|room| *room >= LEAST)
        })
    }
}

/// No process, thread or job of any Windows is smaller.
const LEAST: u32 = 0x100;
/// Bytes before an object in which the header of its pool block lies: all optional headers together are less.
const FARTHEST_HEADER: u32 = 0x100;
