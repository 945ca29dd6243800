//! Answers that are not as long as they say.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Http1Error;
use super::tests::{Client, post};

/// Says that it has ten bytes.
struct Ten(Option<&'static str>);

impl Body for Ten {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|text| Ok(Frame::data(Bytes::from(text)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(10)
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_as_long_as_it_says_is_the_last() {
    for text in ["too short", "one byte too long"] {
        let mut client = Client::of(move |_| Box::pin(std::future::ready(Ok(Response::new(Ten(Some(text)).boxed())))));
        client.write([post("one"), post("two")].concat()).await;
        let answers = client.rest().await;
        assert!(answers.matches("HTTP/1.1 200").count() <= 1, "{answers}");
        assert!(matches!(client.served.await.unwrap(), Err(Http1Error::Cut)), "{text}");
    }
}
