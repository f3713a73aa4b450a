//! Evaluation of an embedder and the guards on labelled pairs of prompts: `seawall semantic --eval`.
//!
//! pairs (file) -> similarity (embedder) and objection (guards) of each -> rates by threshold -> report. A pair is
//! served if it is similar enough and no guard objects. Serving a paraphrase is a hit, serving a look-alike is a
//! false hit.

mod figures;
mod pairs;
mod rate;
mod report;

use std::collections::BTreeMap;

pub use figures::{Counts, Figures, Sweep};
pub use pairs::{BUNDLED, BUNDLED_NAME, Half, PairsError, PromptPair, read};
pub use rate::Rate;
pub use report::{Evaluation, Measured, Scored};

use crate::client::{EmbedError, Embedder as _, HttpEmbedder};
use crate::event::Objection;
use crate::semantic::{guard, lexical};
use crate::settings::SemanticSettings;

/// Maximum share of look-alikes served at a recommended threshold.
pub const MOST_FALSE_HITS: f64 = 0.01;

/// Evaluates the built-in embedder at a threshold.
pub fn built_in(pairs: &[PromptPair], threshold: f64) -> Measured {
    let mut vectors = BTreeMap::new();
    for text in texts(pairs) {
        vectors.entry(text).or_insert_with(|| lexical::embed(text));
    }
    let name = crate::client::LexicalEmbedder.name();
    Measured::new(
        &name,
        pairs,
        score(pairs, &vectors, guard::lexical_objection),
        Some(threshold),
    )
}

/// Evaluates an endpoint at a threshold; by default at its best one.
///
/// # Errors
/// If the endpoint fails.
pub async fn endpoint(
    embedder: &HttpEmbedder,
    pairs: &[PromptPair],
    threshold: Option<f64>,
) -> Result<Measured, EmbedError> {
    let mut all: Vec<&str> = texts(pairs).collect();
    all.sort_unstable();
    all.dedup();
    let vectors = embedder.embed_all(&all).await?;
    let vectors: BTreeMap<&str, Vec<f32>> = all.into_iter().zip(vectors).collect();
    let scored = score(pairs, &vectors, guard::objection);
    Ok(Measured::new(&embedder.name(), pairs, scored, threshold))
}

/// The help text of `seawall semantic`.
pub fn explanation() -> String {
    let (built_in, endpoint) = (
        SemanticSettings::BUILT_IN_THRESHOLD,
        SemanticSettings::ENDPOINT_THRESHOLD,
    );
    format!(
        "The semantic cache answers a prompt with the stored answer to a similar one. It is off by default.

  s in the control room              off, on, shadow (ask the upstream and log what would have been served)
  [semantic] in a policy             mode, threshold, guards, embedder, model, timeout, max_entries
                                     (default threshold: {built_in:.2} built in, {endpoint:.2} for an endpoint)

An embedder measures the similarity of two prompts. The built-in one is lexical (words and a table of synonyms,
no model); an endpoint is an OpenAI-compatible /v1/embeddings, such as llama-server --embeddings. Above the
threshold, guards reject prompts that differ in numbers, units, negation, opposites, names, quotes, roles,
language or question.

Evaluate it on pairs of paraphrases and look-alikes:

  seawall semantic --eval                                         the built-in embedder, on the bundled pairs
  seawall semantic --eval --embedder http://127.0.0.1:8080        an endpoint too, to find its threshold
  seawall semantic --eval pairs.tsv --threshold 0.9 --json        other pairs, as JSON

A file of pairs has one pair per line: class, tab, new prompt, tab, stored prompt. The class paraphrase means the
same question; any other class means a different one. assets/semantic/pairs.tsv describes the format.
"
    )
}

fn texts(pairs: &[PromptPair]) -> impl Iterator<Item = &str> {
    pairs.iter().flat_map(|pair| [&*pair.asked, &*pair.stored])
}

fn score(
    pairs: &[PromptPair],
    vectors: &BTreeMap<&str, Vec<f32>>,
    objection: fn(&str, &str) -> Option<Objection>,
) -> Vec<Scored> {
    let vector = |text: &str| vectors.get(text).map_or(&[][..], Vec::as_slice);
    let scored = pairs.iter().map(|pair| {
        let (asked, stored) = (vector(&pair.asked), vector(&pair.stored));
        let cosine: f64 = asked.iter().zip(stored).map(|(a, b)| f64::from(a * b)).sum();
        Scored {
            line: pair.line,
            class: pair.class.clone(),
            half: pair.half,
            similarity: cosine.clamp(-1.0, 1.0),
            objection: objection(&pair.asked, &pair.stored),
        }
    });
    scored.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_embedder_with_its_guards_meets_its_targets() {
        let pairs = read(BUNDLED_NAME, BUNDLED).unwrap();
        let measured = built_in(&pairs, SemanticSettings::BUILT_IN_THRESHOLD);
        let [guarded, unguarded] = &measured.figures;
        for half in [guarded.all, guarded.tuning, guarded.held_out] {
            assert!(
                half.false_hits.share <= MOST_FALSE_HITS,
                "{:?}",
                measured.wrongly_served
            );
            assert!(half.hits.share > 0.75, "{half:?}");
        }
        assert!(unguarded.all.hits.count >= guarded.all.hits.count);
        assert!(
            unguarded.all.false_hits.share > 0.25,
            "a set that needs no guards proves nothing"
        );
        let text = Evaluation::new(BUNDLED_NAME, &pairs, vec![measured]).to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(
            text.contains("built-in, threshold 0.50") && text.contains("paraphrase/typo"),
            "{text}"
        );
    }

    /// Lookups also compare unrelated prompts, which the pairs do not cover.
    #[test]
    fn an_unrelated_prompt_is_not_served() {
        let pairs = read(BUNDLED_NAME, BUNDLED).unwrap();
        let threshold = SemanticSettings::BUILT_IN_THRESHOLD as f32;
        let stored: Vec<_> = pairs
            .iter()
            .map(|pair| (pair, lexical::embed(&pair.stored)))
            .collect();
        let mut served = Vec::new();
        // every fourth pair is enough
        for pair in pairs.iter().step_by(4) {
            let asked = lexical::embed(&pair.asked);
            for (other, vector) in &stored {
                let mine = [&pair.asked, &pair.stored];
                if mine.contains(&&other.stored) || mine.contains(&&other.asked) {
                    continue;
                }
                let cosine: f32 = asked.iter().zip(vector).map(|(a, b)| a * b).sum();
                if cosine >= threshold && guard::lexical_objection(&pair.asked, &other.stored).is_none() {
                    served.push((&pair.asked, &other.stored));
                }
            }
        }
        assert!(served.is_empty(), "{served:#?}");
    }

    #[test]
    fn a_pair_is_served_if_it_is_similar_enough_and_no_guard_objects() {
        let text = "paraphrase\ta wave\ta wave here\nother\tthe tide\tthe tide there\n";
        let pairs = read("FILE", text).unwrap();
        let measured = built_in(&pairs, 0.01);
        let counts = measured.figures[0].all;
        assert_eq!((counts.hits.count, counts.false_hits.count), (1, 1));
        assert_eq!(
            measured.best_guarded, None,
            "no threshold keeps the false hits low"
        );
        let wrong: Vec<_> = measured
            .wrongly_served
            .iter()
            .map(|wrong| (wrong.line, &*wrong.asked))
            .collect();
        assert_eq!(wrong, [(2, "the tide")]);
        let above = built_in(&pairs, 1.0);
        assert_eq!(above.figures[0].all.hits.count, 0);
    }
}
