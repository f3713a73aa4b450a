//! What bursts ask: prompts drawn with a Zipf-like skew, so that caches see a realistic mix.
//!
//! The prompt on line `r` is drawn with a probability proportional to `1 / r^s` with `s = 1` (Breslau et al.,
//! "Web Caching and Zipf-like Distributions", 1999, found 0.64 to 0.83 for pages; chat openers are more alike).

use rand::RngExt as _;
use rand::rngs::StdRng;

const EXPONENT: f64 = 1.0;

/// Prompts, the most popular first.
#[derive(Clone, Debug)]
pub struct Prompts {
    lines: Vec<&'static str>,
    /// Sums of the weights up to and including each line.
    cumulated: Vec<f64>,
}

impl Prompts {
    /// The prompts of `assets/prompts.txt`.
    pub fn bundled() -> Self {
        Self::new(include_str!("../../assets/prompts.txt"))
    }

    /// One prompt a line; empty lines are skipped.
    pub fn new(text: &'static str) -> Self {
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .collect();
        let mut sum = 0.0;
        let cumulated = (1..=lines.len())
            .map(|rank| {
                sum += (rank as f64).powf(-EXPONENT);
                sum
            })
            .collect();
        Self { lines, cumulated }
    }

    /// Draws one.
    pub fn draw(&self, generator: &mut StdRng) -> &'static str {
        let all = self.cumulated.last().copied().unwrap_or_default();
        let at = generator.random::<f64>() * all;
        let line = self.cumulated.partition_point(|sum| *sum <= at);
        self.lines
            .get(line)
            .or_else(|| self.lines.last())
            .copied()
            .unwrap_or("hello")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn popular_prompts_come_up_more_often_and_all_come_up() {
        let prompts = Prompts::bundled();
        assert!(prompts.lines.len() >= 40);
        let mut generator = StdRng::seed_from_u64(7);
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(prompts.draw(&mut generator)).or_default() += 1;
        }
        assert_eq!(counts.len(), prompts.lines.len());
        // rank 1 against rank 10: ten times as often, within a quarter
        let ratio = f64::from(counts[prompts.lines[0]]) / f64::from(counts[prompts.lines[9]]);
        assert!((7.5..12.5).contains(&ratio), "{ratio}");
    }
}
