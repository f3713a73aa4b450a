//! The actions of keys: one row each, with the name in `assets/keymap.toml`, the footer label and the description.
//! Dispatch, footer, help, palette and README read this table.

/// The section of an action in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Commands to the engine.
    Do,
    /// Changes of the view.
    Look,
    /// Text editing.
    Type,
    /// Keys of an open overlay.
    Overlay,
    /// Playback of a recorded session.
    Replay,
}

macro_rules! actions {
    ($($variant:ident $name:literal $group:ident $label:literal $about:literal;)+) => {
        /// An action of a key. Its arguments come from the cursor.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $(#[doc = $about] $variant,)+
        }

        impl Action {
            /// All actions, in the order of help and palette.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name in the keymap file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The footer label: one or two words.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// The description in help and palette.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }

            /// The section in the help.
            pub fn group(self) -> Group {
                match self { $(Self::$variant => Group::$group,)+ }
            }
        }
    };
}

actions! {
    Prompt "prompt" Do "ask" "type a prompt";
    Burst10 "burst10" Do "burst 10" "burst of 10 calls";
    Burst50 "burst50" Do "burst 50" "burst of 50 calls";
    BurstOf "burst_of" Do "burst of N" "burst of any size: burst 200";
    BurstAll "burst_all" Do "burst, all users" "burst of 20 calls as every user in turn";
    Load "load" Do "load" "load: start or end calls at a rate; load 10/s 60s sets it";
    Tour "tour" Do "tour" "guided tour: what each guard does, in two minutes";
    Stop "stop" Do "stop" "stop every running call and the burst";
    ToggleFaults "toggle_faults" Do "faults" "turn faults on or off";
    ChooseFaults "choose_faults" Do "choose faults" "choose a fault profile and its rates";
    MoreFaults "more_faults" Do "more faults" "raise the total failure rate by 5 points";
    FewerFaults "fewer_faults" Do "fewer faults" "lower the total failure rate by 5 points";
    ToggleCache "toggle_cache" Do "cache" "turn the cache on or off";
    ClearCache "clear_cache" Do "clear cache" "clear cache: remove all stored answers";
    CycleSemantic "cycle_semantic" Do "semantic" "semantic cache: on, shadow, off";
    ChooseBreaker "choose_breaker" Do "breaker" "breaker: force it open or closed, or release it";
    ForceOpen "force_open" Do "force open" "force the breaker open: refuse every call";
    ForceClosed "force_closed" Do "force closed" "force the breaker closed: let every call pass";
    ResetBreaker "reset_breaker" Do "reset" "reset breaker: close it and forget its failures";
    ReleaseBreaker "release_breaker" Do "automatic" "release the breaker: failures and probes decide";
    Undo "undo" Do "undo" "undo the last change: faults, cache, breaker, policy ...";
    ToggleOrder "toggle_order" Do "fair" "queue: fair by user, or first come, first served";
    NextUser "next_user" Do "user" "send as the next user";
    ToggleConversation "toggle_conversation" Do "conversation" "send earlier turns too, or the prompt alone";
    ForgetConversation "forget_conversation" Do "clear turns" "clear the turns of the conversation";
    SetSystem "set_system" Do "system" "system prompt of the chat: system Be brief., system off";
    SetTemperature "set_temperature" Do "temperature" "temperature of the chat: temperature 0.7, temperature off";
    SaveDrill "save_drill" Do "save" "save this session's commands as a scenario file";
    WhatIf "what_if" Do "what-if" "what-if: evaluate an edited policy on the same calls";
    SavePolicy "save_policy" Do "save policy" "save the running policy to a file";
    NextPane "next_pane" Look "pane" "next pane";
    PrevPane "prev_pane" Look "pane back" "previous pane";
    Pane1 "pane1" Look "pane 1" "go to pane 1";
    Pane2 "pane2" Look "pane 2" "go to pane 2";
    Pane3 "pane3" Look "pane 3" "go to pane 3";
    Pane4 "pane4" Look "pane 4" "go to pane 4";
    Pane5 "pane5" Look "pane 5" "go to pane 5";
    Pane6 "pane6" Look "pane 6" "go to pane 6";
    Pane7 "pane7" Look "pane 7" "go to pane 7";
    Pane8 "pane8" Look "pane 8" "go to pane 8";
    Pane9 "pane9" Look "pane 9" "go to pane 9";
    Pane10 "pane10" Look "pane 10" "go to pane 10";
    Zoom "zoom" Look "zoom" "show this pane full screen";
    LongerWindow "longer_window" Look "window" "longer window of the charts: 30 s, 2 m, 10 m, all";
    ShorterWindow "shorter_window" Look "shorter" "shorter window of the charts";
    CrosshairLeft "crosshair_left" Look "crosshair" "move the crosshair back (paused or in a replay)";
    CrosshairRight "crosshair_right" Look "later" "move the crosshair forward; beyond the end: back to now";
    Pause "pause" Look "pause" "pause the view; calls keep running";
    Filter "filter" Look "filter" "filter the focused list: words, !word, #31, 503, >2s";
    FindNext "find_next" Look "next" "next row of the filtered list";
    FindPrev "find_prev" Look "previous" "previous row of the filtered list";
    Up "up" Look "up" "up";
    Down "down" Look "down" "down";
    PageUp "page_up" Look "page up" "page up";
    PageDown "page_down" Look "page down" "page down";
    Top "top" Look "top" "go to the beginning";
    Follow "follow" Look "follow" "go to the end and follow";
    Open "open" Look "why" "why: show the story of the selected call";
    OpenGroup "open_group" Look "open group" "open the group of calls under the cursor";
    CloseGroup "close_group" Look "close group" "close the group of calls under the cursor";
    AlignCalls "align_calls" Look "own start" "calls: each lane from its own start, or on the wall clock";
    Copy "copy" Look "copy" "copy the answer, row or line";
    Palette "palette" Look "commands" "list all commands by name";
    Help "help" Look "help" "help for this pane";
    Suspend "suspend" Look "suspend" "suspend; fg resumes";
    Redraw "redraw" Look "redraw" "redraw the whole screen";
    StopOrQuit "stop_or_quit" Do "clear, stop" "clear the text, close the overlay, stop all calls, quit";
    Quit "quit" Do "quit" "quit; asks while calls run";
    Submit "submit" Type "send" "send the prompt, or keep the filter";
    Newline "newline" Type "new line" "insert a line break in the prompt";
    Leave "leave" Type "leave" "leave: keep the prompt, clear the filter";
    EditPrompt "edit_prompt" Type "editor" "edit the prompt in $EDITOR";
    HistoryPrev "history_prev" Type "earlier" "previous line, or previous prompt";
    HistoryNext "history_next" Type "later" "next line, or next prompt";
    Close "close" Overlay "close" "close this overlay";
    Accept "accept" Overlay "select" "run the selected command";
    Less "less" Overlay "less" "previous value, or one step less";
    More "more" Overlay "more" "next value, or one step more";
    Switch "switch" Overlay "on/off" "choose faults on or off";
    ApplyFaults "apply_faults" Overlay "apply" "apply the chosen faults";
    Save "save" Overlay "save" "save under this name; without one, under the date";
    Yes "yes" Overlay "yes" "yes, do it";
    No "no" Overlay "no" "no, cancel";
    LabelGood "label_good" Overlay "right" "mark this semantic hit right";
    LabelBad "label_bad" Overlay "wrong" "mark this semantic hit wrong: drop, raise its threshold";
    EditValue "edit_value" Overlay "edit" "type the value of this setting; a digit starts it";
    ToggleSetting "toggle_setting" Overlay "toggle" "toggle this setting, or select its next option";
    ResetSetting "reset_setting" Overlay "reset" "reset this setting to its running value";
    DiscardDraft "discard_draft" Overlay "discard all" "discard all edits";
    ApplyDraft "apply_draft" Overlay "apply" "apply the edited policy";
    NextChange "next_change" Overlay "next change" "next changed setting";
    PrevChange "prev_change" Overlay "change back" "previous changed setting";
    NextLayer "next_layer" Overlay "layer" "next layer of settings";
    PrevLayer "prev_layer" Overlay "layer back" "previous layer of settings";
    AcceptValue "accept_value" Overlay "accept" "accept the typed value";
    CancelValue "cancel_value" Overlay "cancel" "cancel and keep the old value";
    StopCall "stop_call" Do "stop this" "stop this call: the answer in the chat, or the selected one";
    Play "play" Replay "play" "play or pause";
    PrevMark "prev_mark" Replay "mark back" "previous change, failure or burst";
    NextMark "next_mark" Replay "next mark" "next change, failure or burst";
    StepBack "step_back" Replay "step back" "one event back";
    StepForward "step_forward" Replay "step" "one event forward";
    Slower "slower" Replay "slower" "half speed";
    Faster "faster" Replay "faster" "double speed";
    SecondsBack "seconds_back" Replay "-5 s" "5 seconds back";
    SecondsForward "seconds_forward" Replay "+5 s" "5 seconds forward";
    Beginning "beginning" Replay "start" "go to the start of the recording";
    End "end" Replay "end" "go to the end of the recording";
}

impl Action {
    /// Returns the action with this name in a keymap file.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// The index of the pane that a digit selects, from 0.
    pub fn pane_index(self) -> Option<usize> {
        match self {
            Self::Pane1 => Some(0),
            Self::Pane2 => Some(1),
            Self::Pane3 => Some(2),
            Self::Pane4 => Some(3),
            Self::Pane5 => Some(4),
            Self::Pane6 => Some(5),
            Self::Pane7 => Some(6),
            Self::Pane8 => Some(7),
            Self::Pane9 => Some(8),
            Self::Pane10 => Some(9),
            _ => None,
        }
    }
}
