//! Starts the shell on free ports and stops it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use manzana_server::clock::{Clock, ManualClock, SystemClock};
use manzana_server::config::Config;
use manzana_server::metrics::Metrics;
use manzana_server::serve::{self, Listeners, Parts, ServeError};
use manzana_server::tls::CityRoot;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::desk::FakeDesk;

pub(crate) struct Server {
    pub(crate) desk: Arc<FakeDesk>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) root: Arc<CityRoot>,
    pub(crate) console: SocketAddr,
    pub(crate) sync: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), ServeError>>,
    _data: tempfile::TempDir,
}

/// A configuration for tests: free ports, quick checks.
pub(crate) fn config(data: &tempfile::TempDir) -> Config {
    let mut config = Config {
        data_dir: data.path().to_owned(),
        sync_listen: "127.0.0.1:0".parse().unwrap(),
        console_listen: "127.0.0.1:0".parse().unwrap(),
        ..Config::default()
    };
    config.limits.session_check_ms = 20;
    config
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = config(&data);
        change(&mut config);
        config.validate().unwrap();
        let listeners = Listeners::bind(&config).await.unwrap();
        let (sync, console) = (
            listeners.sync_address().unwrap(),
            listeners.console_address().unwrap(),
        );
        let desk = Arc::new(FakeDesk::new());
        let clock = Arc::new(ManualClock::at(SystemClock.now_ms()));
        let metrics = Arc::new(Metrics::default());
        let root = Arc::new(CityRoot::open(&serve::keys_dir(&config)).unwrap());
        let parts = Parts {
            config: Arc::new(config),
            desk: desk.clone(),
            sync_router: Router::new().route("/v1/sync", get(upgrade)),
            root: root.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        };
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(serve::run(listeners, parts, async {
            let _ = stopped.await;
        }));
        Self {
            desk,
            clock,
            metrics,
            root,
            console,
            sync,
            stop,
            running,
            _data: data,
        }
    }

    /// A browser that has not signed in.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.console)
    }

    /// A browser in which this user is signed in.
    pub(crate) async fn signed_in(&self, user: &str) -> Client {
        let mut client = self.client();
        let reply = client.sign_in(user, crate::desk::PASSWORD).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        client
    }

    pub(crate) async fn stop(self) -> Result<(), ServeError> {
        let _ = self.stop.send(());
        self.running.await.unwrap()
    }
}

async fn upgrade(upgrade: WebSocketUpgrade) -> axum::response::Response {
    upgrade.on_upgrade(|mut socket| async move {
        let _ = socket.send("hola".into()).await;
    })
}
