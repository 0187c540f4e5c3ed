//! Kernel objects: the header before each, its type, its name, and what one says of each kind. One file per kind.

pub mod access;
mod alpc;
mod device;
mod directory;
mod dispatcher;
mod etw;
mod file;
pub mod header;
pub mod job;
mod key;
mod process;
mod section;
mod symbolic_link;
mod token;
pub mod types;

use super::Kernel;
use super::file_object::Files;
use crate::addr::Va;
use crate::error::{Error, Result};
use crate::paging::Space;
use crate::time::FileTime;
use crate::value::{Absent, Value};
use header::{Header, Headers};
use rustc_hash::FxHashMap;
use std::borrow::Cow;
use types::ObjectTypes;

/// One thing said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Not there, and why.
    Absent(Absent),
    /// Yes or no.
    Yes(bool),
    /// A count or an id.
    Number(u64),
    /// A signed number.
    Signed(i64),
    /// An address or a mask.
    Hex(u64),
    /// A time.
    Time(FileTime),
    /// Text.
    Text(Cow<'static, str>),
    /// Names of flags.
    Names(Vec<&'static str>),
}
macro_rules! fact {
    ($($t:ty => |$v:ident| $e:expr),* $(,)?) => {$(
        impl From<$t> for Fact { fn from($v: $t) -> Self { $e } }
    )*};
}
fact! {
    bool => |v| Self::Yes(v),
    u8 => |v| Self::Number(v.into()),
    u16 => |v| Self::Number(v.into()),
    u32 => |v| Self::Number(v.into()),
    u64 => |v| Self::Number(v),
    i32 => |v| Self::Signed(v.into()),
    Va => |v| Self::Hex(v.0),
    FileTime => |v| Self::Time(v),
    String => |v| Self::Text(v.into()),
    &'static str => |v| Self::Text(v.into()),
    Cow<'static, str> => |v| Self::Text(v),
    Vec<&'static str> => |v| Self::Names(v),
}
impl<T> From<Value<T>> for Fact
where
    Self: From<T>,
{
    fn from(v: Value<T>) -> Self {
        v.map_or_else(Self::Absent, Self::from)
    }
}

/// Facts by key.
pub type Facts = Vec<(&'static str, Fact)>;

/// What is said of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// What people know it by: its path, or what it stands for.
    pub name: Value<String>,
    /// What its kind has besides.
    pub facts: Facts,
}

/// An object that a handle or a directory leads to.
#[derive(Clone, Debug)]
pub struct Object<'k> {
    /// Its header.
    pub header: Header<'k>,
    /// Its body: what pointers to it point at.
    pub body: Va,
}

/// Reads objects. Each worker has one of its own: it keeps what many objects share (directories, devices, keys, owners).
#[derive(Debug)]
pub struct Objects<'k> {
    /// The kernel.
    pub kernel: &'k Kernel,
    /// Its memory.
    pub space: Space<'k>,
    types: &'k ObjectTypes,
    headers: Headers<'k>,
    files: Option<Files<'k>>,
    tokens: Option<super::token::Tokens>,
    paths: FxHashMap<Va, Value<String>>,
    keys: FxHashMap<Va, Value<String>>,
    owners: FxHashMap<Va, Owner>,
    old_types: FxHashMap<Va, Value<Cow<'static, str>>>,
    /// The root directory, where the symbols tell.
    root: Option<Va>,
}

/// A process as others name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its id.
    pub pid: Value<u64>,
    /// Its name.
    pub name: Value<String>,
}

impl<'k> Objects<'k> {
    /// A reader with a view of kernel memory of its own.
    ///
    /// # Errors
    /// The symbols do not describe object headers.
    pub fn of(kernel: &'k Kernel, types: &'k ObjectTypes) -> Result<Self> {
        let headers = Headers::of(kernel).map_err(|why| {
            Error::NotAvailable(format!(
                "objects cannot be read: _OBJECT_HEADER.Body is {why} ({})",
                kernel.symbols.origin
            ))
        })?;
        Ok(Self {
            kernel,
            space: kernel.space(),
            types,
            headers,
            files: Files::of(kernel).ok(),
            tokens: super::token::Tokens::new(&kernel.symbols.types).ok(),
            paths: FxHashMap::default(),
            keys: FxHashMap::default(),
            owners: FxHashMap::default(),
            old_types: FxHashMap::default(),
            root: kernel.global("ObpRootDirectoryObject").and_then(|at| kernel.space().pointer(at).ok()),
        })
    }
    /// The object whose header is at `header`.
    #[must_use]
    pub fn with_header(&self, header: Va) -> Object<'k> {
        Object { header: self.headers.at(&self.space, header), body: header.add(self.headers.body()) }
    }
    /// The object whose body is at `body`.
    #[must_use]
    pub fn with_body(&self, body: Va) -> Object<'k> {
        self.with_header(body.sub(self.headers.body()))
    }
    /// The name of an object's type.
    ///
    /// # Errors
    /// Why it cannot be told.
    pub fn type_of(&mut self, object: &Object<'_>) -> Value<Cow<'static, str>> {
        match object.header.view.type_index() {
            Ok(index) => self.types.name(index, object.header.at),
            Err(Absent::NotInBuild) => {
                // Up to Vista the header points at the type itself.
                let at = object.header.view.type_object()?;
                if let Some(known) = self.old_types.get(&at) {
                    return known.clone();
                }
                let name = types::name_of(self.kernel, &self.space, at);
                self.old_types.insert(at, name.clone());
                name
            }
            Err(why) => Err(why),
        }
    }
    /// The name an object was given, without its directory's.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it has none.
    pub fn own_name(&self, object: &Object<'_>) -> Value<String> {
        let info = self.headers.name_info(&self.space, &object.header)?;
        match self.space.text(info.name()?)? {
            name if name.is_empty() => Err(Absent::NotApplicable),
            name => Ok(name),
        }
    }
    /// The whole path of a named object: `\Sessions\1\BaseNamedObjects\x`.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it has no name.
    pub fn path(&mut self, object: &Object<'_>) -> Value<String> {
        let info = self.headers.name_info(&self.space, &object.header)?;
        let name = self.space.text(info.name()?)?;
        let directory = info.directory()?;
        if name.is_empty() {
            return Err(Absent::NotApplicable);
        }
        // Without a directory: the root itself, or an object whose name is no part of the namespace (a desktop).
        if directory.is_null() {
            return Ok(name);
        }
        match self.directory_path(directory, 0) {
            Ok(above) if above.ends_with('\\') => Ok(format!("{above}{name}")),
            Ok(above) => Ok(format!("{above}\\{name}")),
            // In a directory without a name (a private namespace): what is known is the object's own.
            Err(Absent::NotApplicable) => Ok(name),
            Err(why) => Err(why),
        }
    }
    /// The path of a directory by its body. Directories nest a few deep; a loop of them is cut.
    fn directory_path(&mut self, body: Va, depth: u8) -> Value<String> {
        if let Some(known) = self.paths.get(&body) {
            return known.clone();
        }
        if depth > 32 {
            return Err(Absent::Implausible);
        }
        let path = self.directory_path_above(body, depth);
        self.paths.insert(body, path.clone());
        path
    }
    fn directory_path_above(&mut self, body: Va, depth: u8) -> Value<String> {
        if self.root == Some(body) {
            return Ok("\\".to_owned());
        }
        let object = self.with_body(body);
        let info = self.headers.name_info(&self.space, &object.header)?;
        let name = self.space.text(info.name()?)?;
        let above = info.directory()?;
        if name.is_empty() {
            return Err(Absent::NotApplicable);
        }
        if above.is_null() {
            return Ok(name); // the root is called "\"
        }
        match self.directory_path(above, depth.saturating_add(1))? {
            above if above.ends_with('\\') => Ok(format!("{above}{name}")),
            above => Ok(format!("{above}\\{name}")),
        }
    }
    /// A process by its `_EPROCESS`, as others name it.
    pub fn owner(&mut self, eprocess: Va) -> Owner {
        if let Some(known) = self.owners.get(&eprocess) {
            return known.clone();
        }
        let owner = match self.kernel.process_at(&self.space, eprocess) {
            Ok(p) => Owner { pid: p.pid(), name: p.name() },
            Err(_) => Owner { pid: Err(Absent::NoSymbol), name: Err(Absent::NoSymbol) },
        };
        self.owners.insert(eprocess, owner.clone());
        owner
    }
    /// What is said of an object of this type.
    pub fn describe(&mut self, object: &Object<'k>, kind: &str) -> Description {
        let kind_of = |facts: Value<Facts>| match facts {
            Ok(facts) => facts,
            Err(why) => vec![("unreadable", Fact::Absent(why))],
        };
        match kind {
            "File" => file::describe(self, object.body),
            "Key" => key::describe(self, object.body),
            "Process" => process::describe(self, object.body),
            "Thread" => process::describe_thread(self, object.body),
            "Token" => token::describe(self, object.body),
            "Section" => section::describe(self, object),
            _ => {
                let name = self.path(object);
                let body = object.body;
                let facts = match kind {
                    "ALPC Port" => alpc::facts(self, body),
                    "Port" | "WaitablePort" => alpc::lpc_facts(self, body),
                    "SymbolicLink" => symbolic_link::facts(self, body),
                    "Directory" => directory::facts(self, body),
                    "Event" => dispatcher::event(self, body),
                    "Mutant" => dispatcher::mutant(self, body),
                    "Semaphore" => dispatcher::semaphore(self, body),
                    "Timer" => dispatcher::timer(self, body),
                    "IoCompletion" => dispatcher::queue(self, body),
                    "EtwRegistration" | "EtwConsumer" => etw::facts(self, kind, body),
                    "Job" => job::facts(self, body),
                    "Device" => device::facts(self, body),
                    "Driver" => device::driver_facts(self, body),
                    _ => Ok(Vec::new()),
                };
                let mut description = Description { name, facts: kind_of(facts) };
                etw::name_by_guid(kind, &mut description);
                description
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::layout::Layout;
    use crate::symbols::types::Types;

    /// Whether this kernel has the type. `tests/layouts.rs` holds which fields it has.
    fn fits<L: Layout>(name: &str, types: &Types) -> bool {
        L::resolve(types).unwrap_or_else(|e| panic!("{name}: {e}"));
        types.get(L::TYPE).is_some()
    }

    #[test]
    fn every_known_kernel_describes_its_objects() {
        for (name, symbols) in crate::kernel::testing::kernels() {
            let t = &symbols.types;
            let everywhere = [
                fits::<file::FileState>(&name, t),
                fits::<key::KeyBody>(&name, t),
                fits::<key::KeyBlock>(&name, t),
                fits::<key::KeyName>(&name, t),
                fits::<symbolic_link::SymbolicLink>(&name, t),
                fits::<directory::Directory>(&name, t),
                fits::<directory::DirectoryEntry>(&name, t),
                fits::<dispatcher::Event>(&name, t),
                fits::<dispatcher::Mutant>(&name, t),
                fits::<dispatcher::Semaphore>(&name, t),
                fits::<dispatcher::Timer>(&name, t),
                fits::<dispatcher::Queue>(&name, t),
                fits::<device::Device>(&name, t),
                fits::<device::Driver>(&name, t),
                fits::<section::SegmentStart>(&name, t),
            ];
            assert!(everywhere.iter().all(|f| *f), "{name}: {everywhere:?}");
            let xp = name.contains("-5.1.");
            assert_eq!(fits::<alpc::AlpcPort>(&name, t), !xp, "{name}");
            assert_eq!(fits::<alpc::Communication>(&name, t), !xp, "{name}");
            assert!(!xp || fits::<alpc::LpcPort>(&name, t), "{name}");
            assert_eq!(fits::<etw::Registration>(&name, t), !xp, "{name}");
            assert_eq!(fits::<etw::GuidEntry>(&name, t), !xp, "{name}");
            let new = fits::<section::Section>(&name, t);
            assert!(new || fits::<section::OldSection>(&name, t), "{name}");
            assert_eq!(new, name.contains("-10."), "{name}");
        }
    }
}
