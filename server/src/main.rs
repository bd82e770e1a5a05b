//! The `manzana` command.
fn main() {}
