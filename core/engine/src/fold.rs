//! stub
use minicbor::{Decode, Encode};
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[allow(missing_docs)]
pub enum EventKind {
    #[n(0)]
    Recorded,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[allow(missing_docs)]
pub enum Outcome {
    #[n(0)]
    Done,
    #[n(1)]
    NotApplicable,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
#[allow(missing_docs)]
pub enum Status {
    #[n(0)]
    Pending,
    #[n(1)]
    Referred,
    #[n(2)]
    InProgress,
    #[n(3)]
    Done,
    #[n(4)]
    NotApplicable,
}
