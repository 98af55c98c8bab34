//! Replays recorded conversations against the engine and compares every reply.

use millrace_testsuite::conversation;
use millrace_testsuite::simulation::World;
use std::collections::BTreeMap;
use std::path::Path;

/// What cases may need that is not built yet.
const UNBUILT: [&str; 1] = ["transcoding"];

#[test]
fn every_recorded_conversation_goes_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/cases");
    let only = std::env::var("MILLRACE_GOLDEN").unwrap_or_default();
    let mut world = World::recorded();
    let mut counts: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    let mut failures = Vec::new();
    for case in conversation::load(&folder).expect("the corpus is readable") {
        let is_built = case.needs.iter().all(|need| !UNBUILT.contains(&need.as_str()));
        if !is_built || !case.name.contains(&only) {
            continue;
        }
        let count = counts.entry(case.group.clone()).or_default();
        count.1 += 1;
        match conversation::replay(&case, &mut |request| {
            let reply = world.ask(request);
            world.check();
            Ok(reply)
        }) {
            Ok(()) => count.0 += 1,
            Err(why) => failures.push(format!("{}\n  {why}", case.name)),
        }
        world.check_empty();
    }
    for (group, (passed, total)) in &counts {
        println!("{group:12} {passed:5} of {total:5}");
    }
    assert!(!counts.is_empty(), "no case was replayed");
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}
