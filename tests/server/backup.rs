//! Backups of a whole cluster: files that ordinary programs read, and manifests that are true.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::{Server, names, run};
use crate::stage::{back_up, contents, counts, manifest, same};

/// What a shell command prints, which must succeed.
fn sh(dir: &Path, script: &str, file: &Path) -> String {
    run(Command::new("sh").args(["-c", script, "sh"]).arg(file).current_dir(dir)).exits(0).out
}

/// A dump without what differs from run to run.
fn text(sql: &str) -> String {
    sql.lines().filter(|l| !l.starts_with("\\restrict") && !l.starts_with("\\unrestrict")).fold(
        String::new(),
        |mut all, line| {
            all.push_str(line);
            all.push('\n');
            all
        },
    )
}

#[test]
fn ordinary_programs_read_every_codec_and_psql_makes_an_equal_cluster_of_it() {
    let server = Server::start();
    server.make("shop");
    server.seed("university");
    let dir = server.home().join("backups");
    let read = [
        ("none", "sql", "cat \"$1\""),
        ("gzip", "sql.gz", "gzip -t \"$1\" && zcat \"$1\""),
        ("gzip:9", "sql.gz", "gzip -t \"$1\" && zcat \"$1\""),
        ("zstd", "sql.zst", "zstd -qt \"$1\" && zstd -qdc \"$1\""),
        ("zstd:7", "sql.zst", "zstd -qt \"$1\" && zstd -qdc \"$1\""),
    ];
    let mut first = None;
    for (codec, ending, unpack) in read {
        let backup = back_up(&server, &["--compress", codec]);
        assert!(backup.to_str().unwrap().ends_with(&format!(".{ending}")), "{codec}: {backup:?}");
        let sql = sh(&dir, unpack, &backup);
        let said = manifest(&backup);
        assert_eq!(said["raw_bytes"], sql.len());
        assert_eq!(said["file"]["bytes"], fs::metadata(&backup).unwrap().len());
        assert_eq!(said["file"]["codec"], codec.split(':').next().unwrap());
        match &first {
            None => first = Some(text(&sql)),
            Some(first) => same(first, &text(&sql)),
        }
    }
    let checked = sh(&dir, "sha256sum -c SHA256SUMS", &dir);
    assert_eq!(checked.lines().filter(|l| l.ends_with(": OK")).count(), read.len(), "{checked}");

    let second = Server::start();
    let gzip = names(&dir).into_iter().find(|n| n.ends_with(".gz")).unwrap();
    let mut psql = second.shell("zcat \"$1\" | psql -X -q -d postgres >/dev/null");
    psql.arg(dir.join(gzip));
    // a cluster dump creates the superuser, who is there; nothing else may fail
    let errors = run(&mut psql).exits(0).err;
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("role \"postgres\" already exists"), "{errors}");
    same(&server.everything(), &second.everything());
}

#[test]
fn the_manifest_says_the_rows_of_every_table() {
    let server = Server::start();
    server.make("shop");
    server.make("it's \"one\" more");
    server.seed("university");
    let databases = ["it's \"one\" more", "shop", "university"];
    let truth = counts(&server, &databases);
    assert!(truth.len() == 20 && truth.values().sum::<u64>() > 100_000, "{truth:?}");

    let said = manifest(&back_up(&server, &[]));
    let rows = contents(&said).into_iter().map(|(table, (rows, hash))| {
        assert_eq!(hash.unwrap().len(), 32, "{table:?}");
        (table, rows)
    });
    assert_eq!(rows.collect::<std::collections::BTreeMap<_, _>>(), truth);
    assert_eq!(said["rows"], truth.values().sum::<u64>());
    let relations = "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384";
    let tables: u64 = databases.iter().map(|d| server.sql(d, relations).parse::<u64>().unwrap()).sum();
    assert_eq!(said["tables"], tables);
    assert_eq!(said["large_objects"], 3);
    assert_eq!(said["kind"], "cluster");
    assert_eq!(said["verified"]["ok"], true);
    assert_eq!(said["verified"]["how"], "read-back");
    for database in databases {
        assert!(said["source"]["databases"].as_array().unwrap().iter().any(|d| d == database), "{said}");
    }
    let identifier = server.sql("postgres", "SELECT system_identifier FROM pg_control_system()");
    assert_eq!(said["source"]["system_identifier"], identifier);
    assert_eq!(said["source"]["server_version"], server.sql("postgres", "SHOW server_version"));
    let roles = said["source"]["roles"].as_array().unwrap();
    assert!(roles.iter().any(|r| r == "university \"read only\""), "{roles:?}");
}

#[test]
fn equal_rows_have_an_equal_hash_in_whatever_order_they_stand() {
    let server = Server::start();
    server.seed("university");
    let first = manifest(&back_up(&server, &[]));
    // rows that are updated move to the end of their table, and CLUSTER sorts them
    server.sql(
        "university",
        "UPDATE students SET note = note WHERE id % 3 = 0; UPDATE theses SET body = body WHERE student_id = 1; \
        CREATE INDEX by_points ON grades (points, remark); CLUSTER grades USING by_points; DROP INDEX by_points;",
    );
    let moved = back_up(&server, &["--compress", "none"]);
    assert_eq!(contents(&manifest(&moved)), contents(&first));
    server.restore(&[moved.to_str().unwrap(), "--yes"]).exits(0);
    let again = back_up(&server, &["--compress", "none"]);
    assert_eq!(contents(&manifest(&again)), contents(&first));
    // the order did differ: else all this would show nothing
    let ids = server.sql("university", "SELECT id FROM grades LIMIT 100");
    assert!(!ids.lines().map(|id| id.parse::<u32>().unwrap()).is_sorted(), "{ids}");

    server.sql("university", "UPDATE students SET note = note || '.' WHERE id = 17");
    let changed = manifest(&back_up(&server, &[]));
    let differs: Vec<String> = contents(&changed)
        .into_iter()
        .filter(|(t, was)| contents(&first)[t] != *was)
        .map(|(t, _)| t.2)
        .collect();
    assert_eq!(differs, ["students"]);
}

#[test]
fn backups_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let backup = back_up(&server, &["-o", "new/folder", "--latest-link", "latest"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let dir = backup.parent().unwrap();
    assert_eq!((mode(dir), mode(dir.parent().unwrap())), (0o700, 0o700));
    for name in names(dir) {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
    }
    // a folder that is there keeps what its owner gave it
    fs::set_permissions(dir, fs::Permissions::from_mode(0o750)).unwrap();
    back_up(&server, &["-o", "new/folder"]);
    assert_eq!(mode(dir), 0o750);
}

#[test]
fn two_backups_within_a_second_are_two() {
    let server = Server::start();
    server.make("shop");
    let backups: Vec<_> = (0..4).map(|_| back_up(&server, &["-d", "shop"])).collect();
    for backup in &backups {
        assert_eq!(manifest(backup)["rows"], 505);
    }
    assert_eq!(crate::stage::dumps(&server.home().join("backups")).len(), 4);
    assert!(backups.is_sorted());
}
