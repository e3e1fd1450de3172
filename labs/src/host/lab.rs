//! A lab from its files to its nodes, and back.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MsFlags, mount};

use super::holder::{BindSpec, Ready, SPEC, Spec};
use super::journal::{Journal, NodeEntry};
use super::lock::Lock;
use super::node::Node;
use super::place::{NETNS, Place};
use super::process::{self, ProcessId};
use super::stage::{self, Edit};
use super::teardown::{leftovers, teardown};
use super::{interrupt, layer, links};
use crate::clab::{self, Topology};

/// Where a node finds the programs of this build.
const PROGRAMS: &str = "/usr/local/bin";
/// What a node's holder says when something is wrong, in the node's directory.
const LOG: &str = "holder.log";

/// How a lab is brought up.
#[derive(Debug, Clone)]
pub struct Options {
    /// The lab's directory, which holds `NAME.clab.yml`.
    pub source: PathBuf,
    /// Planted faults.
    pub edits: Vec<Edit>,
    /// Programs of this build that every node gets.
    pub programs: Vec<PathBuf>,
    /// `vipcast-lab`, whose `node-init` holds the nodes.
    pub holder: PathBuf,
}

/// A lab that is up. Taken down when dropped, unless kept.
#[derive(Debug)]
pub struct Lab {
    place: Place,
    topology: Topology,
    nodes: BTreeMap<String, Node>,
    /// The holders' parents; their stdin is the pipe that keeps a node alive.
    holders: BTreeMap<String, Child>,
    journal: Journal,
    down: bool,
    _lock: Lock,
}

impl Lab {
    /// Builds the lab and runs its `exec` lines. After an error nothing is left.
    pub fn up(name: &str, options: &Options, tell: &mut dyn FnMut(String)) -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "labs need root: network and mount namespaces, XDP");
        let place = Place::new(name);
        let lock = Lock::take(&place)?;
        refuse_or_repair(&place, tell)?;
        stage::stage(&options.source, &place.files(), &options.edits)?;
        let topology = match Topology::load(&place.files().join(format!("{name}.clab.yml"))) {
            Ok(topology) => topology,
            Err(error) => {
                let _ = std::fs::remove_dir_all(place.dir());
                return Err(error);
            }
        };
        let mut journal = Journal::new(topology.nodes.keys().cloned())?;
        journal.made_netns_dir = !Path::new(NETNS).exists();
        journal.write(&place)?;
        // From here on, dropping takes away what the journal names.
        let mut lab = Self {
            place,
            topology,
            nodes: BTreeMap::new(),
            holders: BTreeMap::new(),
            journal,
            down: false,
            _lock: lock,
        };
        lab.hold_nodes(options)?;
        tell(format!("{} machines", lab.nodes.len()));
        let inits = lab.nodes.iter().map(|(name, node)| (name.clone(), node.init().pid)).collect();
        links::create(&lab.topology, &inits)?;
        tell(format!("{} links", lab.topology.links.len()));
        lab.exec_all()?;
        Ok(lab)
    }

    pub fn name(&self) -> &str {
        self.place.lab()
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.get(name).with_context(|| format!("lab {} has no node {name}", self.name()))
    }

    /// The `exec` line of a node that holds this word: how it starts a certain program.
    pub fn exec_line(&self, node: &str, word: &str) -> Result<&[String]> {
        let lines = self.topology.nodes.get(node).map(|node| node.exec.as_slice()).unwrap_or_default();
        let line = lines.iter().find(|line| line.iter().any(|part| part == word));
        line.map(Vec::as_slice).with_context(|| format!("node {node} has no exec line with {word}"))
    }

    /// Leaves the lab up when this process ends.
    pub fn keep(mut self) -> Result<()> {
        for (name, holder) in &mut self.holders {
            let stdin = holder.stdin.as_mut().with_context(|| format!("node {name} has no pipe"))?;
            stdin.write_all(b"k").with_context(|| format!("node {name} is gone"))?;
        }
        self.journal.kept = true;
        self.journal.write(&self.place)?;
        self.down = true;
        Ok(())
    }

    /// Takes the lab down and reports what is left of it, which should be nothing.
    pub fn take_down(mut self) -> Vec<String> {
        self.remove()
    }

    fn remove(&mut self) -> Vec<String> {
        self.down = true;
        for holder in self.holders.values_mut() {
            drop(holder.stdin.take());
        }
        let mut problems = teardown(&self.place, &self.journal);
        for holder in self.holders.values_mut() {
            let _ = holder.wait();
        }
        problems.extend(leftovers(&self.place, &self.journal));
        problems
    }

    fn hold_nodes(&mut self, options: &Options) -> Result<()> {
        std::fs::create_dir_all(NETNS).with_context(|| format!("cannot create {NETNS}"))?;
        let programs = options.programs.iter().map(|path| program_bind(path)).collect::<Result<Vec<_>>>()?;
        for (name, node) in &self.topology.nodes {
            let holder = start_holder(&self.place, name, node, &programs, &options.holder)
                .with_context(|| format!("node {name} does not start"))?;
            self.holders.insert(name.clone(), holder);
        }
        // All of them set themselves up at the same time.
        for (name, holder) in &mut self.holders {
            let ready = read_ready(holder, &self.place.node(name).join(LOG))
                .with_context(|| format!("node {name} does not start"))?;
            let init = ProcessId::of(ready.pid).with_context(|| format!("node {name} has died"))?;
            let entry = NodeEntry { init: Some(init), netns_inode: Some(ready.netns_inode) };
            self.journal.nodes.insert(name.clone(), entry);
            self.journal.write(&self.place)?;
            name_netns(&self.place, name, init)?;
            let env = self.topology.nodes.get(name).map(|node| node.env.clone()).unwrap_or_default();
            let node = Node::new(&self.place, name, init, env.into_iter().collect());
            self.nodes.insert(name.clone(), node);
        }
        Ok(())
    }

    /// Runs every node's `exec` lines, nodes side by side.
    fn exec_all(&self) -> Result<()> {
        std::thread::scope(|scope| {
            let workers: Vec<_> = self
                .topology
                .nodes
                .iter()
                .map(|(name, spec)| scope.spawn(|| self.exec_node(name, spec)))
                .collect();
            for worker in workers {
                match worker.join() {
                    Ok(result) => result?,
                    Err(_) => bail!("a worker panicked"),
                }
            }
            Ok(())
        })
    }

    fn exec_node(&self, name: &str, spec: &clab::Node) -> Result<()> {
        let node = self.node(name)?;
        let batch = links::up_batch(&self.topology, name);
        let output = process::run_with_input(
            &mut node.command(["ip", "-batch", "-"]),
            batch.as_bytes(),
            Duration::from_secs(20),
        )?;
        ensure!(output.success, "{name}: cannot bring the links up: {}", output.stderr.trim());
        for line in &spec.exec {
            interrupt::check()?;
            node.run(line)?;
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.down {
            for problem in self.remove() {
                eprintln!("left over: {problem}");
            }
        }
    }
}

/// A node of a lab that another process has brought up.
pub fn find_node(place: &Place, name: &str) -> Result<Node> {
    let journal = Journal::read(place)?.with_context(|| format!("lab {} is not up", place.lab()))?;
    let known: Vec<&str> = journal.nodes.keys().map(String::as_str).collect();
    let entry = journal
        .nodes
        .get(name)
        .with_context(|| format!("lab {} has no node {name}; it has {}", place.lab(), known.join(", ")))?;
    let init = entry.init.filter(|init| init.alive());
    let init =
        init.with_context(|| format!("node {name} is not running; `clean {}` repairs", place.lab()))?;
    Ok(Node::new(place, name, init, Vec::new()))
}

/// Takes a lab down by its journal. `false` when there was nothing of it.
pub fn clean(place: &Place) -> Result<bool> {
    let _lock = Lock::take(place)?;
    let Some(journal) = Journal::read(place)? else {
        let there = place.dir().exists();
        if there {
            std::fs::remove_dir_all(place.dir()).context("cannot remove what was staged")?;
        }
        return Ok(there);
    };
    let mut problems = teardown(place, &journal);
    problems.extend(leftovers(place, &journal));
    ensure!(problems.is_empty(), "not everything could be removed:\n{}", problems.join("\n"));
    Ok(true)
}

/// A kept lab is in the way; what a killed runner has left is not.
fn refuse_or_repair(place: &Place, tell: &mut dyn FnMut(String)) -> Result<()> {
    let lab = place.lab();
    let Some(journal) = Journal::read(place)? else {
        let _ = std::fs::remove_dir_all(place.dir());
        return Ok(());
    };
    if journal.kept && journal.running() {
        bail!("lab {lab} is already up (kept by an earlier run): `clean {lab}` takes it down");
    }
    if journal.runner.alive() {
        bail!("lab {lab} is already up (process {})", journal.runner.pid);
    }
    tell(format!("removing what a killed run of {lab} has left"));
    let problems = teardown(place, &journal);
    ensure!(problems.is_empty(), "the remains of an earlier run are in the way:\n{}", problems.join("\n"));
    Ok(())
}

fn program_bind(path: &Path) -> Result<BindSpec> {
    let name = path.file_name().with_context(|| format!("{} is no program", path.display()))?;
    Ok(BindSpec { source: path.to_path_buf(), target: Path::new(PROGRAMS).join(name), read_only: true })
}

fn start_holder(
    place: &Place,
    name: &str,
    node: &clab::Node,
    programs: &[BindSpec],
    program: &Path,
) -> Result<Child> {
    let dir = place.node(name);
    layer::prepare(&dir)?;
    let bpf = dir.join("bpf");
    std::fs::create_dir(&bpf).with_context(|| format!("cannot create {}", bpf.display()))?;
    mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>).context("cannot mount a bpffs")?;
    let own = node.binds.iter().map(|bind| BindSpec {
        source: place.files().join(&bind.source),
        target: bind.target.clone(),
        read_only: bind.read_only,
    });
    let copy = |bind: &BindSpec| BindSpec {
        source: bind.source.clone(),
        target: bind.target.clone(),
        read_only: true,
    };
    let spec = Spec {
        hostname: name.to_owned(),
        dir: dir.clone(),
        labs: place.root().to_path_buf(),
        sysctls: node.sysctls.clone(),
        binds: programs.iter().map(copy).chain(own).collect(),
    };
    let path = dir.join(SPEC);
    std::fs::write(&path, serde_json::to_vec(&spec)?).context("cannot write the node's specification")?;
    // Not the runner's stderr: whoever reads that waits for its end, and a kept lab outlives the runner.
    let log = std::fs::File::create(dir.join(LOG)).context("cannot create the holder's log")?;
    let mut command = Command::new("unshare");
    command
        .args(["--net", "--mount", "--pid", "--uts", "--fork", "--kill-child", "--"])
        .arg(program)
        .arg("node-init")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    process::spawn(&mut command)
}

fn read_ready(holder: &mut Child, log: &Path) -> Result<Ready> {
    let stdout = holder.stdout.take().context("no pipe")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context("cannot read from the node")?;
    if line.is_empty() {
        bail!("{}", std::fs::read_to_string(log).unwrap_or_default().trim());
    }
    serde_json::from_str(&line).context("the node said something else")
}

/// Gives the namespace a name, for `ip netns` and for people.
fn name_netns(place: &Place, node: &str, init: ProcessId) -> Result<()> {
    let path = place.netns_path(node);
    std::fs::write(&path, "").with_context(|| format!("cannot create {}", path.display()))?;
    layer::bind_mount(Path::new(&format!("/proc/{}/ns/net", init.pid)), &path)
}
