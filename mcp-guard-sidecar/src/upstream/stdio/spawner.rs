//! The thread that starts the children.
//!
//! The kernel takes the end of the *thread* that started a child for the death of its parent. Threads of a runtime
//! come and go; this one lives as long as the upstream.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Starts children on a thread of its own, which begins with the first of them: a process that becomes a daemon
/// after the upstream was made would lose an earlier one.
#[derive(Debug)]
pub(super) struct Spawner {
    orders: Mutex<Option<SyncSender<Order>>>,
    orders_max: usize,
}

struct Order {
    command: Command,
    runtime: Handle,
    reply: oneshot::Sender<io::Result<Child>>,
}

impl Spawner {
    /// `orders_max` children may wait to be started.
    pub(super) fn new(orders_max: usize) -> Self {
        Self { orders: Mutex::new(None), orders_max }
    }

    /// Starts a child whose pipes are served by this runtime.
    pub(super) async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (reply, child) = oneshot::channel();
        let order = Order { command, runtime: Handle::current(), reply };
        self.orders()?.try_send(order).map_err(|error| match error {
            TrySendError::Full(_) => io::Error::other("too many children are starting"),
            TrySendError::Disconnected(_) => io::Error::other("the thread that starts children has ended"),
        })?;
        child.await.map_err(io::Error::other)?
    }

    fn orders(&self) -> io::Result<SyncSender<Order>> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = orders.as_ref() {
            return Ok(orders.clone());
        }
        let (sender, receiver) = sync_channel(self.orders_max);
        thread::Builder::new().name("stdio-spawner".into()).spawn(move || serve(&receiver))?;
        Ok(orders.insert(sender).clone())
    }
}

fn serve(orders: &Receiver<Order>) {
    while let Ok(mut order) = orders.recv() {
        let _runtime = order.runtime.enter();
        // If nobody waits any more the child is dropped here, which kills it.
        drop(order.reply.send(order.command.spawn()));
    }
}
