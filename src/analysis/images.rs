//! `images`: the program of each process by three witnesses.

use super::parallel::each_process;
use super::verinfo::facts;
use super::{Analysis, Answers, Ask, Case, Subject, copied, who};
use crate::addr::Va;
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::file_object::{File, Files};
use crate::kernel::image::Image;
use crate::kernel::process::Process;
use crate::kernel::section::{ControlArea, ImageInformation, Sections};
use crate::kernel::section_object::SectionObjects;
use crate::kernel::sides::Sides;
use crate::kernel::stamp::Bounds;
use crate::kernel::vad::Vad;
use crate::paging::Space;
use crate::report::{Cell, Column, Kind, Row, Sink, col, wide};
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

/// The columns.
pub const COLUMNS: [Column; 34] = [
    who::PID,
    who::NAME,
    wide("offset", Kind::Hex, "Address of the _EPROCESS"),
    col("agree", Kind::Bool, "Whether the paths known agree; none when fewer than two are known"),
    col("path_peb", Kind::Text, "ImagePathName of the process parameters"),
    col("path_audit", Kind::Text, "SeAuditProcessCreationInfo"),
    col("path_section", Kind::Text, "File of the image's section, with its device"),
    col("base", Kind::Hex, "Where the kernel mapped the image (SectionBaseAddress)"),
    wide("base_peb", Kind::Hex, "ImageBaseAddress of the PEB"),
    wide("mapped", Kind::Bool, "Whether an image is mapped at the base"),
    wide("section_object", Kind::Hex, "Address of the section object"),
    wide("control_area", Kind::Hex, "Address of the section's control area"),
    wide("file_object", Kind::Hex, "Address of the section's file object"),
    wide("delete_pending", Kind::Bool, "Whether the file is to be deleted"),
    wide("entry_section", Kind::Hex, "Entry point as the kernel noted it, for the base the image wanted"),
    col("company", Kind::Text, "CompanyName of the version resource"),
    wide("product", Kind::Text, "ProductName"),
    wide("original_name", Kind::Text, "OriginalFilename"),
    wide("file_version", Kind::Text, "File version"),
    wide("product_version", Kind::Text, "Product version"),
    wide("file_version_text", Kind::Text, "FileVersion string"),
    wide("description", Kind::Text, "FileDescription"),
    wide("internal_name", Kind::Text, "InternalName"),
    wide("copyright", Kind::Text, "LegalCopyright"),
    wide("strings", Kind::Nested, "All strings of the version resource"),
    col("machine", Kind::Text, "Processor, by the header at the base"),
    wide("size", Kind::Hex, "SizeOfImage of the header"),
    wide("entry", Kind::Hex, "Entry point, by the header"),
    wide("timestamp", Kind::Hex, "TimeDateStamp of the header"),
    wide("build_time", Kind::Time, "The same as a time, where it can be one of this machine's life"),
    wide("checksum", Kind::Hex, "CheckSum of the header"),
    wide("pdb", Kind::Text, "Name of its PDB"),
    wide("pdb_id", Kind::Text, "GUID and age of its PDB"),
    wide("header", Kind::Bool, "Whether a PE header lies at the base, where it can be read"),
];

/// What is needed to show images; made once for all.
pub struct ImageRows<'k> {
    kernel: &'k Kernel,
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
            kernel,
            sections: Sections::of(kernel).map_err(needs)?,
            objects: SectionObjects::of(kernel).ok(),
            sides: Sides::of(kernel).map_err(needs)?,
            bounds: Bounds::of(kernel),
        })
    }
    /// The row of a process.
    pub fn row(&self, process: &Process<'k>, space: &Space<'k>, files: &mut Files<'k>) -> Row {
        let memory = AddressSpace::of(process, space);
        let memory = memory.as_ref().map_err(|e| *e);
        let sides = self.sides.of_process(process, space);
        let native = sides.first().ok_or(Absent::NotApplicable);
        let path_peb = native.and_then(|s| s.parameters(&memory?.space)).and_then(|p| p.image_path);
        let base_peb = native.and_then(|s| s.view(&memory?.space)?.image_base());
        let path_audit = process.image_path(space);
        let base = process.view.image_base().and_then(present);
        let section = process.view.section().and_then(present);
        let vad = base.and_then(|b| memory?.tree.at(b).cloned().ok_or(Absent::NotMapped));
        // The section object, else what is mapped at the base: the same control area, unless the image was unmapped and replaced.
        let area = section
            .and_then(|s| self.objects.as_ref().ok_or(Absent::NoSymbol)?.control_area(space, &self.sections, s))
            .or_else(|why| self.mapped(space, vad.as_ref().ok(), base).ok_or(why));
        let object = area.and_then(|a| a.file).or_else(|why| self.own_file(process, why));
        let file = object.and_then(|f| files.read(f));
        let path_section = file.as_ref().map_err(|e| *e).and_then(File::path);
        let image = base.and_then(|b| Image::read(&memory?.space, b));
        let paths = [path_peb.clone(), path_audit.clone(), path_section.clone()];
        let [pid, name] = who::cells(process);
        let head = [
            pid,
            name,
            who::address(process),
            agree(&paths).into(),
            path_peb.into(),
            path_audit.into(),
            path_section.into(),
            base.into(),
            base_peb.into(),
            vad.as_ref().map_err(|e| *e).and_then(|v| v.kind.map(|_| v.is_image() && Ok(v.start) == base)).into(),
            section.into(),
            area.map(|a| a.address).into(),
            object.into(),
            file.as_ref().map_err(|e| *e).and_then(|f| f.delete_pending).into(),
            area.and_then(|a| self.entry(space, &a)).into(),
        ];
        let header = match &image {
            Ok(_) => Cell::Bool(true),
            Err(Absent::Implausible) => Cell::Bool(false),
            Err(why) => Cell::Absent(*why),
        };
        let facts = match memory {
            Ok(m) => facts(&m.space, &image, self.bounds),
            Err(why) => std::array::from_fn(|_| Cell::Absent(why)),
        };
        Row::new(head.into_iter().chain(facts).chain([header]).collect()).at(process.place())
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
    /// The entry point in the kernel's notes on an image.
    fn entry(&self, space: &Space<'k>, area: &ControlArea) -> Value<Va> {
        let segment = self.sections.segment(space, area.segment?);
        let information = present(segment.image_information()?)?;
        let layout: &ImageInformation = self.kernel.layout().map_err(|_| Absent::NoSymbol)?;
        present(space.view(layout, information).entry()?)
    }
}

fn present(va: Va) -> Value<Va> {
    if va.is_null() { Err(Absent::NotApplicable) } else { Ok(va) }
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
        sink.row(show.row(process, space, &mut files))
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
