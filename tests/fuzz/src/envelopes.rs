//! Envelopes: made wrong inside and signed again, or wrong from outside.

use manzana_engine::codec;
use manzana_engine::envelope::{Entry, Envelope, EnvelopeBody, Part};
use manzana_engine::ids::{DocId, Hash};
use manzana_engine::keys::SecretKey;
use manzana_engine::relay::intake;

use crate::edits::Edits;
use crate::samples;

/// Runs one input.
pub fn run(input: &[u8]) {
    let mut edits = Edits::new(input);
    let key = samples::device();
    let mut envelope = samples::envelope();
    match edits.byte() % 4 {
        // The bytes of the road: nothing is signed again.
        0 => {
            let mut bytes = codec::encode(&envelope);
            edits.spoil(&mut bytes);
            if let Ok(read) = codec::decode::<Envelope>(&bytes) {
                look(&read, &key);
            }
            return;
        }
        // The signed bytes.
        1 => edits.spoil(&mut envelope.body),
        // Its parts: the hashes are signed, the bytes are not.
        2 => {
            for part in &mut envelope.parts {
                let mut bytes = part.to_vec();
                edits.spoil(&mut bytes);
                *part = bytes.into();
            }
        }
        _ => envelope = built(&mut edits, &envelope, &key),
    }
    let signed = sign_again(envelope, &key);
    look(&signed, &key);
}

/// One of the same kind with other numbers of everything.
fn built(edits: &mut Edits<'_>, like: &Envelope, key: &SecretKey) -> Envelope {
    let honest = like.peek().unwrap();
    let entries: Vec<Entry> = honest.groups.into_iter().flatten().collect();
    let groups = (0..edits.byte() % 80).map(|_| {
        let entries = (0..edits.byte() % 4).map(|_| {
            let mut entry = edits.pick(&entries).clone();
            if edits.once_in(2) {
                edits.spoil(&mut entry.change);
            }
            entry
        });
        entries.collect()
    });
    let groups = groups.collect();
    let parts: Vec<Vec<u8>> = like.parts.iter().map(|part| part.to_vec()).collect();
    let body = EnvelopeBody {
        n: edits.number(),
        device_time: edits.number() as i64,
        city_head: edits.number(),
        groups,
        detached: parts.iter().map(|part| Part::hash(part)).collect(),
    };
    Envelope::sign(like.context, &body, parts, key)
}

/// The body that was signed is whatever its bytes say.
fn sign_again(mut envelope: Envelope, key: &SecretKey) -> Envelope {
    use manzana_engine::keys::Purpose;
    let context = &envelope.context;
    let message = [
        context.city.as_bytes().as_slice(),
        context.device.as_bytes(),
        &context.incarnation.to_be_bytes(),
        context.prev.as_bytes(),
        context.grant.as_bytes(),
        &envelope.body,
    ]
    .concat();
    envelope.signature = key.sign(Purpose::Envelope, &message);
    envelope
}

/// All that either end does with an envelope before the gate.
fn look(envelope: &Envelope, key: &SecretKey) {
    let peeked = envelope.peek();
    let Ok(body) = envelope.open(&key.public()) else {
        return;
    };
    assert_eq!(peeked.as_ref(), Ok(&body));
    let again = codec::decode::<Envelope>(&codec::encode(envelope)).unwrap();
    assert_eq!(again.hash(), envelope.hash());
    for part in &envelope.parts {
        let _ = codec::decode::<Part>(part);
    }
    let docs: Vec<Vec<DocId>> = body
        .groups
        .iter()
        .map(|group| group.iter().map(|entry| entry.doc).collect())
        .collect();
    let lots = intake::split_by_documents(&docs);
    assert_eq!(lots.iter().map(Vec::len).sum::<usize>(), docs.len());
    for group in &body.groups {
        if let Ok(peeks) = intake::peek(group) {
            assert_eq!(peeks.len(), group.len());
        }
    }
    assert_ne!(envelope.hash(), Hash([0; 32]));
}
