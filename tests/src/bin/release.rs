//! `release`: lives a small city through a day and keeps its files, for every later build to open. See
//! [`manzana_tests::release`].
#![forbid(unsafe_code)]

use std::path::PathBuf;

use clap::Parser;

/// Keeps what this build leaves behind, in a new folder.
#[derive(Parser)]
struct Cli {
    /// tests/data/VERSION
    folder: PathBuf,
}

#[tokio::main]
async fn main() {
    let folder = Cli::parse().folder;
    assert!(
        !folder.exists(),
        "what is kept of a release is never changed"
    );
    manzana_tests::release::keep(&folder).await;
}
