//! What the relay counts, for Prometheus. Labels are patterns and outcomes, never people.

use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Upper bounds of the request duration buckets, in seconds.
const DURATION_BUCKETS: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// Which listener a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Listener {
    /// The one for devices.
    Sync,
    /// The one for browsers.
    Console,
}

/// How a sign-in ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum SignIn {
    /// A session was made.
    Granted,
    /// User or password were wrong.
    Refused,
    /// Too many attempts.
    Limited,
}

/// Label of a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ListenerLabel {
    /// The listener.
    pub listener: Listener,
}

/// Label of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SignInLabel {
    /// Its outcome.
    pub outcome: SignIn,
}

/// Labels of a finished request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabel {
    /// The route's pattern, or `none`.
    pub route: String,
    /// Status code.
    pub status: u16,
}

/// The shell's counters and the registry that everything else registers in.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Requests by route and status.
    pub requests: Family<RequestLabel, Counter>,
    /// Seconds a request took.
    pub request_seconds: Histogram,
    /// Open connections by listener.
    pub connections: Family<ListenerLabel, Gauge>,
    /// Connections turned away because the listener was full.
    pub connections_refused: Family<ListenerLabel, Counter>,
    /// Sign-ins by outcome.
    pub sign_ins: Family<SignInLabel, Counter>,
    /// Open event streams.
    pub sse_streams: Gauge,
    /// Rows sent on event streams.
    pub sse_rows: Counter<u64, AtomicU64>,
    /// Times a stream was told to reload.
    pub sse_resyncs: Counter,
    /// Times a stream fell behind the live rows and read them again.
    pub sse_lags: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("manzana")),
            requests: Family::default(),
            request_seconds: Histogram::new(DURATION_BUCKETS),
            connections: Family::default(),
            connections_refused: Family::default(),
            sign_ins: Family::default(),
            sse_streams: Gauge::default(),
            sse_rows: Counter::default(),
            sse_resyncs: Counter::default(),
            sse_lags: Counter::default(),
        };
        metrics.register(|registry| metrics.register_own(registry));
        metrics
    }
}

impl Metrics {
    /// Lets another part of the relay register its own metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Counts a finished request.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        let label = RequestLabel {
            route: route.to_owned(),
            status,
        };
        self.requests.get_or_create(&label).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts a sign-in.
    pub fn sign_in(&self, outcome: SignIn) {
        self.sign_ins.get_or_create(&SignInLabel { outcome }).inc();
    }

    /// Everything in the text format of Prometheus.
    #[must_use]
    pub fn encode(&self) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    fn register_own(&self, registry: &mut Registry) {
        registry.register("http_requests", "Finished requests", self.requests.clone());
        registry.register(
            "http_request_seconds",
            "Time a request took",
            self.request_seconds.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_refused",
            "Connections turned away because the listener was full",
            self.connections_refused.clone(),
        );
        registry.register("sign_ins", "Sign-ins by outcome", self.sign_ins.clone());
        registry.register(
            "sse_streams",
            "Open event streams",
            self.sse_streams.clone(),
        );
        registry.register(
            "sse_rows",
            "Rows sent on event streams",
            self.sse_rows.clone(),
        );
        registry.register(
            "sse_resyncs",
            "Streams told to reload",
            self.sse_resyncs.clone(),
        );
        registry.register(
            "sse_lags",
            "Streams that fell behind",
            self.sse_lags.clone(),
        );
    }
}
