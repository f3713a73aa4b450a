//! The interface of embedders, which turn a prompt into a vector.

use std::future::Future;
use std::pin::Pin;

use crate::event::Objection;
use crate::semantic::{guard, lexical};

/// The future of an embedding.
pub type Embedding<'a> = Pin<Box<dyn Future<Output = Result<Vec<f32>, EmbedError>> + Send + 'a>>;

/// A failed embedding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EmbedError {
    /// The reason. Contains no API key.
    pub message: String,
}

/// Turns texts into vectors whose cosine is their similarity.
pub trait Embedder: Send + Sync + std::fmt::Debug + 'static {
    /// Computes the vector of a text. Dropping the future cancels it.
    ///
    /// # Errors
    /// Fails if no embedding can be computed; the lookup is then a miss.
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a>;

    /// Returns the reason not to serve the answer of the prompt `stored` to `asked`, however similar they are to
    /// this embedder; `None` if no guard objects.
    fn objection(&self, asked: &str, stored: &str) -> Option<Objection> {
        guard::objection(asked, stored)
    }

    /// The name shown on screen: `built-in`, or the host and the model.
    fn name(&self) -> String;
}

/// The built-in embedder: lexical, without a download or a network. See [`lexical`].
#[derive(Clone, Copy, Debug, Default)]
pub struct LexicalEmbedder;

impl Embedder for LexicalEmbedder {
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a> {
        Box::pin(std::future::ready(Ok(lexical::embed(text))))
    }

    /// Uses stricter guards, because the embedder compares words, not meanings.
    fn objection(&self, asked: &str, stored: &str) -> Option<Objection> {
        guard::lexical_objection(asked, stored)
    }

    fn name(&self) -> String {
        "built-in".to_owned()
    }
}
