//! The road between two processes on one folder: a socket in it, one request and one answer in JSON.
//!
//! The holder says one byte before it begins: an asker that reads nothing knows that nothing was done,
//! and one that reads only that byte must not ask again.
//!
//! The folder is its owner's alone, and so is the socket. What goes over it is what the owner could
//! type; both ends bound what they read and how long they wait.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use manzana_client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::args::Request;
use super::perform::{self, Output};

/// Longest request, bytes: a description of the largest size, escaped.
const REQUEST_BYTES: u64 = 256 << 10;
/// Longest answer, bytes: a long list.
const ANSWER_BYTES: u64 = 64 << 20;
/// Requests done at the same time.
const AT_ONCE: usize = 16;
/// Longest that the other end may take to write or read.
const TRANSFER: Duration = Duration::from_secs(10);

/// Said before a command is begun.
const BEGUN: &[u8] = b"\n";

fn socket(home: &Path) -> PathBuf {
    home.join("phone.sock")
}

/// A holder's end. It disappears with it.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Listens in the folder that this process holds; whatever socket is there is a dead one's.
    pub(super) fn bind(home: &Path) -> io::Result<Self> {
        let path = socket(home);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Does other processes' commands, for ever.
pub(super) async fn serve(
    listener: io::Result<Listener>,
    client: &Client,
    offline: bool,
) -> Infallible {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let Ok(listener) = listener else {
        eprintln!("{}", super::strings::CANNOT_LISTEN);
        return std::future::pending().await;
    };
    loop {
        let permit = Arc::clone(&room).acquire_owned().await;
        let Ok((stream, _)) = listener.listener.accept().await else {
            // Out of descriptors: the ones in use come back first.
            tokio::time::sleep(TRANSFER / 10).await;
            continue;
        };
        let client = client.clone();
        tokio::spawn(async move {
            let _permit = permit;
            // The asker went away or wrote nonsense: its affair.
            let _ = answer(stream, &client, offline).await;
        });
    }
}

async fn answer(mut stream: UnixStream, client: &Client, offline: bool) -> io::Result<()> {
    let mut bytes = Vec::new();
    let mut bounded = (&mut stream).take(REQUEST_BYTES);
    timeout(TRANSFER, bounded.read_to_end(&mut bytes)).await??;
    let mut request: Request = serde_json::from_slice(&bytes)?;
    // Who holds the folder with --offline opens no connection for others either.
    request.offline |= offline;
    timeout(TRANSFER, stream.write_all(BEGUN)).await??;
    let output = perform::perform(client, &request).await;
    let bytes = serde_json::to_vec(&output)?;
    timeout(TRANSFER, stream.write_all(&bytes)).await??;
    stream.shutdown().await
}

/// Hands a command to the folder's holder; `None` when nobody listens there or it did not begin.
pub(super) async fn ask(home: &Path, request: &Request) -> Option<Output> {
    let mut stream = UnixStream::connect(socket(home)).await.ok()?;
    let bytes = serde_json::to_vec(request).ok()?;
    timeout(TRANSFER, stream.write_all(&bytes))
        .await
        .ok()?
        .ok()?;
    stream.shutdown().await.ok()?;
    let mut answer = Vec::new();
    let read = stream.take(ANSWER_BYTES).read_to_end(&mut answer).await;
    if answer.is_empty() {
        return None;
    }
    let output = read
        .ok()
        .and_then(|_| serde_json::from_slice(&answer[BEGUN.len()..]).ok());
    Some(output.unwrap_or_else(|| {
        Output::refusal(request.json, "holder_gone", super::strings::HOLDER_GONE)
    }))
}
