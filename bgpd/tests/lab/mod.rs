//! Two network namespaces joined by a veth pair: a real router in one, our speaker (`examples/speaker.rs`) in the other.
//! Names are unique to the process; everything is removed by its handle, also after a failed assertion.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const ROUTER: &str = "10.99.0.1";
pub const NODE: &str = "10.99.0.2";
pub const ROUTER_V6: &str = "2001:db8:99::1";
pub const NODE_V6: &str = "2001:db8:99::2";

/// Runs a command and returns its output; panics with all it said when it fails.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{program} is needed for this test: {error}"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks again and again until `found` likes the answer; panics with the last one after 20 s.
pub fn eventually(what: &str, ask: impl Fn() -> String, found: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = ask();
        if found(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come; last seen:\n{answer}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A network namespace.
pub struct Namespace(pub String);

impl Namespace {
    fn new(role: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vipcast-bgp-{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Self(name);
        namespace.ip(&["link", "set", "lo", "up"]);
        namespace
    }

    pub fn ip(&self, arguments: &[&str]) -> String {
        run("ip", &[&["-n", &self.0], arguments].concat())
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// A child process that does not outlive its handle. `ip netns exec` becomes the program itself, so killing the child
/// kills the daemon.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub struct Lab {
    // The order of fields is the order of dropping: processes of tests first, then namespaces, then files.
    pub router: Namespace,
    pub node: Namespace,
    pub directory: tempfile::TempDir,
}

impl Lab {
    pub fn new() -> Self {
        let (router, node) = (Namespace::new("r"), Namespace::new("n"));
        router.ip(&["link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", &node.0]);
        for (namespace, v4, v6) in [(&router, ROUTER, ROUTER_V6), (&node, NODE, NODE_V6)] {
            namespace.ip(&["addr", "add", &format!("{v4}/24"), "dev", "wire"]);
            namespace.ip(&["addr", "add", &format!("{v6}/64"), "dev", "wire", "nodad"]);
            namespace.ip(&["link", "set", "wire", "up"]);
        }
        Self { router, node, directory: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.directory.path().join(name), text).unwrap();
        self.path(name)
    }

    /// Starts a daemon in the foreground in the router's namespace; what it says goes to `NAME.log`.
    pub fn daemon(&self, name: &str, program: &str, arguments: &[&str]) -> Process {
        assert!(Path::new(program).exists(), "{program} is needed for this test");
        let log = std::fs::File::create(self.directory.path().join(format!("{name}.log"))).unwrap();
        let mut command = self.router.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Process(command.spawn().unwrap())
    }

    /// Starts our speaker in the node's namespace.
    pub fn speaker(&self, arguments: &[&str]) -> SpeakerProcess {
        let mut command = self.node.command(speaker_path().to_str().unwrap());
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut speaker = SpeakerProcess { process: Process(child), input, output };
        assert_eq!(speaker.answer(), "ready");
        speaker
    }
}

fn speaker_path() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/speaker");
    assert!(path.exists(), "{} is missing: cargo build -p bgpd --example speaker", path.display());
    path
}

/// The example, at the other end of a pipe.
pub struct SpeakerProcess {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl SpeakerProcess {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").unwrap();
        self.answer()
    }

    /// A line that must be answered with `ok`.
    pub fn tell(&mut self, line: &str) {
        let answer = self.ask(line);
        assert_eq!(answer, "ok", "{line}");
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }
}
