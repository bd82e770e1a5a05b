//! The floors: the same bytes over the same kind of TLS socket into the same SQLite, and nothing else.
//!
//! A relay that only writes and passes on, in a process of its own like ours. A connection says with its
//! first byte what it is: `S` is sent a file of frames, `P` publishes frames, each committed on its own
//! before it is passed on, `W` is passed them. A frame is its length (4 bytes) and its bytes.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use rusqlite::Connection;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Frames that a watcher may be behind.
const BEHIND: usize = 1_024;

/// A running raw relay; it ends when dropped.
pub(crate) struct Raw {
    _child: Child,
    port: u16,
    tls: Arc<ClientConfig>,
}

/// One connection to it.
pub(crate) struct RawLink(BufReader<client::TlsStream<TcpStream>>);

impl Raw {
    /// Starts one that keeps its file in this folder.
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--role")
            .arg("raw")
            .arg("--folder")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the raw relay starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        let line = lines.next_line().await.expect("read").expect("a line");
        let (port, certificate) = line.split_once(' ').expect("port and certificate");
        let mut roots = RootCertStore::empty();
        let certificate = BASE64.decode(certificate.as_bytes()).expect("base64");
        roots
            .add(CertificateDer::from(certificate))
            .expect("a certificate");
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("a version of TLS");
        Self {
            _child: child,
            port: port.parse().expect("a port"),
            tls: Arc::new(config.with_root_certificates(roots).with_no_client_auth()),
        }
    }

    /// Connects as what the byte says.
    pub(crate) async fn connect(&self, what: u8) -> RawLink {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))
            .await
            .expect("it listens");
        tcp.set_nodelay(true).expect("set");
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(Arc::clone(&self.tls))
            .connect(name, tcp)
            .await;
        let mut stream = stream.expect("a handshake");
        stream.write_all(&[what]).await.expect("sent");
        RawLink(BufReader::new(stream))
    }
}

impl RawLink {
    /// Sends a frame.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let framed = [&(bytes.len() as u32).to_le_bytes()[..], bytes].concat();
        self.0.write_all(&framed).await.expect("sent");
        self.0.flush().await.expect("sent");
    }

    /// The next frame; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        frame(&mut self.0).await
    }
}

async fn frame(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Vec<u8>> {
    let length = stream.read_u32_le().await.ok()?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(bytes)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The process itself: says its port and certificate, and serves until it is killed.
pub(crate) async fn serve(folder: &Path) {
    let names = vec!["localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let certificate = made.cert.der().clone();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("a version of TLS")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a certificate");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    println!("{port} {}", BASE64.encode(&certificate));
    std::io::stdout().flush().expect("told");
    let (rows, _) = broadcast::channel(BEHIND);
    let writer = writer(folder, rows.clone());
    loop {
        let (tcp, _) = listener.accept().await.expect("a connection");
        tcp.set_nodelay(true).expect("set");
        let (acceptor, rows, writer) = (acceptor.clone(), rows.clone(), writer.clone());
        tokio::spawn(async move {
            if let Ok(stream) = acceptor.accept(tcp).await {
                let _ = attend(stream, rows, writer).await;
            }
        });
    }
}

type Rows = broadcast::Sender<Arc<Vec<u8>>>;
type ToWrite = mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>;

/// The thread that commits, one frame at a time, and then passes it on.
fn writer(folder: &Path, rows: Rows) -> ToWrite {
    let (sender, mut inbox) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(64);
    let mut table = Table::open(&folder.join("raw.db"));
    std::thread::spawn(move || {
        while let Some((bytes, done)) = inbox.blocking_recv() {
            table.commit([bytes.as_slice()]);
            let _ = rows.send(Arc::new(bytes));
            let _ = done.send(());
        }
    });
    sender
}

async fn attend(
    mut stream: server::TlsStream<TcpStream>,
    rows: Rows,
    writer: ToWrite,
) -> std::io::Result<()> {
    let mut seen = rows.subscribe();
    match stream.read_u8().await? {
        b'S' => {
            let path = frame(&mut stream).await.unwrap_or_default();
            let path = String::from_utf8(path).map_err(std::io::Error::other)?;
            let file = tokio::fs::read(path).await?;
            stream.write_all(&file).await?;
            stream.shutdown().await
        }
        b'P' => {
            while let Some(bytes) = frame(&mut stream).await {
                let (done, written) = oneshot::channel();
                let _ = writer.send((bytes, done)).await;
                let _ = written.await;
            }
            Ok(())
        }
        _ => {
            // So that its client knows when it will hear everything.
            stream.write_all(&0_u32.to_le_bytes()).await?;
            stream.flush().await?;
            while let Ok(bytes) = seen.recv().await {
                let framed = [&(bytes.len() as u32).to_le_bytes()[..], &bytes].concat();
                stream.write_all(&framed).await?;
                stream.flush().await?;
            }
            Ok(())
        }
    }
}

/// A table of byte strings, as durable as ours.
pub(crate) struct Table(Connection);

impl Table {
    pub(crate) fn open(path: &Path) -> Self {
        let conn = Connection::open(path).expect("a file");
        let set = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                   CREATE TABLE rows (place INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;";
        conn.execute_batch(set).expect("a table");
        Self(conn)
    }

    /// Writes rows in one durable transaction.
    pub(crate) fn commit<'r>(&mut self, rows: impl IntoIterator<Item = &'r [u8]>) {
        let tx = self.0.transaction().expect("begun");
        {
            let mut insert = tx
                .prepare_cached("INSERT INTO rows (bytes) VALUES (?1)")
                .expect("prepared");
            for row in rows {
                insert.execute([row]).expect("written");
            }
        }
        tx.commit().expect("durable");
    }
}

/// What this disk asks for one durable commit of a small row, and for one bare fsync: medians.
pub(crate) fn disk(folder: &Path, rounds: usize) -> (Duration, Duration) {
    let mut table = Table::open(&folder.join("commit.db"));
    let row = vec![7; 1_024];
    let mut file = std::fs::File::create(folder.join("fsync")).expect("a file");
    let (mut commits, mut syncs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let begun = Instant::now();
        table.commit([row.as_slice()]);
        commits.push(begun.elapsed());
        let begun = Instant::now();
        file.write_all(&[7; 4_096]).expect("written");
        file.sync_data().expect("synced");
        syncs.push(begun.elapsed());
    }
    commits.sort_unstable();
    syncs.sort_unstable();
    (commits[rounds / 2], syncs[rounds / 2])
}

/// Takes a file of frames over TLS into SQLite: one transaction for each, its bytes as so many rows.
pub(crate) async fn stream(raw: &Raw, frames: &Path, rows_each: usize, into: &Path) -> Duration {
    let begun = Instant::now();
    let mut link = raw.connect(b'S').await;
    link.send(frames.to_str().expect("a path").as_bytes()).await;
    let mut table = Table::open(into);
    while let Some(bytes) = link.next().await {
        let each = bytes.len().div_ceil(rows_each).max(1);
        table.commit(bytes.chunks(each));
    }
    begun.elapsed()
}

/// Writes frames to a file that [`stream`] reads.
pub(crate) fn keep(frames: &[Vec<u8>], folder: &Path) -> PathBuf {
    let path = folder.join("frames");
    let mut file = std::fs::File::create(&path).expect("a file");
    for bytes in frames {
        file.write_all(&(bytes.len() as u32).to_le_bytes())
            .expect("written");
        file.write_all(bytes).expect("written");
    }
    path
}
