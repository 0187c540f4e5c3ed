//! SMBIOS tables: what machine it is, and its firmware. As `GetSystemFirmwareTable('RSMB')` hands them out: four bytes of version,
//! the length, then structures (DMTF DSP0134: type, length, handle, fields; then strings, each ended by a zero, all by another).

use crate::bytes::u32_at;
use std::borrow::Cow;

/// More structures than any machine has.
const MOST_STRUCTURES: usize = 4096;

/// What is told of the machine, each where the firmware fills it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Smbios {
    /// Version of the tables: `3.1`.
    pub version: String,
    /// Who made the machine.
    pub manufacturer: Option<String>,
    /// Its product name.
    pub product: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Who made the board.
    pub board_manufacturer: Option<String>,
    /// The board's product name.
    pub board: Option<String>,
    /// Who made the BIOS.
    pub bios_vendor: Option<String>,
    /// Its version.
    pub bios_version: Option<String>,
    /// Its date, as it is written there.
    pub bios_date: Option<String>,
}

/// One structure: its formatted part and what follows it.
struct Structure<'d> {
    kind: u8,
    fields: &'d [u8],
    strings: &'d [u8],
}

impl Smbios {
    /// Reads them; `None` where these bytes are no SMBIOS tables.
    #[must_use]
    pub fn read(data: &[u8]) -> Option<Self> {
        let [_, major, minor, ..] = *data else { return None };
        let length = usize::try_from(u32_at(data, 4)?).ok()?;
        let tables = data.get(8..8usize.checked_add(length)?)?;
        let mut out = Self { version: format!("{major}.{minor}"), ..Self::default() };
        let mut found = false;
        for s in structures(tables) {
            found = true;
            // Fields of DSP0134: 7.1 BIOS, 7.2 system, 7.3 baseboard; of several structures of a type the first counts.
            match s.kind {
                0 if out.bios_vendor.is_none() => {
                    (out.bios_vendor, out.bios_version, out.bios_date) = (s.text(4), s.text(5), s.text(8));
                }
                1 if out.manufacturer.is_none() => {
                    (out.manufacturer, out.product, out.serial) = (s.text(4), s.text(5), s.text(7));
                }
                2 if out.board_manufacturer.is_none() => {
                    (out.board_manufacturer, out.board) = (s.text(4), s.text(5));
                }
                _ => {}
            }
        }
        found.then_some(out)
    }
}

/// The structures up to the end mark (type 127), or to one that cannot be.
fn structures(tables: &[u8]) -> impl Iterator<Item = Structure<'_>> {
    let mut rest = Some(tables);
    std::iter::from_fn(move || {
        let bytes = rest.take()?;
        let [kind, length, ..] = *bytes else { return None };
        // The head alone has four bytes.
        let (fields, after) = bytes.split_at_checked(usize::from(length)).filter(|_| length >= 4 && kind != 127)?;
        let end = after.windows(2).position(|w| w == [0, 0])?;
        let (strings, next) = after.split_at_checked(end.checked_add(2)?)?;
        rest = Some(next);
        Some(Structure { kind, fields, strings })
    })
    .take(MOST_STRUCTURES)
}

impl Structure<'_> {
    /// The string whose number stands at this offset; numbers begin at 1, and 0 is no string.
    fn text(&self, at: usize) -> Option<String> {
        let number = usize::from(*self.fields.get(at)?).checked_sub(1)?;
        let raw = self.strings.split(|b| *b == 0).nth(number)?;
        let text: Cow<'_, str> = String::from_utf8_lossy(raw);
        let text = text.trim();
        (!text.is_empty()).then(|| text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(kind: u8, fields: &[u8], strings: &[&str]) -> Vec<u8> {
        let mut out = vec![kind, 4 + fields.len() as u8, kind, 0];
        out.extend(fields);
        strings.iter().for_each(|s| out.extend(s.bytes().chain([0])));
        if strings.is_empty() {
            out.push(0);
        }
        out.push(0);
        out
    }
    fn tables(structures: &[Vec<u8>]) -> Vec<u8> {
        let body = structures.concat();
        let mut out = vec![0, 3, 1, 0];
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(body);
        out
    }

    #[test]
    fn machine_board_and_bios() {
        let data = tables(&[
            structure(7, &[1, 2, 3], &["L1 Cache"]),
            structure(0, &[1, 2, 0, 0xf0, 3], &["Forge Firmware", " 1.07 ", "05/06/2021"]),
            structure(1, &[1, 2, 3, 4], &["Forge Works", "Anvil 7", "rev", "S/N 42"]),
            structure(2, &[1, 0], &["Board Works"]),
            structure(1, &[1, 1, 0, 0], &["another"]),
            structure(127, &[], &[]),
            structure(2, &[1, 1], &["behind the end"]),
        ]);
        let s = Smbios::read(&data).unwrap();
        assert_eq!((s.version.as_str(), s.bios_vendor.as_deref()), ("3.1", Some("Forge Firmware")));
        assert_eq!((s.bios_version.as_deref(), s.bios_date.as_deref()), (Some("1.07"), Some("05/06/2021")));
        assert_eq!((s.manufacturer.as_deref(), s.product.as_deref()), (Some("Forge Works"), Some("Anvil 7")));
        assert_eq!((s.serial.as_deref(), s.board_manufacturer.as_deref()), (Some("S/N 42"), Some("Board Works")));
        assert_eq!(s.board, None, "string 0 is none");
    }
    #[test]
    fn what_is_no_table_is_not_one() {
        assert_eq!(Smbios::read(b""), None);
        assert_eq!(Smbios::read(&[0; 64]), None);
        assert_eq!(Smbios::read(&[0xff; 64]), None);
        let mut data = tables(&[structure(1, &[1, 2, 0, 0], &["a", "b"])]);
        data.truncate(data.len() - 1);
        assert_eq!(Smbios::read(&data), None, "shorter than it says");
        let wild = tables(&[vec![1, 3, 0, 0, 0, 0], vec![9; 40]]);
        assert_eq!(Smbios::read(&wild), None);
        let far = tables(&[structure(1, &[9, 200, 0, 0], &["only one"])]);
        assert_eq!(Smbios::read(&far).unwrap().manufacturer, None);
    }
}
