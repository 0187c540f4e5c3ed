//! Machines too large to keep: built when asked for.

use forge::scenario::{Handle, Private, Scenario};
use forge::truth::Json;

fn machine(change: impl FnOnce(&mut Scenario)) -> (Vec<u8>, Json) {
    let mut s = Scenario::load("win10-2004");
    s.name = "large".into();
    s.containers = vec!["full".into()];
    change(&mut s);
    let (dumps, truth) = forge::build(&s);
    (dumps.into_iter().next().expect("a dump").1, truth)
}

fn number(j: &Json, key: &str) -> u64 {
    match j.get(key) {
        Some(Json::Number(n)) => *n,
        _ => panic!("no {key}"),
    }
}

fn process<'a>(truth: &'a Json, name: &str) -> &'a Json {
    let Some(Json::List(list)) = truth.get("processes") else { panic!("no processes") };
    list.iter().find(|p| p.get("name") == Some(&Json::Text(name.into()))).expect(name)
}

fn len(j: &Json, key: &str) -> usize {
    match j.get(key) {
        Some(Json::List(l)) => l.len(),
        _ => panic!("no {key}"),
    }
}

/// Three levels of handle table: the third begins behind 512 leaves of 255 handles.
#[test]
fn three_hundred_thousand_handles() {
    let (dump, truth) = machine(|s| {
        let p = s.processes.iter_mut().find(|p| p.name == "explorer.exe").expect("explorer");
        p.handles = vec![Handle {
            ty: "Event".into(),
            name: "\\BaseNamedObjects\\Many".into(),
            access: 0x1F_0003,
            count: 300_000,
            ..Handle::default()
        }];
    });
    let p = process(&truth, "explorer.exe");
    assert_eq!(len(p, "handles"), 300_000);
    let Some(Json::List(list)) = p.get("handles") else { panic!() };
    assert_eq!(number(&list[255], "value"), 4 * 257);
    assert_eq!(number(&list[299_999], "value") % 4, 0);
    assert!(dump.len() > 1000 * 4096);
}

/// A tree of 20,000 regions, balanced and as a chain.
#[test]
fn many_regions() {
    for deep in [false, true] {
        let (_, truth) = machine(|s| {
            let p = s.processes.iter_mut().find(|p| p.name == "explorer.exe").expect("explorer");
            let one = Private { pages: 16, protection: 4, ..Private::default() };
            (p.vads, p.deep) = (vec![one; 20_000], deep);
        });
        assert!(len(process(&truth, "explorer.exe"), "vads") > 20_000);
    }
}

/// A file written around its holes has the bytes of one written whole.
#[test]
fn holes_are_zeroes() {
    let mut s = Scenario::load("win10-22h2");
    s.containers = vec!["full".into()];
    let planted = forge::plant::plant(&s);
    let (_, whole) = forge::container::write("full", &planted, &s);
    let mut sparse = std::io::Cursor::new(Vec::new());
    let length = forge::container::write_sparse(&planted, &s, &mut sparse, |_| None).expect("written");
    let mut sparse = sparse.into_inner();
    sparse.resize(usize::try_from(length).expect("a length"), 0);
    assert!(whole == sparse);
}

/// The large machine is as large as was asked for.
#[test]
fn a_machine_of_a_size() {
    let words = ["gib=1", "processes=40", "threads=200", "handles=3000", "vads=2400", "modules=800"];
    let size = forge::large::Size::read(&words).expect("a size");
    let planted = forge::plant::plant_into(&forge::large::scenario(&size), 40_000);
    let Some(Json::List(list)) = planted.truth.get("processes") else { panic!("no processes") };
    let of = |key: &str| list.iter().map(|p| len(p, key)).sum::<usize>();
    assert_eq!(list.len(), 40);
    for (key, least) in [("threads", 200), ("handles", 3000), ("vads", 2400), ("modules", 800)] {
        assert!(of(key) >= least, "{} {key}", of(key));
        assert!(of(key) < least * 3 / 2 + 100, "{} {key}", of(key));
    }
    assert!(forge::large::Size::read(&["acres=1"]).is_err());
}
