//! Subcommands without a live session: scenarios, fuzzing, comparisons, journal checks.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use crate::app::cli::{CompareArgs, ReportFormat};
use crate::app::output::{self, OutputFile};
use crate::app::why;
use crate::check::{self, CheckError};
use crate::drills::compare::{self, PlanRequest, RecordedInput};
use crate::drills::fuzz;
use crate::drills::recorded;
use crate::drills::scenario::{self, RunError};
use crate::journal::Reader;
use crate::report::charts::{self, Chart};
use crate::report::markdown;
use crate::settings::file;
use crate::text::{SafeText, units};
use color_eyre::eyre;

use super::progress::Progress;
use super::{UNREACHABLE, USAGE, complain};

/// Lists the bundled scenarios.
pub(crate) fn scenarios() -> eyre::Result<u8> {
    let mut out = std::io::stdout();
    for (name, _) in scenario::bundled() {
        let scene = scenario::load(name, None, None)?;
        writeln!(out, "{name:<22} {}", scene.scenario.about)?;
    }
    Ok(0)
}

/// Fuzzes random scenarios.
pub(crate) fn fuzz(first: u64, count: u64, journal: Option<OutputFile>) -> eyre::Result<u8> {
    if journal.is_some() {
        if count != 1 {
            complain("--journal needs a single case: add --count 1");
            return Ok(USAGE);
        }
        let scene = fuzz::case(first);
        let outcome = scenario::in_virtual_time(&scene, journal, &Arc::default());
        return report(&scene, outcome, false, ReportFormat::Text, None);
    }
    let progress = Progress::start("cases", count);
    let summary = fuzz::run(first, count, &progress.at);
    progress.end();
    let mut out = std::io::stdout();
    match &summary.failure {
        None => writeln!(
            out,
            "{}, {}, {}: all invariants hold",
            units::count(summary.cases, "case"),
            units::count(summary.calls, "call"),
            units::count(summary.events, "event")
        )?,
        Some(failure) => writeln!(
            out,
            "case {0} failed: {1}\nrun it alone: seawall fuzz --seed {0} --count 1 --journal case.ndjson",
            failure.seed, failure.problem
        )?,
    }
    Ok(u8::from(summary.failure.is_some()))
}

/// Prints the report of a scenario and returns the exit code.
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
            complain(message);
            return Ok(UNREACHABLE);
        }
        Err(error) => return Err(error.into()),
    };
    let mut out = std::io::stdout();
    if let Some(explained) = &outcome.explained {
        let name = &scene.scenario.name;
        let json = format == ReportFormat::Json;
        return why::print_story(name, explained, json, &mut out, &mut std::io::stderr());
    }
    let drawn = match folder {
        Some(_) => vec![outcome.history.series(&scene.scenario.name).chart()],
        None => Vec::new(),
    };
    let links = write_charts(folder, &drawn)?;
    let report = scenario::Report::new(scene, &outcome, !real);
    // rendered first: serde_json would wrap a broken pipe into an error of its own
    let text = match format {
        ReportFormat::Text => report.to_string(),
        ReportFormat::Md => report.markdown() + &links,
        ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
        ReportFormat::Junit => report.junit()?,
    };
    write!(out, "{text}")?;
    Ok(u8::from(!report.met))
}

/// Compares policies.
pub(crate) fn comparison(args: &CompareArgs, seed: Option<u64>, overwrite: bool) -> eyre::Result<u8> {
    output::check_folder(
        "--charts",
        args.charts.as_deref(),
        &charts::COMPARISON_FILES,
        overwrite,
    )?;
    let recorded = match &args.journal {
        None => None,
        Some(file) => match recorded(file)? {
            Some(input) => Some(input),
            None => return Ok(USAGE),
        },
    };
    let request = PlanRequest {
        policies: args.policies.clone(),
        scenario: args.scenario.clone(),
        seed,
        seeds: args.seeds.unwrap_or(if recorded.is_some() { 1 } else { 50 }),
        recorded,
        off: args.off.clone(),
        sweep: args.sweep.clone(),
    };
    let plan = request.plan()?;
    let progress = Progress::start("runs", plan.seeds * plan.policies.len() as u64);
    let compared = compare::compare(&plan, &progress.at);
    progress.end();
    let compared = compared?;
    let trade_off = args.sweep.as_ref().map(|sweep| compared.trade_off(sweep));
    let drawn = match args.charts {
        Some(_) => compared.charts(args.sweep.as_ref()),
        None => Vec::new(),
    };
    let links = write_charts(args.charts.as_deref(), &drawn)?;
    let text = match args.format {
        _ if args.json => serde_json::to_string_pretty(&compared)?,
        ReportFormat::Json => serde_json::to_string_pretty(&compared)?,
        ReportFormat::Md => format!("{}\n{links}", compared.markdown(trade_off.as_ref())),
        ReportFormat::Junit => compared.junit()?,
        ReportFormat::Text => match &trade_off {
            None => compared.to_string(),
            Some(trade_off) => format!("{compared}\n\n{}", compare::text_chart(trade_off)),
        },
    };
    writeln!(std::io::stdout(), "{}", text.trim_end_matches('\n'))?;
    // only the format for CI has a verdict, and a verdict has an exit code, as in `seawall run`
    Ok(u8::from(
        args.format == ReportFormat::Junit && compared.is_any_worse(),
    ))
}

/// Writes charts to a folder, if any, reports their paths on stderr, and returns the Markdown that links them.
fn write_charts(folder: Option<&Path>, drawn: &[Chart]) -> eyre::Result<String> {
    let Some(folder) = folder else {
        return Ok(String::new());
    };
    charts::write_all(folder, drawn)?;
    for chart in drawn {
        let path = folder.join(chart.file).display().to_string();
        complain(format_args!("wrote {}", SafeText::new(&path).single_line()));
    }
    let links: Vec<String> = drawn
        .iter()
        .map(|chart| markdown::image(&chart.description, &folder.join(chart.file)))
        .collect();
    Ok(format!("\n### Charts\n\n{}", links.join("\n")))
}

/// Loads recorded traffic; returns nothing, after a message, if the file is not a journal.
fn recorded(file: &Path) -> eyre::Result<Option<RecordedInput>> {
    let name = file::journal_name(file);
    let loaded = match recorded::load(file::open_journal(file)?) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(format_args!("{name}: {error}"));
            return Ok(None);
        }
    };
    if let Some(damage) = &loaded.damage {
        let calls = loaded.traffic.calls().len();
        complain(format_args!(
            "{name}: {damage}; comparing the {calls} calls before it"
        ));
    }
    if loaded.lost > 0 {
        let lost = loaded.lost;
        complain(format_args!("{name}: {lost} events are missing from the journal"));
    }
    Ok(Some(RecordedInput {
        name,
        traffic: Arc::new(loaded.traffic),
        tally: Arc::new(loaded.tally),
        policy: loaded.header.policy,
    }))
}

/// Checks a journal against the invariants.
pub(crate) fn check_journal(file: &Path) -> eyre::Result<u8> {
    let name = file::journal_name(file);
    let input = file::open_journal(file)?;
    let checked = Reader::open(input)
        .map_err(CheckError::from)
        .and_then(check::check);
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
            complain(format_args!("{name}: {error}"));
            Ok(USAGE)
        }
    }
}
