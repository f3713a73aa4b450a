//! Changes of policy among the commands: `set = ["retry.attempts=5", "breaker.open=10s"]` changes single settings of
//! whatever policy is in force by then.

use super::wish::{TimedCommand, Wish};
use crate::settings::{Policy, split_setting};

/// The policy with these settings, each `table.key=value` as on the command line. The bounds are checked when all are
/// set: two may only fit together.
pub(super) fn set(policy: &Policy, settings: &[String]) -> Result<Policy, String> {
    let mut changed = policy.clone();
    for setting in settings {
        let (path, value) = split_setting(setting)
            .ok_or_else(|| format!("'{setting}': a setting is written table.key=value: retry.attempts=1"))?;
        changed = changed.with(path, value).map_err(|error| error.to_string())?;
    }
    changed.validate().map_err(|error| error.to_string())?;
    Ok(changed)
}

/// Makes all changes in the order of their times, as a run will: none may fail halfway through it.
pub(super) fn check(
    commands: &[TimedCommand],
    begins: &Policy,
    policies: &[(String, Policy)],
) -> Result<(), String> {
    let mut policy = begins.clone();
    let mut in_order: Vec<&TimedCommand> = commands.iter().collect();
    in_order.sort_by_key(|command| command.at);
    for TimedCommand { at, wish } in in_order {
        match wish {
            Wish::ApplyPolicy(name) => {
                if let Some((_, applied)) = policies.iter().find(|(known, _)| known == name) {
                    policy.clone_from(applied);
                }
            }
            Wish::Set(settings) => {
                policy = set(&policy, settings).map_err(|message| format!("set at {at:?}: {message}"))?;
            }
            _ => {}
        }
    }
    Ok(())
}
