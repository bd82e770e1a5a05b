//! A browser of an operator, reduced to its requests: HTTP/1.1 over a socket, one cookie, one stream.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::relay::{City, PASSWORD};
use crate::wait::in_time;

/// An answer of the API.
#[derive(Debug)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// The body; null when it is no JSON.
    pub json: Value,
    /// The session's cookie, when it was set.
    cookie: Option<String>,
}

/// A signed-in browser.
#[derive(Debug, Clone)]
pub struct Console {
    address: SocketAddr,
    cookie: String,
    csrf: String,
}

impl Console {
    /// Signs in as a user of the tests.
    pub async fn sign_in(city: &City, user: &str) -> Self {
        let mut console = Self {
            address: city.console(),
            cookie: String::new(),
            csrf: String::new(),
        };
        let body = json!({"user": user, "password": PASSWORD});
        let reply = console.post("/api/session", &body).await;
        assert_eq!(reply.status, 200, "sign-in: {}", reply.json);
        console.cookie = reply.cookie.expect("a cookie");
        console.csrf = reply.json["csrf"].as_str().expect("a token").to_owned();
        console
    }

    /// Asks.
    pub async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, "").await
    }

    /// Sends JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &body.to_string()).await
    }

    /// All petitions, newest first, page after page.
    pub async fn petitions(&self) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut path = "/api/petitions?limit=50".to_owned();
        loop {
            let page = self.get(&path).await;
            assert_eq!(page.status, 200, "{}", page.json);
            rows.extend(page.json["rows"].as_array().cloned().unwrap_or_default());
            match page.json["next"].as_str() {
                Some(next) => path = format!("/api/petitions?limit=50&cursor={next}"),
                None => return rows,
            }
        }
    }

    /// One petition whole.
    pub async fn detail(&self, id: &str) -> Value {
        let reply = self.get(&format!("/api/petitions/{id}")).await;
        assert_eq!(reply.status, 200, "{}", reply.json);
        reply.json
    }

    /// Acts on a petition as the view with these heads showed it.
    pub async fn act(&self, id: &str, heads: &Value, key: &str, act: &Value) -> Reply {
        let mut body = act.clone();
        body["heads"] = heads.clone();
        body["key"] = json!(key);
        self.post(&format!("/api/petitions/{id}/acts"), &body).await
    }

    /// Opens the stream of rows that change from now on.
    pub async fn events(&self) -> Events {
        let mut stream = self.open("GET", "/api/events", "").await;
        let (status, _, _) = head(&mut stream).await;
        assert_eq!(status, 200, "an event stream");
        let mut events = Events {
            stream,
            text: String::new(),
        };
        // The first words of a stream: from here on nothing is missed.
        in_time("the stream's greeting", events.block())
            .await
            .expect("a greeting");
        events
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Reply {
        let exchange = async {
            let mut stream = self.open(method, path, body).await;
            let (status, length, cookie) = head(&mut stream).await;
            let mut bytes = vec![0; length];
            stream.read_exact(&mut bytes).await.expect("the body");
            Reply {
                status,
                json: serde_json::from_slice(&bytes).unwrap_or_default(),
                cookie,
            }
        };
        in_time(path, exchange).await
    }

    async fn open(&self, method: &str, path: &str, body: &str) -> BufReader<TcpStream> {
        let address = self.address;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\n\
             Cookie: {}\r\nX-Manzana-Csrf: {}\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.cookie,
            self.csrf,
            body.len()
        );
        let mut stream = TcpStream::connect(address)
            .await
            .expect("the console listens");
        stream.write_all(request.as_bytes()).await.expect("sent");
        BufReader::new(stream)
    }
}

/// What the relay counts, in Prometheus' text format.
pub async fn metrics(city: &City) -> String {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        city.console()
    );
    let mut answer = String::new();
    in_time("/metrics", async {
        let mut stream = TcpStream::connect(city.console()).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    })
    .await
    .expect("the console answers");
    answer
}

/// Status, length and cookie of an answer.
async fn head(stream: &mut BufReader<TcpStream>) -> (u16, usize, Option<String>) {
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("an answer");
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .expect("a status");
    let (mut length, mut cookie) = (0, None);
    loop {
        line.clear();
        stream.read_line(&mut line).await.expect("a header");
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().expect("a length"),
            "set-cookie" => cookie = value.split(';').next().map(str::to_owned),
            _ => {}
        }
    }
    (status, length, cookie)
}

/// An open event stream.
#[derive(Debug)]
pub struct Events {
    stream: BufReader<TcpStream>,
    text: String,
}

impl Events {
    /// The next row.
    pub async fn row(&mut self) -> Value {
        in_time("a row", async {
            loop {
                let block = self.block().await.expect("the stream goes on");
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
                if field("event: ") == Some("row") {
                    let data = field("data: ").expect("its data");
                    return serde_json::from_str(data).expect("a row");
                }
            }
        })
        .await
    }

    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let mut line = String::new();
            self.stream.read_line(&mut line).await.ok()?;
            let size = usize::from_str_radix(line.trim_end(), 16)
                .ok()
                .filter(|size| *size > 0)?;
            let mut chunk = vec![0; size + 2];
            self.stream.read_exact(&mut chunk).await.ok()?;
            chunk.truncate(size);
            self.text += &String::from_utf8(chunk).ok()?;
        }
    }
}
