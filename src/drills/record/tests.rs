//! Drills recorded, saved and run again.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::text::Heading;
use super::*;
use crate::drills::scenario::{self, Report, Scene};
use crate::event::{BreakerMode, BurstUsers, CallId, ChatOptions, UserId};
use crate::session::bus::Bus;
use crate::session::{LocalSession, Session, UpstreamConfig};
use crate::settings::file::{self, NewFile};
use crate::settings::{QueueOrder, Range, SemanticLabel, SemanticMode, SemanticSettings};
use crate::time::{Clock, Utc};

/// 2026-11-25 23:51:02 UTC.
const NOW: u64 = 1_795_650_662;

fn outage() -> SessionConfig {
    SessionConfig {
        faults: file::load_faults("outage").unwrap(),
        ..SessionConfig::default()
    }
}

fn burst(calls: u32) -> Command {
    Command::Burst {
        calls,
        users: BurstUsers::One(UserId::new("ana")),
    }
}

fn ask(prompt: &str) -> Command {
    Command::Send {
        prompt: prompt.into(),
        user: UserId::new("ben"),
        conversation: true,
    }
}

/// Executes commands at their times in milliseconds, in virtual time, and returns the recording.
fn recorded(config: &SessionConfig, commands: Vec<(u64, Command)>, until: u64) -> Drill {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let recorder = Recorder::new(config);
        let clock = Clock::start();
        let session = LocalSession::start(config, clock, Bus::tapped(clock, recorder.tap()));
        let engine = session.engine.with_observer(recorder.observer());
        let at = |millis| Timestamp::ZERO + Duration::from_millis(millis);
        for (millis, command) in commands {
            clock.sleep_until(at(millis)).await;
            engine.execute(command);
        }
        clock.sleep_until(at(until)).await;
        recorder.drill(clock.now())
    })
}

/// The text of the saved file.
fn text(drill: &Drill) -> String {
    drill
        .text(Path::new("drill.toml"), Utc::from_unix_seconds(NOW))
        .unwrap()
        .0
}

/// Runs a text as `seawall run` does.
fn run(text: &str) -> (Scene, Report) {
    let scene = scenario::read("drill", text, None, None).unwrap();
    let outcome = scenario::in_virtual_time(&scene, None::<Vec<u8>>, &Arc::default()).unwrap();
    let report = Report::new(&scene, &outcome, true);
    (scene, report)
}

fn faults(on: bool) -> Command {
    Command::SetFaults { on }
}

/// Burst, outage on, burst, outage off, burst.
fn drill() -> Drill {
    let commands = vec![
        (1_503, burst(20)),
        (6_000, faults(true)),
        (6_204, burst(50)),
        (20_000, faults(false)),
        (60_000, burst(20)),
    ];
    recorded(&outage(), commands, 90_000)
}

#[test]
fn a_recorded_drill_runs_headless_and_passes() {
    let text = text(&drill());
    let (scene, report) = run(&text);
    assert!(report.met, "{report}\n{text}");
    assert_eq!(report.measures["calls"], Some(90.0));
    assert_eq!(scene.scenario.duration, Duration::from_secs(90));
    // an outage without effect would prove nothing
    assert!(report.measures["breaker_opened"] > Some(0.0), "{report}");
    assert!(report.expectations.len() >= 8, "{text}");
    // without the outage the expectations fail
    let calm = text.replace("on = true", "on = false");
    let (_, report) = run(&calm);
    assert!(!report.met, "{report}");
}

#[test]
fn the_saved_file_is_readable() {
    let text = text(&drill());
    let begins = "# A recorded drill, saved by seawall ";
    assert!(text.starts_with(begins), "{text}");
    for part in [
        " on 2026-11-25 23:51:02 UTC.\n# 90 calls in 90s under the policy production; upstream: the built-in simulator.\n",
        "#   seawall run drill.toml\n",
        "\nname = \"drill\"\nabout = \"a recorded drill: 3 bursts, fault profile outage\"\nseed = 7\nduration = \"90s\"\n",
        "\n[policy]\nbase = \"production\"\n",
        "\n[requests]\nanswer_tokens = 256\nusers = [\"ana\", \"ben\", \"cleo\", \"dev\"]\n",
        "\n# Commands and their times.\n\n[[command]]\nat = \"1.5s\"\ndo = { burst = { calls = 20, user = \"ana\" } }\n\
         \n[[command]]\nat = \"6s\"\ndo = { faults = { on = true, profile = \"outage\" } }\n\
         \n[[command]]\nat = \"6.2s\"\ndo = { burst = { calls = 50, user = \"ana\" } }\n\
         \n[[command]]\nat = \"20s\"\ndo = { faults = { on = false } }\n",
        "\n[[expect]]\nmeasure = \"calls\" # calls that began: was 90\nat_least = 90\nat_most = 90\n",
    ] {
        assert!(text.contains(part), "{part}\nin\n{text}");
    }
}

/// A load is written as callers, which make as many calls at the same times.
#[test]
fn a_load_is_saved_as_callers() {
    let load = |text: &str| Command::SetLoad {
        load: crate::event::read_load(text).unwrap(),
    };
    let commands = vec![
        (2_000, load("10/s 20s as ana")),
        (30_000, load("1..5/s 10s")),
        (45_000, load("4/s repeat 0%")),
        (50_000, Command::CancelAll),
    ];
    let text = text(&recorded(&SessionConfig::default(), commands, 60_000));
    for part in [
        "about = \"a recorded drill: 3 loads\"\n",
        "\n# Loads.\n\n[[callers]]\nusers = [\"ana\"]\narrival.steady = { per_s = 10 }\nfrom = \"1.9s\"\nuntil = \"22s\"\n\
         prompts = { repeat = 0.4 }\nmax_tokens = 64\n",
        "arrival.ramp = { from_per_s = 1, to_per_s = 5 }\nfrom = \"30s\"\nuntil = \"40s\"\n",
        "from = \"44.75s\"\nuntil = \"50s\"\nprompts = { repeat = 0 }\n",
        // 200 + 30 + 20
        "measure = \"calls\" # calls that began: was 250\nat_least = 250\nat_most = 250\n",
    ] {
        assert!(text.contains(part), "{part}\nin\n{text}");
    }
    let (_, report) = run(&text);
    assert!(report.met, "{report}");
}

/// A ramp that was stopped keeps its slope, and one with random intervals keeps them.
#[test]
fn a_ramp_is_saved_as_far_as_it_went() {
    let load = crate::event::read_load("2..10/s 8s poisson").unwrap();
    let commands = vec![(1_000, Command::SetLoad { load }), (5_000, Command::CancelAll)];
    let text = text(&recorded(&SessionConfig::default(), commands, 10_000));
    let ramp =
        "arrival.ramp = { from_per_s = 2, to_per_s = 6, poisson = true }\nfrom = \"1s\"\nuntil = \"5s\"\n";
    assert!(text.contains(ramp), "{text}");
    let (scene, _) = run(&text);
    assert_eq!(scene.scenario.duration, Duration::from_secs(10));
}

/// Prompts are preserved, and the file contains no control characters.
#[test]
fn hostile_prompts_are_preserved() {
    let prompts = [
        "\"quoted\" and 'quoted' and \"\"\"thrice\"\"\"",
        "two\nlines\r\nand a\ttab",
        "back\\slash \\n \\u0041",
        "\u{1b}[2J\u{1b}]0;title\u{7} \u{9b}31m \u{202e}reversed \u{200b}",
        "# no comment\n[[expect]]\nmeasure = \"calls\"",
        "}} ] 🦀 ünïcödé",
    ];
    let commands = prompts.iter().enumerate();
    let commands = commands.map(|(index, prompt)| (index as u64 * 1000, ask(prompt)));
    let text = text(&recorded(&SessionConfig::default(), commands.collect(), 30_000));
    let printable = |c: char| c == '\n' || !(c.is_control() || matches!(c, '\u{200b}' | '\u{202e}'));
    assert!(text.chars().all(printable), "{text}");
    let (scene, report) = run(&text);
    assert!(report.met, "{report}");
    let read: Vec<&str> = scene.commands.iter().filter_map(prompt).collect();
    assert_eq!(read, prompts);
}

fn prompt(timed: &TimedCommand) -> Option<&str> {
    match &timed.command {
        Command::Send { prompt, .. } => Some(prompt),
        _ => None,
    }
}

/// A change of policy is recorded as the settings that changed; settings switched by a key are not repeated.
#[test]
fn a_change_of_policy_is_recorded_as_its_changed_settings() {
    let begins = Policy::default();
    let mut switched = begins.clone();
    switched.limit.order = QueueOrder::Fifo;
    switched.cache.enabled = false;
    let set = |policy: &Policy, path, value| policy.with(path, value).unwrap();
    let quick = set(&set(&switched, "retry.attempts", "1"), "breaker.open", "10s");
    let named = set(&quick, "limit.users.\"ann.b\".weight", "3");
    let apply = |policy: &Policy| Command::ApplyPolicy {
        policy: Box::new(policy.clone()),
    };
    let commands = vec![
        (0, faults(true)),
        (500, Command::SetCache { on: false }),
        (
            600,
            Command::SetQueueOrder {
                order: QueueOrder::Fifo,
            },
        ),
        (1_000, apply(&quick)),
        // no change, so no command
        (1_500, apply(&quick)),
        (2_000, burst(8)),
        (3_000, apply(&named)),
        (4_000, apply(&quick)),
        (5_000, apply(&begins)),
        (40_000, burst(8)),
    ];
    let drill = recorded(&outage(), commands, 90_000);
    let text = text(&drill);
    for part in [
        "\nat = \"1s\"\ndo = { set = [\"breaker.open=10s\", \"retry.attempts=1\"] }\n",
        "\nat = \"3s\"\ndo = { set = [\"limit.users.\\\"ann.b\\\".weight=3\"] }\n",
        "\nat = \"4s\"\ndo = { set = [\"limit.users.\\\"ann.b\\\"=none\"] }\n",
        "\nat = \"5s\"\ndo = { set = [\n    \"breaker.open=5s\",\n    \"cache.enabled=true\",\n    \"limit.order=fair\",\n    \"retry.attempts=3\",\n] }\n",
        "2 bursts, fault profile outage, 4 policy changes\"\n",
    ] {
        assert!(text.contains(part), "{part}\nin\n{text}");
    }
    let (scene, report) = run(&text);
    assert_eq!(scene.scenario.commands.len(), 9);
    assert!(report.met, "{report}\n{text}");
    // the settings take effect: others give more attempts
    let untouched = text.replace("\"breaker.open=10s\", ", "\"breaker.enabled=false\", ");
    assert_ne!(untouched, text);
    let (_, more) = run(&untouched);
    assert!(more.measures["attempts"] > report.measures["attempts"], "{more}");
}

#[test]
fn many_changed_settings_have_a_line_each() {
    let to = file::load_policy("exercise").unwrap();
    let commands = vec![
        (0, Command::ApplyPolicy { policy: Box::new(to) }),
        (10, ask("why?")),
    ];
    let text = text(&recorded(&SessionConfig::default(), commands, 30_000));
    let begins = "do = { set = [\n    \"breaker.counts=call\",\n";
    assert!(text.contains(begins), "{text}");
    let (_, report) = run(&text);
    assert!(report.met, "{report}");
}

/// Rates with many decimals are rounded, and still add up to at most 1.
#[test]
fn rates_are_rounded_so_that_the_file_is_valid() {
    let third = 1.0 / 3.0;
    let rates = FaultProfile {
        name: "thirds".into(),
        about: "not saved".into(),
        reset: third,
        unavailable: third,
        server_error: third,
        ..FaultProfile::default()
    };
    let config = SessionConfig {
        faults: rates,
        faults_on: true,
        ..SessionConfig::default()
    };
    let text = text(&recorded(&config, vec![(0, ask("why?"))], 60_000));
    let line = "do = { faults = { on = true, rates = { name = \"thirds\", reset = 0.3333, \
                server_error = 0.3333, unavailable = 0.3333 } } }\n";
    assert!(text.contains(line), "{text}");
    assert!(run(&text).1.met, "{text}");
}

/// Commands are read back with the same times.
#[test]
fn every_command_is_read_back() {
    let rates = FaultProfile {
        name: "my \"own\"".into(),
        unavailable: 0.125,
        stall_for: Duration::from_millis(1500),
        latency: Some(LatencyProfile::default()),
        ..FaultProfile::default()
    };
    let commands = vec![
        ask("why?"),
        Command::Burst {
            calls: 3,
            users: BurstUsers::All,
        },
        faults(true),
        Command::SetFaultProfile {
            profile: Box::new(rates),
        },
        faults(false),
        Command::SetChat {
            options: ChatOptions {
                system: Some("Be \"brief\".".into()),
                temperature: Some(0.7),
            },
        },
        Command::SetChat {
            options: ChatOptions::default(),
        },
        Command::Cancel { call: CallId(2) },
        Command::CancelAll,
        Command::ForgetConversation,
        Command::SetCache { on: false },
        Command::SetCache { on: true },
        Command::ClearCache,
        Command::SetSemantic {
            mode: SemanticMode::Shadow,
        },
        Command::LabelHit {
            call: CallId(1),
            good: false,
        },
        Command::SetQueueOrder {
            order: QueueOrder::Fifo,
        },
        Command::ApplyPolicy {
            policy: Box::new(file::load_policy("exercise").unwrap()),
        },
        Command::SetBreaker {
            mode: BreakerMode::ForcedOpen,
        },
        Command::SetBreaker {
            mode: BreakerMode::ForcedClosed,
        },
        Command::SetBreaker {
            mode: BreakerMode::Automatic,
        },
        Command::ResetBreaker,
    ];
    let timed = commands.into_iter().enumerate();
    let timed = timed.map(|(index, command)| (index as u64 * 10, command));
    let drill = recorded(&outage(), timed.collect(), 1_000);
    let (scene, _) = run(&text(&drill));
    assert_eq!(scene.scenario.commands.len(), 21);
    assert_eq!(scene.commands, drill.commands);
}

#[test]
fn a_policy_is_saved_as_its_preset_or_its_differences() {
    let mut odd = file::load_policy("exercise").unwrap();
    odd.retry.attempts = 9;
    odd.limit.requests.capacity = 11;
    for (policy, base) in [
        (file::load_policy("production").unwrap(), "production"),
        (file::load_policy("exercise").unwrap(), "exercise"),
        (odd, "production"),
    ] {
        let config = SessionConfig {
            policy: policy.clone(),
            ..SessionConfig::default()
        };
        let drill = recorded(&config, vec![(0, ask("why?"))], 5_000);
        let heading = Heading {
            name: "drill",
            file: "drill.toml",
            when: Utc::from_unix_seconds(NOW),
        };
        let text = text::write(&drill, heading, &[]);
        assert!(text.contains(&format!("base = \"{base}\"\n")), "{text}");
        let mut read = scenario::read("drill", &text, None, None).unwrap().policy;
        read.name.clone_from(&policy.name);
        assert_eq!(read, policy, "{text}");
    }
}

/// A headless run has no remote upstream or embedder: the file names their replacements.
#[test]
fn replacements_of_remote_servers_are_named() {
    let replacements = |text: &str| text.lines().filter(|line| line.contains(" replaces ")).count();
    let here = text(&recorded(&outage(), vec![(0, burst(2))], 9_000));
    assert_eq!(replacements(&here), 0, "{here}");
    let mut config = SessionConfig {
        upstream: Some(UpstreamConfig::new(
            Url::parse("http://10.0.0.7:8034/v1").unwrap(),
        )),
        ..outage()
    };
    config.policy.semantic.mode = SemanticMode::On;
    config.policy.semantic.embedder = Some("https://user:word@embed.example/v1?key=k".into());
    let text = text(&recorded(
        &config,
        vec![(0, ask("why?")), (5_000, ask("why so?"))],
        9_000,
    ));
    assert_eq!(replacements(&text), 2, "{text}");
    assert!(text.contains("; upstream: 10.0.0.7:8034.\n"), "{text}");
    assert!(
        text.contains("\n# The built-in embedder replaces embed.example in a headless run"),
        "{text}"
    );
    assert!(!text.contains("word") && !text.contains("key=k"), "{text}");
    let (scene, report) = run(&text);
    assert!(report.met, "{report}\n{text}");
    // the default threshold of the built-in embedder
    assert_eq!(
        scene.policy.semantic,
        SemanticSettings {
            mode: SemanticMode::On,
            ..SemanticSettings::default()
        }
    );
}

/// Labels of earlier hits are irrelevant in a drill without a semantic cache.
#[test]
fn labels_are_saved_only_with_a_semantic_cache() {
    let mut config = outage();
    config.policy.semantic.labels = vec![SemanticLabel {
        request: "8613424a4fc9190a2da23823c406faa5".into(),
        good: 2,
        bad: 0,
        threshold: None,
    }];
    let plain = text(&recorded(&config, vec![(0, burst(2))], 9_000));
    assert!(!plain.contains("labels"), "{plain}");
    let on = Command::SetSemantic {
        mode: SemanticMode::On,
    };
    let semantic = text(&recorded(&config, vec![(0, on), (1, burst(2))], 9_000));
    assert!(
        semantic.contains("\nlabels = [{ bad = 0, good = 2, request = \"8613"),
        "{semantic}"
    );
    assert!(run(&semantic).1.met, "{semantic}");
}

/// The end of the session cancels running calls, and is recorded as such.
#[test]
fn an_end_with_running_calls_is_recorded_as_cancel_all() {
    let recorder = Recorder::new(&outage());
    let drill = recorded(&outage(), vec![(0, burst(5))], 100);
    assert_eq!(drill.running, 5);
    assert!(text(&drill).contains("# Saved with 5 running calls.\n"));
    recorder.lock().tally = drill.tally;
    recorder.end(Timestamp::ZERO + Duration::from_millis(104));
    // recorded once
    recorder.end(Timestamp::ZERO + Duration::from_millis(150));
    let commands = recorder.drill(Timestamp::ZERO).commands;
    let cancelled = TimedCommand {
        at: Timestamp::ZERO + Duration::from_millis(100),
        command: Command::CancelAll,
    };
    assert_eq!(commands, [cancelled]);
}

/// The engine reports its shutdown to observers before it cancels calls.
#[tokio::test(start_paused = true)]
async fn an_engine_without_senders_reports_its_shutdown() {
    let config = outage();
    let recorder = Recorder::new(&config);
    let clock = Clock::start();
    let session = LocalSession::start(&config, clock, Bus::tapped(clock, recorder.tap()));
    let engine = session.engine.with_observer(recorder.observer());
    let (commands, obeyed) = tokio::sync::mpsc::channel(1);
    commands.send(burst(5)).await.unwrap();
    let person = async {
        clock
            .sleep_until(Timestamp::ZERO + Duration::from_millis(100))
            .await;
        drop(commands);
    };
    tokio::join!(engine.run(obeyed), person);
    engine.settled().await;
    recorder.end(clock.now());
    let commands = recorder.drill(clock.now()).commands;
    let commands: Vec<Command> = commands.into_iter().map(|timed| timed.command).collect();
    assert!(
        matches!(commands[..], [Command::Burst { .. }, Command::CancelAll]),
        "{commands:?}"
    );
}

#[test]
fn nothing_is_overwritten_and_nothing_empty_is_left() {
    let dir = std::env::temp_dir().join(format!("seawall-record-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let idle = recorded(&outage(), vec![(0, faults(true))], 10);
    let target = SaveTarget::New(NewFile::Dated(dir.clone()));
    assert!(matches!(idle.save(&target, NOW), Err(SaveError::Empty)));
    let short = recorded(&outage(), vec![(0, burst(2))], 9_000);
    let first = short.save(&target, NOW).unwrap();
    let second = short.save(&target, NOW).unwrap();
    assert_eq!(first.path, dir.join("drill-20261125-235102.toml"));
    assert_eq!(second.path, dir.join("drill-20261125-235102-2.toml"));
    assert!(
        first
            .to_string()
            .starts_with("saved drill-20261125-235102.toml: 1 command, "),
        "{first}"
    );
    let missing = SaveTarget::File(dir.join("no such").join("drill.toml"));
    let refused = short.save(&missing, NOW).unwrap_err().to_string();
    assert!(refused.starts_with("cannot write "), "{refused}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2);
    fs::remove_dir_all(&dir).unwrap();
}

/// Over sockets and in real time: expectations that do not hold headless are left out, so the rest passes.
#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_live_session_passes() {
    let at_once = Range { min_ms: 0, max_ms: 0 };
    let mut config = SessionConfig {
        latency: LatencyProfile {
            first_token: at_once,
            between_tokens: at_once,
        },
        faults: FaultProfile {
            unavailable: 1.0,
            ..FaultProfile::default()
        },
        ..SessionConfig::default()
    };
    config.policy.retry.attempts = 1;
    let recorder = Recorder::new(&config);
    let clock = Clock::start();
    let bus = Bus::tapped(clock, recorder.tap());
    let session = Session::start_on(config, clock, bus).await.unwrap();
    let engine = session.engine().clone().with_observer(recorder.observer());
    for command in [burst(10), faults(true), burst(10), faults(false), burst(10)] {
        engine.execute(command);
        engine.settled().await;
    }
    let drill = recorder.drill(clock.now());
    session.shutdown().await;
    assert_eq!((drill.calls, drill.running), (30, 0));
    let report = tokio::task::spawn_blocking(move || run(&text(&drill)).1);
    let report = report.await.unwrap();
    assert!(report.met, "{report}");
    assert_eq!(report.measures["calls"], Some(30.0));
}
