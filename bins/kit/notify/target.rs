//! Where a notification goes, and in which words that place wants it.

use super::body::{self, Outcome};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) url: String,
    /// Its type and text; `None`: a GET.
    pub(super) body: Option<(&'static str, String)>,
}

/// Somebody who is told.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: String,
    host: String,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One JSON object.
    Json,
    /// What Slack, Mattermost, Rocket.Chat and Discord (its `/slack` URLs) take.
    Slack,
    /// What healthchecks.io and its like expect: a ping at start, at success, at failure.
    Healthchecks,
}

impl Target {
    /// Reads `URL`, `slack:URL` or `healthchecks:URL`. Without a word before it, the host tells.
    ///
    /// # Errors
    /// Why it is none, without the text itself.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let named = |word: &str| text.strip_prefix(word)?.strip_prefix(':');
        let (kind, url) = match (named("slack"), named("healthchecks")) {
            (Some(url), _) => (Some(Kind::Slack), url),
            (_, Some(url)) => (Some(Kind::Healthchecks), url),
            _ => (None, text),
        };
        let (scheme, rest) = url.split_once("://").ok_or("it is no URL")?;
        if !["http", "https"].contains(&scheme) {
            return Err("its URL begins with neither http:// nor https://".into());
        }
        // what is visible ASCII and no more is what every request line can hold
        if !url.bytes().all(|b| b.is_ascii_graphic()) {
            return Err("its URL holds what no URL can".into());
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        if host.is_empty() || host.starts_with(':') {
            return Err("its URL names no host".into());
        }
        if !is_host(host) {
            return Err("its URL's host or port cannot be".into());
        }
        let is_at = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
        let kind = kind.unwrap_or(match () {
            () if is_at("hooks.slack.com") => Kind::Slack,
            () if is_at("hc-ping.com") || is_at("healthchecks.io") => Kind::Healthchecks,
            () => Kind::Json,
        });
        let url = url.split('#').next().unwrap_or_default();
        Ok(Target { url: url.to_owned(), host: format!("{scheme}://{host}"), kind })
    }

    /// The place as messages may name it: scheme and host, for the rest may be a secret.
    pub(super) fn place(&self) -> String {
        format!("{}/…", self.host)
    }

    /// The ping at the start of a run, for those who expect one.
    pub(super) fn start(&self) -> Option<Request> {
        (self.kind == Kind::Healthchecks).then(|| Request { url: self.under("/start"), body: None })
    }

    /// What is told at the end.
    pub(super) fn end(&self, outcome: &Outcome) -> Request {
        let (url, body) = match self.kind {
            Kind::Json => (self.url.clone(), ("application/json", body::json(outcome))),
            Kind::Slack => (self.url.clone(), ("application/json", body::slack(outcome))),
            Kind::Healthchecks => {
                let under = if outcome.exit_code == 0 { "" } else { "/fail" };
                (self.under(under), ("text/plain; charset=utf-8", body::text(outcome)))
            }
        };
        Request { url, body: Some(body) }
    }

    /// The URL with `path` at the end of its own.
    fn under(&self, path: &str) -> String {
        let (url, query) = self.url.split_once('?').map_or((&*self.url, None), |(u, q)| (u, Some(q)));
        let query = query.map_or(String::new(), |q| format!("?{q}"));
        format!("{}{path}{query}", url.trim_end_matches('/'))
    }
}

/// Whether it is a name or an address, with a port that there can be or without one.
fn is_host(text: &str) -> bool {
    let (is_fit, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            (address.parse::<std::net::Ipv6Addr>().is_ok(), port)
        }
        None => {
            let at = text.find(':').unwrap_or(text.len());
            (!text[..at].contains(['[', ']']), &text[at..])
        }
    };
    let port = port.strip_prefix(':').map(|n| n.parse::<u16>().is_ok()).unwrap_or(port.is_empty());
    is_fit && port
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}", self.kind, self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_before_it_or_the_host_tells_the_kind() {
        for (text, kind, place) in [
            ("https://example.org/hook?k=secret", Kind::Json, "https://example.org/…"),
            ("http://u:secret@127.0.0.1:8080/x", Kind::Json, "http://127.0.0.1:8080/…"),
            ("https://hooks.slack.com/services/secret", Kind::Slack, "https://hooks.slack.com/…"),
            ("slack:https://chat.example.org/hooks/secret", Kind::Slack, "https://chat.example.org/…"),
            ("https://hc-ping.com/secret", Kind::Healthchecks, "https://hc-ping.com/…"),
            ("healthchecks:http://[::1]:8000/ping/secret", Kind::Healthchecks, "http://[::1]:8000/…"),
            // whose name only looks like theirs
            ("https://hc-ping.com.example.org/secret", Kind::Json, "https://hc-ping.com.example.org/…"),
        ] {
            let target = Target::parse(text).unwrap();
            assert_eq!((target.kind, target.place().as_str()), (kind, place), "{text}");
            assert!(!format!("{target:?}").contains("secret"), "{target:?}");
        }
        for text in [
            "",
            "secret",
            "https://",
            "https:///secret",
            "ftp://secret/",
            "slack:secret",
            "https://a/\nsecret",
            "http://[::1/secret",
            "http://[secret]/",
            "http://h:99999/secret",
            "http://h:secret/",
        ] {
            let why = Target::parse(text).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_ping_goes_under_the_path_and_keeps_the_query() {
        let target = |text: &str| Target::parse(&format!("healthchecks:{text}")).unwrap();
        assert_eq!(target("https://h/a/?rid=1#x").start().unwrap().url, "https://h/a/start?rid=1");
        assert_eq!(target("https://h/a").start().unwrap().url, "https://h/a/start");
        assert_eq!(Target::parse("https://h/a").unwrap().start(), None);
    }
}
