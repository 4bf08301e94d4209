//! Whole-image and whole-cluster tests
