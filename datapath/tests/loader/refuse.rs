//! What cannot be done is said clearly, and nothing is half done.
#![allow(unsafe_code)]

use std::collections::BTreeMap;

use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use datapath::{Datapath, Error, Ingress, Mode, Options};

use crate::node::{Port, in_node, wait};
use crate::wanted::{LIMITS, backend, open, options, pool, syn, wanted};

#[test]
fn a_foreign_program_is_named_and_left_alone() {
    in_node(|node| {
        node.veth("client", "in0");
        node.veth("other", "in1");
        let object = std::fs::read(env!("VIPCAST_XDP_OBJECT")).expect("object");
        let mut ebpf = Ebpf::load(&object).expect("loads");
        let pass: &mut Xdp =
            ebpf.program_mut("vipcast_pass").expect("program").try_into().expect("an XDP program");
        pass.load().expect("verified");
        pass.attach("in0", XdpMode::Driver).expect("attached");
        let foreign = node.program_id("in0").expect("attached");

        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0", "in1"], "in1", "other", &[1]);
        let read_back = datapath.apply(&wanted).expect("the rest works");
        assert_eq!(read_back.attached.keys().collect::<Vec<_>>(), ["in1"]);
        let reason = &read_back.not_attached["in0"];
        assert!(reason.contains(&format!("program id {foreign}")), "{reason}");
        assert_eq!(node.program_id("in0"), Some(foreign));

        drop(ebpf);
        wait(|| node.program_id("in0").is_none());
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached.len(), 2, "{:?}", read_back.not_attached);
    });
}

#[test]
fn native_mode_is_required_unless_generic_is_allowed() {
    in_node(|node| {
        node.veth("client", "in0");
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["lo"], "in0", "client", &[1]);
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached, BTreeMap::new());
        let reason = &read_back.not_attached["lo"];
        assert!(reason.contains("native XDP") && reason.contains("generic"), "{reason}");
        assert_eq!(node.program_id("lo"), None);

        wanted.ingress.insert("lo".into(), Ingress { allow_generic: true });
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached, [("lo".to_owned(), Mode::Generic)].into());
        assert_eq!(read_back.not_attached, BTreeMap::new());

        wanted.ingress.insert("lo".into(), Ingress { allow_generic: false });
        let read_back = datapath.apply(&wanted).expect("applied");
        assert_eq!(read_back.attached, BTreeMap::new(), "generic is not allowed any more");
    });
}

#[test]
fn without_rights_the_needed_capabilities_are_named() {
    in_node(|node| {
        let options = options(node);
        let error = std::thread::spawn(move || {
            drop_capabilities();
            Datapath::open(options).err().expect("no rights")
        })
        .join()
        .expect("thread");
        assert!(matches!(error, Error::NoRights { .. }), "{error:?}");
        assert!(error.to_string().contains("CAP_BPF"), "{error}");
        assert!(node.pinned().is_empty(), "{:?}", node.pinned());
    });
}

/// Of the calling thread only.
fn drop_capabilities() {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    // _LINUX_CAPABILITY_VERSION_3 (include/uapi/linux/capability.h): two sets of effective, permitted, inheritable.
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: both point to values of the layout that the call reads.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    assert_eq!(result, 0, "capset");
}

#[test]
fn an_ordinary_directory_is_refused_with_the_mount_command() {
    in_node(|node| {
        let pin_dir = node.ordinary_dir().join("vipcast");
        let error =
            Datapath::open(Options { pin_dir: pin_dir.clone(), limits: LIMITS }).err().expect("refused");
        assert!(error.to_string().contains("mount -t bpf bpf"), "{error}");
        assert!(!pin_dir.exists());
    });
}

#[test]
fn two_processes_do_not_share_a_directory() {
    in_node(|node| {
        let (first, _) = open(node);
        let error = Datapath::open(options(node)).err().expect("in use");
        assert!(matches!(error, Error::InUse { .. }), "{error}");
        drop(first);
        open(node);
    });
}

#[test]
fn a_directory_of_something_else_is_not_touched() {
    in_node(|node| {
        std::fs::create_dir_all(node.pin_dir().join("theirs")).expect("made");
        let error = Datapath::open(options(node)).err().expect("refused");
        assert!(matches!(error, Error::OtherAbi { .. }), "{error}");
        assert_eq!(std::fs::read_dir(node.pin_dir()).expect("there").count(), 1);

        std::fs::remove_dir(node.pin_dir().join("theirs")).expect("removed");
        std::fs::create_dir(node.pin_dir().join("abi-0-0")).expect("made");
        let error = Datapath::open(options(node)).err().expect("refused");
        assert!(error.to_string().contains("abi-0-0"), "{error}");
    });
}

#[test]
fn a_set_that_does_not_fit_changes_nothing() {
    in_node(|node| {
        node.veth("client", "in0");
        node.veth("out0", "server");
        let (mut datapath, _) = open(node);
        let wanted = wanted(node, &["in0"], "out0", "server", &[1]);
        let good = datapath.apply(&wanted).expect("applied");
        let mut too_much = wanted.clone();
        let mut spec = too_much.pools[&pool()].clone();
        spec.ring_bits = 11;
        for n in 0..15 {
            too_much.pools.insert(datapath::PoolName(format!("pool-{n}")), spec.clone());
        }
        too_much.ingress.clear();
        let error = datapath.apply(&too_much).expect_err("too much");
        assert!(matches!(error, Error::Plan(_)), "{error}");
        assert!(error.to_string().contains("ring slots"), "{error}");
        assert_eq!(datapath.read_back().expect("read back"), good);
        let client = Port::open(node, "client");
        let server = Port::open(node, "server");
        client.send(&syn(node.mac("in0"), 5));
        assert_eq!(server.receive(1, |frame| frame.get(12..14) == Some(&[8, 0])).len(), 1);
    });
}

#[test]
fn a_lost_egress_interface_takes_its_backends_only() {
    in_node(|node| {
        node.veth("client", "in0");
        node.veth("out0", "server");
        node.veth("out1", "server1");
        let (mut datapath, _) = open(node);
        let mut wanted = wanted(node, &["in0"], "out0", "server", &[1, 2]);
        let gone = node.ifindex("out1");
        let spec = wanted.pools.get_mut(&pool()).expect("pool");
        let egress = spec.backends.get_mut(&backend(2)).and_then(|b| b.egress.as_mut()).expect("resolved");
        egress.ifindex = gone;
        let all = datapath.apply(&wanted).expect("applied");
        assert_eq!(all.members[&pool()], [backend(1), backend(2)]);
        crate::node::run("ip", &["link", "del", "out1"]);
        assert!(datapath.read_back().expect("read back").services.is_empty(), "a slot leads nowhere");
        let rest = datapath.apply(&wanted).expect("applied");
        assert_eq!(rest.members[&pool()], [backend(1)]);
        assert_eq!(rest.services.len(), 1);
    });
}
