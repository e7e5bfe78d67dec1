//! Volumes that are there, replaced by a user who may not enter their directory.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::{FILES, NOBODY, Volume, image, is_root};
use crate::folder::{KILLED, killing};
use crate::lab::{Server, end, run, wait_until};
use crate::sh;
use crate::stage::busybox;

impl Volume {
    /// The directory of the engine's that holds the volume's.
    fn folder(&self) -> PathBuf {
        let ask = format!("docker volume inspect -f '{{{{.Mountpoint}}}}' {}", self.name);
        let at = run(&mut sh(&ask)).exits(0).line().to_owned();
        PathBuf::from(at).parent().unwrap().to_owned()
    }

    /// The names beside it.
    fn beside(&self) -> Vec<String> {
        crate::lab::names(&self.folder())
    }

    /// What is in it, or in what is kept beside it.
    fn tree(&self, name: &str) -> Vec<String> {
        self.stage.tree(self.folder().join(name).to_str().unwrap())
    }

    fn now(&self) -> Vec<String> {
        self.tree("_data")
    }

    fn restoring(&self, helper: &str, args: &[&str]) -> Command {
        self.ordinary("volrestore", &[args, &["--yes", "--helper", helper]].concat())
    }

    #[track_caller]
    fn restore(&self, args: &[&str]) -> crate::lab::Ran {
        run(&mut self.restoring(&image(), args))
    }

    /// Containers that do something for its folder of snapshots.
    fn at_work(&self) -> String {
        let dir = self.stage.path("backups/snapshots").canonicalize().unwrap();
        let ask = format!("docker ps -aq --filter 'label=pgkeep.folder={}'", dir.display());
        run(&mut sh(&ask)).exits(0).out
    }

    /// A snapshot of it: its time, and what it holds.
    fn taken(&self, more: &[&str]) -> (String, Vec<String>) {
        let ran = self.snap(&image(), more).exits(0);
        let stem = std::path::Path::new(ran.line()).file_stem().unwrap().to_str().unwrap().to_owned();
        let mut tree = self.now();
        tree.retain(|line| !line.starts_with("pipe ") && !line.starts_with("postmaster.pid "));
        (stem, tree)
    }

    fn kill_at(&self, mut command: Command, what: &str, is: impl Fn() -> bool) {
        let mut child = command.spawn().unwrap();
        wait_until(what, is);
        kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    fn fills(&self) -> bool {
        let staged = self.beside().into_iter().find(|n| n.contains(".restore_"));
        let big = |name| self.folder().join(name).join("big").metadata().is_ok_and(|m| m.len() > 0);
        staged.is_some_and(big)
    }
}

#[test]
fn an_ordinary_user_replaces_what_is_there_and_goes_back() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("place", FILES);
    let (stamp, wanted) = volume.taken(&[]);
    volume.sh("echo changed >sub/a; rm 'sub/we [i]rd*'; echo new >new; chown 5:6 .; chmod 750 .");
    let changed = volume.now();
    let untouched = |why: &str| {
        assert_eq!((volume.now(), volume.beside()), (changed.clone(), vec!["_data".to_owned()]), "{why}");
        assert_eq!(volume.at_work(), "", "{why}");
    };
    run(&mut volume.restoring("no-such-image:here", &[&stamp]))
        .exits(4)
        .says("docker pull no-such-image:here");
    let planned = volume.restore(&[&stamp, "--dry-run"]).exits(0);
    assert!(planned.out.contains("keep    what is there now"), "{}", planned.out);
    untouched("a plan");
    // in use, also by a container that was given the directory itself
    let other = format!("{}-other", volume.name);
    for mount in [volume.name.clone(), volume.folder().join("_data").display().to_string()] {
        let image = image();
        let words = format!("-d --rm --name {other} -v {mount}:/x --entrypoint=sleep {image} 600");
        run(&mut sh(&format!("docker run {words}"))).exits(0);
        volume.restore(&[&stamp]).exits(4).says(&format!("container '{other}' runs on"));
        // what is told to stop it does not
        volume.restore(&[&stamp, "--stop", "true"]).exits(4).says(&format!("container '{other}' runs on"));
        untouched("in use");
        run(&mut sh(&format!("docker kill {other}"))).exits(0);
        wait_until("it is gone", || run(&mut sh(&format!("docker inspect {other}"))).code != 0);
    }

    let args = [stamp.as_str(), "--stop", "echo stop >>log", "--start", "echo start >>log"];
    let ran = volume.restore(&args).exits(0).says("--undo goes back to it");
    assert_eq!((ran.line(), volume.stage.read("log").as_str()), (volume.name.as_str(), "stop\nstart\n"));
    assert_eq!(volume.now(), wanted);
    let kept = volume.beside().pop().unwrap();
    assert!(kept.starts_with("_data.before_") && volume.beside().len() == 2, "{kept}");
    assert_eq!(volume.tree(&kept), changed);

    // and back, and again
    volume.restore(&["--undo"]).exits(0);
    assert_eq!(volume.now(), changed);
    volume.restore(&["--undo"]).exits(0);
    assert_eq!(volume.now(), wanted);
    // one is kept, then none; busybox does, too, but for holes, and for the group of links where that is set by
    // the directory's mode
    volume.sh("rm sub/holes sub/link");
    let (stamp, wanted) = volume.taken(&[]);
    volume.restore(&[&stamp]).exits(0).says("removing ");
    assert_eq!((volume.now(), volume.beside().len()), (wanted.clone(), 2));
    run(&mut volume.restoring(busybox(), &[&stamp, "--keep-before", "0"])).exits(0);
    assert_eq!((volume.now().len(), volume.beside()), (wanted.len(), vec!["_data".to_owned()]));
    volume.restore(&["--undo"]).exits(1).says("nothing to undo");
    // emptied as what a cluster's manager knows is
    let state = Volume::new("state", "echo x >a; chown 7:8 .; chmod 711 .");
    volume.restore(&[&stamp, "--forget", &state.place()]).exits(0);
    let (now, was) = (state.now(), state.tree(&state.beside()[1]));
    assert!(now.len() == 1 && now[0].starts_with(" 40711 7:8 "), "{now:?}");
    assert_eq!(was.len(), 2);
    volume.restore(&["--undo"]).exits(0);
    assert_eq!(state.now(), was);
    assert_eq!(volume.at_work(), "");
}

#[test]
fn what_was_cut_off_in_a_volume_of_the_engines_is_ended_by_the_next_run() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("cut", "head -c 60M /dev/urandom >big; echo one >a");
    let (stamp, wanted) = volume.taken(&["--compress=none"]);
    volume.sh("echo changed >a; rm big");
    let changed = volume.now();
    let only = || vec!["_data".to_owned()];
    // while it fills, told to end, and killed
    let mut command = volume.restoring(&image(), &[&stamp]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    wait_until("it fills", || volume.fills());
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    end(child).exits(5);
    assert_eq!((volume.now(), volume.beside(), volume.at_work()), (changed.clone(), only(), String::new()));
    volume.kill_at(volume.restoring(&image(), &[&stamp]), "it fills", || volume.fills());
    assert_eq!(volume.now(), changed);
    volume.restore(&["--undo"]).exits(0).says("has filled in");
    assert_eq!((volume.now(), volume.beside()), (changed.clone(), only()));
    // killed when all is filled in and services are stopped: run again
    let args = [stamp.as_str(), "--stop", &killing("stop"), "--start", "echo start >>log"];
    volume.restore(&args).exits(KILLED);
    wait_until("its containers end", || volume.at_work().is_empty());
    volume.restore(&args).exits(0);
    assert_eq!((volume.now(), volume.stage.read("log").as_str()), (wanted.clone(), "start\nstop\nstart\n"));
    volume.restore(&["--undo"]).exits(0);
    // while names change, after each rename
    for steps in 1..4 {
        assert_eq!(volume.now(), changed, "{steps}");
        volume.restore(&[&stamp, "--stop", "kill -9 $PPID", "--start", "true"]).exits(KILLED);
        let staged = volume.beside().into_iter().find(|n| n.contains(".restore_")).unwrap();
        let rename = |dir: PathBuf, from: &str, to: &str| fs::rename(dir.join(from), dir.join(to)).unwrap();
        let snapshots = || volume.stage.path("backups/snapshots");
        let all: [&dyn Fn(); 3] = [
            &|| rename(snapshots(), ".restore.json", ".swap.json"),
            &|| rename(volume.folder(), "_data", &staged.replace("restore", "before")),
            &|| rename(volume.folder(), &staged, "_data"),
        ];
        all.iter().take(steps).for_each(|step| step());
        if steps == 2 {
            // whoever keeps his journals elsewhere learns of it
            let record = volume.stage.path(&format!("backups/snapshots/{stamp}.json")).display().to_string();
            volume.restore(&[&record, "-o", "elsewhere"]).exits(4).says("its journal is elsewhere");
        }
        volume.restore(&[&stamp]).exits(0).says("ending the restore").says("the restore is done");
        assert_eq!(volume.now(), wanted, "{steps}");
        volume.restore(&["--undo"]).exits(0);
    }
}

#[test]
fn names_that_cannot_change_in_one_volume_are_taken_back_in_all() {
    if !is_root() {
        return;
    }
    let (one, two) = (Volume::new("one", "echo one >a"), Volume::new("two", "echo two >a"));
    let (stamp, _) = one.taken(&[&two.place()]);
    one.sh("echo changed >a");
    two.sh("echo changed >a");
    let before = (one.now(), two.now());
    let clash = format!(
        "echo stop >>log; docker run --rm --network=none -v {}:/x -w /x --entrypoint=sh {} \
        -c 'for d in _data.restore_*; do mkdir _data.before_${{d#*restore_}}; done'",
        two.folder().display(),
        image()
    );
    one.restore(&[&stamp, "--stop", &clash, "--start", "echo start >>log"]).exits(1).says("is there");
    assert_eq!((one.now(), two.now()), before);
    assert_eq!((one.beside().len(), two.beside().len()), (1, 2));
    assert_eq!(one.stage.read("log"), "stop\nstart\n");
    let restored = || (one.sh("cat a"), two.sh("cat a")) == ("one\n".to_owned(), "two\n".to_owned());
    one.restore(&[&stamp]).exits(0);
    assert!(restored());
    // one that was removed meanwhile is made; with it went what was kept of it
    run(&mut sh(&format!("docker volume rm {}", two.name))).exits(0);
    one.restore(&[&stamp]).exits(0).says("removing ");
    assert!(restored());
    one.restore(&["--undo"]).exits(0);
    assert_eq!((one.sh("cat a").as_str(), two.sh("ls").as_str()), ("one\n", ""));
}

#[test]
fn room_is_looked_for_where_the_engine_keeps_the_volume() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("small", "true");
    let folder = volume.folder();
    let mount =
        format!("mount -t tmpfs -o size=12m,mode=701 tmpfs '{0}' && mkdir '{0}/_data'", folder.display());
    run(&mut sh(&mount)).exits(0);
    struct Mounted(PathBuf);
    impl Drop for Mounted {
        fn drop(&mut self) {
            run(Command::new("umount").arg("-l").arg(&self.0));
        }
    }
    let _mounted = Mounted(folder);
    volume.sh("head -c 7M /dev/urandom >big; mkdir sub; echo one >sub/a");
    let (stamp, wanted) = volume.taken(&["--compress=none"]);
    volume.sh("head -c 7M /dev/zero >big; echo new >new");
    let changed = volume.now();
    let stops = ["--stop", "echo stop >>log", "--start", "echo start >>log"];
    volume
        .restore(&[&[stamp.as_str()], &stops[..]].concat())
        .exits(5)
        .says("no room")
        .says("--keep-before 0");
    assert_eq!((volume.now(), volume.stage.read("log").as_str()), (changed, ""));
    let args = [&[stamp.as_str(), "--keep-before", "0"], &stops[..]].concat();
    // killed when it has emptied the volume: the next run ends that
    let swaps = || volume.stage.there("backups/snapshots/.swap.json") && volume.beside().len() == 2;
    volume.kill_at(volume.restoring(&image(), &args), "it fills what it has emptied", swaps);
    volume.restore(&args).exits(0).says("ending the restore").says("the restore is done");
    assert_eq!((volume.now(), volume.beside()), (wanted.clone(), vec!["_data".to_owned()]));
    assert_eq!(volume.stage.read("log"), "stop\nstart\n");
    volume.sh("head -c 7M /dev/zero >big");
    volume.restore(&args).exits(0);
    assert_eq!((volume.now(), volume.beside()), (wanted, vec!["_data".to_owned()]));
    // not even that makes room
    let mut other = String::from("head -c 6M /dev/urandom >../other 2>/dev/null; ");
    other.push_str("rm big");
    run(Command::new("sh").args(["-c", &other]).current_dir(volume.folder().join("_data"))).exits(0);
    volume.restore(&args).exits(5).says("no room");
    assert_eq!(volume.sh("ls"), "sub\n");
}

#[test]
fn a_volume_that_cannot_change_its_name_is_refused_before_anything_is_touched() {
    if !is_root() {
        return;
    }
    let volume = Volume::new("mounted", "echo one >a");
    let (stamp, _) = volume.taken(&[]);
    let other = Volume::new("tmpfs", "true");
    run(&mut sh(&format!("docker volume rm {}", other.name))).exits(0);
    let make =
        format!("docker volume create -d local -o type=tmpfs -o device=tmpfs -o o=size=8m {}", other.name);
    run(&mut sh(&make)).exits(0);
    let to = format!("{}={}", volume.name, other.place());
    let ran = volume.restore(&[&stamp, &to, "--stop", "touch stopped"]).exits(4);
    ran.says("a file system of its own").says("LABEL=docker:NEW");
    assert!(!volume.stage.there("stopped"));
    let names = vec!["_data".to_owned(), "opts.json".to_owned()];
    assert_eq!((other.beside(), volume.at_work()), (names, String::new()));
}

#[test]
fn the_data_directory_that_is_there_is_told_in_the_plan() {
    if !is_root() {
        return;
    }
    let mut server = Server::start();
    server.make("shop");
    server.stop_in_order();
    let volume = Volume::new("there", "true");
    let copy = format!(
        "docker run --rm --network=none -v {}:/from:ro -v {}:/volume --entrypoint=cp {} -a /from '/volume/it is'",
        server.data().display(),
        volume.name,
        image()
    );
    run(&mut sh(&copy)).exits(0);
    let (stamp, wanted) = volume.taken(&[]);
    let planned = volume.restore(&[&stamp, "--dry-run"]).exits(0).out;
    assert!(planned.contains("; there now: timeline 1, shut down"), "{planned}");
    assert!(!planned.contains("WARNING"), "{planned}");
    volume.sh("mkdir 'it is/conf.d'; echo archive_mode=on >'it is/conf.d/a.conf'");
    volume.sh("rm -f 'it is/postmaster.opts'; echo \"include_dir 'conf.d'\" >>'it is/postgresql.conf'");
    let planned = volume.restore(&[&stamp, "--dry-run"]).exits(0).out;
    assert!(planned.contains("WARNING: the server there archives its WAL"), "{planned}");
    volume.restore(&[&stamp]).exits(0);
    assert_eq!(volume.now(), wanted);
    assert_eq!(
        fs::metadata(volume.stage.path("backups")).map(|m| std::os::unix::fs::MetadataExt::uid(&m)).unwrap(),
        NOBODY
    );
}
