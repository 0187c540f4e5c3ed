//! Which physical page stands where in the file: one lookup for all containers, no per-page map.

use super::Run;
use super::bitmap::{BitRuns, Bitmap};
use crate::addr::{PAGE_SIZE, Pfn};
use crate::value::Note;

/// One past the highest page number a dump can have: x64 and ARM64 stop at 52 physical address bits.
pub const PFN_END: u64 = 1 << 40;

/// The lookup of a container.
#[derive(Debug)]
pub enum Pages {
    /// Stretches of pages.
    Runs(RunTable),
    /// One bit a page.
    Bitmap(Bitmap),
    /// No physical pages at all (triage dumps, user minidumps).
    None,
}

impl Pages {
    /// The file offset of a page that is in the file as a whole.
    #[inline]
    pub fn file(&self, map: &[u8], pfn: Pfn) -> Option<u64> {
        match self {
            Self::Runs(runs) => runs.file(pfn),
            Self::Bitmap(bits) => bits.file(map, pfn),
            Self::None => None,
        }
    }
    /// Pages in the file.
    pub fn count(&self) -> u64 {
        match self {
            Self::Runs(runs) => runs.pages,
            Self::Bitmap(bits) => bits.stored(),
            Self::None => 0,
        }
    }
    /// The highest page in the file.
    pub fn highest(&self, map: &[u8]) -> Option<Pfn> {
        match self {
            Self::Runs(runs) => runs.by_page.last().map(|r| Pfn(last_page(r))),
            Self::Bitmap(bits) => bits.highest(map).map(Pfn),
            Self::None => None,
        }
    }
    /// File offset behind the last page.
    pub fn end(&self) -> u64 {
        let of = |r: &Run| r.file.saturating_add(r.count.saturating_mul(PAGE_SIZE));
        match self {
            Self::Runs(runs) => runs.by_page.iter().map(of).max().unwrap_or(0),
            Self::Bitmap(bits) => bits.end(),
            Self::None => 0,
        }
    }
    /// All runs in file order.
    pub fn runs<'d>(&'d self, map: &'d [u8]) -> Runs<'d> {
        Runs(match self {
            Self::Runs(runs) => Inner::Table { table: runs, next: 0 },
            Self::Bitmap(bits) => Inner::Bits(bits.runs(map)),
            Self::None => Inner::Empty,
        })
    }
}

/// The whole pages of a stretch of memory that begins at `start` and lies at `file` in the file, and how many of its bytes belong to none.
pub fn whole_pages(start: u64, length: u64, file: u64) -> (Run, u64) {
    let before = start.wrapping_neg() % PAGE_SIZE;
    let count = length.saturating_sub(before) / PAGE_SIZE;
    let pfn = Pfn(start.saturating_add(before) / PAGE_SIZE);
    let run = Run { pfn, count, file: file.saturating_add(before) };
    (run, length.saturating_sub(count.saturating_mul(PAGE_SIZE)))
}

fn last_page(run: &Run) -> u64 {
    run.pfn.0.saturating_add(run.count).saturating_sub(1)
}

/// The runs of a dump, one after another.
#[derive(Debug, Clone)]
pub struct Runs<'d>(Inner<'d>);

#[derive(Debug, Clone)]
enum Inner<'d> {
    Table { table: &'d RunTable, next: usize },
    Bits(BitRuns<'d>),
    Empty,
}

impl Iterator for Runs<'_> {
    type Item = Run;
    fn next(&mut self) -> Option<Run> {
        match &mut self.0 {
            Inner::Table { table, next } => {
                let at = match &table.file_order {
                    Some(order) => *order.get(*next)? as usize,
                    None => *next,
                };
                *next = next.saturating_add(1);
                table.by_page.get(at).copied()
            }
            Inner::Bits(bits) => bits.next(),
            Inner::Empty => None,
        }
    }
}

/// Runs sorted by page number, never overlapping, all inside the file.
#[derive(Debug, Default)]
pub struct RunTable {
    by_page: Vec<Run>,
    /// Indices into `by_page` in file order, where that is another order.
    file_order: Option<Vec<u32>>,
    pages: u64,
}

impl RunTable {
    /// Takes runs in file order, as a header gave them, and keeps what the file has.
    ///
    /// # Errors
    /// A run that no memory can have.
    pub fn new(mut runs: Vec<Run>, file_length: u64, notes: &mut Vec<Note>) -> Result<Self, String> {
        for (i, r) in runs.iter().enumerate() {
            if r.pfn.0.checked_add(r.count).is_none_or(|end| end > PFN_END) {
                return Err(format!(
                    "run {i} of its memory descriptor is impossible: page {:#x}, {:#x} pages, past 52 address bits",
                    r.pfn.0, r.count
                ));
            }
        }
        let (mut missing, mut promised) = (0u64, 0u64);
        for r in &mut runs {
            promised = promised.saturating_add(r.count);
            let held = file_length.saturating_sub(r.file) / PAGE_SIZE;
            if held < r.count {
                missing = missing.saturating_add(r.count.saturating_sub(held));
                r.count = held;
            }
        }
        note_missing(missing, promised, &format!(" in {} runs", runs.len()), file_length, notes);
        runs.retain(|r| r.count > 0);
        runs.sort_by_key(|r| (r.file, r.pfn));
        let mut runs = without_aliases(runs, notes);
        runs.sort_by_key(|r| (r.pfn, r.file));
        let runs = without_overlaps(runs, notes);
        let pages = runs.iter().fold(0u64, |sum, r| sum.saturating_add(r.count));
        let file_order = (!runs.is_sorted_by_key(|r| r.file)).then(|| {
            let mut order: Vec<u32> = (0..u32::try_from(runs.len()).unwrap_or(u32::MAX)).collect();
            order.sort_by_key(|i| runs.get(*i as usize).map(|r| r.file));
            order
        });
        Ok(Self { by_page: runs, file_order, pages })
    }
    /// The file offset of a page.
    #[inline]
    pub fn file(&self, pfn: Pfn) -> Option<u64> {
        let after = self.by_page.partition_point(|r| r.pfn <= pfn);
        let run = self.by_page.get(after.checked_sub(1)?)?;
        let inside = pfn.0.checked_sub(run.pfn.0)?;
        (inside < run.count).then(|| run.file.saturating_add(inside.saturating_mul(PAGE_SIZE)))
    }
}

/// Says how much of the memory a file promises it does not have; `parts` says in how many parts that memory lies.
pub fn note_missing(missing: u64, promised: u64, parts: &str, file_length: u64, notes: &mut Vec<Note>) {
    if missing > 0 {
        notes.push(Note::loss(format!(
            "the dump is truncated: {missing} of {promised} pages{parts} lie past the end of the file ({file_length} bytes)"
        )));
    }
}

/// Bytes of the file that stand for two places in memory are those of the first: else a few headers make terabytes of a small file.
fn without_aliases(in_file: Vec<Run>, notes: &mut Vec<Note>) -> Vec<Run> {
    let (mut end, mut dropped) = (0u64, 0u64);
    let keep = |mut run: Run| {
        let again = end.saturating_sub(run.file).div_ceil(PAGE_SIZE).min(run.count);
        dropped = dropped.saturating_add(again);
        run.pfn.0 = run.pfn.0.saturating_add(again);
        run.file = run.file.saturating_add(again.saturating_mul(PAGE_SIZE));
        run.count = run.count.saturating_sub(again);
        end = end.max(run.file.saturating_add(run.count.saturating_mul(PAGE_SIZE)));
        (run.count > 0).then_some(run)
    };
    let kept = in_file.into_iter().filter_map(keep).collect();
    if dropped > 0 {
        notes.push(Note::loss(format!(
            "{dropped} pages of the memory descriptor lie in the file where other pages do: they are not read"
        )));
    }
    kept
}

/// Where two runs claim one page, the one with the lower start keeps it.
fn without_overlaps(sorted: Vec<Run>, notes: &mut Vec<Note>) -> Vec<Run> {
    let mut kept: Vec<Run> = Vec::with_capacity(sorted.len());
    let mut end = 0u64;
    let (mut twice, mut first) = (0u64, None);
    for mut run in sorted {
        let claimed = end.saturating_sub(run.pfn.0).min(run.count);
        if claimed > 0 {
            twice = twice.saturating_add(claimed);
            first.get_or_insert(run.pfn.0);
            run.pfn.0 = run.pfn.0.saturating_add(claimed);
            run.file = run.file.saturating_add(claimed.saturating_mul(PAGE_SIZE));
            run.count = run.count.saturating_sub(claimed);
        }
        if run.count > 0 {
            end = run.pfn.0.saturating_add(run.count);
            kept.push(run);
        }
    }
    if let Some(page) = first {
        notes.push(Note::loss(format!(
            "runs of the memory descriptor overlap: {twice} pages from page {page:#x} on are in the file twice; the copy of the run that starts lower is used"
        )));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pfn: u64, count: u64, file: u64) -> Run {
        Run { pfn: Pfn(pfn), count, file }
    }
    #[test]
    fn bytes_of_the_file_stand_for_one_place() {
        let (table, notes) = table(&[run(0, 4, 0x1000), run(0x100, 4, 0x2800), run(0x200, 2, 0x1000)], 1 << 20);
        assert_eq!(table.pages, 4 + 1);
        assert_eq!(
            (table.file(Pfn(0)), table.file(Pfn(0x103)), table.file(Pfn(0x201))),
            (Some(0x1000), Some(0x5800), None)
        );
        assert!(notes[0].loss && notes[0].text.starts_with("5 pages"), "{notes:?}");
    }
    fn table(runs: &[Run], len: u64) -> (RunTable, Vec<Note>) {
        let mut notes = Vec::new();
        (RunTable::new(runs.to_vec(), len, &mut notes).unwrap(), notes)
    }

    #[test]
    fn runs_with_holes() {
        let (t, notes) = table(&[run(1, 2, 0x2000), run(0x100, 1, 0x4000)], 0x5000);
        assert_eq!(t.file(Pfn(0)), None);
        assert_eq!(t.file(Pfn(1)), Some(0x2000));
        assert_eq!(t.file(Pfn(2)), Some(0x3000));
        assert_eq!(t.file(Pfn(3)), None);
        assert_eq!(t.file(Pfn(0x100)), Some(0x4000));
        assert_eq!(t.file(Pfn(0x101)), None);
        assert_eq!(t.file(Pfn(u64::MAX)), None);
        assert!(notes.is_empty());
    }
    #[test]
    fn a_run_past_the_end_keeps_the_pages_there_are() {
        let (t, notes) = table(&[run(0, 2, 0x2000), run(8, 4, 0x4000)], 0x5fff);
        assert_eq!(t.file(Pfn(8)), Some(0x4000));
        assert_eq!(t.file(Pfn(9)), None, "half a page is no page");
        assert!(notes[0].loss && notes[0].text.contains("3 of 6 pages"), "{notes:?}");
    }
    #[test]
    fn out_of_order_and_overlapping_runs() {
        let (t, notes) = table(&[run(8, 4, 0x1000), run(2, 8, 0x5000)], 0x100_0000);
        assert_eq!(t.file(Pfn(2)), Some(0x5000));
        assert_eq!(t.file(Pfn(9)), Some(0xc000));
        assert_eq!(t.file(Pfn(10)), Some(0x3000));
        assert!(notes[0].loss && notes[0].text.contains("overlap"), "{notes:?}");
        let pages = Pages::Runs(t);
        assert_eq!(pages.runs(&[]).map(|r| r.file).collect::<Vec<_>>(), [0x3000, 0x5000], "file order");
        assert_eq!(pages.count(), 10);
        assert_eq!(pages.highest(&[]), Some(Pfn(11)));
    }
    #[test]
    fn impossible_runs_are_refused() {
        for bad in [run(u64::MAX, 2, 0), run(PFN_END, 1, 0), run(0, u64::MAX, 0)] {
            let why = RunTable::new(vec![bad], 0x10000, &mut Vec::new()).unwrap_err();
            assert!(why.contains("impossible"), "{why}");
        }
    }
}
