//! The gate: what stands between bytes from outside and Automerge.
//!
//! Automerge is not safe on untrusted bytes: a valid chunk of a hundred bytes can take gigabytes,
//! and a damaged one can panic long after it was accepted. So a change is first read by our own
//! bounded decoder ([`chunk`]) and compared with the document it is meant for ([`fit`]), on the relay
//! and on the phone alike, and only then applied: by [`judge`], which on the relay runs in a worker
//! process of its own. A whole document, which only phones are handed, is walked by a decoder of its
//! own ([`whole`]) that knows nothing but what [`judge`] lets into documents.

pub mod caps;
pub mod chunk;
mod columns;
pub mod fit;
pub mod judge;
mod ops;
mod reader;
pub mod takeover;
pub mod whole;
