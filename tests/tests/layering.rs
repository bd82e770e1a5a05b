//! The layers of the house, held by what cargo itself says about the workspace:
//! arrows point down only, and what a layer must be free of is nowhere below it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// Every crate of the workspace and the crates of the workspace it may name,
/// in whatever section of its manifest. A crate that is not here fails the test.
const LAYERS: &[(&str, &[&str])] = &[
    ("manzana-engine", &[]),
    ("manzana-store", &["manzana-engine"]),
    ("manzana-client", &["manzana-engine", "manzana-store"]),
    (
        "manzana-server",
        &["manzana-engine", "manzana-store", "manzana-client"],
    ),
    // Thin: what it needs of the engine, the client names.
    ("manzana-bindings", &["manzana-client"]),
    ("manzana-bindgen", &[]),
    (
        "manzana-tests",
        &[
            "manzana-engine",
            "manzana-store",
            "manzana-client",
            "manzana-server",
        ],
    ),
    ("manzana-fuzz", &["manzana-engine"]),
];

/// Crates the workspace cannot be without: a rule about something absent proves nothing.
const PRESENT: &[&str] = &[
    "manzana-engine",
    "manzana-store",
    "manzana-client",
    "manzana-bindings",
    "manzana-server",
    "manzana-tests",
];

/// What must not be reachable from a crate through its normal dependencies.
const FREE_OF: &[(&str, &[&str])] = &[
    // Pure: no runtime, no sockets, no disk, no TLS.
    (
        "manzana-engine",
        &[
            "async-trait",
            "axum",
            "futures-util",
            "hyper",
            "libsqlite3-sys",
            "mio",
            "reqwest",
            "ring",
            "rusqlite",
            "rustls",
            "socket2",
            "tempfile",
            "tokio",
            "tungstenite",
        ],
    ),
    // SQLite and nothing of the network; synchronous.
    (
        "manzana-store",
        &[
            "axum",
            "futures-util",
            "hyper",
            "mio",
            "rustls",
            "socket2",
            "tokio",
            "tungstenite",
        ],
    ),
    // A phone carries no server.
    (
        "manzana-client",
        &["axum", "axum-server", "clap", "hyper", "rcgen"],
    ),
    // The same, but for clap: the graph is the whole workspace's, where the generator's UniFFI has it.
    (
        "manzana-bindings",
        &["axum", "axum-server", "hyper", "rcgen"],
    ),
];

/// Outside crates that only some of ours may name, in any section of their manifests.
const RESERVED: &[(&str, &[&str])] = &[
    // Documents are the engine's; the tests forge bad ones, the server's of its gate too.
    (
        "automerge",
        &[
            "manzana-engine",
            "manzana-server",
            "manzana-tests",
            "manzana-fuzz",
        ],
    ),
    (
        "rusqlite",
        &["manzana-store", "manzana-server", "manzana-tests"],
    ),
    // The engine takes time and randomness as arguments, so it names no source of them.
    (
        "getrandom",
        &["manzana-client", "manzana-server", "manzana-tests"],
    ),
    // One door to other languages.
    ("uniffi", &["manzana-bindings", "manzana-bindgen"]),
    ("rand", &["manzana-tests"]),
    ("jiff", &["manzana-server", "manzana-tests"]),
    ("time", &["manzana-server", "manzana-tests"]),
    ("chrono", &[]),
];

/// What `cargo metadata` says, reduced to names.
struct Workspace {
    /// Crates of the workspace and what each names in its manifest, of all kinds.
    named: BTreeMap<String, BTreeSet<String>>,
    /// Every crate of the graph and its normal dependencies, by package id.
    normal: BTreeMap<String, Vec<String>>,
    /// Names by package id.
    name_of: BTreeMap<String, String>,
}

impl Workspace {
    fn read() -> Self {
        let ours = metadata(&["--no-deps"]);
        let named = array(&ours["packages"])
            .iter()
            .map(|package| {
                let dependencies = array(&package["dependencies"]);
                (
                    text(&package["name"]),
                    dependencies.iter().map(|d| text(&d["name"])).collect(),
                )
            })
            .collect();

        let resolved = metadata(&["--filter-platform", &host()]);
        let name_of = array(&resolved["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let normal = array(&resolved["resolve"]["nodes"])
            .iter()
            .map(|node| (text(&node["id"]), normal_dependencies(node)))
            .collect();
        Self {
            named,
            normal,
            name_of,
        }
    }

    /// The names of everything reachable from `name` through normal dependencies.
    fn below(&self, name: &str) -> BTreeSet<String> {
        let start = self
            .name_of
            .iter()
            .find(|(_, n)| *n == name)
            .expect("the crate is resolved")
            .0;
        let mut seen = BTreeSet::from([start]);
        let mut next = vec![start];
        while let Some(id) = next.pop() {
            next.extend(self.normal[id].iter().filter(|id| seen.insert(id)));
        }
        seen.remove(start);
        seen.into_iter()
            .map(|id| self.name_of[id].clone())
            .collect()
    }
}

/// The ids of a node's dependencies of the normal kind (`kind` is null for these).
fn normal_dependencies(node: &Value) -> Vec<String> {
    array(&node["deps"])
        .iter()
        .filter(|dep| {
            array(&dep["dep_kinds"])
                .iter()
                .any(|kind| kind["kind"].is_null())
        })
        .map(|dep| text(&dep["pkg"]))
        .collect()
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON")
}

/// The target triple tests run on; other platforms' crates need not be downloaded.
fn host() -> String {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .expect("rustc runs");
    let said = String::from_utf8(output.stdout).expect("rustc writes UTF-8");
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names it")
        .to_owned()
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a string").to_owned()
}

#[test]
fn every_crate_of_the_workspace_has_its_layer() {
    let workspace = Workspace::read();
    for name in PRESENT {
        assert!(workspace.named.contains_key(*name), "{name} is gone");
    }
    for name in workspace.named.keys() {
        assert!(
            LAYERS.iter().any(|(known, _)| known == name),
            "{name} has no layer in LAYERS"
        );
    }
}

#[test]
fn arrows_between_our_crates_point_down_only() {
    let workspace = Workspace::read();
    let mut arrows = 0;
    for (name, may_name) in LAYERS {
        let Some(named) = workspace.named.get(*name) else {
            continue;
        };
        for ours in named
            .iter()
            .filter(|dependency| dependency.starts_with("manzana-"))
        {
            assert!(
                may_name.contains(&ours.as_str()),
                "{name} must not depend on {ours}"
            );
            arrows += 1;
        }
    }
    assert!(
        arrows >= 6,
        "only {arrows} arrows found: is this still the workspace?"
    );
}

#[test]
fn layers_are_free_of_what_belongs_above_them() {
    let workspace = Workspace::read();
    for (name, forbidden) in FREE_OF {
        let below = workspace.below(name);
        assert!(
            below.contains("automerge"),
            "{name} stands on automerge: is the graph whole?"
        );
        let found: Vec<_> = forbidden.iter().filter(|f| below.contains(**f)).collect();
        assert!(
            found.is_empty(),
            "{name} reaches {found:?}; see: cargo tree -p {name} -i <crate>"
        );
    }
    // The names of the rule are real: the server reaches nearly all of them.
    let server = workspace.below("manzana-server");
    for real in [
        "axum",
        "hyper",
        "libsqlite3-sys",
        "mio",
        "ring",
        "rustls",
        "socket2",
        "tokio",
    ] {
        assert!(
            server.contains(real),
            "{real} is not in the graph: the rule finds no subject"
        );
    }
}

#[test]
fn reserved_crates_are_named_by_their_owners_only() {
    let workspace = Workspace::read();
    let mut subjects = 0;
    for (reserved, owners) in RESERVED {
        for (name, _) in workspace
            .named
            .iter()
            .filter(|(_, named)| named.contains(*reserved))
        {
            assert!(
                owners.contains(&name.as_str()),
                "{name} must not name {reserved}"
            );
            subjects += 1;
        }
    }
    assert!(
        subjects >= 4,
        "only {subjects} uses of reserved crates found"
    );
}

#[test]
fn the_server_names_automerge_in_its_tests_only() {
    let metadata = metadata(&["--no-deps"]);
    let kinds: Vec<_> = array(&metadata["packages"])
        .iter()
        .filter(|package| text(&package["name"]) == "manzana-server")
        .flat_map(|package| array(&package["dependencies"]))
        .filter(|dependency| text(&dependency["name"]) == "automerge")
        .map(|dependency| dependency["kind"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(kinds, [Some("dev".to_owned())]);
}

/// The app's door to the client is one file: screens and presenters never see generated code.
#[test]
fn one_kotlin_file_names_the_bindings() {
    let mobile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mobile");
    let mut naming = Vec::new();
    let mut folders = vec![mobile.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "kt") {
                let source = std::fs::read_to_string(&path).expect("a source is UTF-8");
                naming.extend(source.contains("mx.manzana.bindings").then_some(path));
            }
        }
    }
    let only = mobile.join("core/src/main/kotlin/mx/manzana/core/RustPhone.kt");
    assert_eq!(naming, [only]);
}
