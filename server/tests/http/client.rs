//! A browser reduced to what the tests look at: HTTP/1.1 over a socket, one cookie.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Longest any answer may take before a test fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The error's code; its sentence must be there too.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
        json["error"]["code"].as_str().unwrap().to_owned()
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    address: SocketAddr,
    pub(crate) cookie: Option<String>,
    pub(crate) csrf: Option<String>,
    pub(crate) origin: Option<String>,
    pub(crate) host: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let host = address.to_string();
        let origin = Some(format!("http://{host}"));
        Self {
            address,
            cookie: None,
            csrf: None,
            origin,
            host,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        let json = [("Content-Type", "application/json")];
        self.send("POST", path, &json, body.to_string().as_bytes())
            .await
    }

    /// Signs in and, when that works, keeps cookie and CSRF token.
    pub(crate) async fn sign_in(&mut self, user: &str, password: &str) -> Reply {
        let reply = self
            .post("/api/session", &json!({"user": user, "password": password}))
            .await;
        if reply.status == 200 {
            let cookie = &reply.headers["set-cookie"];
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
            self.csrf = reply.json()["csrf"].as_str().map(str::to_owned);
        }
        reply
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut headers = headers.to_vec();
        headers.push(("Connection", "close"));
        let exchange = async {
            let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
            // The server may answer and close before it has read a body that it refuses.
            let _ = stream
                .get_mut()
                .write_all(&self.request(method, path, &headers, body))
                .await;
            read_reply(&mut stream).await.expect("an answer")
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .expect("an answer in time")
    }

    pub(crate) fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Vec<u8> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.host);
        let own = [
            ("Cookie", &self.cookie),
            ("Origin", &self.origin),
            ("X-Manzana-Csrf", &self.csrf),
        ];
        for (name, value) in own {
            if let Some(value) = value {
                head += &format!("{name}: {value}\r\n");
            }
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    }

    /// Opens an event stream.
    pub(crate) async fn events(&self, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = BufReader::new(TcpStream::connect(self.address).await.unwrap());
        let request = self.request("GET", path, headers, b"");
        stream.get_mut().write_all(&request).await.unwrap();
        let (status, headers) = read_head(&mut stream).await.unwrap();
        assert_eq!(status, 200);
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store");
        Events {
            stream,
            text: String::new(),
        }
    }
}

/// One event of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: u64,
    pub(crate) data: Value,
}

pub(crate) struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

impl Events {
    /// The next event, skipping comments; `None` when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let block = self.block().await?;
            if block.contains("event:") {
                return Some(parse_event(&block));
            }
        }
    }

    /// The next block of lines, comments included.
    pub(crate) async fn block(&mut self) -> Option<String> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some((block, rest)) = self.text.split_once("\n\n") {
                    let block = block.to_owned();
                    self.text = rest.to_owned();
                    return Some(block);
                }
                let chunk = read_chunk(&mut self.stream).await?;
                self.text += &String::from_utf8(chunk).unwrap();
            }
        })
        .await
        .expect("an event in time")
    }

    /// The ids of the next `count` events, all of them rows.
    pub(crate) async fn rows(&mut self, count: usize) -> Vec<u64> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let event = self.next().await.expect("a row");
            assert_eq!(event.name, "row");
            assert_eq!(event.data["seq"], event.id);
            ids.push(event.id);
        }
        ids
    }
}

fn parse_event(block: &str) -> Event {
    let field = |name: &str| {
        let prefix = format!("{name}: ");
        block
            .lines()
            .find_map(|line| line.strip_prefix(&prefix))
            .unwrap_or_else(|| panic!("{block}"))
    };
    Event {
        name: field("event").to_owned(),
        id: field("id").parse().unwrap(),
        data: serde_json::from_str(field("data")).unwrap(),
    }
}

async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut BufReader<S>,
) -> Option<(u16, HashMap<String, String>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut headers = HashMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Some((status, headers))
}

/// One chunk of a chunked body; `None` at its end.
async fn read_chunk<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let size = usize::from_str_radix(line.trim_end(), 16).ok()?;
    let mut chunk = vec![0; size + 2];
    stream.read_exact(&mut chunk).await.ok()?;
    chunk.truncate(size);
    (size > 0).then_some(chunk)
}

/// One answer; `None` when the peer closed without any.
pub(crate) async fn read_reply<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Reply> {
    let (status, headers) = read_head(stream).await?;
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        body.resize(length.parse().unwrap(), 0);
        stream.read_exact(&mut body).await.ok()?;
    } else if headers.contains_key("transfer-encoding") {
        while let Some(chunk) = read_chunk(stream).await {
            body.extend(chunk);
        }
    }
    Some(Reply {
        status,
        headers,
        body,
    })
}
