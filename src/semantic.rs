//! The semantic cache: stored answers for prompts that mean the same (docs/semantics.md, Semantic cache).
//!
//! ```text
//! request --> without_prompt -> no key: not compared           (fingerprint.rs)
//!                  | key, prompt
//!                  v
//!              embedder --> late or failed: not compared       (hold_off.rs pauses a failing embedder)
//!                  | vector
//!                  v
//!               Index --> the nearest prompts of that key      (index.rs, sketch.rs)
//!                  |
//!                  v  for each, nearest first
//!        answer still in the exact cache? --no--> removed
//!        similarity at the threshold?     --no--> not served   (labels.rs raises thresholds)
//!        no guard objects?                --no--> not served   (guard.rs)
//!                  |
//!                  v
//!               served, or compared in shadow mode             (agreement.rs)
//! ```
//!
//! The index holds vectors only. Answers and their requests stay in the exact cache; an answer evicted there is
//! not served here either.

pub(crate) mod agreement;
pub mod embedder;
pub mod guard;
mod hold_off;
mod index;
pub(crate) mod label_store;
mod labels;
pub mod lexical;
mod quantity;
mod sketch;
mod stem;
mod thesaurus;
mod tokens;
mod word;

pub(crate) use hold_off::{HoldOff, HoldOffChange};
pub use index::{Index, Neighbour, SearchResult};
pub(crate) use labels::{Labelled, Labels, SemanticHit};
pub use sketch::Sketch;

/// Candidates that guards may reject before a lookup gives up.
pub(crate) const MAX_REJECTIONS: u32 = 8;

/// Scales an embedding to length 1. Returns false if it is empty, all zero or not finite.
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
    fn normalises_to_length_one_or_fails() {
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
        // squares that overflow an f32
        assert!(normalise(&mut [f32::MAX, f32::MAX]));
        assert!(normalise(&mut [1e-30, 0.0]));
    }
}
