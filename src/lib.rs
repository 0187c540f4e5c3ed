//! dumpwalk opens a Windows memory dump on any workstation and says what was running: every process with its image,
//! address space, handles, threads, token and modules; what hides; and what to look at first. Evidence may end up in
//! court: a wrong value is worse than none, an absent one says why, and every value can name its byte in the file.
//!
//! This page is the architecture. [`cli`] is the program; everything under it is a library:
//!
//! ```no_run
//! use dumpwalk::analysis::{self, Ask, Case, OpenOptions};
//! use dumpwalk::report::Collected;
//!
//! let case = Case::open("memory.dmp".as_ref(), &OpenOptions::default())?;
//! let pslist = analysis::ALL.iter().find(|a| a.name == "pslist").ok_or("not built in")?;
//! let mut found = Collected::default();
//! pslist.run(&case, &Ask::default(), &mut found)?;
//! println!("{} processes, {} notes", found.rows.len(), found.notes.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Layers
//!
//! | layer | owns | may import |
//! |---|---|---|
//! | [`addr`] [`place`] [`bytes`] [`value`] [`error`] [`time`] [`utf16`] [`number`] [`progress`] [`regular`] | address newtypes, bytes that know their origin, values or reasons, errors, FILETIME, Windows text, numbers as people write them, files that are safe to open: the primitives | each other |
//! | [`dump`] | a file → physical pages; one file per container, one run lookup for all | primitives |
//! | [`paging`] | (root, virtual address) → physical; fetches with holes; one file per paging mode | primitives, dump, `symbols::layout`, `symbols::types` |
//! | [`symbols`] | PDB, ISF or built-in table → names and layouts; store, download, cache; `layout!` | primitives |
//! | [`report`] | rows → table, JSON, JSONL, CSV; schemas; text made safe. Knows nothing of Windows | primitives |
//! | [`kernel`] | one file per Windows object (process, thread, handle, token, VAD, module …) and the walkers (list, tree, table) | primitives, dump, paging, symbols |
//! | [`analysis`] | one file per question an analyst asks, one register [`analysis::ALL`] | all above |
//! | [`cli`] | words → job → exit code; progress | all |
//!
//! `tests/layers.rs` reads the imports and holds the code to this table.
//!
//! **Adding a question** is one file in `analysis/` and one line in [`analysis::ALL`]: subcommand, help, table, JSON, CSV,
//! JSON Schema, completion, manual page, golden test, thread test and hostile test follow from the register.
//! **Adding a rule** to what `triage` finds is one file in `analysis/findings/rules/` and one line in its register.
//! **Adding a Windows object** is one file in `kernel/`. **Adding a container** is one file in `dump/`.
//!
//! # A value's way, from file byte to printed cell
//!
//! ```text
//! mmap                              dump::Dump::page(Pfn)       Option<&[u8; 4096]>   zero copy
//!  └ Space::fetch(va, span)         paging                      Bytes                 one walk per page, holes with reasons
//!     └ View<EProcess>::id()        symbols::layout             Value<u64>            offset resolved once per kernel
//!        └ Process::pid()           kernel::process             Value<u64>            meaning: masks, alternatives
//!           └ Cell::from(p.pid())   analysis                    Cell::Dec(4) | Cell::Absent(NotInDump)
//!              └ 4                  report                      4, or null with its reason, or one of - ? !
//! ```
//!
//! [`bytes::Bytes`] borrows the mapped page when the object lies inside one. It keeps the origin of every stretch, so any
//! field can name its virtual address, physical address and file offset ([`place::Place`]). A typed view is over bytes, not
//! over an address: an object met on a list, carved from a pool, or built in a test is decoded by the same code.
//!
//! Memory is a stack of sources: what the page tables place in physical memory is read from the dump, and a space asks its
//! [`paging::Sources`] for the rest: [`kernel::paged`] has page files and the compressed store. A [`place::At`] says in which file a byte stands,
//! and of a decoded page what it was made of.
//!
//! # Failure has three kinds, never mixed
//!
//! * [`error::Error`] stops the run: no kernel found, an indispensable field missing. It says what was tried and what to do next.
//! * [`value::Absent`] is one value that is not there, with its reason: not in this build, not mapped, paged out, not in the
//!   dump, implausible … It reaches the printed cell. Never 0, never an empty string. A text whose end is missing is
//!   [`utf16::Text`]: the beginning, and why there is no more.
//! * [`value::Note`] is a fact about the walk ("the list is broken after 84 entries at …; 11 more found backwards"). A note
//!   of loss makes the exit code 4. One bad page never ends an analysis.
//!
//! # Layouts: declared once, resolved once
//!
//! `layout!` ([`symbols::layout`]) declares a structure's fields by name, with alternatives, and resolves them once per
//! kernel against its types. A field that a kernel lacks reads "not in this build", one of a structure that its symbols do not
//! describe "no symbol"; only the few of [`symbols::indispensable`], each written down with its reason, stop a run, and the error
//! names them. `tests/missing_fields.rs` takes each field away in turn. *Ask the type, never the build number.* Types come from
//! `--pdb`, the folders of `--symbols` and `_NT_SYMBOL_PATH`, the cache, a symbol server, or the built-in tables, in this order.
//! Each is held against the dump; what cannot be used is named in a note, and the next source is asked. A table that is used
//! says so in a note.
//!
//! # Threads and order
//!
//! [`kernel::Kernel`] is immutable and `Sync`; each worker has its own [`paging::Space`] with its own translation cache, and
//! nothing hot takes a lock. Work is claimed unit by unit ([`analysis::parallel`]), rows come out in the order of the
//! units and stream to the writer through bounded buffers: output is the same bytes at any number of threads, and a million
//! rows do not live in memory. `tests/threads.rs` holds that.
//!
//! # Input is hostile
//!
//! Every loop over a dump's pointers is bounded and leaves a note when it stopped; counts are bounded by the bytes that are
//! left before anything is allocated; arithmetic on a dump's values is checked, saturating or wrapping by decision; panics
//! by index, `unwrap` and the like are refused by the compiler's lints outside tests; `unsafe` stands at the memory map and at
//! the signal of a mapping that lost its file. Text of a dump is escaped wherever a terminal or a spreadsheet could obey it ([`report::guard`]).
//! `tests/hostile.rs` and `fuzz/` try to prove otherwise.
//!
//! What a process wrote itself is read through a space that ends where the kernel half begins ([`paging::Space::user_side`]): no pointer
//! of its own shows kernel memory as if it were the process's. A page that a dump's writer filled with a pattern in place of memory it
//! could not read is not in the dump ([`dump::Dump::memory_at`]).
//!
//! # Proof
//!
//! The forge (`testdata/forge/`, a workspace member that shares no line with this crate) builds whole dumps from scenarios on
//! layouts of real kernels and writes the truth beside them; tests compare row by row. `tests/golden.rs` pins every sample,
//! analysis and format. Volatility 3 and MemProcFS read the same dumps; their differences are explained in
//! `testdata/oracles/differences.tsv`.

pub mod addr;
pub mod analysis;
pub mod bytes;
pub mod cli;
pub mod dump;
pub mod error;
pub mod kernel;
pub mod number;
pub mod paging;
pub mod place;
pub mod progress;
pub mod regular;
pub mod report;
pub mod symbols;
pub mod time;
pub mod utf16;
pub mod value;
