//! The session cookie: readable by no script, sent to no other site, bound to the host.

use axum::http::{HeaderMap, header};

use super::Token;

/// The `__Host-` prefix has browsers insist on `Secure`, `Path=/` and no `Domain`.
pub const COOKIE_NAME: &str = "__Host-manzana";

/// The `Set-Cookie` value that begins a session.
#[must_use]
pub fn session_cookie(token: &Token) -> String {
    format!(
        "{COOKIE_NAME}={}; Path=/; Secure; HttpOnly; SameSite=Strict",
        token.encode()
    )
}

/// The `Set-Cookie` value that ends it in the browser.
#[must_use]
pub fn clear_cookie() -> String {
    format!("{COOKIE_NAME}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The token in a request's cookies. Two cookies of our name mean tampering: none counts.
#[must_use]
pub fn token_in(headers: &HeaderMap) -> Option<Token> {
    let mut ours = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='));
    let first = ours.next()?;
    if ours.next().is_some() {
        return None;
    }
    Token::parse(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(cookie: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(header::COOKIE, cookie.parse().unwrap());
        map
    }

    #[test]
    fn our_cookie_is_found_among_others_and_only_once() {
        let token = Token([3; 32]);
        let pair = format!("{COOKIE_NAME}={}", token.encode());
        let found = token_in(&headers(&format!("a=b; {pair}; c=d"))).unwrap();
        assert_eq!(found.hash(), token.hash());
        assert!(token_in(&headers(&format!("{pair}; {pair}"))).is_none());
        assert!(token_in(&headers("x__Host-manzana=1")).is_none());
    }

    #[test]
    fn the_cookie_says_everything_a_browser_must_enforce() {
        let cookie = session_cookie(&Token([3; 32]));
        for part in [
            "__Host-manzana=",
            "Path=/",
            "Secure",
            "HttpOnly",
            "SameSite=Strict",
        ] {
            assert!(cookie.contains(part), "{part}");
        }
        assert!(!cookie.contains("Domain"));
    }
}
