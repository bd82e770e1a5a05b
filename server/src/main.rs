//! The `manzana` command.
fn main() {}
#![forbid(unsafe_code)]
