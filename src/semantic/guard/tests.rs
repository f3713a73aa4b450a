use proptest::prelude::*;

use super::*;
use SemanticGuard::{Language, Name, Negation, Number, Opposite, Question, Quote, Role, Unit, Word};

/// The guard that objects and what it shows. The same guard must object with the prompts swapped.
fn rejected(asked: &str, stored: &str) -> Option<(SemanticGuard, String, String)> {
    let found = objection(asked, stored);
    let swapped = objection(stored, asked);
    assert_eq!(
        found.as_ref().map(|found| found.guard),
        swapped.as_ref().map(|found| found.guard),
        "{asked} | {stored}"
    );
    found.map(|found| (found.guard, found.asked.to_string(), found.stored.to_string()))
}

/// Asked, stored, the guard that objects, and what it shows of each.
const REJECTED: &[(&str, &str, SemanticGuard, &str, &str)] = &[
    ("a haiku of 3 lines", "a haiku of 5 lines", Number, "3", "5"),
    ("version 1.2 of it", "version 1.10 of it", Number, "1.2", "1.10"),
    (
        "give me ten names",
        "give me twenty names",
        Number,
        "ten",
        "twenty",
    ),
    ("is it 5 km away", "is it 5 miles away", Unit, "km", "miles"),
    ("it costs $5 here", "it costs €5 here", Unit, "$5", "€5"),
    (
        "rows with a value",
        "rows without a value",
        Negation,
        "",
        "without",
    ),
    ("why does it work", "why doesn't it work", Negation, "", "doesn't"),
    (
        "enable the firewall",
        "disable the firewall",
        Opposite,
        "enable",
        "disable",
    ),
    (
        "turn on the lamp",
        "turn off the lamp",
        Opposite,
        "turn on",
        "turn off",
    ),
    (
        "the first row of it",
        "the last row of it",
        Opposite,
        "first",
        "last",
    ),
    (
        "take it with aspirin",
        "take it instead of aspirin",
        Word,
        "",
        "instead of",
    ),
    (
        "a mutable borrow",
        "an immutable borrow",
        Opposite,
        "mutable",
        "immutable",
    ),
    ("when was Ada born", "when was Grace born", Name, "Ada", "Grace"),
    ("read it in python", "read it in java", Name, "python", "java"),
    (
        "open config.yaml",
        "open config.toml",
        Name,
        "config.yaml",
        "config.toml",
    ),
    (
        "say \"good day\" to all",
        "say \"good night\" to all",
        Quote,
        "good day",
        "good night",
    ),
    (
        "what does `map` do",
        "what does `filter` do",
        Quote,
        "map",
        "filter",
    ),
    (
        "summarize this text: cats sleep",
        "summarize this text: dogs bark",
        Quote,
        "cats sleep",
        "dogs bark",
    ),
    (
        "convert json to yaml",
        "convert yaml to json",
        Role,
        "json to yaml",
        "yaml to json",
    ),
    (
        "what does the maker owe the buyers",
        "what do the buyers owe the maker",
        Role,
        "maker owe buyers",
        "buyers owe maker",
    ),
    (
        "did Rome fight Carthage",
        "did Carthage fight Rome",
        Role,
        "Rome fight Carthage",
        "Carthage fight Rome",
    ),
    (
        "say it in French",
        "say it in German",
        Language,
        "French",
        "German",
    ),
    (
        "wie hoch ist der Turm",
        "how high is the tower",
        Language,
        "German",
        "English",
    ),
    (
        "who wrote the letter",
        "when was the letter written",
        Question,
        "who",
        "when",
    ),
    (
        "how many live there",
        "why do they live there",
        Question,
        "how many",
        "why",
    ),
    ("cook the rice well", "cook the beans well", Word, "rice", "beans"),
    (
        "list the failed runs",
        "list only the failed runs",
        Word,
        "",
        "only",
    ),
];

#[test]
fn each_guard_objects_and_shows_the_difference() {
    for (asked, stored, guard, of_asked, of_stored) in REJECTED.iter().copied() {
        assert_eq!(
            rejected(asked, stored),
            Some((guard, of_asked.to_owned(), of_stored.to_owned())),
            "{asked} | {stored}"
        );
    }
}

#[test]
fn no_guard_objects_to_a_paraphrase() {
    for (asked, stored) in [
        ("What's 1,000 times two?", "what is 1000 times 2"),
        ("Is it 5km to the lake?", "Is it 5 kilometers to the lake?"),
        ("what is 20% of 50", "What is 20 percent of 50?"),
        ("the 20th century", "the twentieth century"),
        (
            "In Rust, how do I sort a vector?",
            "How do I sort a vector in Rust?",
        ),
        ("Why doesn't it compile?", "why does it not compile"),
        (
            "Could you please tell me who wrote Dune?",
            "Who's the author of Dune?",
        ),
        ("Was Brazil beaten by Germany?", "Did Germany beat Brazil?"),
        ("Convert from km to miles", "convert km into miles"),
        (
            "Give me a vegetarian recipe for dinner",
            "Suggest a dinner recipe that is vegetarian",
        ),
        (
            "How do I enable 2FA?",
            "How can I turn on two-factor authentication?",
        ),
        (
            "What is the difference between TCP and UDP?",
            "What is the difference between UDP and TCP?",
        ),
        (
            "Translate \"thank you\" into French",
            "into French, translate \"thank you\"",
        ),
    ] {
        assert_eq!(rejected(asked, stored), None, "{asked} | {stored}");
    }
}

#[test]
fn unmatched_words_are_rejected_for_the_built_in_embedder_only() {
    let (asked, stored) = (
        "How do I get over a cold quickly?",
        "How do I sleep through the night with a fever?",
    );
    assert_eq!(
        objection("what is the tide", "explain the tide tables of ports"),
        None
    );
    let found = lexical_objection("what is the tide", "explain the tide tables of ports").unwrap();
    assert_eq!(
        (found.guard, &*found.asked, &*found.stored),
        (Word, "", "tables, ports")
    );
    assert!(lexical_objection(asked, stored).is_some());
}

#[test]
fn accepts_typing_errors_but_not_other_words() {
    for (asked, stored) in [
        (
            "Write a funtion that reverses a string",
            "Write a function that reverses a string",
        ),
        ("waht is a mutex", "what is a mutex"),
        ("recomend a book", "recommend a book"),
    ] {
        assert_eq!(lexical_objection(asked, stored), None, "{asked}");
    }
    for (asked, stored) in [
        ("bake a dessert", "bake a desert"),
        ("how heavy is a moose", "how heavy is a mouse"),
        ("what is methanol", "what is ethanol"),
    ] {
        assert!(lexical_objection(asked, stored).is_some(), "{asked}");
    }
}

#[test]
fn a_long_prompt_is_rejected_unless_it_is_equal() {
    let long = "word ".repeat(5_000);
    assert_eq!(objection(&long, &long), None);
    let found = objection(&long, &format!("{long} not")).unwrap();
    assert_eq!(found.guard, Word);
    assert!(found.asked.contains("more words"), "{found:?}");
}

#[test]
fn an_objection_is_short_and_printable() {
    let hostile = format!("say \"{}\u{1b}[31m\n\"", "x".repeat(1_000));
    let found = objection(&hostile, "say \"y\"").unwrap();
    assert!(
        found.asked.chars().count() <= MAX_SHOWN && !found.asked.contains(['\n', '\u{1b}']),
        "{found:?}"
    );
}

#[test]
fn repeated_words_do_not_swap_roles() {
    assert_eq!(lexical_objection("y R r,Y,", "y  R  r,Y,"), None);
    let found = objection(
        "does Anna beat Ben and Ben beat Cleo",
        "does Ben beat Anna and Ben beat Cleo",
    )
    .unwrap();
    assert_eq!(found.guard, Role);
}

proptest! {
    #[test]
    fn no_guard_objects_to_other_spacing(text in "[a-zA-Z0-9 ,.?!$%@#_-]{0,80}") {
        let spaced = text.replace(' ', "  ");
        prop_assert_eq!(lexical_objection(&text, &spaced), None);
    }

    #[test]
    fn objections_are_symmetric(asked in "\\PC{0,60}", stored in "\\PC{0,60}") {
        let found = objection(&asked, &stored).map(|found| found.guard);
        let swapped = objection(&stored, &asked).map(|found| found.guard);
        prop_assert_eq!(found.is_some(), swapped.is_some());
    }
}
