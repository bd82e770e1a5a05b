//! CBOR in and out: whole values, nothing after them.

use minicbor::{Decode, Encode};

/// Bytes that are not the value they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed CBOR")]
pub struct CodecError;

/// Encodes a value; writing into memory cannot fail.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // `Vec` as a writer has no error of its own and our types refuse nothing.
    #[allow(clippy::expect_used)]
    minicbor::encode(value, &mut out).expect("encoding into memory");
    out
}

/// Decodes a value that takes up all of `bytes`.
pub fn decode<'b, T: Decode<'b, ()>>(bytes: &'b [u8]) -> Result<T, CodecError> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let value = decoder.decode().map_err(|_| CodecError)?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err(CodecError)
    }
}
