//! The program: parses the command line, runs one mode and returns the exit code.

mod applies;
mod cli;
mod config;
mod control_room;
mod exit;
mod keys;
mod options;
mod output;
mod picture;
mod progress;
mod prompt_history;
mod semantic;
mod serve;
mod subcommands;
mod why;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::cli::{Cli, Mode, ReportFormat};
use crate::app::exit::Exits;
use crate::app::output::OutputFile;
use crate::drills::scenario::{self, RunError};
use crate::event::CallId;
use crate::event::UserId;
use crate::gateway::GatewayError;
use crate::report::charts;
use crate::session::{SessionConfig, SessionError};
use crate::settings::LatencyProfile;
use crate::settings::file::{self, ConfigError};
use crate::simulator::{FaultControl, Simulator, SimulatorConfig};
use crate::text::SafeText;
use crate::time::Clock;
use crate::tui::playback::{self, Input, Recording};
use crate::tui::signals::Signals;
use crate::tui::terminal::is_gone;
use crate::tui::{Exit, TuiError};
use color_eyre::eyre;
use tokio_util::sync::CancellationToken;

/// Exit code for an error of usage or configuration.
const USAGE: u8 = 2;

/// Exit code for an unreachable upstream.
const UNREACHABLE: u8 = 3;

/// Exit code of a program killed by SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Runs the program and returns its exit code.
pub fn main() -> ExitCode {
    // first: SIGTERM has its exit code at any time
    let exits = match Exits::install() {
        Ok(exits) => exits,
        Err(error) => {
            complain(format_args!("cannot handle signals: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let cli = match applies::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let code = run(&cli, &exits).unwrap_or_else(|error| failed(&error));
    ExitCode::from(exits.code(code))
}

/// Prints an error and returns its exit code.
fn failed(error: &eyre::Report) -> u8 {
    let printing = error.downcast_ref::<std::io::Error>();
    // stdout was closed (`| head`), or the terminal: exit quietly
    if printing.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return BROKEN_PIPE;
    }
    if printing.is_some_and(is_gone) || error.downcast_ref().is_some_and(TuiError::is_hang_up) {
        return Exit::HungUp.code();
    }
    // the whole chain on one line, sanitised: it may quote text of a server or a file
    complain(SafeText::new(&format!("{error:#}")).single_line());
    let usage = error.downcast_ref::<ConfigError>().is_some()
        || error.downcast_ref::<RunError>().is_some()
        || error.downcast_ref::<charts::WriteError>().is_some()
        || error.downcast_ref::<GatewayError>().is_some()
        || error.downcast_ref::<SessionError>().is_some();
    if usage { USAGE } else { 1 }
}

/// Prints a message to stderr. It may be closed, which changes neither the result nor the exit code.
fn complain(message: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "seawall: {message}"));
}

fn run(cli: &Cli, exits: &Exits) -> eyre::Result<u8> {
    // this thread, which draws and reads keys, competes for a core only under full load, and gets its share
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .enable_all()
        .build()?;
    let code = match &cli.mode {
        Some(Mode::Simulate { port }) => runtime.block_on(simulate(cli, *port, exits)),
        Some(Mode::Serve { .. }) if cli.listen.is_none() => {
            complain("`seawall serve` needs an address: add --listen 127.0.0.1:4000");
            Ok(USAGE)
        }
        Some(Mode::Serve { log, .. }) => runtime.block_on(serve::serve(cli, *log, exits)),
        Some(Mode::Picture { file, size }) => picture(file, size, cli.overwrite),
        Some(Mode::Key { action }) => keys::run(cli, action),
        Some(Mode::Scenarios) => subcommands::scenarios(),
        Some(Mode::Policy { name, settings }) => policy(name, *settings),
        Some(Mode::Fuzz { count, journal }) => {
            let journal = OutputFile::maybe("--journal", journal.as_deref(), cli.overwrite);
            subcommands::fuzz(cli.seed.unwrap_or(0), *count, journal?)
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
            output::check_folder("--charts", charts.as_deref(), &charts::RUN_FILES, cli.overwrite)?;
            let scene = Arc::new(scene);
            let journal = OutputFile::maybe("--journal", journal.as_deref(), cli.overwrite)?;
            let progress =
                progress::Progress::start("ms of scenario time", scene.scenario.duration.as_millis() as u64);
            let outcome = if *real {
                let run = scenario::in_real_time(&scene, upstream, journal, &progress.at);
                runtime.block_on(unless_ended(run, exits))
            } else {
                let end = CancellationToken::new();
                let at = Arc::clone(&progress.at);
                let run = scenario::in_virtual_time_aside(Arc::clone(&scene), journal, at, end.clone());
                runtime.block_on(until_ended(run, &end, exits))
            };
            progress.end();
            let format = if *json { ReportFormat::Json } else { *format };
            match outcome? {
                Ok(outcome) => subcommands::report(&scene, outcome, *real, format, charts.as_deref()),
                Err(exit) => Ok(exit.code()),
            }
        }
        Some(Mode::Compare(args)) => subcommands::comparison(args, cli.seed, cli.overwrite),
        Some(Mode::Check { file }) => subcommands::check_journal(file),
        Some(Mode::Replay { file }) => runtime.block_on(replay(cli, file, exits)),
        Some(Mode::Why { file, call, json }) => {
            why::why(file, *call, *json, &mut std::io::stdout(), &mut std::io::stderr())
        }
        Some(Mode::Semantic {
            eval,
            threshold,
            json,
        }) => match eval {
            None => semantic::explain_semantic(),
            Some(file) => runtime.block_on(semantic::evaluate_pairs(cli, file.as_deref(), *threshold, *json)),
        },
        Some(Mode::Tour) | None => control_room::open(cli, &runtime, exits),
    };
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

/// Runs a task to its end, or until a signal: then it is dropped, which saves its files.
async fn unless_ended<T>(task: impl Future<Output = T>, exits: &Exits) -> std::io::Result<Result<T, Exit>> {
    let mut signals = Signals::listen()?;
    let _hold = exits.hold();
    Ok(tokio::select! {
        biased;
        exit = signals.ended() => Err(exit),
        output = task => Ok(output),
    })
}

/// Runs a task to its end. A signal cancels `end`, after which the task saves its files and returns.
async fn until_ended<T>(
    task: impl Future<Output = T>,
    end: &CancellationToken,
    exits: &Exits,
) -> std::io::Result<Result<T, Exit>> {
    let mut signals = Signals::listen()?;
    let _hold = exits.hold();
    let mut task = std::pin::pin!(task);
    let exit = tokio::select! {
        biased;
        exit = signals.ended() => exit,
        output = &mut task => return Ok(Ok(output)),
    };
    end.cancel();
    drop(tokio::time::timeout(control_room::STUCK, task).await);
    Ok(Err(exit))
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
async fn replay(cli: &Cli, file: &Path, exits: &Exits) -> eyre::Result<u8> {
    let name = SafeText::new(&file.display().to_string()).single_line();
    if !options::has_terminal() {
        complain(format_args!(
            "replay needs a terminal; without one, use: seawall why {name}"
        ));
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
        Ok(mut recording) => {
            recording.name = SafeText::new(&file.file_name().unwrap_or_default().to_string_lossy());
            recording
        }
        Err(error) => {
            complain(format_args!("{name}: {error}"));
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
    let signals = Signals::listen()?;
    let _hold = exits.hold();
    let summary = Box::pin(playback::show(
        recording,
        signals,
        control_room::screen(cli, users),
    ))
    .await?;
    if let Some((_, full)) = damage {
        // the screen shows it briefly and may truncate it
        complain(format_args!("{name}: {full}"));
    }
    Ok(summary.exit.code())
}

/// Writes the picture of the README.
fn picture(file: &Path, size: &str, overwrite: bool) -> eyre::Result<u8> {
    let cells = size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let Some((columns, rows)) =
        cells.filter(|(w, h): &(u16, u16)| (1..=500).contains(w) && (1..=200).contains(h))
    else {
        complain(format_args!(
            "--size {size}: expected COLUMNSxROWS, for example 120x40"
        ));
        return Ok(USAGE);
    };
    let mut output = OutputFile::open("picture", file, overwrite)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let svg = runtime.block_on(picture::draw(columns, rows, file::load_faults("outage")?))?;
    output
        .write_all(svg.as_bytes())
        .map_err(|error| ConfigError::Unwritable {
            path: file.to_owned(),
            error,
        })?;
    Ok(0)
}

/// Runs the simulator until a signal.
async fn simulate(cli: &Cli, port: u16, exits: &Exits) -> eyre::Result<u8> {
    let faults = file::load_faults(cli.faults.as_deref().unwrap_or("mixed"))?;
    let name = faults.name.clone();
    let upstream = cli
        .upstream
        .as_deref()
        .map(|url| config::upstream(url, cli.insecure_http))
        .transpose()?;
    options::warn(upstream.as_ref().and_then(|url| config::exposure(url, false)));
    let config = SimulatorConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        port,
        latency: LatencyProfile::default(),
        capacity: None,
        upstream,
        extra_roots: options::extra_roots(cli)?,
    };
    let mut signals = Signals::listen()?;
    let hold = exits.hold();
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
    let exit = signals.ended().await;
    // a second signal ends it without waiting for open connections
    drop(hold);
    simulator.shutdown().await;
    Ok(exit.code())
}
