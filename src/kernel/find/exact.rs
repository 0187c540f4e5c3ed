//! Symbols of this very kernel: what each source offers is held against the dump, and the first that is whole and fits is
//! taken. What cannot be used is named, with the reason, and the next source is asked.

use super::evidence::Evidence;
use super::image::is_kernel_pdb;
use super::settle::take;
use super::{Candidate, Road};
use crate::addr::Pa;
use crate::dump::Dump;
use crate::error::{Error, one_line};
use crate::kernel::Kernel;
use crate::kernel::process::EProcess;
use crate::kernel::thread::EThread;
use crate::symbols::{
    Chosen, Found, ImageId, KERNEL_PDBS, Machine, Offer, PdbId, Stage, SymbolSource, Symbols, file, store,
};
use crate::value::Note;

/// Layouts of a near build, as the next source: given the reason why none before serves.
pub(super) type FallBack<'f> = &'f mut dyn FnMut(&mut Kernel, &str) -> Result<(), String>;

/// Gives the kernel the best symbols there are.
///
/// # Errors
/// No source has any that fit: every place that was tried, and what to do.
pub(super) fn choose(
    kernel: &mut Kernel,
    found: &Candidate,
    source: &dyn SymbolSource,
    fall_back: FallBack<'_>,
) -> Result<(), String> {
    let before = Before::of(kernel);
    let mut hunt = Hunt { kernel, source, before, refused: Vec::new(), nothing: Vec::new(), best: None };
    let why = match hunt.exact(found) {
        Ok(()) => return Ok(()),
        Err(why) => why,
    };
    hunt.second_best(&why, fall_back)
}

/// What symbols that turn out not to serve have changed of a kernel, to be put back.
struct Before {
    notes: Vec<Note>,
    root: Pa,
    road: Road,
    build: Option<u32>,
}

impl Before {
    fn of(kernel: &Kernel) -> Self {
        Self { notes: kernel.notes.clone(), root: kernel.root, road: kernel.road.clone(), build: kernel.build }
    }
    fn restore(&self, kernel: &mut Kernel) {
        kernel.notes.clone_from(&self.notes);
        kernel.road.clone_from(&self.road);
        (kernel.root, kernel.build) = (self.root, self.build);
    }
}

/// Symbols that could be used if nothing better comes: they are not whole, or do not fit well.
struct Best {
    symbols: Symbols,
    /// What did not hold when they were held against the dump.
    faults: Vec<String>,
    /// Whether so much did not hold that layouts of a near build may be better.
    unfit: bool,
    /// What is to be said when they are taken.
    said: Said,
}

/// What is to be said of symbols when they are taken.
#[derive(Clone, Debug, Default)]
struct Said {
    /// How it is known that they are this kernel's, where the dump does not name them.
    check: Option<String>,
    note: Option<Note>,
}

struct Hunt<'h> {
    kernel: &'h mut Kernel,
    source: &'h dyn SymbolSource,
    before: Before,
    /// Files that the user may believe to be used.
    refused: Vec<String>,
    /// Places that have nothing.
    nothing: Vec<String>,
    best: Option<Best>,
}

impl Hunt<'_> {
    /// Asks every source of exact symbols.
    fn exact(&mut self, found: &Candidate) -> Result<(), String> {
        if let Some(chosen) = self.source.chosen()
            && self.by_choice(&chosen, found)
        {
            return Ok(());
        }
        if let Some(id) = &found.pdb {
            if self.by_id(id, &Said::default(), true) {
                return Ok(());
            }
            let tried: Vec<String> = self.refused.iter().chain(&self.nothing).cloned().collect();
            return Err(no_symbols(store::nothing_found(id, &tried)));
        }
        self.unnamed(found)
    }
    /// The PDB that the dump names: whatever is at hand, a server, what is built in.
    fn by_id(&mut self, id: &PdbId, said: &Said, keep: bool) -> bool {
        let source = self.source;
        for stage in [Stage::Files, Stage::Servers, Stage::BuiltIn] {
            // Whole ones are asked for from a server, not others that fit no better; built-in ones only where files do not fit.
            let enough = match (&self.best, stage) {
                (None, _) | (_, Stage::Files) => false,
                (Some(best), Stage::Servers) => !best.symbols.notes.iter().any(|n| n.loss),
                (Some(best), Stage::BuiltIn) => !best.unfit,
            };
            if enough {
                continue;
            }
            for offer in source.offers(id, stage) {
                if self.weigh(offer, said, keep) {
                    return true;
                }
            }
        }
        false
    }
    /// Holds one offer against the dump. True when it is taken for good.
    fn weigh(&mut self, offer: Offer, said: &Said, keep: bool) -> bool {
        let found = match offer {
            Offer::Symbols(found) => *found,
            Offer::Refused(why) => {
                self.refused.push(one_line(&why));
                return false;
            }
            Offer::Nothing(why) => {
                self.nothing.push(one_line(&why));
                return false;
            }
        };
        self.before.restore(self.kernel);
        let (whole, file) = (found.is_whole(), found.file);
        take(self.kernel, found.symbols);
        if let Err(why) = usable(self.kernel) {
            self.refused.push(format!("{}: {why}", self.kernel.symbols.origin));
            self.give_back();
            return false;
        }
        let checks = self.kernel.verify();
        let system = self.kernel.dump.triage().is_some() || self.kernel.system.is_some();
        let unfit = !checks.failed.is_empty() && (!whole || !system || checks.failed.len() >= checks.passed.len());
        if !whole || unfit {
            let symbols = self.give_back();
            let better = self.best.as_ref().is_none_or(|best| checks.failed.len() < best.faults.len());
            let other = if better {
                let new = Best { symbols, faults: checks.failed, unfit, said: said.clone() };
                self.best.replace(new).map(|best| (best.symbols, best.faults))
            } else {
                Some((symbols, checks.failed))
            };
            if let Some((symbols, faults)) = other {
                self.refused.push(format!("{}: {}", symbols.origin, shortcoming(&symbols, &faults)));
            }
            return false;
        }
        if keep && let Some(file) = &file {
            self.source.keep(&self.kernel.symbols, file);
        }
        if let Some(best) = self.best.take() {
            self.refused.push(format!("{}: {}", best.symbols.origin, shortcoming(&best.symbols, &best.faults)));
        }
        self.name_faults(&checks.failed);
        self.say(said);
        true
    }
    /// What does not fit symbols that are taken all the same: of a damaged dump something always may not.
    fn name_faults(&mut self, faults: &[String]) {
        if !faults.is_empty() {
            let (origin, faults) = (&self.kernel.symbols.origin, faults.join(", "));
            let text = format!("{origin}: not all of the dump fits these symbols: {faults}");
            self.kernel.notes.push(Note::info(text));
        }
    }
    /// Takes symbols away from the kernel again.
    fn give_back(&mut self) -> Symbols {
        let symbols = std::mem::take(&mut self.kernel.symbols);
        self.before.restore(self.kernel);
        symbols
    }
    /// The notes of symbols that are taken.
    fn say(&mut self, said: &Said) {
        self.kernel.road.checks.extend(said.check.clone());
        self.kernel.notes.extend(said.note.clone());
        self.name_refused();
    }
    fn name_refused(&mut self) {
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort();
        refused.dedup();
        for why in refused.iter().take(NAMED) {
            self.kernel.notes.push(Note::info(format!("symbols not used: {why}")));
        }
        if let Some(more) = refused.len().checked_sub(NAMED).filter(|more| *more > 0) {
            self.kernel.notes.push(Note::info(format!("symbols not used: {more} more files")));
        }
    }

    /// What the user names with `--pdb`.
    fn by_choice(&mut self, chosen: &Chosen, found: &Candidate) -> bool {
        match chosen {
            Chosen::File(path) => {
                let offer = match file::read(path) {
                    Ok(symbols) => {
                        Offer::Symbols(Box::new(Found { symbols: of_kernel(symbols, found.pdb.as_ref()), file: None }))
                    }
                    Err(why) => Offer::Refused(why.to_string()),
                };
                let of = match &offer {
                    Offer::Symbols(found) => found.symbols.id.clone(),
                    _ => None,
                };
                self.strictly(offer, &of_choice(of.as_ref(), found))
            }
            Chosen::Id { guid, age } => {
                let source = self.source;
                let own = found.pdb.iter().map(|id| id.name.as_str());
                let names: Vec<&str> =
                    own.clone().chain(KERNEL_PDBS.into_iter().filter(|n| !own.clone().any(|o| o == *n))).collect();
                let ids = |stage| {
                    let id = |name: &&str| PdbId { name: (*name).into(), guid: guid.clone(), age: *age };
                    names.iter().map(move |name| (id(name), stage)).collect::<Vec<_>>()
                };
                for (id, stage) in [Stage::Files, Stage::Servers, Stage::BuiltIn].into_iter().flat_map(ids) {
                    for offer in source.offers(&id, stage) {
                        if self.strictly(offer, &of_choice(Some(&id), found)) {
                            return true;
                        }
                    }
                }
                let mut tried = std::mem::take(&mut self.nothing);
                tried.sort();
                tried.dedup();
                if self.best.is_none() && self.refused.is_empty() {
                    self.refused.push(format!("{guid}{age:X} (--pdb): found nowhere ({})", tried.join("; ")));
                }
                false
            }
        }
    }
    /// Symbols that nothing but the user's word connects with the dump: every check must hold.
    fn strictly(&mut self, offer: Offer, said: &Said) -> bool {
        let best = self.best.take();
        let taken = self.weigh(offer, said, false);
        if taken && said.note.as_ref().is_some_and(|n| n.loss) {
            let failed = self.kernel.verify().failed;
            if !failed.is_empty() {
                let symbols = self.give_back();
                self.refused.push(format!("{} (--pdb): {}", symbols.origin, shortcoming(&symbols, &failed)));
                self.best = best;
                return false;
            }
        }
        if let Some(mine) = self.best.take_if(|mine| !taken && !mine.faults.is_empty()) {
            let why = shortcoming(&mine.symbols, &mine.faults);
            self.refused.push(format!("{} (--pdb): {why}", mine.symbols.origin));
        }
        self.best = self.best.take().or(best);
        taken
    }

    /// The dump does not name its PDB: its image does, or symbols at hand that the dump's own pointers agree with.
    fn unnamed(&mut self, found: &Candidate) -> Result<(), String> {
        let none = "the dump does not hold the record that names the kernel's PDB";
        let image = image_of(&self.kernel.dump, found);
        if let Some(image) = &image
            && self.by_image(image, Stage::Files)
        {
            return Ok(());
        }
        let evidence = Evidence::of(self.kernel);
        if self.by_evidence(&evidence) {
            return Ok(());
        }
        if let Some(image) = &image
            && self.by_image(image, Stage::Servers)
        {
            return Ok(());
        }
        let tried: Vec<String> = self.refused.iter().chain(&self.nothing).map(|line| format!("\n  {line}")).collect();
        let fetch = image.map(|i| {
            format!("\nThe debug directory of its image names it: {}", store::image_address(store::MICROSOFT, &i))
        });
        let tried = if tried.is_empty() { String::new() } else { format!("; tried:{}", tried.concat()) };
        Err(format!("{none}{tried}{}", fetch.unwrap_or_default()))
    }
    fn by_image(&mut self, image: &ImageId, stage: Stage) -> bool {
        match self.source.named_by(image, stage) {
            Ok(id) => {
                let says = format!("the image {} {} names the PDB {} {}", image.name, image.key(), id.name, id.key());
                let note = Note::info(format!("the dump does not hold the record that names the kernel's PDB; {says}"));
                self.by_id(&id, &Said { check: Some(says), note: Some(note) }, true)
            }
            Err(why) => {
                self.nothing.push(one_line(&why));
                false
            }
        }
    }
    /// The one kernel's symbols whose names stand where the dump says.
    fn by_evidence(&mut self, evidence: &Evidence) -> bool {
        let Some(machine) = evidence.machine() else { return false };
        let mut best: Vec<(Found, usize)> = Vec::new();
        for offer in self.source.candidates(machine) {
            let found = match offer {
                Offer::Symbols(found) => Found { symbols: of_kernel(found.symbols, None), file: found.file },
                Offer::Refused(why) => {
                    self.refused.push(one_line(&why));
                    continue;
                }
                Offer::Nothing(_) => continue,
            };
            let Some(hits) = evidence.hits(&found.symbols) else { continue };
            let most = best.first().map_or(0, |(_, most)| *most);
            if hits > most {
                best.clear();
            }
            if hits >= most && !best.iter().any(|(b, _)| b.symbols.id == found.symbols.id && b.is_whole()) {
                best.push((found, hits));
            }
        }
        best.sort_by_key(|(found, _)| !found.is_whole());
        let different = best.iter().any(|(b, _)| Some(&b.symbols.id) != best.first().map(|(f, _)| &f.symbols.id));
        if different {
            let names: Vec<&str> = best.iter().map(|(f, _)| f.symbols.origin.as_str()).collect();
            self.refused
                .push(format!("{}: the dump's pointers fit them all alike; --pdb FILE says which", names.join(", ")));
            return false;
        }
        for (found, hits) in best {
            let of = found.symbols.id.as_ref().map(|id| format!(" ({} {})", id.name, id.key())).unwrap_or_default();
            let says = format!(
                "exact: {hits} of {} {} are symbols of {}",
                evidence.len(),
                evidence.what(),
                found.symbols.origin
            );
            let note = Note::info(format!("the dump does not hold the record that names the kernel's PDB; {says}{of}"));
            if self.weigh(Offer::Symbols(Box::new(found)), &Said { check: Some(says), note: Some(note) }, true) {
                return true;
            }
        }
        false
    }

    /// What is left when no whole symbols fit: layouts of a near build where the best exact ones do not fit, else those.
    fn second_best(mut self, why: &str, fall_back: FallBack<'_>) -> Result<(), String> {
        self.before.restore(self.kernel);
        if self.best.as_ref().is_none_or(|best| best.unfit) {
            let unfit =
                self.best.as_ref().map(|b| format!("{}: {}", b.symbols.origin, shortcoming(&b.symbols, &b.faults)));
            match fall_back(self.kernel, unfit.as_deref().unwrap_or(why)) {
                Ok(()) => {
                    self.refused.extend(unfit);
                    self.name_refused();
                    return Ok(());
                }
                Err(why) if self.best.is_none() => {
                    self.name_refused();
                    return Err(why);
                }
                Err(_) => {}
            }
        }
        let Some(best) = self.best.take() else { return Err(why.to_owned()) };
        self.before.restore(self.kernel);
        take(self.kernel, best.symbols);
        self.name_faults(&best.faults);
        self.say(&best.said);
        Ok(())
    }
}

/// Refused files that are named one by one.
const NAMED: usize = 8;

/// What is said of the symbols that the user names: where the dump names others, every value rests on the user's word.
fn of_choice(id: Option<&PdbId>, found: &Candidate) -> Said {
    let note = match (id, &found.pdb) {
        (Some(id), Some(own)) if (&id.guid, id.age) == (&own.guid, own.age) => Note::info("symbols are those of --pdb"),
        (id, Some(own)) => {
            let of = id.map_or_else(
                || "a file that does not say which PDB it is of".into(),
                |id| format!("{} {}", id.name, id.key()),
            );
            Note::loss(format!(
                "symbols are those of --pdb, {of}, while the dump names {} {}: every value rests on that choice",
                own.name,
                own.key()
            ))
        }
        (_, None) => Note::info("symbols are those of --pdb; the dump does not hold the record that names its PDB"),
    };
    Said { check: None, note: Some(note) }
}

/// A PDB does not say its own name: one under any other file name gets a kernel's.
fn of_kernel(mut symbols: Symbols, record: Option<&PdbId>) -> Symbols {
    let usual = if symbols.machine == Some(Machine::X86) { "ntkrpamp.pdb" } else { "ntkrnlmp.pdb" };
    if let Some(id) = &mut symbols.id {
        match record {
            Some(own) if (&own.guid, own.age) == (&id.guid, id.age) => id.name.clone_from(&own.name),
            _ if is_kernel_pdb(&id.name) => {}
            _ => usual.clone_into(&mut id.name),
        }
    }
    symbols
}

/// What speaks against symbols that can be read.
fn shortcoming(symbols: &Symbols, faults: &[String]) -> String {
    let damage = symbols.notes.iter().filter(|n| n.loss).map(|n| n.text.as_str());
    let unfit = (!faults.is_empty()).then(|| format!("does not fit the dump: {}", faults.join(", ")));
    let all: Vec<&str> = damage.chain(unfit.as_deref()).collect();
    if all.is_empty() { "others fit better".into() } else { all.join("; ") }
}

/// Whether the indispensable structures can be read through the kernel's symbols.
fn usable(kernel: &Kernel) -> Result<(), String> {
    kernel.layout::<EProcess>().map_err(|e| e.to_string())?;
    kernel.layout::<EThread>().map_err(|e| e.to_string())?;
    Ok(())
}

/// The error's text as it always began.
fn no_symbols(text: String) -> String {
    Error::NoSymbols(text).to_string()
}

/// What a symbol store keeps the kernel's image under: a triage dump's driver list states it, or the image's headers.
pub(super) fn image_of(dump: &Dump, found: &Candidate) -> Option<ImageId> {
    if let Some(driver) = dump.triage().and_then(|t| t.drivers().first()) {
        let path = driver.name.as_ref().ok()?;
        let name = path.rsplit('\\').next().unwrap_or(path).to_owned();
        return Some(ImageId { name, time_stamp: driver.time_stamp, size: driver.size });
    }
    let image = found.image.as_ref()?;
    // Stores keep every kernel under the name of its file.
    Some(ImageId { name: "ntoskrnl.exe".into(), time_stamp: image.timestamp, size: image.size })
}
