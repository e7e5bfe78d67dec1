//! A journal cut off at each step.

use std::fs;

use super::*;

fn here(dir: &Path) -> Sites<'_> {
    Sites { dir, image: "none" }
}

/// A directory with a volume and what takes its place, and the journal of that.
fn stage() -> (tempfile::TempDir, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("data");
    let m = Move::beside("data", &Place::Dir(live.clone()), &Site::Here, &live, Stamp::from_unix(0));
    for (path, text) in [(&m.live, "old"), (&m.staged, "new")] {
        fs::create_dir(path).unwrap();
        fs::write(path.join("is"), text).unwrap();
    }
    let journal = Journal {
        stamp: "19700101_000000".into(),
        snapshot: "x".into(),
        fills: true,
        into: false,
        room: Room::Beside,
        asked: Vec::new(),
        branches: false,
        recovered: false,
        last: Vec::new(),
        made: Vec::new(),
        moves: vec![m],
    };
    journal.begin(dir.path()).unwrap();
    (dir, journal)
}

fn is(path: &Path) -> String {
    fs::read_to_string(path.join("is")).unwrap_or_default()
}

#[test]
fn wherever_it_is_cut_off_the_next_run_ends_it() {
    let speech = Speech::new("test", true);
    for steps in 0..4 {
        let (dir, journal) = stage();
        let m = &journal.moves[0];
        let (filling, swapping) = (dir.path().join(FILLING), dir.path().join(SWAPPING));
        let all: [&dyn Fn(); 3] = [
            &|| fs::rename(&filling, &swapping).unwrap(),
            &|| fs::rename(&m.live, &m.before).unwrap(),
            &|| fs::rename(&m.staged, &m.live).unwrap(),
        ];
        all.iter().take(steps).for_each(|step| step());
        resume(here(dir.path()), &speech, |_| Ok(String::new())).unwrap();
        let (now, before) = if steps == 0 { ("old", "") } else { ("new", "old") };
        assert_eq!((is(&m.live).as_str(), is(&m.before).as_str()), (now, before), "{steps}");
        assert!(!there(&m.staged) && !there(&filling) && !there(&swapping), "{steps}");
        assert_eq!(latest(here(dir.path())).unwrap().is_some(), steps > 0);
        resume(here(dir.path()), &speech, |_| Ok(String::new())).unwrap();
    }
}

#[test]
fn names_that_cannot_change_are_taken_back() {
    let (dir, mut journal) = stage();
    let other = dir.path().join("other");
    let other = Move::beside("other", &Place::Dir(other.clone()), &Site::Here, &other, Stamp::from_unix(0));
    for path in [&other.live, &other.staged, &other.before] {
        fs::create_dir(path).unwrap();
    }
    journal.moves.push(other);
    assert!(journal.swap(dir.path()).is_err());
    let m = &journal.moves[0];
    assert_eq!((is(&m.live).as_str(), is(&m.staged).as_str()), ("old", "new"));
    assert!(there(&dir.path().join(FILLING)) && !there(&dir.path().join(SWAPPING)));
}

#[test]
fn what_was_emptied_first_is_ended_by_the_next_run_wherever_it_is_cut_off() {
    let speech = Speech::new("test", true);
    let refill = |journal: &Journal| {
        journal.empty()?;
        let m = &journal.moves[0];
        fs::create_dir(&m.staged).unwrap();
        fs::write(m.staged.join("is"), "new").unwrap();
        Ok("x".to_owned())
    };
    for steps in 0..6 {
        let (dir, mut journal) = stage();
        journal.room = Room::Emptying("record".into());
        journal.begin(dir.path()).unwrap();
        let m = &journal.moves[0];
        let all: [&dyn Fn(); 5] = [
            &|| journal.empty_first(dir.path()).unwrap(),
            &|| _ = refill(&journal).unwrap(),
            &|| _ = journal.filled(dir.path(), "x".into()).unwrap(),
            &|| fs::rename(&m.live, &m.before).unwrap(),
            &|| fs::rename(&m.staged, &m.live).unwrap(),
        ];
        all.iter().take(steps).for_each(|step| step());
        for _ in 0..2 {
            resume(here(dir.path()), &speech, refill).unwrap();
            assert_eq!(is(&m.live), if steps == 0 { "old" } else { "new" }, "{steps}");
        }
        let left: Vec<String> = place::names(dir.path()).unwrap();
        assert_eq!(left, ["data"], "{steps}: and nothing to go back to");
    }
}
