//! The stage: a folder with a Makefile that includes ours, what runs in it, and what is left there.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder with a Makefile of its own that includes ours; what was started in it ends with it.
pub(crate) struct Host(tempfile::TempDir);

pub(crate) fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Host {
    pub(crate) fn new(makefile: &str) -> Host {
        let dir = tempfile::Builder::new().prefix("pgkeep make ").tempdir_in("/tmp").unwrap();
        // the unprivileged user who runs the server for root must get in
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let include = home().join("Makefile.dev").display().to_string().replace(' ', "\\ ");
        fs::write(dir.path().join("Makefile"), makefile.replace("GUEST", &format!("include {include}")))
            .unwrap();
        Host(dir)
    }

    pub(crate) fn make(&self, words: &[&str]) -> Output {
        self.command("make").args(words).output().unwrap()
    }

    /// A command in the folder, with nothing of the tester's own settings.
    pub(crate) fn command(&self, program: &str) -> Command {
        let programs = Path::new(env!("CARGO_BIN_EXE_pgdump-rotate")).parent().unwrap();
        let mut command = Command::new(program);
        command.current_dir(self.path()).env("PGKEEP_BIN", programs).stdin(Stdio::null());
        for (name, _) in std::env::vars() {
            // neither our own make's flags nor somebody's server, repository or migrations
            let foreign = [
                "PG",
                "MAKE",
                "MFLAGS",
                "BACKUP",
                "DEV_",
                "DATABASE_URL",
                "GIT_",
                "HOOK_",
                "MIGRA",
                "SKIP_",
                "NOTIFY_",
            ];
            if foreign.iter().any(|p| name.starts_with(p)) && name != "PGKEEP_BIN" {
                command.env_remove(name);
            }
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Standard output of a make that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        let output = self.make(words);
        assert!(output.status.success(), "make {words:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn backups(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path().join("backups")) else { return Vec::new() };
        let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).collect();
        found.retain(|p| p.extension().is_some_and(|e| e == "sql"));
        found.sort();
        found
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        let script = ". ./.dev/env && psql -XAtq -v ON_ERROR_STOP=1 -c \"$0\"";
        let output = Command::new("sh").args(["-c", script, sql]).current_dir(self.path()).output().unwrap();
        assert!(output.status.success(), "{sql}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.path().join(".dev").exists() {
            let stack = home().join("scripts/dev/stack");
            let _ = Command::new("sh").arg(stack).arg("destroy").current_dir(self.path()).output();
        }
    }
}

pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
