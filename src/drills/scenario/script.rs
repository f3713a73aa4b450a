//! What a scenario file says: who calls and how, what the upstream does meanwhile, what is commanded, and what
//! is expected of it all. Words only; [`super::run`] acts on them.

use std::time::Duration;

use serde::Deserialize;

use super::measure::Measure;
use super::wish::TimedCommand;
use crate::event::UserId;
use crate::session::SessionConfig;
use crate::settings::{
    BreakerSettings, CacheSettings, Capacity, FaultProfile, FlightSettings, LatencyProfile, LimitSettings,
    RetrySettings, SemanticSettings, TimeoutSettings,
};

/// A scenario.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// One word, for reports and journals; the file's name where the file gives none.
    #[serde(default)]
    pub name: String,
    /// What it teaches, in a sentence.
    #[serde(default)]
    pub about: String,
    /// The seed of everything random, unless the command line gives another.
    #[serde(default = "seven")]
    pub seed: u64,
    /// New calls are made for so long; what runs then is waited for.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// The settings of the guards, unless the command line gives others.
    #[serde(default)]
    pub policy: PolicyChoice,
    /// Who calls. May be left out where commands call.
    #[serde(default)]
    pub callers: Vec<Callers>,
    /// How the bursts and prompts among the commands are sent.
    #[serde(default)]
    pub person: Person,
    /// Who answers.
    #[serde(default)]
    pub upstream: UpstreamScript,
    /// What is commanded, and when.
    #[serde(default, rename = "command")]
    pub commands: Vec<TimedCommand>,
    /// What must be true in the end. That the invariants hold is expected of every scenario.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
}

fn seven() -> u64 {
    7
}

/// A preset or file, and tables that replace its own. Keys left out of such a table are those of `production`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyChoice {
    /// `production`, `exercise`, or a file.
    pub base: String,
    /// See [`crate::settings::Policy`], as all that follow.
    pub cache: Option<CacheSettings>,
    /// The semantic cache.
    pub semantic: Option<SemanticSettings>,
    /// Single flight.
    pub flight: Option<FlightSettings>,
    /// Retries.
    pub retry: Option<RetrySettings>,
    /// The limiter.
    pub limit: Option<LimitSettings>,
    /// The breaker.
    pub breaker: Option<BreakerSettings>,
    /// The clocks.
    pub timeouts: Option<TimeoutSettings>,
}

impl Default for PolicyChoice {
    fn default() -> Self {
        Self {
            base: "production".into(),
            cache: None,
            semantic: None,
            flight: None,
            retry: None,
            limit: None,
            breaker: None,
            timeouts: None,
        }
    }
}

/// The person at the screen: how bursts and prompts become requests, as in a live session.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Person {
    /// Who can ask: a burst without a user is of these in turn.
    pub users: Vec<String>,
    /// The most an answer may have, in LLM tokens.
    pub answer_tokens: u32,
    /// The model to ask for, if any.
    pub model: Option<String>,
}

impl Default for Person {
    fn default() -> Self {
        let session = SessionConfig::default();
        Self {
            users: session.users.iter().map(ToString::to_string).collect(),
            answer_tokens: session.answer_tokens,
            model: session.model,
        }
    }
}

impl Person {
    /// The same as users of a session.
    pub(super) fn ids(&self) -> Vec<UserId> {
        self.users.iter().map(|name| UserId::new(name)).collect()
    }
}

/// A group of callers that behave alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callers {
    /// Who they are; each call is of the next one.
    #[serde(default = "ana")]
    pub users: Vec<String>,
    /// When they call.
    pub arrival: Arrival,
    /// They begin.
    #[serde(default, with = "humantime_serde")]
    pub from: Duration,
    /// They end; with the scenario where nothing is said.
    #[serde(default, with = "humantime_serde")]
    pub until: Option<Duration>,
    /// What they ask.
    #[serde(default)]
    pub prompts: PromptMix,
    /// Instructions sent along; `{time}` in them is the time of the call as `00:01:05` since the start.
    #[serde(default)]
    pub system: Option<String>,
    /// Sampling temperature; only 0 lets answers be stored and shared.
    #[serde(default)]
    pub temperature: f64,
    /// The most an answer may have, in LLM tokens.
    #[serde(default = "short")]
    pub max_tokens: u32,
    /// Whether they read a stream.
    #[serde(default = "yes")]
    pub stream: bool,
    /// A deadline of their own.
    #[serde(default, with = "humantime_serde")]
    pub deadline: Option<Duration>,
    /// Some of them give up.
    #[serde(default)]
    pub impatience: Option<Impatience>,
    /// Idempotency keys, of which each call takes one; none where it is 0.
    #[serde(default)]
    pub keys: u32,
    /// Ask the upstream even if the answer is stored.
    #[serde(default)]
    pub fresh: bool,
}

fn ana() -> Vec<String> {
    vec!["ana".into()]
}

fn short() -> u32 {
    48
}

fn yes() -> bool {
    true
}

/// When calls come.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// At equal distances.
    Steady {
        /// Calls a second.
        per_s: f64,
    },
    /// Independently of each other: exponential distances.
    Poisson {
        /// Calls a second, on average.
        per_s: f64,
    },
    /// All at once.
    Burst {
        /// How many.
        calls: u32,
        /// Again after so long; once where absent.
        #[serde(default, with = "humantime_serde")]
        every: Option<Duration>,
    },
    /// Each worker asks when it has its answer: the load falls as the upstream gets slower.
    Closed {
        /// How many.
        workers: u32,
        /// Between answer and next question.
        #[serde(default, with = "humantime_serde")]
        think: Duration,
    },
}

/// Prompts, some asked more often than others: the one of rank `r` with a weight of `1 / r^skew`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptMix {
    /// How many there are.
    pub distinct: u32,
    /// 0: all alike. 1: Zipf.
    pub skew: f64,
    /// The prompts, the first rank first, in place of the bundled ones; `distinct` is how many of them are asked,
    /// or all where they are fewer.
    pub list: Vec<String>,
}

impl Default for PromptMix {
    fn default() -> Self {
        Self {
            distinct: 40,
            skew: 1.0,
            list: Vec::new(),
        }
    }
}

/// Callers that go away before they have their answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impatience {
    /// The share of calls that are given up, 0 to 1.
    pub share: f64,
    /// After at most so long: `U(0, within)`.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

/// The upstream over time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamScript {
    /// How fast it answers.
    pub latency: LatencyProfile,
    /// How much it does at a time; without bounds where absent.
    pub capacity: Option<Capacity>,
    /// When it is ill.
    #[serde(rename = "phase")]
    pub phases: Vec<FaultPhase>,
}

/// A time in which faults are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPhase {
    /// From then on.
    #[serde(with = "humantime_serde")]
    pub from: Duration,
    /// Until then.
    #[serde(with = "humantime_serde")]
    pub until: Duration,
    /// A fault profile: a bundled one by name, or a file.
    #[serde(default)]
    pub faults: Option<String>,
    /// Or its rates.
    #[serde(default)]
    pub rates: Option<FaultProfile>,
}

/// What must be true in the end.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Of what.
    pub measure: Measure,
    /// Not less.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// Not more.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// Only calls that began then or later.
    #[serde(default, with = "humantime_serde")]
    pub from: Option<Duration>,
    /// Only calls that began before.
    #[serde(default, with = "humantime_serde")]
    pub until: Option<Duration>,
    /// Only calls of this user.
    #[serde(default)]
    pub user: Option<String>,
    /// Only calls of these users, together.
    #[serde(default)]
    pub users: Vec<String>,
}
