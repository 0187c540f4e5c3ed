//! The machine's physical pages: which page frames exist, which are used, and for what.

use std::collections::BTreeMap;

use super::PAGE;
use crate::rng::Rng;

/// What a page holds; a kernel-only dump keeps the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A page table of any level.
    Table,
    /// Mapped in the kernel half.
    Kernel,
    /// Mapped in user space only, or by nothing.
    User,
}

/// Page frames that exist: runs of (first frame, count), and how each is given out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// All runs, ascending.
    pub runs: Vec<(u64, u64)>,
    /// Frames only given out by name (the kernel's PML4, the low stub, large pages).
    pub reserved: Vec<(u64, u64)>,
    /// Frames for the top tables of other processes than System.
    pub tops: std::ops::Range<u64>,
}

impl Plan {
    fn is_reserved(&self, frame: u64) -> bool {
        self.reserved.iter().any(|(first, n)| frame >= *first && frame < first + n)
    }
}

/// Physical memory.
#[derive(Clone)]
pub struct Physical {
    /// Which frames exist.
    pub plan: Plan,
    free: Vec<u64>,
    pages: BTreeMap<u64, (Use, Vec<u8>)>,
}

impl Physical {
    /// Empty memory; frames will be given out scattered over all runs.
    pub fn new(plan: Plan, rng: &mut Rng) -> Physical {
        let all = plan.runs.iter().flat_map(|(first, n)| *first..first + n);
        let mut free: Vec<u64> = all.filter(|f| !plan.is_reserved(*f)).collect();
        rng.shuffle(&mut free);
        Physical { plan, free, pages: BTreeMap::new() }
    }

    /// Takes any free frame.
    ///
    /// # Panics
    /// When memory is full: the plan is too small.
    pub fn take(&mut self, kind: Use) -> u64 {
        let frame = self.free.pop().expect("physical memory is full");
        self.claim(frame, kind);
        frame
    }

    /// Takes a free frame for a top table: above the first megabytes, as only the System process's lies where tools look for
    /// it first, and on PAE below 4 GB, as CR3 has 32 bits.
    ///
    /// # Panics
    /// When memory is full.
    pub fn take_high(&mut self, kind: Use) -> u64 {
        let at = self.free.iter().rposition(|f| self.plan.tops.contains(f)).expect("physical memory is full");
        let frame = self.free.remove(at);
        self.claim(frame, kind);
        frame
    }

    /// Takes a reserved frame.
    ///
    /// # Panics
    /// When it does not exist or is taken.
    pub fn claim(&mut self, frame: u64, kind: Use) {
        assert!(self.exists(frame), "frame {frame:#x} is in no run");
        let old = self.pages.insert(frame, (kind, vec![0; PAGE as usize]));
        assert!(old.is_none(), "frame {frame:#x} is taken");
    }

    /// Whether the frame is in a run.
    pub fn exists(&self, frame: u64) -> bool {
        self.plan.runs.iter().any(|(first, n)| frame >= *first && frame < first + n)
    }

    /// Whether the frame was taken.
    pub fn taken(&self, frame: u64) -> bool {
        self.pages.contains_key(&frame)
    }

    /// A page's bytes, to change.
    ///
    /// # Panics
    /// When the frame was never taken.
    pub fn page_mut(&mut self, frame: u64) -> &mut [u8] {
        &mut self.pages.get_mut(&frame).unwrap_or_else(|| panic!("frame {frame:#x} is not in use")).1
    }

    /// A page's bytes: zero for a frame not in use.
    pub fn page(&self, frame: u64) -> &[u8] {
        const ZERO: [u8; PAGE as usize] = [0; PAGE as usize];
        self.pages.get(&frame).map_or(&ZERO, |p| &p.1)
    }

    /// What the frame holds, if it was taken.
    pub fn usage(&self, frame: u64) -> Option<Use> {
        self.pages.get(&frame).map(|p| p.0)
    }

    /// A 64-bit number in a page.
    pub fn u64_at(&self, frame: u64, index: u64) -> u64 {
        let at = index as usize * 8;
        u64::from_le_bytes(self.page(frame)[at..at + 8].try_into().expect("eight bytes"))
    }

    /// Sets a 64-bit number in a page.
    pub fn set_u64(&mut self, frame: u64, index: u64, value: u64) {
        let at = index as usize * 8;
        self.page_mut(frame)[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// Frames taken so far that came from the general pool.
    pub fn used(&self) -> u64 {
        self.pages.keys().filter(|f| !self.plan.is_reserved(**f)).count() as u64
    }
}
