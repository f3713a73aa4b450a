//! The command line: what can be asked for, and nothing that does it.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::drills::compare::{Layer, Sweep};

/// A terminal control room for LLM API resilience.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about = "A terminal control room for LLM API resilience: cache, retries, rate limits and circuit breaker, visible and drivable.",
    after_help = "Examples:
  seawall                                      on the built-in simulator, nothing to set up
  seawall --upstream http://127.0.0.1:8033     on a llama-server
  seawall --faults outage --seed 7             with the faults chosen; F switches them on
  seawall --policy exercise                    the textbook's policy instead of production's
  seawall --users ann,ben,cleo                 three users: u asks as the next, a bursts from all, t fair or fifo
  seawall --semantic shadow                    what a semantic cache would have served, and how often wrongly
  seawall --record drill.toml                  what is done by hand becomes a scenario; w saves one at any time
  seawall simulate --port 9000 --faults flaky  the simulator alone, for any other program
  seawall run outage --journal outage.ndjson   seven minutes of traffic and an outage, in a second
  seawall compare exercise production          what another policy would have made of the same outage
  seawall check outage.ndjson                  whether a journal keeps every promise
  seawall replay outage.ndjson                 the same screens on a journal: Space plays, ] jumps to what changed
  seawall policy --settings                    every setting with its value and what it does
  seawall why outage.ndjson 12                 the story of call 12; without a number, which are worth asking about
  seawall semantic --eval                      how well the semantic cache tells prompts apart
  seawall < /dev/null | cat                    without a terminal: a drill, and its report

Exit codes: 0 ok, 1 it did not come as expected or a promise is broken, 2 usage or configuration, 3 upstream unreachable,
            129 SIGHUP, 130 Ctrl-C, 143 SIGTERM."
)]
pub(crate) struct Cli {
    /// What to do; without it, the control room opens.
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,

    /// The API to call: http://127.0.0.1:8033, https://api.example.com/v1 [default: the built-in simulator]
    #[arg(long, value_name = "URL", env = "SEAWALL_UPSTREAM", global = true)]
    pub(crate) upstream: Option<String>,

    /// The model to ask for
    #[arg(long, value_name = "NAME", env = "SEAWALL_MODEL", global = true)]
    pub(crate) model: Option<String>,

    /// The settings of all guards: production, exercise, or a file
    #[arg(
        long,
        value_name = "FILE|PRESET",
        default_value = "production",
        env = "SEAWALL_POLICY"
    )]
    pub(crate) policy: String,

    /// Who can ask, from 1 to 64 names; u goes from one to the next [default: those the policy names, and of ana, ben,
    /// cleo, dev as many as make four]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', num_args = 1)]
    pub(crate) users: Vec<String>,
    /// What the semantic cache does from the start; s switches it [default: as the policy says]
    #[arg(long, value_name = "MODE", value_enum, env = "SEAWALL_SEMANTIC")]
    pub(crate) semantic: Option<SemanticChoice>,

    /// The embeddings API of the semantic cache, with the key in SEAWALL_EMBEDDER_API_KEY: http://127.0.0.1:8034
    /// [default: built in, or as the policy says]
    #[arg(long, value_name = "URL", env = "SEAWALL_EMBEDDER", global = true)]
    pub(crate) embedder: Option<String>,

    /// The faults that F switches on: flaky, rate-limit-storm, outage, slow, cut-streams, mixed, or a file
    #[arg(long, value_name = "PROFILE", default_value = "mixed", global = true)]
    pub(crate) faults: String,

    /// The seed of everything random; the same seed draws the same prompts, faults and waits
    #[arg(long, value_name = "N", global = true)]
    pub(crate) seed: Option<u64>,

    /// Keep what is done in the control room as a scenario, in this file: at the end, and on w. There it runs headless
    /// with `seawall run FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "no_tui")]
    pub(crate) record: Option<PathBuf>,

    /// Read the API key from the first line of this file (mode 0600) instead of SEAWALL_API_KEY
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) api_key_file: Option<PathBuf>,

    /// Trust the certificates in this PEM file too, beside the system's: for a private CA
    #[arg(long, value_name = "FILE", env = "SEAWALL_CA_FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,

    /// The most an answer may have, in LLM tokens
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: u32,

    /// Leave the mouse to the terminal: its own selection works
    #[arg(long)]
    pub(crate) no_mouse: bool,

    /// Marks and borders in ASCII
    #[arg(long)]
    pub(crate) ascii: bool,

    /// When to use colour; NO_COLOR is heard too
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,

    /// Panic once the first frame is drawn: a means to test that the terminal is given back
    #[arg(long, value_name = "WHERE", value_enum, hide = true)]
    pub(crate) panic_in: Option<PanicIn>,

    /// No screen: run the drill and print its report, as without a terminal
    #[arg(long)]
    pub(crate) no_tui: bool,

    /// Write every event of the session to this file, for `seawall replay`, `check` and `why`
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,
}

/// What else the program does.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Mode {
    /// Run the simulator alone, so that any other program can be tried against its faults
    Simulate {
        /// The port on 127.0.0.1; 0 takes any that is free and prints it
        #[arg(long, value_name = "N", default_value_t = 8099)]
        port: u16,
    },
    /// Play a scenario without a screen and say whether it came as expected
    Run {
        /// A bundled scenario (see `seawall scenarios`), or a file
        scenario: String,
        /// The settings of all guards, instead of those of the scenario: production, exercise, or a file
        #[arg(long, value_name = "FILE|PRESET")]
        policy: Option<String>,
        /// How the report is printed: for people, as Markdown, as JSON, or as JUnit XML for CI
        #[arg(
            long,
            value_name = "FORM",
            value_enum,
            default_value_t,
            conflicts_with = "explain"
        )]
        format: ReportFormat,
        /// Short for --format json
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// Draw the run into this folder as SVG: fates, attempts, buckets and breaker over time; --format md shows them
        #[arg(long, value_name = "DIR", conflicts_with = "explain")]
        charts: Option<PathBuf>,
        /// Write every event to this file, for `seawall check`
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// In real time and over sockets: against the simulator, or --upstream
        #[arg(long)]
        real: bool,
        /// Print the story of this call instead of the report: 12 or #12; with --json as JSON
        #[arg(long, value_name = "CALL", value_parser = call_number)]
        explain: Option<u64>,
    },
    /// Play one world under two or more policies, seed by seed, and say what differs and how sure that is
    Compare(CompareArgs),
    /// Play random worlds until one breaks a promise; the same seed is the same world
    Worlds {
        /// How many, from `--seed` on (from 0 where none is given)
        #[arg(long, value_name = "N", default_value_t = 2000)]
        count: u64,
        /// Write the events of a single world to this file: with `--count 1`
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Print a policy as a file to keep and edit, or list every setting with what it does
    Policy {
        /// production, exercise, a file, or one of them with settings that differ: production+retry.attempts=1
        #[arg(default_value = "production")]
        name: String,
        /// List every setting instead: its path, value and unit, what it does and which values it takes
        #[arg(long)]
        settings: bool,
    },
    /// List the bundled scenarios, and what each teaches
    Scenarios,
    /// Check a journal against the invariants: what must be true of every session, read from its events alone
    Check {
        /// The journal; - reads standard input
        file: PathBuf,
    },
    /// Show a recorded session on the same screens: play, step, jump to what changed; nothing is sent
    Replay {
        /// The journal, of `seawall --journal` or `seawall run --journal`
        file: PathBuf,
    },
    /// Tell why a call of a journal came out as it did: step by step, with what each guard saw
    Why {
        /// The journal; - reads standard input
        file: PathBuf,
        /// The call: 12 or #12; without it, the calls worth asking about are listed
        #[arg(value_parser = call_number)]
        call: Option<u64>,
        /// As JSON
        #[arg(long, requires = "call")]
        json: bool,
    },
    /// The cache that answers by meaning: how it is switched on, and how well it tells prompts apart
    Semantic {
        /// Measure embedders and guards on pairs of prompts: those of the program, or a file's
        #[arg(long, value_name = "FILE", num_args = 0..=1)]
        eval: Option<Option<PathBuf>>,
        /// The least similarity that is served, above 0 and up to 1 [default: the built-in one's, or an endpoint's best]
        #[arg(long, value_name = "T", requires = "eval")]
        threshold: Option<f64>,
        /// Print every figure and every pair as JSON
        #[arg(long, requires = "eval")]
        json: bool,
    },
    /// Write a picture of the screen as SVG: the same one each time
    Picture {
        /// Where to
        file: PathBuf,
        /// Columns and rows
        #[arg(long, value_name = "WxH", default_value = "120x40")]
        size: String,
    },
}

/// The number of a call, with or without its mark.
fn call_number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits
        .parse()
        .map_err(|_| "a call has a number: write 12, or '#12' in quotes".to_owned())
}

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Policies: production, exercise, a file, or one of them with settings that differ: production+retry.attempts=1
    /// [default: the scenario's own, or the recording's]
    pub(crate) policies: Vec<String>,
    /// The world: a bundled scenario (see `seawall scenarios`), or a file
    #[arg(long, value_name = "SCENARIO", default_value = "outage")]
    pub(crate) scenario: String,
    /// Recorded traffic as the world: its calls are made again, under its own policy first; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub(crate) journal: Option<PathBuf>,
    /// How many seeds, from --seed on [default: 50, with --journal 1: the recording's own]
    #[arg(long, value_name = "N")]
    pub(crate) seeds: Option<u64>,
    /// The first policy without a layer too: cache, semantic, flight, retry, budget, hints, limit, fairness, breaker
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub(crate) off: Vec<Layer>,
    /// The first policy with one setting over a range: retry.attempts=1..5, breaker.failure_rate=0.2..0.8/4
    #[arg(long, value_name = "SETTING=A..B")]
    pub(crate) sweep: Option<Sweep>,
    /// How the report is printed: for people, as Markdown, all numbers as JSON, or as JUnit XML for CI. JUnit judges each
    /// policy against the first: a case fails, and the exit code is 1, where the 95 % interval leaves no doubt that it is
    /// worse; the other forms judge nothing and exit with 0
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Draw the policies side by side into this folder as SVG: measures, and calls, attempts and breaker over time; with
    /// --sweep also what the setting buys and costs
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// Markdown.
    Md,
    /// All numbers.
    Json,
    /// JUnit XML.
    Junit,
}

/// Where to panic on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PanicIn {
    /// On the thread that draws.
    Ui,
    /// In a background task.
    Task,
}

/// What the semantic cache does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SemanticChoice {
    /// Serve stored answers to prompts that mean the same.
    On,
    /// Ask the upstream, and tell what would have been served.
    Shadow,
    /// Nothing.
    Off,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// If the terminal can and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn no_flag_takes_a_key() {
        for argument in Cli::command().get_arguments() {
            let name = argument.get_id().as_str();
            assert!(
                !name.contains("key") || name.ends_with("file"),
                "--{name} would show a key in ps"
            );
        }
    }
}
