//! CodeView type records, byte by byte.
//!
//! Source: Microsoft's `cvinfo.h` (microsoft/microsoft-pdb) and LLVM's `CodeView` documentation.

/// Appends records; each gets the next type index.
#[derive(Default)]
pub struct Records {
    /// All records one after the other.
    pub bytes: Vec<u8>,
    count: u32,
}

/// First index that is not a base type.
const FIRST: u32 = 0x1000;
/// Public member.
const PUBLIC: u16 = 3;
/// Class property: this is a forward reference.
const FORWARD: u16 = 0x80;

impl Records {
    fn push(&mut self, kind: u16, mut body: Vec<u8>) -> u32 {
        pad(&mut body); // length and kind before it are 4 bytes
        let len = u16::try_from(body.len() + 2).expect("record too long");
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(body);
        self.count += 1;
        FIRST + self.count - 1
    }

    /// `LF_POINTER`, 64 or 32 bits wide.
    pub fn pointer(&mut self, to: u32, size: u64) -> u32 {
        let attributes: u32 = if size == 8 { 0xC | 8 << 13 } else { 0xA | 4 << 13 };
        self.push(0x1002, [to.to_le_bytes(), attributes.to_le_bytes()].concat())
    }

    /// `LF_ARRAY`; `size` is that of the whole array.
    pub fn array(&mut self, of: u32, index: u32, size: u64) -> u32 {
        let mut body = [of.to_le_bytes(), index.to_le_bytes()].concat();
        number(&mut body, size as i64);
        body.push(0);
        self.push(0x1503, body)
    }

    /// `LF_BITFIELD`.
    pub fn bits(&mut self, of: u32, pos: u8, len: u8) -> u32 {
        let mut body = of.to_le_bytes().to_vec();
        body.extend([len, pos]);
        self.push(0x1205, body)
    }

    /// `LF_PROCEDURE` of a function that takes nothing and gives nothing: all a layout table knows of functions.
    pub fn procedure(&mut self) -> u32 {
        let none = self.push(0x1201, 0u32.to_le_bytes().to_vec());
        let mut body = 3u32.to_le_bytes().to_vec(); // void
        body.extend([0, 0, 0, 0]); // near C, no attributes, no parameters
        body.extend(none.to_le_bytes());
        self.push(0x1008, body)
    }

    /// Forward reference to a structure or union.
    pub fn forward(&mut self, union: bool, name: &str) -> u32 {
        self.class(union, name, 0, 0, 0, FORWARD)
    }

    /// A structure or union with its members.
    pub fn class(&mut self, union: bool, name: &str, members: u16, list: u32, size: u64, properties: u16) -> u32 {
        let mut body = members.to_le_bytes().to_vec();
        body.extend(properties.to_le_bytes());
        body.extend(list.to_le_bytes());
        if !union {
            body.extend([0; 8]); // derived from nothing, no virtual table
        }
        number(&mut body, size as i64);
        text(&mut body, name);
        self.push(if union { 0x1506 } else { 0x1505 }, body)
    }

    /// `LF_ENUM`.
    pub fn enumeration(&mut self, name: &str, values: u16, list: u32, base: u32) -> u32 {
        let mut body = values.to_le_bytes().to_vec();
        body.extend([0, 0]);
        body.extend(base.to_le_bytes());
        body.extend(list.to_le_bytes());
        text(&mut body, name);
        self.push(0x1507, body)
    }

    /// `LF_FIELDLIST` of the given sub-records; a list over 64 KB goes on in another record through `LF_INDEX`.
    pub fn list(&mut self, items: &[Vec<u8>]) -> u32 {
        let mut rest: Option<u32> = None;
        let mut end = items.len();
        loop {
            let mut start = end;
            let mut size = 0;
            while start > 0 && size + items[start - 1].len() < 0xF000 {
                start -= 1;
                size += items[start].len();
            }
            let mut body: Vec<u8> = items[start..end].concat();
            if let Some(next) = rest {
                body.extend([0x04, 0x14, 0, 0]);
                body.extend(next.to_le_bytes());
            }
            let index = self.push(0x1203, body);
            if start == 0 {
                return index;
            }
            (rest, end) = (Some(index), start);
        }
    }
}

/// `LF_MEMBER` sub-record.
pub fn member(ty: u32, offset: u64, name: &str) -> Vec<u8> {
    let mut out = vec![0x0d, 0x15];
    out.extend(PUBLIC.to_le_bytes());
    out.extend(ty.to_le_bytes());
    number(&mut out, offset as i64);
    text(&mut out, name);
    pad(&mut out);
    out
}

/// `LF_ENUMERATE` sub-record.
pub fn enumerator(value: i64, name: &str) -> Vec<u8> {
    let mut out = vec![0x02, 0x15];
    out.extend(PUBLIC.to_le_bytes());
    number(&mut out, value);
    text(&mut out, name);
    pad(&mut out);
    out
}

/// A numeric leaf: small numbers stand for themselves, others after the number of their kind.
fn number(out: &mut Vec<u8>, v: i64) {
    if (0..0x8000).contains(&v) {
        out.extend((v as u16).to_le_bytes());
    } else if let Ok(v) = u16::try_from(v) {
        out.extend([0x02, 0x80]);
        out.extend(v.to_le_bytes());
    } else if let Ok(v) = u32::try_from(v) {
        // Sizes are unsigned to readers that are strict.
        out.extend([0x04, 0x80]);
        out.extend(v.to_le_bytes());
    } else if let Ok(v) = i32::try_from(v) {
        out.extend([0x03, 0x80]);
        out.extend(v.to_le_bytes());
    } else {
        out.extend([0x09, 0x80]);
        out.extend(v.to_le_bytes());
    }
}

fn text(out: &mut Vec<u8>, s: &str) {
    out.extend(s.as_bytes());
    out.push(0);
}

/// Pads to a multiple of 4 with the bytes F3 F2 F1, which say how many are left.
fn pad(out: &mut Vec<u8>) {
    for left in (1..=(4 - out.len() % 4) % 4).rev() {
        out.push(0xF0 | left as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_record_is_what_the_compiler_writes() {
        let mut r = Records::default();
        assert_eq!(r.pointer(0x1001, 8), 0x1000);
        assert_eq!(r.bytes, [10, 0, 0x02, 0x10, 0x01, 0x10, 0, 0, 0x0C, 0, 1, 0]);
    }

    #[test]
    fn sub_records_are_padded_to_four() {
        assert_eq!(member(0x22, 8, "Ab").len() % 4, 0);
        assert_eq!(&member(0x22, 8, "A")[10..], [b'A', 0]);
        assert_eq!(&enumerator(-1, "X")[4..8], [0x03, 0x80, 0xFF, 0xFF]);
    }

    #[test]
    fn long_lists_are_chained_backwards() {
        let mut r = Records::default();
        let items: Vec<_> = (0..3000).map(|i| member(0x22, i, &format!("Member{i:030}"))).collect();
        assert!(r.list(&items) > 0x1000);
    }
}
