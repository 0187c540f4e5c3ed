//! The list of kernel modules.

use super::End::{self, Failed, Passed, Unknown};
use crate::kernel::Kernel;

impl Kernel {
    /// The module list begins with this kernel.
    pub(super) fn check_modules(&self) -> End {
        let Ok(modules) = self.listed_modules() else { return Unknown("modules (the list was not found)".into()) };
        match modules.list.first() {
            Some(m) if m.base == Ok(self.base) => {
                if m.size.is_ok_and(|s| self.size.is_none_or(|own| own == s)) {
                    Passed("the module list begins with this kernel".into())
                } else {
                    Failed("the module list gives this kernel another size".into())
                }
            }
            // An entry that is lost breaks the list: what is found from its other end is not its beginning.
            Some(_) if !modules.notes.is_empty() => Unknown("modules (the list is broken)".into()),
            Some(m) => Failed(format!("the module list begins with {:?} at {:?}", m.name, m.base)),
            None => Unknown("modules (the list is empty)".into()),
        }
    }
}
