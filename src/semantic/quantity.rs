//! Numbers and units in a prompt: `1,000`, `two`, `20th`, `5km`, `$5`, `50k`, `v1.2`.

use std::borrow::Cow;

use super::word::{Word, WordKind, is_currency};

/// A number or a unit in a piece of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Quantity {
    /// A number in canonical form: equal numbers are equal texts.
    Number(String),
    /// A unit, by its canonical name.
    Unit(&'static str),
}

/// Units: canonical name and spellings. A single letter is a unit only after a number.
const UNITS: &[(&str, &str)] = &[
    ("kilometer", "km kms kilometer kilometers kilometre kilometres"),
    ("meter", "m meter meters metre metres"),
    ("centimeter", "cm centimeter centimeters centimetre centimetres"),
    ("millimeter", "mm millimeter millimeters millimetre millimetres"),
    ("mile", "mi mile miles"),
    ("foot", "ft foot feet"),
    ("inch", "inch inches"),
    ("yard", "yd yard yards"),
    ("kilogram", "kg kgs kilogram kilograms kilo kilos"),
    ("gram", "g gram grams gramme grammes"),
    ("milligram", "mg milligram milligrams"),
    ("microgram", "mcg microgram micrograms"),
    ("pound", "lb lbs pound pounds gbp £ quid"),
    ("ounce", "oz ounce ounces"),
    ("ton", "ton tons tonne tonnes"),
    ("celsius", "c celsius centigrade °c"),
    ("fahrenheit", "f fahrenheit °f"),
    ("kelvin", "kelvin kelvins"),
    ("degree", "deg degree degrees °"),
    ("radian", "rad radian radians"),
    ("second", "s sec secs seconds"),
    ("millisecond", "ms millisecond milliseconds"),
    ("microsecond", "us µs microsecond microseconds"),
    ("nanosecond", "ns nanosecond nanoseconds"),
    ("minute", "minute minutes mins"),
    ("hour", "h hr hrs hour hours"),
    ("day", "day days"),
    ("week", "week weeks"),
    ("fortnight", "fortnight fortnights"),
    ("month", "month months"),
    ("quarter", "quarter quarters"),
    ("year", "yr yrs year years"),
    ("decade", "decade decades"),
    ("century", "century centuries"),
    ("bit", "bit bits"),
    ("byte", "byte bytes"),
    ("kilobyte", "kb kilobyte kilobytes"),
    ("kibibyte", "kib kibibyte kibibytes"),
    ("megabyte", "mb megabyte megabytes"),
    ("mebibyte", "mib mebibyte mebibytes"),
    ("gigabyte", "gb gigabyte gigabytes"),
    ("gibibyte", "gib gibibyte gibibytes"),
    ("terabyte", "tb terabyte terabytes"),
    ("kilobit", "kbit kbits kbps kilobit kilobits"),
    ("megabit", "mbit mbits mbps megabit megabits"),
    ("gigabit", "gbit gbits gbps gigabit gigabits"),
    ("hertz", "hz hertz"),
    ("kilohertz", "khz kilohertz"),
    ("megahertz", "mhz megahertz"),
    ("gigahertz", "ghz gigahertz"),
    ("liter", "l liter liters litre litres"),
    ("milliliter", "ml milliliter milliliters millilitre millilitres"),
    ("gallon", "gal gallon gallons"),
    ("pint", "pint pints"),
    ("quart", "quart quarts"),
    ("cup", "cup cups"),
    ("tablespoon", "tbsp tablespoon tablespoons"),
    ("teaspoon", "tsp teaspoon teaspoons"),
    ("acre", "acre acres"),
    ("hectare", "ha hectare hectares"),
    ("volt", "v volt volts"),
    ("watt", "w watt watts"),
    ("kilowatt", "kw kilowatt kilowatts"),
    ("kilowatt hour", "kwh"),
    ("ampere", "amp amps ampere amperes"),
    ("ohm", "ohm ohms"),
    ("joule", "joule joules"),
    ("calorie", "cal kcal calorie calories"),
    ("newton", "newtons"),
    ("pascal", "pa pascals"),
    ("bar", "bars"),
    ("km/h", "km/h kmh kph"),
    ("mile/h", "mph mi/h"),
    ("m/s", "m/s mps"),
    ("knot", "knots"),
    ("percent", "% percent percentage"),
    ("pixel", "px pixel pixels"),
    ("em", "em rem"),
    ("dollar", "$ usd dollar dollars bucks"),
    ("cent", "cent cents"),
    ("euro", "€ eur euro euros"),
    ("yen", "¥ jpy yen"),
    ("yuan", "cny rmb yuan renminbi"),
    ("rupee", "₹ inr rupee rupees"),
    ("franc", "chf franc francs"),
    ("krona", "sek nok dkk krona kronor krone kroner"),
    ("ruble", "rub ruble rubles rouble roubles"),
    ("peso", "mxn peso pesos"),
    ("won", "krw"),
    ("real", "brl reais"),
    ("bitcoin", "btc bitcoin bitcoins"),
    ("ether", "eth ether"),
    ("am", "am a.m"),
    ("pm", "pm p.m"),
    ("dozen", "dozens"),
    ("word", "words"),
    ("page", "pages"),
];

/// Spellings that are units only after a number, because they are too common or too short.
const ONLY_AFTER_NUMBERS: &[&str] = &[
    "m", "g", "c", "f", "s", "h", "l", "v", "w", "am", "pm", "us", "em", "rem", "pa", "a.m", "p.m", "won",
    "mi", "deg", "rad", "sec", "cal", "amp", "gal", "words", "pages", "word", "page", "bars", "ha", "real",
    "eth", "bit",
];

fn unit(lower: &str) -> Option<&'static str> {
    UNIT_TABLE.get(lower).copied()
}

static UNIT_TABLE: std::sync::LazyLock<std::collections::HashMap<&'static str, &'static str>> =
    std::sync::LazyLock::new(|| {
        let all = UNITS
            .iter()
            .flat_map(|(name, forms)| forms.split(' ').map(move |form| (form, *name)));
        all.collect()
    });

#[rustfmt::skip]
const SPELLED: &[(&str, u64)] = &[
    ("zero", 0), ("one", 1), ("two", 2), ("three", 3), ("four", 4), ("five", 5), ("six", 6), ("seven", 7),
    ("eight", 8), ("nine", 9), ("ten", 10), ("eleven", 11), ("twelve", 12), ("thirteen", 13), ("fourteen", 14),
    ("fifteen", 15), ("sixteen", 16), ("seventeen", 17), ("eighteen", 18), ("nineteen", 19), ("twenty", 20),
    ("thirty", 30), ("forty", 40), ("fifty", 50), ("sixty", 60), ("seventy", 70), ("eighty", 80),
    ("ninety", 90), ("hundred", 100), ("thousand", 1_000), ("million", 1_000_000), ("billion", 1_000_000_000),
    ("trillion", 1_000_000_000_000), ("dozen", 12),
];

/// Spelled ordinals, except `first` (the opposite of `last`) and `second` (may be a unit).
#[rustfmt::skip]
const ORDINALS: &[(&str, u64)] = &[
    ("third", 3), ("fourth", 4), ("fifth", 5), ("sixth", 6), ("seventh", 7), ("eighth", 8), ("ninth", 9),
    ("tenth", 10), ("eleventh", 11), ("twelfth", 12), ("thirteenth", 13), ("fourteenth", 14), ("fifteenth", 15),
    ("sixteenth", 16), ("seventeenth", 17), ("eighteenth", 18), ("nineteenth", 19), ("twentieth", 20),
    ("thirtieth", 30), ("hundredth", 100),
];

#[rustfmt::skip]
const ROMAN: &[(&str, u64)] = &[
    ("II", 2), ("III", 3), ("IV", 4), ("VI", 6), ("VII", 7), ("VIII", 8), ("IX", 9), ("XI", 11), ("XII", 12),
    ("XIII", 13), ("XIV", 14), ("XV", 15), ("XVI", 16), ("XVII", 17), ("XVIII", 18), ("XIX", 19), ("XX", 20),
];

fn value_in(table: &[(&str, u64)], word: &str) -> Option<u64> {
    table
        .iter()
        .find(|(name, _)| *name == word)
        .map(|(_, value)| *value)
}

pub(super) fn is_spelled(lower: &str) -> bool {
    value_in(SPELLED, lower).is_some()
}

/// Parses a piece that is a number, with its unit if it has one.
pub(super) fn parse(piece: &str) -> Option<Vec<Quantity>> {
    if let Some(value) = value_in(ROMAN, piece) {
        return Some(vec![Quantity::Number(value.to_string())]);
    }
    let lower = piece.to_lowercase();
    if lower.contains('/')
        && let Some(name) = unit(&lower)
    {
        return Some(vec![Quantity::Unit(name)]);
    }
    let currency = lower.chars().next().filter(|c| is_currency(*c));
    let body = currency.map_or(&*lower, |c| lower.get(c.len_utf8()..).unwrap_or_default());
    let first_unit = currency.and_then(|c| unit(c.encode_utf8(&mut [0; 4])));
    if body.is_empty() {
        return first_unit.map(|name| vec![Quantity::Unit(name)]);
    }
    let signed = body.strip_prefix(['v', '+', '#']).unwrap_or(body);
    let digits_at = signed.bytes().next()?;
    if !digits_at.is_ascii_digit() {
        return None;
    }
    let end = signed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ',' | ':' | '-' | '/')))
        .unwrap_or(signed.len());
    let (number, rest) = signed.split_at(end);
    let number = number.trim_end_matches(['.', ',', ':', '-', '/']);
    let mut parts = Vec::new();
    parts.extend(first_unit.map(Quantity::Unit));
    let (value, suffix_unit) = match rest {
        "k" => (scaled(number, "000"), None),
        "bn" => (scaled(number, "000000000"), None),
        // the 80s and the 1980s
        "s" if ["70", "80", "90"].contains(&number) => (format!("19{number}"), None),
        "s" if number.len() == 4 => (number.to_owned(), None),
        "" | "th" | "st" | "nd" | "rd" | "'s" | "x" => (plain_number(number), None),
        _ => (plain_number(number), Some(unit(rest)?)),
    };
    parts.push(Quantity::Number(value));
    parts.extend(suffix_unit.map(Quantity::Unit));
    Some(parts)
}

fn scaled(number: &str, zeros: &str) -> String {
    if number.bytes().all(|byte| byte.is_ascii_digit()) {
        format!("{number}{zeros}")
    } else {
        format!("{number}{zeros}").replace(',', "")
    }
}

/// `1,000` as `1000`, `05` as `5`.
fn plain_number(number: &str) -> String {
    let grouped = number.split(',').skip(1).all(|group| group.len() == 3) && number.contains(',');
    let number = if grouped {
        number.replace(',', "")
    } else {
        number.to_owned()
    };
    let trimmed = number.trim_start_matches('0');
    if trimmed.len() < number.len() && number.bytes().all(|byte| byte.is_ascii_digit()) && !trimmed.is_empty()
    {
        trimmed.to_owned()
    } else {
        number
    }
}

/// Marks spelled numbers and units, and merges `twenty five`.
pub(super) fn mark_quantities(words: &mut Vec<Word<'_>>) {
    let mut at = 0;
    while at < words.len() {
        let before = at.checked_sub(1).and_then(|before| words.get(before));
        let after_number = before.is_some_and(|word| word.kind == WordKind::Number);
        let after_determiner = before.is_some_and(|word| {
            ["the", "my", "our", "its", "a", "his", "her", "your"].contains(&&*word.lower)
        });
        let followed = words
            .get(at + 1)
            .is_some_and(|next| next.kind == WordKind::Content);
        let Some(word) = words.get_mut(at) else { break };
        let free = matches!(word.kind, WordKind::Content | WordKind::Function) && !word.grouped;
        if free {
            let ordinal = value_in(ORDINALS, &word.lower)
                .or_else(|| (word.lower == "second" && after_determiner && followed).then_some(2));
            if let Some(value) = ordinal {
                word.kind = WordKind::Number;
                word.concept = Cow::Owned(value.to_string());
            } else if word.lower == "second" {
                word.kind = WordKind::Unit;
                word.concept = Cow::Borrowed("second");
            } else if let Some(value) = value_in(SPELLED, &word.lower) {
                mark_number(words, at, value);
            } else if let Some(name) = UNIT_TABLE.get(&*word.lower)
                && (after_number || !ONLY_AFTER_NUMBERS.contains(&&*word.lower))
            {
                word.kind = WordKind::Unit;
                word.concept = Cow::Borrowed(name);
            }
        }
        at += 1;
    }
}

/// Marks a spelled number, or merges it with the number before it.
fn mark_number(words: &mut Vec<Word<'_>>, at: usize, value: u64) {
    let before = at.checked_sub(1).and_then(|before| words.get(before));
    let number_before = before
        .filter(|word| word.kind == WordKind::Number || word.lower == "one")
        .and_then(|word| {
            if word.lower == "one" {
                Some(1)
            } else {
                word.concept.parse::<u64>().ok()
            }
        });
    let merged = number_before.and_then(|before| {
        if value >= 100 || value == 12 {
            before.checked_mul(value)
        } else if before >= 20 && before % 10 == 0 && before < 100 && value < 10
            || before >= 100 && before % 100 == 0
        {
            before.checked_add(value)
        } else {
            None
        }
    });
    if let Some(total) = merged {
        if let Some(before) = words.get_mut(at - 1) {
            before.kind = WordKind::Number;
            before.concept = Cow::Owned(total.to_string());
        }
        // now part of the word before
        if let Some(word) = words.get_mut(at) {
            word.kind = WordKind::Padding;
            word.concept = Cow::Borrowed("");
        }
        if at > 0 {
            words.swap(at - 1, at);
        }
    } else if value != 1
        && let Some(word) = words.get_mut(at)
    {
        word.kind = WordKind::Number;
        word.concept = Cow::Owned(value.to_string());
    }
}
