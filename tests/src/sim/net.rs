//! The wire between one phone and the relay: a pair of message queues with every misery on them.
//!
//! A real session is one TLS stream, where nothing is lost, doubled or reordered before the cut. The
//! miseries here are stronger on purpose: what holds under them does not lean on the transport.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::dice::Dice;
use super::knobs::Knobs;
use axum::extract::ws::Message;
use bytes::Bytes;
use futures_util::{Sink, Stream};

/// Messages that the relay may have under way to one phone before it must wait.
const WINDOW: usize = 64;

#[derive(Debug, Default)]
struct Pipe {
    up: VecDeque<Message>,
    down: VecDeque<Message>,
    up_closed: bool,
    down_closed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Pipe {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The relay's end.
#[derive(Debug)]
pub(super) struct RelayEnd(Arc<Mutex<Pipe>>);

impl Drop for RelayEnd {
    fn drop(&mut self) {
        lock(&self.0).down_closed = true;
    }
}

impl Stream for RelayEnd {
    type Item = Result<Message, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut pipe = lock(&self.0);
        match pipe.up.pop_front() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            None if pipe.up_closed => Poll::Ready(None),
            None => {
                pipe.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sink<Message> for RelayEnd {
    type Error = axum::Error;

    fn poll_ready(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), axum::Error>> {
        let mut pipe = lock(&self.0);
        if pipe.up_closed {
            return Poll::Ready(Err(axum::Error::new(std::io::Error::from(
                std::io::ErrorKind::BrokenPipe,
            ))));
        }
        if pipe.down.len() < WINDOW {
            return Poll::Ready(Ok(()));
        }
        pipe.writer = Some(context.waker().clone());
        Poll::Pending
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), axum::Error> {
        lock(&self.0).down.push_back(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), axum::Error>> {
        lock(&self.0).down_closed = true;
        Poll::Ready(Ok(()))
    }
}

/// A frame on its way, and the round in which it arrives.
#[derive(Debug)]
struct Flying {
    due: u64,
    bytes: Bytes,
}

/// One direction.
#[derive(Debug, Default)]
struct Wire(VecDeque<Flying>);

impl Wire {
    /// Puts a frame on the wire: lost, doubled, overtaken or late as the knobs and the dice say.
    fn put(&mut self, bytes: Bytes, now: u64, knobs: &Knobs, dice: &mut Dice) {
        if dice.chance(knobs.loss) {
            return;
        }
        let copies = 1 + u32::from(dice.chance(knobs.duplication));
        for _ in 0..copies {
            let due = now + dice.upto(knobs.delay_rounds);
            let flying = Flying {
                due,
                bytes: bytes.clone(),
            };
            // Without reordering a late frame holds back those behind it, as a stream does.
            match self.0.len() {
                len @ 1.. if dice.chance(knobs.reorder) => {
                    self.0.insert(len - 1, flying);
                }
                _ => self.0.push_back(flying),
            }
        }
    }

    fn take_due(&mut self, now: u64) -> Option<Bytes> {
        if self.0.front()?.due > now {
            return None;
        }
        self.0.pop_front().map(|flying| flying.bytes)
    }
}

/// The phone's end, and the wires to the relay.
#[derive(Debug)]
pub(super) struct Link {
    pipe: Arc<Mutex<Pipe>>,
    up: Wire,
    down: Wire,
    /// The phone reads nothing while this lasts.
    pub(super) stalled: u64,
}

impl Link {
    /// A link, and the end that the relay is given.
    pub(super) fn new() -> (Self, RelayEnd) {
        let pipe = Arc::new(Mutex::new(Pipe::default()));
        let link = Self {
            pipe: Arc::clone(&pipe),
            up: Wire::default(),
            down: Wire::default(),
            stalled: 0,
        };
        (link, RelayEnd(pipe))
    }

    /// The phone says something.
    pub(super) fn say(&mut self, bytes: Vec<u8>, now: u64, knobs: &Knobs, dice: &mut Dice) {
        self.up.put(bytes.into(), now, knobs, dice);
    }

    /// What is due goes into the relay. Gives the number of frames.
    pub(super) fn carry_up(&mut self, now: u64) -> usize {
        let mut moved = 0;
        let mut pipe = lock(&self.pipe);
        while let Some(bytes) = self.up.take_due(now) {
            pipe.up.push_back(Message::Binary(bytes));
            moved += 1;
        }
        if moved > 0 {
            pipe.wake();
        }
        moved
    }

    /// What the relay said goes onto the wire, unless the phone takes nothing.
    pub(super) fn fetch(&mut self, now: u64, knobs: &Knobs, dice: &mut Dice) -> usize {
        if self.stalled > now {
            return 0;
        }
        let messages: Vec<Message> = {
            let mut pipe = lock(&self.pipe);
            pipe.wake();
            pipe.down.drain(..).collect()
        };
        let mut moved = 0;
        for message in messages {
            if let Message::Binary(bytes) = message {
                self.down.put(bytes, now, knobs, dice);
                moved += 1;
            }
        }
        moved
    }

    /// The next frame that reaches the phone.
    pub(super) fn hear(&mut self, now: u64) -> Option<Bytes> {
        self.down.take_due(now)
    }

    /// Whether the relay hung up and everything it said has arrived or is lost.
    pub(super) fn is_over(&self) -> bool {
        let pipe = lock(&self.pipe);
        pipe.down_closed && pipe.down.is_empty() && self.down.0.is_empty()
    }

    /// Whether nothing is on its way.
    pub(super) fn is_quiet(&self) -> bool {
        let pipe = lock(&self.pipe);
        pipe.up.is_empty() && pipe.down.is_empty() && self.up.0.is_empty() && self.down.0.is_empty()
    }
}

impl Drop for Link {
    /// The connection is cut: the relay reads the end, and cannot write.
    fn drop(&mut self) {
        let mut pipe = lock(&self.pipe);
        pipe.up_closed = true;
        pipe.wake();
    }
}
