#!/usr/bin/env bash
# Helpers the scripts share: saying what happens, installing what is missing, timing steps.
# Sourced, never run. The caller has `set -euo pipefail`, and has set `root` to the
# repository and, before it runs steps, `logs` to a folder.
# shellcheck disable=SC2154 # root and logs are the caller's
#
# Everything said to the person goes to descriptor 3, so that a step whose output goes
# into a log can still say "installing chromium".

exec 3>&1

# Oldest versions that work; CONTRIBUTING.md has the reasons.
readonly MIN_CARGO=1.95.0
readonly MIN_NODE=20.19.0
readonly NODE_PACKAGE=node@20.20.2
readonly CARGO_DENY_VERSION='^0.20'
readonly CARGO_FUZZ_VERSION='^0.13'

# A step that returns this was skipped; the last line of its log says why.
readonly SKIPPED=77

say() { printf '%s\n' "$*" >&3; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# skip REASON: ends a step that cannot run here without failing the whole.
skip() {
    printf '%s\n' "$*"
    exit "$SKIPPED"
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANT: whether version HAVE is WANT or newer.
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Where cargo puts what it builds, and where our own tools and logs go beside it.
target_dir() {
    local dir="${CARGO_TARGET_DIR:-target}"
    case "$dir" in
        /*) printf '%s\n' "$dir" ;;
        *) printf '%s/%s\n' "$root" "$dir" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        say "  (with sudo: $*)"
        sudo "$@"
    else
        fail "this needs root, and there is no sudo; as root, run: $*"
    fi
}

# need COMMAND PACKAGE...: installs Debian packages when a command is missing.
need() {
    local command="$1"
    shift
    have "$command" && return
    have apt-get || fail "$command is missing, and this is no Debian: install $* by hand"
    say "  $command is missing: installing $* by apt-get"
    apt_install "$@"
    have "$command" || fail "$command is still missing after installing $*"
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
}

# Cargo of the pinned toolchain, and the C compiler that SQLite, zstd and ring need.
need_cargo() {
    need cc build-essential
    if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    local version=0
    if have cargo; then version="$(cd "$root" && cargo --version | cut -d ' ' -f 2)"; fi
    at_least "$version" "$MIN_CARGO" && return
    need curl curl ca-certificates
    say "  cargo $MIN_CARGO is missing: installing Rust by rustup into ~/.cargo"
    mkdir -p "$(target_dir)"
    curl --proto '=https' --tlsv1.2 -fsSL --retry 3 https://sh.rustup.rs -o "$(target_dir)/rustup.sh" ||
        fail "https://sh.rustup.rs does not answer: install Rust $MIN_CARGO by hand (https://rustup.rs)"
    sh "$(target_dir)/rustup.sh" -y --profile minimal --default-toolchain none --no-modify-path
    PATH="$HOME/.cargo/bin:$PATH"
    (cd "$root" && cargo --version) ||
        fail "rustup could not install the toolchain of rust-toolchain.toml"
}

need_cargo_deny() {
    need_cargo
    have cargo-deny && return
    PATH="$HOME/.cargo/bin:$PATH"
    have cargo-deny && return
    say "  cargo-deny is missing: building it (about two minutes, once)"
    cargo install cargo-deny --locked --version "$CARGO_DENY_VERSION"
}

need_cargo_fuzz() {
    need_cargo
    need c++ build-essential
    have cargo-fuzz && return
    PATH="$HOME/.cargo/bin:$PATH"
    have cargo-fuzz && return
    say "  cargo-fuzz is missing: building it (about a minute, once)"
    cargo install cargo-fuzz --locked --version "$CARGO_FUZZ_VERSION"
}

# Node for the console. Debian 12 has Node 18: npm's `node` package brings a newer one,
# kept beside the build and first in PATH.
need_node() {
    need npm nodejs npm
    local tools
    tools="$(target_dir)/tools"
    if [ -x "$tools/node_modules/node/bin/node" ]; then
        PATH="$tools/node_modules/node/bin:$PATH"
    fi
    at_least "$(node_version)" "$MIN_NODE" && return
    say "  node $(node_version) is older than $MIN_NODE: installing $NODE_PACKAGE by npm into $tools"
    npm install --prefix "$tools" --no-audit --no-fund "$NODE_PACKAGE"
    PATH="$tools/node_modules/node/bin:$PATH"
    at_least "$(node_version)" "$MIN_NODE" || fail "node is still $(node_version), wanted $MIN_NODE"
}

node_version() {
    local version=0
    if have node; then version="$(node --version)"; fi
    printf '%s\n' "${version#v}"
}

need_chromium() { need chromium chromium fonts-liberation; }

# relay_address LOG devices|console: where a relay says that it listens.
relay_address() {
    sed 's/\x1b\[[0-9;]*m//g' "$1" | sed -n "s/.*serving.* $2=\([0-9.:]*\).*/\1/p" | grep -m 1 .
}

# --- other languages -------------------------------------------------------------------

need_python() { need python3 python3; }

need_jdk() { need javac openjdk-17-jdk-headless; }

need_maven() { need mvn maven; }

# What Skia draws with, a screen or none.
need_compose() {
    need fc-list fontconfig libfontconfig1 libfreetype6
    ldconfig -p | grep -F libGL.so.1 >/dev/null && return
    say "  libGL is missing: installing it by apt-get"
    apt_install libgl1 libgl1-mesa-dri libglx-mesa0
}

# A window needs the part of the JDK that Debian's -headless packages leave out.
need_compose_window() {
    need_compose
    local home
    home="$(dirname "$(dirname "$(readlink -f "$(command -v java)")")")"
    [ -e "$home/lib/libawt_xawt.so" ] && return
    say "  Java has no windows: installing openjdk-17-jre by apt-get"
    apt_install openjdk-17-jre
}

# maven ARGUMENTS: in mobile/, with the bindings of this target folder.
maven() {
    (cd mobile && MANZANA_BINDINGS="$(target_dir)/bindings" mvn --batch-mode --no-transfer-progress "$@")
}

# build_app MODULE: compiles a module with what it stands on, and writes down its classes' path.
build_app() {
    maven -q test-compile dependency:build-classpath -pl "$1" -am \
        -Dmdep.outputFile=target/classpath -Dmdep.includeScope=test
}

# run_app MODULE CLASS ARGUMENTS: runs a class of a module that was built.
run_app() {
    local module="mobile/$1" class="$2"
    shift 2
    # Without a graphics card, or with one that is not worth asking, Skia draws by itself.
    SKIKO_RENDER_API="${SKIKO_RENDER_API:-SOFTWARE}" java \
        -Djna.library.path="$(target_dir)/bindings/native" \
        -cp "$module/target/test-classes:$module/target/classes:$(cat "$module/target/classpath")" \
        "$class" "$@"
}

# build_bindings: the client for other languages, in the tests' profile.
build_bindings() {
    need_cargo
    cargo build --locked --workspace --lib --bins --profile ci
    make_bindings ci
}

# make_bindings PROFILE: the Python and Kotlin sides of the library built in this profile, and the
# library where each looks for it, in <target>/bindings; what did not change is left alone.
make_bindings() {
    local built bindings library new language
    built="$(target_dir)/$1" bindings="$(target_dir)/bindings"
    library="$built/libmanzana_bindings.so"
    cmp -s "$library" "$bindings/native/libmanzana_bindings.so" && return
    new="$bindings.new"
    rm -rf "$new"
    mkdir -p "$new/native" "$new/python"
    # From bindings/, where uniffi.toml is.
    for language in python kotlin; do
        (cd bindings && "$built/uniffi-bindgen" generate "$library" --no-format \
            --language "$language" --out-dir "$new/$language")
    done
    cp "$library" "$new/python/"
    cp "$library" "$new/native/"
    rm -rf "$bindings"
    mv "$new" "$bindings"
}

# --- steps -----------------------------------------------------------------------------

# What ran, for the table: "name seconds outcome" lines.
timings=()

# run_step NAME WHAT: runs the function step_NAME with its output in $logs/NAME.log.
# Quiet on success; on failure shows the whole log and ends the script.
# Never call it in a condition: bash would then ignore errors inside the step.
run_step() {
    local name="$1" what="$2" log="$logs/$1.log" started rc
    say "→ $name: $what"
    started="$EPOCHREALTIME"
    set +e
    (
        set -e
        "step_$name"
    ) >"$log" 2>&1
    rc=$?
    set -e
    local spent
    spent="$(seconds_since "$started")"
    case "$rc" in
        0) timings+=("$name|$spent|ok") ;;
        "$SKIPPED")
            timings+=("$name|$spent|skipped: $(tail -n 1 "$log")")
            say "  skipped: $(tail -n 1 "$log")"
            ;;
        *)
            timings+=("$name|$spent|FAILED")
            cat "$log" >&3
            say ""
            timing_table
            say "step '$name' failed (exit $rc); its log: $log"
            [ "${whole:-no}" = yes ] || say "again, alone: $0 $name"
            exit 1
            ;;
    esac
}

# seconds_since START: seconds with one decimal, from a value of EPOCHREALTIME.
# Its decimal mark follows the locale, so everything that is no digit is dropped.
seconds_since() {
    local from="${1//[!0-9]/}" to="${EPOCHREALTIME//[!0-9]/}"
    local tenths=$(((to - from) / 100000))
    printf '%d.%d\n' "$((tenths / 10))" "$((tenths % 10))"
}

timing_table() {
    local row name spent outcome
    for row in "${timings[@]}"; do
        IFS='|' read -r name spent outcome <<<"$row"
        printf '  %-12s %8s s  %s\n' "$name" "$spent" "$outcome" >&3
    done
}
