//! Step 5 of a call's life: the body, up to its limit and in its time.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;

use crate::refusal::{Reason, Refusal};

/// Reads `body` once, whole, and says whether it was there at once.
///
/// # Errors
///
/// `payload_too_large` over `bytes_max` (at once if the length is announced), `request_timeout` after `timeout`,
/// `invalid_request` if the client broke off.
pub async fn read_body<B>(body: B, bytes_max: usize, timeout: Duration) -> Result<(Bytes, bool), Refusal>
where
    B: Body,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(too_large(bytes_max));
    }
    let mut body = std::pin::pin!(body);
    let mut next = async || std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
    let mut read = async || {
        let mut first = Bytes::new();
        let mut rest = BytesMut::new();
        while let Some(frame) = next().await {
            let frame = frame.map_err(|_| Refusal::new(Reason::InvalidRequest, "the body broke off"))?;
            let Ok(mut data) = frame.into_data() else { continue };
            if first.len() + rest.len() + data.remaining() > bytes_max {
                return Err(too_large(bytes_max));
            }
            let chunk = data.copy_to_bytes(data.remaining());
            if first.is_empty() && rest.is_empty() {
                first = chunk;
                continue;
            }
            // As long as it will be, so that it is not copied as it grows.
            rest.reserve(announced.saturating_sub(rest.len()).max(first.len() + chunk.len()));
            rest.extend_from_slice(&std::mem::take(&mut first));
            rest.extend_from_slice(&chunk);
        }
        Ok(if rest.is_empty() { first } else { rest.freeze() })
    };
    let mut read = std::pin::pin!(read());
    // Mostly the body is there, but hyper hands it out only once it was asked for: a timer for that would cost more
    // than all the rest here. So one is set when there is nothing the second time either.
    if let Some(bytes) = at_once(read.as_mut()).await {
        return bytes.map(|bytes| (bytes, true));
    }
    match tokio::time::timeout(timeout, read).await {
        Ok(bytes) => bytes.map(|bytes| (bytes, false)),
        Err(_) => Err(Refusal::new(Reason::RequestTimeout, format!("the body did not come within {timeout:?}"))),
    }
}

/// What `future` gives if it is ready when it is polled, or once more right after.
async fn at_once<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    let mut is_first = true;
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if std::mem::replace(&mut is_first, false) => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(Reason::PayloadTooLarge, format!("allowed are {bytes_max} bytes")).with("limit", bytes_max)
}
