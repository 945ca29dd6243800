//! Where the config comes from.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::PathBuf;

use crate::config::{Config, ConfigError, FILE_BYTES_MAX, Flags};

/// The file of `run`, if it was given one, and what its flags lay over that.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "made by the command line")]
pub struct Source {
    /// The file.
    pub file: Option<PathBuf>,
    /// The flags.
    pub flags: Flags,
}

impl Source {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] as for [`Config::load`] and [`Config::from_flags`].
    pub fn load(&self) -> Result<Config, ConfigError> {
        match &self.file {
            Some(file) => Config::load(file, &self.flags),
            None => Config::from_flags(&self.flags),
        }
    }

    /// What it is called in messages.
    pub(super) fn name(&self) -> String {
        self.file.as_ref().map_or_else(|| "command line".into(), |file| file.display().to_string())
    }

    /// What tells its contents from others; `None` if they cannot be read now. Contents are compared, not times: a mounted
    /// ConfigMap is replaced by a link that changes, with times of its own.
    pub(super) fn digest(&self) -> Option<u64> {
        let (mut hasher, mut contents) = (DefaultHasher::new(), Vec::new());
        // What is larger is refused when it is read.
        File::open(self.file.as_ref()?).ok()?.take(FILE_BYTES_MAX + 1).read_to_end(&mut contents).ok()?;
        contents.hash(&mut hasher);
        Some(hasher.finish())
    }
}
