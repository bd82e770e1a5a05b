//! The relay's one configuration: defaults, then a TOML file, then `MANZANA_*`
//! variables, then flags, validated once into a [`Config`].
//!
//! A nested key is written with two underscores in the environment:
//! `MANZANA_CITY__NAME`, `MANZANA_LIMITS__SSE_STREAMS`. Variables that name no key
//! (other tools use the prefix too) are ignored and listed in the start-up log; an
//! unknown key in the file is an error, since there it is a typing mistake.

mod validate;

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Value;
use serde::{Deserialize, Serialize};

/// Prefix of the environment variables read.
pub const ENV_PREFIX: &str = "MANZANA_";

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file named by a flag or variable could not be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A key is unknown or a value has the wrong type.
    #[error("configuration: {0}")]
    Malformed(Box<figment::Error>),
    /// A value breaks a rule of the configuration.
    #[error("configuration: {field}: {reason}")]
    Refused {
        /// The key, with its section.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
}

/// Everything the relay can be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the database, keys and blobs; made at first start.
    pub data_dir: PathBuf,
    /// Folder of the journal, on another disk than `data_dir`: every write stands there before it is
    /// answered, so that a backup put back with it is the city as it was. Without one, phones bring
    /// back what they can prove.
    pub journal_dir: Option<PathBuf>,
    /// Where devices connect, by TLS.
    pub sync_listen: SocketAddr,
    /// Where browsers connect: plain HTTP on loopback, else see [`ConsoleConfig`].
    pub console_listen: SocketAddr,
    /// The city this relay serves.
    pub city: CityConfig,
    /// The certificate that devices see.
    pub tls: TlsConfig,
    /// How browsers reach the console.
    pub console: ConsoleConfig,
    /// The worker processes that open documents.
    pub gate: GateConfig,
    /// Bounds, each with its unit.
    pub limits: Limits,
    /// What is logged and how.
    pub log: LogConfig,
}

/// The city and how it numbers its petitions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CityConfig {
    /// Name shown to people.
    pub name: String,
    /// Name of the attention centre shown to people.
    pub center: String,
    /// What stands before the number of a folio.
    pub folio_prefix: String,
    /// Digits of a folio, padded with zeros.
    pub folio_width: u8,
    /// The first folio of an empty city.
    pub first_folio: u64,
}

/// The certificate of the listener for devices.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Names and addresses in a certificate issued under the city's own root.
    pub names: Vec<String>,
    /// A certificate chain (PEM) to use instead of one under the city's root.
    pub certificate: Option<PathBuf>,
    /// The key (PEM) of `certificate`.
    pub key: Option<PathBuf>,
}

/// The listener for browsers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// A certificate chain (PEM) that the operators' browsers trust.
    pub certificate: Option<PathBuf>,
    /// The key (PEM) of `certificate`.
    pub key: Option<PathBuf>,
    /// A TLS-terminating proxy stands in front; needs `public_origins`.
    pub behind_proxy: bool,
    /// Peers whose `X-Forwarded-For` is believed (its last address only).
    pub trusted_proxies: Vec<IpAddr>,
    /// Origins browsers use, such as `https://consola.ejemplo.gob.mx`; those of a
    /// loopback listener are known without it.
    pub public_origins: Vec<String>,
    /// Token that `/metrics` asks for (`Authorization: Bearer …`). Without one it
    /// answers only direct loopback peers, and nobody behind a proxy.
    pub metrics_token: Option<Secret>,
}

/// The worker processes that open documents.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GateConfig {
    /// How many run side by side.
    pub workers: usize,
}

/// What is logged and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// One line of words, or one JSON object, for each record.
    pub format: LogFormat,
    /// A `tracing` filter such as `info` or `info,manzana_server=debug`.
    pub level: String,
}

/// How a log record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people at a terminal.
    Text,
    /// For a log collector.
    Json,
}

/// Bounds of everything the shell holds for strangers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections of devices at once.
    pub sync_connections: usize,
    /// Connections of browsers at once.
    pub console_connections: usize,
    /// Bytes of one WebSocket message of a device.
    pub message_bytes: usize,
    /// Bytes of the socket buffers of one device; the library's default of 128 KiB
    /// a socket is what makes idle connections expensive.
    pub socket_buffer_bytes: usize,
    /// Bytes of the body of one console request.
    pub body_bytes: usize,
    /// Console requests in progress at once.
    pub requests: usize,
    /// Seconds one console request may take.
    pub request_seconds: u64,
    /// Live event streams at once.
    pub sse_streams: usize,
    /// Live event streams of one user at once.
    pub sse_streams_per_user: usize,
    /// Rows a reconnecting stream is sent before it is told to reload instead.
    pub sse_replay_rows: usize,
    /// Milliseconds between comments that keep a stream open.
    pub sse_keepalive_ms: u64,
    /// Milliseconds between looks at whether a stream's session still lives.
    pub session_check_ms: u64,
    /// Minutes without a request after which a session ends.
    pub session_idle_minutes: u64,
    /// Password verifications at once (each takes 19 MiB).
    pub password_checks: usize,
    /// Failed sign-ins of one user within the window.
    pub attempts_per_user: u32,
    /// Failed sign-ins from one address within the window.
    pub attempts_per_address: u32,
    /// Minutes of that window.
    pub attempts_minutes: u64,
    /// Seconds that open requests may still take once shutdown begins.
    pub shutdown_seconds: u64,
}

/// A secret value: it can be compared and used, never printed.
#[derive(Clone, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("[redacted]")
    }
}

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("manzana-data"),
            journal_dir: None,
            sync_listen: SocketAddr::from(([127, 0, 0, 1], 7443)),
            console_listen: SocketAddr::from(([127, 0, 0, 1], 7480)),
            city: CityConfig::default(),
            tls: TlsConfig::default(),
            console: ConsoleConfig::default(),
            gate: GateConfig::default(),
            limits: Limits::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for CityConfig {
    fn default() -> Self {
        Self {
            name: "Coatzacoalcos".into(),
            center: "Coatzatel".into(),
            folio_prefix: "SIAC-".into(),
            folio_width: 6,
            first_folio: 1,
        }
    }
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            names: vec!["localhost".into(), "127.0.0.1".into(), "::1".into()],
            certificate: None,
            key: None,
        }
    }
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { workers: 2 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sync_connections: 20_000,
            console_connections: 1_024,
            message_bytes: 1 << 20,
            socket_buffer_bytes: 4 << 10,
            body_bytes: 64 << 10,
            requests: 128,
            request_seconds: 15,
            sse_streams: 256,
            sse_streams_per_user: 16,
            sse_replay_rows: 2_000,
            sse_keepalive_ms: 15_000,
            session_check_ms: 4_000,
            session_idle_minutes: 12 * 60,
            password_checks: 2,
            attempts_per_user: 10,
            attempts_per_address: 30,
            attempts_minutes: 15,
            shutdown_seconds: 10,
        }
    }
}

/// What the command line said; `None` leaves the layer below as it is.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Flags {
    /// See [`Config::data_dir`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_dir: Option<PathBuf>,
    /// See [`Config::sync_listen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_listen: Option<SocketAddr>,
    /// See [`Config::console_listen`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub console_listen: Option<SocketAddr>,
}

/// A configuration and what its reader should know about how it came to be.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The validated configuration.
    pub config: Config,
    /// Names of `MANZANA_*` variables that are no key of the configuration.
    pub ignored_variables: Vec<String>,
}

impl Config {
    /// Reads every layer, the process's environment among them, and validates the result.
    pub fn load(file: Option<&Path>, flags: &Flags) -> Result<Loaded, ConfigError> {
        // A variable that is not Unicode can be no value of ours.
        let variables = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self::load_with(file, variables, flags)
    }

    /// [`Config::load`] with the environment given as (name, value) pairs.
    pub fn load_with(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Loaded, ConfigError> {
        let mut layers = Figment::from(Serialized::defaults(Self::default()));
        if let Some(path) = file {
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            })?;
            layers = layers.merge(Toml::string(&text));
        }
        let (layers, ignored_variables) = merge_variables(layers, variables);
        let config: Self = layers
            .merge(Serialized::defaults(flags))
            .extract()
            .map_err(|error| ConfigError::Malformed(Box::new(error)))?;
        config.validate()?;
        Ok(Loaded {
            config,
            ignored_variables,
        })
    }
}

/// The keys of [`Config`] itself, taken from it so that they cannot drift apart.
fn top_level_keys() -> BTreeSet<String> {
    match serde_json::to_value(Config::default()) {
        Ok(serde_json::Value::Object(map)) => map.keys().cloned().collect(),
        _ => BTreeSet::new(),
    }
}

/// Lays the variables over `layers`; also the names that are no key.
fn merge_variables(
    mut layers: Figment,
    variables: impl IntoIterator<Item = (String, String)>,
) -> (Figment, Vec<String>) {
    let known = top_level_keys();
    let mut ignored = Vec::new();
    for (name, value) in variables {
        let Some(key) = name.strip_prefix(ENV_PREFIX) else {
            continue;
        };
        let key = key.to_ascii_lowercase().replace("__", ".");
        if known.contains(key.split('.').next().unwrap_or_default()) {
            let Ok(value) = value.parse::<Value>();
            layers = layers.merge(Serialized::default(&key, value));
        } else {
            ignored.push(name);
        }
    }
    ignored.sort();
    (layers, ignored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_print() {
        let mut config = Config::default();
        config.console.metrics_token = Some(Secret::new("correct horse battery"));
        assert!(!format!("{config:?}").contains("horse"));
    }

    fn vars(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn flags_beat_variables_beat_the_file_beats_defaults() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("manzana.toml");
        std::fs::write(
            &file,
            "data_dir = \"from-file\"\nsync_listen = \"127.0.0.1:1\"\n[city]\nname = \"Archivo\"\ncenter = \"Centro\"\n",
        )
        .unwrap();
        let variables = vars(&[
            ("MANZANA_SYNC_LISTEN", "127.0.0.1:2"),
            ("MANZANA_CONSOLE_LISTEN", "127.0.0.1:3"),
            ("MANZANA_CITY__NAME", "Variable"),
            ("MANZANA_BIN", "/somewhere"),
            ("HOME", "/root"),
        ]);
        let flags = Flags {
            console_listen: Some("127.0.0.1:4".parse().unwrap()),
            ..Flags::default()
        };
        let loaded = Config::load_with(Some(&file), variables, &flags).unwrap();
        let config = loaded.config;
        assert_eq!(config.data_dir, Path::new("from-file"));
        assert_eq!(config.sync_listen.port(), 2);
        assert_eq!(config.console_listen.port(), 4);
        assert_eq!(
            (config.city.name.as_str(), config.city.center.as_str()),
            ("Variable", "Centro")
        );
        assert_eq!(config.city.folio_width, 6);
        assert_eq!(loaded.ignored_variables, ["MANZANA_BIN"]);
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("manzana.toml");
        std::fs::write(&file, "sync_lisen = \"127.0.0.1:1\"\n").unwrap();
        let error = Config::load_with(Some(&file), [], &Flags::default()).unwrap_err();
        assert!(error.to_string().contains("sync_lisen"), "{error}");
    }

    #[test]
    fn a_missing_file_is_an_error_that_names_it() {
        let error = Config::load_with(Some(Path::new("no/such.toml")), [], &Flags::default());
        assert!(error.unwrap_err().to_string().contains("no/such.toml"));
    }
}
