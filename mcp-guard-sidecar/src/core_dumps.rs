//! Whether the process leaves its memory behind when it crashes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A core file of one byte: too few for any, so none is written. To Linux it says too that nothing is to be piped to the
/// program in `/proc/sys/kernel/core_pattern`, which gets all of it with a limit of 0 (`fs/coredump.c`).
const NONE: u64 = 1;

/// Leaves no core dumps: they would hold the calls in flight, with their credentials, and private keys.
///
/// It is the soft limit alone, so that whoever wants a dump can allow it (`prlimit`), and nodes, which inherit it, too.
pub fn forbid() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Core);
    let current = maximum.map_or(NONE, |maximum| maximum.min(NONE));
    if let Err(error) = setrlimit(Resource::Core, Rlimit { current: Some(current), maximum }) {
        tracing::warn!(%error, "a crash may leave a core dump");
    }
}
