//! Resolves the options of the command line and the environment.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use super::{complain, config};
use crate::app::cli::{Cli, SemanticChoice};
use crate::client::{ApiKey, ExtraHeader, HttpConfig};
use crate::event::UserId;
use crate::session::{SessionConfig, USERS, UpstreamConfig};
use crate::settings::file::{self, ConfigError};
use crate::settings::{Policy, SemanticMode};
use color_eyre::eyre;
use rustls::pki_types::CertificateDer;
use url::Url;

/// Returns the real upstream of the command line, if any.
pub(crate) fn upstream(cli: &Cli) -> eyre::Result<Option<UpstreamConfig>> {
    let Some(text) = &cli.upstream else {
        return Ok(None);
    };
    let url = config::upstream(text, cli.insecure_http)?;
    let upstream = UpstreamConfig {
        api_key: config::api_key(&url, cli.api_key_file.as_deref(), variable)?,
        headers: config::headers("--header", &cli.headers, variable)?,
        extra_roots: extra_roots(cli)?,
        ..UpstreamConfig::new(url)
    };
    warn(exposure(&upstream));
    Ok(Some(upstream))
}

/// Returns a warning if prompts or secrets are sent to this upstream in the clear.
pub(crate) fn exposure(upstream: &UpstreamConfig) -> Option<String> {
    exposure_of(&upstream.url, upstream.api_key.as_ref(), &upstream.headers)
}

/// Returns the embeddings API at `url` with its key and headers.
pub(crate) fn embedder_config(cli: &Cli, url: &str) -> eyre::Result<HttpConfig> {
    let config = HttpConfig {
        model: cli.model.clone(),
        api_key: config::embedder_key(variable),
        headers: config::headers("--embedder-header", &cli.embedder_headers, variable)?,
        extra_roots: extra_roots(cli)?,
        ..HttpConfig::new(config::embedder(url, cli.insecure_http)?)
    };
    warn(exposure_of(
        &config.base,
        config.api_key.as_ref(),
        &config.headers,
    ));
    Ok(config)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn exposure_of(url: &Url, key: Option<&ApiKey>, headers: &[ExtraHeader]) -> Option<String> {
    let sends_secret = key.is_some() || headers.iter().any(ExtraHeader::is_secret);
    config::exposure(url, sends_secret)
}

/// Prints a warning, if there is one.
pub(crate) fn warn(warning: Option<String>) {
    if let Some(warning) = warning {
        complain(format_args!("warning: {warning}"));
    }
}

/// Returns the certificates to trust in addition to those of the system.
pub(crate) fn extra_roots(cli: &Cli) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let roots = cli.ca_file.as_deref().map(config::ca_file).transpose()?;
    Ok(roots.unwrap_or_default())
}

/// Returns the policy of the command line with its saved labels.
pub(crate) fn policy(cli: &Cli) -> eyre::Result<Policy> {
    let mut policy = file::load_policy(&cli.policy)?;
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
    // a policy file may name one too
    if let Some(text) = &policy.semantic.embedder {
        let url = config::embedder(text, cli.insecure_http)?;
        // the session needs the scheme
        if !text.contains("://") {
            policy.semantic.embedder = Some(url.into());
        }
    }
    Ok(policy)
}

/// The path of the label file.
pub(crate) fn labels_file(cli: &Cli) -> Option<PathBuf> {
    config::labels_file(&cli.policy, |name| std::env::var_os(name))
}

/// Returns the session configuration of the command line.
pub(crate) fn session_config(cli: &Cli) -> eyre::Result<SessionConfig> {
    let policy = policy(cli)?;
    let users = file::resolve_users(&cli.users, &policy, &USERS)?;
    let embedder = policy.semantic.embedder.as_deref();
    let embedder = embedder.map(|url| embedder_config(cli, url)).transpose()?;
    let (embedder_key, embedder_headers) =
        embedder.map_or_else(Default::default, |embedder| (embedder.api_key, embedder.headers));
    Ok(SessionConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        policy,
        users: users.iter().map(|name| UserId::new(name)).collect(),
        faults: file::load_faults(cli.faults.as_deref().unwrap_or("outage"))?,
        upstream: upstream(cli)?,
        embedder_key,
        embedder_headers,
        embedder_roots: extra_roots(cli)?,
        model: cli.model.clone(),
        answer_tokens: cli.max_tokens,
        prompts: prompts(cli)?,
        repeat: cli.repeat,
        ..SessionConfig::default()
    })
}

/// Returns the prompts of the command line for bursts and loads.
fn prompts(cli: &Cli) -> Result<Vec<String>, ConfigError> {
    cli.prompts.as_deref().map_or(Ok(Vec::new()), file::read_prompts)
}

/// Returns true if stdin and stdout are terminals.
pub(crate) fn has_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}
