//! Page files that somebody gives beside the dump: which number each has, and whether it is of this machine and of this run of it.

use super::files::Listed;
use super::{PageFiles, Paged};
use crate::addr::PAGE_SIZE;
use crate::bytes::u64_at;
use crate::dump::PageFile;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::kernel::address_space::AddressSpace;
use crate::kernel::peb::PebLayout;
use crate::kernel::process::Process;
use crate::kernel::vad::Kind;
use crate::paging::{Fault, Mode, PageBytes, Space};
use crate::symbols::layout::View;
use crate::value::{Absent, Note};
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};

/// A page file as it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The number Windows gave it, where the user says so; otherwise its name tells.
    pub number: Option<u8>,
    /// The file, or a folder with files that are named as the kernel names its page files.
    pub path: PathBuf,
}

/// Pages of a page file that are held against what they should be.
const MOST_CHECKED: usize = 64;
/// Processes whose pages are.
const MOST_PROCESSES: usize = 48;

impl Kernel {
    /// Takes in the page files that were given. From here on pages of the compressed store can be read, too.
    ///
    /// # Errors
    /// A file that cannot be opened, that holds a crash dump, or whose number nothing tells.
    pub fn open_page_files(&mut self, given: &[Given]) -> Result<()> {
        self.paged = Paged::opened();
        if given.is_empty() {
            self.tell_of_neighbours();
            return Ok(());
        }
        let listed = self.page_files(&self.space());
        let known = listed.as_deref().unwrap_or_default();
        let mut files = PageFiles::default();
        let mut notes = Vec::new();
        for one in given {
            if one.path.is_dir() {
                let found = in_folder(&one.path, known)?;
                if found.is_empty() {
                    return Err(Error::Usage(format!(
                        "{}: no file there is named as {}",
                        one.path.display(),
                        names(known)
                    )));
                }
                for (number, path) in found {
                    take(&mut files, number, &path, known, &mut notes)?;
                }
                continue;
            }
            let number = match (one.number, &listed) {
                (Some(number), _) => number,
                (None, Ok(known)) => number_of(&one.path, known)?,
                (None, Err(why)) => {
                    return Err(Error::Usage(format!(
                        "{}: which of the page files it is cannot be determined: the kernel's list of them is absent ({why}); say its number: --page-file 0={}",
                        one.path.display(),
                        one.path.display()
                    )));
                }
            };
            take(&mut files, number, &one.path, known, &mut notes)?;
        }
        self.paged.files = files;
        for number in 0..super::files::MOST {
            let Some(judged) = self.paged.files.get(number).map(|_| self.judge(number)) else { continue };
            let of = judged.right.saturating_add(judged.wrong);
            if judged.wrong > judged.right {
                notes.push(Note::loss(format!(
                    "page file {number} is not read: {} of {of} of its pages that were looked at are not what this dump's machine put there (PEBs, page tables, headers \
                     of images); it is of another machine, or of another start of this one",
                    judged.wrong
                )));
                self.paged.files.remove(number);
            } else if judged.wrong > 0 {
                notes.push(Note::loss(format!(
                    "page file {number}: {} of {of} of its pages that were looked at are not what they should be; it was saved later than the dump, and \
                     some of its pages are of that time",
                    judged.wrong
                )));
            }
        }
        notes.push(Note::info(
            "pages out of page files are read as those files are now: they were saved at another time than the dump",
        ));
        self.notes.extend(notes);
        Ok(())
    }
    /// Page files that lie beside the dump and were not given: they are not used unasked, because they are not of the dump's instant.
    fn tell_of_neighbours(&mut self) {
        let Some(folder) = self.dump.path().parent() else { return };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let Ok(known) = self.page_files(&self.space()) else { return };
        // Asked by name: a folder of evidence may hold a hundred thousand files.
        let mut found: Vec<String> =
            known.iter().filter(|l| !l.virtual_store).filter_map(|l| l.file_name()).map(str::to_lowercase).collect();
        found.sort();
        found.dedup();
        found.retain(|name| folder.join(name).is_file());
        if !found.is_empty() {
            self.notes.push(Note::info(format!(
                "{} beside the dump not used; if of the same machine and start, --page-file with that folder reads pages out of it",
                found.join(", ")
            )));
        }
    }
    /// Holds pages of a page file against what they should be.
    fn judge(&self, number: u8) -> Judged {
        let mut judged = Judged::default();
        let kernel_space = self.space();
        // The page that an entry names, if it is of this file and was not looked at before.
        let bytes = |judged: &mut Judged, fault: Fault| match fault {
            Fault::PageFile { number: Some(n), offset } if n == number && judged.looked.insert(offset) => {
                self.paged.files.get(number)?.page_at(offset.checked_mul(PAGE_SIZE)?)
            }
            _ => None,
        };
        for process in self.first_processes().iter().take(MOST_PROCESSES) {
            let (Ok(memory), Ok(root)) = (AddressSpace::of(process, &kernel_space), process.dtb()) else { continue };
            // Without sources: what it says of a table that was written away is where that went.
            let plain = Space::new(&self.dump, self.mode, root).with_format(self.format);
            if let Ok(Err(fault)) = process.peb().map(|peb| memory.space.walk(peb)) {
                let verdict = bytes(&mut judged, fault).and_then(|page| self.is_peb(process, page));
                judged.add(verdict);
            }
            for vad in &memory.tree.vads {
                if judged.count() >= MOST_CHECKED {
                    return judged;
                }
                if vad.kind == Ok(Kind::Image)
                    && let Err(fault) = memory.space.walk(vad.start)
                {
                    let verdict = bytes(&mut judged, fault).map(|page| page.starts_with(b"MZ"));
                    judged.add(verdict);
                }
                if let Err(Fault::TableAway { number, offset, why: Absent::PagedOut }) = plain.walk(vad.start) {
                    let verdict =
                        bytes(&mut judged, Fault::PageFile { number, offset }).and_then(|page| self.is_table(page));
                    judged.add(verdict);
                }
            }
        }
        judged
    }
    fn is_peb(&self, process: &Process<'_>, page: &PageBytes) -> Option<bool> {
        let layout = self.layout::<PebLayout>().ok()?;
        let bytes = crate::bytes::Bytes::borrowed(page, None, None, None);
        let base = View::new(layout, bytes).image_base().ok()?;
        let expected = process.view.image_base().ok()?;
        Some(base == expected)
    }
    /// Whether a page can be a page table of this machine: no valid entry leads beyond its memory. `None` where there is no valid entry.
    fn is_table(&self, page: &PageBytes) -> Option<bool> {
        let highest = self.dump.highest_page().filter(|_| matches!(self.mode, Mode::X64 | Mode::La57))?;
        let entries = (0..512usize).filter_map(|i| u64_at(page, i.wrapping_mul(8)));
        let valid: Vec<u64> = entries.filter(|e| e & 1 != 0).collect();
        (!valid.is_empty()).then(|| valid.iter().all(|e| (e & 0x000f_ffff_ffff_f000) / PAGE_SIZE <= highest.0))
    }
}

/// How many pages were what they should be.
#[derive(Default)]
struct Judged {
    /// Pages of the file that were looked at.
    looked: FxHashSet<u64>,
    right: usize,
    wrong: usize,
}

impl Judged {
    fn add(&mut self, verdict: Option<bool>) {
        match verdict {
            Some(true) => self.right = self.right.saturating_add(1),
            Some(false) => self.wrong = self.wrong.saturating_add(1),
            None => {}
        }
    }
    fn count(&self) -> usize {
        self.right.saturating_add(self.wrong)
    }
}

fn take(files: &mut PageFiles, number: u8, path: &Path, known: &[Listed], notes: &mut Vec<Note>) -> Result<()> {
    let listed = known.iter().find(|l| l.number == number);
    if listed.is_some_and(|l| l.virtual_store) {
        return Err(Error::Usage(format!(
            "{}: page file {number} is the compressed store, which is no file",
            path.display()
        )));
    }
    if listed.is_none() && !known.is_empty() {
        return Err(Error::Usage(format!(
            "{}: this machine has no page file {number}, only {}",
            path.display(),
            names(known)
        )));
    }
    let file = PageFile::open(path)?;
    if let Some(Ok(pages)) = listed.map(|l| l.pages)
        && file.page_count() < pages
    {
        notes.push(Note::info(format!(
            "page file {number}, {}: {} pages of the {pages} that the kernel says it has; what lies beyond cannot be read",
            path.display(),
            file.page_count()
        )));
    }
    files.insert(number, file).map_err(Error::Usage)
}

/// The number of a file by its name; of several page files with one name, by its size.
fn number_of(path: &Path, known: &[Listed]) -> Result<u8> {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let named: Vec<&Listed> = known.iter().filter(|l| is_named(l, &name)).collect();
    let pages = std::fs::metadata(path).map_or(0, |meta| meta.len() / PAGE_SIZE);
    let sized: Vec<&Listed> = named.iter().copied().filter(|l| l.pages == Ok(pages)).collect();
    match (&named[..], &sized[..]) {
        ([one], _) | (_, [one]) => Ok(one.number),
        ([], _) => Err(Error::Usage(format!(
            "{}: none of this machine's page files is named so ({}); say its number: --page-file 0={}",
            path.display(),
            names(known),
            path.display()
        ))),
        _ => Err(Error::Usage(format!(
            "{}: several of this machine's page files are named so ({}); say its number: --page-file {}={}",
            path.display(),
            names(known),
            named.first().map_or(0, |l| l.number),
            path.display()
        ))),
    }
}

fn is_named(listed: &Listed, name: &str) -> bool {
    !listed.virtual_store && listed.file_name().is_some_and(|n| n.to_lowercase() == name)
}

/// Files of a folder that are named as exactly one page file is.
fn in_folder(folder: &Path, known: &[Listed]) -> Result<Vec<(u8, PathBuf)>> {
    let io = |source| Error::Io { path: folder.into(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name().to_string_lossy().to_lowercase();
        let named: Vec<&Listed> = known.iter().filter(|l| is_named(l, &name)).collect();
        if named.is_empty() || !entry.path().is_file() {
            continue;
        }
        if let Ok(number) = number_of(&entry.path(), known) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The page files for people.
fn names(known: &[Listed]) -> String {
    let name = |l: &Listed| match (&l.name, l.virtual_store) {
        (_, true) => format!("{} the compressed store", l.number),
        (Ok(name), _) => format!("{} {}", l.number, &**name),
        (Err(why), _) => format!("{} (name: {why})", l.number),
    };
    if known.is_empty() { "no list of them".into() } else { known.iter().map(name).collect::<Vec<_>>().join(", ") }
}
