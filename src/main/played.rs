//! What is played or read without a session: scenarios, worlds, comparisons, journals.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::Arc;

use color_eyre::eyre;
use seawall::charts;
use seawall::check::{self, CheckError};
use seawall::cli::{CompareArgs, ReportFormat, TableFormat};
use seawall::compare::{self, Wanted};
use seawall::config::ConfigError;
use seawall::explain;
use seawall::journal;
use seawall::scenario::{self, RunError, worlds};
use seawall::text::SafeText;

use super::progress::Progress;
use super::{UNREACHABLE, USAGE, options};

/// The bundled scenarios, a line each.
pub(crate) fn scenarios() -> eyre::Result<u8> {
    let mut out = std::io::stdout();
    for (name, _) in scenario::bundled() {
        let scene = scenario::load(name, None, None)?;
        writeln!(out, "{name:<22} {}", scene.scenario.about)?;
    }
    Ok(0)
}

/// Plays random worlds.
pub(crate) fn worlds(first: u64, count: u64, journal: Option<&Path>) -> eyre::Result<u8> {
    if let Some(path) = journal {
        if count != 1 {
            let message = "seawall: --journal is for a single world: add --count 1";
            writeln!(std::io::stderr(), "{message}")?;
            return Ok(USAGE);
        }
        let scene = worlds::world(first);
        let outcome = scenario::in_virtual_time(&scene, Some(options::create(path)?), &Arc::default());
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

/// Prints what came of a scenario, and gives the exit code for it.
pub(crate) fn report(
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

/// One world under several policies.
pub(crate) fn comparison(args: &CompareArgs, seed: Option<u64>) -> eyre::Result<u8> {
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

/// A journal against the invariants.
pub(crate) fn check_journal(file: &Path) -> eyre::Result<u8> {
    let name = SafeText::new(&file.display().to_string()).single_line();
    let input: Box<dyn Read + Send> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        let opened = File::open(file).map_err(|error| ConfigError::Unreadable {
            path: file.to_owned(),
            error,
        })?;
        Box::new(opened)
    };
    let checked = journal::read_in_parallel(input)
        .map_err(CheckError::from)
        .and_then(|(header, pieces)| check::check(&header, pieces.lines()));
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
