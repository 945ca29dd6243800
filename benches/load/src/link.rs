//! A session's way to the server: a connection of its own, or one of h2 that it shares.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use tokio::sync::Mutex;

use crate::connect::Dialer;
use crate::failure::Failure;
use crate::message::Message;

/// A connection that is opened when it is needed, and opened anew when it was lost.
#[derive(Debug)]
pub(crate) struct Link {
    kind: Kind,
    /// How often it had to be opened after the first time.
    pub(crate) reopened: u64,
    was_open: bool,
}

#[derive(Debug)]
enum Kind {
    Own(Option<http1::SendRequest<Message>>),
    Shared(Arc<SharedConnection>),
}

/// An h2 connection of many sessions.
#[derive(Debug, Default)]
pub(crate) struct SharedConnection(Mutex<Option<http2::SendRequest<Message>>>);

/// What was not sent, and whether it can be sent again because of that.
type Unsent = Option<Request<Message>>;

impl Link {
    /// HTTP/1.1, or h2 over `shared`.
    pub(crate) fn new(shared: Option<Arc<SharedConnection>>) -> Self {
        let kind = shared.map_or(Kind::Own(None), Kind::Shared);
        Self { kind, reopened: 0, was_open: false }
    }

    /// Sends `request` and waits for the head of the response. What an old connection did not take is sent over a new one.
    ///
    /// # Errors
    ///
    /// `Connect` if there is no connection to be had, `Reset` if it ended.
    pub(crate) async fn send(
        &mut self,
        dialer: &Dialer,
        mut request: Request<Message>,
    ) -> Result<Response<Incoming>, Failure> {
        loop {
            let (is_new, sent) = match &mut self.kind {
                Kind::Own(sender) => {
                    let is_new = sender.is_none();
                    if is_new {
                        // Boxed, because it is large and rare.
                        *sender = Some(Box::pin(dialer.http1()).await?);
                        self.reopened += u64::from(self.was_open);
                        self.was_open = true;
                    }
                    let sent = over_http1(sender, request).await;
                    if sent.is_err() {
                        *sender = None;
                    }
                    (is_new, sent)
                }
                Kind::Shared(shared) => {
                    let (mut sender, is_new) = shared.sender(dialer, &mut self.reopened).await?;
                    (is_new, over_http2(&mut sender, request).await)
                }
            };
            match sent {
                Ok(response) => return Ok(response),
                Err(Some(unsent)) if !is_new => request = unsent,
                Err(_) => return Err(Failure::Reset),
            }
        }
    }

    /// Gives up a connection of its own, because of what is still to come on it.
    pub(crate) fn cut(&mut self) {
        if let Kind::Own(sender) = &mut self.kind {
            *sender = None;
        }
    }
}

impl SharedConnection {
    async fn sender(
        &self,
        dialer: &Dialer,
        reopened: &mut u64,
    ) -> Result<(http2::SendRequest<Message>, bool), Failure> {
        let mut place = self.0.lock().await;
        if let Some(sender) = place.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok((sender.clone(), false));
        }
        *reopened += u64::from(place.is_some());
        let sender = Box::pin(dialer.http2()).await?;
        *place = Some(sender.clone());
        Ok((sender, true))
    }
}

async fn over_http1(
    sender: &mut Option<http1::SendRequest<Message>>,
    request: Request<Message>,
) -> Result<Response<Incoming>, Unsent> {
    let Some(sender) = sender else { return Err(Some(request)) };
    if sender.ready().await.is_err() {
        return Err(Some(request));
    }
    sender.try_send_request(request).await.map_err(|mut error| error.take_message())
}

async fn over_http2(
    sender: &mut http2::SendRequest<Message>,
    request: Request<Message>,
) -> Result<Response<Incoming>, Unsent> {
    if sender.ready().await.is_err() {
        return Err(Some(request));
    }
    sender.try_send_request(request).await.map_err(|mut error| error.take_message())
}
