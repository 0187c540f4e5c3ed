//! The on-disk structures, as bytes lie in the file. Meaning is given to them elsewhere.
//!
//! Sources: the WDK's public `_DUMP_HEADER`, `_DUMP_HEADER64`, `_SUMMARY_DUMP32/64` and `_TRIAGE_DUMP32/64`
//! (field offsets as debuggers print them), the header tables that memory-forensics tools publish, and real dumps.
//! All numbers are little-endian. A field that a dump writer left alone holds the filler `PAGE`, repeated.

// A structure lists every field it has on disk, whether or not someone reads it.
#![allow(dead_code)]

use scroll::{LE, Pread, SizeWith};

/// `PAGE`, little-endian: the signature of a header, and what fills its unused bytes.
pub const FILL32: u32 = 0x4547_4150;
/// The filler, eight bytes of it.
pub const FILL64: u64 = 0x4547_4150_4547_4150;

/// First bytes of a 64-bit header (`_DUMP_HEADER64`).
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Head64 {
    pub signature: u32,
    pub valid_dump: u32,
    pub major: u32,
    pub minor: u32,
    pub directory_table_base: u64,
    pub pfn_database: u64,
    pub loaded_module_list: u64,
    pub active_process_head: u64,
    pub machine: u32,
    pub processors: u32,
    pub bugcheck: u32,
    pub pad: u32,
    pub parameter1: u64,
    pub parameter2: u64,
    pub parameter3: u64,
    pub parameter4: u64,
    pub version_user: [u8; 32],
    pub debugger_data: u64,
}

/// File offset of `SystemTime`: [`Tail64::system_time`] behind [`TAIL64`].
pub const SYSTEM_TIME64: u64 = TAIL64 as u64 + 16;
/// File offset of `SystemTime`: [`Tail32::system_time`] behind [`TAIL32`].
pub const SYSTEM_TIME32: u64 = TAIL32 as u64 + 56;

/// File offsets of `BugCheckCode` and of the first of its parameters ([`Head64`]).
pub const BUGCHECK64: (u64, u64) = (0x38, 0x40);
/// The same of 32-bit headers ([`Head32`]).
pub const BUGCHECK32: (u64, u64) = (0x28, 0x2c);

/// What follows the records of a 64-bit header, at [`TAIL64`].
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Tail64 {
    pub dump_type: u32,
    pub pad: u32,
    pub required_space: u64,
    pub system_time: u64,
    pub comment: [u8; 128],
    pub uptime: u64,
    pub mini_fields: u32,
    pub secondary_state: u32,
    pub product_type: u32,
    pub suite_mask: u32,
    pub writer_status: u32,
    pub unused: [u8; 4],
    /// `_DUMP_FILE_ATTRIBUTES`, from Windows 8.1 on; the filler before, and where the writer leaves it alone.
    pub attributes: u32,
}

/// First bytes of a 32-bit header (`_DUMP_HEADER`).
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Head32 {
    pub signature: u32,
    pub valid_dump: u32,
    pub major: u32,
    pub minor: u32,
    pub directory_table_base: u32,
    pub pfn_database: u32,
    pub loaded_module_list: u32,
    pub active_process_head: u32,
    pub machine: u32,
    pub processors: u32,
    pub bugcheck: u32,
    pub parameter1: u32,
    pub parameter2: u32,
    pub parameter3: u32,
    pub parameter4: u32,
    pub version_user: [u8; 32],
    pub pae_enabled: u8,
    pub secondary_version: u8,
    pub spare: u16,
    pub debugger_data: u32,
}

/// What follows the reserved bytes of a 32-bit header, at [`TAIL32`].
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Tail32 {
    pub dump_type: u32,
    pub mini_fields: u32,
    pub secondary_state: u32,
    pub product_type: u32,
    pub suite_mask: u32,
    pub writer_status: u32,
    pub required_space: u64,
    pub reserved: [u8; 16],
    pub uptime: u64,
    pub system_time: u64,
}

/// `_PHYSICAL_MEMORY_DESCRIPTOR64`, before its runs.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Memory64 {
    pub runs: u32,
    pub pad: u32,
    pub pages: u64,
}

/// `_PHYSICAL_MEMORY_RUN64`, and a range of an `RDMP` dump.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Run64 {
    pub page: u64,
    pub count: u64,
}

/// `_PHYSICAL_MEMORY_DESCRIPTOR` of 32-bit dumps, before its runs.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Memory32 {
    pub runs: u32,
    pub pages: u32,
}

/// `_PHYSICAL_MEMORY_RUN` of 32-bit dumps.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Run32 {
    pub page: u32,
    pub count: u32,
}

/// The second header of bitmap dumps since Windows 8 (types 5 and 6), the same in 32-bit and 64-bit dumps.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct BitmapHead {
    pub signature: u32,
    pub valid_dump: u32,
    pub options: u32,
    pub reserved: [u8; 20],
    /// File offset of the first page.
    pub first_page: u64,
    /// Pages present: bits set.
    pub pages: u64,
    /// Bits in the bitmap.
    pub bits: u64,
}

/// The second header of summary dumps (type 2) of 32-bit Windows: `_SUMMARY_DUMP32`.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Summary32 {
    pub signature: u32,
    pub valid_dump: u32,
    pub options: u32,
    /// File offset of the first page.
    pub header_size: u32,
    /// Bits in the bitmap.
    pub bits: u32,
    /// Pages present: bits set.
    pub pages: u32,
    /// `RTL_BITMAP.SizeOfBitMap`: the same number of bits again.
    pub bitmap_bits: u32,
    pub pointer: u32,
}

/// The second header of summary dumps (type 2) of 64-bit Windows: `_SUMMARY_DUMP64`.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Summary64 {
    pub signature: u32,
    pub valid_dump: u32,
    pub options: u32,
    pub header_size: u32,
    pub bits: u32,
    pub pages: u32,
    pub bitmap_bits: u32,
    pub pad: u32,
    pub pointer: u64,
}

/// The second header of range dumps (types 8, 9 and 0xA).
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct RangeHead {
    /// 0x40.
    pub marker: u32,
    /// `RDMP`.
    pub signature: u32,
    /// `DUMP`.
    pub valid_dump: u32,
    pub reserved: u32,
    /// Bytes from [`marker`](Self::marker) to the first page, less 0x20.
    pub metadata_size: u64,
    /// File offset of the first page.
    pub first_page: u64,
}

/// What a type 0xA dump has between its [`RangeHead`] and its ranges.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct RangeCount {
    pub ranges: u32,
    pub unknown1: u16,
    pub unknown2: u16,
    pub pages: u64,
}

/// `_TRIAGE_DUMP64`: what a 64-bit triage dump has after its header. Offsets are from the start of the file.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Triage64 {
    pub common: Triage,
    pub top_of_stack: u64,
    /// Of Itanium machines.
    pub architecture: [u8; 16],
    pub data_page_address: u64,
    pub data_page_offset: u32,
    pub data_page_size: u32,
    pub debugger_data_offset: u32,
    pub debugger_data_size: u32,
    pub data_blocks_offset: u32,
    pub data_blocks_count: u32,
}

/// `_TRIAGE_DUMP32`.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Triage32 {
    pub common: Triage,
    pub top_of_stack: u32,
    pub data_page_address: u32,
    pub data_page_offset: u32,
    pub data_page_size: u32,
    pub debugger_data_offset: u32,
    pub debugger_data_size: u32,
    pub data_blocks_offset: u32,
    pub data_blocks_count: u32,
}

/// What both begin with.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Triage {
    pub service_pack_build: u32,
    pub size_of_dump: u32,
    /// Where the end mark `TRGD` stands.
    pub valid_offset: u32,
    pub context_offset: u32,
    pub exception_offset: u32,
    pub mm_offset: u32,
    pub unloaded_drivers_offset: u32,
    pub prcb_offset: u32,
    pub process_offset: u32,
    pub thread_offset: u32,
    pub call_stack_offset: u32,
    pub size_of_call_stack: u32,
    pub driver_list_offset: u32,
    pub driver_count: u32,
    pub string_pool_offset: u32,
    pub string_pool_size: u32,
    pub broken_driver_offset: u32,
    pub triage_options: u32,
}

/// A kept stretch of virtual memory (`_TRIAGE_DATA_BLOCK`).
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct TriageBlock {
    pub address: u64,
    pub offset: u32,
    pub size: u32,
}

/// What a piece of secondary data begins with (`_DUMP_BLOB_HEADER`).
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct Blob {
    pub header_size: u32,
    pub tag: [u8; 16],
    pub data_size: u32,
    pub pre_pad: u32,
    pub post_pad: u32,
}

/// An entry of a 64-bit triage dump's driver list: the name's offset and the frozen `_KLDR_DATA_TABLE_ENTRY` that
/// debuggers know, of which these fields are filled in.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct TriageDriver64 {
    pub name_offset: u32,
    pub pad: u32,
    pub before_base: [u8; 0x30],
    pub base: u64,
    pub entry_point: u64,
    pub size_of_image: u32,
    pub before_sum: [u8; 0x34],
    pub checksum: u32,
    pub pad2: u32,
    pub time_stamp: u32,
    pub pad3: u32,
}

/// The same of 32-bit dumps.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct TriageDriver32 {
    pub name_offset: u32,
    pub before_base: [u8; 0x18],
    pub base: u32,
    pub entry_point: u32,
    pub size_of_image: u32,
    pub before_sum: [u8; 0x1c],
    pub checksum: u32,
    pub time_stamp: u32,
}

/// An unloaded driver of a 64-bit triage dump (`_DUMP_UNLOADED_DRIVERS64`): a `_UNICODE_STRING` whose buffer follows it.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct TriageUnloaded64 {
    pub length: u16,
    pub maximum: u16,
    pub pad: u32,
    pub buffer: u64,
    pub name: [u8; 24],
    pub start: u64,
    pub end: u64,
}

/// The same of 32-bit dumps.
#[derive(Debug, Clone, Copy, Pread, SizeWith)]
pub struct TriageUnloaded32 {
    pub length: u16,
    pub maximum: u16,
    pub buffer: u32,
    pub name: [u8; 24],
    pub start: u32,
    pub end: u32,
}

/// Size of a 64-bit header: two pages.
pub const HEADER64: usize = 0x2000;
/// Size of a 32-bit header: one page.
pub const HEADER32: usize = 0x1000;
/// `_DUMP_HEADER64.PhysicalMemoryBlock`; 700 bytes.
pub const MEMORY64: usize = 0x88;
/// `_DUMP_HEADER64.ContextRecord`; 3,000 bytes.
pub const CONTEXT64: usize = 0x348;
/// `_DUMP_HEADER64.Exception`; `_EXCEPTION_RECORD64`.
pub const EXCEPTION64: usize = 0xf00;
/// `_DUMP_HEADER64.DumpType` and what follows.
pub const TAIL64: usize = 0xf98;
/// `_DUMP_HEADER.PhysicalMemoryBlock`; 700 bytes.
pub const MEMORY32: usize = 0x64;
/// `_DUMP_HEADER.ContextRecord`; 1,200 bytes.
pub const CONTEXT32: usize = 0x320;
/// `_DUMP_HEADER.Exception`; `_EXCEPTION_RECORD32`.
pub const EXCEPTION32: usize = 0x7d0;
/// `_DUMP_HEADER.Comment`; 128 bytes.
pub const COMMENT32: usize = 0x820;
/// `_DUMP_HEADER.DumpType` and what follows.
pub const TAIL32: usize = 0xf88;
/// Bytes of the memory descriptor's buffer in either header.
pub const MEMORY_BYTES: usize = 700;

/// Reads a structure at `offset`; `None` when the bytes end before it does.
pub fn read<'a, T>(bytes: &'a [u8], offset: usize) -> Option<T>
where
    T: scroll::ctx::TryFromCtx<'a, scroll::Endian, [u8], Error = scroll::Error>,
{
    bytes.pread_with(offset, LE).ok()
}

/// Bytes of a structure on disk.
pub fn size<T: scroll::ctx::SizeWith<scroll::Endian>>() -> usize {
    T::size_with(&LE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_on_disk() {
        assert_eq!(size::<Head64>(), MEMORY64);
        assert_eq!(size::<Tail64>(), 0x1054 - TAIL64);
        assert_eq!(size::<Head32>(), MEMORY32);
        assert_eq!(size::<Tail32>(), 0xfc8 - TAIL32);
        assert_eq!(size::<Memory64>(), 16);
        assert_eq!(size::<Run64>(), 16);
        assert_eq!(size::<Memory32>(), 8);
        assert_eq!(size::<Run32>(), 8);
        assert_eq!(size::<BitmapHead>(), 0x38);
        assert_eq!(size::<Summary32>(), 0x20);
        assert_eq!(size::<Summary64>(), 0x28);
        assert_eq!(size::<RangeHead>(), 0x20);
        assert_eq!(size::<RangeCount>(), 0x10);
        assert_eq!(size::<Triage>(), 0x48);
        assert_eq!(size::<Triage64>(), 0x80);
        assert_eq!(size::<Triage32>(), 0x68);
        assert_eq!(size::<TriageBlock>(), 0x10);
        assert_eq!(size::<Blob>(), 0x20);
        assert_eq!(size::<TriageDriver64>(), 0x90);
        assert_eq!(size::<TriageDriver32>(), 0x4c);
        assert_eq!(size::<TriageUnloaded64>(), 0x38);
        assert_eq!(size::<TriageUnloaded32>(), 0x28);
    }
    #[test]
    fn records_do_not_overlap() {
        const { assert!(MEMORY64 + MEMORY_BYTES <= CONTEXT64) };
        assert_eq!(CONTEXT64 + 3000, EXCEPTION64);
        assert_eq!(EXCEPTION64 + 0x98, TAIL64);
        assert_eq!(MEMORY32 + MEMORY_BYTES, CONTEXT32);
        assert_eq!(CONTEXT32 + 1200, EXCEPTION32);
        assert_eq!(EXCEPTION32 + 0x50, COMMENT32);
    }
    #[test]
    fn a_structure_past_the_end_is_not_read() {
        assert!(read::<Run64>(&[0; 16], 1).is_none());
        assert!(read::<Run64>(&[0; 16], usize::MAX).is_none());
        assert_eq!(read::<Run64>(&[1; 16], 0).unwrap().page, 0x0101_0101_0101_0101);
    }
}
