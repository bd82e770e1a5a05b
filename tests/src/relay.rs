//! A city: its data folder, its people, and a relay process that can be killed and started again.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::disk::SmallDisk;
use crate::wait::{in_time, until};

/// Lines of the relay's log that a failing test shows.
const LAST_LINES: usize = 40;
/// Password of every console user of the tests.
pub const PASSWORD: &str = "una clave larga";

/// The binary under test.
///
/// # Panics
/// When `MANZANA_BIN` does not name it.
pub fn binary() -> PathBuf {
    let Some(path) = std::env::var_os("MANZANA_BIN").map(PathBuf::from) else {
        panic!(
            "MANZANA_BIN is not set: `scripts/test e2e` sets it, or build with \
             `cargo build --profile ci -p manzana-server` and name <target>/ci/manzana"
        );
    };
    assert!(
        path.is_file(),
        "MANZANA_BIN names no file: {}",
        path.display()
    );
    path
}

/// A command of the binary under test, free of the caller's own configuration.
pub fn manzana() -> Command {
    program(&binary(), None)
}

/// A command of this program, which works on this disk.
pub fn program(path: &Path, disk: Option<&SmallDisk>) -> Command {
    let mut command = match disk.map(SmallDisk::starter) {
        Some([first, rest @ ..]) => {
            let mut starter = Command::new(first);
            starter.args(rest).arg(path);
            starter
        }
        _ => Command::new(path),
    };
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MANZANA_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// What a command that ran to its end gave.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; `None` when it was killed.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a command to its end.
///
/// # Panics
/// When it cannot be started or does not end.
pub async fn run(command: &mut Command) -> Ran {
    let output = in_time("a command", command.output())
        .await
        .expect("the binary starts");
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// One city in a temporary folder.
#[derive(Debug)]
pub struct City {
    // In this order: the relay lets go of the disk before the folder goes.
    relay: Option<Running>,
    disk: Option<SmallDisk>,
    dir: TempDir,
    sync: SocketAddr,
    console: SocketAddr,
    settings: Vec<(String, String)>,
    errors: Log,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: Log,
}

/// The last lines of a process's log; shown when the test fails.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<VecDeque<String>>>);

impl Log {
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

impl City {
    /// Starts a relay for a new city, on ports that the system gives.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// [`City::start`] with more `MANZANA_*` settings, named without the prefix.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::begin(settings, false).await
    }

    /// [`City::start`] with the data folder on a disk of its own, which can be full.
    pub async fn start_on_small_disk() -> Self {
        Self::begin(&[], true).await
    }

    /// Starts a relay on a copy of this data folder.
    pub async fn start_on(data: &Path) -> Self {
        let mut city = Self::closed(&[], false);
        copy_folder(data, &city.data_dir());
        city.restart().await;
        city
    }

    async fn begin(settings: &[(&str, &str)], small_disk: bool) -> Self {
        let mut city = Self::closed(settings, small_disk);
        city.restart().await;
        city
    }

    fn closed(settings: &[(&str, &str)], small_disk: bool) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = settings
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let dir = tempfile::tempdir().expect("a temporary folder");
        let disk = small_disk.then(|| SmallDisk::at(&dir.path().join("data")));
        Self {
            relay: None,
            disk,
            dir,
            sync: any,
            console: any,
            settings,
            errors: Log::default(),
        }
    }

    /// The city's data folder.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A folder for something else of this test, gone with the city.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where devices connect.
    pub fn sync(&self) -> SocketAddr {
        self.sync
    }

    /// Where browsers connect.
    pub fn console(&self) -> SocketAddr {
        self.console
    }

    /// The relay's process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        let running = self.relay.as_ref().expect("the relay runs");
        running.child.id().expect("the relay runs")
    }

    /// Whether a relay was started here and not stopped or killed since.
    pub fn runs(&self) -> bool {
        self.relay.is_some()
    }

    /// Starts the relay on the city's data: at first on ports of the system's choice, later on the
    /// same ones.
    pub async fn restart(&mut self) {
        assert!(self.relay.is_none(), "it runs already");
        // A port that was free a moment ago may be somebody's outgoing one for a moment.
        let running = until("the relay serves", async || {
            self.try_start().await.unwrap_or_else(|log| {
                assert!(
                    log.contains("port is taken"),
                    "the relay does not start:\n{log}"
                );
                None
            })
        });
        self.relay = Some(running.await);
    }

    /// Starts the relay, unless it cannot now.
    ///
    /// # Errors
    /// Its log, when it ended by itself.
    pub async fn try_restart(&mut self) -> Result<(), String> {
        assert!(self.relay.is_none(), "it runs already");
        self.relay = self.try_start().await?;
        Ok(())
    }

    /// What the relays of this city have told of as errors: the last of them.
    pub fn errors(&self) -> String {
        self.errors.text()
    }

    /// The disk of [`City::start_on_small_disk`].
    ///
    /// # Panics
    /// When it has none.
    pub fn disk(&self) -> &SmallDisk {
        self.disk.as_ref().expect("a small disk")
    }

    async fn try_start(&mut self) -> Result<Option<Running>, String> {
        let mut child = self
            .command("serve")
            .env("MANZANA_LOG__FORMAT", "json")
            .env("MANZANA_SYNC_LISTEN", self.sync.to_string())
            .env("MANZANA_CONSOLE_LISTEN", self.console.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its log")).lines();
        let log = Log::default();
        while let Ok(Some(line)) = lines.next_line().await {
            log.push(line.clone());
            let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if record["message"] == "serving" {
                let address = |name: &str| record[name].as_str().and_then(|text| text.parse().ok());
                self.sync = address("devices").expect("an address");
                self.console = address("console").expect("an address");
                let (rest, errors) = (log.clone(), self.errors.clone());
                tokio::spawn(async move {
                    while let Ok(Some(line)) = lines.next_line().await {
                        if line.contains(r#""level":"ERROR""#) {
                            errors.push(line.clone());
                        }
                        rest.push(line);
                    }
                });
                return Ok(Some(Running { child, log }));
            }
        }
        Err(log.text())
    }

    /// Kills the relay as a power cut would: no goodbye, nothing flushed.
    pub async fn kill(&mut self) {
        let mut running = self.relay.take().expect("the relay runs");
        running.child.kill().await.expect("killed");
    }

    /// Asks the relay to stop and gives its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        let mut running = self.relay.take().expect("the relay runs");
        let pid = running.child.id().expect("it runs").to_string();
        run(Command::new("kill").args(["-TERM", &pid])).await;
        let status = in_time("the relay stops", running.child.wait()).await;
        status.expect("a status").code()
    }

    /// Whether the process still runs.
    pub fn is_up(&mut self) -> bool {
        self.relay
            .as_mut()
            .is_some_and(|running| matches!(running.child.try_wait(), Ok(None)))
    }

    /// Memory of the relay's own process now, KiB.
    pub fn memory_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(path).expect("a process");
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .expect("its memory");
        let number = line
            .split_whitespace()
            .nth(1)
            .and_then(|text| text.parse().ok());
        number.expect("a number")
    }

    /// A command of this city's administration.
    pub fn command(&self, name: &str) -> Command {
        let mut command = program(&binary(), self.disk.as_ref());
        command.arg(name).env("MANZANA_DATA_DIR", self.data_dir());
        command.envs(
            self.settings
                .iter()
                .map(|(k, v)| (format!("MANZANA_{k}"), v)),
        );
        command
    }

    /// Runs a command of this city's administration.
    ///
    /// # Panics
    /// When it fails.
    pub async fn ok(&self, name: &str, args: &[&str]) -> Ran {
        let ran = run(self.command(name).args(args)).await;
        assert_eq!(ran.code, Some(0), "{name}: {ran:?}");
        ran
    }

    /// Makes a backup, which checks every signature.
    pub async fn backup(&self) -> PathBuf {
        let file = self.path("respaldo.sqlite");
        let ran = self.ok("backup", &[text(&file)]).await;
        assert!(ran.out.contains("every signature"), "{ran:?}");
        file
    }

    /// Stops the city, puts a backup in its place, and starts it.
    pub async fn put_back(&mut self, file: &Path) {
        self.stop().await;
        let args = [text(file), "--why", "simulacro", "--overwrite"];
        self.ok("restore", &args).await;
        self.restart().await;
    }

    /// Adds a person; those of the console sign in with [`PASSWORD`].
    pub async fn user(&self, name: &str, role: &str) {
        let mut command = self.command("user");
        command.args(["add", name, "--role", role, "--display", name]);
        command.arg("--password-stdin").stdin(Stdio::piped());
        let mut child = command
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(PASSWORD.as_bytes()).await.expect("written");
        drop(input);
        let status = in_time("user add", child.wait()).await.expect("a status");
        assert!(status.success(), "user add {name}");
    }

    /// Makes an invitation to this city's relay.
    pub async fn invite(&self, user: &str, scopes: &[&str]) -> String {
        self.invite_by(self.sync, user, scopes).await
    }

    /// Makes an invitation that names another address (a proxy's) as the relay's.
    pub async fn invite_by(&self, relay: SocketAddr, user: &str, scopes: &[&str]) -> String {
        let mut command = self.command("invite");
        command.args(["--user", user, "--relay", &format!("https://{relay}")]);
        for scope in scopes {
            command.args(["--scope", scope]);
            if let Some(block) = scope.strip_prefix("block:") {
                command.args(["--block", block]);
            }
        }
        let ran = run(&mut command).await;
        assert_eq!(ran.code, Some(0), "invite: {}", ran.err);
        ran.out.trim().to_owned()
    }

    /// Imports a small catalog: agency 1, "Dirección de Alumbrado Público".
    pub async fn catalog(&self) {
        let file = self.path("catalog.json");
        let catalog = r#"{"agencies":[{"id":1,"name":"Dirección de Alumbrado Público"}],
                       "neighborhoods":[{"id":1,"name":"Benito Juárez Norte"}]}"#;
        std::fs::write(&file, catalog).expect("written");
        self.ok("catalog", &[text(&file)]).await;
    }

    /// Revokes a device.
    pub async fn revoke(&self, device: &str) {
        self.ok("revoke", &[device]).await;
    }

    /// The city's database.
    pub fn database(&self) -> PathBuf {
        self.data_dir().join("city.sqlite")
    }
}

impl Drop for City {
    fn drop(&mut self) {
        if let (true, Some(running)) = (std::thread::panicking(), &self.relay) {
            eprintln!("the relay's last words:\n{}", running.log.text());
        }
    }
}

/// Copies what is in a folder, and in its folders.
///
/// # Panics
/// When it cannot be read or written.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a folder") {
        let file = file.expect("a file");
        let to = to.join(file.file_name());
        match file.file_type().expect("a file").is_dir() {
            true => copy_folder(&file.path(), &to),
            false => {
                std::fs::copy(file.path(), &to).expect("copied");
                // Keys that others can read are refused, and git keeps no such modes.
                let private = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&to, private).expect("private");
            }
        }
    }
}

/// A folder as text, for arguments.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a folder of the tests")
}
