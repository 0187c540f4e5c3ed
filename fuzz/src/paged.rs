//! Pages as the compressed store keeps them.

use dumpwalk::kernel::paged::Algorithm;

/// Both algorithms on the same bytes: a page or none, and the same page again.
pub fn compressed(bytes: &[u8]) {
    for algorithm in [Algorithm::Xpress, Algorithm::Lz4] {
        let page = algorithm.page(bytes);
        assert_eq!(page, algorithm.page(bytes));
        // What follows a whole page changes nothing of it, in the form that tells its own end.
        if algorithm == Algorithm::Xpress && page.is_some() {
            let longer = [bytes, &[0x55; 9]].concat();
            assert_eq!(algorithm.page(&longer), page);
        }
    }
}
