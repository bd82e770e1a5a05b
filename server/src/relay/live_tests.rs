//! Frames shared between readers, and what is held for them.
#![allow(clippy::unwrap_used)]

use manzana_engine::grant::{GrantBody, Role, Scope, SignedGrant};
use manzana_engine::ids::Hash;
use manzana_engine::keys::SecretKey;
use manzana_engine::limits::{CHANGE_BYTES, FRAME_BYTES};
use manzana_engine::relay::{LogPlace, Opening};
use manzana_engine::wire::{Down, Hello, Item, PROTOCOL_VERSION, Position, decode_frame};

use super::*;
use crate::storage::Move;
use crate::storage::conformance::samples::Author;

/// A session of the device with this number that stands at `head`.
fn session(number: u8, scopes: &[Scope], head: Seq) -> Session {
    let root = SecretKey::from_seed([1; 32]);
    let granted = GrantBody {
        city: root.city(),
        device_key: SecretKey::from_seed([number; 32]).public(),
        user: number.into(),
        role: Role::Operator,
        scopes: scopes.to_vec(),
        valid_from: 0,
        valid_to: i64::MAX,
    };
    let hello = Hello {
        version: PROTOCOL_VERSION,
        schema: 1,
        incarnation: 1,
        position: Position::default(),
        answers_seen: 0,
    };
    let grant = SignedGrant::sign(&granted, &root);
    let chain = (0, Hash([0; 32]));
    let log = LogPlace {
        epoch: 1,
        head,
        floor: 0,
    };
    let opening = Opening {
        chain,
        log,
        time: 0,
        nonce: &[0; 16],
        recovery: None,
    };
    let begun = Session::begin(&hello, grant, granted, opening);
    begun.unwrap().0
}

/// A commit of changes of this size by device `author`, in the city and a block, after place `after`.
fn committed(author: u8, after: Seq, changes: &[(u32, Move, usize)]) -> Committed {
    let mut ana = Author::new(author);
    let mut committed = Committed::default();
    for (seq, (block, step, bytes)) in (after + 1..).zip(changes) {
        let mut sheet = ana.petition();
        let entry = sheet.change(&ana);
        committed.rows.push(Arc::new(LogRow {
            seq,
            doc: sheet.doc,
            device: DeviceId::of_key(&SecretKey::from_seed([author; 32]).public()),
            hash: entry.hash,
            change: vec![7; *bytes].into(),
            folio: None,
            moves: vec![(Scope::City, Move::Stay), (Scope::Block(*block), *step)],
        }));
        committed.docs.push(Arc::new(DocState {
            doc: sheet.doc,
            saved: vec![8; *bytes].into(),
            summary: sheet.summary,
            creation_seq: 1,
            last_seq: seq,
            folio: Some(seq),
            masked_name: None,
        }));
    }
    committed
}

fn read(frames: &[Bytes]) -> Vec<Down> {
    frames.iter().map(|f| decode_frame(f).unwrap()).collect()
}

#[test]
fn readers_who_see_a_commit_alike_share_its_frames_and_others_get_their_own() {
    let changes = [
        (7, Move::Stay, 40),
        (8, Move::Enter, 40),
        (7, Move::Leave, 40),
    ];
    let committed = committed(1, 10, &changes);
    let commit = Commit::new(&committed);
    let of = |number, scopes: &[Scope]| {
        let mut session = session(number, scopes, 10);
        let frames = commit.pass(&mut session);
        assert_eq!(session.at(), 13);
        frames
    };
    let (city, again) = (of(2, &[Scope::City]), of(3, &[Scope::City]));
    assert!(Arc::ptr_eq(&city, &again));
    let (seven, eight) = (of(4, &[Scope::Block(7)]), of(5, &[Scope::Block(8)]));
    assert!(Arc::ptr_eq(&seven, &of(6, &[Scope::Block(7)])));
    assert!(
        of(7, &[Scope::Block(9)]).is_empty(),
        "nothing of it is theirs"
    );
    let author = of(1, &[Scope::City]);
    let kinds = |frames: &[Bytes]| -> String {
        let kind = |item: &Item| match item {
            Item::Change { .. } => 'c',
            Item::Own { .. } => 'o',
            Item::Enter { .. } => 'e',
            Item::Leave { .. } => 'l',
            _ => '?',
        };
        let items = read(frames).into_iter().flat_map(|frame| match frame {
            Down::Log { to: 13, items } => items,
            other => panic!("{other:?}"),
        });
        items.map(|item| kind(&item)).collect()
    };
    let all = [city, seven, eight, author].map(|frames| kinds(&frames));
    assert_eq!(all, ["ccc", "cl", "e", "ooo"]);
}

#[test]
fn a_session_that_stands_elsewhere_is_left_to_the_log() {
    let commit = Commit::new(&committed(1, 10, &[(7, Move::Stay, 40)]));
    for head in [0, 9, 11, 20] {
        let mut session = session(2, &[Scope::City], head);
        assert!(commit.pass(&mut session).is_empty());
        assert_eq!(session.at(), head);
    }
}

#[test]
fn no_frame_of_a_commit_is_longer_than_a_frame_may_be() {
    let changes = [(7, Move::Enter, CHANGE_BYTES); 20];
    let committed = committed(1, 0, &changes);
    for scope in [Scope::City, Scope::Block(7)] {
        let mut session = session(2, &[scope], 0);
        let frames = Commit::new(&committed).pass(&mut session);
        assert!(frames.iter().all(|frame| frame.len() <= FRAME_BYTES));
        let mut at = 0;
        let mut items = 0;
        for frame in read(&frames) {
            let Down::Log { to, items: more } = frame else {
                panic!("not the log");
            };
            assert!(to > at, "each leaves the device further");
            (at, items) = (to, items + more.len());
        }
        assert_eq!((at, items), (20, 20));
    }
}

#[test]
fn what_is_held_for_readers_is_bounded_by_bytes_and_the_last_commit_is_always_held() {
    let live = Live::default();
    let size = CHANGE_BYTES;
    let news: Vec<News> = (0..100)
        .map(|n| live.hold(&committed(1, n, &[(7, Move::Stay, size)])))
        .collect();
    let held = news.iter().filter(|news| news.commit.upgrade().is_some());
    let held = held.count();
    assert!((2..=HELD_BYTES / (2 * size)).contains(&held), "{held}");
    let large = vec![(7, Move::Stay, size); HELD_BYTES / size];
    let news = live.hold(&committed(1, 100, &large));
    assert!(news.commit.upgrade().is_some());
    let held = live.0.lock().unwrap();
    assert_eq!(held.commits.len(), 1);
}
