//! One process as all rules see it, by every way it was met.

use super::known::{self, WellKnown};
use super::paths;
use crate::addr::Va;
use crate::analysis::identities::{Identities, token_of};
use crate::error::Result;
use crate::kernel::Kernel;
use crate::kernel::active::Place;
use crate::kernel::client_ids::Numbered;
use crate::kernel::crossview::Standing;
use crate::kernel::life::Life;
use crate::kernel::process::{EProcess, Process, Processes};
use crate::kernel::scan::find::{By, Found};
use crate::kernel::scan::tags::Kind as Scanned;
use crate::kernel::sid::Sid;
use crate::kernel::standing::Sort;
use crate::paging::Space;
use crate::symbols::layout::Layout;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Value};
use rayon::prelude::*;
use rustc_hash::{FxHashMap, FxHashSet};
use std::cmp::Ordering;

/// One process, and what rules ask of it again and again.
#[derive(Debug)]
pub struct Person<'k> {
    /// The process.
    pub process: Process<'k>,
    /// How it was met.
    pub standing: Standing,
    /// Where it stands to the active list.
    pub place: Place,
    /// What the scan of physical memory says of it.
    pub found: Option<Found>,
    /// Its id.
    pub pid: Value<u64>,
    /// Its parent's id.
    pub ppid: Value<u64>,
    /// Its name, whole where something tells it, as the kernel keeps it.
    pub name: String,
    /// The image's path, as security auditing saw it when the process was made.
    pub path: Value<String>,
    /// When it was made.
    pub created: Value<FileTime>,
    /// Whether it has ended, by all that says so.
    pub ended: bool,
    /// Whether it lives, and what contradicts that.
    pub life: Life,
    /// Its session.
    pub session: Value<u32>,
    /// What sort of process it is.
    pub sort: Value<Sort>,
    /// Its primary token.
    pub token: Value<Va>,
    /// The token's user.
    pub user: Value<Sid>,
    /// The token's integrity level.
    pub integrity: Value<u32>,
}

impl Person<'_> {
    /// The image's path without its volume, in lower case.
    ///
    /// # Errors
    /// Why there is none.
    pub fn plain_path(&self) -> Value<String> {
        self.path.as_ref().map(|p| paths::plain(p)).map_err(|why| *why)
    }
    /// Whether it is an ordinary process with an image, alive.
    #[must_use]
    pub fn lives(&self) -> bool {
        !self.ended && matches!(self.sort, Ok(Sort::User | Sort::Secure))
    }
    /// The name of the file it runs, as the kernel's path says it; the short name, which is one field, where there is no path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.path.as_deref().map(paths::base).ok().filter(|base| !base.is_empty()).unwrap_or(&self.name)
    }
    /// What every Windows knows of it, by either of its names.
    #[must_use]
    pub fn known(&self) -> Option<&'static WellKnown> {
        known::well_known(&self.name).or_else(|| known::well_known(self.file_name()))
    }
    /// Whether it runs as `NT AUTHORITY\SYSTEM`. The process System does, even where its token is lost.
    #[must_use]
    pub fn is_system(&self) -> bool {
        match self.user {
            Ok(user) => user.authority() == 5 && user.parts() == [18],
            Err(_) => self.sort == Ok(Sort::System),
        }
    }
    /// Whether it runs as an account of a person (of a domain or machine), not of the system or a service.
    #[must_use]
    pub fn is_somebody(&self) -> bool {
        self.user.is_ok_and(|u| u.authority() == 5 && u.parts().first() == Some(&21))
    }
    /// Whether it was made before another one, or after it, by three witnesses: the creation times, the sequence numbers (never
    /// used twice), the oldest threads that are known. Where they are divided, the creation times decide.
    #[must_use]
    pub fn age_against(&self, other: &Person<'_>) -> Option<Ordering> {
        let votes = self.age_votes(other);
        let count = |which: Ordering| votes.iter().filter(|v| **v == Some(which)).count();
        match count(Ordering::Less).cmp(&count(Ordering::Greater)) {
            Ordering::Greater => Some(Ordering::Less),
            Ordering::Less => Some(Ordering::Greater),
            Ordering::Equal => votes.into_iter().flatten().next(),
        }
    }
    /// What creation times, sequence numbers and threads say, in this order.
    #[must_use]
    pub fn age_votes(&self, other: &Person<'_>) -> [Option<Ordering>; 3] {
        fn vote<T: Ord>(a: Value<T>, b: Value<T>) -> Option<Ordering> {
            Some(a.ok()?.cmp(&b.ok()?))
        }
        let sequence = |p: &Person<'_>| p.process.view.sequence().ok().filter(|n| *n != 0).ok_or(Absent::NotRecorded);
        [
            vote(self.created, other.created),
            vote(sequence(self), sequence(other)),
            vote(self.life.first_thread, other.life.first_thread),
        ]
    }
    /// `lsass.exe (pid 632)`.
    #[must_use]
    pub fn called(&self) -> String {
        let pid = self.pid.map_or_else(|_| "?".to_owned(), |p| p.to_string());
        format!("{} (pid {pid})", self.name)
    }
}

/// Every process, and what is asked of it again and again.
///
/// # Errors
/// The symbols do not describe processes.
pub fn people<'k>(
    kernel: &'k Kernel,
    listed: Processes<'k>,
    scanned: &[Found],
    numbered: Option<&Numbered>,
    identities: Option<&Identities>,
) -> Result<Vec<Person<'k>>> {
    let span = kernel.layout::<EProcess>().map_err(|e| kernel.unreadable(&e))?.span();
    let on_list: FxHashSet<Va> = listed.list.iter().filter_map(Process::offset).collect();
    let met: FxHashMap<Va, &Found> =
        scanned.iter().filter(|f| f.kind == Scanned::Process).filter_map(|f| Some((f.va?, f))).collect();
    let space = kernel.space();
    let mut places = listed.active.as_ref().map(|active| active.places(kernel, &space));
    let mut place = |va: Option<Va>| match (&mut places, va) {
        (Some(places), Some(va)) => places.of(va),
        // A dump that keeps no list holds what it holds.
        _ => Place::Listed,
    };
    let mut all: Vec<(Process<'k>, Place, Option<Found>)> = listed
        .list
        .into_iter()
        .map(|p| {
            let found = p.offset().and_then(|va| met.get(&va)).map(|f| (*f).clone());
            let place = place(p.offset());
            (p, place, found)
        })
        .collect();
    // What nothing maps any more cannot be followed: its pointers may lead anywhere by now.
    let of_scan = scanned.iter().filter(|f| f.kind == Scanned::Process).filter_map(|f| f.va);
    // What the scan refuses, and the table of ids or a thread of it leads to, is judged as well.
    let by_ids = numbered
        .into_iter()
        .flat_map(Numbered::addresses)
        .filter(|va| !kernel.in_image(*va) && kernel.process_at(&space, *va).is_ok_and(|p| p.may_be_one()));
    let mut seen = on_list;
    for va in of_scan.chain(by_ids) {
        if !seen.insert(va) {
            continue;
        }
        let process = kernel.process_of(kernel.space().fetch(va, span))?;
        all.push((process, place(Some(va)), met.get(&va).map(|f| (*f).clone())));
    }
    Ok(all
        .into_par_iter()
        .map_init(
            || kernel.space(),
            |space, (process, place, found)| {
                let token = process.view.token().and_then(Va::not_null);
                let life = Life::of(&process, space);
                let read = identities.and_then(|i| token_of(&i.tokens, space, &process).ok());
                let read = read.filter(|t| t.plausible());
                let (user, integrity) = match &read {
                    Some(token) => (token.user(space), token.integrity(space)),
                    None => (Err(Absent::NotApplicable), Err(Absent::NotApplicable)),
                };
                let path = process.image_path(space).and_then(Text::into_whole);
                Person {
                    standing: Standing::of(&process, place, &life),
                    place,
                    found,
                    pid: process.pid(),
                    ppid: process.ppid(),
                    name: name_of(&process, space, &path),
                    path,
                    created: process.create_time(),
                    ended: life.ended,
                    life,
                    session: process.session(space),
                    sort: process.sort(),
                    token,
                    user,
                    integrity,
                    process,
                }
            },
        )
        .collect())
}

/// The name the kernel keeps; where that is empty, the last part of the path.
fn name_of(process: &Process<'_>, space: &Space<'_>, path: &Value<String>) -> String {
    let of_path = || path.as_ref().ok().map(|p| paths::base(p).to_owned());
    process.long_name(space).ok().or_else(of_path).unwrap_or_else(|| "?".to_owned())
}

/// Whether the scan met an object by its dispatcher header alone: no pool header with its tag stood before it.
#[must_use]
pub fn without_tag(found: &Found) -> bool {
    !found.by.contains(&By::PoolTag)
}
