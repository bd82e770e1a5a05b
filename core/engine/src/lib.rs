//! The pure core: documents, state, policy, envelopes and sync machines, without any IO
