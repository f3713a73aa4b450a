//! An SVG document. Shapes have classes, and one stylesheet holds their colours for light and for dark pages.
//!
//! Every text is sanitised and escaped here, and every coordinate is finite.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::report::junit::clean;
use crate::text::SafeText;

/// Width of every chart, in pixels. A page shows it at about this size, so its text is readable without zooming.
pub(super) const WIDTH: f64 = 940.0;

/// Colours by class. Those of the light page are Okabe and Ito's (2008), which colour-blind readers can distinguish;
/// areas that would look alike in grey are hatched.
const STYLE: &str = "
text{font:14px system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#1f2328}
.title{font-size:18px;font-weight:600}.name{font-weight:600}.small{font-size:12px}
.muted{fill:#59636e}.end{text-anchor:end}.middle{text-anchor:middle}
.page,.plate{fill:#fff}.hatch{stroke:#fff}.halo{paint-order:stroke;stroke:#fff;stroke-width:3px}
.grid,.axis,.guide,.rule{fill:none;stroke:#d8dee4}.axis{stroke:#59636e}.guide{stroke:#59636e;stroke-dasharray:1 3}
.band{fill:#818b98;fill-opacity:.17}.faults{fill:#818b98;fill-opacity:.45}
.work{fill:#56b4e9}.saved{fill:#009e73}.shared{fill:#7fd4c1}.held{fill:#e69f00}.refused{fill:#cc79a7}
.broken{fill:#d55e00}.late{fill:#8c1d18}.lost{fill:#f0a27a}.grey{fill:#a0a8b1}
.more{fill:#0072b2}.less{fill:#d55e00}.dot{fill:#0072b2}
.spread{fill:#0072b2;fill-opacity:.25}.upper,.lower,.first,.bar,.path{fill:none;stroke:#0072b2;stroke-width:1.5}
.lower{stroke-dasharray:5 3}.bar{stroke-width:3}.path{stroke-opacity:.45}.first{stroke:#1f2328;stroke-width:1}
.requests,.tokens{fill:none;stroke:#0072b2;stroke-width:2}.tokens{stroke:#d55e00;stroke-dasharray:6 3}
@media (prefers-color-scheme:dark){
text{fill:#e6edf3}.muted{fill:#9ea7b3}.page,.plate{fill:#0d1117}.hatch,.halo{stroke:#0d1117}
.grid,.rule{stroke:#2b323b}.axis,.guide{stroke:#9ea7b3}.band{fill-opacity:.22}
.work{fill:#3a8fc4}.saved{fill:#2fae8a}.shared{fill:#8adccb}.broken{fill:#e8703a}.late{fill:#ff9d8f}
.lost{fill:#b5502a}.grey{fill:#7d8590}.more,.dot,.spread{fill:#58b4ee}.less{fill:#f08a4b}
.upper,.lower,.bar,.path,.requests{stroke:#58b4ee}.first{stroke:#e6edf3}.tokens{stroke:#f08a4b}
}
";

/// Hatchings by name, for areas of a similar lightness.
const HATCHES: &str = "<defs>\
<pattern id=\"rising\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch\" d=\"M-1 1L1-1M0 6L6 0M5 7L7 5\" stroke-width=\"1.4\"/></pattern>\
<pattern id=\"falling\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch\" d=\"M-1 5L1 7M0 0L6 6M5-1L7 1\" stroke-width=\"1.4\"/></pattern>\
<pattern id=\"level\" width=\"4\" height=\"4\" patternUnits=\"userSpaceOnUse\">\
<path class=\"hatch\" d=\"M0 2H4\" stroke-width=\"1.2\"/></pattern></defs>";

/// A colour class and a hatching; an empty one is plain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fill {
    pub class: &'static str,
    pub hatch: &'static str,
}

/// A plain fill.
pub(super) const fn plain(class: &'static str) -> Fill {
    Fill { class, hatch: "" }
}

/// A hatched fill.
pub(super) const fn hatched(class: &'static str, hatch: &'static str) -> Fill {
    Fill { class, hatch }
}

/// A place on the page, in pixels from the upper left corner.
pub(super) type Place = (f64, f64);

/// A document in progress.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    body: String,
}

impl Sheet {
    /// A text with its baseline at `at`; the classes `end` and `middle` align it.
    pub(super) fn text(&mut self, class: &str, at: Place, text: &str) {
        let (x, y) = (pixels(at.0), pixels(at.1));
        let text = printable(text);
        let _ = writeln!(
            self.body,
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{text}</text>"
        );
    }

    /// A rectangle between two corners, at least a pixel wide: a state of no duration is visible.
    pub(super) fn rect(&mut self, fill: Fill, from: Place, to: Place) {
        let (x, y) = (pixels(from.0.min(to.0)), pixels(from.1.min(to.1)));
        let width = pixels((to.0 - from.0).abs().max(1.0));
        let height = pixels((to.1 - from.1).abs());
        self.filled(
            fill,
            "rect",
            &format!("x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""),
        );
    }

    /// A polygon.
    pub(super) fn area(&mut self, fill: Fill, outline: &[Place]) {
        if !outline.is_empty() {
            self.filled(fill, "path", &format!("d=\"{}Z\"", path(outline)));
        }
    }

    fn filled(&mut self, fill: Fill, element: &str, shape: &str) {
        let _ = writeln!(self.body, "<{element} class=\"{}\" {shape}/>", fill.class);
        if !fill.hatch.is_empty() {
            let _ = writeln!(self.body, "<{element} fill=\"url(#{})\" {shape}/>", fill.hatch);
        }
    }

    /// A line.
    pub(super) fn line(&mut self, class: &str, points: &[Place]) {
        if !points.is_empty() {
            let _ = writeln!(self.body, "<path class=\"{class}\" d=\"{}\"/>", path(points));
        }
    }

    /// A dot.
    pub(super) fn dot(&mut self, at: Place) {
        let (x, y) = (pixels(at.0), pixels(at.1));
        let _ = writeln!(self.body, "<circle class=\"dot\" cx=\"{x}\" cy=\"{y}\" r=\"5\"/>");
    }

    /// The document, with a title and a description for readers who cannot see it.
    pub(super) fn finish(self, height: f64, title: &str, description: &str) -> String {
        let (width, height) = (pixels(WIDTH), pixels(height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<desc>{}</desc>\n\
             <style>{STYLE}</style>\n{HATCHES}\n<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
             {}</svg>\n",
            printable(title),
            printable(description),
            self.body
        )
    }
}

fn printable(text: &str) -> String {
    escape(clean(&SafeText::new(text))).into_owned()
}

fn path(points: &[Place]) -> String {
    let mut text = String::with_capacity(points.len() * 12);
    for (at, (x, y)) in points.iter().enumerate() {
        let _ = write!(
            text,
            "{}{} {}",
            if at == 0 { 'M' } else { 'L' },
            pixels(*x),
            pixels(*y)
        );
    }
    text
}

/// A coordinate with one decimal. A value that is not a number is 0, and one far off the page ends near it.
fn pixels(value: f64) -> String {
    let value = if value.is_nan() {
        0.0
    } else {
        value.clamp(-10_000.0, 100_000.0)
    };
    // adding zero turns -0 into 0
    let text = format!("{:.1}", (value * 10.0).round() / 10.0 + 0.0);
    text.strip_suffix(".0")
        .map_or_else(|| text.clone(), str::to_owned)
}

/// The width of a text of 14 pixels, by a rule of thumb: the reader's font is unknown.
pub(super) fn width_of(text: &str) -> f64 {
    text.width() as f64 * 7.6
}

/// Text of at most this many columns; longer text loses its middle, because names differ at their ends.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.width() <= most {
        return text.to_owned();
    }
    let fitting = |letters: &mut dyn Iterator<Item = char>, most: usize| -> Vec<char> {
        let mut used = 0;
        let fits = |letter: &char| {
            used += letter.width().unwrap_or_default();
            used <= most
        };
        letters.take_while(fits).collect()
    };
    let head = fitting(&mut text.chars(), most / 2);
    let tail = fitting(&mut text.chars().rev(), most.saturating_sub(1) - most / 2);
    let letters = head.iter().chain(&['\u{2026}']).chain(tail.iter().rev());
    letters.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_and_coordinates_are_finite() {
        let mut sheet = Sheet::default();
        let hostile = "</text><script>\"&'\u{1b}[2J\u{202e}\u{fffe}";
        sheet.text("name", (f64::NAN, f64::INFINITY), hostile);
        sheet.rect(
            hatched("held", "rising"),
            (-0.01, f64::NEG_INFINITY),
            (-0.01, 5.0),
        );
        sheet.line("axis", &[]);
        let svg = sheet.finish(10.0, hostile, hostile);
        for word in ["<script", "NaN", "inf", "\u{1b}", "\u{202e}", "\u{fffe}", "-0\""] {
            assert!(!svg.contains(word), "{word}: {svg}");
        }
        assert_eq!(svg.matches("&lt;/text&gt;").count(), 3);
        // a state of no duration is a pixel wide, and hatched
        assert_eq!(svg.matches("width=\"1\"").count(), 2);
    }

    #[test]
    fn every_class_and_hatching_has_a_rule() {
        for hatch in ["rising", "falling", "level"] {
            assert!(HATCHES.contains(&format!("id=\"{hatch}\"")));
        }
        let dark = STYLE.split_once("@media").unwrap();
        for class in [
            ".title",
            ".muted",
            ".band",
            ".faults",
            ".held",
            ".refused",
            ".requests",
        ] {
            assert!(dark.0.contains(class), "{class}");
        }
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(
            shortened("production+retry.attempts=1", 12),
            "produc\u{2026}pts=1"
        );
        assert_eq!(shortened("short", 12), "short");
    }
}
