//! Sessions: the control room, the drill without a terminal, and the files both write.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::app::cli::{Cli, ColorChoice, Mode, PanicIn, ThemeChoice};
use crate::app::exit::Exits;
use crate::app::output::OutputFile;
use crate::drills::record::{Recorder, SaveTarget};
use crate::drills::smoke::{self, DrillError};
use crate::drills::whatif::WhatIf;
use crate::event::{Command, Load, UserId};
use crate::gateway::Gateway;
use crate::journal::{Header, Journal, LiveJournal};
use crate::semantic::label_store::LabelWriter;
use crate::session::bus::{Bus, Tap};
use crate::session::engine;
use crate::session::{Session, SessionConfig};
use crate::settings::file::{self, ConfigError, NewFile};
use crate::settings::{FaultProfile, Policy};
use crate::text::{SafeText, units};
use crate::time::{Clock, unix_seconds};
use crate::tui::outputs::{Outputs, SaveChannel, SaveRequest};
use crate::tui::signals::Signals;
use crate::tui::{self, theme};
use color_eyre::eyre;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::prompt_history::{self, PromptWriter};
use super::{UNREACHABLE, USAGE, complain, options, serve};

/// Opens the control room, or runs the drill where there is no terminal.
pub(crate) fn open(cli: &Cli, runtime: &tokio::runtime::Runtime, exits: &Exits) -> eyre::Result<u8> {
    let mut config = options::session_config(cli)?;
    let headless_mode = cli.no_tui || !options::has_terminal();
    if matches!(cli.mode, Some(Mode::Tour)) {
        // the environment may name a real one
        config.upstream = None;
    }
    if let Some(refused) = refused_record(cli).or_else(|| refused_headless(cli).filter(|_| headless_mode)) {
        complain(refused);
        return Ok(USAGE);
    }
    // before signals are left to the mode: a pipe without a reader blocks here
    let journal = OutputFile::maybe("--journal", cli.journal.as_deref(), cli.overwrite)?;
    if headless_mode {
        runtime.block_on(headless(cli, config, journal, exits))
    } else {
        // on this thread, not in a task: a panic here must restore the terminal, one in a task must not
        runtime.block_on(control_room(cli, config, journal, exits))
    }
}

/// Time for the last lines of the files. A pipe without a reader must not hold the program.
pub(crate) const STUCK: Duration = Duration::from_secs(5);

/// The files of a session. Finished after the session.
pub(crate) struct SessionFiles {
    labels: LabelWriter,
    prompts: Option<PromptWriter>,
    journal: LiveJournal,
    /// The file of the journal and its first line, until something is written.
    output: Option<(OutputFile, Header)>,
}

impl SessionFiles {
    /// Starts to write the journal, if one was requested. Nothing is written before.
    pub(crate) fn begin(&mut self) -> eyre::Result<()> {
        let Some((output, header)) = self.output.take() else {
            return Ok(());
        };
        let begun = Journal::try_new(output, &header).and_then(|journal| self.journal.begin(journal));
        begun.map_err(|error| eyre::eyre!("cannot write the journal: {error}"))
    }

    /// The prompts of earlier sessions, and the channel for those of this one, unless there is to be no history.
    fn prompt_history(
        &mut self,
        cli: &Cli,
        session: &Session,
    ) -> io::Result<(Vec<String>, Option<std::sync::mpsc::Sender<String>>)> {
        let file = prompt_history::history_file(|name| std::env::var_os(name));
        let Some(file) = file.filter(|_| !cli.no_history) else {
            return Ok((Vec::new(), None));
        };
        let earlier = prompt_history::load(&file);
        let (writer, prompts) = PromptWriter::start(file, session.bus().clone())?;
        self.prompts = Some(writer);
        Ok((earlier, Some(prompts)))
    }

    /// Writes the queued lines. Fails if the journal is incomplete, or if its pipe takes nothing for [`STUCK`].
    pub(crate) async fn finish(self, clock: Clock) -> eyre::Result<()> {
        let Self {
            labels,
            prompts,
            journal,
            ..
        } = self;
        let written = tokio::task::spawn_blocking(move || {
            labels.finish();
            if let Some(prompts) = prompts {
                prompts.finish();
            }
            journal.finish()
        });
        let ended = tokio::select! {
            written = written => written?,
            () = clock.sleep(STUCK) => Err(io::ErrorKind::TimedOut.into()),
        };
        ended.map_err(|error| eyre::eyre!("the journal is incomplete: {error}"))
    }
}

/// Starts a session that saves labels, and events if a journal was requested.
pub(crate) async fn start(
    cli: &Cli,
    config: SessionConfig,
    output: Option<OutputFile>,
    observers: Option<(&Recorder, &WhatIf)>,
) -> eyre::Result<(Session, SessionFiles)> {
    let mut labels = LabelWriter::new(&config.policy.semantic, options::labels_file(cli));
    let header = Header::live(config.seed, config.policy.clone(), unix_seconds()).with_users(&config.users);
    let output = output.map(|output| (output, header));
    let journal = LiveJournal::waiting();
    let taps = [
        Some(Box::new(labels.tap()) as Tap),
        output.as_ref().map(|_| Box::new(journal.tap()) as Tap),
        observers.map(|(recorder, _)| recorder.tap()),
        observers.map(|(_, what_if)| what_if.tap()),
    ];
    let mut taps: Vec<Tap> = taps.into_iter().flatten().collect();
    let clock = Clock::start();
    let tap: Tap = Box::new(move |event| taps.iter_mut().for_each(|tap| tap(event)));
    let bus = Bus::tapped(clock, tap);
    labels.start(bus.clone())?;
    let session = Session::start_on(config, clock, bus).await?;
    let files = SessionFiles {
        labels,
        prompts: None,
        journal,
        output,
    };
    Ok((session, files))
}

/// The options of the screen.
pub(crate) fn screen(cli: &Cli, users: Vec<UserId>) -> tui::TuiOptions {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let environment = theme::Environment {
        no_color: set("NO_COLOR"),
        term: set("TERM"),
        locale: ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set),
    };
    let color = match cli.color {
        ColorChoice::Auto => theme::ColorChoice::Auto,
        ColorChoice::Always => theme::ColorChoice::Always,
        ColorChoice::Never => theme::ColorChoice::Never,
    };
    let palette = cli.theme.map(|theme| match theme {
        ThemeChoice::Terminal => theme::Palette::Ansi16,
        ThemeChoice::Truecolor => theme::Palette::Truecolor,
        ThemeChoice::HighContrast => theme::Palette::HighContrast,
        ThemeChoice::Mono => theme::Palette::Mono,
    });
    tui::TuiOptions {
        mouse: !cli.no_mouse,
        theme: theme::choose(&environment, color, palette, cli.ascii),
        users,
        profiles: file::bundled_faults(),
        notice: None,
        prompts: Vec::new(),
        editor: set("VISUAL")
            .or_else(|| set("EDITOR"))
            .unwrap_or_else(|| "vi".to_owned()),
        load: cli.load.clone(),
        tour: matches!(cli.mode, Some(Mode::Tour)),
    }
}

/// The profiles to choose from: the bundled ones, and before them that of the command line.
fn choosable(own: FaultProfile) -> Vec<FaultProfile> {
    let bundled = file::bundled_faults();
    let own = Some(own).filter(|own| !bundled.contains(own));
    own.into_iter().chain(bundled).collect()
}

/// Runs the control room.
async fn control_room(
    cli: &Cli,
    config: SessionConfig,
    journal: Option<OutputFile>,
    exits: &Exits,
) -> eyre::Result<u8> {
    let recorder = Recorder::new(&config);
    let faults = config.faults.clone();
    // printed before the screen was drawn, and hidden by it
    let notice = config.upstream.as_ref().and_then(options::exposure);
    let holds_key = serve::holds_key(&config);
    let what_if = WhatIf::default();
    let mut signals = Signals::listen()?;
    let hold = exits.hold();
    let (session, mut files) = tokio::select! {
        biased;
        exit = signals.ended() => return Ok(exit.code()),
        started = start(cli, config, journal, Some((&recorder, &what_if))) => started?,
    };
    let gateway = serve::gateway(cli, &session, holds_key).await?;
    files.begin()?;
    let (earlier, prompts) = files.prompt_history(cli, &session)?;
    let (requests, edited) = watch::channel(None);
    session.spawn(what_if.run(edited, session.bus().clone(), session.clock()));
    let (commands, received) = mpsc::channel(engine::COMMANDS);
    let quit = CancellationToken::new();
    let (state, feed) = session.watch().into_parts();
    let view = tui::Session {
        feed,
        state,
        outputs: Outputs {
            commands: Some(commands),
            saves: Some(save_channel(&session, &recorder, save_target(cli))),
            prompts,
            whatif: requests,
        },
        clock: session.clock(),
        quit,
        signals,
    };
    let options = tui::TuiOptions {
        notice,
        prompts: earlier,
        profiles: choosable(faults),
        ..screen(cli, session.engine().users().to_vec())
    };
    let engine = session.engine().clone().with_observer(recorder.observer());
    session.spawn(async move { engine.run(received).await });
    let clock = session.clock();
    let shown = match cli.panic_in {
        None => tui::run(view, options).await,
        Some(PanicIn::Task) => {
            session.spawn(async move {
                clock.sleep(FIRST_FRAME).await;
                panic_on_purpose("task");
            });
            tui::run(view, options).await
        }
        Some(PanicIn::Ui) => tokio::select! {
            shown = tui::run(view, options) => shown,
            () = clock.sleep(FIRST_FRAME) => panic_on_purpose("ui"),
        },
    };
    // the summary comes after the end, so that it counts cancelled calls
    let bus = session.bus().clone();
    recorder.end(clock.now());
    if let Some(gateway) = &gateway {
        drain(&session, gateway).await?;
    }
    session.shutdown().await;
    let files = files.finish(clock).await;
    let drill = match &cli.record {
        Some(file) => Some(save_drill(&recorder, clock, SaveTarget::File(file.clone())).await),
        None => None,
    };
    drop(hold);
    end(&bus, &shown?, files, drill)
}

/// Lets the running calls of the gateway end. A signal ends the wait.
async fn drain(session: &Session, gateway: &Gateway) -> io::Result<()> {
    let mut signals = Signals::listen()?;
    let running = session.client().held().flights as u64;
    if running > 0 {
        complain(format_args!(
            "waiting for {} of the gateway; Ctrl-C cancels",
            units::count(running, "call")
        ));
    }
    tokio::select! {
        biased;
        _ = signals.ended() => {}
        () = gateway.stop() => {}
    }
    Ok(())
}

/// Prints what the session leaves: the summary, panics, and the drill.
fn end(
    bus: &Bus,
    summary: &tui::Summary,
    files: eyre::Result<()>,
    drill: Option<Result<String, String>>,
) -> eyre::Result<u8> {
    if summary.exit == tui::Exit::HungUp {
        // the terminal is gone
        return Ok(summary.exit.code());
    }
    let mut out = io::stdout();
    write!(out, "{}", bus.with_state(smoke::summary))?;
    for panic in &summary.panics {
        complain(format_args!("a background task panicked: {panic}"));
    }
    files?;
    match drill {
        None => {}
        Some(Ok(message)) => writeln!(out, "drill     {message}")?,
        Some(Err(error)) => {
            complain(format_args!("no drill saved: {error}"));
            return Ok(summary.exit.code().max(1));
        }
    }
    Ok(summary.exit.code())
}

/// Returns the reason why `--record` is not possible.
fn refused_record(cli: &Cli) -> Option<String> {
    let file = cli.record.as_ref()?;
    if !options::has_terminal() {
        return Some("--record needs the interactive control room, but stdout is not a terminal".into());
    }
    let name = SafeText::new(&file.to_string_lossy()).single_line();
    // checked now instead of after an hour
    match OutputFile::open("--record", file, cli.overwrite) {
        Ok(_) => None,
        Err(ConfigError::Unwritable { error, .. }) => Some(format!(
            "--record {name}: cannot create the file: {error}; name a file in a writable directory"
        )),
        Err(error) => Some(error.to_string()),
    }
}

/// Returns the reason why the mode or the load needs a terminal.
fn refused_headless(cli: &Cli) -> Option<String> {
    if matches!(cli.mode, Some(Mode::Tour)) {
        return Some("`seawall tour` needs a terminal, but stdout is not one".into());
    }
    let load = cli.load.as_ref().filter(|load| load.lasts.is_none())?;
    Some(format!(
        "--load '{load}' has no end: without a terminal add a duration, such as '{load} 60s'"
    ))
}

/// The destination of drills: the requested file, or a dated file in this directory.
fn save_target(cli: &Cli) -> SaveTarget {
    match &cli.record {
        Some(file) => SaveTarget::File(file.clone()),
        None => SaveTarget::New(NewFile::Dated(PathBuf::new())),
    }
}

/// Starts the task that saves drills and policies while the screen is open.
fn save_channel(session: &Session, recorder: &Recorder, target: SaveTarget) -> SaveChannel {
    let (requests, mut received) = mpsc::channel(1);
    let (sender, results) = mpsc::channel(1);
    let (recorder, clock) = (recorder.clone(), session.clock());
    session.spawn(async move {
        while let Some(SaveRequest { policy, file }) = received.recv().await {
            let message = match policy {
                None => {
                    let target =
                        file.map_or_else(|| target.clone(), |name| SaveTarget::New(NewFile::Named(name)));
                    save_drill(&recorder, clock, target)
                        .await
                        .unwrap_or_else(|error| format!("no drill saved: {error}"))
                }
                Some(policy) => save_policy(*policy, file)
                    .await
                    .unwrap_or_else(|error| format!("no policy saved: {error}")),
            };
            if sender.send(message).await.is_err() {
                return;
            }
        }
    });
    SaveChannel { requests, results }
}

/// Saves the drill so far on a blocking thread. Returns the message to show.
async fn save_drill(recorder: &Recorder, clock: Clock, target: SaveTarget) -> Result<String, String> {
    let (recorder, now) = (recorder.clone(), clock.now());
    let saved = tokio::task::spawn_blocking(move || recorder.drill(now).save(&target, unix_seconds()));
    match saved.await {
        Ok(Ok(saved)) => Ok(saved.to_string()),
        Ok(Err(error)) => Err(SafeText::new(&error.to_string()).single_line()),
        Err(_) => Err("the headless run failed".to_owned()),
    }
}

/// Saves a policy to a new file; without a name, to a dated one in this directory. Returns the message to show.
async fn save_policy(policy: Policy, file: Option<PathBuf>) -> Result<String, String> {
    let target = file.map_or_else(|| NewFile::Dated(PathBuf::new()), NewFile::Named);
    let saved = tokio::task::spawn_blocking(move || file::save_policy(&policy, &target, unix_seconds()));
    match saved.await {
        Ok(Ok(path)) => {
            let name = SafeText::new(&path.to_string_lossy()).single_line();
            Ok(format!("policy saved: use it with seawall --policy {name}"))
        }
        Ok(Err(error)) => Err(SafeText::new(&error.to_string()).single_line()),
        Err(_) => Err("the write failed".to_owned()),
    }
}

/// Time between two lines of progress of a drill, if stderr is not a terminal.
const PROGRESS: Duration = Duration::from_secs(5);

/// Time by which the first frame is drawn.
const FIRST_FRAME: Duration = Duration::from_millis(500);

/// Panics, for `--panic-in`.
#[expect(clippy::panic, reason = "requested on the command line")]
fn panic_on_purpose(thread: &str) -> ! {
    panic!("panic requested in {thread}")
}

/// Runs the drill, for pipes and CI.
async fn headless(
    cli: &Cli,
    config: SessionConfig,
    journal: Option<OutputFile>,
    exits: &Exits,
) -> eyre::Result<u8> {
    if !cli.no_tui {
        complain("stdout is not a terminal; running the drill instead of the control room");
    }
    if let (Some(load), Some(upstream)) = (&cli.load, &config.upstream)
        && let Some(calls) = load.total()
    {
        let host = SafeText::new(upstream.url.host_str().unwrap_or_default()).single_line();
        complain(format_args!("--load makes {calls} calls to {host}"));
    }
    let faults = config.faults.clone();
    let mut signals = Signals::listen()?;
    let hold = exits.hold();
    let (session, mut files) = tokio::select! {
        biased;
        exit = signals.ended() => return Ok(exit.code()),
        started = start(cli, config, journal, None) => started?,
    };
    let ended = tokio::select! {
        biased;
        exit = signals.ended() => Err(exit),
        report = drill(&session, &mut files, &faults, cli.load.as_ref()) => Ok(report),
    };
    session.shutdown().await;
    let files = files.finish(session.clock()).await;
    drop(hold);
    let report = match ended {
        Ok(report) => report,
        Err(exit) => {
            if let Err(error) = files {
                complain(error);
            }
            return Ok(exit.code());
        }
    };
    let report = match report {
        Ok(report) => report,
        Err(error) => match error.downcast()? {
            DrillError::Unreachable(message) => {
                complain(message);
                return Ok(UNREACHABLE);
            }
        },
    };
    write!(io::stdout(), "{}", report.text)?;
    files?;
    Ok(u8::from(!report.recovered))
}

/// Runs the drill or the load once the upstream is reached, and reports its progress on stderr.
async fn drill(
    session: &Session,
    files: &mut SessionFiles,
    faults: &FaultProfile,
    load: Option<&Load>,
) -> eyre::Result<smoke::Report> {
    smoke::reach(session).await?;
    files.begin()?;
    let part = Arc::new(Mutex::new(String::new()));
    let (bus, shown) = (session.bus().clone(), Arc::clone(&part));
    let name = move || shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let _progress = Progress::of(PROGRESS, move || {
        format!("{}: {}", name(), bus.with_state(smoke::progress))
    });
    if let Some(load) = load {
        "load".clone_into(&mut part.lock().unwrap_or_else(PoisonError::into_inner));
        let load = Some(load.clone());
        session.engine().execute(Command::SetLoad { load });
        session.engine().settled().await;
        let text = session.bus().with_state(smoke::summary);
        return Ok(smoke::Report {
            text,
            recovered: true,
        });
    }
    let begin = |name: &str| name.clone_into(&mut part.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(smoke::run(session, faults, begin).await)
}
