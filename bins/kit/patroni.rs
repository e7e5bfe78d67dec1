//! Who leads a cluster and who follows, asked from Patroni's REST API.
//!
//! Any member tells it for all, by `/cluster`, so several may be named and one answer will do. The name of
//! who leads may stand in a command line, and is taken only where a shell leaves it as it is. Their hosts
//! and URLs are those of the cluster's own network, no use from outside.

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

/// What a member says of all.
type View = std::result::Result<Vec<Member>, String>;

#[derive(Deserialize)]
struct Cluster {
    members: Vec<Member>,
}

/// A member of a cluster, as another tells of it. Fields that are not always there are not missed.
#[derive(Deserialize, Debug)]
pub struct Member {
    /// Its name, as it came: to be printed as [`plain`].
    pub name: String,
    #[serde(default)]
    role: String,
    /// What its server does, in Patroni's words.
    #[serde(default)]
    pub state: String,
    /// The timeline it is on.
    pub timeline: Option<u32>,
    /// How many bytes it is behind; a word where that is unknown.
    #[serde(default)]
    lag: serde_json::Value,
}

impl Member {
    /// Whether it leads and may be written to.
    pub fn leads(&self) -> bool {
        // the word of older and newer versions, here and in other answers
        ["leader", "master", "primary"].contains(&self.role.as_str()) && self.state == "running"
    }

    /// Whether it follows. Before version 3.0.3 a replica that streams is one that runs.
    pub fn follows(&self) -> bool {
        self.state == "streaming" || self.state == "running" && !self.leads()
    }

    /// Whether a commit waits for it.
    pub fn is_synchronous(&self) -> bool {
        ["sync_standby", "quorum_standby"].contains(&self.role.as_str())
    }

    /// How many bytes of the log it has yet to get, as far as that is known.
    pub fn lag(&self) -> Option<u64> {
        self.lag.as_u64()
    }
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
            match self.ask()?.map(|members| leader_of(&members).map(|leader| leader.name.clone())) {
                Ok(Some(name)) => return Ok(name),
                Err(why) => return Err(Error::temporary(format!("cannot ask Patroni who leads: {why}"))),
                Ok(None) if Instant::now() >= until => {
                    return Err(Error::temporary("Patroni says that no member leads"));
                }
                Ok(None) => pause(Duration::from_millis(500))?,
            }
        }
    }

    /// All members that the cluster knows of.
    ///
    /// # Errors
    /// [`crate::exit::Code::Temporary`] when nobody answers.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.ask()?.map_err(|why| Error::temporary(format!("cannot ask Patroni who follows: {why}")))
    }

    /// Asks all members at once, so that one that is dead keeps nobody waiting; the first that knows
    /// a leader ends it.
    fn ask(&self) -> Result<View> {
        let (send, answers) = channel();
        for url in &self.urls {
            let (agent, url, send) = (self.agent.clone(), url.clone(), send.clone());
            std::thread::spawn(move || send.send(ask_one(&agent, &url)));
        }
        drop(send);
        let (mut leaderless, mut faults) = (None, Vec::new());
        loop {
            match answers.recv_timeout(Duration::from_millis(50)) {
                Ok(Ok(members)) if leader_of(&members).is_some() => return Ok(Ok(members)),
                Ok(Ok(members)) => leaderless = Some(members),
                Ok(Err(why)) => faults.push(why),
                Err(RecvTimeoutError::Timeout) => crate::child::interrupted()?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Ok(leaderless.ok_or_else(|| faults.join("; ")));
                }
            }
        }
    }
}

fn ask_one(agent: &Agent, url: &str) -> View {
    let body = agent
        .get(format!("{url}/cluster"))
        .call()
        .and_then(|mut answer| answer.body_mut().with_config().limit(LONGEST).read_to_vec());
    let fault = |why: &str| {
        // a URL may hold a password
        let place = url.rsplit(['/', '@']).next().unwrap_or_default();
        Err(format!("{}: {}", plain(place), plain(why)))
    };
    match body {
        Ok(body) => read(&body).or_else(|why| fault(&why)),
        Err(ureq::Error::Timeout(_)) => fault(&format!("no answer within {} s", PATIENCE.as_secs())),
        Err(ureq::Error::Io(error)) => {
            fault(error.to_string().split(" (os error").next().unwrap_or_default())
        }
        Err(error) => fault(&error.to_string()),
    }
}

/// Reads what `/cluster` answers.
fn read(body: &[u8]) -> View {
    let cluster: Cluster =
        serde_json::from_slice(body).map_err(|_| "its answer is not that of Patroni".to_owned())?;
    match leader_of(&cluster.members) {
        Some(leader) if !is_name(&leader.name) => {
            Err(format!("'{}' leads, which is no name for a command line", plain(&leader.name)))
        }
        _ => Ok(cluster.members),
    }
}

/// The one that leads, if it is one.
fn leader_of(members: &[Member]) -> Option<&Member> {
    let mut leaders = members.iter().filter(|member| member.leads());
    leaders.next().filter(|_| leaders.next().is_none())
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
            Ok(members) => leader_of(&members).map_or("nobody".into(), |leader| leader.name.clone()),
            Err(why) => why,
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
    fn who_follows_and_how_far_behind() {
        let told = r#"{"members": [
            {"name": "n1", "role": "leader", "state": "running", "timeline": 3},
            {"name": "n2", "role": "sync_standby", "state": "streaming", "timeline": 3, "lag": 17},
            {"name": "n3", "role": "replica", "state": "starting", "lag": "unknown"},
            {"name": "n4", "role": "replica", "state": "running", "lag": 0}]}"#;
        let members = read(told.as_bytes()).unwrap();
        let say = |m: &Member| (m.leads(), m.follows(), m.is_synchronous(), m.timeline, m.lag());
        assert_eq!(
            members.iter().map(say).collect::<Vec<_>>(),
            [
                (true, false, false, Some(3), None),
                (false, true, true, Some(3), Some(17)),
                (false, false, false, None, None),
                (false, true, false, None, Some(0)),
            ]
        );
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
