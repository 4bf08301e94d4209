//! The picture of formation in the docs is the one that the code draws.

use nodeimg_formation_sim::diagram::{SCHEDULES, Ways};

#[test]
fn the_docs_show_the_states_of_the_code() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formation-states.md");
    let drawn = Ways::of(SCHEDULES).page(SCHEDULES);
    let shown = std::fs::read_to_string(page).expect("the page");
    assert!(
        drawn == shown,
        "docs/formation-states.md is not what the code draws now; renew it: \
         cargo run -p nodeimg-formation-sim --bin formation-sim -- --diagram > docs/formation-states.md\n{drawn}"
    );
}
