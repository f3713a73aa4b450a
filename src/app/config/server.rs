//! URLs of servers: the allowed schemes and hosts.

use url::Url;

use super::key::EMBEDDER_KEY;
use crate::client::{is_loopback, is_private, is_secret_name, without_secrets};
use crate::settings::file::ConfigError;
use crate::text::SafeText;

/// The answer to plain http to a host that is neither this machine nor in a private network.
const INSECURE: &str = "plain http would expose your prompts and your key: use https, or --insecure-http";

/// An option that gives the URL of a server.
#[derive(Clone, Copy, Debug)]
struct UrlOption {
    name: &'static str,
    key: &'static str,
    header: &'static str,
}

/// Parses the URL of an upstream: http or https, with a host. `insecure` allows http to any host.
pub(crate) fn upstream(text: &str, insecure: bool) -> Result<Url, ConfigError> {
    let option = UrlOption {
        name: "--upstream",
        key: "SEAWALL_API_KEY",
        header: "--header",
    };
    server(option, text, insecure)
}

/// Parses the URL of an embeddings API by the same rules. It is part of journals, so it must not hold a secret.
pub(crate) fn embedder(text: &str, insecure: bool) -> Result<Url, ConfigError> {
    let option = UrlOption {
        name: "--embedder",
        key: EMBEDDER_KEY,
        header: "--embedder-header",
    };
    let url = server(option, text, insecure)?;
    if url.query_pairs().any(|(name, _)| is_secret_name(&name)) {
        let message = format!(
            "a journal holds this URL: put the key into {} or {}",
            option.key, option.header
        );
        return Err(option.refuse(text, message));
    }
    Ok(url)
}

/// Returns a warning if prompts, and perhaps a secret, leave this machine in the clear.
pub(crate) fn exposure(url: &Url, sends_secret: bool) -> Option<String> {
    let exposed = url.scheme() == "http" && !is_loopback(url);
    let sent = if sends_secret { "the key is" } else { "prompts are" };
    exposed.then(|| {
        let host = SafeText::new(url.host_str().unwrap_or_default());
        format!("{sent} sent to {host} over plain http, readable on the way: use https if you can")
    })
}

impl UrlOption {
    fn refuse(self, text: &str, message: String) -> ConfigError {
        ConfigError::Url {
            option: self.name,
            url: SafeText::excerpt(&without_secrets(text), 120),
            message,
        }
    }
}

fn server(option: UrlOption, text: &str, insecure: bool) -> Result<Url, ConfigError> {
    let text = text.trim();
    let refuse = |message: String| option.refuse(text, message);
    let example = "write a URL such as http://127.0.0.1:8033";
    if text.is_empty() {
        return Err(refuse(format!("the URL is empty: {example}, or omit the option")));
    }
    // the parser would remove line breaks
    if text.contains(char::is_control) {
        return Err(refuse(format!("the URL has a control character: {example}")));
    }
    if text.starts_with(['/', '.']) || text.starts_with("unix:") {
        return Err(refuse(format!(
            "a Unix socket or a path cannot be used: {example}"
        )));
    }
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        // `localhost:8033` parses as a URL of scheme `localhost`
        parsed if !text.contains("://") => match Url::parse(&format!("http://{text}")) {
            Ok(url) if is_loopback(&url) || is_private(&url) => url,
            Ok(_) => {
                let written = without_secrets(text);
                return Err(refuse(format!("the scheme is missing: write https://{written}")));
            }
            Err(error) => return Err(refuse(format!("{}; {example}", parsed.err().unwrap_or(error)))),
        },
        Ok(url) => {
            return Err(refuse(format!(
                "unsupported scheme '{}': use http or https",
                url.scheme()
            )));
        }
        Err(error) => return Err(refuse(format!("{error}; {example}"))),
    };
    if url.host().is_none() {
        return Err(refuse(format!("the host is missing; {example}")));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let message = format!(
            "a URL must not contain a key or password: put it into {} or {}",
            option.key, option.header
        );
        return Err(refuse(message));
    }
    if url.scheme() == "http" && !insecure && !is_loopback(&url) && !is_private(&url) {
        return Err(refuse(INSECURE.into()));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_accepted_as_people_write_it() {
        for (text, url) in [
            ("http://127.0.0.1:8033", "http://127.0.0.1:8033/"),
            (" https://h/v1\n", "https://h/v1"),
            ("HTTPS://H.EXAMPLE/V1", "https://h.example/V1"),
            ("https://h/openai?api-version=1", "https://h/openai?api-version=1"),
            // without a scheme, as OLLAMA_HOST and server logs have it
            ("localhost:8033", "http://localhost:8033/"),
            ("localhost", "http://localhost/"),
            ("LocalHost:8033/v1", "http://localhost:8033/v1"),
            ("127.0.0.1:11434", "http://127.0.0.1:11434/"),
            ("0.0.0.0:11434", "http://0.0.0.0:11434/"),
            ("192.168.1.5:11434/v1", "http://192.168.1.5:11434/v1"),
            ("[::1]:8033", "http://[::1]:8033/"),
            ("gpu-box:8033", "http://gpu-box:8033/"),
            ("nas.local/v1", "http://nas.local/v1"),
            // plain http in a private network
            ("http://10.0.0.7:8000", "http://10.0.0.7:8000/"),
            ("http://100.101.102.103:8000", "http://100.101.102.103:8000/"),
            (
                "http://host.docker.internal:11434",
                "http://host.docker.internal:11434/",
            ),
            ("http://vllm:8000", "http://vllm:8000/"),
        ] {
            assert_eq!(upstream(text, false).unwrap().as_str(), url, "{text}");
        }
        let public = upstream("http://api.example.com", true).unwrap();
        assert_eq!(public.as_str(), "http://api.example.com/");
    }

    #[test]
    fn an_address_is_refused_with_the_remedy_and_without_secrets() {
        let example = "write a URL such as http://127.0.0.1:8033";
        for (text, message) in [
            (
                "",
                "the URL is empty: write a URL such as http://127.0.0.1:8033, or omit the option",
            ),
            (
                "api.openai.com/v1",
                "the scheme is missing: write https://api.openai.com/v1",
            ),
            (
                "8.8.8.8:8000",
                "the scheme is missing: write https://8.8.8.8:8000",
            ),
            (
                "user:canary@api.example.com",
                "the scheme is missing: write https://[redacted]@api.example.com",
            ),
            ("ftp://x", "unsupported scheme 'ftp': use http or https"),
            ("wss://h/v1", "unsupported scheme 'wss': use http or https"),
            ("unix:///run/llama.sock", "a Unix socket or a path cannot be used"),
            ("/run/llama.sock", "a Unix socket or a path cannot be used"),
            ("http://h/\r\nx: y", "the URL has a control character"),
            ("http://h/\u{1b}[31m", "the URL has a control character"),
            ("http://", example),
            ("http://h:99999", "invalid port number"),
            ("localhost:99999", "invalid port number"),
            ("http://[::1", example),
            ("http://api.example.com", INSECURE),
            ("http://8.8.8.8/v1", INSECURE),
            ("https://me:canary@h", "put it into SEAWALL_API_KEY or --header"),
            ("https://canary@h", "a URL must not contain a key or password"),
            ("https://me:can/ary@h", "invalid port number"),
            ("https://me:canary@h:99999", "invalid port number"),
            ("http://api.example.com?key=canary", INSECURE),
        ] {
            let error = upstream(text, false).unwrap_err().to_string();
            assert!(
                error.starts_with("--upstream ") && error.contains(message),
                "{error}"
            );
            assert!(!error.contains("canary") && !error.contains("ary@"), "{error}");
        }
        let error = embedder("https://h/v1?key=canary", false)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("SEAWALL_EMBEDDER_API_KEY or --embedder-header"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn plain_http_is_warned_of() {
        for (url, sends_secret, warning) in [
            (
                "http://10.0.0.7:8000",
                true,
                "the key is sent to 10.0.0.7 over plain http",
            ),
            ("http://10.0.0.7:8000", false, "prompts are sent to 10.0.0.7 over"),
            ("http://vllm", false, "prompts are sent to vllm over"),
            (
                "http://api.example.com",
                true,
                "the key is sent to api.example.com over",
            ),
            ("http://127.0.0.1:8000", true, ""),
            ("http://localhost:8000", false, ""),
            ("https://10.0.0.7", true, ""),
        ] {
            let found = exposure(&Url::parse(url).unwrap(), sends_secret).unwrap_or_default();
            assert!(
                found.starts_with(warning) && found.is_empty() == warning.is_empty(),
                "{url}: {found}"
            );
        }
    }
}
