//! Fetching from a symbol server: a PDB by GUID and age, an image by time stamp and size.
//!
//! What comes is kept in memory until it has proved to be what was asked for; only then does it appear in the store. A
//! server that says nothing, dawdles, sends too much, fails, sends something else or sends us on to a place where we do not
//! go is refused in words. Addresses are those of Microsoft's SSQP key conventions; a file may be there as it is or packed
//! into a CAB archive (`.pd_`).

use super::cache::write_atomically;
use super::store::{Limits, Progress, address, image_address};
use super::{ImageId, PdbId, file, image, pdb};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How many times a server may send us on.
const REDIRECTS: u32 = 5;
/// Bytes that must come in every stretch of [`Limits::silence`]: a server that sends less never gets done.
const LEAST: u64 = 4096;

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
    let bytes = get(&address(server, id), limits, progress)?;
    if file::Kind::of(&bytes) != Some(file::Kind::Pdb) {
        return Err(format!("what it sent is no PDB: {}", file::beginning(&bytes)));
    }
    let found = pdb::identify(&bytes, &id.name, "what it sent").map_err(|e| e.to_string())?;
    if (&found.guid, found.age) != (&id.guid, id.age) {
        return Err(format!("it sent the PDB {}, not {}", found.key(), id.key()));
    }
    let path = into.join(&id.name).join(id.key()).join(&id.name);
    write_atomically(&path, &bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(path)
}

/// Fetches an image and reads which PDB it names: the identity and the image's bytes.
///
/// # Errors
/// In words, why not.
pub fn fetch_image(
    server: &str,
    wanted: &ImageId,
    limits: &Limits,
    progress: Option<Arc<dyn Progress>>,
) -> Result<(PdbId, Vec<u8>), String> {
    let limits = Limits { bytes: limits.bytes.min(image::LARGEST), ..*limits };
    let bytes = get(&image_address(server, wanted), &limits, progress)?;
    let id = image::pdb_of(&bytes, wanted).map_err(|why| format!("what it sent cannot be used: {why}"))?;
    Ok((id, bytes))
}

/// The file at an address, or packed beside it; tried again when the connection or the server fails.
fn get(address: &str, limits: &Limits, progress: Option<Arc<dyn Progress>>) -> Result<Vec<u8>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let mut wait = Duration::from_millis(300);
    let mut attempt = 1;
    let result = loop {
        let fetch = Fetch { limits, progress: progress.as_deref(), begun: Instant::now() };
        match runtime.block_on(fetch.either(address)) {
            Ok(bytes) => break Ok(bytes),
            Err(failure) if failure.again && attempt < limits.attempts => {
                log::info!("{address}: {}; trying again", failure.text);
                std::thread::sleep(wait);
                wait = wait.saturating_mul(3);
                attempt = attempt.saturating_add(1);
            }
            Err(failure) if attempt > 1 => break Err(format!("{} (tried {attempt} times)", failure.text)),
            Err(failure) => break Err(failure.text),
        }
    };
    runtime.shutdown_background();
    result
}

/// One attempt.
struct Fetch<'f> {
    limits: &'f Limits,
    progress: Option<&'f dyn Progress>,
    begun: Instant,
}

impl Fetch<'_> {
    /// The file itself, else its packed form.
    async fn either(&self, address: &str) -> Result<Vec<u8>, Failure> {
        // Every answer is judged here, above all where it sends us.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            .dns_resolver(Arc::new(Outward::of(address)))
            .connect_timeout(self.limits.silence)
            .build()
            .map_err(|e| Failure::last(chain(&e)))?;
        if let Some(plain) = self.one(&client, address).await? {
            return Ok(plain);
        }
        let mut packed = address.to_owned();
        packed.pop();
        packed.push('_');
        match self.one(&client, &packed).await? {
            Some(cab) => {
                let unpacked = file::unpack_cab_within(&cab, self.limits.bytes);
                unpacked
                    .map(|(_, bytes)| bytes)
                    .map_err(|why| Failure::last(format!("what it sent cannot be unpacked: {why}")))
            }
            None => Err(Failure::last("it does not have it (404)")),
        }
    }
    /// The file at one address; `None` where the server does not have it.
    async fn one(&self, client: &reqwest::Client, address: &str) -> Result<Option<Vec<u8>>, Failure> {
        let first = reqwest::Url::parse(address).map_err(|e| Failure::last(format!("{address}: {e}")))?;
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let answer = self.patiently(client.get(url.clone()).send()).await?;
            let answer = answer.map_err(|e| Failure::again(format!("it cannot be reached: {}", chain(&e))))?;
            let status = answer.status();
            if status.is_redirection() {
                url = self.onwards(&first, &url, &answer)?;
            } else if status == 404 || status == 410 {
                return Ok(None);
            } else if !status.is_success() {
                let again = status.is_server_error() || status == 429;
                return Err(Failure { text: format!("it answers {status}"), again });
            } else {
                return self.body(url.as_str(), answer).await.map(Some);
            }
        }
        Err(Failure::last("it sends us on without end"))
    }
    /// Where an answer sends us, when we go there.
    #[allow(clippy::unused_self, reason = "one step of the fetch")]
    fn onwards(
        &self,
        first: &reqwest::Url,
        from: &reqwest::Url,
        answer: &reqwest::Response,
    ) -> Result<reqwest::Url, Failure> {
        let to = answer.headers().get("location").and_then(|l| l.to_str().ok());
        let to = to.and_then(|l| from.join(l).ok()).ok_or_else(|| Failure::last("it sends us on, but not where to"))?;
        if may_follow(first, from, &to) {
            Ok(to)
        } else {
            Err(Failure::last(format!("it sends us on to {to}, which is not followed")))
        }
    }
    /// What follows an answer's head, unpacked where the transport packed it.
    async fn body(&self, url: &str, mut answer: reqwest::Response) -> Result<Vec<u8>, Failure> {
        let total = answer.content_length();
        if let Some(length) = total.filter(|l| *l > self.limits.bytes) {
            return Err(Failure::last(format!("the file has {} MiB there, which no symbol file has", length >> 20)));
        }
        let packed =
            answer.headers().get("content-encoding").is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let _shown = self.progress.map(|progress| {
            progress.begin(url);
            Shown(progress)
        });
        let mut bytes = Vec::new();
        let (mut since, mut then) = (Instant::now(), 0u64);
        loop {
            let chunk = self.patiently(answer.chunk()).await?;
            let chunk = chunk.map_err(|e| Failure::again(format!("the download broke off: {}", chain(&e))))?;
            let Some(chunk) = chunk else { break };
            bytes.extend_from_slice(&chunk);
            let done = bytes.len() as u64;
            if done > self.limits.bytes {
                return Err(self.too_much());
            }
            if let Some(progress) = self.progress {
                progress.at(done, total);
            }
            if since.elapsed() > self.limits.silence {
                if done.saturating_sub(then) < LEAST {
                    return Err(Failure::again(format!(
                        "it sends less than {LEAST} bytes in {} seconds",
                        self.seconds()
                    )));
                }
                (since, then) = (Instant::now(), done);
            }
        }
        if packed { self.unpack(&bytes) } else { Ok(bytes) }
    }
    fn unpack(&self, bytes: &[u8]) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut reader = flate2::read::MultiGzDecoder::new(bytes).take(self.limits.bytes.saturating_add(1));
        reader.read_to_end(&mut out).map_err(|e| Failure::last(format!("what it sent cannot be unpacked: {e}")))?;
        if out.len() as u64 > self.limits.bytes { Err(self.too_much()) } else { Ok(out) }
    }
    /// Waits no longer than the limits allow.
    async fn patiently<T>(&self, step: impl Future<Output = T>) -> Result<T, Failure> {
        if self.begun.elapsed() > self.limits.whole {
            return Err(Failure::last("it takes too long"));
        }
        let silent = |_| Failure::again(format!("it has said nothing for {} seconds", self.seconds()));
        tokio::time::timeout(self.limits.silence, step).await.map_err(silent)
    }
    fn seconds(&self) -> f32 {
        self.limits.silence.as_secs_f32()
    }
    fn too_much(&self) -> Failure {
        Failure::last(format!("it sends more than {} MiB, which no symbol file has", self.limits.bytes >> 20))
    }
}

/// A download that is shown, until it is over, well or not.
struct Shown<'p>(&'p dyn Progress);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A server may send us on within itself, or to an encrypted place (Microsoft's sends on to its file store), but never from
/// an encrypted place to one that is not, nor from a plain one to another plain one, nor into a private network that the
/// user's own server is not in.
fn may_follow(first: &reqwest::Url, from: &reqwest::Url, to: &reqwest::Url) -> bool {
    let place = |url: &reqwest::Url| (url.host_str().map(str::to_owned), url.port_or_known_default());
    let same = place(from) == place(to);
    let inwards = is_private(to) && !is_private(first);
    match to.scheme() {
        "https" => !inwards,
        "http" => from.scheme() == "http" && same,
        _ => false,
    }
}

/// Whether a host is this machine or on a private network, as far as its name or number says. Where a name leads, [`Outward`] judges.
fn is_private(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(number) => is_inward(number),
        Err(_) => host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost"),
    }
}

/// Whether an address is this machine's or of a private network.
fn is_inward(address: IpAddr) -> bool {
    let v4 = |ip: Ipv4Addr| {
        // 100.64.0.0/10 is shared address space (RFC 6598).
        let [a, b, ..] = ip.octets();
        ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || (a == 100 && b & 0xc0 == 64)
    };
    match address {
        IpAddr::V4(ip) => v4(ip),
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

/// Names to addresses: a public name that a server sends us on to may still lead into the user's own network. Only the server that the user
/// named may be there, and where it is, so may those it sends us on to.
struct Outward {
    /// The host of that server.
    own: String,
    inside: Arc<AtomicBool>,
}

impl Outward {
    fn of(address: &str) -> Self {
        let url = reqwest::Url::parse(address).ok();
        let inside = url.as_ref().is_some_and(is_private);
        let own = url.and_then(|url| url.host_str().map(str::to_ascii_lowercase)).unwrap_or_default();
        Self { own, inside: Arc::new(AtomicBool::new(inside)) }
    }
}

impl Resolve for Outward {
    fn resolve(&self, name: Name) -> Resolving {
        let own = name.as_str().eq_ignore_ascii_case(&self.own);
        let inside = Arc::clone(&self.inside);
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found = tokio::task::spawn_blocking(move || (host, 0).to_socket_addrs()).await??;
            let mut found: Vec<SocketAddr> = found.collect();
            if own && found.iter().any(|at| is_inward(at.ip())) {
                inside.store(true, Ordering::Relaxed);
            }
            if !own && !inside.load(Ordering::Relaxed) {
                found.retain(|at| !is_inward(at.ip()));
                if found.is_empty() {
                    return Err(
                        format!("{}: its address is in a private network, where we do not go", name.as_str()).into()
                    );
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
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

    /// The name of this machine stands for any public name that leads to a private address.
    #[test]
    fn a_name_is_judged_by_where_it_leads() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let resolved = |server: &str| {
            let outward = Outward::of(server);
            runtime
                .block_on(outward.resolve("localhost".parse().unwrap()))
                .map(Iterator::count)
                .map_err(|e| e.to_string())
        };
        assert!(resolved("https://symbols.example/x").unwrap_err().contains("private network"));
        assert!(resolved("http://localhost:8080/x").unwrap() > 0);
        // A server in the private network may send us on within it.
        assert!(resolved("https://10.0.0.1/x").unwrap() > 0);
    }
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
            ("https://a/x", "https://127.0.0.1/y", false),
            ("https://a/x", "https://localhost/y", false),
            ("https://a/x", "https://169.254.169.254/y", false),
            ("https://a/x", "https://10.1.2.3/y", false),
            ("https://a/x", "https://[::1]/y", false),
            ("https://a/x", "https://[::ffff:10.0.0.1]/y", false),
            ("https://a/x", "https://8.8.8.8/y", true),
            ("https://10.0.0.1/x", "https://10.0.0.2/y", true),
        ] {
            let from = from.parse().unwrap();
            assert_eq!(may_follow(&from, &from, &to.parse().unwrap()), ok, "{from} {to}");
        }
        // A public server's second step is judged as its first.
        let public = "https://a/x".parse().unwrap();
        assert!(!may_follow(&public, &"https://b/x".parse().unwrap(), &"https://192.168.0.1/".parse().unwrap()));
    }
}
