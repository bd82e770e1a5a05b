//! The state of the connection, as a screen needs it, and what went over it.

use std::sync::atomic::{AtomicU64, Ordering};

/// The state of the connection. No words: each client has its own catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Connection {
    /// Nobody asked to sync.
    #[default]
    Stopped,
    /// The relay cannot be reached; the next attempt comes by itself.
    Offline,
    /// An attempt is under way.
    Connecting,
    /// The relay has greeted this device.
    Online,
    /// The relay does not let this device in: tried again seldom, after a revocation not at all.
    Refused,
    /// What answers is not vouched for by the city's root (or is a captive portal with TLS).
    Untrusted,
}

impl Connection {
    /// The name in files and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Offline => "offline",
            Self::Connecting => "connecting",
            Self::Online => "online",
            Self::Refused => "refused",
            Self::Untrusted => "untrusted",
        }
    }
}

/// Bytes of frames since the client was opened.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    up: AtomicU64,
    down: AtomicU64,
}

impl Traffic {
    pub(crate) fn sent(&self, bytes: usize) {
        self.up.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.down.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Up, down.
    pub(crate) fn read(&self) -> (u64, u64) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (read(&self.up), read(&self.down))
    }
}
