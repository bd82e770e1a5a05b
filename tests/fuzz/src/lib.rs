//! Fuzz targets: everything of the engine that reads bytes from outside, at both ends.
//!
//! An input is not the hostile bytes themselves but a program of edits ([`edits`]) on honest ones: which
//! sample, which bytes, columns or fields of it become what. Checksums and signatures are made right again
//! after that, so that no input is lost on them. The same input always means the same bytes, whoever runs
//! it: `bin/fuzz` with random inputs, `bin/guided` with those that libFuzzer finds by coverage.
//!
//! A target panics where a promise is broken, and only there. [`meter`] says what an input cost.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods)] // Makes documents as a stranger would, with actors of its own.
#![allow(clippy::unwrap_used)] // A panic is what a target reports by.

pub mod documents;
pub mod edits;
pub mod envelopes;
pub mod frames;
pub mod gate;
pub mod meter;

#[path = "../../../core/engine/tests/support/attacks.rs"]
mod attacks;
#[path = "../../../core/engine/tests/support/model.rs"]
mod model;
#[path = "../../../core/engine/tests/support/whole.rs"]
mod parts;
#[path = "../../../core/engine/tests/support/samples.rs"]
mod samples;
#[path = "../../../core/engine/tests/support/world.rs"]
mod world;

/// One of the things that read bytes from outside.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 4] = [
    Target {
        name: "frames",
        run: frames::run,
    },
    Target {
        name: "envelopes",
        run: envelopes::run,
    },
    Target {
        name: "gate",
        run: gate::run,
    },
    Target {
        name: "documents",
        run: documents::run,
    },
];
