//! The disk's part of a commit, by a thread that never waits for the interpreter: append, fdatasync, and say so.
//!
//! Twin: ingest.spool.commit_thread with Incarnation.commit. There every write and fsync is followed by a wait for the
//! interpreter, which is busy with the requests of the next group: most of a commit's time.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::Mutex;
use std::thread::{Builder, JoinHandle};

/// Of a disk that fails without saying how.
const EIO: i32 = 5;

struct Job {
    path: PathBuf,
    data: Vec<u8>,
}

/// 0, or an errno.
pub type Outcome = i32;

pub struct Committing {
    jobs: Option<Sender<Job>>,
    outcomes: Mutex<Receiver<Outcome>>,
    /// Readable while there are outcomes.
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Committing {
    pub fn begin() -> std::io::Result<Self> {
        let (bell, far) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let (jobs, given) = channel();
        let (told, outcomes) = channel();
        let thread = Builder::new().name("commit".into()).spawn(move || work(&given, &told, far))?;
        Ok(Committing { jobs: Some(jobs), outcomes: Mutex::new(outcomes), bell, thread: Some(thread) })
    }

    pub fn fileno(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    /// Append to the file at `path`, which is there, and fdatasync it. False behind `end`.
    pub fn submit(&self, path: &str, data: &[u8]) -> bool {
        let job = Job { path: PathBuf::from(path), data: data.to_vec() };
        self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok())
    }

    /// The oldest outcome not taken yet, if it is there.
    pub fn take(&mut self) -> Option<Outcome> {
        let mut rung = [0; 1];
        loop {
            match self.bell.read(&mut rung) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Ok(1) => return self.outcomes.get_mut().ok()?.recv().ok(), // sent before the bell was rung
                _ => return None,
            }
        }
    }

    /// Returns when all that was submitted is done.
    pub fn end(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(jobs: &Receiver<Job>, outcomes: &Sender<Outcome>, mut bell: UnixStream) {
    let mut open: Option<(PathBuf, File)> = None;
    for job in jobs {
        let outcome = commit(&mut open, &job).err().map_or(0, |error| error.raw_os_error().unwrap_or(EIO));
        if outcomes.send(outcome).is_err() || bell.write_all(&[1]).is_err() {
            return;
        }
    }
}

/// The file stays open for the next one: of a segment there are thousands.
fn commit(open: &mut Option<(PathBuf, File)>, job: &Job) -> std::io::Result<()> {
    if !matches!(open, Some((path, _)) if *path == job.path) {
        *open = None;
        *open = Some((job.path.clone(), appending(&job.path)?));
    }
    let Some((_, file)) = open else { return Err(ErrorKind::Other.into()) };
    file.write_all(&job.data)?;
    file.sync_data()
}

fn appending(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).open(path)
}
