//! Services of somebody's own project stop for a restore and start again.

use std::fs;
use std::process::Command;

use crate::lab::{Ran, Server, run};
use crate::sh;
use crate::stage::busybox;

/// A project of Docker Compose in a server's home, which goes with this.
struct Project<'a> {
    server: &'a Server,
    compose: Vec<&'static str>,
}

impl<'a> Project<'a> {
    /// Starts services `backend` and `idle`; `frontend` is made and does not run.
    fn start(server: &'a Server) -> Self {
        let image = busybox();
        // killed at once: the first process of a container ignores other signals
        let service = |name: &str| {
            format!(
                "  {name}:\n    image: {image}\n    command: [busybox, sleep, '600']\n    stop_signal: SIGKILL\n"
            )
        };
        let file = format!(
            "version: '3'\nservices:\n{}{}{}",
            service("backend"),
            service("frontend"),
            service("idle")
        );
        fs::write(server.home().join("docker-compose.yml"), file).unwrap();
        // by default it is called after its folder, as that of every other run of this test
        let name = format!("COMPOSE_PROJECT_NAME=pgkeep-services-{}\n", std::process::id());
        fs::write(server.home().join(".env"), name).unwrap();
        let plugin = run(&mut sh("docker compose version")).code == 0;
        let compose = if plugin { vec!["docker", "compose"] } else { vec!["docker-compose"] };
        let project = Project { server, compose };
        project.compose(&["up", "-d"]).exits(0);
        project.compose(&["stop", "frontend"]).exits(0);
        project
    }

    fn compose(&self, args: &[&str]) -> Ran {
        let mut command = Command::new(self.compose[0]);
        run(command.args(&self.compose[1..]).args(args).current_dir(self.server.home()))
    }

    /// When each service was started, as far as it runs.
    fn running(&self, service: &str) -> Option<String> {
        let id = self.compose(&["ps", "-q", service]).exits(0).line().to_owned();
        let ask = "docker inspect -f '{{.State.Running}} {{.State.StartedAt}}' ";
        let state = run(&mut sh(&format!("{ask}{id}"))).exits(0).line().to_owned();
        state.strip_prefix("true ").map(str::to_owned)
    }
}

impl Drop for Project<'_> {
    fn drop(&mut self) {
        self.compose(&["down", "-t", "0"]);
    }
}

#[test]
fn exactly_the_services_that_ran_are_started_again() {
    let server = Server::start();
    server.make("shop");
    let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
    let project = Project::start(&server);
    let states = || ["backend", "frontend", "idle"].map(|s| project.running(s));
    let before = states();
    assert!(before[0].is_some() && before[1].is_none() && before[2].is_some(), "{before:?}");

    server.sql("shop", "TRUNCATE grades");
    let args = [backup.as_str(), "--yes", "--services", "backend frontend"];
    server.restore(&args).exits(0).says("start again at the end: backend");
    assert_eq!(server.sql("shop", "SELECT count(*) FROM grades"), "500");
    let after = states();
    assert!(after[0].is_some() && after[0] != before[0] && after[1].is_none(), "{after:?}");
    assert_eq!(after[2], before[2]);

    // after a failure, too
    let text = run(server.client("pg_dump").args(["-w", "-d", "shop"])).exits(0).out;
    let broken = text.replace("\n499\t", "\nx\t");
    fs::write(server.home().join("broken.sql"), broken).unwrap();
    let args = ["broken.sql", "-d", "shop", "--swap", "--yes", "--services=backend,frontend"];
    server.restore(&args).exits(1).says("Every database is as it was.");
    let last = states();
    assert!(last[0].is_some() && last[0] != after[0] && last[1].is_none(), "{last:?}");

    let unknown = [backup.as_str(), "--yes", "--services", "backend nonsense"];
    server.restore(&unknown).exits(4).says("'nonsense' is no service here");
    assert_eq!(states(), last);
}
