//! `images`: the program of each process by three witnesses.

use super::image_facts::{self, Facts};
use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::Va;
use crate::bytes::Place;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, FileLayout, Files};
use crate::kernel::image::Image;
use crate::kernel::peb::PebLayout;
use crate::kernel::process::{EProcess, Process};
use crate::kernel::section::{ControlArea, ControlAreaLayout, ImageInformation, Sections};
use crate::kernel::section_object::SectionObjects;
use crate::kernel::sides::Sides;
use crate::kernel::stamp::Bounds;
use crate::kernel::vad::Vad;
use crate::paging::Space;
use crate::report::{Cell, Column, Field, Kind, Row, Sink, col, derived, headers, placed, wide};
use crate::symbols::layout::{At, View};
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The register's entry.
pub static IMAGES: Analysis = Analysis {
    name: "images",
    about: "Image path of each process from three sources: PEB, audit record, section object",
    help: "One row for each process. path_peb lies in the process's own memory; path_audit was recorded by the kernel at creation; path_section is \
           the name of the file that is mapped. agree compares them from the device or drive on, ignoring case, as far as they are known: \
           false tells of a replaced or masqueraded image, or of a file renamed since.\n\nExample: dumpwalk images memory.dmp",
    columns: &COLUMNS,
    switches: &[],
    subject: Subject::Processes,
    answers: Answers::of(run).copies(|kernel, ask, sink| copied::process(kernel, &COLUMNS, ask, sink)),
};

/// The image of a process.
#[derive(Debug)]
pub struct Images;
/// What is known of it.
pub struct Of<'a> {
    process: &'a Process<'a>,
    /// Kernel memory.
    space: &'a Space<'a>,
    /// The process's own memory.
    memory: Value<&'a Space<'a>>,
    sections: &'a Sections<'a>,
    path_peb: Value<Text>,
    path_audit: Value<Text>,
    path_section: Value<Text>,
    base: Value<Va>,
    base_peb: Value<Va>,
    mapped: Value<bool>,
    section: Value<Va>,
    area: Value<ControlArea>,
    object: Value<Va>,
    file: Value<File>,
    facts: Facts<'a>,
}
who::of_process!(Images, Of);
image_facts::of_image!(Images, Of);

impl<'a> Of<'a> {
    fn in_peb(&self, field: At<PebLayout>) -> Option<Place> {
        self.process.kernel.place_in(self.memory.ok()?, self.process.peb().ok()?, field)
    }
    /// The pointer to the file: in the control area, or in the process where that has none.
    fn object_at(&self) -> Option<Place> {
        match self.area {
            Ok(area) if area.file.is_ok() => {
                self.process.kernel.place_in(self.space, area.address, ControlAreaLayout::file)
            }
            _ => self.process.view.at(EProcess::image_file),
        }
    }
    /// The address of the kernel's notes on the image.
    fn information(&self) -> Value<Va> {
        self.sections.segment(self.space, self.area?.segment?).image_information()?.not_null()
    }
    fn in_information(&self, at: Va) -> Value<View<'a, ImageInformation>> {
        let layout: &ImageInformation = self.process.kernel.layout().map_err(|_| Absent::NoSymbol)?;
        Ok(self.space.view(layout, at))
    }
    fn has_header(&self) -> Cell {
        if let Err(why) = self.base {
            return why.into();
        }
        match &self.facts.image {
            Ok(_) => Cell::Bool(true),
            Err(Absent::Implausible) => Cell::Bool(false),
            Err(why) => Cell::Absent(*why),
        }
    }
}

/// The columns.
pub const FIELDS: &[Field<Images>] = &[
    who::pid(),
    who::name(),
    who::offset(wide("offset", Kind::Hex, "Address of the _EPROCESS")),
    derived(
        col("agree", Kind::Bool, "Whether the paths known agree; none when fewer than two are known"),
        "path_peb, path_audit and path_section, from device or drive on",
        |c| agree(&[c.path_peb.clone(), c.path_audit.clone(), c.path_section.clone()]).into(),
    ),
    placed(
        col("path_peb", Kind::Text, "ImagePathName of the process parameters"),
        |c| c.path_peb.clone().into(),
        |c| c.memory.ok()?.place_of(&c.path_peb),
    ),
    placed(
        col("path_audit", Kind::Text, "SeAuditProcessCreationInfo"),
        |c| c.path_audit.clone().into(),
        |c| c.space.place_of(&c.path_audit),
    ),
    derived(
        col("path_section", Kind::Text, "File of the image's section, with its device"),
        "the file object's name behind its device's",
        |c| c.path_section.clone().into(),
    ),
    placed(
        col("base", Kind::Hex, "Where the kernel mapped the image (SectionBaseAddress)"),
        |c| c.base.into(),
        |c| c.process.view.at(EProcess::image_base),
    ),
    placed(
        wide("base_peb", Kind::Hex, "ImageBaseAddress of the PEB"),
        |c| c.base_peb.into(),
        |c| c.in_peb(PebLayout::image_base),
    ),
    derived(wide("mapped", Kind::Bool, "Whether an image is mapped at the base"), "the address range at base", |c| {
        c.mapped.into()
    }),
    placed(
        wide("section_object", Kind::Hex, "Address of the section object"),
        |c| c.section.into(),
        |c| c.process.view.at(EProcess::section),
    ),
    derived(
        wide("control_area", Kind::Hex, "Address of the section's control area"),
        "the section object; where it does not tell, the address range at base",
        |c| c.area.map(|a| a.address).into(),
    ),
    placed(
        wide("file_object", Kind::Hex, "Address of the section's file object"),
        |c| c.object.into(),
        |c| c.object_at(),
    ),
    placed(
        wide("delete_pending", Kind::Bool, "Whether the file is to be deleted"),
        |c| c.file.as_ref().map_err(|e| *e).and_then(|f| f.delete_pending).into(),
        |c| c.process.kernel.place_in(c.space, c.object.ok()?, FileLayout::delete_pending),
    ),
    placed(
        wide("entry_section", Kind::Hex, "Entry point as the kernel noted it, for the base the image wanted"),
        |c| c.information().and_then(|at| c.in_information(at)?.entry()?.not_null()).into(),
        |c| c.in_information(c.information().ok()?).ok()?.at(ImageInformation::entry),
    ),
    image_facts::company(col("company", Kind::Text, "CompanyName of the version resource")),
    image_facts::product(wide("product", Kind::Text, "ProductName")),
    image_facts::original_name(wide("original_name", Kind::Text, "OriginalFilename")),
    image_facts::file_version(wide("file_version", Kind::Text, "File version")),
    image_facts::product_version(wide("product_version", Kind::Text, "Product version")),
    image_facts::file_version_text(wide("file_version_text", Kind::Text, "FileVersion string")),
    image_facts::description(wide("description", Kind::Text, "FileDescription")),
    image_facts::internal_name(wide("internal_name", Kind::Text, "InternalName")),
    image_facts::copyright(wide("copyright", Kind::Text, "LegalCopyright")),
    image_facts::strings(wide("strings", Kind::Nested, "All strings of the version resource")),
    image_facts::machine(col("machine", Kind::Text, "Processor, by the header at the base")),
    image_facts::size(wide("size", Kind::Hex, "SizeOfImage of the header")),
    image_facts::entry(wide("entry", Kind::Hex, "Entry point, by the header")),
    image_facts::timestamp(wide("timestamp", Kind::Hex, "TimeDateStamp of the header")),
    image_facts::build_time(wide(
        "build_time",
        Kind::Time,
        "The same as a time, where it can be one of this machine's life",
    )),
    image_facts::checksum(wide("checksum", Kind::Hex, "CheckSum of the header")),
    image_facts::pdb(wide("pdb", Kind::Text, "Name of its PDB")),
    image_facts::pdb_id(wide("pdb_id", Kind::Text, "GUID and age of its PDB")),
    derived(
        wide("header", Kind::Bool, "Whether a PE header lies at the base, where it can be read"),
        "whether the bytes at base are those of a PE header",
        |c| c.has_header(),
    ),
];
/// Their columns.
pub const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// What is needed to show images; made once for all.
pub struct ImageRows<'k> {
    sections: Sections<'k>,
    objects: Option<SectionObjects<'k>>,
    sides: Sides<'k>,
    bounds: Bounds,
}

impl<'k> ImageRows<'k> {
    /// Resolves the layouts.
    ///
    /// # Errors
    /// The symbols lack a type or a field.
    pub fn of(kernel: &'k Kernel) -> Result<Self> {
        let needs = |e| kernel.unreadable(&e);
        Ok(Self {
            sections: Sections::of(kernel).map_err(needs)?,
            objects: SectionObjects::of(kernel).ok(),
            sides: Sides::of(kernel).map_err(needs)?,
            bounds: Bounds::of(kernel),
        })
    }
    /// The row of a process.
    pub fn row(&self, process: &Process<'k>, space: &Space<'k>, files: &mut Files<'k>, ask: &Ask) -> Row {
        let memory = AddressSpace::of(process, space);
        let memory = memory.as_ref().map_err(|e| *e);
        let sides = self.sides.of_process(process, space);
        let native = sides.first().ok_or(Absent::NotApplicable);
        let path_peb = native.and_then(|s| s.parameters(&memory?.space)).and_then(|p| p.image_path);
        let base_peb = native.and_then(|s| s.view(&memory?.space)?.image_base());
        let path_audit = process.image_path(space);
        let base = process.view.image_base().and_then(Va::not_null);
        let section = process.view.section().and_then(Va::not_null);
        let vad = base.and_then(|b| memory?.tree.at(b).cloned().ok_or(Absent::NotMapped));
        // The section object, else what is mapped at the base: the same control area, unless the image was unmapped and replaced.
        let area = section
            .and_then(|s| self.objects.as_ref().ok_or(Absent::NoSymbol)?.control_area(space, &self.sections, s))
            .or_else(|why| self.mapped(space, vad.as_ref().ok(), base).ok_or(why));
        let object = area.and_then(|a| a.file).or_else(|why| self.own_file(process, why));
        let file = object.and_then(|f| files.read(f));
        let path_section = file.as_ref().map_err(|e| *e).and_then(File::path);
        let memory_space = memory.map(|m| &m.space);
        let image = memory_space.and_then(|space| Image::read(space, base?));
        let of = Of {
            process,
            space,
            memory: memory_space,
            sections: &self.sections,
            path_peb,
            path_audit,
            path_section,
            base,
            base_peb,
            mapped: vad.as_ref().map_err(|e| *e).and_then(|v| v.kind.map(|_| v.is_image() && Ok(v.start) == base)),
            section,
            area,
            object,
            file,
            facts: Facts::of(memory_space, image, self.bounds),
        };
        Row::of(FIELDS, &of, &ask.rows).at(process.place())
    }
    /// The control area of the image mapped at the base.
    fn mapped(&self, space: &Space<'k>, vad: Option<&Vad>, base: Value<Va>) -> Option<ControlArea> {
        let vad = vad.filter(|v| v.is_image() && Ok(v.start) == base)?;
        self.sections.control_area_of(space, vad).ok()
    }
    /// `_EPROCESS.ImageFilePointer`, since 1607.
    fn own_file(&self, process: &Process<'k>, why: Absent) -> Value<Va> {
        process.view.image_file().ok().filter(|f| !f.is_null()).ok_or(why)
    }
}

/// Whether the paths that are known name the same file.
///
/// # Errors
/// [`Absent::NotApplicable`]: fewer than two are known.
fn agree(paths: &[Value<Text>; 3]) -> Value<bool> {
    let mut known = paths.iter().flatten().filter_map(|p| p.whole().ok()).filter(|p| p.contains('\\')).map(bare);
    let first = known.next().ok_or(Absent::NotApplicable)?;
    let mut rest = known.peekable();
    if rest.peek().is_none() {
        return Err(Absent::NotApplicable);
    }
    Ok(rest.all(|p| p == first))
}

/// A path from its device or drive on, in lower case: what all three witnesses write alike.
fn bare(path: &str) -> String {
    let path = path.strip_prefix("\\??\\").or_else(|| path.strip_prefix("\\\\?\\")).unwrap_or(path);
    let rest = if let Some(rest) = path.strip_prefix("\\Device\\Mup") {
        rest
    } else if let Some(rest) = path.strip_prefix("\\Device\\") {
        rest.find('\\').and_then(|i| rest.get(i..)).unwrap_or(rest)
    } else if let Some(rest) = strip_ignoring_case(path, "\\SystemRoot") {
        return format!("\\windows{}", rest.to_lowercase());
    } else if path.get(1..2) == Some(":") {
        path.get(2..).unwrap_or_default()
    } else {
        path
    };
    // A share is `\\\\server\\share` in the PEB, `\\Device\\Mup\\server\\share` in the kernel.
    format!("\\{}", rest.trim_start_matches('\\').to_lowercase())
}

fn strip_ignoring_case<'p>(path: &'p str, prefix: &str) -> Option<&'p str> {
    let head = path.get(..prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| path.get(prefix.len()..).unwrap_or_default())
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let kernel = case.kernel()?;
    let show = ImageRows::of(kernel)?;
    each_process(case, ask, sink, |space, process, sink| {
        let mut files = Files::of(kernel).map_err(|e| kernel.unreadable(&e))?;
        sink.row(show.row(process, space, &mut files, ask))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreement(peb: &str, audit: &str, section: &str) -> Value<bool> {
        let known = |p: &str| if p.is_empty() { Err(Absent::NotInDump) } else { Ok(Text::from(p)) };
        agree(&[known(peb), known(audit), known(section)])
    }

    #[test]
    fn spellings_of_one_file_agree() {
        let device = "\\Device\\HarddiskVolume3\\Windows\\System32\\smss.exe";
        assert_eq!(agreement("\\SystemRoot\\System32\\smss.exe", device, device), Ok(true));
        assert_eq!(agreement("C:\\WINDOWS\\system32\\SMSS.EXE", device, device), Ok(true));
        assert_eq!(agreement("\\??\\C:\\Windows\\System32\\smss.exe", device, ""), Ok(true));
        assert_eq!(agreement("\\\\server\\share\\a.exe", "\\Device\\Mup\\server\\share\\a.exe", ""), Ok(true));
    }
    #[test]
    fn another_file_does_not() {
        let device = "\\Device\\HarddiskVolume3\\Users\\bob\\evil.exe";
        assert_eq!(agreement("C:\\Windows\\explorer.exe", device, device), Ok(false));
        assert_eq!(agreement("", "\\Device\\HarddiskVolume3\\Windows\\explorer.exe", device), Ok(false));
    }
    #[test]
    fn one_witness_agrees_with_nobody() {
        assert_eq!(agreement("C:\\a.exe", "", ""), Err(Absent::NotApplicable));
        // Minimal processes have a bare name, no path.
        assert_eq!(agreement("", "Registry", ""), Err(Absent::NotApplicable));
    }
}
