//! The files of output options: an existing one is kept unless `--overwrite`, and until there is something to write.

use std::fs;
use std::process::{Command, Output, Stdio};

use super::Terminal;

fn seawall(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn an_existing_file_is_an_error_without_overwrite() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let compare = [
        "compare",
        "exercise",
        "production",
        "--scenario",
        "calm",
        "--seeds",
        "2",
        "--charts",
    ];
    for (command, argument, file) in [
        (&["run", "calm", "--journal"][..], path("run"), path("run")),
        (&["fuzz", "--count", "1", "--journal"], path("fuzz"), path("fuzz")),
        (&["picture"], path("picture"), path("picture")),
        (
            &["run", "calm", "--charts"],
            path("charts"),
            path("charts/timeline.svg"),
        ),
        (&compare, path("side"), path("side/compare-calls.svg")),
    ] {
        let args = [command, &[argument.as_str()]].concat();
        assert_eq!(seawall(&args).status.code(), Some(0), "{args:?}");
        let first = fs::read(&file).unwrap();
        fs::write(&file, "mine").unwrap();
        let refused = seawall(&args);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{args:?}");
        assert!(
            stderr.contains("the file exists already; name a new file, or add --overwrite")
                && refused.stdout.is_empty(),
            "{args:?}: {stderr}"
        );
        assert_eq!(fs::read(&file).unwrap(), b"mine", "{args:?}");
        let args = [&args[..], &["--overwrite"]].concat();
        assert_eq!(seawall(&args).status.code(), Some(0), "{args:?}");
        assert_eq!(fs::read(&file).unwrap(), first, "{args:?}");
    }
}

#[test]
fn the_control_room_asks_for_new_files_too() {
    let folder = tempfile::tempdir().unwrap();
    for option in ["--journal", "--record"] {
        let file = folder.path().join(option);
        fs::write(&file, "mine").unwrap();
        let name = file.to_str().unwrap();
        let mut refused = Terminal::start(&[option, name], &[]);
        refused.until("the file exists already");
        assert_eq!(refused.ended().0, 2);
        assert_eq!(fs::read(&file).unwrap(), b"mine");
        let mut replaced = Terminal::start(&[option, name, "--overwrite"], &[]);
        replaced.until("upstream ready");
        if option == "--record" {
            replaced.ask("hello?", 1);
        }
        replaced.keys("q");
        assert_eq!(replaced.ended().0, 0);
        assert!(fs::read(&file).unwrap().len() > 100, "{option}");
    }
}

#[test]
fn a_run_that_cannot_start_empties_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let file = folder.path().join("j.ndjson");
    let journal = &["--journal", file.to_str().unwrap()][..];
    for (args, code) in [
        (&["--no-tui", "--upstream", &dead][..], 3),
        (&["--no-tui", "--upstream", "nowhere:x:y"], 2),
        (&["--no-tui", "--policy", "prodution"], 2),
        (&["--no-tui", "--faults", "outag"], 2),
        (&["--no-tui", "--ca-file", "/nowhere"], 2),
        (&["--no-tui", "--users", ","], 2),
        (&["run", "outege"], 2),
        (&["run", "calm", "--policy", "prodution"], 2),
        (&["run", "suspend", "--real"], 2),
        (&["run", "calm", "--real", "--upstream", &dead], 3),
        (&["fuzz", "--count", "2"], 2),
    ] {
        let args = [args, journal].concat();
        assert_eq!(seawall(&args).status.code(), Some(code), "{args:?}");
        assert!(!file.exists(), "{args:?} left an empty file");
        fs::write(&file, "the journal of an earlier run").unwrap();
        let args = [&args[..], &["--overwrite"]].concat();
        assert_eq!(seawall(&args).status.code(), Some(code), "{args:?}");
        assert_eq!(
            fs::read(&file).unwrap(),
            b"the journal of an earlier run",
            "{args:?}"
        );
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn options_before_a_subcommand_take_effect() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("j.ndjson");
    let journal = file.to_str().unwrap();
    let run = seawall(&[
        "--seed",
        "31",
        "--policy",
        "exercise",
        "--journal",
        journal,
        "run",
        "calm",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(
        (&report["seed"], &report["policy"]),
        (&31.into(), &"exercise".into()),
        "{report}"
    );
    let header = fs::read_to_string(&file)
        .unwrap()
        .lines()
        .next()
        .unwrap()
        .to_owned();
    assert!(header.contains("\"seed\":31"), "{header}");
    let fuzz = seawall(&[
        "--seed",
        "5",
        "--overwrite",
        "--journal",
        journal,
        "fuzz",
        "--count",
        "1",
    ]);
    assert_eq!(fuzz.status.code(), Some(0));
    assert!(fs::read_to_string(&file).unwrap().contains("\"seed\":5"));
    for args in [
        &["--upstream", "http://127.0.0.1:9", "scenarios"][..],
        &["--faults", "mixed", "run", "calm"],
    ] {
        let refused = seawall(args);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(
            refused.status.code() == Some(2) && stderr.contains("has no effect"),
            "{stderr}"
        );
    }
}
