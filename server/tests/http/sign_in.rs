//! Signing in and out, sessions, and who may change something.

use serde_json::json;

use crate::desk::PASSWORD;
use crate::server::Server;

#[tokio::test]
async fn a_good_password_opens_a_session_with_a_strict_cookie() {
    let server = Server::start().await;
    let mut client = server.client();
    let reply = client.sign_in("operadora", PASSWORD).await;
    assert_eq!(reply.status, 200);
    let cookie = &reply.headers["set-cookie"];
    for part in [
        "__Host-manzana=",
        "; Secure",
        "; HttpOnly",
        "; SameSite=Strict",
        "; Path=/",
    ] {
        assert!(cookie.contains(part), "{part} in {cookie}");
    }
    assert!(!cookie.contains("Domain"));
    let shown = client.get("/api/session").await.json();
    assert_eq!(shown, reply.json());
    assert_eq!(
        shown["user"],
        json!({"id": 1, "name": "La operadora", "role": "operator"})
    );
    assert_eq!(shown["city"]["folio_prefix"], "SIAC-");
    assert!(shown["csrf"].as_str().unwrap().len() >= 20);
}

#[tokio::test]
async fn the_store_never_sees_the_token() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let token = client.cookie.unwrap().split_once('=').unwrap().1.to_owned();
    let token = data_encoding::BASE64URL_NOPAD
        .decode(token.as_bytes())
        .unwrap();
    let sessions = server.desk.sessions();
    assert_eq!((sessions.len(), token.len()), (1, 32));
    assert_ne!(sessions[0].hash.as_slice(), token);
}

#[tokio::test]
async fn whoever_cannot_sign_in_is_told_the_same() {
    let server = Server::start().await;
    let wrong = server
        .client()
        .sign_in("operadora", "otra contraseña")
        .await;
    let unknown = server.client().sign_in("nadie", PASSWORD).await;
    let only_a_phone = server.client().sign_in("jefa", PASSWORD).await;
    server.desk.disable_users();
    let disabled = server.client().sign_in("operadora", PASSWORD).await;
    for reply in [&wrong, &unknown, &only_a_phone, &disabled] {
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (401, "bad_credentials")
        );
        assert!(!reply.headers.contains_key("set-cookie"));
    }
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(wrong.body, only_a_phone.body);
    assert_eq!(wrong.body, disabled.body);
}

#[tokio::test]
async fn guessing_is_limited_until_the_window_is_over() {
    let server = Server::start_with(|config| config.limits.attempts_per_user = 2).await;
    let mut client = server.client();
    for _ in 0..2 {
        assert_eq!(
            client.sign_in("operadora", "otra contraseña").await.status,
            401
        );
    }
    let limited = client.sign_in("operadora", PASSWORD).await;
    assert_eq!(
        (limited.status, limited.code().as_str()),
        (429, "too_many_attempts")
    );
    assert!(limited.headers["retry-after"].parse::<u64>().unwrap() <= 15 * 60 + 1);
    assert_eq!(client.sign_in("supervisora", PASSWORD).await.status, 200);
    server.clock.advance(15 * 60_000);
    assert_eq!(client.sign_in("operadora", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn an_address_is_limited_and_a_strangers_forwarding_header_is_not_believed() {
    let server = Server::start_with(|config| config.limits.attempts_per_address = 1).await;
    let client = server.client();
    let body = json!({"user": "a", "password": "b"}).to_string();
    let from = |address| {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", address),
        ];
        let (client, body) = (client.clone(), body.clone());
        async move {
            client
                .send("POST", "/api/session", &headers, body.as_bytes())
                .await
                .status
        }
    };
    assert_eq!(from("10.0.0.1").await, 401);
    assert_eq!(from("10.0.0.2").await, 429);
}

#[tokio::test]
async fn the_last_address_of_a_trusted_proxy_counts() {
    let server = Server::start_with(|config| {
        config.limits.attempts_per_address = 1;
        config.console.trusted_proxies = vec!["127.0.0.1".parse().unwrap()];
    })
    .await;
    let client = server.client();
    let body = json!({"user": "a", "password": "b"}).to_string();
    let from = |addresses| {
        let headers = [
            ("Content-Type", "application/json"),
            ("X-Forwarded-For", addresses),
        ];
        let (client, body) = (client.clone(), body.clone());
        async move {
            client
                .send("POST", "/api/session", &headers, body.as_bytes())
                .await
                .status
        }
    };
    assert_eq!(from("10.0.0.1").await, 401);
    assert_eq!(from("10.0.0.2").await, 401);
    assert_eq!(from("10.0.0.3, 10.0.0.2").await, 429);
}

#[tokio::test]
async fn signing_out_ends_the_session_for_good() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let reply = client.send("DELETE", "/api/session", &[], b"").await;
    assert_eq!(reply.status, 204);
    assert!(reply.headers["set-cookie"].contains("Max-Age=0"));
    let after = client.get("/api/session").await;
    assert_eq!(
        (after.status, after.code().as_str()),
        (401, "not_signed_in")
    );
}

#[tokio::test]
async fn a_session_ends_when_idle_and_lives_while_used() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let hour = 3_600_000;
    for _ in 0..3 {
        server.clock.advance(11 * hour);
        assert_eq!(client.get("/api/session").await.status, 200);
    }
    server.clock.advance(12 * hour);
    assert_eq!(client.get("/api/session").await.status, 401);
}

#[tokio::test]
async fn a_disabled_user_is_out_at_once() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    server.desk.disable_users();
    assert_eq!(client.get("/api/session").await.status, 401);
}

#[tokio::test]
async fn what_changes_something_needs_the_csrf_token() {
    let server = Server::start().await;
    let mut client = server.signed_in("operadora").await;
    let good = client.csrf.take();
    let reply = client.send("DELETE", "/api/session", &[], b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "csrf"));
    client.csrf = server.signed_in("operadora").await.csrf;
    let reply = client.send("DELETE", "/api/session", &[], b"").await;
    assert_eq!((reply.status, reply.code().as_str()), (403, "csrf"));
    client.csrf = good;
    assert_eq!(
        client.send("DELETE", "/api/session", &[], b"").await.status,
        204
    );
}

#[tokio::test]
async fn what_changes_something_comes_from_our_origin() {
    let server = Server::start().await;
    let port = server.console.port();
    for origin in [
        None,
        Some("https://otro.example".to_owned()),
        Some("null".to_owned()),
    ] {
        let mut client = server.client();
        client.origin = origin;
        let reply = client.sign_in("operadora", PASSWORD).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "origin"));
    }
    let mut client = server.client();
    client.origin = Some(format!("http://localhost:{port}"));
    assert_eq!(client.sign_in("operadora", PASSWORD).await.status, 200);
}

#[tokio::test]
async fn another_sites_name_pointed_at_us_gets_nothing() {
    let server = Server::start().await;
    let mut client = server.signed_in("operadora").await;
    client.host = format!("otro.example:{}", server.console.port());
    let reply = client.get("/api/session").await;
    assert_eq!((reply.status, reply.code().as_str()), (421, "misdirected"));
    assert_eq!(client.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn a_form_cannot_sign_in() {
    let server = Server::start().await;
    let form = [("Content-Type", "text/plain")];
    let body = json!({"user": "operadora", "password": PASSWORD}).to_string();
    let reply = server
        .client()
        .send("POST", "/api/session", &form, body.as_bytes())
        .await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (415, "unsupported_media_type")
    );
}
