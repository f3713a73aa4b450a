//! The contribution of each layer: the difference that its removal makes.

use super::Layer;
use super::summary::{Difference, Summary, figure, is_same, join, sides};
use crate::drills::scenario::Measure;

/// The effect of removing a layer.
struct Removal {
    layer: Layer,
    differences: Vec<Difference>,
    /// True if every measure stays the same.
    is_idle: bool,
}

impl Removal {
    /// The change of the served share.
    fn served(&self) -> f64 {
        let served = |one: &&Difference| one.measure == Measure::ServedShare;
        self.differences.iter().find(served).map_or(0.0, |one| one.mean)
    }
}

impl Summary<'_> {
    /// The contribution of each layer; nothing if none was removed.
    pub(super) fn attribution(&self) -> Option<String> {
        let first = self.policies.first()?;
        let mut removals: Vec<Removal> = self
            .without
            .iter()
            .filter_map(|(index, layer)| {
                let policy = self.policies.get(*index)?;
                Some(Removal {
                    layer: *layer,
                    differences: self.differences(policy),
                    is_idle: is_same(policy),
                })
            })
            .collect();
        if removals.is_empty() {
            return None;
        }
        removals.sort_by(|a, b| a.served().total_cmp(&b.served()));
        let names = |keep: &dyn Fn(&Removal) -> bool| -> Vec<&'static str> {
            let kept = removals.iter().filter(|removal| keep(removal));
            kept.map(|removal| removal.layer.name()).collect()
        };
        let mut sentences = vec![overview(&removals)];
        for removal in &removals {
            let Some((main, against)) = sides(&removal.differences) else {
                continue;
            };
            let but = if against.is_empty() { "" } else { ", but " };
            sentences.push(format!(
                "Without {} {} {main}{but}{against}.",
                removal.layer.name(),
                first.policy
            ));
        }
        let unsure = names(&|removal| removal.differences.is_empty() && !removal.is_idle);
        if !unsure.is_empty() {
            let unsure = join(&unsure, "or");
            sentences.push(if self.is_exact() {
                format!("Without {unsure}: no difference in the judged measures.")
            } else {
                format!(
                    "Without {unsure}: no significant difference in {} seeds.",
                    self.seeds
                )
            });
        }
        let idle = names(&|removal| removal.is_idle);
        if !idle.is_empty() {
            sentences.push(format!("Identical results without {}.", join(&idle, "or")));
        }
        Some(sentences.join(" "))
    }
}

/// The layers that raise the served share, and those that lower it.
fn overview(removals: &[Removal]) -> String {
    let listed = |removals: &mut dyn Iterator<Item = &Removal>| {
        let points = |removal: &Removal| figure(removal.served(), None, 100.0, 1);
        let named = removals.map(|removal| format!("{} {}", removal.layer.name(), points(removal)));
        named.collect::<Vec<_>>().join(", ")
    };
    let gained = listed(&mut removals.iter().filter(|removal| removal.served() < 0.0));
    // the largest loss first
    let lost = listed(&mut removals.iter().rev().filter(|removal| removal.served() > 0.0));
    match (gained.as_str(), lost.as_str()) {
        ("", "") => "No layer changes the served share significantly.".to_owned(),
        ("", lost) => format!("Served share lost by layer, in percentage points: {lost}; gained: none."),
        (gained, "") => format!("Served share gained by layer, in percentage points: {gained}."),
        (gained, lost) => {
            format!("Served share gained by layer, in percentage points: {gained}; lost: {lost}.")
        }
    }
}
