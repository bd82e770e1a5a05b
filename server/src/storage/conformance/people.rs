//! Devices, invites, users, sessions, keys and settings.

use manzana_engine::answer::Answer;
use manzana_engine::grant::{Scope, SignedGrant};
use manzana_engine::ids::{DeviceId, GrantId, Hash, RecordId, UserId};
use manzana_engine::policy::Rule;

use super::Backend;
use super::samples::{Author, batch};
use crate::storage::{
    ActKey, DeviceRecord, GroupCommit, Invite, RelayStore, SessionRow, StorageError, UserRow,
};

pub(super) fn device(number: u8, user: UserId, desk_seed: Option<[u8; 32]>) -> DeviceRecord {
    DeviceRecord {
        id: DeviceId::of_key(&[number; 32]),
        key: [number; 32],
        user,
        grant: SignedGrant {
            body: vec![number, 1, 2],
            signature: [number; 64],
        },
        grant_id: GrantId([number; 16]),
        revoked_at: None,
        desk_seed,
    }
}

pub async fn a_device_is_one_of_its_tag<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (phone, desk) = (device(1, 7, None), device(2, 7, Some([9; 32])));
    store.put_device(&phone).await.unwrap();
    store.put_device(&desk).await.unwrap();
    assert_eq!(store.device(&phone.id).await.unwrap(), Some(phone.clone()));
    assert_eq!(store.device(&DeviceId([0; 16])).await.unwrap(), None);
    assert_eq!(store.desk_of(7).await.unwrap(), Some(desk));
    assert_eq!(store.desk_of(8).await.unwrap(), None);

    let mut renewed = phone.clone();
    renewed.grant.body = vec![3];
    store.put_device(&renewed).await.unwrap();
    assert_eq!(store.device(&phone.id).await.unwrap(), Some(renewed));
    let mut twin = device(3, 8, None);
    twin.id.0[..6].copy_from_slice(&phone.id.tag());
    let taken = store.put_device(&twin).await;
    assert!(matches!(taken, Err(StorageError::Exists)));

    store.revoke_device(&phone.id, 50).await.unwrap();
    store.revoke_device(&phone.id, 60).await.unwrap();
    let revoked = store.device(&phone.id).await.unwrap().unwrap().revoked_at;
    assert_eq!(revoked, Some(50));
    let unknown = store.revoke_device(&DeviceId([0; 16]), 1).await;
    assert!(matches!(unknown, Err(StorageError::Missing)));
}

pub async fn an_invite_is_taken_once_and_in_time<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let invite = |number: u8| Invite {
        code_hash: Hash([number; 32]),
        user: 4,
        scopes: vec![Scope::Block(3), Scope::Author(4)],
        block: Some(3),
        expires: 1_000,
    };
    store.put_invite(&invite(1)).await.unwrap();
    store.put_invite(&invite(2)).await.unwrap();
    let twice = store.put_invite(&invite(1)).await;
    assert!(matches!(twice, Err(StorageError::Exists)));

    // At the last moment it is good, once; of many who try at a time, one gets it.
    let code = Hash([1; 32]);
    let (one, two) = tokio::join!(
        store.take_invite(&code, 1_000),
        store.take_invite(&code, 1_000)
    );
    let (won, lost) = if one.is_ok() { (one, two) } else { (two, one) };
    assert_eq!(won.unwrap(), invite(1));
    assert!(matches!(lost, Err(StorageError::Missing)));
    for (code, now) in [([2; 32], 1_001), ([3; 32], 0)] {
        let late = store.take_invite(&Hash(code), now).await;
        assert!(matches!(late, Err(StorageError::Missing)));
    }
}

pub async fn user_names_are_unique<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let row = |name: &str| UserRow {
        id: 0,
        name: name.to_owned(),
        display: "Ventanilla 1".to_owned(),
        role: "operator".to_owned(),
        password_hash: Some("$argon2id$".to_owned()),
        disabled: false,
    };
    let ana = store.add_user(&row("ana")).await.unwrap();
    let beto = store.add_user(&row("beto")).await.unwrap();
    assert_ne!(ana, beto);
    let taken = store.add_user(&row("ana")).await;
    assert!(matches!(taken, Err(StorageError::Exists)));
    let found = store.user_by_name("ana").await.unwrap();
    assert_eq!(
        found,
        Some(UserRow {
            id: ana,
            ..row("ana")
        })
    );
    assert_eq!(store.user_by_name("carla").await.unwrap(), None);
    let users = store.users(&[beto, 99, ana]).await.unwrap();
    assert_eq!(users.len(), 2);
    assert_eq!(users[&beto].name, "beto");
}

pub async fn an_act_is_remembered_with_its_commit_and_only_if_accepted<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let mut desk = Author::new(5);
    let mut sheet = desk.petition();
    let record = RecordId::new(&desk.device, 1);
    let act = |key: &str| ActKey {
        user: 3,
        key: key.to_owned(),
        record,
    };
    let mut refused = desk.envelope(vec![GroupCommit::NotAccepted {
        answer: Answer::Refused {
            rule: Rule::RoleMayNot,
            field: None,
        },
        changes: Vec::new(),
        detail: None,
    }]);
    refused.act = Some(act("refused"));
    let mut accepted = desk.accepted(vec![sheet.change(&desk)]);
    accepted.act = Some(act("accepted"));
    let both = batch(vec![refused, accepted], &[&sheet]);
    assert_eq!(store.act_key(3, "accepted").await.unwrap(), None);
    store.commit_batch(both).await.unwrap();
    assert_eq!(store.act_key(3, "accepted").await.unwrap(), Some(record));
    assert_eq!(store.act_key(3, "refused").await.unwrap(), None);
    assert_eq!(store.act_key(4, "accepted").await.unwrap(), None);
}

pub async fn sessions_and_settings<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let token = Hash([1; 32]);
    let mut session = SessionRow {
        token_hash: token,
        user: 3,
        csrf: "c".to_owned(),
        used_at: 10,
    };
    store.put_session(&session).await.unwrap();
    session.used_at = 20;
    store.put_session(&session).await.unwrap();
    assert_eq!(store.session(&token).await.unwrap(), Some(session));
    store.delete_session(&token).await.unwrap();
    store.delete_session(&token).await.unwrap();
    assert_eq!(store.session(&token).await.unwrap(), None);

    assert_eq!(store.setting("desk_intents").await.unwrap(), None);
    store.put_setting("desk_intents", b"1").await.unwrap();
    store.put_setting("desk_intents", b"2").await.unwrap();
    assert_eq!(
        store.setting("desk_intents").await.unwrap(),
        Some(b"2".to_vec())
    );
    let prefix = store
        .setting(crate::storage::CityFormat::FOLIO_PREFIX)
        .await
        .unwrap();
    assert_eq!(prefix, Some(b"SIAC-".to_vec()));
}
