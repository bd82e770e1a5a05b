//! The listeners: TLS under the city's root, bounds, ports that are taken.

use std::net::SocketAddr;
use std::sync::Arc;

use manzana_server::config::Config;
use manzana_server::serve::Listeners;
use manzana_server::tls::{CityRoot, provider, trust_anchor};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{Client, PATIENCE, read_reply};
use crate::server::Server;

/// A device that trusts only the root with this public key.
async fn connect(
    address: SocketAddr,
    name: &'static str,
    public_key: &[u8; 32],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.roots.push(trust_anchor(public_key));
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

#[tokio::test]
async fn a_device_that_knows_only_the_citys_root_reaches_its_relay() {
    let server = Server::start().await;
    for name in ["localhost", "127.0.0.1"] {
        let stream = connect(server.sync, name, server.root.public_key())
            .await
            .unwrap();
        let mut stream = BufReader::new(stream);
        let request = Client::new(server.sync).request("GET", "/healthz", &[], b"");
        stream.get_mut().write_all(&request).await.unwrap();
        let reply = read_reply(&mut stream).await.unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "ok\n"));
    }
}

#[tokio::test]
async fn another_root_or_another_name_is_refused() {
    let server = Server::start().await;
    let other = CityRoot::from_seed([9; 32]).unwrap();
    let error = connect(server.sync, "localhost", other.public_key())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = connect(server.sync, "otro.example", server.root.public_key())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn the_devices_listener_does_not_serve_the_console() {
    let server = Server::start().await;
    let stream = connect(server.sync, "localhost", server.root.public_key())
        .await
        .unwrap();
    let mut stream = BufReader::new(stream);
    let request = Client::new(server.sync).request("GET", "/api/session", &[], b"");
    stream.get_mut().write_all(&request).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().status, 404);
}

#[tokio::test]
async fn websockets_pass_through_the_devices_listener() {
    let server = Server::start().await;
    let mut stream = connect(server.sync, "localhost", server.root.public_key())
        .await
        .unwrap();
    let upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    let request = Client::new(server.sync).request("GET", "/v1/sync", &upgrade, b"");
    stream.write_all(&request).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"\x81\x04hola") {
        assert_ne!(stream.read_buf(&mut seen).await.unwrap(), 0, "{seen:?}");
    }
    assert!(seen.starts_with(b"HTTP/1.1 101 "));
}

#[tokio::test]
async fn connections_are_bounded_and_a_place_comes_free_again() {
    let server = Server::start_with(|config| config.limits.console_connections = 1).await;
    let client = server.client();
    let mut held = BufReader::new(TcpStream::connect(server.console).await.unwrap());
    let request = client.request("GET", "/healthz", &[], b"");
    held.get_mut().write_all(&request).await.unwrap();
    assert_eq!(read_reply(&mut held).await.unwrap().status, 200);
    // The first connection is taken in and stays: the second is closed unanswered.
    let mut second = BufReader::new(TcpStream::connect(server.console).await.unwrap());
    let _ = second.get_mut().write_all(&request).await;
    assert!(read_reply(&mut second).await.is_none());
    let closing = client.request("GET", "/healthz", &[("Connection", "close")], b"");
    held.get_mut().write_all(&closing).await.unwrap();
    assert_eq!(read_reply(&mut held).await.unwrap().status, 200);
    assert_eq!(
        held.read_u8().await.unwrap_err().kind(),
        std::io::ErrorKind::UnexpectedEof
    );
    // The place is given back just after the socket is closed: until then we are refused.
    let answered = async {
        loop {
            let mut third = BufReader::new(TcpStream::connect(server.console).await.unwrap());
            let _ = third.get_mut().write_all(&closing).await;
            if let Some(reply) = read_reply(&mut third).await {
                return reply.status;
            }
        }
    };
    assert_eq!(
        tokio::time::timeout(PATIENCE, answered)
            .await
            .expect("a free place"),
        200
    );
}

#[tokio::test]
async fn a_taken_port_is_told_with_the_way_out() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let config = Config {
        sync_listen: "127.0.0.1:0".parse().unwrap(),
        console_listen: address,
        ..Config::default()
    };
    let error = Listeners::bind(&config).await.unwrap_err().to_string();
    for part in [
        &address.to_string(),
        "the port is taken by another program",
        "--console-listen HOST:PORT",
        "MANZANA_CONSOLE_LISTEN",
        "console_listen in the configuration file",
    ] {
        assert!(error.contains(part), "{part} in: {error}");
    }
}

#[tokio::test]
async fn stopping_frees_the_ports() {
    let server = Server::start().await;
    let (sync, console) = (server.sync, server.console);
    server.stop().await.unwrap();
    let config = Config {
        sync_listen: sync,
        console_listen: console,
        ..Config::default()
    };
    Listeners::bind(&config).await.unwrap();
}
