//! The engine against mechanisms that do as they are told, on a clock that the tests turn.

mod fakes;
mod restarts;
mod serving;

use datapath::{Found, ReadBack};

use super::*;
use crate::testing::*;
use fakes::{Rig, Saw};
