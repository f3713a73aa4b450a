//! The content of a scenario file: callers, upstream, commands and expectations. Data only; [`super::run`] runs
//! it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::command::CommandTable;
use super::measure::Measure;
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
    /// The name in reports and journals. Default: the file's name.
    #[serde(default)]
    pub name: String,
    /// A description in a sentence.
    #[serde(default)]
    pub about: String,
    /// The seed of everything random; the command line can override it.
    #[serde(default = "seven")]
    pub seed: u64,
    /// The time in which new calls are made; calls that run at its end are waited for.
    #[serde(with = "humantime_serde")]
    pub duration: Duration,
    /// The policy; the command line can override it.
    #[serde(default)]
    pub policy: PolicyChoice,
    /// The groups of callers. Optional if commands make calls.
    #[serde(default)]
    pub callers: Vec<Callers>,
    /// Properties of the requests of burst and send commands.
    #[serde(default)]
    pub requests: RequestDefaults,
    /// The upstream.
    #[serde(default)]
    pub upstream: UpstreamScript,
    /// The commands and their times.
    #[serde(default, rename = "command")]
    pub(crate) commands: Vec<CommandTable>,
    /// Conditions on the measures of the run. The invariants are checked in every run.
    #[serde(default, rename = "expect")]
    pub expectations: Vec<Expectation>,
}

fn seven() -> u64 {
    7
}

/// A preset or a file, and tables that replace its tables. Keys left out of such a table have the values of
/// `production`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyChoice {
    /// `production`, `exercise`, or a file.
    pub base: String,
    /// The exact cache: see [`crate::settings::Policy`] for this table and those that follow.
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
    /// Timeouts.
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

/// Properties of the requests of burst, load and send commands, as in a live session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RequestDefaults {
    /// Users that a burst without a user is sent as, in turn.
    pub users: Vec<String>,
    /// The maximum length of an answer, in LLM tokens.
    pub answer_tokens: u32,
    /// The model to request, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Prompts of bursts and loads, in turn; empty for composed ones, which are all distinct.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prompts: Vec<String>,
    /// Share of the prompts of bursts and loads that repeat one of the user's last 20 answered ones. Default: 0.4.
    #[serde(skip_serializing_if = "is_usual")]
    pub repeat: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_usual(repeat: &f64) -> bool {
    repeat.to_bits() == SessionConfig::default().repeat.to_bits()
}

impl Default for RequestDefaults {
    fn default() -> Self {
        Self::from(&SessionConfig::default())
    }
}

impl From<&SessionConfig> for RequestDefaults {
    fn from(config: &SessionConfig) -> Self {
        Self {
            users: config.users.iter().map(ToString::to_string).collect(),
            answer_tokens: config.answer_tokens,
            model: config.model.clone(),
            prompts: config.prompts.clone(),
            repeat: config.repeat,
        }
    }
}

impl RequestDefaults {
    pub(super) fn user_ids(&self) -> Vec<UserId> {
        self.users.iter().map(|name| UserId::new(name)).collect()
    }
}

/// A group of callers with the same behaviour.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callers {
    /// Users; each call is sent as the next one.
    #[serde(default = "only_ana")]
    pub users: Vec<String>,
    /// The arrival process.
    pub arrival: Arrival,
    /// The time of the first call.
    #[serde(default, with = "humantime_serde")]
    pub from: Duration,
    /// The end of the calls. Default: the end of the scenario.
    #[serde(default, with = "humantime_serde")]
    pub until: Option<Duration>,
    /// The prompts.
    #[serde(default)]
    pub prompts: PromptMix,
    /// A system prompt; `{time}` in it becomes the time of the call since the start, as `00:01:05`.
    #[serde(default)]
    pub system: Option<String>,
    /// Sampling temperature, 0 to 2; answers are cached and shared only at 0.
    #[serde(default)]
    pub temperature: f64,
    /// The maximum length of an answer, in LLM tokens. Default: 48.
    #[serde(default = "short")]
    pub max_tokens: u32,
    /// True if answers are streamed.
    #[serde(default = "yes")]
    pub stream: bool,
    /// A deadline in place of the policy's `timeouts.call`.
    #[serde(default, with = "humantime_serde")]
    pub deadline: Option<Duration>,
    /// Cancellation by callers who do not wait for their answer.
    #[serde(default)]
    pub impatience: Option<Impatience>,
    /// The number of idempotency keys that calls draw from; 0: calls have no key.
    #[serde(default)]
    pub keys: u32,
    /// True if the cache is bypassed.
    #[serde(default)]
    pub fresh: bool,
}

pub(super) fn ana() -> String {
    "ana".into()
}

fn only_ana() -> Vec<String> {
    vec![ana()]
}

fn short() -> u32 {
    48
}

fn yes() -> bool {
    true
}

/// The arrival process of a group of callers.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Arrival {
    /// Calls at equal intervals.
    Steady {
        /// Calls per second.
        per_s: f64,
    },
    /// A Poisson process: exponential intervals.
    Poisson {
        /// Mean calls per second.
        per_s: f64,
    },
    /// A rate that rises or falls steadily from the first call to the end of the group.
    Ramp {
        /// Calls per second at the beginning.
        from_per_s: f64,
        /// Calls per second at the end.
        to_per_s: f64,
        /// True for a Poisson process of this rate.
        #[serde(default)]
        poisson: bool,
    },
    /// Calls at once.
    Burst {
        /// Calls in a burst.
        calls: u32,
        /// The interval between bursts; absent: one burst.
        #[serde(default, with = "humantime_serde")]
        every: Option<Duration>,
    },
    /// A closed loop: each worker calls again when it has its answer, so load falls as the upstream slows down.
    Closed {
        /// Number of workers.
        workers: u32,
        /// The pause between an answer and the next call.
        #[serde(default, with = "humantime_serde")]
        think: Duration,
    },
}

/// Prompts with a Zipf distribution: the prompt of rank `r` has the weight `1 / r^skew`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptMix {
    /// Number of distinct prompts.
    pub distinct: u32,
    /// The exponent: 0 is uniform, 1 is Zipf's law.
    pub skew: f64,
    /// Prompts in place of the bundled ones, in the order of their ranks; at most the first `distinct` are used.
    pub list: Vec<String>,
    /// Distinct prompts of which this share repeats one of the user's last 20 answered ones, as bursts and loads ask
    /// them; in place of the distribution.
    pub repeat: Option<f64>,
}

impl Default for PromptMix {
    fn default() -> Self {
        Self {
            distinct: 40,
            skew: 1.0,
            list: Vec::new(),
            repeat: None,
        }
    }
}

/// Callers that cancel before they have their answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Impatience {
    /// The share of calls that are cancelled, 0 to 1.
    pub share: f64,
    /// The upper bound of the time to cancellation: `U(0, within)`.
    #[serde(with = "humantime_serde")]
    pub within: Duration,
}

/// The upstream over time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamScript {
    /// Time to the first token and between tokens.
    pub latency: LatencyProfile,
    /// Requests that it serves in parallel; absent: unlimited.
    pub capacity: Option<Capacity>,
    /// Phases of faults; they must not overlap.
    #[serde(rename = "phase")]
    pub phases: Vec<FaultPhase>,
}

/// A period in which faults are injected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultPhase {
    /// The beginning.
    #[serde(with = "humantime_serde")]
    pub from: Duration,
    /// The end.
    #[serde(with = "humantime_serde")]
    pub until: Duration,
    /// A fault profile: a bundled one by name, or a file. Excludes `rates`.
    #[serde(default)]
    pub faults: Option<String>,
    /// A fault profile in full.
    #[serde(default)]
    pub rates: Option<FaultProfile>,
}

/// A condition on a measure of the run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// The measure.
    pub measure: Measure,
    /// The lower bound, inclusive.
    #[serde(default)]
    pub at_least: Option<f64>,
    /// The upper bound, inclusive.
    #[serde(default)]
    pub at_most: Option<f64>,
    /// Counts only calls that began at this time or later.
    #[serde(default, with = "humantime_serde")]
    pub from: Option<Duration>,
    /// Counts only calls that began before this time.
    #[serde(default, with = "humantime_serde")]
    pub until: Option<Duration>,
    /// Counts only calls of this user.
    #[serde(default)]
    pub user: Option<String>,
    /// Counts only calls of these users.
    #[serde(default)]
    pub users: Vec<String>,
}

impl Expectation {
    /// True if not all calls are counted.
    pub(super) fn is_filtered(&self) -> bool {
        self.from.is_some() || self.until.is_some() || self.user.is_some() || !self.users.is_empty()
    }
}
