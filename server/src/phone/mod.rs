//! `manzana phone`: a device in the terminal, for people without the app, for trials and for tests.
//!
//! It is the same runtime as the app's ([`manzana_client`]): acts are durable on this machine when the
//! command returns, and `sync` sends them.
//!
//! **Two processes, one folder.** A replica has one holder: two writers of one chain would fork it. So
//! whoever holds the folder for long (`sync`, `sync --watch`) listens on a socket in it (`join`), and
//! every other `manzana phone` on that folder hands its command over and prints the answer. An act
//! made beside a watcher is thus on its way to the relay at once, and nothing is polled.

mod args;
mod join;
mod perform;
mod show;
mod strings;
mod watch;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use manzana_client::{Client, ClientError, OpenOptions};
use tokio::time::Instant;

pub use args::PhoneArgs;
use args::{Command, Request};
use perform::Output;
pub(crate) use show::clean;

/// How long a command waits for another process that holds the folder but does not listen: one that
/// is just beginning or just ending.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it looks meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Runs one command of the terminal's device.
pub fn run(args: PhoneArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let output = match runtime {
        Ok(runtime) => runtime.block_on(command(args)),
        Err(_) => Output::failure(false, &ClientError::Internal("cannot start the runtime")),
    };
    print(&output);
    ExitCode::from(output.code)
}

fn print(output: &Output) {
    // A closed pipe is the reader's choice, not an error.
    let _ = std::io::stdout().write_all(output.out.as_bytes());
    let _ = std::io::stderr().write_all(output.err.as_bytes());
}

async fn command(args: PhoneArgs) -> Output {
    let json = args.json;
    let Some(home) = args.home.clone() else {
        return Output::refusal(json, "home", strings::NO_HOME);
    };
    let request = match args.request() {
        Ok(request) => request,
        Err(error) => return Output::refusal(json, "file", &strings::file_failed(&error)),
    };
    match enter(&home, &request).await {
        Ok(Entry::Holder(client)) => hold(&client, &home, request).await,
        Ok(Entry::Answered(output)) => output,
        Err(error) => Output::failure(json, &error),
    }
}

/// How a command got at the folder.
enum Entry {
    /// It holds the folder itself.
    Holder(Client),
    /// The holder did it.
    Answered(Output),
}

async fn enter(home: &Path, request: &Request) -> Result<Entry, ClientError> {
    let until = Instant::now() + PATIENCE;
    loop {
        match Client::open(OpenOptions::new(home)).await {
            Ok(client) => return Ok(Entry::Holder(client)),
            Err(ClientError::InUse) => {}
            Err(error) => return Err(error),
        }
        if let Some(output) = join::ask(home, request).await {
            return Ok(Entry::Answered(output));
        }
        if Instant::now() >= until {
            return Err(ClientError::InUse);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn hold(client: &Client, home: &Path, request: Request) -> Output {
    let output = match &request.command {
        Command::Sync {
            watch: true,
            timeout,
        } => {
            let time = timeout.map(Duration::from_secs);
            let listener = join::Listener::bind(home);
            watch::watch(client, listener, &request, time).await
        }
        Command::Sync { .. } => {
            let listener = join::Listener::bind(home);
            tokio::select! {
                output = perform::perform(client, &request) => output,
                never = join::serve(listener, client, request.offline) => match never {},
            }
        }
        _ => perform::perform(client, &request).await,
    };
    client.close().await;
    output
}

/// A path as another process of another working directory understands it.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    std::path::absolute(path)
}

#[cfg(test)]
mod tests;
