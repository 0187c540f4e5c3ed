//! The scan of physical memory against a plain read pass over the same mapped file with the same threads.
//!
//! `readpass DUMP [ROUNDS]`: in turn, the sum of all words of the file, and the sweep for every kind of object; the least time
//! of the rounds of each, at one thread and at as many as the machine has. Run it twice where the file was not in memory.

use dumpwalk::dump::Dump;
use dumpwalk::kernel::scan::sweep::{Chunk, Pattern, Wanted, sweep};
use dumpwalk::kernel::scan::tags::{Kind, Tag, TagSet};
use rayon::prelude::*;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes a task takes at once: those of the sweep's.
const PIECE: usize = 4 << 20;

fn sum(bytes: &[u8]) -> u64 {
    let piece =
        |p: &[u8]| p.as_chunks::<8>().0.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    bytes.par_chunks(PIECE).map(piece).reduce(|| 0, u64::wrapping_add)
}

fn wanted() -> Wanted {
    let tags = Kind::ALL.iter().flat_map(|k| k.tags()).filter_map(|t| Tag::parse(t));
    let object = |kind| Pattern { kind, wait_list: 8, pointer: 8 };
    Wanted { unit: 16, tag_offset: 4, tags: TagSet::new(tags).expect("few tags"), patterns: vec![object(3), object(6)] }
}

/// A chunk's candidates.
fn count(chunk: &Chunk<'_>) -> usize {
    let mut n = 0;
    chunk.each(|_| n += 1);
    n
}

fn main() {
    let mut words = std::env::args().skip(1);
    let path = words.next().expect("readpass DUMP [ROUNDS]");
    let rounds: u32 = words.next().map_or(5, |n| n.parse().expect("a number of rounds"));
    let dump = Dump::open(Path::new(&path)).expect("the dump opens");
    let wanted = wanted();
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    println!("| threads | read GiB/s | scan GiB/s | scan / read | candidates |\n|---:|---:|---:|---:|---:|");
    for threads in if most > 1 { vec![1, most] } else { vec![1] } {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        let (mut read, mut scan, mut found) = (Duration::MAX, Duration::MAX, 0);
        for _ in 0..rounds {
            let start = Instant::now();
            black_box(pool.install(|| sum(dump.map())));
            read = read.min(start.elapsed());
            let start = Instant::now();
            found = pool.install(|| sweep(&dump, &wanted, &|_| {}, &count)).iter().sum::<usize>();
            scan = scan.min(start.elapsed());
        }
        let speed = |time: Duration| dump.len() as f64 / (1u64 << 30) as f64 / time.as_secs_f64();
        let ratio = read.as_secs_f64() / scan.as_secs_f64();
        println!("| {threads} | {:.2} | {:.2} | {:.0} % | {found} |", speed(read), speed(scan), 100.0 * ratio);
    }
}
