//! Runs the relay's two listeners until told to stop.
//!
//! ```text
//! devices  ── TLS ──────────────► sync_listen ──► sync router (the relay core) + /healthz
//! browsers ── HTTP on loopback ─► console_listen ─► http::router ──► Desk (the relay core)
//! ```
//! [`Listeners::bind`] first, so that a taken port is told before anything starts; then
//! [`run`], which returns once every connection has ended or the deadline has passed.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use tokio::sync::watch;

use crate::admission::Intake;
use crate::auth::AuthError;
use crate::clock::Clock;
use crate::config::Config;
use crate::desk::Desk;
use crate::http::{self, Origins, Shell};
use crate::metrics::{Listener, Metrics};
use crate::tls::{CertificateSource, CityRoot, TlsError};

/// How long a peer may take for a TLS handshake or the head of a request.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes; also what hyper may buffer of a connection.
const HEAD_BYTES: usize = 32 << 10;
/// Connections the system holds until we take them; a city's phones reconnect at once.
const BACKLOG: u32 = 1_024;
/// What the system may hold of a connection that is not read, bytes (Linux takes twice that): 1.3 MB a
/// second at 100 ms to the other end and back.
const SEND_BUFFER: u32 = 128 << 10;
/// How often certificates are looked at.
const RENEW_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// How often sessions that ended by themselves are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Why the relay does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener could not be opened.
    #[error("cannot listen on {address} ({key}): {reason}; choose another with --{flag} HOST:PORT, {variable} or {key} in the configuration file", flag = key.replace('_', "-"), variable = format_args!("MANZANA_{}", key.to_uppercase()))]
    Bind {
        /// The configuration key of the listener.
        key: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What is wrong, in words.
        reason: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no usable certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Sign-in cannot work.
    #[error("sign-in: {0}")]
    Auth(#[from] AuthError),
    /// A listener failed while serving.
    #[error("listener: {0}")]
    Io(#[from] io::Error),
}

/// The two open listeners.
#[derive(Debug)]
pub struct Listeners {
    sync: TcpListener,
    console: TcpListener,
}

impl Listeners {
    /// Opens both, or says in words why one cannot be.
    pub async fn bind(config: &Config) -> Result<Self, ServeError> {
        Ok(Self {
            sync: bind("sync_listen", config.sync_listen)?,
            console: bind("console_listen", config.console_listen)?,
        })
    }

    /// Where devices connect, its port as given by the system if 0 was asked for.
    pub fn sync_address(&self) -> io::Result<SocketAddr> {
        self.sync.local_addr()
    }

    /// Where browsers connect.
    pub fn console_address(&self) -> io::Result<SocketAddr> {
        self.console.local_addr()
    }
}

fn bind(key: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    open(address).map_err(|source| {
        let reason = match source.kind() {
            io::ErrorKind::AddrInUse => "the port is taken by another program".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not use that port".to_owned(),
            io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => source.to_string(),
        };
        ServeError::Bind {
            key,
            address,
            reason,
            source,
        }
    })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    // Inherited by each connection. Without it the system holds up to 4 MiB for one that reads nothing.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    // Connections of a relay that just stopped do not hold the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}

/// What [`run`] serves.
pub struct Parts {
    /// The validated configuration.
    pub config: Arc<Config>,
    /// The relay core, as the console sees it.
    pub desk: Arc<dyn Desk>,
    /// The relay core, as devices see it; its requests carry `ConnectInfo<SocketAddr>`.
    pub sync_router: Router,
    /// The city's root, from [`CityRoot::open`] in [`keys_dir`].
    pub root: Arc<CityRoot>,
    /// Where everything registers its metrics.
    pub metrics: Arc<Metrics>,
    /// Says what time it is.
    pub clock: Arc<dyn Clock>,
}

/// The folder of the city's keys.
#[must_use]
pub fn keys_dir(config: &Config) -> PathBuf {
    config.data_dir.join("keys")
}

/// Serves until `shutdown` is ready, then lets open requests end within the configured
/// time. WebSockets are the sync router's own to close.
pub async fn run(
    listeners: Listeners,
    parts: Parts,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let origins = Origins::new(&parts.config, listeners.console_address()?);
    let shell = Arc::new(Shell::new(
        parts.desk.clone(),
        parts.clock.clone(),
        parts.config.clone(),
        parts.metrics.clone(),
        origins,
        stopping,
    )?);
    let handle = Handle::new();
    let sync = sync_server(&parts, listeners.sync, handle.clone())?;
    let console = console_server(&parts, shell.clone(), listeners.console, handle.clone())?;
    let chores = tokio::spawn(sweep(shell));
    let served = async { tokio::try_join!(sync, console).map(|_| ()) };
    tokio::pin!(served);
    let result = tokio::select! {
        result = &mut served => result,
        () = shutdown => {
            tracing::info!("stopping");
            // Event streams end by themselves once they see this.
            stop.send_replace(true);
            handle.graceful_shutdown(Some(Duration::from_secs(parts.config.limits.shutdown_seconds)));
            served.await
        }
    };
    chores.abort();
    Ok(result?)
}

type Served = std::pin::Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

fn sync_server(
    parts: &Parts,
    listener: TcpListener,
    handle: Handle<SocketAddr>,
) -> Result<Served, ServeError> {
    let config = &parts.config;
    let source = match (&config.tls.certificate, &config.tls.key) {
        (Some(certificate), Some(key)) => CertificateSource::Given {
            certificate: certificate.clone(),
            key: key.clone(),
        },
        _ => CertificateSource::Own {
            root: parts.root.clone(),
            keys_dir: keys_dir(config),
            names: config.tls.names.clone(),
        },
    };
    let places = config.limits.sync_connections;
    let intake = Intake::new(Listener::Sync, places, parts.metrics.clone());
    let router = parts
        .sync_router
        .clone()
        .route("/healthz", get(http::alive));
    over_tls(parts, source, listener, handle, intake, router)
}

fn console_server(
    parts: &Parts,
    shell: Arc<Shell>,
    listener: TcpListener,
    handle: Handle<SocketAddr>,
) -> Result<Served, ServeError> {
    let config = &parts.config;
    let places = config.limits.console_connections;
    let intake = Intake::new(Listener::Console, places, parts.metrics.clone());
    let router = http::router(shell);
    if let (Some(certificate), Some(key)) = (&config.console.certificate, &config.console.key) {
        let source = CertificateSource::Given {
            certificate: certificate.clone(),
            key: key.clone(),
        };
        return over_tls(parts, source, listener, handle, intake, router);
    }
    let server = tuned(axum_server::from_tcp(listener)?)
        .handle(handle)
        .acceptor(intake);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    Ok(Box::pin(server.serve(service)))
}

fn over_tls(
    parts: &Parts,
    source: CertificateSource,
    listener: TcpListener,
    handle: Handle<SocketAddr>,
    intake: Intake,
    router: Router,
) -> Result<Served, ServeError> {
    let tls = RustlsConfig::from_config(source.load(parts.clock.now_ms())?);
    let acceptor = RustlsAcceptor::new(tls.clone())
        .handshake_timeout(HEAD_WAIT)
        .acceptor(intake);
    let server = tuned(axum_server::from_tcp(listener)?)
        .handle(handle)
        .acceptor(acceptor);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let clock = parts.clock.clone();
    Ok(Box::pin(async move {
        tokio::select! {
            result = server.serve(service) => result,
            never = renew(source, clock, tls) => match never {},
        }
    }))
}

/// HTTP/1.1 only, with bounded heads that arrive in time. (`Server::http1_only` would
/// switch upgrades off, and with them WebSockets.)
fn tuned(mut server: axum_server::Server<SocketAddr>) -> axum_server::Server<SocketAddr> {
    let builder = server.http_builder();
    *builder = builder.clone().http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT)
        .max_buf_size(HEAD_BYTES);
    server.first_request_timeout(HEAD_WAIT)
}

/// Looks after a certificate; one that cannot be renewed is kept and complained about.
async fn renew(
    source: CertificateSource,
    clock: Arc<dyn Clock>,
    tls: RustlsConfig,
) -> std::convert::Infallible {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        match source.load(clock.now_ms()) {
            Ok(config) => tls.reload_from_config(config),
            Err(error) => tracing::error!(%error, "the certificate could not be renewed"),
        }
    }
}

async fn sweep(shell: Arc<Shell>) {
    loop {
        if let Err(error) = shell.auth.sweep().await {
            tracing::warn!(%error, "old sessions could not be forgotten");
        }
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}
