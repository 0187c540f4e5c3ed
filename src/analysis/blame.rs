//! Which driver is most likely to blame for a crash, and why.
//!
//! The witnesses, best first: a parameter of the bug check that is the address of the code that did it; the call stack, from
//! the top, without what belongs to Windows. Where nobody else's driver is named, the first of Windows' own that is no
//! library of the crash path is; and where there is none, that is said.

use super::crash::Crash;
use super::modules;
use crate::addr::Va;
use crate::kernel::Kernel;
use crate::kernel::bugcheck::Kind;
use crate::kernel::image::Image;
use crate::kernel::module::Module;
use crate::kernel::own_drivers::{Own, own};
use crate::kernel::stack::walk::How;
use crate::kernel::stamp::Doubt;
use crate::kernel::verinfo::Version;
use crate::report::Cell;
use crate::time::FileTime;
use crate::utf16::Text;
use crate::value::{Absent, Value};

/// The verdict.
pub struct Blame {
    /// The driver; `None` where none can be named.
    pub suspect: Option<Suspect>,
    /// Why it is blamed, or why none is.
    pub why: String,
}

/// A driver that is blamed.
pub struct Suspect {
    /// Its file name.
    pub name: String,
    /// Path as the kernel knows it.
    pub path: Value<String>,
    /// Where its code was: `driver+0x1234`.
    pub at: String,
    /// File version, by its resource.
    pub version: Value<String>,
    /// Company, by its resource.
    pub company: Value<String>,
    /// When it was built.
    pub built: Value<FileTime>,
    /// Why that may be no time.
    pub doubt: Option<Doubt>,
    /// Whether it had been unloaded.
    pub unloaded: bool,
    /// Whether it is one of Windows itself.
    pub own: bool,
}

/// Whose a driver is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Library,
    Windows,
    Other,
}

/// An address that speaks against the driver it lies in.
struct Witness {
    at: Va,
    what: String,
}

/// Who is to blame for this crash.
#[must_use]
pub fn blame(crash: &Crash<'_>) -> Blame {
    let nobody = |why: String| Blame { suspect: None, why };
    if let Some(why) = crash.explained.as_ref().and_then(|e| e.no_driver) {
        return nobody(format!("no driver is to blame: {why}"));
    }
    let lived = crash.crashed().is_err();
    let mut witnesses = of_parameters(crash, &[Kind::Code, Kind::Driver]);
    if !lived {
        witnesses.extend(of_frames(crash, true));
        witnesses.extend(of_frames(crash, false));
    }
    for wanted in [Whose::Other, Whose::Windows] {
        for witness in &witnesses {
            let Some(suspect) = suspect(crash, witness.at, wanted) else { continue };
            let alone = if wanted == Whose::Other { "" } else { ", and no driver of anybody but Windows is named" };
            return Blame { suspect: Some(suspect), why: format!("{}{alone}", witness.what) };
        }
    }
    nobody(match (crash.crashed(), &crash.stack) {
        (Err(why), _) => format!("no driver is to blame: {why}"),
        (_, Err(why)) => format!("no parameter names a driver, and the call stack is {why}"),
        _ if crash.modules.list.is_empty() => "the drivers are not known".to_owned(),
        _ => format!(
            "parameters and call stack name only the kernel and libraries of Windows{}",
            first_named(crash, &witnesses).map(|first| format!("; first of them {first}")).unwrap_or_default()
        ),
    })
}

/// What the witnesses name first outside the kernel itself, else at all.
fn first_named(crash: &Crash<'_>, witnesses: &[Witness]) -> Option<String> {
    let kernel = crash.modules.list.first().and_then(|m| m.base.ok());
    let outside = |w: &&Witness| crash.modules.of(w.at).is_some_and(|m| m.base.ok() != kernel);
    let named =
        witnesses.iter().find(outside).or_else(|| witnesses.iter().find(|w| crash.modules.of(w.at).is_some()))?;
    crash.place(named.at)
}

/// Parameters of these kinds.
fn of_parameters(crash: &Crash<'_>, kinds: &[Kind]) -> Vec<Witness> {
    let Some(explained) = &crash.explained else { return Vec::new() };
    let all = explained.parameters.iter().zip(crash.header.bugcheck_parameters).zip(1..);
    all.filter(|((p, _), _)| kinds.contains(&p.kind))
        .map(|((p, value), i)| Witness {
            at: Va(value),
            what: format!("parameter {i} ({}) lies in it", p.meaning.unwrap_or("an address")),
        })
        .collect()
}

/// The frames of the call stack: those that were checked, or those that may be left-overs.
fn of_frames(crash: &Crash<'_>, checked: bool) -> Vec<Witness> {
    let Ok(stack) = &crash.stack else { return Vec::new() };
    let frames = stack.frames().zip(0u32..).filter(|(f, _)| (f.how != How::UncheckedScan) == checked);
    frames
        .map(|(f, i)| Witness {
            at: f.ip,
            what: format!(
                "the first on the call stack that is no library of the crash path: frame {i} (found by {}{})",
                f.how.word(),
                if checked { "" } else { ": it may be a left-over" }
            ),
        })
        .collect()
}

/// The driver an address lies in, where it is whose it should be.
fn suspect(crash: &Crash<'_>, at: Va, wanted: Whose) -> Option<Suspect> {
    let Some(module) = crash.modules.of(at) else { return of_unloaded(crash, at, wanted) };
    let name = module.name.clone().ok()?.into_whole().ok()?;
    let version = version(crash, module);
    let company = version.as_ref().map_err(|e| *e).and_then(|v| v.string("CompanyName").ok_or(Absent::NotApplicable));
    if whose(&name, company.ok()) != wanted {
        return None;
    }
    let space = crash.case.kernel().ok().map(Kernel::space);
    let (built, doubt) = module.built(space.as_ref(), modules::bounds(crash.case, &crash.modules));
    let number = version.as_ref().map_err(|e| *e).and_then(|v| v.file.ok_or(Absent::NotApplicable));
    Some(Suspect {
        path: module.path.clone().and_then(Text::into_whole),
        at: crash.place(at)?,
        version: number.map(|n| n.to_string()),
        company: company.map(str::to_owned),
        built,
        doubt,
        unloaded: false,
        own: wanted == Whose::Windows,
        name,
    })
}

fn of_unloaded(crash: &Crash<'_>, at: Va, wanted: Whose) -> Option<Suspect> {
    let name = crash.unloaded_at(at)?.name.clone().ok()?.into_whole().ok()?;
    let at = crash.place(at)?;
    (whose(&name, None) == wanted).then(|| Suspect {
        path: Err(Absent::NotRecorded),
        at,
        version: Err(Absent::NotRecorded),
        company: Err(Absent::NotRecorded),
        built: Err(Absent::NotRecorded),
        doubt: None,
        unloaded: true,
        own: wanted == Whose::Windows,
        name,
    })
}

/// By the company of its version resource where the dump has it, else by its name.
fn whose(name: &str, company: Option<&str>) -> Whose {
    match (own(name), company) {
        (_, Some(company)) if !company.starts_with("Microsoft") => Whose::Other,
        (Some(Own::Library), _) => Whose::Library,
        (Some(Own::Driver), _) | (None, Some(_)) => Whose::Windows,
        (None, None) => Whose::Other,
    }
}

fn version(crash: &Crash<'_>, module: &Module) -> Value<Version> {
    let kernel = crash.case.kernel().map_err(|_| Absent::NoSymbol)?;
    let space = kernel.space();
    Image::read(&space, module.base?)?.version(&space)
}

impl Blame {
    /// As a cell.
    #[must_use]
    pub fn cell(&self) -> Cell {
        let Some(s) = &self.suspect else { return Cell::Object(vec![("why".into(), self.why.clone().into())]) };
        let mut fields = vec![
            ("name".into(), s.name.clone().into()),
            ("at".into(), s.at.clone().into()),
            ("why".into(), self.why.clone().into()),
            ("of_windows".into(), s.own.into()),
            ("unloaded".into(), s.unloaded.into()),
            ("path".into(), s.path.clone().into()),
            ("company".into(), s.company.clone().into()),
            ("version".into(), s.version.clone().into()),
            ("built".into(), s.built.into()),
        ];
        if let Some(doubt) = s.doubt {
            fields.push(("built_doubt".into(), doubt.word().into()));
        }
        Cell::Object(fields)
    }
    /// In a line: the driver, its version and date, and why.
    #[must_use]
    pub fn text(&self) -> String {
        let Some(s) = &self.suspect else { return self.why.clone() };
        // A time that no calendar has is not said.
        let day = s.built.ok().and_then(|time| Some(time.rfc3339()?.get(..10)?.to_owned()));
        let date = match (day, s.built, s.doubt) {
            (Some(day), _, None) => format!(", built {day}"),
            (Some(day), _, Some(_)) => format!(", built {day} unless its stamp is a hash"),
            (None, Err(_), Some(_)) => ", its stamp is no time".to_owned(),
            (None, ..) => String::new(),
        };
        let version = s.version.as_ref().map(|v| format!(" {v}")).unwrap_or_default();
        let whose = match (s.own, s.unloaded) {
            (true, _) => " (one of Windows' own)",
            (false, true) => " (unloaded before)",
            (false, false) => "",
        };
        format!("{}{version}{whose}{date}, at {}: {}", s.name, s.at, self.why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_says_whose_a_driver_is_before_its_name_does() {
        let whose = |name, company| match whose(name, company) {
            Whose::Library => "library",
            Whose::Windows => "windows",
            Whose::Other => "other",
        };
        assert_eq!(whose("ntoskrnl.exe", None), "library");
        assert_eq!(whose("tcpip.sys", Some("Microsoft Corporation")), "library");
        assert_eq!(whose("amdppm.sys", None), "windows");
        assert_eq!(whose("unheard.sys", Some("Microsoft Corporation")), "windows");
        assert_eq!(whose("unheard.sys", None), "other");
        assert_eq!(whose("nvlddmkm.sys", Some("NVIDIA Corporation")), "other");
        assert_eq!(whose("tcpip.sys", Some("Somebody Else")), "other", "a name is no alibi");
    }
}
