//! `sync --watch`: stays connected, prints what changes, and does other processes' commands.

use std::io::{self, Write as _};
use std::time::Duration;

use manzana_client::{ChangeEvent, Client, ClientError, Connection, Status};
use manzana_engine::ids::DocId;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::args::Request;
use super::perform::{Output, now_ms};
use super::{join, show, strings};

/// Watches until the time is over, Ctrl-C, or the reader of the output is gone.
pub(super) async fn watch(
    client: &Client,
    listener: io::Result<join::Listener>,
    request: &Request,
    time: Option<Duration>,
) -> Output {
    let ended = tokio::select! {
        ended = follow(client, request) => ended,
        never = join::serve(listener, client, request.offline) => match never {},
        () = over(time) => Ok(()),
        () = stopped() => Ok(()),
    };
    match ended {
        Ok(()) => Output {
            code: 0,
            out: String::new(),
            err: String::new(),
        },
        Err(error) => Output::failure(request.json, &error),
    }
}

async fn over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn follow(client: &Client, request: &Request) -> Result<(), ClientError> {
    let mut changes = client.watch();
    let mut printer = Printer {
        json: request.json,
        shown: None,
    };
    if !request.offline {
        client.start_sync();
    }
    let mut open = printer.status(client).await?;
    while open {
        let Some(change) = changes.next().await else {
            break;
        };
        open = match change {
            ChangeEvent::Petition(doc) => {
                printer.petition(client, doc).await? && printer.status(client).await?
            }
            ChangeEvent::ToCorrect => printer.corrections(client).await?,
            ChangeEvent::Everything => printer.everything(client).await?,
            _ => printer.status(client).await?,
        };
        if client.status().await?.problem == Some(ClientError::Unauthorised) {
            return Err(ClientError::Unauthorised);
        }
    }
    Ok(())
}

/// Prints lines; every method tells whether somebody still reads.
struct Printer {
    json: bool,
    /// The state last printed: repeated only when it changed.
    shown: Option<(Connection, u64, (usize, usize))>,
}

impl Printer {
    fn print(&self, kind: &str, mut value: Value, text: &str) -> bool {
        let line = match self.json {
            true => {
                if let Value::Object(fields) = &mut value {
                    fields.insert("type".to_owned(), json!(kind));
                }
                value.to_string()
            }
            false => text.to_owned(),
        };
        let mut out = io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
    }

    async fn petition(&mut self, client: &Client, doc: DocId) -> Result<bool, ClientError> {
        let center = client.me().await?.center;
        Ok(match client.petition(doc).await? {
            Some(petition) => self.print(
                "petition",
                show::petition(&petition, &center),
                &show::line(&petition, &center),
            ),
            None => {
                let doc = doc.to_string();
                self.print("gone", json!({ "doc": doc }), &strings::gone(&doc))
            }
        })
    }

    async fn corrections(&mut self, client: &Client) -> Result<bool, ClientError> {
        for waiting in client.to_correct().await? {
            let line = show::correction_line(&waiting);
            if !self.print("to_correct", show::correction(&waiting), &line) {
                return Ok(false);
            }
        }
        self.status(client).await
    }

    async fn everything(&mut self, client: &Client) -> Result<bool, ClientError> {
        for petition in client.list().await? {
            if !self.petition(client, petition.doc).await? {
                return Ok(false);
            }
        }
        self.corrections(client).await
    }

    async fn status(&mut self, client: &Client) -> Result<bool, ClientError> {
        let status: Status = client.status().await?;
        let waits = (status.to_correct, status.held);
        let now = (status.connection, status.unsent, waits);
        if self.shown.replace(now) == Some(now) {
            return Ok(true);
        }
        let line = show::status_line(&status, now_ms());
        Ok(self.print("status", show::status(&status), &line))
    }
}
