//! [`CatalogHandle`].

use std::sync::{Arc, PoisonError, RwLock};

use super::catalog::Catalog;
use crate::retry::{Hints, ToolHints};

/// What a [`ValidationLayer`](super::ValidationLayer) has learned of the tools, shared. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct CatalogHandle(Arc<RwLock<Catalog>>);

impl CatalogHandle {
    /// What `tool` says about itself; `None` for one that is not known (yet).
    pub fn hints(&self, tool: &str) -> Option<ToolHints> {
        self.read(|catalog| catalog.tool(tool)).map(|tool| tool.hints)
    }

    /// Forgets the tools: calls go to another node now. The next call has them listed again.
    pub fn forget(&self) {
        self.write(Catalog::forget);
    }

    /// Nothing that runs under the lock can leave it half changed, so a poisoned one is still good.
    pub(super) fn read<T>(&self, f: impl FnOnce(&Catalog) -> T) -> T {
        f(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn write<T>(&self, f: impl FnOnce(&mut Catalog) -> T) -> T {
        f(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Hints for CatalogHandle {
    fn hints(&self, tool: &str) -> Option<ToolHints> {
        Self::hints(self, tool)
    }
}
