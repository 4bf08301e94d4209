//! Golden folder `network/`: every `in/NAME.yaml` gives `expected/NAME`: a spec as JSON, or the refusal.
//!
//! `NODEIMG_GOLDEN=write cargo test -p nodeimg-init-core --test network` writes them anew.

use std::path::Path;

#[test]
fn every_document_gives_what_is_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/network");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.join("in")).expect("the folder in/") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_owned();
        let got = match nodeimg_init_core::network::parse(&std::fs::read(&path).expect("a document")) {
            Ok(spec) => serde_json::to_string_pretty(&spec).expect("JSON") + "\n",
            Err(error) => format!("refused: {error}\n"),
        };
        let expected = folder.join("expected").join(name);
        if std::env::var_os("NODEIMG_GOLDEN").is_some() {
            std::fs::write(&expected, &got).expect("written");
        }
        let wanted = std::fs::read_to_string(&expected).expect("an expected file");
        assert_eq!(got, wanted, "{}", path.display());
        seen += 1;
    }
    assert!(seen >= 9, "only {seen} documents");
}
