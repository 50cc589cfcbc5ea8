//! Waiting with a deadline, deterministically: the deadline is polled second, so a result that is
//! ready in time is never lost.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use base::Instant;

use crate::Env;

/// The deadline came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

/// Runs `future` until it is ready or `at` has come.
///
/// # Errors
/// [`Elapsed`] if the deadline came first; `future` is dropped.
pub async fn timeout_at<E: Env, F: Future>(
    env: &E,
    at: Instant,
    future: F,
) -> Result<F::Output, Elapsed> {
    let mut future = pin!(future);
    let mut timer = pin!(env.sleep_until(at));
    poll_fn(move |cx| {
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Ok(output));
        }
        timer.as_mut().poll(cx).map(|()| Err(Elapsed))
    })
    .await
}
