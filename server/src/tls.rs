//! TLS of the relay: the city's own root, or certificates that were given.
//!
//! The city's root is one Ed25519 key. Its certificate is a pure function of that key
//! (fixed subject, fixed validity, deterministic signature), so that a device builds
//! its trust anchor from the public key in a QR alone ([`trust_anchor`]), and losing
//! `root.pem` loses nothing. Certificates of the relay are issued under it for
//! [`RELAY_DAYS`] and again [`RENEW_DAYS`] before their end; no device notices.
//!
//! Nothing here switches verification off, and keys never leave their files except
//! as [`CityRoot::signing_seed`], for the one who signs grants.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use manzana_client::city_anchor as trust_anchor;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SerialNumber,
};
use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use time::{Date, Month, OffsetDateTime};

/// Days a relay certificate is good for.
pub const RELAY_DAYS: i64 = 90;
/// Days before its end at which it is issued anew.
pub const RENEW_DAYS: u64 = 30;
/// Subject of every city's root; the key tells them apart, and devices trust one.
const ROOT_NAME: &str = "Manzana city root";
/// PKCS#8 of an Ed25519 key up to its 32 bytes of seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Largest key or certificate file read, in bytes.
const MAX_PEM_BYTES: u64 = 256 << 10;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file could not be read or written.
    #[error("cannot use {path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key of the city can be read by other users of the machine.
    #[error("{path} can be read by other users; run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what} in PEM form")]
    Content {
        /// The file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// Certificate and key are not of one pair.
    #[error("wrong key: {key} does not belong to the certificate in {certificate}")]
    WrongKey {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// A configured name is neither a host name nor an address.
    #[error("tls.names: {name:?} is neither a host name nor an address")]
    Name {
        /// The name.
        name: String,
    },
    /// The library refused what we made or were given.
    #[error("certificate: {0}")]
    Library(String),
}

/// The city's root key and the certificate that follows from it.
pub struct CityRoot {
    seed: [u8; 32],
    public: [u8; 32],
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

impl std::fmt::Debug for CityRoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CityRoot")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl CityRoot {
    /// The root in `keys_dir`, made there if this is the first start.
    pub fn open(keys_dir: &Path) -> Result<Self, TlsError> {
        make_private_dir(keys_dir)?;
        let path = keys_dir.join("root.key");
        let seed = match read_private(&path)? {
            Some(pem) => seed_from_pem(&path, &pem)?,
            None => {
                let seed = fresh_seed()?;
                let pem = pem_block("PRIVATE KEY", &pkcs8(&seed));
                write_private(&path, &pem)?;
                seed
            }
        };
        let root = Self::from_seed(seed)?;
        let public = keys_dir.join("root.pem");
        if fs::read_to_string(&public).ok().as_deref() != Some(root.root_pem()) {
            write_private(&public, root.root_pem())?;
        }
        Ok(root)
    }

    /// The root that follows from a seed of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, TlsError> {
        let der = PrivatePkcs8KeyDer::from(pkcs8(&seed));
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ED25519).map_err(library)?;
        let public: [u8; 32] = key
            .public_key_raw()
            .try_into()
            .map_err(|_| TlsError::Library("the root key is not Ed25519".into()))?;
        let params = root_params(&public)?;
        let certificate = params.self_signed(&key).map_err(library)?;
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Ok(Self {
            seed,
            public,
            issuer: Issuer::new(params, key),
            certificate: der,
            pem,
        })
    }

    /// The root certificate, PEM; what `curl --cacert` takes.
    #[must_use]
    pub fn root_pem(&self) -> &str {
        &self.pem
    }

    /// The root certificate, DER.
    #[must_use]
    pub fn root_der(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The public key (Ed25519) that goes into the QR.
    #[must_use]
    pub fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// The seed of the root key, for signing grants and relay keys. Secret.
    #[must_use]
    pub fn signing_seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// A new certificate and key for the relay, as one PEM text, key first.
    fn issue(&self, names: &[String], now: OffsetDateTime) -> Result<String, TlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(library)?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(library)?;
        params.distinguished_name = name("Manzana relay");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        // A phone whose clock is years behind still reaches its relay: the beginning
        // protects nothing, since every key of this root is younger than the root.
        params.not_before = root_not_before();
        params.not_after = now + time::Duration::days(RELAY_DAYS);
        let certificate = params.signed_by(&key, &self.issuer).map_err(library)?;
        Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
    }
}

/// Where the certificate of a listener comes from; asked again for each renewal.
#[derive(Debug)]
pub enum CertificateSource {
    /// Issued under the city's root, kept in `relay.pem` of the keys folder.
    Own {
        /// The city's root.
        root: Arc<CityRoot>,
        /// Folder of the keys.
        keys_dir: PathBuf,
        /// Names and addresses in the certificate.
        names: Vec<String>,
    },
    /// Files somebody else renews.
    Given {
        /// The chain, PEM.
        certificate: PathBuf,
        /// Its key, PEM.
        key: PathBuf,
    },
}

impl CertificateSource {
    /// The TLS configuration as of `now_ms` (milliseconds UTC), renewed if need be.
    pub fn load(&self, now_ms: i64) -> Result<Arc<ServerConfig>, TlsError> {
        match self {
            Self::Own {
                root,
                keys_dir,
                names,
            } => {
                let path = keys_dir.join("relay.pem");
                let pem = current_pem(root, &path, names, now_ms)?;
                server_config(&path, pem.as_bytes(), &path, pem.as_bytes())
            }
            Self::Given { certificate, key } => {
                let chain = read_bounded(certificate)?;
                let key_pem = read_bounded(key)?;
                server_config(certificate, &chain, key, &key_pem)
            }
        }
    }
}

/// The stored relay certificate if a device would still take it [`RENEW_DAYS`] from
/// now under every configured name, else a new one.
fn current_pem(
    root: &CityRoot,
    path: &Path,
    names: &[String],
    now_ms: i64,
) -> Result<String, TlsError> {
    let servers = names
        .iter()
        .map(|n| server_name(n))
        .collect::<Result<Vec<_>, _>>()?;
    if let Some(pem) = read_private(path)?
        && is_good(root, &pem, &servers, now_ms)
    {
        return Ok(pem);
    }
    let now = OffsetDateTime::from_unix_timestamp(now_ms.div_euclid(1_000))
        .map_err(|_| TlsError::Library("the clock is out of range".into()))?;
    let pem = root.issue(names, now)?;
    write_private(path, &pem)?;
    Ok(pem)
}

fn is_good(root: &CityRoot, pem: &str, servers: &[ServerName<'static>], now_ms: i64) -> bool {
    let Ok(certificate) = CertificateDer::from_pem_slice(pem.as_bytes()) else {
        return false;
    };
    let mut roots = rustls::RootCertStore::empty();
    roots.roots.push(trust_anchor(&root.public));
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
    let Ok(verifier) = verifier else { return false };
    let seconds = u64::try_from(now_ms / 1_000).unwrap_or(0) + RENEW_DAYS * 86_400;
    let then = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    servers.iter().all(|name| {
        verifier
            .verify_server_cert(&certificate, &[], name, &[], then)
            .is_ok()
    })
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::Name {
        name: name.to_owned(),
    })
}

/// The one crypto provider, passed explicitly: a dependency's features never choose it.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(
    chain_path: &Path,
    chain: &[u8],
    key_path: &Path,
    key: &[u8],
) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |path: &Path, what| TlsError::Content {
        path: path.to_owned(),
        what,
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|_| content(chain_path, "certificate"))?;
    if chain.is_empty() {
        return Err(content(chain_path, "certificate"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| content(key_path, "private key"))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(library)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong_key(error, chain_path, key_path))?;
    // WebSockets need HTTP/1.1, and nothing here gains by HTTP/2.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn wrong_key(error: rustls::Error, certificate: &Path, key: &Path) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => TlsError::WrongKey {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        },
        other => library(other),
    }
}

fn root_params(public: &[u8; 32]) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(library)?;
    params.distinguished_name = name(ROOT_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let digest = Sha256::digest(public);
    // A serial number is positive: its first bit stays clear.
    let mut serial = digest[..16].to_vec();
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = root_not_before();
    params.not_after = day(2120);
    Ok(params)
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn root_not_before() -> OffsetDateTime {
    day(2020)
}

fn day(year: i32) -> OffsetDateTime {
    Date::from_calendar_date(year, Month::January, 1).map_or(OffsetDateTime::UNIX_EPOCH, |date| {
        date.midnight().assume_utc()
    })
}

fn library(error: impl std::fmt::Display) -> TlsError {
    TlsError::Library(error.to_string())
}

pub(crate) fn fresh_seed() -> Result<[u8; 32], TlsError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(library)?;
    Ok(seed)
}

fn pkcs8(seed: &[u8; 32]) -> Vec<u8> {
    [PKCS8_PREFIX.as_slice(), seed].concat()
}

fn seed_from_pem(path: &Path, pem: &str) -> Result<[u8; 32], TlsError> {
    let wrong = || TlsError::Content {
        path: path.to_owned(),
        what: "private key",
    };
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())?;
    let seed = der
        .secret_pkcs8_der()
        .strip_prefix(&PKCS8_PREFIX)
        .ok_or_else(wrong)?;
    seed.try_into().map_err(|_| wrong())
}

fn pem_block(label: &str, der: &[u8]) -> String {
    let text = data_encoding::BASE64.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> TlsError {
    let path = path.to_owned();
    |source| TlsError::File { path, source }
}

pub(crate) fn make_private_dir(dir: &Path) -> Result<(), TlsError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(file_error(dir))
}

/// The text of a file only we may read; `None` when there is none yet.
pub(crate) fn read_private(path: &Path) -> Result<Option<String>, TlsError> {
    let meta = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(file_error(path))?,
    };
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(TlsError::Exposed {
            path: path.to_owned(),
        });
    }
    let bytes = read_bounded(path)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|_| TlsError::Content {
            path: path.to_owned(),
            what: "private key",
        })
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, TlsError> {
    let size = fs::metadata(path).map_err(file_error(path))?.len();
    if size > MAX_PEM_BYTES {
        let source = io::Error::new(io::ErrorKind::FileTooLarge, "larger than 256 KiB");
        return Err(TlsError::File {
            path: path.to_owned(),
            source,
        });
    }
    fs::read(path).map_err(file_error(path))
}

/// Writes a file only we may read, whole or not at all.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), TlsError> {
    let part = path.with_extension("part");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&part, path)?;
        path.parent()
            .map_or(Ok(()), |dir| fs::File::open(dir)?.sync_all())
    };
    write().map_err(file_error(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_800_000_000_000;
    const DAY_MS: i64 = 86_400_000;

    fn own(dir: &Path, names: &[&str]) -> CertificateSource {
        CertificateSource::Own {
            root: Arc::new(CityRoot::open(dir).unwrap()),
            keys_dir: dir.to_owned(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    fn relay_pem(dir: &Path) -> String {
        fs::read_to_string(dir.join("relay.pem")).unwrap()
    }

    #[test]
    fn the_trust_anchor_from_the_key_alone_is_that_of_the_certificate() {
        let root = CityRoot::from_seed([7; 32]).unwrap();
        let mut store = rustls::RootCertStore::empty();
        store.add(root.root_der().clone()).unwrap();
        assert_eq!(store.roots, [trust_anchor(root.public_key())]);
    }

    #[test]
    fn the_root_survives_a_restart_and_the_loss_of_its_certificate() {
        let dir = tempfile::tempdir().unwrap();
        let first = CityRoot::open(dir.path()).unwrap();
        fs::remove_file(dir.path().join("root.pem")).unwrap();
        let second = CityRoot::open(dir.path()).unwrap();
        assert_eq!(first.root_pem(), second.root_pem());
        assert_eq!(
            first.root_der(),
            CityRoot::open(dir.path()).unwrap().root_der()
        );
        let mode = fs::metadata(dir.path().join("root.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn the_relay_certificate_is_kept_until_near_its_end_and_then_renewed() {
        let dir = tempfile::tempdir().unwrap();
        let source = own(dir.path(), &["localhost", "127.0.0.1"]);
        source.load(NOW_MS).unwrap();
        let first = relay_pem(dir.path());
        source.load(NOW_MS + 59 * DAY_MS).unwrap();
        assert_eq!(relay_pem(dir.path()), first);
        source.load(NOW_MS + 61 * DAY_MS).unwrap();
        assert_ne!(relay_pem(dir.path()), first);
    }

    #[test]
    fn a_new_name_brings_a_new_certificate() {
        let dir = tempfile::tempdir().unwrap();
        own(dir.path(), &["localhost"]).load(NOW_MS).unwrap();
        let first = relay_pem(dir.path());
        own(dir.path(), &["localhost", "relevo.example"])
            .load(NOW_MS)
            .unwrap();
        assert_ne!(relay_pem(dir.path()), first);
    }

    #[test]
    fn a_key_of_another_pair_is_told_in_words() {
        let dir = tempfile::tempdir().unwrap();
        own(dir.path(), &["localhost"]).load(NOW_MS).unwrap();
        let key = dir.path().join("other.key");
        fs::write(&key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let given = CertificateSource::Given {
            certificate: dir.path().join("relay.pem"),
            key: key.clone(),
        };
        let error = given.load(NOW_MS).unwrap_err();
        assert!(matches!(error, TlsError::WrongKey { .. }), "{error}");
        fs::write(&key, "nothing").unwrap();
        assert!(matches!(
            given.load(NOW_MS),
            Err(TlsError::Content {
                what: "private key",
                ..
            })
        ));
        fs::remove_file(&key).unwrap();
        assert!(
            given
                .load(NOW_MS)
                .unwrap_err()
                .to_string()
                .contains("other.key")
        );
    }

    #[test]
    fn a_root_key_others_can_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        CityRoot::open(dir.path()).unwrap();
        let key = dir.path().join("root.key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            CityRoot::open(dir.path()),
            Err(TlsError::Exposed { .. })
        ));
    }

    #[test]
    fn a_name_that_is_none_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = own(dir.path(), &["no name"]).load(NOW_MS).unwrap_err();
        assert!(matches!(error, TlsError::Name { .. }), "{error}");
    }
}
