//! Volumes of Podman, which says of containers in its own way what Docker says.

use std::path::PathBuf;
use std::process::Command;

use crate::folder::Stage;
use crate::lab::{Ran, run};
use crate::sh;
use crate::stage::busybox;

/// A volume with a container on it, both of a test's own.
struct Volume {
    name: String,
    stage: Stage,
}

impl Volume {
    fn new() -> Volume {
        let stage = Stage::new();
        // what Podman sets by itself is more than a container may that runs this
        stage
            .write("limits", "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n");
        let volume = Volume { name: format!("pgkeep-test-podman-{}", std::process::id()), stage };
        let image = busybox();
        run(&mut sh("podman --version")).exits(0);
        run(&mut sh(&format!("docker save {image} | podman load"))).exits(0);
        volume.podman(&["volume", "create", &volume.name]).exits(0);
        let (name, mount) = (volume.name.as_str(), format!("{}:/x", volume.name));
        let words = ["create", "--name", name, "--network=none", "--stop-timeout=0", "--volume", &mount];
        let service = ["--label", "com.docker.compose.service=web", "--entrypoint=/bin/busybox"];
        let image = format!("localhost/{image}");
        volume.podman(&[&words[..], &service, &[&image, "sleep", "600"]].concat()).exits(0);
        volume
    }

    fn own(&self, mut command: Command) -> Ran {
        run(command.env("CONTAINERS_CONF", self.stage.path("limits").canonicalize().unwrap()))
    }

    fn podman(&self, words: &[&str]) -> Ran {
        let mut command = Command::new("podman");
        command.args(words);
        self.own(command)
    }

    fn tool(&self, tool: &str, words: &[&str]) -> Ran {
        self.own(self.stage.tool(tool, words))
    }

    /// Where its files are.
    fn files(&self) -> PathBuf {
        let ran = self.podman(&["volume", "inspect", "--format", "{{.Mountpoint}}", &self.name]);
        ran.exits(0).line().into()
    }

    fn runs(&self) -> bool {
        let ran = self.podman(&["inspect", "--format", "{{.State.Running}}", &self.name]);
        ran.exits(0).line() == "true"
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run(&mut sh(&format!("podman rm -f {0}; podman volume rm -f {0}", self.name)));
    }
}

#[test]
fn a_volume_of_podman_comes_back_and_who_runs_on_it_is_seen() {
    if !rustix::process::geteuid().is_root() {
        println!("not run: only root reaches the volumes of Podman that root has");
        return;
    }
    let volume = Volume::new();
    let (place, file) = (format!("podman:{}", volume.name), volume.files().join("a"));
    std::fs::write(&file, "one").unwrap();
    // a container that was never started
    let ran = volume.tool("volsnap", &[&place]).exits(0);
    let told: serde_json::Value = serde_json::from_str(&volume.stage.read(ran.line())).unwrap();
    assert_eq!(told["volumes"][0]["services"], serde_json::json!(["web"]));

    volume.podman(&["start", &volume.name]).exits(0);
    let refused = format!("container '{}' runs on {place}", volume.name);
    volume.tool("volsnap", &[&place]).exits(4).says(&refused);
    volume.tool("volrestore", &["--latest", "--yes"]).exits(4).says(&refused);
    let (stop, start) = (format!("podman stop {}", volume.name), format!("podman start {}", volume.name));
    let around = ["--stop", stop.as_str(), "--start", start.as_str()];
    std::fs::write(&file, "two").unwrap();
    let ran = volume.tool("volsnap", &[&[place.as_str()], &around[..]].concat()).exits(0);
    let record = ran.line().to_owned();
    assert!(volume.runs());

    // and one that has ended
    volume.podman(&["stop", &volume.name]).exits(0);
    volume.tool("volsnap", &[&place]).exits(0);
    std::fs::write(&file, "three").unwrap();
    volume.podman(&["start", &volume.name]).exits(0);
    let read = || std::fs::read_to_string(&file).unwrap();
    volume.tool("volrestore", &[&[record.as_str(), "--yes"], &around[..]].concat()).exits(0);
    assert_eq!((read().as_str(), volume.runs()), ("two", true));
    volume.tool("volrestore", &[&["--undo", "--yes"], &around[..]].concat()).exits(0);
    assert_eq!((read().as_str(), volume.runs()), ("three", true));
}
