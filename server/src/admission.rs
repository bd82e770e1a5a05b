//! How a listener takes connections in: so many and no more, and none that stands still.
//!
//! The bound is taken before the TLS handshake, and kept as long as the socket lives,
//! upgraded ones included. A peer that stops reading while we have something to say is
//! cut off, since no timeout of HTTP covers that.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use crate::metrics::{Listener, ListenerLabel, Metrics};

/// How long a peer may leave what we write unread.
const STALL: Duration = Duration::from_secs(20);

/// Admits a bounded number of connections.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    places: Arc<Semaphore>,
    label: ListenerLabel,
    metrics: Arc<Metrics>,
}

impl Intake {
    pub(crate) fn new(listener: Listener, places: usize, metrics: Arc<Metrics>) -> Self {
        let label = ListenerLabel { listener };
        Self {
            places: Arc::new(Semaphore::new(places)),
            label,
            metrics,
        }
    }

    fn admit(&self, stream: TcpStream) -> io::Result<Admitted> {
        let Ok(permit) = self.places.clone().try_acquire_owned() else {
            self.metrics
                .connections_refused
                .get_or_create(&self.label)
                .inc();
            return Err(io::Error::other("too many connections"));
        };
        stream.set_nodelay(true)?;
        self.metrics.connections.get_or_create(&self.label).inc();
        let counted = Counted {
            intake: self.clone(),
            _permit: permit,
        };
        Ok(Admitted {
            stream,
            stall: None,
            _counted: counted,
        })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for Intake {
    type Stream = Admitted;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Admitted, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        std::future::ready(self.admit(stream).map(|stream| (stream, service)))
    }
}

#[derive(Debug)]
struct Counted {
    intake: Intake,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.intake
            .metrics
            .connections
            .get_or_create(&self.intake.label)
            .dec();
    }
}

/// A connection that holds its place and may not stand still.
#[derive(Debug)]
pub(crate) struct Admitted {
    stream: TcpStream,
    /// Runs while a write waits for the peer.
    stall: Option<Pin<Box<Sleep>>>,
    _counted: Counted,
}

impl Admitted {
    /// Passes a write's outcome on, unless it has been waiting for too long.
    fn unless_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.unless_stalled(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.unless_stalled(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
