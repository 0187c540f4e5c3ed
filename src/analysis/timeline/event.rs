//! One event: a time stamp, what it is the time of, and where it stands.

use crate::addr::Va;
use crate::bytes::Place;
use crate::kernel::image::Image;
use crate::paging::Space;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Value};
use std::cmp::Ordering;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `KeBootTime`.
    Boot,
    /// The PE header's time stamp of an image.
    ImageBuilt,
    /// A process was made.
    ProcessCreated,
    /// A thread was made.
    ThreadCreated,
    /// A library was loaded.
    ModuleLoaded,
    /// A symbolic link of the object namespace was made.
    LinkCreated,
    /// A registry key was last written.
    KeyWritten,
    /// A driver was unloaded.
    DriverUnloaded,
    /// A thread ended.
    ThreadExited,
    /// A process ended.
    ProcessExited,
    /// The machine stopped, by the crash dump's header.
    Crash,
    /// The system time when the dump was taken.
    SystemTime,
    /// A minidump was written.
    DumpWritten,
}

impl Kind {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Boot => "boot",
            Self::ImageBuilt => "image_built",
            Self::ProcessCreated => "process_created",
            Self::ThreadCreated => "thread_created",
            Self::ModuleLoaded => "module_loaded",
            Self::LinkCreated => "link_created",
            Self::KeyWritten => "key_written",
            Self::DriverUnloaded => "driver_unloaded",
            Self::ThreadExited => "thread_exited",
            Self::ProcessExited => "process_exited",
            Self::Crash => "crash",
            Self::SystemTime => "system_time",
            Self::DumpWritten => "dump_written",
        }
    }
    /// Which of a body file's times it is: birth, modification, change.
    pub const fn macb(self) -> &'static str {
        match self {
            Self::Boot | Self::ImageBuilt | Self::ProcessCreated | Self::ThreadCreated | Self::LinkCreated => "b",
            Self::ModuleLoaded | Self::KeyWritten => "m",
            Self::DriverUnloaded
            | Self::ThreadExited
            | Self::ProcessExited
            | Self::Crash
            | Self::SystemTime
            | Self::DumpWritten => "c",
        }
    }
}

/// What the stamp of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stamp {
    /// A time.
    Time,
    /// A hash: the image says it was built reproducibly.
    Hash,
    /// The image's own word cannot be read.
    Unknown,
}

impl Stamp {
    /// Of the image at `base`.
    pub fn of(space: &Space<'_>, base: Value<Va>) -> Self {
        let told = base.and_then(|base| Image::read(space, base)).and_then(|image| image.reproducible(space));
        match told {
            Ok(true) => Self::Hash,
            Ok(false) => Self::Time,
            Err(_) => Self::Unknown,
        }
    }
}

/// Why a time is no fact of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// There was no such Windows.
    Before1990,
    /// After the dump was taken.
    AfterDump,
    /// No time but a hash.
    Hash,
    /// The stamp of an image that cannot be asked, on a machine that has images with hashes.
    MayBeHash,
}

impl Doubt {
    /// In a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before1990 => "before_1990",
            Self::AfterDump => "after_dump",
            Self::Hash => "hash",
            Self::MayBeHash => "may_be_hash",
        }
    }
}

/// 1990-01-01 in seconds since 1970: years before NT.
const YEAR_1990: i64 = 631_152_000;
/// A time stamp of whole seconds lies anywhere in its second.
const SECOND: u64 = 9_999_999;

/// The last moment of a second.
pub fn end_of_second(time: FileTime) -> FileTime {
    FileTime(time.0.saturating_add(SECOND))
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: FileTime,
    /// What.
    pub kind: Kind,
    /// Whose.
    pub pid: Option<u64>,
    /// Process, module or object.
    pub name: Value<Text>,
    /// What else is known.
    pub description: Option<String>,
    /// Where the stamp stands.
    pub place: Place,
    /// Whether it is a time at all.
    pub stamp: Stamp,
}

/// What a machine's times are measured by.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// When the dump was taken.
    pub end: Option<FileTime>,
    /// Whether images of the machine have hashes for stamps.
    pub hashes: bool,
}

impl Bounds {
    /// Of these events: an image that says so, or a stamp that can be no time, shows that stamps are hashes here.
    pub fn of(end: Option<FileTime>, events: &[Event]) -> Self {
        let bare = Self { end, hashes: false };
        let hash = |e: &Event| e.kind == Kind::ImageBuilt && e.doubt(bare).is_some();
        Self { end, hashes: events.iter().any(hash) }
    }
}

impl Event {
    /// Whether the time can be one of this machine's life that ended with the dump.
    pub fn doubt(&self, bounds: Bounds) -> Option<Doubt> {
        if self.stamp == Stamp::Hash {
            Some(Doubt::Hash)
        } else if self.time.unix_seconds() < YEAR_1990 {
            Some(Doubt::Before1990)
        } else if bounds.end.is_some_and(|end| self.time > end) {
            Some(Doubt::AfterDump)
        } else if bounds.hashes && self.stamp == Stamp::Unknown {
            Some(Doubt::MayBeHash)
        } else {
            None
        }
    }
    /// Whether two neighbours in order are one event: the same stamp of the file, or the same image built at the same time.
    pub fn is_same(&self, other: &Self) -> bool {
        let what = |e: &Self| (e.time, e.kind, e.pid);
        what(self) == what(other)
            && (self.name == other.name && self.description == other.description)
            && (self.kind == Kind::ImageBuilt || self.place.file == other.place.file)
    }
    fn key(&self) -> impl Ord + '_ {
        let name: Result<&str, &Absent> = self.name.as_deref();
        (self.time, self.kind, self.pid, name, self.description.as_deref(), self.place.file, self.place.va, self.stamp)
    }
}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: FileTime) -> Event {
        let name = Err(Absent::NotApplicable);
        let place = Place::default();
        Event { time, kind: Kind::Boot, pid: None, name, description: None, place, stamp: Stamp::Time }
    }

    #[test]
    fn times_outside_the_machines_life_are_doubted() {
        let end = FileTime::from_unix(1_700_000_000);
        let bounds = Bounds { end: Some(end), hashes: false };
        let doubt = |seconds| at(FileTime::from_unix(seconds)).doubt(bounds);
        assert_eq!(doubt(631_151_999), Some(Doubt::Before1990));
        assert_eq!(doubt(631_152_000), None);
        assert_eq!(doubt(1_700_000_000), None);
        assert_eq!(doubt(1_700_000_001), Some(Doubt::AfterDump));
        let endless = Bounds { end: None, hashes: false };
        assert_eq!(at(FileTime(u64::MAX)).doubt(endless), None, "without an end nothing is after it");
    }
    #[test]
    fn one_hash_makes_stamps_that_cannot_be_asked_doubtful() {
        let end = Some(FileTime::from_unix(1_700_000_000));
        let image = |seconds, stamp| Event { kind: Kind::ImageBuilt, stamp, ..at(FileTime::from_unix(seconds)) };
        let doubts = |events: &[Event]| {
            let bounds = Bounds::of(end, events);
            events.iter().map(|e| e.doubt(bounds)).collect::<Vec<_>>()
        };
        let sure = image(1_600_000_000, Stamp::Time);
        let unsure = image(1_600_000_000, Stamp::Unknown);
        assert_eq!(doubts(&[sure.clone(), unsure.clone()]), [None, None]);
        let hash = image(1_500_000_000, Stamp::Hash);
        assert_eq!(doubts(&[sure, unsure.clone(), hash]), [None, Some(Doubt::MayBeHash), Some(Doubt::Hash)]);
        let late = image(2_000_000_000, Stamp::Unknown);
        assert_eq!(doubts(&[unsure, late]), [Some(Doubt::MayBeHash), Some(Doubt::AfterDump)]);
    }
    #[test]
    fn sorted_by_time_first() {
        let mut events = [at(FileTime(2)), Event { kind: Kind::Crash, ..at(FileTime(1)) }, at(FileTime(1))];
        events.sort();
        let got: Vec<_> = events.iter().map(|e| (e.time.0, e.kind)).collect();
        assert_eq!(got, [(1, Kind::Boot), (1, Kind::Crash), (2, Kind::Boot)]);
    }
}
