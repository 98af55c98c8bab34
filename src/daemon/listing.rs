//! `list fastpath` and `list calls`: few rows at a time are asked for and sent on, so that no shard stops for long and no memory is
//! needed for all of them.

use super::service::Daemon;
use super::shard_thread::{ShardHandle, Work};
use crate::control::CliReply;
use crate::control::cli::FastPathList;
use crate::fastpath::verdict::Verdict;
use crate::io::host::interface_name;
use crate::observe::calls;
use crate::observe::fastpath::{self, Row, Ways};
use crate::wire::json;
use crate::wire::value::Dictionary;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write;
use tokio::sync::{mpsc, oneshot};

/// Rows that a shard is asked for at once.
const CHUNK: usize = 128;
const JSON_BEGINS: &str = "{\"entries\":[";

/// Answers with the list.
pub(super) fn list(daemon: &Daemon, form: FastPathList, reply: CliReply) {
    let Some(counters) = daemon.verdicts.clone() else {
        return reply.send(match form.is_json {
            true => JSON_BEGINS.to_owned() + &json_end(&Ways::default(), &[]),
            false => "There is no fast path; the log says at the start why not.\n".to_owned(),
        });
    };
    let Some(writer) = reply.begin(false) else { return };
    let verdicts = counters.read().unwrap_or_else(|error| {
        tracing::warn!(target: "core", "what the XDP programs counted is not known: {error}");
        Vec::new()
    });
    let listing = Listing { shards: daemon.router.dispatch.shards.clone(), form, names: HashMap::new(), verdicts };
    daemon.tasks.spawn(listing.run(writer.parts));
}

/// Answers with all calls.
pub(super) fn calls(daemon: &Daemon, is_json: bool, reply: CliReply) {
    let Some(writer) = reply.begin(false) else { return };
    daemon.tasks.spawn(list_calls(daemon.router.dispatch.shards.clone(), is_json, writer.parts));
}

async fn list_calls(shards: Vec<ShardHandle>, is_json: bool, parts: mpsc::Sender<Vec<u8>>) {
    let mut text = if is_json { "{\"calls\":[" } else { calls::HEADINGS }.to_owned();
    let mut is_first = true;
    for shard in &shards {
        let Some(places) = ask(shard, |work| work.shard.call_places()).await else { return };
        for chunk in places.chunks(CHUNK) {
            let chunk = chunk.to_vec();
            let Some(rows) = ask(shard, move |work| work.shard.call_rows(work.now, &chunk)).await else { return };
            for row in &rows {
                match is_json {
                    true => text += &format!("{}\n{}", if is_first { "" } else { "," }, as_json(&row.report())),
                    false => row.write(&mut text),
                }
                is_first = false;
            }
            if parts.send(std::mem::take(&mut text).into_bytes()).await.is_err() {
                return;
            }
        }
    }
    if is_json {
        text += "]}\n";
    }
    // The client may have gone.
    let _ = parts.send(text.into_bytes()).await;
}

/// Behind the last entry of a document in JSON.
fn json_end(ways: &Ways, verdicts: &[(Verdict, u64)]) -> String {
    format!("],\n\"summary\":{}}}\n", as_json(&fastpath::report(ways, verdicts)))
}

fn as_json(report: &Dictionary) -> String {
    let mut bytes = Vec::new();
    json::encode(report, &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

struct Listing {
    shards: Vec<ShardHandle>,
    form: FastPathList,
    /// Of interfaces, by number.
    names: HashMap<u32, String>,
    verdicts: Vec<(Verdict, u64)>,
}

/// Has a shard do something; none when it has stopped.
pub(super) async fn ask<T: Send + 'static>(
    shard: &ShardHandle,
    job: impl FnOnce(&mut Work) -> T + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    shard.run(Box::new(move |work| {
        // Whoever asked may have gone.
        let _ = sender.send(job(work));
    }));
    receiver.await.ok()
}

impl Listing {
    async fn run(mut self, parts: mpsc::Sender<Vec<u8>>) {
        let mut text = if self.form.is_json { JSON_BEGINS.to_owned() } else { String::new() };
        let mut is_first = true;
        let shards = if self.form.is_summary { Vec::new() } else { self.shards.clone() };
        for shard in &shards {
            let Some(streams) = ask(shard, |work| work.shard.entries()).await else { return };
            for chunk in streams.chunks(CHUNK) {
                let chunk = chunk.to_vec();
                let Some(rows) = ask(shard, move |work| work.shard.entry_rows(work.now.mono, &chunk)).await else {
                    return;
                };
                for row in &rows {
                    self.write(&mut text, row, std::mem::take(&mut is_first));
                }
                if parts.send(std::mem::take(&mut text).into_bytes()).await.is_err() {
                    return;
                }
            }
        }
        let mut ways = Ways::default();
        for shard in &self.shards {
            let Some(of_shard) = ask(shard, |work| Ways::of(work.shard.relay())).await else { return };
            ways.add(&of_shard);
        }
        text += &self.end(&ways, is_first);
        // The client may have gone.
        let _ = parts.send(text.into_bytes()).await;
    }

    fn write(&mut self, text: &mut String, row: &Row, is_first: bool) {
        let names = RefCell::new(&mut self.names);
        let name = |index: u32| -> String {
            let mut names = names.borrow_mut();
            names.entry(index).or_insert_with(|| interface_name(index).unwrap_or_else(|| index.to_string())).clone()
        };
        if !self.form.is_json {
            row.write(text, &name);
            text.push('\n');
            return;
        }
        let _ = write!(text, "{}\n{}", if is_first { "" } else { "," }, as_json(&row.report(&name)));
    }

    fn end(&self, ways: &Ways, is_empty: bool) -> String {
        if self.form.is_json {
            return json_end(ways, &self.verdicts);
        }
        let mut text = String::new();
        if is_empty && !self.form.is_summary {
            text += "There are no entries.\n\n";
        }
        fastpath::lines(&mut text, ways, &self.verdicts, |text, words, count| {
            let _ = writeln!(text, "{words:<48}{count:>16}");
        });
        text
    }
}
