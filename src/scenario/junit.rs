//! The report as JUnit XML, which every CI service reads: a suite for the scenario, a case for each expectation, and
//! one for the promises.
//!
//! The form is that of <https://github.com/testmoapp/junitxml>. The names of cases do not hold what came of them, so
//! that a service can follow a case from run to run.

use std::collections::BTreeMap;
use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::report::Report;

type Xml = Writer<Vec<u8>>;

/// What a case came to.
struct Case {
    name: String,
    /// Each with its own words; none where all is well.
    failures: Vec<String>,
}

impl Report {
    /// The report as JUnit XML.
    pub fn junit(&self) -> io::Result<String> {
        let cases = self.cases();
        let failed = cases.iter().filter(|case| !case.failures.is_empty()).count();
        let (tests, failures) = (cases.len().to_string(), failed.to_string());
        let (name, time) = (clean(&self.scenario), format!("{:.3}", self.seconds));
        let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
        xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        xml.create_element("testsuites")
            .with_attributes([
                ("name", "seawall"),
                ("tests", &tests),
                ("failures", &failures),
                ("errors", "0"),
                ("time", &time),
            ])
            .write_inner_content(|xml| {
                xml.create_element("testsuite")
                    .with_attributes([
                        ("name", name.as_str()),
                        ("tests", &tests),
                        ("failures", &failures),
                        ("errors", "0"),
                        ("skipped", "0"),
                        ("time", &time),
                    ])
                    .write_inner_content(|xml| {
                        self.write_properties(xml)?;
                        cases.iter().try_for_each(|case| write_case(xml, &name, case))
                    })?;
                Ok(())
            })?;
        let mut text = String::from_utf8(xml.into_inner()).map_err(io::Error::other)?;
        text.push('\n');
        Ok(text)
    }

    fn cases(&self) -> Vec<Case> {
        let mut promises: Vec<String> = self.violation.iter().cloned().collect();
        promises.extend(
            self.leftovers
                .iter()
                .map(|leftover| format!("at the end {leftover}")),
        );
        let mut cases = vec![Case {
            name: "every promise kept".to_owned(),
            failures: promises,
        }];
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for judged in &self.expectations {
            let expected = judged.expected();
            let times = seen.entry(expected.clone()).or_default();
            *times += 1;
            cases.push(Case {
                // two cases of one name are one to some readers
                name: match *times {
                    1 => expected,
                    again => format!("{expected} ({again})"),
                },
                failures: (!judged.met).then(|| judged.to_string()).into_iter().collect(),
            });
        }
        cases
    }

    fn write_properties(&self, xml: &mut Xml) -> io::Result<()> {
        let time = if self.is_virtual { "virtual" } else { "real" };
        let of = [
            ("seed", self.seed.to_string()),
            ("policy", clean(&self.policy)),
            ("time", time.to_owned()),
            ("events", self.events.to_string()),
        ];
        xml.create_element("properties").write_inner_content(|xml| {
            for (name, value) in &of {
                xml.create_element("property")
                    .with_attributes([("name", *name), ("value", value.as_str())])
                    .write_empty()?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn write_case(xml: &mut Xml, suite: &str, case: &Case) -> io::Result<()> {
    let name = clean(&case.name);
    let element = xml
        .create_element("testcase")
        .with_attributes([("name", name.as_str()), ("classname", suite)]);
    if case.failures.is_empty() {
        element.write_empty()?;
        return Ok(());
    }
    // one element only: the schema that most readers check by allows no second
    let (first, all) = (case.failures.first(), clean_lines(&case.failures));
    let message = clean(first.map_or("", String::as_str));
    element.write_inner_content(|xml| {
        xml.create_element("failure")
            .with_attributes([("message", message.as_str()), ("type", "not met")])
            .write_text_content(BytesText::new(&all))?;
        Ok(())
    })?;
    Ok(())
}

fn clean_lines(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| clean(line)).collect();
    lines.join("\n")
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
