//! Who saved you: what each layer was worth, in words. Its worth is what is missing without it.
//!
//! ```text
//!  served share without the layer:  surely less --> it saved calls   surely more --> it cost calls
//!                                   neither     --> told by what else differs, or that nothing does
//! ```

use super::Layer;
use super::reading::{Difference, Reading, both_sides, figure, is_same, listed};
use crate::drills::scenario::Measure;

/// What a layer was worth.
struct Worth {
    layer: Layer,
    /// What differs without it.
    differences: Vec<Difference>,
    /// Whether nothing at all does.
    idle: bool,
}

impl Worth {
    /// What is added to the served share by doing without it.
    fn served(&self) -> f64 {
        let served = |one: &&Difference| one.measure == Measure::ServedShare;
        self.differences.iter().find(served).map_or(0.0, |one| one.mean)
    }
}

impl Reading<'_> {
    /// What each layer was worth; nothing where none was switched off.
    pub(super) fn who_saved(&self) -> Option<String> {
        let first = self.columns.first()?;
        let mut worths: Vec<Worth> = self
            .without
            .iter()
            .filter_map(|(place, layer)| {
                let column = self.columns.get(*place)?;
                Some(Worth {
                    layer: *layer,
                    differences: self.differences(column),
                    idle: is_same(column),
                })
            })
            .collect();
        if worths.is_empty() {
            return None;
        }
        worths.sort_by(|a, b| a.served().total_cmp(&b.served()));
        let names = |is: &dyn Fn(&Worth) -> bool| -> Vec<&'static str> {
            worths
                .iter()
                .filter(|worth| is(worth))
                .map(|worth| worth.layer.name())
                .collect()
        };
        let mut told = vec![glance(&worths)];
        for worth in &worths {
            let Some((what, against)) = both_sides(&worth.differences) else {
                continue;
            };
            let but = if against.is_empty() { "" } else { ", but " };
            told.push(format!(
                "Without {} {} {what}{but}{against}.",
                worth.layer.name(),
                first.policy
            ));
        }
        let unsure = names(&|worth| worth.differences.is_empty() && !worth.idle);
        if !unsure.is_empty() {
            told.push(if self.is_fact() {
                format!("Without {} nothing that is judged differs.", either(&unsure))
            } else {
                format!(
                    "Without {} there is no difference that {} seeds are sure of.",
                    either(&unsure),
                    self.seeds
                )
            });
        }
        let idle = names(&|worth| worth.idle);
        if !idle.is_empty() {
            told.push(format!("Exactly the same without {}.", either(&idle)));
        }
        Some(told.join(" "))
    }
}

/// Who saved calls and who cost some, with how many, in a line.
fn glance(worths: &[Worth]) -> String {
    let told = |worth: &Worth| {
        let points = figure(worth.served(), None, 100.0, 1);
        format!("{} ({points})", worth.layer.name())
    };
    let saved: Vec<String> = worths
        .iter()
        .filter(|worth| worth.served() < 0.0)
        .map(told)
        .collect();
    // the dearest first
    let cost = worths.iter().rev().filter(|worth| worth.served() > 0.0);
    let cost: Vec<String> = cost.map(told).collect();
    let cost = match cost.as_slice() {
        [] => String::new(),
        cost => format!("; who cost calls: {}", cost.join(", then ")),
    };
    match saved.as_slice() {
        [] => format!("Who saved you: surely none of these{cost}."),
        saved => format!(
            "Who saved you, in percent points of the calls: {}{cost}.",
            saved.join(", then ")
        ),
    }
}

/// `cache, flight or hints`.
fn either(names: &[&str]) -> String {
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => listed(names),
    }
}
