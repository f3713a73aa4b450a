//! Answers to prompts that mean the same.

pub mod guard;
pub mod lexical;
mod quantity;
mod stem;
mod thesaurus;
mod words;
