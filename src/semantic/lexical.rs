//! The built-in embedder: hashed words, pairs of words and letters. No model, no download, no network.
//!
//! It is lexical: it knows that two prompts share words, that a table calls some words the same, and nothing of
//! what they mean. `lost my passport abroad` and `consulate, identity papers gone` are strangers to it. So it is
//! used with [`lexical_objection`](super::guard::lexical_objection), which asks that no word of content is left over.
//!
//! text -> words and phrases (thesaurus) -> features with weights -> signed hash into 384 sums -> length 1.
//! The signed hash is that of Weinberger et al., Feature Hashing for Large Scale Multitask Learning (2009): sums of
//! features that meet by chance cancel on average, and cosines are unbiased.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::tokens::{Kind, Reading, Word};

/// Numbers in an embedding.
pub const DIMENSIONS: usize = 384;

/// A seed for each kind of feature: a word and a run of letters that are written alike are two features.
const WORD: u64 = 0x5ea_0001;
const PAIR: u64 = 0x5ea_0002;
const LETTERS: u64 = 0x5ea_0003;

/// What the features weigh. Grammar has little to say and is not silent: it tells prompts of the same words apart.
const CONTENT: f32 = 1.0;
const FUNCTION: f32 = 0.15;
const PADDING: f32 = 0.02;
const PAIRS: f32 = 0.25;
/// All runs of letters of a word together; they find the misspelled.
const SPELLING: f32 = 0.7;

/// Letters of a word whose runs are taken: a word may be as long as a prompt.
const LONGEST_WORD: usize = 24;
/// The same for scripts without spaces, where a word is a sentence.
const LONGEST_UNSPACED: usize = 256;

/// The embedding of a text, of length 1; all zero for a text without words. Words behind the first 4,096 do not
/// count. The same on every platform: hashes are of bytes, and sums and roots are IEEE's.
pub fn embed(text: &str) -> Vec<f32> {
    let reading = Reading::of(text);
    let mut features: Vec<(u64, f32)> = Vec::with_capacity(reading.words.len() * 6);
    let mut before: Option<u64> = None;
    for word in &reading.words {
        let weight = weight(word.kind);
        let key: &str = if word.concept.is_empty() {
            &word.lower
        } else {
            &word.concept
        };
        let hash = xxh3_64_with_seed(key.as_bytes(), WORD);
        features.push((hash, weight));
        if matches!(word.kind, Kind::Function | Kind::Padding) {
            continue;
        }
        if let Some(before) = before {
            let pair = [before.to_le_bytes(), hash.to_le_bytes()].concat();
            features.push((xxh3_64_with_seed(&pair, PAIR), PAIRS));
        }
        before = Some(hash);
        if word.kind == Kind::Content && !word.lower.contains(' ') {
            letters(word, &mut features);
        }
    }
    hashed(features)
}

fn weight(kind: Kind) -> f32 {
    match kind {
        Kind::Content | Kind::Code | Kind::Number | Kind::Unit => CONTENT,
        Kind::Function => FUNCTION,
        Kind::Padding => PADDING,
    }
}

/// Runs of three letters, with the edges of the word as letters.
fn letters(word: &Word<'_>, features: &mut Vec<(u64, f32)>) {
    let longest = if word.lower.is_ascii() {
        LONGEST_WORD
    } else {
        LONGEST_UNSPACED
    };
    let mut run = [' '; 3];
    let mut bytes = [0; 12];
    let count = word.lower.chars().take(longest).count();
    let share = SPELLING / (count.max(1) as f32).sqrt();
    for c in word.lower.chars().take(longest).chain([' ']) {
        run = [run[1], run[2], c];
        for (four, c) in bytes.chunks_exact_mut(4).zip(run) {
            four.copy_from_slice(&(c as u32).to_le_bytes());
        }
        features.push((xxh3_64_with_seed(&bytes, LETTERS), share));
    }
}

/// Sums the features into a vector of length 1. What comes n times weighs the root of n: a word said ten times is
/// not ten times as important.
fn hashed(mut features: Vec<(u64, f32)>) -> Vec<f32> {
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
    fn a_text_without_words_is_zero_and_others_have_length_one() {
        for empty in ["", "   ", "?!", "\n"] {
            assert!(embed(empty).iter().all(|value| *value == 0.0), "{empty:?}");
        }
        assert!((cosine("hello world", "hello world") - 1.0).abs() < 1e-5);
    }

    #[test]
    fn the_same_bits_everywhere() {
        // a change here makes stored indexes and thresholds of others worthless: change it knowingly
        let bits = embed("How do I sort a list of 10 numbers in Python?");
        let bytes: Vec<u8> = bits
            .iter()
            .flat_map(|value| value.to_bits().to_le_bytes())
            .collect();
        assert_eq!(xxh3_64_with_seed(&bytes, 0), 15_944_960_304_840_850_468);
    }

    #[test]
    fn likeness_follows_words_not_order_or_politeness() {
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
            embed(&"word ".repeat(super::super::tokens::MOST_WORDS))
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
