//! The dependency rule: each room may use only the rooms named here. One crate cannot make the compiler
//! enforce it, so this does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Room, the rooms it may import, and words that must not stand in it. In the order of `lib.rs`.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    ("time", &[], &[]),
    ("text", &[], &["tokio"]),
    ("openai", &[], &["tokio", "reqwest"]),
    ("settings", &[], &["tokio"]),
    (
        "event",
        &["time", "text", "openai", "settings"],
        &["tokio", "Instant"],
    ),
    (
        "policy",
        &["time", "text", "openai", "settings", "event"],
        &["tokio", "futures", "tracing", "rand::rng()", "Mutex", "Instant"],
    ),
    (
        "client",
        &["time", "text", "openai", "settings", "event", "policy"],
        &["ratatui", "crossterm"],
    ),
    (
        "state",
        &["time", "text", "openai", "settings", "event"],
        &["tokio", "ratatui"],
    ),
    ("bus", &["time", "event", "state"], &["ratatui"]),
    ("source", &["time", "event", "state", "bus"], &["ratatui"]),
    (
        "journal",
        &["time", "text", "settings", "event"],
        &["tokio", "ratatui"],
    ),
    ("labels", &["text", "settings", "event"], &["tokio", "ratatui"]),
    ("markdown", &[], &["tokio", "ratatui"]),
    ("junit", &[], &["tokio", "ratatui"]),
    ("charts", &["time", "event"], &["tokio", "ratatui"]),
    (
        "check",
        &["time", "text", "openai", "settings", "event", "journal"],
        &["tokio", "ratatui"],
    ),
    ("http", &["time"], &["reqwest", "ratatui"]),
    (
        "simulator",
        &["time", "openai", "settings", "event", "policy", "http", "client"],
        &["ratatui"],
    ),
    (
        "engine",
        &["time", "openai", "settings", "event", "client", "simulator"],
        &["ratatui"],
    ),
    (
        "session",
        &[
            "time",
            "text",
            "openai",
            "settings",
            "event",
            "client",
            "state",
            "bus",
            "source",
            "simulator",
            "engine",
        ],
        &["ratatui"],
    ),
    (
        "traffic",
        &["time", "openai", "settings", "event", "client", "journal"],
        &["tokio", "ratatui"],
    ),
    (
        "tui",
        &["time", "text", "openai", "settings", "event", "state", "source"],
        &["reqwest"],
    ),
    (
        "replay",
        &["time", "text", "settings", "event", "state", "journal", "tui"],
        &["ratatui", "reqwest"],
    ),
    (
        "config",
        &["time", "text", "settings", "client", "labels", "simulator"],
        &["ratatui"],
    ),
    (
        "scenario",
        &[
            "time",
            "text",
            "openai",
            "settings",
            "event",
            "client",
            "state",
            "bus",
            "journal",
            "markdown",
            "junit",
            "charts",
            "check",
            "simulator",
            "engine",
            "session",
            "traffic",
            "config",
        ],
        &["ratatui"],
    ),
    (
        "record",
        &[
            "time", "settings", "event", "client", "bus", "engine", "session", "config", "scenario",
        ],
        &["tokio", "ratatui"],
    ),
    (
        "shadow",
        &[
            "time", "text", "settings", "event", "state", "bus", "engine", "scenario", "session", "traffic",
        ],
        &["tokio", "ratatui"],
    ),
    (
        "evaluate",
        &["text", "settings", "event", "policy", "client", "state"],
        &["tokio", "ratatui", "std::fs"],
    ),
    (
        "compare",
        &[
            "time", "text", "settings", "event", "state", "markdown", "junit", "charts", "traffic", "config",
            "scenario",
        ],
        &["tokio", "ratatui"],
    ),
    ("cli", &["compare"], &["tokio"]),
];

/// Rooms that one file of another room alone may import: the simulator serves any client over HTTP, and only
/// its in-memory face is a transport of ours, with what that trait speaks of; and its embeddings are those of the
/// built-in embedder.
const ONE_FILE_ALONE: &[(&str, &str, &[&str])] = &[
    ("simulator", "local.rs", &["event", "client"]),
    ("simulator", "embeddings.rs", &["policy"]),
];

/// Files that wire the house together and may know all of it: they hold no logic of a room.
const WIRING: &[&str] = &["lib", "main", "drill", "explain", "picture"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Code lines only: comments may name what they like.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms a text names as `crate::room`.
fn imports(code: &str) -> BTreeSet<String> {
    let after = code.split("crate::").skip(1);
    let names = after.map(|rest| {
        rest.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    });
    names.filter(|name: &String| !name.is_empty()).collect()
}

fn rooms() -> BTreeMap<String, Vec<PathBuf>> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut rooms: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in files {
        let first = file
            .strip_prefix(&src)
            .unwrap()
            .iter()
            .next()
            .unwrap()
            .to_str()
            .unwrap();
        rooms
            .entry(first.trim_end_matches(".rs").to_owned())
            .or_default()
            .push(file);
    }
    rooms
}

#[test]
fn every_room_imports_only_what_stands_below_it() {
    let mut broken = Vec::new();
    for (room, files) in rooms() {
        if WIRING.contains(&room.as_str()) {
            continue;
        }
        let Some((_, allowed, forbidden)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
            broken.push(format!(
                "src/{room} is not in the table of this test: say what it may import"
            ));
            continue;
        };
        for file in files {
            let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
            let code = code(&file);
            // what stands below `#[cfg(test)]` may wait, lock and look around as it likes
            let code = if is_test {
                ""
            } else {
                code.split("#[cfg(test)]\nmod ").next().unwrap()
            };
            for import in imports(code) {
                let elsewhere = ONE_FILE_ALONE.iter().any(|(of, name, rooms)| {
                    *of == room && !file.ends_with(name) && rooms.contains(&import.as_str())
                });
                if elsewhere {
                    broken.push(format!(
                        "{} imports {import}, which is for another file",
                        file.display()
                    ));
                }
                if import != room && !allowed.contains(&import.as_str()) {
                    broken.push(format!("{} imports {import}", file.display()));
                }
            }
            for word in *forbidden {
                if code.contains(word) {
                    broken.push(format!("{} uses {word}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn lib_lists_the_rooms_in_the_order_of_the_table() {
    let lib = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let listed = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let listed: Vec<&str> = listed.filter(|name| !WIRING.contains(name)).collect();
    let table: Vec<&str> = ROOMS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(listed, table);
}

#[test]
fn the_table_itself_has_no_way_back_up() {
    let mut below = BTreeSet::new();
    for (room, allowed, _) in ROOMS {
        for import in *allowed {
            assert!(
                below.contains(import),
                "{room} may import {import}, which does not stand below it"
            );
        }
        below.insert(*room);
    }
}

/// Only `time.rs` reads a clock. Clippy refuses the calls; this refuses an `#[expect]` around them.
#[test]
fn only_time_reads_a_clock() {
    for (room, files) in rooms() {
        for file in files.iter().filter(|_| room != "time") {
            let code = code(file);
            assert!(
                !code.contains("Instant::now()") && !code.contains("SystemTime::now()"),
                "{}",
                file.display()
            );
        }
    }
}
