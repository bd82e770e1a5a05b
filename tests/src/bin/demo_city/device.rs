//! A seeding device: a real one, whose person writes at times of years ago.
//!
//! The client stamps every act with its own clock. Here the past is written: between two sessions the
//! device's file is opened directly and authored with times given, signed and chained like any other
//! act; then the ordinary client sends it over the ordinary session.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use manzana_client::{Client, Invitation, OpenOptions};
use manzana_engine::replica::Replica;
use manzana_engine::seal::Entropy as _;
use manzana_store::SqliteReplica;

use super::dice::Dice;

/// Longest a session may take to have everything sent and received.
const SESSION: Duration = Duration::from_secs(120);

/// One enrolled device, closed between its sessions.
#[derive(Debug)]
pub(crate) struct Device {
    name: String,
    dir: PathBuf,
}

impl Device {
    /// Enrols a new device in its folder.
    pub(crate) async fn enrol(dir: PathBuf, name: &str, invitation: &str) -> anyhow::Result<Self> {
        let invitation: Invitation = invitation.trim().parse().context("the invitation")?;
        let client = Client::open(OpenOptions::new(&dir)).await?;
        let enrolled = client.enrol(&invitation).await;
        client.close().await;
        enrolled.with_context(|| format!("{name} could not enrol"))?;
        Ok(Self {
            name: name.to_owned(),
            dir,
        })
    }

    /// Sends everything and receives everything.
    pub(crate) async fn sync(&self) -> anyhow::Result<()> {
        self.with_client(async |client| {
            let report = client.sync_until_idle(SESSION).await?;
            ensure!(
                report.idle,
                "{}: not everything was answered: {report:?}",
                self.name
            );
            let refused = client.to_correct().await?;
            ensure!(
                refused.is_empty(),
                "{}: the relay refused {:?}",
                self.name,
                refused.first()
            );
            Ok(())
        })
        .await
    }

    /// The device as the app would hold it.
    pub(crate) async fn with_client<T>(
        &self,
        work: impl AsyncFnOnce(&Client) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let client = Client::open(OpenOptions::new(&self.dir)).await?;
        let done = work(&client).await;
        client.close().await;
        done
    }

    /// Writes while no client has the folder open.
    pub(crate) fn write<T>(
        &self,
        dice: &mut Dice,
        work: impl FnOnce(&mut Replica<SqliteReplica>, &mut Dice) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut token = [0; 16];
        dice.fill(&mut token);
        let (store, continuity) = SqliteReplica::open(&self.dir.join("replica.db"), token)?;
        let mut replica = Replica::open(store, continuity, dice)?;
        work(&mut replica, dice).with_context(|| format!("{} could not write", self.name))
    }
}
