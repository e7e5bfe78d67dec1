//! Who follows whom once what was restored has been started. It decides nothing, and no wait is long: what
//! does not follow by then is told, and the restore is done all the same.

use std::time::{Duration, Instant};

use kit::child::pause;
use kit::out::{Speech, plain};
use kit::patroni::{Member, Patroni};
use kit::pg::Server;
use kit::settings::Settings;

use crate::cli::Args;

/// How long it may take until all follow: the replay of some log, a look at the archive.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long until a member that was started is in the cluster's list.
const APPEAR: Duration = Duration::from_secs(20);

/// Those that stream from a server: the name of each, whether a commit waits for it (`sync`, `quorum`), and
/// the bytes that it has yet to replay. `pg_basebackup` is in another state.
const STREAMING: &str = "SET statement_timeout = '10s'; \
    SELECT application_name || coalesce(' at ' || host(client_addr), ''), sync_state, \
    pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
    ELSE pg_current_wal_lsn() END, replay_lsn), state IS NULL \
    FROM pg_stat_replication WHERE coalesce(state, 'streaming') = 'streaming' ORDER BY 1;";

/// What is known of a cluster before a restore.
pub(crate) struct Replicas {
    /// How many follow in what is restored.
    followers: usize,
    patroni: Option<Patroni>,
    /// The system identifier of the server, where Patroni is not asked.
    server: Option<String>,
    /// Who streamed from the live server.
    before: Vec<String>,
}

impl Replicas {
    /// Looks before anything stops; `None`: nothing will start. `server` is the system identifier of what is
    /// restored.
    pub(crate) fn before(args: &Args, followers: usize, server: Option<&str>) -> Option<Self> {
        if !args.services.start_something() {
            return None;
        }
        let patroni = args.services.patroni.as_deref().and_then(|urls| Patroni::new(urls).ok());
        let server = server.filter(|_| patroni.is_none()).map(str::to_owned);
        let streaming = server.as_deref().and_then(streaming).unwrap_or_default();
        let before =
            streaming.into_iter().filter(|standby| !standby.hidden).map(|standby| standby.name).collect();
        Some(Replicas { followers, patroni, server, before })
    }

    /// Tells who follows, once all has been started.
    pub(crate) fn tell(&self, speech: &Speech) {
        match (&self.patroni, &self.server) {
            (Some(patroni), _) => self.members(patroni, speech),
            (None, Some(server)) if self.followers > 0 => self.standbys(server, speech),
            _ => {
                for name in &self.before {
                    let name = plain(name);
                    speech.warn(&format!(
                        "warning: '{name}' followed the server that was here, and is not in the snapshot: make it anew (pg_basebackup)"
                    ));
                }
            }
        }
    }

    fn members(&self, patroni: &Patroni, speech: &Speech) {
        let begun = Instant::now();
        let settled = |members: &[Member]| {
            let there = members.len() > self.followers || begun.elapsed() > APPEAR;
            there && members.iter().any(Member::leads) && members.iter().all(|m| m.leads() || m.follows())
        };
        let members = loop {
            match patroni.members() {
                Ok(members) if settled(&members) => break members,
                _ if begun.elapsed() < PATIENCE && pause(Duration::from_millis(500)).is_ok() => {}
                Ok(members) => break members,
                Err(error) => return speech.warn(&format!("warning: {error}")),
            }
        };
        for member in &members {
            let name = plain(&member.name);
            if member.leads() {
                let timeline = member.timeline.map_or(String::new(), |n| format!(" on timeline {n}"));
                speech.say(&format!("replication: {name} leads{timeline}"));
            } else if member.follows() {
                let lag = member.lag().map_or(String::new(), |bytes| format!(", {bytes} bytes behind"));
                let how = if member.is_synchronous() { "follows synchronously" } else { "follows" };
                speech.say(&format!("replication: {name} {how}{lag}"));
            } else {
                speech.warn(&format!("warning: {name} does not follow: it is '{}'", plain(&member.state)));
            }
        }
        if !members.iter().any(Member::leads) {
            speech.warn("warning: no member leads");
        }
        self.fewer(members.len().saturating_sub(1), speech);
    }

    fn standbys(&self, server: &str, speech: &Speech) {
        let begun = Instant::now();
        let standbys = loop {
            match streaming(server) {
                Some(standbys) if standbys.iter().any(|standby| standby.hidden) => {
                    return speech.warn(
                        "warning: who follows is not shown to this user, who is no member of pg_monitor",
                    );
                }
                Some(standbys) if standbys.len() >= self.followers => break standbys,
                _ if begun.elapsed() < PATIENCE && pause(Duration::from_millis(500)).is_ok() => {}
                Some(standbys) => break standbys,
                None => return speech.warn("warning: nobody tells who follows: the server does not answer"),
            }
        };
        for standby in &standbys {
            let how = if standby.synchronous { "follows synchronously" } else { "follows" };
            let (name, lag) = (plain(&standby.name), &standby.lag);
            speech.say(&format!("replication: {name} {how}, {lag} bytes behind"));
        }
        self.fewer(standbys.len(), speech);
    }

    fn fewer(&self, follow: usize, speech: &Speech) {
        if follow < self.followers {
            let all = self.followers;
            speech.warn(&format!("warning: {follow} are there to follow, of {all} in the snapshot"));
        }
    }
}

struct Standby {
    name: String,
    synchronous: bool,
    lag: String,
    /// It is shown to members of `pg_monitor` alone.
    hidden: bool,
}

/// Who streams from the server of this system identifier; `None` when it does not answer.
fn streaming(identifier: &str) -> Option<Vec<Standby>> {
    let server = answering(identifier)?;
    let rows = server.query(&server.facts().database, STREAMING).ok()?;
    let standby = |row: Vec<String>| -> Option<Standby> {
        let [name, sync, lag, hidden] = row.try_into().ok()?;
        Some(Standby { name, synchronous: sync == "sync" || sync == "quorum", lag, hidden: hidden == "t" })
    };
    rows.into_iter().map(standby).collect()
}

/// The server, if it is this one that answers.
pub(crate) fn answering(identifier: &str) -> Option<Server> {
    let server = Server::find(None, &Settings::load().ok()?.impatient(), None).ok()?;
    (server.facts().system_identifier.as_deref() == Some(identifier)).then_some(server)
}
