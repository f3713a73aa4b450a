//! Fragments shared by the sentences of stories.

use super::step::{StepLevel, StepLevels, UserStepLevels};
use crate::event::Hint;
use crate::text::units;

/// `, the server asked for 1s`.
pub(super) fn hint(hint: Option<Hint>) -> String {
    hint.map_or_else(String::new, |hint| {
        format!(", the server asked for {}", units::setting(hint.wait))
    })
}

/// `; budget 9.0 of 10.2`: both with a decimal, or a full budget would look overdrawn.
pub(super) fn budget(left: f64, max: f64) -> String {
    if max > 0.0 {
        format!("; budget {left:.1} of {max:.1}")
    } else {
        String::new()
    }
}

/// A level in whole units, debt with its sign.
pub(super) fn level(level: StepLevel) -> String {
    // rounded down: a call waiting with 0.9 requests available must not read 1
    format!("{} of {}", level.level.floor() as i64, level.capacity)
}

/// The buckets that a call found.
pub(super) fn levels(levels: &StepLevels) -> String {
    let StepLevels {
        requests,
        tokens,
        in_use,
        needs,
        user,
    } = levels;
    let own = user.as_ref().map_or_else(String::new, |own| own_levels(own));
    format!(
        "saw {} tokens (needs {needs}), {} requests, {} in use{own}",
        level(*tokens),
        level(*requests),
        units::count(u64::from(*in_use), "slot"),
    )
}

/// `; ann has 3 of 10 requests, 90 of 900 tokens`.
pub(super) fn own_levels(own: &UserStepLevels) -> String {
    let parts: Vec<String> = [(own.requests, "requests"), (own.tokens, "tokens")]
        .into_iter()
        .filter_map(|(bucket, name)| Some(format!("{} {name}", level(bucket?))))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!("; {} has {}", own.user, parts.join(", "))
}
