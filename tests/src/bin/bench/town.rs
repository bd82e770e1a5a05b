//! A reference city in a relay of its own process, grown through signed envelopes like any other.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use manzana_client::{Client, Invitation, OpenOptions, RelayUrl};
use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::envelope::{Part, PartKind};
use manzana_engine::fold::EventKind;
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{DocId, Seq, UserId};
use manzana_engine::record::Event;
use manzana_engine::seal;
use manzana_server::clock::{Clock as _, SystemClock};
use manzana_server::relay::{self, CityKeys};
use manzana_server::storage::sqlite::SqliteStore;
use manzana_server::storage::{CityFormat, DeviceRecord, RelayStore as _, UserRow};
use manzana_server::tls::CityRoot;
use manzana_store::SqliteReplica;
use manzana_tests::device::{Device, Door};
use manzana_tests::relay::City;

use crate::dice::Dice;
use crate::story::{BLOCKS, CITY_AGENCIES, Story, Who, story};
use manzana_tests::author::Author;

/// Petitions authored at a time: their documents are in memory meanwhile.
const CHUNK: usize = 1_000;
/// Desks and crews of each agency.
const DESKS_EACH: u32 = 2;

/// What growing took.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Grown {
    /// Petitions that were there before.
    pub(crate) before: usize,
    /// Changes pushed, each in an envelope of its own.
    pub(crate) changes: u64,
    /// Time in which they were on their way: authoring is not counted.
    pub(crate) took: Duration,
    /// Bytes of the changes.
    pub(crate) bytes: u64,
    /// Bytes of the sealed parts.
    pub(crate) sealed: u64,
}

/// The city and all who write in it.
pub(crate) struct Town {
    pub(crate) city: City,
    pub(crate) store: SqliteStore,
    pub(crate) keys: CityKeys,
    pub(crate) door: Door,
    pub(crate) docs: Vec<DocId>,
    pub(crate) dice: Dice,
    authors: Vec<Author>,
    captains: BTreeMap<u32, usize>,
    desks: BTreeMap<u32, Vec<usize>>,
    crews: BTreeMap<u32, Vec<usize>>,
    folders: u32,
}

impl Town {
    /// An empty city with its people.
    pub(crate) async fn found(seed: u64) -> Self {
        Self::found_in(City::start().await, seed).await
    }

    /// The same in a city that has been started.
    pub(crate) async fn found_in(city: City, seed: u64) -> Self {
        let root = CityRoot::open(&city.data_dir().join("keys")).expect("the root");
        let keys = CityKeys::open(&city.data_dir().join("keys"), &root).expect("the keys");
        let store = open(&city.database());
        let door = Door::new(url(&city), root.public_key());
        let mut town = Self {
            city,
            store,
            keys,
            door,
            docs: Vec::new(),
            dice: Dice::new(seed),
            authors: Vec::new(),
            captains: BTreeMap::new(),
            desks: BTreeMap::new(),
            crews: BTreeMap::new(),
            folders: 0,
        };
        for block in 1..=BLOCKS {
            let at = town.author(Role::BlockCaptain, Scope::Block(block)).await;
            town.captains.insert(block, at);
        }
        for agency in 1..=CITY_AGENCIES {
            for _ in 0..DESKS_EACH {
                let at = town.author(Role::Operator, Scope::Agency(agency)).await;
                town.desks.entry(agency).or_default().push(at);
                let at = town.author(Role::Crew, Scope::Agency(agency)).await;
                town.crews.entry(agency).or_default().push(at);
            }
        }
        town
    }

    async fn author(&mut self, role: Role, scope: Scope) -> usize {
        let author = self.new_author(role, scope).await;
        self.authors.push(author);
        self.authors.len() - 1
    }

    /// A device that the relay knows, of a user of its own.
    pub(crate) async fn new_author(&mut self, role: Role, scope: Scope) -> Author {
        let user = self.user(role).await;
        let mut seed = [0; 32];
        manzana_engine::seal::Entropy::fill(&mut self.dice, &mut seed);
        let author = Author::new(
            seed,
            user,
            role,
            vec![scope],
            self.keys.root(),
            self.keys.relay().public(),
        );
        self.store
            .put_device(&record(&author))
            .await
            .expect("stored");
        author
    }

    /// A new user.
    pub(crate) async fn user(&mut self, role: Role) -> UserId {
        self.folders += 1;
        let row = UserRow {
            id: 0,
            name: format!("persona{}", self.folders),
            display: format!("Persona {}", self.folders),
            role: role.as_str().to_owned(),
            password_hash: None,
            disabled: false,
        };
        self.store.add_user(&row).await.expect("stored")
    }

    /// An invitation to a device of a new user.
    pub(crate) async fn invite(&mut self, role: Role, scope: Scope) -> Invitation {
        let user = self.user(role).await;
        let block = match &scope {
            Scope::Block(block) => Some(*block),
            _ => None,
        };
        let code = relay::invite(&self.store, user, vec![scope], block, SystemClock.now_ms()).await;
        Invitation {
            relay: url(&self.city),
            root: self.keys.root().public(),
            code: code.expect("stored"),
        }
    }

    /// A real device on its own files, enrolled and not synced yet.
    pub(crate) async fn client(&mut self, role: Role, scope: Scope) -> Client {
        let invitation = self.invite(role, scope).await;
        let folder = self.folder();
        let client = Client::open(OpenOptions::new(folder))
            .await
            .expect("opened");
        client.enrol(&invitation).await.expect("enrolled");
        client
    }

    /// A device on its own SQLite file whose frames the measure itself moves.
    pub(crate) async fn probe(&mut self, role: Role, scope: Scope) -> Device<SqliteReplica> {
        let invitation = self.invite(role, scope).await;
        let folder = self.folder();
        std::fs::create_dir_all(&folder).expect("a folder");
        let (store, _) = SqliteReplica::open(&folder.join("replica.db"), [1; 16]).expect("opened");
        Device::enrol_with(&invitation, u64::from(self.folders), store).await
    }

    /// A fresh folder beside the city's.
    pub(crate) fn folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.city.path(&format!("folder{}", self.folders))
    }

    /// The last place of the city's log.
    pub(crate) async fn head(&self) -> Seq {
        self.store.head().await.expect("stored").seq
    }

    /// The relay's process; none when it was stopped to be run otherwise.
    pub(crate) fn relay_pid(&mut self) -> Option<u32> {
        self.city.runs().then(|| self.city.pid())
    }

    /// Documents that the relay's storage opened since it started.
    pub(crate) async fn opened(&self) -> u64 {
        let metrics = manzana_tests::console::metrics(&self.city).await;
        let name = "manzana_relay_documents_opened_total ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|count| count.trim().parse().ok())
            .expect("the metric")
    }

    /// Grows the city to so many petitions.
    pub(crate) async fn grow(&mut self, petitions: usize) -> Grown {
        let mut grown = Grown {
            before: self.docs.len(),
            ..Grown::default()
        };
        let at = self.head().await;
        for author in &mut self.authors {
            author.connect(&self.door, at).await;
        }
        while self.docs.len() < petitions {
            let count = CHUNK.min(petitions - self.docs.len());
            self.chunk(count, &mut grown).await;
        }
        self.authors.iter_mut().for_each(Author::hang_up);
        grown
    }

    async fn chunk(&mut self, count: usize, grown: &mut Grown) {
        let mut open: Vec<(Story, DocId, Document)> = Vec::with_capacity(count);
        for _ in 0..count {
            let story = story(&mut self.dice);
            let (doc, document) = self.capture(&story, grown);
            self.docs.push(doc);
            open.push((story, doc, document));
        }
        self.deliver(grown).await;
        // Round by round, so that what each writes upon is there.
        let rounds = open.iter().map(|(story, _, _)| story.steps.len()).max();
        for round in 0..rounds.unwrap_or(0) {
            for (place, (story, doc, document)) in open.iter_mut().enumerate() {
                let Some((who, act)) = story.steps.get(round) else {
                    continue;
                };
                let pick = place % DESKS_EACH as usize;
                let author = match who {
                    Who::Captain => self.captains[&story.block],
                    Who::Desk => self.desks[&story.agency][pick],
                    Who::Crew => self.crews[&story.agency][pick],
                };
                let author = &mut self.authors[author];
                let agency = story.form.agency.as_ref().expect("addressed");
                let records = act.records(author.by(), agency, &mut self.dice);
                grown.bytes += author.add(*doc, document, &records) as u64;
            }
            self.deliver(grown).await;
        }
    }

    fn capture(&mut self, story: &Story, grown: &mut Grown) -> (DocId, Document) {
        let author = &mut self.authors[self.captains[&story.block]];
        let record = author.record();
        let sealed = seal::seal(
            &story.petitioner,
            &record,
            self.keys.seal_public(),
            &mut self.dice,
        );
        let (commitment, sealed) = sealed.expect("sealed");
        let mut form = story.form.clone();
        form.petitioner = Some(commitment);
        let recorded = Event::new(author.by(), EventKind::Recorded);
        let (document, doc, made) =
            Document::create_petition(author.actor(), record, &form, recorded).expect("made");
        let part = |kind, content| codec::encode(&Part { kind, doc, content });
        let name = story.petitioner.masked_name().into_bytes();
        let sealed = part(PartKind::Petitioner, sealed);
        grown.sealed += sealed.len() as u64;
        grown.bytes +=
            author.sign(doc, made, vec![sealed, part(PartKind::MaskedName, name)]) as u64;
        (doc, document)
    }

    async fn deliver(&mut self, grown: &mut Grown) {
        let begun = Instant::now();
        let authors = std::mem::take(&mut self.authors);
        let running: Vec<_> = authors
            .into_iter()
            .map(|author| tokio::spawn(author.deliver()))
            .collect();
        for task in running {
            let (author, count, _) = task.await.expect("delivered");
            grown.changes += count;
            self.authors.push(author);
        }
        grown.took += begun.elapsed();
    }

    /// Adds one change to each of these documents, by desks of the city that hold them. Gives the sum
    /// of the changes' bytes.
    pub(crate) async fn touch(&mut self, docs: &[DocId], desk: &mut Author) -> u64 {
        let stored = self.store.docs(docs).await.expect("stored");
        let mut bytes = 0;
        for doc in docs {
            let mut document = Document::load(&stored[doc].saved).expect("a document");
            let text = crate::story::comment(&crate::texts::OPERATOR_COMMENTS, &mut self.dice);
            let comment = manzana_engine::record::Comment {
                by: desk.by(),
                text,
            };
            let records = [manzana_engine::record::Record::Comment(comment)];
            bytes += desk.add(*doc, &mut document, &records) as u64;
        }
        bytes
    }

    /// So many documents, spread over the city.
    pub(crate) fn some(&self, count: usize) -> Vec<DocId> {
        let step = (self.docs.len() / count).max(1);
        self.docs
            .iter()
            .step_by(step)
            .take(count)
            .copied()
            .collect()
    }
}

/// The relay's row of a device.
pub(crate) fn record(author: &Author) -> DeviceRecord {
    DeviceRecord {
        id: author.id(),
        key: author.granted().device_key,
        user: author.granted().user,
        grant: author.grant().clone(),
        grant_id: author.grant().id(),
        revoked_at: None,
        desk_seed: None,
    }
}

/// Beside the relay's own process, as its command line does.
fn open(database: &std::path::Path) -> SqliteStore {
    let format = CityFormat {
        first_folio: 1,
        folio_prefix: String::new(),
        folio_width: 6,
    };
    SqliteStore::open(database, &format).expect("the city's database")
}

/// Where the city's relay takes devices.
pub(crate) fn url(city: &City) -> RelayUrl {
    format!("https://{}", city.sync()).parse().expect("a url")
}
