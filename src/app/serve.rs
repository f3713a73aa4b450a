//! The gateway of the command line: beside the control room with `--listen`, alone with `seawall serve`.

use std::io::Write as _;
use std::time::Duration;

use color_eyre::eyre;
use serde_json::json;

use super::cli::{Cli, LogFormat};
use super::control_room::start;
use super::exit::Exits;
use super::output::OutputFile;
use super::{keys, options};
use crate::client::ExtraHeader;
use crate::drills::smoke;
use crate::event::EventKind;
use crate::gateway::{Credentials, Gateway, GatewayConfig, GatewayError, GatewayLimits};
use crate::session::bus::Bus;
use crate::session::{Session, SessionConfig};
use crate::text::SafeText;
use crate::tui::signals::Signals;

/// The interval at which new lines of the log are printed.
const LINES_EVERY: Duration = Duration::from_millis(200);

/// Returns true if seawall has a key of the upstream.
pub(crate) fn holds_key(config: &SessionConfig) -> bool {
    config.upstream.as_ref().is_some_and(|upstream| {
        upstream.api_key.is_some() || upstream.headers.iter().any(ExtraHeader::is_secret)
    })
}

/// Starts the gateway that `--listen` asks for. `holds_key`: see [`holds_key`].
pub(crate) async fn gateway(cli: &Cli, session: &Session, holds_key: bool) -> eyre::Result<Option<Gateway>> {
    let Some(listen) = cli.listen else { return Ok(None) };
    let credentials = Credentials::of_clients(holds_key).with_keys(keys::load(cli)?);
    if holds_key && !credentials.are_required() && !cli.no_auth {
        return Err(GatewayError::KeyWithoutAuth.into());
    }
    let config = GatewayConfig {
        listen,
        credentials,
        limits: GatewayLimits::default(),
    };
    let gateway = Gateway::start(config, session.client().clone(), session.env()).await?;
    session.engine().emit(EventKind::GatewayListening {
        address: SafeText::new(&gateway.address().to_string()),
    });
    Ok(Some(gateway))
}

/// Runs the gateway without a screen until a signal, then lets running calls end.
pub(crate) async fn serve(cli: &Cli, format: LogFormat, exits: &Exits) -> eyre::Result<u8> {
    let config = SessionConfig {
        // no key switches them on here
        faults_on: cli.faults.is_some(),
        ..options::session_config(cli)?
    };
    let holds_key = holds_key(&config);
    let journal = OutputFile::maybe("--journal", cli.journal.as_deref(), cli.overwrite)?;
    let mut signals = Signals::listen()?;
    let hold = exits.hold();
    let (session, mut files) = start(cli, config, journal, None).await?;
    let gateway = gateway(cli, &session, holds_key).await?;
    files.begin()?;
    let mut lines = Lines::new(session.bus().clone(), format);
    let clock = session.clock();
    let exit = loop {
        tokio::select! {
            exit = signals.ended() => break exit,
            () = clock.sleep(LINES_EVERY) => lines.print(),
        }
    };
    // a second signal ends it without waiting for running calls
    drop(hold);
    if let Some(gateway) = &gateway {
        gateway.stop().await;
    }
    session.shutdown().await;
    lines.print();
    let files = files.finish(clock).await;
    let summary = session.bus().with_state(smoke::summary);
    drop(write!(std::io::stderr(), "{summary}"));
    files?;
    Ok(exit.code())
}

/// The log as lines on stderr.
struct Lines {
    bus: Bus,
    format: LogFormat,
    /// The `seq` of the last line printed.
    printed: Option<u64>,
}

impl Lines {
    fn new(bus: Bus, format: LogFormat) -> Self {
        Self {
            bus,
            format,
            printed: None,
        }
    }

    /// Prints the lines since the last time.
    fn print(&mut self) {
        let printed = self.printed;
        let new = self.bus.with_state(|state| {
            let lines = state.log.lines.iter().rev();
            let mut new: Vec<_> = lines
                .take_while(|line| Some(line.seq) > printed)
                .cloned()
                .collect();
            new.reverse();
            new
        });
        // one write for all: under load there are thousands of lines
        let mut lines = String::new();
        for line in new {
            self.printed = Some(line.seq);
            let seconds = line.at.0 as f64 / 1e9;
            let text = match self.format {
                LogFormat::Text => format!("{seconds:.3} {}", line.text),
                LogFormat::Json => json!({
                    "at": seconds,
                    "kind": line.kind,
                    "call": line.call,
                    "text": line.text,
                })
                .to_string(),
            };
            lines.push_str(&text);
            lines.push('\n');
        }
        drop(std::io::stderr().write_all(lines.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::UpstreamConfig;

    #[test]
    fn a_key_in_a_header_is_a_key_of_the_upstream() {
        let with_header = |name| {
            let upstream = UpstreamConfig {
                headers: vec![ExtraHeader::new(name, "abcdef").unwrap()],
                ..UpstreamConfig::new("http://127.0.0.1:9".parse().unwrap())
            };
            holds_key(&SessionConfig {
                upstream: Some(upstream),
                ..SessionConfig::default()
            })
        };
        assert!(with_header("x-api-key"));
        assert!(!with_header("x-title"));
        assert!(!holds_key(&SessionConfig::default()));
    }
}
