//! Every layout of address spaces and images against every known kernel.

use super::file_object::{FileLayout, NameInfo, ObjectHeader};
use super::heap::{NtHeap, NtLarge, NtSegment, SegmentHeap};
use super::ldr::{DependencyNode, LdrData, LdrEntry};
use super::peb::{ParametersLayout, PebLayout};
use super::section::{ControlAreaLayout, ImageInformation, SegmentLayout, SubsectionLayout};
use super::testing::kernels;
use super::vad::{VadLong, VadShort};
use super::vad_tree::{PoolHeader, VadOwner};
use crate::symbols::layout::Layout;
use crate::symbols::types::Types;
use std::collections::BTreeMap;

/// Fields that each kernel lacks, by layout.
fn missing<L: Layout>(types: &Types, kernel: &str, out: &mut BTreeMap<String, Vec<String>>) {
    let layout = L::resolve(types).unwrap_or_else(|e| panic!("{kernel}: {e}"));
    for asked in L::ASKED {
        if layout.field(asked.accessor).is_err() {
            assert_eq!(asked.need(L::TYPE), None, "{kernel}: {}", asked.accessor);
            out.entry(format!("{}.{}", L::TYPE, asked.accessor)).or_default().push(kernel.to_owned());
        }
    }
}

#[test]
fn every_layout_resolves_on_every_kernel() {
    let tables = kernels();
    if tables.is_empty() {
        return;
    }
    let mut lacking = BTreeMap::new();
    for (name, symbols) in &tables {
        let t = &symbols.types;
        let out = &mut lacking;
        missing::<VadShort>(t, name, out);
        missing::<VadLong>(t, name, out);
        missing::<VadOwner>(t, name, out);
        missing::<PoolHeader>(t, name, out);
        missing::<SubsectionLayout>(t, name, out);
        missing::<ControlAreaLayout>(t, name, out);
        missing::<SegmentLayout>(t, name, out);
        missing::<ImageInformation>(t, name, out);
        missing::<FileLayout>(t, name, out);
        missing::<ObjectHeader>(t, name, out);
        missing::<NameInfo>(t, name, out);
        missing::<PebLayout>(t, name, out);
        missing::<ParametersLayout>(t, name, out);
        missing::<LdrData>(t, name, out);
        missing::<LdrEntry>(t, name, out);
        missing::<NtHeap>(t, name, out);
        missing::<NtSegment>(t, name, out);
        missing::<NtLarge>(t, name, out);
    }
    let lack = |field: &str| lacking.get(field).map_or(0, Vec::len);
    // No field is a name that no kernel has.
    for (field, kernels) in &lacking {
        assert!(kernels.len() < tables.len(), "{field} is in no known kernel");
    }
    let only = |field: &str, expected: &[&str]| {
        assert_eq!(lacking.get(field).cloned().unwrap_or_default(), expected, "{field}");
    };
    let xp = "x86-5.1.2600.5512";
    only("_MMVAD_SHORT.kind", &[xp]);
    only("_MMVAD.subsection", &[xp]);
    only("_LDR_DATA_TABLE_ENTRY.load_time", &[xp]);
    only("_HEAP.segments", &[xp]);
    only("_RTL_USER_PROCESS_PARAMETERS.environment_size", &[xp]);
    assert_eq!(lack("_MMVAD_SHORT.image_map"), tables.len() - 1);
    assert_eq!(lack("_MMVAD.control_area"), tables.len() - 1);
    // Since 8 the loader keeps a graph of dependencies, since 17763 the symbols know the segment heap.
    let with_graph = tables.iter().filter(|(_, s)| s.types.get(DependencyNode::TYPE).is_some()).count();
    let with_segment_heap = tables.iter().filter(|(_, s)| s.types.get(SegmentHeap::TYPE).is_some()).count();
    assert_eq!((with_graph, with_segment_heap), (19, 10));
}
