//! The flags of `manzana phone`, and what they mean: pure mappings, tested as such.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use manzana_client::EventDraft;
use manzana_engine::fold::{EventKind, Outcome};
use manzana_engine::ids::{CatalogId, Hash};
use manzana_engine::intent::{Amendment, Edit, NewPetition};
use manzana_engine::record::{CatalogRef, Position};
use manzana_engine::seal::Petitioner;
use manzana_engine::summary::Priority;
use serde::{Deserialize, Serialize};

use super::strings;

const HELP: &str = "\
Petitions are named by folio (SIAC-030851 or 30851), provisional folio or document id.
Acts are saved on this machine and return at once; `sync` sends them. While `sync` or `sync --watch`
runs, other commands on the same folder go through it, and what they save is sent at once.

JSON (--json): one document on standard output; `sync --watch` prints one object per line.
  list        {\"petitions\": [PETITION]}
  show        {\"petition\": PETITION + description, street, cross1, cross2, kind, position,
               allowed[], events[], comments[], conflicts[]}
  acts        {\"saved\": true, \"intent\", \"text\", \"petitions\": [PETITION]}
  to-correct  {\"to_correct\": [{id, rule, field, text, what, content, petitions[]}]}
  held        {\"held\": [{id, what, content, petitions[]}]}
  status      {\"status\": {enrolled, device, user, role, display, center, relay, connection, problem,
               unsent, oldest_unsent, to_correct, held, bytes_up, bytes_down, last_receipt, text}}
  sync        {\"sync\": {\"idle\", \"problem\"}, \"status\": …}
  watch       {\"type\": \"petition\"|\"gone\"|\"to_correct\"|\"status\", …}
  errors      {\"error\": {category, code, rule, field, text}} with an exit code above 0
PETITION: doc, folio, provisional_folio, title, status, status_text, unconfirmed, conflict, review,
final, accepted, custody (on_this_phone, copied_to_another, received, accepted_by_agency),
custody_text, unsent, captured_here, captured_at, location, priority, channel, service, neighborhood,
agencies[], comment_count. Catalog entries are {id, name}; times are milliseconds UTC.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 not allowed, 4 not everything was sent in time.";

/// A device in the terminal: captures, acts and syncs like the app.
#[derive(Debug, Args)]
#[command(after_long_help = HELP)]
pub struct PhoneArgs {
    /// The device's folder.
    #[arg(long, env = "MANZANA_HOME", value_name = "DIR", global = true)]
    pub(super) home: Option<PathBuf>,
    /// Never open a network connection.
    #[arg(long, global = true)]
    pub(super) offline: bool,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// A command with what it needs from its caller's surroundings: can be handed to another process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) command: Command,
    pub(super) json: bool,
    pub(super) offline: bool,
}

#[derive(Debug, Clone, PartialEq, Subcommand, Serialize, Deserialize)]
pub(super) enum Command {
    /// Enrol this device with an invitation (`manzana invite` makes one).
    Enrol {
        /// The text of the QR, beginning with manzana:1:
        invitation: String,
    },
    /// Capture a petition.
    Capture(Box<CaptureArgs>),
    /// List the petitions this device holds, newest first.
    List,
    /// List the catalogs this device holds: entries as ID:NAME, as other commands take them.
    Catalogs,
    /// Show one petition.
    Show {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Comment on a petition.
    Comment {
        #[arg(value_name = "ID")]
        id: String,
        text: String,
    },
    /// Correct fields of a petition.
    Correct(CorrectArgs),
    /// Say that work has begun (crew).
    Start {
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
    /// Say that it cannot be done yet (crew).
    NotYet {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long)]
        reason: String,
        /// When it is tried again: dd/mm/yyyy or yyyy-mm-dd.
        #[arg(long, value_name = "DATE")]
        next_date: Option<Day>,
    },
    /// Report as done; several petitions make one act with shared evidence (crew).
    Close {
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
        #[arg(long)]
        note: Option<String>,
        /// SHA-256 of a photo, in hexadecimal; may be given several times.
        #[arg(long, value_name = "FILE-HASH")]
        evidence: Vec<FileHash>,
    },
    /// Report as not applicable.
    NotApplicable {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long)]
        reason: String,
    },
    /// Refer to another agency; crews and agencies propose it.
    Refer {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long, value_name = "ID:NAME")]
        agency: Named,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Accept for the agency.
    Accept {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Assign to a crew.
    Assign {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long, value_name = "ID:NAME")]
        crew: Named,
    },
    /// Define the final state (supervisor).
    Final {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long, value_enum)]
        outcome: FinalOutcome,
        #[arg(long)]
        note: Option<String>,
    },
    /// Open again (supervisor).
    Reopen {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long)]
        reason: Option<String>,
    },
    /// The citizen says that it was done.
    Confirm {
        #[arg(value_name = "ID")]
        id: String,
    },
    /// The citizen says that it was not.
    Dispute {
        #[arg(value_name = "ID")]
        id: String,
        #[arg(long)]
        reason: Option<String>,
    },
    /// Send and receive until nothing is left, or stay connected.
    Sync {
        /// Stay connected and print changes as they come.
        #[arg(long)]
        watch: bool,
        /// Give up, or end watching, after this many seconds (without --watch: 30).
        #[arg(long, value_name = "S")]
        timeout: Option<u64>,
    },
    /// What the relay did not accept and waits to be corrected.
    ToCorrect,
    /// Send something of `to-correct` again, with what is changed in it here, if anything.
    Resend(Box<ResendArgs>),
    /// Take something out of `to-correct`: it was done otherwise, or is given up.
    Discard {
        /// Its id in `to-correct`.
        correction: String,
    },
    /// What the city holds until somebody there decides.
    Held,
    /// Write what was not received yet to a file that another phone can carry.
    Export { file: PathBuf },
    /// Carry what another phone exported.
    Import { file: PathBuf },
    /// This device at a glance.
    Status,
}

#[derive(Debug, Clone, Default, PartialEq, Args, Serialize, Deserialize)]
pub(super) struct CaptureArgs {
    /// Subject.
    #[arg(long)]
    pub(super) title: String,
    #[arg(long)]
    pub(super) description: String,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) channel: Option<Named>,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) kind: Option<Named>,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) agency: Option<Named>,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) service: Option<Named>,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) neighborhood: Option<Named>,
    #[arg(long)]
    pub(super) street: Option<String>,
    #[arg(long)]
    pub(super) cross1: Option<String>,
    #[arg(long)]
    pub(super) cross2: Option<String>,
    /// Latitude in degrees.
    #[arg(long, allow_hyphen_values = true, requires = "lon")]
    pub(super) lat: Option<Degrees>,
    /// Longitude in degrees.
    #[arg(long, allow_hyphen_values = true, requires = "lat")]
    pub(super) lon: Option<Degrees>,
    /// Accuracy of the position in metres.
    #[arg(long, value_name = "METRES", requires = "lat")]
    pub(super) accuracy: Option<u32>,
    #[arg(long, value_enum)]
    pub(super) priority: Option<Level>,
    /// Block; a captain's own is filled in.
    #[arg(long)]
    pub(super) block: Option<CatalogId>,
    #[arg(long)]
    pub(super) sector: Option<CatalogId>,
    /// Who asks; sealed so that only the city can read it.
    #[arg(long)]
    pub(super) petitioner_name: Option<String>,
    #[arg(long, requires = "petitioner_name")]
    pub(super) petitioner_gender: Option<String>,
    #[arg(long, requires = "petitioner_name")]
    pub(super) petitioner_phone: Option<String>,
    #[arg(long, requires = "petitioner_name")]
    pub(super) petitioner_email: Option<String>,
    #[arg(long, requires = "petitioner_name")]
    pub(super) petitioner_address: Option<String>,
    /// The petitioner was shown the privacy notice and accepted it.
    #[arg(long, requires = "petitioner_name")]
    pub(super) notice_accepted: bool,
}

/// The arguments of [`CorrectFields`].
const CORRECTABLE: [&str; 5] = ["title", "description", "street", "neighborhood", "priority"];

#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
pub(super) struct CorrectFields {
    #[arg(long)]
    pub(super) title: Option<String>,
    #[arg(long)]
    pub(super) description: Option<String>,
    #[arg(long)]
    pub(super) street: Option<String>,
    #[arg(long, value_name = "ID:NAME")]
    pub(super) neighborhood: Option<Named>,
    #[arg(long, value_enum)]
    pub(super) priority: Option<Level>,
}

#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
#[command(group = ArgGroup::new("field").required(true).multiple(true).args(CORRECTABLE))]
pub(super) struct CorrectArgs {
    #[arg(value_name = "ID")]
    pub(super) id: String,
    #[command(flatten)]
    pub(super) fields: CorrectFields,
}

#[derive(Debug, Clone, PartialEq, Args, Serialize, Deserialize)]
pub(super) struct ResendArgs {
    /// Its id in `to-correct`.
    pub(super) correction: String,
    #[command(flatten)]
    fields: CorrectFields,
    /// The agency, of a capture or a step.
    #[arg(long, value_name = "ID:NAME")]
    agency: Option<Named>,
    /// The crew of an assignment.
    #[arg(long, value_name = "ID:NAME")]
    crew: Option<Named>,
    /// The words of a comment.
    #[arg(long)]
    text: Option<String>,
    /// Why, of a step.
    #[arg(long)]
    reason: Option<String>,
    /// The note of a step.
    #[arg(long)]
    note: Option<String>,
}

/// A catalog's entry on the command line: `4:Alumbrado Público`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    id: CatalogId,
    name: String,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, name) = text.split_once(':').ok_or("write ID:NAME")?;
        let id = id.trim().parse().map_err(|_| "the id is not a number")?;
        let name = name.trim().to_owned();
        match name.is_empty() {
            true => Err("the name is missing: write ID:NAME".to_owned()),
            false => Ok(Self { id, name }),
        }
    }
}

impl From<Named> for CatalogRef {
    fn from(named: Named) -> Self {
        Self::new(named.id, named.name)
    }
}

/// Degrees, kept as 10⁻⁷ degrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Degrees(i32);

impl FromStr for Degrees {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let degrees: f64 = text.parse().map_err(|_| "not a number of degrees")?;
        match degrees.is_finite() && degrees.abs() <= 180.0 {
            // Rounded and within ±180 × 10⁷, so it fits.
            #[allow(clippy::cast_possible_truncation)]
            true => Ok(Self((degrees * 1e7).round() as i32)),
            false => Err("degrees go from -180 to 180".to_owned()),
        }
    }
}

/// A day of the city, as its first millisecond, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Day(pub(super) i64);

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        strings::day(text)
            .map(Self)
            .ok_or_else(|| "write dd/mm/yyyy or yyyy-mm-dd".to_owned())
    }
}

/// The SHA-256 of a file, in hexadecimal or in the letters of our ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileHash([u8; 32]);

impl FromStr for FileHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hex = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes());
        let hex = hex.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        hex.or_else(|| text.parse::<Hash>().ok().map(|hash| hash.0))
            .map(Self)
            .ok_or_else(|| "not a SHA-256: 64 hexadecimal digits".to_owned())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(super) enum Level {
    Normal,
    Urgent,
    Risk,
}

impl From<Level> for Priority {
    fn from(level: Level) -> Self {
        match level {
            Level::Normal => Self::Normal,
            Level::Urgent => Self::Urgent,
            Level::Risk => Self::Risk,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
pub(super) enum FinalOutcome {
    Done,
    NotApplicable,
}

impl From<FinalOutcome> for Outcome {
    fn from(outcome: FinalOutcome) -> Self {
        match outcome {
            FinalOutcome::Done => Self::Done,
            FinalOutcome::NotApplicable => Self::NotApplicable,
        }
    }
}

impl PhoneArgs {
    /// The command as any process can do it: paths made absolute.
    pub(super) fn request(self) -> std::io::Result<Request> {
        let mut command = self.command;
        if let Command::Export { file } | Command::Import { file } = &mut command {
            *file = super::absolute(file)?;
        }
        Ok(Request {
            command,
            json: self.json,
            offline: self.offline,
        })
    }
}

impl Command {
    /// Whether it is nothing without the network. Watching is: it shows what other commands do.
    pub(super) fn needs_network(&self) -> bool {
        matches!(self, Self::Enrol { .. } | Self::Sync { watch: false, .. })
    }

    /// The step that this command adds to petitions, and to which ones; `None` for other commands.
    pub(super) fn step(&self) -> Option<(Vec<String>, EventDraft)> {
        let one = |id: &String, draft| Some((vec![id.clone()], draft));
        let bare = EventDraft::new;
        match self {
            Self::Start { ids } => Some((ids.clone(), bare(EventKind::Started))),
            Self::NotYet {
                id,
                reason,
                next_date,
            } => one(
                id,
                EventDraft {
                    reason: Some(reason.clone()),
                    next_at: next_date.map(|day| day.0),
                    ..bare(EventKind::NotYet)
                },
            ),
            Self::Close {
                ids,
                note,
                evidence,
            } => {
                let hashes: Vec<Hash> = evidence.iter().map(|hash| Hash(hash.0)).collect();
                let draft = EventDraft {
                    note: note.clone(),
                    evidence: (!hashes.is_empty()).then_some(hashes),
                    ..bare(EventKind::Done)
                };
                Some((ids.clone(), draft))
            }
            Self::NotApplicable { id, reason } => {
                let reason = Some(reason.clone());
                one(
                    id,
                    EventDraft {
                        reason,
                        ..bare(EventKind::NotApplicable)
                    },
                )
            }
            Self::Accept { id } => one(id, bare(EventKind::Accepted)),
            Self::Assign { id, crew } => {
                let crew = Some(crew.clone().into());
                one(
                    id,
                    EventDraft {
                        crew,
                        ..bare(EventKind::Assigned)
                    },
                )
            }
            Self::Final { id, outcome, note } => one(
                id,
                EventDraft {
                    outcome: Some((*outcome).into()),
                    note: note.clone(),
                    ..bare(EventKind::FinalState)
                },
            ),
            Self::Reopen { id, reason } => one(
                id,
                EventDraft {
                    reason: reason.clone(),
                    ..bare(EventKind::Reopened)
                },
            ),
            Self::Confirm { id } => one(id, bare(EventKind::CitizenConfirmed)),
            Self::Dispute { id, reason } => one(
                id,
                EventDraft {
                    reason: reason.clone(),
                    ..bare(EventKind::CitizenDisputed)
                },
            ),
            _ => None,
        }
    }
}

impl CaptureArgs {
    /// The form and, where somebody gave their name, who asks.
    pub(super) fn petition(self) -> (NewPetition, Option<Petitioner>) {
        let accuracy_m = self.accuracy.unwrap_or_default();
        let position = self.lat.zip(self.lon).map(|(lat, lon)| Position {
            lat_e7: lat.0,
            lon_e7: lon.0,
            accuracy_m,
        });
        let petition = NewPetition {
            title: self.title,
            description: self.description,
            channel: self.channel.map(Into::into),
            kind: self.kind.map(Into::into),
            agency: self.agency.map(Into::into),
            service: self.service.map(Into::into),
            neighborhood: self.neighborhood.map(Into::into),
            street: self.street,
            cross1: self.cross1,
            cross2: self.cross2,
            position,
            priority: self.priority.map(Into::into).unwrap_or_default(),
            block: self.block,
            sector: self.sector,
            petitioner: None,
        };
        let petitioner = self.petitioner_name.map(|name| Petitioner {
            name,
            gender: self.petitioner_gender,
            phone: self.petitioner_phone,
            email: self.petitioner_email,
            address: self.petitioner_address,
            notice_accepted: self.notice_accepted,
        });
        (petition, petitioner)
    }
}

impl ResendArgs {
    /// What is changed before it is sent again.
    pub(super) fn amendment(self) -> Amendment {
        Amendment {
            edits: self.fields.edits(),
            agency: self.agency.map(Into::into),
            crew: self.crew.map(Into::into),
            text: self.text,
            reason: self.reason,
            note: self.note,
        }
    }
}

impl CorrectFields {
    pub(super) fn edits(self) -> Vec<Edit> {
        let edits = [
            self.title.map(Edit::Title),
            self.description.map(Edit::Description),
            self.street.map(Edit::Street),
            self.neighborhood
                .map(|named| Edit::Neighborhood(named.into())),
            self.priority.map(|level| Edit::Priority(level.into())),
        ];
        edits.into_iter().flatten().collect()
    }
}
