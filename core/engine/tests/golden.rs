//! The wire, pinned: golden bytes of every frame and every signed body, and the document that
//! describes them.
//!
//! `data/golden.txt` holds one `name = hex` a line. A change of these bytes is a change of the
//! protocol: devices in the field keep and send the old ones. Whoever means it raises
//! `PROTOCOL_VERSION` or adds new cases, and writes them anew with `MANZANA_BLESS=1`.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used)]

#[path = "support/samples.rs"]
mod samples;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use manzana_engine::ids::Hash;
use manzana_engine::limits::FRAME_BYTES;
use manzana_engine::relay::{LogPlace, Opening, Session, SessionError};
use manzana_engine::wire::{ByeCode, FrameError, PROTOCOL_VERSION, Up, decode_frame};
use manzana_engine::{codec, limits};
use samples::Case;

fn golden_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/golden.txt")
}

fn from_hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn pinned(path: &Path) -> Vec<(String, Vec<u8>)> {
    fs::read_to_string(path)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(name, hex)| (name.to_owned(), from_hex(hex)))
        .collect()
}

fn bless(cases: &[Case]) {
    let mut text = String::from(
        "# Golden bytes of the protocol, version 1: `name = hex`. See golden.rs before changing one.\n",
    );
    for case in cases {
        let hex = data_encoding::HEXLOWER.encode(&case.bytes);
        writeln!(text, "{} = {hex}", case.name).unwrap();
    }
    fs::write(golden_path(), text).unwrap();
}

#[test]
fn every_value_encodes_to_its_pinned_bytes() {
    let cases = samples::all();
    if std::env::var_os("MANZANA_BLESS").is_some() {
        bless(&cases);
    }
    let pinned = pinned(&golden_path());
    let names = |list: &[String]| list.iter().cloned().collect::<BTreeSet<_>>();
    let made: Vec<String> = cases.iter().map(|case| case.name.to_owned()).collect();
    let kept: Vec<String> = pinned.iter().map(|(name, _)| name.clone()).collect();
    assert_eq!(names(&made), names(&kept), "cases and pinned names");
    assert_eq!(names(&made).len(), made.len(), "a name is used twice");
    for (case, (name, bytes)) in cases.iter().zip(&pinned) {
        assert_eq!(case.name, name);
        let now = data_encoding::HEXLOWER.encode(&case.bytes);
        assert_eq!(case.bytes, *bytes, "{name} encodes to {now}");
    }
}

#[test]
fn pinned_bytes_are_read_and_written_again_alike() {
    let cases = samples::all();
    for (case, (name, bytes)) in cases.iter().zip(&pinned(&golden_path())) {
        assert_eq!((case.reread)(bytes).as_ref(), Some(bytes), "{name}");
    }
}

/// The frames and bodies of every release that is kept: see `tests/src/release.rs`.
#[test]
fn what_every_release_put_on_the_wire_is_read_and_written_again_alike() {
    let cases = samples::all();
    let releases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data");
    let mut releases = fs::read_dir(releases).unwrap().peekable();
    assert!(releases.peek().is_some(), "no release is kept");
    for release in releases {
        let pinned = pinned(&release.unwrap().path().join("wire.txt"));
        assert!(pinned.len() > 40);
        for (name, bytes) in pinned {
            let case = cases.iter().find(|case| case.name == name);
            let case = case.unwrap_or_else(|| panic!("{name} has no case any more"));
            assert_eq!((case.reread)(&bytes), Some(bytes), "{name}");
        }
    }
}

#[test]
fn no_truncation_of_a_pinned_value_panics_or_passes_for_it() {
    for case in samples::all() {
        for end in 0..case.bytes.len() {
            let read = (case.reread)(&case.bytes[..end]);
            assert_eq!(read, None, "{} cut at {end}", case.name);
        }
        let longer = [case.bytes.as_slice(), &[0]].concat();
        assert_eq!((case.reread)(&longer), None, "{} and one byte", case.name);
    }
}

#[test]
fn no_changed_byte_of_a_pinned_value_panics() {
    for case in samples::all() {
        let mut bytes = case.bytes.clone();
        for at in 0..bytes.len() {
            let was = bytes[at];
            for other in (0..=u8::MAX).filter(|other| *other != was) {
                bytes[at] = other;
                // Ok or Err: whatever it reads as, it is written down without a panic.
                let _ = (case.reread)(&bytes);
            }
            bytes[at] = was;
        }
    }
}

#[test]
fn a_frame_is_read_at_the_limit_and_refused_one_byte_past_it() {
    let push = |body: usize| {
        codec::encode(&Up::Push {
            body: vec![7; body].into(),
            signature: [1; 64],
            parts: Vec::new(),
        })
    };
    let overhead = push(FRAME_BYTES / 2).len() - FRAME_BYTES / 2;
    let full = push(FRAME_BYTES - overhead);
    assert_eq!(full.len(), FRAME_BYTES);
    assert!(decode_frame::<Up>(&full).is_ok());
    let over = push(FRAME_BYTES - overhead + 1);
    assert_eq!(decode_frame::<Up>(&over), Err(FrameError::TooLong));
    assert_eq!(limits::FRAME_BYTES, 1 << 20);
}

#[test]
fn another_version_of_the_protocol_is_refused_when_the_session_begins() {
    for version in [0, PROTOCOL_VERSION + 1, u16::MAX] {
        let mut hello = samples::hello();
        hello.version = version;
        let (grant, granted) = samples::grant();
        let opening = Opening {
            chain: (0, Hash([0; 32])),
            log: LogPlace {
                epoch: 1,
                head: 0,
                floor: 0,
            },
            time: 0,
            nonce: &[0; 16],
            recovery: None,
        };
        let begun = Session::begin(&hello, grant, granted, opening);
        assert_eq!(begun.unwrap_err(), SessionError::Version);
    }
    assert_eq!(SessionError::Version.code(), ByeCode::BadVersion);
}

#[test]
fn bytes_that_name_an_unknown_frame_or_code_are_an_error() {
    for bytes in [&[0x81, 0x18, 0x63][..], &[0x82, 0x07, 0x18, 0x63], &[0x80]] {
        assert!(codec::decode::<Up>(bytes).is_err());
        assert!(codec::decode::<manzana_engine::wire::Down>(bytes).is_err());
    }
}

/// The variants of an enum in a source text, each with the number of the wire.
fn variants(source: &str, name: &str) -> Vec<(String, u32)> {
    let head = format!("pub enum {name} {{");
    let body = source.split_once(&head).unwrap().1;
    let body = body.split_once("\n}").unwrap().0;
    let mut number = None;
    let mut found = Vec::new();
    for line in body.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            continue;
        };
        let digits = line.strip_prefix("#[n(").and_then(|l| l.strip_suffix(")]"));
        if let Some(digits) = digits {
            number = digits.parse().ok();
        } else if line.starts_with(char::is_uppercase) {
            let end = line.find(|c: char| !c.is_alphanumeric()).unwrap();
            found.push((line[..end].to_owned(), number.take().unwrap()));
        }
    }
    found
}

fn numbers(line: &str) -> BTreeSet<u32> {
    line.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

fn read(relative: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(relative)).unwrap()
}

#[test]
fn the_protocol_document_names_every_variant_of_the_wire_with_its_number() {
    let document = read("../../PROTOCOL.md");
    let subjects = [
        ("src/wire.rs", &["Up", "Down", "Item", "ByeCode"][..], 32),
        ("src/reconcile/range.rs", &["Range"], 4),
        ("src/answer.rs", &["Answer", "HeldReason"], 8),
        ("src/policy.rs", &["Rule"], 19),
        ("src/envelope.rs", &["PartKind"], 2),
        ("src/grant.rs", &["Role"], 9),
        ("src/fold/event.rs", &["EventKind", "Outcome"], 15),
    ];
    for (path, enums, at_least) in subjects {
        let source = read(path);
        let mut found = 0;
        for name in enums {
            for (variant, number) in variants(&source, name) {
                found += 1;
                let full = format!("{name}::{variant}");
                let told = document.lines().any(|line| {
                    let mut words = line.split(|c: char| !c.is_alphanumeric() && c != ':');
                    words.any(|word| word.trim_matches(':') == full)
                        && numbers(line).contains(&number)
                });
                assert!(told, "PROTOCOL.md has no line with {full} and {number}");
            }
        }
        assert!(found >= at_least, "{path}: only {found} variants found");
    }
}

#[test]
fn the_protocol_document_names_every_limit_with_its_value() {
    let document = read("../../PROTOCOL.md");
    let source = read("src/limits.rs");
    let names: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const "))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    assert!(names.len() >= 15, "limits were found");
    for name in names {
        let row = format!("| `{name}` |");
        assert!(document.contains(&row), "PROTOCOL.md has no row {row}");
    }
}
