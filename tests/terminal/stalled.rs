//! A symbol server that sends half of what it is asked for, and nothing more until it is told: the run stands still in the
//! middle of a download.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};

#[derive(Default)]
struct State {
    held: Vec<TcpStream>,
    released: bool,
}

/// See the module.
pub(crate) struct Server {
    url: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Server {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new((Mutex::new(State::default()), Condvar::new()));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(stream), state) = (stream, Arc::clone(&shared)) else { return };
                std::thread::spawn(move || answer(stream, &state));
            }
        });
        Self { url, state }
    }

    /// The command, with this server for its symbols and an empty cache in `dir`.
    pub(crate) fn asked_by(&self, mut command: Command, dir: &Path) -> Command {
        command.env("_NT_SYMBOL_PATH", format!("srv*{}*{}", dir.join("kept").display(), self.url));
        command.env("DUMPWALK_CACHE", dir.join("cache")).env("NO_PROXY", "127.0.0.1");
        command
    }

    /// Until a download stands still.
    pub(crate) fn wait(&self) {
        let (state, changed) = &*self.state;
        let waited = changed.wait_timeout_while(state.lock().unwrap(), super::STUCK, |s| s.held.is_empty()).unwrap();
        assert!(!waited.1.timed_out(), "nothing was fetched");
    }

    /// Breaks what stands still off, and answers "not found" from now on.
    pub(crate) fn release(&self) {
        let mut state = self.state.0.lock().unwrap();
        state.released = true;
        state.held.clear();
    }
}

fn answer(mut stream: TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(request) = lines.next() else { return };
    lines.find(String::is_empty);
    let mut state = shared.0.lock().unwrap();
    if state.released || !request.contains(".pdb ") {
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    }
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\nConnection: close\r\n\r\n");
    if request.starts_with("GET") {
        let _ = stream.write_all(&[0; 1_000_000]);
        state.held.push(stream);
        shared.1.notify_all();
    }
}
