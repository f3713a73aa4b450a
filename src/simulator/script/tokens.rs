//! An approximate tokenizer.

/// Splits a text into tokens of about four bytes: a word with the space before it, a long word in parts,
/// punctuation and line breaks on their own. Joined, the tokens are the text again.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    const MAX_LETTERS: usize = 7;
    let mut tokens = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while !rest.is_empty() {
        let mut length = 0;
        let mut letters = 0;
        for c in rest.chars() {
            let joins = if c.is_alphanumeric() {
                letters < MAX_LETTERS
            } else {
                // a space begins a word; any other character is a token
                length == 0
            };
            if !joins {
                break;
            }
            letters += usize::from(c.is_alphanumeric());
            length += c.len_utf8();
            if length == c.len_utf8() && c != ' ' && !c.is_alphanumeric() {
                break;
            }
        }
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}
