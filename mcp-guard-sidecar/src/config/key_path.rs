//! Where in a config something is.

use std::fmt;

/// Where in a config something is, as in `upstreams[0].timeouts.connect`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeyPath(Vec<Step>);

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The whole config.
    pub fn root() -> Self {
        Self::default()
    }

    /// The entry `name` of this mapping.
    #[must_use]
    pub fn key(&self, name: &str) -> Self {
        self.with(Step::Key(name.into()))
    }

    /// The item at `index` of this list, counted from 0.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Step::Index(index))
    }

    /// Whether this is `outer` or a part of it.
    pub fn is_within(&self, outer: &Self) -> bool {
        self.0.starts_with(&outer.0)
    }

    /// Whether this is the whole config.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This path, then what is around it, out to the root.
    pub(super) fn outwards(&self) -> impl Iterator<Item = Self> {
        (0..=self.0.len()).rev().filter_map(|length| self.0.get(..length)).map(|steps| Self(steps.to_vec()))
    }

    /// The last step, if it is a key.
    pub(super) fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(key),
            Some(Step::Index(_)) | None => None,
        }
    }

    /// Whether some key on the way is `name`.
    pub(super) fn passes(&self, name: &str) -> bool {
        self.0.iter().any(|step| matches!(step, Step::Key(key) if key == name))
    }

    fn with(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if position > 0 => write!(f, ".{key}")?,
                Step::Key(key) => f.write_str(key)?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
