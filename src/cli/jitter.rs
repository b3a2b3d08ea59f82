//! `--jitter`: a random wait before the first request, so that a schedule of many machines is no storm.

use std::time::Duration;

use super::azure::Azure;
use super::error::CliError;
use super::execute::Session;
use crate::duration::Span;
use crate::text::human_duration;

/// Checks the option before anything is done.
///
/// # Errors
/// When the deadline could pass before the wait has ended.
pub fn check(jitter: Option<Span>, deadline: Option<Span>) -> Result<(), CliError> {
    match (jitter, deadline) {
        (Some(jitter), Some(deadline)) if jitter >= deadline => {
            Err(CliError::input(format!("--jitter {jitter} is not shorter than --deadline {deadline}"))
                .code("usage")
                .hint("the deadline counts from the start, the wait included"))
        }
        _ => Ok(()),
    }
}

/// Waits. Ctrl-C ends it, for nothing was sent.
///
/// # Errors
/// When it was interrupted.
pub async fn wait(session: &Session, azure: &Azure, jitter: Option<Span>) -> Result<(), CliError> {
    let Some(jitter) = jitter else { return Ok(()) };
    let pause = share(jitter, uuid::Uuid::new_v4().as_u64_pair().0);
    session.printer.note(&format!("waiting {} before the first request (--jitter {jitter})", human_duration(pause)));
    session
        .reading(async {
            azure.clock().sleep(pause).await;
            Ok(())
        })
        .await
}

/// A part of `whole`, evenly spread over it by a random number.
fn share(whole: Span, random: u64) -> Duration {
    let millis = u128::from(whole.as_secs()) * 1000;
    // The upper bits of a product: no remainder favours a part.
    let part = (u128::from(random) * (millis + 1)) >> 64;
    Duration::from_millis(u64::try_from(part).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_spread_over_the_whole_time() {
        let hour = Span::from_secs(3600);
        assert_eq!(share(hour, 0), Duration::ZERO);
        assert_eq!(share(hour, u64::MAX), Duration::from_secs(3600));
        assert_eq!(share(hour, u64::MAX / 2), Duration::from_secs(1800));
        assert_eq!(share(Span::from_secs(0), u64::MAX), Duration::ZERO);
    }

    #[test]
    fn a_wait_as_long_as_the_deadline_is_refused() {
        let span = |text: &str| Some(text.parse::<Span>().unwrap());
        assert!(check(span("10m"), span("10m")).is_err());
        assert!(check(span("10m"), span("11m")).is_ok());
        assert!(check(span("10m"), None).is_ok());
    }
}
