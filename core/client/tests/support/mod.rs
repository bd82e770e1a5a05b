//! A small relay for the runtime's tests: real TLS, real sockets, the engine's session machine, and
//! answers made by hand. Its misbehaviours are knobs.

mod city;
mod relay;

use std::path::Path;
use std::time::Duration;

use manzana_client::{Client, OpenOptions, Petition, Status};
use manzana_engine::intent::NewPetition;

pub(crate) use city::City;
pub(crate) use relay::{Knob, TestRelay};

/// Longest that any wait of a test may take: reached only when the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn open(dir: &Path) -> Client {
    Client::open(OpenOptions::new(dir)).await.unwrap()
}

/// A device enrolled with the relay, in a folder of its own.
pub(crate) async fn enrolled(relay: &TestRelay) -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let client = open(dir.path()).await;
    client.enrol(&relay.invitation()).await.unwrap();
    (dir, client)
}

pub(crate) fn petition(title: &str) -> NewPetition {
    NewPetition {
        title: title.to_owned(),
        description: "No prende desde ayer".to_owned(),
        ..NewPetition::default()
    }
}

pub(crate) async fn only(client: &Client) -> Petition {
    let mut list = client.list().await.unwrap();
    assert_eq!(list.len(), 1);
    list.remove(0)
}

/// Waits for a status, woken by changes.
pub(crate) async fn until(client: &Client, wanted: impl Fn(&Status) -> bool) -> Status {
    let mut changes = client.watch();
    let waiting = async {
        loop {
            let status = client.status().await.unwrap();
            if wanted(&status) {
                return status;
            }
            changes.next().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("the status waited for")
}
