//! Boot set to the files in dist/
