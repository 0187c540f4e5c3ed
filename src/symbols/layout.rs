//! Typed views on structures whose layout is known only at run time.
//!
//! A [`layout!`](crate::layout) line names a field once. From it come its offset (resolved once per kernel),
//! the number of bytes to fetch, and one typed accessor. A kernel that lacks a field, or the whole structure, gives the
//! accessor's reason ([`Absent`]) and nothing else is lost, unless the field is one of the few without which no process can
//! be read: those are written down in [`super::indispensable`].

use super::indispensable::{self, Need};
use super::types::{Member, Types};
use crate::addr::Va;
use crate::bytes::{Bytes, Place, le};
use crate::time::FileTime;
use crate::value::{Absent, Value};

/// A kernel's types lack what nothing can be read without: a field of [`super::indispensable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The symbols have no such type.
    #[error("the symbols have no type {ty}, whose {field} {why}")]
    NoType {
        /// The type.
        ty: &'static str,
        /// The field that is needed of it.
        field: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// An indispensable field is missing.
    #[error("{ty} has no field {field}, which {why}")]
    NoField {
        /// The type.
        ty: &'static str,
        /// The path tried.
        field: &'static str,
        /// What it is needed for.
        why: &'static str,
    },
    /// An indispensable field has a size that does not fit what is read.
    #[error("{ty}.{field} is {found} bytes, which is no {want}")]
    WrongSize {
        /// The type.
        ty: &'static str,
        /// The path that was found.
        field: &'static str,
        /// What the layout reads there.
        want: &'static str,
        /// Its size in the symbols.
        found: u32,
    },
}

/// Where a field lies in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the start of the structure.
    pub offset: u32,
    /// Bytes; of a bit-field, its storage unit.
    pub size: u32,
    /// Position and length in bits, of a bit-field.
    pub bits: Option<(u8, u8)>,
}

impl Field {
    #[inline]
    fn bytes<'b>(self, bytes: &'b Bytes<'_>) -> Value<&'b [u8]> {
        bytes.at(self.offset, self.size)
    }
    #[inline]
    fn number(self, bytes: &Bytes<'_>) -> Value<u64> {
        le(self.bytes(bytes)?).ok_or(Absent::Implausible)
    }
}

/// What a layout line asks for, as declared: for tests and for the built-in tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The accessor's name.
    pub accessor: &'static str,
    /// The paths tried, newest first.
    pub paths: &'static [&'static str],
}

impl Asked {
    /// Why a kernel of type `ty` must have it, where it must.
    #[must_use]
    pub fn need(&self, ty: &str) -> Option<&'static Need> {
        indispensable::need(ty, self.paths)
    }
}

/// A resolved layout of one structure.
pub trait Layout: Sized {
    /// The structure's name in the symbols.
    const TYPE: &'static str;
    /// Every field asked for.
    const ASKED: &'static [Asked];
    /// Looks every field up once. A type or field that the kernel lacks is no failure: its accessor says why.
    ///
    /// # Errors
    /// An indispensable field is missing, or has an unexpected size.
    fn resolve(types: &Types) -> Result<Self, LayoutError>;
    /// Bytes to fetch so that every field is covered.
    fn span(&self) -> u32;
    /// Where the first field lies.
    fn start(&self) -> u32;
    /// The place of a field, by its accessor's name.
    ///
    /// # Errors
    /// Why this kernel has none ([`Absent::NotInBuild`] also for a name that the layout does not have).
    fn field(&self, accessor: &str) -> Value<Field>;
}

/// What a layout line may read.
pub trait Slot {
    /// What the accessor gives.
    type Read;
    /// What is read, in words.
    const WANT: &'static str;
    /// Whether a member of this shape can be read as such.
    fn fits(member: &Member) -> bool;
    /// Reads it.
    ///
    /// # Errors
    /// Why it is not there.
    fn read(field: Field, bytes: &Bytes<'_>) -> Value<Self::Read>;
}

macro_rules! slot {
    ($(#[$m:meta])* $T:ty => $Read:ty, $want:literal, $fits:expr, $read:expr) => {
        $(#[$m])*
        impl Slot for $T {
            type Read = $Read;
            const WANT: &'static str = $want;
            fn fits(member: &Member) -> bool {
                let fits: fn(&Member) -> bool = $fits;
                fits(member)
            }
            fn read(field: Field, bytes: &Bytes<'_>) -> Value<$Read> {
                let read: fn(Field, &Bytes<'_>) -> Value<$Read> = $read;
                read(field, bytes)
            }
        }
    };
}

/// A plain number of at most `max` bytes, no bit-field.
fn plain(m: &Member, max: u32) -> bool {
    m.bits.is_none() && matches!(m.size, 1 | 2 | 4 | 8) && m.size <= max
}
#[allow(clippy::cast_possible_truncation, reason = "`plain` bounds the size of the member")]
mod numbers {
    use super::{Bytes, Field, Member, Slot, Value, le, plain};
    use crate::value::Absent;
    slot!(u8 => u8, "8-bit number", |m| plain(m, 1), |f, b| Ok(f.number(b)? as u8));
    slot!(u16 => u16, "16-bit number", |m| plain(m, 2), |f, b| Ok(f.number(b)? as u16));
    slot!(u32 => u32, "32-bit number", |m| plain(m, 4), |f, b| Ok(f.number(b)? as u32));
    slot!(
        /// Any unsigned number: pointer-sized members are 4 bytes on x86 and 8 on x64.
        u64 => u64, "64-bit number", |m| plain(m, 8), |f, b| f.number(b));
    slot!(
        /// Sign-extended from the member's own size.
        i64 => i64, "signed number", |m| plain(m, 8), |f, b| signed(f.bytes(b)?).ok_or(Absent::Implausible));
    slot!(i32 => i32, "signed 32-bit number", |m| plain(m, 4), |f, b| Ok(signed(f.bytes(b)?).ok_or(Absent::Implausible)? as i32));

    fn signed(bytes: &[u8]) -> Option<i64> {
        let unused = 64u32.checked_sub(u32::try_from(bytes.len()).ok()?.checked_mul(8)?)?;
        Some((le(bytes)? as i64).wrapping_shl(unused).wrapping_shr(unused))
    }
}
slot!(
    /// A pointer of the kernel's own width, zero-extended.
    Va => Va, "pointer", |m| m.bits.is_none() && matches!(m.size, 4 | 8), |f, b| Ok(Va(f.number(b)?)));
slot!(
/// A `LARGE_INTEGER` that holds a system time. Zero means none was set.
FileTime => FileTime, "system time", |m| m.size == 8, |f, b| match f.number(b)? {
    0 => Err(Absent::NotApplicable),
    ticks => Ok(FileTime(ticks)),
});

impl<const N: usize> Slot for [u8; N] {
    type Read = [u8; N];
    const WANT: &'static str = "byte array of that length";
    fn fits(member: &Member) -> bool {
        member.size as usize >= N
    }
    fn read(field: Field, bytes: &Bytes<'_>) -> Value<[u8; N]> {
        let raw = field.bytes(bytes)?;
        raw.get(..N).and_then(|b| b.try_into().ok()).ok_or(Absent::Implausible)
    }
}

/// A bit-field (or a whole number, where a build declares it plainly), zero-extended.
#[derive(Clone, Copy, Debug)]
pub struct Bits;
slot!(Bits => u64, "bit-field", |m| m.size <= 8, |f, b| {
    let unit = f.number(b)?;
    let Some((pos, len)) = f.bits else { return Ok(unit) };
    let value = unit.checked_shr(pos.into()).ok_or(Absent::Implausible)?;
    Ok(if len >= 64 { value } else { value & (1u64 << len).wrapping_sub(1) })
});

/// A number, or the first of two 64-bit ones.
#[derive(Clone, Copy, Debug)]
pub struct FirstWord;
slot!(FirstWord => u64, "number, or two", |m| m.bits.is_none() && matches!(m.size, 4 | 8 | 16), |f, b| {
    let raw = f.bytes(b)?;
    le(raw.get(..8).unwrap_or(raw)).ok_or(crate::value::Absent::Implausible)
});

/// An embedded structure, list head or array: only its own address is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Here;
slot!(Here => Va, "embedded object", |_| true, |f, b| b.place(f.offset).va.ok_or(Absent::NotRecorded));

/// Two neighbouring pointers: a `_LIST_ENTRY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The next entry.
    pub flink: Va,
    /// The previous entry.
    pub blink: Va,
}
slot!(Link => Link, "_LIST_ENTRY", |m| matches!(m.size, 8 | 16), |f, b| {
    let raw = f.bytes(b)?;
    let (flink, blink) = raw.split_at(raw.len() / 2);
    Ok(Link { flink: Va(le(flink).ok_or(Absent::Implausible)?), blink: Va(le(blink).ok_or(Absent::Implausible)?) })
});

/// A `_UNICODE_STRING` (or `_STRING`): lengths in bytes and the buffer's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Bytes in use.
    pub length: u16,
    /// Bytes reserved.
    pub maximum: u16,
    /// The characters.
    pub buffer: Va,
}
slot!(
/// `_UNICODE_STRING`: `Length` at 0, `MaximumLength` at 2, `Buffer` in the last pointer (8 or 16 bytes in all).
Counted => Counted, "_UNICODE_STRING", |m| matches!(m.size, 8 | 16), |f, b| {
    let raw = f.bytes(b)?;
    let (lengths, buffer) = raw.split_at(raw.len() / 2);
    let short = |r| lengths.get(r).and_then(le).and_then(|n| u16::try_from(n).ok()).ok_or(Absent::Implausible);
    Ok(Counted { length: short(0..2)?, maximum: short(2..4)?, buffer: Va(le(buffer).ok_or(Absent::Implausible)?) })
});

/// An `_EX_FAST_REF`: a pointer whose low bits (4 on 64-bit, 3 on 32-bit machines) count references.
#[derive(Clone, Copy, Debug)]
pub struct FastRef;
slot!(FastRef => Va, "_EX_FAST_REF", |m| matches!(m.size, 4 | 8), |f, b| {
    let mask = if f.size == 8 { 0xf } else { 7 };
    Ok(Va(f.number(b)? & !mask))
});

/// Finds the first of several spellings that can be read as `T`. Used by [`layout!`](crate::layout). What is not found is
/// absent: [`Absent::NoSymbol`] where the symbols do not describe the type at all or its place in this kernel is not sure,
/// [`Absent::NotInBuild`] where they describe it without such a field.
///
/// # Errors
/// The field is indispensable: see [`LayoutError`].
pub fn find<T: Slot>(
    types: &Types,
    ty: &'static str,
    paths: &'static [&'static str],
) -> Result<Value<Field>, LayoutError> {
    // Whatever else a field may be called: where one of its places is not sure, the other spelling is no answer.
    if paths.iter().any(|p| types.is_unsure(ty, p)) && indispensable::need(ty, paths).is_none() {
        return Ok(Err(Absent::NoSymbol));
    }
    let spelt = || paths.iter().filter_map(|p| Some((*p, types.member(ty, p)?)));
    if let Some((_, m)) = spelt().find(|(_, m)| T::fits(m)) {
        return Ok(Ok(Field { offset: m.offset, size: m.size, bits: m.bits }));
    }
    let Some(&Need { field, why, .. }) = indispensable::need(ty, paths) else {
        return Ok(Err(if types.get(ty).is_some() { Absent::NotInBuild } else { Absent::NoSymbol }));
    };
    Err(match (types.get(ty), spelt().next()) {
        (None, _) => LayoutError::NoType { ty, field, why },
        (Some(_), None) => LayoutError::NoField { ty, field, why },
        (Some(_), Some((field, m))) => LayoutError::WrongSize { ty, field, want: T::WANT, found: m.size },
    })
}

/// One object: its layout and its bytes.
#[derive(Clone, Debug)]
pub struct View<'a, L> {
    /// Where the fields lie.
    pub layout: &'a L,
    /// The object's bytes.
    pub bytes: Bytes<'a>,
}

impl<'a, L: Layout> View<'a, L> {
    /// Looks at bytes through a layout.
    pub fn new(layout: &'a L, bytes: Bytes<'a>) -> Self {
        Self { layout, bytes }
    }
    /// The object's virtual address, where it was met virtually.
    pub fn va(&self) -> Option<Va> {
        self.bytes.va()
    }
    /// Where the object starts.
    pub fn place(&self) -> Place {
        self.bytes.place(0)
    }
    /// Where a field lies.
    pub fn at(&self, field: At<L>) -> Option<Place> {
        Some(self.bytes.place((field.0)(self.layout).ok()?.offset))
    }
}

/// A field of a layout, by a name that the compiler knows: `EProcess::id`.
#[derive(Debug)]
pub struct At<L>(#[doc(hidden)] pub fn(&L) -> Value<Field>);

// By hand: deriving would ask it of the layout, which nothing of is held.
impl<L> Clone for At<L> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L> Copy for At<L> {}

impl<L> At<L> {
    /// The field, as this kernel has it.
    ///
    /// # Errors
    /// Why it has none.
    pub fn in_layout(self, layout: &L) -> Value<Field> {
        (self.0)(layout)
    }
    /// Where the field lies in a structure at `va`, if this kernel has it.
    #[must_use]
    pub fn of(self, layout: &L, va: Va) -> Option<Va> {
        Some(va.add((self.0)(layout).ok()?.offset.into()))
    }
}

/// Declares the view of a structure: see the [module](crate::symbols::layout).
///
/// ```ignore
/// // Inside this crate: the accessors are inherent methods of `View`.
/// use crate::layout;
/// layout! {
///     /// `_EPROCESS`: one process.
///     pub struct Small: "_EPROCESS" {
///         /// `UniqueProcessId`.
///         pid: u64 = "UniqueProcessId",
///         /// Spelt with a small `w` before Windows 10.
///         wow64: Va = "WoW64Process" | "Wow64Process",
///     }
/// }
/// ```
#[macro_export]
macro_rules! layout {
    ($(#[$m:meta])* $v:vis struct $Name:ident: $ty:literal {
        $( $(#[$fm:meta])* $f:ident: $t:ty = $($n:literal)|+ ),+ $(,)?
    }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy)]
        $v struct $Name { span: u32, $($f: $crate::value::Value<$crate::symbols::layout::Field>),+ }

        impl $crate::symbols::layout::Layout for $Name {
            const TYPE: &'static str = $ty;
            const ASKED: &'static [$crate::symbols::layout::Asked] = &[$($crate::symbols::layout::Asked {
                accessor: stringify!($f),
                paths: &[$($n),+],
            }),+];
            fn resolve(types: &$crate::symbols::types::Types) -> Result<Self, $crate::symbols::layout::LayoutError> {
                let mut this = Self { span: 0, $($f: $crate::symbols::layout::find::<$t>(types, $ty, &[$($n),+])?),+ };
                this.span = [$(this.$f),+].iter().flatten().map(|f| f.offset.saturating_add(f.size)).max().unwrap_or(0);
                Ok(this)
            }
            fn span(&self) -> u32 { self.span }
            fn start(&self) -> u32 { [$(self.$f),+].iter().flatten().map(|f| f.offset).min().unwrap_or(0) }
            fn field(&self, accessor: &str) -> $crate::value::Value<$crate::symbols::layout::Field> {
                match accessor { $(stringify!($f) => self.$f,)+ _ => Err($crate::value::Absent::NotInBuild) }
            }
        }
        #[allow(dead_code, non_upper_case_globals, reason = "a field has one name: as accessor of the view, and as its place")]
        impl $Name {
            $( $(#[$fm])* $v const $f: $crate::symbols::layout::At<Self> = $crate::symbols::layout::At(|l| l.$f); )+
        }
        #[allow(dead_code, reason = "a layout may name a field for its place alone")]
        impl $crate::symbols::layout::View<'_, $Name> {
            $( $(#[$fm])*
            ///
            /// # Errors
            /// Why it is not there.
            pub fn $f(&self) -> $crate::value::Value<<$t as $crate::symbols::layout::Slot>::Read> {
                <$t as $crate::symbols::layout::Slot>::read(self.layout.$f?, &self.bytes)
            } )+
        }
    };
}

#[cfg(test)]
mod tests {
    use super::super::types::Type;
    use super::*;

    layout! {
        /// One process.
        struct EProcess: "_EPROCESS" {
            /// Process id.
            pid: u64 = "UniqueProcessId",
            /// First fifteen bytes of the image name.
            name: [u8; 15] = "ImageFileName",
            /// Page-table root.
            dtb: u64 = "Pcb.DirectoryTableBase",
            /// The 32-bit side.
            wow64: Va = "WoW64Process" | "Wow64Process",
            /// Newest kernels only.
            session: u32 = "SessionId",
            /// A bit-field.
            protected: Bits = "Protected",
            /// An embedded list head.
            threads: Here = "ThreadListHead",
        }
    }

    fn types() -> Types {
        let m = |offset, size, ty: &str, bits| Member { offset, size, ty: ty.into(), bits };
        let mut t = Types { pointer_size: 8, ..Types::default() };
        let eprocess = [
            ("Pcb", m(0, 0x438, "_KPROCESS", None)),
            ("UniqueProcessId", m(0x440, 8, "*void", None)),
            ("Protected", m(0x464, 4, "ulong", Some((11, 2)))),
            ("ImageFileName", m(0x5a8, 15, "uchar[15]", None)),
            ("Wow64Process", m(0x580, 8, "*void", None)),
            ("ThreadListHead", m(0x5e0, 16, "_LIST_ENTRY", None)),
        ];
        t.types.insert(
            "_EPROCESS".into(),
            Type { size: 0xa40, is_union: false, members: eprocess.map(|(k, v)| (k.into(), v)).into() },
        );
        let kprocess = [("DirectoryTableBase", m(0x28, 8, "uint64", None))];
        t.types.insert(
            "_KPROCESS".into(),
            Type { size: 0x438, is_union: false, members: kprocess.map(|(k, v)| (k.into(), v)).into() },
        );
        t
    }

    #[test]
    fn one_declaration_gives_span_and_accessors() {
        let layout = EProcess::resolve(&types()).unwrap();
        assert_eq!(layout.span(), 0x5f0);
        let mut bytes = Bytes::builder(Some(Va(0x1_0000)), 0x600);
        bytes.push(&[0; 0x28], None, None);
        bytes.push_hole(8, Absent::NotInDump);
        let mut rest = vec![0; 0x600 - 0x30];
        rest[0x440 - 0x30] = 4;
        rest[0x464 - 0x30 + 1] = 0x10;
        rest[0x5a8 - 0x30..0x5ae - 0x30].copy_from_slice(b"System");
        bytes.push(&rest, Some(crate::addr::Pa(0x7030)), None);
        let v = View::new(&layout, bytes);
        assert_eq!(v.pid(), Ok(4));
        assert_eq!(&v.name().unwrap()[..7], b"System\0");
        assert_eq!(v.wow64(), Ok(Va(0)));
        assert_eq!(v.session(), Err(Absent::NotInBuild));
        assert_eq!(v.dtb(), Err(Absent::NotInDump));
        assert_eq!(v.protected(), Ok(2));
        assert_eq!(v.threads(), Ok(Va(0x1_05e0)));
        assert_eq!(v.at(EProcess::pid).unwrap().pa, Some(crate::addr::Pa(0x7440)));
    }
    #[test]
    fn a_missing_indispensable_field_names_itself() {
        let mut t = types();
        t.types.get_mut("_EPROCESS").unwrap().members.remove("UniqueProcessId");
        let error = EProcess::resolve(&t).unwrap_err();
        assert_eq!(
            error,
            LayoutError::NoField { ty: "_EPROCESS", field: "UniqueProcessId", why: indispensable::ALL[2].why }
        );
        assert!(error.to_string().contains("UniqueProcessId, which identifies"), "{error}");
    }
    #[test]
    fn an_indispensable_field_of_another_size_is_refused() {
        let mut t = types();
        t.types.get_mut("_EPROCESS").unwrap().members.get_mut("UniqueProcessId").unwrap().size = 16;
        assert!(matches!(EProcess::resolve(&t), Err(LayoutError::WrongSize { found: 16, .. })));
    }
    #[test]
    fn any_other_field_that_is_missing_or_of_another_size_is_absent() {
        let mut t = types();
        let members = &mut t.types.get_mut("_EPROCESS").unwrap().members;
        members.remove("Protected");
        members.get_mut("Wow64Process").unwrap().size = 2;
        let layout = EProcess::resolve(&t).unwrap();
        let v = View::new(&layout, Bytes::builder(None, 0));
        assert_eq!(v.protected(), Err(Absent::NotInBuild));
        assert_eq!(v.wow64(), Err(Absent::NotInBuild));
        assert_eq!(layout.field("protected"), Err(Absent::NotInBuild));
        assert_eq!(v.at(EProcess::wow64), None);
    }
    #[test]
    fn a_structure_that_is_not_described_has_only_absent_fields() {
        layout! {
            /// Sessions.
            struct Session: "_MM_SESSION_SPACE" {
                /// Its number.
                id: u32 = "SessionId",
            }
        }
        let layout = Session::resolve(&types()).unwrap();
        assert_eq!((layout.span(), layout.field("id")), (0, Err(Absent::NoSymbol)));
        assert_eq!(
            EProcess::resolve(&Types::default()).unwrap_err().to_string().split(',').next(),
            Some("the symbols have no type _EPROCESS")
        );
    }
}
