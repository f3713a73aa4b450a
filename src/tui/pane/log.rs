//! The Log pane. Only visible rows are formatted, whatever the length of the log.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::state::{Calls, Log, LogKind, LogLine};
use crate::time::Timestamp;
use crate::tui::filter::{self, Filter};
use crate::tui::pane::{NO_MATCH, PaneId, row};
use crate::tui::theme::{Glyphs, Role};
use crate::tui::view::View;
use crate::tui::wrap;

/// Columns of the widest kind.
const KIND_WIDTH: usize = 7;
/// Columns from which the kind is written beside its glyph.
const WORDY: usize = 60;

/// The filter of the log, with the calls that its lines are about.
pub(crate) struct LogFilter<'a> {
    filter: Filter,
    calls: &'a Calls,
    now: Timestamp,
}

impl<'a> LogFilter<'a> {
    pub(crate) fn new(view: &View<'a>) -> Self {
        Self {
            filter: view.ui.filter_of(PaneId::Log),
            calls: &view.state.calls,
            now: view.now,
        }
    }

    /// Returns true if a line is shown.
    pub(crate) fn matches(&self, line: &LogLine) -> bool {
        self.filter.is_empty()
            || self.filter.matches(
                filter::Row {
                    call: line.call,
                    facts: line.call.and_then(|call| self.calls.recent.get(&call)),
                    user: None,
                    texts: &[line.kind.label(), line.text.as_str()],
                },
                self.now,
            )
    }
}

/// The number of matching lines, and of all.
pub(crate) fn matches(view: &View<'_>) -> (usize, usize) {
    let filter = LogFilter::new(view);
    let lines = &view.state.log.lines;
    (
        lines.iter().filter(|line| filter.matches(line)).count(),
        lines.len(),
    )
}

/// The colour of a kind.
pub(crate) fn role(kind: LogKind) -> Role {
    match kind {
        LogKind::Ok => Role::Ok,
        LogKind::Hit | LogKind::Shared => Role::Saved,
        LogKind::Retry | LogKind::Bucket => Role::Held,
        LogKind::Fail => Role::Broken,
        LogKind::Refused | LogKind::Limited | LogKind::Breaker => Role::Refused,
        LogKind::Inject => Role::Yours,
        LogKind::Stop | LogKind::Note => Role::Muted,
    }
}

/// The line under the cursor; the newest matching line while the pane follows.
pub(crate) fn cursor_line<'a>(
    log: &'a Log,
    filter: &LogFilter<'_>,
    cursor: Option<u64>,
) -> Option<&'a LogLine> {
    log.lines
        .iter()
        .rev()
        .filter(|line| cursor.is_none_or(|seq| line.seq <= seq))
        .find(|line| filter.matches(line))
        // the lines up to the cursor may have been evicted: the oldest is nearest
        .or_else(|| log.lines.iter().find(|line| filter.matches(line)))
}

/// The cursor after moving by `by` lines, up if negative; `None` if it follows the newest.
pub(crate) fn moved(log: &Log, filter: &LogFilter<'_>, cursor: Option<u64>, by: i64) -> Option<u64> {
    let here = cursor_line(log, filter, cursor)?.seq;
    let steps = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
    let matching = |line: &&LogLine| filter.matches(line);
    if by <= 0 {
        let mut above = log
            .lines
            .iter()
            .rev()
            .filter(|line| line.seq <= here)
            .filter(matching);
        let target = above.by_ref().take(steps.saturating_add(1)).last()?.seq;
        return if steps == 0 { cursor } else { Some(target) };
    }
    let mut below = log.lines.iter().filter(|line| line.seq > here).filter(matching);
    let target = below.by_ref().take(steps).last().map(|line| line.seq);
    // reaching the newest line means following it
    below.next().and(target)
}

/// The lines of `height` rows, oldest first: those up to the cursor, then later ones if rows are left.
pub(crate) fn window<'a>(
    log: &'a Log,
    filter: &LogFilter<'_>,
    cursor: Option<u64>,
    height: usize,
) -> Vec<&'a LogLine> {
    let here = cursor_line(log, filter, cursor).map(|line| line.seq);
    let upto = here.filter(|_| cursor.is_some()).unwrap_or(u64::MAX);
    let matching = |line: &&LogLine| filter.matches(line);
    let mut rows: Vec<&LogLine> = log
        .lines
        .iter()
        .rev()
        .filter(|line| line.seq <= upto)
        .filter(matching)
        .take(height)
        .collect();
    rows.reverse();
    let missing = height - rows.len();
    if missing > 0 {
        rows.extend(
            log.lines
                .iter()
                .filter(|line| line.seq > upto)
                .filter(matching)
                .take(missing),
        );
    }
    rows
}

/// The line at `y` of the screen, by `seq`, in a pane with this content area.
pub(crate) fn line_at(view: &View<'_>, area: Rect, y: u16) -> Option<u64> {
    let filter = LogFilter::new(view);
    let rows = window(
        &view.state.log,
        &filter,
        view.ui.log_cursor,
        usize::from(area.height),
    );
    let row = y.checked_sub(area.y)?;
    rows.get(usize::from(row)).map(|line| line.seq)
}

/// Draws the log.
pub(crate) fn render(view: &View<'_>, area: Rect, buf: &mut Buffer) {
    let area = area.intersection(buf.area);
    let ui = view.ui;
    let filter = LogFilter::new(view);
    let log = &view.state.log;
    let rows = window(log, &filter, ui.log_cursor, usize::from(area.height));
    if rows.is_empty() {
        let text = if log.lines.is_empty() {
            "No events yet"
        } else {
            NO_MATCH
        };
        view.draw_notice(area, text, buf);
        return;
    }
    let cursor = cursor_line(log, &filter, ui.log_cursor).map(|line| line.seq);
    for (y, line) in (area.y..area.bottom()).zip(rows) {
        let row = Rect { y, height: 1, ..area };
        let columns = usize::from(area.width);
        buf.set_line(
            area.x,
            y,
            &spans(view, line, columns, columns >= WORDY),
            area.width,
        );
        if ui.focus == PaneId::Log && ui.log_cursor.is_some() && cursor == Some(line.seq) {
            buf.set_style(row, view.theme.style(Role::Selection));
        }
    }
}

/// The newest line that matches the filter on one row, without its place in a list: `42.00 breaker  open for 10 s`.
pub(crate) fn newest(view: &View<'_>, columns: usize) -> Line<'static> {
    let filter = LogFilter::new(view);
    let Some(line) = cursor_line(&view.state.log, &filter, view.ui.log_cursor) else {
        return Line::default();
    };
    let mut row = spans(view, line, columns, true);
    // the glyph is the first to go
    row.spans.remove(1);
    if let Some(time) = row.spans.first_mut() {
        time.content = time.content.trim_start().to_owned().into();
    }
    row
}

/// The glyph of a kind.
fn glyph(glyphs: &Glyphs, kind: LogKind) -> &'static str {
    match kind {
        LogKind::Ok => glyphs.ok,
        LogKind::Hit => glyphs.hit,
        LogKind::Shared => glyphs.shared,
        LogKind::Retry => glyphs.retry,
        LogKind::Bucket => glyphs.queued,
        LogKind::Fail => glyphs.failed,
        LogKind::Refused | LogKind::Limited | LogKind::Breaker => glyphs.refused,
        LogKind::Inject => glyphs.injected,
        LogKind::Stop => glyphs.stopped,
        LogKind::Note => glyphs.dot,
    }
}

/// `42.00 ↻ retry   #33 attempt 2/4 in 0.82s (429, Retry-After: 1)`, without the word unless `wordy`.
fn spans(view: &View<'_>, line: &LogLine, columns: usize, wordy: bool) -> Line<'static> {
    let theme = view.theme;
    // three digits before the point once the session is older than that
    let digits = if view.now.0 < 100_000_000_000 { 5 } else { 6 };
    let time = format!("{:>digits$.2} ", line.at.as_secs_f64() % 1000.0);
    let mark = format!("{} ", glyph(theme.glyphs, line.kind));
    let word = if wordy { line.kind.label() } else { "" };
    // unstyled: an underlined or reversed blank looks like a letter
    let blanks = " ".repeat((KIND_WIDTH + 1).saturating_sub(wrap::width(word)) * usize::from(wordy));
    let used = wrap::width(&time) + wrap::width(&mark) + wrap::width(word) + blanks.len();
    let call = match line.call {
        // the text may already begin with its call
        Some(call) if !line.text.starts_with(&call.to_string()) => format!("{call} "),
        _ => String::new(),
    };
    let room = columns.saturating_sub(used + wrap::width(&call));
    let text = row::clip(theme, &line.text.single_line(), room);
    Line::from(vec![
        Span::styled(time, theme.style(Role::Muted)),
        Span::styled(mark, theme.style(role(line.kind))),
        Span::raw(word),
        Span::raw(blanks),
        Span::styled(call, theme.style(Role::Text)),
        Span::styled(text, theme.style(Role::Text)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::CallId;
    use crate::time::Timestamp;

    fn log() -> Log {
        let mut log = Log::default();
        for seq in 0..10 {
            log.lines.push_back(LogLine {
                seq: seq * 2,
                at: Timestamp(seq),
                kind: if seq % 2 == 0 { LogKind::Retry } else { LogKind::Ok },
                call: Some(CallId(seq)),
                text: format!("line {seq}").into(),
            });
        }
        log
    }

    #[test]
    fn a_line_has_its_time_glyph_word_and_text_as_far_as_there_is_room() {
        let mut fixture = super::super::fixture::burst();
        fixture.state.log = Log::default();
        fixture.state.log.lines.push_back(LogLine {
            seq: 1,
            at: Timestamp::from_secs_f64(41.98),
            kind: LogKind::Hit,
            call: Some(CallId(7)),
            text: "exact hit".into(),
        });
        let rows = |fixture: &super::super::fixture::Fixture, width| {
            super::super::fixture::rows(fixture, width, 1, render).remove(0)
        };
        assert_eq!(rows(&fixture, 60), "41.98 ◇ hit     #7 exact hit");
        assert_eq!(rows(&fixture, 40), "41.98 ◇ #7 exact hit");
        assert_eq!(
            newest(&fixture.view(), 40).to_string(),
            "41.98 hit     #7 exact hit"
        );
        fixture.now = Timestamp::from_secs_f64(100.0);
        assert_eq!(rows(&fixture, 17), " 41.98 ◇ #7 exac…");
    }

    fn filter(typed: &str) -> LogFilter<'static> {
        LogFilter {
            filter: Filter::new(typed),
            calls: Box::leak(Box::default()),
            now: Timestamp::ZERO,
        }
    }

    fn seqs(lines: &[&LogLine]) -> Vec<u64> {
        lines.iter().map(|line| line.seq).collect()
    }

    #[test]
    fn filters_match_kind_call_and_text_and_invert() {
        let log = log();
        let shown = |typed: &str| seqs(&window(&log, &filter(typed), None, 100)).len();
        assert_eq!(
            (
                shown(""),
                shown("RETRY"),
                shown("!retry"),
                shown("#3"),
                shown("zzz")
            ),
            (10, 5, 5, 1, 0)
        );
    }

    #[test]
    fn the_window_ends_at_the_cursor_and_is_filled_below() {
        let (log, all) = (log(), filter(""));
        assert_eq!(seqs(&window(&log, &all, None, 3)), [14, 16, 18]);
        assert_eq!(seqs(&window(&log, &all, Some(8), 3)), [4, 6, 8]);
        assert_eq!(seqs(&window(&log, &all, Some(0), 3)), [0, 2, 4]);
        assert_eq!(seqs(&window(&log, &all, Some(9), 2)), [6, 8]);
    }

    #[test]
    fn moving_stops_at_the_top_and_follows_at_the_end() {
        let (log, all, ok) = (log(), filter(""), filter("ok"));
        assert_eq!(moved(&log, &all, None, -1), Some(16));
        assert_eq!(moved(&log, &all, Some(2), -100), Some(0));
        assert_eq!(moved(&log, &all, Some(14), 1), Some(16));
        assert_eq!(moved(&log, &all, Some(16), 1), None);
        assert_eq!(moved(&log, &ok, Some(18), -1), Some(14));
        assert_eq!(moved(&Log::default(), &all, None, -1), None);
    }
}
