//! docs/faults.md and the codes: the same codes under the same titles, each with its meaning and the next step.

use nodeimg_contract::fault::Code;

const PAGE: &str = include_str!("../../docs/faults.md");

/// Heading (without `### `) and text of every section about a code.
fn sections() -> Vec<(&'static str, &'static str)> {
    PAGE.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

#[test]
fn every_code_is_on_the_page_in_order_under_its_own_title() {
    let headings: Vec<&str> = sections().iter().map(|(heading, _)| *heading).collect();
    let codes: Vec<String> = Code::ALL.iter().map(|code| format!("{code}: {}", code.title())).collect();
    assert_eq!(headings, codes);
}

#[test]
fn every_section_says_what_it_means_and_what_to_do() {
    for (heading, text) in sections() {
        for part in ["- **Means:** ", "- **Do:** "] {
            assert!(text.contains(part), "\"{heading}\" has no {part:?}");
        }
    }
}

#[test]
fn codes_are_named_by_their_area_and_never_shared() {
    let mut texts: Vec<&str> = Code::ALL.iter().map(|code| code.text()).collect();
    for text in &texts {
        let parts: Vec<&str> = text.split('-').collect();
        assert!(
            matches!(parts[..], ["NI", area, number] if PAGE.contains(&format!("\n## {area}\n")) && number.len() == 3),
            "{text}"
        );
    }
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), Code::ALL.len());
}
