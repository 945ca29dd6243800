//! How many files, and so sockets, the process may have open.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit that the guard was started with.
static BEFORE: OnceLock<Option<u64>> = OnceLock::new();

/// Raises the soft limit to the hard one, and logs what there is.
pub fn raise() {
    let limit = getrlimit(Resource::Nofile);
    BEFORE.get_or_init(|| limit.current);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    match (raised, getrlimit(Resource::Nofile).current) {
        (Ok(()), Some(open_files)) => tracing::info!(open_files, "limit raised to the hard one"),
        (Ok(()), None) => tracing::info!("no limit of open files"),
        (Err(error), open_files) => tracing::warn!(%error, open_files, "the limit of open files stays"),
    }
}

/// The soft limit as it was before it was raised, for children: programs that use `select` break above 1,024, and some
/// close every number up to the limit when they start. `None` if there was none, or it was not raised.
pub fn before() -> Option<u64> {
    BEFORE.get().copied().flatten()
}
