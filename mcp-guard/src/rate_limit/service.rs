//! The limits at work on one message.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, ready};

use super::decision::Decision;
use super::layer::RateLimitLayer;
use crate::middleware::{Answer, Handler, McpRequest};

/// A handler whose calls are limited; made by [`RateLimitLayer::wrap`].
#[derive(Clone, Debug)]
pub struct RateLimit<H> {
    next: H,
    limits: RateLimitLayer,
}

impl<H> RateLimit<H> {
    pub(super) fn new(next: H, limits: RateLimitLayer) -> Self {
        Self { next, limits }
    }
}

impl<H: Handler> Handler for RateLimit<H> {
    type Body = H::Body;

    fn handle(&self, mut request: McpRequest) -> impl Future<Output = Answer<H::Body>> + Send {
        if let Some(subject) = self.limits.subject(&request.head, &request.call) {
            Arc::make_mut(&mut request.call).subject = Some(subject);
        }
        let (answer, standing) = match self.limits.decide(&request.call, request.now) {
            Decision::Allow(standing) => (Either::Left(self.next.handle(request)), standing),
            Decision::Deny(denial) => {
                let refusal = self.limits.limiter().refuse(&denial);
                (Either::Right(ready(Answer::refuse(&refusal, &request.call))), Some(denial.standing()))
            }
        };
        answer.map(move |mut answer| {
            if let (Some(headers), Some(standing)) = (self.limits.headers(), standing) {
                headers.append(&standing, &mut answer.head_mut().headers);
            }
            answer
        })
    }
}
