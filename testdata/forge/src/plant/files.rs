//! Executable files: file object, control area, subsections, prototype entries, and the pages that are in memory.

use std::collections::BTreeMap;

use crate::image::{Rsds, Section, Spec, build};
use crate::machine::{Header, Machine};
use crate::memory::{PAGE, PoolKind, Soft, Use, flags, software};
use crate::scenario::{ImageFile, Scenario};

/// What mapping a file needs to know.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// The file.
    pub file: ImageFile,
    /// `_FILE_OBJECT`.
    pub object: u64,
    /// `_CONTROL_AREA`.
    pub area: u64,
    /// First `_SUBSECTION`.
    pub subsection: u64,
    /// First prototype entry.
    pub prototypes: u64,
    /// Pages in memory: index in the image, frame, entry bits.
    pub resident: Vec<(u64, u64, u64)>,
    /// RVA of the entry point.
    pub entry: u64,
    /// Section object.
    pub section: u64,
}

/// A section that is no image: of a file, or of the page file.
#[derive(Debug, Clone)]
pub struct DataMap {
    /// `_CONTROL_AREA`.
    pub area: u64,
    /// First `_SUBSECTION`.
    pub subsection: u64,
    /// First prototype entry.
    pub prototypes: u64,
    /// Bytes.
    pub size: u64,
    /// The file's path on the volume.
    pub file: Option<String>,
    /// The path of a section object for it.
    pub name: Option<String>,
}

/// All files, made when first asked for.
pub struct Files {
    images: Vec<ImageFile>,
    made: BTreeMap<String, Mapped>,
    /// The volume's device object.
    pub volume: u64,
    /// Frames that hold pages of sections, with the addresses of their prototype entries.
    pub sections: BTreeMap<u64, u64>,
}

impl Files {
    /// The volume exists, no file is open.
    pub fn new(m: &mut Machine, s: &Scenario) -> Files {
        let header = Header { name: Some("\\Device\\HarddiskVolume3".into()), pointers: 40, ..Header::default() };
        let volume = m.object("Device", m.layouts.size("_DEVICE_OBJECT"), &header);
        let mut d = m.obj("_DEVICE_OBJECT");
        d.set("Type", 3).set("Size", m.layouts.size("_DEVICE_OBJECT")).set("ReferenceCount", 40).set("DeviceType", 7);
        m.write(volume, &d.bytes);
        Files { images: s.images.clone(), made: BTreeMap::new(), volume, sections: BTreeMap::new() }
    }

    /// The catalogue entry of a path or base name.
    pub fn find(&self, name: &str) -> ImageFile {
        let wanted = name.to_ascii_lowercase();
        let base = |p: &str| p.rsplit('\\').next().unwrap_or(p).to_ascii_lowercase();
        let hit = self
            .images
            .iter()
            .find(|i| i.path.to_ascii_lowercase() == wanted)
            .or_else(|| self.images.iter().find(|i| base(&i.path) == wanted));
        hit.cloned().unwrap_or_else(|| panic!("no image {name} in the scenario"))
    }

    /// A plain open file: only a file object.
    pub fn open(&mut self, m: &mut Machine, path: &str) -> u64 {
        self.object(m, path, 0)
    }

    fn object(&self, m: &mut Machine, path: &str, pointers: u64) -> u64 {
        let va =
            m.object("File", m.layouts.size("_FILE_OBJECT"), &Header { handles: 1, pointers: 3, ..Header::default() });
        let buffer = m.text(b"FMfn", path);
        let mut f = m.obj("_FILE_OBJECT");
        f.set("Type", 5)
            .set("Size", m.layouts.size("_FILE_OBJECT"))
            .set("DeviceObject", self.volume)
            .set_text("FileName", path, buffer);
        f.set("ReadAccess", 1)
            .set("SharedRead", 1)
            .set("SharedDelete", 1)
            .set("Flags", 0x44042)
            .set("SectionObjectPointer", pointers);
        m.write(va, &f.bytes);
        va
    }

    /// A section that is no image, of a file or of the page file; its first page is in memory. Gives it and that page's frame.
    pub fn data(&mut self, m: &mut Machine, path: Option<&str>, pages: u64) -> (DataMap, u64) {
        let pte = m.pte_size();
        let prototypes = m.alloc(PoolKind::Paged, b"MmSt", pte * pages);
        let segment = m.alloc(PoolKind::Paged, b"MmSt", m.layouts.size("_SEGMENT"));
        let (area_size, sub_size) = (m.layouts.size("_CONTROL_AREA"), m.layouts.size("_SUBSECTION"));
        let area = m.alloc(PoolKind::NonPaged, b"MmCa", area_size + sub_size);
        let object = path.map(|path| {
            let pointers = m.put(PoolKind::NonPaged, b"MmSe", &m.obj("_SECTION_OBJECT_POINTERS"));
            m.poke(pointers, "_SECTION_OBJECT_POINTERS", "DataSectionObject", area);
            self.object(m, path, pointers)
        });
        let mut a = m.obj("_CONTROL_AREA");
        a.set("Segment", segment).set("NumberOfSectionReferences", 1).set("NumberOfMappedViews", 1);
        a.set("NumberOfUserReferences", 2).set("FilePointer", object.map_or(0, |o| o | fast(m)));
        a.set_opt("u.Flags.File", path.is_some().into()).set_opt("u.Flags.Commit", path.is_none().into());
        m.write(area, &a.bytes);
        let mut seg = m.obj("_SEGMENT");
        seg.set("ControlArea", area).set("TotalNumberOfPtes", pages).set("SizeOfSegment", pages * PAGE);
        seg.set("PrototypePte", prototypes);
        m.write(segment, &seg.bytes);
        let subsection = area + area_size;
        let mut sub = m.obj("_SUBSECTION");
        sub.set("ControlArea", area).set("SubsectionBase", prototypes).set("PtesInSubsection", pages);
        sub.set("NumberOfFullSectors", pages).set_opt("u.SubsectionFlags.Protection", 4);
        m.write(subsection, &sub.bytes);
        let frame = m.mem.take(Use::User);
        let bytes: Vec<u8> = (0..PAGE / 8).flat_map(|_| m.rng.word().to_le_bytes()).collect();
        m.mem.page_mut(frame).copy_from_slice(&bytes);
        self.sections.insert(frame, prototypes);
        for page in 0..pages {
            let entry = match (page, path) {
                (0, _) => m.kernel.mode.descriptor(1, frame << 12 | flags::P | 0x100 | 0x20 | flags::NX),
                (_, Some(_)) => software(&m.layouts, Soft::Subsection(subsection), 4, 0),
                (_, None) => software(&m.layouts, Soft::DemandZero, 4, 0),
            };
            m.write(prototypes + pte * page, &entry.to_le_bytes()[..pte as usize]);
        }
        (
            DataMap { area, subsection, prototypes, size: pages * PAGE, file: path.map(str::to_string), name: None },
            frame,
        )
    }

    /// The file mapped as an image.
    pub fn image(&mut self, m: &mut Machine, name: &str) -> Mapped {
        let file = self.find(name);
        if let Some(mapped) = self.made.get(&file.path) {
            return mapped.clone();
        }
        let mapped = self.make(m, file);
        self.made.insert(mapped.file.path.clone(), mapped.clone());
        mapped
    }

    fn make(&mut self, m: &mut Machine, file: ImageFile) -> Mapped {
        let count = file.size / PAGE;
        let pte = m.pte_size();
        let prototypes = m.alloc(PoolKind::Paged, b"MmSt", pte * count);
        let segment = m.alloc(PoolKind::Paged, b"MmSt", m.layouts.size("_SEGMENT"));
        let pointers = m.put(PoolKind::NonPaged, b"MmSe", &m.obj("_SECTION_OBJECT_POINTERS"));
        let object = self.object(m, &file.path, pointers);
        if file.deleted {
            m.poke(object, "_FILE_OBJECT", "DeletePending", 1);
        }
        // The subsections stand right behind their control area, in one block.
        let (area_size, sub_size) = (m.layouts.size("_CONTROL_AREA"), m.layouts.size("_SUBSECTION"));
        let area = m.alloc(PoolKind::NonPaged, b"MmCi", area_size + 2 * sub_size);
        let subsection = area + area_size;
        m.poke(pointers, "_SECTION_OBJECT_POINTERS", "ImageSectionObject", area);
        let mut a = m.obj("_CONTROL_AREA");
        a.set("Segment", segment)
            .set("FilePointer", object | fast(m))
            .set("NumberOfSectionReferences", 1)
            .set("NumberOfMappedViews", 4);
        a.set("NumberOfUserReferences", 5).set_opt("u.Flags.Image", 1).set_opt("u.Flags.File", 1);
        if !a.has("u.Flags.Image") {
            a.set("u.LongFlags", 0xA0); // the same two bits, where the source lost their names
        }
        m.write(area, &a.bytes);
        let mut seg = m.obj("_SEGMENT");
        seg.set("ControlArea", area)
            .set("TotalNumberOfPtes", count)
            .set("SizeOfSegment", file.size)
            .set("PrototypePte", prototypes);
        seg.set("BasedAddress", file.base);
        m.write(segment, &seg.bytes);
        for (i, (first, n)) in [(0, 1), (1, count - 1)].into_iter().enumerate() {
            let at = subsection + i as u64 * sub_size;
            let mut sub = m.obj("_SUBSECTION");
            sub.set("ControlArea", area).set("SubsectionBase", prototypes + pte * first).set("PtesInSubsection", n);
            sub.set("NextSubsection", if i == 0 { at + sub_size } else { 0 })
                .set("StartingSector", first * 2)
                .set("NumberOfFullSectors", n * 8);
            sub.set_opt("u.SubsectionFlags.Protection", if i == 0 { 1 } else { 3 });
            m.write(at, &sub.bytes);
        }
        let (resident, entry) = self.load(m, &file, subsection, prototypes);
        let section = section_object(m, area, segment, &file);
        Mapped { file, object, area, subsection, prototypes, resident, entry, section }
    }

    /// Brings the pages with contents into memory; the other prototype entries point to the file.
    fn load(
        &mut self,
        m: &mut Machine,
        file: &ImageFile,
        subsection: u64,
        prototypes: u64,
    ) -> (Vec<(u64, u64, u64)>, u64) {
        let mut spec = spec(file);
        if spec.wide {
            spec.machine = m.layouts.machine();
        }
        let mut frames: BTreeMap<u64, u64> = BTreeMap::new();
        let mut pieces = build(&spec).pieces;
        if file.ring {
            pieces.push((super::unloaded_dlls::FUNCTION, super::unloaded_dlls::function(file)));
        }
        for (rva, bytes) in pieces {
            for (i, chunk_at) in (rva / PAGE..=(rva + bytes.len() as u64 - 1) / PAGE).enumerate() {
                let frame = *frames.entry(chunk_at).or_insert_with(|| m.mem.take(Use::User));
                let start = if i == 0 { (rva % PAGE) as usize } else { 0 };
                let from = if i == 0 { 0 } else { i * PAGE as usize - (rva % PAGE) as usize };
                let n = (PAGE as usize - start).min(bytes.len() - from);
                m.mem.page_mut(frame)[start..start + n].copy_from_slice(&bytes[from..from + n]);
            }
        }
        let code = |page: u64| spec.sections.iter().any(|s| s.code && s.holds(page * PAGE));
        let mut resident = Vec::new();
        for page in 0..file.size / PAGE {
            let entry = match frames.get(&page) {
                Some(frame) => {
                    self.sections.insert(*frame, prototypes + m.pte_size() * page);
                    let bits = flags::P | 0x20 | if code(page) { 0 } else { flags::NX };
                    resident.push((page, *frame, bits | flags::U));
                    m.kernel.mode.descriptor(1, frame << 12 | bits | 0x100)
                }
                None => {
                    let sub = subsection + if page == 0 { 0 } else { m.layouts.size("_SUBSECTION") };
                    software(&m.layouts, Soft::Subsection(sub), if code(page) { 3 } else { 1 }, 0)
                }
            };
            let pte = m.pte_size();
            m.write(prototypes + pte * page, &entry.to_le_bytes()[..pte as usize]);
        }
        (resident, spec.entry)
    }
}

/// References cached in a control area's pointer to its file, where that is a fast reference (XP has a plain pointer).
fn fast(m: &Machine) -> u64 {
    if m.layouts.type_of("_CONTROL_AREA", "FilePointer") == Some("_EX_FAST_REF") { 3 } else { 0 }
}

/// Identity of the file's PDB: from its name, so that it repeats.
pub fn rsds(file: &ImageFile) -> Rsds {
    let mut rng = crate::rng::Rng::named(&file.path);
    let base = file.path.rsplit('\\').next().unwrap_or(&file.path);
    let stem = base.rsplit_once('.').map_or(base, |p| p.0);
    Rsds { guid: format!("{:016X}{:016X}", rng.word(), rng.word()), age: 1, name: format!("{stem}.pdb") }
}

pub fn spec(file: &ImageFile) -> Spec {
    let n = file.size / PAGE;
    let s = |name, first: u64, pages: u64, code, read_only| Section {
        name,
        rva: first * PAGE,
        size: pages * PAGE,
        code,
        read_only,
    };
    let text = (n - 4) / 2;
    let sections = vec![
        s(".text", 1, text.max(1), true, false),
        s(".rdata", 1 + text.max(1), 1, false, true),
        s(".pdata", 2 + text.max(1), 1, false, true),
        s(".data", 3 + text.max(1), n - 3 - text.max(1), false, false),
    ];
    let name = file.path.rsplit('\\').next().unwrap_or("").to_string();
    let dll = name.to_ascii_lowercase().ends_with(".dll");
    let exports: &[&str] = match name.to_ascii_lowercase().as_str() {
        "ntdll.dll" => {
            &["LdrInitializeThunk", "NtClose", "NtWaitForSingleObject", "RtlUserThreadStart", "TpReleasePool"]
        }
        "kernel32.dll" => &["BaseThreadInitThunk", "CreateProcessW", "ReadProcessMemory", "VirtualAllocEx"],
        _ => &[],
    };
    let mut exports: Vec<(String, u64)> =
        exports.iter().enumerate().map(|(i, e)| (e.to_string(), PAGE + 0x20 * i as u64)).collect();
    if file.ring {
        exports.push(("RtlGetUnloadEventTrace".into(), super::unloaded_dlls::FUNCTION));
    }
    Spec {
        exports,
        name,
        timestamp: file.timestamp,
        base: file.base,
        size: file.size,
        wide: file.wide,
        machine: if file.wide { 0x8664 } else { 0x14C },
        dll,
        subsystem: if dll { 2 } else { 3 },
        entry: PAGE,
        sections,
        rsds: Some(rsds(file)),
        debug_at: None,
        functions_at: if file.wide { Some(PAGE) } else { None },
    }
}

/// The section object through which a program was mapped.
fn section_object(m: &mut Machine, area: u64, segment: u64, file: &ImageFile) -> u64 {
    let ty = if m.layouts.has("_SECTION") && m.layouts.find("_SECTION", "SizeOfSection").is_some() {
        "_SECTION"
    } else {
        "_SECTION_OBJECT"
    };
    let va = m.object("Section", m.layouts.size(ty), &Header { pointers: 1, ..Header::default() });
    let mut s = m.obj(ty);
    if ty == "_SECTION" {
        s.set_first(&["u1.ControlArea", "ControlArea"], area)
            .set("SizeOfSection", file.size)
            .set("InitialPageProtection", 0x10);
    } else {
        s.set("Segment", segment).set("StartingVa", file.base).set("EndingVa", file.base + file.size - 1);
    }
    m.write(va, &s.bytes);
    va
}
