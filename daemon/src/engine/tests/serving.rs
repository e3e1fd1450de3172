use health::Verdict;

use super::*;

#[tokio::test(start_paused = true)]
async fn entries_come_first_and_the_announcement_last() {
    let rig = Rig::start(|_| {});
    rig.opened(Found::Nothing).await;
    rig.rest().await;
    rig.all(Verdict::Up);
    rig.rest().await;
    let log = rig.take_log();
    let position =
        |what: &Saw| log.iter().position(|saw| saw == what).unwrap_or_else(|| panic!("{what:?}: {log:?}"));
    assert_eq!(log.iter().filter(|saw| matches!(saw, Saw::Bgp(_))).count(), 1);
    assert!(position(&Saw::Apply(3)) < position(&Saw::Bgp(vec!["20.20.20.1/32".into()])));
    assert!(position(&Saw::Routes(2)) < position(&Saw::Bgp(vec!["20.20.20.1/32".into()])));
    assert_eq!(log[0], Saw::Routes(2));
    assert!(log.contains(&Saw::Start { restarting: false }));
    assert!(rig.complete());
}

#[tokio::test(start_paused = true)]
async fn a_change_of_health_reaches_bgp_before_the_ring_in_one_pass() {
    let rig = Rig::announcing().await;
    rig.all(Verdict::Down);
    rig.rest().await;
    assert_eq!(rig.take_log(), [Saw::Bgp(vec![]), Saw::Apply(0)]);
    rig.verdict("web/56.56.56.1", Verdict::Up);
    rig.rest().await;
    let log = rig.take_log();
    assert_eq!(log[..2], [Saw::Apply(1), Saw::Bgp(vec!["20.20.20.1/32".into()])], "and the other way round");
}

#[tokio::test(start_paused = true)]
async fn one_backend_leaves_the_ring_without_a_withdraw() {
    let rig = Rig::announcing().await;
    rig.verdict("web/57.57.57.1", Verdict::Down);
    rig.rest().await;
    assert_eq!(rig.take_log(), [Saw::Apply(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_withdraw_does_not_wait_for_a_datapath_that_is_busy() {
    let rig = Rig::announcing().await;
    rig.silence(None);
    rig.verdict("web/57.57.57.1", Verdict::Down);
    rig.rest().await;
    assert_eq!(rig.take_log(), [Saw::Apply(2)]);
    rig.all(Verdict::Down);
    rig.rest().await;
    assert_eq!(rig.take_log(), [Saw::Bgp(vec![])], "out although the datapath has not answered");
}

#[tokio::test(start_paused = true)]
async fn a_datapath_that_stays_silent_is_withdrawn_from() {
    let rig = Rig::announcing().await;
    rig.silence(None);
    rig.verdict("web/57.57.57.1", Verdict::Down);
    rig.wait(Duration::from_secs(8)).await;
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
    rig.wait(Duration::from_secs(4)).await;
    assert!(rig.announced().is_empty());
    let view = rig.view.borrow().clone();
    assert!(!view.ready());
    let attached = view.node.iter().find(|c| c.finding.kind == "DatapathAttached").expect("there");
    assert_eq!(attached.finding.reason, "DatapathFault");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_tried_again_ever_more_slowly_and_nothing_is_announced() {
    let rig = Rig::start(|_| {});
    rig.silence(Some(Err("no memory".into())));
    rig.opened(Found::Nothing).await;
    rig.rest().await;
    rig.all(Verdict::Up);
    rig.wait(Duration::from_secs(60)).await;
    let tries = rig.take_log().iter().filter(|saw| matches!(saw, Saw::Apply(_))).count();
    assert!((4..=9).contains(&tries), "{tries} tries in a minute");
    assert!(rig.announced().is_empty());
    rig.silence(Some(Ok(())));
    rig.wait(Duration::from_secs(31)).await;
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
}

#[tokio::test(start_paused = true)]
async fn the_maps_are_audited_and_repaired() {
    let rig = Rig::announcing().await;
    rig.wait(Duration::from_secs(25)).await;
    assert_eq!(rig.take_log(), [Saw::Audit, Saw::Audit], "nothing to do");
    rig.kernel.maps.lock().expect("no panic").services.clear();
    rig.wait(Duration::from_secs(10)).await;
    let log = rig.take_log();
    let gone = log.iter().position(|s| *s == Saw::Bgp(vec![])).expect("withdrawn by its own read-back");
    let repaired = log.iter().position(|s| *s == Saw::Apply(3)).expect("repaired");
    assert!(gone < repaired, "{log:?}");
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
}

#[tokio::test(start_paused = true)]
async fn a_removal_withdraws_at_once_and_unprograms_after_the_linger() {
    let rig = Rig::announcing().await;
    rig.remove_all(Duration::from_secs(30));
    rig.rest().await;
    assert_eq!(rig.take_log(), [Saw::Bgp(vec![]), Saw::Apply(3)], "echo off, everything else as it was");
    rig.wait(Duration::from_secs(29)).await;
    assert!(!rig.take_log().iter().any(|saw| matches!(saw, Saw::Apply(_) | Saw::Routes(_))));
    rig.wait(Duration::from_secs(2)).await;
    let log = rig.take_log();
    assert!(log.contains(&Saw::Routes(0)) && log.contains(&Saw::Apply(0)), "{log:?}");
    assert!(rig.kernel.maps.lock().expect("no panic").vips.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_node_is_shown_and_can_be_cured() {
    let rig = Rig::start(|_| {});
    rig.unusable("no rights to load BPF programs").await;
    rig.rest().await;
    assert!(rig.take_log().contains(&Saw::Start { restarting: false }), "sessions come up all the same");
    let view = rig.view.borrow().clone();
    assert!(!view.ready());
    assert!(view.node.iter().any(|c| c.finding.message.contains("no rights")), "{:?}", view.node);
    rig.opened(Found::Nothing).await;
    rig.rest().await;
    rig.all(Verdict::Up);
    rig.rest().await;
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
    assert!(!rig.take_log().contains(&Saw::Start { restarting: false }), "started once only");
}

#[tokio::test(start_paused = true)]
async fn the_time_from_failing_probe_to_withdraw_is_measured() {
    let rig = Rig::announcing().await;
    rig.all(Verdict::Down);
    rig.rest().await;
    assert!(rig.view.borrow().source.withdraw_latencies.is_empty(), "not before the kernel took it");
    let mut status = bgpd::SpeakerStatus::default();
    // The last probe failed at second 1.
    let accepted = at(1) + Duration::from_millis(7);
    status.last_withdrawn.insert("20.20.20.1/32".parse().expect("a prefix"), accepted);
    rig.kernel.status.send_replace(Arc::new(status));
    rig.rest().await;
    let latencies = rig.view.borrow().source.withdraw_latencies.clone();
    assert_eq!(latencies.get(&ip("20.20.20.1")), Some(&Duration::from_millis(7)));
}

#[tokio::test(start_paused = true)]
async fn with_an_unreadable_store_nothing_is_dialled_or_touched() {
    let rig = Rig::start(|directory| {
        std::fs::write(directory.join("store.redb"), b"nonsense").expect("written");
        std::fs::write(directory.join("last-good.pb"), b"nonsense").expect("written");
    });
    rig.opened(Found::Nothing).await;
    rig.wait(Duration::from_secs(60)).await;
    assert_eq!(rig.take_log(), []);
    let view = rig.view.borrow().clone();
    assert!(!view.ready());
    assert!(view.node.iter().any(|c| c.finding.reason == "Unreadable" && !c.finding.message.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn from_the_copy_it_announces() {
    let rig = Rig::start(|directory| {
        std::fs::write(directory.join("store.redb"), b"nonsense").expect("written");
    });
    rig.opened(Found::Nothing).await;
    rig.rest().await;
    rig.all(Verdict::Up);
    rig.rest().await;
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
}

#[tokio::test(start_paused = true)]
async fn an_interface_that_is_made_anew_is_attached_again_before_anything_is_announced() {
    let rig = Rig::announcing().await;
    rig.interface(None);
    rig.rest().await;
    assert_eq!(rig.take_log()[0], Saw::Bgp(vec![]));
    rig.silence(None);
    rig.interface(Some(77));
    rig.rest().await;
    assert!(rig.announced().is_empty(), "the old read-back proves nothing for the new interface");
    let rig = Rig::announcing().await;
    rig.interface(Some(77));
    rig.rest().await;
    assert_eq!(rig.take_log()[..2], [Saw::Bgp(vec![]), Saw::Apply(3)]);
    assert_eq!(rig.announced(), ["20.20.20.1/32"]);
}
