//! End-of-RIB and the graceful restart bits, as a router sees them.

use std::time::{Duration, Instant};

use bgpd::SpeakerConfig;
use bgpd::driver::{Shutdown, Speaker};
use bgpd::wire::{Capability, GracefulRestart, Open};

use crate::puppet::{Puppet, config, is, peer, until, wanted};

fn restart(open: &Open) -> GracefulRestart {
    let found = open.capabilities.iter().find_map(|capability| match capability {
        Capability::GracefulRestart(restart) => Some(restart.clone()),
        _ => None,
    });
    found.expect("graceful restart is offered")
}

#[tokio::test]
async fn end_of_rib_waits_for_the_whole_set_but_not_for_ever() {
    let puppet = Puppet::new(122);
    let defer = Duration::from_millis(1500);
    let speaker =
        Speaker::start(SpeakerConfig { restarting: true, restart_defer: defer, ..config(121) }).unwrap();
    let started = Instant::now();
    let mut part = wanted([("p", peer(121, 122, puppet.port()))], &["20.20.20.1/32"]);
    part.complete = false;
    speaker.set_wanted(part);
    let mut session = puppet.accept();
    assert_eq!(session.update().0.len(), 1, "routes do not wait");
    assert!(started.elapsed() < defer / 2, "{:?}", started.elapsed());
    assert_eq!(session.update(), (vec![], vec![]), "End-of-RIB");
    assert!(started.elapsed() >= defer.mul_f64(0.9), "{:?}", started.elapsed());
    until(&speaker, "End-of-RIB", |s| is(s, "p", |p| p.end_of_rib_sent)).await;
    speaker.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn end_of_rib_follows_the_whole_set_and_ends_the_restart() {
    let puppet = Puppet::new(132);
    let speaker = Speaker::start(SpeakerConfig { restarting: true, ..config(131) }).unwrap();
    let mut set = wanted([("p", peer(131, 132, puppet.port()))], &["20.20.20.1/32"]);
    set.complete = false;
    speaker.set_wanted(set.clone());
    let mut session = puppet.accept();
    let first = restart(&session.open);
    assert!(
        first.restarting && !first.notification && first.families.iter().all(|(_, kept)| *kept),
        "{first:?}"
    );
    assert_eq!((first.time, first.families.len()), (15, 2));
    assert_eq!(session.update().0.len(), 1);

    // The session is lost before End-of-RIB: the next one is still a restart.
    drop(session);
    let mut session = puppet.accept();
    assert!(restart(&session.open).restarting);
    assert_eq!(session.update().0.len(), 1);
    set.complete = true;
    speaker.set_wanted(set);
    assert_eq!(session.update(), (vec![], vec![]), "End-of-RIB");
    until(&speaker, "End-of-RIB", |s| is(s, "p", |p| p.end_of_rib_sent)).await;

    drop(session);
    let session = puppet.accept();
    let last = restart(&session.open);
    assert!(!last.restarting && last.families.iter().all(|(_, kept)| *kept), "{last:?}");
    speaker.shutdown(Shutdown::Keep).await;
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever_for_a_peer_that_does_not_read() {
    let puppet = Puppet::new(142);
    let speaker = Speaker::start(config(141)).unwrap();
    let hosts: Vec<String> =
        (0..=255).flat_map(|a| (0..=255).map(move |b| format!("20.20.{a}.{b}/32"))).collect();
    let mut set = wanted([("p", peer(141, 142, puppet.port()))], &[]);
    set.routes = hosts.iter().map(|host| (host.parse().unwrap(), bgpd::WantedRoute::default())).collect();
    speaker.set_wanted(set);
    let _stuck = puppet.accept();
    until(&speaker, "some routes", |s| is(s, "p", |p| !p.advertised.is_empty())).await;
    let started = Instant::now();
    speaker.shutdown(Shutdown::Cease("going".to_owned())).await;
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
}
