//! Misses that name the stored request they are like.

use super::rig::{Rig, cold, steady};
use crate::client::CallContext;
use crate::event::{CallId, DiffKind, EventKind, Fate, MissReason, NearMiss, UserId};
use crate::openai::{ChatRequest, Message};

fn stamped(system: &str) -> ChatRequest {
    ChatRequest::new([Message::system(system), Message::user("hi")]).temperature(0.0)
}

/// What each miss says: its call, and what it is like.
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
    let told = misses(&rig);
    let (first, second) = (&told[0], &told[1]);
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
async fn what_left_the_cache_is_like_nothing_and_what_is_too_old_is_explained_by_that() {
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
async fn the_words_of_another_user_are_not_told() {
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
    let told = misses(&rig);
    let ann = told[1].1.as_ref().unwrap();
    assert_eq!((ann.source, ann.fields), (told[0].0, 2));
    assert!(!format!("{ann:?}").contains("secret"), "{ann:?}");
    // bob asks the same: that it is stored for somebody else is all there is to tell
    let bob = told[2].1.as_ref().unwrap();
    assert_eq!(
        (bob.source, bob.fields, bob.differs[0].field.as_str()),
        (told[0].0, 1, "user")
    );
    rig.done().await;
}
