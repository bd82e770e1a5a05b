//! The relay's end of a session, and its way of one envelope, as far as they are pure.
//!
//! [`Session`] is a machine without IO: frames and log rows go in, frames and requests for data come
//! out; the relay's driver moves bytes and asks the storage. [`intake`] plans the judging of a batch.

pub mod intake;
mod session;
mod taking_back;

pub use session::{
    Ask, ChainEnd, LogPlace, LogRowView, MEND_AT_ONCE, Move, Need, Opening, Session, SessionError,
    Sight, log_frames, pack_segment,
};
