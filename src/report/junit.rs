//! JUnit XML for CI services: suites of cases that passed, failed or were skipped.
//!
//! The format is that of <https://github.com/testmoapp/junitxml>. The name of a case must not contain its result,
//! so that a service can follow the case from run to run.

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

type Xml = Writer<Vec<u8>>;

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passed, with optional figures.
    Passed(Option<String>),
    /// Failed, with at least one line of reasons.
    Failed(Vec<String>),
    /// Skipped, with the reason.
    Skipped(String),
}

/// A test case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The name, the same in every run.
    pub name: String,
    /// The result.
    pub verdict: Verdict,
}

/// A suite of cases.
#[derive(Clone, Debug, PartialEq)]
pub struct Suite {
    /// The name; also the class of each case.
    pub name: String,
    /// Duration in seconds, if meaningful.
    pub seconds: Option<f64>,
    /// Properties by name.
    pub properties: Vec<(&'static str, String)>,
    /// The cases in order.
    pub cases: Vec<Case>,
}

/// Counts of all, failed and skipped cases.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    tests: usize,
    failed: usize,
    skipped: usize,
}

impl Suite {
    fn count(&self) -> Count {
        let having = |is: fn(&Verdict) -> bool| self.cases.iter().filter(|case| is(&case.verdict)).count();
        Count {
            tests: self.cases.len(),
            failed: having(|verdict| matches!(verdict, Verdict::Failed(_))),
            skipped: having(|verdict| matches!(verdict, Verdict::Skipped(_))),
        }
    }
}

/// Returns the document, with a line end at its end.
///
/// # Errors
/// If the XML cannot be written.
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
            let names = distinct(suites.iter().map(|suite| clean(&suite.name)));
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
            let names = distinct(suite.cases.iter().map(|case| clean(&case.name)));
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
        Verdict::Skipped(reason) => element.write_inner_content(|xml| {
            xml.create_element("skipped")
                .with_attributes([("message", clean(reason).as_str())])
                .write_empty()?;
            Ok(())
        })?,
        // one element only: the common schema allows no second
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

/// The names with numbers appended to duplicates, because some readers merge cases of the same name.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    names
        .map(|name| {
            let times = seen.entry(name.clone()).or_default();
            *times += 1;
            match *times {
                1 => name,
                time => format!("{name} ({time})"),
            }
        })
        .collect()
}

/// One line without the characters that XML 1.0 cannot contain even escaped (section 2.2).
pub(super) fn clean(text: &str) -> String {
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
    fn counts_agree_with_cases_and_hostile_text_is_escaped() {
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
        assert_eq!(suite.count().failed, 1);
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
        // every element is closed, and each text is unchanged
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
