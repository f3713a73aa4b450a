//! What a key means. One row for each action: its name in `assets/keymap.toml`, its label in the footer and
//! its sentence in help and palette. Dispatch, footer, help and README all read this one table.

/// Where an action stands in the help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// It changes what the engine does.
    Do,
    /// It changes what is seen.
    Look,
    /// It edits a line of text.
    Type,
    /// It belongs to an open overlay.
    Overlay,
    /// It moves through a recorded session.
    Replay,
}

macro_rules! actions {
    ($($variant:ident $name:literal $group:ident $label:literal $about:literal;)+) => {
        /// What a key means. Unit-like: arguments come from where the cursor is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action {
            $(#[doc = $about] $variant,)+
        }

        impl Action {
            /// Every action, in the order help and palette show them.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its name in the keymap file.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// One or two words for the footer.
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)+ }
            }

            /// What it does, for help and palette.
            pub fn description(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }

            /// Where it stands in the help.
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
    BurstOf "burst_of" Do "burst of N" "burst of N calls: write the number after it";
    BurstAll "burst_all" Do "burst, all users" "burst of N calls, every user in turn";
    Stop "stop" Do "stop" "stop every running call and the burst";
    ToggleFaults "toggle_faults" Do "faults" "faults on or off";
    ChooseFaults "choose_faults" Do "choose faults" "choose a fault profile and its rates";
    MoreFaults "more_faults" Do "more faults" "raise the total failure rate by 5 points";
    FewerFaults "fewer_faults" Do "fewer faults" "lower the total failure rate by 5 points";
    ToggleCache "toggle_cache" Do "cache" "cache on or off";
    ClearCache "clear_cache" Do "clear cache" "clear cache: forget all stored answers";
    CycleSemantic "cycle_semantic" Do "semantic" "semantic cache: on, in shadow, off";
    CycleBreaker "cycle_breaker" Do "breaker" "breaker: force open, force closed, automatic";
    ResetBreaker "reset_breaker" Do "reset breaker" "reset breaker: close it, forget its window";
    ToggleOrder "toggle_order" Do "fair" "queue: fair by user, or first come first served";
    NextUser "next_user" Do "user" "ask as the next user";
    ToggleConversation "toggle_conversation" Do "conversation" "send the earlier turns too, or not";
    ForgetConversation "forget_conversation" Do "forget turns" "forget the turns of the conversation";
    SaveDrill "save_drill" Do "save drill" "save what was done as a scenario";
    CompareLive "compare_live" Do "compare" "compare live: edit a copy of the policy, judged on the same calls";
    TakeBack "take_back" Do "take back" "take the last committed policy back";
    SavePolicy "save_policy" Do "save policy" "save the policy in force as a file";
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
    Zoom "zoom" Look "zoom" "give this pane the whole screen";
    Pause "pause" Look "pause" "pause the view; the work goes on";
    Filter "filter" Look "find" "filter the log; a leading ! inverts";
    FindNext "find_next" Look "next" "next line of the filtered log";
    FindPrev "find_prev" Look "previous" "previous line of the filtered log";
    Up "up" Look "up" "up";
    Down "down" Look "down" "down";
    PageUp "page_up" Look "page up" "a page up";
    PageDown "page_down" Look "page down" "a page down";
    Top "top" Look "top" "to the beginning";
    Follow "follow" Look "follow" "to the end, and follow";
    Open "open" Look "why" "why? the story of the call under the cursor";
    Copy "copy" Look "copy" "copy the answer, row or line";
    Palette "palette" Look "commands" "all commands by name";
    Help "help" Look "help" "help for this pane";
    Suspend "suspend" Look "suspend" "suspend; fg comes back";
    Redraw "redraw" Look "redraw" "draw the whole screen again";
    StopOrQuit "stop_or_quit" Do "stop, quit" "stop what runs; again or when idle: quit";
    Quit "quit" Do "quit" "quit";
    Submit "submit" Type "send" "send the prompt, or keep the filter";
    Newline "newline" Type "new line" "a new line in the prompt";
    Leave "leave" Type "leave" "leave: a prompt is kept, a filter cleared";
    HistoryPrev "history_prev" Type "earlier" "the line above, or the prompt before";
    HistoryNext "history_next" Type "later" "the line below, or the prompt after";
    Close "close" Overlay "close" "close this";
    Accept "accept" Overlay "take" "take the selected one";
    Less "less" Overlay "less" "the one before, or a step less";
    More "more" Overlay "more" "the next one, or a step more";
    Switch "switch" Overlay "on/off" "switch faults on or off";
    Yes "yes" Overlay "yes" "yes, do it";
    No "no" Overlay "no" "no, do not";
    LabelGood "label_good" Overlay "right" "this semantic hit was right";
    LabelBad "label_bad" Overlay "wrong" "this semantic hit was wrong: forget it, and ask more of the like";
    EditValue "edit_value" Overlay "write" "write the value of this setting; a digit begins it";
    FlipSetting "flip_setting" Overlay "flip" "flip this switch, or take its next word";
    ResetSetting "reset_setting" Overlay "undo" "give this setting its running value again";
    DiscardCopy "discard_copy" Overlay "discard all" "discard every change of the copy";
    CommitCopy "commit_copy" Overlay "commit" "commit: the copy holds from now on";
    NextChange "next_change" Overlay "next change" "the next changed setting";
    PrevChange "prev_change" Overlay "change back" "the changed setting before";
    NextLayer "next_layer" Overlay "next layer" "the next layer of settings";
    PrevLayer "prev_layer" Overlay "layer back" "the layer before";
    TakeValue "take_value" Overlay "take it" "take the value that was written";
    LeaveValue "leave_value" Overlay "leave" "leave the value as it was";
    StopCall "stop_call" Overlay "stop it" "stop this one call";
    Play "play" Replay "play" "play, or stand still";
    PrevMark "prev_mark" Replay "mark back" "the change, failure or burst before";
    NextMark "next_mark" Replay "next mark" "the next change, failure or burst";
    StepBack "step_back" Replay "step back" "one event back";
    StepOn "step_on" Replay "step" "one event on";
    Slower "slower" Replay "slower" "half as fast";
    Faster "faster" Replay "faster" "twice as fast";
    SecondsBack "seconds_back" Replay "-5 s" "5 seconds back";
    SecondsOn "seconds_on" Replay "+5 s" "5 seconds on";
    Beginning "beginning" Replay "start" "to the beginning of the recording";
    End "end" Replay "end" "to the end of the recording";
}

impl Action {
    /// The action with this name in a keymap file.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.name() == name)
    }

    /// Which pane a digit asks for, from 0.
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
