//! The picture against the world that it shows.
