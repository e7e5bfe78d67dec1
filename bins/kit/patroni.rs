//! Who leads a cluster, asked from Patroni's REST API.
//!
//! Any member tells it for all, by `/cluster`, so several may be named and one answer will do. What
//! they answer is believed as far as a name goes: it may stand in a command line, and nothing else is
//! taken from it. Their hosts and URLs are those of the cluster's own network, no use from outside.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::Agent;

use crate::child::pause;
use crate::exit::{Error, Result, plain};

/// How long a member may take to answer. While its store (etcd, …) is away it takes for ever.
const PATIENCE: Duration = Duration::from_secs(3);
/// How large an answer may be; a member takes some 200 bytes.
const LONGEST: u64 = 1 << 20;

/// The REST API of a cluster, at one or more of its members.
pub struct Patroni {
    urls: Vec<String>,
    agent: Agent,
}

/// What a member said.
enum Answer {
    /// This one leads.
    Leader(String),
    /// None leads just now.
    Nobody,
    /// Nothing that tells.
    Nothing(String),
}

#[derive(Deserialize)]
struct Cluster {
    members: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    name: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    state: String,
}

impl Patroni {
    /// The API at `urls`, parted by commas, such as `http://10.0.0.1:8008,http://10.0.0.2:8008`.
    ///
    /// # Errors
    /// [`crate::exit::Code::Usage`] for what is no URL.
    pub fn new(urls: &str) -> Result<Self> {
        let urls: Vec<String> = urls
            .split([',', ' '])
            .map(|url| url.trim_end_matches('/').to_owned())
            .filter(|url| !url.is_empty())
            .collect();
        let wrong = |url: &&String| !url.starts_with("http://") && !url.starts_with("https://");
        if urls.is_empty() || urls.iter().any(|url| wrong(&url)) {
            return Err(Error::usage("--patroni (PATRONI_URLS): not a list of http:// or https:// URLs")
                .hint("For example: --patroni http://10.0.0.1:8008,http://10.0.0.2:8008."));
        }
        // the members are near by: whatever proxy there is, is for other places
        let config = Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .proxy(None)
            .max_redirects(0)
            .http_status_as_error(false)
            .build();
        Ok(Patroni { urls, agent: config.into() })
    }

    /// The name of the member that leads. While none does, but somebody is there to say so, waits
    /// until `until`.
    ///
    /// # Errors
    /// [`crate::exit::Code::Temporary`] when nobody answers, or nobody leads in time.
    pub fn leader(&self, until: Instant) -> Result<String> {
        loop {
            match self.ask()? {
                Answer::Leader(name) => return Ok(name),
                Answer::Nothing(why) => {
                    return Err(Error::temporary(format!("cannot ask Patroni who leads: {why}")));
                }
                Answer::Nobody if Instant::now() >= until => {
                    return Err(Error::temporary("Patroni says that no member leads"));
                }
                Answer::Nobody => pause(Duration::from_millis(500))?,
            }
        }
    }

    /// Asks all members at once, so that one that is dead keeps nobody waiting; the first that knows
    /// a leader ends it.
    fn ask(&self) -> Result<Answer> {
        let (send, answers) = channel();
        for url in &self.urls {
            let (agent, url, send) = (self.agent.clone(), url.clone(), send.clone());
            std::thread::spawn(move || send.send(ask_one(&agent, &url)));
        }
        drop(send);
        let (mut nobody, mut faults) = (false, Vec::new());
        loop {
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok(Answer::Leader(name)) => return Ok(Answer::Leader(name)),
                Ok(Answer::Nobody) => nobody = true,
                Ok(Answer::Nothing(why)) => faults.push(why),
                Err(RecvTimeoutError::Timeout) => crate::child::interrupted()?,
                Err(RecvTimeoutError::Disconnected) if nobody => return Ok(Answer::Nobody),
                Err(RecvTimeoutError::Disconnected) => return Ok(Answer::Nothing(faults.join("; "))),
            }
        }
    }
}

fn ask_one(agent: &Agent, url: &str) -> Answer {
    let body = agent
        .get(format!("{url}/cluster"))
        .call()
        .and_then(|mut answer| answer.body_mut().with_config().limit(LONGEST).read_to_vec());
    let fault = |why: &str| {
        // a URL may hold a password
        let place = url.rsplit(['/', '@']).next().unwrap_or_default();
        Answer::Nothing(format!("{}: {}", plain(place), plain(why)))
    };
    match body {
        Ok(body) => read(&body).unwrap_or_else(|why| fault(&why)),
        Err(ureq::Error::Timeout(_)) => fault(&format!("no answer within {} s", PATIENCE.as_secs())),
        Err(ureq::Error::Io(error)) => {
            fault(error.to_string().split(" (os error").next().unwrap_or_default())
        }
        Err(error) => fault(&error.to_string()),
    }
}

/// Reads what `/cluster` answers. Fields that are not always there are not missed.
fn read(body: &[u8]) -> std::result::Result<Answer, String> {
    let cluster: Cluster =
        serde_json::from_slice(body).map_err(|_| "its answer is not that of Patroni".to_owned())?;
    // the word of older and newer versions, here and in other answers
    let leads = |m: &Member| ["leader", "master", "primary"].contains(&m.role.as_str());
    let leaders = || cluster.members.iter().filter(|m| leads(m) && m.state == "running");
    match (leaders().next(), leaders().count()) {
        (Some(leader), 1) if is_name(&leader.name) => Ok(Answer::Leader(leader.name.clone())),
        (Some(leader), 1) => {
            Err(format!("'{}' leads, which is no name for a command line", plain(&leader.name)))
        }
        _ => Ok(Answer::Nobody),
    }
}

/// Whether a shell takes this for one plain word that is no option.
fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !text.starts_with('-') && !text.is_empty() && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(members: &str) -> String {
        match read(format!("{{\"members\": [{members}], \"pause\": true}}").as_bytes()) {
            Ok(Answer::Leader(name)) => name,
            Ok(Answer::Nobody) => "nobody".into(),
            Ok(Answer::Nothing(why)) | Err(why) => why,
        }
    }

    #[test]
    fn the_leader_is_the_one_that_runs() {
        let replica = r#"{"name": "n1", "role": "replica", "state": "streaming", "lag": 0}"#;
        let leader =
            |role, state| format!(r#"{replica}, {{"name": "n2", "role": "{role}", "state": "{state}"}}"#);
        for role in ["leader", "master", "primary"] {
            assert_eq!(answer(&leader(role, "running")), "n2");
        }
        for other in [
            leader("leader", "starting"),
            leader("standby_leader", "running"),
            replica.into(),
            String::new(),
            r#"{"name": "n3"}"#.into(),
        ] {
            assert_eq!(answer(&other), "nobody", "{other}");
        }
        let two = format!("{}, {}", leader("leader", "running"), leader("leader", "running"));
        assert_eq!(answer(&two), "nobody");
    }

    #[test]
    fn a_name_that_a_shell_would_read_otherwise_is_not_taken() {
        for name in ["", "-it", "n1;reboot", "$(reboot)", "a b", "n1\\n"] {
            let member = format!(r#"{{"name": "{name}", "role": "leader", "state": "running"}}"#);
            assert!(answer(&member).ends_with("is no name for a command line"), "{name}");
        }
        for body in ["", "[]", "{}", "<html>", "{\"members\": 1}"] {
            assert!(read(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn only_urls_are_asked() {
        for urls in ["", ",", "10.0.0.1:8008", "http://a,ftp://b"] {
            assert_eq!(Patroni::new(urls).err().map(|e| e.code()), Some(crate::exit::Code::Usage), "{urls}");
        }
        assert_eq!(Patroni::new("http://a/,https://b").unwrap().urls, ["http://a", "https://b"]);
    }
}
