//! The story of one call: its steps with the numbers each layer saw, and a one-sentence summary.
//!
//! ```text
//!  events --apply--> StoryStore: steps of each call and flight --story(#12)--> Story: steps, sentence
//! ```
//!
//! A step is a fact with its numbers ([`StepKind`]), its time and its call: the attempts of a shared flight belong
//! to its owner, and the story of a follower has them too, from joining to leaving. The same
//! fold serves the screen (bounded, in `State`) and `seawall why` (one call of a journal,
//! [`StoryStore::for_call`]).

mod from_event;
mod labels;
mod ranking;
mod sentence;
mod step;
mod store;
#[cfg(test)]
mod tests;
mod text;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use ranking::{CallRanking, CallSummary};
pub use step::{
    Admitted, BreakerOpening, Ended, Finished, HitLabel, Queued, Refused, Rejected, Retried, SemanticHitStep,
    SemanticMissStep, Started, StepKind, StepLevel, StepLevels, Stopped, StoredAnswer, UserStepLevels,
};
pub use store::{SILENCE, StoryStore};
pub use text::StepText;

use crate::event::{CallId, Fate, Sharing};
use crate::text::SafeText;
use crate::time::{Timestamp, nanos, nanos_option};

/// Version of the JSON form of a story; `assets/story.schema.json` describes it.
pub const STORY_VERSION: u32 = 2;

/// The story of one call so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// The call.
    pub call: CallId,
    /// Steps in order of time.
    pub steps: Vec<Step>,
    /// Steps dropped to bound memory.
    pub lost: u32,
}

/// One step of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Time since the session began.
    pub at: Timestamp,
    /// Time since the call began.
    #[serde(with = "nanos")]
    pub offset: Duration,
    /// Time left until the call's deadline.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub deadline_left: Option<Duration>,
    /// The owner of the shared flight, if the step is not of this call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_owner: Option<CallId>,
    /// The kind of step with its data.
    #[serde(flatten)]
    pub kind: StepKind,
}

impl Story {
    /// The fate, if the call ended.
    pub fn fate(&self) -> Option<Fate> {
        self.finished().map(|end| end.fate)
    }

    /// The final step, if the call ended.
    pub fn finished(&self) -> Option<&Finished> {
        self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Finished(end) => Some(end.as_ref()),
            _ => None,
        })
    }

    /// The first step.
    pub fn started(&self) -> Option<&Started> {
        self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Started(start) => Some(start.as_ref()),
            _ => None,
        })
    }

    /// The steps worth a line: without flights that no call may join, and without a status repeated by the failure
    /// at the same instant.
    pub fn shown_steps(&self) -> impl Iterator<Item = &Step> {
        let next = self.steps.iter().skip(1).map(Some).chain([None]);
        let pairs = self.steps.iter().zip(next);
        let shown = pairs.filter(|(step, next)| match &step.kind {
            StepKind::FlightStarted { sharing, .. } => *sharing != Sharing::Off,
            StepKind::AttemptResponded { .. } => next.is_none_or(|next| next.at > step.at),
            _ => true,
        });
        shown.map(|(step, _)| step)
    }

    /// A one-sentence summary.
    pub fn sentence(&self) -> SafeText {
        // contains text from a server; an excerpt of safe text is safe
        SafeText::new(&sentence::of(self))
    }
}

/// The JSON form: `{"story":2,"call":12,"fate":"answered","sentence":"..","lost":0,"steps":[..]}`.
impl Serialize for Story {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Form<'a> {
            story: u32,
            call: CallId,
            fate: Option<Fate>,
            sentence: SafeText,
            lost: u32,
            steps: &'a [Step],
        }
        Form {
            story: STORY_VERSION,
            call: self.call,
            fate: self.fate(),
            sentence: self.sentence(),
            lost: self.lost,
            steps: &self.steps,
        }
        .serialize(serializer)
    }
}

/// Plain text: the sentence, an empty line, and a line for each step.
impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        text::write(self, f)
    }
}
