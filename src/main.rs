//! The seawall program: reads the command line, opens one mode, and is the only place that ends the process.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser as _;
use color_eyre::eyre;
use rustls::pki_types::CertificateDer;
use seawall::bus::{Bus, Tap};
use seawall::charts;
use seawall::check::{self, CheckError};
use seawall::cli::{Cli, ColorChoice, CompareArgs, Mode, PanicIn, ReportFormat, SemanticChoice, TableFormat};
use seawall::client::{EmbedderConfig, HttpEmbedder};
use seawall::compare::{self, Wanted};
use seawall::config::{self, ConfigError};
use seawall::drill::{self, DrillError};
use seawall::engine;
use seawall::evaluate;
use seawall::event::CallId;
use seawall::event::UserId;
use seawall::explain;
use seawall::journal::{self, Header, Journal, LiveJournal};
use seawall::labels::Keeper;
use seawall::record::{Place, Recorder};
use seawall::replay::{self, Recording};
use seawall::scenario::{self, RunError, worlds};
use seawall::session::{Session, SessionConfig, SessionError, USERS, UpstreamConfig};
use seawall::settings::{LatencyProfile, Policy, SemanticMode, SemanticSettings};
use seawall::simulator::{FaultControl, Simulator, SimulatorConfig};
use seawall::text::SafeText;
use seawall::time::{Clock, unix_seconds};
use seawall::tui::{self, theme};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Usage or configuration.
const USAGE: u8 = 2;
/// Upstream unreachable.
const UNREACHABLE: u8 = 3;
/// Ended by a signal: 128 plus its number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
/// As a program ends that SIGPIPE kills.
const BROKEN_PIPE: u8 = 141;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(code) => ExitCode::from(code),
        // who read our output has gone, as `| head` does: nobody is there to tell, and nothing is wrong
        Err(error) if is_broken_pipe(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            // the whole chain on one line: what failed, and why; words of others may be in it
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

/// Whether printing failed because nobody reads.
fn is_broken_pipe(error: &eyre::Report) -> bool {
    let printing = error.downcast_ref::<std::io::Error>();
    printing.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn run(cli: &Cli) -> eyre::Result<u8> {
    // one core is left to this thread, which draws and hears the keys: a burst must not make them wait
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores.saturating_sub(1).max(1))
        .enable_all()
        .build()?;
    let code = match &cli.mode {
        Some(Mode::Simulate { port }) => runtime.block_on(simulate(cli, *port)),
        Some(Mode::Picture { file, size }) => picture(file, size),
        Some(Mode::Scenarios) => scenarios(),
        Some(Mode::Worlds { count, journal }) => worlds(cli.seed.unwrap_or(0), *count, journal.as_deref()),
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
                server: if *real { upstream(cli)? } else { None },
                model: cli.model.clone(),
            };
            if *real {
                scene.fits_real_time()?;
            }
            // last of all: a run that is refused must not empty the journal of an earlier one
            let journal = journal.as_deref().map(create).transpose()?;
            let progress = Progress::start("ms of the scenario", scene.scenario.duration.as_millis() as u64);
            let outcome = if *real {
                runtime.block_on(scenario::in_real_time(&scene, upstream, journal, &progress.at))
            } else {
                scenario::in_virtual_time(&scene, journal, &progress.at)
            };
            progress.end();
            let format = if *json { ReportFormat::Json } else { *format };
            report(&scene, outcome, *real, format, charts.as_deref())
        }
        Some(Mode::Compare(args)) => comparison(args, cli.seed),
        Some(Mode::Check { file }) => check_journal(file),
        Some(Mode::Replay { file }) => runtime.block_on(replay(cli, file)),
        Some(Mode::Why { file, call, json }) => {
            explain::why(file, *call, *json, &mut std::io::stdout(), &mut std::io::stderr())
        }
        Some(Mode::Semantic {
            eval,
            threshold,
            json,
        }) => match eval {
            None => explain_semantic(),
            Some(file) => {
                let embedder = cli
                    .embedder
                    .as_deref()
                    .map(|url| http_embedder(cli, url))
                    .transpose()?;
                runtime.block_on(evaluate_pairs(
                    file.as_deref(),
                    embedder.as_ref(),
                    *threshold,
                    *json,
                ))
            }
        },
        None => live(cli, &runtime),
    };
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    code
}

/// A session of its own: on the screen, or as a drill.
fn live(cli: &Cli, runtime: &tokio::runtime::Runtime) -> eyre::Result<u8> {
    let config = session_config(cli)?;
    if let Some(refused) = refused_record(cli) {
        writeln!(std::io::stderr(), "seawall: {refused}")?;
        return Ok(USAGE);
    }
    if cli.no_tui || !has_terminal() {
        runtime.block_on(headless(cli, config))
    } else {
        // on this thread, not in a task: a panic here gives the terminal back, one in a task must not
        runtime.block_on(control_room(cli, config))
    }
}

/// The real upstream the command line names, if it names one.
fn upstream(cli: &Cli) -> eyre::Result<Option<UpstreamConfig>> {
    let Some(text) = &cli.upstream else {
        return Ok(None);
    };
    let url = config::upstream(text)?;
    let api_key = config::api_key(&url, cli.api_key_file.as_deref(), |name| std::env::var(name).ok())?;
    Ok(Some(UpstreamConfig {
        url,
        api_key,
        extra_roots: extra_roots(cli)?,
    }))
}

/// The certificates that the command line adds to those of the system.
fn extra_roots(cli: &Cli) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let roots = cli.ca_file.as_deref().map(config::ca_file).transpose()?;
    Ok(roots.unwrap_or_default())
}

/// The policy the command line asks for, with the labels that were kept for it.
fn policy(cli: &Cli) -> eyre::Result<Policy> {
    let mut policy = config::policy(&cli.policy)?;
    if let Some(file) = labels_file(cli) {
        config::add_labels(&mut policy, &file)?;
    }
    if let Some(mode) = cli.semantic {
        policy.semantic.mode = match mode {
            SemanticChoice::On => SemanticMode::On,
            SemanticChoice::Shadow => SemanticMode::Shadow,
            SemanticChoice::Off => SemanticMode::Off,
        };
    }
    if let Some(url) = &cli.embedder {
        policy.semantic.embedder = Some(url.clone());
    }
    // a file may name one too
    if let Some(url) = &policy.semantic.embedder {
        config::embedder(url)?;
    }
    Ok(policy)
}

/// Where labels are kept.
fn labels_file(cli: &Cli) -> Option<PathBuf> {
    config::labels_file(&cli.policy, |name| std::env::var_os(name))
}

/// What is written down of a session. Finished after it.
struct Written {
    labels: Keeper,
    journal: Option<LiveJournal>,
}

impl Written {
    /// Writes what still waits. Tells where the journal could not be written to its end.
    fn finish(self) -> eyre::Result<()> {
        self.labels.finish();
        let Some(journal) = self.journal else {
            return Ok(());
        };
        let ended = journal.finish();
        ended.map_err(|error| eyre::eyre!("the journal is not complete: {error}"))
    }
}

/// A session whose labels are kept, and whose events are if that was asked for.
async fn start(
    cli: &Cli,
    config: SessionConfig,
    recorder: Option<&Recorder>,
) -> eyre::Result<(Session, Written)> {
    let mut labels = Keeper::new(&config.policy.semantic, labels_file(cli));
    let header = Header::live(config.seed, config.policy.clone(), unix_seconds());
    let journal = match &cli.journal {
        Some(path) => Some(LiveJournal::start(Journal::try_new(create(path)?, &header)?)?),
        None => None,
    };
    let taps = [
        Some(Box::new(labels.tap()) as Tap),
        journal.as_ref().map(|journal| Box::new(journal.tap()) as Tap),
        recorder.map(|recorder| Box::new(recorder.tap()) as Tap),
    ];
    let mut taps: Vec<Tap> = taps.into_iter().flatten().collect();
    let clock = Clock::start();
    let tap: Tap = Box::new(move |event| taps.iter_mut().for_each(|tap| tap(event)));
    let bus = Bus::tapped(clock, tap);
    labels.start(bus.clone())?;
    let session = Session::start_on(config, clock, bus).await?;
    Ok((session, Written { labels, journal }))
}

/// What the command line asks for.
fn session_config(cli: &Cli) -> eyre::Result<SessionConfig> {
    let policy = policy(cli)?;
    let users = config::users(&cli.users, &policy, &USERS)?;
    Ok(SessionConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        policy,
        users: users.iter().map(|name| UserId::new(name)).collect(),
        faults: config::faults(&cli.faults)?,
        upstream: upstream(cli)?,
        embedder_key: config::embedder_key(|name| std::env::var(name).ok()),
        embedder_roots: extra_roots(cli)?,
        model: cli.model.clone(),
        answer_tokens: cli.max_tokens,
        ..SessionConfig::default()
    })
}

/// Whether there is a terminal to draw on and to read keys from.
fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// How the screen looks and behaves.
fn screen(cli: &Cli, users: Vec<UserId>) -> tui::TuiOptions {
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
    tui::TuiOptions {
        mouse: !cli.no_mouse,
        theme: theme::choose(&environment, color, cli.ascii),
        users,
        profiles: config::bundled_faults(),
    }
}

/// A recorded session on the screen.
async fn replay(cli: &Cli, file: &Path) -> eyre::Result<u8> {
    let name = SafeText::new(&file.display().to_string()).single_line();
    if !has_terminal() {
        let message = format!(
            "seawall: a replay needs a terminal; without one, read the journal with: seawall why {name}"
        );
        writeln!(std::io::stderr(), "{message}")?;
        return Ok(USAGE);
    }
    let opened = File::open(file).map_err(|error| ConfigError::Unreadable {
        path: file.to_owned(),
        error,
    })?;
    let recording = match Recording::load(BufReader::new(opened)) {
        Ok(recording) => recording,
        Err(error) => {
            writeln!(std::io::stderr(), "seawall: {name}: {error}")?;
            return Ok(USAGE);
        }
    };
    let users = config::users(&cli.users, &recording.header.policy, &USERS)?;
    let users = users.iter().map(|name| UserId::new(name)).collect();
    let summary = replay::show(recording, screen(cli, users)).await?;
    Ok(summary.exit.code())
}

/// The control room.
async fn control_room(cli: &Cli, config: SessionConfig) -> eyre::Result<u8> {
    let recorder = Recorder::new(&config);
    let (session, written) = start(cli, config, Some(&recorder)).await?;
    let (commands, obeyed) = mpsc::channel(engine::COMMANDS);
    let quit = CancellationToken::new();
    let (state, feed) = session.watch().into_parts();
    let view = tui::Session {
        feed,
        state,
        commands: Some(commands),
        keeper: Some(drills(&session, &recorder, place(cli))),
        clock: session.clock(),
        quit,
    };
    let options = screen(cli, session.engine().users().to_vec());
    let engine = session.engine().clone().heard_by(recorder.ear());
    session.spawn(async move { engine.run(obeyed).await });
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
    // the summary is taken after the end, so that stopped calls have their fate in it
    let bus = session.bus().clone();
    recorder.end(clock.now());
    session.shutdown().await;
    let written = written.finish();
    let kept = match &cli.record {
        Some(file) => Some(keep(&recorder, clock, Place::File(file.clone())).await),
        None => None,
    };
    let summary = shown?;
    if summary.exit == tui::Exit::HungUp {
        // nobody is there to read anything
        return Ok(summary.exit.code());
    }
    let mut out = std::io::stdout();
    write!(out, "{}", bus.with_state(drill::summary))?;
    for panic in &summary.panics {
        writeln!(std::io::stderr(), "seawall: a background task panicked: {panic}")?;
    }
    written?;
    match kept {
        None => {}
        Some(Ok(sentence)) => writeln!(out, "drill     {sentence}")?,
        Some(Err(sentence)) => {
            writeln!(std::io::stderr(), "seawall: no drill saved: {sentence}")?;
            return Ok(summary.exit.code().max(1));
        }
    }
    Ok(summary.exit.code())
}

/// Why `--record` cannot be obeyed, if so.
fn refused_record(cli: &Cli) -> Option<String> {
    let file = cli.record.as_ref()?;
    if !has_terminal() {
        return Some("--record keeps what is done in the control room, and there is no terminal here".into());
    }
    let name = SafeText::new(&file.to_string_lossy()).single_line();
    let exists = file.symlink_metadata().is_ok();
    exists.then(|| format!("--record {name}: that file is there already; name one that is not"))
}

/// Where drills are kept: in the file that was asked for, or here under the date.
fn place(cli: &Cli) -> Place {
    match &cli.record {
        Some(file) => Place::File(file.clone()),
        None => Place::Dated(PathBuf::new()),
    }
}

/// Who keeps drills while the screen is open.
fn drills(session: &Session, recorder: &Recorder, place: Place) -> tui::Keeper {
    let (asked, mut wanted) = mpsc::channel(1);
    let (tell, told) = mpsc::channel(1);
    let (recorder, clock) = (recorder.clone(), session.clock());
    session.spawn(async move {
        while wanted.recv().await.is_some() {
            let kept = keep(&recorder, clock, place.clone()).await;
            let sentence = kept.unwrap_or_else(|sentence| format!("no drill saved: {sentence}"));
            if tell.send(sentence).await.is_err() {
                return;
            }
        }
    });
    tui::Keeper { asked, told }
}

/// Keeps what was done until now, on a thread of its own; in words what came of it.
async fn keep(recorder: &Recorder, clock: Clock, place: Place) -> Result<String, String> {
    let (recorder, now) = (recorder.clone(), clock.now());
    let saved = tokio::task::spawn_blocking(move || recorder.drill(now).save(&place, unix_seconds()));
    match saved.await {
        Ok(Ok(saved)) => Ok(saved.to_string()),
        Ok(Err(error)) => Err(SafeText::new(&error.to_string()).single_line()),
        Err(_) => Err("playing it headless failed".to_owned()),
    }
}

/// By then the first frame is drawn.
const FIRST_FRAME: std::time::Duration = std::time::Duration::from_millis(500);

/// For `--panic-in`.
#[expect(clippy::panic, reason = "the panic is what is asked for")]
fn panic_on_purpose(place: &str) -> ! {
    panic!("asked to panic in {place}")
}

/// The drill, for pipes and CI.
async fn headless(cli: &Cli, config: SessionConfig) -> eyre::Result<u8> {
    if !cli.no_tui {
        writeln!(
            std::io::stderr(),
            "seawall: no terminal here, so the drill runs instead of the control room"
        )?;
    }
    let faults = config.faults.clone();
    let (session, written) = start(cli, config, None).await?;
    let report = drill::run(&session, &faults).await;
    session.shutdown().await;
    let written = written.finish();
    match report {
        Ok(report) => {
            write!(std::io::stdout(), "{}", report.text)?;
            written?;
            Ok(u8::from(!report.recovered))
        }
        Err(DrillError::Unreachable(message)) => {
            writeln!(std::io::stderr(), "seawall: {message}")?;
            Ok(UNREACHABLE)
        }
    }
}

/// The bundled scenarios, a line each.
fn scenarios() -> eyre::Result<u8> {
    let mut out = std::io::stdout();
    for (name, _) in scenario::bundled() {
        let scene = scenario::load(name, None, None)?;
        writeln!(out, "{name:<22} {}", scene.scenario.about)?;
    }
    Ok(0)
}

/// Plays random worlds.
fn worlds(first: u64, count: u64, journal: Option<&Path>) -> eyre::Result<u8> {
    if let Some(path) = journal {
        if count != 1 {
            let message = "seawall: --journal is for a single world: add --count 1";
            writeln!(std::io::stderr(), "{message}")?;
            return Ok(USAGE);
        }
        let scene = worlds::world(first);
        let outcome = scenario::in_virtual_time(&scene, Some(create(path)?), &Arc::default());
        return report(&scene, outcome, false, ReportFormat::Text, None);
    }
    let progress = Progress::start("worlds", count);
    let explored = worlds::explore(first, count, &progress.at);
    progress.end();
    let mut out = std::io::stdout();
    let (played, calls, events) = (explored.worlds, explored.calls, explored.events);
    match &explored.broken {
        None => writeln!(
            out,
            "{played} worlds, {calls} calls, {events} events: every promise kept"
        )?,
        Some(broken) => writeln!(
            out,
            "world {} broke a promise: {}\nalone: seawall worlds --seed {} --count 1 --journal world.ndjson",
            broken.seed, broken.how, broken.seed
        )?,
    }
    Ok(u8::from(explored.broken.is_some()))
}

/// A new file for a journal.
fn create(path: &Path) -> eyre::Result<File> {
    File::create(path).map_err(|error| {
        eyre::Report::new(ConfigError::Unwritable {
            path: path.to_owned(),
            error,
        })
    })
}

/// Prints what came of a scenario, and gives the exit code for it.
fn report(
    scene: &scenario::Scene,
    outcome: Result<scenario::Outcome, RunError>,
    real: bool,
    format: ReportFormat,
    folder: Option<&Path>,
) -> eyre::Result<u8> {
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(RunError::Unreachable(message)) => {
            writeln!(std::io::stderr(), "seawall: {message}")?;
            return Ok(UNREACHABLE);
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout();
    if let Some(watched) = &outcome.watched {
        let name = &scene.scenario.name;
        let json = format == ReportFormat::Json;
        return explain::tell(name, watched, json, &mut out, &mut std::io::stderr());
    }
    if let Some(folder) = folder {
        charts::write_all(folder, &outcome.history.series(&scene.scenario.name).charts()?)?;
    }
    let report = scenario::Report::new(scene, &outcome, !real);
    // not into `out`: serde_json would wrap what printing meets, and a closed pipe would look like a fault
    let text = match format {
        ReportFormat::Text => report.to_string(),
        ReportFormat::Md => report.markdown(),
        ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
        ReportFormat::Junit => report.junit()?,
    };
    write!(out, "{text}")?;
    Ok(u8::from(!report.met))
}

/// How far a long work is, on one line of stderr, where a terminal is there.
struct Progress {
    /// Done so far.
    at: Arc<AtomicU64>,
    over: std::sync::mpsc::Sender<()>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Progress {
    fn start(what: &'static str, whole: u64) -> Self {
        let at = Arc::new(AtomicU64::new(0));
        let (over, ended) = std::sync::mpsc::channel();
        let shown = Arc::clone(&at);
        let thread = std::io::stderr().is_terminal().then(|| {
            std::thread::spawn(move || {
                let every = std::time::Duration::from_millis(100);
                let mut err = std::io::stderr();
                while ended.recv_timeout(every) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                    let done = shown.load(Ordering::Relaxed);
                    let percent = (done as f64 / whole.max(1) as f64 * 100.0).min(100.0);
                    drop(write!(err, "\r{percent:>5.1}%  {done} of {whole} {what}"));
                    drop(err.flush());
                }
                // nothing of it stays
                drop(write!(err, "\r\x1b[K"));
            })
        });
        Self { at, over, thread }
    }

    fn end(self) {
        drop(self.over);
        if let Some(thread) = self.thread {
            drop(thread.join());
        }
    }
}

/// One world under several policies.
fn comparison(args: &CompareArgs, seed: Option<u64>) -> eyre::Result<u8> {
    let wanted = Wanted {
        policies: args.policies.clone(),
        scenario: args.scenario.clone(),
        seed,
        seeds: args.seeds,
        off: args.off.clone(),
        sweep: args.sweep.clone(),
    };
    let plan = wanted.plan()?;
    let progress = Progress::start("runs", plan.seeds * plan.policies.len() as u64);
    let compared = compare::compare(&plan, &progress.at);
    progress.end();
    let compared = compared?;
    let trade_off = args.sweep.as_ref().map(|sweep| compared.trade_off(sweep));
    if let (Some(folder), Some(trade_off)) = (&args.charts, &trade_off) {
        charts::write_all(folder, &[("tradeoff.svg", trade_off.svg()?)])?;
    }
    let text = match args.format {
        _ if args.json => serde_json::to_string_pretty(&compared)?,
        TableFormat::Json => serde_json::to_string_pretty(&compared)?,
        TableFormat::Md => compared.markdown(),
        TableFormat::Text => match &trade_off {
            None => compared.to_string(),
            Some(trade_off) => format!("{compared}\n\n{}", compare::picture(trade_off)),
        },
    };
    writeln!(std::io::stdout(), "{text}")?;
    Ok(0)
}

/// The picture of the README, under virtual time.
fn picture(file: &Path, size: &str) -> eyre::Result<u8> {
    let cells = size
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    let Some((columns, rows)) =
        cells.filter(|(w, h): &(u16, u16)| (1..=500).contains(w) && (1..=200).contains(h))
    else {
        writeln!(
            std::io::stderr(),
            "seawall: --size {size}: write columns x rows, as in 120x40"
        )?;
        return Ok(USAGE);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    let svg = runtime.block_on(seawall::picture::draw(columns, rows, config::faults("outage")?))?;
    std::fs::write(file, svg).map_err(|error| eyre::eyre!("cannot write {}: {error}", file.display()))?;
    Ok(0)
}

/// A journal against the invariants.
fn check_journal(file: &Path) -> eyre::Result<u8> {
    let name = SafeText::new(&file.display().to_string()).single_line();
    let input: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = File::open(file).map_err(|error| ConfigError::Unreadable {
            path: file.to_owned(),
            error,
        })?;
        Box::new(BufReader::new(opened))
    };
    let checked = journal::read(input)
        .map_err(CheckError::from)
        .and_then(|(header, lines)| check::check(&header, lines));
    match checked {
        Ok(summary) => {
            writeln!(std::io::stdout(), "{name}: {summary}")?;
            Ok(0)
        }
        Err(CheckError::Violation(violation)) => {
            writeln!(std::io::stdout(), "{name}: {violation}")?;
            Ok(1)
        }
        Err(CheckError::Journal(error)) => {
            writeln!(std::io::stderr(), "seawall: {name}: {error}")?;
            Ok(USAGE)
        }
    }
}

/// What the semantic cache is.
fn explain_semantic() -> eyre::Result<u8> {
    let text = evaluate::explanation();
    write!(std::io::stdout(), "{text}")?;
    Ok(0)
}

/// The embeddings API that the command line names.
fn http_embedder(cli: &Cli, url: &str) -> eyre::Result<HttpEmbedder> {
    Ok(HttpEmbedder::new(&EmbedderConfig {
        base: config::embedder(url)?,
        model: cli.model.clone(),
        api_key: config::embedder_key(|name| std::env::var(name).ok()),
        extra_roots: extra_roots(cli)?,
        connect_timeout: std::time::Duration::from_secs(5),
        // a list of texts at once, and a small machine
        timeout: std::time::Duration::from_mins(1),
    })?)
}

/// Embedders and guards on pairs of prompts.
async fn evaluate_pairs(
    file: Option<&Path>,
    embedder: Option<&HttpEmbedder>,
    threshold: Option<f64>,
    json: bool,
) -> eyre::Result<u8> {
    if let Some(threshold) = threshold.filter(|threshold| !(*threshold > 0.0 && *threshold <= 1.0)) {
        let message =
            format!("seawall: --threshold {threshold}: write a similarity above 0 and up to 1, as in 0.8");
        writeln!(std::io::stderr(), "{message}")?;
        return Ok(USAGE);
    }
    let (name, text) = match file {
        None => (evaluate::BUNDLED_NAME.to_owned(), evaluate::BUNDLED.to_owned()),
        Some(path) => (path.display().to_string(), config::pairs_file(path)?),
    };
    let pairs = match evaluate::read(&name, &text) {
        Ok(pairs) => pairs,
        Err(error) => {
            writeln!(std::io::stderr(), "seawall: {error}")?;
            return Ok(USAGE);
        }
    };
    let own = threshold.unwrap_or(SemanticSettings::BUILT_IN);
    let mut measured = vec![evaluate::built_in(&pairs, own)];
    if let Some(embedder) = embedder {
        match evaluate::endpoint(embedder, &pairs, threshold).await {
            Ok(figures) => measured.push(figures),
            Err(error) => {
                writeln!(std::io::stderr(), "seawall: {error}")?;
                return Ok(UNREACHABLE);
            }
        }
    }
    let evaluation = evaluate::Evaluation::new(&name, &pairs, measured);
    let mut out = std::io::stdout();
    if json {
        // not into `out`, as in `report`
        let written = serde_json::to_string_pretty(&evaluation)?;
        writeln!(out, "{written}")?;
    } else {
        write!(out, "{evaluation}")?;
    }
    Ok(0)
}

/// The simulator alone, until a signal.
async fn simulate(cli: &Cli, port: u16) -> eyre::Result<u8> {
    let faults = config::faults(&cli.faults)?;
    let name = faults.name.clone();
    let config = SimulatorConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        port,
        latency: LatencyProfile::default(),
        capacity: None,
        upstream: cli.upstream.as_deref().map(config::upstream).transpose()?,
        extra_roots: extra_roots(cli)?,
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
        "simulator at http://{}/v1, faults: {name}; Ctrl-C ends it",
        simulator.addr()
    )?;
    let code = ended_by_signal().await?;
    simulator.shutdown().await;
    Ok(code)
}

/// Waits for SIGINT or SIGTERM, and gives the exit code for it.
async fn ended_by_signal() -> eyre::Result<u8> {
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
