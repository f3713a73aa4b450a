//! The report of an evaluation, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::MOST_FALSE_HITS;
use super::figures::{self, Counts, Figures, Sweep};
use super::pairs::{Half, PromptPair, is_paraphrase};
use super::rate::Rate;
use crate::event::{Objection, SemanticGuard};
use crate::text::SafeText;

/// Maximum number of wrongly served pairs listed.
const LISTED: usize = 10;
/// Maximum length of a prompt in the list.
const PROMPT: usize = 68;

/// A pair with its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Line in the file.
    pub line: usize,
    /// The class.
    pub class: String,
    /// The half of the set.
    pub half: Half,
    /// Cosine of the two embeddings.
    pub similarity: f64,
    /// The objection of a guard.
    pub objection: Option<Objection>,
}

/// The counts of a part of the set.
type PartOf = fn(&Figures) -> Counts;

/// The evaluation of an embedder.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Name of the embedder.
    pub embedder: SafeText,
    /// The threshold of the figures.
    pub threshold: f64,
    /// The best threshold on the tuning half with the guards, if one has few enough false hits.
    pub best_guarded: Option<f64>,
    /// The best threshold without the guards.
    pub best_unguarded: Option<f64>,
    /// Figures with the guards, and without.
    pub figures: [Figures; 2],
    /// Counts at other thresholds.
    pub sweep: Vec<Sweep>,
    /// Objections of each guard, to paraphrases and to look-alikes.
    pub guards: BTreeMap<SemanticGuard, [usize; 2]>,
    /// Look-alikes served despite the guards.
    pub wrongly_served: Vec<FalseHit>,
    /// All pairs.
    pub pairs: Vec<Scored>,
}

/// A look-alike that is served.
#[derive(Clone, Debug, Serialize)]
pub struct FalseHit {
    /// Line in the file.
    pub line: usize,
    /// The class.
    pub class: String,
    /// Cosine of the two embeddings.
    pub similarity: f64,
    /// The new prompt.
    pub asked: SafeText,
    /// The stored prompt.
    pub stored: SafeText,
}

impl Measured {
    pub(super) fn new(name: &str, pairs: &[PromptPair], scored: Vec<Scored>, threshold: Option<f64>) -> Self {
        let best_guarded = figures::best_threshold(&scored, true);
        let threshold = threshold.or(best_guarded).unwrap_or(1.0);
        let mut guards: BTreeMap<SemanticGuard, [usize; 2]> = BTreeMap::new();
        for pair in &scored {
            if let Some(objection) = &pair.objection {
                let counts = guards.entry(objection.guard).or_default();
                let [paraphrases, others] = counts;
                *if is_paraphrase(&pair.class) {
                    paraphrases
                } else {
                    others
                } += 1;
            }
        }
        let wrong = scored.iter().zip(pairs).filter(|(pair, _)| {
            !is_paraphrase(&pair.class) && pair.objection.is_none() && pair.similarity >= threshold
        });
        let wrong = wrong.map(|(scored, pair)| FalseHit {
            line: scored.line,
            class: scored.class.clone(),
            similarity: scored.similarity,
            asked: SafeText::excerpt(&pair.asked, 400),
            stored: SafeText::excerpt(&pair.stored, 400),
        });
        Self {
            embedder: SafeText::excerpt(name, 80),
            threshold,
            best_guarded,
            best_unguarded: figures::best_threshold(&scored, false),
            figures: [true, false].map(|guards| Figures::new(&scored, threshold, guards)),
            sweep: figures::sweep(&scored),
            guards,
            wrongly_served: wrong.collect(),
            pairs: scored,
        }
    }
}

/// The report of an evaluation.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// The file of pairs.
    pub file: SafeText,
    /// Number of pairs by class.
    pub classes: BTreeMap<String, usize>,
    /// The evaluated embedders.
    pub embedders: Vec<Measured>,
}

impl Evaluation {
    /// The report of these evaluations.
    pub fn new(file: &str, pairs: &[PromptPair], embedders: Vec<Measured>) -> Self {
        let mut classes = BTreeMap::new();
        for pair in pairs {
            *classes.entry(pair.class.clone()).or_default() += 1;
        }
        Self {
            file: SafeText::excerpt(file, 120),
            classes,
            embedders,
        }
    }
}

fn percent(rate: Rate) -> String {
    format!("{:>5.1} %", rate.share * 100.0)
}

fn with_interval(rate: Rate) -> String {
    format!(
        "{:>5.1} %  {:>3} of {:<4} ({:.1} to {:.1} %)",
        rate.share * 100.0,
        rate.count,
        rate.of,
        rate.low * 100.0,
        rate.high * 100.0
    )
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (same, others): (Vec<_>, Vec<_>) =
            self.classes.iter().partition(|(class, _)| is_paraphrase(class));
        let sum = |classes: &[(&String, &usize)]| classes.iter().map(|(_, count)| **count).sum::<usize>();
        writeln!(
            f,
            "{}: {} paraphrases, {} look-alikes. In parentheses: 95 % Wilson intervals.",
            self.file.single_line(),
            sum(&same),
            sum(&others)
        )?;
        for measured in &self.embedders {
            write!(f, "\n{measured}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, threshold {:.2}",
            self.embedder.single_line(),
            self.threshold
        )?;
        let rows: [(&str, PartOf); 3] = [
            ("whole set", |figures| figures.all),
            ("tuning half", |figures| figures.tuning),
            ("held-out half", |figures| figures.held_out),
        ];
        for figures in &self.figures {
            let guards = if figures.guards {
                "with guards"
            } else {
                "without guards"
            };
            writeln!(f, "\n  {guards:<15}  {:<35} false hits", "hits")?;
            for (name, counts) in rows {
                let counts = counts(figures);
                writeln!(
                    f,
                    "  {name:<15} {:<36}{}",
                    with_interval(counts.hits),
                    with_interval(counts.false_hits)
                )?;
            }
        }
        self.write_classes(f)?;
        self.write_sweep(f)?;
        self.write_guards(f)?;
        self.write_wrong(f)
    }
}

impl Measured {
    fn write_classes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [guarded, unguarded] = &self.figures;
        writeln!(
            f,
            "\n  {:<28}{:>7}  {:>10}  {:>10}",
            "served, by class", "pairs", "guards", "no guards"
        )?;
        let mut classes: Vec<&String> = guarded.classes.keys().collect();
        classes.sort_by_key(|class| (!is_paraphrase(class), *class));
        for class in classes {
            let rate = |figures: &Figures| figures.classes.get(class).copied().unwrap_or(Rate::new(0, 0));
            let (with, without) = (rate(guarded), rate(unguarded));
            writeln!(
                f,
                "  {class:<28}{:>7}  {:>10}  {:>10}",
                with.of,
                percent(with),
                percent(without)
            )?;
        }
        Ok(())
    }

    fn write_sweep(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n  {:<12}{:^24}  {:^24}",
            "threshold", "with guards", "without guards"
        )?;
        writeln!(
            f,
            "  {:<12}{:>10}{:>14}  {:>10}{:>14}",
            "", "hits", "false hits", "hits", "false hits"
        )?;
        for line in &self.sweep {
            writeln!(
                f,
                "  {:<12.2}{:>10}{:>14}  {:>10}{:>14}",
                line.threshold,
                percent(line.guarded.hits),
                percent(line.guarded.false_hits),
                percent(line.unguarded.hits),
                percent(line.unguarded.false_hits)
            )?;
        }
        let most = MOST_FALSE_HITS * 100.0;
        let best = |threshold: Option<f64>| {
            threshold.map_or_else(|| "none".to_owned(), |threshold| format!("{threshold:.2}"))
        };
        writeln!(
            f,
            "\n  best threshold on the tuning half with at most {most:.0} % false hits: {} with guards, \
             {} without",
            best(self.best_guarded),
            best(self.best_unguarded)
        )
    }

    fn write_guards(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.guards.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "\n  {:<18}{:>12}{:>14}",
            "rejected, by guard", "paraphrases", "look-alikes"
        )?;
        for (guard, [paraphrases, others]) in &self.guards {
            writeln!(f, "  {:<18}{paraphrases:>12}{others:>14}", guard.brief())?;
        }
        Ok(())
    }

    fn write_wrong(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.wrongly_served.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n  wrongly served with guards:")?;
        let prompt = |text: &SafeText| SafeText::excerpt(text, PROMPT).single_line();
        for wrong in self.wrongly_served.iter().take(LISTED) {
            writeln!(
                f,
                "  line {}, {}, {:.3}",
                wrong.line, wrong.class, wrong.similarity
            )?;
            writeln!(f, "    asked   {}", prompt(&wrong.asked))?;
            writeln!(f, "    stored  {}", prompt(&wrong.stored))?;
        }
        let more = self.wrongly_served.len().saturating_sub(LISTED);
        if more > 0 {
            writeln!(f, "  and {more} more: see --json")?;
        }
        Ok(())
    }
}
