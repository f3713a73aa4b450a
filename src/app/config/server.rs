//! URLs of servers: the allowed schemes and hosts.

use url::Url;

use super::key::EMBEDDER_KEY;
use crate::client::is_loopback;
use crate::settings::file::ConfigError;
use crate::text::SafeText;

/// Parses the URL of an upstream: http or https, with a host.
pub(crate) fn upstream(text: &str) -> Result<Url, ConfigError> {
    server("--upstream", "SEAWALL_API_KEY", text)
}

/// Parses the URL of an embeddings API by the same rules.
pub(crate) fn embedder(text: &str) -> Result<Url, ConfigError> {
    server("--embedder", EMBEDDER_KEY, text)
}

fn server(option: &'static str, key: &str, text: &str) -> Result<Url, ConfigError> {
    let refuse = |message: String| ConfigError::Url {
        option,
        url: SafeText::excerpt(text, 120),
        message,
    };
    let with_scheme = format!("http://{text}");
    let url = match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => url,
        // `localhost:8033` parses as a URL of scheme `localhost`
        _ if !text.contains("://") && Url::parse(&with_scheme).is_ok() => {
            return Err(refuse(format!("the scheme is missing: write {with_scheme}")));
        }
        Ok(url) => {
            return Err(refuse(format!(
                "unsupported scheme '{}': use http or https",
                url.scheme()
            )));
        }
        Err(error) => {
            return Err(refuse(format!(
                "{error}; write a URL such as http://127.0.0.1:8033"
            )));
        }
    };
    if url.host().is_none() {
        return Err(refuse(
            "the host is missing; write a URL such as http://127.0.0.1:8033".into(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::Url {
            option,
            url: SafeText::new(url.host_str().unwrap_or_default()),
            message: format!("a URL must not contain a key or password: put the key into {key}"),
        });
    }
    if url.scheme() == "http" && !is_loopback(&url) && !is_private(&url) {
        return Err(refuse(
            "plain http would expose your prompts and your key: use https".into(),
        ));
    }
    Ok(url)
}

/// Returns true for a host in a private network, where plain http is usual.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_private() || address.is_link_local(),
        Some(url::Host::Ipv6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
        Some(url::Host::Domain(name)) => {
            !name.contains('.')
                || ["local", "internal"].contains(&name.rsplit('.').next().unwrap_or_default())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn urls_are_refused_with_the_remedy() {
        assert_eq!(
            upstream("http://127.0.0.1:8033").unwrap().as_str(),
            "http://127.0.0.1:8033/"
        );
        assert!(message(upstream("localhost:8033")).ends_with("write http://localhost:8033"));
        assert!(message(upstream("ftp://x")).contains("use http or https"));
        assert!(message(upstream("http://")).contains("write a URL such as http://127.0.0.1:8033"));
        assert!(message(upstream("http://api.example.com")).contains("use https"));
        let with_password = message(upstream("https://me:sk-verysecret@h"));
        assert!(!with_password.contains("verysecret"), "{with_password}");
    }
}
