//! Groups that are held until somebody decides.

use manzana_engine::answer::{Answer, HeldReason};
use manzana_engine::ids::Hash;
use manzana_engine::policy::Rule;

use super::Backend;
use super::samples::{Author, NOW, batch, fresh_hash};
use crate::storage::{
    Decision, EnvelopeCommit, GroupCommit, HeldCounts, HeldGroup, RelayStore, StorageError,
};

fn held(reason: HeldReason, detail: Option<&str>) -> GroupCommit {
    GroupCommit::NotAccepted {
        answer: Answer::Held { reason },
        changes: vec![fresh_hash()],
        detail: detail.map(str::to_owned),
    }
}

fn last_word(answer: Answer) -> GroupCommit {
    GroupCommit::NotAccepted {
        answer,
        changes: Vec::new(),
        detail: None,
    }
}

fn answered(envelope: &EnvelopeCommit, groups: Vec<Option<GroupCommit>>) -> EnvelopeCommit {
    EnvelopeCommit {
        groups,
        resumes: true,
        ..envelope.clone()
    }
}

fn numbers(groups: &[HeldGroup]) -> Vec<u64> {
    groups.iter().map(|group| group.id).collect()
}

pub async fn held_groups_are_listed_until_they_are_decided<B: Backend>() {
    let backend = B::create().await;
    let store = backend.open().await;
    let (mut ana, mut beto) = (Author::new(1), Author::new(2));
    let mut of_ana = ana.envelope(vec![
        held(HeldReason::GrantRevoked, None),
        last_word(Answer::Refused {
            rule: Rule::RoleMayNot,
            field: None,
        }),
        held(HeldReason::GrantExpired, None),
    ]);
    let of_beto = beto.envelope(vec![held(HeldReason::Quarantined, Some("signal 9"))]);
    let part = ana.petition().masked_name("ANA P.");
    of_ana.parts = vec![part.clone()];
    let envelopes = vec![of_ana.clone(), of_beto.clone()];
    store.commit_batch(batch(envelopes, &[])).await.unwrap();
    let all = store.held(0, 10).await.unwrap();
    let [first, second, third] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(
        (first.device, first.incarnation, first.n, first.group),
        (ana.device, 1, 1, 0)
    );
    assert_eq!((first.since, second.group), (NOW, 2));
    assert_eq!(first.envelope, of_ana.bytes);
    assert_eq!(second.reason, HeldReason::GrantExpired);
    assert_eq!(third.detail.as_deref(), Some("signal 9"));
    assert_eq!((third.decision, third.problem.as_deref()), (None, None));
    assert_eq!(
        numbers(&store.held(first.id, 1).await.unwrap()),
        [second.id]
    );
    let parts = store.envelope_parts(&ana.device, 1, 1).await.unwrap();
    assert_eq!(parts, [part.bytes]);
    let none = store.envelope_parts(&beto.device, 1, 1).await.unwrap();
    assert_eq!(none.len(), 0);
    let counts = store.held_counts().await.unwrap();
    let (by_grant, quarantined) = (2, 1);
    assert_eq!(
        counts,
        HeldCounts {
            by_grant,
            quarantined
        }
    );

    // Decided, undecided with its reason, decided again; what is not held cannot be decided.
    assert_eq!(store.decided(10).await.unwrap(), []);
    store.decide(third.id, Decision::Release).await.unwrap();
    store.decide(first.id, Decision::Drop).await.unwrap();
    assert_eq!(
        numbers(&store.decided(10).await.unwrap()),
        [first.id, third.id]
    );
    assert_eq!(numbers(&store.decided(1).await.unwrap()), [first.id]);
    store.undecide(third.id, "not now").await.unwrap();
    let undecided = store.held(second.id, 1).await.unwrap().remove(0);
    assert_eq!(undecided.decision, None);
    assert_eq!(undecided.problem.as_deref(), Some("not now"));
    store.decide(third.id, Decision::Release).await.unwrap();
    let decided = store.decided(10).await.unwrap().remove(1);
    assert_eq!(decided.decision, Some(Decision::Release));
    assert_eq!(decided.problem, None);
    let unknown = store.decide(third.id + 1, Decision::Drop).await;
    assert!(matches!(unknown, Err(StorageError::Missing)));

    // The last word takes a group off the list; it is told, and nothing else of the envelope changes.
    let by: Hash = fresh_hash();
    let released = answered(&of_beto, vec![Some(last_word(Answer::Orphaned { by }))]);
    let rule = Rule::NotTaken;
    let dropped = Some(last_word(Answer::Refused { rule, field: None }));
    let dropped = answered(&of_ana, vec![dropped, None, None]);
    let done = store
        .commit_batch(batch(vec![released, dropped], &[]))
        .await
        .unwrap();
    let told = &done.answers[&ana.device][0];
    assert_eq!((told.no, told.hash), (2, of_ana.hash));
    assert!(matches!(
        told.groups[0],
        Answer::Refused {
            rule: Rule::NotTaken,
            ..
        }
    ));
    assert!(matches!(told.groups[2], Answer::Held { .. }));
    assert_eq!(
        done.answers[&beto.device][0].groups,
        [Answer::Orphaned { by }]
    );
    assert_eq!(numbers(&store.held(0, 10).await.unwrap()), [second.id]);
    let gone = store.decide(third.id, Decision::Drop).await;
    assert!(matches!(gone, Err(StorageError::Missing)));

    // A last word is the last, and what is held is not held again nor let in.
    let again = answered(&of_beto, vec![Some(last_word(Answer::Orphaned { by }))]);
    let again = store.commit_batch(batch(vec![again], &[])).await;
    assert!(matches!(again, Err(StorageError::Backend(_))));
    let again = Some(held(HeldReason::GrantExpired, None));
    let again = answered(&of_ana, vec![None, None, again]);
    let again = store.commit_batch(batch(vec![again], &[])).await;
    assert!(matches!(again, Err(StorageError::Backend(_))));
    // A number is never used again.
    let more = beto.envelope(vec![held(HeldReason::Quarantined, None)]);
    store.commit_batch(batch(vec![more], &[])).await.unwrap();
    assert!(store.held(second.id, 10).await.unwrap()[0].id > third.id);
}
