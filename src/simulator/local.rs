//! Plays a script in memory, under the clock it is given: an hour of answers takes no time at all where
//! that clock is paused.

use bytes::Bytes;
use futures_util::stream::{self, Stream};

use super::script::{Script, Step};
use crate::time::Clock;

/// What a client would see.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalEvent {
    /// The status line and the header fields.
    Head {
        /// The status.
        status: u16,
        /// Header fields without those of the framing.
        headers: Vec<(&'static str, String)>,
    },
    /// A piece of the body.
    Bytes(Bytes),
    /// The connection was reset; nothing follows.
    Reset,
    /// The connection was closed before the end of the body; nothing follows.
    Cut,
    /// The body is complete; nothing follows.
    End,
}

/// Performs `script` from now on. Times are absolute: a slow reader finds several steps due at once, as
/// it would on a socket. Dropping the stream ends the answer.
pub fn local_stream(script: Script, clock: Clock) -> impl Stream<Item = LocalEvent> + Send {
    let steps = script.steps.into_iter();
    stream::unfold((steps, clock.now()), move |(mut steps, at)| async move {
        let next = steps.next()?;
        let at = at + next.after;
        clock.sleep_until(at).await;
        let event = match next.step {
            Step::Head { status, headers, .. } => LocalEvent::Head { status, headers },
            Step::Bytes(bytes) => LocalEvent::Bytes(bytes),
            Step::Reset => LocalEvent::Reset,
            Step::Cut => LocalEvent::Cut,
            Step::End => LocalEvent::End,
        };
        Some((event, (steps, at)))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::StreamExt;

    use super::*;
    use crate::openai::ChatRequest;
    use crate::settings::{FaultProfile, LatencyProfile};
    use crate::simulator::script::{Ask, Conditions};

    #[tokio::test(start_paused = true)]
    async fn a_stall_takes_as_long_as_it_says_in_no_time() {
        let faults = FaultProfile {
            stall: 1.0,
            stall_for: Duration::from_hours(1),
            ..FaultProfile::default()
        };
        let conditions = Conditions {
            faults: Some(&faults),
            pace: LatencyProfile::default(),
            seed: 1,
            number: 1,
        };
        let script = Script::new(&Ask::new(&ChatRequest::prompt("sea")), &conditions);
        let clock = Clock::start();
        let events: Vec<_> = local_stream(script, clock).collect().await;
        assert_eq!(events, [LocalEvent::Reset]);
        assert_eq!(clock.now().as_secs_f64().round() as u64, 3600);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_comes_whole_and_at_its_pace() {
        let ask = Ask::new(&ChatRequest::prompt("sea").with("stream", true));
        let conditions = Conditions {
            faults: None,
            pace: LatencyProfile::default(),
            seed: 1,
            number: 1,
        };
        let script = Script::new(&ask, &conditions);
        let planned: Duration = script.steps.iter().map(|step| step.after).sum();
        let clock = Clock::start();
        let events: Vec<_> = local_stream(script.clone(), clock).collect().await;
        assert_eq!(events.len(), script.steps.len());
        assert_eq!(events.last(), Some(&LocalEvent::End));
        let took = clock.now().since(crate::time::Timestamp::ZERO);
        assert!(
            took.abs_diff(planned) < Duration::from_millis(2),
            "{took:?} {planned:?}"
        );
    }
}
