//! A crash as it is told by `crashinfo` and `triage`: what is gathered of it once.

use super::code::Location;
use super::{Case, modules};
use crate::addr::Va;
use crate::dump::Header;
use crate::kernel::bugcheck::{self, Bugcheck, Life, Machine};
use crate::kernel::module::Modules;
use crate::kernel::stack::crash::{self, CrashStack};
use crate::kernel::unloaded::Unloaded;
use crate::report::Cell;
use crate::value::{Absent, Value};

/// What a dump says of its crash.
pub struct Crash<'c> {
    /// The dump.
    pub case: &'c Case,
    /// Its header.
    pub header: &'c Header,
    /// What the bug check means; `None` of a code that nothing is known of.
    pub explained: Option<Bugcheck>,
    /// The loaded drivers; none where they are not known.
    pub modules: Modules,
    /// The unloaded drivers.
    pub unloaded: Vec<Unloaded>,
    /// The call stack.
    pub stack: Value<CrashStack>,
}

/// Frames that are shown; `callstacks` has all.
const SHOWN_FRAMES: usize = 32;

impl<'c> Crash<'c> {
    /// Of a dump with this header.
    #[must_use]
    pub fn of(case: &'c Case, header: &'c Header) -> Self {
        let kernel = case.kernel().ok();
        let build = kernel.and_then(|k| k.build).unwrap_or(header.build);
        let machine = Machine { arch: kernel.map(|k| k.arch).or(case.dump.arch), build: (build != 0).then_some(build) };
        let unloaded = kernel.and_then(|k| k.unloaded_drivers().ok()).map(|(list, _)| list);
        Self {
            case,
            header,
            explained: bugcheck::explain(header.bugcheck, header.bugcheck_parameters, machine),
            // Names help, and are not needed: without a kernel the header still says all it has.
            modules: modules::loaded(case).unwrap_or_default(),
            unloaded: unloaded.or_else(|| crate::kernel::triage::unloaded(&case.dump)).unwrap_or_default(),
            stack: kernel.ok_or(Absent::NoSymbol).and_then(crash::of),
        }
    }
    /// Whether the machine crashed at all; otherwise how that is known.
    ///
    /// # Errors
    /// Why nothing crashed.
    pub fn crashed(&self) -> Result<(), &'static str> {
        match self.explained.as_ref().map(|e| e.life) {
            _ if self.header.bugcheck == 0 => Err("the dump was taken of the running machine (bug-check code 0)"),
            _ if self.mark().is_some() => Err("a tool took the dump of the running machine and left its mark as code"),
            Some(Life::Live) => Err("Windows wrote a live dump and ran on"),
            _ if self.header.is_live() => Err("the header says that it is a live dump of the running machine"),
            _ => Ok(()),
        }
    }
    /// The four letters some tools write instead of a code.
    fn mark(&self) -> Option<String> {
        let letters = self.header.bugcheck.to_be_bytes();
        let is_mark = self.explained.is_none() && letters.iter().all(u8::is_ascii_graphic);
        is_mark.then(|| String::from_utf8_lossy(&letters).into_owned())
    }
    /// The code's name, or a tool's mark.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let mark = || self.mark().map(|m| format!("\"{m}\" (a tool's mark)"));
        self.explained.as_ref().map(|e| e.name.to_owned()).or_else(mark)
    }
    /// What happened, in a sentence.
    #[must_use]
    pub fn about(&self) -> Option<String> {
        let about = self.explained.as_ref().and_then(|e| e.about);
        match (self.crashed(), about) {
            (Err(why), Some(about)) => Some(format!("{about}. Nothing crashed: {why}")),
            (Err(why), None) => Some(format!("Nothing crashed: {why}")),
            (Ok(()), about) => about.map(|about| format!("{about}{}", self.perhaps_live())),
        }
    }
    fn perhaps_live(&self) -> &'static str {
        match self.explained.as_ref().map(|e| e.life) {
            Some(Life::Either) if self.header.attributes.is_none() => {
                " (the code is also used for live dumps, where nothing crashes)"
            }
            _ => "",
        }
    }
    /// An address as `driver+0x1234`; of an unloaded driver it says so.
    #[must_use]
    pub fn place(&self, va: Va) -> Option<String> {
        let gone = || {
            let driver = self.unloaded_at(va)?;
            let offset = va.0.checked_sub(driver.start.ok()?.0)?;
            Some(format!("{}+{offset:#x} (unloaded)", driver.name.as_deref().unwrap_or("?")))
        };
        self.modules.name(va).or_else(gone)
    }
    /// The unloaded driver that lay at an address where no loaded one lies.
    #[must_use]
    pub fn unloaded_at(&self, va: Va) -> Option<&Unloaded> {
        let has = |d: &&Unloaded| d.start.is_ok_and(|s| s <= va) && d.end.is_ok_and(|e| va < e);
        // The last unloaded first: the ring has the oldest first.
        if self.modules.of(va).is_some() { None } else { self.unloaded.iter().rev().find(has) }
    }
    /// The call stack, a line a frame.
    #[must_use]
    pub fn frames(&self) -> Cell {
        let (stack, kernel) = match (&self.stack, self.case.kernel()) {
            (Ok(stack), Ok(kernel)) => (stack, kernel),
            (Err(why), _) => return Cell::Absent(*why),
            (_, Err(_)) => return Cell::Absent(Absent::NoSymbol),
        };
        let space = kernel.space();
        let lines = stack.frames().take(SHOWN_FRAMES).map(|frame| {
            let location = Location::of(kernel, &space, &stack.code, frame.ip);
            let name = location.text().unwrap_or_else(|_| frame.ip.to_string());
            Cell::from(format!("{name} ({}{})", frame.how.word(), if frame.unloaded { ", unloaded" } else { "" }))
        });
        let mut lines: Vec<Cell> = lines.collect();
        let rest = stack.frames().count().saturating_sub(SHOWN_FRAMES);
        if rest > 0 {
            lines.push(format!("{rest} more: see callstacks").into());
        }
        Cell::List(lines)
    }
    /// The number of the processor that crashed.
    ///
    /// # Errors
    /// Why it is not known.
    pub fn processor(&self) -> Value<u32> {
        let part = self.case.dump.triage().and_then(|t| t.prcb()).ok_or(Absent::NotRecorded)?;
        let kernel = self.case.kernel().map_err(|_| Absent::NoSymbol)?;
        // Where `_KPRCB.Number` lies the debugger block says itself: no layout is needed.
        let at = kernel.kdbg.as_ref().and_then(|b| b.field("OffsetPrcbNumber")).filter(|at| *at != 0);
        let at = usize::try_from(at.ok_or(Absent::NotRecorded)?).map_err(|_| Absent::Implausible)?;
        // 32 bits since Windows 7, one byte before; on 32-bit machines with the next fields behind it.
        let wide = kernel.build.is_some_and(|b| b >= 7600);
        let raw = part.bytes.get(at..).and_then(|b| b.get(..if wide { 4 } else { 1 })).ok_or(Absent::NotInDump)?;
        let number = crate::bytes::le(raw).and_then(|n| u32::try_from(n).ok()).ok_or(Absent::Implausible)?;
        if number < self.header.processors { Ok(number) } else { Err(Absent::Implausible) }
    }
}
