//! Invitations: what a QR, or a line of text, carries to a new device.
//!
//! `manzana:1:` and base64url of a CBOR array: relay URL, public key of the city's root, one-use code.
//! The root's certificate need not travel: its trust anchor follows from the key.

use core::fmt;
use core::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use manzana_engine::codec;
use manzana_engine::ids::CityId;
use minicbor::{Decode, Encode};

/// Longest text of an invitation, bytes: one QR of a size that cheap cameras read.
pub const INVITATION_BYTES: usize = 1024;
/// Longest code, bytes.
pub const CODE_BYTES: usize = 128;
const PREFIX: &str = "manzana:1:";

/// Why a text is not an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvitationError {
    /// It does not begin with `manzana:1:`, or is cut or damaged.
    #[error("this is not an invitation, or part of it is missing")]
    Malformed,
    /// It is of a newer version of this program.
    #[error("the invitation is of a newer version of this program")]
    Newer,
    /// The relay's address is not `https://host[:port]`.
    #[error("the relay's address is not https://host:port")]
    Url,
}

/// The address of a relay: always `https`, no path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    host: String,
    port: u16,
}

impl RelayUrl {
    /// Host name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, as requests name it.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority())
    }
}

impl FromStr for RelayUrl {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let rest = text.strip_prefix("https://").ok_or(InvitationError::Url)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(InvitationError::Url)?;
                (host, port.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let port = port
            .map_or(Ok(443), str::parse)
            .map_err(|_| InvitationError::Url)?;
        // What rustls takes for a name is what we take for a host.
        rustls_pki_types::ServerName::try_from(host).map_err(|_| InvitationError::Url)?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// What a coordinator hands to a new device. The code is a secret until it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Where the relay is.
    pub relay: RelayUrl,
    /// Public key of the city's root.
    pub root: [u8; 32],
    /// One-use code.
    pub code: String,
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("relay", &self.relay)
            .field("city", &self.city())
            .finish_non_exhaustive()
    }
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    relay: String,
    #[cbor(n(1), with = "minicbor::bytes")]
    root: [u8; 32],
    #[n(2)]
    code: String,
}

impl Invitation {
    /// The city.
    pub fn city(&self) -> CityId {
        CityId::of_root(&self.root)
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wire = Wire {
            relay: self.relay.to_string(),
            root: self.root,
            code: self.code.clone(),
        };
        f.write_str(PREFIX)?;
        f.write_str(&BASE64URL_NOPAD.encode(&codec::encode(&wire)))
    }
}

impl FromStr for Invitation {
    type Err = InvitationError;

    fn from_str(text: &str) -> Result<Self, InvitationError> {
        let text = text.trim();
        if text.len() > INVITATION_BYTES {
            return Err(InvitationError::Malformed);
        }
        let Some(body) = text.strip_prefix(PREFIX) else {
            return Err(match text.starts_with("manzana:") {
                true => InvitationError::Newer,
                false => InvitationError::Malformed,
            });
        };
        let bytes = BASE64URL_NOPAD
            .decode(body.as_bytes())
            .map_err(|_| InvitationError::Malformed)?;
        let wire: Wire = codec::decode(&bytes).map_err(|_| InvitationError::Malformed)?;
        if wire.code.is_empty() || wire.code.len() > CODE_BYTES {
            return Err(InvitationError::Malformed);
        }
        Ok(Self {
            relay: wire.relay.parse()?,
            root: wire.root,
            code: wire.code,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            relay: "https://relevo.example:8443".parse().unwrap(),
            root: [7; 32],
            code: "ABCDEFGH".to_owned(),
        }
    }

    #[test]
    fn an_invitation_survives_its_text() {
        let text = invitation().to_string();
        assert!(text.starts_with("manzana:1:") && !text.contains('\n'));
        assert_eq!(format!(" {text}\n").parse(), Ok(invitation()));
    }

    #[test]
    fn a_cut_or_foreign_text_is_refused() {
        let text = invitation().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<Invitation>().is_err(), "cut at {end}");
        }
        let newer = text.replace("manzana:1:", "manzana:2:");
        assert_eq!(newer.parse::<Invitation>(), Err(InvitationError::Newer));
        let long = format!("{PREFIX}{}", "A".repeat(INVITATION_BYTES));
        assert_eq!(long.parse::<Invitation>(), Err(InvitationError::Malformed));
    }

    #[test]
    fn only_https_is_an_address_of_a_relay() {
        let authority = |text: &str| text.parse::<RelayUrl>().map(|url| url.authority());
        assert_eq!(authority("https://a.example"), Ok("a.example:443".into()));
        assert_eq!(authority("https://[::1]:8/"), Ok("[::1]:8".into()));
        assert_eq!(authority("https://10.0.0.1:9"), Ok("10.0.0.1:9".into()));
        for bad in ["http://a", "https://", "https://a/b", "https://a:x", "a:1"] {
            assert_eq!(authority(bad), Err(InvitationError::Url), "{bad}");
        }
    }

    #[test]
    fn a_log_never_shows_the_code() {
        assert!(!format!("{:?}", invitation()).contains("ABCDEFGH"));
    }
}
