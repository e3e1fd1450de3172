//! A network and mount namespace of a test's own, with a bpffs and veth pairs. Everything goes with the thread that
//! holds it, also after a panic.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrLike, bind, recv, send,
    setsockopt, socket, sockopt,
};

pub(crate) struct Node {
    dir: tempfile::TempDir,
}

/// Runs `test` in namespaces of its own.
pub(crate) fn in_node(test: impl FnOnce(&Node) + Send + 'static) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("root, for namespaces");
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
            .expect("private mounts");
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").expect("no router solicitations");
        let dir = tempfile::tempdir().expect("temporary directory");
        let bpffs = dir.path().join("bpf");
        fs::create_dir(&bpffs).expect("mount point");
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), None::<&str>).expect("bpffs");
        let node = Node { dir };
        run("ip", &["link", "set", "lo", "up"]);
        test(&node);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Drop for Node {
    /// Lazily: a child that another test is just starting may hold a descriptor of ours for a moment. Then the
    /// temporary directory can go.
    fn drop(&mut self) {
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
    }
}

impl Node {
    pub(crate) fn pin_dir(&self) -> PathBuf {
        self.bpffs().join("vipcast")
    }

    pub(crate) fn bpffs(&self) -> PathBuf {
        self.dir.path().join("bpf")
    }

    /// What is pinned at the top of the bpffs, without the kernel's own `maps.debug` and `progs.debug`.
    pub(crate) fn pinned(&self) -> Vec<String> {
        let names = fs::read_dir(self.bpffs()).expect("bpffs").map(|entry| entry.expect("entry").file_name());
        names.map(|n| n.to_string_lossy().into_owned()).filter(|n| !n.ends_with(".debug")).collect()
    }

    /// A directory that is on no bpffs.
    pub(crate) fn ordinary_dir(&self) -> &Path {
        self.dir.path()
    }

    /// Makes a veth pair, both ends up; frames redirected to either end's peer arrive.
    pub(crate) fn veth(&self, a: &str, b: &str) {
        run("ip", &["link", "add", a, "type", "veth", "peer", "name", b]);
        for end in [a, b] {
            run("ip", &["link", "set", end, "up"]);
            run("ethtool", &["-K", end, "gro", "on"]);
        }
    }

    pub(crate) fn ifindex(&self, name: &str) -> u32 {
        nix::net::if_::if_nametoindex(name).expect("interface")
    }

    pub(crate) fn mac(&self, name: &str) -> [u8; 6] {
        let out = run("ip", &["-o", "link", "show", name]);
        let text = out.split("link/ether ").nth(1).and_then(|s| s.split(' ').next()).expect("address");
        let bytes: Vec<u8> = text.split(':').map(|b| u8::from_str_radix(b, 16).expect("hex")).collect();
        bytes.try_into().expect("six bytes")
    }

    /// Id of the XDP program that the kernel says is attached.
    pub(crate) fn program_id(&self, name: &str) -> Option<u32> {
        let out = run("ip", &["-d", "-o", "link", "show", name]);
        let id = out.split("prog/xdp id ").nth(1)?.split(' ').next()?;
        Some(id.parse().expect("number"))
    }
}

/// Runs a tool in the test's namespaces; its output.
#[track_caller]
pub(crate) fn run(program: &str, args: &[&str]) -> String {
    let out =
        Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program} is needed: {e}"));
    let err = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {err}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Waits for what the kernel does in its own time; at most five seconds.
#[track_caller]
pub(crate) fn wait(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !condition() {
        assert!(Instant::now() < deadline, "not within five seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Room for some ten thousand frames that wait while a test does something else.
const RECEIVE_BUFFER: usize = 16 << 20;

/// A raw socket on an interface.
pub(crate) struct Port(OwnedFd);

impl Port {
    pub(crate) fn open(node: &Node, interface: &str) -> Self {
        let protocol = SockProtocol::EthAll;
        let fd =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).expect("socket");
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: node.ifindex(interface) as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let len = size_of::<libc::sockaddr_ll>() as u32;
        // SAFETY: a whole sockaddr_ll of the family AF_PACKET, copied by the call.
        #[allow(unsafe_code)]
        let address = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(len)) }.expect("address");
        bind(fd.as_raw_fd(), &address).expect("bind");
        setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).expect("receive buffer");
        Self(fd)
    }

    pub(crate) fn send(&self, frame: &[u8]) {
        assert_eq!(send(self.0.as_raw_fd(), frame, MsgFlags::empty()), Ok(frame.len()));
    }

    /// Frames that `wanted` picks, until there are `count` or five seconds have passed.
    pub(crate) fn receive(&self, count: usize, wanted: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut frames = Vec::new();
        let mut buffer = [0; 2048];
        while frames.len() < count && Instant::now() < deadline {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(len) if wanted(&buffer[..len]) => frames.push(buffer[..len].to_vec()),
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        frames
    }
}
