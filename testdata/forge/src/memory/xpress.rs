//! Plain LZ77 of `[MS-XCA]`, the other way round: bytes to a stream.

use std::collections::BTreeMap;

/// Matches are at most this far back: thirteen bits, less one.
const FARTHEST: usize = 8192;

/// Compresses a page.
pub fn compress(bytes: &[u8]) -> Vec<u8> {
    let mut out: Vec<u8> = vec![0; 4];
    // The word of flags that is being filled, where it stands, how many it has.
    let (mut flags, mut flags_at, mut count) = (0u32, 0usize, 0u32);
    // The byte whose upper half the next long match uses.
    let mut half: Option<usize> = None;
    let mut seen: BTreeMap<[u8; 3], usize> = BTreeMap::new();
    let mut at = 0;
    while at < bytes.len() {
        if count == 32 {
            out[flags_at..flags_at + 4].copy_from_slice(&flags.to_le_bytes());
            (flags, flags_at, count) = (0, out.len(), 0);
            out.extend([0; 4]);
        }
        let three = bytes.get(at..at + 3).and_then(|b| <[u8; 3]>::try_from(b).ok());
        let from = three.and_then(|t| seen.insert(t, at)).filter(|from| at - from <= FARTHEST);
        count += 1;
        flags <<= 1;
        match from {
            None => {
                out.push(bytes[at]);
                at += 1;
            }
            Some(from) => {
                flags |= 1;
                let length = bytes[at..].iter().zip(&bytes[from..]).take_while(|(a, b)| a == b).count();
                pack(&mut out, &mut half, at - from, length);
                at += length;
            }
        }
    }
    // What is left of the last word says "match", and nothing follows.
    let rest = 32 - count;
    let last = if rest == 0 { flags } else { (flags << rest) | ((1 << rest) - 1) };
    out[flags_at..flags_at + 4].copy_from_slice(&last.to_le_bytes());
    out
}

fn pack(out: &mut Vec<u8>, half: &mut Option<usize>, distance: usize, length: usize) {
    let rest = length - 3;
    out.extend((((distance - 1) << 3 | rest.min(7)) as u16).to_le_bytes());
    if rest < 7 {
        return;
    }
    let nibble = (rest - 7).min(15) as u8;
    match half.take() {
        Some(at) => out[at] |= nibble << 4,
        None => {
            *half = Some(out.len());
            out.push(nibble);
        }
    }
    if rest - 7 < 15 {
        return;
    }
    match rest - 22 {
        more @ 0..255 => out.push(more as u8),
        _ => {
            out.push(255);
            out.extend((rest as u16).to_le_bytes());
        }
    }
}
