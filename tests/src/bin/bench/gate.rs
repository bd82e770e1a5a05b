//! What the gate adds to one change: the way through a worker's process and back, beside the same judge
//! called in line.

use std::time::{Duration, Instant};

use bytes::Bytes;
use manzana_engine::codec;
use manzana_engine::document::Document;
use manzana_engine::envelope::Entry;
use manzana_engine::fold::EventKind;
use manzana_engine::gate::judge::{self, Job, JobDoc, JobGroup, Request};
use manzana_engine::grant::{Role, Scope};
use manzana_engine::ids::{Actor, DeviceId, RecordId};
use manzana_engine::policy::Facts;
use manzana_engine::record::{By, Comment, Event, Record};
use manzana_server::gate::{GateConfig, GatePool};
use manzana_tests::relay::binary;

use crate::dice::Dice;
use crate::story;
use crate::table::{Goal, Report, Row, at};

/// How often the change is judged.
const ROUNDS: usize = 2_000;

/// One comment on a petition, one at a time.
pub(crate) async fn gate(report: &mut Report, seed: u64) {
    let job = comment(seed);
    let pool = GatePool::start(GateConfig {
        program: binary(),
        args: vec!["gate-worker".into()],
        workers: 1,
        wall: Duration::from_secs(60),
        queue: 1,
    });
    let pool = pool.expect("it starts");
    let (mut through, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let reply = pool.judge(job.clone()).await.expect("judged");
        through.push(micros(begun));
        let begun = Instant::now();
        assert_eq!(judge::serve(&job), reply);
        inside.push(micros(begun));
    }
    for share in [0.5, 0.99] {
        let what = format!(
            "one change through the gate's process: p{:.0}",
            share * 100.0
        );
        let row = Row::new(what, "µs", at(share, through.clone()), Goal::Open);
        report.add(
            row.floor(at(share, inside.clone()))
                .note("floor: judged in line"),
        );
    }
}

fn micros(begun: Instant) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6
}

fn comment(seed: u64) -> Bytes {
    let mut dice = Dice::new(seed);
    let device = DeviceId::of_key(&[7; 32]);
    let by = By {
        user: 1,
        role: Role::Supervisor,
        at: 1_770_000_000_000,
    };
    let actor = Actor::new(&device, 0);
    let form = story::form(1, 1, &mut dice);
    let recorded = Event::new(by, EventKind::Recorded);
    let made = Document::create_petition(actor, RecordId::new(&device, 0), &form, recorded);
    let (document, doc, _) = made.expect("made");
    let text = story::comment(&crate::texts::OPERATOR_COMMENTS, &mut dice);
    let comment = Record::Comment(Comment { by, text });
    let made = document
        .clone()
        .add_records(actor, RecordId::new(&device, 1), &[comment]);
    let job = Job {
        docs: vec![JobDoc {
            doc,
            saved: document.save().into(),
        }],
        groups: vec![JobGroup {
            facts: Facts {
                device,
                user: 1,
                role: Role::Supervisor,
                scopes: vec![Scope::City],
            },
            entries: vec![Entry {
                doc,
                change: made.expect("made").bytes,
            }],
            proven: false,
        }],
    };
    codec::encode(&Request::Judge(job)).into()
}
