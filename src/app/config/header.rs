//! Further request headers: `NAME:VALUE`, or `NAME:env:VARIABLE` for a value that must not be in `ps`.

use crate::client::ExtraHeader;
use crate::settings::file::ConfigError;
use crate::text::SafeText;

/// Parses the headers of `option`. `env` looks up a variable.
pub(crate) fn headers(
    option: &'static str,
    texts: &[String],
    env: impl Fn(&str) -> Option<String>,
) -> Result<Vec<ExtraHeader>, ConfigError> {
    let parse = |text: &String| header(text, &env).map_err(|message| ConfigError::Header { option, message });
    texts.iter().map(parse).collect()
}

fn header(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<ExtraHeader, String> {
    // the text is not quoted: it may be a secret
    let Some((name, value)) = text.split_once(':') else {
        return Err("the colon is missing: write NAME:VALUE or NAME:env:VARIABLE".to_owned());
    };
    let Some(variable) = value.trim().strip_prefix("env:") else {
        return ExtraHeader::new(name, value).map_err(|error| error.to_string());
    };
    let variable = variable.trim();
    if variable.is_empty() {
        return Err("the variable is missing: write NAME:env:VARIABLE".to_owned());
    }
    let shown = SafeText::excerpt(variable, 60);
    let Some(value) = env(variable) else {
        return Err(format!(
            "environment variable {shown} of header {} is not set",
            name.trim()
        ));
    };
    let header = ExtraHeader::new(name, &value).map_err(|error| format!("{shown}: {error}"))?;
    Ok(header.secret(variable))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "canary.4711.secret";

    fn parse(text: &str) -> Result<ExtraHeader, String> {
        let env = |name: &str| match name {
            "AZURE_KEY" => Some(SECRET.to_owned()),
            "EMPTY" => Some(String::new()),
            "LINES" => Some(format!("{SECRET}\n{SECRET}")),
            _ => None,
        };
        let headers = headers("--header", &[text.to_owned()], env);
        headers
            .map(|mut headers| headers.remove(0))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_is_given_or_comes_from_a_variable() {
        for (text, is_secret) in [
            ("X-Title:seawall", false),
            ("HTTP-Referer: https://example.com:8080/", false),
            ("api-key:canary.4711.secret", true),
            ("api-key:env:AZURE_KEY", true),
            ("X-Title: env:AZURE_KEY", true),
        ] {
            let header = parse(text).unwrap();
            assert_eq!(header.is_secret(), is_secret, "{text}");
            assert!(!format!("{header:?}").contains("canary"));
        }
    }

    #[test]
    fn an_invalid_header_is_refused_without_its_value() {
        for (text, message) in [
            (
                SECRET,
                "--header: the colon is missing: write NAME:VALUE or NAME:env:VARIABLE",
            ),
            ("X-Title=canary", "--header: the colon is missing"),
            ("api-key:", "--header: the value of header api-key is empty"),
            ("a b:canary.4711.secret", "--header: invalid header name 'a b'"),
            (
                "Host:canary",
                "--header: header host is set by seawall: remove it",
            ),
            (
                "api-key:env:NOWHERE",
                "--header: environment variable NOWHERE of header api-key is not set",
            ),
            (
                "api-key:env: ",
                "--header: the variable is missing: write NAME:env:VARIABLE",
            ),
            (
                "api-key:env:EMPTY",
                "--header: EMPTY: the value of header api-key is empty",
            ),
            (
                "api-key:env:LINES",
                "--header: LINES: the value of header api-key is empty or has a line break",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(message) && !error.contains("canary"), "{error}");
        }
    }
}
