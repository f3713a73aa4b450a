//! The words of a tokenised prompt.

use std::borrow::Cow;

/// The kind of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WordKind {
    /// Carries content.
    Content,
    /// Carries grammar.
    Function,
    /// Politeness.
    Padding,
    Number,
    /// A unit or a currency.
    Unit,
    /// A file name, an identifier or an address, compared literally.
    Code,
}

/// A word, or a phrase with one meaning.
#[derive(Clone, Debug)]
pub(super) struct Word<'a> {
    /// The original text.
    pub raw: &'a str,
    /// The byte offset.
    pub at: usize,
    /// Lower case, without apostrophes.
    pub lower: Cow<'a, str>,
    /// The meaning: the name of its group, or its stem.
    pub concept: Cow<'static, str>,
    pub kind: WordKind,
    /// True if it opens a sentence.
    pub opens: bool,
    /// True if the thesaurus matched it as a phrase or as a member of a group.
    pub grouped: bool,
}

pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥' | '₹')
}
