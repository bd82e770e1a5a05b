//! The pure core: documents, state, policy, envelopes and sync machines, without any IO

pub mod gate;
pub mod limits;
