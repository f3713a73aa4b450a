//! `seawall why`: prints the story of one call of a journal or a scenario, or lists the calls worth explaining.

use std::io::{Read, Write};
use std::path::Path;

use color_eyre::eyre;

use crate::drills::scenario::ExplainedCall;
use crate::event::CallId;
use crate::journal::{Ending, JournalError, Reader};
use crate::settings::file;
use crate::state::story::{CallRanking, CallSummary, StoryStore};
use crate::text::{SafeText, units};

/// Exit code for a damaged journal.
const DAMAGED: u8 = 1;
/// Exit code for a missing call or journal.
const USAGE: u8 = 2;
/// Characters of a prompt shown in a list.
const PROMPT: usize = 44;

/// The result of reading a journal.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The requested story; that of call 0, which does not exist, if none was requested.
    pub(crate) watched: ExplainedCall,
    /// The end of the journal, or the damage that reading stopped at.
    pub(crate) ending: Ending,
}

/// Reads a journal to its end or to the first damage.
pub(crate) fn read<R: Read + Send + 'static>(
    input: R,
    call: Option<CallId>,
) -> Result<Reading, JournalError> {
    let reader = Reader::open(input)?;
    let call = call.unwrap_or_default();
    let mut why = StoryStore::for_call(call);
    let mut worth = CallRanking::default();
    let ending = reader.for_each_event(|event| {
        why.apply(event);
        worth.apply(event);
    });
    let story = why.story(call);
    let watched = ExplainedCall { call, story, worth };
    Ok(Reading { watched, ending })
}

/// Runs `seawall why JOURNAL [CALL]` and returns the exit code.
pub(crate) fn why(
    file: &Path,
    call: Option<u64>,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> eyre::Result<u8> {
    let name = file::journal_name(file);
    let input = file::open_journal(file)?;
    let call = call.map(CallId);
    let reading = match read(input, call) {
        Ok(reading) => reading,
        Err(error) => {
            writeln!(err, "seawall: {name}: {error}")?;
            return Ok(USAGE);
        }
    };
    if !reading.ending.is_complete() {
        writeln!(err, "seawall: {name}: {}", reading.ending)?;
    }
    let code = if call.is_some() {
        print_story(&name, &reading.watched, json, out, err)?
    } else {
        out.write_all(list(&name, &reading.watched.worth).as_bytes())?;
        0
    };
    Ok(if code == 0 && !reading.ending.is_complete() {
        DAMAGED
    } else {
        code
    })
}

/// Prints the requested story, or an error that lists the calls, and returns the exit code. `name` is that of the
/// journal or scenario.
pub(crate) fn print_story(
    name: &str,
    watched: &ExplainedCall,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> eyre::Result<u8> {
    let ExplainedCall { call, story, worth } = watched;
    let Some(story) = story else {
        writeln!(err, "seawall: {name}: {}", worth.missing(*call))?;
        return Ok(USAGE);
    };
    let text = if json {
        // rendered first: serde_json would wrap a broken pipe into an error of its own
        format!("{}\n", serde_json::to_string_pretty(story)?)
    } else {
        story.to_string()
    };
    out.write_all(text.as_bytes())?;
    Ok(0)
}

/// Lists the calls of a journal that are worth explaining.
fn list(name: &str, worth: &CallRanking) -> String {
    let Some((first, last)) = worth.range else {
        return format!("{name}: no calls\n");
    };
    let mut lines = vec![format!("{name}: {} calls, {first} to {last}", worth.calls)];
    for (fate, rows) in worth.worst() {
        let all = worth.unlucky.get(&fate).copied().unwrap_or_default();
        let more = if all > rows.len() as u64 {
            format!(", the first {}", rows.len())
        } else {
            String::new()
        };
        lines.extend(section(&format!("{} ({all}{more})", fate.brief()), rows));
    }
    lines.extend(section("most attempts", &worth.tried));
    lines.extend(section("slowest", &worth.slowest));
    if let Some(row) = worth
        .worst()
        .flat_map(|(_, rows)| rows)
        .chain(&worth.slowest)
        .next()
    {
        lines.push(String::new());
        lines.push(format!("explain a call: seawall why JOURNAL {}", row.call.0));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// A title and its rows after an empty line; empty if there are no rows.
fn section(title: &str, rows: &[CallSummary]) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let head = [String::new(), title.to_owned()];
    let rows = rows.iter().map(|row| {
        let attempts = match row.attempts {
            0 => "not sent".to_owned(),
            sent => units::count(u64::from(sent), "attempt"),
        };
        let prompt = SafeText::excerpt(&row.prompt, PROMPT);
        let (call, took, fate) = (row.call.to_string(), row.took.as_secs_f64(), row.fate.brief());
        format!("  {call:>7} {fate:<8} {took:>8.2}s  {attempts:<11} {prompt}")
    });
    head.into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Fate;
    use crate::journal::{Header, Journal};
    use crate::settings::Policy;
    use crate::state::fixture::session;

    fn journal(calls: u64, end: bool) -> Vec<u8> {
        let header = Header::virtual_time(7, Policy::default());
        let mut journal = Journal::try_new(Vec::new(), &header).unwrap();
        for event in session(3, calls) {
            journal.write(&event).unwrap();
        }
        let mut bytes = journal.finish().unwrap();
        if !end {
            let last = bytes.iter().rposition(|byte| *byte == b'{').unwrap();
            bytes.truncate(last);
        }
        bytes
    }

    fn asked(call: Option<u64>, json: bool, bytes: &[u8]) -> (u8, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("j.ndjson");
        std::fs::write(&file, bytes).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = why(&file, call, json, &mut out, &mut err).unwrap();
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }

    #[test]
    fn a_story_is_printed_as_text_and_as_json() {
        let bytes = journal(40, true);
        let (code, out, err) = asked(Some(3), false, &bytes);
        assert_eq!((code, err.as_str()), (0, ""));
        assert!(out.starts_with("#3 ") && out.contains("asked      ann"), "{out}");
        let (_, json, _) = asked(Some(3), true, &bytes);
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&value["call"], &value["story"]), (&3.into(), &2.into()));
        let sentence = value["sentence"].as_str().unwrap();
        assert!(out.starts_with(&format!("#3 {sentence}\n")), "{sentence}");
    }

    #[test]
    fn a_missing_call_is_reported_with_the_calls_there_are() {
        let (code, out, err) = asked(Some(77), false, &journal(40, true));
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(
            err.contains("no call #77: there are 40 of them, #1 to #40; ask for one that failed: #"),
            "{err}"
        );
    }

    #[test]
    fn without_a_call_those_worth_explaining_are_listed() {
        let (code, out, _) = asked(None, false, &journal(200, true));
        assert_eq!(code, 0);
        assert!(out.contains("200 calls, #1 to #200\n\n"), "{out}");
        for title in [
            "limited (",
            "refused (",
            "failed (",
            "cut off (",
            "most attempts\n",
            "slowest\n",
        ] {
            assert!(out.contains(&format!("\n{title}")), "{title}: {out}");
        }
        let rows = |fate: Fate| out.lines().filter(|line| line.contains(fate.brief())).count();
        assert!(rows(Fate::Failed) > 1, "{out}");
    }

    #[test]
    fn a_damaged_journal_is_read_up_to_the_damage() {
        let mut bytes = journal(40, true);
        let (_, whole, _) = asked(Some(3), false, &bytes);
        bytes.truncate(bytes.len() - 40);
        let (code, out, err) = asked(Some(3), false, &bytes);
        assert_eq!((code, out), (1, whole));
        assert!(err.contains("read up to here: line "), "{err}");
        let (code, _, err) = asked(Some(3), false, &journal(40, false));
        assert_eq!(code, 1);
        assert!(err.contains("no end line"), "{err}");
        let (code, _, err) = asked(Some(3), false, b"no journal\n");
        assert_eq!(code, 2);
        assert!(err.contains("not a journal"), "{err}");
    }
}
