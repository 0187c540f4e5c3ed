//! `memory`: bytes of a process's address space, wherever they are kept.

use super::parallel::each_process;
use super::{Analysis, Answers, Ask, Case, Subject, Switch, Takes, who};
use crate::addr::{PAGE_SIZE, Va};
use crate::bytes::{At, Bytes, Place};
use crate::dump::UserDump;
use crate::error::{Error, Result};
use crate::kernel::address_space::AddressSpace;
use crate::kernel::process::Process;
use crate::kernel::vad_tree::{self, Tree};
use crate::number;
use crate::paging::{Mode, Space};
use crate::report::{Cell, Column, Field, Kind, Row, Sink, Wanted, col, derived, headers, placed, wide};
use crate::value::{Absent, Note, Value};
use std::fmt::Write as _;

/// The register's entry.
pub static MEMORY: Analysis = Analysis {
    name: "memory",
    about: "Bytes of a process's memory, read where they are: dump, page file, compressed store",
    help: "Sixteen bytes a row, with where they were read: the dump, a page file (--page-file), the compressed store, or none of them for a page that \
           was promised and never touched (zeros, as the process would read them). What cannot be read is a row without bytes that says why. Without \
           --start, the beginning of the program's image. Addresses of the kernel half are read as this process sees them.\n\n\
           Examples:\n  dumpwalk memory memory.dmp --pid 1234 --start 0x7ff6a0000000 --size 64\n  \
           dumpwalk memory memory.dmp --pid 1234 --start 0x1d0dbaa0000 --size 0x1000 --raw -o page.bin",
    columns: &COLUMNS,
    switches: &[
        Switch {
            name: "start",
            value: Some(Takes::one("ADDRESS", |text| number::address(text).map(drop))),
            about: "First address, hexadecimal",
        },
        Switch {
            name: "size",
            value: Some(Takes::one("BYTES", |text| number::count(text).map(drop))),
            about: "How many bytes; 0x for hexadecimal [default: 256]",
        },
        Switch {
            name: "raw",
            value: None,
            about: "The bytes as they are instead of rows, up to the first that is missing; of one process",
        },
    ],
    subject: Subject::Processes,
    answers: Answers::of(run).minidump(of_minidump),
};

/// Bytes of a process.
struct Stretches;
struct Of<'a> {
    /// Id and name of the process, and the address of its `_EPROCESS`.
    head: &'a [Cell; 3],
    va: Va,
    size: u64,
    data: Value<&'a [u8]>,
    place: Place,
}
impl crate::report::Subject for Stretches {
    type Of<'a> = Of<'a>;
}

impl Of<'_> {
    fn told(&self, get: fn(&[u8]) -> String) -> Cell {
        self.data.map(get).into()
    }
    fn source(&self) -> Cell {
        self.data.map(|_| source(self.place.file)).into()
    }
    fn of_bytes(&self) -> Option<Place> {
        self.data.ok().map(|_| self.place)
    }
}

fn digits(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}
fn printable(bytes: &[u8]) -> String {
    bytes.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect()
}

const FIELDS: &[Field<Stretches>] = &[
    derived(who::PID, "_EPROCESS.UniqueProcessId", |c| c.head[0].clone()),
    derived(who::NAME, "_EPROCESS.ImageFileName", |c| c.head[1].clone()),
    derived(wide("offset", Kind::Hex, "Address of the _EPROCESS"), "the address at which the object is", |c| {
        c.head[2].clone()
    }),
    derived(col("address", Kind::Hex, "First address"), "--start", |c| c.va.into()),
    derived(
        col("size", Kind::Number, "Bytes: sixteen, fewer at the ends, any number where they are missing"),
        "--size, and where the bytes are",
        |c| c.size.into(),
    ),
    placed(col("bytes", Kind::Text, "The bytes, two digits for each"), |c| c.told(digits), |c| c.of_bytes()),
    placed(
        col("text", Kind::Text, "The same as ASCII, a dot for what is no printable character"),
        |c| c.told(printable),
        |c| c.of_bytes(),
    ),
    derived(
        col(
            "source",
            Kind::Text,
            "dump, page file N, compressed store; demand_zero: nowhere, the process would read zeros",
        ),
        "where the bytes are: it is the row's own place",
        |c| c.source(),
    ),
];
const COLUMNS: [Column; FIELDS.len()] = headers(FIELDS);

/// Bytes of a row.
const ROW: u64 = 16;

/// From where, and how many bytes, were asked for.
fn asked(ask: &Ask) -> Result<(Option<Va>, u64)> {
    let start = ask.value("start").map(number::address).transpose().map_err(Error::Usage)?.map(Va);
    let size = ask.value("size").map_or(Ok(256), number::count).map_err(Error::Usage)?;
    Ok((start, size))
}

fn of_minidump(case: &Case, _: &UserDump<'_>, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (start, size) = asked(ask)?;
    let start = start.ok_or_else(|| {
        Error::Usage("a user-mode minidump needs --start: dumpwalk memmap lists what it holds".into())
    })?;
    let space = Space::new(&case.dump, Mode::Blocks, crate::addr::Pa(0));
    let head = [(); 3].map(|()| Cell::Absent(Absent::NotRecorded));
    rows(&Reader { space: &space, tree: None, head, wanted: &ask.rows }, start, size, sink)
}

fn run(case: &Case, ask: &Ask, sink: &mut dyn Sink) -> Result<()> {
    let (start, size) = asked(ask)?;
    if ask.has("raw") && ask.names_none() {
        return Err(Error::Usage("--raw writes the memory of one process: name it with --pid".into()));
    }
    each_process(case, ask, sink, |space, process, sink| of_process(process, space, (start, size), ask, sink))
}

fn of_process<'k>(
    process: &Process<'k>,
    kernel_space: &Space<'k>,
    (start, size): (Option<Va>, u64),
    ask: &Ask,
    sink: &mut dyn Sink,
) -> Result<()> {
    let Some(start) = start.or_else(|| process.view.image_base().ok().filter(|va| !va.is_null())) else {
        // System and minimal processes have no image of their own.
        return Ok(());
    };
    let [pid, name] = who::cells(process);
    let head = [pid, name, who::address(process)];
    let opened = if start > process.kernel.last_user_address() {
        process.whole_space().map(|space| (space, None))
    } else {
        AddressSpace::of(process, kernel_space).map(|memory| (memory.space, Some(memory.tree)))
    };
    match opened {
        Ok((space, tree)) => {
            rows(&Reader { space: &space, tree: tree.as_deref(), head, wanted: &ask.rows }, start, size, sink)
        }
        Err(why) => {
            let of = Of { head: &head, va: start, size, data: Err(why), place: at(start) };
            sink.row(Row::of(FIELDS, &of, &ask.rows).at(of.place))
        }
    }
}

/// What is read, and of whom.
struct Reader<'r, 'k> {
    space: &'r Space<'k>,
    tree: Option<&'r Tree>,
    head: [Cell; 3],
    wanted: &'r Wanted,
}

/// An address without bytes.
fn at(va: Va) -> Place {
    Place { va: Some(va), ..Place::default() }
}

impl Reader<'_, '_> {
    fn row(&self, va: Va, size: u64, data: Value<&[u8]>, place: Place) -> Row {
        Row::of(FIELDS, &Of { head: &self.head, va, size, data, place }, self.wanted).at(place)
    }
    /// Whether a page that is not there would be one of zeros.
    fn is_promised(&self, va: Va, why: Absent) -> bool {
        match why {
            Absent::DemandZero => true,
            // Private memory that was committed as a whole has no entries before it is touched.
            Absent::NotMapped => {
                let vad = self.tree.and_then(|tree| vad_tree::find(&tree.vads, va));
                vad.is_some_and(|vad| {
                    // Where the symbols do not say which bit that is, the charge does: all of its pages.
                    let pages = vad.end.0.saturating_sub(vad.start.0) / PAGE_SIZE + 1;
                    vad.private == Ok(true) && (vad.flags.has("mem_commit") || vad.commit == Ok(pages))
                })
            }
            _ => false,
        }
    }
}

fn rows(reader: &Reader<'_, '_>, start: Va, size: u64, sink: &mut dyn Sink) -> Result<()> {
    let mut at = start;
    let mut left = size;
    while left > 0 {
        let here = PAGE_SIZE.saturating_sub(at.offset_in_page()).min(left);
        let bytes = reader.space.fetch(at, u32::try_from(here).unwrap_or(0));
        part(reader, at, &bytes, sink)?;
        left = left.saturating_sub(here);
        match at.0.checked_add(here) {
            Some(next) => at = Va(next),
            None => break,
        }
    }
    if left > 0 {
        sink.note(Note::info("the address space ends before the bytes asked for"));
    }
    Ok(())
}

/// What a part of a page has.
enum Piece<'b> {
    Bytes(&'b [u8]),
    /// So many bytes that are not there.
    Hole(u32, Absent),
}

/// The rows of a part of a page.
fn part(reader: &Reader<'_, '_>, start: Va, bytes: &Bytes<'_>, sink: &mut dyn Sink) -> Result<()> {
    let present = bytes.present().map(|(from, data)| (from, Piece::Bytes(data)));
    let holes = bytes.holes().map(|(from, len, why)| (from, Piece::Hole(len, why)));
    let mut pieces: Vec<(u32, Piece<'_>)> = present.chain(holes).collect();
    pieces.sort_unstable_by_key(|(from, _)| *from);
    for (from, piece) in pieces {
        let va = start.add(from.into());
        match piece {
            Piece::Bytes(data) => shown(reader, va, data, |inside| bytes.place(from.saturating_add(inside)), sink)?,
            Piece::Hole(len, why) if reader.is_promised(va, why) => {
                let zeros = vec![0; len as usize];
                shown(reader, va, &zeros, |inside| at(va.add(inside.into())), sink)?;
            }
            Piece::Hole(len, why) => sink.row(reader.row(va, len.into(), Err(why), at(va)))?,
        }
    }
    Ok(())
}

/// Bytes, in rows that begin at multiples of sixteen.
fn shown(
    reader: &Reader<'_, '_>,
    va: Va,
    data: &[u8],
    place: impl Fn(u32) -> Place,
    sink: &mut dyn Sink,
) -> Result<()> {
    let mut rest = data;
    let mut done = 0u32;
    while !rest.is_empty() {
        let at = va.add(done.into());
        let room = ROW.saturating_sub(at.0 % ROW);
        let (now, later) = rest.split_at(rest.len().min(usize::try_from(room).unwrap_or(1)));
        let place = place(done);
        sink.row(reader.row(at, now.len() as u64, Ok(now), place))?;
        done = done.saturating_add(u32::try_from(now.len()).unwrap_or(u32::MAX));
        rest = later;
    }
    Ok(())
}

/// Where bytes were read, in words.
pub(super) fn source(at: Option<At>) -> String {
    match at {
        Some(At::Decoded { .. }) => "compressed store".into(),
        Some(at @ At::Stored(_)) => {
            at.stored().file().map_or_else(|| "dump".into(), |number| format!("page file {number}"))
        }
        None => "demand_zero".into(),
    }
}
