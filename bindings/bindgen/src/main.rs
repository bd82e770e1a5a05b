//! `uniffi-bindgen`, of the version that `manzana-bindings` is built with. A crate of its own, so that
//! the library for phones has no command line in it.
#![forbid(unsafe_code)]

fn main() {
    uniffi::uniffi_bindgen_main();
}
