//! One device, and the watch on what changes on it.

use std::sync::Arc;
use std::time::Duration;

use manzana_client::model::{DocId, RecordId};
use manzana_client::{Changes, Client, ClientError, Invitation, OpenOptions};
use tokio::sync::Mutex;

use crate::problem::ManzanaError;
use crate::screens::{
    Amendment, CaptureForm, Catalog, Change, DeviceStatus, HeldAct, Me, Petition, PetitionDetail,
    Saved, Step, SyncReport, ToCorrect,
};

type Result<T> = std::result::Result<T, ManzanaError>;

/// One device in a folder of its own. Every call is durable, or failed, when it returns.
#[derive(Debug, uniffi::Object)]
pub struct Device {
    client: Client,
}

#[uniffi::export(async_runtime = "tokio")]
impl Device {
    /// Opens the device in this folder, enrolled or not yet; only one process can have it open.
    #[uniffi::constructor]
    pub async fn open(folder: String) -> Result<Arc<Self>> {
        let client = Client::open(OpenOptions::new(folder)).await?;
        Ok(Arc::new(Self { client }))
    }

    /// Enrols this device with an invitation, as it was given in text.
    pub async fn enrol(&self, invitation: String) -> Result<Me> {
        let invitation: Invitation = invitation.parse().map_err(ClientError::from)?;
        Ok(self.client.enrol(&invitation).await?.into())
    }

    /// The device at a glance.
    pub async fn status(&self) -> Result<DeviceStatus> {
        Ok(self.client.status().await?.into())
    }

    /// All petitions, newest captured first.
    pub async fn list(&self) -> Result<Vec<Petition>> {
        let rows = self.client.list().await?;
        Ok(rows.into_iter().map(Petition::from).collect())
    }

    /// One row; nothing when this device does not hold it (any more).
    pub async fn petition(&self, id: String) -> Result<Option<Petition>> {
        let row = self.client.petition(doc(&id)?).await?;
        Ok(row.map(Petition::from))
    }

    /// One petition in full.
    pub async fn detail(&self, id: String) -> Result<PetitionDetail> {
        Ok(self.client.detail(doc(&id)?).await?.into())
    }

    /// The id of the petition that a person names by folio or provisional folio.
    pub async fn find(&self, text: String) -> Result<String> {
        Ok(self.client.find(&text).await?.to_string())
    }

    /// The catalogs that this device holds.
    pub async fn catalogs(&self) -> Result<Vec<Catalog>> {
        let views = self.client.catalogs().await?;
        Ok(views.into_iter().map(Catalog::from).collect())
    }

    /// Captures a petition. When this returns it is durable: say "guardado".
    pub async fn capture(&self, form: CaptureForm) -> Result<Saved> {
        let (petition, petitioner) = form.into();
        Ok(self.client.capture(petition, petitioner).await?.into())
    }

    /// Adds a step to each of the petitions: one act, accepted whole or not at all.
    pub async fn act(&self, petitions: Vec<String>, step: Step) -> Result<Saved> {
        let docs = petitions
            .iter()
            .map(|id| doc(id))
            .collect::<Result<Vec<_>>>()?;
        Ok(self.client.act(&docs, step.into()).await?.into())
    }

    /// Comments on a petition.
    pub async fn comment(&self, id: String, text: String) -> Result<Saved> {
        Ok(self.client.comment(doc(&id)?, &text).await?.into())
    }

    /// What waits in "Por corregir", oldest first.
    pub async fn to_correct(&self) -> Result<Vec<ToCorrect>> {
        let waiting = self.client.to_correct().await?;
        Ok(waiting.into_iter().map(ToCorrect::from).collect())
    }

    /// Does what waits in "Por corregir" again, as it was; it leaves the list.
    pub async fn resend(&self, act: String) -> Result<Saved> {
        self.resend_amended(act, Amendment::default()).await
    }

    /// Does what waits in "Por corregir" again, with what the person changed in it. It stays as it was if
    /// that is not allowed either.
    pub async fn resend_amended(&self, act: String, changed: Amendment) -> Result<Saved> {
        let id = record(&act)?;
        Ok(self.client.resend(id, changed.into()).await?.into())
    }

    /// What the city holds until somebody there decides.
    pub async fn held(&self) -> Result<Vec<HeldAct>> {
        let held = self.client.held().await?;
        Ok(held.into_iter().map(HeldAct::from).collect())
    }

    /// Takes something out of "Por corregir".
    pub async fn close_correction(&self, act: String) -> Result<()> {
        Ok(self.client.close_correction(record(&act)?).await?)
    }

    /// What changes from now on.
    pub fn watch(&self) -> Arc<Watch> {
        Arc::new(Watch {
            changes: Mutex::new(self.client.watch()),
        })
    }

    /// Keeps a session alive from now on. Asynchronous because the session lives on the runtime that
    /// such calls run on.
    pub async fn start_sync(&self) {
        self.client.start_sync();
    }

    /// Ends the session; what was saved stays and goes with the next one.
    pub async fn stop_sync(&self) {
        self.client.stop_sync().await;
    }

    /// Syncs until nothing is left to send or to receive, for this time at the most.
    pub async fn sync_until_idle(&self, seconds: u32) -> Result<SyncReport> {
        let time = Duration::from_secs(seconds.into());
        Ok(self.client.sync_until_idle(time).await?.into())
    }

    /// The platform says that the network may have changed: an attempt is made at once.
    pub fn notify_network(&self) {
        self.client.notify_network();
    }

    /// Stops the sync and closes the files: the folder is free when this returns. Not named `close`,
    /// which Kotlin's objects have already, for their handle.
    pub async fn shut_down(&self) {
        self.client.close().await;
    }
}

/// Tells what changed, from when it was made on. A slow reader is told to read everything again.
#[derive(Debug, uniffi::Object)]
pub struct Watch {
    changes: Mutex<Changes>,
}

#[uniffi::export(async_runtime = "tokio")]
impl Watch {
    /// Waits for the next change; nothing once the device is gone.
    pub async fn next(&self) -> Option<Change> {
        self.changes.lock().await.next().await.map(Change::from)
    }
}

/// An id that is none names nothing that this device holds.
fn doc(id: &str) -> Result<DocId> {
    id.parse().map_err(|_| ClientError::NotFound.into())
}

fn record(act: &str) -> Result<RecordId> {
    RecordId::from_key(act).map_err(|_| ClientError::NotFound.into())
}
