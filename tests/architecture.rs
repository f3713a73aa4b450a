//! The dependency rule: a room may import only the rooms named here. The compiler cannot enforce it within one
//! crate, so this test does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room and the rooms it may import, in the order of `lib.rs`.
const ROOMS: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("text", &[]),
    ("openai", &[]),
    ("dialect", &["openai"]),
    ("settings", &["time", "text"]),
    ("event", &["time", "text", "openai", "settings"]),
    ("policy", &["time", "text", "openai", "settings", "event"]),
    ("semantic", &["time", "text", "settings", "event", "policy"]),
    (
        "client",
        &[
            "time", "text", "openai", "dialect", "settings", "event", "policy", "semantic",
        ],
    ),
    ("gateway", &["time", "dialect", "event", "client"]),
    ("state", &["time", "text", "openai", "settings", "event"]),
    ("journal", &["time", "text", "settings", "event"]),
    (
        "simulator",
        &[
            "time", "openai", "dialect", "settings", "event", "semantic", "client",
        ],
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
            "simulator",
        ],
    ),
    (
        "check",
        &["time", "text", "openai", "settings", "event", "journal"],
    ),
    ("report", &["time", "text", "event", "state"]),
    (
        "drills",
        &[
            "time", "text", "openai", "settings", "event", "semantic", "client", "state", "journal",
            "session", "check", "report",
        ],
    ),
    (
        "tui",
        &[
            "time", "text", "openai", "settings", "event", "state", "journal", "session",
        ],
    ),
    (
        "app",
        &[
            "time",
            "text",
            "settings",
            "event",
            "semantic",
            "client",
            "state",
            "journal",
            "simulator",
            "session",
            "check",
            "report",
            "drills",
            "tui",
            "gateway",
        ],
    ),
];

/// A room or a folder, and the words its code must not contain.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("text", &["tokio"]),
    ("openai", &["tokio", "reqwest"]),
    ("dialect", &["tokio", "reqwest"]),
    ("settings", &["tokio"]),
    ("event", &["tokio", "Instant"]),
    (
        "policy",
        &["tokio", "futures", "tracing", "rand::rng()", "Mutex", "Instant"],
    ),
    ("semantic", &["tokio", "ratatui"]),
    ("client", &["ratatui", "crossterm"]),
    ("gateway", &["ratatui", "reqwest"]),
    ("state", &["tokio", "ratatui"]),
    ("journal", &["tokio", "ratatui"]),
    ("simulator", &["ratatui"]),
    ("simulator/wire", &["reqwest"]),
    ("session", &["ratatui"]),
    ("check", &["tokio", "ratatui"]),
    ("report", &["tokio", "ratatui"]),
    ("drills", &["ratatui"]),
    ("drills/compare", &["tokio"]),
    ("drills/record", &["tokio"]),
    ("drills/recorded", &["tokio"]),
    ("drills/semantic_eval", &["tokio", "std::fs"]),
    ("drills/whatif/judge", &["tokio"]),
    ("tui", &["reqwest"]),
    ("tui/playback", &["reqwest"]),
];

/// Parts of a room that only these folders or files may import: the simulator's in-memory transport implements a
/// trait of the client, its forwarding reads base URLs as the client does, its embeddings route needs the built-in
/// embedder, and the terminal reads a session through its source.
const RESTRICTED: &[(&str, &str, &[&str])] = &[
    (
        "simulator",
        "client",
        &["simulator/local.rs", "simulator/forward.rs"],
    ),
    ("simulator", "event", &["simulator/local.rs"]),
    ("simulator", "semantic", &["simulator/embeddings.rs"]),
    ("tui", "journal", &["tui/playback"]),
];

/// Imports of a room that must name one module of another room.
const ONE_MODULE: &[(&str, &str, &str)] = &[("tui", "session", "source")];

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

/// The lines of a file that are not comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The rooms that code names as `crate::room`.
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

/// The code of a file above its unit tests, which may wait, lock and import as they like.
fn production_code(file: &Path) -> String {
    let is_test = file
        .iter()
        .any(|part| part == "tests" || part == "tests.rs" || part == "fixture.rs");
    if is_test {
        return String::new();
    }
    let code = code(file);
    code.split("#[cfg(test)]\nmod ").next().unwrap().to_owned()
}

/// The path below `src`.
fn inside(file: &Path) -> String {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    file.strip_prefix(src).unwrap().to_str().unwrap().to_owned()
}

/// True if `file` is the module `part` or below it: `tui/playback` is `tui/playback.rs` and `tui/playback/*`.
fn is_in(file: &str, part: &str) -> bool {
    file == part || file.strip_suffix(".rs") == Some(part) || file.starts_with(&format!("{part}/"))
}

#[test]
fn every_room_imports_only_rooms_above_it() {
    let mut broken = Vec::new();
    for (room, files) in rooms() {
        if room == "lib" || room == "main" {
            continue;
        }
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            broken.push(format!("src/{room} is not in the table of this test"));
            continue;
        };
        for path in files {
            let (file, code) = (inside(&path), production_code(&path));
            for import in imports(&code) {
                if import != room && !allowed.contains(&import.as_str()) {
                    broken.push(format!("{file} imports {import}"));
                }
                for (of, rooms, alone) in RESTRICTED {
                    if *of == room && *rooms == import && !alone.iter().any(|alone| is_in(&file, alone)) {
                        let alone = alone.join(" and ");
                        broken.push(format!("{file} imports {import}, which only {alone} may"));
                    }
                }
            }
            for (of, other, module) in ONE_MODULE {
                let any = code.matches(&format!("crate::{other}::")).count();
                let named = code.matches(&format!("crate::{other}::{module}")).count();
                if *of == room && any != named {
                    broken.push(format!("{file} imports more of {other} than {module}"));
                }
            }
            for (part, words) in FORBIDDEN.iter().filter(|(part, _)| is_in(&file, part)) {
                for word in words.iter().filter(|word| code.contains(**word)) {
                    broken.push(format!("{file} uses {word}, which {part} must not"));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn main_only_chooses_the_allocator_and_starts_the_application() {
    let main = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/main.rs"));
    assert!(
        main.contains("seawall::app::main()") && main.lines().count() < 14,
        "{main}"
    );
}

#[test]
fn lib_lists_the_rooms_in_the_order_of_the_table() {
    let lib = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"));
    let listed = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let listed: Vec<&str> = listed.collect();
    let table: Vec<&str> = ROOMS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, table);
}

#[test]
fn the_table_has_no_cycle() {
    let mut below = BTreeSet::new();
    for (room, allowed) in ROOMS {
        for import in *allowed {
            assert!(
                below.contains(import),
                "{room} may import {import}, which is not above it in the table"
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
