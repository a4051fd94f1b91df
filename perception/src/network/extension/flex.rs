//! burn's CPU backend.

use super::VoxelBackend;
use crate::network::api::Flex;

impl VoxelBackend for Flex {}
