//! An opened dump with the kernel that was found in it.

use crate::dump::Dump;
use crate::error::{Error, Result};
use crate::kernel::paged::Given;
use crate::kernel::{Kernel, find};
use crate::paging::Mode;
use crate::progress::Progress;
use crate::symbols::Chosen;
use crate::symbols::store::{Options, Store};
use crate::time::FileTime;
use crate::value::Note;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where symbols may come from while a dump is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Folders and files to look in first.
    pub symbols: Vec<PathBuf>,
    /// The kernel's symbols, whatever the dump names.
    pub pdb: Option<Chosen>,
    /// Never use the network.
    pub offline: bool,
    /// Page files of the machine, beside the dump.
    pub page_files: Vec<Given>,
    /// Use nothing of the user's: no cache, no `_NT_SYMBOL_PATH`. What comes out then depends on dump and options only.
    pub isolated: bool,
    /// Counts what takes long.
    pub progress: Progress,
}

impl OpenOptions {
    /// The symbol sources these options mean.
    #[must_use]
    pub fn store(&self) -> Store {
        let mut options = Options::of_user(self.symbols.clone(), self.offline);
        if self.isolated {
            (options.symbol_path, options.cache) = (None, None);
        }
        options.chosen.clone_from(&self.pdb);
        options.progress = Some(Arc::new(self.progress.clone()));
        Store::new(options)
    }
}

/// An opened dump with what could be made of it.
#[derive(Debug)]
pub struct Case {
    /// The file.
    pub dump: Arc<Dump>,
    /// The kernel found in it, or why none was.
    pub kernel: Result<Kernel, String>,
    /// What went on while it was opened.
    pub notes: Vec<Note>,
}

impl Case {
    /// Opens a dump and looks for a kernel in it.
    ///
    /// # Errors
    /// The file cannot be read or is no dump, or a page file cannot be used. That no kernel was found is no error yet: see [`Case::kernel`].
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let dump = Arc::new(Dump::open(path)?);
        let mut kernel = find::find_with(&dump, &options.store(), &options.progress);
        let mut notes: Vec<Note> = kernel.as_ref().ok().and_then(Kernel::shared_page_note).into_iter().collect();
        match &mut kernel {
            Ok(kernel) if kernel.mode != Mode::Blocks => kernel.open_page_files(&options.page_files)?,
            _ if options.page_files.is_empty() => {}
            _ => notes.push(Note::info(
                "page files are not used: there are no page tables in this dump that could name their pages",
            )),
        }
        Ok(Self { dump, kernel, notes })
    }
    /// When the dump was taken, by the latest of what says so; a time stamp of whole seconds lies anywhere in its second.
    #[must_use]
    pub fn taken(&self) -> Option<FileTime> {
        if let Some(user) = self.dump.minidump() {
            return user.info().written.ok().map(FileTime::end_of_second);
        }
        let header = self.dump.header.as_ref().and_then(|h| h.system_time);
        header.max(self.kernel.as_ref().ok().and_then(crate::kernel::stamp::taken))
    }
    /// What is worth knowing of the dump, of how it was opened and of its kernel. What reading it costs is known when an analysis has
    /// ended: [`Case::met`].
    pub fn all_notes(&self) -> impl Iterator<Item = &Note> {
        let of_kernel = self.kernel.iter().flat_map(|k| &k.notes);
        self.dump.notes.iter().chain(&self.notes).chain(of_kernel)
    }
    /// What reading the dump has cost so far: pages without memory, texts without their end, compressed pages that could not be read.
    #[must_use]
    pub fn met(&self) -> Vec<Note> {
        let mut notes = self.dump.met();
        notes.extend(self.kernel.iter().flat_map(|kernel| kernel.paged.notes()));
        notes
    }
    /// The kernel of a triage dump whose structures cannot be read: no layout fits them.
    #[must_use]
    pub fn without_structures(&self) -> Option<&Kernel> {
        self.kernel.as_ref().ok().filter(|kernel| !kernel.has_structures())
    }
    /// The kernel.
    ///
    /// # Errors
    /// [`Error::NoKernel`] says which roads were tried.
    pub fn kernel(&self) -> Result<&Kernel> {
        self.kernel.as_ref().map_err(|why| Error::NoKernel(why.clone()))
    }
}
