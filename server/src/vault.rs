//! The city's keys sealed with a passphrase: Argon2id makes the key, ChaCha20-Poly1305 seals.
//!
//! The file is JSON that says how it was made, so that another program can open it too.

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, ensure};
use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Key files by name.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// What is authenticated beside the sealed files.
const WHAT: &[u8] = b"manzana/keys/1";
/// Memory of the derivation, KiB; its passes and lanes: RFC 9106, second recommendation.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// The most that a file may ask for, KiB and passes.
const MOST_MEMORY_KIB: u32 = 1 << 20;
const MOST_PASSES: u32 = 64;

#[derive(Serialize, Deserialize)]
struct Sealed {
    what: String,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    cipher: String,
    nonce: String,
    sealed: String,
}

/// Seals files with a passphrase.
///
/// # Errors
/// Without randomness.
pub(crate) fn seal(files: &Files, passphrase: &str) -> anyhow::Result<Vec<u8>> {
    let (mut salt, mut nonce) = ([0; 16], [0; 12]);
    getrandom::fill(&mut salt).map_err(|_| anyhow!("no randomness from the system"))?;
    getrandom::fill(&mut nonce).map_err(|_| anyhow!("no randomness from the system"))?;
    let texts: BTreeMap<&String, String> = files
        .iter()
        .map(|(name, bytes)| (name, BASE64.encode(bytes)))
        .collect();
    let plain = serde_json::to_vec(&texts)?;
    let cipher = cipher(passphrase, &salt, MEMORY_KIB, PASSES, LANES)?;
    let payload = Payload {
        msg: &plain,
        aad: WHAT,
    };
    let sealed = cipher
        .encrypt(&Nonce::from(nonce), payload)
        .map_err(|_| anyhow!("the keys could not be sealed"))?;
    Ok(serde_json::to_vec_pretty(&Sealed {
        what: String::from_utf8_lossy(WHAT).into_owned(),
        kdf: "argon2id".to_owned(),
        memory_kib: MEMORY_KIB,
        passes: PASSES,
        lanes: LANES,
        salt: BASE64.encode(&salt),
        cipher: "chacha20-poly1305".to_owned(),
        nonce: BASE64.encode(&nonce),
        sealed: BASE64.encode(&sealed),
    })?)
}

/// Opens what [`seal`] made.
///
/// # Errors
/// When it is not such a file, or the passphrase is another.
pub(crate) fn open(sealed: &[u8], passphrase: &str) -> anyhow::Result<Files> {
    let sealed: Sealed = serde_json::from_slice(sealed).context("not a file of sealed keys")?;
    let known = sealed.what.as_bytes() == WHAT
        && sealed.kdf == "argon2id"
        && sealed.cipher == "chacha20-poly1305"
        && sealed.memory_kib <= MOST_MEMORY_KIB
        && sealed.passes <= MOST_PASSES;
    ensure!(known, "sealed in a way that this program does not know");
    let bytes = |text: &str| {
        BASE64
            .decode(text.as_bytes())
            .context("not a file of sealed keys")
    };
    let salt = bytes(&sealed.salt)?;
    let nonce: [u8; 12] = bytes(&sealed.nonce)?
        .try_into()
        .map_err(|_| anyhow!("not a file of sealed keys"))?;
    let cipher = cipher(
        passphrase,
        &salt,
        sealed.memory_kib,
        sealed.passes,
        sealed.lanes,
    )?;
    let message = bytes(&sealed.sealed)?;
    let payload = Payload {
        msg: &message,
        aad: WHAT,
    };
    let plain = cipher
        .decrypt(&Nonce::from(nonce), payload)
        .map_err(|_| anyhow!("the passphrase is another one, or the file is damaged"))?;
    let texts: BTreeMap<String, String> = serde_json::from_slice(&plain)?;
    texts
        .into_iter()
        .map(|(name, text)| Ok((name, bytes(&text)?)))
        .collect()
}

fn cipher(
    passphrase: &str,
    salt: &[u8],
    memory_kib: u32,
    passes: u32,
    lanes: u32,
) -> anyhow::Result<ChaCha20Poly1305> {
    let params =
        Params::new(memory_kib, passes, lanes, Some(32)).map_err(|error| anyhow!("{error}"))?;
    let mut key = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, &mut key)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(ChaCha20Poly1305::new(&key.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_keys_open_with_their_passphrase_and_no_other() {
        let files = Files::from([("root.key".to_owned(), vec![1, 2, 3])]);
        let sealed = seal(&files, "correcto caballo").unwrap();
        assert_eq!(open(&sealed, "correcto caballo").unwrap(), files);
        assert!(open(&sealed, "otro caballo rojo").is_err());
        assert!(!String::from_utf8(sealed).unwrap().contains("root.key"));
    }
}
