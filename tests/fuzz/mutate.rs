//! Inputs for a target: its corpus, and mutations that break parsers.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

/// Mutations per target in a plain test run: a few seconds in a debug build.
const RUNS: u64 = 2000;
/// Longer inputs only cost time.
const LONGEST: usize = 4 << 10;

/// Runs a target over its corpus and its mutations.
pub(crate) fn run(name: &str, words: &[&str], target: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no corpus for {name}");
    for seed in &seeds {
        attempt(name, seed, target);
    }
    let runs = std::env::var("SEAWALL_FUZZ_RUNS").map_or(RUNS, |runs| runs.parse().unwrap());
    let mut mutator = Mutator {
        state: 0x9e37_79b9_7f4a_7c15,
        seeds: &seeds,
        words,
    };
    for _ in 0..runs {
        attempt(name, &mutator.input(), target);
    }
}

/// Writes the failing input to a file.
fn attempt(name: &str, input: &[u8], target: fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        std::fs::write(&path, input).unwrap();
        drop(writeln!(std::io::stderr(), "the input is in {}", path.display()));
        resume_unwind(panic);
    }
}

/// The corpus of a target in order of name, and fixtures of other tests.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files(&root.join("tests/fuzz/corpus").join(name));
    files.extend(match name {
        "sse_decoder" | "answer_reader" | "error_classifier" => files_of(root, "tests/wire"),
        "scenario_file" => files_of(root, "assets/scenarios"),
        "policy_file" => files_of(root, "assets/policies"),
        "fault_file" => files_of(root, "assets/faults"),
        _ => Vec::new(),
    });
    let read = files.into_iter().map(|path| std::fs::read(path).unwrap());
    read.map(|bytes| response(bytes).into_iter().take(LONGEST).collect())
        .collect()
}

/// The response part of a capture; other files unchanged.
fn response(bytes: Vec<u8>) -> Vec<u8> {
    let mark = b"\n<<<\n";
    match bytes.windows(mark.len()).position(|here| here == mark) {
        Some(at) if bytes.starts_with(b">>>") => bytes.get(at + mark.len()..).unwrap().to_vec(),
        _ => bytes,
    }
}

fn files_of(root: &Path, folder: &str) -> Vec<PathBuf> {
    files(&root.join(folder))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file() && path.extension().is_none_or(|ending| ending != "rs"));
    files.sort();
    files
}

/// A small generator: the same inputs on every machine.
struct Mutator<'a> {
    state: u64,
    seeds: &'a [Vec<u8>],
    words: &'a [&'a str],
}

impl Mutator<'_> {
    /// A seed input with one to eight changes.
    fn input(&mut self) -> Vec<u8> {
        let mut bytes = self.seed();
        for _ in 0..=self.below(8) {
            self.change(&mut bytes);
        }
        bytes.truncate(LONGEST);
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len() + 1);
        let part = at..(at + self.below(32)).min(bytes.len());
        match self.below(9) {
            0 => drop(bytes.drain(part)),
            1 => {
                let twice = bytes.get(part).unwrap().to_vec();
                bytes.splice(at..at, twice);
            }
            2 => bytes.truncate(at),
            3 => {
                let other = self.seed();
                let from = self.below(other.len() + 1);
                bytes.splice(at.., other.into_iter().skip(from));
            }
            4 => {
                let byte = self.below(256) as u8;
                bytes.insert(at, byte);
            }
            5 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.below(8);
                }
            }
            6 => {
                let other = self.below(bytes.len().max(1));
                if at < bytes.len() {
                    bytes.swap(at, other);
                }
            }
            _ => {
                let word = self.words.get(self.below(self.words.len())).unwrap();
                let end = if self.below(2) == 0 { at } else { part.end };
                bytes.splice(at..end, word.bytes());
            }
        }
    }

    fn seed(&mut self) -> Vec<u8> {
        self.seeds.get(self.below(self.seeds.len())).unwrap().clone()
    }

    /// SplitMix64.
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}
