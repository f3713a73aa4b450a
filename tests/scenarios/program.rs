//! The program: exit codes, messages, and a run over sockets.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub(crate) fn seawall(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_seawall"))
        .args(arguments)
        .env_remove("SEAWALL_UPSTREAM")
        .env_remove("SEAWALL_POLICY")
        .env_remove("SEAWALL_MODEL")
        .output()
        .unwrap()
}

fn file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("scenario.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn gateway_keys_are_printed_once_and_an_open_gateway_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("own/keys.toml");
    let file = keys.to_str().unwrap();
    let added = seawall(&["key", "add", "web", "--keys", file]);
    assert!(added.status.success(), "{added:?}");
    let key = String::from_utf8(added.stdout.clone()).unwrap().trim().to_owned();
    assert!(key.starts_with("sw-") && key.len() == 67, "{key}");
    assert!(!stderr(&added).contains(&key));
    let kept = std::fs::read_to_string(&keys).unwrap();
    assert!(kept.contains("web") && !kept.contains(&key), "{kept}");
    let listed = seawall(&["--keys", file, "key", "list"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "web\n");
    let again = seawall(&["key", "add", "web", "--keys", file]);
    assert_eq!(again.status.code(), Some(2));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use = seawall(&["serve", "--listen", &address, "--keys", file]);
    assert_eq!(in_use.status.code(), Some(2));
    let message = stderr(&in_use);
    assert!(
        message.contains(&address) && message.contains("--listen"),
        "{message}"
    );
    assert!(
        seawall(&["key", "remove", "web", "--keys", file])
            .status
            .success()
    );
    let empty = seawall(&["serve", "--listen", &address, "--keys", file]);
    assert_eq!(empty.status.code(), Some(2));
    assert!(stderr(&empty).contains("seawall key add"), "{}", stderr(&empty));
}

/// 800 ms of a healthy upstream.
const SHORT: &str = r#"
name = "short"
duration = "800ms"

[[callers]]
arrival.steady = { per_s = 5.0 }
max_tokens = 8

[[expect]]
measure = "served_share"
at_least = 1.0
"#;

#[test]
fn the_list_has_a_line_per_scenario() {
    let output = seawall(&["scenarios"]);
    assert_eq!(output.status.code(), Some(0));
    let list = String::from_utf8(output.stdout).unwrap();
    let names: Vec<&str> = list.lines().filter_map(|line| line.split(' ').next()).collect();
    let bundled: Vec<&str> = seawall::drills::scenario::bundled()
        .iter()
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(names, bundled);
    assert!(list.lines().all(|line| line.len() > 40), "{list}");
}

#[test]
fn json_matches_the_schema_and_a_pass_is_exit_code_0() {
    let output = seawall(&["run", "thundering-herd", "--json", "--seed", "3"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    crate::schema::validate(&crate::schema::committed(), &report).unwrap();
    assert_eq!((&report["met"], &report["seed"]), (&true.into(), &3.into()));
}

#[test]
fn a_failed_expectation_is_exit_code_1_and_is_named() {
    let output = seawall(&["run", "textbook", "--policy", "production"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("policy production"), "{report}");
    assert!(report.contains("not met   amplification is "), "{report}");
    assert!(report.ends_with("FAILED\n"), "{report}");
}

/// The elements of a well-formed XML text: tag, and its attributes `name` and `message`.
fn elements(xml: &str) -> Vec<(String, String)> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let (mut all, mut open) = (Vec::new(), 0);
    loop {
        use quick_xml::events::Event;
        let event = reader.read_event().unwrap();
        open += match event {
            Event::Start(_) => 1,
            Event::End(_) => -1,
            _ => 0,
        };
        match event {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => {
                let attribute = |name: &str| {
                    let mut all = tag.attributes().map(Result::unwrap);
                    let found = all.find(|one| one.key.as_ref() == name);
                    found.map_or_else(String::new, |one| {
                        one.normalized_value(quick_xml::XmlVersion::Implicit1_0)
                            .unwrap()
                            .into_owned()
                    })
                };
                let text = format!("{} {}", attribute("name"), attribute("message"));
                all.push((tag.name().as_ref().to_owned(), text.trim().to_owned()));
            }
            _ => {}
        }
    }
    assert_eq!(open, 0);
    all
}

#[test]
fn junit_has_a_case_per_expectation_and_marks_failures() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = SHORT.replace("name = \"short\"", "name = \"a <b> & \\\"c\\\" | `d`\"");
    let text = hostile + "\n[[expect]]\nmeasure = \"retries\"\nat_least = 3.0\nuser = \"a<b>&\"\n";
    let path = file(folder.path(), &text);
    let output = seawall(&["run", path.to_str().unwrap(), "--format", "junit"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let all = elements(&String::from_utf8(output.stdout).unwrap());
    let of = |name: &str| -> Vec<&str> {
        let found = all.iter().filter(|(tag, _)| tag == name);
        found.map(|(_, text)| text.as_str()).collect()
    };
    assert_eq!(of("testsuite"), ["a <b> & \"c\" | `d`"]);
    let cases = of("testcase");
    assert_eq!(cases[..2], ["all invariants hold", "served_share at least 1"]);
    assert_eq!(cases[2..], ["retries at least 3 for a<b>&"]);
    assert_eq!(of("failure"), ["retries is 0, at least 3 for a<b>&"]);

    let output = seawall(&["run", path.to_str().unwrap(), "--format", "md"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("## a &lt;b&gt; &amp; \"c\" \\| \\`d\\`: FAILED\n"),
        "{text}"
    );
    assert!(
        text.contains("| retries at least 3 for a&lt;b&gt;&amp; | 0 | NOT MET |"),
        "{text}"
    );
}

#[test]
fn charts_go_into_a_new_folder_and_are_reproducible() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), SHORT);
    let charts = |name: &str| {
        let into = folder.path().join(name).join("charts");
        let output = seawall(&["run", path.to_str().unwrap(), "--charts", into.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let chart = into.join("timeline.svg");
        assert_eq!(stderr(&output), format!("seawall: wrote {}\n", chart.display()));
        std::fs::read_to_string(chart).unwrap()
    };
    let first = charts("one");
    assert_eq!(first, charts("two"));
    assert!(!elements(&first).is_empty());
    let output = seawall(&["run", path.to_str().unwrap(), "--charts", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("scenario.toml"), "{}", stderr(&output));
}

#[test]
fn a_mistake_in_a_file_is_reported_with_its_line_and_the_closest_name() {
    let folder = tempfile::tempdir().unwrap();
    let head = "duration = \"10s\"\n[[callers]]\narrival.steady = { per_s = 1.0 }\n";
    let phase = |from, until| {
        format!("[[upstream.phase]]\nfrom = \"{from}\"\nuntil = \"{until}\"\nfaults = \"outage\"\n")
    };
    let cases: [(String, &[&str]); 15] = [
        (
            format!("durration = \"1s\"\n{head}"),
            &["line 1", "did you mean `duration`"],
        ),
        (
            format!("{head}temprature = 0.5\n"),
            &["line 4", "did you mean `temperature`"],
        ),
        (
            format!("{head}[[expect]]\nmeasure = \"amplificaton\"\nat_most = 1.0\n"),
            &["line 5", "did you mean `amplification`"],
        ),
        (
            format!("{head}[[upstream.phase]]\nfrom = \"1s\"\nuntil = \"2s\"\nfaults = \"outtage\"\n"),
            &["no fault profile 'outtage'", "did you mean outage?"],
        ),
        (
            format!("{head}[policy]\nbase = \"prodution\"\n"),
            &["did you mean production?"],
        ),
        (
            format!("{head}[policy.breaker]\nfailure_rate = 1.5\n"),
            &["policy.breaker.failure_rate = 1.5"],
        ),
        (
            format!("{head}{}{}", phase("1s", "5s"), phase("4s", "6s")),
            &["phases overlap", "ends at 5s", "begins at 4s"],
        ),
        (
            format!("{head}{}", phase("5s", "5s")),
            &["fault phase from 5s until 5s is empty: it must end after it begins"],
        ),
        (
            format!("{head}[[expect]]\nmeasure = \"calls\"\n"),
            &["neither at_least nor at_most"],
        ),
        (
            format!("{head}[[expect]]\nmeasure = \"attempts\"\nat_most = 1\nuser = \"ana\"\n"),
            &["of the whole run"],
        ),
        (
            format!("{head}[[command]]\nat = \"1s\"\ndo = \"force_opne\"\n"),
            &["line 6", "did you mean `force_open`"],
        ),
        ("duration = \"10s\"\ncallers = []\n".into(), &["no callers"]),
        (
            head.replace("10s", "24h 1s"),
            &["duration = 24h 1s (must be above zero and at most a day)"],
        ),
        (
            format!("{head}until = \"90s\"\n"),
            &[
                "callers from 0s until 1m 30s: must end",
                "within the scenario (10s)",
            ],
        ),
        (head.replace("1.0", "0.0"), &["per_s = 0"]),
    ];
    assert_rejected(folder.path(), &cases);
}

#[test]
fn an_invalid_setting_is_reported_with_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let command = |at: &str, action: &str| format!("[[command]]\nat = \"{at}\"\ndo = {action}\n");
    let head = format!(
        "duration = \"10s\"\n{}",
        command("1s", "{ burst = { calls = 1 } }")
    );
    let set = |settings: &str| format!("{head}{}", command("9s", &format!("{{ set = {settings} }}")));
    // commands are checked in time order: under the exercise policy open_max is 30s
    let exercise = command("2s", "{ apply_policy = \"exercise\" }");
    let later = set("[\"breaker.open=31s\"]") + &exercise;
    let cases: [(String, &[&str]); 7] = [
        (
            set("[\"retry.atempts=1\"]"),
            &[
                "set at 9s: retry.atempts: no such setting",
                "did you mean retry.attempts?",
            ],
        ),
        (
            set("[\"retry.attempts=many\"]"),
            &[
                "set at 9s: retry.attempts: 'many': invalid type",
                "expected a whole number, 0 or more",
            ],
        ),
        (
            set("[\"retry.attempts=0\"]"),
            &["set at 9s: retry.attempts = 0 (must be from 1 to 100"],
        ),
        (
            set("[\"retry.attempts\"]"),
            &["'retry.attempts': write a setting"],
        ),
        (set("[]"), &["command at 9s: set = []"]),
        (
            set("[\"retry.base=9s\"]"),
            &["retry.base = 9s (must be at most retry.cap)"],
        ),
        (
            later,
            &["set at 9s: breaker.open = 31s", "at most breaker.open_max"],
        ),
    ];
    assert_rejected(folder.path(), &cases);
}

#[test]
fn a_mistake_in_a_command_is_reported_with_a_correction() {
    let folder = tempfile::tempdir().unwrap();
    let calls = "{ burst = { calls = 1 } }";
    let head = "duration = \"10s\"\n";
    let command = |action| format!("[[command]]\nat = \"1s\"\ndo = {action}\n");
    let alone = |action| format!("{head}{}", command(action));
    let after = |action| format!("{head}{}{}", command(calls), command(action));
    let cases: [(String, &[&str]); 7] = [
        (alone("\"clear_cache\""), &["no callers", "[[command]]"]),
        (
            alone("{ burst = { calls = 0 } }"),
            &["burst.calls = 0", "must be 1 to 100000"],
        ),
        (
            alone("{ send = { prompt = \" \" } }"),
            &["send.prompt is empty: write the text to send"],
        ),
        (
            after("{ suspend = \"25h\" }"),
            &["command at 1s: suspend = 25h (must be at most a day)"],
        ),
        (
            format!(
                "{}[[command]]\nat = \"90s\"\ndo = {{ set = [] }}\n",
                after(calls).replace("10s", "2m")
            ),
            &["command at 1m 30s: set = []"],
        ),
        (
            after("{ faults = { on = true, profile = \"outtage\" } }"),
            &["did you mean outage?"],
        ),
        (
            after("{ faults = { on = true, profile = \"slow\", rates = {} } }"),
            &["not both"],
        ),
    ];
    assert_rejected(folder.path(), &cases);
}

/// Asserts that each file is rejected with one line that contains these words.
fn assert_rejected(folder: &Path, cases: &[(String, &[&str])]) {
    for (text, words) in cases {
        let path = file(folder, text);
        let output = seawall(&["run", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        let message = stderr(&output);
        assert_eq!(message.lines().count(), 1, "{message}");
        for word in *words {
            assert!(message.contains(word), "'{word}' is not in: {message}");
        }
    }
}

#[test]
fn an_unknown_scenario_or_folder_is_exit_code_2() {
    let output = seawall(&["run", "outege"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("did you mean outage?"),
        "{}",
        stderr(&output)
    );
    let output = seawall(&["run", "calm", "--journal", "/nowhere/at/all.ndjson"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("/nowhere/at/all.ndjson"));
    let output = seawall(&["run", "suspend", "--real"]);
    assert_eq!(output.status.code(), Some(2), "suspend needs virtual time");
    let earlier = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(earlier.path(), "the journal of an earlier run").unwrap();
    let journal = earlier.path().to_str().unwrap();
    for refused in [
        &["run", "suspend", "--real", "--journal", journal][..],
        &[
            "run",
            "calm",
            "--real",
            "--upstream",
            "nowhere",
            "--journal",
            journal,
        ],
        &["fuzz", "--count", "2", "--journal", journal],
    ] {
        assert_eq!(seawall(refused).status.code(), Some(2), "{refused:?}");
        let left = std::fs::read_to_string(journal).unwrap();
        assert_eq!(left, "the journal of an earlier run", "{refused:?}");
    }
    assert_eq!(seawall(&["run"]).status.code(), Some(2));
}

#[test]
fn an_unreachable_upstream_is_exit_code_3() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let output = seawall(&["run", "calm", "--real", "--upstream", &url]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("127.0.0.1"), "{}", stderr(&output));
}

#[test]
fn a_scenario_plays_in_real_time_over_sockets_with_a_complete_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), SHORT);
    let journal = folder.path().join("journal.ndjson");
    let journal = journal.to_str().unwrap();
    let output = seawall(&[
        "run",
        path.to_str().unwrap(),
        "--real",
        "--json",
        "--journal",
        journal,
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::schema::validate(&crate::schema::committed(), &report).unwrap();
    assert_eq!(report["virtual"], false);
    assert!(report["measures"]["served"].as_f64() >= Some(2.0), "{report}");
    let journal = std::fs::read_to_string(journal).unwrap();
    assert!(journal.ends_with('\n'));
    let lines: Vec<serde_json::Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let begun = lines.iter().filter(|line| line["type"] == "call_started").count();
    let ended = lines.iter().filter(|line| line["type"] == "call_ended").count();
    assert!(begun >= 2 && begun == ended, "{begun} calls began, {ended} ended");
    let events = report["events"].as_u64().unwrap() as usize;
    let numbered = lines.iter().filter(|line| line.get("seq").is_some()).count();
    assert_eq!(numbered, events, "every event is in the journal");
}

#[test]
fn an_evaluation_prints_tables_or_json_and_reports_mistakes_by_line() {
    let text = seawall(&["semantic", "--eval"]);
    assert_eq!(text.status.code(), Some(0), "{}", stderr(&text));
    assert!(String::from_utf8_lossy(&text.stdout).contains("built-in, threshold 0.50"));
    let json = seawall(&["semantic", "--eval", "--json", "--threshold", "0.9"]);
    let report: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(report["embedders"][0]["threshold"], 0.9);
    assert!(report["embedders"][0]["pairs"].as_array().unwrap().len() > 300);

    let folder = tempfile::tempdir().unwrap();
    let pairs = file(folder.path(), "# mine\nrole\tone prompt\n");
    for (arguments, words) in [
        (
            &["semantic", "--eval", pairs.to_str().unwrap()][..],
            "line 2: 2 fields",
        ),
        (
            &["semantic", "--eval", "no/such/file"],
            "cannot read no/such/file",
        ),
        (
            &["semantic", "--eval", "--threshold", "1.5"],
            "invalid value '1.5' for '--threshold <T>': must be above 0 and at most 1, for example 0.8",
        ),
        (
            &["semantic", "--eval", "--embedder", "ftp://h"],
            "--embedder ftp://h: unsupported scheme 'ftp'",
        ),
    ] {
        let output = seawall(arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn an_unreachable_embedder_is_exit_code_3_and_semantic_alone_prints_usage() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = seawall(&["semantic", "--eval", "--embedder", &format!("http://{closed}")]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("nothing listens at"),
        "{}",
        stderr(&output)
    );
    let output = seawall(&["semantic"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("seawall semantic --eval"));
}

#[test]
fn a_comparison_fails_only_as_junit_and_its_markdown_links_the_charts() {
    let folder = tempfile::tempdir().unwrap();
    let failing = SHORT.replace("800ms", "30s")
        + "\n[[upstream.phase]]\nfrom = \"1s\"\nuntil = \"30s\"\nrates = { name = \"half\", server_error = 0.3 }\n";
    let path = file(folder.path(), &failing);
    let charts = folder.path().join("out dir");
    let base = ["compare", "production+breaker.enabled=false", "--scenario"];
    let base = [&base[..], &[path.to_str().unwrap(), "--seeds", "8"]].concat();
    let compare = |more: &[&str]| {
        let output = seawall(&[&base, more].concat());
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let worse = ["production+breaker.enabled=false+retry.attempts=1"];
    let (code, text) = compare(&[&worse[..], &["--format", "junit"]].concat());
    assert_eq!(code, Some(1), "{text}");
    let all = elements(&text);
    let failed: Vec<&(String, String)> = all.iter().filter(|(tag, _)| tag == "failure").collect();
    assert_eq!(failed.len(), 1, "{text}");
    assert!(failed[0].1.starts_with("served: "), "{failed:?}");
    let (_, text) = compare(&[&worse[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    crate::schema::validate(&crate::schema::of_comparisons(), &json).unwrap();
    assert!(
        json["policies"][1]["rows"][1]["difference"]["high"]
            .as_f64()
            .unwrap()
            < 0.0
    );
    let (code, text) = compare(&["production+breaker.enabled=false", "--format", "junit"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(!elements(&text).iter().any(|(tag, _)| tag == "failure"), "{text}");

    let (code, text) = compare(
        &[
            &worse[..],
            &["--format", "md", "--charts", charts.to_str().unwrap()],
        ]
        .concat(),
    );
    assert_eq!(code, Some(0), "{text}");
    let links: Vec<&str> = text.lines().filter(|line| line.starts_with("![")).collect();
    let files = [
        "tradeoff.svg",
        "compare-measures.svg",
        "compare-calls.svg",
        "compare-attempts.svg",
        "compare-latency.svg",
    ];
    assert_eq!(links.len(), files.len(), "{text}");
    for (link, file) in links.iter().zip(files) {
        assert!(link.ends_with(&format!("/out%20dir/{file})")), "{link}");
        let svg = std::fs::read_to_string(charts.join(file)).unwrap();
        assert!(!elements(&svg).is_empty());
    }
}

#[test]
fn messages_name_standard_input() {
    for arguments in [
        &["check", "-"][..],
        &["why", "-"],
        &["compare", "--off", "cache", "--journal", "-"],
    ] {
        let output = seawall(arguments);
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(message.starts_with("seawall: standard input: "), "{message}");
    }
}

#[test]
fn a_journal_is_replayed_under_other_policies_and_damage_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calm.ndjson");
    let file = path.to_str().unwrap();
    let played = seawall(&["run", "calm", "--journal", file]);
    assert_eq!(played.status.code(), Some(0), "{}", stderr(&played));

    let output = seawall(&[
        "compare",
        "production+retry.attempts=1",
        "--journal",
        file,
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    crate::schema::validate(&crate::schema::of_comparisons(), &json).unwrap();
    // a single policy is compared with the recorded one
    assert_eq!(json["policies"].as_array().unwrap().len(), 2);
    assert_eq!(json["policies"][0]["policy"], "production");
    let recorded = &json["recorded"];
    assert_eq!(
        (&json["seeds"], &recorded["same_fate_share"]),
        (&1.into(), &1.0.into())
    );
    assert_eq!(recorded["observed"], recorded["replayed"]);
    assert_eq!(
        recorded["calls"],
        json["policies"][0]["rows"][0]["mean"].as_f64().unwrap() as u64
    );

    let text = seawall(&["compare", "--off", "cache,retry", "--journal", file]);
    let text = String::from_utf8(text.stdout).unwrap();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("recorded under production, replayed once"),
        "{text}"
    );
    assert!(
        text.contains("100.0 % of the calls end with the recorded fate"),
        "{text}"
    );
    assert!(text.contains("The upstream is the simulator, with"), "{text}");

    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let torn = seawall(&["compare", "--off", "cache", "--journal", file]);
    assert_eq!(torn.status.code(), Some(0));
    assert!(stderr(&torn).contains("calls before it"), "{}", stderr(&torn));

    std::fs::write(&path, "no journal").unwrap();
    let none = seawall(&["compare", "--off", "cache", "--journal", file]);
    assert_eq!(none.status.code(), Some(2));
    assert!(stderr(&none).contains("not a journal"), "{}", stderr(&none));
    let both = seawall(&["compare", "--scenario", "calm", "--journal", file]);
    assert_eq!(both.status.code(), Some(2));
}
