//! Executes commands: starts calls, cancels them and changes settings. Events are the only reply.
//!
//! ```text
//!  Command --> Engine --> ResilientClient::call --> events
//!                 +-----> FaultControl, breaker, cache
//! ```

mod prompt_mix;
mod prompts;
mod route;
mod traffic;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use prompt_mix::PromptMix;
pub use prompts::Prompts;
pub use route::Route;
use traffic::RunningLoad;

use crate::client::{CallContext, Env, ResilientClient, Transport};
use crate::event::{CallId, ChatOptions, Command, EventKind, Load, Observer, Origin, UserId};
use crate::openai::{ChatRequest, Message};
use crate::settings::Policy;
use crate::simulator::FaultControl;
use crate::text::SafeText;
use crate::time::Timestamp;

/// Capacity of the command queue. The screen reports a command that finds it full.
pub const COMMANDS: usize = 32;
/// The limit of an answer of bursts and loads on the simulator, in LLM tokens: longer answers hold the slots until no
/// other limit is ever reached.
pub const TRAFFIC_TOKENS: u32 = 64;

/// The parts of a request that do not depend on the prompt.
#[derive(Clone, Debug)]
pub struct RequestStyle {
    /// The model; the server chooses if `None`.
    pub model: Option<String>,
    /// The limit of an answer, in LLM tokens; the server chooses if 0.
    pub answer_tokens: u32,
    /// The field of the limit: `max_tokens` or `max_completion_tokens`.
    pub limit_field: &'static str,
    /// True if the simulator answers: answers of bursts and loads are short.
    pub simulated: bool,
    /// The users of bursts and loads that all users send.
    pub users: Vec<UserId>,
    /// Prompts of bursts and loads, in turn; empty for composed ones.
    pub prompts: Vec<String>,
    /// Share of the prompts of bursts and loads that repeat one of the user's last 20 answered ones, 0 to 1.
    pub repeat: f64,
}

impl RequestStyle {
    /// The request with this model and limit, where it has none of its own.
    fn complete<'a>(&self, request: &'a ChatRequest, tokens: u32) -> Cow<'a, ChatRequest> {
        let limit = (tokens > 0).then_some((self.limit_field, tokens));
        request.with_defaults(self.model.as_deref(), limit)
    }

    /// The limit of an answer of bursts and loads.
    fn traffic_tokens(&self) -> u32 {
        match self.answer_tokens {
            0 if self.simulated => TRAFFIC_TOKENS,
            tokens if self.simulated => tokens.min(TRAFFIC_TOKENS),
            tokens => tokens,
        }
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
    prompts: Arc<Mutex<PromptMix>>,
    running: Arc<Mutex<Running>>,
    /// Notified when a call, a burst or a load ends.
    ended: Arc<Notify>,
    observers: Vec<Arc<dyn CommandObserver>>,
}

/// An observer of executed commands.
pub trait CommandObserver: fmt::Debug + Send + Sync {
    /// Called before a command is executed. Must be quick.
    fn on_command(&self, at: Timestamp, command: &Command);
}

/// The use of a complete answer.
enum OnAnswer {
    Nothing,
    /// The question and its answer become turns of the conversation.
    AddTurn(Message),
    /// The prompt may be repeated.
    Remember(Arc<str>),
}

/// The calls, bursts and the load that can be cancelled.
#[derive(Debug, Default)]
struct Running {
    calls: BTreeMap<CallId, CancellationToken>,
    /// Cancels the bursts that still start calls.
    bursts: CancellationToken,
    burst_count: u64,
    /// Bursts that still start calls.
    bursting: usize,
    load: Option<RunningLoad>,
    load_count: u64,
    /// The turns of the conversation.
    turns: Vec<Message>,
    /// Options of prompts.
    chat: ChatOptions,
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
        let prompts = PromptMix::new(&style.prompts, style.repeat, &mut env.generator("prompts", 0));
        Self {
            client,
            observer,
            env,
            faults,
            style: Arc::new(style),
            prompts: Arc::new(Mutex::new(prompts)),
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

    /// Waits until no call of a command runs and neither a burst nor a load starts calls.
    pub async fn settled(&self) {
        loop {
            let mut ended = pin!(self.ended.notified());
            // enabled before the check, so that no end is missed
            ended.as_mut().enable();
            let quiet = {
                let running = self.lock();
                running.calls.is_empty() && running.bursting == 0 && running.load.is_none()
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
            Command::SetChat { options } => match options.validate() {
                Ok(()) => self.lock().chat = options,
                Err(message) => self.notice(&format!("chat not changed: {message}")),
            },
            Command::Burst { calls, users } => self.burst(calls, users),
            Command::SetLoad { load } => match load.as_ref().map_or(Ok(()), Load::validate) {
                Ok(()) => self.set_load(load),
                Err(message) => self.notice(&format!("load not started: {message}")),
            },
            Command::Cancel { call } => {
                if let Some(token) = self.lock().calls.get(&call) {
                    token.cancel();
                }
                self.client.cancel(Origin::Gateway, |one| one == call);
            }
            Command::CancelAll => {
                self.stop_all();
                self.client.cancel(Origin::Gateway, |_| true);
            }
            // calls of the gateway may still end: it is stopped first
            Command::Shutdown => self.stop_all(),
            Command::ForgetConversation => self.lock().turns.clear(),
            Command::SetFaults { on } => {
                self.faults.set_on(on);
                self.emit_faults();
            }
            Command::SetFaultProfile { profile } => {
                self.faults.set_profile(*profile);
                self.emit_faults();
            }
            Command::ApplyFaults { on, profile } => {
                self.faults.set_profile(*profile);
                self.faults.set_on(on);
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
            Err(message) => self.notice(&format!("policy not changed: {message}")),
        }
    }

    fn notice(&self, text: &str) {
        let text = SafeText::new(text);
        self.emit(EventKind::Notice { text });
    }

    /// The next prompt of a user, as bursts and loads ask it. `repeat` replaces the session's share of repeats.
    pub(crate) fn next_prompt(&self, user: &UserId, repeat: Option<f64>) -> Arc<str> {
        self.prompts().next(user, repeat)
    }

    /// Adds a prompt that was answered to those that a user may repeat.
    pub(crate) fn remember_prompt(&self, user: UserId, prompt: Arc<str>) {
        self.prompts().answered(user, prompt);
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

    /// The users of bursts and loads that all users send.
    pub fn users(&self) -> &[UserId] {
        &self.style.users
    }

    fn prompts(&self) -> MutexGuard<'_, PromptMix> {
        self.prompts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop_all(&self) {
        let mut running = self.lock();
        std::mem::take(&mut running.bursts).cancel();
        self.end_load(&mut running);
        for token in running.calls.values() {
            token.cancel();
        }
    }

    /// The request with the session's model and limit, where it has none of its own.
    pub fn complete<'a>(&self, request: &'a ChatRequest) -> Cow<'a, ChatRequest> {
        self.style.complete(request, self.style.answer_tokens)
    }

    /// A request of a command; its answer has at most `tokens` LLM tokens, 0 for no limit.
    fn request(&self, messages: impl IntoIterator<Item = Message>, tokens: u32, stream: bool) -> ChatRequest {
        let mut request = ChatRequest::new(messages).stream(stream);
        if stream {
            request = request.with("stream_options", serde_json::json!({ "include_usage": true }));
        }
        self.style.complete(&request, tokens).into_owned()
    }

    fn send(&self, prompt: &str, user: UserId, conversation: bool) {
        let question = Message::user(prompt);
        let (chat, earlier) = {
            let running = self.lock();
            let earlier = if conversation {
                running.turns.clone()
            } else {
                Vec::new()
            };
            (running.chat.clone(), earlier)
        };
        let system = chat.system.as_deref().map(Message::system);
        let messages = system.into_iter().chain(earlier).chain([question.clone()]);
        let mut request = self.request(messages, self.style.answer_tokens, true);
        if let Some(temperature) = chat.temperature {
            request = request.temperature(temperature);
        }
        let on_answer = if conversation {
            OnAnswer::AddTurn(question)
        } else {
            OnAnswer::Nothing
        };
        self.start(&mut self.lock(), &request, user, Origin::Chat, on_answer);
    }

    /// Starts a call and reads it until it ends or is cancelled. Under the lock, so that cancelling all calls finds
    /// every call that has started.
    fn start(
        &self,
        running: &mut Running,
        request: &ChatRequest,
        user: UserId,
        origin: Origin,
        on_answer: OnAnswer,
    ) {
        let context = CallContext {
            user: user.clone(),
            origin,
            // a person who asks twice accepts the same answer, unless a temperature asks for another one
            cacheable: request.get("temperature").is_none(),
            ..CallContext::default()
        };
        let stream = self.client.call(request, context);
        let call = stream.call();
        let stop = CancellationToken::new();
        running.calls.insert(call, stop.clone());
        let engine = self.clone();
        self.env.spawn(async move {
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                end = stream.finish() => Some(end),
            };
            let mut running = engine.lock();
            running.calls.remove(&call);
            match (on_answer, end) {
                (OnAnswer::AddTurn(question), Some(Ok(answer))) => {
                    running.turns.extend([question, Message::assistant(answer.text)]);
                }
                (OnAnswer::Remember(prompt), Some(Ok(_))) => engine.prompts().answered(user, prompt),
                _ => {}
            }
            drop(running);
            engine.ended.notify_waiters();
        });
    }
}
