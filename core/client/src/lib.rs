//! The device runtime.
#![forbid(unsafe_code)]
mod invitation;
pub use invitation::{Invitation, InvitationError, RelayUrl};
