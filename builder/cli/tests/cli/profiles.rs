//! Profiles with mistakes in them.

use crate::project::{PROFILE, Project, assert_said};

#[test]
fn a_mistake_is_shown_with_its_place() {
    for (name, from, to) in [
        ("profile_unknown_key", "packages =", "pakages ="),
        ("profile_no_toml", "suite = \"trixie\"", "suite = trixie"),
        ("profile_unknown_role", "\"control-plane\"", "\"controlplane\""),
        ("profile_later_format", "\"files\"", "\"iso\""),
        ("profile_unknown_format", "\"files\"", "\"fils\""),
        ("profile_later_origin", "\"source\"", "\"bundle\""),
        ("profile_later_suite", "\"trixie\"", "\"bookworm\""),
        ("profile_other_kubernetes", "1.36.3", "1.35.4"),
        ("profile_other_schema", "schema = 1", "schema = 2"),
        (
            "profile_bad_mirror",
            "suite = \"trixie\"",
            "suite = \"trixie\"\nmirror = \"ftp://mirror.example/debian\"",
        ),
        ("profile_overlay_outside", "[output]", "[overlay]\ndirs = [\"../elsewhere\"]\n\n[output]"),
        (
            "profile_several_mistakes",
            "packages = [\"nftables\", \"udev\"]",
            "packages = [\"NFTables\", \"udev\", \"udev\"]",
        ),
    ] {
        let project = Project::with(from, to);
        let said = project.nodeimg(&["build", "profiles/p.toml"]);
        assert!(!project.has("profiles/p.lock") && !project.has("dist"), "nothing is made of it");
        assert_said(name, &said);
    }
}

#[test]
fn every_command_that_takes_a_profile_refuses_the_same() {
    let project = Project::with("packages =", "pakages =");
    let build = project.nodeimg(&["build", "profiles/p.toml"]);
    let commands: &[&[&str]] = &[&["lock"], &["run"], &["bench", "build"], &["bench", "boot"]];
    for command in commands {
        let args: Vec<&str> = command.iter().copied().chain(["profiles/p.toml"]).collect();
        assert_eq!(project.nodeimg(&args), build, "{command:?}");
    }
}

#[test]
fn a_profile_that_is_not_there_is_named() {
    let project = Project::new();
    assert_said("profile_missing", &project.nodeimg(&["build", "profiles/cplan.toml"]));
    assert_said("profile_is_a_folder", &project.nodeimg(&["build", "profiles"]));
    project.write("profiles/Ä.toml", PROFILE);
    assert_said("profile_without_a_name", &project.nodeimg(&["build", "profiles/Ä.toml"]));
    project.write("profiles/bytes.toml", b"schema = 1\n# \xff\n");
    assert_said("profile_not_utf8", &project.nodeimg(&["build", "profiles/bytes.toml"]));
}
