//! The gRPC services of vipcast: conversion between `vipcast.v1` and the model, error details, paging, watch streams,
//! reflection and health. What a call *does* is behind [`Control`]; the daemon implements it.

pub mod control;

pub use control::{Control, ControlError, Document, Kind, Resource, WatchEvent};
