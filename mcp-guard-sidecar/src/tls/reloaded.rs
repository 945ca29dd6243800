//! What is made of files, and made anew when they change.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use metrics::{counter, gauge};

use super::fault::TlsError;
use super::pem::{Pem, PemFile};

/// Something made of files.
pub(super) struct Made<T> {
    pub(super) config: Arc<T>,
    /// When the certificate in it ends, in seconds since 1970; `None` if there is none.
    pub(super) expiry: Option<i64>,
}

type Make<T> = Box<dyn Fn(&[Pem]) -> Result<Made<T>, TlsError> + Send + Sync>;

/// The last thing that could be made of some files.
pub(super) struct Reloaded<T> {
    name: String,
    files: Vec<PemFile>,
    make: Make<T>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
}

/// What was seen last.
#[derive(Clone, Copy)]
struct Seen {
    /// Of the contents; 0 if they could not be read.
    digest: u64,
    expiry: Option<i64>,
}

/// What a look at the files has shown.
#[derive(Debug)]
pub(super) enum Look {
    /// Nothing new.
    Same,
    /// Something new, which is used from now on.
    Reloaded,
    /// Something new that is no good: what there was before is used on.
    Kept(TlsError),
    /// Something new that has expired, in place of what has not.
    Expired,
}

impl<T> Reloaded<T> {
    /// Reads `files`, which the section `name` of the config names, and makes of them what they are for.
    pub(super) fn new(
        name: &str,
        files: Vec<PemFile>,
        make: impl Fn(&[Pem]) -> Result<Made<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let contents = read(&files)?;
        let Made { config, expiry } = make(&contents)?;
        let seen = Mutex::new(Seen { digest: digest(&contents), expiry });
        let reloaded = Self { name: name.to_owned(), files, make: Box::new(make), current: ArcSwap::new(config), seen };
        reloaded.tell_expiry(expiry);
        if expiry.is_some_and(has_passed) {
            tracing::warn!(name, "the certificate has expired");
        }
        Ok(reloaded)
    }

    /// What is used now.
    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Whether the certificate that is used has expired.
    pub(super) fn has_expired(&self) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.expiry.is_some_and(has_passed)
    }

    /// Looks at the files, and uses what is new in them if it is good.
    pub(super) fn look(&self) -> Look {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = read(&self.files);
        let digest = contents.as_deref().map_or(0, digest);
        if digest == seen.digest {
            return Look::Same;
        }
        // Told once, whatever it is.
        seen.digest = digest;
        let Made { config, expiry } = match contents.and_then(|contents| (self.make)(&contents)) {
            Ok(made) => made,
            Err(error) => return Look::Kept(error),
        };
        if expiry.is_some_and(has_passed) && !seen.expiry.is_some_and(has_passed) {
            return Look::Expired;
        }
        seen.expiry = expiry;
        self.current.store(config);
        self.tell_expiry(expiry);
        Look::Reloaded
    }

    fn tell_expiry(&self, expiry: Option<i64>) {
        if let Some(expiry) = expiry {
            #[expect(clippy::cast_precision_loss, reason = "seconds, not of this era if they are that many")]
            gauge!("mcp_guard_certificate_expiry_timestamp_seconds", "certificate" => self.name.clone())
                .set(expiry as f64);
        }
    }
}

fn read(files: &[PemFile]) -> Result<Vec<Pem>, TlsError> {
    files.iter().map(PemFile::read).collect()
}

fn digest(contents: &[Pem]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for pem in contents {
        pem.bytes.hash(&mut hasher);
    }
    // 0 is no contents at all.
    hasher.finish().max(1)
}

#[expect(clippy::disallowed_methods, reason = "certificates end by the world's clock")]
fn has_passed(seconds: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(seconds).unwrap_or_default() < now.as_secs()
}

/// Files that are looked at again and again.
pub(super) trait Watched: Send + Sync {
    /// Looks at them, and tells what came of it.
    fn look_and_tell(&self);
}

impl<T: Send + Sync> Watched for Reloaded<T> {
    fn look_and_tell(&self) {
        let name = self.name.as_str();
        let outcome = match self.look() {
            Look::Same => return,
            Look::Reloaded => {
                tracing::info!(name, "certificates reloaded");
                "reloaded"
            }
            Look::Kept(error) => {
                tracing::error!(name, %error, "the new certificates are no good, and the ones before are used on");
                "kept"
            }
            Look::Expired => {
                tracing::error!(name, "the new certificate has expired, and the one before is used on");
                "kept"
            }
        };
        counter!("mcp_guard_certificate_reloads_total", "outcome" => outcome).increment(1);
    }
}

impl<T> fmt::Debug for Reloaded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloaded").field("name", &self.name).finish_non_exhaustive()
    }
}
