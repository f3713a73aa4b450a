//! `seawall semantic`: describes the semantic cache and measures it.

use std::io::Write as _;
use std::path::Path;

use crate::app::cli::Cli;
use crate::client::HttpEmbedder;
use crate::drills::semantic_eval;
use crate::session::SessionError;
use crate::settings::SemanticSettings;
use crate::settings::file;
use color_eyre::eyre;

use super::{UNREACHABLE, USAGE, complain, options};

/// Prints a description of the semantic cache.
pub(crate) fn explain_semantic() -> eyre::Result<u8> {
    let text = semantic_eval::explanation();
    write!(std::io::stdout(), "{text}")?;
    Ok(0)
}

/// Returns the embedder of the command line.
fn http_embedder(cli: &Cli, url: &str) -> eyre::Result<HttpEmbedder> {
    // long, for a batch of texts on a small machine
    let timeout = std::time::Duration::from_mins(1);
    let config = options::embedder_config(cli, url)?;
    Ok(HttpEmbedder::new(&config, timeout).map_err(SessionError::Transport)?)
}

/// Measures embedders and guards on pairs of prompts.
pub(crate) async fn evaluate_pairs(
    cli: &Cli,
    file: Option<&Path>,
    threshold: Option<f64>,
    json: bool,
) -> eyre::Result<u8> {
    let embedder = cli
        .embedder
        .as_deref()
        .map(|url| http_embedder(cli, url))
        .transpose()?;
    let (name, text) = match file {
        None => (
            semantic_eval::BUNDLED_NAME.to_owned(),
            semantic_eval::BUNDLED.to_owned(),
        ),
        Some(path) => (path.display().to_string(), file::read_pairs_file(path)?),
    };
    let pairs = match semantic_eval::read(&name, &text) {
        Ok(pairs) => pairs,
        Err(error) => {
            complain(error);
            return Ok(USAGE);
        }
    };
    let own = threshold.unwrap_or(SemanticSettings::BUILT_IN_THRESHOLD);
    let mut measured = vec![semantic_eval::built_in(&pairs, own)];
    if let Some(embedder) = &embedder {
        match semantic_eval::endpoint(embedder, &pairs, threshold).await {
            Ok(figures) => measured.push(figures),
            Err(error) => {
                complain(error);
                return Ok(UNREACHABLE);
            }
        }
    }
    let evaluation = semantic_eval::Evaluation::new(&name, &pairs, measured);
    let mut out = std::io::stdout();
    if json {
        // rendered first, as in `report`
        let written = serde_json::to_string_pretty(&evaluation)?;
        writeln!(out, "{written}")?;
    } else {
        write!(out, "{evaluation}")?;
    }
    Ok(0)
}
