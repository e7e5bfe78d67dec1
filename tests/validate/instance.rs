//! The throwaway server of the library.

use std::fs;
use std::path::Path;
use std::time::Duration;

use kit::instance::{Instance, Programs, Site, init};
use kit::pg::Server;

const WAIT: Duration = Duration::from_secs(30);

fn ask(instance: &Instance, sql: &str) -> String {
    let server = Server::find(None, &instance.settings(), None).unwrap();
    server.query("postgres", sql).unwrap().concat().concat()
}

fn start(programs: &Programs, site: &Site, settings: &[(&str, &str)]) -> kit::exit::Result<Instance> {
    Instance::start(programs, site, &site.path().join("data"), settings, WAIT)
}

#[test]
fn a_server_lives_in_its_folder_and_goes_with_it() {
    let programs = Programs::find(None).unwrap();
    let site = Site::new("pgkeep-test", &programs).unwrap();
    let (path, data) = (site.path().to_owned(), site.path().join("data"));
    init(&programs, &data, "UTF8").unwrap();
    let instance = start(&programs, &site, &[("fsync", "off")]).unwrap();
    assert_eq!(ask(&instance, "SHOW listen_addresses;"), "");
    assert_eq!(ask(&instance, "SHOW fsync;"), "off");
    // a second one on the same data is refused, and does not harm the first
    let second = start(&programs, &site, &[]).err().unwrap();
    assert!(second.to_string().contains("a server runs on"), "{second}");
    assert_eq!(ask(&instance, "SELECT 1;"), "1");
    instance.stop().unwrap();
    // what came with a copy of the data says nothing: any process may have that number
    fs::write(data.join("postmaster.pid"), format!("1\n{}\n0\n5432\n\n\n\nready\n", data.display())).unwrap();
    let again = start(&programs, &site, &[]).unwrap();
    assert_eq!(ask(&again, "SELECT 1;"), "1");
    drop(again);
    drop(site);
    assert!(!path.exists());
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let programs = Programs::find(None).unwrap();
    let site = Site::new("pgkeep-test", &programs).unwrap();
    init(&programs, &site.path().join("data"), "UTF8").unwrap();
    let error = start(&programs, &site, &[("shared_buffers", "nonsense")]).err().unwrap();
    assert!(error.to_string().contains("invalid value for parameter \"shared_buffers\""), "{error}");
    assert_eq!(error.code(), kit::exit::Code::No);
}

#[test]
fn only_what_lost_its_owner_is_swept() {
    let programs = Programs::find(None).unwrap();
    let alive = Site::new("pgkeep-swept", &programs).unwrap();
    let dead = Site::new("pgkeep-swept", &programs).unwrap();
    let path = dead.path().to_owned();
    // as after a kill: the lock is free, the folder there
    std::mem::forget(dead);
    assert!(Site::sweep("pgkeep-swept").unwrap().is_empty(), "its lock is still held");
    let lock = path.join("lock");
    fs::remove_file(&lock).unwrap();
    fs::write(&lock, "").unwrap();
    // initdb was killed with it, whose server writes its number with a minus
    fs::create_dir(path.join("data")).unwrap();
    fs::write(path.join("data/postmaster.pid"), "-4164\n").unwrap();
    let mine = Path::new("/tmp/pgkeep-swept-notes");
    fs::create_dir_all(mine).unwrap();
    assert_eq!(Site::sweep("pgkeep-swept").unwrap(), std::slice::from_ref(&path));
    assert!(!path.exists() && alive.path().exists() && mine.exists());
    fs::remove_dir(mine).unwrap();
}
