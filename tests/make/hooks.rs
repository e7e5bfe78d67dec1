//! The git hooks: a backup ahead of migrations that a merge, a checkout or a rebase brings; and git
//! goes on, whatever becomes of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::host::{Host, home, said};

const LINE: &str = "dir=$(git config pgkeep.hooks) && sh \"$dir/post-merge\" \"$@\" || :";

/// A folder with a repository on branch `main`, the hooks in it, and one migration.
struct Repo(Host);

impl Repo {
    fn new(makefile: &str) -> Repo {
        let repo = Repo::bare_of_hooks(makefile);
        repo.0.ok(&["dev-hooks"]);
        repo
    }

    /// The same, with a server that is up.
    fn with_server(makefile: &str) -> Repo {
        let repo = Repo::new(makefile);
        repo.0.ok(&["dev-up"]);
        repo
    }

    fn bare_of_hooks(makefile: &str) -> Repo {
        let repo = Repo(Host::new(makefile));
        repo.git("init -q -b main");
        repo.git("config user.name tester");
        repo.git("config user.email tester@localhost");
        repo.write(".gitignore", "backups/\n.dev/\n");
        repo.commit("migrations/001.sql");
        repo
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self, file: &str) {
        self.write(file, &format!("{file}, {} commits so far\n", self.git("rev-list --all --count").0));
        self.git("add .");
        self.git("commit -q -m work");
    }

    /// A branch with one more file, begun at `from`; stays on the branch it is on.
    fn branch(&self, name: &str, from: &str, file: &str) {
        let here = self.git("branch --show-current").0;
        self.git(&format!("checkout -q -b {name} {from}"));
        self.commit(file);
        self.git(&format!("checkout -q {here}"));
    }

    fn run(&self, words: &str, set: &[(&str, &str)]) -> Output {
        let mut git = self.0.command("git");
        git.args(words.split_whitespace()).envs(set.iter().copied()).output().unwrap()
    }

    /// What a git that must succeed prints, and what is said by us meanwhile.
    #[track_caller]
    fn git(&self, words: &str) -> (String, Vec<String>) {
        self.git_with(words, &[])
    }

    #[track_caller]
    fn git_with(&self, words: &str, set: &[(&str, &str)]) -> (String, Vec<String>) {
        let output = self.run(words, set);
        assert!(output.status.success(), "git {words}: {}", said(&output));
        let ours = |line: &&str| {
            ["pgkeep:", "dev:", "make", "pgdump", "sh:", "fatal:"].iter().any(|p| line.starts_with(p))
        };
        let lines = String::from_utf8_lossy(&output.stderr).lines().filter(ours).map(String::from).collect();
        (String::from_utf8(output.stdout).unwrap().trim().to_owned(), lines)
    }

    /// A git that must bring one backup of this tag, and one line that tells how to go back.
    #[track_caller]
    fn backs_up(&self, tag: &str, words: &str) {
        let before = self.0.backups();
        let lines = self.git(words).1;
        let new: Vec<_> = self.0.backups().into_iter().filter(|b| !before.contains(b)).collect();
        assert_eq!((new.len(), lines.len()), (1, 1), "git {words}: {new:?}, {lines:?}");
        let name = new[0].file_name().unwrap().to_str().unwrap();
        assert!(lines[0].contains(&format!("backups/{name};")), "{lines:?}");
        assert!(lines[0].ends_with(&format!("make dev-restore BACKUP={name}")), "{lines:?}");
        let manifest = fs::read_to_string(format!("{}.json", new[0].display())).unwrap();
        assert!(manifest.contains(&format!("\"tag\": \"{tag}\"")), "{manifest}");
    }

    /// A git during which nothing is backed up and nothing said.
    #[track_caller]
    fn is_quiet(&self, words: &str) {
        let before = self.0.backups();
        assert_eq!(self.git(words).1, Vec::<String>::new(), "git {words}");
        assert_eq!(self.0.backups(), before, "git {words}");
    }

    /// A git that goes well, without a backup, and one line that says why there is none.
    #[track_caller]
    fn goes_on(&self, words: &str, set: &[(&str, &str)], why: &str) {
        let lines = self.git_with(words, set).1;
        assert!(lines.len() == 1 && lines[0].contains(why), "git {words}: '{why}' is not in {lines:?}");
        assert_eq!(self.0.backups(), Vec::<std::path::PathBuf>::new());
    }

    fn hook(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(".git/hooks").join(name)
    }
}

#[test]
fn a_merge_backs_up_before_new_and_changed_migrations_only() {
    let repo = Repo::with_server("GUEST\n");
    repo.branch("code", "main", "code.c");
    repo.branch("second", "main", "migrations/002.sql");
    repo.is_quiet("merge -q --no-edit code");
    repo.backs_up("pre-merge", "merge -q --no-edit second");
    repo.is_quiet("merge -q --no-edit second");

    repo.branch("changed", "main", "migrations/001.sql");
    repo.backs_up("pre-merge", "merge -q --ff-only changed");
    repo.branch("left", "main", "migrations/deep/003.sql");
    repo.branch("right", "main", "migrations/004.sql");
    repo.backs_up("pre-merge", "merge -q --no-edit left right");
    repo.branch("squashed", "main", "migrations/005.sql");
    repo.backs_up("pre-merge", "merge -q --squash squashed");
    repo.git("commit -q -m squashed");

    // what is gone cannot be run
    repo.git("checkout -q -b less");
    repo.git("rm -q migrations/002.sql");
    repo.git("commit -q -m less");
    repo.git("checkout -q -B main main");
    repo.is_quiet("merge -q less");
}

#[test]
fn a_checkout_of_a_branch_backs_up_and_one_of_files_does_not() {
    let repo = Repo::with_server("BACKUP_KEEP = 1\nGUEST\n");
    repo.branch("feature", "main", "migrations/002.sql");
    repo.0.ok(&["dev-backup"]);
    let own = repo.0.backups();

    repo.is_quiet("checkout -q -b new");
    repo.is_quiet("checkout -q feature -- migrations/002.sql");
    repo.git("reset -q --hard");
    repo.backs_up("pre-checkout", "checkout -q feature");
    repo.is_quiet("checkout -q main");
    // what is taken by the way rotates nothing else away
    repo.git("checkout -q --detach feature");
    repo.is_quiet("checkout -q --detach main");
    assert!(repo.0.backups().contains(&own[0]), "{:?}", repo.0.backups());
    repo.is_quiet("worktree add -q beside feature");
}

#[test]
fn a_rebase_backs_up_once() {
    let repo = Repo::with_server("GUEST\n");
    repo.git("clone -q . upstream");
    let upstream = |words: &str| repo.git(&format!("-C upstream {words}"));
    upstream("config user.name tester");
    upstream("config user.email tester@localhost");
    repo.git("remote add origin ./upstream");
    repo.write(".git/info/exclude", "upstream/\n");
    let arrives = |file: &str| {
        repo.write(&format!("upstream/{file}"), file);
        upstream("add .");
        upstream("commit -q -m theirs");
    };

    repo.commit("own.c");
    arrives("migrations/002.sql");
    repo.backs_up("pre-rebase", "pull -q --rebase origin main");
    repo.commit("more.c");
    arrives("code.c");
    repo.is_quiet("pull -q --rebase origin main");
    // nothing of one's own: git only forwards
    repo.git("reset -q --hard origin/main");
    arrives("migrations/003.sql");
    repo.backs_up("pre-merge", "pull -q --rebase origin main");

    // the upstream that the hook is told of is not where it goes
    repo.branch("onto", "main", "migrations/004.sql");
    repo.git("checkout -q -b mine");
    repo.commit("mine.c");
    repo.backs_up("pre-rebase", "rebase -q --onto onto main mine");
    // another branch than the present one brings its own
    repo.branch("other", "main", "migrations/005.sql");
    repo.git("checkout -q main");
    repo.commit("main.c");
    repo.backs_up("pre-rebase", "rebase -q main other");
}

#[test]
fn the_makefile_may_be_in_a_folder_and_the_repository_a_worktree() {
    let repo = Repo(Host::new("GUEST\n"));
    repo.0.ok(&["dev-up"]);
    let asked = |name: &str| repo.0.sql(&format!("SHOW {name}"));
    let makefile = format!(
        "export PGHOST := {}\nexport PGPORT := {}\nexport PGUSER := postgres\nDEV_STACK = none\n\
         BACKUP_DIR := $(shell git rev-parse --show-toplevel)/backups\nMIGRATIONS_DIR = my changes\n\
         include {}\n",
        asked("unix_socket_directories"),
        asked("port"),
        home().join("Makefile.dev").display().to_string().replace(' ', "\\ ")
    );
    repo.git("init -q -b main");
    repo.git("config user.name tester");
    repo.git("config user.email tester@localhost");
    repo.write("the app/Makefile", &makefile);
    repo.write(".gitignore", "backups/\n.dev/\nbeside/\n");
    repo.commit("the app/my changes/001");
    repo.0.ok(&["-C", "the app", "dev-hooks"]);
    repo.branch("feature", "main", "the app/my changes/002");
    repo.branch("elsewhere", "main", "my changes/002");
    repo.git("worktree add -q beside main~0");

    repo.is_quiet("-C beside merge -q --no-edit elsewhere");
    // git tells hooks of a worktree where its own folder is, and would tell the git of the Makefile too
    let lines = repo.git("-C beside merge -q --no-edit feature").1;
    assert!(lines.len() == 1 && lines[0].contains("beside/backups/git_"), "{lines:?}");
    assert!(lines[0].contains("make -C 'the app' dev-restore BACKUP=git_"), "{lines:?}");
    assert!(repo.0.path().join("beside/backups/SHA256SUMS").exists());
}

#[test]
fn git_goes_on_without_a_server_and_one_line_says_why() {
    let repo = Repo::new("GUEST\n");
    repo.branch("feature", "main", "migrations/002.sql");
    let down = "no backup was taken before a new or changed migration: the local PostgreSQL is not up";
    repo.goes_on("checkout -q feature", &[], down);
    repo.git("checkout -q main");
    repo.goes_on("checkout -q feature", &[("SKIP_BACKUP", "1")], "SKIP_BACKUP=1");
    repo.git("checkout -q main");
    repo.goes_on("merge -q feature", &[("MAKEFLAGS", "n"), ("MIGRATIONS_DIR", "none migrations")], down);
    assert!(repo.0.path().join("migrations/002.sql").exists());
    repo.branch("third", "main", "migrations/003.sql");
    repo.commit("code.c");
    repo.goes_on("rebase -q third", &[], down);

    // a branch from before the guest
    repo.branch("fourth", "main", "migrations/004.sql");
    repo.write("Makefile", "all:\n");
    repo.goes_on("checkout -q fourth", &[], "No rule to make target 'dev-hook-backup'");
    repo.git("checkout -q main");
    repo.git("config pgkeep.hooks /nowhere");
    repo.goes_on("checkout -q fourth", &[], "'/nowhere' is gone");
}

#[test]
fn git_waits_no_longer_than_it_is_told_to() {
    let makefile = "DEV_STACK = none\nPG_VIA = sh -c 'sleep 97' sh\nHOOK_SECONDS = 1\nGUEST\n";
    let repo = Repo::new(makefile);
    repo.branch("feature", "main", "migrations/002.sql");
    let begun = Instant::now();
    repo.goes_on("merge -q feature", &[], "it took longer than 1 s (HOOK_SECONDS)");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}

#[test]
fn installed_twice_is_the_same_as_once_and_removed_is_gone() {
    let repo = Repo::new("GUEST\n");
    let state = || {
        let read = |name| fs::read(repo.hook(name)).unwrap();
        let files = ["post-merge", "post-checkout", "pre-rebase"].map(read);
        (files, fs::read(repo.0.path().join(".git/config")).unwrap())
    };
    let once = state();
    repo.0.ok(&["dev-hooks"]);
    assert!(state() == once);
    repo.0.ok(&["dev-hooks-remove"]);
    assert!(!repo.hook("post-merge").exists() && !repo.hook("pre-rebase").exists());
    repo.branch("feature", "main", "migrations/002.sql");
    repo.is_quiet("checkout -q feature");
}

#[test]
fn a_hook_of_somebody_elses_stays_and_the_line_for_it_is_told() {
    let repo = Repo::bare_of_hooks("GUEST\n");
    let own = "#!/bin/sh\nset -e\ntouch was-here\n";
    fs::write(repo.hook("post-merge"), own).unwrap();
    fs::set_permissions(repo.hook("post-merge"), fs::Permissions::from_mode(0o755)).unwrap();
    let output = repo.0.make(&["dev-hooks"]);
    assert!(!output.status.success() && said(&output).contains(LINE), "{}", said(&output));
    assert_eq!(fs::read_to_string(repo.hook("post-merge")).unwrap(), own);
    assert!(repo.hook("pre-rebase").exists());

    fs::write(repo.hook("post-merge"), format!("{own}{LINE}\n")).unwrap();
    repo.0.ok(&["dev-hooks"]);
    repo.branch("feature", "main", "migrations/002.sql");
    repo.goes_on("merge -q feature", &[], "the local PostgreSQL is not up");
    assert!(repo.0.path().join("was-here").exists());
    repo.0.ok(&["dev-hooks-remove"]);
    assert!(repo.hook("post-merge").exists() && !repo.hook("pre-rebase").exists());
}

#[test]
fn a_folder_of_hooks_is_written_to_if_it_is_the_repositorys() {
    let repo = Repo::bare_of_hooks("GUEST\n");
    repo.git("config core.hooksPath .githooks");
    repo.0.ok(&["dev-hooks"]);
    let text = fs::read_to_string(repo.0.path().join(".githooks/post-merge")).unwrap();
    assert!(!text.contains(home().to_str().unwrap()), "a path of this machine could be committed: {text}");
    assert!(!repo.hook("post-merge").exists());
    repo.branch("feature", "main", "migrations/002.sql");
    repo.goes_on("merge -q feature", &[], "the local PostgreSQL is not up");

    let shared = tempfile::tempdir().unwrap();
    repo.git(&format!("config core.hooksPath {}", shared.path().display()));
    let output = repo.0.make(&["dev-hooks"]);
    assert!(!output.status.success() && said(&output).contains(LINE), "{}", said(&output));
    assert_eq!(fs::read_dir(shared.path()).unwrap().count(), 0);
}

#[test]
fn what_make_install_installs_has_the_hooks_and_the_stack() {
    let prefix = tempfile::Builder::new().prefix("pgkeep installed ").tempdir_in("/tmp").unwrap();
    let built = Path::new(env!("CARGO_BIN_EXE_pgdump-rotate")).parent().unwrap();
    let repo = Repo::bare_of_hooks("");
    let mut install: Command = repo.0.command("make");
    install.current_dir(home()).arg("install").arg(format!("PREFIX={}", prefix.path().display()));
    let output = install.arg(format!("RELEASE={}", built.display())).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));

    assert!(prefix.path().join("share/pgkeep/scripts/stack/compose.yml").is_file());
    // without a Makefile of one's own
    let guest = prefix.path().join("share/pgkeep/Makefile.dev");
    repo.0.ok(&["-f", guest.to_str().unwrap(), "dev-hooks"]);
    repo.branch("feature", "main", "migrations/002.sql");
    repo.goes_on("merge -q feature", &[], "the local PostgreSQL is not up");
}
