//! The unix socket: taken only when nobody answers on it, never open to more people than its mode says, removed when
//! the server ends.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

use super::{LINGER, ServeError, routes};
use crate::control::Control;

/// Most calls at once on one connection.
const MOST_CALLS: u32 = 256;

/// Why the socket could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{} is in use: another vipcastd answers there; stop it, or give this one other [paths]", .path.display())]
    InUse { path: PathBuf },
    #[error("{} exists and is not a socket: remove it, or choose another path", .path.display())]
    NotASocket { path: PathBuf },
    #[error("cannot make the socket {}: {source}", .path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A bound API socket.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    _file: SocketFile,
}

impl Listener {
    /// Binds `path` with permission bits `mode` (0o660). A socket that nobody answers on is replaced.
    pub async fn bind(path: &Path, mode: u32) -> Result<Self, BindError> {
        let io_error = |source| BindError::Io { path: path.to_owned(), source };
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(BindError::NotASocket { path: path.to_owned() });
            }
            Ok(_) => match UnixStream::connect(path).await {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tracing::info!(path = %path.display(), "replacing a socket that nobody answers on");
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(io_error(source)),
                Ok(_) => return Err(BindError::InUse { path: path.to_owned() }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent).map_err(io_error)?;
                }
            }
            Err(source) => return Err(io_error(source)),
        }
        // Bound under another name and moved into place: nobody can connect before the mode is set.
        let unfinished = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&unfinished);
        let listener = UnixListener::bind(&unfinished).map_err(io_error)?;
        let place = || -> io::Result<SocketFile> {
            std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(mode))?;
            let inode = std::fs::symlink_metadata(&unfinished)?.ino();
            std::fs::rename(&unfinished, path)?;
            Ok(SocketFile { path: path.to_owned(), inode })
        };
        match place() {
            Ok(file) => Ok(Self { listener, _file: file }),
            Err(source) => {
                let _ = std::fs::remove_file(&unfinished);
                Err(io_error(source))
            }
        }
    }

    /// Serves until `shutdown`, then gives open calls a moment. `ready` is what the health service reports.
    pub async fn serve(
        self,
        control: Arc<dyn Control>,
        ready: watch::Receiver<bool>,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), ServeError> {
        let (stop, stopping) = watch::channel(false);
        let routes = routes(control, ready, stopping.clone())?;
        let server = Server::builder().max_concurrent_streams(MOST_CALLS).add_routes(routes);
        let stopped = async move {
            shutdown.await;
            stop.send_replace(true);
        };
        let serving = server.serve_with_incoming_shutdown(UnixListenerStream::new(self.listener), stopped);
        let mut deadline = stopping;
        let overdue = async move {
            // The sender leaves only together with `serving`, which then decides.
            if deadline.wait_for(|stop| *stop).await.is_ok() {
                tokio::time::sleep(LINGER).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            done = serving => Ok(done?),
            () = overdue => Ok(()),
        }
    }
}

/// Removes the socket unless another server has taken the path since.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
