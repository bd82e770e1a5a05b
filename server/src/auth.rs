//! Who sits at the console: passwords, sessions, and limits on guessing.
//!
//! A session is a random token of 256 bits in a cookie; the store keeps only its
//! SHA-256. The CSRF token is derived from the same secret, so nothing else is kept.
//! Nothing is a JWT: ending a session takes effect at the next look.

mod attempts;
mod cookie;

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

pub use attempts::Attempts;
pub use cookie::{COOKIE_NAME, clear_cookie, session_cookie, token_in};

use crate::clock::Clock;
use crate::config::Limits;
use crate::desk::{Desk, DeskError, SessionRecord, UserRecord};

/// Longest password taken, in bytes: hashing a longer one costs and gains nothing.
pub const MAX_PASSWORD_BYTES: usize = 512;
/// Longest sign-in name taken, in bytes.
pub const MAX_USER_BYTES: usize = 128;
/// Password checks that may wait for one of the running ones.
const MAX_WAITING_CHECKS: usize = 32;
/// How long a check waits for its turn.
const CHECK_WAIT: Duration = Duration::from_secs(5);
/// A session's last use is written at most this often, in milliseconds.
const TOUCH_MS: i64 = 60_000;
const CSRF_DOMAIN: &[u8] = b"manzana csrf v1";

/// Why a sign-in or a look at a session failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// User or password are wrong, or the user is disabled: never said which.
    #[error("bad credentials")]
    BadCredentials,
    /// Too many attempts; worth trying again after so many seconds.
    #[error("too many attempts")]
    Limited {
        /// Seconds.
        retry_after: u64,
    },
    /// Too many passwords are being checked.
    #[error("busy")]
    Busy,
    /// The relay core failed.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// Hashing or the random source failed.
    #[error("internal: {0}")]
    Internal(String),
}

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Shorter than 10 characters, which guessing finds.
    #[error("a password has at least 10 characters")]
    TooShort,
    /// Longer than [`MAX_PASSWORD_BYTES`].
    #[error("a password has at most 512 bytes")]
    TooLong,
    /// The hash function or the random source failed.
    #[error("hashing failed: {0}")]
    Hash(String),
}

/// Hashes a new password (argon2id, PHC string), for `manzana user add`.
pub fn hash_password(password: &str) -> Result<String, PasswordError> {
    if password.chars().count() < 10 {
        return Err(PasswordError::TooShort);
    }
    if password.len() > MAX_PASSWORD_BYTES {
        return Err(PasswordError::TooLong);
    }
    hash_any(password.as_bytes()).map_err(PasswordError::Hash)
}

fn hash_any(password: &[u8]) -> Result<String, String> {
    Argon2::default()
        .hash_password(password)
        .map(|hash| hash.to_string())
        .map_err(|error| error.to_string())
}

/// A signed-in user's secret: the token of the cookie.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    fn fresh() -> Result<Self, AuthError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|e| AuthError::Internal(e.to_string()))?;
        Ok(Self(bytes))
    }

    /// Reads a token as it stands in a cookie.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .ok()?
            .try_into()
            .ok()
            .map(Self)
    }

    /// The token as it stands in a cookie.
    #[must_use]
    pub fn encode(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0)
    }

    /// What the store keeps of it.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.0).into()
    }

    /// What `X-Manzana-Csrf` must say in this session.
    #[must_use]
    pub fn csrf(&self) -> String {
        let digest = Sha256::new()
            .chain_update(CSRF_DOMAIN)
            .chain_update(self.0)
            .finalize();
        BASE64URL_NOPAD.encode(&digest[..16])
    }
}

/// A live session and its user.
#[derive(Clone, Debug)]
pub struct Session {
    /// Hash of its token.
    pub hash: [u8; 32],
    /// Its CSRF token.
    pub csrf: String,
    /// The user as of now.
    pub user: UserRecord,
}

/// Signs people in and looks sessions up.
pub struct Auth {
    desk: Arc<dyn Desk>,
    clock: Arc<dyn Clock>,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    attempts: Attempts,
    idle_ms: i64,
    /// A hash that no password opens, checked for unknown users so that they take as
    /// long as known ones.
    decoy: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Auth").finish_non_exhaustive()
    }
}

impl Auth {
    /// Over a relay core. Hashes one decoy, which takes some 20 ms.
    pub fn new(
        desk: Arc<dyn Desk>,
        clock: Arc<dyn Clock>,
        limits: &Limits,
    ) -> Result<Self, AuthError> {
        let secret = Token::fresh()?;
        let minutes = |m: u64| i64::try_from(m).unwrap_or(i64::MAX).saturating_mul(60_000);
        Ok(Self {
            desk,
            clock,
            running: Arc::new(Semaphore::new(limits.password_checks)),
            waiting: Arc::new(Semaphore::new(limits.password_checks + MAX_WAITING_CHECKS)),
            attempts: Attempts::new(
                limits.attempts_per_user,
                limits.attempts_per_address,
                minutes(limits.attempts_minutes),
            ),
            idle_ms: minutes(limits.session_idle_minutes),
            decoy: hash_any(&secret.0).map_err(AuthError::Internal)?,
        })
    }

    /// Checks a password and makes a session. `address` is the peer's, for the limits.
    pub async fn sign_in(
        &self,
        user: &str,
        password: String,
        address: std::net::IpAddr,
    ) -> Result<(Token, Session), AuthError> {
        if user.len() > MAX_USER_BYTES || password.len() > MAX_PASSWORD_BYTES {
            return Err(AuthError::BadCredentials);
        }
        let attempt = self.attempts.begin(user, address, self.clock.now_ms())?;
        let found = self.desk.user_by_name(user).await?;
        let hash = found.as_ref().and_then(|u| u.password_hash.as_ref());
        let hash = hash.unwrap_or(&self.decoy).clone();
        let matches = self.verify(password, hash).await?;
        let record = found
            .filter(|u| matches && !u.disabled)
            .ok_or(AuthError::BadCredentials)?;
        self.attempts.succeeded(&attempt);
        self.begin_session(record).await
    }

    async fn begin_session(&self, user: UserRecord) -> Result<(Token, Session), AuthError> {
        let token = Token::fresh()?;
        let now = self.clock.now_ms();
        let hash = token.hash();
        let record = SessionRecord {
            hash,
            user: user.id,
            seen_ms: now,
        };
        self.desk.put_session(record).await?;
        let session = Session {
            hash,
            csrf: token.csrf(),
            user,
        };
        Ok((token, session))
    }

    /// Whether the password opens the hash; bounded in number, off the async threads.
    async fn verify(&self, password: String, hash: String) -> Result<bool, AuthError> {
        let _place = self
            .waiting
            .clone()
            .try_acquire_owned()
            .map_err(|_| AuthError::Busy)?;
        let turn = tokio::time::timeout(CHECK_WAIT, self.running.clone().acquire_owned())
            .await
            .map_err(|_| AuthError::Busy)?
            .map_err(|_| AuthError::Busy)?;
        tokio::task::spawn_blocking(move || {
            // Held by the hashing itself: a caller that goes away frees no turn early.
            let _turn = turn;
            let parsed = PasswordHash::new(&hash)
                .map_err(|e| AuthError::Internal(format!("stored hash: {e}")))?;
            Ok(Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .is_ok())
        })
        .await
        .map_err(|e| AuthError::Internal(e.to_string()))?
    }

    /// The live session of a token, its last use noted.
    pub async fn session(&self, token: &Token) -> Result<Option<Session>, AuthError> {
        let Some((mut record, user)) = self.live(&token.hash()).await? else {
            return Ok(None);
        };
        let now = self.clock.now_ms();
        if now.saturating_sub(record.seen_ms) >= TOUCH_MS {
            record.seen_ms = now;
            self.desk.put_session(record).await?;
        }
        Ok(Some(Session {
            hash: token.hash(),
            csrf: token.csrf(),
            user,
        }))
    }

    /// Whether a session still lives; looking does not keep it alive.
    pub async fn is_live(&self, hash: &[u8; 32]) -> Result<bool, AuthError> {
        Ok(self.live(hash).await?.is_some())
    }

    async fn live(
        &self,
        hash: &[u8; 32],
    ) -> Result<Option<(SessionRecord, UserRecord)>, AuthError> {
        let oldest = self.oldest_seen();
        let found = self.desk.session_by_hash(hash).await?;
        Ok(found.filter(|(session, user)| session.seen_ms > oldest && !user.disabled))
    }

    /// Ends a session.
    pub async fn sign_out(&self, hash: &[u8; 32]) -> Result<(), AuthError> {
        Ok(self.desk.delete_session(hash).await?)
    }

    /// Forgets sessions that ended by themselves; call now and then.
    pub async fn sweep(&self) -> Result<(), AuthError> {
        Ok(self.desk.delete_sessions_before(self.oldest_seen()).await?)
    }

    fn oldest_seen(&self) -> i64 {
        self.clock.now_ms().saturating_sub(self.idle_ms)
    }
}

/// Whether two texts are equal, in a time that does not depend on where they differ.
#[must_use]
pub fn equal_secrets(a: &str, b: &str) -> bool {
    Sha256::digest(a) == Sha256::digest(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_opens_only_to_its_password() {
        let hash = hash_password("una contraseña larga").unwrap();
        assert!(
            hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{hash}"
        );
        let parsed = PasswordHash::new(&hash).unwrap();
        let check = |p: &str| {
            Argon2::default()
                .verify_password(p.as_bytes(), &parsed)
                .is_ok()
        };
        assert!(check("una contraseña larga"));
        assert!(!check("una contraseña larg"));
    }

    #[test]
    fn passwords_have_a_shortest_and_a_longest() {
        assert!(matches!(
            hash_password("123456789"),
            Err(PasswordError::TooShort)
        ));
        hash_password("1234567890").unwrap();
        let long = "a".repeat(MAX_PASSWORD_BYTES + 1);
        assert!(matches!(hash_password(&long), Err(PasswordError::TooLong)));
    }

    #[test]
    fn a_token_reads_back_and_its_csrf_is_not_the_token() {
        let token = Token::fresh().unwrap();
        let again = Token::parse(&token.encode()).unwrap();
        assert_eq!(again.hash(), token.hash());
        assert_eq!(again.csrf(), token.csrf());
        assert!(!token.encode().contains(&token.csrf()));
        assert!(Token::parse("short").is_none());
    }
}
