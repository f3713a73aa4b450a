//! JUnit XML, which every CI service reads: suites of cases that passed, failed or could not be judged.
//!
//! The form is that of <https://github.com/testmoapp/junitxml>. The names of cases must not hold what came of them, so
//! that a service can follow a case from run to run.

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

type Xml = Writer<Vec<u8>>;

/// What a case came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should; with figures for those who look, where there are any.
    Passed(Option<String>),
    /// Not so: at least one line that says why.
    Failed(Vec<String>),
    /// Nobody can say, and why.
    Skipped(String),
}

/// A case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The same from run to run.
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
}

/// Cases that belong together.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// What they are of; also the class of each case.
    pub name: String,
    /// How long it took, in seconds, where that says anything.
    pub seconds: Option<f64>,
    /// What else a reader may ask for, by name.
    pub properties: Vec<(&'static str, String)>,
    /// In the order they are shown.
    pub cases: Vec<Case>,
}

/// Tests, failed ones and skipped ones.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    tests: usize,
    failed: usize,
    skipped: usize,
}

impl Suite {
    /// Whether a case failed.
    pub fn has_failed(&self) -> bool {
        self.count().failed > 0
    }

    fn count(&self) -> Count {
        let having = |is: fn(&Verdict) -> bool| self.cases.iter().filter(|case| is(&case.verdict)).count();
        Count {
            tests: self.cases.len(),
            failed: having(|verdict| matches!(verdict, Verdict::Failed(_))),
            skipped: having(|verdict| matches!(verdict, Verdict::Skipped(_))),
        }
    }
}

/// The document; the last line has its end.
pub fn document(suites: &[Suite]) -> io::Result<String> {
    let mut all = Count::default();
    for count in suites.iter().map(Suite::count) {
        all.tests += count.tests;
        all.failed += count.failed;
        all.skipped += count.skipped;
    }
    let seconds = suites
        .iter()
        .filter_map(|suite| suite.seconds)
        .reduce(|sum, one| sum + one);
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let attributes = attributes("seawall", all, seconds);
    xml.create_element("testsuites")
        .with_attributes(attributes.iter().map(|(name, value)| (*name, value.as_str())))
        .write_inner_content(|xml| {
            let names = told_apart(suites.iter().map(|suite| clean(&suite.name)));
            let mut named = suites.iter().zip(&names);
            named.try_for_each(|(suite, name)| write_suite(xml, suite, name))
        })?;
    let mut text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
    text.push('\n');
    Ok(text)
}

fn attributes(name: &str, count: Count, seconds: Option<f64>) -> Vec<(&'static str, String)> {
    let mut attributes = vec![
        ("name", name.to_owned()),
        ("tests", count.tests.to_string()),
        ("failures", count.failed.to_string()),
        ("errors", "0".to_owned()),
        ("skipped", count.skipped.to_string()),
    ];
    attributes.extend(seconds.map(|seconds| ("time", format!("{seconds:.3}"))));
    attributes
}

fn write_suite(xml: &mut Xml, suite: &Suite, name: &str) -> io::Result<()> {
    let attributes = attributes(name, suite.count(), suite.seconds);
    xml.create_element("testsuite")
        .with_attributes(attributes.iter().map(|(name, value)| (*name, value.as_str())))
        .write_inner_content(|xml| {
            write_properties(xml, &suite.properties)?;
            let names = told_apart(suite.cases.iter().map(|case| clean(&case.name)));
            let mut cases = suite.cases.iter().zip(&names);
            cases.try_for_each(|(case, case_name)| write_case(xml, name, case_name, &case.verdict))
        })?;
    Ok(())
}

fn write_properties(xml: &mut Xml, properties: &[(&'static str, String)]) -> io::Result<()> {
    if properties.is_empty() {
        return Ok(());
    }
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in properties {
            xml.create_element("property")
                .with_attributes([("name", *name), ("value", clean(value).as_str())])
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn write_case(xml: &mut Xml, suite: &str, name: &str, verdict: &Verdict) -> io::Result<()> {
    let element = xml
        .create_element("testcase")
        .with_attributes([("name", name), ("classname", suite)]);
    match verdict {
        Verdict::Passed(None) => element.write_empty()?,
        Verdict::Passed(Some(figures)) => element.write_inner_content(|xml| {
            xml.create_element("system-out")
                .write_text_content(BytesText::new(&clean(figures)))?;
            Ok(())
        })?,
        Verdict::Skipped(why) => element.write_inner_content(|xml| {
            xml.create_element("skipped")
                .with_attributes([("message", clean(why).as_str())])
                .write_empty()?;
            Ok(())
        })?,
        // one element only: the schema that most readers check by allows no second
        Verdict::Failed(lines) => element.write_inner_content(|xml| {
            let lines: Vec<String> = lines.iter().map(|line| clean(line)).collect();
            let message = lines.first().map_or("", String::as_str);
            xml.create_element("failure")
                .with_attributes([("message", message), ("type", "not met")])
                .write_text_content(BytesText::new(&lines.join("\n")))?;
            Ok(())
        })?,
    };
    Ok(())
}

/// Names of which no two are the same: to some readers these would be one.
fn told_apart(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    names
        .map(|name| {
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            match *times {
                1 => name,
                again => format!("{name} ({again})"),
            }
        })
        .collect()
}

/// Without what XML 1.0 cannot hold even escaped (section 2.2), and on one line.
fn clean(text: &str) -> String {
    text.chars()
        .map(|letter| match letter {
            letter if letter.is_control() => ' ',
            '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
            letter => letter,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, verdict: Verdict) -> Case {
        Case {
            name: name.to_owned(),
            verdict,
        }
    }

    #[test]
    fn counts_agree_with_cases_and_hostile_words_stay_words() {
        let suite = Suite {
            name: "a \"b\" <c>\u{1}\u{ffff}".to_owned(),
            seconds: None,
            properties: vec![("seeds", "1 & 2".to_owned())],
            cases: vec![
                case("same", Verdict::Passed(Some("]]> 1 < 2".to_owned()))),
                case("same", Verdict::Passed(None)),
                case("worse", Verdict::Failed(vec!["first <".into(), "second".into()])),
                case("unknown", Verdict::Skipped("one seed".into())),
            ],
        };
        assert!(suite.has_failed());
        let text = document(&[suite.clone(), suite]).unwrap();
        assert!(
            text.contains(r#"tests="8" failures="2" errors="0" skipped="2""#),
            "{text}"
        );
        assert!(
            text.contains(r#"tests="4" failures="1" errors="0" skipped="1""#),
            "{text}"
        );
        assert!(text.contains(r#"name="same (2)""#), "{text}");
        assert!(text.contains("&lt;c&gt; \u{fffd} (2)\""), "{text}");
        assert!(
            !text.contains("<c>") && !text.contains('\u{1}') && !text.contains("]]>"),
            "{text}"
        );
        // every element is closed, and each text is what went in
        let mut reader = quick_xml::Reader::from_str(&text);
        let mut texts = Vec::new();
        loop {
            match reader.read_event().unwrap() {
                Event::Eof => break,
                Event::Text(inner) => texts.push(inner.xml10_content().trim().to_owned()),
                _ => {}
            }
        }
        assert!(texts.iter().any(|inner| inner.contains("second")), "{texts:?}");
    }
}
