//! A device's process: `manzana phone` on a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;

use crate::disk::SmallDisk;
use crate::relay::{City, Ran, binary, copy_folder, program, run};
use crate::wait::{in_time, until};

/// Lines of a watch that a test may leave unread.
const LINES: usize = 10_000;
/// How long [`Watch::some`] waits for a line.
const MOMENT: Duration = Duration::from_millis(200);

/// One device, on its disk.
#[derive(Debug, Clone)]
pub struct Phone {
    home: PathBuf,
    disk: Option<Arc<SmallDisk>>,
}

impl Phone {
    /// Enrols a new device of a user.
    pub async fn enrol(city: &City, user: &str, scopes: &[&str]) -> Self {
        Self::enrol_with(city, user, &city.invite(user, scopes).await).await
    }

    /// A device from a copy of this folder, whose relay is now this city's.
    pub fn from_copy(city: &City, name: &str, folder: &Path) -> Self {
        let home = city.path(&format!("phone-{name}"));
        copy_folder(folder, &home);
        std::fs::write(home.join("relay"), format!("https://{}\n", city.sync())).expect("written");
        Self { home, disk: None }
    }

    /// Enrols a new device with this invitation.
    pub async fn enrol_with(city: &City, name: &str, invitation: &str) -> Self {
        let phone = Self {
            home: city.path(&format!("phone-{name}")),
            disk: None,
        };
        phone.ok(&["enrol", invitation]).await;
        phone
    }

    /// [`Phone::enrol_with`] on a disk of its own, which can be full.
    pub async fn enrol_on_small_disk(city: &City, name: &str, invitation: &str) -> Self {
        let home = city.path(&format!("phone-{name}"));
        let disk = Some(Arc::new(SmallDisk::at(&home)));
        let phone = Self { home, disk };
        phone.ok(&["enrol", invitation]).await;
        phone
    }

    /// The disk of [`Phone::enrol_on_small_disk`].
    pub fn disk(&self) -> Option<&Arc<SmallDisk>> {
        self.disk.as_ref()
    }

    /// Its folder.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its replica.
    pub fn replica(&self) -> PathBuf {
        self.home.join("replica.db")
    }

    /// A copy of the whole folder, byte by byte, as a backup put on another phone makes it.
    pub fn clone_to(&self, city: &City, name: &str) -> Self {
        let home = city.path(&format!("phone-{name}"));
        std::fs::create_dir(&home).expect("a folder");
        for file in std::fs::read_dir(&self.home).expect("a folder").flatten() {
            std::fs::copy(file.path(), home.join(file.file_name())).expect("copied");
        }
        Self { home, disk: None }
    }

    fn command(&self, args: &[&str]) -> tokio::process::Command {
        let mut command = program(&binary(), self.disk.as_deref());
        command
            .arg("phone")
            .arg("--home")
            .arg(&self.home)
            .arg("--json")
            .args(args);
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, args: &[&str]) -> Ran {
        run(&mut self.command(args)).await
    }

    /// Runs a command that must succeed and gives its JSON.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok(&self, args: &[&str]) -> Value {
        let ran = self.run(args).await;
        assert_eq!(ran.code, Some(0), "phone {args:?}: {}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).expect("JSON")
    }

    /// Runs a command and kills it after a moment. Gives its JSON if it had said everything by then:
    /// what it said must hold.
    pub async fn run_killed(&self, args: &[&str], after: Duration) -> Option<Value> {
        let mut command = self.command(args);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        if tokio::time::timeout(after, child.wait()).await.is_err() {
            let _ = child.start_kill();
        }
        let output = in_time("a killed command", child.wait_with_output())
            .await
            .expect("output");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Option<Value> = serde_json::from_str(&text).ok();
        assert!(
            said.as_ref().is_none_or(|said| said["error"].is_null()),
            "phone {args:?}: {text}"
        );
        said
    }

    /// The petitions it holds.
    pub async fn list(&self) -> Vec<Value> {
        let said = self.ok(&["list"]).await;
        said["petitions"].as_array().cloned().expect("petitions")
    }

    /// One petition in full.
    pub async fn show(&self, id: &str) -> Value {
        self.ok(&["show", id]).await["petition"].clone()
    }

    /// The device at a glance.
    pub async fn status(&self) -> Value {
        self.ok(&["status"]).await["status"].clone()
    }

    /// Captures a petition and gives its provisional folio.
    pub async fn capture(&self, title: &str, more: &[&str]) -> String {
        let mut args = vec!["capture", "--title", title, "--description", "Sin luz"];
        args.extend(more);
        let said = self.ok(&args).await;
        assert_eq!(said["saved"], true);
        let folio = said["petitions"][0]["provisional_folio"].as_str();
        folio.expect("a provisional folio").to_owned()
    }

    /// Syncs until nothing is left, however long the relay needs to come back.
    pub async fn sync(&self) {
        until("everything is sent", async || {
            let ran = self.run(&["sync", "--timeout", "10"]).await;
            (ran.code == Some(0)).then_some(())
        })
        .await;
    }

    /// Starts `sync --watch`.
    pub fn watch(&self) -> Watch {
        let mut command = self.command(&["sync", "--watch"]);
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines();
        let (sender, lines) = mpsc::channel(LINES);
        // Read at once: a full pipe would hold the phone up.
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let line = serde_json::from_str(&line).expect("JSON");
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        Watch { child, lines }
    }
}

/// A running `sync --watch`; killed when dropped.
#[derive(Debug)]
pub struct Watch {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Watch {
    /// The next line that is what the test looks for.
    pub async fn line(&mut self, what: &str, mut look: impl FnMut(&Value) -> bool) -> Value {
        in_time(what, async {
            loop {
                let line = self.lines.recv().await;
                let line = line.unwrap_or_else(|| panic!("{what}: the watch ended"));
                if look(&line) {
                    return line;
                }
            }
        })
        .await
    }

    /// Waits until the relay has greeted and everything was sent.
    pub async fn online(&mut self) {
        let online = |line: &Value| line["connection"] == "online" && line["unsent"] == 0;
        self.line("online", online).await;
    }

    /// Reads up to `count` lines, fewer when nothing comes for a moment.
    pub async fn some(&mut self, count: u64) {
        for _ in 0..count {
            if tokio::time::timeout(MOMENT, self.lines.recv())
                .await
                .is_err()
            {
                return;
            }
        }
    }

    /// Kills it as Android kills an app: with no word.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }
}
