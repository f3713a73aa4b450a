//! What the simulator says: written answers on a few dozen topics, and an honest word about everything else.
//!
//! The texts stand in `assets/replies/replies.md`: entries separated by a line `---`, each a line
//! `topics: a, b, c`, an empty line and the text. The same question gets the same answer, whatever the
//! temperature: nothing here is a model.
//!
//! Choice: an entry scores, for each of its topics that stands in the question word for word (a plural s
//! more or less is forgiven), `(100 words² + letters) / entries with that topic`. So "circuit breaker" beats
//! "breaker", and a rare topic beats a common one. The first of equals wins.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

/// One written answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it is about, as written; the first names it.
    pub topics: Vec<&'static str>,
    /// The answer.
    pub text: &'static str,
}

static SHELF: LazyLock<Shelf> =
    LazyLock::new(|| Shelf::new(parse(include_str!("../../assets/replies/replies.md"))));

/// Every written answer.
pub fn all() -> &'static [Reply] {
    &SHELF.replies
}

/// The answer to a question: the best match, or [`unknown`].
pub fn answer(question: &str) -> String {
    SHELF
        .choose(question)
        .map_or_else(unknown, |reply| reply.text.to_owned())
}

/// The answer to a question that no topic matches: what this is, what it knows, and how to ask a model.
pub fn unknown() -> String {
    let topics: Vec<&str> = all()
        .iter()
        .filter_map(|reply| reply.topics.first().copied())
        .collect();
    format!(
        "This is seawall's built-in simulator, not a language model. It has no written answer to that \
         question.\n\nIt can say something about: {}.\n\nFor real answers, start a llama-server and point \
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

/// Answers, and what each of their topics weighs. Weighed once: a burst asks thousands of questions.
struct Shelf {
    replies: Vec<Reply>,
    /// The topics of all replies, by their first word.
    topics: HashMap<String, Vec<Topic>>,
}

/// A topic of a reply.
struct Topic {
    /// The place of the reply.
    reply: usize,
    words: Vec<String>,
    weight: u64,
}

impl Shelf {
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
                // what is said twice counts once
                if rest.starts_with(&topic.words) && !found.iter().any(|known| std::ptr::eq(*known, topic)) {
                    found.push(topic);
                }
            }
        }
        let mut scores: BTreeMap<usize, u64> = BTreeMap::new();
        for topic in found {
            *scores.entry(topic.reply).or_default() += topic.weight;
        }
        // `max_by_key` would take the last of equals
        let best = scores
            .into_iter()
            .reduce(|best, next| if next.1 > best.1 { next } else { best });
        best.and_then(|(reply, _)| self.replies.get(reply))
    }
}

/// Lower-case words without their plural s; everything that is no letter or digit separates.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| stem(&word.to_lowercase()))
        .collect()
}

/// `retries` and `retry`, `caches` and `cache`, `tokens` and `token` meet in one stem; `status` stays.
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
        let shelf = Shelf::new(parse(SAMPLE));
        let choose = |question| shelf.choose(question).map(|reply| reply.text);
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
    fn every_written_entry_is_read_and_found_by_each_of_its_own_topics() {
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
                let found = SHELF.choose(topic).unwrap();
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
    fn it_says_what_it_is_when_it_knows_nothing() {
        let text = answer("xyzzy");
        assert_eq!(text, unknown());
        assert!(text.contains("not a language model") && text.contains("--upstream http://"));
        assert!(text.contains(all()[0].topics[0]));
    }
}
