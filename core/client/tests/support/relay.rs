//! The relay itself: enrolment, upgrade, and a session that accepts whatever is pushed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use data_encoding::BASE64URL_NOPAD;
use futures_util::{SinkExt as _, StreamExt as _};
use manzana_client::Invitation;
use manzana_engine::answer::{Answer, EnvelopeAnswer};
use manzana_engine::codec;
use manzana_engine::digest::SetHash;
use manzana_engine::document::Document;
use manzana_engine::envelope::Envelope;
use manzana_engine::grant::{Scope, SignedGrant};
use manzana_engine::ids::{DeviceId, DocId, Hash};
use manzana_engine::keys::{self, Purpose};
use manzana_engine::relay::{
    Ask, ChainEnd, LogPlace, LogRowView, Move, Need, Opening, Session, pack_segment,
};
use manzana_engine::wire::{ByeCode, Down, EnrolRequest, Hello, Up, decode_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::City;

/// A misbehaviour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Knob {
    /// Every request is answered 200 with a page, as captive portals do.
    Portal,
    /// Receipts never leave the relay.
    SwallowReceipts,
    /// Greets, then sends bytes that are no frame.
    Garbage,
    /// Takes one envelope in and cuts the connection before answering.
    CutAfterPush,
    /// Tells every device that it is revoked.
    Revoke,
    /// Says that it does not speak the device's version of the protocol.
    Refuse,
    /// Greets in another version of the protocol.
    Newer,
}

struct Row {
    doc: DocId,
    device: DeviceId,
    hash: Hash,
    change: Vec<u8>,
    folio: Option<u64>,
}

#[derive(Default)]
struct World {
    knobs: BTreeSet<Knob>,
    grants: BTreeMap<DeviceId, SignedGrant>,
    chains: BTreeMap<(DeviceId, u32), ChainEnd>,
    answers: Vec<EnvelopeAnswer>,
    log: Vec<Row>,
    docs: BTreeMap<DocId, Document>,
    /// Nonces that are still good.
    nonces: BTreeSet<Vec<u8>>,
    issued: u64,
}

pub(crate) struct TestRelay {
    city: City,
    address: SocketAddr,
    world: Mutex<World>,
    upgrades: watch::Sender<u64>,
    sessions: watch::Sender<u64>,
}

type Stream = TlsStream<TcpStream>;

impl TestRelay {
    /// A relay of this city on a free port.
    pub(crate) async fn start(city: City) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let acceptor = TlsAcceptor::from(city.tls());
        let relay = Arc::new(Self {
            city,
            address: listener.local_addr().unwrap(),
            world: Mutex::default(),
            upgrades: watch::Sender::new(0),
            sessions: watch::Sender::new(0),
        });
        let served = Arc::clone(&relay);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (relay, acceptor) = (Arc::clone(&served), acceptor.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        relay.serve(stream).await;
                    }
                });
            }
        });
        relay
    }

    pub(crate) fn invitation(&self) -> Invitation {
        Invitation {
            relay: format!("https://{}", self.address).parse().unwrap(),
            root: self.city.root.public(),
            code: "CODE".to_owned(),
        }
    }

    pub(crate) fn turn(&self, knob: Knob, on: bool) {
        let mut world = self.world.lock().unwrap();
        match on {
            true => world.knobs.insert(knob),
            false => world.knobs.remove(&knob),
        };
    }

    fn is(&self, knob: Knob) -> bool {
        self.world.lock().unwrap().knobs.contains(&knob)
    }

    /// Changes in the city's log.
    pub(crate) fn logged(&self) -> usize {
        self.world.lock().unwrap().log.len()
    }

    pub(crate) fn upgrades(&self) -> watch::Receiver<u64> {
        self.upgrades.subscribe()
    }

    pub(crate) fn sessions(&self) -> u64 {
        *self.sessions.borrow()
    }

    async fn serve(&self, mut stream: Stream) {
        let Some((head, body)) = read_request(&mut stream).await else {
            return;
        };
        if self.is(Knob::Portal) {
            let page = "<html>Bienvenido</html>";
            let _ = respond(
                &mut stream,
                "200 OK",
                "Content-Type: text/html\r\n",
                page.as_bytes(),
            )
            .await;
        } else if head.starts_with("POST /v1/enrol ") {
            self.enrol(&mut stream, &body).await;
        } else if head.starts_with("GET /v1/sync ") {
            self.upgrade(stream, &head).await;
        }
    }

    async fn enrol(&self, stream: &mut Stream, body: &[u8]) {
        let request: EnrolRequest = codec::decode(body).unwrap();
        let key = request.device_key;
        // A nonce that is never good: the first upgrade has to take a fresh one.
        let enrolment = self.city.enrolment(key, 7, b"stale");
        let grant = enrolment.grant.clone();
        self.world
            .lock()
            .unwrap()
            .grants
            .insert(DeviceId::of_key(&key), grant);
        let _ = match request.code.as_str() {
            "CODE" => respond(stream, "200 OK", "", &codec::encode(&enrolment)).await,
            _ => respond(stream, "403 Forbidden", "", b"used").await,
        };
    }

    fn issue(&self) -> Vec<u8> {
        let mut world = self.world.lock().unwrap();
        world.issued += 1;
        let nonce = world.issued.to_be_bytes().to_vec();
        world.nonces.insert(nonce.clone());
        nonce
    }

    async fn upgrade(&self, mut stream: Stream, head: &str) {
        self.upgrades.send_modify(|n| *n += 1);
        let quoted = |name: &str| {
            let (_, rest) = head.split_once(&format!("{name}=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let device: DeviceId = quoted("device").parse().unwrap();
        let nonce = BASE64URL_NOPAD.decode(quoted("nonce").as_bytes()).unwrap();
        let signature = BASE64URL_NOPAD
            .decode(quoted("signature").as_bytes())
            .unwrap();
        let hello = BASE64URL_NOPAD
            .decode(header(head, "x-manzana-hello").as_bytes())
            .unwrap();
        let grant = self.world.lock().unwrap().grants[&device].clone();
        let granted = grant.open(&self.city.root.public()).unwrap();
        let signed = [nonce.as_slice(), &hello].concat();
        let signature: [u8; 64] = signature.try_into().unwrap();
        keys::verify(&granted.device_key, Purpose::Session, &signed, &signature).unwrap();
        if !self.world.lock().unwrap().nonces.remove(&nonce) {
            let fresh = BASE64URL_NOPAD.encode(&self.issue());
            let challenge = format!("WWW-Authenticate: Manzana nonce=\"{fresh}\"\r\n");
            let _ = respond(&mut stream, "401 Unauthorized", &challenge, b"").await;
            return;
        }
        let accept = derive_accept_key(header(head, "sec-websocket-key").as_bytes());
        let switch = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        stream.write_all(switch.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
        let hello: Hello = decode_frame(&hello).unwrap();
        self.session(socket, &hello, grant).await;
    }

    async fn session(
        &self,
        mut socket: WebSocketStream<Stream>,
        hello: &Hello,
        grant: SignedGrant,
    ) {
        self.sessions.send_modify(|n| *n += 1);
        let granted = grant.open(&self.city.root.public()).unwrap();
        let device = DeviceId::of_key(&granted.device_key);
        let (chain, head) = {
            let world = self.world.lock().unwrap();
            let chain = world.chains.get(&(device, hello.incarnation));
            (
                chain.copied().unwrap_or((0, Hash([0; 32]))),
                world.log.len() as u64,
            )
        };
        let nonce = self.issue();
        let log = LogPlace {
            epoch: 1,
            head,
            floor: 0,
        };
        let opening = Opening {
            chain,
            log,
            time: 1_000,
            nonce: &nonce,
            recovery: None,
        };
        let begun = Session::begin(hello, grant, granted, opening);
        let (mut session, mut frames) = begun.unwrap();
        if self.is(Knob::Revoke) {
            frames = vec![Down::Bye {
                code: ByeCode::Revoked,
            }];
        }
        if self.is(Knob::Refuse) {
            frames = vec![Down::Bye {
                code: ByeCode::BadVersion,
            }];
        }
        if self.is(Knob::Newer)
            && let Some(Down::Welcome { version, .. }) = frames.first_mut()
        {
            *version += 1;
        }
        loop {
            for frame in frames.drain(..) {
                let sent = socket.send(Message::binary(codec::encode(&frame))).await;
                if sent.is_err() {
                    return;
                }
            }
            if self.is(Knob::Garbage) {
                let _ = socket.send(Message::binary(vec![0xff; 40])).await;
            }
            frames = self.wanted(&mut session);
            if !frames.is_empty() || self.need(&session) != Need::Nothing {
                continue;
            }
            let Some(Ok(message)) = socket.next().await else {
                return;
            };
            let Message::Binary(bytes) = message else {
                continue;
            };
            let up: Up = decode_frame(&bytes).unwrap();
            if let (Ask::Submit(envelope), _) = session.frame(up).unwrap() {
                self.take_in(&envelope);
                session.answers_arrived();
                if self.is(Knob::CutAfterPush) {
                    return;
                }
            }
        }
    }

    fn need(&self, session: &Session) -> Need {
        session.need(self.logged() as u64)
    }

    /// The frames that the session needs next.
    fn wanted(&self, session: &mut Session) -> Vec<Down> {
        let world = self.world.lock().unwrap();
        let head = world.log.len() as u64;
        match session.need(head) {
            Need::Answers { after } => {
                let answers: Vec<_> = world
                    .answers
                    .iter()
                    .filter(|a| a.no > after)
                    .cloned()
                    .collect();
                let frame = session.answers(answers, true, 2_000, &self.city.relay);
                let kept = !world.knobs.contains(&Knob::SwallowReceipts);
                frame.into_iter().filter(|_| kept).collect()
            }
            Need::Log { after } => {
                let moves = [(Scope::City, Move::Stay)];
                let rows = (after + 1..).zip(&world.log[after as usize..]);
                let rows: Vec<LogRowView<'_>> = rows
                    .map(|(seq, row)| LogRowView {
                        seq,
                        doc: row.doc,
                        device: row.device,
                        hash: row.hash,
                        change: &row.change,
                        folio: row.folio,
                        moves: &moves,
                    })
                    .collect();
                session.log(&rows, head, |_| None).into_iter().collect()
            }
            Need::Fill(fill) => session
                .fill(pack_segment(&[]), fill.before, true)
                .into_iter()
                .collect(),
            Need::Digests => {
                let digest = |scope: &Scope| {
                    let mut set = SetHash::default();
                    for (doc, document) in &world.docs {
                        if document.summary().unwrap().scopes().contains(scope) {
                            set.add(doc, &document.heads());
                        }
                    }
                    (scope.clone(), set.digest())
                };
                let digests = session.scopes().iter().map(digest).collect();
                session.digests(head, digests, &self.city.relay)
            }
            // Nothing differs in these tests.
            Need::Mend { .. } | Need::Nothing => Vec::new(),
        }
    }

    /// Accepts everything: tests of the gate and of policy are elsewhere.
    fn take_in(&self, envelope: &Envelope) {
        let mut world = self.world.lock().unwrap();
        let context = envelope.context;
        let body = envelope.peek().unwrap();
        world.chains.insert(
            (context.device, context.incarnation),
            (body.n, envelope.hash()),
        );
        let mut groups = Vec::new();
        for group in body.groups {
            let (seq, mut issued) = (world.log.len() as u64 + 1, None);
            for entry in group {
                let folio =
                    (!world.docs.contains_key(&entry.doc)).then(|| world.docs.len() as u64 + 1);
                let document = world.docs.entry(entry.doc).or_insert_with(Document::empty);
                let hash = document.apply(&entry.change).unwrap();
                issued = issued.or(folio);
                let (doc, change, device) = (entry.doc, entry.change, context.device);
                world.log.push(Row {
                    doc,
                    device,
                    hash,
                    change,
                    folio,
                });
            }
            groups.push(Answer::Accepted { seq, folio: issued });
        }
        let no = world.answers.len() as u64 + 1;
        world.answers.push(EnvelopeAnswer {
            no,
            incarnation: context.incarnation,
            n: body.n,
            hash: envelope.hash(),
            groups,
        });
    }
}

async fn read_request(stream: &mut Stream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let length = header(&head, "content-length").parse().unwrap_or(0);
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.ok()?;
    }
    Some((head, bytes[end..].to_vec()))
}

/// A header's value; empty when there is none.
fn header<'h>(head: &'h str, name: &str) -> &'h str {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut named = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    named.next().map_or("", |(_, value)| value.trim())
}

async fn respond(
    stream: &mut Stream,
    status: &str,
    more: &str,
    body: &[u8],
) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await?;
    stream.shutdown().await
}
