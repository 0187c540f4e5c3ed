//! The active list (`PsActiveProcessHead`): a ring that can be walked from any member, and where a process stands to it.
//!
//! The head is one page among many: it may be missing, or made to name itself. System is a member that is known by itself,
//! and every process leads to its neighbours. So the ring is walked from its head, else from System, else from a process
//! that the table of client ids knows. Where it is torn in two places, the processes between are reached from neither end;
//! their own links still form a piece of the ring, and the table of client ids leads to them.
//!
//! Nobody is hidden because the list is broken. A process was unlinked when the ring is whole without it, or when its
//! neighbours lead past it, or when its own links lead to itself; one whose links end at what is lost was torn off.

use super::Kernel;
use super::client_ids::Numbered;
use super::list::{List, OneWay, Walked};
use super::process::{EProcess, MOST_PROCESSES};
use crate::addr::Va;
use crate::error::{Error, Result};
use crate::paging::Space;
use crate::value::{Absent, Note, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// Where a process stands to the active list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A walk meets it.
    Listed,
    /// The list is torn, and its own links are a piece of it: they end at members that are lost or damaged.
    Torn,
    /// The list is torn, and its own links lead nowhere: whether it was a member cannot be told.
    Unclear,
    /// It is no member: the list is whole without it, its neighbours lead past it, or its links lead to itself.
    Off,
}

/// The list as it was walked.
#[derive(Clone, Debug)]
pub struct Active {
    /// The processes that the walk met, in list order.
    pub listed: Vec<Va>,
    /// Those that it did not meet and whose own links are a piece of the torn list.
    pub torn: Vec<Va>,
    /// Whether every member was met.
    pub whole: bool,
    /// How the walk went.
    pub notes: Vec<Note>,
    head: Option<Va>,
    /// Where the walk began: the head, or a member's links.
    start: Va,
    /// Offset of the links in a process.
    offset: u64,
    met: FxHashSet<Va>,
    /// Where processes stand that were judged, of a torn list.
    judged: FxHashMap<Va, Place>,
}

/// How a chain of processes that lead to each other ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// At a member of the list that leads back here, at its head, or at one that is lost: its page is gone.
    Torn,
    /// At a process whose own links are written over.
    Damaged(Va),
    /// At a member that leads past it, or at itself.
    Past,
    /// At nothing: the link is no pointer, or what it leads to is no process.
    Nowhere,
}

impl Kernel {
    /// Walks the active list.
    ///
    /// # Errors
    /// The symbols lack what is needed to read a process, or nothing says where any member of the list is.
    pub fn active_list(&self) -> Result<Active> {
        let layout = self.layout::<EProcess>().map_err(|e| self.unreadable(&e))?;
        let (space, offset) = (self.space(), layout.links_offset());
        let head = self.global("PsActiveProcessHead");
        let by_head = head.map(|head| self.walk_from(&space, head, None, offset));
        let mut active = match (head, by_head) {
            (Some(head), Some(walked)) if self.is_in_use(&space, &walked, offset) => {
                Active::new(Some(head), head, offset, walked)
            }
            (head, by_head) => self.by_member(&space, head, by_head, offset)?,
        };
        let unread = |va: &Va| self.process_at(&space, *va).is_ok_and(|p| !p.may_be_one());
        let loss = active.notes.iter().any(|n| n.loss);
        if loss || !active.whole || active.listed.iter().any(unread) {
            self.ask_client_ids(&space, &mut active);
        }
        Ok(active)
    }
    /// The list in each direction by itself, as it was walked.
    pub(super) fn active_each_way(&self, space: &Space<'_>, active: &Active) -> [OneWay; 2] {
        let from_member = active.head != Some(active.start);
        let end = active.head.filter(|_| from_member);
        let member = |link: Va| self.is_member(space, link, active.offset);
        Self::list_at(space, active.start).each_way(space, end, member).map(|mut way| {
            // Begun at a member, the walk does not meet the member itself, and the head where nothing names it.
            way.links.retain(|link| !self.in_image(*link));
            if from_member {
                way.links.insert(0, active.start);
            }
            way.links.iter_mut().for_each(|link| *link = link.sub(active.offset));
            way
        })
    }
    fn list_at(space: &Space<'_>, head: Va) -> List<'static> {
        List { what: "active process list", head, width: space.pointer_size(), limit: MOST_PROCESSES }
    }
    fn walk_from(&self, space: &Space<'_>, start: Va, end: Option<Va>, offset: u64) -> Walked {
        Self::list_at(space, start).walk_to(space, end, |link| self.is_member(space, link, offset))
    }
    fn is_member(&self, space: &Space<'_>, link: Va, offset: u64) -> bool {
        self.process_at(space, link.sub(offset)).is_ok_and(|p| p.may_be_one())
    }
    /// Whether an address lies in the kernel image.
    #[must_use]
    pub fn in_image(&self, at: Va) -> bool {
        at.0.wrapping_sub(self.base.0) < u64::from(self.size.unwrap_or(0))
    }
    /// Whether the ring that a head leads to is the one in use: it has System. One without System is not, if System's own
    /// neighbours lead back to it; else System is the one that was taken off.
    fn is_in_use(&self, space: &Space<'_>, walked: &Walked, offset: u64) -> bool {
        let Some(system) = self.system.map(|at| at.add(offset)) else { return !walked.links.is_empty() };
        walked.links.contains(&system) || !walked.links.is_empty() && walked.whole && !self.is_anchored(space, system)
    }
    /// Whether one of the two neighbours leads back.
    fn is_anchored(&self, space: &Space<'_>, link: Va) -> bool {
        let width = space.pointer_size().into();
        let next = space.pointer(link).and_then(|next| space.pointer(next.add(width)));
        let back = space.pointer(link.add(width)).and_then(|back| space.pointer(back));
        next == Ok(link) || back == Ok(link)
    }
    /// The ring from a member that is known by itself: System, else the first process of the table of client ids.
    fn by_member(&self, space: &Space<'_>, head: Option<Va>, by_head: Option<Walked>, offset: u64) -> Result<Active> {
        let numbered = || {
            let all = self.numbered(space).ok()?;
            all.processes.iter().map(|(_, at)| *at).find(|at| self.is_anchored(space, at.add(offset)))
        };
        let (member, who) = match (self.system, numbered) {
            (Some(system), _) => (system, "System"),
            (None, numbered) => match (numbered(), by_head) {
                (Some(at), _) => (at, "the first process of PspCidTable"),
                (None, Some(walked)) => return Ok(Active::new(head, head.unwrap_or_default(), offset, walked)),
                (None, None) => {
                    return Err(Error::NotAvailable(
                        "the active process list was not found: no symbol PsActiveProcessHead, and no process is known \
                         by other means"
                            .into(),
                    ));
                }
            },
        };
        let start = member.add(offset);
        let mut walked = self.walk_from(space, start, head, offset);
        let why = match head {
            None => "no symbol names its head".to_owned(),
            Some(head) => match space.pointer(head) {
                Err(why) => format!("its head at {head} is {why}"),
                Ok(first) if first == head => format!("its head at {head} names itself"),
                Ok(first) if first.is_null() => format!("its head at {head} is empty"),
                Ok(first) => format!("its head at {head} leads to {first}, and not to System"),
            },
        };
        let count = walked.links.iter().filter(|l| !self.in_image(**l)).count();
        let mut notes = vec![Note::loss(format!(
            "active process list: {why}; it was walked from {who} at {member} instead, which leads to {count} more processes{}",
            if walked.whole { " and back to the head" } else { "" }
        ))];
        if !walked.whole {
            notes.append(&mut walked.notes);
        }
        walked.notes = notes;
        walked.links.insert(0, start);
        walked.links.retain(|link| !self.in_image(*link));
        Ok(Active::new(head, start, offset, walked))
    }
    /// Names what a torn list lost, by the table of client ids, and finds the pieces of it.
    fn ask_client_ids(&self, space: &Space<'_>, active: &mut Active) {
        let numbered = match self.numbered(space) {
            Ok(numbered) => numbered,
            Err(why) => {
                let text = format!("PspCidTable, which would name what the active list lost, is {why}");
                active.notes.push(Note::loss(text));
                return;
            }
        };
        active.notes.extend(numbered.notes.iter().cloned());
        let mut places = active.places(self, space);
        // A member whose links are written over is known by its neighbours, so these are judged first.
        numbered.addresses().for_each(|at| _ = places.of(at));
        let mut of = |wanted: Place| -> Vec<Va> {
            let mut seen = FxHashSet::default();
            numbered.addresses().filter(|at| seen.insert(*at) && places.of(*at) == wanted).collect()
        };
        let (torn, unclear) = (of(Place::Torn), of(Place::Unclear));
        let judged = places.known;
        let living = |at: &Va| self.process_at(space, *at).is_ok_and(|p| p.may_be_one());
        let torn: Vec<Va> = torn.into_iter().filter(living).collect();
        let unclear: Vec<Va> = unclear.into_iter().filter(living).collect();
        if !torn.is_empty() {
            active.notes.push(Note::loss(format!(
                "active process list: torn; listed all the same, because PspCidTable leads to them and their own links are a \
                 piece of the list: {}",
                self.named(space, &torn)
            )));
        }
        if !unclear.is_empty() {
            active.notes.push(Note::loss(format!(
                "active process list: torn; whether these were on it cannot be told: {}",
                self.named(space, &unclear)
            )));
        }
        active.notes.extend(self.lost_of(space, &numbered, Some(active)));
        active.torn = torn;
        active.judged = judged;
    }
    /// The first of some processes by id and name, and how many more there are.
    fn named(&self, space: &Space<'_>, all: &[Va]) -> String {
        const MOST: usize = 32;
        let one = |at: &Va| {
            let process = self.process_at(space, *at).ok();
            let pid = process.as_ref().and_then(|p| p.pid().ok()).map_or_else(|| "?".to_owned(), |p| p.to_string());
            format!("{pid} {}", process.and_then(|p| p.name().ok()).unwrap_or_else(|| "?".to_owned()))
        };
        let first: Vec<String> = all.iter().take(MOST).map(one).collect();
        match all.len().saturating_sub(first.len()) {
            0 => first.join(", "),
            more => format!("{} and {more} more", first.join(", ")),
        }
    }
    /// The ids of the table of client ids of whose objects nothing can be read, as a note; `None` where all can be read.
    #[must_use]
    pub fn lost_of(&self, space: &Space<'_>, numbered: &Numbered, active: Option<&Active>) -> Option<Note> {
        let active = active.filter(|_| !numbered.lost.is_empty());
        let neighbours = active.map(|a| a.neighbours(self, space)).unwrap_or_default();
        numbered.loss(|at| active.is_some_and(|a| a.met.contains(&at)) || neighbours.contains(&at))
    }
    /// The same, for who has not asked the table.
    #[must_use]
    pub fn lost_ids(&self, active: Option<&Active>) -> Option<Note> {
        let space = self.space();
        self.lost_of(&space, &self.numbered(&space).ok()?, active)
    }
}

impl Active {
    fn new(head: Option<Va>, start: Va, offset: u64, walked: Walked) -> Self {
        let listed: Vec<Va> = walked.links.iter().map(|link| link.sub(offset)).collect();
        let met = listed.iter().copied().collect();
        Self {
            listed,
            torn: Vec::new(),
            whole: walked.whole,
            notes: walked.notes,
            head,
            start,
            offset,
            met,
            judged: FxHashMap::default(),
        }
    }
    /// The processes that listed ones name as their neighbours.
    fn neighbours(&self, kernel: &Kernel, space: &Space<'_>) -> FxHashSet<Va> {
        let links = |at: &Va| kernel.process_at(space, *at).ok()?.view.links().ok();
        let both = self.listed.iter().filter_map(links).flat_map(|l| [l.flink, l.blink]);
        both.map(|link| link.sub(self.offset)).collect()
    }
    /// Judges where processes stand to the list.
    #[must_use]
    pub fn places<'a>(&self, kernel: &'a Kernel, space: &'a Space<'a>) -> Places<'a> {
        Places {
            kernel,
            space,
            whole: self.whole,
            head: self.head,
            offset: self.offset,
            known: self
                .judged
                .iter()
                .map(|(at, place)| (*at, *place))
                .chain(self.met.iter().map(|at| (*at, Place::Listed)))
                .collect(),
        }
    }
}

/// Where processes stand to the list, each chain of them followed once.
pub struct Places<'a> {
    kernel: &'a Kernel,
    space: &'a Space<'a>,
    whole: bool,
    head: Option<Va>,
    offset: u64,
    known: FxHashMap<Va, Place>,
}

impl Places<'_> {
    /// Where the process at an address stands.
    pub fn of(&mut self, at: Va) -> Place {
        if let Some(known) = self.known.get(&at) {
            return *known;
        }
        if self.whole {
            return Place::Off;
        }
        let mut chain = FxHashSet::from_iter([at]);
        let ends = [true, false].map(|forwards| self.follow(at, forwards, &mut chain));
        let place = if ends.contains(&End::Past) {
            Place::Off
        } else if ends.iter().any(|end| matches!(end, End::Torn | End::Damaged(_))) || chain.len() > 1 {
            Place::Torn
        } else {
            Place::Unclear
        };
        self.known.extend(chain.into_iter().map(|member| (member, place)));
        // What a piece of the list leads to is a member of it.
        for end in ends {
            if let (End::Damaged(next), Place::Torn) = (end, place) {
                let known = self.known.entry(next).or_insert(Place::Torn);
                if *known == Place::Unclear {
                    *known = Place::Torn;
                }
            }
        }
        place
    }
    /// Both links of a process, the one in the direction asked for first.
    fn links(&self, at: Va, forwards: bool) -> Value<(Va, Va)> {
        let links = self.kernel.process_at(self.space, at).map_err(|_| Absent::NoSymbol)?.view.links()?;
        Ok(if forwards { (links.flink, links.blink) } else { (links.blink, links.flink) })
    }
    fn is_member(&self, at: Va) -> bool {
        self.kernel.process_at(self.space, at).is_ok_and(|p| p.may_be_one())
    }
    /// Follows the chain of processes that lead to each other from `at` on, and tells how it ends.
    fn follow(&self, mut at: Va, forwards: bool, chain: &mut FxHashSet<Va>) -> End {
        let first = at;
        while chain.len() < MOST_PROCESSES {
            let Ok((link, _)) = self.links(at, forwards) else { return End::Nowhere };
            if !self.kernel.in_kernel_half(link) || !link.0.is_multiple_of(self.space.pointer_size().into()) {
                return End::Nowhere;
            }
            if Some(link) == self.head {
                return self.at_head(link, at, forwards);
            }
            let next = link.sub(self.offset);
            if next == at || next == first {
                return End::Past;
            }
            if self.kernel.process_is_gone(self.space, next) {
                return End::Torn;
            }
            let Ok((_, back)) = self.links(next, forwards) else { return End::Nowhere };
            let leads_back = back == at.add(self.offset);
            if leads_back && self.known.get(&next) != Some(&Place::Listed) {
                if !chain.insert(next) {
                    return End::Past;
                }
                at = next;
                continue;
            }
            let elsewhere = Some(back) == self.head || self.is_member(back.sub(self.offset));
            return match (leads_back, elsewhere, self.is_member(next)) {
                (true, ..) => End::Torn,
                (false, false, true) => End::Damaged(next),
                (false, true, true) => End::Past,
                (false, _, false) => End::Nowhere,
            };
        }
        End::Nowhere
    }
    /// How a chain ends that comes to the head.
    fn at_head(&self, head: Va, at: Va, forwards: bool) -> End {
        let width = u64::from(self.space.pointer_size());
        match self.space.pointer(if forwards { head.add(width) } else { head }) {
            Ok(back) if back != at.add(self.offset) && self.is_member(back.sub(self.offset)) => End::Past,
            _ => End::Torn,
        }
    }
}
