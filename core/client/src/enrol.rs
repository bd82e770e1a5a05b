//! Enrolment: the one-use code and a new key for a grant signed by the city's root.

use std::sync::Arc;
use std::time::Duration;

use manzana_engine::codec;
use manzana_engine::keys::SecretKey;
use manzana_engine::replica::Meta;
use manzana_engine::wire::{EnrolRequest, Enrolment};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::ClientError;
use crate::http;
use crate::invitation::{Invitation, RelayUrl};
use crate::tls;

/// Longest an enrolment may take.
const ENROL_TIME: Duration = Duration::from_secs(15);

/// What the relay said.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Enrolled, and every signature is the city's.
    Enrolled(Box<Meta>),
    /// The relay knows this key already: the answer to an earlier enrolment was lost. Make another.
    KnownKey,
}

/// Asks the relay for an enrolment and checks it against the city's root.
pub(crate) async fn ask(
    invitation: &Invitation,
    seed: [u8; 32],
    incarnation: u32,
) -> Result<Outcome, ClientError> {
    let key = SecretKey::from_seed(seed);
    let request = codec::encode(&EnrolRequest {
        code: invitation.code.clone(),
        device_key: key.public(),
    });
    let exchange = async {
        let stream = connect(&invitation.relay, tls::config(&invitation.root)?).await?;
        let authority = invitation.relay.authority();
        http::post(stream, &authority, "/v1/enrol", &request)
            .await
            .map_err(|_| ClientError::OFFLINE)
    };
    let answer = tokio::time::timeout(ENROL_TIME, exchange).await;
    let answer = answer.map_err(|_| ClientError::OFFLINE)??;
    if answer.status == 409 {
        return Ok(Outcome::KnownKey);
    }
    let enrolment = read(answer)?;
    Meta::enrolled(&key, invitation.root, enrolment, incarnation)
        .map(|meta| Outcome::Enrolled(Box::new(meta)))
        .map_err(|_| ClientError::Untrusted)
}

fn read(answer: http::Answer) -> Result<Enrolment, ClientError> {
    match answer.status {
        // Whoever answered is vouched for by the city, so this should be one; if not, a proxy of the
        // city's own stands between.
        200 => codec::decode(&answer.body).map_err(|_| ClientError::OFFLINE),
        400..=428 | 430..=499 => Err(ClientError::Unauthorised),
        _ => Err(ClientError::Offline {
            retry_after: answer.retry_after,
        }),
    }
}

/// A TLS connection to the relay, under the given roots and no others.
pub(crate) async fn connect(
    relay: &RelayUrl,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<TcpStream>, ClientError> {
    let name = ServerName::try_from(relay.host().to_owned())
        .map_err(|_| ClientError::Internal("a relay's host"))?;
    let tcp = TcpStream::connect((relay.host(), relay.port()))
        .await
        .map_err(|_| ClientError::OFFLINE)?;
    // Frames are small and wait for nobody.
    let _ = tcp.set_nodelay(true);
    TlsConnector::from(config)
        .connect(name, tcp)
        .await
        .map_err(|error| match is_verification(&error) {
            true => ClientError::Untrusted,
            false => ClientError::OFFLINE,
        })
}

fn is_verification(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}
