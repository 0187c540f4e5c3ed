//! What a bug-check code and its four parameters mean: a table of lines (`codes.txt`, which says how it is written) and the
//! few lines of code that read it.

mod table;

use crate::dump::Arch;
use crate::kernel::context::status_name;

/// Where a bug check happened: what some parameters mean depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// The processor, where known.
    pub arch: Option<Arch>,
    /// The build number, where known.
    pub build: Option<u32>,
}

/// Whether a code is one of crashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The machine stopped.
    Crash,
    /// Nothing crashed: Windows wrote a live dump and ran on.
    Live,
    /// The code is used for both.
    Either,
}

/// What kind of value a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Any.
    Plain,
    /// The address of the code that did what is complained of: the best witness there is.
    Code,
    /// An address inside the driver concerned.
    Driver,
    /// An NTSTATUS.
    Status,
    /// A pool tag.
    Tag,
    /// An interrupt request level.
    Irql,
    /// The address of a process.
    Process,
}

/// What one parameter holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// What it is; `None` where it is reserved or nothing is documented.
    pub meaning: Option<&'static str>,
    /// What kind of value.
    pub kind: Kind,
    /// What this value says.
    pub says: Option<String>,
}

/// One bug check, explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bugcheck {
    /// Its name in Microsoft's reference.
    pub name: &'static str,
    /// What happened, in a sentence; `None` where no more than the name is in the table.
    pub about: Option<&'static str>,
    /// Whether it is a crash.
    pub life: Life,
    /// Why no driver is to blame, where none is.
    pub no_driver: Option<&'static str>,
    /// What its parameters hold.
    pub parameters: [Parameter; 4],
}

/// Bit 28 marks a dump that keeps little (`0x1000007E` in a triage dump is `0x7E`).
const SMALL_DUMP: u32 = 0x1000_0000;

/// The name of a code.
#[must_use]
pub fn name(code: u32) -> Option<&'static str> {
    let without_mark = || table::block(code ^ SMALL_DUMP).filter(|_| code & SMALL_DUMP != 0);
    table::block(code).or_else(without_mark).map(|b| b.name)
}

/// What a bug check with these parameters means on this machine; `None` of a code the table does not have.
#[must_use]
pub fn explain(code: u32, values: [u64; 4], machine: Machine) -> Option<Bugcheck> {
    // A marked code may have a name of its own; what it means is under the code itself.
    let plain = table::block(code & !SMALL_DUMP);
    let block = plain.or_else(|| table::block(code))?;
    let mut explained = block.explain(values, machine);
    explained.name = name(code)?;
    for (parameter, value) in explained.parameters.iter_mut().zip(values) {
        parameter.says = parameter.says.take().or_else(|| word(parameter.kind, value));
    }
    Some(explained)
}

/// What the value alone says by its kind.
fn word(kind: Kind, value: u64) -> Option<String> {
    match kind {
        Kind::Status => status_name(low(value)).map(str::to_owned),
        // Levels 0 to 2 are the same on every processor (wdm.h).
        Kind::Irql => match value {
            0 => Some("PASSIVE_LEVEL".into()),
            1 => Some("APC_LEVEL".into()),
            2 => Some("DISPATCH_LEVEL".into()),
            _ => None,
        },
        Kind::Tag => tag(value),
        _ => None,
    }
}

/// The low half: status codes are sign-extended on 64-bit machines.
fn low(value: u64) -> u32 {
    u32::try_from(value & 0xffff_ffff).unwrap_or_default()
}

/// Four printable letters.
fn tag(value: u64) -> Option<String> {
    let letters = u32::try_from(value).ok()?.to_le_bytes();
    let printable = letters.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
    printable.then(|| format!("'{}'", String::from_utf8_lossy(&letters)))
}

#[cfg(test)]
mod tests;
