//! The console's page, its headers, health and metrics.

use manzana_server::config::Secret;
use manzana_server::desk::DeskError;

use crate::server::Server;

#[tokio::test]
async fn the_page_comes_with_strict_headers_built_or_not() {
    let server = Server::start().await;
    let page = server.client().get("/").await;
    let built = page.status == 200;
    assert!(built || (page.status == 503 && page.text().contains("no está incluida")));
    assert!(page.headers["content-type"].starts_with("text/html"));
    for reply in [page, server.client().get("/api/session").await] {
        let policy = &reply.headers["content-security-policy"];
        assert!(policy.starts_with("default-src 'none'"));
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["referrer-policy"], "no-referrer");
        assert_eq!(reply.headers["x-frame-options"], "DENY");
    }
    let session = server.client().get("/api/session").await;
    assert_eq!(session.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_missing_file_is_not_the_page() {
    let server = Server::start().await;
    let reply = server.client().get("/assets/gone.js").await;
    assert_eq!((reply.status, reply.code().as_str()), (404, "not_found"));
}

#[tokio::test]
async fn health_and_readiness_are_told_apart() {
    let server = Server::start().await;
    let client = server.client();
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 200);
    server.desk.fail_with(|| DeskError::StorageFull);
    assert_eq!(client.get("/healthz").await.status, 200);
    assert_eq!(client.get("/readyz").await.status, 503);
}

#[tokio::test]
async fn metrics_count_by_pattern_and_name_nobody() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    client.get("/api/petitions?q=PerlaMarina").await;
    client
        .get("/api/petitions/00000000000000000000000000000001")
        .await;
    let metrics = client.get("/metrics").await.text();
    for part in [
        "manzana_http_requests_total{route=\"/api/petitions\",status=\"200\"} 1",
        "manzana_http_requests_total{route=\"/api/petitions/{id}\",status=\"404\"} 1",
        "manzana_sign_ins_total{outcome=\"Granted\"} 1",
        "manzana_connections{listener=\"Console\"} ",
    ] {
        assert!(metrics.contains(part), "{part} in:\n{metrics}");
    }
    assert!(!metrics.contains("Perla") && !metrics.contains("operadora"));
}

#[tokio::test]
async fn metrics_ask_for_their_token_when_there_is_one() {
    let token = "0123456789abcdef";
    let server =
        Server::start_with(|config| config.console.metrics_token = Some(Secret::new(token))).await;
    let client = server.client();
    assert_eq!(client.get("/metrics").await.status, 404);
    let bearer = format!("Bearer {token}");
    let reply = client
        .send("GET", "/metrics", &[("Authorization", &bearer)], b"")
        .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn metrics_are_not_for_those_beyond_a_proxy() {
    let server = Server::start_with(|config| {
        config.console.behind_proxy = true;
        config.console.public_origins = vec!["https://consola.example".into()];
    })
    .await;
    let mut client = server.client();
    client.host = "consola.example".into();
    assert_eq!(client.get("/metrics").await.status, 404);
    let reply = client.get("/api/session").await;
    assert_eq!(reply.status, 401);
    assert!(reply.headers.contains_key("strict-transport-security"));
}
