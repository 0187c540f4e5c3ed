//! What an image tells of itself, and the columns that every row about an image has of it.

use crate::bytes::Place;
use crate::kernel::image::{HeaderField, Image};
use crate::kernel::stamp::{Bounds, Stamp};
use crate::kernel::verinfo::{Number, Version};
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Subject, derived, placed};
use crate::symbols::PdbId;
use crate::value::{Absent, Value};

/// Rows that are about an image, among other things.
pub trait OfImage: Subject {
    /// What the image tells.
    fn facts<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Facts<'a>;
}

/// Says that rows named `$name` are of a `$of`, whose field `facts` is what the image tells.
macro_rules! of_image {
    ($name:ident, $of:ident) => {
        impl $crate::analysis::image_facts::OfImage for $name {
            fn facts<'a, 'b>(of: &'b Self::Of<'a>) -> &'b $crate::analysis::image_facts::Facts<'a> {
                &of.facts
            }
        }
    };
}
pub(super) use of_image;

/// What the values of a version resource are derived from.
const RESOURCE: &str = "the image's version resource";
/// What the identity of a PDB is derived from.
const CODEVIEW: &str = "the CodeView record of the image's debug directory";

/// The string `CompanyName` of its version resource.
#[must_use]
pub const fn company<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("CompanyName"))
}
/// The string `ProductName` of its version resource.
#[must_use]
pub const fn product<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("ProductName"))
}
/// The string `OriginalFilename` of its version resource.
#[must_use]
pub const fn original_name<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("OriginalFilename"))
}
/// The string `FileVersion` of its version resource.
#[must_use]
pub const fn file_version_text<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("FileVersion"))
}
/// The string `FileDescription` of its version resource.
#[must_use]
pub const fn description<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("FileDescription"))
}
/// The string `InternalName` of its version resource.
#[must_use]
pub const fn internal_name<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("InternalName"))
}
/// The string `LegalCopyright` of its version resource.
#[must_use]
pub const fn copyright<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).string("LegalCopyright"))
}
/// The file version, by the four numbers of the resource's fixed part.
#[must_use]
pub const fn file_version<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).number(|v| v.file))
}
/// The product version, by the four numbers of the resource's fixed part.
#[must_use]
pub const fn product_version<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).number(|v| v.product))
}
/// All strings of its version resource.
#[must_use]
pub const fn strings<S: OfImage>(column: Column) -> Field<S> {
    derived(column, RESOURCE, |c| S::facts(c).strings())
}
/// The processor it is for, by its header.
#[must_use]
pub const fn machine<S: OfImage>(column: Column) -> Field<S> {
    placed(column, |c| S::facts(c).header(|i| i.machine_name().into()), |c| S::facts(c).header_at(HeaderField::Machine))
}
/// `SizeOfImage` of its header.
#[must_use]
pub const fn size<S: OfImage>(column: Column) -> Field<S> {
    placed(column, |c| S::facts(c).header(|i| Cell::Hex(i.size.into())), |c| S::facts(c).header_at(HeaderField::Size))
}
/// The address of its entry point.
#[must_use]
pub const fn entry<S: OfImage>(column: Column) -> Field<S> {
    placed(column, |c| S::facts(c).header(entry_point), |c| S::facts(c).header_at(HeaderField::Entry))
}
/// `TimeDateStamp` of its header.
#[must_use]
pub const fn timestamp<S: OfImage>(column: Column) -> Field<S> {
    placed(
        column,
        |c| S::facts(c).header(|i| Cell::Hex(i.timestamp.into())),
        |c| S::facts(c).header_at(HeaderField::TimeStamp),
    )
}
/// `CheckSum` of its header.
#[must_use]
pub const fn checksum<S: OfImage>(column: Column) -> Field<S> {
    placed(
        column,
        |c| S::facts(c).header(|i| Cell::Hex(i.checksum.into())),
        |c| S::facts(c).header_at(HeaderField::CheckSum),
    )
}
/// When it was linked, where its time stamp is a time.
#[must_use]
pub const fn build_time<S: OfImage>(column: Column) -> Field<S> {
    derived(column, "timestamp, where the debug directory does not say that it is a hash", |c| S::facts(c).build_time())
}
/// The name of its PDB.
#[must_use]
pub const fn pdb<S: OfImage>(column: Column) -> Field<S> {
    derived(column, CODEVIEW, |c| S::facts(c).pdb(|p| p.name.clone()))
}
/// GUID and age of its PDB.
#[must_use]
pub const fn pdb_id<S: OfImage>(column: Column) -> Field<S> {
    derived(column, CODEVIEW, |c| S::facts(c).pdb(PdbId::key))
}

/// What an image says of itself.
pub struct Facts<'a> {
    space: Value<&'a Space<'a>>,
    /// Its headers.
    pub image: Value<Image>,
    version: Value<Version>,
    pdb: Value<PdbId>,
    bounds: Bounds,
}

impl<'a> Facts<'a> {
    /// Reads them in the image's memory.
    #[must_use]
    pub fn of(space: Value<&'a Space<'a>>, image: Value<Image>, bounds: Bounds) -> Self {
        let version = image.as_ref().map_err(|why| *why).and_then(|image| image.version(space?));
        let pdb = image.as_ref().map_err(|why| *why).and_then(|image| image.pdb(space?));
        Self { space, image, version, pdb, bounds }
    }
    fn version(&self) -> Value<&Version> {
        self.version.as_ref().map_err(|why| *why)
    }
    /// A string of its version resource.
    #[must_use]
    pub fn string(&self, name: &str) -> Cell {
        self.version().and_then(|v| v.string(name).ok_or(Absent::NotApplicable)).map(str::to_owned).into()
    }
    /// A version number.
    #[must_use]
    pub fn number(&self, get: fn(&Version) -> Option<Number>) -> Cell {
        self.version().and_then(|v| get(v).ok_or(Absent::NotApplicable)).map(|n| n.to_string()).into()
    }
    /// All strings of its version resource.
    #[must_use]
    pub fn strings(&self) -> Cell {
        let object =
            |v: &Version| Cell::Object(v.strings.iter().map(|(k, t)| (k.clone().into(), t.clone().into())).collect());
        self.version().map_or_else(Cell::Absent, object)
    }
    /// Something of its headers.
    #[must_use]
    pub fn header(&self, get: fn(&Image) -> Cell) -> Cell {
        self.image.as_ref().map_or_else(|why| Cell::Absent(*why), get)
    }
    /// Where a field of its headers is.
    #[must_use]
    pub fn header_at(&self, field: HeaderField) -> Option<Place> {
        Some(self.image.as_ref().ok()?.header_at(self.space.ok()?, field))
    }
    /// Something of the identity of its PDB.
    #[must_use]
    pub fn pdb(&self, get: fn(&PdbId) -> String) -> Cell {
        self.pdb.as_ref().map(get).map_err(|why| *why).into()
    }
    /// When it was linked.
    #[must_use]
    pub fn build_time(&self) -> Cell {
        let image = self.image.as_ref().map_err(|why| *why);
        image.and_then(|i| self.bounds.built(i.timestamp, Stamp::read(self.space?, i))).into()
    }
}

/// The address of an image's entry point.
#[must_use]
pub fn entry_point(image: &Image) -> Cell {
    if image.entry == 0 { Absent::NotApplicable.into() } else { image.base.add(image.entry.into()).into() }
}
