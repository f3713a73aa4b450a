//! The options that a subcommand uses. clap accepts every option of the program before every subcommand; one without
//! an effect is an error here.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, Error, FromArgMatches as _};

use super::cli::{Cli, Mode};

/// The effect of an option on a subcommand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Used,
    /// Used only together with these options.
    Needs(&'static str),
    Unused,
}

/// Parses the command line. An option before a subcommand that has an option of the same name sets that one.
///
/// # Errors
/// For invalid options, and for an option without an effect.
pub(crate) fn parse<I>(arguments: I) -> Result<Cli, Error>
where
    I: IntoIterator<Item: Into<OsString> + Clone>,
{
    let mut command = hide_unused(Cli::command());
    let matches = command.try_get_matches_from_mut(arguments)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    let conflict =
        |command: &mut Command, message: String| command.error(ErrorKind::ArgumentConflict, message);
    if let Some(message) = unused(&command, &matches, &cli) {
        return Err(conflict(&mut command, message));
    }
    inherit(&mut cli, &matches).map_err(|message| conflict(&mut command, message))?;
    Ok(cli)
}

/// Returns true if the option is on the command line, and not from the environment or a default.
fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches.value_source(id) == Some(ValueSource::CommandLine)
}

/// Returns the message for the first option without an effect, if any.
fn unused(command: &Command, matches: &ArgMatches, cli: &Cli) -> Option<String> {
    let name = matches.subcommand_name();
    let target = name.map_or_else(|| "`seawall`".to_owned(), |name| format!("`seawall {name}`"));
    let given = command
        .get_arguments()
        .filter(|argument| is_given(matches, argument.get_id().as_str()));
    given.into_iter().find_map(|argument| {
        let (id, option) = (
            argument.get_id().as_str(),
            argument.get_long().unwrap_or_default(),
        );
        match effect(name, cli, id) {
            Effect::Used => None,
            Effect::Needs(others) => Some(format!("--{option} has no effect on {target} without {others}")),
            Effect::Unused => {
                let name = name?;
                let subcommand = command.find_subcommand(name)?;
                let own = subcommand
                    .get_arguments()
                    .find(|own| own.get_id() == argument.get_id());
                let remedy = match own.filter(|own| !own.is_global_set()) {
                    Some(_) => format!("write it after `{name}`, where it has another meaning"),
                    None => "remove it".to_owned(),
                };
                Some(format!("--{option} has no effect on {target}: {remedy}"))
            }
        }
    })
}

/// The options of the program that each subcommand uses, alone or with others.
const USED: &[(&str, &[&str])] = &[
    (
        "simulate",
        &["faults", "seed", "upstream", "ca_file", "insecure_http"],
    ),
    (
        "serve",
        &[
            "listen",
            "keys_file",
            "no_auth",
            "upstream",
            "headers",
            "insecure_http",
            "model",
            "policy",
            "semantic",
            "embedder",
            "embedder_headers",
            "faults",
            "seed",
            "api_key_file",
            "ca_file",
            "journal",
            "overwrite",
        ],
    ),
    (
        "run",
        &[
            "seed",
            "policy",
            "journal",
            "overwrite",
            "upstream",
            "model",
            "api_key_file",
            "ca_file",
            "headers",
            "insecure_http",
        ],
    ),
    (
        "tour",
        &[
            "seed",
            "users",
            "journal",
            "overwrite",
            "no_mouse",
            "ascii",
            "color",
            "theme",
        ],
    ),
    ("key", &["keys_file"]),
    ("compare", &["seed", "overwrite"]),
    ("fuzz", &["seed", "journal", "overwrite"]),
    ("replay", &["users", "no_mouse", "ascii", "color", "theme"]),
    (
        "semantic",
        &[
            "embedder",
            "model",
            "ca_file",
            "embedder_headers",
            "insecure_http",
        ],
    ),
    ("picture", &["overwrite"]),
];

fn is_used(subcommand: &str, id: &str) -> bool {
    USED.iter()
        .any(|(name, ids)| *name == subcommand && ids.contains(&id))
}

/// The effect of the option `id` of the program on a subcommand, or on the control room.
fn effect(subcommand: Option<&str>, cli: &Cli, id: &str) -> Effect {
    let with = |is_used: bool, needs: &'static str| {
        if is_used {
            Effect::Used
        } else {
            Effect::Needs(needs)
        }
    };
    if subcommand.is_some_and(|name| !is_used(name, id)) {
        return Effect::Unused;
    }
    let upstream = cli.upstream.is_some();
    match (&cli.mode, id) {
        (None, "headers" | "api_key_file") | (Some(Mode::Simulate { .. }), "ca_file" | "insecure_http") => {
            with(upstream, "--upstream")
        }
        (Some(Mode::Run { real, .. }), "upstream" | "model") => with(*real, "--real"),
        (Some(Mode::Run { real, .. }), "api_key_file" | "ca_file" | "headers" | "insecure_http") => {
            with(*real && upstream, "--real and --upstream")
        }
        (Some(Mode::Semantic { eval, .. }), "embedder") => with(eval.is_some(), "--eval"),
        (Some(Mode::Semantic { eval, .. }), _) => {
            with(eval.is_some() && cli.embedder.is_some(), "--eval and --embedder")
        }
        _ => Effect::Used,
    }
}

/// Hides the options that have no effect from the help of each subcommand.
fn hide_unused(mut command: Command) -> Command {
    let shared: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.is_global_set())
        .cloned()
        .collect();
    let names: Vec<_> = command
        .get_subcommands()
        .map(|sub| sub.get_name().to_owned())
        .collect();
    for name in names {
        let unused = shared
            .iter()
            .filter(|argument| !is_used(&name, argument.get_id().as_str()));
        let hidden: Vec<_> = unused.map(|argument| argument.clone().hide(true)).collect();
        command = command.mut_subcommand(name, |sub| sub.args(hidden));
    }
    command
}

/// Sets the options of the subcommand that were given before it.
fn inherit(cli: &mut Cli, matches: &ArgMatches) -> Result<(), String> {
    fn set<T>(own: &mut Option<T>, outer: T, option: &str) -> Result<(), String> {
        match own.replace(outer) {
            None => Ok(()),
            Some(_) => Err(format!(
                "--{option} is given twice: before and after the subcommand"
            )),
        }
    }
    if let Some(Mode::Run { policy, .. }) = &mut cli.mode
        && is_given(matches, "policy")
    {
        set(policy, cli.policy.clone(), "policy")?;
    }
    if let Some(Mode::Serve {
        policy,
        semantic,
        journal,
        ..
    }) = &cli.mode
    {
        // the control room and this subcommand read the same options
        if let Some(policy) = policy {
            set(
                &mut is_given(matches, "policy").then(|| cli.policy.clone()),
                policy.clone(),
                "policy",
            )?;
            cli.policy.clone_from(policy);
        }
        let given = is_given(matches, "semantic");
        if let Some(semantic) = semantic {
            set(&mut cli.semantic.filter(|_| given), *semantic, "semantic")?;
            cli.semantic = Some(*semantic);
        }
        if let Some(journal) = journal {
            set(&mut cli.journal, journal.clone(), "journal")?;
        }
    }
    let serves_with_own = matches!(&cli.mode, Some(Mode::Serve { policy: Some(_), .. }));
    if cli.listen.is_some() && cli.upstream.is_some() && !is_given(matches, "policy") && !serves_with_own {
        "gateway".clone_into(&mut cli.policy);
    }
    if let Some(Mode::Run { journal, .. } | Mode::Fuzz { journal, .. }) = &mut cli.mode
        && let Some(outer) = cli.journal.take()
    {
        set(journal, outer, "journal")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    /// A value of each option that takes one.
    fn value(id: &str) -> &'static str {
        match id {
            "upstream" | "embedder" => "http://127.0.0.1:9",
            "headers" | "embedder_headers" => "x-a:1",
            "model" => "a-model",
            "policy" => "exercise",
            "users" => "ann,ben",
            "semantic" => "on",
            "faults" => "outage",
            "seed" | "max_tokens" => "31",
            "record" | "api_key_file" | "keys_file" | "ca_file" | "journal" | "prompts" => "a-file",
            "color" => "never",
            "theme" => "high-contrast",
            "load" => "3/s 5s",
            "repeat" => "10%",
            "listen" => "127.0.0.1:0",
            "panic_in" => "ui",
            _ => panic!("give --{id} a value in this test"),
        }
    }

    /// Each subcommand with what it requires, alone and with what options may need.
    const SUBCOMMANDS: &[&[&str]] = &[
        &["tour"],
        &["simulate"],
        &["serve"],
        &["key", "list"],
        &["simulate", "--upstream", "http://127.0.0.1:9"],
        &["run", "outage"],
        &["run", "outage", "--real"],
        &["run", "outage", "--real", "--upstream", "http://127.0.0.1:9"],
        &["compare", "exercise"],
        &["fuzz", "--count", "1"],
        &["policy"],
        &["scenarios"],
        &["check", "a-file"],
        &["replay", "a-file"],
        &["why", "a-file"],
        &["semantic"],
        &["semantic", "--eval"],
        &["semantic", "--eval", "--embedder", "http://127.0.0.1:9"],
        &["picture", "a-file"],
    ];

    /// Each option that a subcommand uses, with how to see that it took effect.
    type Shows = fn(&Cli) -> String;

    fn shown(id: &str) -> Shows {
        match id {
            "upstream" => |cli| format!("{:?}", cli.upstream),
            "headers" => |cli| format!("{:?}", cli.headers),
            "embedder_headers" => |cli| format!("{:?}", cli.embedder_headers),
            "insecure_http" => |cli| format!("{}", cli.insecure_http),
            "overwrite" => |cli| format!("{}", cli.overwrite),
            "model" => |cli| format!("{:?}", cli.model),
            "embedder" => |cli| format!("{:?}", cli.embedder),
            "faults" => |cli| format!("{:?}", cli.faults),
            "seed" => |cli| format!("{:?}", cli.seed),
            "api_key_file" => |cli| format!("{:?}", cli.api_key_file),
            "ca_file" => |cli| format!("{:?}", cli.ca_file),
            "listen" => |cli| format!("{:?}", cli.listen),
            "keys_file" => |cli| format!("{:?}", cli.keys_file),
            "no_auth" => |cli| format!("{}", cli.no_auth),
            "semantic" => |cli| format!("{:?}", cli.semantic),
            "users" => |cli| format!("{:?}", cli.users),
            "no_mouse" => |cli| format!("{}", cli.no_mouse),
            "ascii" => |cli| format!("{}", cli.ascii),
            "color" => |cli| format!("{:?}", cli.color),
            "theme" => |cli| format!("{:?}", cli.theme),
            // the subcommand reads its own
            "policy" => |cli| match &cli.mode {
                Some(Mode::Run { policy, .. }) => format!("{policy:?}"),
                Some(Mode::Serve { .. }) => cli.policy.clone(),
                other => panic!("{other:?} has no policy"),
            },
            "journal" => |cli| match &cli.mode {
                Some(Mode::Run { journal, .. } | Mode::Fuzz { journal, .. }) => format!("{journal:?}"),
                Some(Mode::Tour | Mode::Serve { .. }) => format!("{:?}", cli.journal),
                other => panic!("{other:?} writes no journal"),
            },
            _ => panic!("--{id} is used by a subcommand: show its effect in this test"),
        }
    }

    fn written(argument: &Arg) -> Vec<String> {
        let option = format!("--{}", argument.get_long().unwrap());
        let takes_value = argument.get_action().takes_values();
        let value = takes_value.then(|| value(argument.get_id().as_str()).to_owned());
        [option].into_iter().chain(value).collect()
    }

    #[test]
    fn every_option_before_every_subcommand_has_an_effect_or_is_an_error() {
        let command = Cli::command();
        let names: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        assert!(
            names
                .iter()
                .all(|name| SUBCOMMANDS.iter().any(|line| line[0] == *name)),
            "{names:?}"
        );
        let mut used = Vec::new();
        for argument in command
            .get_arguments()
            .filter(|argument| argument.get_long().is_some())
        {
            let (id, option) = (argument.get_id().as_str(), written(argument));
            if ["help", "version"].contains(&id) {
                continue;
            }
            for line in SUBCOMMANDS {
                if line.contains(&option[0].as_str()) {
                    continue;
                }
                let own = || line.iter().map(|part| (*part).to_owned());
                let program = || std::iter::once("seawall".to_owned());
                let before: Vec<_> = program().chain(option.clone()).chain(own()).collect();
                let after: Vec<_> = program().chain(own()).chain(option.clone()).collect();
                let places = if argument.is_global_set() {
                    vec![before, after]
                } else {
                    vec![before]
                };
                for place in places {
                    match parse(&place) {
                        Ok(cli) => {
                            let without = parse(program().chain(own())).unwrap();
                            assert_ne!(shown(id)(&cli), shown(id)(&without), "{place:?} is ignored");
                            used.push((line[0], id));
                        }
                        Err(error) => {
                            assert_eq!(error.exit_code(), 2);
                            let message = error.to_string();
                            assert!(
                                message.contains(&format!("{} has no effect", option[0])),
                                "{message}"
                            );
                        }
                    }
                }
            }
        }
        used.sort_unstable();
        used.dedup();
        assert!(used.len() >= 30, "{used:?}");
    }

    #[test]
    fn the_help_of_a_subcommand_lists_what_it_uses() {
        let mut command = hide_unused(Cli::command());
        command.build();
        for (name, shown, hidden) in [
            ("run", "--upstream", "--embedder"),
            ("simulate", "--faults", "--header"),
            ("check", "--help", "--seed"),
            ("scenarios", "--help", "--overwrite"),
        ] {
            let subcommand = command.find_subcommand_mut(name).unwrap();
            let help = subcommand.render_long_help().to_string();
            assert!(help.contains(shown) && !help.contains(hidden), "{name}: {help}");
        }
    }

    #[test]
    fn serve_takes_its_options_on_both_sides() {
        let options = ["--policy", "p", "--semantic", "shadow", "--journal", "j"];
        let before = parse([&["seawall"], &options[..], &["serve"]].concat()).unwrap();
        let after = parse([&["seawall", "serve"], &options[..]].concat()).unwrap();
        for cli in [before, after] {
            assert_eq!(
                (cli.policy.as_str(), cli.journal),
                ("p", Some(std::path::PathBuf::from("j")))
            );
            assert_eq!(cli.semantic, Some(super::super::cli::SemanticChoice::Shadow));
        }
    }

    #[test]
    fn the_gateway_of_a_real_upstream_has_a_default_policy_of_its_own() {
        let (listen, upstream) = (["--listen", "127.0.0.1:0"], ["--upstream", "http://127.0.0.1:9"]);
        for (line, policy) in [
            (&[&listen[..], &upstream].concat()[..], "gateway"),
            (&[&["serve"], &listen[..], &upstream].concat(), "gateway"),
            (
                &[&["serve", "--policy", "production"], &listen[..], &upstream].concat(),
                "production",
            ),
            (&[&["--policy", "p"], &listen[..], &upstream].concat(), "p"),
            (&listen, "production"),
            (&upstream, "production"),
        ] {
            let cli = parse([&["seawall"], line].concat()).unwrap();
            assert_eq!(cli.policy, policy, "{line:?}");
        }
    }

    #[test]
    fn errors_name_the_option_and_the_remedy() {
        for (line, message) in [
            (
                &["--upstream", "http://h", "scenarios"][..],
                "--upstream has no effect on `seawall scenarios`: remove it",
            ),
            (
                &["run", "outage", "--faults", "mixed"],
                "--faults has no effect on `seawall run`: remove it",
            ),
            (
                &["run", "outage", "--model", "m"],
                "--model has no effect on `seawall run` without --real",
            ),
            (
                &["--header", "x-a:1"],
                "--header has no effect on `seawall` without --upstream",
            ),
            (
                &["--journal", "f", "compare"],
                "write it after `compare`, where it has another meaning",
            ),
            (
                &["--policy", "a", "run", "outage", "--policy", "b"],
                "--policy is given twice",
            ),
            (
                &["--policy", "a", "serve", "--policy", "b"],
                "--policy is given twice",
            ),
            (
                &["--journal", "a", "serve", "--journal", "b"],
                "--journal is given twice",
            ),
            (
                &["--journal", "a", "run", "outage", "--journal", "b"],
                "--journal is given twice",
            ),
        ] {
            let line = [&["seawall"], line].concat();
            let error = parse(&line).unwrap_err().to_string();
            assert!(error.contains(message), "{line:?}: {error}");
        }
    }
}
