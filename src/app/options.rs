//! Resolves the options of the command line and the environment.

use std::fs::File;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::config;
use crate::app::cli::{Cli, SemanticChoice};
use crate::event::UserId;
use crate::session::{SessionConfig, USERS, UpstreamConfig};
use crate::settings::file::{self, ConfigError};
use crate::settings::{Policy, SemanticMode};
use color_eyre::eyre;
use rustls::pki_types::CertificateDer;

/// Returns the real upstream of the command line, if any.
pub(crate) fn upstream(cli: &Cli) -> eyre::Result<Option<UpstreamConfig>> {
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
    if let Some(url) = &policy.semantic.embedder {
        config::embedder(url)?;
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
    Ok(SessionConfig {
        seed: cli.seed.unwrap_or(SessionConfig::default().seed),
        policy,
        users: users.iter().map(|name| UserId::new(name)).collect(),
        faults: file::load_faults(&cli.faults)?,
        upstream: upstream(cli)?,
        embedder_key: config::embedder_key(|name| std::env::var(name).ok()),
        embedder_roots: extra_roots(cli)?,
        model: cli.model.clone(),
        answer_tokens: cli.max_tokens,
        ..SessionConfig::default()
    })
}

/// Returns true if stdin and stdout are terminals.
pub(crate) fn has_terminal() -> bool {
    std::io::stdout().is_terminal() && std::io::stdin().is_terminal()
}

/// Creates the file of a journal.
pub(crate) fn create(path: &Path) -> eyre::Result<File> {
    File::create(path).map_err(|error| {
        eyre::Report::new(ConfigError::Unwritable {
            path: path.to_owned(),
            error,
        })
    })
}
