//! The prompts of a scenario's callers, drawn with a Zipf-like skew so that caches see a realistic mix.
//!
//! The prompt on line `r` is drawn with a probability proportional to `1 / r^s` with `s = 1` (Breslau et al.,
//! "Web Caching and Zipf-like Distributions", 1999, found 0.64 to 0.83 for pages; chat openers repeat more).

use rand::RngExt as _;
use rand::rngs::StdRng;

/// The bundled prompts, the most popular first.
const LINES: &str = include_str!("../../../assets/prompts.txt");

/// Prompts, the most popular first.
#[derive(Clone, Debug)]
pub struct Prompts {
    prompts: Vec<String>,
    /// Cumulative weights.
    cumulative: Vec<f64>,
}

impl Prompts {
    /// `distinct` prompts with weights of `1 / rank^skew`; a skew of 0 draws all equally often. Beyond the prompts
    /// of the file they repeat with a number appended.
    pub fn new(distinct: usize, skew: f64) -> Self {
        let count = lines().count().max(1);
        let numbered = lines().cycle().enumerate().take(distinct);
        let prompts = numbered.map(|(rank, line)| match rank / count {
            0 => line.to_owned(),
            round => format!("{line} ({round})"),
        });
        Self::weighted(prompts.collect(), skew)
    }

    /// The first `distinct` prompts of `list`, or of the bundled ones if it is empty, weighted as in
    /// [`Self::new`].
    pub fn from_list(list: &[String], distinct: usize, skew: f64) -> Self {
        if list.is_empty() {
            return Self::new(distinct, skew);
        }
        Self::weighted(list.iter().take(distinct).cloned().collect(), skew)
    }

    fn weighted(prompts: Vec<String>, skew: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=prompts.len()).map(|rank| (rank as f64).powf(-skew));
        let cumulative = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self {
            prompts,
            cumulative: cumulative.collect(),
        }
    }

    /// Draws a prompt.
    pub fn draw(&self, generator: &mut StdRng) -> &str {
        let all = self.cumulative.last().copied().unwrap_or_default();
        let at = generator.random::<f64>() * all;
        let rank = self.cumulative.partition_point(|sum| *sum <= at);
        self.prompts
            .get(rank)
            .or_else(|| self.prompts.last())
            .map_or("hello", String::as_str)
    }
}

fn lines() -> impl Iterator<Item = &'static str> + Clone {
    LINES.lines().map(str::trim).filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn popular_prompts_are_drawn_more_often_and_all_are_drawn() {
        let prompts = Prompts::new(lines().count(), 1.0);
        assert!(prompts.prompts.len() >= 40);
        let mut generator = StdRng::seed_from_u64(7);
        let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
        for _ in 0..20_000 {
            *counts.entry(prompts.draw(&mut generator)).or_default() += 1;
        }
        assert_eq!(counts.len(), prompts.prompts.len());
        // rank 1 is drawn ten times as often as rank 10, within a quarter
        let ratio =
            f64::from(counts[prompts.prompts[0].as_str()]) / f64::from(counts[prompts.prompts[9].as_str()]);
        assert!((7.5..12.5).contains(&ratio), "{ratio}");
    }
}
