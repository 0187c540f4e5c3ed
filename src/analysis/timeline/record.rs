//! An event as bytes of a temporary file, which only the run that wrote them reads.

use super::event::{Event, Kind, Stamp};
use crate::addr::{Pa, Va};
use crate::place::{At, Place, Stored};
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::Absent;
use std::io::{self, BufRead, Read, Write};

/// The file is not as it was written.
fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not as it was written")
}

/// Writes an event.
///
/// # Errors
/// The writer's.
pub(super) fn write(out: &mut impl Write, event: &Event) -> io::Result<()> {
    out.write_all(&event.time.0.to_le_bytes())?;
    out.write_all(&[place_in(&Kind::ALL, event.kind), place_in(&Stamp::ALL, event.stamp)])?;
    let Place { va, pa, file } = event.place;
    let (file, slot, inside) = match file {
        Some(At::Decoded { from, slot, inside }) => (Some(from), Some(slot.into()), Some(inside.into())),
        Some(At::Stored(at)) => (Some(at), None, None),
        None => (None, None, None),
    };
    let (number, offset) = (file.and_then(Stored::file).map(u64::from), file.map(Stored::offset));
    for number in [event.pid, va.map(|va| va.0), pa.map(|pa| pa.0), offset, number, slot, inside] {
        out.write_all(&[number.is_some().into()])?;
        out.write_all(&number.unwrap_or(0).to_le_bytes())?;
    }
    let name = event.name.as_ref().map(|name| (&**name, name.cut_by()));
    let (name, why) = name.map_or_else(|why| (None, Some(*why)), |(name, cut)| (Some(name), cut));
    out.write_all(&[why.map_or(u8::MAX, |why| place_in(&Absent::ALL, why))])?;
    text(out, name)?;
    text(out, event.description.as_deref())
}

/// Which of all it is.
fn place_in<T: PartialEq>(all: &[T], one: T) -> u8 {
    all.iter().position(|each| *each == one).and_then(|i| u8::try_from(i).ok()).unwrap_or(u8::MAX)
}

/// One length more than it has, 0 for none; then the text.
fn text(out: &mut impl Write, text: Option<&str>) -> io::Result<()> {
    let length = text.map_or(0, |t| (t.len() as u64).saturating_add(1));
    out.write_all(&length.to_le_bytes())?;
    out.write_all(text.unwrap_or_default().as_bytes())
}

/// Reads the next event; `None` at the end.
///
/// # Errors
/// The reader's, or the file is not as it was written.
pub(super) fn read(from: &mut impl BufRead) -> io::Result<Option<Event>> {
    if from.fill_buf()?.is_empty() {
        return Ok(None);
    }
    let time = FileTime(number(from)?);
    let kind = one_of(&Kind::ALL, byte(from)?)?;
    let stamp = one_of(&Stamp::ALL, byte(from)?)?;
    let [pid, va, pa, offset, number, slot, inside] = numbers(from)?;
    let why = match byte(from)? {
        u8::MAX => None,
        why => Some(one_of(&Absent::ALL, why)?),
    };
    let name = match (string(from)?, why) {
        (Some(name), None) => Ok(name.into()),
        (Some(name), Some(cut)) => Ok(Text::cut(name, cut)),
        (None, Some(why)) => Err(why),
        (None, None) => return Err(damaged()),
    };
    let description = string(from)?;
    let place = Place { va: va.map(Va), pa: pa.map(Pa), file: at([offset, number, slot, inside])? };
    Ok(Some(Event { time, kind, pid, name, description, place, stamp }))
}

/// The place of these parts.
fn at([offset, number, slot, inside]: [Option<u64>; 4]) -> io::Result<Option<At>> {
    let Some(offset) = offset else { return Ok(None) };
    let small = |n: u64| u16::try_from(n).map_err(|_| damaged());
    let from = match number.map(u8::try_from) {
        None => Stored::dump(offset),
        Some(Ok(number)) => Stored::page_file(number, offset),
        Some(Err(_)) => return Err(damaged()),
    };
    Ok(Some(match (slot.map(u32::try_from), inside) {
        (Some(Ok(slot)), Some(inside)) => At::Decoded { from, slot, inside: small(inside)? },
        _ => At::Stored(from),
    }))
}

fn numbers<const N: usize>(from: &mut impl Read) -> io::Result<[Option<u64>; N]> {
    let mut out = [None; N];
    for number in &mut out {
        *number = optional(from)?;
    }
    Ok(out)
}

fn byte(from: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    from.read_exact(&mut byte)?;
    Ok(u8::from_le_bytes(byte))
}
fn number(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}
fn optional(from: &mut impl Read) -> io::Result<Option<u64>> {
    let is_there = byte(from)? != 0;
    let number = number(from)?;
    Ok(is_there.then_some(number))
}
fn string(from: &mut impl Read) -> io::Result<Option<String>> {
    let Some(length) = number(from)?.checked_sub(1) else { return Ok(None) };
    let mut text = String::new();
    let read = from.take(length).read_to_string(&mut text)?;
    if read as u64 == length { Ok(Some(text)) } else { Err(damaged()) }
}
fn one_of<T: Copy>(all: &[T], at: u8) -> io::Result<T> {
    all.get(usize::from(at)).copied().ok_or_else(damaged)
}
