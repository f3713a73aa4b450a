//! The thesaurus: synonyms, opposites, padding and names. Parsed once from an asset.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::stem::stem;

/// The bundled thesaurus.
pub(super) static THESAURUS: LazyLock<Thesaurus> =
    LazyLock::new(|| Thesaurus::parse(include_str!("../../assets/semantic/thesaurus.txt")));

/// Words that carry grammar rather than content.
const FUNCTION: &str = "a an the of to in on at for with by from and or but nor is are was were be been being am \
    do does did doing has have had having will would can could should may might must shall i you he she it we \
    they me him her us them my your his its our their mine yours this that these those there here what which who \
    whom whose when where why how if then so than as into onto about over under up down off out very too just not \
    no never none without except unless neither cannot yes between within through while because since until \
    against per via toward towards upon among across before after during both each every all any some more most \
    much many few less least such own same other another only again also ever whether now someone anyone everyone somebody anybody everybody yet still let lets one get s t";

/// The meaning of a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Means the same as the named group.
    Concept(&'static str),
    Padding,
    /// Padding at the start or the end of a prompt only.
    Greeting,
}

/// A phrase, filed under the key of its first word.
#[derive(Debug)]
pub(super) struct Phrase {
    /// The keys of the other words.
    pub rest: Vec<String>,
    pub meaning: Meaning,
}

#[derive(Debug, Default)]
pub(super) struct Thesaurus {
    phrases: HashMap<String, Vec<Phrase>>,
    exact: HashMap<&'static str, &'static str>,
    opposites: HashMap<String, Vec<(u16, bool)>>,
    names: HashSet<String>,
    known: HashSet<String>,
    function: HashSet<&'static str>,
}

impl Thesaurus {
    fn parse(text: &'static str) -> Self {
        let mut table = Self {
            function: FUNCTION.split_whitespace().collect(),
            ..Self::default()
        };
        let mut pair = 0;
        for line in text.lines() {
            let Some((mark, rest)) = line.split_once(' ') else {
                continue;
            };
            match mark {
                "=" => table.group(rest),
                "!" => {
                    if let Some((one, other)) = rest.split_once('/') {
                        table.opposite(one, pair, false);
                        table.opposite(other, pair, true);
                        pair += 1;
                    }
                }
                "~" => entries(rest).for_each(|entry| table.add(entry, Meaning::Padding)),
                "^" => entries(rest).for_each(|entry| table.add(entry, Meaning::Greeting)),
                "@" => {
                    for entry in entries(rest) {
                        table.learn(entry);
                        let name = table.concept_of_entry(entry);
                        table.names.insert(name);
                    }
                }
                "+" => entries(rest).for_each(|entry| table.learn(entry)),
                _ => {}
            }
        }
        for phrases in table.phrases.values_mut() {
            // the longest match wins; among equals the first in the file (the sort is stable)
            phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.rest.len()));
        }
        table
    }

    fn group(&mut self, rest: &'static str) {
        let mut name = None;
        for entry in entries(rest) {
            let name = *name.get_or_insert(entry);
            self.add(entry, Meaning::Concept(name));
            if !entry.contains(' ') {
                self.exact.entry(entry).or_insert(name);
            }
        }
    }

    fn add(&mut self, entry: &'static str, meaning: Meaning) {
        self.learn(entry);
        let mut keys = entry.split(' ').map(|word| self.key(word)).collect::<Vec<_>>();
        if keys.is_empty() {
            return;
        }
        let first = keys.remove(0);
        self.phrases
            .entry(first)
            .or_default()
            .push(Phrase { rest: keys, meaning });
    }

    fn opposite(&mut self, side: &'static str, pair: u16, is_other: bool) {
        for entry in entries(side) {
            self.learn(entry);
            let key = self.concept_of_entry(entry);
            self.opposites.entry(key).or_default().push((pair, is_other));
            let own = self.key(entry);
            self.opposites.entry(own).or_default().push((pair, is_other));
        }
    }

    fn learn(&mut self, entry: &'static str) {
        for word in entry.split(' ') {
            self.known.insert(stem(word));
        }
    }

    /// The concept that a phrase of the file gets in a prompt.
    fn concept_of_entry(&self, entry: &str) -> String {
        let keys: Vec<String> = entry.split(' ').map(|word| self.key(word)).collect();
        let found = keys.split_first().and_then(|(first, rest)| {
            let phrases = self.phrases.get(first)?;
            phrases.iter().find_map(|phrase| match phrase.meaning {
                Meaning::Concept(name) if phrase.rest == rest => Some(name.to_owned()),
                _ => None,
            })
        });
        found.unwrap_or_else(|| keys.join(" "))
    }

    /// The lookup key of a word: itself if it is a function word, otherwise its stem.
    pub(super) fn key(&self, word: &str) -> String {
        if self.is_function(word) {
            word.to_owned()
        } else {
            stem(word)
        }
    }

    pub(super) fn is_function(&self, word: &str) -> bool {
        self.function.contains(word)
    }

    /// The phrases that begin with a key, longest first.
    pub(super) fn phrases(&self, first: &str) -> &[Phrase] {
        self.phrases.get(first).map_or(&[], Vec::as_slice)
    }

    /// The group that contains exactly this word.
    pub(super) fn exact(&self, word: &str) -> Option<&'static str> {
        self.exact.get(word).copied()
    }

    /// The pairs of opposites that contain a key, and its side.
    pub(super) fn opposites(&self, key: &str) -> &[(u16, bool)] {
        self.opposites.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns true if a concept is a name, even in lower case.
    pub(super) fn is_name(&self, concept: &str) -> bool {
        self.names.contains(concept)
    }

    /// Returns true if the thesaurus has the word, so that it is spelled correctly.
    pub(super) fn knows(&self, word: &str) -> bool {
        self.is_function(word) || self.known.contains(&stem(word))
    }
}

fn entries(line: &'static str) -> impl Iterator<Item = &'static str> {
    line.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}
