//! The commands. Each asks the nodes, hands what it got to a view and says how it ended.

pub(crate) mod apply;
pub(crate) mod datapath;
pub(crate) mod resource;
pub(crate) mod status;
pub(crate) mod wait;
pub(crate) mod watch;
