//! The daemon from start to stop. What an operator can cure while it runs (rights, a foreign XDP program, a port that is
//! taken) does not end it: it stays up, not ready, announces nothing, and says why. A wrong configuration, a second
//! instance or an unusable run directory does.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use bgpd::SpeakerConfig;
use bgpd::driver::Shutdown;
use health::Checker;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tracing::info;

use crate::config::{Config, Log, LogFormat};
use crate::control::{Identity, NodeControl};
use crate::engine::{self, Clock, Engine, Parts};
use crate::lock::InstanceLock;
use crate::mechanism::{DatapathThread, Routing, Speaking};
use crate::plan::Facts;
use crate::restart::{RecordFile, boot_id};
use crate::store::{Condition, LocalStore, Store};
use crate::watchdog;

/// Longest that a restart holds back End-of-RIB; well below the restart time of 15 s.
const RESTART_DEFER: Duration = Duration::from_secs(10);
/// The socket is for root and the group of vipcastd.
const SOCKET_MODE: u32 = 0o660;

pub fn log(log: &Log) {
    let filter = tracing_subscriber::EnvFilter::new(&log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second subscriber is refused, which is what tests in one process want.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}

pub fn route_options(config: &Config) -> routemgr::Options {
    routemgr::Options {
        resync: config.routes.resync,
        probe_interval: config.routes.probe_interval,
        // Sysctls begin anew with the kernel, and so does the run directory.
        saved_sysctls: config.paths.run.join("sysctls.saved"),
    }
}

pub fn datapath_options(config: &Config) -> datapath::Options {
    datapath::Options { pin_dir: config.paths.pins.clone(), limits: config.datapath.limits }
}

pub fn speaker_config(config: &Config) -> SpeakerConfig {
    SpeakerConfig {
        asn: config.bgp.asn,
        router_id: config.bgp.router_id,
        listen: config.bgp.listen.clone(),
        restart_time: config.bgp.restart_time,
        restarting: false,
        restart_defer: RESTART_DEFER,
    }
}

pub fn open_store(config: &Config) -> anyhow::Result<LocalStore> {
    Ok(LocalStore::open(&config.paths.state, &|contents| engine::intent(contents).map(drop))?)
}

/// Runs until SIGTERM or SIGINT. Both keep everything: routes stay at the routers, the datapath goes on forwarding.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let _lock = InstanceLock::take(&config.paths.run)?;
    info!(node = config.node.name, version = env!("CARGO_PKG_VERSION"), "vipcastd starts");
    let store: Arc<dyn Store> = Arc::new(open_store(&config)?);
    let clock = Clock::new(SystemTime::now());
    let (datapath, events) = DatapathThread::start(datapath_options(&config), touches(&store))
        .context("cannot start the datapath thread")?;
    let datapath = Arc::new(datapath);
    let bgp = Arc::new(Speaking::new(speaker_config(&config)));
    let engine = Engine::new(Parts {
        facts: Facts::from(&config),
        store: store.clone(),
        routes: Arc::new(Routing::start(route_options(&config), touches(&store))),
        health: Arc::new(Checker::start()),
        bgp: bgp.clone(),
        datapath: datapath.clone(),
        events,
        record: RecordFile::new(&config.paths.run, boot_id().context("cannot read the boot id")?),
        restart_defer: RESTART_DEFER,
        clock,
    });
    let last_resort = bgp.clone();
    watchdog::start(engine.pulse(), move || last_resort.withdraw_all())
        .context("cannot start the watchdog")?;

    let control = NodeControl::new(Identity::from(&config), store, engine.view(), datapath, clock);
    let listener = api::Listener::bind(&config.socket, SOCKET_MODE).await?;
    let (ready_tx, ready) = watch::channel(false);
    tokio::spawn(follow_readiness(engine.view(), ready_tx));
    let mut signals = Signals::new()?;
    let (stop_api, api_stopped) = oneshot::channel::<()>();
    let stopping = async {
        // A dropped sender means the same as a message: stop.
        let _ = api_stopped.await;
    };
    let serving = tokio::spawn(listener.serve(Arc::new(control), ready, stopping));
    sd_notify::notify(&[sd_notify::NotifyState::Ready]).context("cannot tell systemd that we are ready")?;
    info!(socket = %config.socket.display(), "the API is up");

    engine.run(signals.wait()).await;
    info!("stopping: routes stay at the routers, the datapath goes on forwarding");
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
    bgp.shutdown(Shutdown::Keep).await;
    drop(stop_api);
    serving.await.context("the API task was cut short")??;
    Ok(())
}

/// With an unreadable store nothing of the kernel is touched, not even opened.
fn touches(store: &Arc<dyn Store>) -> bool {
    !matches!(store.condition(), Condition::Unreadable { .. })
}

async fn follow_readiness(mut view: watch::Receiver<Arc<engine::View>>, ready: watch::Sender<bool>) {
    loop {
        let now = view.borrow_and_update().ready();
        ready.send_if_modified(|was| {
            let changed = *was != now;
            if changed {
                info!(ready = now, "readiness changed");
            }
            *was = now;
            changed
        });
        if view.changed().await.is_err() {
            return;
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM"),
            _ = self.interrupt.recv() => info!("SIGINT"),
        }
    }
}
