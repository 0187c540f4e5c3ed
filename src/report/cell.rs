//! One typed value of a row.

use crate::addr::{Pa, Va};
use crate::place::At;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Value};
use std::borrow::Cow;
use std::fmt::Write;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Not there, and why.
    Absent(Absent),
    /// Yes or no.
    Bool(bool),
    /// A count, an id.
    Dec(u64),
    /// A signed number.
    Int(i64),
    /// An address or mask: `"0x…"` everywhere.
    Hex(u64),
    /// A time.
    Time(FileTime),
    /// Text. Text from the dump is attacker-chosen: writers guard it.
    Text(Cow<'static, str>),
    /// The beginning of a text, and why the rest is absent.
    Cut(Cow<'static, str>, Absent),
    /// Several values.
    List(Vec<Cell>),
    /// Named values.
    Object(Vec<(Cow<'static, str>, Cell)>),
}

/// Nothing to say.
impl Default for Cell {
    fn default() -> Self {
        Self::Absent(Absent::NotApplicable)
    }
}

/// An offset in the dump file is a number; a place elsewhere names its file.
impl From<At> for Cell {
    fn from(at: At) -> Self {
        at.dump_offset().map_or_else(|| at.to_string().into(), Self::Hex)
    }
}

macro_rules! from {
    ($($t:ty => |$v:ident| $e:expr),* $(,)?) => {$(
        impl From<$t> for Cell { fn from($v: $t) -> Self { $e } }
    )*};
}
from! {
    bool => |v| Self::Bool(v),
    u8 => |v| Self::Dec(v.into()),
    u16 => |v| Self::Dec(v.into()),
    u32 => |v| Self::Dec(v.into()),
    u64 => |v| Self::Dec(v),
    i32 => |v| Self::Int(v.into()),
    i64 => |v| Self::Int(v),
    Va => |v| Self::Hex(v.0),
    Pa => |v| Self::Hex(v.0),
    FileTime => |v| Self::Time(v),
    String => |v| Self::Text(v.into()),
    &'static str => |v| Self::Text(v.into()),
    Cow<'static, str> => |v| Self::Text(v),
    Absent => |v| Self::Absent(v),
}
impl From<Text> for Cell {
    fn from(v: Text) -> Self {
        match v.into_parts() {
            (text, None) => Self::Text(text.into()),
            (text, Some(why)) => Self::Cut(text.into(), why),
        }
    }
}
impl<T> From<Value<T>> for Cell
where
    Self: From<T>,
{
    fn from(v: Value<T>) -> Self {
        v.map_or_else(Self::Absent, Self::from)
    }
}
impl<T> From<Vec<T>> for Cell
where
    Self: From<T>,
{
    fn from(v: Vec<T>) -> Self {
        Self::List(v.into_iter().map(Self::from).collect())
    }
}

impl Cell {
    /// An address, mask or code, in hexadecimal.
    pub fn hex(value: Value<impl Into<u64>>) -> Self {
        value.map_or_else(Self::Absent, |v| Self::Hex(v.into()))
    }
    /// Why the value is absent, if it is. A time past the year 9999 is no time.
    #[must_use]
    pub fn absent(&self) -> Option<Absent> {
        match self {
            Self::Absent(why) => Some(*why),
            Self::Time(t) if !t.is_date() => Some(Absent::Implausible),
            _ => None,
        }
    }
    /// Adds the value as people read it, unguarded: absent values as their mark, cut texts with `…` and the mark, lists joined by `|`, objects as
    /// `key=value key=value`.
    pub fn write_text(&self, out: &mut String) {
        if let Some(why) = self.absent() {
            out.push_str(why.mark());
            return;
        }
        // Writing to a string cannot fail.
        let _ = match self {
            Self::Absent(_) => Ok(()),
            Self::Bool(v) => write!(out, "{v}"),
            Self::Dec(v) => write!(out, "{v}"),
            Self::Int(v) => write!(out, "{v}"),
            Self::Hex(v) => write!(out, "{v:#x}"),
            Self::Time(v) => write!(out, "{v}"),
            Self::Text(v) => {
                out.push_str(v);
                Ok(())
            }
            Self::Cut(v, why) => write!(out, "{v}…{}", why.mark()),
            Self::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if i > 0 {
                        out.push_str(if matches!(item, Self::Object(_)) { "; " } else { "|" });
                    }
                    item.write_text(out);
                }
                Ok(())
            }
            Self::Object(fields) => {
                for (i, (key, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(' ');
                    }
                    out.push_str(key);
                    out.push('=');
                    value.write_text(out);
                }
                Ok(())
            }
        };
    }
    /// Whether it or anything inside it is absent, or cut: calls `seen` with each reason.
    pub fn each_absent(&self, seen: &mut dyn FnMut(Absent)) {
        if let Some(why) = self.absent() {
            seen(why);
        }
        match self {
            Self::Cut(_, why) => seen(*why),
            Self::List(items) => items.iter().for_each(|c| c.each_absent(seen)),
            Self::Object(fields) => fields.iter().for_each(|(_, c)| c.each_absent(seen)),
            _ => {}
        }
    }
}
