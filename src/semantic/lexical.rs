//! The built-in embedder: hashed words, word pairs and letter trigrams, without a model, a download or a network.
//!
//! It is lexical: it compares words and the synonyms of a thesaurus, not meanings. `lost my passport abroad` and
//! `consulate, identity papers gone` have nothing in common for it. It is therefore used with
//! [`lexical_objection`](super::guard::lexical_objection), which rejects a pair with any unmatched content word.
//!
//! text -> words and phrases (thesaurus) -> weighted features -> signed hash into 384 sums -> length 1.
//! The signed hash is from Weinberger et al., Feature Hashing for Large Scale Multitask Learning (2009): colliding
//! features cancel on average, so cosines are unbiased.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::tokens::Prompt;
use super::word::{Word, WordKind};

/// The dimensions of an embedding.
pub const DIMENSIONS: usize = 384;

/// One seed per kind of feature, so that a word and a trigram with the same spelling are different features.
const WORD: u64 = 0x5ea_0001;
const PAIR: u64 = 0x5ea_0002;
const TRIGRAM: u64 = 0x5ea_0003;

/// Weights of features. Function words weigh little but distinguish prompts with the same content words.
const CONTENT: f32 = 1.0;
const FUNCTION: f32 = 0.15;
const PADDING: f32 = 0.02;
const PAIRS: f32 = 0.25;
/// All trigrams of a word together; they match misspelled words.
const TRIGRAMS: f32 = 0.7;

/// Letters of a word that are used for trigrams: a word may be as long as the prompt.
const MAX_LETTERS: usize = 24;
/// The same for scripts without spaces, where a word is a sentence.
const MAX_LETTERS_UNSPACED: usize = 256;

/// Returns the embedding of a text: 384 numbers with length 1, or all zero for a text without words.
///
/// Words after the first 4,096 are ignored. The result is the same on every platform, because it uses byte hashes
/// and IEEE sums and roots only.
pub fn embed(text: &str) -> Vec<f32> {
    let prompt = Prompt::parse(text);
    let mut features: Vec<(u64, f32)> = Vec::with_capacity(prompt.words.len() * 6);
    let mut before: Option<u64> = None;
    for word in &prompt.words {
        let weight = weight(word.kind);
        let key: &str = if word.concept.is_empty() {
            &word.lower
        } else {
            &word.concept
        };
        let hash = xxh3_64_with_seed(key.as_bytes(), WORD);
        features.push((hash, weight));
        if matches!(word.kind, WordKind::Function | WordKind::Padding) {
            continue;
        }
        if let Some(before) = before {
            let pair = [before.to_le_bytes(), hash.to_le_bytes()].concat();
            features.push((xxh3_64_with_seed(&pair, PAIR), PAIRS));
        }
        before = Some(hash);
        if word.kind == WordKind::Content && !word.lower.contains(' ') {
            push_trigrams(word, &mut features);
        }
    }
    sum_features(features)
}

fn weight(kind: WordKind) -> f32 {
    match kind {
        WordKind::Content | WordKind::Code | WordKind::Number | WordKind::Unit => CONTENT,
        WordKind::Function => FUNCTION,
        WordKind::Padding => PADDING,
    }
}

/// Appends the letter trigrams of a word, with the edges of the word as letters.
fn push_trigrams(word: &Word<'_>, features: &mut Vec<(u64, f32)>) {
    let max = if word.lower.is_ascii() {
        MAX_LETTERS
    } else {
        MAX_LETTERS_UNSPACED
    };
    let mut trigram = [' '; 3];
    let mut bytes = [0; 12];
    let count = word.lower.chars().take(max).count();
    let share = TRIGRAMS / (count.max(1) as f32).sqrt();
    for c in word.lower.chars().take(max).chain([' ']) {
        trigram = [trigram[1], trigram[2], c];
        for (four, c) in bytes.chunks_exact_mut(4).zip(trigram) {
            four.copy_from_slice(&(c as u32).to_le_bytes());
        }
        features.push((xxh3_64_with_seed(&bytes, TRIGRAM), share));
    }
}

/// Sums the features into a vector of length 1. A feature that occurs n times counts sqrt(n): repeating a word
/// does not multiply its importance.
fn sum_features(mut features: Vec<(u64, f32)>) -> Vec<f32> {
    features.sort_unstable_by_key(|(hash, _)| *hash);
    let mut sums = vec![0.0_f32; DIMENSIONS];
    for same in features.chunk_by(|(one, _), (other, _)| one == other) {
        let Some((hash, weight)) = same.iter().copied().reduce(|a, b| (a.0, a.1.max(b.1))) else {
            continue;
        };
        let signed = if hash >> 63 == 0 { weight } else { -weight };
        if let Some(sum) = sums.get_mut((hash % DIMENSIONS as u64) as usize) {
            *sum += signed * (same.len() as f32).sqrt();
        }
    }
    let length = sums.iter().map(|sum| sum * sum).sum::<f32>().sqrt();
    if length > 0.0 {
        for sum in &mut sums {
            *sum /= length;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cosine(one: &str, other: &str) -> f32 {
        embed(one).iter().zip(embed(other)).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn a_text_without_words_embeds_to_zero_and_others_to_length_one() {
        for empty in ["", "   ", "?!", "\n"] {
            assert!(embed(empty).iter().all(|value| *value == 0.0), "{empty:?}");
        }
        assert!((cosine("hello world", "hello world") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn embeddings_are_bit_for_bit_stable() {
        // a change here invalidates users' tuned thresholds
        let bits = embed("How do I sort a list of 10 numbers in Python?");
        let bytes: Vec<u8> = bits
            .iter()
            .flat_map(|value| value.to_bits().to_le_bytes())
            .collect();
        assert_eq!(xxh3_64_with_seed(&bytes, 0), 15_944_960_304_840_850_468);
    }

    #[test]
    fn similarity_depends_on_words_not_on_order_or_politeness() {
        let near = cosine(
            "In Python, how do I remove duplicates from a list?",
            "Could you please tell me how to delete duplicates from a list in Python",
        );
        let far = cosine(
            "In Python, how do I remove duplicates from a list?",
            "What is the weather in Lisbon tomorrow?",
        );
        assert!(near > 0.8, "{near}");
        assert!(far < 0.35, "{far}");
        assert!(cosine("what is quantum entanglment", "what is quantum entanglement") > 0.5);
    }

    #[test]
    fn a_huge_prompt_is_bounded() {
        let long = "word ".repeat(100_000);
        assert_eq!(
            embed(&long),
            embed(&"word ".repeat(super::super::tokens::MAX_WORDS))
        );
        let unbroken = "x".repeat(1 << 20);
        assert_eq!(embed(&unbroken).len(), DIMENSIONS);
    }

    proptest! {
        #[test]
        fn any_text_has_a_finite_embedding(text in "\\PC{0,200}") {
            let embedding = embed(&text);
            prop_assert_eq!(embedding.len(), DIMENSIONS);
            let length: f32 = embedding.iter().map(|value| value * value).sum();
            prop_assert!(length == 0.0 || (length - 1.0).abs() < 1e-3, "{}", length);
        }
    }
}
