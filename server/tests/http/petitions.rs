//! The list, the detail and the acts, and how the core's errors come out.

use manzana_server::desk::{Act, DeskError, Outcome, Role, StatusFilter};
use serde_json::{Value, json};

use crate::client::Client;
use crate::server::Server;

const ONE: &str = "00000000000000000000000000000001";

fn act_body(change: Value) -> Value {
    let mut body = json!({"heads": ["ab".repeat(32)], "key": "key-000001"});
    body.as_object_mut()
        .unwrap()
        .extend(change.as_object().unwrap().clone());
    body
}

async fn comment(client: &Client) -> crate::client::Reply {
    let body = act_body(json!({"act": "comment", "text": "Hola"}));
    client
        .post(&format!("/api/petitions/{ONE}/acts"), &body)
        .await
}

#[tokio::test]
async fn nothing_is_shown_to_who_is_not_signed_in() {
    let server = Server::start().await;
    let paths = [
        "/api/catalogs",
        "/api/petitions",
        "/api/events?from=0",
        "/api/session",
    ];
    for path in paths {
        let reply = server.client().get(path).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (401, "not_signed_in"),
            "{path}"
        );
    }
    assert_eq!(comment(&server.client()).await.status, 401);
}

#[tokio::test]
async fn rows_have_the_shape_the_console_reads() {
    let server = Server::start().await;
    server.desk.accept(1);
    let client = server.signed_in("operadora").await;
    let page = client.get("/api/petitions").await.json();
    let row = json!({
        "id": ONE, "folio": "SIAC-000001", "provisional": "7K3M9QXA",
        "title": "Luminaria apagada", "agency": null, "agencies": [],
        "agency_ids": [], "petitioner": null,
        "neighborhood": "COL. CENTRO", "neighborhood_id": 3, "location": "JUVENTINO ROSAS 1207",
        "status": "in_progress", "unconfirmed": false, "conflict": false, "review": false,
        "priority": "urgent", "created_at": 1_700_000_000_000_i64, "channel": "Vía Ventanilla",
        "comments": 0, "seq": 1
    });
    let page_of_it =
        json!({"rows": [row], "next": null, "corrected": null, "total": null, "seq": 1});
    assert_eq!(page, page_of_it);
    let detail = client.get(&format!("/api/petitions/{ONE}")).await.json();
    assert_eq!(detail["title"], "Luminaria apagada");
    assert_eq!(detail["heads"], json!(["ab".repeat(32)]));
    assert_eq!(detail["acts"], json!(["comment", "final_state"]));
    let catalogs = client.get("/api/catalogs").await.json();
    assert_eq!(catalogs["agencies"], json!([{"id": 9, "name": "CAEV"}]));
}

#[tokio::test]
async fn filters_reach_the_core_parsed_and_bounded() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let path = "/api/petitions?q=%20L%C3%A1mpara&status=done_unconfirmed&agency=9&neighborhood=3&cursor=&limit=9999";
    assert_eq!(client.get(path).await.status, 200);
    let query = server.desk.queries().remove(0);
    assert_eq!(query.q.as_deref(), Some("Lámpara"));
    assert_eq!(query.status, Some(StatusFilter::DoneUnconfirmed));
    assert_eq!(
        (query.agency, query.neighborhood, query.cursor, query.limit),
        (Some(9), Some(3), None, 200)
    );
    for bad in [
        "status=perdida",
        "agency=caev",
        "neighborhood=centro",
        "limit=-1",
    ] {
        let reply = client.get(&format!("/api/petitions?{bad}")).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (422, "invalid"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn a_report_is_of_the_days_asked_for() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    let path = "/api/reports/agencies?from=2021-10-01&to=2021-10-26";
    let report = client.get(path).await.json();
    assert_eq!(
        (&report["from"], &report["to"]),
        (&json!("2021-10-01"), &json!("2021-10-26"))
    );
    let all = client.get("/api/reports/agencies?from=&to=").await.json();
    assert_eq!((&all["from"], &all["to"]), (&json!(null), &json!(null)));
    for (bad, sentence) in [
        ("from=01/10/2021", "La fecha «de» no es válida."),
        (
            "from=2021-10-02&to=2021-10-01",
            "La fecha «a» no es válida o es anterior a «de».",
        ),
    ] {
        let reply = client.get(&format!("/api/reports/agencies?{bad}")).await;
        assert_eq!(
            (reply.status, reply.code().as_str()),
            (422, "invalid"),
            "{bad}"
        );
        assert!(reply.text().contains(sentence), "{bad}: {}", reply.text());
    }
    assert_eq!(server.client().get(path).await.status, 401);
}

#[tokio::test]
async fn an_act_reaches_the_core_with_its_author_and_what_was_seen() {
    let server = Server::start().await;
    server.desk.accept(1);
    let client = server.signed_in("supervisora").await;
    let body = act_body(json!({"act": "final_state", "outcome": "done", "reason": " Visto "}));
    let reply = client
        .post(&format!("/api/petitions/{ONE}/acts"), &body)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["detail"]["id"], ONE);
    let (viewer, request) = server.desk.acts().remove(0);
    assert_eq!((viewer.user, viewer.role), (2, Role::Supervisor));
    assert_eq!(request.heads, [[0xab; 32]]);
    assert_eq!(request.key, "key-000001");
    let reason = Some("Visto".to_owned());
    assert_eq!(
        request.act,
        Act::FinalState {
            outcome: Outcome::Done,
            reason
        }
    );
}

#[tokio::test]
async fn errors_of_the_core_become_codes_and_sentences() {
    type Case = (fn() -> DeskError, u16, &'static str);
    let cases: [Case; 7] = [
        (|| DeskError::NotFound, 404, "not_found"),
        (
            || DeskError::Forbidden {
                rule: "final_state",
            },
            403,
            "forbidden",
        ),
        (
            || DeskError::Conflict {
                reason: "unknown_heads",
            },
            409,
            "conflict",
        ),
        (|| DeskError::Invalid { field: "agency" }, 422, "invalid"),
        (|| DeskError::StorageFull, 507, "storage_full"),
        (|| DeskError::Busy, 503, "busy"),
        (
            || DeskError::Internal("secreto de adentro".into()),
            500,
            "internal",
        ),
    ];
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    for (failure, status, code) in cases {
        server.desk.fail_with(failure);
        let reply = comment(&client).await;
        assert_eq!((reply.status, reply.code().as_str()), (status, code));
        assert!(
            !reply.text().contains("secreto"),
            "the inner text stays inside"
        );
    }
}

#[tokio::test]
async fn what_is_no_id_no_act_or_no_route_is_refused() {
    let server = Server::start().await;
    let client = server.signed_in("operadora").await;
    assert_eq!(client.get("/api/petitions/xyz").await.status, 404);
    assert_eq!(client.get("/api/nothing").await.code(), "not_found");
    let reply = client.send("PUT", "/api/petitions", &[], b"").await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (405, "method_not_allowed")
    );
    let body = act_body(json!({"act": "comment"}));
    let reply = client
        .post(&format!("/api/petitions/{ONE}/acts"), &body)
        .await;
    assert_eq!((reply.status, reply.code().as_str()), (422, "invalid"));
    let reply = client
        .post(&format!("/api/petitions/{ONE}/acts"), &json!([]))
        .await;
    assert_eq!(reply.status, 422);
}

#[tokio::test]
async fn a_body_is_taken_up_to_its_limit() {
    let server = Server::start_with(|config| config.limits.body_bytes = 1 << 10).await;
    server.desk.accept(1);
    let client = server.signed_in("operadora").await;
    let path = format!("/api/petitions/{ONE}/acts");
    let empty = act_body(json!({"act": "comment", "text": ""}))
        .to_string()
        .len();
    let body =
        |bytes: usize| act_body(json!({"act": "comment", "text": "a".repeat(bytes - empty)}));
    assert_eq!(client.post(&path, &body(1 << 10)).await.status, 200);
    let reply = client.post(&path, &body((1 << 10) + 1)).await;
    assert_eq!((reply.status, reply.code().as_str()), (413, "too_large"));
}
