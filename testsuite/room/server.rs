//! The web server: the page, and what it asks for.

use crate::media::Media;
use crate::rooms::{Farewell, Refusal, Rooms, tidy_name};
use axum::extract::{DefaultBodyLimit, Path, Query, State as Extract};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use millrace::base::random::Random;
use millrace::io::random::SystemRandomness;
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A page that asks for news waits so long for some.
const WAIT: Duration = Duration::from_secs(5);
/// More than the longest description a browser makes of one microphone and one camera.
const LONGEST_BODY: usize = 48 << 10;

/// Everything that requests share.
pub struct State {
    media: Media,
    rooms: Mutex<Rooms>,
}

type Shared = Extract<Arc<State>>;

/// What went wrong, for the user to read.
struct Fault(StatusCode, String);

type Outcome = Result<Json<Value>, Fault>;

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        match refusal {
            Refusal::BadName(why) => Fault(StatusCode::UNPROCESSABLE_ENTITY, why.to_owned()),
            Refusal::Full(why) => Fault(StatusCode::SERVICE_UNAVAILABLE, why.to_owned()),
            Refusal::Gone => Fault(StatusCode::NOT_FOUND, "You, or the other one, have left the room.".to_owned()),
        }
    }
}

impl State {
    pub fn new(media: Media) -> State {
        State { media, rooms: Mutex::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // Every change of the rooms is whole before anything in it could panic.
        self.rooms.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Ends all rooms.
    pub fn close(&self) {
        for room in self.rooms().names() {
            report(self.media.close(&room));
        }
    }

    fn part(&self, gone: &Farewell) {
        for tag in &gone.subscriptions {
            report(self.media.unsubscribe(&gone.room, tag));
        }
        report(self.media.withdraw(&gone.room, &gone.id));
    }
}

/// A user who has left can't be told any more.
fn report(outcome: Result<(), String>) {
    if let Err(why) = outcome {
        eprintln!("millrace-room: {why}");
    }
}

/// Lets the daemon work without holding up other requests.
async fn ask<T: Send + 'static>(
    state: &Arc<State>,
    work: impl FnOnce(&State) -> Result<T, String> + Send + 'static,
) -> Result<T, Fault> {
    let state = Arc::clone(state);
    let done = tokio::task::spawn_blocking(move || work(&state)).await;
    let done = done.unwrap_or_else(|error| Err(format!("The server failed: {error}.")));
    done.map_err(|why| Fault(StatusCode::BAD_GATEWAY, why))
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, state: Arc<State>) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router(state)).await
}

/// Takes members out whose pages are gone without having said so.
pub async fn remove_the_silent(state: Arc<State>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let gone = state.rooms().drop_silent(Instant::now());
        let parting = ask(&state, move |state| {
            gone.iter().for_each(|gone| state.part(gone));
            Ok(())
        });
        if let Err(Fault(_, why)) = parting.await {
            eprintln!("millrace-room: {why}");
        }
    }
}

fn router(state: Arc<State>) -> Router {
    const MEMBER: &str = "/api/rooms/{room}/members/{key}";
    Router::new()
        .route("/", get(|| asset("text/html; charset=utf-8", include_str!("page/index.html"))))
        .route("/room.css", get(|| asset("text/css", include_str!("page/room.css"))))
        .route("/page.js", get(|| asset("text/javascript", include_str!("page/page.js"))))
        .route("/session.js", get(|| asset("text/javascript", include_str!("page/session.js"))))
        .route("/sources.js", get(|| asset("text/javascript", include_str!("page/sources.js"))))
        .route("/statistics.js", get(|| asset("text/javascript", include_str!("page/statistics.js"))))
        .route("/api/rooms/{room}/members", post(join))
        .route(MEMBER, get(news))
        .route(&format!("{MEMBER}/leave"), post(leave))
        .route(&format!("{MEMBER}/subscriptions"), post(subscribe))
        .route(&format!("{MEMBER}/subscriptions/{{tag}}"), post(answer).put(change).delete(unsubscribe))
        .layer(DefaultBodyLimit::max(LONGEST_BODY))
        .with_state(state)
}

async fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

#[derive(Deserialize)]
struct Join {
    name: String,
    sdp: String,
    /// For the others to choose from; the daemon decides by the description.
    #[serde(default)]
    layers: Vec<String>,
}

/// Takes somebody in, and publishes what they send.
async fn join(Extract(state): Shared, Path(room): Path<String>, Json(body): Json<Join>) -> Outcome {
    let room = tidy_name(&room, "A room needs a name of at most 40 characters.")?;
    let name = tidy_name(&body.name, "You need a name of at most 40 characters.")?;
    state.rooms().check(&room)?;
    let (id, key) = {
        let mut random = SystemRandomness::new();
        (format!("member-{}", random.hex(12)), random.hex(32))
    };
    let (call, tag, sdp) = (room.clone(), id.clone(), body.sdp);
    let answer = ask(&state, move |state| state.media.publish(&call, &tag, &sdp)).await?;
    let joined = state.rooms().join(&room, &id, &key, (&name, body.layers), Instant::now());
    if let Err(refusal) = joined {
        let tag = id.clone();
        ask(&state, move |state| state.media.withdraw(&room, &tag)).await?;
        return Err(refusal.into());
    }
    Ok(Json(json!({"id": id, "key": key, "sdp": answer})))
}

#[derive(Deserialize)]
struct Seen {
    version: u64,
}

/// Who else is in the room: at once when that has changed since the version that the page has seen, else a little later.
async fn news(Extract(state): Shared, Path((room, key)): Path<(String, String)>, Query(seen): Query<Seen>) -> Outcome {
    let mut changes = state.rooms().watch(&room, &key, Instant::now())?;
    // Whether time was up or the room was closed, the state is told as it is then.
    let _ = tokio::time::timeout(WAIT, changes.wait_for(|version| *version != seen.version)).await;
    let version = *changes.borrow();
    let rooms = state.rooms();
    let others = rooms.others(&room, &key)?.into_iter();
    let others: Vec<Value> =
        others.map(|other| json!({"id": other.id, "name": other.name, "layers": other.layers})).collect();
    Ok(Json(json!({"version": version, "others": others})))
}

async fn leave(Extract(state): Shared, Path((room, key)): Path<(String, String)>) -> Outcome {
    let gone = state.rooms().leave(&room, &key);
    if let Some(gone) = gone {
        ask(&state, move |state| {
            state.part(&gone);
            Ok(())
        })
        .await?;
    }
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct Subscribe {
    publisher: String,
    layer: Option<String>,
}

async fn subscribe(
    Extract(state): Shared,
    Path((room, key)): Path<(String, String)>,
    Json(Subscribe { publisher, layer }): Json<Subscribe>,
) -> Outcome {
    state.rooms().can_subscribe(&room, &key, &publisher)?;
    let (call, source) = (room.clone(), publisher.clone());
    let subscribing = move |state: &State| state.media.subscribe(&call, &source, None, layer.as_deref());
    let (tag, sdp) = ask(&state, subscribing).await?;
    if !state.rooms().subscribe(&room, &key, &tag, &publisher) {
        ask(&state, move |state| state.media.unsubscribe(&room, &tag)).await?;
        return Err(Refusal::Gone.into());
    }
    Ok(Json(json!({"subscription": tag, "sdp": sdp})))
}

#[derive(Deserialize)]
struct Change {
    layer: String,
}

/// Asks for another layer of the same publisher; the page answers the new offer as it did the first.
async fn change(
    Extract(state): Shared,
    Path((room, key, tag)): Path<(String, String, String)>,
    Json(Change { layer }): Json<Change>,
) -> Outcome {
    let publisher = state.rooms().publisher_of(&room, &key, &tag)?;
    let known = tag.clone();
    let changed = move |state: &State| state.media.subscribe(&room, &publisher, Some(&known), Some(&layer));
    let (subscription, sdp) = ask(&state, changed).await?;
    Ok(Json(json!({"subscription": subscription, "sdp": sdp})))
}

#[derive(Deserialize)]
struct Answer {
    sdp: String,
}

async fn answer(
    Extract(state): Shared,
    Path((room, key, tag)): Path<(String, String, String)>,
    Json(Answer { sdp }): Json<Answer>,
) -> Outcome {
    state.rooms().publisher_of(&room, &key, &tag)?;
    ask(&state, move |state| state.media.answer(&room, &tag, &sdp)).await?;
    Ok(Json(json!({})))
}

async fn unsubscribe(Extract(state): Shared, Path((room, key, tag)): Path<(String, String, String)>) -> Outcome {
    if state.rooms().unsubscribe(&room, &key, &tag)? {
        ask(&state, move |state| state.media.unsubscribe(&room, &tag)).await?;
    }
    Ok(Json(json!({})))
}
