//! `_HANDLE_TABLE`: a process's handles, and the table of all process and thread ids.

use super::process::Process;
use crate::addr::Va;
use crate::layout;
use crate::paging::Space;
use crate::symbols::layout::Here;
use crate::value::{Absent, Value};

layout! {
    /// `_HANDLE_TABLE`.
    pub struct HandleTable: "_HANDLE_TABLE" {
        /// `TableCode`: the address of the top page, its level in the low two bits.
        code: u64 = "TableCode",
        /// `HandleCount` (up to 7).
        count: Option<u32> = "HandleCount",
        /// `FreeLists` (from 8), whose first element counts.
        free_lists: Option<Here> = "FreeLists",
        /// `QuotaProcess`: whose table it is.
        owner: Va = "QuotaProcess",
        /// `UniqueProcessId`: whose table it is.
        pid: u64 = "UniqueProcessId",
        /// `NextHandleNeedingPool`: one past the last handle there is room for.
        end: u32 = "NextHandleNeedingPool",
    }
}
layout! {
    /// `_HANDLE_TABLE_FREE_LIST` (from 8).
    pub struct FreeList: "_HANDLE_TABLE_FREE_LIST" {
        /// `HandleCount`.
        count: u32 = "HandleCount",
    }
}

impl Process<'_> {
    /// Open handles, as the table counts them.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`]: it has no table (it ended).
    pub fn handle_count(&self, space: &Space<'_>) -> Value<u32> {
        let at = self.view.handle_table()?;
        if at.is_null() {
            return Err(Absent::NotApplicable);
        }
        let table = space.view(self.kernel.layout::<HandleTable>().map_err(|_| Absent::NoSymbol)?, at);
        match table.count() {
            Err(Absent::NotInBuild) => {
                let list = self.kernel.layout::<FreeList>().map_err(|_| Absent::NoSymbol)?;
                space.view(list, table.free_lists()?).count()
            }
            count => count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use crate::symbols::layout::Layout;

    #[test]
    fn every_known_kernel_counts_its_handles_in_one_of_two_places() {
        for (name, symbols) in testing::kernels() {
            let table = HandleTable::resolve(&symbols.types).unwrap_or_else(|e| panic!("{name}: {e}"));
            let own = table.field("count").is_some();
            assert_ne!(own, table.field("free_lists").is_some(), "{name}");
            assert_eq!(FreeList::resolve(&symbols.types).is_ok(), !own, "{name}");
        }
    }
}
