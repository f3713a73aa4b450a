//! The command line: options and subcommands. Parsing only.
#![expect(rustdoc::bare_urls, reason = "clap prints these comments as help")]

use std::num::{IntErrorKind, ParseIntError};
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Parser, Subcommand, ValueEnum};

use crate::drills::compare::{Layer, Sweep};
use crate::event::{Load, read_share};

/// A terminal control room for LLM API resilience.
#[derive(Clone, Debug, Parser)]
#[command(
    version,
    about = "A terminal control room for LLM API resilience: cache, retries, rate limits and circuit breaker, shown and controlled by keys.",
    after_help = "Examples:
  seawall                                      open the control room on the built-in simulator
  seawall tour                                 see what each guard does, in two minutes
  seawall --load '10/s 60s' --repeat 0%        start with ten calls per second for a minute
  seawall --upstream http://127.0.0.1:8033     use a llama-server
  seawall --upstream https://openrouter.ai/api/v1 --header 'X-Title: drill'
                                               use a gateway, with a header of its own
  seawall --faults mixed --seed 7              choose the fault profile that F switches on
  seawall --policy exercise                    use the textbook policy instead of production
  seawall --users ann,ben,cleo                 send as three users: u next, a burst as all
  seawall --semantic shadow                    measure what a semantic cache would serve, and how often wrongly
  seawall --record drill.toml                  record the session as a scenario; w saves one at any time
  seawall --listen 127.0.0.1:4000              serve real apps: OPENAI_BASE_URL=http://127.0.0.1:4000/v1
  seawall simulate --port 9000 --faults flaky  run the simulator alone, for any other program
  seawall run outage --journal outage.ndjson   run seven minutes of traffic with an outage in a second
  seawall compare exercise production          compare two policies on the same traffic and outage
  seawall check outage.ndjson                  check a journal against every invariant
  seawall replay outage.ndjson                 replay a journal on the same screens: Space play, ] next change
  seawall policy --settings                    list every setting with its value and meaning
  seawall why outage.ndjson 12                 explain call 12; without a number, list the calls worth explaining
  seawall semantic --eval                      measure the semantic cache on pairs of prompts
  seawall < /dev/null | cat                    run a drill without a terminal and print its report

Environment: SEAWALL_API_KEY and SEAWALL_EMBEDDER_API_KEY hold the keys; HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and
             NO_PROXY choose the proxy of every connection that leaves this machine.

Exit codes: 0 ok, 1 expectation or invariant failed, 2 usage or configuration, 3 upstream unreachable,
            129 SIGHUP, 130 Ctrl-C, 143 SIGTERM."
)]
#[expect(clippy::struct_excessive_bools, reason = "flags of the command line")]
pub(crate) struct Cli {
    /// The subcommand; without one, the control room opens.
    #[command(subcommand)]
    pub(crate) mode: Option<Mode>,

    /// Base URL of the API: http://127.0.0.1:8033, https://api.example.com/v1 [default: the built-in simulator]
    #[arg(
        long,
        value_name = "URL",
        env = "SEAWALL_UPSTREAM",
        hide_env_values = true,
        global = true
    )]
    pub(crate) upstream: Option<String>,

    /// Further request header for --upstream; NAME:env:VARIABLE keeps a secret out of the process list. May be repeated
    #[arg(long = "header", value_name = "NAME:VALUE", global = true)]
    pub(crate) headers: Vec<String>,

    /// Allow plain http to public hosts, which exposes prompts and keys
    #[arg(long, global = true)]
    pub(crate) insecure_http: bool,

    /// Model to request [default: chosen by the server]
    #[arg(long, value_name = "NAME", env = "SEAWALL_MODEL", global = true)]
    pub(crate) model: Option<String>,

    /// Policy of all guards: production, gateway, exercise, or a file [default: production; gateway with --listen and
    /// --upstream]
    #[arg(
        long,
        value_name = "FILE|PRESET",
        default_value = "production",
        hide_default_value = true,
        env = "SEAWALL_POLICY"
    )]
    pub(crate) policy: String,

    /// Users to send as (1-64 names, comma-separated); `u` switches between them [default: the policy's users, padded to
    /// four]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',', num_args = 1)]
    pub(crate) users: Vec<String>,

    /// Initial mode of the semantic cache; `s` switches it [default: from the policy]
    #[arg(long, value_name = "MODE", value_enum, env = "SEAWALL_SEMANTIC")]
    pub(crate) semantic: Option<SemanticChoice>,

    /// Base URL of the embeddings API of the semantic cache; reads its key from SEAWALL_EMBEDDER_API_KEY [default: from
    /// the policy, or the built-in embedder]
    #[arg(
        long,
        value_name = "URL",
        env = "SEAWALL_EMBEDDER",
        hide_env_values = true,
        global = true
    )]
    pub(crate) embedder: Option<String>,

    /// Further request header for the embeddings API, as --header
    #[arg(long = "embedder-header", value_name = "NAME:VALUE", global = true)]
    pub(crate) embedder_headers: Vec<String>,

    /// Fault profile that F switches on: outage, mixed, flaky, slow, crowded, cut-streams, rate-limit-storm, or a file
    /// [default: outage; for simulate, mixed]; with serve, they are on from the start
    #[arg(long, value_name = "PROFILE", global = true)]
    pub(crate) faults: Option<String>,

    /// Start with this load, as `:load` takes it: '10/s 60s', '300/m', '2..20/s 60s', '5/s as ana poisson'. Without a
    /// terminal it replaces the drill and needs a duration
    #[arg(long, value_name = "RATE [DURATION]")]
    pub(crate) load: Option<Load>,

    /// Share of the prompts of bursts and loads that repeat one of the user's last answered ones
    #[arg(long, value_name = "P%", default_value = "40%", value_parser = read_share)]
    pub(crate) repeat: f64,

    /// File of prompts for bursts and loads, in turn: a prompt per line, or JSON lines with a field `prompt` [default:
    /// distinct prompts]
    #[arg(long, value_name = "FILE")]
    pub(crate) prompts: Option<PathBuf>,

    /// Serve real apps at this address: their calls pass through the guards. Set their base URL to http://ADDR/v1
    #[arg(long, value_name = "ADDR", global = true)]
    pub(crate) listen: Option<std::net::SocketAddr>,

    /// File of the gateway keys of --listen, which `seawall key` changes [default:
    /// $XDG_CONFIG_HOME/seawall/keys.toml]
    #[arg(long = "keys", value_name = "FILE", env = "SEAWALL_KEYS", global = true)]
    pub(crate) keys_file: Option<PathBuf>,

    /// Let any program on this machine use the upstream's key through --listen
    #[arg(long, global = true)]
    pub(crate) no_auth: bool,

    /// Seed of all random draws: prompts, faults, waits [default: 7]
    #[arg(long, value_name = "N", global = true, value_parser = whole_number)]
    pub(crate) seed: Option<u64>,

    /// Record the session as a scenario in this new file, at the end and on `w`; run it with `seawall run FILE`
    #[arg(long, value_name = "FILE", conflicts_with = "no_tui")]
    pub(crate) record: Option<PathBuf>,

    /// Read the API key from the first line of this file (mode 0600) instead of SEAWALL_API_KEY
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) api_key_file: Option<PathBuf>,

    /// Trust the certificates in this PEM file in addition to those of the system: a private CA
    #[arg(long, value_name = "FILE", env = "SEAWALL_CA_FILE", global = true)]
    pub(crate) ca_file: Option<PathBuf>,

    /// Limit of an answer, in LLM tokens
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_tokens: u32,

    /// Neither read nor keep the prompts of the chat ($XDG_STATE_HOME/seawall/prompts.jsonl)
    #[arg(long, env = "SEAWALL_NO_HISTORY", value_parser = FalseyValueParser::new())]
    pub(crate) no_history: bool,

    /// Leave the mouse to the terminal, so that its own selection works
    #[arg(long)]
    pub(crate) no_mouse: bool,

    /// Draw marks and borders in ASCII
    #[arg(long)]
    pub(crate) ascii: bool,

    /// Use of colour (honours NO_COLOR)
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,

    /// Colours: those of the terminal, fixed 24-bit ones, bright ones without dim text, or none
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) theme: Option<ThemeChoice>,

    /// Panic after the first frame, to test that the terminal is restored
    #[arg(long, value_name = "WHERE", value_enum, hide = true)]
    pub(crate) panic_in: Option<PanicIn>,

    /// Run the drill and print its report, as without a terminal
    #[arg(long)]
    pub(crate) no_tui: bool,

    /// Write every event to this new file, for `seawall replay`, `check` and `why`
    #[arg(long, value_name = "FILE")]
    pub(crate) journal: Option<PathBuf>,

    /// Replace the files of --journal, --record, --charts and `picture` if they exist, once there is something to
    /// write; otherwise an existing file is an error
    #[arg(long, global = true)]
    pub(crate) overwrite: bool,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Mode {
    /// Guided tour on the simulator: what each guard does, in two minutes
    Tour,
    /// Run the simulator alone, to test any other program against its faults
    Simulate {
        /// Port on 127.0.0.1; 0 takes a free one and prints it
        #[arg(long, value_name = "N", default_value_t = 8099, value_parser = port_number)]
        port: u16,
    },
    /// Run the gateway of --listen without a screen, for a container or a service; SIGTERM lets running calls end
    Serve {
        /// Format of the log on stderr
        #[arg(long, value_name = "FORM", value_enum, default_value_t)]
        log: LogFormat,
        /// Policy of all guards: production, gateway, exercise, or a file
        #[arg(long, value_name = "FILE|PRESET")]
        policy: Option<String>,
        /// Initial mode of the semantic cache
        #[arg(long, value_name = "MODE", value_enum)]
        semantic: Option<SemanticChoice>,
        /// Write every event to this new file
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Add, list and remove gateway keys: with one, clients of --listen need a key, and its name is their user
    Key {
        /// The change
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Run a scenario without a screen and check its expectations
    Run {
        /// Bundled scenario (see `seawall scenarios`), or a file
        scenario: String,
        /// Policy instead of that of the scenario: production, gateway, exercise, or a file
        #[arg(long, value_name = "FILE|PRESET")]
        policy: Option<String>,
        /// Format of the report: text, Markdown, JSON, or JUnit XML for CI
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
        /// Write an SVG chart to a new file in this folder: faults, breaker, calls, attempts, latency and buckets over
        /// time; --format md links it
        #[arg(long, value_name = "DIR", conflicts_with = "explain")]
        charts: Option<PathBuf>,
        /// Write every event to this new file, for `seawall check`
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
        /// Run in real time over sockets, against the simulator or --upstream
        #[arg(long)]
        real: bool,
        /// Explain this call instead of printing the report: 12 or #12; with --json as JSON
        #[arg(long, value_name = "CALL", value_parser = call_number)]
        explain: Option<u64>,
    },
    /// Run the same traffic under two or more policies, seed by seed, and report the differences with confidence intervals
    Compare(CompareArgs),
    /// Run random scenarios until one violates an invariant (deterministic simulation testing)
    Fuzz {
        /// Number of scenarios, starting at `--seed` or 0
        #[arg(long, value_name = "N", default_value_t = 2000, value_parser = whole_number)]
        count: u64,
        /// Write the events of a single scenario to this new file; needs `--count 1`
        #[arg(long, value_name = "FILE")]
        journal: Option<PathBuf>,
    },
    /// Print a policy as a file to edit, or list every setting
    Policy {
        /// production, gateway, exercise, a file, or one of them with changed settings: production+retry.attempts=1
        #[arg(default_value = "production")]
        name: String,
        /// List every setting: path, value, unit, meaning and range
        #[arg(long)]
        settings: bool,
    },
    /// List the bundled scenarios
    Scenarios,
    /// Check a journal against the invariants, from its events alone
    Check {
        /// Journal; - reads standard input
        file: PathBuf,
    },
    /// Replay a journal on the same screens: play, step, jump to changes; sends nothing
    Replay {
        /// Journal of `seawall --journal` or `seawall run --journal`
        file: PathBuf,
    },
    /// Explain a call of a journal step by step, with the decision of each guard
    Why {
        /// Journal; - reads standard input
        file: PathBuf,
        /// Call: 12 or #12; without one, list the calls worth explaining
        #[arg(value_parser = call_number)]
        call: Option<u64>,
        /// Print JSON
        #[arg(long, requires = "call")]
        json: bool,
    },
    /// Describe the semantic cache, or measure it on pairs of prompts
    Semantic {
        /// Measure embedders and guards on pairs of prompts: the bundled ones, or those of a file
        #[arg(long, value_name = "FILE", num_args = 0..=1)]
        #[expect(
            clippy::option_option,
            reason = "clap's type for an option with an optional value"
        )]
        eval: Option<Option<PathBuf>>,
        /// Similarity threshold, above 0 and at most 1 [default: that of the built-in embedder, or the best of an endpoint]
        #[arg(long, value_name = "T", requires = "eval", value_parser = threshold)]
        threshold: Option<f64>,
        /// Print every figure and every pair as JSON
        #[arg(long, requires = "eval")]
        json: bool,
    },
    /// Write a picture of the screen as SVG; always the same
    Picture {
        /// New file to write
        file: PathBuf,
        /// Size in columns and rows
        #[arg(long, value_name = "WxH", default_value = "120x40")]
        size: String,
    },
}

/// The changes to gateway keys.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key and print it, once: only its hash is kept
    Add {
        /// Name of the client: the user on screens and in [limit.users.NAME] of the policy
        name: String,
    },
    /// List the names
    List,
    /// Remove a key
    Remove {
        /// Name of the client
        name: String,
    },
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// A sentence per line
    #[default]
    Text,
    /// A JSON object per line
    Json,
}

/// Parses the number of a call, with or without `#`.
fn call_number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix('#').unwrap_or(text);
    digits
        .parse()
        .map_err(|_| "not a call number: write 12, or '#12' in quotes".to_owned())
}

fn whole_number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|error: ParseIntError| match error.kind() {
        IntErrorKind::PosOverflow => format!("too large: write at most {}", u64::MAX),
        _ => "not a whole number: write 0 or more".to_owned(),
    })
}

fn port_number(text: &str) -> Result<u16, String> {
    text.parse()
        .map_err(|_| format!("not a port: write a whole number from 0 to {}", u16::MAX))
}

/// Parses a similarity threshold.
fn threshold(text: &str) -> Result<f64, String> {
    let number = text.parse().ok();
    number
        .filter(|number| *number > 0.0 && *number <= 1.0)
        .ok_or_else(|| "must be above 0 and at most 1, for example 0.8".to_owned())
}

/// The arguments of `seawall compare`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareArgs {
    /// Policies: production, gateway, exercise, a file, or one of them with changed settings: production+retry.attempts=1
    /// [default: that of the scenario or the journal]
    pub(crate) policies: Vec<String>,
    /// Bundled scenario (see `seawall scenarios`), or a file
    #[arg(long, value_name = "SCENARIO", default_value = "outage")]
    pub(crate) scenario: String,
    /// Journal whose calls are repeated, first under its own policy; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "scenario")]
    pub(crate) journal: Option<PathBuf>,
    /// Number of seeds, from --seed on [default: 50; with --journal 1, the seed of the journal]
    #[arg(long, value_name = "N", value_parser = whole_number)]
    pub(crate) seeds: Option<u64>,
    /// Also run the first policy without a layer: cache, semantic, flight, retry, budget, hints, limit, fairness, breaker
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    pub(crate) off: Vec<Layer>,
    /// Also run the first policy with a setting over a range: retry.attempts=1..5, breaker.failure_rate=0.2..0.8/4
    #[arg(long, value_name = "SETTING=A..B")]
    pub(crate) sweep: Option<Sweep>,
    /// Format of the report: text, Markdown, JSON with all figures, or JUnit XML for CI. JUnit compares each policy with
    /// the first: a case fails, and the exit code is 1, if the 95 % interval of a measure is entirely worse. The other
    /// formats always exit with 0
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    pub(crate) format: ReportFormat,
    /// Short for --format json
    #[arg(long, conflicts_with = "format")]
    pub(crate) json: bool,
    /// Write SVG charts to new files in this folder: served against attempts, measures, and calls, attempts and latency
    /// over time; with --sweep as differences from the first policy
    #[arg(long, value_name = "DIR")]
    pub(crate) charts: Option<PathBuf>,
}

/// The format of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Text for people.
    #[default]
    Text,
    /// Markdown.
    Md,
    /// JSON with all figures.
    Json,
    /// JUnit XML.
    Junit,
}

/// The thread to panic on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PanicIn {
    /// The thread that draws.
    Ui,
    /// A background task.
    Task,
}

/// The mode of the semantic cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SemanticChoice {
    /// Serve stored answers to prompts with the same meaning.
    On,
    /// Ask the upstream and log what would have been served.
    Shadow,
    /// Off.
    Off,
}

/// The use of colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// If the terminal supports it and NO_COLOR is not set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The colours of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ThemeChoice {
    /// The sixteen colours of the terminal.
    Terminal,
    /// Fixed colours that people with a colour vision deficiency can distinguish.
    Truecolor,
    /// Bright colours, and nothing dim.
    HighContrast,
    /// No colours.
    Mono,
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
    fn an_invalid_number_is_reported_with_the_valid_range() {
        let largest = u64::MAX.to_string();
        for (arguments, message) in [
            (&["--seed", "abc"][..], "not a whole number: write 0 or more"),
            (&["--seed", ""], "not a whole number: write 0 or more"),
            (&["--seed=-1"], "not a whole number: write 0 or more"),
            (
                &["--seed", "18446744073709551616"],
                "too large: write at most 18446744073709551615",
            ),
            (&["fuzz", "--count", "abc"], "not a whole number: write 0 or more"),
            (
                &["compare", "--seeds", "1.5"],
                "not a whole number: write 0 or more",
            ),
            (
                &["simulate", "--port", "65536"],
                "not a port: write a whole number from 0 to 65535",
            ),
            (
                &["semantic", "--eval", "--threshold", "abc"],
                "must be above 0 and at most 1, for example 0.8",
            ),
            (
                &["semantic", "--eval", "--threshold", "0"],
                "must be above 0 and at most 1, for example 0.8",
            ),
            (
                &["semantic", "--eval", "--threshold", "NaN"],
                "must be above 0 and at most 1, for example 0.8",
            ),
        ] {
            let error = Cli::try_parse_from([&["seawall"], arguments].concat()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(message), "{arguments:?}: {error}");
        }
        let cli = Cli::try_parse_from(["seawall", "--seed", &largest]).unwrap();
        assert_eq!(cli.seed, Some(u64::MAX));
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
