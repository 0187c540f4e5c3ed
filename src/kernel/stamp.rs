//! The time stamp of an image: a time, or what only looks like one. Reproducible builds have a hash in its place, as most of
//! Windows' own files since Windows 10.

use super::Kernel;
use super::image::Image;
use crate::addr::Va;
use crate::paging::Space;
use crate::time::FileTime;
use crate::value::{Absent, Value};

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
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Time, Self::Hash, Self::Unknown];
    /// Of the image at `base`.
    #[must_use]
    pub fn of(space: &Space<'_>, base: Value<Va>) -> Self {
        base.and_then(|base| Image::read(space, base)).map_or(Self::Unknown, |image| Self::read(space, &image))
    }
    /// Of an image whose header was read.
    #[must_use]
    pub fn read(space: &Space<'_>, image: &Image) -> Self {
        match image.reproducible(space) {
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
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Before1990 => "before_1990",
            Self::AfterDump => "after_dump",
            Self::Hash => "hash",
            Self::MayBeHash => "may_be_hash",
        }
    }
    /// Whether it cannot be a time at all.
    #[must_use]
    pub const fn is_sure(self) -> bool {
        !matches!(self, Self::MayBeHash)
    }
}

/// 1990-01-01 in seconds since 1970: years before NT.
const YEAR_1990: i64 = 631_152_000;

/// What a machine's times are measured by.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bounds {
    /// When the dump was taken.
    pub end: Option<FileTime>,
    /// Whether images of the machine have hashes for stamps.
    pub hashes: bool,
}

/// When the dump of this kernel was taken, by the latest of header and clock.
#[must_use]
pub fn taken(kernel: &Kernel) -> Option<FileTime> {
    let header = kernel.dump.header.as_ref().and_then(|h| h.system_time);
    header.max(kernel.clock(&kernel.space()).now.ok())
}

impl Bounds {
    /// Of a kernel whose images are asked one by one.
    #[must_use]
    pub fn of(kernel: &Kernel) -> Self {
        Self { end: taken(kernel), hashes: false }
    }
    /// Whether a stamp can be a time of this machine's life, which ended with the dump.
    #[must_use]
    pub fn doubt(&self, time: FileTime, stamp: Stamp) -> Option<Doubt> {
        if stamp == Stamp::Hash {
            Some(Doubt::Hash)
        } else if time.unix_seconds() < YEAR_1990 {
            Some(Doubt::Before1990)
        } else if self.end.is_some_and(|end| time > end) {
            Some(Doubt::AfterDump)
        } else if self.hashes && stamp == Stamp::Unknown {
            Some(Doubt::MayBeHash)
        } else {
            None
        }
    }
    /// An image's stamp of whole seconds as the time it was built.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: there is none, or it is a hash; [`Absent::Implausible`]: no image of this machine was built then.
    pub fn built(&self, seconds: u32, stamp: Stamp) -> Value<FileTime> {
        let time = FileTime::from_unix(seconds);
        match self.doubt(time, stamp) {
            _ if seconds == 0 => Err(Absent::NotApplicable),
            Some(Doubt::Hash) => Err(Absent::NotApplicable),
            Some(Doubt::Before1990 | Doubt::AfterDump) => Err(Absent::Implausible),
            Some(Doubt::MayBeHash) | None => Ok(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_a_time_where_it_can_be() {
        let bounds = Bounds { end: Some(FileTime::from_unix(1_700_000_000)), hashes: true };
        assert_eq!(bounds.built(0, Stamp::Time), Err(Absent::NotApplicable));
        assert_eq!(bounds.built(1_600_000_000, Stamp::Time), Ok(FileTime::from_unix(1_600_000_000)));
        assert_eq!(bounds.built(1_600_000_000, Stamp::Hash), Err(Absent::NotApplicable));
        // Stamps of a real dump's kernel (1977) and HAL (2055).
        assert_eq!(bounds.built(0x0d83_33e6, Stamp::Unknown), Err(Absent::Implausible));
        assert_eq!(bounds.built(0xa0d8_33e6, Stamp::Unknown), Err(Absent::Implausible));
        assert_eq!(bounds.doubt(FileTime::from_unix(1_600_000_000), Stamp::Unknown), Some(Doubt::MayBeHash));
    }
}
