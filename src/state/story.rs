//! "Why?": the story of one call, step by step with what each layer saw, and one sentence that sums it up.
//!
//! ```text
//!  events --apply--> Why: marks of each call, marks of each flight --story(#12)--> Story: steps, sentence
//! ```
//!
//! A step is a fact with its numbers ([`What`]), when it happened, and whose it was: the attempts of a shared
//! flight belong to its owner, and a follower's story has them too, from when it joined until it left. The same
//! fold serves the screen (bounded, in `State`) and `seawall why` (one call of a journal, [`Why::of`]).

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

/// What happened to one call, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct Story {
    /// Which.
    pub call: CallId,
    /// In the order in which it happened.
    pub steps: Vec<Step>,
    /// Steps that are not remembered any more.
    pub lost: u32,
}

/// One step of a story.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// When.
    pub at: Timestamp,
    /// Since the call began.
    #[serde(with = "nanos")]
    pub offset: Duration,
    /// What was left until the call's deadline.
    #[serde(default, with = "nanos_option", skip_serializing_if = "Option::is_none")]
    pub deadline_left: Option<Duration>,
    /// Whose step it was, where it was another call's: the owner of the flight that this one shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_owner: Option<CallId>,
    /// What happened.
    #[serde(flatten)]
    pub kind: StepKind,
}

impl Story {
    /// How it ended, if it has.
    pub fn fate(&self) -> Option<Fate> {
        self.finished().map(|end| end.fate)
    }

    /// The end, if it has come.
    pub fn finished(&self) -> Option<&Finished> {
        self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Finished(end) => Some(end.as_ref()),
            _ => None,
        })
    }

    /// How it began.
    pub fn started(&self) -> Option<&Started> {
        self.steps.iter().find_map(|step| match &step.kind {
            StepKind::Started(start) => Some(start.as_ref()),
            _ => None,
        })
    }

    /// The steps worth a line: not that nobody may join a flight, nor a status that the failure at the same instant
    /// tells again.
    pub fn shown_steps(&self) -> impl Iterator<Item = &Step> {
        let next = self.steps.iter().skip(1).map(Some).chain([None]);
        let pairs = self.steps.iter().zip(next);
        let telling = pairs.filter(|(step, next)| match &step.kind {
            StepKind::FlightStarted { sharing, .. } => *sharing != Sharing::Off,
            StepKind::AttemptResponded { .. } => next.is_none_or(|next| next.at > step.at),
            _ => true,
        });
        telling.map(|(step, _)| step)
    }

    /// The whole story in one sentence.
    pub fn sentence(&self) -> SafeText {
        // words of a server are in it, and an excerpt of safe text is safe
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
