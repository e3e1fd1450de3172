//! `vipcastd real-server`: makes a host answer for VIPs behind vipcast nodes. The VIPs go on `lo`, ARP keeps quiet about
//! them, the reverse-path filter lets tunnelled packets in, and a decapsulation program on the tunnel interface unpacks
//! what the nodes send. Everything stays without a daemon: addresses and sysctls in the kernel, the program by its pins.
//! Running it again changes nothing; `--undo` restores what was there before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use datapath::{Decap, DecapWanted};
use ipnet::IpNet;
use routemgr::{Observed, Options, RouteManager, Sysctl, Wanted};

/// Longest wait for the kernel to hold what was asked for.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args, Debug, Clone)]
pub struct RealServer {
    /// Interface that the nodes' packets come in on; may be given several times.
    #[arg(long = "interface", value_name = "IF", required = true)]
    interfaces: Vec<String>,
    /// VIP to serve; may be given several times.
    #[arg(long = "vip", value_name = "ADDRESS", required = true)]
    vips: Vec<IpAddr>,
    /// Networks of the nodes' outer source addresses: tunnel packets from elsewhere are dropped.
    #[arg(long = "node-source", value_name = "PREFIX", required_unless_present = "l2")]
    node_sources: Vec<IpNet>,
    /// This host's own address that the nodes tunnel to (the backend's address).
    #[arg(long = "local", value_name = "ADDRESS", required_unless_present = "l2")]
    local: Vec<IpAddr>,
    /// The nodes forward by `l2`: no tunnel, no decapsulation.
    #[arg(long, conflicts_with_all = ["node_sources", "local"])]
    l2: bool,
    /// Change nothing; say what is missing. Exit status 1 when something is.
    #[arg(long, conflicts_with = "undo")]
    check: bool,
    /// Remove the VIPs and the program, restore the sysctls.
    #[arg(long)]
    undo: bool,
    /// Where the program is pinned; on a bpffs.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/vipcast-real-server")]
    pins: PathBuf,
    /// Where the old sysctl values are kept.
    #[arg(long, value_name = "DIR", default_value = "/run/vipcast-real-server")]
    run: PathBuf,
}

pub async fn run(server: RealServer) -> anyhow::Result<()> {
    match (server.check, server.undo) {
        (true, _) => server.check(),
        (_, true) => server.undo().await,
        _ => server.prepare().await,
    }
}

impl RealServer {
    fn routes_wanted(&self) -> Wanted {
        Wanted {
            host_addresses: self.vips.iter().copied().collect(),
            sysctls: Sysctl::real_server(self.interfaces.iter().map(String::as_str)),
            ..Wanted::default()
        }
    }

    fn decap_wanted(&self) -> DecapWanted {
        DecapWanted {
            pin_dir: self.pins.clone(),
            interfaces: self.interfaces.iter().cloned().collect(),
            allowed_sources: self.node_sources.iter().copied().collect(),
            local: self.local.iter().copied().collect(),
        }
    }

    async fn manager(&self) -> anyhow::Result<RouteManager> {
        fs::create_dir_all(&self.run).with_context(|| format!("cannot make {}", self.run.display()))?;
        Ok(RouteManager::start(Options::new(self.run.join("sysctls.saved"))).await?)
    }

    /// Decapsulation first: a VIP on `lo` without it would be answered for before packets can arrive.
    async fn prepare(&self) -> anyhow::Result<()> {
        let missing: Vec<_> = self.local.iter().filter(|address| !is_own(**address)).collect();
        if !missing.is_empty() {
            bail!("{missing:?} is no address of this host: nothing was changed");
        }
        if !self.l2 {
            Decap::apply(&self.decap_wanted()).context("decapsulation")?;
            println!("decapsulation is attached to {}", self.interfaces.join(", "));
        }
        let wanted = self.routes_wanted();
        let before = sysctls(&wanted.sysctls);
        let manager = self.manager().await?;
        let mut observed = manager.observed();
        manager.set_wanted(wanted.clone());
        let settled = observed.wait_for(|seen| settled(seen, &wanted));
        let seen = match tokio::time::timeout(PATIENCE, settled).await {
            Ok(seen) => seen.context("the route manager ended")?.clone(),
            Err(_) => bail!("the kernel did not take all of it within {} s", PATIENCE.as_secs()),
        };
        if !seen.conflicts.is_empty() {
            let list: Vec<_> = seen.conflicts.iter().map(ToString::to_string).collect();
            bail!("{}", list.join("; "));
        }
        for vip in &self.vips {
            println!("{vip} is on lo");
        }
        for (path, (old, new)) in before {
            match old {
                Some(old) if old == new => println!("{path} = {new}"),
                Some(old) => println!("{path} = {new} (was {old})"),
                None => println!("{path} = {new}"),
            }
        }
        Ok(())
    }

    async fn undo(&self) -> anyhow::Result<()> {
        if !self.l2 {
            Decap::remove(&self.pins).context("decapsulation")?;
            println!("decapsulation is removed from {}", self.interfaces.join(", "));
        }
        self.manager().await?.uninstall().await?;
        println!("VIPs are removed from lo, sysctls are as before");
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let mut wrong = 0;
        let mut say = |good: bool, what: String| {
            println!("{} {what}", if good { "ok   " } else { "WRONG" });
            wrong += u32::from(!good);
        };
        for address in self.vips.iter().chain(&self.local) {
            say(is_own(*address), format!("{address} is an address of this host"));
        }
        for (path, (now, wanted)) in sysctls(&self.routes_wanted().sysctls) {
            let now = now.unwrap_or_else(|| "unreadable".into());
            say(now == wanted, format!("{path} = {now}, wanted {wanted}"));
        }
        if !self.l2 {
            let pinned = fs::read_dir(&self.pins).is_ok_and(|mut entries| entries.next().is_some());
            say(pinned, format!("decapsulation is pinned in {}", self.pins.display()));
        }
        match wrong {
            0 => Ok(()),
            n => bail!("{n} of these are wrong: run the same command without --check"),
        }
    }
}

fn settled(seen: &Observed, wanted: &Wanted) -> bool {
    let set = sysctls(&wanted.sysctls).values().all(|(now, wanted)| now.as_deref() == Some(wanted.as_str()));
    !seen.conflicts.is_empty() || set && wanted.host_addresses.is_subset(&seen.host_addresses)
}

/// Present and wanted value of each sysctl, by its path.
fn sysctls(wanted: &BTreeMap<Sysctl, String>) -> BTreeMap<&str, (Option<String>, String)> {
    let read = |path: &str| fs::read_to_string(Path::new("/proc/sys").join(path)).ok();
    let all = wanted.iter().map(|(sysctl, value)| {
        let now = read(&sysctl.0).map(|text| text.trim().to_owned());
        (sysctl.0.as_str(), (now, value.clone()))
    });
    all.collect()
}

fn is_own(address: IpAddr) -> bool {
    let own: BTreeSet<IpAddr> = nix::ifaddrs::getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .collect();
    own.contains(&address)
}
