//! Drills in a container.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::lab::{Ran, Server, names, run, wait_until};
use crate::sh;
use crate::stage::{image, programs};

/// A server with a backup of it, and an image to drill in.
struct Stage {
    server: Server,
    backup: String,
    place: String,
}

impl Stage {
    fn new() -> Stage {
        let place = format!("docker:{}", image(programs()).exits(0).line());
        let server = Server::start();
        server.make("shop");
        let backup = server.rotate(&["-d", "shop"]).exits(0).line().to_owned();
        fs::create_dir(server.home().join("t")).unwrap();
        Stage { server, backup, place }
    }

    fn validate(&self, args: &[&str]) -> Command {
        let mut command = self.server.tool("backup-validate");
        command.args(args).arg(&self.backup).env("TMPDIR", self.server.home().join("t"));
        command
    }

    fn drill(&self, args: &[&str]) -> Ran {
        run(self.validate(&["--drill-in", &self.place]).args(args))
    }

    /// The containers of our own drills: the folders of their owners are in our `TMPDIR`.
    fn containers(&self) -> Vec<String> {
        let listed =
            sh("docker ps -a --filter label=pgkeep.drill --format '{{.Names}} {{.Label \"pgkeep.drill\"}}'");
        let listed = run(&mut { listed }).exits(0).out;
        let ours = self.server.home().join("t").display().to_string();
        let names = listed
            .lines()
            .filter_map(|line| line.split_once(' ').filter(|(_, site)| site.starts_with(&ours)));
        names.map(|(name, _)| name.to_owned()).collect()
    }

    fn left(&self) -> Vec<String> {
        [self.containers(), names(&self.server.home().join("t"))].concat()
    }

    /// Starts a drill and waits until its container is there.
    fn until_it_runs(&self) -> (Child, String) {
        let child =
            self.validate(&["--drill-in", &self.place]).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
        wait_until("the container of a drill runs", || !self.containers().is_empty());
        (child.unwrap(), self.containers().remove(0))
    }
}

#[test]
fn a_drill_in_a_container_has_no_network_and_leaves_nothing() {
    let stage = Stage::new();
    let query = ["--query", "SELECT count(*), current_setting('fsync') FROM grades", "--expect", "500|off"];
    stage.drill(&query).exits(0).says("and proven in ");
    assert_eq!(stage.left(), [""; 0]);
    stage.drill(&["--query", "SELECT 1", "--expect", "2"]).exits(1).says("answers '1', not '2'");
    assert_eq!(stage.left(), [""; 0]);

    let (mut child, container) = stage.until_it_runs();
    let mode = sh(&format!("docker inspect -f '{{{{.HostConfig.NetworkMode}}}}' {container}"));
    assert_eq!(run(&mut { mode }).exits(0).out, "none\n");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(stage.containers(), [container], "it outlives a kill; else there is nothing to sweep");
    stage.drill(&[]).exits(0).says("left by a drill that was killed");
    assert_eq!(stage.left(), [""; 0]);
}

#[test]
fn an_image_that_is_not_there_or_has_no_postgresql_is_refused() {
    let stage = Stage::new();
    let drill = |place: &str| run(&mut stage.validate(&["--drill-in", place]));
    drill("docker:pgkeep-no-such-image").exits(4).says("docker pull pgkeep-no-such-image");
    assert_eq!(stage.left(), [""; 0]);
}
