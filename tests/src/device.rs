//! A device reduced to its frames: a properly enrolled key, a replica in memory, and a socket on which
//! a test sends what it likes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use futures_util::{SinkExt as _, StreamExt as _};
use manzana_client::{Invitation, RelayUrl, city_anchor};
use manzana_engine::codec;
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody};
use manzana_engine::ids::{DeviceId, DocId, Hash};
use manzana_engine::intent::NewPetition;
use manzana_engine::keys::SecretKey;
use manzana_engine::replica::{
    Continuity, MemoryReplica, Meta, Replica, ReplicaStore, Surroundings,
};
use manzana_engine::seal::Entropy;
use manzana_engine::wire::{Down, EnrolRequest, Enrolment, Up, decode_frame};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{ClientRequestBuilder, Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::relay::City;
use crate::wait::{Seeded, in_time};

/// Randomness of the tests: the same for the same seed.
impl Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes()[..chunk.len()]);
        }
    }
}

/// A clock that a device may have.
pub const NOW: i64 = 1_770_000_000_000;

/// Why there is no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The relay answered with this status.
    Status(u16),
    /// Nobody answered, or not to the end.
    Unreachable,
}

/// Read buffer of a session, bytes: small, since a test may hold thousands of them.
const READ_BUFFER: usize = 4 << 10;

/// An enrolled device; its replica is in memory unless it is given another store.
#[derive(Debug)]
pub struct Device<S = MemoryReplica> {
    /// Its replica: what an honest device would hold and send.
    pub replica: Replica<S>,
    door: Door,
    random: Seeded,
}

impl Device {
    /// Enrols a new device of a user.
    pub async fn enrol(city: &City, user: &str, scopes: &[&str], seed: u64) -> Self {
        let invitation = city.invite(user, scopes).await;
        let invitation = invitation.parse().expect("an invitation");
        Self::enrol_with(&invitation, seed, MemoryReplica::default()).await
    }
}

/// Asks the relay to enrol this key.
pub(crate) async fn enrolment(door: &Door, invitation: &Invitation, key: &SecretKey) -> Enrolment {
    let request = EnrolRequest {
        code: invitation.code.clone(),
        device_key: key.public(),
    };
    let body = door.post("/v1/enrol", &codec::encode(&request)).await;
    codec::decode(&body).expect("an enrolment")
}

impl<S: ReplicaStore> Device<S> {
    /// Enrols a new device with this invitation, on an empty store.
    pub async fn enrol_with(invitation: &Invitation, seed: u64, store: S) -> Self {
        let mut random = Seeded(seed);
        let mut key = [0; 32];
        random.fill(&mut key);
        let key = SecretKey::from_seed(key);
        let door = Door::new(invitation.relay.clone(), &invitation.root);
        let enrolment = enrolment(&door, invitation, &key).await;
        let meta = Meta::enrolled(&key, invitation.root, enrolment, 1).expect("the city's word");
        let mut replica = Replica::open(store, Continuity::First, &mut random).expect("a replica");
        replica.enrol(meta).expect("enrolled");
        Self {
            replica,
            door,
            random,
        }
    }

    /// The device's own state.
    pub fn meta(&self) -> &Meta {
        self.replica.meta().expect("enrolled")
    }

    /// Captures a petition, as the app does.
    pub fn capture(&mut self, title: &str) -> DocId {
        let petition = NewPetition {
            title: title.to_owned(),
            description: "No prende desde el lunes".to_owned(),
            street: Some("Av. Ignacio Zaragoza 410".to_owned()),
            ..NewPetition::default()
        };
        self.capture_form(petition)
    }

    /// Captures this petition.
    pub fn capture_form(&mut self, petition: NewPetition) -> DocId {
        let saved = self.replica.capture(petition, None, NOW, &mut self.random);
        saved.expect("captured").docs[0]
    }

    /// Opens a session. The first frame that comes is the relay's welcome.
    ///
    /// # Errors
    /// When the relay is not there, or turned the device away.
    pub async fn connect(&mut self) -> Result<Link, Refusal> {
        let (id, nonce) = (self.meta().device(), self.meta().nonce.to_vec());
        let replica = &mut self.replica;
        let hello = |nonce: &[u8]| replica.hello(nonce).expect("enrolled");
        self.door.enter(&id, nonce, hello).await
    }

    /// Opens a session over a connection that stands. The nonce kept must still be good.
    ///
    /// # Errors
    /// When the relay turned the device away, or asked for a fresh nonce.
    pub async fn connect_over(&mut self, stream: Stream) -> Result<Link, Refusal> {
        let (id, nonce) = (self.meta().device(), self.meta().nonce.to_vec());
        let words = self.replica.hello(&nonce).expect("enrolled");
        match self.door.upgrade(stream, &id, &nonce, words).await? {
            Upgrade::Open(link) => Ok(*link),
            Upgrade::Nonce(_) => Err(Refusal::Status(401)),
        }
    }

    /// A connection to the relay, on which no session was opened yet.
    ///
    /// # Errors
    /// When the relay is not there.
    pub async fn dial(&self) -> Result<Stream, Refusal> {
        self.door.open().await
    }

    /// Opens a session and reads the welcome.
    ///
    /// # Panics
    /// When the relay does not let the device in.
    pub async fn greet(&mut self) -> Link {
        let mut link = self.connect().await.expect("let in");
        let welcome = link.next().await.expect("a frame");
        assert!(matches!(welcome, Down::Welcome { .. }), "{welcome:?}");
        self.take(welcome);
        link
    }

    /// Takes a frame as an honest device does.
    pub fn take(&mut self, frame: Down) {
        let around = &mut Surroundings {
            now: NOW,
            entropy: &mut self.random,
        };
        self.replica
            .handle(frame, around)
            .expect("stored")
            .expect("an honest relay");
    }

    /// Syncs as an honest device does until everything that was done here is answered.
    pub async fn settle(&mut self, link: &mut Link) {
        loop {
            while let Some(up) = self.replica.next_up().expect("stored") {
                link.send(&up).await;
            }
            if self.unanswered() == 0 {
                return;
            }
            let frame = link.next().await.expect("the session goes on");
            self.take(frame);
        }
    }

    /// Own envelopes of this life that have no answer yet.
    pub fn unanswered(&self) -> u64 {
        let store = self.replica.store();
        store.unsent(&self.meta().device()).expect("stored").0
    }

    /// Signs groups of changes as the envelope after the chain's end (`n`, `prev`).
    pub fn envelope(&self, n: u64, prev: Hash, groups: Vec<Vec<Entry>>) -> Envelope {
        let meta = self.meta();
        let context = ChainContext {
            city: meta.city(),
            device: meta.device(),
            incarnation: meta.incarnation,
            prev,
            grant: meta.grant.id(),
        };
        let body = EnvelopeBody {
            n,
            device_time: NOW,
            city_head: 0,
            groups,
            detached: Vec::new(),
        };
        Envelope::sign(context, &body, Vec::new(), &meta.key())
    }
}

/// A connection that the relay's certificate was checked on.
pub type Stream = TlsStream<TcpStream>;

/// A relay's address and the root under which it is believed.
#[derive(Debug, Clone)]
pub struct Door {
    relay: RelayUrl,
    tls: Arc<ClientConfig>,
    from: Option<IpAddr>,
}

impl Door {
    /// The door of this relay.
    pub fn new(relay: RelayUrl, root: &[u8; 32]) -> Self {
        Self {
            relay,
            tls: trust(root),
            from: None,
        }
    }

    /// The same door, by way of another address of this machine: each has its own ports.
    pub fn coming_from(&self, address: IpAddr) -> Self {
        Self {
            from: Some(address),
            ..self.clone()
        }
    }

    /// Opens a session of a device. `hello` gives the first words and their signature over a nonce;
    /// the relay may ask for them once more, over a fresh one.
    ///
    /// # Errors
    /// When the relay is not there, or turned the device away.
    pub async fn enter(
        &self,
        device: &DeviceId,
        nonce: Vec<u8>,
        mut hello: impl FnMut(&[u8]) -> (Vec<u8>, [u8; 64]),
    ) -> Result<Link, Refusal> {
        let stream = self.open().await?;
        match self.upgrade(stream, device, &nonce, hello(&nonce)).await? {
            Upgrade::Open(link) => Ok(*link),
            Upgrade::Nonce(fresh) => {
                let stream = self.open().await?;
                let words = hello(&fresh);
                match self.upgrade(stream, device, &fresh, words).await? {
                    Upgrade::Open(link) => Ok(*link),
                    Upgrade::Nonce(_) => Err(Refusal::Status(401)),
                }
            }
        }
    }

    async fn upgrade(
        &self,
        stream: Stream,
        device: &DeviceId,
        nonce: &[u8],
        (hello, signature): (Vec<u8>, [u8; 64]),
    ) -> Result<Upgrade, Refusal> {
        let uri = format!("wss://{}/v1/sync", self.relay.authority())
            .parse()
            .expect("a uri");
        let authorization = format!(
            r#"Manzana device="{device}", nonce="{}", signature="{}""#,
            BASE64URL_NOPAD.encode(nonce),
            BASE64URL_NOPAD.encode(&signature),
        );
        let request = ClientRequestBuilder::new(uri)
            .with_header("Authorization", authorization)
            .with_header("X-Manzana-Hello", BASE64URL_NOPAD.encode(&hello));
        let small = WebSocketConfig::default().read_buffer_size(READ_BUFFER);
        // Large: the handshake's state.
        let upgrading = Box::pin(client_async_with_config(request, stream, Some(small)));
        match in_time("an upgrade", upgrading).await {
            Ok((socket, _)) => Ok(Upgrade::Open(Box::new(Link { socket }))),
            Err(WsError::Http(response)) => {
                let status = response.status().as_u16();
                let challenge = response.headers().get("www-authenticate");
                let nonce = challenge.and_then(|value| {
                    let text = value.to_str().ok()?.strip_prefix("Manzana nonce=\"")?;
                    BASE64URL_NOPAD
                        .decode(text.strip_suffix('"')?.as_bytes())
                        .ok()
                });
                nonce.map(Upgrade::Nonce).ok_or(Refusal::Status(status))
            }
            Err(_) => Err(Refusal::Unreachable),
        }
    }

    /// A TLS connection to the relay.
    ///
    /// # Errors
    /// When nobody listens there, or not under the city's root.
    pub async fn open(&self) -> Result<Stream, Refusal> {
        self.dial().await.map_err(|_| Refusal::Unreachable)
    }

    async fn dial(&self) -> std::io::Result<Stream> {
        let tcp = match self.from {
            None => TcpStream::connect((self.relay.host(), self.relay.port())).await?,
            Some(address) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(address, 0))?;
                let to: IpAddr = self.relay.host().parse().map_err(std::io::Error::other)?;
                socket
                    .connect(SocketAddr::new(to, self.relay.port()))
                    .await?
            }
        };
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(self.relay.host().to_owned()).expect("a name");
        let connecting = Box::pin(TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp));
        in_time("a handshake", connecting).await
    }

    async fn post(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/cbor\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.relay.authority(),
            body.len()
        );
        let mut stream = self.open().await.expect("the relay listens");
        stream
            .write_all(&[head.as_bytes(), body].concat())
            .await
            .expect("sent");
        let mut answer = Vec::new();
        // A peer that closes without TLS's own goodbye has still said everything.
        let _ = in_time("an answer", stream.read_to_end(&mut answer)).await;
        let end = answer
            .windows(4)
            .position(|w| w == b"\r\n\r\n")
            .expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        answer.split_off(end + 4)
    }
}

enum Upgrade {
    Open(Box<Link>),
    Nonce(Vec<u8>),
}

/// The frame that pushes an envelope.
pub fn push(envelope: &Envelope) -> Up {
    Up::Push {
        body: envelope.body.clone().into(),
        signature: envelope.signature,
        parts: envelope.parts.clone(),
    }
}

/// An open session.
#[derive(Debug)]
pub struct Link {
    socket: WebSocketStream<Stream>,
}

impl Link {
    /// Sends a frame.
    pub async fn send(&mut self, frame: &Up) {
        self.send_raw(Message::Binary(codec::encode(frame).into()))
            .await;
    }

    /// Sends a message, whatever it is. A relay that has hung up already is no error here.
    pub async fn send_raw(&mut self, message: Message) {
        let _ = in_time("a frame is sent", self.socket.send(message)).await;
    }

    /// The next frame; `None` once the relay has closed the connection.
    pub async fn next(&mut self) -> Option<Down> {
        let bytes = self.next_bytes().await?;
        Some(decode_frame(&bytes).expect("a frame of the protocol"))
    }

    /// The next frame as it came; `None` once the relay has closed the connection.
    pub async fn next_bytes(&mut self) -> Option<Vec<u8>> {
        in_time("a frame", self.next_whenever()).await
    }

    /// [`Link::next_bytes`] without a deadline: for a watcher that waits for others.
    pub async fn next_whenever(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => return Some(bytes.into()),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(other) => panic!("not a frame: {other:?}"),
            }
        }
    }

    /// Reads until a frame is what the test looks for.
    ///
    /// # Panics
    /// When the session ends first.
    pub async fn find<T>(&mut self, mut look: impl FnMut(Down) -> Option<T>) -> T {
        loop {
            let frame = self.next().await.expect("the session goes on");
            if let Some(found) = look(frame) {
                return found;
            }
        }
    }

    /// Reads to the end of the session and gives the relay's last word, if there was one.
    pub async fn farewell(&mut self) -> Option<manzana_engine::wire::ByeCode> {
        let mut last = None;
        while let Some(frame) = self.next().await {
            if let Down::Bye { code } = frame {
                last = Some(code);
            }
        }
        last
    }
}

fn trust(root: &[u8; 32]) -> Arc<ClientConfig> {
    let roots = RootCertStore {
        roots: vec![city_anchor(root)],
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a version of TLS");
    Arc::new(config.with_root_certificates(roots).with_no_client_auth())
}
