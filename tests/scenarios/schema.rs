//! A validator for the subset of JSON Schema 2020-12 that `assets/*.schema.json` use. An unknown keyword is an
//! error, so the schemas cannot state more than is checked. (A full JSON Schema crate brings about thirty
//! dependencies.)

use serde_json::Value;

/// Keywords that do not constrain the value.
const IGNORED: [&str; 4] = ["$schema", "$defs", "title", "description"];

pub(crate) fn committed() -> Value {
    serde_json::from_str(include_str!("../../assets/report.schema.json")).unwrap()
}

pub(crate) fn of_stories() -> Value {
    serde_json::from_str(include_str!("../../assets/story.schema.json")).unwrap()
}

pub(crate) fn of_comparisons() -> Value {
    serde_json::from_str(include_str!("../../assets/comparison.schema.json")).unwrap()
}

/// Checks a value. An error names its path.
pub(crate) fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    check(schema, schema, value, "$")
}

fn check(root: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(allowed) = schema.as_bool() {
        return if allowed {
            Ok(())
        } else {
            Err(format!("{at} is not allowed"))
        };
    }
    for (keyword, word) in schema.as_object().unwrap() {
        let holds = match keyword.as_str() {
            "type" => match word {
                Value::Array(types) => types.iter().any(|one| is_of_type(value, one)),
                one => is_of_type(value, one),
            },
            "const" => value == word,
            "enum" => word.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|value| value >= word.as_f64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= word.as_u64().unwrap()),
            "required" => value.as_object().is_none_or(|fields| {
                let mut names = word.as_array().unwrap().iter();
                names.all(|name| fields.contains_key(name.as_str().unwrap()))
            }),
            "$ref" => {
                let pointer = word.as_str().unwrap().strip_prefix('#').unwrap();
                let Some(referred) = root.pointer(pointer) else {
                    return Err(format!("{at}: the schema has no {pointer}"));
                };
                check(root, referred, value, at)?;
                true
            }
            "anyOf" => {
                let any = word.as_array().unwrap();
                // named alternatives: report the error of the one that `step` selects
                let name = format!("#/$defs/{}", value["step"].as_str().unwrap_or_default());
                match any.iter().find(|one| one["$ref"] == name.as_str()) {
                    Some(meant) => check(root, meant, value, at).map(|()| true)?,
                    None => any.iter().any(|one| check(root, one, value, at).is_ok()),
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, word, item, &format!("{at}[{index}]"))?;
                }
                true
            }
            "properties" | "additionalProperties" => {
                check_fields(root, schema, value, at, keyword)?;
                true
            }
            ignored if IGNORED.contains(&ignored) => true,
            unknown => {
                return Err(format!(
                    "the schema uses '{unknown}', which this test does not support"
                ));
            }
        };
        if !holds {
            return Err(format!("{at} = {value} breaks {keyword}: {word}"));
        }
    }
    Ok(())
}

fn check_fields(root: &Value, schema: &Value, value: &Value, at: &str, keyword: &str) -> Result<(), String> {
    for (name, field) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let schema = match (keyword, known) {
            ("properties", known) => known,
            (_, None) => schema.get("additionalProperties"),
            (_, Some(_)) => None,
        };
        if let Some(schema) = schema {
            check(root, schema, field, &format!("{at}.{name}"))?;
        }
    }
    Ok(())
}

fn is_of_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("no type {other}"),
    }
}

#[test]
fn the_validator_rejects_what_the_schema_forbids() {
    let schema = committed();
    let bare = serde_json::json!({ "report": 3 });
    assert!(validate(&schema, &bare).unwrap_err().contains("required"));
    let judged = serde_json::json!({ "measure": "speed" });
    assert!(
        check(
            &schema,
            &schema["$defs"]["judged"]["properties"]["measure"],
            &judged["measure"],
            "$"
        )
        .is_err()
    );
    let extra = serde_json::json!({ "x": 1 });
    let closed = serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false });
    assert!(validate(&closed, &extra).unwrap_err().contains("$.x"));
}
