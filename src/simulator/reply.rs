//! Canned answers on a few dozen topics, and one answer for all other questions.
//!
//! `assets/replies/replies.md` holds the texts: entries separated by a line `---`, each a line `topics: a, b, c`,
//! an empty line and the text. The same question gets the same answer at any temperature.
//!
//! An entry scores `(100 words² + letters) / entries with that topic` for each of its topics that the question
//! contains word for word (ignoring a plural s). So "circuit breaker" beats "breaker", and a rare topic beats a
//! common one. The first of equal entries wins.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// A canned answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its topics; the first names it.
    pub topics: Vec<&'static str>,
    /// The text.
    pub text: &'static str,
}

static REPLIES: LazyLock<ReplyTable> =
    LazyLock::new(|| ReplyTable::new(parse(include_str!("../../assets/replies/replies.md"))));

/// Every canned answer.
pub fn all() -> &'static [Reply] {
    &REPLIES.replies
}

/// The answer to a question: the best match, or [`unknown`].
pub fn answer(question: &str) -> String {
    REPLIES
        .choose(question)
        .map_or_else(unknown, |reply| reply.text.to_owned())
}

/// The answer to a question without a matching topic: what the simulator is, its topics, and how to use a model.
pub fn unknown() -> String {
    let topics: Vec<&str> = all()
        .iter()
        .filter_map(|reply| reply.topics.first().copied())
        .collect();
    format!(
        "This is seawall's built-in simulator, not a language model. It has no canned answer to that \
         question.\n\nIts topics: {}.\n\nFor real answers, start a llama-server and point \
         seawall at it: seawall --upstream http://127.0.0.1:8033",
        topics.join(", ")
    )
}

fn parse(text: &'static str) -> Vec<Reply> {
    text.split("\n---\n").filter_map(parse_entry).collect()
}

fn parse_entry(entry: &'static str) -> Option<Reply> {
    let (head, text) = entry.trim().split_once("\n\n")?;
    let topics: Vec<&str> = head
        .strip_prefix("topics:")?
        .split(',')
        .map(str::trim)
        .filter(|topic| !topic.is_empty())
        .collect();
    let text = text.trim();
    (!topics.is_empty() && !text.is_empty()).then_some(Reply { topics, text })
}

/// All answers, with the weights of their topics.
struct ReplyTable {
    replies: Vec<Reply>,
    /// The topics of all replies, by their first word.
    topics: HashMap<String, Vec<Topic>>,
}

/// A topic of a reply.
struct Topic {
    /// The index of the reply.
    reply: usize,
    words: Vec<String>,
    weight: u64,
}

impl ReplyTable {
    fn new(replies: Vec<Reply>) -> Self {
        let mut shared: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        for topic in replies.iter().flat_map(|reply| &reply.topics) {
            *shared.entry(words(topic)).or_default() += 1;
        }
        let mut topics: HashMap<String, Vec<Topic>> = HashMap::new();
        for (reply, entry) in replies.iter().enumerate() {
            for words in entry.topics.iter().map(|topic| words(topic)) {
                let letters: usize = words.iter().map(String::len).sum();
                let weight = 100 * (words.len() * words.len()) + letters;
                let sharing = shared.get(&words).copied().unwrap_or(1).max(1);
                let Some(first) = words.first() else { continue };
                topics.entry(first.clone()).or_default().push(Topic {
                    reply,
                    weight: weight as u64 / sharing,
                    words,
                });
            }
        }
        Self { replies, topics }
    }

    fn choose(&self, question: &str) -> Option<&Reply> {
        let question = words(question);
        let mut found: Vec<&Topic> = Vec::new();
        for (at, word) in question.iter().enumerate() {
            let rest = question.get(at..).unwrap_or_default();
            for topic in self.topics.get(word).into_iter().flatten() {
                // a repeated topic counts once
                if rest.starts_with(&topic.words) && !found.iter().any(|known| std::ptr::eq(*known, topic)) {
                    found.push(topic);
                }
            }
        }
        let mut scores: BTreeMap<usize, u64> = BTreeMap::new();
        for topic in found {
            *scores.entry(topic.reply).or_default() += topic.weight;
        }
        // `max_by_key` would return the last of equal entries
        let best = scores
            .into_iter()
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.and_then(|(reply, _)| self.replies.get(reply))
    }
}

/// The lower-case words of a text, without plural s, split at everything except letters and digits.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| stem(&word.to_lowercase()))
        .collect()
}

/// The singular: `retry` of `retries`, `cache` of `caches`; `status` stays.
fn stem(word: &str) -> String {
    let keep = word.len() <= 3 || ["ss", "us", "is"].iter().any(|end| word.ends_with(end));
    match word.strip_suffix("ies") {
        _ if keep => word.to_owned(),
        Some(root) => format!("{root}y"),
        None => word.strip_suffix('s').unwrap_or(word).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(question: &[String], topic: &[String]) -> bool {
        !topic.is_empty() && question.windows(topic.len()).any(|window| window == topic)
    }

    const SAMPLE: &str = "topics: breaker, circuit breaker\n\nB.\n---\ntopics: token, retry\n\nT.\n---\n\
                          topics: token bucket, token, cache\n\nTB.\n\nSecond.\n";

    #[test]
    fn the_most_specific_topic_wins() {
        let table = ReplyTable::new(parse(SAMPLE));
        let choose = |question| table.choose(question).map(|reply| reply.text);
        let cases = [
            ("What is a circuit breaker?", Some("B.")),
            ("Explain Circuit-Breakers!", Some("B.")),
            ("token bucket", Some("TB.\n\nSecond.")),
            ("TOKENS", Some("T.")),
            ("how many retries?", Some("T.")),
            ("two caches and a token", Some("TB.\n\nSecond.")),
            ("bucket", None),
            ("", None),
        ];
        for (question, text) in cases {
            assert_eq!(choose(question), text, "{question}");
        }
    }

    #[test]
    fn every_entry_parses_and_is_found_by_each_of_its_topics() {
        let entries = include_str!("../../assets/replies/replies.md")
            .split("\n---\n")
            .count();
        assert_eq!(
            all().len(),
            entries,
            "an entry without topics, empty line or text"
        );
        for reply in all() {
            for topic in &reply.topics {
                let found = REPLIES.choose(topic).unwrap();
                assert!(
                    found
                        .topics
                        .iter()
                        .any(|other| contains(&words(topic), &words(other))),
                    "{topic}"
                );
            }
            assert_eq!(answer(reply.topics[0]), answer(reply.topics[0]));
        }
    }

    #[test]
    fn an_unknown_question_gets_an_answer_that_says_so() {
        let text = answer("xyzzy");
        assert_eq!(text, unknown());
        assert!(text.contains("not a language model") && text.contains("--upstream http://"));
        assert!(text.contains(all()[0].topics[0]));
    }
}
