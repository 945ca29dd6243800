//! Who listens, and is told what a node says in sessions of the same client.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::upstream::eras::caller::Identity;

/// Messages that wait for one listener. What is beyond is dropped: each only says that something has changed.
const WAITING_MAX: usize = 64;

/// All clients that listen.
#[derive(Default)]
pub(super) struct Listeners {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    by_number: HashMap<u64, (Identity, mpsc::Sender<Bytes>)>,
    next: u64,
}

impl Listeners {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the client with `identity` is told from now on, until the number is left.
    pub(super) fn join(&self, identity: Identity) -> (u64, mpsc::Receiver<Bytes>) {
        let (sender, told) = mpsc::channel(WAITING_MAX);
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        state.by_number.insert(number, (identity, sender));
        (number, told)
    }

    pub(super) fn leave(&self, number: u64) {
        self.lock().by_number.remove(&number);
    }

    /// Tells a message to the client with `identity`, if it listens.
    pub(super) fn tell(&self, identity: &Identity, message: &Bytes) {
        for (_, sender) in self.lock().by_number.values().filter(|(listener, _)| listener == identity) {
            let _ = sender.try_send(message.clone());
        }
    }
}
