//! What every file of the tree owes its reader: it says what it is, it stays small,
//! and no check is switched off in it.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// A file longer than this is split by responsibility. Unit: lines.
const MAX_LINES: usize = 1_000;

/// Folders that hold nothing written by us.
const NOT_OURS: &[&str] = &["target", "node_modules", "dist", "generated"];

/// One kind of source file and how its first line may begin.
struct Kind {
    extensions: &'static [&'static str],
    openings: &'static [&'static str],
}

const KINDS: &[Kind] = &[
    Kind {
        extensions: &["rs"],
        openings: &["//!"],
    },
    Kind {
        extensions: &["ts", "js", "mjs", "kt", "swift"],
        openings: &["//", "/*"],
    },
    Kind {
        extensions: &["svelte", "html"],
        openings: &["<!--", "<!doctype", "<!DOCTYPE"],
    },
    Kind {
        extensions: &["css"],
        openings: &["/*"],
    },
    Kind {
        extensions: &["sql"],
        openings: &["--"],
    },
    Kind {
        extensions: &["py"],
        openings: &["\"\"\"", "#"],
    },
    Kind {
        extensions: &["cddl"],
        openings: &[";"],
    },
    Kind {
        extensions: &["sh"],
        openings: &["#"],
    },
];

/// One source file: its path from the root, its text, and what it must look like.
struct Source {
    path: PathBuf,
    text: String,
    kind: &'static Kind,
}

impl Source {
    fn is(&self, extension: &str) -> bool {
        self.kind.extensions.contains(&extension)
    }

    /// The first line that can say what the file is: the one after an interpreter line.
    fn opening(&self) -> &str {
        let mut lines = self.text.lines().skip_while(|line| is_shebang(line));
        lines.next().unwrap_or_default()
    }

    fn says_what_it_is(&self) -> bool {
        self.kind
            .openings
            .iter()
            .any(|opening| self.opening().starts_with(opening))
    }

    /// The root file of a library or a program.
    fn is_crate_root(&self) -> bool {
        self.path.ends_with("src/lib.rs") || self.path.ends_with("src/main.rs")
    }

    fn contains_any(&self, needles: &[String]) -> bool {
        needles.iter().any(|needle| self.text.contains(needle))
    }
}

/// `#!/bin/sh` is one, Rust's `#![…]` is none.
fn is_shebang(line: &str) -> bool {
    line.starts_with("#!/")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ is in the root")
        .to_owned()
}

/// Every source file of the tree.
fn sources() -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() {
                folders.extend(is_ours(&path).then_some(path));
            } else if let Some((kind, text)) = read(&path) {
                let path = path
                    .strip_prefix(&root)
                    .expect("it is below the root")
                    .to_owned();
                found.push(Source { path, text, kind });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Whether to look into a folder: not built, not fetched, not hidden (except `.ci`).
fn is_ours(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let built = NOT_OURS.contains(&&*name) || folder.join("CACHEDIR.TAG").exists();
    !built && (name == ".ci" || !name.starts_with('.'))
}

/// A file's kind and text when it is a source: by extension, else by a `#!…sh` line.
fn read(path: &Path) -> Option<(&'static Kind, String)> {
    let of = |extension: &str| {
        KINDS
            .iter()
            .find(|kind| kind.extensions.contains(&extension))
    };
    if let Some(extension) = path.extension() {
        let kind = of(extension.to_str()?)?;
        return Some((kind, fs::read_to_string(path).expect("a source is UTF-8")));
    }
    let text = fs::read_to_string(path).ok()?;
    let first = text.lines().next()?;
    let kind = of("sh").filter(|_| is_shebang(first) && first.ends_with("sh"))?;
    Some((kind, text))
}

/// Fails when `rule` is broken, with the paths of the files that break it.
#[track_caller]
fn nobody_breaks<'a>(rule: &str, broken_by: impl Iterator<Item = &'a Source>) {
    let paths: Vec<_> = broken_by
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(paths.is_empty(), "{rule}:\n  {}", paths.join("\n  "));
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let sources = sources();
    assert!(
        sources.iter().filter(|s| s.is("rs")).count() >= 8,
        "where is the Rust?"
    );
    assert!(
        sources.iter().filter(|s| s.is("sh")).count() >= 3,
        "where are the scripts?"
    );
    nobody_breaks(
        "files open with a comment that says what they are",
        sources.iter().filter(|s| !s.says_what_it_is()),
    );
}

#[test]
fn no_file_grows_beyond_reading() {
    nobody_breaks(
        "what is longer than 1,000 lines is split by responsibility",
        sources()
            .iter()
            .filter(|s| s.text.lines().count() > MAX_LINES),
    );
}

#[test]
fn every_crate_forbids_unsafe_code() {
    let mut roots = sources();
    roots.retain(Source::is_crate_root);
    assert!(roots.len() >= 6, "only {} crate roots found", roots.len());
    nobody_breaks(
        "crates say #![forbid(unsafe_code)]",
        roots
            .iter()
            .filter(|s| !s.text.contains("#![forbid(unsafe_code)]")),
    );
}

#[test]
fn no_test_is_switched_off() {
    // Put together here, so that this file does not find itself.
    let rust = [format!("#[{}", "ignore")];
    let script: Vec<_> = ["it", "test", "describe"]
        .iter()
        .flat_map(|what| ["skip", "only", "todo"].map(|how| format!("{what}.{how}(")))
        .collect();
    nobody_breaks(
        "no test is ignored, skipped or singled out",
        sources().iter().filter(|s| {
            s.is("rs") && s.contains_any(&rust) || s.is("ts") && s.contains_any(&script)
        }),
    );
}

/// The rest of what core/engine/clippy.toml bans: clippy cannot name a trait's method of
/// one type, and these make documents with random actors.
#[test]
fn the_engine_makes_no_document_by_default() {
    let mut engine = sources();
    engine.retain(|s| s.path.starts_with("core/engine/src") && s.is("rs"));
    assert!(!engine.is_empty(), "where is the engine?");
    let constructors = ["Automerge", "AutoCommit"].map(|name| format!("{name}::default()"));
    nobody_breaks(
        "documents are made with their actor, never by default()",
        engine.iter().filter(|s| s.contains_any(&constructors)),
    );
}
