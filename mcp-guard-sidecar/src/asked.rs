//! Requests beside each other, which may be taken back by their ids.

use std::collections::HashMap;
use std::pin::pin;

use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};

/// The requests of a client that are in flight.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    calls: FuturesUnordered<Abortable<BoxFuture<'a, Option<Box<str>>>>>,
    by_id: HashMap<Box<str>, AbortHandle>,
}

impl<'a> Asked<'a> {
    /// Begins one, whose answer nobody waits for once it is dropped.
    pub(crate) fn begin(&mut self, id: Option<Box<str>>, call: impl Future<Output = ()> + Send + 'a) {
        let (handle, registration) = AbortHandle::new_pair();
        if let Some(id) = &id {
            self.by_id.insert(id.clone(), handle);
        }
        let call = async move {
            call.await;
            id
        };
        self.calls.push(Abortable::new(call.boxed(), registration));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Waits for nobody any more who has asked with this id.
    pub(crate) fn forget(&mut self, id: &str) {
        if let Some(handle) = self.by_id.remove(id) {
            handle.abort();
        }
    }

    /// Goes on until one of them has ended; for ever if there are none.
    pub(crate) async fn next(&mut self) {
        match self.calls.next().await {
            Some(Ok(Some(id))) => drop(self.by_id.remove(&id)),
            Some(Ok(None) | Err(Aborted)) => {}
            None => std::future::pending().await,
        }
    }

    /// Goes on with them while `told` does. They come first, as they were said before.
    pub(crate) async fn beside<T>(&mut self, told: impl Future<Output = T>) -> T {
        let mut told = pin!(told);
        loop {
            tokio::select! {
                biased;
                () = self.next() => {}
                told = &mut told => return told,
            }
        }
    }
}
