//! Doing one command on an open client: what it does, and what it says.

use std::path::Path;
use std::time::Duration;

use manzana_client::{Client, ClientError, Invitation};
use manzana_engine::document::CatalogView;
use manzana_engine::ids::{DocId, RecordId};
use manzana_engine::replica::Saved;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::args::{Command, Request};
use super::{show, strings};

/// How long `sync` tries without `--timeout`.
const SYNC_TIME: Duration = Duration::from_secs(30);
/// Largest file that is imported, bytes; the client's own limit is the same.
const IMPORT_BYTES: u64 = 16 << 20;

/// What a command says, and its exit code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Output {
    pub(super) code: u8,
    pub(super) out: String,
    pub(super) err: String,
}

/// Exit codes: see the help.
const FAILED: u8 = 1;
const NOT_ALLOWED: u8 = 3;
const NOT_ALL_SENT: u8 = 4;

/// What a command gives when it succeeds: for programs, and for people.
struct Said {
    code: u8,
    json: Value,
    text: String,
}

impl Said {
    fn new(json: Value, text: impl Into<String>) -> Self {
        Self {
            code: 0,
            json,
            text: text.into(),
        }
    }
}

/// Why a command failed.
enum Failure {
    Client(ClientError),
    /// A code for programs, a sentence for people.
    Other(&'static str, String),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Other("file", strings::file_failed(&error))
    }
}

impl Output {
    fn said(json: bool, said: &Said) -> Self {
        let mut out = if json {
            said.json.to_string()
        } else {
            said.text.clone()
        };
        if !out.is_empty() {
            out.push('\n');
        }
        Self {
            code: said.code,
            out,
            err: String::new(),
        }
    }

    /// The client's refusal or failure.
    pub(super) fn failure(json: bool, error: &ClientError) -> Self {
        let code = match error {
            ClientError::Denied { .. } => NOT_ALLOWED,
            _ => FAILED,
        };
        Self::error(json, code, show::error(error), &strings::error(error))
    }

    /// A refusal of this program's own.
    pub(super) fn refusal(json: bool, name: &str, text: &str) -> Self {
        let value = json!({"category": "rejected", "code": name, "text": text});
        Self::error(json, FAILED, value, text)
    }

    fn error(json: bool, code: u8, value: Value, text: &str) -> Self {
        let (out, err) = match json {
            true => (format!("{}\n", json!({ "error": value })), String::new()),
            false => (String::new(), format!("{text}\n")),
        };
        Self { code, out, err }
    }
}

/// Does a command.
pub(super) async fn perform(client: &Client, request: &Request) -> Output {
    if request.offline && request.command.needs_network() {
        return Output::refusal(request.json, "offline", strings::ASKED_OFFLINE);
    }
    // Large: capture's arguments and the futures of every command.
    match Box::pin(dispatch(client, &request.command)).await {
        Ok(said) => Output::said(request.json, &said),
        Err(Failure::Client(error)) => Output::failure(request.json, &error),
        Err(Failure::Other(name, text)) => Output::refusal(request.json, name, &text),
    }
}

async fn dispatch(client: &Client, command: &Command) -> Result<Said, Failure> {
    if let Some((ids, draft)) = command.step() {
        let docs = find_all(client, &ids).await?;
        return Ok(saved(client, client.act(&docs, draft).await?).await?);
    }
    match command {
        Command::Enrol { invitation } => enrol(client, invitation).await,
        Command::Capture(form) => {
            let (petition, petitioner) = form.as_ref().clone().petition();
            Ok(saved(client, client.capture(petition, petitioner).await?).await?)
        }
        Command::List => Ok(list(client).await?),
        Command::Catalogs => Ok(catalogs(client).await?),
        Command::Show { id } => Ok(one(client, id).await?),
        Command::Comment { id, text } => {
            let doc = client.find(id).await?;
            Ok(saved(client, client.comment(doc, text).await?).await?)
        }
        Command::Correct(args) => {
            let doc = client.find(&args.id).await?;
            let edits = args.fields.clone().edits();
            Ok(saved(client, client.correct(doc, edits).await?).await?)
        }
        Command::Refer { id, agency, reason } => {
            let doc = client.find(id).await?;
            let done = client
                .refer(&[doc], agency.clone().into(), reason.clone())
                .await?;
            Ok(saved(client, done).await?)
        }
        Command::Sync { watch: true, .. } => Err(Failure::Other(
            "watching",
            strings::ALREADY_WATCHING.to_owned(),
        )),
        Command::Sync { timeout, .. } => Ok(sync(client, *timeout).await?),
        Command::ToCorrect => Ok(to_correct(client).await?),
        Command::Held => Ok(held(client).await?),
        Command::Resend(args) => {
            let id = correction_id(&args.correction)?;
            let changed = args.as_ref().clone().amendment();
            Ok(saved(client, client.resend(id, changed).await?).await?)
        }
        Command::Discard { correction } => {
            client.close_correction(correction_id(correction)?).await?;
            Ok(Said::new(
                json!({"saved": true, "text": strings::DISCARDED}),
                strings::DISCARDED,
            ))
        }
        Command::Export { file } => export(client, file).await,
        Command::Import { file } => import(client, file).await,
        Command::Status => Ok(status(client).await?),
        // The steps were done above.
        _ => Err(ClientError::Internal("a command without a meaning").into()),
    }
}

fn correction_id(text: &str) -> Result<RecordId, Failure> {
    RecordId::from_key(text)
        .map_err(|_| Failure::Other("correction", strings::BAD_CORRECTION.to_owned()))
}

async fn find_all(client: &Client, ids: &[String]) -> Result<Vec<DocId>, ClientError> {
    let mut docs = Vec::new();
    for id in ids {
        let doc = client.find(id).await?;
        if !docs.contains(&doc) {
            docs.push(doc);
        }
    }
    Ok(docs)
}

async fn enrol(client: &Client, invitation: &str) -> Result<Said, Failure> {
    let invitation: Invitation = invitation.parse().map_err(ClientError::from)?;
    let me = client.enrol(&invitation).await?;
    let text = strings::enrolled(&me.display, &me.center);
    let status = client.status().await?;
    Ok(Said::new(json!({ "status": show::status(&status) }), text))
}

/// What an act says: it is saved here, and nothing more is promised.
async fn saved(client: &Client, done: Saved) -> Result<Said, ClientError> {
    let center = client.me().await?.center;
    let (mut rows, mut text) = (Vec::new(), strings::SAVED.to_owned());
    for doc in &done.docs {
        let Some(petition) = client.petition(*doc).await? else {
            continue;
        };
        if petition.folio.is_none() {
            text.push('\n');
            text.push_str(&strings::provisional(&petition.provisional_folio));
        }
        rows.push(show::petition(&petition, &center));
    }
    let json = json!({
        "saved": true,
        "intent": done.intent.key(),
        "text": strings::SAVED,
        "petitions": rows,
    });
    Ok(Said::new(json, text))
}

async fn catalogs(client: &Client) -> Result<Said, ClientError> {
    let catalogs = client.catalogs().await?;
    let entries = |view: &CatalogView| -> Vec<Value> {
        view.items
            .iter()
            .map(|item| json!({"id": item.id, "name": item.name}))
            .collect()
    };
    let value: Vec<Value> = catalogs
        .iter()
        .map(|view| json!({"catalog": view.name, "items": entries(view)}))
        .collect();
    let lines = catalogs.iter().flat_map(|view| {
        let items = view
            .items
            .iter()
            .map(|item| format!("  {}:{}", item.id, item.name));
        std::iter::once(view.name.clone()).chain(items)
    });
    Ok(Said {
        json: json!({ "catalogs": value }),
        text: lines.collect::<Vec<_>>().join("\n"),
        code: 0,
    })
}

async fn list(client: &Client) -> Result<Said, ClientError> {
    let center = client.me().await?.center;
    let petitions = client.list().await?;
    let rows: Vec<Value> = petitions
        .iter()
        .map(|p| show::petition(p, &center))
        .collect();
    let lines: Vec<String> = petitions.iter().map(|p| show::line(p, &center)).collect();
    let text = match lines.is_empty() {
        true => strings::EMPTY_LIST.to_owned(),
        false => lines.join("\n"),
    };
    Ok(Said::new(json!({ "petitions": rows }), text))
}

async fn one(client: &Client, id: &str) -> Result<Said, ClientError> {
    let doc = client.find(id).await?;
    let detail = client.detail(doc).await?;
    let now = now_ms();
    let json = json!({ "petition": show::detail(&detail, now) });
    Ok(Said::new(json, show::page(&detail, now)))
}

async fn sync(client: &Client, timeout: Option<u64>) -> Result<Said, ClientError> {
    let time = timeout.map_or(SYNC_TIME, Duration::from_secs);
    let report = client.sync_until_idle(time).await?;
    let status = client.status().await?;
    let problem = report.problem.as_ref().map(show::error);
    let json = json!({
        "sync": {"idle": report.idle, "problem": problem},
        "status": show::status(&status),
    });
    if report.idle {
        let more = strings::waiting_to_correct(status.to_correct);
        let more = more.map(|more| format!("\n{more}.")).unwrap_or_default();
        return Ok(Said::new(json, format!("{}{more}", strings::ALL_SENT)));
    }
    let mut text = strings::not_all_sent(status.unsent);
    if let Some(problem) = &report.problem {
        text = format!("{}\n{text}", strings::error(problem));
    }
    Ok(Said {
        code: NOT_ALL_SENT,
        json,
        text,
    })
}

async fn to_correct(client: &Client) -> Result<Said, ClientError> {
    let waiting = client.to_correct().await?;
    let rows: Vec<Value> = waiting.iter().map(show::correction).collect();
    let lines: Vec<String> = waiting.iter().map(show::correction_line).collect();
    let text = match lines.is_empty() {
        true => strings::NOTHING_TO_CORRECT.to_owned(),
        false => lines.join("\n"),
    };
    Ok(Said::new(json!({ "to_correct": rows }), text))
}

async fn held(client: &Client) -> Result<Said, ClientError> {
    let held = client.held().await?;
    let rows: Vec<Value> = held.iter().map(show::held).collect();
    let lines: Vec<String> = held
        .iter()
        .map(|held| show::act_line(&held.intent))
        .collect();
    let text = match lines.is_empty() {
        true => strings::NOTHING_HELD.to_owned(),
        false => format!("{}\n{}", strings::HELD, lines.join("\n")),
    };
    Ok(Said::new(json!({ "held": rows }), text))
}

async fn export(client: &Client, file: &Path) -> Result<Said, Failure> {
    let bytes = client.export_unanswered().await?;
    let size = bytes.len();
    write_private(file, &bytes)?;
    Ok(Said::new(
        json!({"exported": {"bytes": size}}),
        strings::exported(size),
    ))
}

async fn import(client: &Client, file: &Path) -> Result<Said, Failure> {
    if std::fs::metadata(file)?.len() > IMPORT_BYTES {
        return Err(ClientError::BadExport.into());
    }
    let taken = client.carry(&std::fs::read(file)?).await?;
    Ok(Said::new(
        json!({"imported": {"acts": taken}}),
        strings::imported(taken),
    ))
}

/// An export holds sealed personal data and people's words: for its owner alone.
fn write_private(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(bytes)?;
    file.sync_all()
}

async fn status(client: &Client) -> Result<Said, ClientError> {
    let status = client.status().await?;
    let json = json!({ "status": show::status(&status) });
    Ok(Said::new(json, show::status_page(&status, now_ms())))
}

/// This machine's clock, milliseconds UTC: to say "de ayer".
pub(super) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}
