//! The program: parses the command line, runs one mode and returns the exit code.

mod cli;
mod config;
mod control_room;
mod options;
mod picture;
mod progress;
mod semantic;
mod subcommands;
mod why;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::cli::{Cli, Mode, ReportFormat};
use crate::drills::scenario::{self, RunError};
use crate::event::CallId;
use crate::event::UserId;
use crate::report::charts;
use crate::session::{SessionConfig, SessionError};
use crate::settings::LatencyProfile;
use crate::settings::file::{self, ConfigError};
use crate::simulator::{FaultControl, Simulator, SimulatorConfig};
use crate::text::SafeText;
use crate::time::Clock;
use crate::tui::playback::{self, Input, Recording};
use clap::Parser as _;
use color_eyre::eyre;

/// Exit code for an error of usage or configuration.
const USAGE: u8 = 2;

/// Exit code for an unreachable upstream.
const UNREACHABLE: u8 = 3;

/// Exit code after SIGINT: 128 plus the number of the signal.
const INTERRUPTED: u8 = 130;

/// Exit code after SIGTERM.
const TERMINATED: u8 = 143;

/// Exit code of a program killed by SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        // stdout was closed (`| head`): exit quietly
        Err(error) if is_broken_pipe(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            // the whole chain on one line, sanitised: it may quote text of a server or a file
            let chain = SafeText::new(&format!("{error:#}")).single_line();
            drop(writeln!(std::io::stderr(), "seawall: {chain}"));
            let usage = error.downcast_ref::<ConfigError>().is_some()
                || error.downcast_ref::<RunError>().is_some()
                || error.downcast_ref::<charts::WriteError>().is_some()
                || error.downcast_ref::<SessionError>().is_some();
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

/// Returns true if stdout was closed.
fn is_broken_pipe(error: &eyre::Report) -> bool {
    let printing = error.downcast_ref::<std::io::Error>();
    printing.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: &Cli) -> eyre::Result<u8> {
    // one core is left to this thread, which draws and reads keys: a burst must not delay them
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        .enable_all()
        .build()?;
    let code = match &cli.mode {
        Some(Mode::Simulate { port }) => runtime.block_on(simulate(cli, *port)),
        Some(Mode::Picture { file, size }) => picture(file, size),
        Some(Mode::Scenarios) => subcommands::scenarios(),
        Some(Mode::Policy { name, settings }) => policy(name, *settings),
        Some(Mode::Fuzz { count, journal }) => {
            subcommands::fuzz(cli.seed.unwrap_or(0), *count, journal.as_deref())
        }
        Some(Mode::Run {
            scenario,
            policy,
            format,
            json,
            charts,
            journal,
            real,
            explain,
        }) => {
            let mut scene = scenario::load(scenario, policy.as_deref(), cli.seed)?;
            scene.watch = explain.map(CallId);
            let upstream = scenario::Upstream {
                server: if *real { options::upstream(cli)? } else { None },
                model: cli.model.clone(),
            };
            if *real {
                scene.check_real_time()?;
            }
            // created last: an invalid run must not truncate the journal of an earlier one
            let journal = journal.as_deref().map(options::create).transpose()?;
            let progress =
                progress::Progress::start("ms of scenario time", scene.scenario.duration.as_millis() as u64);
            let outcome = if *real {
                runtime.block_on(scenario::in_real_time(&scene, upstream, journal, &progress.at))
            } else {
                scenario::in_virtual_time(&scene, journal, &progress.at)
            };
            progress.end();
            let format = if *json { ReportFormat::Json } else { *format };
            subcommands::report(&scene, outcome, *real, format, charts.as_deref())
        }
        Some(Mode::Compare(args)) => subcommands::comparison(args, cli.seed),
        Some(Mode::Check { file }) => subcommands::check_journal(file),
        Some(Mode::Replay { file }) => runtime.block_on(replay(cli, file)),
        Some(Mode::Why { file, call, json }) => {
            why::why(file, *call, *json, &mut std::io::stdout(), &mut std::io::stderr())
        }
        Some(Mode::Semantic {
            eval,
            threshold,
            json,
        }) => match eval {
            None => semantic::explain_semantic(),
            Some(file) => {
                let embedder = cli
                    .embedder
                    .as_deref()
                    .map(|url| semantic::http_embedder(cli, url))
                    .transpose()?;
                runtime.block_on(semantic::evaluate_pairs(
                    file.as_deref(),
                    embedder.as_ref(),
                    *threshold,
                    *json,
                ))
            }
        },
        None => control_room::open(cli, &runtime),
    };
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

/// Prints a policy as a file, or its settings as a list.
fn policy(name: &str, as_list: bool) -> eyre::Result<u8> {
    let policy = file::load_policy(name)?;
    let text = if as_list {
        file::settings_list(&policy)
    } else {
        file::policy_to_toml(&policy)
    };
    write!(std::io::stdout(), "{text}")?;
    Ok(0)
}

/// Replays a journal.
async fn replay(cli: &Cli, file: &Path) -> eyre::Result<u8> {
    let name = SafeText::new(&file.display().to_string()).single_line();
    if !options::has_terminal() {
        let message = format!("seawall: replay needs a terminal; without one, use: seawall why {name}");
        writeln!(std::io::stderr(), "{message}")?;
        return Ok(USAGE);
    }
    let opened = File::open(file).map_err(|error| ConfigError::Unreadable {
        path: file.to_owned(),
        error,
    })?;
    let input = Input::from_file(opened).map_err(|error| ConfigError::Unreadable {
        path: file.to_owned(),
        error,
    })?;
    let progress = progress::Progress::start("bytes of the journal", input.len());
    let recording = Recording::load(input, &progress.at);
    progress.end();
    let recording = match recording {
        Ok(recording) => recording,
        Err(error) => {
            writeln!(std::io::stderr(), "seawall: {name}: {error}")?;
            return Ok(USAGE);
        }
    };
    let users = if cli.users.is_empty() {
        recording.possible_users()
    } else {
        let named = file::resolve_users(&cli.users, &recording.header.policy, &[])?;
        named.iter().map(|name| UserId::new(name)).collect()
    };
    let damage = recording.damage.clone();
    let summary = playback::show(recording, control_room::screen(cli, users)).await?;
    if let Some((_, full)) = damage {
        // the screen shows it briefly and may truncate it
        drop(writeln!(std::io::stderr(), "seawall: {name}: {full}"));
    }
    Ok(summary.exit.code())
}

/// Writes the picture of the README.
fn picture(file: &Path, size: &str) -> eyre::Result<u8> {
    let cells = size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let Some((columns, rows)) =
        cells.filter(|(w, h): &(u16, u16)| (1..=500).contains(w) && (1..=200).contains(h))
    else {
        writeln!(
            std::io::stderr(),
            "seawall: --size {size}: expected COLUMNSxROWS, for example 120x40"
        )?;
        return Ok(USAGE);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let svg = runtime.block_on(picture::draw(columns, rows, file::load_faults("outage")?))?;
    std::fs::write(file, svg).map_err(|error| eyre::eyre!("cannot write {}: {error}", file.display()))?;
    Ok(0)
}

/// Runs the simulator until a signal.
async fn simulate(cli: &Cli, port: u16) -> eyre::Result<u8> {
    let faults = file::load_faults(&cli.faults)?;
    let name = faults.name.clone();
    let config = SimulatorConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        port,
        latency: LatencyProfile::default(),
        capacity: None,
        upstream: cli
            .upstream
            .as_deref()
            .map(|url| config::upstream(url, cli.insecure_http))
            .transpose()?,
        extra_roots: options::extra_roots(cli)?,
    };
    let simulator = Simulator::start(
        config,
        FaultControl::new(faults, true),
        Arc::new(()),
        Clock::start(),
    )
    .await
    .map_err(SessionError::Simulator)?;
    writeln!(
        std::io::stdout(),
        "simulator at http://{}/v1, faults: {name}; Ctrl-C stops it",
        simulator.addr()
    )?;
    let code = wait_for_signal().await?;
    simulator.shutdown().await;
    Ok(code)
}

/// Waits for SIGINT or SIGTERM and returns the exit code.
async fn wait_for_signal() -> eyre::Result<u8> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupt = tokio::signal::ctrl_c() => {
            interrupt?;
            Ok(INTERRUPTED)
        }
        _ = terminate.recv() => Ok(TERMINATED),
    }
}
