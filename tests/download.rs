//! Downloads against a small HTTP server on loopback that answers as servers do, well and badly.
#![cfg(feature = "download")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod small_pdb;

use dumpwalk::symbols::cache::Cache;
use dumpwalk::symbols::store::{Limits, Options, Progress, Store};
use dumpwalk::symbols::{PdbId, SymbolSource, Symbols};
use small_pdb::{GUID, SmallPdb};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What the server does with a request for a path (`GET` or `HEAD`).
type Answer = dyn Fn(&str, &str, &mut TcpStream) + Send + Sync;

struct Server {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(answer: impl Fn(&str, &str, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen): (Arc<Answer>, _) = (Arc::new(answer), requests.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), answer, seen) = (stream, answer.clone(), seen.clone()) else { return };
                std::thread::spawn(move || {
                    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                    let first = lines.next().unwrap_or_else(|| Ok(String::new())).unwrap_or_default();
                    while let Some(Ok(line)) = lines.next() {
                        if line.is_empty() {
                            break;
                        }
                    }
                    let mut words = first.split(' ');
                    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                    seen.lock().unwrap().push(format!("{method} {path}"));
                    answer(method, path, &mut stream);
                });
            }
        });
        Self { url, requests }
    }
}

fn respond(stream: &mut TcpStream, method: &str, status: &str, headers: &str, body: &[u8]) {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    if method == "GET" {
        let _ = stream.write_all(body);
    }
}

fn not_found(stream: &mut TcpStream, method: &str) {
    respond(stream, method, "404 Not Found", "", b"no such file");
}

/// Serves this as the PDB, whatever it is, and nothing else.
fn serving(body: Vec<u8>) -> Server {
    Server::new(move |method, path, stream| {
        if path.ends_with(".pdb") { respond(stream, method, "200 OK", "", &body) } else { not_found(stream, method) }
    })
}

fn id() -> PdbId {
    PdbId { name: "ntkrnlmp.pdb".into(), guid: GUID.into(), age: 1 }
}

fn limits() -> Limits {
    Limits { silence: Duration::from_secs(5), ..Limits::default() }
}

/// Asks one server; the store keeps what it sends in `folder/keep`.
fn ask(folder: &Path, server: &Server, limits: Limits) -> Result<Symbols, String> {
    let store = Store::new(Options {
        symbol_path: Some(format!("srv*{}*{}/sym/", folder.join("keep").display(), server.url)),
        cache: Some(Cache::new(folder.join("cache"))),
        limits,
        ..Options::default()
    });
    store.load(&id()).map_err(|e| e.to_string())
}

/// Every file under a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { out.extend(files(&path)) } else { out.push(path) }
    }
    out.sort();
    out
}

/// The server's answer is refused, with these words, and leaves nothing behind.
fn refused(server: &Server, limits: Limits, words: &str) {
    let dir = tempfile::tempdir().unwrap();
    let error = ask(dir.path(), server, limits).unwrap_err();
    assert!(error.contains(words), "{words:?} is not in: {error}");
    assert!(error.contains(&server.url), "{error}");
    assert_eq!(files(dir.path()), Vec::<PathBuf>::new());
}

#[test]
fn a_pdb_is_fetched_once_and_kept() {
    let pdb = SmallPdb { fill: 3 << 20, ..SmallPdb::default() }.bytes();
    let server = serving(pdb.clone());
    let dir = tempfile::tempdir().unwrap();
    let first = ask(dir.path(), &server, limits()).unwrap();
    assert_eq!(first.rva("PsActiveProcessHead"), Some(0x1234));
    assert_eq!(first.types.member("_A", "Bit").unwrap().bits, Some((3, 5)));
    assert!(first.origin.contains(&server.url), "{}", first.origin);
    let kept = dir.path().join("keep/ntkrnlmp.pdb").join(id().key()).join("ntkrnlmp.pdb");
    assert_eq!(std::fs::read(&kept).unwrap(), pdb);
    assert_eq!(files(&dir.path().join("keep")), [kept]);
    let asked = server.requests.lock().unwrap().len();
    assert!(server.requests.lock().unwrap()[0].ends_with(&format!("/sym/ntkrnlmp.pdb/{GUID}1/ntkrnlmp.pdb")));
    assert_eq!(ask(dir.path(), &server, limits()).unwrap(), first);
    // Without the compact table the kept PDB serves.
    std::fs::remove_dir_all(dir.path().join("cache")).unwrap();
    assert_eq!(ask(dir.path(), &server, limits()).unwrap().globals, first.globals);
    assert_eq!(server.requests.lock().unwrap().len(), asked);
}

#[test]
fn a_compressed_pdb_is_fetched() {
    let mut builder = cab::CabinetBuilder::new();
    builder.add_folder(cab::CompressionType::MsZip).add_file("ntkrnlmp.pdb");
    let mut writer = builder.build(std::io::Cursor::new(Vec::new())).unwrap();
    while let Some(mut file) = writer.next_file().unwrap() {
        file.write_all(&SmallPdb::default().bytes()).unwrap();
    }
    let cab = writer.finish().unwrap().into_inner();
    let server = Server::new(move |method, path, stream| {
        if path.ends_with(".pd_") { respond(stream, method, "200 OK", "", &cab) } else { not_found(stream, method) }
    });
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ask(dir.path(), &server, limits()).unwrap().rva("PsActiveProcessHead"), Some(0x1234));
    let garbage = Server::new(|method, path, stream| {
        if path.ends_with(".pd_") {
            respond(stream, method, "200 OK", "", b"MSCF\0\0\0\0rubbish")
        } else {
            not_found(stream, method)
        }
    });
    refused(&garbage, limits(), "cannot be unpacked");
}

#[test]
fn what_is_not_there_is_said_so() {
    refused(&Server::new(|method, _, stream| not_found(stream, method)), limits(), "does not have it");
}

#[test]
fn another_pdb_is_refused() {
    let other = SmallPdb { guid: "FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", ..SmallPdb::default() };
    refused(&serving(other.bytes()), limits(), "it sent the PDB FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF1");
    refused(&serving(SmallPdb { age: 2, ..SmallPdb::default() }.bytes()), limits(), "it sent the PDB");
}

#[test]
fn garbage_is_refused_by_how_it_begins() {
    refused(&serving(b"<html>Please log in</html>".to_vec()), limits(), "<html>Please log in");
    refused(&serving(Vec::new()), limits(), "no PDB");
    let mut cut = SmallPdb { fill: 1 << 20, ..SmallPdb::default() }.bytes();
    cut.truncate(10_000);
    refused(&serving(cut), limits(), "what it sent");
}

#[test]
fn a_server_that_sends_us_elsewhere_is_not_followed() {
    let elsewhere = serving(SmallPdb::default().bytes());
    let to = elsewhere.url.clone();
    let server = Server::new(move |method, path, stream| {
        respond(stream, method, "302 Found", &format!("Location: {to}{path}\r\n"), b"");
    });
    refused(&server, limits(), "which is not followed");
    assert_eq!(elsewhere.requests.lock().unwrap().len(), 0);
    let circle = Server::new(|method, path, stream| {
        respond(stream, method, "302 Found", &format!("Location: {path}\r\n"), b"");
    });
    refused(&circle, limits(), "without end");
}

/// A server that answers `HEAD` well and sends `GET` elsewhere.
#[test]
fn every_answer_is_judged_by_where_it_sends_us() {
    let elsewhere = serving(SmallPdb::default().bytes());
    let to = elsewhere.url.clone();
    let server = Server::new(move |method, path, stream| {
        if method == "HEAD" {
            respond(stream, method, "200 OK", "", b"");
        } else {
            respond(stream, method, "302 Found", &format!("Location: {to}{path}\r\n"), b"");
        }
    });
    refused(&server, limits(), "which is not followed");
    assert_eq!(elsewhere.requests.lock().unwrap().len(), 0);
}

/// A byte now and then is no download.
#[test]
fn a_server_that_dawdles_is_given_up() {
    let server = Server::new(|method, path, stream| {
        if !path.ends_with(".pdb") {
            return not_found(stream, method);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\nConnection: close\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    refused(
        &server,
        Limits { silence: Duration::from_millis(300), attempts: 1, ..Limits::default() },
        "sends less than",
    );
}

/// A PE32+ image of the identity that a triage sample states, whose debug directory names a PDB.
fn image(time_stamp: u32, size: u32, id: &PdbId) -> Vec<u8> {
    let mut out = vec![0u8; 0x800];
    let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
    let n = |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    put(0, b"MZ");
    put(0x3c, &n(&[0x80]));
    put(0x80, b"PE\0\0\x64\x86\x01\0");
    put(0x88, &n(&[time_stamp]));
    put(0x94, &240u16.to_le_bytes());
    put(0x98, &0x20bu16.to_le_bytes());
    put(0x98 + 56, &n(&[size]));
    put(0x98 + 108, &n(&[16]));
    put(0x98 + 112 + 6 * 8, &n(&[0x1000, 28]));
    put(0x98 + 240 + 12, &n(&[0x1000, 0x400, 0x400]));
    put(0x400 + 12, &n(&[2, 24 + 13, 0x1100, 0x500]));
    let part = |r: std::ops::Range<usize>| u32::from_str_radix(&id.guid[r], 16).unwrap();
    put(0x500, b"RSDS");
    put(0x504, &n(&[part(0..8)]));
    put(0x508, &[(part(8..12) as u16).to_le_bytes(), (part(12..16) as u16).to_le_bytes()].concat());
    put(0x50c, &(16..32).step_by(2).map(|i| part(i..i + 2) as u8).collect::<Vec<_>>());
    put(0x514, &n(&[id.age]));
    put(0x518, b"ntkrnlmp.pdb\0");
    out
}

/// A triage dump does not name its PDB. Its kernel's image does, and both are fetched; afterwards no server is needed.
#[test]
fn a_triage_dump_is_served_by_its_image() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dump = root.join("testdata/win10-2004/triage.dmp");
    let opened = Arc::new(dumpwalk::dump::Dump::open(&dump).unwrap());
    let driver = opened.triage().unwrap().drivers()[0].clone();
    let id = PdbId { name: "ntkrnlmp.pdb".into(), guid: "5278AFF86C341677D7D7835C85B7B844".into(), age: 1 };
    let pdb = std::fs::read(root.join("symbols/ntkrnlmp.pdb").join(id.key()).join("ntkrnlmp.pdb")).unwrap();
    let key = format!("{:08X}{:x}", driver.time_stamp, driver.size);
    let there = format!("/ntoskrnl.exe/{key}/ntoskrnl.exe");
    let exe = image(driver.time_stamp, driver.size, &id);
    let server = Server::new(move |method, path, stream| match path {
        p if p == there => respond(stream, method, "200 OK", "", &exe),
        p if p.ends_with("/ntkrnlmp.pdb") && p.contains("5278AFF86C341677D7D7835C85B7B8441") => {
            respond(stream, method, "200 OK", "", &pdb);
        }
        _ => not_found(stream, method),
    });
    let dir = tempfile::tempdir().unwrap();
    let options = |offline| Options {
        symbol_path: Some(format!("srv**{}", server.url)),
        cache: Some(Cache::new(dir.path().join("cache"))),
        limits: limits(),
        offline,
        ..Options::default()
    };
    for offline in [false, true] {
        let kernel = dumpwalk::kernel::find::find(&opened, &Store::new(options(offline))).unwrap();
        assert_eq!(kernel.symbols.id.as_ref(), Some(&id), "{:?}", kernel.notes);
        let told = format!("the image ntoskrnl.exe {key} names the PDB ntkrnlmp.pdb {}", id.key());
        assert!(kernel.notes.iter().any(|n| n.text.contains(&told)), "{:?}", kernel.notes);
    }
    assert_eq!(server.requests.lock().unwrap().len(), 2);

    // For a machine without network: the folder has both.
    let wanted = dumpwalk::symbols::ImageId {
        name: driver.name.clone().unwrap(),
        time_stamp: driver.time_stamp,
        size: driver.size,
    };
    let usb = dir.path().join("usb");
    let fresh = Store::new(Options { cache: None, ..options(false) });
    let named = dumpwalk::symbols::manage::fetch_image(&fresh, &wanted, &usb).unwrap();
    assert_eq!(named, id);
    dumpwalk::symbols::manage::fetch(&fresh, &named, &usb).unwrap();
    let alone = Store::new(Options { folders: vec![usb.clone()], offline: true, ..Options::default() });
    let kernel = dumpwalk::kernel::find::find(&opened, &alone).unwrap();
    assert_eq!(kernel.symbols.id.as_ref(), Some(&id));
    assert!(kernel.notes.iter().any(|n| n.text.contains("the image ntoskrnl.exe")), "{:?}", kernel.notes);

    // Another image under that name is refused by name.
    let liar = Server::new(move |method, _, stream| respond(stream, method, "200 OK", "", &image(1, 0x1000, &id)));
    let store = Store::new(Options { symbol_path: Some(liar.url.clone()), limits: limits(), ..Options::default() });
    let error = dumpwalk::symbols::manage::fetch_image(&store, &wanted, &dir.path().join("x")).unwrap_err().to_string();
    assert!(error.contains("it is the image 000000011000, not") && error.contains(&liar.url), "{error}");
    assert_eq!(files(&dir.path().join("x")), Vec::<PathBuf>::new());
}

#[test]
fn a_server_may_send_us_on_within_itself() {
    let pdb = SmallPdb::default().bytes();
    let server = Server::new(move |method, path, stream| match path {
        p if p.starts_with("/moved") && p.ends_with(".pdb") => respond(stream, method, "200 OK", "", &pdb),
        p if p.ends_with(".pdb") => respond(stream, method, "302 Found", &format!("Location: /moved{p}\r\n"), b""),
        _ => not_found(stream, method),
    });
    let dir = tempfile::tempdir().unwrap();
    assert!(ask(dir.path(), &server, limits()).is_ok());
}

#[test]
fn a_failing_server_is_asked_again() {
    let pdb = SmallPdb::default().bytes();
    let gets = AtomicU32::new(0);
    let server = Server::new(move |method, path, stream| {
        if !path.ends_with(".pdb") {
            not_found(stream, method);
        } else if method == "GET" && gets.fetch_add(1, Ordering::Relaxed) == 0 {
            respond(stream, method, "503 Service Unavailable", "", b"");
        } else {
            respond(stream, method, "200 OK", "", &pdb);
        }
    });
    let dir = tempfile::tempdir().unwrap();
    assert!(ask(dir.path(), &server, limits()).is_ok());
    let broken = Server::new(|method, _, stream| respond(stream, method, "500 Internal Server Error", "", b""));
    refused(&broken, limits(), "500 Internal Server Error (tried 3 times)");
}

#[test]
fn a_download_that_breaks_off_is_refused() {
    let pdb = SmallPdb { fill: 1 << 20, ..SmallPdb::default() }.bytes();
    let server = Server::new(move |method, path, stream| {
        if !path.ends_with(".pdb") {
            return not_found(stream, method);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", pdb.len());
        let _ = stream.write_all(head.as_bytes());
        if method == "GET" {
            let _ = stream.write_all(&pdb[..pdb.len() / 2]);
        }
    });
    refused(&server, limits(), "broke off");
}

#[test]
fn a_silent_server_is_given_up() {
    let silent = Server::new(|_, _, _| std::thread::sleep(Duration::from_secs(60)));
    let begun = Instant::now();
    let limits = Limits { silence: Duration::from_millis(400), attempts: 2, ..Limits::default() };
    refused(&silent, limits, "said nothing");
    // Silent in the middle of the file.
    let pdb = SmallPdb { fill: 1 << 20, ..SmallPdb::default() }.bytes();
    let server = Server::new(move |method, path, stream| {
        if !path.ends_with(".pdb") {
            return not_found(stream, method);
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", pdb.len());
        let _ = stream.write_all(head.as_bytes());
        if method == "GET" {
            let _ = stream.write_all(&pdb[..5000]);
            let _ = stream.flush();
            std::thread::sleep(Duration::from_secs(60));
        }
    });
    refused(&server, limits, "said nothing");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn too_much_is_refused() {
    // By what the server announces.
    let huge = Server::new(|method, path, stream| {
        if path.ends_with(".pdb") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\nConnection: close\r\n\r\n");
            while method == "GET" && stream.write_all(&[0; 65536]).is_ok() {}
        } else {
            not_found(stream, method);
        }
    });
    refused(&huge, limits(), "2048 MiB");
    // By what it sends without announcing anything.
    let endless = Server::new(|method, path, stream| {
        if path.ends_with(".pdb") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while method == "GET" && stream.write_all(&[0; 65536]).is_ok() {}
        } else {
            not_found(stream, method);
        }
    });
    let small = Limits { bytes: 4 << 20, ..limits() };
    refused(&endless, small, "more than 4 MiB");
    // By what it packs.
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gz.write_all(&vec![0; 64 << 20]).unwrap();
    let bomb = gz.finish().unwrap();
    let packed = Server::new(move |method, path, stream| {
        if path.ends_with(".pdb") {
            respond(stream, method, "200 OK", "Content-Encoding: gzip\r\n", &bomb);
        } else {
            not_found(stream, method);
        }
    });
    refused(&packed, small, "more than 4 MiB");
}

#[test]
fn offline_never_connects() {
    let server = serving(SmallPdb::default().bytes());
    let store = Store::new(Options { symbol_path: Some(server.url.clone()), offline: true, ..Options::default() });
    assert!(store.load(&id()).unwrap_err().to_string().contains("not asked (offline)"));
    assert_eq!(server.requests.lock().unwrap().len(), 0);
}

#[test]
fn nobody_there_is_said_so() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server =
        Server { url: format!("http://{}", listener.local_addr().unwrap()), requests: Arc::new(Mutex::new(vec![])) };
    drop(listener);
    refused(&server, Limits { attempts: 1, ..limits() }, "cannot be reached");
}

#[test]
fn several_may_fetch_at_once() {
    let server = serving(SmallPdb { fill: 1 << 20, ..SmallPdb::default() }.bytes());
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                assert_eq!(ask(dir.path(), &server, limits()).unwrap().rva("PsActiveProcessHead"), Some(0x1234))
            });
        }
    });
    // The PDB, its table, and which file the table was made of.
    assert_eq!(files(dir.path()).len(), 3, "{:?}", files(dir.path()));
}

#[test]
fn progress_is_told() {
    #[derive(Default)]
    struct Seen {
        begun: Mutex<Vec<String>>,
        most: AtomicU64,
        total: AtomicU64,
        ended: AtomicU32,
    }
    impl Progress for Seen {
        fn begin(&self, url: &str) {
            self.begun.lock().unwrap().push(url.into());
        }
        fn at(&self, done: u64, total: Option<u64>) {
            self.most.fetch_max(done, Ordering::Relaxed);
            self.total.fetch_max(total.unwrap_or(0), Ordering::Relaxed);
        }
        fn end(&self) {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
    let pdb = SmallPdb { fill: 1 << 20, ..SmallPdb::default() }.bytes();
    let size = pdb.len() as u64;
    let server = serving(pdb);
    let seen = Arc::new(Seen::default());
    let store = Store::new(Options {
        symbol_path: Some(server.url.clone()),
        progress: Some(seen.clone()),
        ..Options::default()
    });
    // Without a cache and a store to keep it in, it works too.
    assert!(store.load(&id()).is_ok());
    assert_eq!(*seen.begun.lock().unwrap(), [format!("{}/ntkrnlmp.pdb/{GUID}1/ntkrnlmp.pdb", server.url)]);
    assert_eq!((seen.most.load(Ordering::Relaxed), seen.total.load(Ordering::Relaxed)), (size, size));
    assert_eq!(seen.ended.load(Ordering::Relaxed), 1);
}
