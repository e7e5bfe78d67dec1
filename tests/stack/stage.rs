//! The stage: a stack of the test's own, beside whatever else runs here.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::host::{Host, home};
use crate::lab::{Ran, run, wait_until};
use crate::sh;

/// The folder of our programs.
pub(crate) fn programs() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pgdump-rotate")).parent().unwrap()
}

/// Makes the image of the stack where it is missing, with the program of that folder in it.
pub(crate) fn image(programs: &Path) -> Ran {
    run(Command::new(home().join("scripts/stack/image")).env("PGKEEP_BIN", programs))
}

/// A stack in containers, with project, volumes and ports of its own; they go with this. Every step is
/// bounded by the programs' own waits, not by that of other tests: images are built, leaders elected.
pub(crate) struct Stack {
    host: Host,
    pub(crate) name: String,
    rest: u16,
    keeper: Child,
}

impl Stack {
    /// Brings one up from nothing.
    pub(crate) fn start() -> Stack {
        image(programs()).exits(0);
        let name = format!("pgkeep-test-{}", std::process::id());
        let (sql, rest, redis) = (free_ports(20_000), free_ports(23_000), free_ports(26_000));
        let makefile = format!(
            "DEV_STACK = compose\nDEV_PROJECT = {name}\nDEV_PORT = {sql}\nDEV_REST_PORT = {rest}\n\
            DEV_REDIS_PORT = {redis}\nGUEST\n"
        );
        let host = Host::new(&makefile);
        let stack = Stack { keeper: keeper(&host, &name), host, name, rest };
        stack.make(&["dev-up"]).exits(0);
        stack
    }

    /// `make WORDS`; of its own exit status only zero or not tells something.
    pub(crate) fn make(&self, words: &[&str]) -> Ran {
        let begun = Instant::now();
        let ran = Ran::from(self.host.make(words));
        println!("make {} ({} s)\n{}{}", words.join(" "), begun.elapsed().as_secs(), ran.out, ran.err);
        ran
    }

    /// Begins `make WORDS`, and kills all of it once it has come so far.
    #[track_caller]
    pub(crate) fn kill(&self, words: &[&str], so_far: impl FnMut() -> bool) {
        let mut command = self.host.command("make");
        let mut child = command.args(words).process_group(0).spawn().unwrap();
        wait_until(&format!("make {} has come so far", words.join(" ")), so_far);
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// The status of the script behind a target that fails.
    #[track_caller]
    pub(crate) fn fails(&self, words: &[&str], status: i32) -> Ran {
        self.make(words).exits(2).says(&format!("Error {status}\n"))
    }

    /// One of our programs, told how to get to the leader; `urls` are asked, too.
    pub(crate) fn tool(&self, name: &str, urls: &[&str], args: &[&str]) -> Ran {
        let mut command = self.host.command(programs().join(name).to_str().unwrap());
        let own = (0..3).map(|n| format!("http://127.0.0.1:{}", self.rest + n));
        let urls: Vec<String> = urls.iter().map(|u| (*u).to_owned()).chain(own).collect();
        command.args(["--via", &format!("docker exec -i {}-{{leader}}", self.name)]);
        Ran::from(command.args(["--patroni", &urls.join(",")]).args(args).output().unwrap())
    }

    /// SQL at the leader, as somebody types it into dev-shell-db.
    #[track_caller]
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        let script = "echo \"$1\" | make -s dev-shell-db \"DEV_DB=$2\"";
        let mut command = self.host.command("sh");
        let output =
            command.args(["-c", script, "sh", &format!("\\pset tuples_only\n{sql}"), database]).output();
        let ran = Ran::from(output.unwrap()).exits(0);
        ran.out.lines().skip(1).collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    /// `docker WORDS`, on the container of a service, the last word.
    #[track_caller]
    pub(crate) fn docker(&self, words: &[&str], service: &str) -> String {
        let mut command = Command::new("docker");
        let output: Output = command.args(words).arg(format!("{}-{service}", self.name)).output().unwrap();
        Ran::from(output).exits(0).out.trim().to_owned()
    }

    /// The node that leads, as wait-healthy tells it.
    #[track_caller]
    pub(crate) fn leader(&self) -> String {
        let ran = self.make(&["wait-healthy"]).exits(0);
        let line = ran.err.lines().find_map(|l| l.strip_suffix(" leads")).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    }

    /// When a service was started, as far as it runs.
    pub(crate) fn running(&self, service: &str) -> Option<String> {
        let format = "{{.State.Running}} {{.State.StartedAt}}";
        self.docker(&["inspect", "-f", format], service).strip_prefix("true ").map(str::to_owned)
    }

    /// Waits until a service has committed another row.
    #[track_caller]
    pub(crate) fn writes(&self, service: &str) {
        let rows = || self.docker(&["logs", "--tail", "1"], service);
        let before = rows();
        wait_until(&format!("{service} writes"), || {
            let now = rows();
            now != before && now.starts_with(|c: char| c.is_ascii_digit())
        });
    }

    /// One of our programs in the stack's folder, with variables of its own.
    pub(crate) fn program(&self, name: &str, variables: &[(&str, &str)], args: &[&str]) -> Ran {
        let mut command = self.host.command(programs().join(name).to_str().unwrap());
        Ran::from(command.envs(variables.iter().copied()).args(args).output().unwrap())
    }

    /// Where a volume has its files.
    pub(crate) fn volume(&self, name: &str) -> String {
        let inspect = "docker volume inspect -f '{{.Mountpoint}}'";
        run(&mut sh(&format!("{inspect} {}-{name}", self.name))).exits(0).line().to_owned()
    }

    /// The manifests of the backups, in order.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let backups = self.host.backups();
        backups.iter().map(|b| std::fs::read_to_string(format!("{}.json", b.display())).unwrap()).collect()
    }

    /// The name of the newest backup.
    pub(crate) fn backup(&self) -> String {
        self.host.backups().pop().unwrap().file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// Removes all of it, and sees that it is gone.
    pub(crate) fn remove(mut self) {
        self.end();
        let left = format!("docker ps -aq -f name={0}; docker volume ls -q -f name={0}", self.name);
        assert_eq!(Ran::from(sh(&left).output().unwrap()).exits(0).out, "");
    }

    fn end(&mut self) {
        drop(self.keeper.stdin.take());
        self.keeper.wait().unwrap();
    }

    /// Takes containers and volumes away; the stage stays.
    pub(crate) fn destroy(&self) {
        let mut command = self.host.command("sh");
        command.arg(home().join("scripts/dev/stack")).arg("destroy");
        command.env("DEV_STACK", "compose").env("DEV_PROJECT", &self.name);
        Ran::from(command.output().unwrap()).exits(0);
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.end();
    }
}

/// A busybox that was linked statically is a whole system.
pub(crate) fn busybox() -> &'static str {
    const IMAGE: &str = "pgkeep-test-busybox:shell";
    run(&mut sh("docker info")).exits(0);
    if run(&mut sh(&format!("docker image inspect {IMAGE}"))).code != 0 {
        run(&mut sh(&format!(
            "dir=$(mktemp -d) && mkdir $dir/bin && cp \"$(command -v busybox)\" $dir/bin/ && \
            for name in sh tar find cat cp grep; do ln -s busybox $dir/bin/$name || exit; done && \
            tar -C $dir -c . | docker import - {IMAGE}; status=$?; rm -r $dir; exit $status"
        )))
        .exits(0);
    }
    IMAGE
}

/// Removes the stack when its standard input ends: when we say so, fail, or are killed.
fn keeper(host: &Host, name: &str) -> Child {
    let script =
        format!("trap '' HUP INT TERM; cat; exec sh '{}/scripts/dev/stack' destroy", home().display());
    let mut command = host.command("sh");
    command.args(["-c", &script]).env("DEV_STACK", "compose").env("DEV_PROJECT", name);
    // its folder may go before it does
    command.current_dir("/").process_group(0).stdin(Stdio::piped()).stdout(Stdio::null());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// The first of three ports of loopback that nobody has.
fn free_ports(from: u16) -> u16 {
    let mine = (std::process::id() % 250) as u16 * 4;
    let free = |port: &u16| (0..3).all(|n| TcpListener::bind(("127.0.0.1", port + n)).is_ok());
    (from + mine..from + 3_000).find(free).unwrap()
}
