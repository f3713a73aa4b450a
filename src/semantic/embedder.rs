//! What turns a prompt into a vector: built in, or an OpenAI-compatible endpoint.

use std::future::Future;
use std::pin::Pin;

use crate::event::Objection;
use crate::semantic::{guard, lexical};

/// An embedding on its way.
pub type Embedding<'a> = Pin<Box<dyn Future<Output = Result<Vec<f32>, EmbedError>> + Send + 'a>>;

/// No embedding came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct EmbedError {
    /// For people; holds no key.
    pub message: String,
}

/// Turns texts into vectors whose cosine says how like they are.
pub trait Embedder: Send + Sync + std::fmt::Debug + 'static {
    /// The vector of a text, of length 1. Dropping the future cancels.
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a>;

    /// Why the answer to the prompt `stored` must not be given to `asked`, however like they are to this
    /// embedder; nothing where no guard sees a reason.
    fn objection(&self, asked: &str, stored: &str) -> Option<Objection> {
        guard::objection(asked, stored)
    }

    /// What it is called on the screen: `built-in`, or a host and a model.
    fn name(&self) -> String;
}

/// The built-in one: no download, no network, and no more than words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lexical;

impl Embedder for Lexical {
    fn embed<'a>(&'a self, text: &'a str) -> Embedding<'a> {
        Box::pin(std::future::ready(Ok(lexical::embed(text))))
    }

    /// It knows words and not what they mean: stricter guards.
    fn objection(&self, asked: &str, stored: &str) -> Option<Objection> {
        guard::lexical_objection(asked, stored)
    }

    fn name(&self) -> String {
        "built-in".to_owned()
    }
}
