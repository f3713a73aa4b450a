//! `seawall picture`: draws the screen of a scripted session in virtual time as SVG. The picture is the same on
//! every machine.

use std::fmt::Write as _;
use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};

use crate::event::{BurstUsers, Command, UserId};
use crate::session::bus::Bus;
use crate::session::{LocalSession, SessionConfig, USERS};
use crate::settings::FaultProfile;
use crate::state::State;
use crate::time::{Clock, Timestamp};
use crate::tui::keymap::{Keymap, KeymapError};
use crate::tui::theme::Theme;
use crate::tui::ui::Ui;
use crate::tui::view::{self, View};

const SEED: u64 = 7;
const CELL: (u32, u32) = (9, 18);

/// Draws a session of a few seconds on `columns` by `rows` cells: a question, a burst, an outage. Must run on a
/// current-thread runtime with a paused clock.
pub(crate) async fn draw(columns: u16, rows: u16, outage: FaultProfile) -> Result<String, KeymapError> {
    let (state, now) = session(outage).await;
    let users = USERS.iter().map(|name| UserId::new(name)).collect();
    let ui = Ui {
        users,
        size: (columns, rows).into(),
        ..Ui::default()
    };
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    let theme = Theme::default();
    let view = View {
        state: &state,
        ui: &ui,
        theme: &theme,
        now,
    };
    view::draw(&view, &Keymap::builtin()?, area, &mut buffer);
    Ok(svg(&buffer))
}

/// Runs a session: a question twice, a burst, and a burst during an outage.
async fn session(outage: FaultProfile) -> (State, Timestamp) {
    let clock = Clock::start();
    let config = SessionConfig {
        seed: SEED,
        faults: outage,
        ..SessionConfig::default()
    };
    let LocalSession { env, bus, engine, .. } = LocalSession::start(&config, clock, Bus::new(clock));
    let ask = |prompt: &str| Command::Send {
        prompt: prompt.into(),
        user: UserId::new(USERS[0]),
        conversation: false,
    };
    let script = [
        (6_000, ask("what does a token bucket do?")),
        (500, ask("what does a token bucket do?")),
        (
            3_500,
            Command::Burst {
                calls: 20,
                users: BurstUsers::All,
            },
        ),
        (10, Command::SetFaults { on: true }),
        (
            3_400,
            Command::Burst {
                calls: 30,
                users: BurstUsers::All,
            },
        ),
    ];
    for (then_wait, command) in script {
        engine.execute(command);
        clock.sleep(Duration::from_millis(then_wait)).await;
    }
    let taken = (bus.with_state(State::clone), clock.now());
    engine.execute(Command::CancelAll);
    env.join().await;
    taken
}

/// Renders a buffer as SVG: a rectangle per run of background, a text per run of style.
fn svg(buffer: &Buffer) -> String {
    let (width, height) = (
        u32::from(buffer.area.width) * CELL.0,
        u32::from(buffer.area.height) * CELL.1,
    );
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, monospace\" font-size=\"15\">\n<rect width=\"100%\" height=\"100%\" fill=\"#18181b\"/>\n"
    );
    for y in buffer.area.top()..buffer.area.bottom() {
        let mut x = buffer.area.left();
        while x < buffer.area.right() {
            let Some(first) = buffer.cell((x, y)) else { break };
            let style = first.style();
            let from = x;
            let mut text = String::new();
            while let Some(cell) = buffer.cell((x, y)).filter(|cell| cell.style() == style) {
                text.push_str(cell.symbol());
                x += 1;
            }
            text_run(&mut out, (from, x, y), style, &text);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn text_run(out: &mut String, (from, to, y): (u16, u16, u16), style: Style, text: &str) {
    let modifiers = style.add_modifier;
    let mut foreground = colour(style.fg.unwrap_or_default(), "#cccccc");
    let mut background = colour(style.bg.unwrap_or_default(), "#18181b");
    if modifiers.contains(Modifier::REVERSED) {
        (foreground, background) = (background, foreground);
    }
    let (left, top) = (u32::from(from) * CELL.0, u32::from(y) * CELL.1);
    let width = u32::from(to - from) * CELL.0;
    if background != "#18181b" {
        let height = CELL.1;
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"{background}\"/>"
        );
    }
    if text.trim().is_empty() {
        return;
    }
    let weight = if modifiers.contains(Modifier::BOLD) {
        " font-weight=\"bold\""
    } else {
        ""
    };
    let dim = if modifiers.contains(Modifier::DIM) {
        " opacity=\"0.6\""
    } else {
        ""
    };
    let line = if modifiers.contains(Modifier::UNDERLINED) {
        " text-decoration=\"underline\""
    } else {
        ""
    };
    let escaped = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let base = top + 14;
    let _ = writeln!(
        out,
        "<text x=\"{left}\" y=\"{base}\" fill=\"{foreground}\" textLength=\"{width}\" xml:space=\"preserve\"{weight}{dim}{line}>{escaped}</text>"
    );
}

/// The colours of a terminal as CSS colours.
fn colour(colour: Color, default: &'static str) -> &'static str {
    match colour {
        Color::Black => "#000000",
        Color::Red | Color::LightRed => "#f14c4c",
        Color::Green | Color::LightGreen => "#0dbc79",
        Color::Yellow | Color::LightYellow => "#e5e510",
        Color::Blue | Color::LightBlue => "#3b8eea",
        Color::Magenta | Color::LightMagenta => "#d670d6",
        Color::Cyan | Color::LightCyan => "#11a8cd",
        _ => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_picture_is_the_same_each_time_and_shows_the_outage() {
        let outage = FaultProfile {
            name: "outage".into(),
            unavailable: 0.9,
            ..FaultProfile::default()
        };
        let first = draw(120, 40, outage.clone()).await.unwrap();
        assert_eq!(first, draw(120, 40, outage).await.unwrap());
        for word in ["FAULTS", "BREAKER OPEN", "burst "] {
            assert!(first.contains(word), "no {word} on the picture");
        }
    }
}
