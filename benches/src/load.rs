//! A closed loop: each connection sends a call, waits for its answer, checks it, and sends the next.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::client::{Client, Target};
use crate::{Fault, clock};

/// Connections with a session each, ready to call.
pub(crate) struct Load {
    pub(crate) clients: Vec<Client>,
}

/// What came of calling for some time. Every answer was checked.
#[derive(Debug, Default)]
pub(crate) struct Called {
    /// How long each call took, in microseconds, in no order.
    pub(crate) micros: Vec<u32>,
    /// From the first call to the last answer.
    pub(crate) time: Duration,
}

impl Load {
    /// Opens `connections` to `target`.
    pub(crate) async fn open(target: Target, connections: usize) -> Result<Self, Fault> {
        let clients = try_join_all((0..connections).map(|number| Client::open(target, number))).await?;
        Ok(Self { clients })
    }

    /// Calls over all connections for `time`.
    pub(crate) async fn call_for(self, time: Duration) -> Result<Called, Fault> {
        let start = clock::now();
        let tasks: Vec<_> =
            self.clients.into_iter().map(|client| tokio::spawn(call_until(client, start + time))).collect();
        let mut called = Called::default();
        for task in tasks {
            called.micros.extend(task.await??);
        }
        called.time = clock::now() - start;
        Ok(called)
    }
}

async fn call_until(mut client: Client, end: Instant) -> Result<Vec<u32>, Fault> {
    let mut micros = Vec::with_capacity(1 << 16);
    let mut sent = clock::now();
    while sent < end {
        client.call().await?;
        let answered = clock::now();
        micros.push(whole_micros(answered - sent));
        sent = answered;
    }
    Ok(micros)
}

/// `time` in microseconds, at most some 71 minutes.
pub(crate) fn whole_micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}
