//! A device as a process of its own, that works without a pause and may be killed at any moment.
//!
//! It embeds the client as an app does, and says on its output what an app would show to a person, a line
//! each, only once it is so:
//!
//! | line | when |
//! |---|---|
//! | `guardado <intent> <document>,…` | an act was saved: it must never be lost |
//! | `recibida <document> <folio>` | a petition captured here was received |
//! | `lleno` | an act failed because the disk is full; the same form is tried again |
//! | `negado` | policy said no |
//! | `no abre <why>` | the folder could not be opened: the process ends |
//! | `falla <why>` | what must not happen, whatever breaks |

use std::path::PathBuf;
use std::time::Duration;

use manzana_client::{
    ChangeEvent, Client, ClientError, Custody, EventDraft, OpenOptions, StorageProblem,
};
use manzana_engine::fold::{EventKind, Outcome};
use manzana_engine::ids::DocId;
use manzana_engine::intent::{Amendment, Edit, NewPetition};
use manzana_engine::record::CatalogRef;
use manzana_engine::replica::Saved;
use manzana_engine::seal::Petitioner;

use crate::wait::Seeded;

/// Acts between two looks at everything that is held.
const LOOK_EVERY: u64 = 12;
/// Pause after an act that found the disk full.
const NO_ROOM: Duration = Duration::from_millis(15);

/// How a device works.
#[derive(Debug, Clone, clap::Args)]
pub struct Work {
    /// Its folder, enrolled.
    #[arg(long)]
    pub home: PathBuf,
    /// What it does.
    #[arg(long)]
    pub seed: u64,
    /// Longest pause between two acts, milliseconds.
    #[arg(long, default_value_t = 60)]
    pub pause: u64,
    /// Folder in which devices leave what others carry to the relay for them.
    #[arg(long)]
    pub swap: PathBuf,
}

/// Works until it is killed.
pub async fn work(work: Work) {
    let client = match Client::open(OpenOptions::new(&work.home)).await {
        Ok(client) => client,
        Err(error) => {
            println!("no abre {error:?}");
            return;
        }
    };
    let mut random = Seeded(work.seed);
    client.start_sync();
    tokio::spawn(tell(client.clone()));
    let mut worker = Worker {
        client,
        swap: work.swap,
        known: Vec::new(),
        serial: work.seed,
    };
    for turn in 0.. {
        if turn % LOOK_EVERY == 0 {
            worker.look().await;
        }
        let act = random.next();
        worker.act(Seeded(act)).await;
        tokio::time::sleep(Duration::from_millis(random.below(work.pause + 1))).await;
    }
}

/// Tells what becomes of the device's own petitions, and of its session.
async fn tell(client: Client) {
    let mut changes = client.watch();
    while let Some(change) = changes.next().await {
        match change {
            ChangeEvent::Petition(doc) => {
                let Ok(Some(petition)) = client.petition(doc).await else {
                    continue;
                };
                if let Some(folio) = petition.folio
                    && petition.captured_here
                    && petition.custody >= Custody::Received
                {
                    println!("recibida {doc} {folio}");
                }
            }
            ChangeEvent::Status => {
                let problem = client.status().await.ok().and_then(|status| status.problem);
                match problem {
                    None | Some(ClientError::Offline { .. } | ClientError::Cancelled) => {}
                    Some(ClientError::Storage(StorageProblem::Full)) => {}
                    Some(problem) => println!("falla {problem:?}"),
                }
            }
            _ => {}
        }
    }
}

struct Worker {
    client: Client,
    swap: PathBuf,
    known: Vec<DocId>,
    serial: u64,
}

impl Worker {
    async fn look(&mut self) {
        match self.client.list().await {
            Ok(list) => self.known = list.iter().map(|petition| petition.doc).collect(),
            Err(error) => println!("falla {error:?}"),
        }
    }

    /// Does one act; while the disk is full, the same one again: the form is kept.
    async fn act(&mut self, random: Seeded) {
        loop {
            match self.attempt(random.clone()).await {
                Ok(Some(saved)) => {
                    let docs: Vec<String> = saved.docs.iter().map(DocId::to_string).collect();
                    println!("guardado {} {}", saved.intent, docs.join(","));
                    return;
                }
                Ok(None) => return,
                Err(ClientError::Denied { .. } | ClientError::NotFound) => {
                    println!("negado");
                    return;
                }
                Err(ClientError::Storage(StorageProblem::Full)) => println!("lleno"),
                Err(error) => {
                    println!("falla {error:?}");
                    return;
                }
            }
            tokio::time::sleep(NO_ROOM).await;
        }
    }

    async fn attempt(&mut self, mut random: Seeded) -> Result<Option<Saved>, ClientError> {
        let roll = random.below(100);
        let Some(doc) = self.some(&mut random).filter(|_| roll >= 25) else {
            return self.capture(&mut random).await.map(Some);
        };
        match roll {
            0..50 => {
                let text = format!("Sigue igual {}", random.below(1_000_000));
                self.client.comment(doc, &text).await.map(Some)
            }
            50..82 => self.step(doc, &mut random).await,
            82..90 => {
                let edits = vec![
                    Edit::Title(format!("BACHE CORREGIDO {}", random.below(1_000_000))),
                    Edit::Street(format!("Av. Zaragoza {}", random.below(900))),
                ];
                self.client.correct(doc, edits).await.map(Some)
            }
            90..97 => self.exchange(&mut random).await.map(|()| None),
            _ => self.resend(&mut random).await,
        }
    }

    /// One of the petitions held, the newest more often.
    fn some(&self, random: &mut Seeded) -> Option<DocId> {
        let among = match random.below(2) {
            0 => self.known.len().min(10),
            _ => self.known.len(),
        };
        let among = u64::try_from(among).unwrap_or(u64::MAX);
        (among > 0).then(|| self.known[usize::try_from(random.below(among)).unwrap_or(0)])
    }

    async fn capture(&mut self, random: &mut Seeded) -> Result<Saved, ClientError> {
        let agency = random.below(4);
        let petition = NewPetition {
            title: format!("LÁMPARA {} {}", self.serial, random.below(1_000_000)),
            description: "No prende desde el lunes".repeat(1 + random.below(20) as usize),
            agency: (agency > 1).then(|| CatalogRef::new(agency as u32 - 1, "Alumbrado")),
            ..NewPetition::default()
        };
        let person = (random.below(3) == 0).then(|| Petitioner {
            name: "Juana Pérez".to_owned(),
            gender: None,
            phone: Some("9212120000".to_owned()),
            email: None,
            address: None,
            notice_accepted: true,
        });
        let saved = self.client.capture(petition, person).await?;
        self.known.extend(&saved.docs);
        Ok(saved)
    }

    /// A step that policy allows now; sometimes in several petitions at once.
    async fn step(
        &mut self,
        doc: DocId,
        random: &mut Seeded,
    ) -> Result<Option<Saved>, ClientError> {
        let allowed = self.client.detail(doc).await?.allowed;
        if allowed.is_empty() {
            return Ok(None);
        }
        let at = random.below(allowed.len() as u64) as usize;
        let mut draft = EventDraft::new(allowed[at]);
        let id = 1 + random.below(2) as u32;
        match draft.kind {
            EventKind::Referred | EventKind::ReferralProposed => {
                draft.agency = Some(CatalogRef::new(id, "Alumbrado"));
            }
            EventKind::Assigned => draft.crew = Some(CatalogRef::new(id, "Cuadrilla")),
            EventKind::FinalState if id == 1 => draft.outcome = Some(Outcome::Done),
            EventKind::FinalState => draft.outcome = Some(Outcome::NotApplicable),
            _ => {}
        }
        draft.reason = Some("Falta material".to_owned());
        let mut docs = vec![doc];
        if random.below(5) == 0 {
            docs.extend(self.some(random).filter(|other| *other != doc));
        }
        self.client.act(&docs, draft).await.map(Some)
    }

    /// Leaves what is not answered for the others, or takes what another one left.
    async fn exchange(&mut self, random: &mut Seeded) -> Result<(), ClientError> {
        let name = self.client.me().await?.device.to_string();
        if random.below(2) == 0 {
            let bytes = self.client.export_unanswered().await?;
            let new = self.swap.join(format!(".{name}"));
            // The swap folder is the runner's: nothing there is this device's storage.
            if std::fs::write(&new, bytes).is_ok() {
                let _ = std::fs::rename(new, self.swap.join(name));
            }
            return Ok(());
        }
        let left = std::fs::read_dir(&self.swap)
            .into_iter()
            .flatten()
            .flatten();
        let mut files: Vec<PathBuf> = left.map(|file| file.path()).collect();
        files.retain(|file| !file.ends_with(&name));
        files.sort();
        if files.is_empty() {
            return Ok(());
        }
        let file = &files[random.below(files.len() as u64) as usize];
        if let Ok(bytes) = std::fs::read(file) {
            match self.client.carry(&bytes).await {
                // A half-written file that is taken for an export is a mistake of the runner.
                Ok(_) | Err(ClientError::BadExport) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn resend(&mut self, random: &mut Seeded) -> Result<Option<Saved>, ClientError> {
        let waiting = self.client.to_correct().await?;
        if waiting.is_empty() {
            return Ok(None);
        }
        let at = random.below(waiting.len() as u64) as usize;
        let id = waiting[at].id;
        self.client.resend(id, Amendment::default()).await.map(Some)
    }
}
