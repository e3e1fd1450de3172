//! Debian packages: what is missing is installed when we may, else the exact line to run is the error.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::enabled;
use super::policy::Policy;
use crate::place::Place;
use crate::run;

/// Packages that bring a service, and the service's name.
const DAEMONS: [(&str, &str); 2] = [("bird2", "bird"), ("frr", "frr")];

/// Sees to it that `wanted` are installed.
pub(crate) fn provide(place: &Place, wanted: &[&str]) -> Result<()> {
    let missing = missing(wanted, &installed(wanted)?);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "these Debian packages are missing, and only root on a machine with apt can install them. Run:\n  {}",
            by_hand(&missing)
        );
    }
    install(place, &missing)
        .with_context(|| format!("packages are missing. To see why, run:\n  {}", by_hand(&missing)))
}

fn install(place: &Place, missing: &[&str]) -> Result<()> {
    // A failure here may be one broken source among good ones: the installation says whether it matters.
    let label = "apt-get update";
    let update = run::quiet(label, apt().arg("update"), &place.logs().join("apt-update.log"), None);
    if let Err(error) = &update {
        eprintln!("setup: going on with the package lists that are there: {error:#}");
    }
    let root = Path::new("/");
    let before = enabled::links(root)?;
    let installed = {
        let _policy = Policy::refuse_starts(root)?;
        let mut command = apt();
        command.args(["install", "--yes", "--no-install-recommends"]).args(missing);
        let label = format!("installing {}", missing.join(" "));
        run::quiet(&label, &mut command, &place.logs().join("apt-install.log"), None)
    };
    let ours = enabled::added(&before, &enabled::links(root)?);
    ours.iter().try_for_each(|link| enabled::disable(link))?;
    if !ours.is_empty() {
        eprintln!("setup: left disabled at boot: {}", enabled::services(&ours).join(" "));
    }
    installed
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").env("NEEDRESTART_SUSPEND", "1").env("LC_ALL", "C");
    command
}

/// The line for a person who may. Like ours, it neither starts a routing daemon nor leaves one enabled at boot.
fn by_hand(missing: &[&str]) -> String {
    let packages = missing.join(" ");
    let mut steps = vec![
        "p=/usr/sbin/policy-rc.d".to_owned(),
        r##"[ -e $p ] || { trap "rm -f $p" EXIT; printf "#!/bin/sh\nexit 101\n" >$p; chmod +x $p; }"##
            .to_owned(),
        format!("apt-get update; apt-get install --yes --no-install-recommends {packages}"),
    ];
    let daemons = DAEMONS.iter().filter(|(package, _)| missing.contains(package));
    steps.extend(daemons.map(|(_, service)| format!("update-rc.d {service} disable")));
    format!("sudo sh -c '{}'", steps.join("; "))
}

/// The packages of `wanted` that dpkg holds, fully configured.
fn installed(wanted: &[&str]) -> Result<Vec<String>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Abbrev}\\n"])
        .args(wanted)
        .output();
    match output {
        // dpkg-query fails as soon as one name is unknown to it, and still lists the others.
        Ok(output) => Ok(parse(&String::from_utf8_lossy(&output.stdout))),
        Err(error) => Err(error).with_context(|| {
            format!(
                "no dpkg here: this set-up knows Debian only. Install by other means what Debian calls: {}",
                wanted.join(" ")
            )
        }),
    }
}

fn parse(listing: &str) -> Vec<String> {
    let mut names: Vec<String> = listing
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, status)| matches!(status.trim(), "ii" | "hi"))
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

fn missing<'a>(wanted: &[&'a str], installed: &[String]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|name| !installed.iter().any(|have| have == name)).collect()
}

fn is_root() -> bool {
    run::ask(Command::new("id").arg("-u")).is_some_and(|id| id == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_configured_packages_count_as_installed() {
        let listing = "bird2 ii \nfrr iU \ntcpdump rc \nethtool hi \niproute2 un \n";
        let installed = parse(listing);
        assert_eq!(installed, ["bird2", "ethtool"]);
        assert_eq!(
            missing(&["bird2", "ethtool", "frr", "iproute2", "rustc-web", "tcpdump"], &installed),
            ["frr", "iproute2", "rustc-web", "tcpdump"]
        );
    }

    #[test]
    fn nothing_is_missing_when_all_is_there() {
        assert!(missing(&["frr"], &parse("frr ii \n")).is_empty());
    }

    #[test]
    fn the_line_for_a_person_names_exactly_what_is_missing_and_is_shell() {
        let line = by_hand(&["bird2", "tcpdump"]);
        assert!(line.contains("--no-install-recommends bird2 tcpdump;"), "{line}");
        assert!(line.ends_with("; update-rc.d bird disable'"), "{line}");
        let inner = line.strip_prefix("sudo sh -c '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        assert!(!inner.contains('\''), "{line}");
        assert!(Command::new("sh").args(["-n", "-c", inner]).status().unwrap().success());
    }
}
