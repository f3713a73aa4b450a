//! The similarity of two answers, with which shadow mode measures false hits.

use super::{index, lexical, normalise};

/// The agreement from which two answers count as the same. Two answers of a model to one question share most of
/// their words, answers to different questions few. The boundary is a convention, so the agreement itself is shown
/// too.
pub(crate) const SAME_ANSWER: f64 = 0.8;

/// Returns the similarity of two answers, 0 to 1: the cosine of their built-in embeddings, or 1 if they are equal.
///
/// It compares words only. A rephrased answer scores too low, so the measured rate of false hits errs on the safe
/// side.
pub(crate) fn agreement(one: &str, other: &str) -> f64 {
    if one.trim() == other.trim() {
        return 1.0;
    }
    let (mut one, mut other) = (lexical::embed(one), lexical::embed(other));
    if !(normalise(&mut one) && normalise(&mut other)) {
        return 0.0;
    }
    index::cosine(&one, &other).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::agreement;

    #[test]
    fn equal_answers_agree_even_without_words() {
        for text in ["", "…", "The tide rises twice a day."] {
            assert!(agreement(text, &format!(" {text}\n")) >= 1.0, "{text}");
        }
        assert!(agreement("", "The tide rises twice a day.") <= 0.0);
    }
}
