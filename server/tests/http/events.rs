//! Event streams: nothing missing, nothing twice, and an end when there must be one.

use manzana_server::desk::DeskError;
use serde_json::json;

use crate::desk::{Gate, LIVE_ROWS};
use crate::server::Server;

#[tokio::test]
async fn a_stream_replays_from_its_place_and_goes_on_live() {
    let server = Server::start().await;
    (1..=3).for_each(|seq| server.desk.accept(seq));
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=1", &[]).await;
    assert_eq!(events.rows(2).await, [2, 3]);
    server.desk.accept(7);
    assert_eq!(events.rows(1).await, [7]);
}

#[tokio::test]
async fn the_last_event_id_wins_over_the_address() {
    let server = Server::start().await;
    (1..=3).for_each(|seq| server.desk.accept(seq));
    let client = server.signed_in("operadora").await;
    let mut events = client
        .events("/api/events?from=0", &[("Last-Event-ID", "2")])
        .await;
    assert_eq!(events.rows(1).await, [3]);
    let reply = client
        .send("GET", "/api/events", &[("Last-Event-ID", "x")], b"")
        .await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn a_long_absence_within_the_bound_is_replayed_over_pages() {
    let server = Server::start().await;
    (1..=450).for_each(|seq| server.desk.accept(seq));
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    assert_eq!(events.rows(450).await, (1..=450).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stream_that_fell_behind_reads_again_and_misses_nothing() {
    let server = Server::start().await;
    server.desk.accept(1);
    let client = server.signed_in("operadora").await;
    server.desk.gate_next_read(Gate::AfterSnapshot);
    let mut events = client.events("/api/events?from=0", &[]).await;
    server.desk.entered.notified().await;
    // The stream has read as far as row 1; more than it can hold comes meanwhile.
    let last = 1 + 3 * LIVE_ROWS as u64;
    (2..=last).for_each(|seq| server.desk.accept(seq));
    server.desk.release.notify_one();
    assert_eq!(
        events.rows(3 * LIVE_ROWS + 1).await,
        (1..=last).collect::<Vec<_>>()
    );
    assert_eq!(server.metrics.sse_lags.get(), 1);
    server.desk.accept(last + 1);
    assert_eq!(events.rows(1).await, [last + 1]);
}

#[tokio::test]
async fn a_row_read_and_live_at_once_is_sent_once() {
    let server = Server::start().await;
    server.desk.accept(1);
    let client = server.signed_in("operadora").await;
    server.desk.gate_next_read(Gate::BeforeSnapshot);
    let mut events = client.events("/api/events?from=0", &[]).await;
    server.desk.entered.notified().await;
    server.desk.accept(2);
    server.desk.release.notify_one();
    assert_eq!(events.rows(2).await, [1, 2]);
    server.desk.accept(3);
    assert_eq!(events.rows(1).await, [3]);
}

#[tokio::test]
async fn a_place_too_old_is_told_to_reload_and_then_goes_on_live() {
    let server = Server::start().await;
    (1..=9).for_each(|seq| server.desk.accept(seq));
    server.desk.forget_before(5);
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=4", &[]).await;
    let event = events.next().await.unwrap();
    assert_eq!(
        (event.name.as_str(), event.id, event.data),
        ("resync", 9, json!({"seq": 9}))
    );
    server.desk.accept(10);
    assert_eq!(events.rows(1).await, [10]);
}

#[tokio::test]
async fn too_many_missed_rows_mean_reload_at_the_bound_and_one_past_it() {
    let server = Server::start_with(|config| config.limits.sse_replay_rows = 3).await;
    (1..=4).for_each(|seq| server.desk.accept(seq));
    let client = server.signed_in("operadora").await;
    assert_eq!(
        client.events("/api/events?from=1", &[]).await.rows(3).await,
        [2, 3, 4]
    );
    let event = client
        .events("/api/events?from=0", &[])
        .await
        .next()
        .await
        .unwrap();
    assert_eq!((event.name.as_str(), event.id), ("resync", 4));
}

#[tokio::test]
async fn a_place_ahead_of_a_restored_relay_is_told_to_reload() {
    let server = Server::start().await;
    server.desk.accept(1);
    let client = server.signed_in("operadora").await;
    let event = client
        .events("/api/events?from=40", &[])
        .await
        .next()
        .await
        .unwrap();
    assert_eq!((event.name.as_str(), event.id), ("resync", 1));
}

#[tokio::test]
async fn a_quiet_stream_is_kept_open_by_comments() {
    let server = Server::start_with(|config| config.limits.sse_keepalive_ms = 10).await;
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    assert!(events.block().await.unwrap().starts_with("retry: "));
    assert_eq!(events.block().await.unwrap(), ":");
    assert_eq!(events.block().await.unwrap(), ":");
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let other = server.signed_in("supervisora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    let mut others = other.events("/api/events?from=0", &[]).await;
    assert_eq!(
        client.send("DELETE", "/api/session", &[], b"").await.status,
        204
    );
    assert_eq!(events.next().await, None);
    server.desk.accept(1);
    assert_eq!(others.rows(1).await, [1]);
}

#[tokio::test]
async fn a_stream_ends_with_its_user() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    server.desk.disable_users();
    assert_eq!(events.next().await, None);
}

#[tokio::test]
async fn streams_are_bounded_and_a_place_comes_free_again() {
    let server = Server::start_with(|config| {
        config.limits.sse_streams = 2;
        config.limits.sse_streams_per_user = 1;
    })
    .await;
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    let refused = client.get("/api/events?from=0").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "busy"));
    let other = server.signed_in("supervisora").await;
    let _second = other.events("/api/events?from=0", &[]).await;
    client.send("DELETE", "/api/session", &[], b"").await;
    assert_eq!(events.next().await, None);
    let again = server.signed_in("operadora").await;
    again.events("/api/events?from=0", &[]).await;
}

#[tokio::test]
async fn stopping_ends_streams_and_returns() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    let stopped = tokio::spawn(server.stop());
    assert_eq!(events.next().await, None);
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_relay_core_that_fails_leaves_the_list_failing_and_the_stream_open() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let mut events = client.events("/api/events?from=0", &[]).await;
    server.desk.fail_with(|| DeskError::Busy);
    assert_eq!(client.get("/api/petitions").await.status, 503);
    server.desk.accept(1);
    assert_eq!(events.rows(1).await, [1]);
}
