//! A stemmer for English: `installing` and `installed` get the same stem.
//!
//! Suffixes are stripped as in the first steps of Porter's stemmer (An algorithm for suffix stripping, 1980);
//! irregular forms are listed. Stems are compared and hashed, never shown.

/// Irregular forms.
#[rustfmt::skip]
const IRREGULAR: &[(&str, &str)] = &[
    ("ate", "eat"), ("eaten", "eat"), ("began", "begin"), ("begun", "begin"), ("beaten", "beat"),
    ("bought", "buy"), ("broke", "break"), ("broken", "break"), ("brought", "bring"), ("built", "build"),
    ("caught", "catch"), ("children", "child"), ("kids", "kid"), ("chose", "choose"), ("chosen", "choose"),
    ("criteria", "criterion"), ("done", "do"), ("drank", "drink"), ("drawn", "draw"), ("drew", "draw"),
    ("driven", "drive"), ("drove", "drive"), ("drunk", "drink"), ("dying", "die"), ("feet", "foot"),
    ("flew", "fly"), ("forgot", "forget"), ("forgotten", "forget"), ("froze", "freeze"), ("frozen", "freeze"),
    ("gave", "give"), ("given", "give"), ("gone", "go"), ("got", "get"), ("gotten", "get"), ("grew", "grow"),
    ("grown", "grow"), ("held", "hold"), ("hid", "hide"), ("hidden", "hide"), ("indices", "index"),
    ("kept", "keep"), ("knew", "know"), ("known", "know"), ("knives", "knife"), ("leaves", "leave"),
    ("led", "lead"), ("lost", "lose"), ("lying", "lie"), ("made", "make"), ("matrices", "matrix"),
    ("men", "man"), ("met", "meet"), ("mice", "mouse"), ("paid", "pay"), ("people", "person"), ("ran", "run"),
    ("said", "say"), ("saw", "see"), ("seen", "see"), ("sent", "send"), ("shown", "show"), ("slept", "sleep"),
    ("sold", "sell"), ("spoke", "speak"), ("spoken", "speak"), ("stole", "steal"), ("stolen", "steal"),
    ("swam", "swim"), ("taken", "take"), ("taught", "teach"), ("teeth", "tooth"), ("thought", "think"),
    ("threw", "throw"), ("thrown", "throw"), ("told", "tell"), ("took", "take"), ("tying", "tie"),
    ("understood", "understand"), ("used", "use"), ("uses", "use"), ("using", "use"), ("went", "go"),
    ("wives", "wife"), ("woke", "wake"), ("wolves", "wolf"), ("women", "woman"), ("won", "win"),
    ("wore", "wear"), ("worn", "wear"), ("written", "write"), ("wrote", "write"),
];

/// Words that look inflected but are not.
#[rustfmt::skip]
const UNINFLECTED: &[&str] = &[
    "during", "embed", "evening", "everything", "morning", "need", "news", "nothing", "something", "anything",
    "previous", "redis", "series", "species", "speed", "spring", "string", "thing", "wedding", "building",
    "ceiling", "series", "aws", "kubernetes", "css", "https", "dns", "tls", "ios", "macos", "paris", "texas",
    "always", "perhaps", "mars", "venus", "analysis", "basis", "virus", "status", "bus", "gas", "plus", "minus",
    "focus", "campus", "bonus", "census", "corpus", "pandas", "keras", "jenkins", "rails", "postgres",
    "express",
];

/// American forms of British endings.
#[rustfmt::skip]
const BRITISH: &[(&str, &str)] = &[
    ("isation", "ization"), ("ise", "ize"), ("ising", "izing"), ("ised", "ized"), ("ises", "izes"),
    ("yse", "yze"), ("ysed", "yzed"), ("ysing", "yzing"), ("avour", "avor"), ("avours", "avors"),
    ("avourite", "avorite"), ("aviour", "avior"), ("olour", "olor"), ("olours", "olors"), ("umour", "umor"),
    ("abour", "abor"), ("eighbour", "eighbor"), ("entre", "enter"), ("etre", "eter"), ("etres", "eters"),
    ("itre", "iter"), ("itres", "iters"), ("heatre", "heater"), ("ogue", "og"), ("ence", "ense"),
];

/// The stem of a lower-case word.
pub(super) fn stem(word: &str) -> String {
    if let Ok(at) = IRREGULAR_SORTED.binary_search_by(|(form, _)| (*form).cmp(word)) {
        let base = IRREGULAR_SORTED.get(at).map_or(word, |(_, base)| *base);
        return strip_ending(base);
    }
    if word.len() < 4 || !word.is_ascii() || word.bytes().any(|byte| !byte.is_ascii_alphabetic()) {
        return word.to_owned();
    }
    let word = american(word);
    if UNINFLECTED.contains(&&*word) {
        return strip_ending(&word);
    }
    let singular = singular(&word);
    strip_ending(&without_tense(&singular))
}

static IRREGULAR_SORTED: std::sync::LazyLock<Vec<(&'static str, &'static str)>> =
    std::sync::LazyLock::new(|| {
        let mut sorted = IRREGULAR.to_vec();
        sorted.sort_unstable();
        sorted
    });

fn american(word: &str) -> String {
    for (british, american) in BRITISH {
        if let Some(start) = word.strip_suffix(british)
            // rise and wise do not end in the suffix -ise
            && start.len() > usize::from(british.len() < 4)
            && !start.is_empty()
        {
            return format!("{start}{american}");
        }
    }
    word.to_owned()
}

fn singular(word: &str) -> String {
    let keeps = ["ss", "us", "is"].iter().any(|ending| word.ends_with(ending));
    if let Some(start) = word.strip_suffix("ies").filter(|start| start.len() > 1) {
        return format!("{start}y");
    }
    for ending in ["sses", "shes", "ches", "xes", "zes"] {
        if word.ends_with(ending) {
            return word.strip_suffix("es").unwrap_or(word).to_owned();
        }
    }
    match word.strip_suffix('s') {
        Some(start) if !keeps => start.to_owned(),
        _ => word.to_owned(),
    }
}

fn without_tense(word: &str) -> String {
    if let Some(start) = word.strip_suffix("ied").filter(|start| start.len() > 1) {
        return format!("{start}y");
    }
    for ending in ["ing", "ed"] {
        if let Some(start) = word.strip_suffix(ending)
            && start.len() > 2
            && !(ending == "ed" && start.ends_with('e'))
            && start.bytes().any(|byte| b"aeiouy".contains(&byte))
        {
            return start.to_owned();
        }
    }
    word.to_owned()
}

/// Unifies `make` with `mak` of `making`, `install` with `instal`, `reply` with `repli`.
fn strip_ending(word: &str) -> String {
    let mut word = word.to_owned();
    if word.len() > 3 && word.ends_with('e') {
        word.pop();
    }
    let bytes = word.as_bytes();
    if let [.., before, last] = bytes
        && before == last
        && bytes.len() > 3
        && !b"aeiou".contains(last)
    {
        word.pop();
    }
    if word.len() > 2 && word.ends_with('y') {
        word.pop();
        word.push('i');
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inflections_have_the_same_stem() {
        for (one, other) in [
            ("install", "installed"),
            ("make", "making"),
            ("make", "made"),
            ("reply", "replies"),
            ("reply", "replied"),
            ("class", "classes"),
            ("sort", "sorts"),
            ("run", "running"),
            ("color", "colours"),
            ("optimise", "optimizing"),
            ("child", "children"),
            ("process", "processing"),
            ("query", "queries"),
            ("meter", "metres"),
        ] {
            assert_eq!(stem(one), stem(other), "{one} {other}");
        }
    }

    #[test]
    fn different_words_have_different_stems() {
        for (one, other) in [
            ("string", "str"),
            ("need", "ne"),
            ("bus", "bu"),
            ("new", "news"),
            ("embed", "emb"),
            ("python", "java"),
            ("redis", "redi"),
        ] {
            assert_ne!(stem(one), stem(other), "{one} {other}");
        }
    }
}
