//! Where the lines of the log go, and who waits for that: nobody who serves.
//!
//! A pipe that nobody reads takes no more than it holds, and whoever writes to it stands still. So a thread of its own writes,
//! and what it cannot get rid of is dropped. Only before anybody is served a line is waited for: it may be the last word of a
//! process that ends by itself, as pingora does where it cannot start.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use tracing_subscriber::fmt::MakeWriter;

/// Most bytes that wait to be written, and as many again that are being written. Further lines are dropped, and counted.
const BYTES_MAX: usize = 1 << 20;

/// How long a line may take before anybody is served.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lines on their way out. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Output(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    /// Whether nobody waits for a line any more.
    is_serving: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<u8>,
    is_writing: bool,
}

impl Output {
    /// Starts the thread that writes to `out`.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<Self> {
        let output = Self::default();
        let shared = Arc::clone(&output.0);
        std::thread::Builder::new().name("log".into()).spawn(move || shared.write_to(out))?;
        Ok(output)
    }

    /// From now on nobody waits for a line.
    pub(super) fn serves(&self) {
        self.0.is_serving.store(true, Ordering::Relaxed);
    }

    /// Waits until all lines are written, and no longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) {
        let is_busy = |queue: &mut Queue| queue.is_writing || !queue.waiting.is_empty();
        drop(self.0.changed.wait_timeout_while(self.0.queue(), limit, is_busy));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_to(&self, mut out: impl Write) {
        let mut queue = self.queue();
        loop {
            queue.is_writing = false;
            self.changed.notify_all();
            let is_idle = |queue: &mut Queue| queue.waiting.is_empty();
            queue = self.changed.wait_while(queue, is_idle).unwrap_or_else(PoisonError::into_inner);
            queue.is_writing = true;
            let lines = std::mem::take(&mut queue.waiting);
            drop(queue);
            // A full disk may have room again: the next ones are tried as if nothing had been.
            if out.write_all(&lines).and_then(|()| out.flush()).is_err() {
                let count = lines.iter().filter(|byte| **byte == b'\n').count();
                dropped("failed", count);
            }
            queue = self.queue();
        }
    }
}

impl<'a> MakeWriter<'a> for Output {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

impl Write for &Output {
    /// Takes a whole line, which is how they come, or drops it whole.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut queue = self.0.queue();
        if queue.waiting.len().saturating_add(line.len()) > BYTES_MAX {
            dropped("full", 1);
        } else {
            queue.waiting.extend_from_slice(line);
            self.0.changed.notify_all();
        }
        drop(queue);
        if !self.0.is_serving.load(Ordering::Relaxed) {
            Output::flush(self, PATIENCE);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn dropped(reason: &'static str, lines: usize) {
    let lines = u64::try_from(lines).unwrap_or(u64::MAX);
    counter!("mcp_guard_log_lines_dropped_total", "reason" => reason).increment(lines);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes what is written only when `told` says so.
    struct Slow {
        told: mpsc::Receiver<()>,
        seen: mpsc::SyncSender<Vec<u8>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.told.recv().map_err(io::Error::other)?;
            self.seen.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_come_out_in_their_order_and_whoever_flushes_waits_for_the_last() {
        let (tell, told) = mpsc::sync_channel(100);
        let (seen, lines) = mpsc::sync_channel(100);
        let output = Output::start(Slow { told, seen }).unwrap();
        for step in 0..10 {
            tell.send(()).unwrap();
            (&output).write_all(format!("line {step}\n").as_bytes()).unwrap();
        }
        output.flush(Duration::from_secs(20));
        let text: Vec<u8> = lines.try_iter().flatten().collect();
        let expected: String = (0..10).map(|step| format!("line {step}\n")).collect();
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn who_writes_waits_for_nothing_and_what_is_kept_is_bounded() {
        let (_tell, told) = mpsc::sync_channel(0);
        let (seen, _lines) = mpsc::sync_channel(0);
        let output = Output::start(Slow { told, seen }).unwrap();
        output.serves();
        let line = [b'x'; 10_000];
        for _ in 0..1000 {
            (&output).write_all(&line).unwrap();
        }
        let kept = output.0.queue().waiting.len();
        assert!(kept > BYTES_MAX - 2 * line.len() && kept <= BYTES_MAX, "{kept}");
        output.flush(Duration::from_millis(1));
    }

    #[test]
    fn before_anybody_is_served_a_line_is_out_when_it_is_written() {
        let (tell, told) = mpsc::sync_channel(1);
        let (seen, lines) = mpsc::sync_channel(1);
        let output = Output::start(Slow { told, seen }).unwrap();
        tell.send(()).unwrap();
        (&output).write_all(b"the last\n").unwrap();
        assert_eq!(lines.try_recv().unwrap(), b"the last\n");
    }

    #[test]
    fn a_failure_is_not_the_end() {
        let (seen, lines) = mpsc::sync_channel(10);
        let (tell, told) = mpsc::sync_channel(10);
        struct Full(bool, Slow);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if std::mem::take(&mut self.0) { Err(io::ErrorKind::StorageFull.into()) } else { self.1.write(bytes) }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let output = Output::start(Full(true, Slow { told, seen })).unwrap();
        for line in ["lost\n", "kept\n"] {
            tell.send(()).unwrap();
            (&output).write_all(line.as_bytes()).unwrap();
            output.flush(Duration::from_secs(20));
        }
        assert_eq!(lines.try_iter().collect::<Vec<_>>(), [b"kept\n"]);
    }
}
