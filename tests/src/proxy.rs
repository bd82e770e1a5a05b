//! A network between device and relay that does harm. TLS goes through whole, so it can cut, delay or
//! swallow bytes, and nothing finer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything passes.
    Fair,
    /// A thin line: every KiB waits this long, in both directions.
    Slow(Duration),
    /// Bytes to the relay pass; what comes back is swallowed.
    Deaf,
    /// What the relay says passes; nothing is taken from the device, whose buffers fill.
    Mute,
    /// A connection is cut once so many more bytes have passed in either direction: in the middle of
    /// whatever they were.
    CutAfter(usize),
    /// Connections are cut and new ones are closed at once.
    Down,
}

/// A proxy; it ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    passed: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    up: AtomicU64,
    down: AtomicU64,
    swallowed: AtomicU64,
    cuts: AtomicU64,
}

impl Proxy {
    /// Listens on a free port, in front of `target`, in fair weather.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (weather, looks) = watch::channel(Weather::Fair);
        let passed = Arc::new(Counts::default());
        let task = tokio::spawn(accept(listener, target, looks, Arc::clone(&passed)));
        Self {
            address,
            weather,
            passed,
            task,
        }
    }

    /// Where devices connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the weather, for connections that are open too.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Bytes passed on to the relay.
    pub fn up(&self) -> u64 {
        self.passed.up.load(Ordering::SeqCst)
    }

    /// Bytes passed on to devices.
    pub fn down(&self) -> u64 {
        self.passed.down.load(Ordering::SeqCst)
    }

    /// Bytes of the relay that no device was given.
    pub fn swallowed(&self) -> u64 {
        self.passed.swallowed.load(Ordering::SeqCst)
    }

    /// Connections that the weather cut, and those that it did not let come to be.
    pub fn cuts(&self) -> u64 {
        self.passed.cuts.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.weather.send_replace(Weather::Down);
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    passed: Arc<Counts>,
) {
    while let Ok((device, _)) = listener.accept().await {
        if *weather.borrow() == Weather::Down {
            passed.cuts.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        tokio::spawn(join(device, target, weather.clone(), Arc::clone(&passed)));
    }
}

async fn join(
    device: TcpStream,
    target: SocketAddr,
    weather: watch::Receiver<Weather>,
    passed: Arc<Counts>,
) {
    let Ok(relay) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (device.set_nodelay(true), relay.set_nodelay(true));
    let (from_device, to_device) = device.into_split();
    let (from_relay, to_relay) = relay.into_split();
    let mut looks = weather.clone();
    let cut = tokio::select! {
        cut = pass(from_device, to_relay, weather.clone(), &passed, true) => cut,
        cut = pass(from_relay, to_device, weather, &passed, false) => cut,
        _ = looks.wait_for(|now| *now == Weather::Down) => true,
    };
    passed.cuts.fetch_add(u64::from(cut), Ordering::SeqCst);
}

/// Passes bytes on until either end is done (`false`) or the weather cuts the connection.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    passed: &Counts,
    upward: bool,
) -> bool {
    let mut buffer = vec![0; 16 << 10];
    // What passed since the weather was first seen to be `CutAfter`.
    let mut under = 0;
    loop {
        if upward && weather.wait_for(|now| *now != Weather::Mute).await.is_err() {
            return false;
        }
        let piece = match *weather.borrow() {
            Weather::Slow(_) => &mut buffer[..1 << 10],
            _ => &mut buffer[..],
        };
        let Ok(read @ 1..) = from.read(piece).await else {
            return false;
        };
        let now = *weather.borrow();
        if let Weather::Slow(wait) = now {
            tokio::time::sleep(wait).await;
        }
        if now == Weather::Deaf && !upward {
            passed.swallowed.fetch_add(read as u64, Ordering::SeqCst);
            continue;
        }
        let mut bytes = &buffer[..read];
        under = match now {
            Weather::CutAfter(limit) => {
                bytes = &bytes[..read.min(limit.saturating_sub(under))];
                under + bytes.len()
            }
            _ => 0,
        };
        let count = if upward { &passed.up } else { &passed.down };
        count.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        if to.write_all(bytes).await.is_err() {
            return false;
        }
        if bytes.len() < read {
            return true;
        }
    }
}
