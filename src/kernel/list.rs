//! Doubly linked lists (`_LIST_ENTRY`), walked from both ends when one end does not lead to the other.
//!
//! Lists in a dump may be torn: taken while the machine ran, unlinked by a rootkit, or lying partly in pages that the dump
//! lacks. A walk never trusts a list to end, never follows the same link twice, and tells what it could not follow.

use crate::addr::Va;
use crate::bytes::le;
use crate::paging::Space;
use crate::value::{Absent, Note, Value};
use rustc_hash::FxHashSet;

/// A list to be walked.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// What it lists, for notes: `active process list`.
    pub what: &'a str,
    /// The list head, which is no entry.
    pub head: Va,
    /// Bytes in a pointer: 4 or 8. (The 32-bit loader's lists of a 64-bit machine are 4.)
    pub width: u32,
    /// Entries after which the walk gives up.
    pub limit: usize,
}

/// What a walk found.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    /// Addresses of the entries' links, in list order. Those found from the end alone stand at the end.
    pub links: Vec<Va>,
    /// How many of them were found going forwards.
    pub forwards: usize,
    /// Where it broke, and what that cost.
    pub notes: Vec<Note>,
}

/// Why a walk in one direction stopped.
enum Stop {
    /// It came to the head: the whole list was seen.
    Head,
    /// It came to an entry that the other direction had seen.
    Met,
    /// It came to an entry of its own a second time.
    Loop(Va),
    /// The link at this address could not be followed.
    Broken(Va, Why),
    /// The limit was reached.
    Limit,
}

enum Why {
    Unreadable(Absent),
    Null,
    Misaligned(Va),
    /// The entry does not point back, and the caller says it is no member.
    Foreign(Va),
}

/// One direction of a walk.
struct Way {
    links: Vec<Va>,
    stop: Stop,
    /// Entries (or the head) that do not point back to the one they were reached from.
    one_way: Vec<Va>,
}

impl List<'_> {
    /// Walks the list. `member` is asked about an entry that does not point back to where the walk came from:
    /// it may be a torn link, or lead into something else altogether.
    pub fn walk(&self, space: &Space<'_>, member: impl Fn(Va) -> bool) -> Walked {
        let there = self.one_way(space, None, &member);
        let mut out = Walked { forwards: there.links.len(), links: there.links, notes: Vec::new() };
        if matches!(there.stop, Stop::Limit) {
            out.notes
                .push(Note::loss(format!("{} at {}: given up after {} entries", self.what, self.head, self.limit)));
            return out;
        }
        if matches!(there.stop, Stop::Head) && there.one_way.is_empty() {
            return out;
        }
        let seen = out.links.iter().copied().collect();
        let mut back = self.one_way(space, Some(&seen), &member);
        let found = back.links.len();
        back.links.reverse();
        out.links.append(&mut back.links);
        self.tell(&there.stop, &there.one_way, &back.stop, found, &mut out);
        out
    }

    /// The link of an entry: next and previous.
    fn link(&self, space: &Space<'_>, at: Va) -> Value<(Va, Va)> {
        let bytes = space.fetch(at, self.width.saturating_mul(2));
        let (next, previous) = bytes.all()?.split_at_checked(self.width as usize).ok_or(Absent::Implausible)?;
        Ok((Va(le(next).ok_or(Absent::Implausible)?), Va(le(previous).ok_or(Absent::Implausible)?)))
    }

    /// Walks forwards, or backwards until what was seen forwards.
    fn one_way(&self, space: &Space<'_>, forwards: Option<&FxHashSet<Va>>, member: &impl Fn(Va) -> bool) -> Way {
        let backwards = forwards.is_some();
        let mut way = Way { links: Vec::new(), stop: Stop::Head, one_way: Vec::new() };
        let mut seen = FxHashSet::default();
        let follow = |at: Va| self.link(space, at).map(|(f, b)| if backwards { (b, f) } else { (f, b) });
        let mut at = self.head;
        let (mut next, last) = match follow(at) {
            Ok(both) => both,
            Err(why) => {
                way.stop = Stop::Broken(at, Why::Unreadable(why));
                return way;
            }
        };
        way.stop = loop {
            if next == self.head {
                if last != at {
                    way.one_way.push(self.head);
                }
                break Stop::Head;
            }
            if next.is_null() {
                break Stop::Broken(at, Why::Null);
            }
            if !next.0.is_multiple_of(self.width.into()) {
                break Stop::Broken(at, Why::Misaligned(next));
            }
            if forwards.is_some_and(|f| f.contains(&next)) {
                break Stop::Met;
            }
            if seen.contains(&next) {
                break Stop::Loop(next);
            }
            if way.links.len() >= self.limit {
                break Stop::Limit;
            }
            let link = follow(next);
            match link {
                Ok((_, previous)) if previous == at => {}
                // Its page was there and the dump did not keep it: an entry all the same, of which nothing else is known.
                Err(Absent::NotInDump) => {}
                Err(why) => break Stop::Broken(next, Why::Unreadable(why)),
                Ok(_) if member(next) => way.one_way.push(next),
                Ok(_) => break Stop::Broken(at, Why::Foreign(next)),
            }
            seen.insert(next);
            way.links.push(next);
            at = next;
            next = match link {
                Ok((next, _)) => next,
                Err(why) => break Stop::Broken(at, Why::Unreadable(why)),
            };
        };
        way
    }

    /// Says what broke and what was gained from the other end.
    fn tell(&self, there: &Stop, one_way: &[Va], back: &Stop, found: usize, out: &mut Walked) {
        let Self { what, head, .. } = self;
        if let Some(first) = one_way.first() {
            out.notes.push(Note::info(format!(
                "{what} at {head}: {} of its entries do not point back to the one before, first {first}",
                one_way.len()
            )));
        }
        if matches!(there, Stop::Head) {
            if found > 0 {
                out.notes.push(Note::info(format!(
                    "{what} at {head}: going backwards finds {found} that going forwards does not"
                )));
            }
            return;
        }
        let met = matches!(back, Stop::Met);
        let text = format!(
            "{what} at {head}: broken after {} ({}); {found} more found backwards from its end, {}",
            out.forwards,
            describe(there),
            match back {
                Stop::Met => "up to the break".to_owned(),
                Stop::Head => "up to its head".to_owned(),
                Stop::Limit => format!("given up after {}", self.limit),
                other => format!("where it is broken too ({})", describe(other)),
            }
        );
        // Backwards walks that reach the forward part, or the head itself, closed the gap.
        out.notes.push(if met { Note::info(text) } else { Note::loss(text) });
    }
}

fn describe(stop: &Stop) -> String {
    match stop {
        Stop::Head => "at its head".to_owned(),
        Stop::Met => "at an entry already seen".to_owned(),
        Stop::Loop(at) => format!("it loops to {at}"),
        Stop::Limit => "too long".to_owned(),
        Stop::Broken(at, why) => match why {
            Why::Unreadable(why) => format!("the link at {at} is {why}"),
            Why::Null => format!("the link at {at} is null"),
            Why::Misaligned(to) => format!("the link at {at} leads to the misaligned {to}"),
            Why::Foreign(to) => {
                format!("the link at {at} leads to {to}, which does not point back and is no such object")
            }
        },
    }
}
