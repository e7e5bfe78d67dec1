//! A server that archives its log with `wal-archive`, and recoveries from that.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::lab::{self, Ran, Server, wait_until};

/// A server and its archive. Segments are of 1 MiB.
pub(crate) struct Stage {
    pub(crate) server: Server,
}

const SETTINGS: &str = "
wal_level = replica
max_wal_senders = 4
min_wal_size = 2MB
max_wal_size = 64MB
archive_mode = on
";

impl Stage {
    /// A server that archives as `config` says, with further options.
    pub(crate) fn archiving(options: &[&str]) -> Stage {
        let mut stage = Stage::idle();
        let settings = stage.config(options);
        stage.set(&settings);
        stage.server.start_again();
        stage
    }

    /// A server whose archiver fails; for those who push by hand.
    pub(crate) fn hoarding() -> Stage {
        let mut stage = Stage::idle();
        stage.set("archive_command = 'false'\n");
        stage.server.start_again();
        stage
    }

    fn idle() -> Stage {
        let mut server = Server::start();
        server.stop();
        let stage = Stage { server };
        // who runs the server may not reach the folder that cargo builds in
        fs::copy(env!("CARGO_BIN_EXE_wal-archive"), stage.program()).unwrap();
        stage.wal(&["init", "-a", &stage.archive_text()]).exits(0);
        lab::give(&stage.archive());
        for file in lab::names(&stage.archive()) {
            lab::give(&stage.archive().join(file));
        }
        stage.set(SETTINGS);
        stage
    }

    fn set(&self, settings: &str) {
        let conf = self.server.data().join("postgresql.conf");
        fs::write(&conf, format!("{}\n{settings}", fs::read_to_string(&conf).unwrap())).unwrap();
    }

    /// The lines that `config` prints.
    pub(crate) fn config(&self, options: &[&str]) -> String {
        let archive = self.archive_text();
        let mut command = Command::new(self.program());
        lab::run(command.args(["config", "-a", &archive]).args(options).stdin(Stdio::null())).exits(0).out
    }

    pub(crate) fn program(&self) -> PathBuf {
        self.server.data().parent().unwrap().join("wal-archive")
    }

    pub(crate) fn archive(&self) -> PathBuf {
        self.server.data().parent().unwrap().join("archive")
    }

    pub(crate) fn archive_text(&self) -> String {
        self.archive().to_str().unwrap().to_owned()
    }

    /// A folder of the archive's first timeline.
    pub(crate) fn folder(&self) -> PathBuf {
        self.archive().join("00000001")
    }

    /// The segments that the archive holds of a timeline, without what is behind their names.
    pub(crate) fn archived(&self, timeline: u32) -> Vec<String> {
        let names = lab::names(&self.archive().join(format!("{timeline:08X}")));
        let segments = names.iter().filter(|n| !n.ends_with(".xxh128") && !n.ends_with(".backup"));
        segments.map(|n| n.trim_end_matches(".gz").trim_end_matches(".zst").to_owned()).collect()
    }

    /// `wal-archive ARGS`, in the data directory as the server runs it.
    pub(crate) fn wal(&self, args: &[&str]) -> Ran {
        lab::run(self.server.tool("wal-archive").current_dir(self.server.data()).args(args))
    }

    /// `wal-archive push` of a segment in `pg_wal`.
    pub(crate) fn push(&self, name: &str, options: &[&str]) -> Ran {
        let path = format!("pg_wal/{name}");
        self.wal(&[&["push", "-a", &self.archive_text(), &path, name], options].concat())
    }

    /// Full segments in `pg_wal` that wait to be archived.
    pub(crate) fn ready(&self) -> Vec<String> {
        let names = lab::names(&self.server.data().join("pg_wal/archive_status"));
        names.iter().filter_map(|n| n.strip_suffix(".ready")).map(str::to_owned).collect()
    }

    /// Fills `n` segments and begins the next.
    pub(crate) fn fill(&self, n: usize) {
        for _ in 0..n {
            self.server.sql(
                "postgres",
                "CREATE TABLE IF NOT EXISTS filler (t text);
                INSERT INTO filler SELECT repeat(md5(n::text), 20) FROM generate_series(1, 500) n;
                SELECT pg_switch_wal()",
            );
        }
    }

    /// Brings all that was committed into the archive.
    pub(crate) fn settle(&self) {
        let last = self.server.sql("postgres", "SELECT pg_walfile_name(pg_switch_wal())");
        let position = |name: &str| name.split('.').next().unwrap().to_owned();
        wait_until("the archiver is done", || {
            let done = self.server.sql("postgres", "SELECT last_archived_wal FROM pg_stat_archiver");
            position(&done) >= last
        });
    }

    /// A base backup without log.
    pub(crate) fn base(&self, name: &str) -> PathBuf {
        let dir = self.server.data().parent().unwrap().join(name);
        fs::DirBuilder::new().mode(0o700).create(&dir).unwrap();
        lab::give(&dir);
        let mut command = lab::as_runner(lab::bin("pg_basebackup"));
        command
            .arg("-h")
            .arg(self.server.host())
            .args(["-U", "postgres", "-c", "fast", "-Xnone", "-D"])
            .arg(&dir);
        lab::run(&mut command).exits(0);
        dir
    }

    /// A server that recovers a base backup from the archive, not started. It archives nothing, unless
    /// `settings` say so.
    pub(crate) fn recovering(&self, base: &Path, options: &[&str], settings: &str) -> Server {
        let config = self.config(options);
        let restore = config.lines().find(|l| l.starts_with("restore_command")).unwrap();
        let settings = format!(
            "\narchive_mode = off\nrecovery_target_action = promote\n{restore}\nrecovery_target_timeline = current\n{settings}\n"
        );
        let server = Server::from(base, &settings);
        fs::write(server.data().join("recovery.signal"), "").unwrap();
        lab::give(&server.data().join("recovery.signal"));
        server
    }

    /// pgbench in the background, for `seconds`; its tables are made first.
    pub(crate) fn bench(&self, seconds: u32) -> Child {
        let seconds = seconds.to_string();
        lab::run(self.server.client("pgbench").args(["-i", "-q", "-s", "1", "postgres"])).exits(0);
        let mut bench = self.server.client("pgbench");
        bench.args(["-n", "-c", "4", "-T", &seconds, "postgres"]);
        bench.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// Starts a server that recovers, and waits until that is over.
pub(crate) fn recover(server: &mut Server) {
    server.start_again();
    wait_until("the recovery is over", || server.sql("postgres", "SELECT pg_is_in_recovery()") == "f");
}

/// All of the tables of pgbench, in a word.
pub(crate) fn rows(server: &Server) -> String {
    server.sql(
        "postgres",
        "SELECT (SELECT count(*) FROM pgbench_history),
            (SELECT md5(string_agg(h::text, ';' ORDER BY h::text)) FROM pgbench_history h),
            (SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(bbalance) FROM pgbench_branches)",
    )
}

/// Changes one bit in the middle of a file.
pub(crate) fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 0x10;
    fs::write(path, bytes).unwrap();
}
