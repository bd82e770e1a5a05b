//! One value of everything that travels, made the same way each time: fixed keys, times and entropy.

// Each test binary that shares this module uses a part of it.
#![allow(dead_code, unreachable_pub)]
#![allow(clippy::unwrap_used)]

use manzana_engine::answer::{Answer, EnvelopeAnswer, HeldReason, ReceiptBody, SignedReceipt};
use manzana_engine::codec;
use manzana_engine::digest::{DigestBody, SetHash, SignedDigest};
use manzana_engine::document::Document;
use manzana_engine::envelope::{ChainContext, Entry, Envelope, EnvelopeBody, Part, PartKind};
use manzana_engine::epoch::{ClosingBody, EpochBody, SignedEpoch};
use manzana_engine::fold::{EventKind, Outcome, Status};
use manzana_engine::gate::chunk;
use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::{Actor, DocId, Hash, RecordId};
use manzana_engine::intent::NewPetition;
use manzana_engine::keys::{Purpose, SecretKey};
use manzana_engine::policy::Rule;
use manzana_engine::reconcile::Range;
use manzana_engine::record::{Attachment, By, CatalogRef, Comment, Event, Link, Position, Record};
use manzana_engine::relay::pack_segment;
use manzana_engine::seal::{self, Entropy, Petitioner};
use manzana_engine::summary::{DocKind, Priority, Summary};
use manzana_engine::wire::{self, ByeCode, Down, EnrolRequest, Enrolment, Fill, Hello, Item};
use manzana_engine::wire::{ChainHeld, PROTOCOL_VERSION, PackedDoc, Recovery, Up, Vouched};
use minicbor::{Decode, Encode};

/// A named value: its bytes, and how bytes are read and written again.
pub struct Case {
    pub name: &'static str,
    pub bytes: Vec<u8>,
    pub reread: fn(&[u8]) -> Option<Vec<u8>>,
}

fn case<T>(name: &'static str, value: &T) -> Case
where
    T: Encode<()> + for<'b> Decode<'b, ()>,
{
    Case {
        name,
        bytes: codec::encode(value),
        reread: |bytes| Some(codec::encode(&codec::decode::<T>(bytes).ok()?)),
    }
}

/// Bytes that are read by a function of their own and kept as they are.
fn kept(name: &'static str, bytes: Vec<u8>, reread: fn(&[u8]) -> Option<Vec<u8>>) -> Case {
    Case {
        name,
        bytes,
        reread,
    }
}

/// Entropy that is none: a counter.
pub struct Counter(pub u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

pub fn root() -> SecretKey {
    SecretKey::from_seed([1; 32])
}

pub fn relay() -> SecretKey {
    SecretKey::from_seed([2; 32])
}

pub fn device() -> SecretKey {
    SecretKey::from_seed([3; 32])
}

const NOW: i64 = 1_760_000_000_000;

fn by() -> By {
    By {
        user: 7,
        role: Role::BlockCaptain,
        at: NOW,
    }
}

fn doc() -> DocId {
    DocId([0xd0; 16])
}

fn hash(n: u8) -> Hash {
    Hash([n; 32])
}

pub fn grant() -> (SignedGrant, GrantBody) {
    let body = GrantBody {
        city: root().city(),
        device_key: device().public(),
        user: 7,
        role: Role::BlockCaptain,
        scopes: vec![Scope::Block(114), Scope::Sector(3)],
        valid_from: NOW,
        valid_to: NOW + 1,
    };
    (SignedGrant::sign(&body, &root()), body)
}

fn fill() -> Fill {
    Fill {
        scope: Scope::Agency(12),
        pinned: 40_311,
        before: u64::MAX,
    }
}

pub fn hello() -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        schema: 1,
        incarnation: 0xdead_beef,
        position: wire::Position {
            epoch: 1,
            seq: 40_311,
            scopes: vec![
                Scope::City,
                Scope::Catalog,
                Scope::Author(7),
                Scope::Block(114),
                Scope::Sector(3),
                Scope::Crew(4),
            ],
            fills: vec![fill()],
        },
        answers_seen: 812,
    }
}

fn form() -> NewPetition {
    let reference = |id, name: &str| Some(CatalogRef::new(id, name));
    NewPetition {
        title: "Lámpara apagada".into(),
        description: "No enciende desde el lunes.".into(),
        channel: reference(3, "Vía Jefes de Manzana"),
        kind: reference(2, "Solicitud de servicio"),
        agency: reference(12, "Dirección de Alumbrado Publico"),
        service: reference(40, "LUMINARIA"),
        neighborhood: reference(77, "CENTRO"),
        street: Some("ZARAGOZA 12".into()),
        cross1: Some("JUÁREZ".into()),
        cross2: Some("HIDALGO".into()),
        position: Some(position()),
        priority: Priority::Urgent,
        block: Some(114),
        sector: Some(3),
        petitioner: Some(hash(9)),
    }
}

fn position() -> Position {
    Position {
        lat_e7: 181_345_000,
        lon_e7: -944_589_000,
        accuracy_m: 12,
    }
}

fn record_id() -> RecordId {
    RecordId::new(&device().device(), 5)
}

fn petition() -> (Document, DocId, Vec<u8>) {
    let actor = Actor::new(&device().device(), 1);
    let recorded = Event::new(by(), EventKind::Recorded);
    let made = Document::create_petition(actor, record_id(), &form(), recorded);
    let (document, id, change) = made.unwrap();
    (document, id, change.bytes)
}

fn part() -> Vec<u8> {
    codec::encode(&Part {
        kind: PartKind::MaskedName,
        doc: doc(),
        content: b"ANA P. G.".to_vec(),
    })
}

fn context() -> ChainContext {
    ChainContext {
        city: root().city(),
        device: device().device(),
        incarnation: 0xdead_beef,
        prev: hash(0),
        grant: grant().0.id(),
    }
}

fn body() -> EnvelopeBody {
    let entry = |n: u8| Entry {
        doc: DocId([n; 16]),
        change: vec![0x85, 0x6f, 0x4a, 0x83, n],
    };
    EnvelopeBody {
        n: 1,
        device_time: -1,
        city_head: 40_311,
        groups: vec![vec![entry(1), entry(2)], vec![entry(3)]],
        detached: vec![Part::hash(&part())],
    }
}

pub fn envelope() -> Envelope {
    Envelope::sign(context(), &body(), vec![part()], &device())
}

fn answers() -> Vec<Answer> {
    vec![
        Answer::Accepted {
            seq: 40_312,
            folio: Some(30_852),
        },
        Answer::Accepted {
            seq: 40_313,
            folio: None,
        },
        Answer::Refused {
            rule: Rule::BadValue,
            field: Some("title".into()),
        },
        Answer::Refused {
            rule: Rule::OutOfScope,
            field: None,
        },
        Answer::Orphaned { by: hash(4) },
        Answer::Held {
            reason: HeldReason::GrantRevoked,
        },
        Answer::Waiting {
            deps: vec![hash(5)],
        },
    ]
}

fn receipt_body() -> ReceiptBody {
    ReceiptBody {
        city: root().city(),
        epoch: 1,
        device: device().device(),
        time: NOW,
        answers: vec![EnvelopeAnswer {
            no: 813,
            incarnation: 0xdead_beef,
            n: 1,
            hash: envelope().hash(),
            groups: answers(),
        }],
    }
}

fn digest_body() -> DigestBody {
    let mut set = SetHash::default();
    set.add(&doc(), &[hash(2), hash(1)]);
    DigestBody {
        epoch: 1,
        scope: Scope::City,
        seq: 40_313,
        digest: set.digest(),
    }
}

/// A row with something in every field.
pub fn summary() -> Summary {
    let catalog = |id, name: &str| CatalogRef::new(id, name);
    Summary {
        doc_kind: DocKind::Petition,
        capture: RecordId::new(&device().device(), 7),
        author: 12,
        title: "LÁMPARA FUNDIDA".into(),
        captured_agency: Some(catalog(1, "Alumbrado")),
        agencies: vec![catalog(1, "Alumbrado")],
        service: Some(catalog(2, "Luminaria")),
        neighborhood: Some(catalog(3, "COL. PETROLERA")),
        location: "NUEVO LEÓN ENTRE MÉXICO Y MICHOACÁN".into(),
        channel: Some(catalog(4, "Jefes de Manzana")),
        block: Some(5),
        sector: Some(6),
        crews: vec![8, 9],
        priority: Priority::Risk,
        status: Status::Pending,
        unconfirmed: true,
        conflict: true,
        review: true,
        is_final: true,
        accepted: true,
        captured_at: 1_760_000_000_000,
        comments: 3,
        heads: vec![hash(1), hash(2)],
        ops: 60,
        changes: 4,
    }
}

fn packed(folio: Option<u64>) -> PackedDoc {
    PackedDoc {
        doc: doc(),
        creation_seq: 40_312,
        folio,
        saved: vec![1, 2, 3].into(),
        summary: codec::encode(&summary()).into(),
    }
}

fn enrolment() -> Enrolment {
    let seal_key = seal::key_pair(&[6; 32]).1;
    Enrolment {
        grant: grant().0,
        relay_key: relay().public(),
        relay_key_signature: root().sign(Purpose::RelayKey, &relay().public()),
        seal_key,
        seal_key_signature: root().sign(Purpose::RelayKey, &seal_key),
        center: "Coatzatel".into(),
        folio_prefix: "SIAC-".into(),
        folio_width: 6,
        block: Some(114),
        nonce: vec![8; 16].into(),
        display: "Rosa".into(),
    }
}

fn event() -> Event {
    Event {
        by: by(),
        kind: EventKind::FinalState,
        agency: Some(CatalogRef::new(12, "Alumbrado")),
        reason: Some("falta de material".into()),
        next_at: Some(NOW),
        note: Some("se cambió el foco".into()),
        evidence: Some(vec![hash(3)]),
        outcome: Some(Outcome::NotApplicable),
        crew: Some(CatalogRef::new(4, "Cuadrilla 4")),
    }
}

fn sealed() -> Vec<u8> {
    let ana = Petitioner {
        name: "Ana Pérez Gómez".into(),
        gender: Some("Mujer".into()),
        phone: Some("9210000000".into()),
        email: None,
        address: Some("ZARAGOZA 12".into()),
        notice_accepted: true,
    };
    let city_key = seal::key_pair(&[6; 32]).1;
    seal::seal(&ana, &record_id(), &city_key, &mut Counter(0))
        .unwrap()
        .1
}

/// Reads sealed data as far as is possible without knowing the commitment: decryption succeeds and
/// only the comparison with the commitment fails.
fn reread_sealed(bytes: &[u8]) -> Option<Vec<u8>> {
    let secret = seal::key_pair(&[6; 32]).0;
    let opened = seal::open(bytes, &record_id(), &hash(0), &secret);
    (opened == Err(seal::SealError::ForeignData)).then(|| bytes.to_vec())
}

fn reread_change(bytes: &[u8]) -> Option<Vec<u8>> {
    chunk::decode_change(bytes).ok().map(|_| bytes.to_vec())
}

/// Every case, in the order of `golden.txt`.
pub fn all() -> Vec<Case> {
    let mut cases = bodies();
    cases.extend(records());
    cases.extend(up());
    cases.extend(items());
    cases.extend(down());
    cases
}

fn bodies() -> Vec<Case> {
    vec![
        case("grant_body", &grant().1),
        case("signed_grant", &grant().0),
        case("enrol_request", &enrol_request()),
        case("enrolment", &enrolment()),
        case(
            "enrolment_without_block",
            &Enrolment {
                block: None,
                ..enrolment()
            },
        ),
        case("summary", &summary()),
        case("hello", &hello()),
        case(
            "hello_first_start",
            &Hello {
                position: wire::Position::default(),
                answers_seen: 0,
                ..hello()
            },
        ),
        case("chain_context", &context()),
        case("envelope_body", &body()),
        case("envelope", &envelope()),
        kept("part", part(), |bytes| {
            Some(codec::encode(&codec::decode::<Part>(bytes).ok()?))
        }),
        kept("sealed_petitioner", sealed(), reread_sealed),
        case("receipt_body", &receipt_body()),
        case("digest_body", &digest_body()),
        case("epoch_body", &epoch_body()),
        case(
            "closing_body",
            &ClosingBody {
                city: root().city(),
                epoch: epoch_body().epoch,
                at: NOW,
                next_folio: 30_860,
                void: vec![(30_853, 30_857), (30_859, 30_859)],
            },
        ),
        kept("creation_change", petition().2, reread_change),
    ]
}

fn enrol_request() -> EnrolRequest {
    EnrolRequest {
        code: "ABCD-1234".into(),
        device_key: device().public(),
    }
}

fn records() -> Vec<Case> {
    let attachment = Attachment {
        by: by(),
        content: hash(3),
        media_type: "image/jpeg".into(),
        size: 81_234,
    };
    let link = |undone| Link {
        by: by(),
        other: doc(),
        undone,
    };
    let comment = Comment {
        by: by(),
        text: "Sigue igual.".into(),
    };
    assert_eq!(
        Record::Comment(comment.clone()).encode(),
        codec::encode(&comment)
    );
    vec![
        case("event", &event()),
        case("event_bare", &Event::new(by(), EventKind::Started)),
        case("comment", &comment),
        case("attachment", &attachment),
        case("link", &link(false)),
        case("link_undone", &link(true)),
        case("catalog_ref", &CatalogRef::new(12, "Alumbrado")),
        case("position", &position()),
    ]
}

fn up() -> Vec<Case> {
    let Envelope {
        body,
        signature,
        parts,
        ..
    } = envelope();
    let push = Up::Push {
        body: body.into(),
        signature,
        parts,
    };
    let carry = Up::Carry {
        envelope: codec::encode(&envelope()).into(),
    };
    vec![
        case("up_push", &push),
        case("up_carry", &carry),
        case("up_seen", &Up::Seen { answers: 812 }),
        case("up_want", &Up::Want { doc: doc() }),
        case(
            "up_drift",
            &Up::Drift {
                scope: Scope::Block(114),
            },
        ),
        case(
            "up_reconcile",
            &Up::Reconcile {
                scope: Scope::Block(114),
                ranges: ranges(),
            },
        ),
        case(
            "up_mend",
            &Up::Mend {
                scope: Scope::Block(114),
                docs: vec![doc()],
            },
        ),
        case(
            "up_receipts",
            &Up::Receipts {
                receipts: vec![SignedReceipt::sign(&receipt_body(), &relay())],
            },
        ),
        case(
            "up_vouch",
            &Up::Vouch {
                digest: SignedDigest::sign(&digest_body(), &relay()),
                docs: vec![Vouched {
                    doc: doc(),
                    heads: vec![hash(8)],
                }],
                last: true,
            },
        ),
        case(
            "up_give_back",
            &Up::GiveBack {
                doc: doc(),
                changes: vec![vec![5; 3].into()],
                folio: Some(30_852),
            },
        ),
        case(
            "up_forsake",
            &Up::Forsake {
                changes: vec![hash(9)],
            },
        ),
    ]
}

fn epoch_body() -> EpochBody {
    EpochBody {
        city: root().city(),
        epoch: 28_000_000,
        before: 1,
        cut: 40_000,
        at: NOW,
        why: "disco perdido".to_owned(),
    }
}

fn ranges() -> Vec<Range> {
    let upto = |bytes: &[u8]| bytes.to_vec().into();
    vec![
        Range::Same {
            upto: upto(&[0x20]),
        },
        Range::Sum {
            upto: upto(&[0x7f, 0x03]),
            sum: [5; 16],
        },
        Range::List {
            upto: upto(&[0x80]),
            members: vec![0x7f; 32].into(),
        },
        Range::Told {
            upto: upto(&[]),
            members: vec![0x81; 32].into(),
            lacks: vec![0x82; 16].into(),
        },
    ]
}

fn items() -> Vec<Case> {
    let change = |folio| Item::Change {
        seq: 40_312,
        doc: doc(),
        change: vec![0x85, 0x6f].into(),
        folio,
    };
    let own = |folio| Item::Own {
        seq: 40_312,
        doc: doc(),
        hash: hash(1),
        folio,
    };
    let enter = |folio| Item::Enter {
        seq: 40_312,
        doc: packed(folio),
    };
    let leave = Item::Leave {
        seq: 40_312,
        doc: doc(),
    };
    vec![
        case("item_change", &change(None)),
        case("item_change_with_folio", &change(Some(30_852))),
        case("item_own", &own(None)),
        case("item_own_with_folio", &own(Some(30_852))),
        case("item_enter", &enter(None)),
        case("item_enter_with_folio", &enter(Some(30_852))),
        case("item_leave", &leave),
        case(
            "down_log_all_items",
            &log(vec![change(None), own(None), leave]),
        ),
    ]
}

fn log(items: Vec<Item>) -> Down {
    Down::Log { to: 40_313, items }
}

fn down() -> Vec<Case> {
    let welcome = Down::Welcome {
        version: PROTOCOL_VERSION,
        schema: 1,
        epoch: 1,
        time: NOW,
        seq: 40_313,
        have: 812,
        have_hash: hash(8),
        grant: grant().0,
        nonce: vec![9; 16].into(),
        recovery: None,
    };
    let mut recovering = welcome.clone();
    if let Down::Welcome { recovery, .. } = &mut recovering {
        *recovery = Some(Recovery {
            record: SignedEpoch::sign(&epoch_body(), &root()),
            chains: vec![ChainHeld {
                incarnation: 77,
                have: 800,
                hash: hash(9),
            }],
        });
    }
    let receipt = Down::Receipt {
        receipt: SignedReceipt::sign(&receipt_body(), &relay()),
    };
    let pack = Down::Pack {
        fill: fill(),
        done: false,
        segment: pack_segment(&[packed(Some(30_852))]).into(),
    };
    let digest = Down::Digest {
        digest: SignedDigest::sign(&digest_body(), &relay()),
    };
    let mut cases = vec![
        case("down_welcome", &welcome),
        case("down_receipt", &receipt),
        case("down_log_empty", &log(Vec::new())),
        case("down_pack", &pack),
        case("down_digest", &digest),
        case(
            "down_gap",
            &Down::Gap {
                have: 812,
                have_hash: hash(8),
            },
        ),
        case("down_whole", &whole(Some(packed(None)))),
        case("down_whole_none", &whole(None)),
        case(
            "down_carried",
            &Down::Carried {
                hash: hash(7),
                groups: answers(),
            },
        ),
        case(
            "down_carried_not_taken",
            &Down::Carried {
                hash: hash(7),
                groups: Vec::new(),
            },
        ),
        case(
            "down_reconcile",
            &Down::Reconcile {
                scope: Scope::Block(114),
                ranges: ranges(),
            },
        ),
        case(
            "down_mend",
            &Down::Mend {
                scope: Scope::Block(114),
                segment: pack_segment(&[packed(Some(30_852))]).into(),
                gone: vec![doc()],
                unknown: vec![DocId([7; 16])],
            },
        ),
        case("down_welcome_recovering", &recovering),
        case("down_lacks", &Down::Lacks { docs: vec![doc()] }),
    ];
    let byes = [
        ("down_bye_going_away", ByeCode::GoingAway),
        ("down_bye_bad_frame", ByeCode::BadFrame),
        ("down_bye_bad_version", ByeCode::BadVersion),
        ("down_bye_resume", ByeCode::Resume),
        ("down_bye_revoked", ByeCode::Revoked),
        ("down_bye_bad_signature", ByeCode::BadSignature),
        ("down_bye_too_much", ByeCode::TooMuch),
        ("down_bye_full", ByeCode::Full),
        ("down_bye_internal", ByeCode::Internal),
        ("down_bye_replaced", ByeCode::Replaced),
    ];
    cases.extend(byes.map(|(name, code)| case(name, &Down::Bye { code })));
    cases
}

fn whole(packed: Option<PackedDoc>) -> Down {
    Down::Whole {
        id: doc(),
        doc: packed,
    }
}
