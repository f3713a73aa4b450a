//! Answers to prompts that mean the same.
//!
//! ```text
//! request --> without_prompt -> nothing: not compared          (fingerprint.rs)
//!                  | key, prompt
//!                  v
//!              embedder --> late or failed: not compared       (hold_off.rs asks it no more for a while)
//!                  | vector
//!                  v
//!               Index --> the nearest prompts of that key      (index.rs, sketch.rs)
//!                  |
//!                  v  for each, nearest first
//!        answer still in the exact cache? --no--> forgotten
//!        as like as its threshold asks?   --no--> not served   (labels.rs raises thresholds)
//!        no guard objects?                --no--> not served   (guard.rs)
//!                  |
//!                  v
//!               served, or compared in shadow mode             (compare.rs)
//! ```
//!
//! The index holds vectors and nothing else: answers, and the requests they answer, stay in the exact cache. What
//! that one forgets, for whatever reason, is not served here either.

pub mod compare;
pub mod embedder;
pub mod guard;
pub mod hold_off;
pub mod index;
pub mod label_store;
pub mod labels;
pub mod lexical;
mod quantity;
pub mod sketch;
mod stem;
mod thesaurus;
mod tokens;

pub use hold_off::HoldOff;
pub use index::{Found, Index, Near};
pub use labels::{Labelled, Labels, NotLabelled, Served};
pub use sketch::Sketch;

/// Candidates that guards may refuse before the search is given up.
pub const MAX_REFUSALS: u32 = 8;

/// Brings an embedding to length 1. False if that cannot be: it is all zero, empty, or not all of it are numbers.
pub fn normalise(vector: &mut [f32]) -> bool {
    let square: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let length = square.sqrt();
    if !(length.is_finite() && length > 0.0) {
        return false;
    }
    for x in vector.iter_mut() {
        *x = (f64::from(*x) / length) as f32;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::normalise;

    #[test]
    fn an_embedding_has_length_one_or_is_none() {
        let mut vector = [3.0, 0.0, -4.0];
        assert!(normalise(&mut vector));
        assert_eq!(vector.map(f32::to_bits), [0.6_f32, 0.0, -0.8].map(f32::to_bits));
        for mut bad in [
            vec![],
            vec![0.0; 4],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY, 1.0],
        ] {
            assert!(!normalise(&mut bad), "{bad:?}");
        }
        // squares beyond what a single could hold
        assert!(normalise(&mut [f32::MAX, f32::MAX]));
        assert!(normalise(&mut [1e-30, 0.0]));
    }
}
