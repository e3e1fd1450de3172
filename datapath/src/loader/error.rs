//! What can go wrong between the host and the kernel.

use std::io;
use std::path::PathBuf;

use crate::tables::PlanError;

/// The text of every variant tells its whole cause.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "{} is not on a BPF file system: mount one, `mount -t bpf bpf {}`",
        dir.display(), mount.display()
    )]
    NotBpffs { dir: PathBuf, mount: PathBuf },
    #[error("no rights to {what}: run as root, or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON")]
    NoRights { what: String },
    #[error("another process works with the pins in {}", dir.display())]
    InUse { dir: PathBuf },
    #[error(
        "{} holds {found}, this program works with {expected}: remove it with `vipcastd detach`",
        dir.display()
    )]
    OtherAbi { dir: PathBuf, found: String, expected: String },
    #[error("pinned map {map} has {what} {pinned} instead of {wanted}: remove it with `vipcastd detach`")]
    OtherSize { map: &'static str, what: &'static str, pinned: u32, wanted: u32 },
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error("{what}: {cause}")]
    Io { what: String, cause: io::Error },
    #[error("map {map}: {}", chain(cause.as_ref()))]
    Map { map: &'static str, cause: Box<dyn std::error::Error + Send + Sync> },
    #[error("eBPF object: {}", chain(cause.as_ref()))]
    Object { cause: Box<dyn std::error::Error + Send + Sync> },
    #[error("interface {interface}: {reason}")]
    Attach { interface: String, reason: AttachError },
}

/// Why a program is not attached to an interface.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    #[error("no such interface")]
    NoInterface,
    #[error("interface has no Ethernet address")]
    NoMac,
    #[error("another XDP program is attached (program id {program_id}): detach it first")]
    Foreign { program_id: u32 },
    #[error("the driver refuses native XDP ({native}); generic mode works only when it is allowed")]
    NoNative { native: String },
    #[error("neither native ({native}) nor generic XDP ({generic})")]
    NoXdp { native: String, generic: String },
    #[error("all {limit} ingress slots are in use")]
    NoSlot { limit: u32 },
    #[error(transparent)]
    Kernel(Box<Error>),
}

impl Error {
    pub(crate) fn io(what: impl Into<String>, cause: io::Error) -> Self {
        let what = what.into();
        match cause.kind() {
            io::ErrorKind::PermissionDenied => Self::NoRights { what },
            _ => Self::Io { what, cause },
        }
    }

    pub(crate) fn map<E>(map: &'static str) -> impl Fn(E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        move |cause| match denied(&cause) {
            true => Self::NoRights { what: format!("use map {map}") },
            false => Self::Map { map, cause: Box::new(cause) },
        }
    }

    pub(crate) fn object<E>(cause: E) -> Self
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        match denied(&cause) {
            true => Self::NoRights { what: "load BPF programs and maps".into() },
            false => Self::Object { cause: Box::new(cause) },
        }
    }
}

impl From<Error> for AttachError {
    fn from(error: Error) -> Self {
        Self::Kernel(Box::new(error))
    }
}

/// The text of an error with its causes, without what a cause repeats.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

/// The kernel said EPERM or EACCES somewhere down the chain.
fn denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::PermissionDenied) {
            return true;
        }
        next = error.source();
    }
    false
}
