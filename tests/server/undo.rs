//! Going back to what was before a restore, and dropping that.
#![allow(clippy::unwrap_used)]

use crate::beside::{Was, beside, only_beside, rows, time_of};
use crate::lab::Server;
use crate::stage::back_up;

/// A server whose `shop` and `blog` were restored: 500 grades before, 7 of `shop` and 8 of `blog` beside.
fn restored() -> (Server, String) {
    let server = Server::start();
    server.make("shop");
    server.make("blog");
    let backup = back_up(&server, &[]);
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    server.sql("blog", "DELETE FROM grades WHERE id > 8");
    let backup = backup.to_str().unwrap().to_owned();
    server.restore(&[&backup, "--yes"]).exits(0);
    (server, backup)
}

fn both(server: &Server) -> [String; 2] {
    ["shop", "blog"].map(|name| rows(server, name))
}

#[test]
fn an_undo_swaps_back_and_can_be_undone() {
    let (server, _) = restored();
    assert_eq!(both(&server), ["500", "500"]);
    let was = Was::of(&server);
    let plan = server.restore(&["--undo", "--dry-run"]).exits(0).out;
    assert_eq!(plan.matches("undo    ").count(), 2, "{plan}");
    was.still(&server);
    server.restore(&["--undo"]).exits(4).says("--yes");
    was.still(&server);
    for want in [["7", "8"], ["500", "500"], ["7", "8"]] {
        let ran = server.restore(&["--undo", "--yes"]).exits(0);
        assert_eq!(ran.lines().len(), 2, "{}", ran.out);
        assert_eq!(both(&server), want);
        assert_eq!(beside(&server, "before").len(), 2);
    }
}

#[test]
fn an_undo_of_one_database_of_several() {
    let (server, _) = restored();
    server.restore(&["--undo", "-d", "blog", "--yes"]).exits(0);
    assert_eq!(both(&server), ["500", "8"]);
    server.restore(&["--undo", "-d", "shop", "--yes"]).exits(0);
    assert_eq!(both(&server), ["7", "8"]);
    let was = Was::of(&server);
    server
        .restore(&["--undo", "-d", "mail", "--yes"])
        .exits(1)
        .says("no database from before")
        .says("of shop");
    was.still(&server);
}

#[test]
fn an_undo_of_a_time_goes_further_back() {
    let (server, backup) = restored();
    let first = time_of(&beside(&server, "before")[0]).to_owned();
    server.sql("shop", "DELETE FROM grades WHERE id > 100");
    server.restore(&[&backup, "--only", "shop", "--yes"]).exits(0);
    assert_eq!(beside(&server, "before").len(), 3);
    server.restore(&["--undo", &first, "-d", "shop", "--yes"]).exits(0);
    assert_eq!(both(&server), ["7", "500"]);
    let was = Was::of(&server);
    let ran =
        server.restore(&["--undo", "20200101_000000", "--yes"]).exits(1).says("no database from before");
    assert!(ran.err.contains(&format!("{first} of blog")), "{}", ran.err);
    was.still(&server);
    // the rest of them are there as they were: 100 of the second restore, what the first undo replaced
    let mut kept: Vec<String> = beside(&server, "before").iter().map(|name| rows(&server, name)).collect();
    kept.sort();
    assert_eq!(kept, ["100", "500", "8"]);
}

#[test]
fn a_live_database_that_is_gone_comes_back() {
    let (server, _) = restored();
    server.sql("postgres", "DROP DATABASE shop");
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(both(&server), ["7", "8"]);
    let kept = only_beside(&server, "before");
    assert!(kept.starts_with("blog__before_"), "{kept}");
}

#[test]
fn nothing_to_go_back_to() {
    let server = Server::start();
    server.make("shop");
    // a name and a comment of somebody else are no mark of ours
    server.make("shop__before_20260101_000000");
    server.sql("postgres", "COMMENT ON DATABASE shop IS 'pgkeep is nice'");
    let before = crate::stage::identities(&server);
    let ran = server.restore(&["--undo", "--yes"]).exits(1).says("no database from before a restore");
    assert_eq!(ran.out, "");
    server.restore(&["--drop-before", "--yes"]).exits(0).says("nothing to drop");
    server.restore(&["--keep-before", "0", "--yes"]).exits(0).says("nothing to drop");
    assert_eq!(crate::stage::identities(&server), before);
}

#[test]
fn what_was_before_is_dropped_by_time_and_by_name() {
    let (server, backup) = restored();
    let first = time_of(&beside(&server, "before")[0]).to_owned();
    server.restore(&[&backup, "--yes"]).exits(0);
    let all = beside(&server, "before");
    assert_eq!(all.len(), 4);
    let was = Was::of(&server);
    let plan = server.restore(&["--drop-before", &first, "--dry-run"]).exits(0).out;
    assert_eq!(plan.matches(&format!("_{first}")).count(), 2, "{plan}");
    server.restore(&["--drop-before", &first]).exits(4).says("--yes");
    was.still(&server);
    server.restore(&["--drop-before", &first, "-d", "blog", "--yes"]).exits(0).says("dropped blog__before_");
    assert_eq!(beside(&server, "before").len(), 3);
    server.restore(&["--drop-before", &first, "--yes"]).exits(0);
    assert_eq!(beside(&server, "before").len(), 2);
    server.restore(&["--drop-before", "--yes"]).exits(0);
    assert_eq!(beside(&server, "before"), [""; 0]);
    was.again(&server);
}

#[test]
fn the_newest_of_each_are_kept() {
    let (server, backup) = restored();
    for _ in 0..2 {
        server.restore(&[&backup, "--yes", "--no-safety"]).exits(0);
    }
    let of = |name: &str| {
        beside(&server, "before").into_iter().filter(|b| b.starts_with(name)).collect::<Vec<_>>()
    };
    let (shop, blog) = (of("shop"), of("blog"));
    assert_eq!((shop.len(), blog.len()), (3, 3));
    let plan = server.restore(&["--keep-before", "2", "--dry-run"]).exits(0).out;
    assert!(plan.contains(&shop[0]) && plan.contains(&blog[0]) && plan.lines().count() == 2, "{plan}");
    // of one database only
    server.restore(&["--keep-before", "1", "-d", "shop", "--yes"]).exits(0);
    assert_eq!((of("shop"), of("blog")), (shop[2..].to_vec(), blog.clone()));
    // with a restore, of those that are restored
    server.restore(&[&backup, "--only", "shop", "--yes", "--no-safety", "--keep-before", "1"]).exits(0);
    assert_eq!((of("shop").len(), of("blog")), (1, blog.clone()));
    assert_ne!(of("shop"), shop[2..]);
    server.restore(&[&backup, "--yes", "--no-safety", "--keep-before", "0"]).exits(0);
    assert_eq!(beside(&server, "before"), [""; 0]);
    assert_eq!(both(&server), ["500", "500"]);
}

#[test]
fn with_drop_nothing_is_kept_and_older_ones_stay() {
    let (server, backup) = restored();
    let before = beside(&server, "before");
    server.sql("shop", "TRUNCATE grades");
    let plan = server.restore(&[&backup, "--dry-run", "-D"]).exits(0).out;
    assert!(plan.contains("then it is dropped"), "{plan}");
    server.restore(&[&backup, "--yes", "-D"]).exits(0).says("dropped shop__before_");
    assert_eq!(both(&server), ["500", "500"]);
    assert_eq!(beside(&server, "before"), before);
}

#[test]
fn the_database_that_one_begins_in_is_swapped_back() {
    let server = Server::start();
    server.sql("postgres", "CREATE TABLE of_postgres AS SELECT generate_series(1, 9) AS n");
    server.sql("template1", "CREATE TABLE of_template AS SELECT generate_series(1, 9) AS n");
    let backup = back_up(&server, &[]);
    let count = || {
        ["postgres", "template1"]
            .map(|d| server.sql(d, "SELECT count(*) FROM pg_class WHERE relname LIKE 'of\\_%'"))
    };
    server.sql("postgres", "DROP TABLE of_postgres");
    server.sql("template1", "DROP TABLE of_template");
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    assert_eq!(count(), ["1", "1"]);
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(count(), ["0", "0"]);
    server.restore(&["--undo", "-d", "postgres", "--yes"]).exits(0);
    assert_eq!(count(), ["1", "0"]);
    server.restore(&["--undo", "-d", "template1", "--yes"]).exits(0);
    assert_eq!(count(), ["1", "1"]);
    server.restore(&["--drop-before", "--yes"]).exits(0);
    assert_eq!(beside(&server, "before"), [""; 0]);
    // what is a template still is one
    assert_eq!(
        server.sql("postgres", "SELECT datistemplate FROM pg_database WHERE datname = 'template1'"),
        "t"
    );
}

#[test]
fn a_prepared_transaction_is_in_the_way_and_nobody_waits_for_it() {
    let server = Server::start_with("max_prepared_transactions = 2\n");
    server.make("shop");
    let backup = back_up(&server, &["-d", "shop"]);
    server.sql("shop", "DELETE FROM grades WHERE id > 7");
    server.restore(&[backup.to_str().unwrap(), "--yes"]).exits(0);
    server.sql("shop", "BEGIN; DELETE FROM grades; PREPARE TRANSACTION 'half done'");
    let was = Was::of(&server);
    server
        .restore(&["--undo", "--yes"])
        .exits(1)
        .says("cannot put into place: shop")
        .says("prepared transaction");
    was.still(&server);
    server.sql("shop", "ROLLBACK PREPARED 'half done'");
    server.restore(&["--undo", "--yes"]).exits(0);
    assert_eq!(rows(&server, "shop"), "7");
}
