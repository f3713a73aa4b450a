//! The language a prompt is written in, and the languages it names.

use super::{PromptPair, join_raw, new_objection};
use crate::event::{Objection, SemanticGuard};
use crate::semantic::tokens::Prompt;
use crate::semantic::word::Word;

/// Names of languages.
const NAMES: &str = "afrikaans albanian amharic arabic armenian basque bengali bosnian bulgarian burmese cantonese \
    catalan chinese croatian czech danish dutch english esperanto estonian farsi finnish flemish french galician \
    georgian german greek gujarati hausa hebrew hindi hungarian icelandic igbo indonesian irish italian japanese \
    kannada kazakh khmer korean kurdish lao latin latvian lithuanian malay malayalam mandarin marathi mongolian \
    nepali norwegian pashto persian polish portuguese punjabi romanian russian sanskrit serbian sinhala slovak \
    slovenian somali spanish swahili swedish tagalog tamil telugu thai tibetan turkish ukrainian urdu uzbek \
    vietnamese welsh xhosa yiddish yoruba zulu";

/// Words before a language name that make it a language: `in French`, not `the French wine`.
#[rustfmt::skip]
const BEFORE_LANGUAGE: &[&str] = &[
    "in", "into", "to", "from", "speak", "speaking", "learn", "my", "write", "translate", "between", "and",
    "than", "or", "say", "study", "use", "reply", "answer", "correct", "teach", "using", "proper",
];

/// Words after a language name that make it a language.
#[rustfmt::skip]
const AFTER_LANGUAGE: &[&str] = &[
    "grammar", "word", "words", "language", "translation", "sentence", "phrase", "phrases", "verb", "verbs",
    "alphabet", "version", "speaker", "text", "letter", "letters", "subtitle", "subtitles", "lesson",
    "vocabulary",
];

/// The most common words of languages in Latin script. No word is in two lists.
const COMMON_WORDS: &[(&str, &str)] = &[
    (
        "English",
        "the and is are what how why when where which who does do you your with for from have has this that can \
         should would write tell give make it its my",
    ),
    (
        "German",
        "der die das und ist sind nicht ein eine einen wie wer warum wann wo welche mit für von ich mir mein auf \
         zu den dem im schreibe erkläre kann wird des über",
    ),
    (
        "French",
        "le les et est sont une du que qui quoi comment pourquoi quand où quel quelle avec pour dans je mon ma \
         sur pas ce cette écris explique peut au aux deux",
    ),
    (
        "Spanish",
        "el los las y es son una unos qué cómo cuál cuándo dónde quién con por para mi está escribe explica \
         puedo puede del al sobre",
    ),
    (
        "Italian",
        "il lo gli è sono uno che chi perché dove quando quale qual della dello nel con per mio scrivi spiega \
         posso puoi di",
    ),
    (
        "Portuguese",
        "o os e é são um uma não quem como onde qual quais do da dos das com meu minha escreva explique posso em",
    ),
    (
        "Dutch",
        "het een zijn niet hoe waarom wanneer waar welke wie van ik mijn op te schrijf wat kan wordt naar",
    ),
];

pub(super) fn guard(pair: &PromptPair<'_>) -> Option<Objection> {
    let (asked, stored) = (language_of(&pair.asked), language_of(&pair.stored));
    if let (Some(asked), Some(stored)) = (asked, stored)
        && asked != stored
    {
        return Some(new_objection(SemanticGuard::Language, asked, stored));
    }
    let (asked, stored) = (named_languages(&pair.asked), named_languages(&pair.stored));
    let only = |of: &[&Word<'_>], other: &[&Word<'_>]| {
        let lacking = of
            .iter()
            .filter(|word| !other.iter().any(|other| other.lower == word.lower));
        join_raw(lacking.copied())
    };
    let (of_asked, of_stored) = (only(&asked, &stored), only(&stored, &asked));
    if of_asked.is_empty() && of_stored.is_empty() {
        return None;
    }
    // the same word may name a people in one prompt and a language in the other
    let has_all = |prompt: &Prompt<'_>, names: &str| {
        names.split(", ").filter(|name| !name.is_empty()).all(|name| {
            prompt
                .words
                .iter()
                .any(|word| word.raw.eq_ignore_ascii_case(name))
        })
    };
    if has_all(&pair.stored, &of_asked) && has_all(&pair.asked, &of_stored) {
        return None;
    }
    Some(new_objection(SemanticGuard::Language, &of_asked, &of_stored))
}

fn named_languages<'r, 'a>(prompt: &'r Prompt<'a>) -> Vec<&'r Word<'a>> {
    let lower = |at: Option<usize>| {
        let word = at.and_then(|at| prompt.words.get(at));
        word.map_or("", |word| &*word.lower)
    };
    let words = prompt.words.iter().enumerate();
    let named = words.filter(|(at, word)| {
        NAMES.split_whitespace().any(|name| name == word.lower)
            && (BEFORE_LANGUAGE.contains(&lower(at.checked_sub(1)))
                || AFTER_LANGUAGE.contains(&lower(Some(at + 1))))
    });
    named.map(|(_, word)| word).collect()
}

/// The language of a prompt, by its script and in Latin script by its most common words; `None` if unsure.
fn language_of(prompt: &Prompt<'_>) -> Option<&'static str> {
    let mut scripts = [
        ("Cyrillic", 0),
        ("Greek", 0),
        ("Arabic", 0),
        ("Hebrew", 0),
        ("Devanagari", 0),
        ("Thai", 0),
    ];
    let (mut han, mut kana, mut hangul, mut latin) = (0, 0, 0, 0);
    for c in prompt.text.chars().filter(|c| c.is_alphabetic()).take(2_000) {
        let at = match c {
            '\u{400}'..='\u{52f}' => Some(0),
            '\u{370}'..='\u{3ff}' => Some(1),
            '\u{600}'..='\u{6ff}' => Some(2),
            '\u{590}'..='\u{5ff}' => Some(3),
            '\u{900}'..='\u{97f}' => Some(4),
            '\u{e00}'..='\u{e7f}' => Some(5),
            _ => None,
        };
        if let Some((_, count)) = at.and_then(|at| scripts.get_mut(at)) {
            *count += 1;
            continue;
        }
        match c {
            '\u{3040}'..='\u{30ff}' => kana += 1,
            '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' => han += 1,
            '\u{ac00}'..='\u{d7af}' => hangul += 1,
            _ => latin += 1,
        }
    }
    let eastern = if kana > 0 {
        ("Japanese", kana + han)
    } else {
        ("Chinese", han)
    };
    let main = scripts
        .into_iter()
        .chain([eastern, ("Korean", hangul)])
        .max_by_key(|(_, count)| *count)?;
    // other scripts weigh double, because they often contain names in Latin letters
    if main.1 * 2 > latin {
        return Some(main.0);
    }
    let mut counts: Vec<(usize, &'static str)> = COMMON_WORDS
        .iter()
        .map(|(language, words)| {
            let common = |word: &&Word<'_>| {
                word.lower
                    .split(' ')
                    .any(|part| words.split_whitespace().any(|common| common == part))
            };
            (prompt.words.iter().take(200).filter(common).count(), *language)
        })
        .collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    match counts.as_slice() {
        [(best, language), (next, _), ..] if *best >= 2 && best > next => Some(language),
        _ => None,
    }
}
