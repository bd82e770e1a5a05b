//! Frames in a few words, for stories that are told with every frame.

use manzana_engine::codec;
use manzana_engine::wire::{Down, Item, Up};

/// A frame in a few words.
pub(super) fn brief(frame: &Down) -> String {
    match frame {
        Down::Welcome { seq, have, .. } => format!("welcome, head {seq}, have {have}"),
        Down::Receipt { receipt } => {
            let body: Option<manzana_engine::answer::ReceiptBody> =
                codec::decode(&receipt.body).ok();
            let answers = body.map_or(Vec::new(), |body| body.answers);
            let told: Vec<String> = answers
                .iter()
                .map(|a| format!("{}/{} {:?}", a.incarnation, a.n, a.groups))
                .collect();
            format!("receipt {told:?}")
        }
        Down::Log { to, items } => {
            let items: Vec<String> = items
                .iter()
                .map(|item| match item {
                    Item::Change { seq, doc, .. } => format!("{seq} change {doc}"),
                    Item::Own { seq, doc, .. } => format!("{seq} own {doc}"),
                    Item::Enter { seq, doc } => format!("{seq} enter {}", doc.doc),
                    Item::Leave { seq, doc } => format!("{seq} leave {doc}"),
                    _ => "?".to_owned(),
                })
                .collect();
            format!("log to {to} {items:?}")
        }
        Down::Pack { fill, done, .. } => format!("pack {fill:?} done {done}"),
        Down::Digest { digest } => {
            let body: Option<manzana_engine::digest::DigestBody> = codec::decode(&digest.body).ok();
            body.map_or("digest?".to_owned(), |b| {
                format!("digest {} at {}", b.scope, b.seq)
            })
        }
        Down::Whole { id, doc } => format!("whole {id}: {}", doc.is_some()),
        Down::Carried { hash, groups } => format!("carried {hash} {groups:?}"),
        other => format!("{other:?}").chars().take(120).collect(),
    }
}

/// A frame of a phone, likewise.
pub(super) fn brief_up(frame: &Up) -> String {
    match frame {
        Up::Push { body, .. } => {
            let body: Option<manzana_engine::envelope::EnvelopeBody> = codec::decode(body).ok();
            let n = body.map_or(0, |body| body.n);
            format!("push {n}")
        }
        Up::Carry { envelope } => {
            let envelope: Option<manzana_engine::envelope::Envelope> = codec::decode(envelope).ok();
            envelope.map_or("carry?".to_owned(), |e| {
                let n = e.peek().map_or(0, |body| body.n);
                format!("carry {}/{n} {}", e.context.incarnation, e.hash())
            })
        }
        other => format!("{other:?}").chars().take(120).collect(),
    }
}
