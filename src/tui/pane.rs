//! The panes: one file each, one pure function `render(&View, Rect, &mut Buffer)` each.

/// A region of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PaneId {
    /// The conversation.
    #[default]
    Chat,
    /// Breaker, buckets, cache and latency in one.
    Guards,
    /// The breaker alone, where there is room.
    Breaker,
    /// The buckets alone, where there is room.
    Buckets,
    /// The cache alone, where there is room.
    Cache,
    /// Percentiles alone, where there is room.
    Latency,
    /// Faults and policy, where there is room.
    Policy,
    /// A lane for each call.
    Attempts,
    /// The log.
    Log,
}
