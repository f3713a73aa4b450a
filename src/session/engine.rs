//! Executes commands: starts calls, cancels them and changes settings. Events are the only reply.
//!
//! ```text
//!  Command --> Engine --> ResilientClient::call --> events
//!                 +-----> FaultControl, breaker, cache
//! ```

mod prompts;
mod route;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

pub use prompts::Prompts;
pub use route::Route;

use crate::client::{CallContext, Env, ResilientClient, Transport};
use crate::event::{BurstUsers, CallId, Command, EventKind, Observer, Origin, UserId};
use crate::openai::{ChatRequest, Message};
use crate::settings::Policy;
use crate::simulator::FaultControl;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Capacity of the command queue. The screen reports a command that finds it full.
pub const COMMANDS: usize = 32;
/// Calls that a burst starts before it yields to other tasks.
const CALLS_AT_ONCE: u32 = 32;

/// The parts of a request that do not depend on the prompt.
#[derive(Clone, Debug)]
pub struct RequestStyle {
    /// The model; the server chooses if `None`.
    pub model: Option<String>,
    /// The limit of an answer, in LLM tokens; the server chooses if 0.
    pub answer_tokens: u32,
    /// The field of the limit: `max_tokens` or `max_completion_tokens`.
    pub limit_field: &'static str,
    /// The users of bursts that all users send.
    pub users: Vec<UserId>,
}

impl RequestStyle {
    /// The request with this model and limit, where it has none of its own.
    fn complete<'a>(&self, request: &'a ChatRequest) -> Cow<'a, ChatRequest> {
        let limit = (self.answer_tokens > 0).then_some((self.limit_field, self.answer_tokens));
        request.with_defaults(self.model.as_deref(), limit)
    }
}

/// The engine of a session. Clones drive the same session.
#[derive(Debug)]
pub struct Engine<T: Transport, O: Observer> {
    client: ResilientClient<T, O>,
    observer: O,
    env: Env,
    faults: FaultControl,
    style: Arc<RequestStyle>,
    prompts: Arc<Prompts>,
    running: Arc<Mutex<Running>>,
    /// Notified when a call or a burst ends.
    ended: Arc<Notify>,
    observers: Vec<Arc<dyn CommandObserver>>,
}

/// An observer of executed commands.
pub trait CommandObserver: fmt::Debug + Send + Sync {
    /// Called before a command is executed. Must be quick.
    fn on_command(&self, at: Timestamp, command: &Command);
}

/// The calls and bursts that can be cancelled.
#[derive(Debug, Default)]
struct Running {
    calls: BTreeMap<CallId, CancellationToken>,
    /// Cancels the bursts that still start calls.
    bursts: CancellationToken,
    burst_count: u64,
    /// Bursts that still start calls.
    bursting: usize,
    /// The turns of the conversation.
    turns: Vec<Message>,
}

impl<T: Transport, O: Observer + Clone> Clone for Engine<T, O> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            observer: self.observer.clone(),
            env: self.env.clone(),
            faults: self.faults.clone(),
            style: Arc::clone(&self.style),
            prompts: Arc::clone(&self.prompts),
            running: Arc::clone(&self.running),
            ended: Arc::clone(&self.ended),
            observers: self.observers.clone(),
        }
    }
}

impl<T: Transport, O: Observer + Clone> Engine<T, O> {
    /// An engine for this client.
    pub fn new(
        client: ResilientClient<T, O>,
        observer: O,
        env: Env,
        faults: FaultControl,
        style: RequestStyle,
    ) -> Self {
        Self {
            client,
            observer,
            env,
            faults,
            style: Arc::new(style),
            prompts: Arc::new(Prompts::bundled()),
            running: Arc::default(),
            ended: Arc::default(),
            observers: Vec::new(),
        }
    }

    /// Adds an observer of the commands that this engine and its clones execute.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn CommandObserver>) -> Self {
        self.observers.push(observer);
        self
    }

    /// Waits until no call of a command runs and no burst starts calls.
    pub async fn settled(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // enabled before the check, so that no end is missed
            ended.as_mut().enable();
            let quiet = {
                let running = self.lock();
                running.calls.is_empty() && running.bursting == 0
            };
            if quiet {
                return;
            }
            ended.await;
        }
    }

    /// Executes commands until `Shutdown` or until the channel closes, then cancels everything that runs.
    pub async fn run(&self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            if command == Command::Shutdown {
                break;
            }
            self.execute(command);
        }
        // observers learn of the end before the calls are cancelled
        self.execute(Command::Shutdown);
    }

    /// Executes one command. Returns at once; calls run in tasks of their own.
    pub fn execute(&self, command: Command) {
        for observer in &self.observers {
            observer.on_command(self.env.clock.now(), &command);
        }
        match command {
            Command::Send {
                prompt,
                user,
                conversation,
            } => self.send(&prompt, user, conversation),
            Command::Burst { calls, users } => self.burst(calls, users),
            Command::Cancel { call } => {
                if let Some(token) = self.lock().calls.get(&call) {
                    token.cancel();
                }
            }
            Command::CancelAll | Command::Shutdown => self.stop_all(),
            Command::ForgetConversation => self.lock().turns.clear(),
            Command::SetFaults { on } => {
                self.faults.set_on(on);
                self.emit_faults();
            }
            Command::SetFaultProfile { profile } => {
                self.faults.set_profile(*profile);
                self.emit_faults();
            }
            Command::SetCache { on } => self.client.switch_cache(on),
            Command::ClearCache => self.client.clear_cache(),
            Command::ApplyPolicy { policy } => {
                let valid = policy.validate().map_err(|error| error.to_string());
                self.apply(valid.map(|()| *policy));
            }
            Command::ChangeSettings { settings } => {
                self.apply(self.client.policy().with_settings(&settings));
            }
            // the runner of a scenario skips the time
            Command::Suspend { .. } => {}
            Command::SetSemantic { mode } => self.client.set_semantic(mode),
            Command::LabelHit { call, good } => self.client.label(call, good),
            Command::SetQueueOrder { order } => self.client.set_queue_order(order),
            Command::SetBreaker { mode } => self.client.force_breaker(mode),
            Command::ResetBreaker => self.client.reset_breaker(),
        }
    }

    /// Applies a policy, or reports why it is not valid.
    fn apply(&self, policy: Result<Policy, String>) {
        match policy {
            Ok(policy) => self.client.apply_keeping_labels(policy),
            Err(message) => self.emit(EventKind::Notice {
                text: SafeText::new(&format!("policy not changed: {message}")),
            }),
        }
    }

    /// Emits an event that belongs to no call.
    pub fn emit(&self, kind: EventKind) {
        self.observer.emit(None, kind);
    }

    /// Emits the current faults.
    pub fn emit_faults(&self) {
        let profile = Box::new(self.faults.profile().as_ref().clone());
        self.observer.emit(
            None,
            EventKind::FaultsApplied {
                on: self.faults.is_on(),
                profile,
            },
        );
    }

    /// The users of bursts that all users send.
    pub fn users(&self) -> &[UserId] {
        &self.style.users
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_all(&self) {
        let mut running = self.lock();
        std::mem::take(&mut running.bursts).cancel();
        for token in running.calls.values() {
            token.cancel();
        }
    }

    /// The request with the session's model and limit, where it has none of its own.
    pub fn complete<'a>(&self, request: &'a ChatRequest) -> Cow<'a, ChatRequest> {
        self.style.complete(request)
    }

    fn request(&self, messages: impl IntoIterator<Item = Message>) -> ChatRequest {
        let request = ChatRequest::new(messages)
            // deterministic, so that the cache may answer a repeated prompt
            .temperature(0.0)
            .stream(true)
            .with("stream_options", serde_json::json!({ "include_usage": true }));
        self.complete(&request).into_owned()
    }

    fn send(&self, prompt: &str, user: UserId, conversation: bool) {
        let question = Message::user(prompt);
        let earlier = if conversation {
            self.lock().turns.clone()
        } else {
            Vec::new()
        };
        let request = self.request(earlier.into_iter().chain([question.clone()]));
        self.start(&request, user, Origin::Chat, conversation.then_some(question));
    }

    fn burst(&self, calls: u32, users: BurstUsers) {
        let (burst, stop) = {
            let mut running = self.lock();
            running.burst_count += 1;
            running.bursting += 1;
            (running.burst_count, running.bursts.clone())
        };
        self.observer.emit(None, EventKind::BurstStarted { burst, calls });
        let engine = self.clone();
        self.env.spawn(async move {
            let mut generator = engine.env.generator("prompts", burst);
            let mut made = 0;
            for turn in 0..calls {
                if stop.is_cancelled() {
                    break;
                }
                let user = match &users {
                    BurstUsers::One(user) => user.clone(),
                    BurstUsers::All => {
                        let users = engine.users();
                        users
                            .get(turn as usize % users.len().max(1))
                            .cloned()
                            .unwrap_or_default()
                    }
                };
                let prompt = engine.prompts.draw(&mut generator);
                let request = engine.request([Message::user(prompt)]);
                engine.start(&request, user, Origin::Burst { burst }, None);
                made += 1;
                if turn % CALLS_AT_ONCE == CALLS_AT_ONCE - 1 {
                    tokio::task::yield_now().await;
                }
            }
            engine
                .observer
                .emit(None, EventKind::BurstEnded { burst, calls: made });
            engine.lock().bursting -= 1;
            engine.ended.notify_waiters();
        });
    }

    /// Starts a call and reads it until it ends or is cancelled. `question` is added to the conversation with its
    /// answer.
    fn start(&self, request: &ChatRequest, user: UserId, origin: Origin, question: Option<Message>) {
        let context = CallContext {
            user,
            origin,
            ..CallContext::default()
        };
        // under the lock, so that cancelling all calls finds every call that has started
        let mut running = self.lock();
        let stream = self.client.call(request, context);
        let call = stream.call();
        let stop = CancellationToken::new();
        running.calls.insert(call, stop.clone());
        drop(running);
        let engine = self.clone();
        self.env.spawn(async move {
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                end = stream.finish() => Some(end),
            };
            let mut running = engine.lock();
            running.calls.remove(&call);
            if let (Some(question), Some(Ok(answer))) = (question, end) {
                running.turns.extend([question, Message::assistant(answer.text)]);
            }
            drop(running);
            engine.ended.notify_waiters();
        });
    }
}
