use health::Verdict;

use super::*;

/// A run that announced, killed; the next begins over its maps with routes that are not resolved yet.
async fn again(found: Found) -> Rig {
    let first = Rig::announcing().await;
    let maps = first.kernel.maps.lock().expect("no panic").clone();
    let directory = first.restart().await;
    let rig = Rig::start_in(directory);
    *rig.kernel.obedient_routes.lock().expect("no panic") = false;
    *rig.kernel.maps.lock().expect("no panic") = maps;
    rig.opened(found).await;
    rig.rest().await;
    rig
}

fn adopted() -> Found {
    Found::Adopted { attached: vec!["eth1".into()] }
}

#[tokio::test(start_paused = true)]
async fn the_adopted_rings_are_left_alone_until_everything_is_seen() {
    let rig = again(adopted()).await;
    let log = rig.take_log();
    assert!(log.contains(&Saw::Start { restarting: true }), "{log:?}");
    assert!(!log.iter().any(|saw| matches!(saw, Saw::Apply(_))), "{log:?}");
    assert!(!rig.complete(), "End-of-RIB has to wait");
    let initial: Vec<_> =
        rig.kernel.health_wanted.lock().expect("no panic").targets.values().map(|c| c.initial).collect();
    assert_eq!(initial, [Verdict::Up; 3]);

    rig.kernel.resolve();
    rig.rest().await;
    let log = rig.take_log();
    let applied: Vec<_> = log.iter().filter(|saw| matches!(saw, Saw::Apply(_))).collect();
    assert!(
        !applied.is_empty() && applied.iter().all(|saw| **saw == Saw::Apply(3)),
        "never a smaller ring: {log:?}"
    );
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
    assert!(rig.complete());
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let rig = again(adopted()).await;
    rig.wait(Duration::from_millis(4900)).await;
    assert!(!rig.take_log().iter().any(|saw| matches!(saw, Saw::Apply(_))));
    rig.wait(Duration::from_millis(200)).await;
    assert!(rig.take_log().contains(&Saw::Apply(0)), "what cannot be resolved is out");
    assert!(!rig.complete());
    rig.wait(Duration::from_secs(5)).await;
    assert!(rig.complete(), "routers must not wait for ever");
}

#[tokio::test(start_paused = true)]
async fn routers_hear_of_a_restart_only_when_forwarding_went_on() {
    for (what, found) in [
        ("no pins", Found::Nothing),
        ("another interface", Found::Adopted { attached: vec!["eth9".into()] }),
        ("detached", Found::Adopted { attached: vec![] }),
    ] {
        let rig = again(found).await;
        assert!(rig.take_log().contains(&Saw::Start { restarting: false }), "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_boot_in_between_is_no_restart() {
    let first = Rig::announcing().await;
    let maps = first.kernel.maps.lock().expect("no panic").clone();
    let directory = first.restart().await;
    RecordFile::new(directory.path(), "an earlier boot".into())
        .write(&BTreeSet::from([ip("20.20.20.1")]))
        .expect("written");
    let rig = Rig::start_in(directory);
    *rig.kernel.maps.lock().expect("no panic") = maps;
    rig.opened(adopted()).await;
    rig.rest().await;
    assert!(rig.take_log().contains(&Saw::Start { restarting: false }));
}

#[tokio::test(start_paused = true)]
async fn a_lingering_removal_survives_a_restart() {
    let first = Rig::announcing().await;
    first.remove_all(Duration::from_secs(30));
    first.rest().await;
    let maps = first.kernel.maps.lock().expect("no panic").clone();
    let directory = first.restart().await;
    let rig = Rig::start_in(directory);
    *rig.kernel.maps.lock().expect("no panic") = maps;
    rig.opened(adopted()).await;
    rig.rest().await;
    assert!(rig.announced().is_empty());
    assert!(!rig.take_log().contains(&Saw::Apply(0)), "still serving");
    rig.wait(Duration::from_secs(31)).await;
    assert!(rig.kernel.maps.lock().expect("no panic").services.is_empty());
}
