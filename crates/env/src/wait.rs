//! Waiting with a deadline, deterministically: the deadline is polled second, so a result that is
//! ready in time is never lost.

use std::future::poll_fn;
use std::pin::{Pin, pin};
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

/// Runs `futures` side by side in this task and returns their results in the same order. Each wake
/// polls all that are not done, in order: for a few at a time.
pub async fn all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, result) in
            running.iter_mut().zip(&mut done).filter(|(_, result)| result.is_none())
        {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                *result = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
