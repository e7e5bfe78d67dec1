//! One request to its end, within a bounded time.

use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::target::{Request, Target};
use crate::exit::{Error, Result};

/// The longest that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// Before the second try; thrice as long before the third: who restarts is back by then.
const PAUSE: Duration = Duration::from_secs(1);

/// Sends `request` within `time`, trying up to `tries` times while the other side may only be busy.
pub(super) fn send(target: &Target, request: &Request, time: Duration, tries: u32) -> Result<()> {
    let end = Instant::now() + time;
    let (mut left, mut pause) = (tries, PAUSE);
    loop {
        left -= 1;
        let Err((why, again)) = once(request, end.saturating_duration_since(Instant::now())) else {
            return Ok(());
        };
        if !again || left == 0 || Instant::now() + pause >= end {
            let place = target.place();
            return Err(Error::temporary(format!("cannot notify '{place}': {why}")));
        }
        std::thread::sleep(pause);
        pause *= 3;
    }
}

/// One try; the error's text, and whether another try may help. No text holds a part of the URL.
fn once(request: &Request, time: Duration) -> std::result::Result<(), (String, bool)> {
    // a redirect would take the message to where nobody asked it to be taken
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(time))
        .timeout_connect(Some(CONNECT.min(time)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("pgkeep/", env!("CARGO_PKG_VERSION")))
        .tls_config(TlsConfig::builder().root_certs(roots().map_err(|why| (why, false))?).build())
        .build()
        .into();
    let answer = match &request.body {
        None => agent.get(&request.url).call(),
        Some((kind, text)) => agent.post(&request.url).content_type(*kind).send(text.as_str()),
    };
    match answer.map(|a| a.status().as_u16()) {
        Ok(200..=299) => Ok(()),
        Ok(status) => Err((format!("it answers {status}"), status >= 500 || status == 429)),
        Err(e) => Err(cause(&e)),
    }
}

/// Whom to believe: what `SSL_CERT_FILE` holds, as for OpenSSL and curl, else Mozilla's list.
fn roots() -> std::result::Result<RootCerts, String> {
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

fn cause(error: &ureq::Error) -> (String, bool) {
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
