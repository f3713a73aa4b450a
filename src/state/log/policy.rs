//! Log lines of policy changes.

use crate::settings::{Policy, QueueOrder, SemanticMode};
use crate::text::SafeText;

/// Changed settings listed.
const LISTED: usize = 3;
/// Longest setting in characters.
const LONGEST: usize = 48;

/// `policy production: retry.attempts=5, breaker.open=10s`, and in words what a key switches.
pub(super) fn applied(before: &Policy, after: &Policy) -> String {
    let name = &after.name;
    let changes = before.changes(after);
    let only = |setting: &str| matches!(changes.as_slice(), [(path, _)] if path == setting);
    let same_name = before.name == after.name;
    if same_name && only("limit.order") {
        let how = match after.limit.order {
            QueueOrder::Fair => "fair by user",
            QueueOrder::Fifo => "first come first served",
        };
        return format!("the limiter's queue goes {how}");
    }
    if !same_name || changes.is_empty() || only("semantic.mode") {
        // a different policy: everything may differ
        let semantic = match after.semantic.mode {
            mode if mode == before.semantic.mode => "",
            SemanticMode::Off => ": semantic cache off",
            SemanticMode::On => ": semantic cache on",
            SemanticMode::Shadow => ": semantic cache in shadow",
        };
        return format!("policy {name} applied{semantic}");
    }
    let listed = changes.iter().take(LISTED);
    let listed: Vec<String> = listed
        .map(|(path, value)| SafeText::excerpt(&format!("{path}={value}"), LONGEST).single_line())
        .collect();
    let more = match changes.len().saturating_sub(LISTED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("policy {name}: {}{more}", listed.join(", "))
}
