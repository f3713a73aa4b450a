//! The views of requests and the errors of each dialect. `client/tests/dialects.rs` reads answers.

use serde_json::json;

use super::*;

#[test]
fn views_hold_prompt_and_limit() {
    let view = |dialect: Dialect, body: Value| {
        let Value::Object(body) = body else { panic!() };
        dialect.view(body)
    };
    let messages = view(
        Dialect::Messages,
        json!({ "model": "claude", "max_tokens": 64, "system": [{ "type": "text", "text": "Be brief." }],
            "messages": [{ "role": "user", "content": "Hi" }] }),
    );
    assert_eq!(messages.last_user_text(), "Hi");
    assert_eq!(messages.token_limit(), Some(64));
    assert!(messages.estimated_prompt_tokens() > 8);
    let responses = view(
        Dialect::Responses,
        json!({ "input": [{ "role": "user", "content": [{ "type": "input_text", "text": "Hi" }] }],
            "max_output_tokens": 32 }),
    );
    assert_eq!(
        (&*responses.last_user_text(), responses.token_limit()),
        ("Hi", Some(32))
    );
    let embeddings = view(Dialect::Embeddings, json!({ "input": ["a", "b"] }));
    assert_eq!(
        (&*embeddings.last_user_text(), embeddings.token_limit()),
        ("b", Some(0))
    );
    // a server may read what its API does not have
    let with_messages = |text: &str| {
        view(
            Dialect::Completions,
            json!({ "prompt": "p", "messages": [{ "role": "user", "content": text }] }),
        )
    };
    assert_ne!(with_messages("a"), with_messages("b"));
    let raw = view(Dialect::Raw, json!({ "temperature": 0, "seed": 1 }));
    assert_eq!(raw.get("temperature"), None);
}

#[test]
fn errors_have_the_shape_of_their_dialect() {
    let error = ErrorText {
        status: 503,
        code: "seawall_circuit_open",
        message: "the upstream is failing",
    };
    let openai = Dialect::Chat.format().error(&error);
    assert_eq!(openai["error"]["code"], "seawall_circuit_open");
    let anthropic = Dialect::RawMessages.format().error(&error);
    assert_eq!(
        (&anthropic["type"], &anthropic["error"]["type"]),
        (&json!("error"), &json!("overloaded_error"))
    );
}
