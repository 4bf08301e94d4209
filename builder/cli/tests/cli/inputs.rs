//! What comes in beside profile and lock: nodeinit, SOURCE_DATE_EPOCH, the cache.

use crate::project::{Project, assert_said};

#[test]
fn nodeinit_must_be_a_static_program() {
    let project = Project::new();
    project.lock(Vec::new());
    let build = |nodeinit: &str| project.nodeimg(&["build", "--nodeinit", nodeinit, "profiles/p.toml"]);
    project.write("script", "#!/bin/sh\n");
    assert_said("nodeinit_is_a_script", &build("script"));
    // The test's own program needs a loader.
    let dynamic = std::env::current_exe().expect("path").display().to_string();
    assert_said("nodeinit_is_dynamic", &build(&dynamic).replace(&dynamic, "[TEST]"));
    assert_said("nodeinit_missing", &build("nodeinti"));
}

#[test]
fn source_date_epoch_is_whole_seconds() {
    let project = Project::new();
    project.lock(Vec::new());
    for (name, value) in
        [("epoch_is_a_date", "2026-11-22"), ("epoch_is_negative", "-1"), ("epoch_is_empty", "")]
    {
        let environment = [("SOURCE_DATE_EPOCH", value)];
        assert_said(name, &project.nodeimg_with(&["build", "profiles/p.toml"], &environment));
    }
}

#[test]
fn the_cache_must_be_a_folder() {
    let project = Project::new();
    project.write("file", "");
    assert_said("cache_is_a_file", &project.nodeimg(&["build", "--cache", "file", "profiles/p.toml"]));
}

#[test]
fn folders_that_the_profile_names_must_be_there() {
    let project = Project::with("[output]", "[[addon]]\nname = \"calico\"\n\n[output]");
    project.lock(Vec::new());
    assert_said("addon_missing", &project.nodeimg(&["build", "--locked", "profiles/p.toml"]));
    let project = Project::with("[output]", "[overlay]\ndirs = [\"overlays/mine\"]\n\n[output]");
    project.lock(Vec::new());
    assert_said("overlay_missing", &project.nodeimg(&["build", "--locked", "profiles/p.toml"]));
}
