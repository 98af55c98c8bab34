//! Identity: call, tags, labels and the choice of participants.

use super::parser::{Parser, words};
use super::table::{Choice, Choices, Flag, Key, Prefix, Section, row};
use crate::ng::Value;
use crate::ng::status::Status;

const SAME: Status = Status::Same;
const METADATA: Status = Status::NotYet("`query` reports it; recording is not built");
const LATER: Status = Status::NotYet("read and kept; the command is not built");

/// Whom a message is about. Texts are as received.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Dialogue {
    pub call_id: Option<String>,
    pub from_tag: Option<String>,
    pub to_tag: Option<String>,
    pub via_branch: Option<String>,
    pub from_tags: Vec<String>,
    pub label: Option<String>,
    pub set_label: Option<String>,
    pub to_label: Option<String>,
    /// Selects the participant whose SDP named this address; an IP address, not checked here.
    pub address: Option<String>,
    pub to_call_id: Option<String>,
    /// The calls that `mesh` joins.
    pub calls: Vec<String>,
    /// The flows that `mesh` creates.
    pub flows: Vec<Flow>,
    pub source_tag: Option<String>,
    pub source_call_id: Option<String>,
    pub alias_key: AliasKey,
    pub all: All,
    pub metadata: Option<String>,
    pub instance: Option<String>,
    /// Flag `to-tag`: the to-tag of a delete counts.
    pub match_to_tag: bool,
    /// Flag `directional`: the from-tag counts, or only one direction is changed.
    pub is_directional: bool,
    /// Flag `new branch`: an unseen to-tag is a new participant, not an alias.
    pub is_new_branch: bool,
    /// Flag `provisional`: a final answer does not fix the to-tag.
    pub is_provisional: bool,
}

/// Media from one participant to others (`mesh`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    pub from: String,
    pub to: Vec<String>,
}

/// What makes a new from-tag an alias of an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AliasKey {
    #[default]
    Off,
    Sdp,
    Address,
}

/// How many participants or flows a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum All {
    #[default]
    None,
    All,
    OfferAnswer,
    ExceptOfferAnswer,
    Flows,
}

static KEYS: &[Key] = &[
    row("command", SAME, "What the message asks for; mandatory.").key(|_, _| {}),
    row("call-id", SAME, "The call.").key(|p, v| p.request.dialogue.call_id = p.text(v)),
    row("from-tag", SAME, "The tag of the sender; one in `rtpp-flags` stands before the key.")
        .key(|p, v| p.take_tag(v, |dialogue| &mut dialogue.from_tag)),
    row("to-tag", SAME, "The tag of the receiver; one in `rtpp-flags` stands before the key.")
        .key(|p, v| p.take_tag(v, |dialogue| &mut dialogue.to_tag)),
    row("via-branch", SAME, "Tells forked branches apart.").key(|p, v| p.request.dialogue.via_branch = p.text(v)),
    row("from-tags", SAME, "The tags of several sources.")
        .key(|p, v| p.request.dialogue.from_tags.extend(words(v).map(str::to_owned))),
    row("label", SAME, "Names the sender, or selects the participant of that name.")
        .aliases(&["from-label"])
        .key(|p, v| p.request.dialogue.label = p.text(v)),
    row("set-label", SAME, "Names the selected or newly created participant.")
        .key(|p, v| p.request.dialogue.set_label = p.text(v)),
    row("to-label", SAME, "Selects the second participant; in `subscribe request` the same as `set-label`.")
        .key(|p, v| p.request.dialogue.to_label = p.text(v)),
    row("address", SAME, "Selects the participant whose SDP named this address.")
        .key(|p, v| p.request.dialogue.address = p.text(v)),
    row("to-call-id", SAME, "The second call of `connect`.").key(|p, v| p.request.dialogue.to_call_id = p.text(v)),
    row("calls", SAME, "The calls that `mesh` joins.")
        .key(|p, v| p.request.dialogue.calls = words(v).map(str::to_owned).collect()),
    row("tags", SAME, "The flows that `mesh` creates: a list of `from` and `to`.").key(set_flows),
    row("source-tag", SAME, "The participant that is injected.").key(|p, v| p.request.dialogue.source_tag = p.text(v)),
    row("source-call-id", SAME, "The call of the participant that is injected.")
        .key(|p, v| p.request.dialogue.source_call_id = p.text(v)),
    row("alias-key", SAME, "What makes a new from-tag an alias of an earlier one.")
        .key(|p, v| p.choose_each(&ALIAS_KEY, v)),
    row("all", SAME, "How many participants or flows the command is about.").key(|p, v| p.choose_each(&ALL, v)),
    row("metadata", METADATA, "Free text for recordings.").key(|p, v| p.request.dialogue.metadata = p.text(v)),
    row("instance", LATER, "The asking instance, to detect loops of `transform`.")
        .key(|p, v| p.request.dialogue.instance = p.text(v)),
];

static FLAGS: &[Flag] = &[
    row("to-tag", SAME, "`delete`: the to-tag counts in finding the participant.")
        .flag(|r| r.dialogue.match_to_tag = true),
    row("directional", SAME, "The from-tag counts, or one direction only is changed.")
        .flag(|r| r.dialogue.is_directional = true),
    row("all", SAME, "The same as `all=all`.").flag(|r| r.dialogue.all = All::All),
    row("new branch", SAME, "An unseen to-tag is a new participant, not an alias.")
        .flag(|r| r.dialogue.is_new_branch = true),
    row("provisional", SAME, "A final answer does not fix the to-tag.").flag(|r| r.dialogue.is_provisional = true),
];

static PREFIXES: &[Prefix] = &[row("from-tags-", SAME, "One more tag for `from-tags`.")
    .prefix(|p, tag| p.request.dialogue.from_tags.push(tag.to_owned()))];

static ALIAS_KEY: Choices = Choices {
    key: "alias-key",
    rows: &[
        row("off", SAME, "No aliases.").aliases(&["none", "no"]).choice(|r| r.dialogue.alias_key = AliasKey::Off),
        row("SDP", SAME, "The same SDP.").choice(|r| r.dialogue.alias_key = AliasKey::Sdp),
        row("address", SAME, "The same first media address and port.")
            .aliases(&["endpoint"])
            .choice(|r| r.dialogue.alias_key = AliasKey::Address),
    ],
};

const fn all(name: &'static str, document: &'static str, set: fn(&mut super::Request)) -> Choice {
    row(name, SAME, document).choice(set)
}

static ALL: Choices = Choices {
    key: "all",
    rows: &[
        all("none", "One participant.", |r| r.dialogue.all = All::None),
        all("all", "The whole call.", |r| r.dialogue.all = All::All),
        all("offer-answer", "Flows between offerer and answerer.", |r| r.dialogue.all = All::OfferAnswer),
        row("except-offer-answer", SAME, "Flows to subscribers.")
            .aliases(&["not-offer-answer", "non-offer-answer"])
            .choice(|r| r.dialogue.all = All::ExceptOfferAnswer),
        all("flows", "All flows of the participant.", |r| r.dialogue.all = All::Flows),
    ],
};

pub(super) static SECTION: Section = Section {
    title: "Identity, tags, labels",
    keys: KEYS,
    flags: FLAGS,
    prefixes: PREFIXES,
    choices: &[&ALIAS_KEY, &ALL],
};

fn set_flows(parser: &mut Parser, value: &Value) {
    let Value::List(list) = value else { return parser.warn("`tags` is not a list".to_owned()) };
    for member in list {
        let flow = member.as_dictionary().and_then(|entry| {
            let from = entry.get("from")?.as_text()?.to_owned();
            Some(Flow { from, to: words(entry.get("to")?).map(str::to_owned).collect() })
        });
        match flow {
            Some(flow) => parser.request.dialogue.flows.push(flow),
            None => parser.warn("a member of `tags` lacks `from` or `to`".to_owned()),
        }
    }
}
