//! One event: a time stamp, what it is the time of, and where it stands.

use crate::bytes::Place;
pub use crate::kernel::stamp::{Bounds, Doubt, Stamp};
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
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Boot,
        Self::ImageBuilt,
        Self::ProcessCreated,
        Self::ThreadCreated,
        Self::ModuleLoaded,
        Self::LinkCreated,
        Self::KeyWritten,
        Self::DriverUnloaded,
        Self::ThreadExited,
        Self::ProcessExited,
        Self::Crash,
        Self::SystemTime,
        Self::DumpWritten,
    ];
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

impl Event {
    /// Whether the time can be one of this machine's life that ended with the dump.
    pub fn doubt(&self, bounds: Bounds) -> Option<Doubt> {
        bounds.doubt(self.time, self.stamp)
    }
    /// Whether it shows that stamps of images are hashes on this machine: one that says so, or a stamp that can be no time.
    pub fn shows_hashes(&self, end: Option<FileTime>) -> bool {
        self.kind == Kind::ImageBuilt && self.doubt(Bounds { end, hashes: false }).is_some()
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
        let Place { va, pa, file } = self.place;
        let cut = self.name.as_ref().ok().and_then(Text::cut_by);
        (self.time, self.kind, self.pid, name, self.description.as_deref(), (file, va, self.stamp, pa, cut))
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
            let bounds = Bounds { end, hashes: events.iter().any(|e| e.shows_hashes(end)) };
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
