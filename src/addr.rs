//! Addresses and page numbers as types of their own, so that none is taken for another.

use crate::value::{Absent, Value};
use std::fmt;

/// Bytes in a page. Windows uses 4 KiB pages on x86, x64 and ARM64.
pub const PAGE_SIZE: u64 = 0x1000;

macro_rules! address {
    ($(#[$m:meta])* $Name:ident) => {
        $(#[$m])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $Name(pub u64);

        impl $Name {
            /// The address `delta` bytes on; wraps at the end of the address space, as a pointer would.
            #[must_use]
            pub const fn add(self, delta: u64) -> Self {
                Self(self.0.wrapping_add(delta))
            }
            /// The address `delta` bytes before; wraps.
            #[must_use]
            pub const fn sub(self, delta: u64) -> Self {
                Self(self.0.wrapping_sub(delta))
            }
            /// The first byte of the page this address lies in.
            #[must_use]
            pub const fn page(self) -> Self {
                Self(self.0 & !(PAGE_SIZE - 1))
            }
            /// The offset inside the page, `0..4096`.
            #[must_use]
            pub const fn offset_in_page(self) -> u64 {
                self.0 & (PAGE_SIZE - 1)
            }
            /// Whether this is the null pointer.
            #[must_use]
            pub const fn is_null(self) -> bool {
                self.0 == 0
            }
        }
        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($Name), "({:#x})"), self.0)
            }
        }
    };
}

address! {
    /// A physical address.
    Pa
}
address! {
    /// A virtual address: canonical and sign-extended on 64-bit machines, zero-extended on 32-bit ones.
    Va
}

/// A physical page number: a physical address divided by 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Pfn(pub u64);

impl Pfn {
    /// The page's first byte. Saturates, so a lying page number gives an address no dump has.
    #[must_use]
    pub const fn base(self) -> Pa {
        Pa(self.0.saturating_mul(PAGE_SIZE))
    }
}
impl fmt::Debug for Pfn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pfn({:#x})", self.0)
    }
}
impl Pa {
    /// The number of the page this address lies in.
    #[must_use]
    pub const fn pfn(self) -> Pfn {
        Pfn(self.0 / PAGE_SIZE)
    }
}
impl Va {
    /// A pointer that points somewhere.
    ///
    /// # Errors
    /// [`Absent::NotApplicable`] for the null pointer.
    pub const fn not_null(self) -> Value<Self> {
        if self.is_null() { Err(Absent::NotApplicable) } else { Ok(self) }
    }
    /// Whether the upper 16 bits repeat bit 47, as every 48-bit x64 and ARM64 pointer must.
    #[must_use]
    pub const fn is_canonical48(self) -> bool {
        let top = self.0 >> 47;
        top == 0 || top == 0x1_ffff
    }
}
