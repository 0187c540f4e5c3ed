//! Fetching a PDB from a symbol server, through `symsrv`.
//!
//! What comes is kept apart until it has proved to be the PDB that was asked for; only then does it appear in the
//! store. A server that says nothing, sends too much, fails, or sends something else is refused in words.

use super::cache::{unique_name, write_atomically};
use super::store::{Limits, Progress, address};
use super::{PdbId, file, pdb, read_file};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use symsrv::{CabExtractionError, CachePath, DownloadError, NtSymbolPathEntry, SymsrvDownloader, SymsrvObserver};

/// How often the limits are looked at while bytes flow.
const TICK: Duration = Duration::from_millis(100);
/// How many times a server may send us on.
const REDIRECTS: u32 = 5;

/// Why a download failed, and whether it is worth trying again.
struct Failure {
    text: String,
    again: bool,
}

impl Failure {
    fn last(text: impl Into<String>) -> Self {
        Self { text: text.into(), again: false }
    }
    fn again(text: impl Into<String>) -> Self {
        Self { text: text.into(), again: true }
    }
}

/// Fetches a PDB into a store (`<into>/<name>/<GUID><age>/<name>`) and says where it lies.
///
/// # Errors
/// In words, why not.
pub fn fetch(
    server: &str,
    id: &PdbId,
    into: &Path,
    limits: &Limits,
    progress: Option<Arc<dyn Progress>>,
) -> Result<PathBuf, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let mut wait = Duration::from_millis(300);
    let mut attempt = 1;
    let result = loop {
        match runtime.block_on(attempt_once(server, id, into, limits, progress.clone())) {
            Ok(path) => break Ok(path),
            Err(failure) if failure.again && attempt < limits.attempts => {
                log::info!("{server}: {}; trying again", failure.text);
                std::thread::sleep(wait);
                wait = wait.saturating_mul(3);
                attempt = attempt.saturating_add(1);
            }
            Err(failure) if attempt > 1 => break Err(format!("{} (tried {attempt} times)", failure.text)),
            Err(failure) => break Err(failure.text),
        }
    };
    // An archive that is still being unpacked must not be waited for.
    runtime.shutdown_background();
    result
}

/// A folder that goes away with the attempt.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn attempt_once(
    server: &str,
    id: &PdbId,
    into: &Path,
    limits: &Limits,
    progress: Option<Arc<dyn Progress>>,
) -> Result<PathBuf, Failure> {
    look_ahead(server, id, limits).await?;
    // In the store itself, so that the last step is a rename.
    let staging = Staging(into.join(unique_name(".incoming-")));
    std::fs::create_dir_all(&staging.0).map_err(|e| Failure::last(format!("{}: {e}", into.display())))?;
    let watch = Arc::new(Watch::new(limits.bytes, progress));
    let mut downloader = SymsrvDownloader::new(vec![NtSymbolPathEntry::Chain {
        dll: "symsrv.dll".into(),
        cache_paths: vec![CachePath::Path(staging.0.clone())],
        urls: vec![server.into()],
    }]);
    downloader.set_observer(Some(watch.clone()));
    let key = format!("{}{:x}", id.guid, id.age);
    let outcome = {
        let mut get = std::pin::pin!(downloader.get_file(&id.name, &key));
        let begun = Instant::now();
        loop {
            if let Ok(done) = tokio::time::timeout(TICK, get.as_mut()).await {
                break Ok(done);
            }
            if let Some(failure) = watch.trouble(limits, begun, &staging.0) {
                break Err(failure);
            }
        }
    };
    watch.finished();
    let came = match outcome {
        Err(failure) => return Err(failure),
        Ok(Err(e)) => return Err(watch.explain(&e)),
        Ok(Ok(path)) => path,
    };
    if let Some(failure) = watch.trouble(limits, Instant::now(), &staging.0) {
        return Err(failure);
    }
    accept(&came, id, into)
}

/// Checks what came and lets it appear in the store.
fn accept(came: &Path, id: &PdbId, into: &Path) -> Result<PathBuf, Failure> {
    let bytes = read_file(came, pdb::LARGEST).map_err(|e| Failure::last(e.to_string()))?;
    if file::Kind::of(&bytes) != Some(file::Kind::Pdb) {
        return Err(Failure::last(format!("what it sent is no PDB: {}", file::beginning(&bytes))));
    }
    let found = pdb::identify(&bytes, &id.name, "what it sent").map_err(|e| Failure::last(e.to_string()))?;
    if (&found.guid, found.age) != (&id.guid, id.age) {
        return Err(Failure::last(format!("it sent the PDB {}, not {}", found.key(), id.key())));
    }
    let path = into.join(&id.name).join(id.key()).join(&id.name);
    write_atomically(&path, &bytes).map_err(|e| Failure::last(format!("{}: {e}", path.display())))?;
    Ok(path)
}

/// Asks for the head of the file first: a server that does not have it, would send too much, or sends us to where
/// we do not go is known before anything is written.
async fn look_ahead(server: &str, id: &PdbId, limits: &Limits) -> Result<(), Failure> {
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .http1_only()
        .timeout(limits.silence)
        .build()
        .map_err(|e| Failure::last(e.to_string()))?;
    let mut packed = address(server, id);
    packed.pop();
    packed.push('_');
    let mut missing = 0;
    for first in [address(server, id), packed] {
        let mut url = reqwest::Url::parse(&first).map_err(|e| Failure::last(format!("{first}: {e}")))?;
        for hop in 0.. {
            if hop > REDIRECTS {
                return Err(Failure::last("it sends us on without end"));
            }
            let Ok(answer) = client.head(url.clone()).send().await else {
                // The download itself will say what is wrong; some servers do not know HEAD.
                return Ok(());
            };
            let status = answer.status();
            if status.is_redirection() {
                let to = answer.headers().get("location").and_then(|l| l.to_str().ok());
                let Some(to) = to.and_then(|l| url.join(l).ok()) else {
                    return Err(Failure::last("it sends us on, but not where to"));
                };
                if !may_follow(&url, &to) {
                    return Err(Failure::last(format!("it sends us on to {to}, which is not followed")));
                }
                url = to;
                continue;
            }
            if status == 404 || status == 410 {
                missing += 1;
            }
            let length = answer.headers().get("content-length").and_then(|l| l.to_str().ok()?.parse::<u64>().ok());
            if status.is_success() && length.is_some_and(|l| l > limits.bytes) {
                let mib = length.unwrap_or_default() >> 20;
                return Err(Failure::last(format!("the file has {mib} MiB there, which no symbol file has")));
            }
            break;
        }
    }
    if missing == 2 { Err(Failure::last("it does not have it (404)")) } else { Ok(()) }
}

/// A server may send us on within itself, or to an encrypted place (Microsoft's sends on to its file store), but
/// never from an encrypted place to one that is not, nor from a plain one to another plain one.
fn may_follow(from: &reqwest::Url, to: &reqwest::Url) -> bool {
    let same = (from.host_str(), from.port_or_known_default()) == (to.host_str(), to.port_or_known_default());
    match to.scheme() {
        "https" => true,
        "http" => from.scheme() == "http" && same,
        _ => false,
    }
}

/// Sees every step of a download.
struct Watch {
    progress: Option<Arc<dyn Progress>>,
    largest: u64,
    /// Nothing may be written any more.
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// When something last happened.
    last: Instant,
    /// The download whose bytes flow.
    running: Option<u64>,
    too_much: bool,
    failures: Vec<(u64, String, bool)>,
    /// Addresses by download.
    urls: Vec<(u64, String)>,
}

impl Watch {
    fn new(largest: u64, progress: Option<Arc<dyn Progress>>) -> Self {
        let state =
            State { last: Instant::now(), running: None, too_much: false, failures: Vec::new(), urls: Vec::new() };
        Self { progress, largest, stop: AtomicBool::new(false), state: Mutex::new(state) }
    }
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn finished(&self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(p) = &self.progress {
            p.end();
        }
    }
    /// Whether a limit is passed.
    fn trouble(&self, limits: &Limits, begun: Instant, staging: &Path) -> Option<Failure> {
        let state = self.state();
        let mib = limits.bytes >> 20;
        if state.too_much || size_of(staging) > limits.bytes.saturating_mul(2) {
            return Some(Failure::last(format!("it sends more than {mib} MiB, which no symbol file has")));
        }
        if state.last.elapsed() > limits.silence {
            let seconds = limits.silence.as_secs_f32();
            return Some(Failure::again(format!("it has said nothing for {seconds} seconds")));
        }
        (begun.elapsed() > limits.whole).then(|| Failure::last("it takes too long"))
    }
    /// What went wrong, from the failures seen.
    fn explain(&self, e: &symsrv::Error) -> Failure {
        let state = self.state();
        // Both the file and its compressed form were asked for; "not found" of one says nothing.
        match state.failures.iter().find(|(_, text, _)| !text.contains("404")).or(state.failures.first()) {
            Some((_, text, again)) => Failure { text: text.clone(), again: *again },
            None => Failure::last(e.to_string()),
        }
    }
}

/// Bytes of all files in a folder, three levels down.
fn size_of(folder: &Path) -> u64 {
    fn walk(folder: &Path, depth: u32) -> u64 {
        let mut sum = 0u64;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(m) if m.is_file() => sum = sum.saturating_add(m.len()),
                Ok(m) if m.is_dir() && depth > 0 => sum = sum.saturating_add(walk(&entry.path(), depth - 1)),
                _ => {}
            }
        }
        sum
    }
    walk(folder, 3)
}

impl SymsrvObserver for Watch {
    fn on_new_download_before_connect(&self, download: u64, url: &str) {
        let mut state = self.state();
        state.last = Instant::now();
        state.urls.push((download, url.into()));
    }
    fn on_download_started(&self, download: u64) {
        let mut state = self.state();
        state.last = Instant::now();
        state.running = Some(download);
        if let (Some(p), Some((_, url))) = (&self.progress, state.urls.iter().find(|(id, _)| *id == download)) {
            p.begin(url);
        }
    }
    fn on_download_progress(&self, _: u64, done: u64, total: Option<u64>) {
        let mut state = self.state();
        state.last = Instant::now();
        state.too_much |= done > self.largest || total.is_some_and(|t| t > self.largest);
        drop(state);
        if let Some(p) = &self.progress {
            p.at(done, total);
        }
    }
    fn on_download_completed(&self, _: u64, _: u64, _: Duration, _: Duration) {
        self.state().last = Instant::now();
    }
    fn on_download_failed(&self, download: u64, reason: DownloadError) {
        let again = match &reason {
            DownloadError::StatusError(s) => s.is_server_error() || s.as_u16() == 429,
            DownloadError::Timeout
            | DownloadError::OpenFailed(_)
            | DownloadError::ErrorDuringDownloading(_)
            | DownloadError::Other(_) => true,
            _ => false,
        };
        let text = match &reason {
            DownloadError::OpenFailed(e) | DownloadError::Other(e) => {
                format!("it cannot be reached: {}", chain(e.as_ref()))
            }
            DownloadError::ErrorDuringDownloading(e) => format!("the download broke off: {}", chain(e)),
            DownloadError::StatusError(s) => format!("it answers {s}"),
            other => other.to_string(),
        };
        let mut state = self.state();
        state.last = Instant::now();
        state.failures.push((download, text, again));
    }
    fn on_download_canceled(&self, _: u64) {}
    fn on_new_cab_extraction(&self, _: u64, _: &Path) {
        self.state().last = Instant::now();
    }
    fn on_cab_extraction_progress(&self, _: u64, done: u64, _: u64) {
        // This runs on a thread that nobody can stop. When the download was given up, it writes nothing more.
        while self.stop.load(Ordering::Relaxed) {
            std::thread::park();
        }
        let mut state = self.state();
        state.last = Instant::now();
        if done > self.largest {
            state.too_much = true;
            drop(state);
            self.stop.store(true, Ordering::Relaxed);
        }
    }
    fn on_cab_extraction_completed(&self, _: u64, _: u64, _: Duration) {}
    fn on_cab_extraction_failed(&self, extraction: u64, reason: CabExtractionError) {
        let text = format!("what it sent cannot be unpacked: {reason}");
        self.state().failures.push((extraction, text, false));
    }
    fn on_cab_extraction_canceled(&self, _: u64) {}
    fn on_file_created(&self, _: &Path, _: u64) {}
    fn on_file_accessed(&self, _: &Path) {}
    fn on_file_missed(&self, _: &Path) {}
}

/// An error and its causes, on one line.
fn chain(e: &(dyn std::error::Error + 'static)) -> String {
    let mut text = e.to_string();
    let mut cause = e.source();
    while let Some(e) = cause {
        let more = e.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = e.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_server_may_send_us() {
        for (from, to, ok) in [
            ("https://a/x", "https://b/y", true),
            ("https://a/x", "http://a/y", false),
            ("http://a/x", "http://a/y", true),
            ("http://a/x", "http://a:81/y", false),
            ("http://a/x", "http://b/y", false),
            ("http://a/x", "https://b/y", true),
            ("https://a/x", "file:///etc/passwd", false),
        ] {
            assert_eq!(may_follow(&from.parse().unwrap(), &to.parse().unwrap()), ok, "{from} {to}");
        }
    }
}
