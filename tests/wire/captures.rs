//! The expected reading of each capture. Texts, counts and usage were extracted by another program, so that client and
//! table cannot make the same mistake.

use seawall::event::FailureClass as C;
use seawall::event::Phase;

/// The expected reading of a capture.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// A complete answer.
    Answer {
        /// The beginning of the text.
        text: &'static str,
        /// The number of words.
        words: usize,
        /// The finish reason.
        finish: &'static str,
        /// Tokens of prompt and answer; `None` if the server did not count.
        usage: Option<(u64, u64)>,
    },
    /// A failure.
    Failure {
        /// The class.
        class: C,
        /// The phase.
        phase: Phase,
    },
    /// An interrupted answer.
    Interrupted {
        /// The beginning of the text.
        text: &'static str,
        /// The number of words delivered.
        words: usize,
    },
}

const fn answers(
    text: &'static str,
    words: usize,
    finish: &'static str,
    usage: Option<(u64, u64)>,
) -> Expected {
    Expected::Answer {
        text,
        words,
        finish,
        usage,
    }
}

const fn fails(class: C, phase: Phase) -> Expected {
    Expected::Failure { class, phase }
}

const fn breaks(text: &'static str, words: usize) -> Expected {
    Expected::Interrupted { text, words }
}

/// Every captured chat completion and error.
pub(crate) const TABLE: &[(&str, Expected)] = &[
    ("busy_a", answers(" lagoon rope round", 40, "Length", None)),
    ("busy_b", answers(" will pull until", 3, "Length", None)),
    ("busy_slots", fails(C::Unavailable, Phase::Refused)),
    (
        "chat_nostream",
        answers(" only second second", 24, "Length", Some((13, 24))),
    ),
    (
        "chat_nostream_t0",
        answers(" second slow then", 60, "Length", Some((13, 60))),
    ),
    ("chat_stream", answers(" second slow then", 6, "Length", None)),
    (
        "chat_stream_usage",
        answers(" second slow then", 3, "Length", Some((13, 3))),
    ),
    ("disconnect", breaks(" gave around silver", 5)),
    ("e_404", fails(C::NotFound, Phase::Final)),
    ("e_badjson", fails(C::Invalid, Phase::Final)),
    ("e_badmodel", answers(" blue away", 2, "Length", Some((13, 2)))),
    ("e_badrole", answers(" second or", 2, "Length", Some((15, 2)))),
    ("e_badtype_temp", fails(C::Invalid, Phase::Final)),
    ("e_embeddings_off", fails(C::Unsupported, Phase::Final)),
    ("e_empty", fails(C::Invalid, Phase::Final)),
    (
        "e_emptymessages",
        answers(" second gray between", 24, "Stop", Some((2, 25))),
    ),
    (
        "e_fillctx_stream",
        answers(" up row up", 57, "Length", Some((455, 57))),
    ),
    ("e_fmt", fails(C::Invalid, Phase::Final)),
    ("e_grammar", fails(C::Invalid, Phase::Final)),
    ("e_img", fails(C::Invalid, Phase::Final)),
    ("e_maxtokens_0", answers(" with", 1, "Length", Some((13, 1)))),
    ("e_maxtokens_str", fails(C::Invalid, Phase::Final)),
    ("e_method", fails(C::NotFound, Phase::Final)),
    ("e_metrics_off", fails(C::Unsupported, Phase::Final)),
    ("e_msgstring", fails(C::Invalid, Phase::Final)),
    ("e_n2", fails(C::Invalid, Phase::Final)),
    ("e_nomessages", fails(C::Invalid, Phase::Final)),
    ("e_norole", fails(C::Invalid, Phase::Final)),
    ("e_toolong", fails(C::ContextLength, Phase::Final)),
    ("e_toolong_stream", fails(C::ContextLength, Phase::Final)),
    ("emb_chat", answers(" second or", 2, "Length", Some((13, 2)))),
    ("emb_long", fails(C::Invalid, Phase::Final)),
    ("emb_noinput", fails(C::Invalid, Phase::Final)),
    ("expect100", answers(" second", 1, "Length", Some((13, 1)))),
    ("hdr_timing", answers(" round by", 2, "Length", None)),
    ("huge", fails(C::Reset, Phase::Ambiguous)),
    (
        "json_mode",
        answers("{\n\n\"ok\"\n\n:\n\n  false,\n\n \"", 7, "Length", Some((13, 40))),
    ),
    ("k_404", fails(C::Auth, Phase::Final)),
    ("k_bad", fails(C::Auth, Phase::Final)),
    ("k_good", answers(" second", 1, "Length", Some((13, 1)))),
    ("k_models", fails(C::Auth, Phase::Final)),
    ("k_none", fails(C::Auth, Phase::Final)),
    ("k_props", fails(C::Auth, Phase::Final)),
    ("k_slots", fails(C::Unsupported, Phase::Final)),
    ("kvu_0", breaks(" up did", 2)),
    ("kvu_1", breaks(" up did", 2)),
    ("kvu_2", breaks(" up", 1)),
    ("kvu_3", fails(C::ContextLength, Phase::Begun)),
    ("kvun_0", fails(C::ContextLength, Phase::Ambiguous)),
    ("kvun_1", fails(C::ContextLength, Phase::Ambiguous)),
    ("kvun_2", fails(C::ContextLength, Phase::Ambiguous)),
    ("kvun_3", fails(C::ContextLength, Phase::Ambiguous)),
    ("lcp_404", fails(C::NotFound, Phase::Final)),
    (
        "lcp_after_disc",
        answers(" every quay row", 3, "Length", Some((10, 3))),
    ),
    ("lcp_badjson", fails(C::ServerError, Phase::Ambiguous)),
    ("lcp_badmodel", answers(" second", 1, "Length", Some((12, 1)))),
    // another request interrupted it: `[DONE]` without a finish reason
    ("lcp_busy_a", breaks(" second was of", 87)),
    ("lcp_busy_b", answers(" every quay row", 3, "Length", None)),
    (
        "lcp_chat",
        answers(" second was of", 12, "Length", Some((12, 12))),
    ),
    (
        "lcp_chat2",
        answers(" second was of", 12, "Length", Some((12, 12))),
    ),
    ("lcp_disc", breaks(" second was of", 8)),
    ("lcp_emb", fails(C::Unsupported, Phase::Final)),
    (
        "lcp_empty",
        answers(" only second was", 40, "Stop", Some((1, 40))),
    ),
    ("lcp_health", fails(C::NotFound, Phase::Final)),
    ("lcp_k_bad", fails(C::Auth, Phase::Final)),
    ("lcp_k_good", answers(" keep", 1, "Length", Some((12, 1)))),
    ("lcp_k_models", fails(C::Auth, Phase::Final)),
    ("lcp_k_none", fails(C::Auth, Phase::Final)),
    ("lcp_method", fails(C::NotFound, Phase::Final)),
    ("lcp_metrics", fails(C::NotFound, Phase::Final)),
    ("lcp_ni_a", answers(" second was of", 597, "Length", None)),
    ("lcp_ni_b", answers(" every quay row", 3, "Length", None)),
    ("lcp_nomax", answers(" up call or", 204, "Stop", Some((6, 204)))),
    (
        "lcp_nomessages",
        answers(" with behind only", 355, "Stop", Some((1, 359))),
    ),
    ("lcp_props", fails(C::NotFound, Phase::Final)),
    ("lcp_slots", fails(C::NotFound, Phase::Final)),
    ("lcp_stream", answers(" second was of", 4, "Length", None)),
    ("lcp_toolong", fails(C::ContextLength, Phase::Final)),
    ("lcp_toolong_stream", fails(C::Malformed, Phase::Begun)),
    ("loading_chat", fails(C::Loading, Phase::Refused)),
    ("loading_models", fails(C::Loading, Phase::Refused)),
    ("logprobs", answers(" second because", 2, "Length", None)),
    ("mct", answers(" second because mean", 3, "Length", Some((7, 3)))),
    (
        "n_pred_neg",
        answers(" second because mean", 133, "Stop", Some((7, 134))),
    ),
    ("no_ctype", answers(" second", 1, "Length", Some((6, 1)))),
    ("prefill", answers("the tide fast or", 5, "Length", Some((11, 3)))),
    ("prefill_s", answers(" second because mean", 6, "Length", None)),
    ("progress", answers(" round ship", 2, "Length", None)),
    ("resume_404", fails(C::NotFound, Phase::Final)),
    ("resume_a", breaks(" gave around silver", 5)),
    ("resume_d", breaks(" gave around silver", 5)),
    ("resume_gone", fails(C::NotFound, Phase::Final)),
    ("root", fails(C::NotFound, Phase::Final)),
    ("router_badmodel", fails(C::NotFound, Phase::Final)),
    ("router_nomodel", fails(C::Invalid, Phase::Final)),
    ("router_ok", answers(" second", 1, "Length", Some((13, 1)))),
    ("sat_0", answers(" gave chart sail", 11, "Length", None)),
    ("sat_1", answers(" gave course\n lagoon", 11, "Length", None)),
    ("sat_2", answers(" gave chart sail", 12, "Length", None)),
    ("sat_3", answers(" gave chart where", 12, "Length", None)),
    ("sat_4", answers(" gave chart sail", 12, "Length", None)),
    ("sat_5", answers(" gave where pull", 11, "Length", None)),
    ("sat_6", answers(" spray chart pull", 12, "Length", None)),
    ("seed", answers(" second gray where", 8, "Length", Some((7, 8)))),
    ("sigkill", breaks(" gave around", 2)),
    ("sigterm", breaks(" gave around silver", 4)),
    ("slow_stream", answers(" gave around silver", 20, "Length", None)),
    (
        "stop_seq",
        answers(" second because is", 6, "Stop", Some((13, 7))),
    ),
    ("textparts", answers(" up work", 2, "Length", Some((6, 2)))),
    ("think", answers("", 0, "Stop", None)),
    ("think_ns", answers("", 0, "Stop", Some((9, 61)))),
    ("timings", answers(" second because", 2, "Length", None)),
    ("tools", answers(" second because is", 15, "Stop", Some((13, 16)))),
    ("utf8", answers("ͯ gray� gull� up�����", 12, "Length", None)),
];
