//! Misses that name the most similar stored request.

use super::rig::{Rig, cold, steady};
use crate::client::CallContext;
use crate::event::{CallId, DiffKind, EventKind, Fate, MissReason, NearMiss, UserId};
use crate::openai::{ChatRequest, Message};

fn stamped(system: &str) -> ChatRequest {
    ChatRequest::new([Message::system(system), Message::user("hi")]).temperature(0.0)
}

/// The call of each miss, and the most similar request.
fn misses(rig: &Rig) -> Vec<(CallId, Option<NearMiss>)> {
    rig.find(|event| match &event.kind {
        EventKind::CacheMissed { nearest, .. } => Some((event.call?, nearest.as_deref().cloned())),
        _ => None,
    })
}

#[tokio::test(start_paused = true)]
async fn a_miss_names_the_call_whose_request_differs_in_a_time() {
    let rig = Rig::new(steady());
    for system in ["It is 10:30:00.", "It is 10:32:01."] {
        let answer = rig.call(&stamped(system)).finish().await.unwrap();
        assert_eq!(answer.fate, Fate::Answered);
    }
    let all = misses(&rig);
    let (first, second) = (&all[0], &all[1]);
    assert_eq!(first.1, None);
    let near = second.1.as_ref().unwrap();
    assert_eq!(
        (near.source, near.fields, near.prompt.as_str()),
        (first.0, 1, "hi")
    );
    let diff = &near.differs[0];
    assert_eq!((diff.field.as_str(), diff.how), ("system prompt", DiffKind::Time));
    assert_eq!(
        (diff.here.as_str(), diff.stored.as_str()),
        ("It is 10:32:01.", "It is 10:30:00.")
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn expired_and_evicted_requests_name_no_similar_one() {
    let mut policy = steady();
    policy.cache.ttl = std::time::Duration::from_mins(1);
    let rig = Rig::new(policy);
    for seconds in [0, 30, 61] {
        rig.sleep(std::time::Duration::from_secs(seconds)).await;
        rig.call(&cold("hi")).finish().await.unwrap();
    }
    rig.call(&cold("ho")).finish().await.unwrap();
    rig.client.clear_cache();
    rig.call(&cold("ha")).finish().await.unwrap();
    let reasons = rig.find(|event| match &event.kind {
        EventKind::CacheMissed { reason, nearest } => {
            Some((*reason, nearest.as_ref().map(|near| near.source)))
        }
        _ => None,
    });
    assert_eq!(
        reasons,
        [
            (MissReason::NeverSeen, None),
            (MissReason::Expired, None),
            (MissReason::NeverSeen, Some(CallId(3))),
            (MissReason::NeverSeen, None),
        ]
    );
    rig.done().await;
}

#[tokio::test(start_paused = true)]
async fn a_miss_never_shows_the_prompt_of_another_user() {
    let rig = Rig::new(steady());
    let of = |name: &str| CallContext {
        user: UserId::new(name),
        ..CallContext::default()
    };
    let secret = stamped("the secret of eve");
    rig.client.call(&secret, of("eve")).finish().await.unwrap();
    rig.client
        .call(&stamped("You help."), of("ann"))
        .finish()
        .await
        .unwrap();
    rig.client.call(&secret, of("bob")).finish().await.unwrap();
    let all = misses(&rig);
    let ann = all[1].1.as_ref().unwrap();
    assert_eq!((ann.source, ann.fields), (all[0].0, 2));
    assert!(!format!("{ann:?}").contains("secret"), "{ann:?}");
    // bob sends the same request: the miss shows only that it is stored for another user
    let bob = all[2].1.as_ref().unwrap();
    assert_eq!(
        (bob.source, bob.fields, bob.differs[0].field.as_str()),
        (all[0].0, 1, "user")
    );
    rig.done().await;
}
