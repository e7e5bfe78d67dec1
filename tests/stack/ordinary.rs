//! Volumes for whoever may use the engine and is not root: a developer in the group `docker`.

use std::os::unix::fs::{MetadataExt, chown};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::folder::{KILLED, Stage};
use crate::lab::{Ran, Server, end, run, wait_until};
use crate::sh;
use crate::stage::{busybox, programs};

mod replaced;

/// The image of the stack: GNU tar, and PostgreSQL.
fn image() -> String {
    crate::stage::image(programs()).exits(0).line().to_owned()
}

/// Nobody, as most systems number him.
const NOBODY: u32 = 65534;

/// A volume of a test's own, which goes with this, and a folder of nobody's.
struct Volume {
    name: String,
    stage: Stage,
}

impl Volume {
    /// A volume that is filled by a shell of the stack's image, with the folder as `/from`.
    fn new(what: &str, script: &str) -> Volume {
        let stage = Stage::new();
        let name = format!("pgkeep-test-{what}-{}", std::process::id());
        run(&mut sh(&format!("docker volume create {name}"))).exits(0);
        chown(stage.path("."), Some(NOBODY), Some(NOBODY)).unwrap();
        let volume = Volume { name, stage };
        volume.sh(script);
        volume
    }

    /// A shell in it.
    #[track_caller]
    fn sh(&self, script: &str) -> String {
        let mut command = Command::new("docker");
        command.args(["run", "--rm", "--network=none", "-v", &format!("{}:/volume", self.name)]);
        command.args(["-w", "/volume", "--user=0", "--entrypoint=sh", &image(), "-euc", script]);
        run(&mut command).exits(0).out
    }

    fn place(&self) -> String {
        format!("docker:{}", self.name)
    }

    /// One of our programs, of a user who has nothing but the engine's socket.
    fn ordinary(&self, tool: &str, args: &[&str]) -> Command {
        let own = self.stage.tool(tool, args);
        let group = std::fs::metadata("/var/run/docker.sock").unwrap().gid().to_string();
        let mut command = Command::new("setpriv");
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--groups", &group]);
        command.arg(own.get_program()).args(own.get_args()).current_dir(own.get_current_dir().unwrap());
        for (name, value) in own.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// A snapshot of it, by such a user.
    #[track_caller]
    fn snap(&self, image: &str, more: &[&str]) -> Ran {
        run(&mut self.ordinary("volsnap", &[&[self.place().as_str(), "--helper", image], more].concat()))
    }

    /// One that takes its time, once it reads.
    fn slow(&self, more: &[&str]) -> Child {
        let (place, image) = (self.place(), image());
        let args = [&[place.as_str(), "--helper", &image, "--compress=none", "--limit=1M"], more].concat();
        let mut command = self.ordinary("volsnap", &args);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_until("it reads", || {
            let size =
                |n: &String| self.stage.path(&format!("backups/snapshots/{n}")).metadata().unwrap().len();
            let there = self.stage.there("backups/snapshots");
            there && self.stage.names("backups/snapshots").iter().any(|n| n.ends_with(".part") && size(n) > 0)
        });
        child
    }

    /// Containers that have it, and what there is of snapshots.
    fn left(&self) -> (String, Vec<String>) {
        let ask = format!("docker ps -aq --filter volume={}", self.name);
        (run(&mut sh(&ask)).exits(0).out, self.stage.names("backups/snapshots"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run(&mut sh(&format!("docker volume rm -f {}", self.name)));
    }
}

/// Only root can play somebody else here.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        println!("not run: only root can run programs as somebody else");
    }
    root
}

const FILES: &str = "\
    mkdir -p sub/deep; echo one >sub/a; ln sub/a sub/b; ln -s a sub/link; echo x >'sub/we [i]rd*'
    n=$(printf '%0200d' 0); echo long >\"sub/$n\"
    truncate -s 5M sub/holes; echo x | dd of=sub/holes bs=1 seek=3000000 conv=notrunc 2>/dev/null
    touch -d '2001-02-03 04:05:06.789' sub/a; chown 999:998 sub; chmod 2750 sub; chmod 0 sub/deep
    mkfifo pipe; echo 1 >postmaster.pid";

#[test]
fn an_ordinary_user_reads_what_root_reads() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("files", FILES);
    let stage = &volume.stage;
    let mut trees = Vec::new();
    for helper in [None, Some(image()), Some(busybox().to_owned())] {
        let ran = match &helper {
            None => stage.snap(&[&volume.place(), "-o", "whole"]),
            // one that can tell how large it is: then it is copied first
            Some(helper) if helper != busybox() => {
                let waits = ["-o", "copied", "--stop", "true", "--start", "true"];
                volume.snap(helper, &waits).says("copying docker:")
            }
            Some(helper) => volume.snap(helper, &["-o", &helper.replace(':', "-")]),
        };
        let record = ran.exits(0).line().to_owned();
        let told: serde_json::Value = serde_json::from_str(&stage.read(&record)).unwrap();
        let archive = &told["volumes"][0];
        assert_eq!(archive["left_out"], serde_json::json!(["pipe", "postmaster.pid"]), "{helper:?}");
        let name = archive["file"]["name"].as_str().unwrap();
        let dir = std::path::Path::new(&record).parent().unwrap().display().to_string();
        stage.sh(&format!("tar -tzf {dir}/{name}")).exits(0);
        let into = format!("{dir}/tree");
        stage.restore(&[&record, "--into", &into]).exits(0);
        trees.push(stage.tree(&format!("{into}/{}", volume.name)));
        let blocks = stage.path(&format!("{into}/{}/sub/holes", volume.name)).metadata().unwrap().blocks();
        let whole = helper.as_deref() == Some(busybox());
        assert_eq!(blocks > 1000, whole, "{helper:?}: {blocks} blocks");
    }
    assert_eq!(trees[1], trees[0]);
    // busybox knows no fractions of a second
    let seconds = |tree: &[String]| -> Vec<String> {
        let cut = |line: &String| {
            let dot = line.rfind('.').filter(|at| line[at + 1..].starts_with(|c: char| c.is_ascii_digit()));
            dot.map_or(line.clone(), |at| format!("{}{}", &line[..at], &line[at + 10..]))
        };
        tree.iter().map(cut).collect()
    };
    assert_eq!(seconds(&trees[2]), seconds(&trees[0]));
    assert_eq!(volume.left().0, "");
}

#[test]
fn an_ordinary_user_fills_volumes_that_were_not_there() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("source", FILES);
    let dir = volume.stage.path(".").canonicalize().unwrap();
    let stamp = {
        let ran = volume.snap(&image(), &[]).exits(0);
        std::path::Path::new(ran.line()).file_stem().unwrap().to_str().unwrap().to_owned()
    };
    let new = Volume::new("new", "true");
    let gone = || run(&mut sh(&format!("docker volume inspect {}", new.name))).code != 0;
    let remove = || run(&mut sh(&format!("docker volume rm {}", new.name))).exits(0);
    let to = format!("{}=docker:{}", volume.name, new.name);
    let restore = |helper: &str, more: &[&str]| {
        let args = [&[stamp.as_str(), &to, "--yes", "--helper", helper], more].concat();
        volume.ordinary("volrestore", &args)
    };
    remove();
    run(&mut restore("no-such-image:here", &[])).exits(4).says("docker pull no-such-image:here");
    run(&mut restore(&image(), &["--dry-run"])).exits(0);
    assert!(gone());
    let ran = run(&mut restore(&image(), &["--start", "echo started >>log"])).exits(0);
    assert_eq!((ran.line(), volume.stage.read("log").as_str()), (volume.name.as_str(), "started\n"));
    let tree = |name: &str| {
        let ask = format!("docker volume inspect -f '{{{{.Mountpoint}}}}' {name}");
        let at = run(&mut sh(&ask)).exits(0).line().to_owned();
        let from = std::path::Path::new("/").join(at.trim_start_matches('/'));
        let mut tree = volume.stage.tree(from.to_str().unwrap());
        tree.retain(|line| !line.starts_with("pipe ") && !line.starts_with("postmaster.pid "));
        tree
    };
    assert_eq!(tree(&new.name), tree(&volume.name));
    assert_eq!(crate::lab::names(&dir.join("backups")), ["snapshots"]);
    remove();

    // a tar that knows no holes
    run(&mut restore(busybox(), &[])).exits(1).says("GNU tar");
    assert!(gone());

    // killed while it fills: the next run takes away what it made
    volume.sh("head -c 60M /dev/urandom >big");
    let ran = volume.snap(&image(), &["--compress=none"]).exits(0);
    let record = ran.line().to_owned();
    let args = [record.as_str(), &to, "--yes", "--helper", &image()];
    let mut child = volume.ordinary("volrestore", &args).spawn().unwrap();
    wait_until("it fills", || !new.left().0.is_empty());
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    child.wait().unwrap();
    wait_until("the container ends", || new.left().0.is_empty());
    assert!(!gone(), "it is half there");
    run(&mut volume.ordinary("volrestore", &args)).exits(0).says("removing what a restore of");
    assert_eq!(tree(&new.name), tree(&volume.name));
}

#[test]
fn the_data_directory_in_a_volume_tells_what_it_is() {
    if !is_root() {
        return;
    }
    let mut server = Server::start();
    server.make("shop");
    server.stop_in_order();
    let volume = Volume::new("data", "true");
    let from = server.data().display().to_string();
    let copy = format!(
        "docker run --rm --network=none -v {from}:/from:ro -v {}:/volume --entrypoint=cp {} -a /from /volume/pgdata",
        volume.name,
        image()
    );
    run(&mut sh(&copy)).exits(0);
    let planned = volume.snap(&image(), &["--dry-run"]).exits(0);
    assert!(planned.out.contains(", shut down"), "{}", planned.out);
    let ran = volume.snap(&image(), &[]).exits(0);
    let told: serde_json::Value = serde_json::from_str(&volume.stage.read(ran.line())).unwrap();
    let data = &told["volumes"][0]["data"][0];
    assert_eq!((&data["path"], &data["control"]["state"]), (&"pgdata".into(), &"shut_down".into()));
    assert_eq!(told["volumes"][0]["content"], "postgresql");
    assert_eq!(told["system_identifier"], data["control"]["system_identifier"]);

    // the log elsewhere, in a volume that nobody names
    volume.sh("mv pgdata/pg_wal /tmp/ && ln -s /wal pgdata/pg_wal");
    volume.snap(&image(), &[]).exits(4).says("leads to '/wal', which is in none of the volumes");
    volume.snap(&image(), &["--allow-outside"]).exits(0).says("it is not in the snapshot");
    volume.sh("echo >pgdata/global/pg_control");
    let words = format!("cannot read '{}/pgdata/global/pg_control': it is cut short", volume.place());
    volume.snap(&image(), &["--allow-outside"]).exits(1).says(&words);
    volume.snap(&image(), &["--allow-outside", "--hot", "--with-wal"]).exits(4).says("--from-basebackup");
}

#[test]
fn what_a_container_cannot_read_is_refused() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("refused", "echo one >a");
    let (image, place) = (image(), volume.place());
    volume.snap("no-such-image:here", &[]).exits(4).says("docker pull no-such-image:here");
    // an image without a shell
    let bare = format!("pgkeep-test-bare-{}", std::process::id());
    run(&mut sh(&format!("echo x | tar -c -C /etc hostname | docker import - {bare}"))).exits(0);
    let ran = volume.snap(&bare, &[]).exits(4);
    run(&mut sh(&format!("docker image rm {bare}"))).exits(0);
    ran.says("cannot read docker:").says("sh, find and tar");
    let mut away = volume.ordinary("volsnap", &[&place, "--helper", &image]);
    run(away.env("DOCKER_HOST", "unix:///nowhere")).exits(5);
    // who has it must not be read beside
    let other = format!("{}-other", volume.name);
    let run_it =
        format!("docker run -d --rm --name {other} -v {}:/x --entrypoint=sleep {image} 600", volume.name);
    run(&mut sh(&run_it)).exits(0);
    volume.snap(&image, &[]).exits(4).says(&format!("container '{other}' runs on"));
    run(&mut sh(&format!("docker kill {other}"))).exits(0);
    // gone between a look and the next: no empty one takes its place
    let remove = format!("docker volume rm {} >/dev/null", volume.name);
    volume.snap(&image, &["--stop", &remove]).exits(1).says("there is no volume");
    assert_ne!(run(&mut sh(&format!("docker volume inspect {}", volume.name))).code, 0);
    assert_eq!(volume.left(), (String::new(), Vec::new()));
}

#[test]
fn no_container_outlives_who_reads_through_it() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("killed", "head -c 40M /dev/urandom >big");
    let none = |volume: &Volume| volume.left().0.is_empty();
    // interrupted
    let child = volume.slow(&[]);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    end(child).exits(5);
    wait_until("the container ends", || none(&volume));
    assert_eq!(volume.stage.names("backups/snapshots"), Vec::<String>::new());
    // the container ends under our hands
    let child = volume.slow(&[]);
    let kill = format!("docker kill $(docker ps -q --filter volume={})", volume.name);
    run(&mut sh(&kill)).exits(0);
    end(child).exits(5).says("as when its container stops");
    assert_eq!(volume.left(), (String::new(), Vec::new()));
    // somebody writes
    let child = volume.slow(&[]);
    run(&mut sh(&format!("echo >>$(docker volume inspect -f '{{{{.Mountpoint}}}}' {})/big", volume.name)))
        .exits(0);
    end(child).exits(5).says("something writes to the volume");
    assert_eq!(volume.left(), (String::new(), Vec::new()));
    // killed
    let child = volume.slow(&[]);
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    end(child).exits(KILLED);
    wait_until("the container ends by itself", || none(&volume));
    volume.snap(&image(), &[]).exits(0).says("left by a run that did not end");
}
