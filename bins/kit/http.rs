//! Speaking HTTP to others: whom to believe, how long to wait, and what went wrong in words that hold
//! no part of a URL, which may be a secret.

use std::time::Duration;

use ureq::config::{Config, ConfigBuilder};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::AgentScope;

use crate::exit::Error;

/// The longest that a connection may take to come about.
pub const CONNECT: Duration = Duration::from_secs(5);

/// What all our requests have in common: an answer is an answer whatever its status, and a redirect
/// is one too, for it would take the request to where nobody asked it to be taken.
///
/// # Errors
/// `SSL_CERT_FILE` cannot be read.
pub fn config() -> Result<ConfigBuilder<AgentScope>, String> {
    Ok(Config::builder()
        .timeout_connect(Some(CONNECT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pgkeep/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots()?).build()))
}

/// Whom to believe: what `SSL_CERT_FILE` holds, as for OpenSSL and curl, else Mozilla's list.
fn roots() -> Result<RootCerts, String> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|p| !p.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let text = std::fs::read(&path).map_err(|_| "SSL_CERT_FILE cannot be read".to_owned())?;
    let certificates = parse_pem(&text).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    Ok(RootCerts::from(certificates))
}

/// Why a request has no answer, and whether another try may have one.
pub fn cause(error: &ureq::Error) -> (String, bool) {
    match error {
        // the time is over
        ureq::Error::Timeout(ureq::Timeout::Connect) => ("no connection in time".into(), false),
        ureq::Error::Timeout(_) => ("no answer in time".into(), false),
        // what rustls refuses comes as this; no other try would be better
        ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::InvalidData => (format!("TLS: {e}"), false),
        // "cannot read '': connection refused" without its beginning
        ureq::Error::Io(e) => {
            let told = Error::io("", "", e).to_string();
            (told.split_once(": ").map_or(told.clone(), |(_, cause)| cause.to_owned()), true)
        }
        ureq::Error::HostNotFound => ("no such host".into(), true),
        ureq::Error::Rustls(e) => (format!("TLS: {e}"), false),
        ureq::Error::Tls(e) => (format!("TLS: {e}"), false),
        ureq::Error::Protocol(_) => ("its answer is not HTTP".into(), true),
        ureq::Error::ConnectProxyFailed(_) => ("the proxy does not connect".into(), true),
        // the text of some others repeats the URL
        _ => ("the request fails".into(), false),
    }
}
