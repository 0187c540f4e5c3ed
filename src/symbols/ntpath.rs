//! `_NT_SYMBOL_PATH`, the symbol path of Windows debuggers.
//!
//! Source of the syntax: Microsoft's "Advanced SymSrv Use". Entries are separated by `;`:
//! `srv*STORE*…*URL` and `symsrv*DLL*STORE*…*URL` (stores looked at in order, then the server, what it sends kept in
//! the first store), `cache*STORE` (a store for all that follows), or a folder.

use std::path::PathBuf;

/// One place to look, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A folder of any layout.
    Folder(PathBuf),
    /// A symbol server, and the store that keeps what it sends. `None` is the user's cache.
    Server {
        /// Its address, without a slash at the end.
        url: String,
        /// The store.
        keep: Option<PathBuf>,
    },
}

/// Reads a symbol path.
#[must_use]
pub fn parse(path: &str) -> Vec<Place> {
    let mut places = Vec::new();
    let mut cache: Option<PathBuf> = None;
    let folder = |places: &mut Vec<Place>, p: &str| {
        let place = Place::Folder(p.into());
        if !p.is_empty() && !places.contains(&place) {
            places.push(place);
        }
    };
    for entry in path.split(';').map(str::trim).filter(|e| !e.is_empty()) {
        let mut words = entry.split('*').map(str::trim);
        let first = words.next().unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "cache" => {
                // `cache*` alone names the debugger's own store, which we have not.
                if let Some(store) = words.next().filter(|s| !s.is_empty()) {
                    folder(&mut places, store);
                    cache = Some(store.into());
                }
            }
            kind @ ("srv" | "symsrv") => {
                if kind == "symsrv" {
                    words.next(); // the DLL
                }
                let mut keep = cache.clone();
                let mut first = true;
                for word in words {
                    if let Some(url) = server(word) {
                        places.push(Place::Server { url, keep: keep.clone() });
                    } else {
                        folder(&mut places, word);
                        if first && keep.is_none() && !word.is_empty() {
                            keep = Some(word.into());
                        }
                        first = false;
                    }
                }
            }
            _ => match server(first) {
                Some(url) => places.push(Place::Server { url, keep: cache.clone() }),
                None => folder(&mut places, entry),
            },
        }
    }
    places
}

/// Whether a word is a server's address; it is given without a slash at the end.
fn server(word: &str) -> Option<String> {
    let lower = word.get(..8).unwrap_or(word).to_ascii_lowercase();
    let is = lower.starts_with("http://") || lower.starts_with("https://");
    is.then(|| word.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(p: &str) -> Place {
        Place::Folder(p.into())
    }
    fn server(url: &str, keep: Option<&str>) -> Place {
        Place::Server { url: url.into(), keep: keep.map(Into::into) }
    }

    #[test]
    fn every_form() {
        for (path, places) in [
            ("", vec![]),
            (" ; ;", vec![]),
            ("/a;/b;/a", vec![folder("/a"), folder("/b")]),
            ("srv*/c*https://x/y/", vec![folder("/c"), server("https://x/y", Some("/c"))]),
            ("SRV**https://x", vec![server("https://x", None)]),
            ("srv*https://x", vec![server("https://x", None)]),
            ("srv*/a*/b*http://x", vec![folder("/a"), folder("/b"), server("http://x", Some("/a"))]),
            ("symsrv*symsrv.dll*/c*https://x", vec![folder("/c"), server("https://x", Some("/c"))]),
            ("cache*/k;srv*https://x;/d", vec![folder("/k"), server("https://x", Some("/k")), folder("/d")]),
            ("cache*;srv*/a", vec![folder("/a")]),
            ("https://x", vec![server("https://x", None)]),
            (
                r"C:\Symbols;srv*\\share\sym*https://x",
                vec![folder(r"C:\Symbols"), folder(r"\\share\sym"), server("https://x", Some(r"\\share\sym"))],
            ),
        ] {
            assert_eq!(parse(path), places, "{path}");
        }
    }
}
