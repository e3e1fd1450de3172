//! Which sysctls DSR needs. Pure; `settings` reads and writes them.
//!
//! Traps that decide the sets (seen, and in net/ipv4/devinet.c): `send_redirects` holds if `all` *or* the interface says
//! so, so both must be 0. The effective `rp_filter` is the larger of `all` and the interface's. A blackhole route for a VIP
//! makes rp_filter 1 *and* 2 drop every packet whose source is that VIP, so interfaces that may see one need 0. IPv6 has
//! neither send_redirects nor rp_filter. Writing a forwarding switch resets accept_redirects: it has to come first.

use std::collections::BTreeMap;

use crate::Sysctl;

pub type Sysctls = BTreeMap<Sysctl, String>;

impl Sysctl {
    /// What every interface that carries VIP traffic into a node needs: no ICMP redirects sent or believed, on `all`,
    /// `default` (for interfaces that come later) and each; no reverse-path filter on `all` and each.
    /// [`crate::Wanted::interfaces`] brings these by itself.
    ///
    /// `all/rp_filter` = 0 takes a filter that was set there away from the other interfaces too; they keep their own.
    pub fn ingress<'a>(interfaces: impl IntoIterator<Item = &'a str>) -> Sysctls {
        let mut set = Sysctls::from(redirects_off("all"));
        set.extend(redirects_off("default"));
        set.extend([v4("all", "rp_filter", "0")]);
        for interface in interfaces {
            set.extend(redirects_off(interface));
            set.extend([v4(interface, "rp_filter", "0")]);
            // A next hop that no longer answers at its old MAC is asked for by broadcast before it counts as failed.
            for family in ["ipv4", "ipv6"] {
                set.insert(Self(format!("net/{family}/neigh/{interface}/mcast_resolicit")), "1".into());
            }
        }
        set
    }

    /// The node forwards packets of its own kernel as well. Only when asked for: the datapath does not need it.
    pub fn forwarding() -> Sysctls {
        let paths = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
        paths.into_iter().map(|path| (Self(path.into()), "1".into())).collect()
    }

    /// What a real server needs that holds a VIP on `lo`: it must neither answer ARP for the VIP (`arp_ignore`) nor ask
    /// with it as sender (`arp_announce`), and take packets whose way back is another.
    pub fn real_server<'a>(interfaces: impl IntoIterator<Item = &'a str>) -> Sysctls {
        let mut set = Self::ingress([]);
        for interface in ["all"].into_iter().chain(interfaces) {
            set.extend(redirects_off(interface));
            set.extend([
                v4(interface, "rp_filter", "0"),
                v4(interface, "arp_ignore", "1"),
                v4(interface, "arp_announce", "2"),
            ]);
        }
        set
    }

    /// Switches that reset others come first.
    pub(crate) fn writes_first(&self) -> bool {
        self.0 == "net/ipv4/ip_forward" || self.0.ends_with("/forwarding")
    }
}

fn redirects_off(interface: &str) -> [(Sysctl, String); 3] {
    let v6 = (Sysctl(format!("net/ipv6/conf/{interface}/accept_redirects")), "0".into());
    [v4(interface, "send_redirects", "0"), v4(interface, "accept_redirects", "0"), v6]
}

fn v4(interface: &str, name: &str, value: &str) -> (Sysctl, String) {
    (Sysctl(format!("net/ipv4/conf/{interface}/{name}")), value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(set: &'a Sysctls, path: &str) -> Option<&'a str> {
        set.get(&Sysctl(path.into())).map(String::as_str)
    }

    #[test]
    fn redirects_are_off_on_all_default_and_each() {
        let set = Sysctl::ingress(["eth0", "eth0.100"]);
        for interface in ["all", "default", "eth0", "eth0.100"] {
            for path in [
                "ipv4/conf/{}/send_redirects",
                "ipv4/conf/{}/accept_redirects",
                "ipv6/conf/{}/accept_redirects",
            ] {
                let path = format!("net/{}", path.replace("{}", interface));
                assert_eq!(value(&set, &path), Some("0"), "{path}");
            }
        }
        assert!(!set.keys().any(|s| s.0.contains("ipv6") && s.0.contains("send_redirects")));
    }

    #[test]
    fn rp_filter_is_off_on_all_and_each_but_default_is_left() {
        let set = Sysctl::ingress(["eth0"]);
        assert_eq!(value(&set, "net/ipv4/conf/all/rp_filter"), Some("0"));
        assert_eq!(value(&set, "net/ipv4/conf/eth0/rp_filter"), Some("0"));
        assert_eq!(value(&set, "net/ipv4/conf/default/rp_filter"), None);
        assert_eq!(value(&set, "net/ipv4/ip_forward"), None);
    }

    #[test]
    fn real_servers_keep_quiet_about_the_vip() {
        let set = Sysctl::real_server(["eth1"]);
        for interface in ["all", "eth1"] {
            assert_eq!(value(&set, &format!("net/ipv4/conf/{interface}/arp_ignore")), Some("1"));
            assert_eq!(value(&set, &format!("net/ipv4/conf/{interface}/arp_announce")), Some("2"));
        }
    }
}
