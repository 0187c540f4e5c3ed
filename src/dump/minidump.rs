//! User-mode minidumps (`MDMP`), read through the `minidump` crate into [`user`](super::user)'s types.
//!
//! The crate gives the directory, the on-disk structures, system info, misc info, exception and contexts. The lists
//! are walked here, over its structures, for three reasons: every record keeps its file offset; one bad record, or a
//! file cut short, costs that record and not the list; and what a hostile file can make us allocate is bounded (names
//! shared by thousands of records, chains that bite their tail, entries of no size).

use super::sparse::{Block, Sparse, slice};
use super::user::{Contents, Exception, Handle, Info, Module, Pdb, Region, System, Thread, UnloadedModule};
use super::{Arch, raw};
use crate::addr::Va;
use crate::bytes::{u16_at, u32_at, u64_at};
use crate::time::FileTime;
use crate::utf16;
use crate::value::{Absent, Note, Value};
use minidump::format as md;
use minidump::format::MINIDUMP_STREAM_TYPE as Stream;
use minidump::{Minidump, MinidumpException, MinidumpMiscInfo, MinidumpSystemInfo};
use std::collections::BTreeMap;

/// `MDMP`.
pub const SIGNATURE: &[u8; 4] = b"MDMP";
/// A dump has a few dozen streams; a directory longer than this is a lie.
const MOST_STREAMS: u32 = 4096;
/// No list of a real process is longer.
const MOST_RECORDS: usize = 1 << 20;
/// Bytes of the longest name (a `UNICODE_STRING` cannot be longer).
const LONGEST_NAME: u32 = 0x1_0000;

type File<'d> = Minidump<'d, &'d [u8]>;

/// Opens a user-mode minidump.
pub fn open(map: &[u8], notes: &mut Vec<Note>) -> Result<(Option<Arch>, Contents), String> {
    let streams = u32_at(map, 8).ok_or_else(|| format!("a minidump cut off after {} bytes", map.len()))?;
    if streams > MOST_STREAMS {
        return Err(format!("a minidump whose directory is said to have {streams} streams (at 0x8); it is damaged"));
    }
    let file: File<'_> = Minidump::read(map).map_err(|e| format!("a user-mode minidump that cannot be read: {e}"))?;
    if file.endian != scroll::Endian::Little {
        return Err("a big-endian minidump; Windows writes none".into());
    }
    let raw_system = file.get_stream::<MinidumpSystemInfo>().ok();
    if let Some(s) = raw_system.as_ref().filter(|s| s.raw.platform_id >= md::PlatformId::Unix as u32) {
        return Err(format!("a minidump of another system ({}), not of Windows", s.os));
    }
    if raw_system.is_none() {
        notes.push(Note::loss("the minidump has no readable system information: version and registers are unknown"));
    }
    let arch = raw_system.as_ref().and_then(|s| arch(s.raw.processor_architecture, notes));
    let mut reader = Reader { map, file: &file, notes, budget: map.len().saturating_mul(4).saturating_add(16 << 20) };

    let system = raw_system.as_ref().and_then(|s| reader.system(s));
    let info = reader.info();
    let modules = reader.modules();
    let unloaded = reader.unloaded();
    let threads = reader.threads();
    let regions = reader.regions();
    let handles = reader.handles();
    let exception = reader.exception();
    let memory = reader.memory(threads.as_deref().unwrap_or_default());
    if reader.budget == 0 {
        notes.push(Note::loss("the names of the minidump overlap beyond reason; some were not read"));
    }
    let contents =
        Contents { raw_system, system, info, modules, unloaded, threads, regions, handles, exception, memory };
    Ok((arch, contents))
}

/// `PROCESSOR_ARCHITECTURE_*`.
fn arch(code: u16, notes: &mut Vec<Note>) -> Option<Arch> {
    match code {
        // 10 is x86 under WoW64.
        0 | 10 => Some(Arch::X86),
        9 => Some(Arch::X64),
        12 => Some(Arch::Arm64),
        other => {
            notes.push(Note::info(format!("the minidump's processor architecture is {other}: not x86, x64 or ARM64")));
            None
        }
    }
}

/// A stream's bytes and where they stand.
#[derive(Clone, Copy)]
struct Part<'d> {
    bytes: &'d [u8],
    at: usize,
}

struct Reader<'a, 'd> {
    map: &'d [u8],
    file: &'a File<'d>,
    notes: &'a mut Vec<Note>,
    /// Bytes of names that may still be read.
    budget: usize,
}

impl<'d> Reader<'_, 'd> {
    /// A stream, as far as the file has it.
    fn stream(&mut self, kind: Stream) -> Value<Part<'d>> {
        let entry = self.file.all_streams().find(|s| s.stream_type == kind as u32).ok_or(Absent::NotRecorded)?;
        let (at, size) = (entry.location.rva as usize, entry.location.data_size as usize);
        let rest = self.map.get(at..).unwrap_or_default();
        let bytes = rest.get(..size).unwrap_or(rest);
        if bytes.len() < size {
            self.notes.push(Note::loss(format!(
                "the minidump is truncated: its {kind:?} ends at {:#x}, the file at {:#x}",
                at.saturating_add(size),
                self.map.len()
            )));
        }
        if bytes.is_empty() { Err(Absent::NotRecorded) } else { Ok(Part { bytes, at }) }
    }
    /// Records of one size after a header, each with its file offset.
    fn records<T>(&mut self, kind: Stream, part: Part<'d>, first: usize, stride: usize, count: u64) -> Vec<(usize, T)>
    where
        T: scroll::ctx::TryFromCtx<'d, scroll::Endian, [u8], Error = scroll::Error>,
    {
        let room = part.bytes.len().saturating_sub(first).checked_div(stride).unwrap_or(0).min(MOST_RECORDS);
        let listed = usize::try_from(count).unwrap_or(usize::MAX).min(room);
        if (listed as u64) < count {
            self.notes.push(Note::loss(format!(
                "the {kind:?} at {:#x} is said to have {count} records; {listed} are there",
                part.at
            )));
        }
        (0..listed)
            .filter_map(|i| {
                let at = first.checked_add(i.checked_mul(stride)?)?;
                Some((part.at.checked_add(at)?, raw::read(part.bytes, at)?))
            })
            .collect()
    }
    /// A list with a 32-bit count before it, with or without four bytes of padding after that.
    fn list<T>(&mut self, kind: Stream) -> Value<Vec<(usize, T)>>
    where
        T: scroll::ctx::TryFromCtx<'d, scroll::Endian, [u8], Error = scroll::Error>
            + scroll::ctx::SizeWith<scroll::Endian>,
    {
        let part = self.stream(kind)?;
        let count = u32_at(part.bytes, 0).ok_or(Absent::Implausible)?;
        let stride = raw::size::<T>();
        let padded = (count as usize).saturating_mul(stride).saturating_add(8);
        let first = if part.bytes.len() == padded { 8 } else { 4 };
        Ok(self.records(kind, part, first, stride, count.into()))
    }
    /// A list whose header gives its own size and that of a record.
    fn list_ex<T>(&mut self, kind: Stream, wide_count: bool) -> Value<Vec<(usize, T)>>
    where
        T: scroll::ctx::TryFromCtx<'d, scroll::Endian, [u8], Error = scroll::Error>
            + scroll::ctx::SizeWith<scroll::Endian>,
    {
        let part = self.stream(kind)?;
        let header = u32_at(part.bytes, 0).ok_or(Absent::Implausible)? as usize;
        let stride = u32_at(part.bytes, 4).ok_or(Absent::Implausible)? as usize;
        let count = if wide_count { u64_at(part.bytes, 8) } else { u32_at(part.bytes, 8).map(u64::from) };
        let count = count.ok_or(Absent::Implausible)?;
        if header < 12 || stride < raw::size::<T>() {
            self.notes.push(Note::loss(format!(
                "the {kind:?} at {:#x} has a header of {header} bytes and records of {stride}: it cannot be read",
                part.at
            )));
            return Err(Absent::Implausible);
        }
        Ok(self.records(kind, part, header, stride, count))
    }
    /// A length in bytes, then UTF-16.
    fn name(&mut self, at: u64) -> Value<String> {
        let from = usize::try_from(at).map_err(|_| Absent::Implausible)?;
        let length = u32_at(self.map, from).ok_or(Absent::NotInDump)?;
        if length % 2 != 0 || length > LONGEST_NAME {
            return Err(Absent::Implausible);
        }
        self.budget = self.budget.saturating_sub(length as usize);
        if self.budget == 0 {
            return Err(Absent::Implausible);
        }
        let text = slice(self.map, at.saturating_add(4), length.into()).ok_or(Absent::NotInDump)?;
        Ok(utf16::text(text))
    }
    /// A place in the file that is there as a whole.
    fn place(&self, location: md::MINIDUMP_LOCATION_DESCRIPTOR) -> Option<(u64, u32)> {
        let bytes = slice(self.map, location.rva.into(), location.data_size.into())?;
        (!bytes.is_empty() && location.rva != 0).then_some((location.rva.into(), location.data_size))
    }

    fn system(&mut self, s: &MinidumpSystemInfo) -> Option<System> {
        let part = self.stream(Stream::SystemInfoStream).ok()?;
        Some(System {
            version: [s.raw.major_version, s.raw.minor_version, s.raw.build_number],
            product_type: s.raw.product_type,
            suite_mask: s.raw.suite_mask,
            processors: s.raw.number_of_processors,
            service_pack: s.csd_version().map(|t| t.into_owned()).filter(|t| !t.is_empty()),
            file: part.at as u64,
        })
    }
    fn info(&mut self) -> Info {
        let misc = self.file.get_stream::<MinidumpMiscInfo>().ok();
        let raw = misc.as_ref().map(|m| &m.raw);
        fn of<T: Copy>(field: Option<&T>) -> Value<T> {
            field.copied().ok_or(Absent::NotRecorded)
        }
        let seconds = |s: u32| if s == 0 { Err(Absent::NotRecorded) } else { Ok(FileTime::from_unix(s)) };
        let text = |units: &[u16]| {
            let units = units.iter().copied().take_while(|u| *u != 0);
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>()
        };
        Info {
            written: seconds(self.file.header.time_date_stamp),
            flags: self.file.header.flags,
            pid: of(raw.and_then(|r| r.process_id())),
            create_time: of(raw.and_then(|r| r.process_create_time())).and_then(seconds),
            user_seconds: of(raw.and_then(|r| r.process_user_time())),
            kernel_seconds: of(raw.and_then(|r| r.process_kernel_time())),
            integrity_level: of(raw.and_then(|r| r.process_integrity_level())),
            execute_flags: of(raw.and_then(|r| r.process_execute_flags())),
            protected: of(raw.and_then(|r| r.protected_process())).map(|p| p != 0),
            build_string: of(raw.and_then(|r| r.build_string())).map(|s| text(&s)),
            cookie: of(raw.and_then(|r| r.process_cookie())),
            comment: self.comment(),
            file: self.stream(Stream::MiscInfoStream).ok().map(|p| p.at as u64),
        }
    }
    fn comment(&mut self) -> Option<String> {
        const LONGEST: usize = 0x1_0000;
        let wide = self.stream(Stream::CommentStreamW).map(|p| utf16::text(p.bytes.get(..LONGEST).unwrap_or(p.bytes)));
        let text = wide.or_else(|_| {
            let narrow = self.stream(Stream::CommentStreamA)?;
            Ok::<_, Absent>(super::sniff::latin(narrow.bytes.get(..LONGEST).unwrap_or(narrow.bytes)))
        });
        Some(text.ok()?.trim_end_matches('\0').to_string()).filter(|t| !t.is_empty())
    }
    fn modules(&mut self) -> Value<Vec<Module>> {
        let list = self.list::<md::MINIDUMP_MODULE>(Stream::ModuleListStream)?;
        let mut modules = Vec::with_capacity(list.len());
        for (at, m) in list {
            let v = &m.version_info;
            // VS_FFI_SIGNATURE, or nothing was written.
            let known = v.signature == 0xfeef_04bd;
            modules.push(Module {
                name: self.name(m.module_name_rva.into()),
                base: Va(m.base_of_image),
                size: m.size_of_image,
                checksum: m.checksum,
                time_stamp: m.time_date_stamp,
                file_version: known.then(|| version(v.file_version_hi, v.file_version_lo)),
                product_version: known.then(|| version(v.product_version_hi, v.product_version_lo)),
                pdb: self.pdb(m.cv_record),
                file: at as u64,
            });
        }
        Ok(modules)
    }
    /// An `RSDS` record: signature, GUID, age, name.
    fn pdb(&mut self, location: md::MINIDUMP_LOCATION_DESCRIPTOR) -> Option<Pdb> {
        let (file, size) = self.place(location).filter(|p| p.1 <= LONGEST_NAME)?;
        let bytes = slice(self.map, file, size.into())?;
        if bytes.get(..4)? != b"RSDS" {
            return None;
        }
        self.budget = self.budget.saturating_sub(bytes.len());
        if self.budget == 0 {
            return None;
        }
        let (d1, d2, d3, d4) = (u32_at(bytes, 4)?, u16_at(bytes, 8)?, u16_at(bytes, 10)?, bytes.get(12..20)?);
        let tail: String = d4.iter().map(|b| format!("{b:02X}")).collect();
        let name = bytes.get(24..)?.split(|b| *b == 0).next().unwrap_or_default();
        Some(Pdb {
            name: String::from_utf8_lossy(name).into_owned(),
            guid: format!("{d1:08X}{d2:04X}{d3:04X}{tail}"),
            age: u32_at(bytes, 20)?,
            file,
        })
    }
    fn unloaded(&mut self) -> Value<Vec<UnloadedModule>> {
        let list = self.list_ex::<md::MINIDUMP_UNLOADED_MODULE>(Stream::UnloadedModuleListStream, false)?;
        let mut modules = Vec::with_capacity(list.len());
        for (at, m) in list {
            modules.push(UnloadedModule {
                name: self.name(m.module_name_rva.into()),
                base: Va(m.base_of_image),
                size: m.size_of_image,
                checksum: m.checksum,
                time_stamp: m.time_date_stamp,
                file: at as u64,
            });
        }
        Ok(modules)
    }
    fn threads(&mut self) -> Value<Vec<Thread>> {
        let list = self.list::<md::MINIDUMP_THREAD>(Stream::ThreadListStream)?;
        let infos = self.list_ex::<md::MINIDUMP_THREAD_INFO>(Stream::ThreadInfoListStream, false);
        let infos: BTreeMap<u32, (usize, md::MINIDUMP_THREAD_INFO)> =
            infos.unwrap_or_default().into_iter().map(|(at, i)| (i.thread_id, (at, i))).collect();
        let names = self.list::<md::MINIDUMP_THREAD_NAME>(Stream::ThreadNamesStream);
        let named: BTreeMap<u32, u64> = names.iter().flatten().map(|(_, n)| (n.thread_id, n.thread_name_rva)).collect();
        let mut threads = Vec::with_capacity(list.len());
        for (at, t) in list {
            // A thread without a name is not listed among the named ones.
            let unnamed = if names.is_ok() { Absent::NotApplicable } else { Absent::NotRecorded };
            let info = infos.get(&t.thread_id);
            // MINIDUMP_THREAD_INFO_ERROR_THREAD, _INVALID_INFO: the numbers were not to be had.
            let known = info.map(|(_, i)| i).filter(|i| i.dump_flags & 0x9 == 0).ok_or(Absent::NotRecorded);
            let exited = known.and_then(|i| {
                // MINIDUMP_THREAD_INFO_EXITED_THREAD.
                if i.dump_flags & 4 != 0 { Ok(i) } else { Err(Absent::NotApplicable) }
            });
            let time = |t: u64| if t == 0 { Err(Absent::NotRecorded) } else { Ok(FileTime(t)) };
            let size = t.stack.memory.data_size;
            threads.push(Thread {
                id: t.thread_id,
                suspend_count: t.suspend_count,
                priority_class: t.priority_class,
                priority: t.priority,
                teb: Va(t.teb),
                stack: (size != 0).then_some((Va(t.stack.start_of_memory_range), size)),
                context: self.place(t.thread_context),
                name: named.get(&t.thread_id).ok_or(unnamed).copied().and_then(|rva| self.name(rva)),
                name_at: named.get(&t.thread_id).and_then(|rva| rva.checked_add(4)),
                create_time: known.and_then(|i| time(i.create_time)),
                exit_time: exited.and_then(|i| time(i.exit_time)),
                exit_status: exited.map(|i| i.exit_status),
                user_time: known.map(|i| i.user_time),
                kernel_time: known.map(|i| i.kernel_time),
                start_address: known.map(|i| Va(i.start_address)),
                affinity: known.map(|i| i.affinity),
                // MINIDUMP_THREAD_INFO_WRITING_THREAD.
                wrote_dump: info.is_some_and(|(_, i)| i.dump_flags & 2 != 0),
                file: at as u64,
                info_file: info.map(|(at, _)| *at as u64),
            });
        }
        Ok(threads)
    }
    fn regions(&mut self) -> Value<Vec<Region>> {
        let list = self.list_ex::<md::MINIDUMP_MEMORY_INFO>(Stream::MemoryInfoListStream, true)?;
        Ok(list
            .into_iter()
            .map(|(at, r)| Region {
                base: Va(r.base_address),
                allocation_base: Va(r.allocation_base),
                allocation_protection: r.allocation_protection,
                size: r.region_size,
                state: r.state,
                protection: r.protection,
                kind: r._type,
                file: at as u64,
            })
            .collect())
    }
    fn handles(&mut self) -> Value<Vec<Handle>> {
        // The second version of a descriptor is the first with more behind.
        let list = self.list_ex::<md::MINIDUMP_HANDLE_DESCRIPTOR>(Stream::HandleDataStream, false)?;
        let mut handles = Vec::with_capacity(list.len());
        for (at, h) in list {
            let mut name = |rva: u32| if rva == 0 { Err(Absent::NotApplicable) } else { self.name(rva.into()) };
            handles.push(Handle {
                value: h.handle,
                type_name: name(h.type_name_rva),
                object_name: name(h.object_name_rva),
                attributes: h.attributes,
                granted_access: h.granted_access,
                handle_count: h.handle_count,
                pointer_count: h.pointer_count,
                file: at as u64,
            });
        }
        Ok(handles)
    }
    fn exception(&mut self) -> Option<Exception> {
        let part = self.stream(Stream::ExceptionStream).ok()?;
        let e = self.file.get_stream::<MinidumpException<'_>>().ok()?;
        let r = &e.raw.exception_record;
        Some(Exception {
            thread_id: e.raw.thread_id,
            code: r.exception_code,
            flags: r.exception_flags,
            address: Va(r.exception_address),
            parameters: r.exception_information.iter().copied().take(r.number_parameters as usize).collect(),
            context: self.place(e.raw.thread_context),
            file: part.at as u64,
        })
    }
    /// All memory: the 64-bit list of full dumps, the list of small ones, and the threads' stacks.
    fn memory(&mut self, threads: &[Thread]) -> Sparse {
        let mut blocks = Vec::new();
        if let Ok(part) = self.stream(Stream::Memory64ListStream) {
            let (count, base) = (u64_at(part.bytes, 0).unwrap_or(0), u64_at(part.bytes, 8).unwrap_or(u64::MAX));
            let stride = raw::size::<md::MINIDUMP_MEMORY_DESCRIPTOR64>();
            let mut file = base;
            for (_, d) in
                self.records::<md::MINIDUMP_MEMORY_DESCRIPTOR64>(Stream::Memory64ListStream, part, 16, stride, count)
            {
                blocks.push(Block { va: Va(d.start_of_memory_range), len: d.data_size, file });
                file = file.saturating_add(d.data_size);
            }
        }
        let list = self.list::<md::MINIDUMP_MEMORY_DESCRIPTOR>(Stream::MemoryListStream).unwrap_or_default();
        let stacks = threads.iter().filter_map(|t| {
            let d: md::MINIDUMP_MEMORY_DESCRIPTOR =
                raw::read(self.map, usize::try_from(t.file).ok()?.checked_add(24)?)?;
            Some(d)
        });
        for d in list.into_iter().map(|(_, d)| d).chain(stacks) {
            // Windows writes a stack without bytes where a full dump has them among its memory.
            if d.memory.rva != 0 {
                let (len, file) = (d.memory.data_size.into(), d.memory.rva.into());
                blocks.push(Block { va: Va(d.start_of_memory_range), len, file });
            }
        }
        Sparse::new(self.map, blocks, self.notes)
    }
}

fn version(high: u32, low: u32) -> [u16; 4] {
    let half = |n: u32| u16::try_from(n & 0xffff).unwrap_or(0);
    [half(high >> 16), half(high), half(low >> 16), half(low)]
}

#[cfg(test)]
#[path = "minidump_tests.rs"]
pub(super) mod tests;
