//! Makes sure the folder of the built console exists, so that a build without
//! Node succeeds (the server then says that its console was not built), and has
//! cargo notice when the console is built later.

fn main() {
    // A read-only source tree is no error: the embedding allows the folder to be missing.
    let _ = std::fs::create_dir_all("console/dist");
    println!("cargo:rerun-if-changed=console/dist");
}
