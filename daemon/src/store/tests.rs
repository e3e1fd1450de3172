use std::time::{Duration, UNIX_EPOCH};

use api::{Kind, Resource};
use proto::v1;

use super::super::{Linger, digest};
use super::*;

fn vip(name: &str, address: &str) -> Resource {
    Resource::Vip(v1::Vip {
        meta: Some(v1::Meta { name: name.into(), ..v1::Meta::default() }),
        spec: Some(v1::VipSpec { address: address.into(), ..v1::VipSpec::default() }),
        status: None,
    })
}

fn open(directory: &Path) -> LocalStore {
    LocalStore::open(directory, &|_| Ok(())).expect("not locked")
}

fn put(store: &LocalStore, resource: Resource) -> Arc<Contents> {
    let expected = store.contents().borrow().revision;
    store.commit(Commit { expected, put: vec![resource], ..Commit::default() }).expect("committed")
}

fn names(store: &LocalStore) -> Vec<String> {
    store.contents().borrow().resources.keys().map(|(_, name)| name.clone()).collect()
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let directory = tempfile::tempdir().unwrap();
    let linger = Linger {
        until: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        document: resource::document(&[vip("gone", "192.0.2.9")]),
    };
    {
        let store = open(directory.path());
        put(&store, vip("a", "192.0.2.1"));
        store
            .commit(Commit {
                expected: 1,
                put: vec![vip("b", "192.0.2.2")],
                delete: vec![],
                lingers: vec![linger.clone()],
            })
            .expect("committed");
    }
    let store = open(directory.path());
    assert_eq!(store.condition(), Condition::Healthy);
    assert_eq!(names(&store), ["a", "b"]);
    let contents = store.contents().borrow().clone();
    assert_eq!(contents.revision, 2);
    assert_eq!(contents.lingers, [linger]);
}

#[test]
fn a_change_from_an_old_revision_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    put(&store, vip("a", "192.0.2.1"));
    let late = Commit { expected: 0, put: vec![vip("b", "192.0.2.2")], ..Commit::default() };
    assert!(matches!(store.commit(late), Err(StoreError::Changed { expected: 0, found: 1 })));
    assert_eq!(names(&store), ["a"]);
}

#[test]
fn watchers_see_commits_in_order_and_can_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let mut follow = store.follow();
    put(&store, vip("a", "192.0.2.1"));
    store
        .commit(Commit { expected: 1, delete: vec![(Kind::Vip, "a".into())], ..Commit::default() })
        .expect("committed");
    let first = follow.try_recv().expect("an event");
    assert_eq!(
        (first.revision, first.events.as_slice()),
        (1, [Event::Updated(vip("a", "192.0.2.1"))].as_slice())
    );
    assert_eq!(follow.try_recv().expect("an event").events, [Event::Deleted(vip("a", "192.0.2.1"))]);
    assert_eq!(store.since(1).expect("known").len(), 1);
    assert_eq!(store.since(2).expect("known").len(), 0);
    drop(store);
    let again = open(directory.path());
    assert!(again.since(1).is_none(), "what happened before this start is not known");
    assert!(again.since(2).is_some());
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    for byte in bytes.iter_mut() {
        *byte ^= 0x5a;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_corrupt_database_runs_from_the_copy_and_refuses_writes() {
    let directory = tempfile::tempdir().unwrap();
    put(&open(directory.path()), vip("a", "192.0.2.1"));
    damage(&directory.path().join("store.redb"));
    let store = open(directory.path());
    assert!(matches!(store.condition(), Condition::LastGood { .. }), "{:?}", store.condition());
    assert_eq!(names(&store), ["a"]);
    let refused = store.commit(Commit { expected: 1, put: vec![vip("b", "192.0.2.2")], ..Commit::default() });
    let Err(StoreError::ReadOnly { remedy, .. }) = refused else { panic!("{refused:?}") };
    assert!(remedy.contains("store.redb away"), "{remedy}");

    fs::remove_file(directory.path().join("store.redb")).unwrap();
    let cured = open(directory.path());
    assert_eq!(cured.condition(), Condition::Healthy);
    assert_eq!(names(&cured), ["a"]);
    put(&cured, vip("b", "192.0.2.2"));
}

/// Bytes flipped in any one page: never a panic, never a wrong content taken for good.
#[test]
fn flipped_bytes_anywhere_never_give_other_contents() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    for i in 0..40 {
        put(&store, vip(&format!("vip-{i:03}"), &format!("192.0.2.{i}")));
    }
    let expected = names(&store);
    drop(store);
    let path = directory.path().join("store.redb");
    let good = fs::read(&path).unwrap();
    for offset in (0..good.len()).step_by(997) {
        let mut bad = good.clone();
        let end = (offset + 64).min(bad.len());
        bad[offset..end].iter_mut().for_each(|b| *b ^= 0xff);
        fs::write(&path, bad).unwrap();
        let store = open(directory.path());
        assert_eq!(names(&store), expected, "bytes at {offset}: {:?}", store.condition());
    }
}

#[test]
fn both_corrupt_know_nothing_and_touch_nothing() {
    let directory = tempfile::tempdir().unwrap();
    put(&open(directory.path()), vip("a", "192.0.2.1"));
    damage(&directory.path().join("store.redb"));
    damage(&directory.path().join("last-good.pb"));
    let before = fs::read(directory.path().join("store.redb")).unwrap();
    let store = open(directory.path());
    assert!(matches!(store.condition(), Condition::Unreadable { .. }));
    assert!(store.commit(Commit::default()).is_err());
    drop(store);
    assert_eq!(fs::read(directory.path().join("store.redb")).unwrap(), before, "evidence is kept");
}

#[test]
fn a_corrupt_copy_alone_does_no_harm_and_is_written_anew() {
    let directory = tempfile::tempdir().unwrap();
    put(&open(directory.path()), vip("a", "192.0.2.1"));
    let copy = directory.path().join("last-good.pb");
    fs::write(&copy, b"nonsense").unwrap();
    assert_eq!(open(directory.path()).condition(), Condition::Healthy);
    assert_eq!(last_good::read(&copy).expect("good again").expect("there").revision, 1);
}

#[test]
fn a_database_older_than_its_copy_is_not_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    put(&open(directory.path()), vip("a", "192.0.2.1"));
    let old = fs::read(&path).unwrap();
    put(&open(directory.path()), vip("b", "192.0.2.2"));
    fs::write(&path, old).unwrap();
    let store = open(directory.path());
    assert!(matches!(store.condition(), Condition::LastGood { .. }));
    assert_eq!(names(&store), ["a", "b"]);
}

#[test]
fn a_second_opener_is_told_who_is_in_the_way() {
    let directory = tempfile::tempdir().unwrap();
    let _first = open(directory.path());
    let second = LocalStore::open(directory.path(), &|_| Ok(()));
    assert!(matches!(second, Err(OpenError::Locked(_))));
}

#[test]
fn contents_that_this_version_cannot_run_are_not_run() {
    let directory = tempfile::tempdir().unwrap();
    put(&open(directory.path()), vip("a", "192.0.2.1"));
    let store = LocalStore::open(directory.path(), &|_| Err("unknown policy".into())).expect("not locked");
    let Condition::Unreadable { why, .. } = store.condition() else { panic!("{:?}", store.condition()) };
    assert!(why.contains("unknown policy"), "{why}");
}

#[test]
fn a_directory_that_is_a_file_is_said_clearly() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    let Condition::Unreadable { why, .. } = open(&file).condition() else { panic!("must be unreadable") };
    assert!(why.contains("cannot make"), "{why}");
}

#[test]
fn the_digest_ignores_bookkeeping() {
    let mut a = Contents::default();
    let mut b = Contents { revision: 9, ..Contents::default() };
    let mut stored = vip("a", "192.0.2.1");
    a.resources.insert(resource::key(&stored), stored.clone());
    resource::meta_mut(&mut stored).etag = "x".into();
    resource::meta_mut(&mut stored).revision = 9;
    b.resources.insert(resource::key(&stored), stored);
    assert_eq!(digest(&a.document()), digest(&b.document()));
    let other = vip("a", "192.0.2.2");
    b.resources.insert(resource::key(&other), other);
    assert_ne!(digest(&a.document()), digest(&b.document()));
}
