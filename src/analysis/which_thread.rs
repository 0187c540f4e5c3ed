//! The columns that every row about a thread has of it.

use crate::kernel::thread::{EThread, Thread};
use crate::report::{Column, Field, Kind, Subject, col, placed};
use std::borrow::Cow;

/// Rows that are about a thread, among other things.
pub trait OfThread: Subject {
    /// The thread.
    fn thread<'a, 'b>(of: &'b Self::Of<'a>) -> &'b Thread<'a>;
}

/// Says that rows named `$name` are of a `$of`, whose field `thread` is the thread.
macro_rules! of_thread {
    ($name:ident, $of:ident) => {
        impl $crate::analysis::which_thread::OfThread for $name {
            fn thread<'a, 'b>(of: &'b Self::Of<'a>) -> &'b $crate::kernel::thread::Thread<'a> {
                of.thread
            }
        }
    };
}
pub(super) use of_thread;

/// `tid`.
#[must_use]
pub const fn tid<S: OfThread>() -> Field<S> {
    placed(col("tid", Kind::Number, "Thread id"), |c| S::thread(c).tid().into(), |c| S::thread(c).view.at(EThread::tid))
}
/// Its TEB, as a column of this description.
#[must_use]
pub const fn teb<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).teb().into(), |c| S::thread(c).view.at(EThread::teb_raw))
}
/// Where the kernel began it, as a column of this description.
#[must_use]
pub const fn start_address<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).view.start().into(), |c| S::thread(c).view.at(EThread::start))
}
/// What its creator asked to run, as a column of this description.
#[must_use]
pub const fn win32_start_address<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).win32_start().into(), |c| S::thread(c).view.at(EThread::win32_start_raw))
}
/// Its scheduler state, as a column of this description.
#[must_use]
pub const fn state<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).state().map(Cow::into_owned).into(), |c| S::thread(c).view.at(EThread::state_raw))
}
/// When it was created, as a column of this description.
#[must_use]
pub const fn create_time<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).created().into(), |c| S::thread(c).view.at(EThread::create_time_raw))
}
/// When it ended, as a column of this description.
#[must_use]
pub const fn exit_time<S: OfThread>(column: Column) -> Field<S> {
    placed(column, |c| S::thread(c).exited().into(), |c| S::thread(c).view.at(EThread::exit_time_raw))
}
