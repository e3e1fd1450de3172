//! The runner itself, on a lab of two machines and a switch. Needs root, as every lab does.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use labs::host::lab::Options;
use labs::host::process::{self, Output};
use labs::host::{Edit, Lab, Place};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vipcast-lab");
const PATIENCE: Duration = Duration::from_secs(60);

/// A lab's files with a name of its own; takes down whatever a failed test leaves.
struct Files {
    name: String,
    dir: tempfile::TempDir,
}

impl Files {
    fn new(extra_exec: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join(&name);
        fs::create_dir_all(lab.join("a")).unwrap();
        fs::write(lab.join("a/hello.conf"), "hello from the lab\n").unwrap();
        let topology = format!(
            r#"
name: {name}
topology:
  defaults:
    kind: linux
    sysctls: {{ net.ipv4.conf.default.rp_filter: 2, net.ipv4.ip_forward: 1, net.ipv4.conf.all.accept_redirects: 0 }}
  nodes:
    a:
      env: {{ COLOUR: green }}
      binds: ["a/hello.conf:/etc/skel/hello.conf:ro"]
      exec:
        - ip addr add 10.9.8.1/24 dev eth1
        - start-stop-daemon --start --background --make-pidfile --pidfile /run/sleep.pid --exec /bin/sleep -- 1000
        {extra_exec}
    b:
      exec: [ip addr add 10.9.8.2/24 dev eth1]
    switch:
      exec:
        - ip link add br0 type bridge
        - ip link set eth1 master br0
        - ip link set eth2 master br0
        - ip link set br0 up
  links:
    - {{ endpoints: ["a:eth1", "switch:eth1"], mtu: 1400 }}
    - {{ endpoints: ["b:eth1", "switch:eth2"], mtu: 1400 }}
"#
        );
        fs::write(lab.join(format!("{name}.clab.yml")), topology).unwrap();
        Self { name, dir }
    }

    fn options(&self, edits: Vec<Edit>) -> Options {
        Options {
            source: self.dir.path().join(&self.name),
            edits,
            programs: vec![PathBuf::from(PROGRAM)],
            holder: PathBuf::from(PROGRAM),
        }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.env("VIPCAST_LABS", self.dir.path()).args(args);
        command
    }

    fn output(&self, args: &[&str]) -> Output {
        process::run(&mut self.command(args), PATIENCE).unwrap()
    }

    /// Starts a run that stays in its last `exec` line until it is ended.
    fn hanging(extra: &[&str]) -> (Self, Child) {
        let files = Self::new("- sleep 15");
        let name = files.name.clone();
        let args: Vec<&str> = ["run", &name].into_iter().chain(extra.iter().copied()).collect();
        let errors = fs::File::create(files.errors()).unwrap();
        let mut child = files.command(&args).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        let mark = Place::new(&name).node("a").join("run/sleep.pid");
        until("the lab to be up", || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(files.errors()).unwrap());
            mark.exists()
        });
        (files, child)
    }

    /// What a run in the background says.
    fn errors(&self) -> PathBuf {
        self.dir.path().join("errors")
    }

    fn left(&self) -> Vec<String> {
        left(&self.name)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = labs::host::lab::clean(&Place::new(&self.name));
    }
}

/// What is to be seen of a lab: names, mounts, directories, and processes that were told its name.
fn left(name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for dir in ["/run/netns", "/run/vipcast-labs"] {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        found.extend(names.filter(|entry| entry.contains(name)));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    found.extend(mounts.lines().filter(|line| line.contains(name)).map(str::to_owned));
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.contains("node-init") && line.contains(name) {
            found.push(line);
        }
    }
    found
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_lab_comes_up_as_described_and_leaves_nothing() {
    let files = Files::new("");
    let lab = Lab::up(&files.name, &files.options(Vec::new()), &mut |_| {}).unwrap();
    let a = lab.node("a").unwrap();
    a.sh("ping -c 1 -W 2 10.9.8.2").unwrap();
    assert_eq!(a.sh("cat /sys/class/net/eth1/mtu").unwrap(), "1400\n");
    assert_eq!(a.sh("hostname").unwrap(), "a\n");
    assert_eq!(a.sh("cat /proc/sys/net/ipv4/conf/eth1/rp_filter").unwrap(), "2\n");
    // Switching forwarding on would have reset this one, had it been written first.
    assert_eq!(a.sh("cat /proc/sys/net/ipv4/conf/all/accept_redirects").unwrap(), "0\n");
    assert_eq!(a.run(["sh", "-c", "echo $COLOUR"]).unwrap(), "green\n");
    assert_eq!(a.sh("cat /etc/skel/hello.conf").unwrap(), "hello from the lab\n");
    assert!(a.run(["sh", "-c", "echo x > /etc/skel/hello.conf"]).is_err(), "the bind is not read-only");
    assert!(!Path::new("/etc/skel/hello.conf").exists());
    a.run(["sh", "-c", "echo mine > /run/mine"]).unwrap();
    assert_eq!(fs::read_to_string(a.path("/run/mine")).unwrap(), "mine\n");
    assert!(lab.node("b").unwrap().sh("cat /run/mine").is_err(), "two machines share /run");
    a.sh("mkdir /sys/fs/bpf/pin").unwrap();
    assert!(a.bpffs().join("pin").is_dir() && !lab.node("b").unwrap().bpffs().join("pin").exists());
    a.sh("test -x /usr/local/bin/vipcast-lab").unwrap();
    let daemon = a.pid_file("/run/sleep.pid").unwrap().to_string();
    a.run(["kill", "-TERM", &daemon]).unwrap();
    until("a daemon to take SIGTERM", || !a.output(["kill", "-0", &daemon]).unwrap().success);
    assert!(!fs::read_dir("/sys/class/net").unwrap().flatten().any(|entry| entry.file_name() == "br0"));
    assert_eq!(lab.take_down(), [""; 0]);
    assert_eq!(files.left(), [""; 0]);
}

#[test]
fn a_line_that_fails_is_named_and_leaves_nothing() {
    let files = Files::new("- ip addr add 10.9.8.1/24 dev nothing");
    let error = Lab::up(&files.name, &files.options(Vec::new()), &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("a: `ip addr add 10.9.8.1/24 dev nothing` failed: Cannot find device"), "{error}");
    assert_eq!(files.left(), [""; 0]);
}

#[test]
fn an_edit_changes_what_the_lab_sees_and_not_the_files() {
    let files = Files::new("");
    let edit = Edit { file: "a/hello.conf", find: "hello", replace: "goodbye" };
    let lab = Lab::up(&files.name, &files.options(vec![edit]), &mut |_| {}).unwrap();
    let seen = lab.node("a").unwrap().sh("cat /etc/skel/hello.conf").unwrap();
    assert_eq!(seen, "goodbye from the lab\n");
    let source = fs::read_to_string(files.dir.path().join(&files.name).join("a/hello.conf")).unwrap();
    assert_eq!(source, "hello from the lab\n");
    drop(lab);
    assert_eq!(files.left(), [""; 0]);
}

#[test]
fn a_kept_lab_refuses_a_second_run_until_it_is_cleaned() {
    let files = Files::new("");
    let name = &files.name;
    let run = files.output(&["run", name, "--keep"]);
    assert!(run.success, "{}", run.stderr);
    let second = files.output(&["run", name]);
    assert!(!second.success && second.stderr.contains("already up"), "{}", second.stderr);
    let shell = files.output(&["shell", name, "b", "hostname"]);
    assert_eq!(shell.stdout, "b\n");
    assert!(files.output(&["list"]).stdout.contains("up, kept"));
    assert!(files.output(&["clean", name]).success);
    assert_eq!(files.left(), [""; 0]);
}

#[test]
fn a_second_run_while_one_is_under_way_says_so() {
    let (files, mut child) = Files::hanging(&[]);
    let second = files.output(&["run", &files.name]);
    assert!(!second.success && second.stderr.contains("is in use"), "{}", second.stderr);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn sigterm_takes_the_lab_down() {
    let (files, mut child) = Files::hanging(&[]);
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    assert!(!child.wait().unwrap().success());
    assert_eq!(files.left(), [""; 0]);
}

#[test]
fn what_a_killed_runner_leaves_is_repaired() {
    let (files, mut child) = Files::hanging(&["--keep"]);
    child.kill().unwrap();
    child.wait().unwrap();
    // The machines end by themselves; names, mounts and files remain for `clean`.
    until("the machines to end", || !files.left().iter().any(|line| line.contains("node-init")));
    assert!(!files.left().is_empty());
    let list = files.output(&["list"]).stdout;
    assert!(list.contains("left over"), "{list}");
    let clean = files.output(&["clean", &files.name]);
    assert!(clean.success, "{}", clean.stderr);
    assert_eq!(files.left(), [""; 0]);
}
