//! The rules of a configuration that its types cannot hold.

use super::{Config, ConfigError};

impl Config {
    /// Checks every rule that types cannot hold.
    pub fn validate(&self) -> Result<(), ConfigError> {
        rule(
            self.journal_dir.as_ref() != Some(&self.data_dir),
            "journal_dir",
            "another folder than data_dir, and on another disk",
        )?;
        self.validate_city()?;
        self.validate_tls()?;
        self.validate_console()?;
        self.validate_limits()
    }

    fn validate_city(&self) -> Result<(), ConfigError> {
        let city = &self.city;
        rule(
            !city.name.trim().is_empty(),
            "city.name",
            "must not be empty",
        )?;
        rule(
            city.name.chars().count() <= 80,
            "city.name",
            "at most 80 characters",
        )?;
        rule(
            city.center.chars().count() <= 80,
            "city.center",
            "at most 80 characters",
        )?;
        rule(
            city.folio_prefix.chars().count() <= 12,
            "city.folio_prefix",
            "at most 12 characters",
        )?;
        rule(
            (4..=12).contains(&city.folio_width),
            "city.folio_width",
            "between 4 and 12 digits",
        )?;
        let ceiling = 10_u64.saturating_pow(u32::from(city.folio_width));
        rule(
            (1..ceiling).contains(&city.first_folio),
            "city.first_folio",
            "at least 1, and it must fit into city.folio_width digits",
        )
    }

    fn validate_tls(&self) -> Result<(), ConfigError> {
        let tls = &self.tls;
        both(&tls.certificate, &tls.key, "tls.certificate")?;
        rule(
            tls.certificate.is_some() || !tls.names.is_empty(),
            "tls.names",
            "name at least one host or address that devices use to reach this relay",
        )?;
        rule(tls.names.len() <= 64, "tls.names", "at most 64 names")
    }

    fn validate_console(&self) -> Result<(), ConfigError> {
        let console = &self.console;
        both(&console.certificate, &console.key, "console.certificate")?;
        let protected = console.certificate.is_some() || console.behind_proxy;
        rule(
            protected || self.console_listen.ip().is_loopback(),
            "console_listen",
            "plain HTTP is served on loopback only; give console.certificate and console.key, \
             or set console.behind_proxy when a TLS proxy stands in front",
        )?;
        rule(
            !protected || !console.public_origins.is_empty(),
            "console.public_origins",
            "name the origin browsers use, such as https://consola.ejemplo.gob.mx",
        )?;
        for origin in &console.public_origins {
            rule(
                is_origin(origin),
                "console.public_origins",
                "an origin is scheme://host[:port] in lower case, with no path",
            )?;
        }
        let token_long = console
            .metrics_token
            .as_ref()
            .is_none_or(|t| t.expose().len() >= 16);
        rule(
            token_long,
            "console.metrics_token",
            "at least 16 characters",
        )
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        let inside = |value: usize, low: usize, high: usize, field: &'static str| {
            let reason = format!("between {low} and {high}");
            rule((low..=high).contains(&value), field, &reason)
        };
        inside(self.gate.workers, 1, 64, "gate.workers")?;
        inside(
            limits.sync_connections,
            1,
            1_000_000,
            "limits.sync_connections",
        )?;
        inside(
            limits.console_connections,
            1,
            100_000,
            "limits.console_connections",
        )?;
        inside(
            limits.message_bytes,
            64 << 10,
            16 << 20,
            "limits.message_bytes",
        )?;
        inside(
            limits.socket_buffer_bytes,
            1 << 10,
            1 << 20,
            "limits.socket_buffer_bytes",
        )?;
        inside(limits.body_bytes, 1 << 10, 8 << 20, "limits.body_bytes")?;
        inside(limits.requests, 1, 10_000, "limits.requests")?;
        inside(limits.sse_streams, 1, 100_000, "limits.sse_streams")?;
        inside(
            limits.sse_streams_per_user,
            1,
            1_000,
            "limits.sse_streams_per_user",
        )?;
        inside(limits.sse_replay_rows, 1, 100_000, "limits.sse_replay_rows")?;
        inside(limits.password_checks, 1, 64, "limits.password_checks")?;
        let span = |value: u64, low: u64, high: u64, field: &'static str| {
            let reason = format!("between {low} and {high}");
            rule((low..=high).contains(&value), field, &reason)
        };
        span(limits.request_seconds, 1, 300, "limits.request_seconds")?;
        span(
            limits.sse_keepalive_ms,
            10,
            60_000,
            "limits.sse_keepalive_ms",
        )?;
        // A revoked session must not see rows for longer than five seconds.
        span(
            limits.session_check_ms,
            10,
            5_000,
            "limits.session_check_ms",
        )?;
        span(
            limits.session_idle_minutes,
            1,
            7 * 24 * 60,
            "limits.session_idle_minutes",
        )?;
        span(
            limits.attempts_per_user.into(),
            1,
            1_000,
            "limits.attempts_per_user",
        )?;
        span(
            limits.attempts_per_address.into(),
            1,
            10_000,
            "limits.attempts_per_address",
        )?;
        span(
            limits.attempts_minutes,
            1,
            24 * 60,
            "limits.attempts_minutes",
        )?;
        span(limits.shutdown_seconds, 1, 300, "limits.shutdown_seconds")
    }
}

fn rule(holds: bool, field: &'static str, reason: &str) -> Result<(), ConfigError> {
    if holds {
        Ok(())
    } else {
        Err(ConfigError::Refused {
            field,
            reason: reason.to_owned(),
        })
    }
}

fn both<T>(one: &Option<T>, other: &Option<T>, field: &'static str) -> Result<(), ConfigError> {
    rule(
        one.is_some() == other.is_some(),
        field,
        "a certificate and its key are given together",
    )
}

/// Whether `text` is an origin as a browser writes it.
fn is_origin(text: &str) -> bool {
    let Some(host) = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
    else {
        return false;
    };
    !host.is_empty()
        && host.bytes().all(|b| {
            b.is_ascii_lowercase()
                || b.is_ascii_digit()
                || matches!(b, b'.' | b'-' | b':' | b'[' | b']')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &Config) -> &'static str {
        match config.validate() {
            Err(ConfigError::Refused { field, .. }) => field,
            other => panic!("expected a refusal, got {other:?}"),
        }
    }

    #[test]
    fn defaults_are_valid() {
        Config::default().validate().unwrap();
    }

    #[test]
    fn plain_console_off_loopback_is_refused() {
        let mut config = Config {
            console_listen: "0.0.0.0:7480".parse().unwrap(),
            ..Config::default()
        };
        assert_eq!(refused(&config), "console_listen");
        config.console.behind_proxy = true;
        assert_eq!(refused(&config), "console.public_origins");
        config.console.public_origins = vec!["https://consola.example/".into()];
        assert_eq!(refused(&config), "console.public_origins");
        config.console.public_origins = vec!["https://consola.example".into()];
        config.validate().unwrap();
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let mut config = Config::default();
        config.tls.certificate = Some("a.pem".into());
        assert_eq!(refused(&config), "tls.certificate");
    }

    #[test]
    fn the_first_folio_fits_its_width() {
        let mut config = Config::default();
        config.city.first_folio = 999_999;
        config.validate().unwrap();
        config.city.first_folio = 1_000_000;
        assert_eq!(refused(&config), "city.first_folio");
        config.city.first_folio = 0;
        assert_eq!(refused(&config), "city.first_folio");
    }

    #[test]
    fn a_limit_out_of_range_is_refused() {
        let mut config = Config::default();
        config.limits.session_check_ms = 5_000;
        config.validate().unwrap();
        config.limits.session_check_ms = 5_001;
        assert_eq!(refused(&config), "limits.session_check_ms");
    }
}
