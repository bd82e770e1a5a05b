//! The device runtime: a replica that syncs by itself over WebSockets.
//!
//! A [`Client`] is one device. It keeps its replica in a folder of its own, on one thread; every call
//! goes there and comes back, so nothing ever blocks the caller's runtime. What a person does is
//! durable when the call returns; sending it is the business of the session that
//! [`Client::start_sync`] keeps alive.
//!
//! ```text
//! Client ──jobs──▶ keeper thread: Replica<SqliteReplica>     (the only one that touches the file)
//!    │                    ▲   │
//!    └─ start_sync ─▶ session │ frames in, frames out ──▶ TLS under the city's root ──▶ relay
//!                             └─ changes ─▶ Changes (screens)
//! ```
//!
//! **What may be believed.** Custody ([`Custody`]) rises only by what the relay signed: an HTTP 200, a
//! connection or a sent frame mean nothing. Only the city's root is trusted, and no code path switches
//! verification off.
//!
//! ```no_run
//! # async fn example() -> Result<(), manzana_client::ClientError> {
//! use manzana_client::{Client, Invitation, OpenOptions};
//! let client = Client::open(OpenOptions::new("/home/ana/manzana")).await?;
//! client.enrol(&"manzana:1:…".parse::<Invitation>()?).await?;
//! let petition = client.find("SIAC-030851").await?;
//! client.comment(petition, "Sigue sin luz").await?; // durable when it returns
//! client.start_sync();
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backoff;
mod changes;
mod client;
mod connection;
mod enrol;
mod error;
mod home;
mod http;
mod invitation;
mod keeper;
pub mod model;
mod session;
mod sync;
mod tls;
mod views;

pub use changes::{ChangeEvent, Changes};
pub use client::{Client, EventDraft, OpenOptions, exports};
pub use connection::Connection;
pub use error::{Category, ClientError, StorageProblem};
pub use invitation::{Invitation, InvitationError, RelayUrl};
pub use sync::SyncReport;
pub use tls::city_anchor;
pub use views::{CityRecovery, Custody, Held, Me, Petition, PetitionDetail, Status, ToCorrect};

/// A clock's reading, milliseconds UTC. It is shown to people and never decides.
fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 is wrong, not an error: the city's time decides.
    since.map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}
