//! Whether two answers are the same answer: what shadow mode measures false hits with.

use super::{index, lexical, normalise};

/// Answers at least so like each other count as the same. Two answers of a model to one question share most of
/// their words, and answers to different questions few; the boundary is a convention, so the agreement itself is
/// told too.
pub const SAME_ANSWER: f64 = 0.8;

/// How like two answers are, 0 to 1: the cosine of their built-in embeddings, 1 if they are equal. By words only:
/// an answer said differently counts as less like than it is, so what is measured with it errs on the safe side.
pub fn agreement(one: &str, other: &str) -> f64 {
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
    fn equal_answers_agree_whatever_the_embedder_makes_of_them() {
        for text in ["", "…", "The tide rises twice a day."] {
            assert!(agreement(text, &format!(" {text}\n")) >= 1.0, "{text}");
        }
        assert!(agreement("", "The tide rises twice a day.") <= 0.0);
    }
}
