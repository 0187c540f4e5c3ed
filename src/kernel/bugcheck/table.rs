//! Reads `codes.txt`. The file's head says how a line is written; a line that is written otherwise fails a test.

use super::{Bugcheck, Kind, Life, Machine, Parameter};
use crate::dump::Arch;

static CODES: &str = include_str!("codes.txt");

/// The lines of one code.
#[derive(Clone, Copy)]
pub(super) struct Block {
    /// The code's name.
    pub name: &'static str,
    lines: &'static str,
}

/// One line below a code's head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// `live` or `either`.
    Life(Life),
    /// `about TEXT`.
    About(&'static str),
    /// `no-driver TEXT`.
    NoDriver(&'static str),
    /// `N TEXT`: index of the parameter, from 0.
    Meaning(usize, Kind, &'static str),
    /// `N=VALUE TEXT` or `N&MASK TEXT`.
    Says(usize, Fits, Where, &'static str),
    /// `> N TEXT`.
    While(usize, Kind, &'static str),
}

/// The values a line is about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fits {
    /// Any of these ranges, both ends included.
    Values(Vec<(u64, u64)>),
    /// These bits are set.
    Bits(u64),
}

/// The machines a line is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Where {
    arches: Vec<Arch>,
    from: Option<u32>,
    to: Option<u32>,
}

/// The lines of a code.
pub(super) fn block(code: u32) -> Option<Block> {
    blocks().find_map(|(c, block)| (c == code).then_some(block))
}

/// Every code and its lines, in the order of the file.
pub(super) fn blocks() -> impl Iterator<Item = (u32, Block)> {
    CODES.split("\ncode ").skip(1).filter_map(|text| {
        let (head, lines) = text.split_once('\n')?;
        let (code, name) = head.split_once(' ')?;
        Some((u32::try_from(number(code)?).ok()?, Block { name, lines }))
    })
}

impl Block {
    /// Its lines, `Err` of one that cannot be read.
    pub(super) fn lines(self) -> impl Iterator<Item = Result<Line, &'static str>> {
        let written = self.lines.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
        written.map(|text| line(text).ok_or(text))
    }
    /// What it says of these values on this machine.
    pub(super) fn explain(self, values: [u64; 4], machine: Machine) -> Bugcheck {
        let nothing = Parameter { meaning: None, kind: Kind::Plain, says: None };
        let parameters = [(); 4].map(|()| nothing.clone());
        let mut out = Bugcheck { name: self.name, about: None, life: Life::Crash, no_driver: None, parameters };
        let mut fitting = false;
        for line in self.lines().flatten() {
            match line {
                Line::Life(life) => out.life = life,
                Line::About(text) => out.about = Some(text),
                Line::NoDriver(why) => out.no_driver = Some(why),
                Line::Meaning(i, kind, text) => set(&mut out, i, kind, text),
                Line::While(i, kind, text) if fitting => set(&mut out, i, kind, text),
                Line::While(..) => {}
                Line::Says(i, fits, place, text) => {
                    let value = values.get(i).copied();
                    fitting = place.has(machine) && value.is_some_and(|v| fits.has(v));
                    let said = out.parameters.get_mut(i).filter(|p| fitting && p.says.is_none());
                    if let Some(parameter) = said {
                        parameter.says = Some(text.to_owned());
                    }
                }
            }
        }
        out
    }
}

fn set(out: &mut Bugcheck, i: usize, kind: Kind, text: &'static str) {
    if let Some(parameter) = out.parameters.get_mut(i) {
        parameter.meaning = Some(text);
        parameter.kind = kind;
    }
}

impl Fits {
    fn has(&self, value: u64) -> bool {
        match self {
            Self::Values(ranges) => ranges.iter().any(|(from, to)| (*from..=*to).contains(&value)),
            Self::Bits(mask) => value & mask == *mask,
        }
    }
}

impl Where {
    /// A line for some machines says nothing of one that is not known.
    fn has(&self, machine: Machine) -> bool {
        let arch = self.arches.is_empty() || machine.arch.is_some_and(|a| self.arches.contains(&a));
        let build = |fits: &dyn Fn(u32) -> bool| machine.build.is_some_and(fits);
        arch && self.from.is_none_or(|from| build(&|b| b >= from)) && self.to.is_none_or(|to| build(&|b| b <= to))
    }
}

fn line(text: &'static str) -> Option<Line> {
    match text {
        "live" => return Some(Line::Life(Life::Live)),
        "either" => return Some(Line::Life(Life::Either)),
        _ => {}
    }
    if let Some(about) = text.strip_prefix("about ") {
        return Some(Line::About(about));
    }
    if let Some(why) = text.strip_prefix("no-driver ") {
        return Some(Line::NoDriver(why));
    }
    if let Some(rest) = text.strip_prefix("> ") {
        let (i, kind, text) = meaning(rest)?;
        return Some(Line::While(i, kind, text));
    }
    let (head, text) = text.split_once(' ')?;
    if head.len() == 1 {
        let i = index(head)?;
        let (kind, text) = kind(text)?;
        return Some(Line::Meaning(i, kind, text));
    }
    let (i, rest) = head.split_at_checked(1)?;
    let fits = match rest.split_at_checked(1)? {
        ("=", values) => Fits::Values(values.split(',').map(range).collect::<Option<_>>()?),
        ("&", mask) => Fits::Bits(number(mask)?),
        _ => return None,
    };
    let (text, place) = place(text)?;
    Some(Line::Says(index(i)?, fits, place, text))
}

/// `N TEXT` or `N (KIND) TEXT`.
fn meaning(text: &'static str) -> Option<(usize, Kind, &'static str)> {
    let (i, text) = text.split_once(' ')?;
    let (kind, text) = kind(text)?;
    Some((index(i)?, kind, text))
}

fn kind(text: &'static str) -> Option<(Kind, &'static str)> {
    let Some((word, rest)) = text.strip_prefix('(').and_then(|t| t.split_once(") ")) else {
        return Some((Kind::Plain, text));
    };
    let kind = match word {
        "code" => Kind::Code,
        "driver" => Kind::Driver,
        "status" => Kind::Status,
        "tag" => Kind::Tag,
        "irql" => Kind::Irql,
        "process" => Kind::Process,
        _ => return None,
    };
    Some((kind, rest))
}

/// The machines at the end of a line: `[x64 x86 10240-]`.
fn place(text: &'static str) -> Option<(&'static str, Where)> {
    let Some((text, words)) = text.strip_suffix(']').and_then(|t| t.rsplit_once(" [")) else {
        return Some((text, Where::default()));
    };
    let mut place = Where::default();
    for word in words.split(' ') {
        match word {
            "x86" => place.arches.push(Arch::X86),
            "x64" => place.arches.push(Arch::X64),
            "arm64" => place.arches.push(Arch::Arm64),
            _ => match (word.strip_prefix('-'), word.strip_suffix('-')) {
                (Some(to), _) => place.to = Some(to.parse().ok()?),
                (_, Some(from)) => place.from = Some(from.parse().ok()?),
                _ => return None,
            },
        }
    }
    Some((text, place))
}

/// The index of parameter 1 to 4.
fn index(text: &str) -> Option<usize> {
    let n: usize = text.parse().ok()?;
    n.checked_sub(1).filter(|i| *i < 4)
}

fn range(text: &str) -> Option<(u64, u64)> {
    match text.split_once('-') {
        Some((from, to)) => Some((number(from)?, number(to)?)),
        None => number(text).map(|n| (n, n)),
    }
}

fn number(text: &str) -> Option<u64> {
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}
